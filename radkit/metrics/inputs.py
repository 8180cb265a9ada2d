"""Metrics' door: lists or arrays come in and leave checked, or with an error that says what was found."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from radkit.errors import UserError


def binary(name: str, values: ArrayLike) -> np.ndarray:
    """Returns 0/1 values as a bool array of shape (n,).

    Args:
        name: The argument's name, for the message.
        values: Any numbers or booleans, (n,).

    Raises:
        UserError: Not one-dimensional, or a value is neither 0 nor 1.
    """
    array = _one_dimensional(name, values)
    wrong = array[(array != 0) & (array != 1)]
    if wrong.size:
        found = ", ".join(f"{value:g}" for value in np.unique(wrong)[:3])
        raise UserError(f"{name} must hold 0 and 1 only, but {wrong.size} of {array.size} values are not: {found}")
    return array == 1


def scores(name: str, values: ArrayLike) -> np.ndarray:
    """Returns values as float64, (n,), none of them nan (infinities have a rank and may stay).

    Raises:
        UserError: Not one-dimensional, not numbers, or nan among them.
    """
    array = _one_dimensional(name, values)
    missing = int(np.isnan(array).sum())
    if missing:
        raise UserError(
            f"{name} must hold numbers, but {missing} of {array.size} values are nan; leave those cases out"
        )
    return array


def measurements(name: str, values: ArrayLike) -> np.ndarray:
    """Returns finite values as float64, (n,).

    Raises:
        UserError: Not one-dimensional, not numbers, nan or infinite.
    """
    array = scores(name, values)
    if not np.isfinite(array).all():
        raise UserError(f"{name} must be finite, but {int(np.isinf(array).sum())} of {array.size} values are infinite")
    return array


def probabilities(name: str, values: ArrayLike) -> np.ndarray:
    """Returns values as float64, (n,), each in [0, 1].

    Raises:
        UserError: As `scores`, or a value outside [0, 1].
    """
    array = scores(name, values)
    if array.size and (array.min() < 0 or array.max() > 1):
        raise UserError(f"{name} must lie in [0, 1], but runs from {array.min():g} to {array.max():g}; apply a sigmoid")
    return array


def same_length(**arrays: Sequence[Any] | np.ndarray) -> None:
    """Refuses arguments of differing lengths.

    >>> same_length(y_true=[0, 1], y_score=[0.2, 0.7])
    """
    if len({len(array) for array in arrays.values()}) > 1:
        found = ", ".join(f"{name} {len(array)}" for name, array in arrays.items())
        raise UserError(f"one value a case is expected in each argument, but the lengths differ: {found}")


def masks(ref: ArrayLike, pred: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Returns two masks of one shape, (z, y, x) or (y, x), of whole numbers.

    Raises:
        UserError: The shapes differ, or are neither 2-D nor 3-D, or a value is no whole number.
    """
    first, second = mask("ref", ref), mask("pred", pred)
    if first.shape != second.shape or first.ndim not in (2, 3):
        raise UserError(
            f"ref and pred must be masks of one shape, (z, y, x) or (y, x), not {first.shape} and {second.shape}"
        )
    return first, second


def mask(name: str, values: ArrayLike) -> np.ndarray:
    """Returns a mask of any shape; refuses shares, which would be inside wherever they are not 0, and nan.

    Raises:
        UserError: Rows of differing lengths, or values that are no whole numbers.
    """
    try:
        array = np.asarray(values)
        if array.dtype.kind in "bui":
            return array
        array = array if array.dtype.kind == "f" else array.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise UserError(f"{name} must be a mask of whole numbers: {error}") from error
    wrong = array[~np.isfinite(array) | (array != np.round(array))]
    if wrong.size:
        raise UserError(
            f"{name} must be a mask of whole numbers, not hold {wrong[0]:g}; compare with a threshold first"
        )
    return array


def numbers(name: str, values: ArrayLike) -> np.ndarray:
    """Returns numbers as float64 of any shape; None is nan.

    Raises:
        UserError: What is no number, or rows of differing lengths.
    """
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise UserError(f"{name} must be numbers, as many in each row: {error}") from error


def share(name: str, value: float) -> float:
    """Returns a number that must lie strictly between 0 and 1, such as alpha."""
    if not 0 < value < 1:
        raise UserError(f"{name} must lie between 0 and 1, not {value!r}")
    return float(value)


def positions(values: Sequence[Any] | np.ndarray, position: Mapping[Any, int], name: str) -> np.ndarray:
    """Returns each category's place in an ordered list of categories, integers, (n,).

    Args:
        values: Categories of any kind, (n,).
        position: Place of each known category.
        name: The argument's name, for the message.

    Raises:
        UserError: A value that is no known category.
    """
    listed = np.asarray(values).tolist()
    unknown = sorted({str(value) for value in listed if value not in position})
    if unknown:
        raise UserError(f"{name} holds {', '.join(unknown[:3])}, not among the labels {', '.join(map(str, position))}")
    return np.array([position[value] for value in listed], dtype=np.intp)


def _one_dimensional(name: str, values: ArrayLike) -> np.ndarray:
    array = numbers(name, values)
    if array.ndim != 1:
        raise UserError(f"{name} must be one-dimensional, one value a case, not of shape {array.shape}")
    return array
