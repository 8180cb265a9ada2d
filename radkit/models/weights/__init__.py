"""Weights from elsewhere: where they come from, what of them fits, and which of them learn."""

from collections.abc import Sequence

import keras


def start(network: keras.Model, name: str, weights: str, freeze: Sequence[str]) -> None:
    """Gives a new network weights from elsewhere, and holds some of them."""
    raise NotImplementedError
