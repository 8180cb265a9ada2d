"""Skeletons of masks: what is left when the border is peeled off without tearing, filling or shortening anything.

As scikit-image 0.26's `skeletonize` has it, voxel for voxel, where it departs from the papers too: a slice by Zhang and
Suen 1984, https://doi.org/10.1145/357994.358023; a volume by Lee, Kashyap and Chu 1994,
https://doi.org/10.1006/cgip.1994.1042. Of very small things nothing may be left.

A neighbourhood is a number: one bit a neighbour, in the order of the axes. What the number allows is worked out once.
"""

import functools
import itertools

import numpy as np

_STEPS = [step for step in itertools.product((-1, 0, 1), repeat=3) if any(step)]
# The order decides which of two middle voxels stays.
_SIDES = [(0, -1, 0), (0, 1, 0), (0, 0, 1), (0, 0, -1), (1, 0, 0), (-1, 0, 0)]
_SIDES_OF_ONE_PLANE = 4
_MOST_REMEMBERED = 1 << 19


def skeleton(mask: np.ndarray) -> np.ndarray:
    """Returns the skeleton of a bool mask, (z, y, x) or (y, x): bool, the same shape.

    Example:
        >>> skeleton(np.array([[0, 1, 1, 1, 1, 1], [0, 1, 1, 1, 1, 1], [0, 1, 1, 1, 1, 1]], bool)).sum(1).tolist()
        [1, 3, 0]
    """
    return _thinned_slice(mask) if mask.ndim == 2 else _thinned_volume(mask)


def _thinned_slice(mask: np.ndarray) -> np.ndarray:
    padded = np.pad(mask, 1)
    inside = padded[1:-1, 1:-1]
    rows, columns = mask.shape
    changed = True
    while changed:
        changed = False
        for may_go in _zhang_suen():
            codes = np.zeros(mask.shape, np.uint8)
            for bit, (row, column) in enumerate(_RING):
                codes |= padded[1 + row : 1 + row + rows, 1 + column : 1 + column + columns].view(np.uint8) << bit
            gone = inside & may_go[codes]
            inside &= ~gone
            changed |= bool(gone.any())
    return inside.copy()


# Clockwise from above: the paper's P2 to P9, of which P2 is the lowest bit.
_RING = [(-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1)]
# Neighbourhoods that scikit-image treats unlike the paper: the corner of a step may go, for one.
_DEPARTS_IN_FIRST = [5, 12, 20, 24, 28, 48, 65, 67, 80, 96, 97, 99, 112, 133, 192, 208]
_DEPARTS_IN_SECOND = [3, 5, 6, 7, 13, 20, 24, 52, 54, 65, 80, 88, 129, 192, 193]


@functools.cache
def _zhang_suen() -> tuple[np.ndarray, np.ndarray]:
    """Returns which pixels go in the paper's first and second pass, by their neighbourhood, bool, (256,) each."""
    ring = (np.arange(256)[:, None] >> np.arange(8)) & 1
    north, east, south, west = ring[:, 0], ring[:, 2], ring[:, 4], ring[:, 6]
    entries = ((ring == 0) & (np.roll(ring, -1, axis=1) == 1)).sum(1)
    is_border = (ring.sum(1) >= 2) & (ring.sum(1) <= 6) & (entries == 1)
    first = is_border & (north * east * south == 0) & (east * south * west == 0)
    second = is_border & (north * east * west == 0) & (north * south * west == 0)
    first[_DEPARTS_IN_FIRST] ^= True
    second[_DEPARTS_IN_SECOND] ^= True
    return first, second


