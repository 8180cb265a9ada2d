"""Anchors fitted to the boxes that a data set has, and how many of those such anchors can reach; numpy.

Each box belongs to the level of a pyramid whose anchors are of its size: four strides, as RetinaNet's. On each level
the boxes' sides are grouped by how much they overlap, and each group's middle is an anchor. What a network is built
with is `anchors`, one list a level; its layer `anchors` knows the strides and how many anchors its levels have:

    layer = network.get_layer("anchors")  # of two stages "rpn_anchors"
    shapes = fitting.fit(fitting.sides(boxes), layer.strides, [len(level) for level in layer.shapes])

The same boxes, in whatever order, give the same anchors.

Sources: Redmon and Farhadi 2017 (YOLO9000), https://arxiv.org/abs/1612.08242, section 2, groups by 1 - IoU; Lin et al.
2017 (RetinaNet), https://arxiv.org/abs/1708.02002, section 4, which size stands on which level.
"""

import itertools
from collections.abc import Iterable, Sequence

import numpy as np

from radkit.errors import UserError

Shape = tuple[float, ...]
STRIDES = 4.0
"""Side of a level's middle anchor, in its strides."""
_MOST_BOXES, _MOST_HELD = 5_000, 1_000  # that are grouped, and held against anchors; of more, every n-th by size
_MOST_TURNS = 100
_PLACES = 64  # of a box against the grid of anchors: a square and a cube of a whole number


def sides(boxes: Iterable[np.ndarray]) -> np.ndarray:
    """Returns the sides of all images' boxes, (n, rank) float64; padding and what has no extent is left out.

    Args:
        boxes: One array an image, (k, 2 * rank) edges each.

    Raises:
        UserError: There is none.

    >>> sides([np.array([[1.0, 1.0, 4.0, 9.0], [0.0, 0.0, 0.0, 0.0]])]).tolist()
    [[3.0, 8.0]]
    """
    each = [np.asarray(one, np.float64) for one in boxes if len(one)]
    if each:
        edges = np.concatenate(each)
        rank = edges.shape[-1] // 2
        found: np.ndarray = edges[:, rank:] - edges[:, :rank]
        found = found[(found > 0).all(axis=1)]
    if not each or not len(found):
        raise UserError("no image has a box; anchors are fitted to boxes, so give their sides by hand")
    return found


def fit(
    sides: np.ndarray, strides: Sequence[Sequence[int]], per_level: int | Sequence[int] = 3, of_stride: float = STRIDES
) -> list[list[Shape]]:
    """Returns the sides of each level's anchors: a list a level, the smallest first.

    A level that fewer different boxes belong to than it has anchors is fitted to those of all levels too, each made
    larger or smaller as the strides are. Where all of them are too few, what is missing are their octaves.

    Args:
        sides: (n, rank) of boxes, in pixels of what the network sees, or in mm if the strides are.
        strides: One a level, finest first, one number an axis.
        per_level: Anchors at a place; one number, or one a level.
        of_stride: Side of a level's middle anchor in its strides.

    Raises:
        UserError: No boxes, sides that are not numbers above 0, or another rank than the strides.
    """
    sides, steps = _given(sides, strides)
    counts = [per_level] * len(steps) if isinstance(per_level, int) else [int(count) for count in per_level]
    if len(counts) != len(steps) or min(counts) < 1:
        raise UserError(
            f"per_level={per_level} for {len(steps)} levels: one number from 1 on, or one a level, expected"
        )
    sides = _thinned(sides, _MOST_BOXES)
    levels = level_of(sides, strides, of_stride)
    found = []
    for level, count in enumerate(counts):
        own = sides[levels == level]
        if len(np.unique(own, axis=0)) < count:
            own = np.concatenate([own, sides * (steps[level] / steps[levels])])
        grouped = _sorted(_topped_up(_groups(own, count), count))
        found.append([tuple(float(f"{side:.4g}") for side in shape) for shape in grouped])
    return found


def level_of(sides: np.ndarray, strides: Sequence[Sequence[int]], of_stride: float = STRIDES) -> np.ndarray:
    """Returns the level that each box belongs to, (n,): whose middle anchor is nearest in size, the finer of two.

    >>> level_of(np.array([[8.0, 8.0], [40.0, 30.0]]), [(4, 4), (8, 8)])
    array([0, 1])
    """
    sides, steps = _given(sides, strides)
    # Of the geometric mean of the sides, which is the volume's, so that a flat box and a cube are compared.
    apart = np.log(sides).mean(axis=1)[:, None] - np.log(steps * of_stride).mean(axis=1)[None]
    return np.argmin(np.round(np.abs(apart), 9), axis=1)


def overlaps(sides: np.ndarray, shapes: Sequence[Sequence[Shape]], strides: Sequence[Sequence[int]]) -> np.ndarray:
    """Returns the IoU of boxes with the best anchor, (n, places): one column a place in which a box may lie.

    An anchor stands once a stride, so that even one of a box's own size is up to half a stride off. The places are
    spread evenly over the coarsest stride, the same for all boxes.

    Args:
        sides: (n, rank).
        shapes: Of the anchors, a list a level.
        strides: One a level.
    """
    sides, steps = _given(sides, strides)
    found = np.zeros((len(sides), _PLACES))
    for at, place in enumerate(_spread(sides.shape[1]) * steps.max(axis=0)):
        for level, step in zip(shapes, steps):
            # The nearest of a level's anchors overlaps most, whatever its shape.
            off = np.abs((place % step) - step / 2)
            for shape in level:
                found[:, at] = np.maximum(found[:, at], _iou(sides, np.array(shape), off))
    return found


