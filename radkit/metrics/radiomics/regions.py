"""A region cut out of its image: its voxels in order, their grey levels, and who lies beside whom."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from radkit.errors import UserError
from radkit.metrics import inputs

MAX_BINS = 4096
# One of each pair of opposite directions to the 26 neighbours: the one whose first non-zero step goes forward.
DIRECTIONS = [step for step in itertools.product((1, 0, -1), repeat=3) if step > (0, 0, 0)]


@dataclass(frozen=True)
class Region:
    """The voxels of a region, numbered in the order z, y, x.

    Attributes:
        values: Grey value of each voxel, (n,), float64.
        levels: Its grey level, (n,), integers; the bin of the smallest value is 1.
        coordinates: Its place in the region's bounding box, (n, 3), integers, z, y, x.
        extent: Size of the bounding box, voxels.
        spacing: Voxel size in mm, (3,).
        numbers: Number of the voxel at each place of the bounding box, -1 outside the region, with a margin of one
            voxel on all sides, int32.
    """

    values: np.ndarray
    levels: np.ndarray
    coordinates: np.ndarray
    extent: tuple[int, ...]
    spacing: np.ndarray
    numbers: np.ndarray


def cut_out(image: ArrayLike, mask: ArrayLike, spacing: Sequence[float], bin_width: float) -> Region:
    """Returns the voxels inside the mask; none when it is empty.

    Raises:
        UserError: See `radiomics_features`.
    """
    picture, inside = np.asarray(image), inputs.mask("mask", mask) != 0
    if picture.ndim != 3 or picture.shape != inside.shape:
        raise UserError(
            f"image and mask must be of one shape, (z, y, x), not {picture.shape} and {inside.shape}; "
            "give a single slice as one of thickness 1: image[None]"
        )
    size_mm = _spacing(spacing)
    coordinates = np.argwhere(inside)
    values = _values(picture[inside])
    low = coordinates.min(axis=0, initial=np.iinfo(np.intp).max) if len(coordinates) else np.zeros(3, np.intp)
    coordinates = coordinates - low
    extent = tuple(int(size) for size in coordinates.max(axis=0, initial=-1) + 1)
    numbers = np.full([size + 2 for size in extent], -1, np.int32)
    numbers[tuple(coordinates.T + 1)] = np.arange(len(values), dtype=np.int32)
    return Region(values, _levels(values, bin_width), coordinates, extent, size_mm, numbers)


def neighbours(region: Region, direction: tuple[int, ...]) -> np.ndarray:
    """Returns the number of the voxel one step from each voxel, -1 where that is outside the region; (n,), int32."""
    return region.numbers[tuple((region.coordinates + 1 + np.asarray(direction)).T)]


def mean_over_directions(found: Sequence[dict[str, float]], names: Sequence[str]) -> dict[str, float]:
    """Returns the mean of each feature over directions; nan when there are none."""
    return {name: float(np.mean([one[name] for one in found])) if found else np.nan for name in names}


def entropy(p: np.ndarray) -> float:
    """Returns the entropy of probabilities in bits, with the smallest step of a float64 added inside the logarithm."""
    return float(-np.sum(p * np.log2(p + np.spacing(1))))


def _values(inside: np.ndarray) -> np.ndarray:
    try:
        values = inside.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise UserError(f"image must hold numbers: {error}") from error
    wrong = int(np.count_nonzero(~np.isfinite(values)))
    if wrong:
        raise UserError(
            f"image must be finite inside the mask, but {wrong} of {values.size} values are nan or infinite; "
            "fill them or leave those voxels out of the mask"
        )
    return values


def _spacing(spacing: Sequence[float]) -> np.ndarray:
    sizes = np.asarray(spacing, dtype=np.float64)
    if sizes.shape != (3,) or not np.isfinite(sizes).all() or (sizes <= 0).any():
        raise UserError(f"spacing must be 3 sizes > 0 in mm, in the order z, y, x, not {spacing}")
    return sizes


def _levels(values: np.ndarray, bin_width: float) -> np.ndarray:
    if not np.isfinite(bin_width) or bin_width <= 0:
        raise UserError(f"bin_width must be a number > 0, in the image's unit, not {bin_width!r}")
    if not values.size:
        return np.zeros(0, np.intp)
    low, high = values.min(), values.max()
    if (high - low) / bin_width > MAX_BINS:
        raise UserError(
            f"bin_width {bin_width:g} cuts the region's values, {low:g} to {high:g}, into more than {MAX_BINS} bins; "
            "give a greater one (30 to 130 bins are usual)"
        )
    # By edges, not by division: a value that rounding puts on an edge then falls into the bin it has in pyradiomics.
    edges = np.arange(low - low % bin_width, high + 2 * bin_width, bin_width)
    levels: np.ndarray = np.digitize(values, edges)
    return levels
