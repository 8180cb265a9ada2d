"""Losses of detectors without anchors: each place tells how far its box's edges are, and how good a place it is.

Truth and answer are those of `radkit.losses.detection`; the answer's `anchors` are cells of one stride a side, and
`quality` (batch, places) are logits of centerness, or of there being anything.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from keras import ops

from radkit.boxes import assigning, geometry
from radkit.errors import UserError
from radkit.losses import box_regression, detection, focusing, settings


def fcos(
    truth: Mapping[str, Any],
    outputs: detection.Outputs,
    *,
    assigner: Literal["centre", "atss"] = "centre",
    radius: float = 1.5,
    ranges: Sequence[Sequence[float]] = (),
    top: int = 9,
    inside: bool = True,
    gamma: float = 2.0,
    alpha: float | None = 0.25,
    box_loss: box_regression.BoxLoss = "giou",
    box_weight: float = 1.0,
    quality_weight: float = 1.0,
) -> Any:
    """Returns the focal loss of all places, the box loss and the centerness of those that have one, (batch,) float32.

    Args:
        truth: See above.
        outputs: `anchors`, `levels`, `logits`, `deltas`, `boxes` and `quality`.
        assigner: Of `radkit.boxes.assigning`; `centre` reads `radius` and `ranges`, `atss` reads `top` and `inside`.
        radius: See there.
        ranges: See there.
        top: See there.
        inside: See there.
        gamma: Of the focal loss.
        alpha: Of the focal loss.
        box_loss: As `radkit.losses.box_regression` knows it; each place counts by its centerness.
        box_weight: Of the box loss.
        quality_weight: Of the centerness.

    Source: Tian et al. 2019, https://arxiv.org/abs/1904.01355, equations 2 and 3.
    """
    settings.from_nought(gamma=gamma, box_weight=box_weight, quality_weight=quality_weight)
    settings.alpha(alpha)
    outputs = detection.as_float32(outputs)
    boxes, labels = detection.told(truth)
    cells, levels = outputs["anchors"], outputs["levels"]
    if assigner == "centre":
        index = assigning.centre(cells, boxes, labels, levels=levels, radius=radius, ranges=ranges)
    elif assigner == "atss":
        index = assigning.atss(cells, boxes, labels, levels=levels, top=top, inside=inside)
    else:
        raise UserError(f"assigner {assigner!r} is none; there are: centre, atss")
    matched = detection.match(index, boxes, labels)
    costs = focusing.of_each(matched.truth(int(outputs["logits"].shape[-1])), outputs["logits"], gamma, alpha)
    centred = ops.stop_gradient(ops.where(matched.positive, centerness(matched.boxes, cells), 0.0))
    of_boxes = box_regression.of_places(box_loss, outputs, matched.boxes, matched.positive, code="distances") * centred
    off_centre = ops.where(matched.positive, focusing.binary(centred, outputs["quality"]), 0.0)
    found = ops.sum(ops.sum(costs, axis=-1) * matched.known, axis=-1) / matched.count
    found = found + quality_weight * ops.sum(off_centre, axis=-1) / matched.count
    total = ops.sum(centred, axis=-1)
    return found + box_weight * ops.sum(of_boxes, axis=-1) / ops.where(total > 0.0, total, 1.0)


def centerness(boxes: Any, cells: Any) -> Any:
    """Returns how near to a box's middle a place is, 1 there, 0 at its edges and outside: (...,) float32.

    The geometric mean over the axes of the nearer edge's distance by the further one's, which in 2-D is the paper's
    root. A box narrower than two cells counts as two: else the best of its places would be told to be poor.

    Source: Tian et al. 2019, https://arxiv.org/abs/1904.01355, equation 3.
    """
    lengths = geometry.sides(cells)
    lengths = ops.where(lengths > 0.0, lengths, 1.0)
    half = ops.maximum(geometry.sides(boxes) / 2 / lengths, 1.0)
    offset = ops.abs(geometry.centres(boxes) - geometry.centres(cells)) / lengths
    ratio = ops.maximum(half - offset, 0.0) / (half + offset)
    return ops.power(ops.prod(ratio, axis=-1), 1.0 / geometry.rank(boxes))


def yolox(
    truth: Mapping[str, Any],
    outputs: detection.Outputs,
    *,
    radius: float = 2.5,
    candidates: int = 10,
    box_loss: box_regression.BoxLoss = "iou",
    box_weight: float = 5.0,
    l1_weight: float = 0.0,
    code: box_regression.Coder = "offsets",
    quality_weight: float = 1.0,
    gamma: float = 0.0,
) -> Any:
    """Returns the cross-entropy of there being anything, that of its class, and the box loss, (batch,) float32.

    Args:
        truth: See above.
        outputs: `anchors`, `logits` of classes, `deltas`, `boxes`, `scores`, and `quality`: whether there is anything.
        radius: As `radkit.boxes.assigning.sim_ota` knows it.
        candidates: Likewise.
        box_loss: As `radkit.losses.box_regression` knows it.
        box_weight: Of the box loss.
        l1_weight: Of an L1 loss of the offsets beside it, 0 for none; the paper's last epochs have 1.
        code: What the network's `deltas` are, as `radkit.losses.box_regression` knows it.
        quality_weight: Of there being anything.
        gamma: Above 0 there being anything is learned by a focal loss of this exponent.

    Source: Ge et al. 2021, https://arxiv.org/abs/2107.08430.
    """
    settings.from_nought(box_weight=box_weight, l1_weight=l1_weight, quality_weight=quality_weight, gamma=gamma)
    outputs = detection.as_float32(outputs)
    boxes, labels = detection.told(truth)
    index = assigning.sim_ota(
        outputs["anchors"], boxes, labels, predicted=outputs["boxes"], scores=outputs["scores"],
        radius=radius, candidates=candidates,
    )  # fmt: skip
    matched = detection.match(index, boxes, labels)
    is_there = ops.cast(matched.positive, "float32")
    costs = quality_weight * focusing.of_each(is_there, outputs["quality"], gamma, None) * matched.known
    fits = ops.stop_gradient(geometry.iou(outputs["boxes"], matched.boxes))
    wanted = matched.truth(int(outputs["logits"].shape[-1])) * fits[..., None]
    costs = costs + ops.sum(focusing.binary(wanted, outputs["logits"]), axis=-1) * is_there
    for name, weight in ((box_loss, box_weight), ("l1", l1_weight)):
        if weight:
            costs = costs + weight * box_regression.of_places(name, outputs, matched.boxes, matched.positive, code=code)
    return ops.sum(costs, axis=-1) / matched.count
