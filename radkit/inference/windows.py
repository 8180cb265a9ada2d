"""Where windows lie on an image, and how much each of their voxels counts."""

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np

from radkit.errors import UserError

BLENDINGS = ("gaussian", "constant")
_DEVIATION = 1 / 8  # of a window's side: the standard deviation of the Gaussian, as in nnU-Net and MONAI


def step(window: int, overlap: float) -> int:
    """Returns the largest step between neighbouring windows along an axis, in voxels.

    >>> step(64, 0.5), step(5, 0.9)
    (32, 1)
    """
    return max(1, int(window * (1.0 - overlap) + 1e-6))


def count(size: Any, window: int, overlap: float) -> Any:
    """Returns how many windows an axis needs; `size` (at least the window's) may be a tensor.

    >>> count(256, 64, 0.5), count(64, 64, 0.5), count(65, 64, 0.5)
    (7, 1, 2)
    """
    wide = step(window, overlap)
    return (size - window + wide - 1) // wide + 1


def starts(size: int, window: int, overlap: float) -> list[int]:
    """Returns the first voxel of each window along an axis: spread evenly, the last one ends where the axis does.

    >>> starts(100, 64, 0.5)
    [0, 18, 36]
    """
    number = count(size, window, overlap)
    return [int(start) for start in spread(np.arange(number), max(number, 2), size - window)]


def spread(index: Any, number: Any, room: Any) -> Any:
    """Returns where window `index` of `number` (two or more) starts, rounded half up; integers, or integer tensors."""
    gaps = number - 1
    return (2 * index * room + gaps) // (2 * gaps)


def importance(window: int, blending: str) -> np.ndarray:
    """Returns what each voxel along a side counts, (window,) float32: highest in the middle, or alike.

    A window's weights are the product of its sides' weights.

    Raises:
        UserError: No such blending.
    """
    check_blending(blending)
    if blending == "constant":
        return np.ones(window, np.float32)
    from_middle = np.arange(window) - (window - 1) / 2
    weights: np.ndarray = np.exp(-0.5 * np.square(from_middle / (window * _DEVIATION))).astype(np.float32)
    return weights


def shares(size: int, window: int, overlap: float, blending: str) -> np.ndarray:
    """Returns (windows, window) float32: each window's share in a voxel; over windows shares add to 1."""
    weights = importance(window, blending)
    places = np.array(starts(size, window, overlap))[:, None] + np.arange(window)
    total = np.zeros(size, np.float32)
    np.add.at(total, places, weights[None].repeat(len(places), 0))
    found: np.ndarray = weights / total[places]
    return found


def check(window: Sequence[int], overlap: float, batch_size: int, rank: int) -> None:
    """Refuses windows that make no sense.

    Raises:
        UserError: It names the setting, what was found and what was expected.
    """
    check_sizes("window", window, rank)
    if not isinstance(overlap, Real) or not 0 <= overlap < 1:
        raise UserError(f"overlap must be a share from 0 to below 1, not {overlap!r}")
    if not isinstance(batch_size, Integral) or batch_size < 1:
        raise UserError(f"batch_size must be a whole number, at least 1 window, not {batch_size!r}")


def check_sizes(name: str, sizes: Any, rank: int) -> None:
    """Refuses what are no sizes in voxels.

    Raises:
        UserError: It names the setting, what was found and what was expected.
    """
    given = tuple(sizes) if isinstance(sizes, Sequence | np.ndarray) else (sizes,)
    if len(given) != rank or not all(isinstance(size, Integral) and int(size) >= 1 for size in given):
        raise UserError(f"{name} must be {rank} sizes of at least 1 voxel, not {sizes!r}")


def check_blending(blending: str) -> None:
    """Refuses a blending that there is not.

    Raises:
        UserError: It names those there are.
    """
    if blending not in BLENDINGS:
        raise UserError(f"blending must be one of {', '.join(BLENDINGS)}, not {blending!r}")
