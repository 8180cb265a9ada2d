"""Surfaces as small pieces with a size: patches (mm2) between eight voxels, line pieces (mm) between four pixels.

A piece lies at each corner of the voxel grid whose neighbours are not all alike. Which of them are inside is a number,
the corner's code, and fixes the piece: its points are the middles of the lines between voxels inside and outside, as
marching cubes has it. So counted, a surface has its true size, however coarse the voxels are along one axis.

Codes, patches and lengths are those of DeepMind's surface-distance: Nikolov et al. 2021,
https://doi.org/10.2196/26151; Lorensen and Cline 1987, https://doi.org/10.1145/37402.37422.
"""

import functools
import itertools
from collections.abc import Sequence

import numpy as np

from radkit.metrics import surfaces

_Corner = tuple[int, ...]


def elements(mask: np.ndarray, spacing: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Returns where the pieces of a mask's surface lie and how large they are.

    Args:
        mask: bool, (z, y, x) or (y, x); outside of the image is outside of the mask.
        spacing: Voxel size in mm, in the order of the axes.

    Returns:
        Places, integers, (n, axes), each the corner before the voxel of that index; sizes, float64, (n,), in mm2 of
        (z, y, x) and in mm of (y, x).

    Example:
        >>> places, lengths = elements(np.ones((1, 3), bool), (1.0, 1.0))
        >>> len(places), round(float(lengths.sum()), 3)
        (8, 6.828)
    """
    codes = np.pad(mask, 1).view(np.uint8)
    for axis in reversed(range(mask.ndim)):
        at = (slice(None),) * axis
        low, high = (*at, slice(None, -1)), (*at, slice(1, None))
        codes = (codes[low] << 2 ** (mask.ndim - 1 - axis)) | codes[high]
    table = sizes(spacing)
    at_surface = (table > 0)[codes]
    return surfaces.indices(at_surface), table[codes[at_surface]]


def sizes(spacing: Sequence[float]) -> np.ndarray:
    """Returns the size of the piece of each code, float64, (256,) in mm2 or (16,) in mm; 0 where all are alike.

    The first neighbour, the one of the lowest indices, is the code's highest bit.
    """
    if len(spacing) == 2:
        return _lengths(*spacing)
    z, y, x = spacing
    return np.linalg.norm(_normals() * (y * x, z * x, z * y), axis=-1).sum(-1)


def _lengths(row: float, column: float) -> np.ndarray:
    oblique = float(np.hypot(row, column)) / 2
    table = np.full(16, oblique)  # one inside, or one outside: a corner is cut off
    table[[0b0000, 0b1111]] = 0
    table[[0b0011, 0b1100]] = column
    table[[0b0101, 0b1010]] = row
    table[[0b0110, 0b1001]] = 2 * oblique
    return table


@functools.cache
def _normals() -> np.ndarray:
    """Returns each code's triangles, (256, 4, 3): their normals without sign, as long as the area, of unit voxels."""
    table = np.zeros((256, 4, 3))
    for code in range(1, 255):
        inside = _corners(code, 3)
        fewer = inside if len(inside) <= 4 else _corners(255 - code, 3)
        normals = [normal for piece in _connected(fewer) for normal in _piece(piece)]
        table[code, : len(normals)] = np.array(normals) / 8
    return table


def _corners(code: int, rank: int) -> list[_Corner]:
    every = list(itertools.product((0, 1), repeat=rank))
    return [corner for bit, corner in enumerate(reversed(every)) if code >> bit & 1]


def _connected(corners: list[_Corner]) -> list[list[_Corner]]:
    """Returns the corners in groups that hang together along the cube's edges."""
    pieces: list[list[_Corner]] = []
    for corner in corners:
        touched = [piece for piece in pieces if any(_axis(corner, other) is not None for other in piece)]
        pieces = [piece for piece in pieces if piece not in touched]
        pieces.append([corner, *itertools.chain.from_iterable(touched)])
    return pieces


def _axis(a: _Corner, b: _Corner) -> int | None:
    """Returns along which axis two corners are neighbours."""
    differing = [axis for axis in range(3) if a[axis] != b[axis]]
    return differing[0] if len(differing) == 1 else None


def _piece(corners: list[_Corner]) -> list[np.ndarray]:
    """Returns the triangles that part connected corners from the other ones: normals times eight."""
    edges = [(a, b) for a, b in itertools.combinations(corners, 2) if _axis(a, b) is not None]
    unit, every = np.eye(3), np.ones(3)
    if len(corners) == 1:
        return [every]
    along = {axis for axis in range(3) if any(_axis(a, b) == axis for a, b in edges)}
    if len(corners) == 2:
        return [2 * (every - unit[along.pop()])] * 2
    if len(along) == 2:
        flat = 4 * unit[({0, 1, 2} - along).pop()]
        return [flat, 2 * every, every] if len(corners) == 3 else [flat, flat]
    ends = [corner for corner in corners if sum(corner in edge for edge in edges) == 1]
    if len(ends) == 3:  # a corner and its three neighbours
        return [every, 2 * every, 2 * every, every]
    middle = next(_axis(a, b) for a, b in edges if a not in ends and b not in ends)
    return [every, 3 * every, *(2 * (unit[middle] + unit[axis]) for axis in range(3) if axis != middle)]
