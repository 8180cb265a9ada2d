"""One box of several that were found for one thing: their weighted mean, where `suppression` keeps only the surest.

For boxes of several networks, mirrored images or windows that overlap: what more of them found is surer.
"""

from typing import Any

from keras import ops

from radkit.boxes import geometry, suppression
from radkit.errors import UserError


def fuse(
    boxes: Any,
    scores: Any,
    labels: Any,
    *,
    views: Any = 1.0,
    weights: Any = None,
    iou_threshold: float = 0.55,
    score_threshold: float = 0.0,
    most: int = 100,
    class_agnostic: bool = False,
    room: int = 512,
) -> tuple[Any, Any, Any, Any]:
    """Returns the means of boxes that belong together, as `suppression.best` returns boxes.

    From the surest on, each box joins the cluster whose mean box it overlaps most, if by more than the threshold, or
    else begins a new one. A cluster's box is its boxes' mean, weighed by their scores; its score is their mean score,
    times the share of views that found it.

    Args:
        boxes: (batch, n, 2 * rank), edges. Those that hold nothing are padding.
        scores: (batch, n), 0 to 1.
        labels: (batch, n) int.
        views: How many networks, mirrored images or windows looked there: a number, or (batch, n); of a cluster that
            of its surest box counts.
        weights: (batch, n), how much a box counts in all three, as 0.5 for one that a window's border may have cut;
            None: 1.
        iou_threshold: From an IoU above it on two boxes are of one thing.
        score_threshold: Boxes below it do not take part, clusters below it are not answered.
        most: Boxes an image that are answered at most.
        class_agnostic: Whether boxes of two classes can be of one thing; its label is the surest one's.
        room: Clusters an image at most; what would begin a further one, less sure than all before, is left out.

    Returns:
        Boxes (batch, most, 2 * rank) and scores (batch, most), surest first, float32; labels (batch, most) int32; how
        many there are, (batch,) int32. Behind the last: 0s, score 0, label -1.

    Raises:
        UserError: Shapes that do not belong together, or numbers out of their range.

    Source: Solovyev et al. 2021, https://arxiv.org/abs/1910.13302, section 3; weights of single boxes are ours.
    """
    boxes, scores = suppression.given(
        boxes, scores, min(most, room), iou_threshold, score_threshold, labels=labels, weights=weights
    )
    seen = [ops.zeros_like(scores) + ops.cast(x, "float32") for x in (views, 1.0 if weights is None else weights)]
    labels = ops.cast(ops.convert_to_tensor(labels), "int32")
    if score_threshold < 0:
        raise UserError(f"fusion with score_threshold={score_threshold}: 0 or more is expected")
    if scores.shape[1] in (0, None):  # a list of no boxes at all is a list, too
        boxes = ops.pad(boxes, ((0, 0), (0, 1), (0, 0)))
        scores, labels, *seen = (ops.pad(x, ((0, 0), (0, 1))) for x in (scores, labels, *seen))
    order, there = _order(boxes, scores, score_threshold)
    boxes = ops.take_along_axis(boxes, order[..., None], axis=1)
    scores, labels, views, weights = (ops.take_along_axis(x, order, axis=1) for x in (scores, labels, *seen))

    def join(number: Any, state: tuple[Any, ...]) -> tuple[Any, ...]:
        sums, totals, group, count = state
        box, score, label, seen_by, weight = (
            ops.take(x, number, axis=1) for x in (boxes, scores, labels, views, weights)
        )
        overlap = geometry.iou(_mean(sums, totals), box[:, None])
        if not class_agnostic:
            overlap = ops.where(group == label[:, None], overlap, 0.0)
        fits = ops.max(overlap, axis=1) > iou_threshold
        place = ops.where(fits, ops.cast(ops.argmax(overlap, axis=1), "int32"), count)
        taken = number < there
        here = ops.logical_and(ops.arange(room, dtype="int32")[None] == place[:, None], taken[:, None])
        is_new = ops.logical_and(here, ops.logical_not(fits)[:, None])
        share = ops.cast(here, "float32")[..., None]
        of_box = ops.stack([score * weight, weight], axis=-1)[:, None]
        totals = totals + ops.concatenate(
            [share * of_box, ops.cast(is_new, "float32")[..., None] * seen_by[:, None, None]], axis=-1
        )
        sums = sums + share * (box * (score * weight)[:, None])[:, None]
        group = ops.where(is_new, label[:, None], group)
        return sums, totals, group, count + ops.cast(ops.any(is_new, axis=1), "int32")

    none = ops.zeros_like(scores[:, :1]) + ops.zeros((1, room), dtype="float32")
    state = (
        none[..., None] + ops.zeros((1, 1, boxes.shape[-1])), none[..., None] + ops.zeros((1, 1, 3)),
        ops.cast(none, "int32") - 1, ops.cast(none[:, 0], "int32"),
    )  # fmt: skip
    sums, totals, group, _ = ops.fori_loop(0, ops.max(there), join, state)
    return _answer(_mean(sums, totals), _sure(totals), group, score_threshold, most)


