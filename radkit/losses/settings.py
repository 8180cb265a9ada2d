"""Settings of losses that make no sense, refused: a negative weight or exponent learns something else, in silence."""

import math
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np

from radkit.errors import UserError


def shares(**settings: Any) -> None:
    """Refuses what is no number from 0 to 1.

    Raises:
        UserError: It names the setting and its value.
    """
    for name, value in settings.items():
        if not (_is_number(value) and 0 <= value <= 1):
            raise UserError(f"{name} must be a number from 0 to 1, not {value!r}")


def from_nought(**settings: Any) -> None:
    """Refuses what is no number from 0 on.

    Raises:
        UserError: It names the setting and its value.
    """
    for name, value in settings.items():
        if not (_is_number(value) and value >= 0):
            raise UserError(f"{name} must be a number from 0 on, not {value!r}")


def above_nought(**settings: Any) -> None:
    """Refuses what is no number above 0.

    Raises:
        UserError: It names the setting and its value.
    """
    for name, value in settings.items():
        if not (_is_number(value) and value > 0):
            raise UserError(f"{name} must be a number above 0, not {value!r}")


def counts(**settings: Any) -> None:
    """Refuses what is no whole number from 0 on.

    Raises:
        UserError: It names the setting and its value.
    """
    for name, value in settings.items():
        if not isinstance(value, Integral) or isinstance(value, bool) or value < 0:
            raise UserError(f"{name} must be a whole number from 0 on, not {value!r}")


def weights(**settings: Any) -> None:
    """Refuses what are no numbers from 0 on; there may be none, which weighs alike.

    Raises:
        UserError: It names the setting and its value.
    """
    for name, value in settings.items():
        if not (is_row(value) and all(one >= 0 for one in value)):
            raise UserError(f"{name} must be several numbers from 0 on, or empty, not {value!r}")


def alpha(value: Any) -> None:
    """Refuses what is no alpha of a focal loss: a share, several weights, or None.

    Raises:
        UserError: It names the value.
    """
    if _is_number(value):
        shares(alpha=value)
    elif value is not None:
        weights(alpha=value)


def is_row(value: Any) -> bool:
    """Whether a value is some finite numbers, in a list, a tuple or an array."""
    return isinstance(value, Sequence | np.ndarray) and not isinstance(value, str) and all(map(_is_number, value))


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
