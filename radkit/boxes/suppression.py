"""One box for one thing: of boxes that overlap much, the surest is kept.

Everything here takes lists of fixed length, pads what it returns, and compiles under XLA; sizes may also be free.
Nothing is learned through it. Boxes that hold nothing, as padding, are never kept.
"""

import math
from typing import Any

import numpy as np
from keras import ops

from radkit.boxes import geometry
from radkit.errors import UserError

TILE, CHUNK, FEW = 256, 128, 64
"""Boxes that are settled at once, kept boxes that they are compared with at once, and so few of a tile are settled
apart from the rest: a middle between many turns and comparisons in vain."""


def nms(
    boxes: Any,
    scores: Any,
    *,
    iou_threshold: float = 0.5,
    score_threshold: float = 0.0,
    most: int = 100,
    groups: Any = None,
) -> tuple[Any, Any]:
    """Returns which boxes remain when each, from the surest on, removes those that overlap it by more than a threshold.

    The result is the greedy one, exactly. Boxes are gone through in tiles: each is compared with what is kept so far,
    then within itself, until enough are kept or none is left that is sure enough.

    Args:
        boxes: (batch, n, 2 * rank), edges.
        scores: (batch, n) float; of equal ones the first comes first. Any numbers, logits too.
        iou_threshold: A box with a higher IoU with a kept one is removed.
        score_threshold: Boxes below it are left out; minus infinity: none is.
        most: Boxes that are kept at most.
        groups: (batch, n) int, below 2 ** 24: boxes of different groups do not remove each other. None: all are one
            group.

    Returns:
        Indices (batch, most) int32, surest first, 0 behind the last, and whether there is one, (batch, most) bool.

    Raises:
        UserError: Shapes that do not belong together, `most` below 1, or a threshold outside of 0 to 1.
    """
    boxes, scores = given(boxes, scores, most, iou_threshold, score_threshold, groups=groups)
    rows, tiles = _sorted(boxes, scores, score_threshold, groups)
    batch, rank = ops.shape(rows)[1], geometry.rank(boxes)
    chunk = min(CHUNK, most)
    room = -(-most // chunk) * chunk
    share = iou_threshold / (1.0 + iou_threshold)
    starts = ops.arange(batch, dtype="int32")[:, None] * (room + 1)
    width = _EDGES + 2 * rank

    def unfinished(number: Any, count: Any, kept: Any) -> Any:
        # The first of a tile is its surest: without it none of the tile is there.
        is_there = ops.take(rows, ops.minimum(number, tiles - 1), axis=0)[:, 0, _THERE] > 0.0
        return ops.logical_and(number < tiles, ops.any(ops.logical_and(count < most, is_there)))

    def settle(number: Any, count: Any, kept: Any) -> tuple[Any, Any, Any]:
        own = ops.take(rows, number, axis=0)  # (batch, tile, numbers)
        earlier = ops.reshape(kept, (batch, room + 1, width))[:, :room]
        overlap = _highest(own, earlier, ops.max(count), chunk, rank, groups is not None)
        free = ops.cast(ops.logical_and(own[..., _THERE] > 0.0, overlap <= share), "float32")
        free = _within(own, free, share, rank, groups is not None)
        place = count[:, None] + ops.cast(ops.cumsum(free, axis=1), "int32") - 1
        place = ops.where(ops.logical_and(free > 0.0, place < most), place, room)  # the last is never read
        where = ops.reshape(place + starts, (-1, 1))
        kept = ops.scatter_update(kept, where, ops.reshape(own, (-1, own.shape[-1])))
        count = ops.minimum(count + ops.cast(ops.sum(free, axis=1), "int32"), most)
        return number + 1, count, kept

    none = ops.zeros((batch, 1), dtype="float32")
    empty = ops.tile(ops.reshape(none[:, :, None] + _nothing(rank), (-1, width)), (room + 1, 1))
    first = ops.zeros((), dtype="int32")
    _, count, kept = ops.while_loop(unfinished, settle, (first, ops.cast(none[:, 0], "int32"), empty))
    index = ops.cast(ops.reshape(kept, (batch, room + 1, width))[:, :most, _INDEX], "int32")
    valid = ops.arange(most, dtype="int32")[None] < count[:, None]
    return ops.where(valid, index, 0), valid


# Of a row: whether there is a box, its number, its group, what it holds, its low edges negative, its high edges.
_THERE, _INDEX, _GROUP, _VOLUME, _EDGES = 0, 1, 2, 3, 4


def _nothing(rank: int) -> Any:
    """Returns the row of no box: its volume is 1, so that nothing is divided by 0."""
    return ops.convert_to_tensor([[[0.0, 0.0, -1.0, 1.0] + [0.0] * (2 * rank)]], dtype="float32")


def given(
    boxes: Any, scores: Any, most: int, iou_threshold: float, score_threshold: float, **lists: Any
) -> tuple[Any, Any]:
    """Returns boxes and scores as float32 that nothing is learned through; refuses what cannot be suppressed.

    Args:
        boxes: (batch, n, 2 * rank).
        scores: (batch, n).
        most: Boxes that are kept at most.
        iou_threshold: 0 to 1.
        score_threshold: Any number.
        lists: By name what else stands beside each box, (batch, n), or None.

    Raises:
        UserError: See `nms`.
    """
    boxes, scores = (ops.stop_gradient(ops.cast(ops.convert_to_tensor(x), "float32")) for x in (boxes, scores))
    geometry.rank(boxes)
    if len(boxes.shape) != 3 or len(scores.shape) != 2:
        raise UserError(
            f"boxes of shape {tuple(boxes.shape)} and scores of shape {tuple(scores.shape)}: (batch, n, edges) and "
            "(batch, n) were expected"
        )
    for name, value in {"scores": scores, **lists}.items():
        if value is not None and not _as_long(boxes, value):
            raise UserError(
                f"{name} of shape {tuple(np.shape(value))} for boxes of shape {tuple(boxes.shape)}: one number a box "
                "was expected"
            )
    if most < 1 or most != int(most) or not 0 <= iou_threshold <= 1 or math.isnan(score_threshold):
        raise UserError(
            f"suppression with most={most}, iou_threshold={iou_threshold}, score_threshold={score_threshold}: at least "
            "1 box, a threshold from 0 to 1 and one that is a number are expected"
        )
    return boxes, scores


def _as_long(boxes: Any, values: Any) -> bool:
    """Returns whether there is one value a box, as far as sizes are known before anything runs."""
    sizes = tuple(np.shape(values))
    return len(sizes) == 2 and all(None in pair or pair[0] == pair[1] for pair in zip(sizes, boxes.shape[:2]))


def holds(boxes: Any) -> Any:
    """Returns whether boxes hold something, (...,) bool; those of edges that are no numbers (NaN) do not."""
    volume = geometry.volume(boxes)
    return ops.logical_and(volume > 0.0, ops.isfinite(volume))


def _sorted(boxes: Any, scores: Any, score_threshold: float, groups: Any) -> tuple[Any, Any]:
    """Returns rows by falling score, (tiles, batch, tile, numbers), and how many tiles there are."""
    rank, (batch, count) = geometry.rank(boxes), ops.shape(scores)
    volume = geometry.volume(boxes)
    is_there = ops.logical_and(scores >= score_threshold, holds(boxes))
    index = ops.top_k(ops.where(is_there, scores, -float("inf")), count)[1]
    index = ops.cast(index, "int32")
    low, high = geometry.edges(boxes)
    group = ops.zeros_like(scores) if groups is None else ops.cast(groups, "float32")
    number = ops.cast(ops.arange(count, dtype="int32"), "float32") + ops.zeros_like(scores)
    columns = ops.stack([ops.cast(is_there, "float32"), number, group, volume], axis=-1)
    rows = ops.where(is_there[..., None], ops.concatenate([columns, -low, high], axis=-1), _nothing(rank))
    width = 4 + 2 * rank
    flat = index + ops.arange(batch, dtype="int32")[:, None] * count
    rows = ops.take(ops.reshape(rows, (-1, width)), flat, axis=0)
    tile = min(TILE, count) if isinstance(count, int) else TILE
    tile = max(tile, 1)
    tiles = (count + tile) // tile  # one at least
    padding = ops.zeros((batch, tile, width), dtype="float32") + _nothing(rank)
    rows = ops.concatenate([rows, padding], axis=1)[:, : tiles * tile]
    return ops.transpose(ops.reshape(rows, (batch, tiles, tile, width)), (1, 0, 2, 3)), tiles


def _overlaps(a: Any, b: Any, rank: int, grouped: bool) -> Any:
    """Returns what rows share, of what both hold together, each with each, (batch, n, m); 0 for those of two groups.

    With an IoU of t it is t / (1 + t), rounded as that is: one step less for each of millions of pairs. Where they lie
    apart it may be below 0.
    """
    a, b = ops.unstack(a[:, :, None], axis=-1), ops.unstack(b[:, None], axis=-1)
    inside: Any = None
    for axis in range(_EDGES, _EDGES + rank):
        low, high = (ops.minimum(a[edge], b[edge]) for edge in (axis, axis + rank))
        inside = low + high if inside is None else inside * ops.maximum(low + high, 0.0)
    found = inside / (a[_VOLUME] + b[_VOLUME])
    return ops.where(ops.equal(a[_GROUP], b[_GROUP]), found, 0.0) if grouped else found


def _highest(own: Any, kept: Any, count: Any, chunk: int, rank: int, grouped: bool) -> Any:
    """Returns the highest overlap of each row with those kept, (batch, tile); only as many are looked at as there are.

    Args:
        own: (batch, tile, numbers).
        kept: (batch, room, numbers), the room some chunks.
        count: How many are kept, of the image with most.
        chunk: How many are looked at in one turn.
        rank: Spatial axes.
        grouped: Whether groups count.
    """
    batch, room, width = ops.shape(kept)
    parts = ops.reshape(kept, (batch, room // chunk, chunk, width))

    def compare(number: Any, most: Any) -> Any:
        part = ops.take(parts, number, axis=1)
        return ops.maximum(most, ops.max(_overlaps(own, part, rank, grouped), axis=-1))

    return ops.fori_loop(0, (count + chunk - 1) // chunk, compare, ops.zeros_like(own[..., 0]))


def _within(own: Any, free: Any, share: float, rank: int, grouped: bool) -> Any:
    """Returns which rows of a tile remain, (batch, tile) of 0 and 1, of those that nothing before it removes."""
    tile = own.shape[1]
    few = min(FEW, tile)

    def settle(rows: Any, free: Any) -> Any:
        removes = ops.cast(_overlaps(rows, rows, rank, grouped) > share, "float32")
        return _settled(free, removes * ops.triu(ops.ones((rows.shape[1],) * 2, dtype="float32"), 1))

    def settle_few() -> Any:
        values, place = ops.top_k(free, few)  # of equal ones the first comes first
        rows = ops.take_along_axis(own, place[..., None], axis=1)
        return ops.matmul(settle(rows, values)[:, None], ops.one_hot(place, tile, dtype="float32"))[:, 0]

    return ops.cond(ops.max(ops.sum(free, axis=1)) <= few, settle_few, lambda: settle(own, free))


def _settled(free: Any, removes: Any) -> Any:
    """Returns which rows of a tile remain, (batch, tile) of 0 and 1: each removes later ones unless it is removed.

    Args:
        free: Those that nothing before the tile removes, (batch, tile).
        removes: (batch, tile, tile), whether the first would remove the second, which comes later.

    After n turns the first n are right, so it ends; chains are short, so it ends soon.
    """

    def again(free_now: Any, is_new: Any) -> tuple[Any, Any]:
        taken = ops.matmul(free_now[:, None, :], removes)[:, 0, :]
        after = ops.where(taken > 0.5, 0.0, free)
        return after, ops.any(ops.not_equal(after, free_now))

    found, _ = ops.while_loop(lambda _, is_new: is_new, again, (free, ops.any(free > 0.0)))
    return found


def soft_nms(
    boxes: Any,
    scores: Any,
    *,
    method: str = "gaussian",
    sigma: float = 0.5,
    iou_threshold: float = 0.3,
    score_threshold: float = 0.001,
    most: int = 100,
    groups: Any = None,
) -> tuple[Any, Any, Any]:
    """Returns boxes from the surest on, where each makes those that overlap it less sure instead of removing them.

    Args:
        boxes: (batch, n, 2 * rank), edges.
        scores: (batch, n) float, 0 to 1; of equal ones the first comes first.
        method: `gaussian`: scores fall by exp(-IoU^2 / sigma); `linear`: by 1 - IoU where that is above the threshold.
        sigma: Of `gaussian`, above 0.
        iou_threshold: Of `linear`.
        score_threshold: A box that falls below it is left out; 0 or more.
        most: Boxes that are kept at most; each costs a turn over all boxes.
        groups: (batch, n) int; boxes of different groups leave each other as they are. None: all are one group.

    Returns:
        Indices (batch, most) int32, the scores that are left to them (batch, most), and whether there is a box, bool.

    Raises:
        UserError: Shapes that do not belong together, another method, or numbers out of their range.

    Source: Bodla et al. 2017, https://arxiv.org/abs/1704.04503, equations 2 and 3.
    """
    boxes, scores = given(boxes, scores, most, iou_threshold, score_threshold, groups=groups)
    if method not in ("gaussian", "linear") or not sigma > 0 or score_threshold < 0:
        raise UserError(
            f"soft_nms with method={method!r}, sigma={sigma}, score_threshold={score_threshold}: gaussian or linear, a "
            "sigma above 0 and a threshold of 0 or more are expected"
        )
    is_there = ops.logical_and(scores >= score_threshold, holds(boxes))
    left = ops.where(is_there, scores, -1.0)  # below 0: not there, or taken; it stays so
    groups = None if groups is None else ops.convert_to_tensor(groups)
    if scores.shape[1] in (0, None):  # one that is not there: of no boxes at all there is a surest one, too
        boxes, left = ops.pad(boxes, ((0, 0), (0, 1), (0, 0))), ops.pad(left, ((0, 0), (0, 1)), constant_values=-1.0)
        groups = None if groups is None else ops.pad(groups, ((0, 0), (0, 1)))
    numbers = ops.arange(ops.shape(left)[1], dtype="int32")[None]
    turns = ops.arange(most, dtype="int32")[None]

    def goes_on(turn: Any, left: Any, *_: Any) -> Any:
        return ops.logical_and(turn < most, ops.any(left >= score_threshold))

    def take(turn: Any, left: Any, index: Any, kept: Any) -> tuple[Any, ...]:
        surest = ops.cast(ops.argmax(left, axis=1), "int32")[:, None]
        score = ops.take_along_axis(left, surest, axis=1)
        overlap = geometry.iou(boxes, ops.take_along_axis(boxes, surest[..., None], axis=1))
        falls = ops.exp(-ops.square(overlap) / sigma)
        if method == "linear":
            falls = ops.where(overlap > iou_threshold, 1.0 - overlap, 1.0)
        if groups is not None:
            falls = ops.where(ops.equal(groups, ops.take_along_axis(groups, surest, axis=1)), falls, 1.0)
        is_real = score >= score_threshold
        now = ops.logical_and(turns == turn, is_real)
        # What is taken stays below 0: times 0 it would be 0, which no threshold of 0 leaves out.
        left = ops.where(left < 0.0, left, left * falls)
        left = ops.where(ops.logical_and(numbers == surest, is_real), -1.0, left)
        return turn + 1, left, ops.where(now, surest, index), ops.where(now, score, kept)

    nothing = ops.zeros_like(left[:, :1]) + ops.zeros((1, most), dtype="float32")
    state = (ops.zeros((), dtype="int32"), left, ops.cast(nothing, "int32"), nothing - 1.0)
    _, _, index, kept = ops.while_loop(goes_on, take, state)
    return index, ops.maximum(kept, 0.0), kept >= 0.0


def best(
    boxes: Any,
    scores: Any,
    *,
    iou_threshold: float = 0.5,
    score_threshold: float = 0.05,
    most: int = 100,
    class_agnostic: bool = False,
    before: int = 1000,
    soft: bool = False,
) -> tuple[Any, Any, Any, Any]:
    """Returns what a detector found, of all that it says of all places and classes.

    Args:
        boxes: (batch, places, 2 * rank), edges.
        scores: (batch, places, classes); a place may be answered once for each class.
        iou_threshold: As `nms` has it.
        score_threshold: Likewise.
        most: Boxes an image that are answered at most.
        class_agnostic: Whether boxes of two classes can be of one thing.
        before: So many pairs of place and class, the surest ones, are looked at.
        soft: By `soft_nms` (gaussian, sigma 0.5) instead of `nms`; scores are those that are left.

    Returns:
        Boxes (batch, most, 2 * rank) and scores (batch, most), surest first, float32; labels (batch, most) int32; how
        many there are, (batch,) int32. Behind the last: 0s, score 0, label -1.
    """
    boxes, scores, labels = pairs(boxes, scores, before)
    groups = None if class_agnostic else labels
    if soft:
        index, scores, valid = soft_nms(boxes, scores, score_threshold=score_threshold, most=most, groups=groups)
    else:
        index, valid = nms(
            boxes, scores, iou_threshold=iou_threshold, score_threshold=score_threshold, most=most, groups=groups
        )
        scores = ops.take_along_axis(scores, index, axis=1)
    boxes = ops.where(valid[..., None], ops.take_along_axis(boxes, index[..., None], axis=1), 0.0)
    labels = ops.where(valid, ops.take_along_axis(labels, index, axis=1), -1)
    return boxes, ops.where(valid, scores, 0.0), labels, ops.sum(ops.cast(valid, "int32"), axis=1)


def pairs(boxes: Any, scores: Any, before: int) -> tuple[Any, Any, Any]:
    """Returns the surest pairs of place and class: boxes (batch, k, 2 * rank), scores (batch, k), labels (batch, k).

    Where the number of places is free, a box of 0s stands behind them.
    """
    boxes, scores = (ops.stop_gradient(ops.cast(ops.convert_to_tensor(x), "float32")) for x in (boxes, scores))
    if len(boxes.shape) != 3 or len(scores.shape) != 3 or scores.shape[-1] is None or before < 1:
        raise UserError(
            f"boxes of shape {tuple(boxes.shape)}, scores of shape {tuple(scores.shape)}, before={before}: (batch, "
            "places, edges), (batch, places, classes) and at least 1 were expected"
        )
    batch, places, classes = ops.shape(scores)
    flat = ops.reshape(scores, (batch, places * classes))
    there = places * classes
    number = min(before, there) if isinstance(there, int) else ops.minimum(before, there)
    found, index = ops.top_k(flat, number)
    index = ops.cast(index, "int32")
    boxes, labels = ops.take_along_axis(boxes, (index // classes)[..., None], axis=1), index % classes
    if not isinstance(number, int) or number == 0:  # there may be no place at all: what is not there can be taken
        boxes = ops.pad(boxes, ((0, 0), (0, 1), (0, 0)))
        found, labels = (ops.pad(x, ((0, 0), (0, 1))) for x in (found, labels))
    return boxes, found, labels
