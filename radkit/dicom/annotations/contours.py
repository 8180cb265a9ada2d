"""Closed contours in a slice's voxels as masks, and masks as contours along voxels' edges; both ways exact.

Places are in voxels, row and column, and whole at voxels' centres: voxel 3 reaches from 2.5 to 3.5.

Source: DICOM PS3.3 C.8.8.6.1 (kinds of contours), C.8.8.6.3 (inner and outer contours).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# A voxel's centre may lie this far from a contour that was drawn along centres, in voxels, and be on it: places come
# as decimal strings. The least holds where they have many digits, for images' own places are rounded as well.
TOLERANCE = 0.01
_LEAST_TOLERANCE = 0.001
# As far from any other contour: what lies beside it is outside, and only computing is inexact.
_EXACT = 1e-4
# Comparisons of points with edges that are made at a time: they fit into a processor's cache.
_AT_A_TIME = 1 << 18
# Right, down, left, up: steps along a mask's edges, clockwise around what is inside, as row and column.
_STEPS = np.array([(0, 1), (1, 0), (0, -1), (-1, 0)])
_RIGHT, _DOWN, _LEFT, _UP = range(4)


def tolerance(points_mm: np.ndarray, pixel_mm: float) -> float:
    """Returns how far off, in voxels, places may be that were written down with as many decimals as these.

    Args:
        points_mm: (points, 3).
        pixel_mm: The lesser of the distances of rows and of columns.
    """
    for decimals in (2, 3, 4):  # with fewer, they may as well be exact
        scaled = points_mm * 10.0**decimals
        if np.abs(scaled - np.rint(scaled)).max(initial=0) < 1e-4:
            off = float(np.sqrt(0.5)) * 10.0**-decimals / pixel_mm
            return min(max(off, _LEAST_TOLERANCE), TOLERANCE)
    return _LEAST_TOLERANCE


def fill(
    contours: Sequence[np.ndarray], shape: tuple[int, int], exclusive: bool = False, tolerance: float = TOLERANCE
) -> np.ndarray:
    """Returns which voxels of a slice the contours of one structure bound: those whose centres lie inside.

    A centre on a contour's path is inside; where the path runs along centres, one beside it by rounding, too. Within
    one contour that touches or crosses itself, as one does that leads through a channel to a hole's edge (a keyhole),
    the even-odd rule holds; winding does not matter. Of several, one that lies in another is a hole in it, and one in
    the hole is inside again; contours that cross are united, and one that is given twice counts once.

    Args:
        contours: (points, 2) each, row and column; the last point is joined to the first.
        shape: The slice's, (rows, columns); what lies beyond it is cut off.
        exclusive: What an odd number of contours surround is inside instead (CLOSEDPLANAR_XOR).
        tolerance: How far off the points may be by rounding, in voxels.

    Returns:
        (rows, columns) bool.

    Source: DICOM PS3.3 C.8.8.6.3; that nested contours are holes is no rule of it, but what is in use.
    """
    whole = np.zeros(shape, bool)
    drawn = [one for one in (_drawn(points, shape, tolerance) for points in contours) if one.closed.any()]
    if exclusive:
        for one in drawn:
            whole[one.place] ^= one.odd
        for one in drawn:
            whole[one.place] |= one.path
        return whole
    for one, part in _nested(drawn, shape):
        whole[one.place] |= part
    return whole


@dataclass(frozen=True)
class _Drawn:
    """A contour's voxels, on the part of the slice that it reaches.

    Attributes:
        points: As given.
        place: Which rows and columns.
        odd: Centres that it surrounds an odd number of times.
        path: Centres that lie on it.
        size: By which contours are ordered: whatever lies in another is smaller.
    """

    points: np.ndarray
    place: tuple[slice, slice]
    odd: np.ndarray
    path: np.ndarray
    size: tuple[int, float]

    @property
    def closed(self) -> np.ndarray:
        return self.odd | self.path

    @property
    def open(self) -> np.ndarray:
        return self.odd & ~self.path


def _drawn(points: np.ndarray, shape: tuple[int, int], tolerance: float) -> _Drawn:
    points = np.asarray(points, np.float64)
    limits = np.array(shape)
    low = np.clip(np.ceil(points.min(axis=0) - TOLERANCE), 0, limits).astype(int)
    high = np.clip(np.floor(points.max(axis=0) + TOLERANCE) + 1, low, limits).astype(int)
    place = (slice(low[0], high[0]), slice(low[1], high[1]))
    if (low == high).any():
        nothing = np.zeros(high - low, bool)
        return _Drawn(points, place, nothing, nothing, (0, 0.0))
    start = points - low
    end = np.roll(start, -1, axis=0)
    odd, path = _odd(start, end, high - low), _path(start, end, high - low, tolerance)
    area = abs(float(np.sum(start[:, 0] * end[:, 1] - start[:, 1] * end[:, 0])))
    return _Drawn(points, place, odd, path, (int((odd | path).sum()), area))


def _odd(start: np.ndarray, end: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """Returns which centres have an odd number of edges to their left."""
    rows, columns = shape
    lower, upper = np.minimum(start[:, 0], end[:, 0]), np.maximum(start[:, 0], end[:, 0])
    # An edge counts in a row that it begins in and not in one that it ends in: a corner counts once or twice.
    edge, row = _expanded(np.ceil(np.clip(lower, 0, rows)), np.ceil(np.clip(upper, 0, rows)))
    from_row, from_column = start[edge].T
    to_row, to_column = end[edge].T
    column = from_column + (row - from_row) * (to_column - from_column) / (to_row - from_row)
    column = np.ceil(np.clip(column, 0, columns)).astype(int)
    passed = np.bincount(row * (columns + 1) + column, minlength=rows * (columns + 1)).reshape(rows, columns + 1)
    return np.asarray(np.cumsum(passed[:, :columns], axis=1) % 2 == 1)


def _path(start: np.ndarray, end: np.ndarray, shape: np.ndarray, tolerance: float) -> np.ndarray:
    """Returns which centres lie on an edge."""
    found = np.zeros(shape, bool)
    reach = np.where(_along_centres(start, end, tolerance), tolerance, _EXACT)
    way = end - start
    steep = np.abs(way[:, 0]) >= np.abs(way[:, 1])
    for along, which in ((0, steep), (1, ~steep)):
        first, last, steps = start[which], end[which], way[which]
        if not len(first):
            continue
        lower, upper = np.minimum(first, last)[:, along], np.maximum(first, last)[:, along]
        edge, number = _expanded(
            np.ceil(np.clip(lower - TOLERANCE, 0, shape[along])),
            np.floor(np.clip(upper + TOLERANCE, -1, shape[along] - 1)) + 1,
        )
        # An edge that runs along the rows has at most one centre of a column near it, the one nearest to it there.
        share = np.clip((number - first[edge, along]) / _or_one(steps[edge, along]), 0, 1)
        across = np.rint(first[edge, 1 - along] + share * steps[edge, 1 - along])
        centres = np.stack([number, across] if along == 0 else [across, number], axis=1)
        near = _distance(centres, first[edge], steps[edge]) <= reach[which][edge]
        near &= (across >= 0) & (across < shape[1 - along])
        row, column = centres[near].astype(int).T
        found[row, column] = True
    return found


def _along_centres(start: np.ndarray, end: np.ndarray, tolerance: float) -> np.ndarray:
    """Returns which edges run from centre to centre, or along a row's or a column's centres."""
    whole = np.rint(start)
    from_whole = np.abs(start - whole) <= tolerance
    along_one = from_whole & (np.abs(end - whole) <= tolerance)
    from_centre = from_whole.all(axis=1)
    return np.asarray(along_one.any(axis=1) | (from_centre & np.roll(from_centre, -1)))


def _or_one(values: np.ndarray) -> np.ndarray:
    return np.where(values == 0, 1.0, values)


def _distance(points: np.ndarray, start: np.ndarray, way: np.ndarray) -> np.ndarray:
    """Returns how far points lie from edges, (..., 2) each."""
    there = points - start
    share = np.clip((there * way).sum(axis=-1) / _or_one((way * way).sum(axis=-1)), 0, 1)
    return np.asarray(np.linalg.norm(there - share[..., None] * way, axis=-1))


def _expanded(first: np.ndarray, stop: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns every whole number from each `first` to below its `stop`, after the index of the pair that it is of."""
    counts = np.maximum(stop - first, 0).astype(int)
    index = np.repeat(np.arange(len(counts)), counts)
    before = np.repeat(np.cumsum(counts) - counts, counts)
    return index, first[index].astype(int) + np.arange(len(index)) - before


