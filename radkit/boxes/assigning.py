"""Which box each place of a detector answers for, and which places nobody asks.

Each assigner takes anchors (batch, places, 2 * rank), boxes (batch, n, 2 * rank) and labels (batch, n): 0 and above a
class, -1 no box, -2 a region of which nobody says what is there. It returns `matched`, (batch, places) int32: the
number of the place's box, -1 (`BACKGROUND`) or -2 (`IGNORED`). Ignored are places that are no box's and lie mostly
within a region of label -2, anchors that hold nothing, and what the assigner itself leaves between yes and no. Nothing
is learned through them: gradients end here.
"""

from collections.abc import Sequence
from typing import Any

from keras import ops

from radkit.boxes import geometry
from radkit.errors import UserError

BACKGROUND, IGNORED = -1, -2
_TIE = 1.0 - 1e-6  # two overlaps are the same from here on: compiled, one value may be rounded in two ways
_FAR = 1e30


def gather(values: Any, matched: Any) -> Any:
    """Returns what belongs to each place's box.

    Args:
        values: (batch, n, ...), one a box.
        matched: (batch, ...) int32, numbers of boxes. Below 0 the result is box 0's and means nothing.

    Returns:
        (batch, ..., ...) of the values' dtype: the axes of `matched`, then those of one value.
    """
    values = ops.convert_to_tensor(values)
    batch, count = ops.shape(values)[:2]
    starts = ops.reshape(ops.arange(batch, dtype="int32") * count, (-1, *[1] * (len(matched.shape) - 1)))
    return ops.take(ops.reshape(values, (-1, *values.shape[2:])), ops.maximum(matched, 0) + starts, axis=0)


def max_iou(
    anchors: Any, boxes: Any, labels: Any, *, positive: float = 0.5, negative: float = 0.4, rescue: bool = True
) -> Any:
    """Returns `matched`: the box that each anchor overlaps most.

    Args:
        anchors: See above.
        boxes: See above.
        labels: See above.
        positive: An anchor answers for its box from this IoU on.
        negative: Below this one it is background; between the two it is ignored.
        rescue: Whether each box also gets the anchors that overlap it most (all, where several overlap it alike),
            however little. An anchor that is best for two boxes gets the one that it overlaps more.

    Raises:
        UserError: `negative` above `positive`, or one of them not from 0 to 1.

    Source: Ren et al. 2015, https://arxiv.org/abs/1506.01497, section 3.1.2.
    """
    if not 0 <= negative <= positive <= 1:
        raise UserError(
            f"max_iou with negative={negative}, positive={positive}: 0 <= negative <= positive <= 1 is expected"
        )
    anchors, boxes, labels = _given(anchors, boxes, labels)
    none = ops.zeros_like(geometry.volume(anchors) + boxes[:, :1, 0])
    nobody = ops.cast(none, "int32") + BACKGROUND

    def compare(number: Any, state: tuple[Any, ...]) -> tuple[Any, ...]:
        most, best, claimed, claimant = state
        is_real = ops.take(labels, number, axis=1)[:, None] >= 0
        overlap = ops.where(is_real, geometry.iou(anchors, ops.take(boxes, number, axis=1)[:, None]), 0.0)
        better = overlap > most
        most, best = ops.where(better, overlap, most), ops.where(better, number, best)
        of_box = ops.max(overlap, axis=1, keepdims=True, initial=0.0)  # of no places, too: nothing was proposed
        claims = ops.logical_and(overlap >= of_box * _TIE, overlap > claimed)
        return most, best, ops.where(claims, overlap, claimed), ops.where(claims, number, claimant)

    # One box after the other: lists are mostly padding, and all at once would take their length times the memory.
    state = ops.fori_loop(0, _until_last(labels >= 0), compare, (none, nobody, none, nobody))
    most, best, _, claimant = state
    matched = ops.where(most >= positive, best, ops.where(most < negative, BACKGROUND, IGNORED))
    matched = ops.where(best < 0, BACKGROUND, matched)  # nothing overlaps it, whatever the thresholds
    if rescue:
        matched = ops.where(claimant >= 0, claimant, matched)
    return _settled(matched, anchors, boxes, labels)


