"""How much of a record must be read around a patch, so that what is turned into it is real."""

import functools
import itertools
import math

import numpy as np

from radkit import config

# A region is at most so many times its patch, along each axis: what is beyond it is its edge, held.
_MOST = 2.0
_ANGLES = 9  # tried between the largest angle and its opposite, along each axis


def region_size(size: tuple[int, ...], spacings_mm: np.ndarray, settings: config.Augment) -> tuple[int, ...]:
    """Returns how many voxels a side the region has that is cut around a patch of `size`.

    Rotation, zoom out, shear, shift and elastic changes then find real voxels; a region is at most twice the patch.

    Args:
        size: Of the patch.
        spacings_mm: (records, rank), mm; what is no number > 0 counts as 1.
        settings: How much of each change; `size` itself is returned where nothing of space but flips is asked for.

    >>> region_size((64, 64), np.ones((1, 2)), config.Augment(scale=0.25, shift_mm=2.0))
    (84, 84)
    """
    if not moves(settings):
        return tuple(size)
    spacings = np.asarray(spacings_mm, np.float64).reshape(-1, len(size))
    spacings = np.where(np.isfinite(spacings) & (spacings > 0), spacings, 1.0)
    needed = np.zeros(len(size))
    for spacing in np.unique(spacings.astype(np.float32), axis=0).astype(np.float64):
        needed = np.maximum(needed, _needed(np.array(size), spacing, settings))
    return tuple(_side(have, want) for have, want in zip(size, needed))


def moves(settings: config.Augment) -> bool:
    """Returns whether voxels are read between voxels: anything of space beyond flips."""
    return any([settings.shift, settings.shift_mm, settings.scale, settings.shear, settings.elastic_mm]) or any(
        settings.rotate
    )


def _needed(size: np.ndarray, spacing: np.ndarray, settings: config.Augment) -> np.ndarray:
    half_mm = (size - 1) / 2 * spacing + settings.elastic_mm
    shear = np.eye(len(size)) + settings.shear * np.triu(np.ones((len(size),) * 2), 1)
    reach = (1 + settings.scale) * (_turned(tuple(settings.rotate), len(size)) @ (shear @ half_mm)).max(axis=0)
    return np.asarray(2 * ((reach + settings.shift_mm) / spacing + settings.shift * size) + 1)


@functools.cache
def _turned(rotate: tuple[float, ...], rank: int) -> np.ndarray:
    """Returns the sizes of the numbers of rotation matrices, (matrices, rank, rank), over all angles within."""
    angles = [np.radians(np.linspace(-most, most, _ANGLES if most else 1)) for most in rotate]
    if not angles:
        return np.eye(rank)[None]
    return np.abs([rotation(chosen, rank) for chosen in itertools.product(*angles)])


def rotation(angles: tuple[float, ...], rank: int) -> np.ndarray:
    """Returns the matrix that turns by angles in radians about the slice, row and column axis; in 2-D by one."""
    matrix = np.eye(rank)
    for angle, (one, other) in zip(angles, planes(rank)):
        turn = np.eye(rank)
        turn[one, one] = turn[other, other] = math.cos(angle)
        turn[one, other], turn[other, one] = -math.sin(angle), math.sin(angle)
        matrix = turn @ matrix
    return matrix


def planes(rank: int) -> list[tuple[int, int]]:
    """Returns the axes that each angle turns into each other: the plane across the axis it is about."""
    return [(1, 2), (0, 2), (0, 1)] if rank == 3 else [(0, 1)]


def _side(have: int, want: float) -> int:
    # By an even number: the middles of patch and region must fall together, on a voxel or between two.
    most = int((_MOST - 1) * have) // 2 * 2
    return have + min(most, 2 * math.ceil(max(0.0, want - have - 1e-6) / 2))