def _nested(drawn: Sequence[_Drawn], shape: tuple[int, int]) -> list[tuple[_Drawn, np.ndarray]]:
    """Returns what each contour adds: its inside without its holes; of a contour that is a hole, nothing."""
    if len(drawn) == 1:
        return [(drawn[0], drawn[0].closed)]
    drawn, around = _around(sorted(drawn, key=lambda one: one.size))
    depth = [0] * len(drawn)
    for index in reversed(range(len(drawn))):  # the largest first: what lies around a contour is known before it
        depth[index] = max((depth[other] + 1 for other in around[index]), default=0)
    parts: list[np.ndarray] = []
    canvas = np.zeros(shape, bool)
    for index, one in enumerate(drawn):
        # A hole's path is inside its structure, so the hole is what lies strictly within.
        canvas[one.place] = one.open if depth[index] % 2 else one.closed
        for inner in range(index):
            if index in around[inner] and depth[inner] == depth[index] + 1:
                canvas[drawn[inner].place] &= ~parts[inner]
        parts.append(canvas[one.place].copy())
        canvas[one.place] = False
    return [(one, part) for one, part, deep in zip(drawn, parts, depth) if deep % 2 == 0]


def _around(drawn: Sequence[_Drawn]) -> tuple[list[_Drawn], list[set[int]]]:
    """Returns contours without those given twice, and of each in which others it lies; smaller ones come first."""
    low = np.array([one.points.min(axis=0) for one in drawn]).reshape(-1, 2)
    high = np.array([one.points.max(axis=0) for one in drawn]).reshape(-1, 2)
    kept: list[int] = []
    twice: set[int] = set()
    around: dict[int, set[int]] = {}
    for index, one in enumerate(drawn):
        fits = (low - 2 * TOLERANCE <= low[index]).all(axis=1) & (high + 2 * TOLERANCE >= high[index]).all(axis=1)
        holders = [i for i in np.flatnonzero(fits).tolist() if i > index and _lies_in(one, drawn[i])]
        if any(_lies_in(drawn[i], one) for i in holders):
            twice.add(index)
            continue
        kept.append(index)
        around[index] = set(holders)
    place = {index: at for at, index in enumerate(kept)}
    return [drawn[i] for i in kept], [{place[i] for i in around[index] if i in place} for index in kept]


