"""A network that answers as a config's inference section says: the same in validation, evaluation and the export."""

from functools import partial
from typing import Any

import keras

from radkit import config
from radkit.inference import components, flips, sliding_window, wrapped


def network(whole: wrapped.Network, settings: config.Inference, padding_value: float = 0.0) -> wrapped.Network:
    """Returns a function as the network's, (image, training) -> logits; the network itself if nothing is asked.

    Args:
        whole: From image to logits.
        settings: Windows are flipped, not the image: memory holds one window at a time.
        padding_value: What surrounds an image that is smaller than a window.

    Logits are averaged, so that what a task makes of them is the same with and without windows.
    """
    found = whole
    if any(settings.flips):
        found = _ignoring_training(partial(flips.apply, found, axes=settings.flips))
    if settings.window:
        windows = partial(
            sliding_window.apply,
            found,
            window=settings.window,
            overlap=settings.overlap,
            batch_size=settings.batch_size,
            padding_value=padding_value,
        )
        found = _ignoring_training(windows)
    return found


def _ignoring_training(function: Any) -> wrapped.Network:
    def answer(image: Any, training: bool = False) -> Any:
        del training  # It is inference.
        return function(image=image)

    if keras.backend.backend() != "tensorflow":
        return answer
    import tensorflow as tf

    # Loops stand in it as the graph wants them; nothing is left for AutoGraph to rewrite.
    found: wrapped.Network = tf.autograph.experimental.do_not_convert(answer)
    return found


def clean(mask: Any, labels: tuple[str, ...], settings: config.Inference) -> Any:
    """Returns masks, (batch, *spatial) with values 1, 2, ... for `labels`, cleaned as the settings ask."""
    wanted = {
        "keep_largest": [labels.index(name) + 1 for name in settings.largest_component],
        "fill": [labels.index(name) + 1 for name in settings.fill_holes],
    }
    return components.clean(mask, **wanted) if any(wanted.values()) else mask
