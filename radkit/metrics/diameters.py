"""A lesion's long and short axis in the axial plane, as a reader draws them."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy import spatial

from radkit.errors import UserError
from radkit.metrics import inputs


def lesion_diameters(mask: ArrayLike, spacing: Sequence[float]) -> dict[str, float]:
    """Returns the longest in-plane diameter and the longest one perpendicular to it, in the slice where it is longest.

    The outline runs half-way between the centres of a voxel inside and its neighbour outside, as that of scikit-image's
    `find_contours` and of pyradiomics' mesh: a single voxel is one voxel wide. (scikit-image's `feret_diameter_max`
    fills the voxels of the convex hull first and may be 1-2 % longer on a ragged mask.) Diameters may cross a notch
    (they are those of the slice's convex hull). The short axis is a line across the hull at a right angle to the long.

    Args:
        mask: Non-zero inside one lesion, (z, y, x) or (y, x).
        spacing: Voxel size in mm, in the order of the axes.

    Returns:
        long_axis_mm, short_axis_mm and slice_index (along z, the first of several; 0 for (y, x)). Of several longest
        diameters the one with the longest perpendicular counts. nan for an empty mask.

    Raises:
        UserError: Neither 2-D nor 3-D, shares instead of a mask, or a spacing that does not fit.

    Example:
        >>> lesion_diameters([[0, 1, 0], [1, 1, 1], [0, 1, 0]], spacing=[1.0, 1.0])
        {'long_axis_mm': 3.0, 'short_axis_mm': 3.0, 'slice_index': 0}

    Source: Eisenhauer et al. 2009, https://doi.org/10.1016/j.ejca.2008.10.026, 3.1 and appendix II.
    """
    inside = inputs.mask("mask", mask) != 0
    if inside.ndim not in (2, 3):
        raise UserError(f"mask must be (z, y, x) or (y, x), not {inside.shape}")
    sizes = inputs.numbers("spacing", spacing)
    if sizes.shape != (inside.ndim,) or not np.isfinite(sizes).all() or (sizes <= 0).any():
        raise UserError(f"spacing must be {inside.ndim} sizes > 0 in mm, one an axis, not {spacing}")
    slices = inside if inside.ndim == 3 else inside[None]
    long_axis, short_axis, index = math.nan, math.nan, math.nan
    for z in np.flatnonzero(slices.any(axis=(1, 2))).tolist():
        longest, across = _axes(_outline(slices[z]) * sizes[-2:])
        if not longest <= long_axis * (1 + 1e-12):  # also true when long_axis is nan
            long_axis, short_axis, index = longest, across, z
    return {"long_axis_mm": long_axis, "short_axis_mm": short_axis, "slice_index": index}


def _outline(inside: np.ndarray) -> np.ndarray:
    """Returns the points (y, x) half a voxel outside the first and last voxel of each row and column, (n, 2)."""
    points = []
    for axis in (0, 1):
        lines = inside if axis == 0 else inside.T
        rows = np.flatnonzero(lines.any(axis=1))
        first = lines[rows].argmax(axis=1) - 0.5
        last = lines.shape[1] - lines[rows, ::-1].argmax(axis=1) - 0.5
        ends = np.concatenate([np.stack([rows, first], axis=1), np.stack([rows, last], axis=1)])
        points.append(ends if axis == 0 else ends[:, ::-1])
    return np.concatenate(points)


def _axes(points: np.ndarray) -> tuple[float, float]:
    """Returns the points' longest distance and the longest line across their hull at a right angle to it."""
    hull = points[spatial.ConvexHull(points).vertices]  # counter-clockwise
    distance = spatial.distance.cdist(hull, hull)
    longest = float(distance.max())
    pairs = np.argwhere(np.triu(distance >= longest * (1 - 1e-12)))
    return longest, max(_across(hull, int(start), int(end)) for start, end in pairs)


def _across(hull: np.ndarray, start: int, end: int) -> float:
    """Returns the longest line across a convex polygon at a right angle to the diameter from start to end.

    The diameter's ends are the outermost points along it, so they cut the polygon into two chains that run along it
    without turning back. The width between two such chains is largest at one of their corners.
    """
    direction = (hull[end] - hull[start]) / np.linalg.norm(hull[end] - hull[start])
    along, aside = hull @ direction, hull @ np.array([-direction[1], direction[0]])
    one = np.arange(start, end + 1)
    other = np.arange(end, start + len(hull) + 1)[::-1] % len(hull)
    widths = np.interp(along, along[one], aside[one]) - np.interp(along, along[other], aside[other])
    return float(np.abs(widths).max())