def _lies_in(inner: _Drawn, outer: _Drawn) -> bool:
    """Tells whether no part of a contour's path leaves what another bounds."""
    rows, columns = inner.place
    if not (outer.place[0].start <= rows.start and rows.stop <= outer.place[0].stop):
        return _path_lies_in(inner.points, outer.points)
    there = outer.closed[rows.start - outer.place[0].start : rows.stop - outer.place[0].start]
    if outer.place[1].start <= columns.start and columns.stop <= outer.place[1].stop:
        there = there[:, columns.start - outer.place[1].start : columns.stop - outer.place[1].start]
        if (inner.open & ~there).any():  # the quick no
            return False
    return _path_lies_in(inner.points, outer.points)


def _path_lies_in(inner: np.ndarray, outer: np.ndarray) -> bool:
    start = inner
    way = np.roll(inner, -1, axis=0) - inner
    # One point a voxel at least: what leaves for less than that is not seen, and no voxel lies there.
    counts = np.maximum(np.ceil(np.abs(way).max(axis=1)), 1)
    edge, number = _expanded(np.zeros(len(counts)), counts)
    points = start[edge] + way[edge] * (number / counts[edge])[:, None]
    first, last = outer, np.roll(outer, -1, axis=0)
    beside = np.maximum(first, last)[:, 0] >= inner[:, 0].min() - 2 * TOLERANCE
    beside &= np.minimum(first, last)[:, 0] <= inner[:, 0].max() + 2 * TOLERANCE
    first, last = first[beside], last[beside]
    if not _all_in(points[:1], first, last):  # so with most that lie beside each other
        return False
    at_a_time = max(_AT_A_TIME // max(len(first), 1), 1)
    return all(_all_in(points[i : i + at_a_time], first, last) for i in range(0, len(points), at_a_time))


def _all_in(points: np.ndarray, first: np.ndarray, last: np.ndarray) -> bool:
    row, column = points[:, :1], points[:, 1:]
    spans = (first[:, 0] <= row) != (last[:, 0] <= row)
    at = first[:, 1] + (row - first[:, 0]) * ((last[:, 1] - first[:, 1]) / _or_one(last[:, 0] - first[:, 0]))
    outside = points[(spans & (at < column)).sum(axis=1) % 2 == 0]
    near = _distance(outside[:, None, :], first, last - first).min(axis=1, initial=np.inf)
    return bool((near <= 2 * TOLERANCE).all())


def trace(inside: np.ndarray, inset: float = 0.0, keyholes: bool = False) -> list[np.ndarray]:
    """Returns the contours of a slice's mask along voxels' edges, so that `fill` gives the same mask back.

    Voxels that touch by a corner alone are not joined. Contours run clockwise around what is inside, as seen with rows
    downwards, and the other way around holes.

    Args:
        inside: (rows, columns) bool.
        inset: How far within the voxels' edges the contours run, in voxels, less than 0.5.
        keyholes: Joins each hole's edge to a contour on its left by a channel of no width, so that each contour bounds
            a part of its own; else each hole is a contour of its own, within another.

    Returns:
        (points, 2) float64 each, row and column; corners only, the first is not repeated.

    Source: DICOM PS3.3 C.8.8.6.3 (keyholes).
    """
    if not inside.any():
        return []
    edges = _edges(np.asarray(inside, bool))
    follows = edges.follows.tolist()
    channels: dict[int, np.ndarray] = {}
    if keyholes:
        for hole in _holes(edges, follows):
            channels |= _channel(edges, inside, hole, follows, inset)
    corners, turns = _corners(edges, inset)
    return [_points(loop, corners, turns, channels) for loop in _loops(follows)]


@dataclass(frozen=True)
class _Edges:
    """Edges of voxels between inside and outside, each with the inside on its right.

    Attributes:
        start: (edges, 2) whole: the voxels' corner where it begins; corner 0 is before voxel 0.
        way: (edges,) of `_STEPS`.
        follows: (edges,) index of the one that goes on from it.
        index: Of each way and corner, which edge it is; -1 where none is.
    """

    start: np.ndarray
    way: np.ndarray
    follows: np.ndarray
    index: np.ndarray


def _edges(inside: np.ndarray) -> _Edges:
    rows, columns = inside.shape
    padded = np.pad(inside, 1)
    begins = np.zeros((4, rows + 1, columns + 1), bool)
    begins[_RIGHT, :, :-1] = padded[1:, 1:-1] & ~padded[:-1, 1:-1]
    begins[_DOWN, :-1] = padded[1:-1, :-1] & ~padded[1:-1, 1:]
    begins[_LEFT, :, 1:] = padded[:-1, 1:-1] & ~padded[1:, 1:-1]
    begins[_UP, 1:] = padded[1:-1, 1:] & ~padded[1:-1, :-1]
    found = np.argwhere(begins)
    way, start = found[:, 0], found[:, 1:]
    index = np.full(begins.shape, -1)
    index[begins] = np.arange(len(found))
    row, column = (start + _STEPS[way]).T
    # Where four edges meet, the turn to the right stays at its voxel; so voxels that touch by a corner stay apart.
    right, ahead, left = (index[(way + turn) % 4, row, column] for turn in (1, 0, 3))
    follows = np.where(right >= 0, right, np.where(ahead >= 0, ahead, left))
    return _Edges(start, way, follows, index)


def _loops(follows: Sequence[int]) -> list[list[int]]:
    """Returns the edges of each closed path, in its order."""
    seen = bytearray(len(follows))
    loops = []
    for first in range(len(follows)):
        loop, at = [], first
        while not seen[at]:
            seen[at] = 1
            loop.append(at)
            at = follows[at]
        if loop:
            loops.append(loop)
    return loops


def _holes(edges: _Edges, follows: Sequence[int]) -> list[int]:
    """Returns of each hole one of its leftmost edges."""
    found = []
    for loop in _loops(follows):
        columns = edges.start[loop, 1]
        # The leftmost upright edges lead up at an outer contour, and down at a hole's.
        leftmost = [loop[i] for i in np.flatnonzero((columns == columns.min()) & (edges.way[loop] % 2 == 1))]
        if edges.way[leftmost[0]] == _DOWN:
            found.append(leftmost[0])
    return found


def _channel(edges: _Edges, inside: np.ndarray, hole: int, follows: list[int], inset: float) -> dict[int, np.ndarray]:
    """Joins a hole's edge to the next edge on its left, in `follows`; returns the points that both paths gain.

    The other edge is further left than any of this hole's, so holes are never joined in a circle, and the last one is
    joined to an outer contour.
    """
    row, column = edges.start[hole].tolist()
    outside = np.flatnonzero(~inside[row, :column])
    first = int(outside[-1]) + 1 if outside.size else 0
    other = int(edges.index[_UP, row + 1, first])
    follows[hole], follows[other] = follows[other], follows[hole]
    # Beside the centres: no reader's scan line runs along the channel.
    ends = np.array([(row + 0.25, column - 0.5 - inset), (row + 0.25, first - 0.5 + inset)])
    return {hole: ends, other: ends[::-1]}


def _corners(edges: _Edges, inset: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns where each edge begins, (edges, 2), and whether there is a corner."""
    # Edges that lead right and down and so on lie above, right of, below and left of what is inside.
    shifted = edges.start - 0.5 + np.array([(inset, 0), (0, -inset), (-inset, 0), (0, inset)])[edges.way]
    before = np.empty(len(shifted), int)
    before[edges.follows] = np.arange(len(shifted))
    level = edges.way % 2 == 0
    row = np.where(level, shifted[:, 0], shifted[before, 0])
    column = np.where(level, shifted[before, 1], shifted[:, 1])
    return np.stack([row, column], axis=1), level != level[before]


def _points(loop: Sequence[int], corners: np.ndarray, turns: np.ndarray, channels: dict[int, np.ndarray]) -> np.ndarray:
    if channels.keys().isdisjoint(loop):
        return corners[[edge for edge in loop if turns[edge]]]
    pieces: list[np.ndarray] = []
    for edge in loop:
        if turns[edge]:
            pieces.append(corners[edge : edge + 1])
        if edge in channels:
            pieces.append(channels[edge])
    return np.concatenate(pieces)