def best(
    boxes: Any,
    scores: Any,
    *,
    views: Any = 1.0,
    iou_threshold: float = 0.55,
    score_threshold: float = 0.05,
    most: int = 100,
    class_agnostic: bool = False,
    before: int = 1000,
) -> tuple[Any, Any, Any, Any]:
    """Returns what a detector found, fused: as `suppression.best`, of boxes and scores (batch, places, classes).

    Args:
        boxes: As there.
        scores: As there.
        views: How many looked at each place, a number.
        iou_threshold: As `fuse` has it.
        score_threshold: Likewise.
        most: Likewise.
        class_agnostic: Likewise.
        before: So many pairs of place and class, the surest ones, are looked at.
    """
    boxes, scores, labels = suppression.pairs(boxes, scores, before)
    return fuse(
        boxes,
        scores,
        labels,
        views=views,
        iou_threshold=iou_threshold,
        score_threshold=score_threshold,
        most=most,
        class_agnostic=class_agnostic,
        room=max(512, most),
    )


def _order(boxes: Any, scores: Any, score_threshold: float) -> tuple[Any, Any]:
    """Returns the order of falling scores, (batch, n) int32, and how many take part, (batch,) int32."""
    is_there = ops.logical_and(scores >= score_threshold, suppression.holds(boxes))
    order = ops.top_k(ops.where(is_there, scores, -float("inf")), ops.shape(scores)[1])[1]
    return ops.cast(order, "int32"), ops.sum(ops.cast(is_there, "int32"), axis=1)


def _mean(sums: Any, totals: Any) -> Any:
    """Returns clusters' boxes; 0s of those that are none, or of scores 0."""
    weight = totals[..., :1]
    return sums / ops.where(weight > 0.0, weight, 1.0)


def _sure(totals: Any) -> Any:
    """Returns clusters' scores, of the sums of score times weight, of weights, and the views."""
    score, weight, views = totals[..., 0], totals[..., 1], totals[..., 2]
    mean = score / ops.maximum(weight, 1e-12)
    return mean * ops.minimum(weight, views) / ops.maximum(views, 1e-12)


def _answer(boxes: Any, scores: Any, labels: Any, score_threshold: float, most: int) -> tuple[Any, Any, Any, Any]:
    is_there = ops.logical_and(scores >= score_threshold, suppression.holds(boxes))
    scores, order = ops.top_k(ops.where(is_there, scores, -1.0), min(most, int(scores.shape[1])))
    short = most - int(order.shape[1])
    order = ops.pad(ops.cast(order, "int32"), [[0, 0], [0, short]])
    scores = ops.pad(scores, [[0, 0], [0, short]], constant_values=-1.0)
    valid = scores >= 0.0
    boxes = ops.where(valid[..., None], ops.take_along_axis(boxes, order[..., None], axis=1), 0.0)
    labels = ops.where(valid, ops.take_along_axis(labels, order, axis=1), -1)
    return boxes, ops.where(valid, scores, 0.0), labels, ops.sum(ops.cast(valid, "int32"), axis=1)
