"""Where boxes lie in the patient, and between grids: numpy, float64.

A box counts edges: voxel k reaches from k to k + 1, so its middle, which an affine knows as index k, is at k + 0.5.
Affines map (column, row, slice, 1) to LPS mm, as `Volume.affine`: the reverse of a box's order of axes. A radiograph's
boxes have no slice and lie on slice 0.

Source: DICOM PS3.3 C.7.6.2.1.1 (Image Plane), equation C.7.6.2.1-1: LPS place of a voxel's middle.
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from radkit.errors import UserError


class Placed(NamedTuple):
    """Boxes in the patient.

    Attributes:
        centres: (n, 3) LPS mm.
        sides_mm: (n, rank), along the array's axes as boxes have them: slices, rows, columns. Of a tilted stack the
            first runs along the tilt, not along the slices' normal.
    """

    centres: np.ndarray
    sides_mm: np.ndarray


def affine(origin_mm: np.ndarray, direction: np.ndarray, spacing_mm: Sequence[float]) -> np.ndarray | None:
    """Returns the affine of a record, (4, 4); None where its place or spacing is not known (nan, or not above 0).

    Args:
        origin_mm: (3,), LPS place of the first voxel's middle.
        direction: (3, 3), columns: LPS step a mm of spacing, of column, row and slice.
        spacing_mm: Slice, row and column; or row and column.
    """
    lengths = np.ones(3)
    lengths[: len(spacing_mm)] = np.asarray(spacing_mm, np.float64)[::-1]
    found = np.eye(4)
    found[:3, :3] = np.asarray(direction, np.float64) * lengths
    found[:3, 3] = np.asarray(origin_mm, np.float64)
    return found if np.isfinite(found).all() and (lengths > 0).all() else None


def to_mm(boxes: np.ndarray, affine: np.ndarray) -> Placed:
    """Returns where boxes lie in the patient.

    Args:
        boxes: (n, 4 or 6) edges, in voxels.
        affine: (4, 4), from (column, row, slice, 1) to LPS mm.

    Example:
        >>> placed = to_mm(np.array([[0.0, 0.0, 0.0, 1.0, 2.0, 4.0]]), np.diag([0.5, 0.5, 3.0, 1.0]))
        >>> placed.centres.tolist(), placed.sides_mm.tolist()
        ([[0.75, 0.25, 0.0]], [[3.0, 1.0, 2.0]])
    """
    edges = _edges(boxes)
    rank = edges.shape[1] // 2
    low, high = edges[:, :rank], edges[:, rank:]
    return Placed(_in_patient((low + high) / 2, affine), (high - low) * _steps(affine, rank))


def to_voxels(placed: Placed, affine: np.ndarray) -> np.ndarray:
    """Returns boxes, (n, 2 * rank) float64 edges in voxels: the inverse of `to_mm`."""
    sides_mm = np.asarray(placed.sides_mm, np.float64)
    rank = sides_mm.shape[1]
    centres = np.asarray(placed.centres, np.float64)
    if centres.shape != (len(sides_mm), 3) or rank not in (2, 3):
        raise UserError(
            f"centres of shape {centres.shape} with sides of shape {sides_mm.shape}: (boxes, 3) and (boxes, 2 or 3) "
            "were expected"
        )
    indices = np.linalg.solve(affine[:3, :3], (centres - affine[:3, 3]).T).T
    middle = indices[:, rank - 1 :: -1] + 0.5
    half = sides_mm / _steps(affine, rank) / 2
    return np.concatenate([middle - half, middle + half], axis=1)


def corners(boxes: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Returns the corners of boxes in the patient, (n, 2 ** rank, 3) LPS mm; the last axis' edge changes first.

    Arguments as `to_mm`.
    """
    each = _corners(_edges(boxes))
    return _in_patient(each.reshape(-1, each.shape[-1]), affine).reshape(*each.shape[:2], 3)


def sides_mm(boxes: np.ndarray, spacing_mm: Sequence[float]) -> np.ndarray:
    """Returns how long boxes are along the array's axes, (n, rank) in mm.

    Args:
        boxes: (n, 2 * rank), edges in voxels.
        spacing_mm: One number an axis, in the array's order.
    """
    edges = _edges(boxes)
    rank = edges.shape[1] // 2
    if len(spacing_mm) != rank:
        raise UserError(f"spacing {tuple(spacing_mm)} for boxes of {rank} axes: one number an axis was expected")
    return (edges[:, rank:] - edges[:, :rank]) * np.asarray(spacing_mm, np.float64)


def moved(boxes: np.ndarray, by: np.ndarray, sizes: Sequence[int] = ()) -> np.ndarray:
    """Returns boxes on another grid, (n, 2 * rank) float64: what holds all their corners there.

    Args:
        boxes: (n, 2 * rank), edges in the voxels of a grid.
        by: (4, 4), from (column, row, slice, 1) of that grid to those of the other: `Grid.source` of a record leads
            to the image as acquired, its inverse back.
        sizes: Of the other grid, in the array's order: boxes are cut there. Empty: they are not. What lies outside is
            left without extent, and stays in its row.
    """
    edges = _edges(boxes)
    rank = edges.shape[1] // 2
    each = _corners(edges)
    there = (_in_patient(each.reshape(-1, rank), by)[:, rank - 1 :: -1] + 0.5).reshape(each.shape)
    if len(sizes):
        there = np.clip(there, 0, np.asarray(sizes))
    # What a turned axis leaves of rounding is no part of a voxel.
    return np.round(np.concatenate([there.min(axis=1), there.max(axis=1)], axis=1), 6)


def _edges(boxes: np.ndarray) -> np.ndarray:
    edges = np.asarray(boxes, np.float64)
    if edges.ndim != 2 or edges.shape[1] not in (4, 6):
        raise UserError(f"boxes of shape {edges.shape}: (boxes, 4) in 2-D or (boxes, 6) in 3-D were expected")
    return edges


def _corners(edges: np.ndarray) -> np.ndarray:
    """Returns (n, 2 ** rank, rank), in the array's order of axes."""
    rank = edges.shape[1] // 2
    pairs = edges.reshape(-1, 2, rank)
    chosen = np.array(list(itertools.product((0, 1), repeat=rank)))
    return pairs[:, chosen, np.arange(rank)]


def _steps(affine: np.ndarray, rank: int) -> np.ndarray:
    """Returns the length of a step along each of the array's axes, in mm."""
    lengths: np.ndarray = np.linalg.norm(affine[:3, :3], axis=0)
    return lengths[rank - 1 :: -1]


def _in_patient(points: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Returns points, (n, rank) of edges in the array's order, by an affine of (column, row, slice) indices: (n, 3)."""
    indices = np.zeros((len(points), 3))
    indices[:, : points.shape[1]] = points[:, ::-1] - 0.5
    return indices @ affine[:3, :3].T + affine[:3, 3]