def recall(
    sides: np.ndarray, shapes: Sequence[Sequence[Shape]], strides: Sequence[Sequence[int]], threshold: float = 0.5
) -> float:
    """Returns the share of boxes, 0 to 1, that anchors reach at best: some anchor's IoU is at or above a threshold.

    Over the places in which a box may lie, see `overlaps`. More cannot be told by an assigner of that threshold
    without its rescue of boxes that no anchor fits.
    """
    sides, _ = _given(sides, strides)
    return float((overlaps(_thinned(sides, _MOST_HELD), shapes, strides) >= threshold).mean())


def _given(sides: np.ndarray, strides: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
    sides, steps = np.asarray(sides, np.float64), np.asarray(strides, np.float64)
    if sides.ndim != 2 or not len(sides) or steps.ndim != 2 or sides.shape[1] != steps.shape[1]:
        raise UserError(
            f"sides of shape {sides.shape} for strides of shape {steps.shape}: (boxes, rank) with at least one box, "
            "and (levels, rank), were expected"
        )
    if not (np.isfinite(sides).all() and (sides > 0).all() and (steps > 0).all()):
        raise UserError("boxes' sides and strides must be numbers above 0; leave out boxes without extent")
    return sides, steps


def _sorted(sides: np.ndarray) -> np.ndarray:
    """Returns rows by volume, then by their sides, so that the order in which they came does not matter."""
    return sides[np.lexsort((*sides.T[::-1], np.round(np.prod(sides, axis=1), 6)))]


def _thinned(sides: np.ndarray, most: int) -> np.ndarray:
    return _sorted(sides)[:: -(-len(sides) // most)]


def _groups(sides: np.ndarray, count: int) -> np.ndarray:
    """Returns the middles of at most `count` groups, (groups, rank): those of two beginnings that overlap more."""
    sides = _sorted(sides)
    different = np.unique(sides, axis=0)
    if len(different) <= count:
        return different
    found = [_grouped(sides, begin) for begin in (_by_size(sides, count), _far_apart(different, count))]
    return max(found, key=lambda middles: _best(sides, middles).mean())


def _by_size(sides: np.ndarray, count: int) -> np.ndarray:
    return np.stack([np.median(part, axis=0) for part in np.array_split(sides, count)])


def _far_apart(sides: np.ndarray, count: int) -> np.ndarray:
    """Returns boxes of which each overlaps those before it least; the first is the most usual one."""
    middle = np.median(sides, axis=0)
    found = sides[[np.argmax(_best(sides, middle[None]))]]
    while len(found) < count:
        found = np.concatenate([found, sides[[np.argmin(_best(sides, found))]]])
    return found


def _grouped(sides: np.ndarray, middles: np.ndarray) -> np.ndarray:
    """Returns the best middles that turns of dealing boxes to middles, and moving these to their medians, came to."""
    best, reached = middles, -1.0
    for _ in range(_MOST_TURNS):
        overlap = _iou(sides[:, None], middles[None])
        if overlap.max(axis=1).mean() <= reached:
            break
        best, reached = middles, float(overlap.max(axis=1).mean())
        of_group = np.argmax(overlap, axis=1)
        members = (sides[of_group == group] for group in range(len(middles)))
        middles = np.stack(
            [np.median(one, axis=0) if len(one) else old for one, old in zip(members, middles, strict=True)]
        )
    return best


def _topped_up(shapes: np.ndarray, count: int) -> np.ndarray:
    """Returns `count` shapes: those given and, where they are fewer, what lies half an octave from them, and so on."""
    found, step = shapes, 0
    while len(found) < count:
        step += 1
        found = np.concatenate([found, shapes * 2 ** (step / 2), shapes * 2 ** (-step / 2)])
    return found[:count]


def _best(sides: np.ndarray, middles: np.ndarray) -> np.ndarray:
    return _iou(sides[:, None], middles[None]).max(axis=1)


def _iou(a: np.ndarray, b: np.ndarray, off: np.ndarray | float = 0.0) -> np.ndarray:
    """Returns the IoU of boxes by their sides, (..., rank), whose middles are `off` apart along each axis."""
    along = np.clip(np.minimum(np.minimum(a, b), (a + b) / 2 - off), 0, None)
    inside = np.prod(along, axis=-1)
    return inside / (np.prod(a, axis=-1) + np.prod(b, axis=-1) - inside)


def _spread(rank: int) -> np.ndarray:
    """Returns points in a unit square or cube, (places, rank): one in each of equal cells.

    Within its cell each lies anywhere: even steps would meet a finer level's anchors all in the same way.
    """
    along = round(_PLACES ** (1 / rank))
    cells = np.array(list(itertools.product(range(along), repeat=rank)))
    return (cells + np.random.default_rng(0).random(cells.shape)) / along
