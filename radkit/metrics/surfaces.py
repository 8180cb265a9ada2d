"""Surfaces of masks and how far each point of one lies from the other.

Voxel surface: a voxel inside with a neighbour outside across a face, or at the image's border. Inner surfaces, those of
holes, count.
"""

import functools
from collections.abc import Sequence

import numpy as np
from scipy import spatial

_LONGEST_STEP = 4  # in voxels of equal sides: about 250 steps in a volume, 50 in a slice


def box(mask: np.ndarray) -> tuple[slice, ...] | None:
    """Returns the smallest box that holds a bool mask's voxels, a slice an axis; None of an empty mask."""
    found: list[slice] = []
    while mask.ndim:
        held = np.flatnonzero(mask.any(axis=tuple(range(1, mask.ndim))))
        if not held.size:
            return None
        found.append(slice(int(held[0]), int(held[-1]) + 1))
        mask = np.asarray(mask[found[-1]].any(axis=0))
    return tuple(found)


def union(first: tuple[slice, ...], second: tuple[slice, ...]) -> tuple[slice, ...]:
    """Returns the smallest box that holds two."""
    return tuple(slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(first, second))


def border_voxels(mask: np.ndarray) -> np.ndarray:
    """Returns the indices of a bool mask's voxel surface, integers, (n, axes).

    Example:
        >>> len(border_voxels(np.ones((3, 3), bool)))
        8
    """
    inner = mask.copy()
    for axis in range(mask.ndim):
        here, all_along = np.moveaxis(inner, axis, 0), np.moveaxis(mask, axis, 0)
        here[1:] &= all_along[:-1]
        here[:-1] &= all_along[1:]
        here[[0, -1]] = False
    return indices(mask ^ inner)


def indices(mask: np.ndarray) -> np.ndarray:
    """Returns where a mask is true, integers, (n, axes): `np.argwhere`, in half the time."""
    return np.stack(np.unravel_index(np.flatnonzero(mask), mask.shape), axis=-1)


def nearest(points: np.ndarray, surface: np.ndarray, shape: Sequence[int], spacing: Sequence[float]) -> np.ndarray:
    """Returns the distance of each point to the nearest of a surface's.

    Surfaces that are compared mostly lie close together: whether there is one a step away is looked up, shortest steps
    first; a tree is asked only about the points that have found none.

    Args:
        points: Grid indices, integers, (n, axes).
        surface: Grid indices, integers, (m, axes), m > 0.
        shape: The grid's, on which both lie.
        spacing: Grid size in mm, in the order of the axes.

    Returns:
        Exact Euclidean distances, float64, (n,), in mm.
    """
    steps, apart = _short_steps(tuple(spacing))
    margin = steps.max(0)
    padded = np.array(shape) + 2 * margin
    strides = np.append(np.cumprod(padded[:0:-1])[::-1], 1)
    is_surface = np.zeros(padded.prod(), bool)
    is_surface[(surface + margin) @ strides] = True
    distances, left, places = np.empty(len(points)), np.arange(len(points)), (points + margin) @ strides
    for step, distance in zip((steps @ strides).tolist(), apart.tolist()):
        is_free = ~is_surface[places + step]
        distances[left[~is_free]] = distance
        left, places = left[is_free], places[is_free]
        if not left.size:
            return distances
    distances[left] = _by_tree(points[left], surface, np.asarray(spacing, float))
    return distances


@functools.lru_cache(16)
def _short_steps(spacing: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Returns all steps on the grid up to a length, integers, (n, axes), and their lengths in mm, (n,), rising."""
    sampling = np.asarray(spacing, float)
    longest = _LONGEST_STEP * sampling.prod() ** (1 / len(spacing))
    most = np.floor(longest / sampling).astype(int)
    steps = np.indices(2 * most + 1).reshape(len(spacing), -1).T - most
    lengths = np.sqrt(((steps * sampling) ** 2).sum(-1))
    order = np.argsort(lengths, kind="stable")[: np.count_nonzero(lengths <= longest)]
    return steps[order], lengths[order]


def _by_tree(points: np.ndarray, surface: np.ndarray, sampling: np.ndarray) -> np.ndarray:
    # A grid's many equal coordinates make the median, which a balanced tree splits at, dear to find.
    tree = spatial.cKDTree(surface * sampling, balanced_tree=False, leafsize=32)
    place = tree.query(points * sampling)[1]
    # Of whole steps, as a distance transform has it: differences of coordinates in mm would be off by rounding, and
    # with it what lies exactly at a tolerance.
    return np.sqrt((((points - surface[place]) * sampling) ** 2).sum(-1))