def _thinned_volume(mask: np.ndarray) -> np.ndarray:
    padded = np.pad(mask, 1)
    strides = np.array([padded.shape[1] * padded.shape[2], padded.shape[2], 1])
    steps = np.array(_STEPS) @ strides
    inside = np.flatnonzero(padded)
    is_in = padded.ravel()
    # Each voxel's neighbourhood is kept up to date: who leaves clears its bit with all neighbours. The neighbour at
    # step number k sees it at the opposite step, number 25 - k.
    codes = np.zeros(padded.size, np.int32)
    for bit, step in enumerate(steps):
        codes[inside] |= is_in[inside + step].astype(np.int32) << bit
    kept_bits = ~(1 << (25 - np.arange(26, dtype=np.int32)))
    sides = _SIDES[:_SIDES_OF_ONE_PLANE] if mask.shape[0] == 1 else _SIDES
    changed = True
    while changed:
        changed = False
        for side in sides:
            for voxel in _candidates(codes, inside, side):
                # Ends and holes are not looked at again: what two candidates lose together is lost.
                if _hangs_together(int(codes[voxel])):
                    codes[voxel + steps] &= kept_bits
                    is_in[voxel] = False
                    changed = True
            inside = inside[is_in[inside]]
    return padded[1:-1, 1:-1, 1:-1].copy()


def _candidates(codes: np.ndarray, inside: np.ndarray, side: tuple[int, int, int]) -> list[int]:
    """Returns the voxels that have no neighbour at a side and may go, in the order of memory."""
    at_border = inside[codes[inside] >> _STEPS.index(side) & 1 == 0]
    distinct, which = np.unique(codes[at_border], return_inverse=True)
    may_go = np.array([_may_go(code) for code in distinct.tolist()], bool)
    candidates: list[int] = at_border[may_go[which]].tolist()
    return candidates


@functools.lru_cache(_MOST_REMEMBERED)
def _may_go(code: int) -> bool:
    """Tells whether a voxel may leave: it ends no line, and holes, tunnels and parts stay as many as they are."""
    return code.bit_count() != 1 and _euler_change(code) == 0 and _hangs_together(code)


def _euler_change(code: int) -> int:
    """Returns eight times by how much the Euler characteristic changes with the voxel."""
    table = _octant_changes()
    change = 0
    for bits in _OCTANTS:
        number = 0
        for place, bit in enumerate(bits):
            number |= (code >> bit & 1) << place
        change += table[number]
    return change


@functools.lru_cache(_MOST_REMEMBERED)
def _hangs_together(code: int) -> bool:
    """Tells whether the neighbours are one part without the voxel, each touching the next by a corner at least."""
    reached = new = code & -code
    while new:
        bit = new & -new
        new ^= bit
        found = _touching()[bit.bit_length() - 1] & code & ~reached
        reached |= found
        new |= found
    return reached == code


@functools.cache
def _touching() -> tuple[int, ...]:
    def touch(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
        return a != b and all(abs(i - j) <= 1 for i, j in zip(a, b))

    return tuple(sum(1 << bit for bit, other in enumerate(_STEPS) if touch(step, other)) for step in _STEPS)


# The seven other voxels of the octant towards each corner; of a voxel at (i, j, k) of them, place 4 i + 2 j + k - 1.
_OCTANTS = [
    [_STEPS.index((i * z, j * y, k * x)) for i, j, k in itertools.product((0, 1), repeat=3) if i or j or k]
    for z, y, x in itertools.product((-1, 1), repeat=3)
]


@functools.cache
def _octant_changes() -> tuple[int, ...]:
    """Returns eight times what an octant adds to the Euler characteristic by holding the voxel, 128 numbers.

    The octant's share in the points, lines, faces and cubes around its middle: the middle is a point, six lines reach
    half into it, twelve faces a quarter, eight cubes an eighth.
    """

    def characteristic(voxels: frozenset[tuple[int, ...]]) -> int:
        total = 0
        for cell in itertools.product((0, 1, None), repeat=3):  # None: not extended along this axis
            free = cell.count(None)
            held = any(all(c is None or c == v for c, v in zip(cell, voxel)) for voxel in voxels)
            total += held * 2**free * (-1) ** (3 - free)
        return total

    others = list(itertools.product((0, 1), repeat=3))[1:]
    changes = []
    for number in range(128):
        held = frozenset(voxel for place, voxel in enumerate(others) if number >> place & 1)
        changes.append(characteristic(held | {(0, 0, 0)}) - characteristic(held))
    return tuple(changes)
