"""The grid on which the network sees a record, and parts of images cut out of it."""

from collections.abc import Sequence

import numpy as np

from radkit import config


def fed_shape(shape: Sequence[int], spacing_mm: np.ndarray, data: config.Data) -> tuple[int, ...]:
    """Returns the size that `prepare.resample` gives an image, from the same float32 steps.

    Args:
        shape: (rank,) of the record.
        spacing_mm: (rank,).
        data: The config's data section.

    >>> fed_shape((10, 100, 100), np.array([3.0, 0.5, 0.5]), config.Data("ct", spacing_mm=(3.0, 1.0, 1.0)))
    (10, 50, 50)
    """
    source = np.asarray(shape, np.float32)
    if data.kind == "radiograph":
        target = np.asarray(data.image_size, np.float32)
        scaled = np.round(source * np.min(target / source))
        return tuple(int(n) for n in np.minimum(target, np.maximum(1, scaled)))
    if not data.spacing_mm:
        return tuple(int(n) for n in shape)
    sizes_mm = source * np.asarray(spacing_mm, np.float32)
    scaled = np.round(sizes_mm / np.asarray(data.spacing_mm, np.float32))
    return tuple(int(n) for n in np.maximum(1, scaled))


def fed_spacing(shape: Sequence[int], fed: Sequence[int], spacing_mm: np.ndarray) -> np.ndarray:
    """Returns the voxels' spacing on the network's grid, (rank,) float32 in mm; nan where it is unknown."""
    return (np.asarray(spacing_mm, np.float64) * shape / np.asarray(fed)).astype(np.float32)


def region_low(low: Sequence[int], size: Sequence[int], region: Sequence[int]) -> tuple[int, ...]:
    """Returns the first voxel of the region around a patch; both have one middle."""
    return tuple(first - (around - own) // 2 for first, own, around in zip(low, size, region))


def cut(image: np.ndarray, low: Sequence[int], region: Sequence[int]) -> np.ndarray:
    """Returns a part of an image, (*region, 1), a copy; what lies outside of the image is 0.

    Args:
        image: (*spatial, 1), as of a mapped file: only what is needed of it is read.
        low: The part's first voxel, negative where it begins before the image.
        region: The part's size.
    """
    shape = image.shape[:-1]
    begin = [max(0, first) for first in low]
    end = [min(have, first + want) for have, first, want in zip(shape, low, region)]
    inside = tuple(slice(a, max(a, b)) for a, b in zip(begin, end))
    if all(b - a == want for a, b, want in zip(begin, end, region)):
        return np.array(image[inside], order="C")
    out = np.zeros((*region, 1), image.dtype)
    there = image[inside]
    out[tuple(slice(a - f, a - f + n) for a, f, n in zip(begin, low, there.shape))] = there
    return out
