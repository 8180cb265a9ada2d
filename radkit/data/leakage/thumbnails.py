"""Images of any size, spacing and window on one footing: small, isotropic, with local contrast alike."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import ndimage

SIDE = {2: 160, 3: 64}  # voxels along the longest side, by rank
_STEPS = 65535
_LEAST_SIDE = 8  # of a thumbnail's shortest: what is thinner (one slice) has no third dimension to speak of
_REACH = {2: 5.0, 3: 2.5}  # of what local contrast means: standard deviation of the Gaussian, voxels of a thumbnail
_BY_RANK = 0.6
_FLOOR = 0.03  # share of the range below which contrast is nothing
_FLAT = 0.01  # share of the range within which values are one value
_NEAR = 0.03  # share of padding around a voxel from which on it is at its edge


def of_record(record: Mapping[str, Any]) -> np.ndarray | None:
    """Returns a record's image, small and isotropic: uint16 from black to white, or None where it has one value.

    Args:
        record: Values by field name, of a radiograph or a volume.
    """
    image = np.asarray(record["image"])[..., 0]
    per_slice = [-1] + [1] * (image.ndim - 1)
    slope, intercept = (record[name].reshape(per_slice) for name in ("rescale_slope", "rescale_intercept"))
    return of_image(image * slope + intercept, np.asarray(record["spacing_mm"], np.float64))


def of_image(image: np.ndarray, spacing_mm: np.ndarray) -> np.ndarray | None:
    """Returns the thumbnail of an image, (slices, rows, columns) or (rows, columns), in any unit.

    Args:
        image: Modality values; what is not finite counts as the lowest.
        spacing_mm: Of each axis; where one is unknown, voxels count as cubes.
    """
    if image.ndim == 3 and image.shape[0] == 1:
        image, spacing_mm = image[0], spacing_mm[1:]
    values = np.asarray(image, np.float32)
    finite = np.isfinite(values)
    if not finite.any():
        return None
    values = np.where(finite, values, values[finite].min())
    small = _resized(values, spacing_mm)
    low, high = np.percentile(small, (0.1, 99.9))
    if high <= low:
        low, high = small.min(), small.max()
    if high <= low:
        return None
    scaled = np.clip((small - low) / (high - low), 0, 1) * _STEPS
    return scaled.round().astype(np.uint16)


def _resized(values: np.ndarray, spacing_mm: np.ndarray) -> np.ndarray:
    known = np.isfinite(spacing_mm).all() and (spacing_mm > 0).all()
    spacing = spacing_mm if known else np.ones(values.ndim)
    extent = np.array(values.shape) * spacing
    step = extent.max() / SIDE[values.ndim]
    sizes = np.maximum(np.round(extent / step), _LEAST_SIDE).astype(int)
    blocks = np.maximum(np.array(values.shape) // sizes, 1)
    values = _block_means(values, blocks)
    zoom = np.array(values.shape) / sizes
    values = ndimage.gaussian_filter(values, np.where(zoom > 1, 0.4 * zoom, 0), mode="nearest", truncate=3)
    grid = [(np.arange(n) + 0.5) * z - 0.5 for n, z in zip(sizes, zoom)]
    order = 3 if (zoom < 0.75).any() else 1
    return ndimage.map_coordinates(values, np.meshgrid(*grid, indexing="ij"), order=order, mode="nearest")


def _block_means(values: np.ndarray, blocks: np.ndarray) -> np.ndarray:
    if (blocks == 1).all():
        return values
    padding = [(0, -n % b) for n, b in zip(values.shape, blocks)]
    padded = np.pad(values, padding, mode="edge")
    split = [part for n, b in zip(padded.shape, blocks) for part in (n // b, b)]
    return padded.reshape(split).mean(axis=tuple(range(1, 2 * values.ndim, 2)))


def levelled(thumbnail: np.ndarray) -> np.ndarray:
    """Returns a thumbnail whose contrast is alike everywhere: what windows and gamma change is taken out.

    Args:
        thumbnail: From `of_image`.

    Returns:
        The same shape, float32: local standard scores, 0 where there is no contrast, and at the edge of padding.
    """
    values = _spread(thumbnail)
    reach = _REACH[values.ndim]
    mean = ndimage.gaussian_filter(values, reach, mode="nearest", truncate=3)
    spread = ndimage.gaussian_filter(np.square(values - mean), reach, mode="nearest", truncate=3)
    flat = _padding(thumbnail.astype(np.float32) / _STEPS, reach)
    return np.where(flat, 0, (values - mean) / (np.sqrt(spread) + _FLOOR))


def _spread(thumbnail: np.ndarray) -> np.ndarray:
    """Returns values between what they are and their ranks, 0 to 1.

    Brain is a hundredth of a CT's range and a third of its voxels: by rank it is seen as in a narrow window. Ranks
    alone would show noise in air.
    """
    counts = np.bincount(thumbnail.ravel(), minlength=_STEPS + 1)
    ranks = (np.cumsum(counts) - counts / 2) / thumbnail.size
    mixed = _BY_RANK * ranks + (1 - _BY_RANK) * np.arange(_STEPS + 1) / _STEPS
    return np.asarray(mixed.astype(np.float32)[thumbnail])


def _padding(values: np.ndarray, reach: float) -> np.ndarray:
    """Returns where an image's border holds one value, and somewhat beyond.

    The edge of what was padded is the strongest one, and says nothing of what the image shows.
    """
    span = ndimage.maximum_filter(values, 5) - ndimage.minimum_filter(values, 5)
    flat = span < _FLAT
    labels, _ = ndimage.label(np.pad(flat, 1, constant_values=True))
    inner = labels[(slice(1, -1),) * values.ndim]
    outside = flat & (inner == labels.flat[0])
    if not outside.any():
        return outside
    return np.asarray(ndimage.gaussian_filter(outside.astype(np.float32), reach, mode="nearest", truncate=2) > _NEAR)
