"""An array of weights made to fit another number of axes or of image channels."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

Channels = Literal["sum", "mean"]
Depth = Literal["average", "centre"]


def channels(kernel: np.ndarray, wanted: int, how: Channels = "sum") -> np.ndarray:
    """Returns a first convolution's kernel for another number of image channels.

    Args:
        kernel: (*sizes, channels, filters), any float.
        wanted: The new number of channels.
        how: `sum`: a picture that is the same in every channel is answered as before: three kernels become their sum,
            one becomes n of which each has an n-th. `mean`: every new channel gets the mean of the old ones, for images
            whose values are scaled as one channel's were.

    Returns:
        (*sizes, wanted, filters), the kernel's dtype.

    Example:
        >>> channels(np.ones((1, 1, 3, 2), np.float32), 1).ravel()
        array([3., 3.], dtype=float32)
    """
    together = kernel.sum(-2, keepdims=True) / wanted if how == "sum" else kernel.mean(-2, keepdims=True)
    return np.repeat(together, wanted, axis=-2).astype(kernel.dtype)


def depth(kernel: np.ndarray, wanted: int, how: Depth = "average") -> np.ndarray:
    """Returns the kernel of a 3-D convolution from that of a 2-D one.

    Args:
        kernel: (rows, columns, in, out), any float.
        wanted: How many slices deep the new kernel is.
        how: `average`: each slice has the kernel divided by their number; `centre`: the middle one has all of it, so
            that each slice of a volume is at first answered as it was as an image.

    Returns:
        (wanted, rows, columns, in, out), the kernel's dtype. Either way a volume that does not change from slice to
        slice is answered as each of its slices was.

    Source: Carreira and Zisserman 2017, https://arxiv.org/abs/1705.07750, section 2.4.
    """
    if how == "average":
        return np.repeat(kernel[None] / wanted, wanted, axis=0).astype(kernel.dtype)
    inflated = np.zeros((wanted, *kernel.shape), kernel.dtype)
    inflated[(wanted - 1) // 2] = kernel  # of an even number that one which `same` padding puts in the middle
    return inflated


def fit(
    array: np.ndarray, shape: Sequence[int], *, first: bool, channels_by: Channels = "sum", depth_by: Depth = "average"
) -> tuple[np.ndarray | None, str]:
    """Returns an array in the wanted shape, or None where it cannot be had, and what was done to it.

    Args:
        array: As it was stored.
        shape: As the network wants it.
        first: Whether its layer sees the image, and so may have another number of channels.
        channels_by: As `how` of `channels`.
        depth_by: As `how` of `depth`.

    Example:
        >>> kernel, how = fit(np.ones((3, 3, 3, 8), np.float32), (3, 3, 3, 1, 8), first=True)
        >>> kernel.shape, how
        ((3, 3, 3, 1, 8), '3 -> 1 channels by sum, 2-D -> 3-D by average')
    """
    wanted, done = tuple(shape), []
    if array.ndim >= 4 and first and array.shape[-2] != wanted[-2]:
        done.append(f"{array.shape[-2]} -> {wanted[-2]} channels by {channels_by}")
        array = channels(array, wanted[-2], channels_by)
    if array.ndim == 4 and len(wanted) == 5 and array.shape == wanted[1:]:
        done.append(f"2-D -> 3-D by {depth_by}")
        array = depth(array, wanted[0], depth_by)
    return (array, ", ".join(done)) if array.shape == wanted else (None, "")