def bipartite(anchors: Any, boxes: Any, labels: Any) -> Any:
    """Returns `matched`: one anchor for each box, the pairs of highest IoU first, no anchor for two.

    A box that overlaps no free anchor gets none; all other anchors are background.

    Source: Erhan et al. 2014 (MultiBox), https://arxiv.org/abs/1312.2249; greedy, as Liu et al. 2016 (SSD).
    """
    anchors, boxes, labels = _given(anchors, boxes, labels)
    overlaps = ops.where(_real(labels)[..., 0, :, None], geometry.iou(*geometry.crossed(boxes, anchors)), -1.0)
    batch, count, places = ops.shape(overlaps)
    # The others can take at most count - 1 anchors away from a box, so its best free one is among so many.
    overlaps, index = ops.top_k(overlaps, fewer(count, places))
    index = ops.cast(index, "int32")
    kept = ops.shape(overlaps)[-1]

    def one_pair(_: Any, state: tuple[Any, Any]) -> tuple[Any, Any]:
        free, chosen = state
        flat = ops.reshape(free, (batch, count * kept))
        best = ops.cast(ops.argmax(flat, axis=-1), "int32")[:, None]
        is_pair = ops.max(flat, axis=-1)[:, None, None] > 0.0
        place = ops.sum(ops.where(ops.arange(count * kept) == best, ops.reshape(index, (batch, -1)), 0), axis=-1)
        own_row = ops.reshape(ops.arange(count) == best // kept, (batch, count, 1))
        here = ops.logical_and(index == place[:, None, None], is_pair)
        gone = ops.logical_or(here, ops.logical_and(own_row, is_pair))
        return ops.where(gone, -1.0, free), ops.logical_or(chosen, ops.logical_and(here, own_row))

    _, chosen = ops.fori_loop(0, count, one_pair, (overlaps, ops.zeros_like(overlaps, dtype="bool")))
    return _settled(_strongest(index, overlaps, chosen, places), anchors, boxes, labels)


def atss(
    anchors: Any,
    boxes: Any,
    labels: Any,
    *,
    levels: Any,
    top: int = 9,
    inside: bool = True,
    rescue: bool = True,
    num_levels: int = 7,
) -> Any:
    """Returns `matched` by a threshold of each box's own: mean + standard deviation of its nearest anchors' IoUs.

    Args:
        anchors: See above.
        boxes: See above.
        labels: See above.
        levels: (batch, places) int32, which level a place is of.
        top: On each level, so many anchors whose middles are nearest to the box's are its candidates. With several
            shapes a place: 9 times their number is as the paper.
        inside: Whether an anchor's middle must lie within the box. For lesions smaller than a stride: False.
        rescue: Whether a box of which no candidate remains gets the candidate that overlaps it most.
        num_levels: The most there are; those above are one level.

    Source: Zhang et al. 2020, https://arxiv.org/abs/1912.02424, algorithm 1.
    """
    _above_nought("atss", top=top, num_levels=num_levels)
    anchors, boxes, labels = _given(anchors, boxes, labels)
    apart: Any = 0.0
    for axis in range(geometry.rank(boxes)):
        middles = [geometry.centres(x)[..., axis] for x in (boxes, anchors)]
        apart = apart + ops.square(middles[0][:, :, None] - middles[1][:, None, :])
    places, of_level = ops.shape(apart)[-1], ops.minimum(levels, num_levels - 1)[:, None, :]
    near = [ops.top_k(ops.where(of_level == one, -apart, -_FAR), fewer(top, places)) for one in range(num_levels)]
    is_there = ops.concatenate([values for values, _ in near], axis=-1) > -_FAR
    is_there = ops.logical_and(is_there, (labels >= 0)[..., None])
    index = ops.concatenate([ops.cast(indices, "int32") for _, indices in near], axis=-1)
    candidates = gather(anchors, index)  # (batch, n, candidates, 2 * rank)
    overlaps = geometry.iou(candidates, boxes[:, :, None])
    threshold = _mean_and_deviation(overlaps, ops.cast(is_there, "float32"))
    claims = ops.logical_and(is_there, ops.logical_and(overlaps >= threshold * _TIE, overlaps > 0.0))
    if inside:
        low, high = geometry.edges(boxes[:, :, None])
        middle = geometry.centres(candidates)
        within = ops.logical_and(ops.all(middle > low, axis=-1), ops.all(middle < high, axis=-1))
        claims = ops.logical_and(claims, within)
    if rescue:
        shown = ops.where(is_there, overlaps, 0.0)
        most = ops.max(shown, axis=-1, keepdims=True)
        best = ops.logical_and(shown >= most * _TIE, most > 0.0)
        claims = ops.logical_or(claims, ops.logical_and(best, ops.logical_not(ops.any(claims, axis=-1, keepdims=True))))
    return _settled(_strongest(index, overlaps, claims, places), anchors, boxes, labels)


def centre(
    anchors: Any,
    boxes: Any,
    labels: Any,
    *,
    levels: Any,
    radius: float = 1.5,
    ranges: Sequence[Sequence[float]] = (),
) -> Any:
    """Returns `matched`: a place answers for a box if its middle lies near the box's, on the level that suits its size.

    Of several boxes the smallest is taken. A box narrower than a stride gets the places within half a stride of its
    middle, so that it is not missed between them.

    Args:
        anchors: The places: cells of one stride a side.
        boxes: See above.
        labels: See above.
        levels: (batch, places) int32, which level a place is of.
        radius: How far from the box's middle, in strides and along each axis; beyond the box it never reaches.
        ranges: For each level, of the furthest of the box's edges from the place: above the first number, up to the
            second, in pixels. Empty: 4 to 8 strides, the first level from 0 on, the last without end.

    Source: Tian et al. 2019 (FCOS), https://arxiv.org/abs/1904.01355; radius: its second version, 2020.
    """
    _above_nought("centre", radius=radius)
    anchors, boxes, labels = _given(anchors, boxes, labels)
    pairs = geometry.crossed(anchors, boxes)
    axes, near, reach = geometry.rank(boxes), _real(labels), None
    for axis in range(axes):
        half, offset, side = _in_cells(*pairs, axis)
        is_near = ops.logical_or(offset < ops.minimum(half, radius), offset <= 0.5)
        near = ops.logical_and(near, is_near)
        furthest = (half + offset) * (side if len(ranges) else 1.0)
        reach = furthest if reach is None else ops.maximum(reach, furthest)
    above, up_to = _reaches(levels, ranges)
    suits = ops.logical_and(reach > above[..., None], reach <= up_to[..., None])
    sizes = ops.where(ops.logical_and(near, suits), geometry.volume(boxes)[:, None, :], _FAR)
    smallest = ops.cast(ops.argmin(sizes, axis=-1), "int32")
    matched = ops.where(ops.min(sizes, axis=-1) < _FAR, smallest, BACKGROUND)
    return _settled(matched, anchors, boxes, labels)


def sim_ota(
    anchors: Any,
    boxes: Any,
    labels: Any,
    *,
    predicted: Any,
    scores: Any,
    radius: float = 2.5,
    candidates: int = 10,
    iou_weight: float = 3.0,
) -> Any:
    """Returns `matched` by what the network answers: each box gets the places that cost least, as many as overlap it.

    A place costs the cross-entropy of its scores' root and `iou_weight` times - log IoU; one that does not lie both in
    the box and near its middle costs more than any that does, and one that lies in neither is no candidate. A box gets
    as many places as its best IoUs sum up to, at least 1; a place that several boxes want is that of the lowest cost.

    Args:
        anchors: The places: cells of one stride a side.
        boxes: See above.
        labels: See above.
        predicted: (batch, places, 2 * rank), the network's boxes.
        scores: (batch, places, classes), class times objectness, 0 to 1.
        radius: How far from the box's middle is near, in strides and along each axis.
        candidates: How many IoUs are summed, and the most places of a box.
        iou_weight: See above.

    Source: Ge et al. 2021 (YOLOX), https://arxiv.org/abs/2107.08430, section 2.1.
    """
    _above_nought("sim_ota", radius=radius, candidates=candidates)
    anchors, boxes, labels = _given(anchors, boxes, labels)
    pairs = geometry.crossed(anchors, boxes)  # places first, so that both can be turned to (batch, n, places) at once
    in_box, in_middle = _real(labels), _real(labels)
    for axis in range(geometry.rank(boxes)):
        half, offset, _ = _in_cells(*pairs, axis)
        in_box, in_middle = ops.logical_and(in_box, offset < half), ops.logical_and(in_middle, offset < radius)
    in_box, in_middle = (ops.transpose(x, (0, 2, 1)) for x in (in_box, in_middle))
    is_candidate, is_good = ops.logical_or(in_box, in_middle), ops.logical_and(in_box, in_middle)
    predicted, scores = (ops.stop_gradient(ops.cast(x, "float32")) for x in (predicted, scores))
    overlaps = ops.where(is_candidate, geometry.iou(*geometry.crossed(boxes, predicted)), 0.0)
    costs = _class_costs(scores, labels) - iou_weight * ops.log(overlaps + 1e-8)
    costs = ops.where(is_candidate, costs + ops.where(is_good, 0.0, 1e5), _FAR)
    places = ops.shape(costs)[-1]
    most = fewer(candidates, places)
    sums = ops.sum(ops.top_k(overlaps, most)[0], axis=-1, keepdims=True)
    wanted = ops.maximum(ops.cast(sums, "int32"), 1)
    cheapness, index = ops.top_k(-costs, most)
    claims = ops.logical_and(ops.arange(ops.shape(index)[-1], dtype="int32") < wanted, cheapness > -_FAR / 2)
    matched = _strongest(ops.cast(index, "int32"), cheapness, claims, places)
    return _settled(matched, anchors, boxes, labels)


def fewer(number: int, there: Any) -> Any:
    """Returns the smaller of two counts; a whole number where both are known before anything runs."""
    return min(number, there) if isinstance(there, int) and isinstance(number, int) else ops.minimum(number, there)


def _above_nought(assigner: str, **settings: float) -> None:
    for name, value in settings.items():
        if not value > 0:
            raise UserError(f"{assigner} with {name}={value}: a number above 0 is expected")


def _given(anchors: Any, boxes: Any, labels: Any) -> tuple[Any, Any, Any]:
    """Returns the three as tensors that nothing is learned through; at least one box, which may be padding."""
    anchors, boxes = (ops.stop_gradient(ops.cast(ops.convert_to_tensor(x), "float32")) for x in (anchors, boxes))
    labels = ops.cast(ops.convert_to_tensor(labels), "int32")
    if geometry.rank(anchors) != geometry.rank(boxes) or len(anchors.shape) != 3 or len(boxes.shape) != 3:
        raise UserError(
            f"anchors {tuple(anchors.shape)} and boxes {tuple(boxes.shape)}: (batch, places, edges) and "
            "(batch, boxes, edges) of one rank were expected"
        )
    known = zip(labels.shape, boxes.shape)
    if len(labels.shape) != 2 or any(a != b for a, b in known if a is not None and b is not None):
        raise UserError(
            f"labels of shape {tuple(labels.shape)} for boxes of shape {tuple(boxes.shape)}: one a box was expected"
        )
    if boxes.shape[1] in (0, None):
        boxes = ops.pad(boxes, ((0, 0), (0, 1), (0, 0)))
        labels = ops.pad(labels, ((0, 0), (0, 1)), constant_values=-1)
    return anchors, boxes, labels


def _until_last(chosen: Any) -> Any:
    """Returns how many boxes must be looked at, so that all are that any image of the batch has chosen."""
    return ops.max(ops.where(chosen, ops.arange(1, ops.shape(chosen)[1] + 1, dtype="int32"), 0))


def _real(labels: Any) -> Any:
    return (labels >= 0)[:, None, :]


def _settled(matched: Any, anchors: Any, boxes: Any, labels: Any) -> Any:
    """Returns `matched` with the places ignored of which nobody says what is there."""

    def look(number: Any, unknown: Any) -> Any:
        is_region = ops.take(labels, number, axis=1)[:, None] == IGNORED
        share = geometry.share_inside(anchors, ops.take(boxes, number, axis=1)[:, None])
        return ops.logical_or(unknown, ops.logical_and(is_region, share > 0.5))

    nothing = geometry.volume(anchors) + ops.zeros_like(boxes[:, :1, 0]) <= 0.0
    unknown = ops.fori_loop(0, _until_last(labels == IGNORED), look, nothing)
    return ops.where(ops.logical_and(unknown, matched < 0), IGNORED, matched)


def _strongest(index: Any, strength: Any, claims: Any, places: Any) -> Any:
    """Returns for each place the box of its strongest claim, the first of equals; -1 without one.

    Args:
        index: (batch, n, k) int32, places that boxes may claim.
        strength: (batch, n, k).
        claims: (batch, n, k) bool, whether they do.
        places: How many there are.
    """
    batch, count, _ = ops.shape(index)
    all_places = batch * places
    starts = ops.reshape(ops.arange(batch, dtype="int32") * places, (-1, 1, 1))
    where = ops.reshape(ops.where(claims, index + starts, all_places), (-1,))  # one more, for what is no claim
    strength = ops.reshape(strength, (-1,))
    strongest = ops.take(ops.segment_max(strength, where, all_places + 1), where, axis=0)
    numbers = ops.broadcast_to(ops.reshape(ops.arange(count, dtype="int32"), (1, -1, 1)), ops.shape(index))
    wins = ops.where(strength >= strongest, -ops.reshape(numbers, (-1,)), -count)
    first = ops.segment_max(wins, where, all_places + 1)[:-1]
    return ops.reshape(ops.where(first > -count, -first, BACKGROUND), (batch, places))


def _in_cells(cells: Any, boxes: Any, axis: int) -> tuple[Any, Any, Any]:
    """Returns along one axis half of the boxes' sides, how far the middles are apart, in cells; and a cell's side."""
    axes = geometry.rank(cells)
    side = cells[..., axes + axis] - cells[..., axis]
    safe = ops.where(side > 0.0, side, 1.0)
    half = (boxes[..., axes + axis] - boxes[..., axis]) / 2 / safe
    apart = (boxes[..., axes + axis] + boxes[..., axis] - cells[..., axes + axis] - cells[..., axis]) / 2 / safe
    return half, ops.abs(apart), safe


def _reaches(levels: Any, ranges: Sequence[Sequence[float]]) -> tuple[Any, Any]:
    if len(ranges):
        above, up_to = (ops.convert_to_tensor([float(one[k]) for one in ranges], dtype="float32") for k in (0, 1))
        number = ops.minimum(levels, len(ranges) - 1)
        return ops.take(above, number, axis=0), ops.take(up_to, number, axis=0)
    is_last = levels == ops.max(levels, axis=-1, keepdims=True)
    return ops.where(levels == 0, -1.0, 4.0), ops.where(is_last, _FAR, 8.0)


def _mean_and_deviation(values: Any, weights: Any) -> Any:
    count = ops.sum(weights, axis=-1, keepdims=True)
    mean = ops.sum(values * weights, axis=-1, keepdims=True) / ops.maximum(count, 1.0)
    squares = ops.sum(ops.square(values - mean) * weights, axis=-1, keepdims=True)
    return mean + ops.sqrt(squares / ops.maximum(count - 1.0, 1.0))


def _class_costs(scores: Any, labels: Any) -> Any:
    """Returns the cross-entropy of scores' roots, were a place of the box's class alone: (batch, n, places)."""
    sure = ops.sqrt(ops.clip(scores, 1e-12, 1.0 - 1e-6))
    of_yes, of_no = -ops.log(sure), -ops.log1p(-sure)
    truth = ops.one_hot(ops.maximum(labels, 0), int(scores.shape[-1]), dtype="float32")
    return ops.matmul(truth, ops.transpose(of_yes - of_no, (0, 2, 1))) + ops.sum(of_no, axis=-1)[:, None, :]
