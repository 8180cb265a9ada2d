"""Losses of one-stage detectors: how sure they are of each class at each place, and where its box is.

Truth is a dict: `boxes` (batch, n, 2 * rank), edges; `labels` (batch, n): 0 and above the class, -1 padding, -2 a
region of which nobody says what is there; and what a loss has beside them. The answer is the dict of a detector
(`radkit.models.box_heads`). Losses are divided by the number of places that answer for a box, at least 1; an image
without boxes has the loss of its background. All is taken to float32 first.
"""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from keras import ops

from radkit.boxes import assigning, coder, geometry, sampling
from radkit.errors import UserError
from radkit.losses import box_regression, focusing, settings

Assigner = Literal["max_iou", "atss", "bipartite"]
Classification = Literal["focal", "quality_focal", "cross_entropy"]
Outputs = Mapping[str, Any]


class Matched(NamedTuple):
    """Truth at each place.

    Attributes:
        index: (batch, places) int32, of `radkit.boxes.assigning`.
        boxes: (batch, places, 2 * rank), the place's box; without one it means nothing.
        labels: (batch, places) int32, its class; without one -1.
        positive: (batch, places) bool, whether the place answers for a box.
        known: (batch, places) float32, 0 where nothing is asked.
        count: (batch,) float32, positive places, at least 1.
    """

    index: Any
    boxes: Any
    labels: Any
    positive: Any
    known: Any
    count: Any

    def truth(self, classes: int) -> Any:
        """Returns 1 for the place's class, (batch, places, classes); nothing but 0 where there is no box."""
        return ops.one_hot(self.labels, classes, dtype="float32")


def retinanet(
    truth: Mapping[str, Any],
    outputs: Outputs,
    *,
    assigner: Assigner = "max_iou",
    positive: float = 0.5,
    negative: float = 0.4,
    rescue: bool = True,
    top: int = 9,
    inside: bool = True,
    classification: Classification = "focal",
    gamma: float = 2.0,
    alpha: float | None = 0.25,
    ratio: float = 3.0,
    least: int = 16,
    box_loss: box_regression.BoxLoss = "smooth_l1",
    beta: float = 1.0 / 9.0,
    box_weight: float = 1.0,
) -> Any:
    """Returns the focal loss of all places and the box loss of those that answer for one, (batch,) float32.

    Args:
        truth: See above.
        outputs: `anchors`, `levels`, `logits`, `deltas`, `boxes`.
        assigner: Of `radkit.boxes.assigning`; `max_iou` reads `positive`, `negative`, `rescue`, `atss` reads `top`,
            `inside`, `rescue`.
        positive: See there.
        negative: See there.
        rescue: See there.
        top: See there.
        inside: See there.
        classification: `focal`; `quality_focal`, its truth being the IoU of the box that is answered; `cross_entropy`
            of the boxes' places and the hardest others.
        gamma: Of both focal losses.
        alpha: Weight of yes, no having 1 - alpha, of `focal`; None: alike.
        ratio: Of `cross_entropy`: others for each place of a box.
        least: Of `cross_entropy`: others at least.
        box_loss: As `radkit.losses.box_regression` knows it.
        beta: Of `smooth_l1`.
        box_weight: Of the box loss.

    Source: Lin et al. 2017, https://arxiv.org/abs/1708.02002; quality focal loss: Li et al. 2020,
    https://arxiv.org/abs/2006.04388.
    """
    settings.from_nought(gamma=gamma, ratio=ratio, beta=beta, box_weight=box_weight)
    settings.alpha(alpha)
    outputs = as_float32(outputs)
    boxes, labels = told(truth)
    if assigner == "max_iou":
        index = assigning.max_iou(
            outputs["anchors"], boxes, labels, positive=positive, negative=negative, rescue=rescue
        )
    elif assigner == "atss":
        index = assigning.atss(
            outputs["anchors"], boxes, labels, levels=outputs["levels"], top=top, inside=inside, rescue=rescue
        )
    elif assigner == "bipartite":
        index = assigning.bipartite(outputs["anchors"], boxes, labels)
    else:
        raise UserError(f"assigner {assigner!r} is none; there are: max_iou, atss, bipartite")
    matched = match(index, boxes, labels)
    costs = _class_costs(classification, outputs, matched, gamma, alpha, ratio, least)
    of_boxes = box_regression.of_places(box_loss, outputs, matched.boxes, matched.positive, beta=beta)
    return (ops.sum(costs, axis=-1) + box_weight * ops.sum(of_boxes, axis=-1)) / matched.count


def ssd(
    truth: Mapping[str, Any],
    outputs: Outputs,
    *,
    positive: float = 0.5,
    negative: float = 0.5,
    ratio: float = 3.0,
    least: int = 16,
    box_loss: box_regression.BoxLoss = "smooth_l1",
    beta: float = 1.0,
    box_weight: float = 1.0,
    scales: tuple[float, float] = (0.1, 0.2),
) -> Any:
    """Returns the cross-entropy of the boxes' places and the hardest others, and the box loss, (batch,) float32.

    Args:
        truth: See above.
        outputs: `anchors`, `logits` (their first channel background), `deltas`, `boxes`.
        positive: As `assigning.max_iou` knows it; each box also gets the anchors that overlap it most.
        negative: Likewise.
        ratio: Others for each place of a box.
        least: Others at least.
        box_loss: As `radkit.losses.box_regression` knows it.
        beta: Of `smooth_l1`.
        box_weight: Of the box loss.
        scales: What the network's offsets are divided by.

    Source: Liu et al. 2016, https://arxiv.org/abs/1512.02325, section 2.2.
    """
    settings.from_nought(ratio=ratio, beta=beta, box_weight=box_weight)
    outputs = as_float32(outputs)
    boxes, labels = told(truth)
    matched = match(
        assigning.max_iou(outputs["anchors"], boxes, labels, positive=positive, negative=negative), boxes, labels
    )
    costs = exclusive(outputs["logits"], matched)
    weights = sampling.hard_negatives(matched.index, costs, ratio=ratio, least=least)
    of_boxes = box_regression.of_places(
        box_loss, outputs, matched.boxes, matched.positive, beta=beta, scales=(scales[0], scales[1])
    )
    return ops.sum(costs * weights + box_weight * of_boxes, axis=-1) / matched.count


def multibox(
    truth: Mapping[str, Any],
    outputs: Outputs,
    *,
    box_loss: box_regression.BoxLoss = "squared",
    box_weight: float = 0.3,
    scales: tuple[float, float] = coder.SCALES,
) -> Any:
    """Returns the binary cross-entropy of all places and the box loss of one place a box, (batch,) float32.

    Args:
        truth: See above.
        outputs: `anchors`, `logits`, `deltas`, `boxes`. Logits of one channel say whether there is a box of any class.
        box_loss: As `radkit.losses.box_regression` knows it.
        box_weight: Of the box loss; the paper's alpha.
        scales: What the network's offsets are divided by.

    Source: Erhan et al. 2014, https://arxiv.org/abs/1312.2249, equations 1-4.
    """
    settings.from_nought(box_weight=box_weight)
    outputs = as_float32(outputs)
    boxes, labels = told(truth)
    matched = match(assigning.bipartite(outputs["anchors"], boxes, labels), boxes, labels)
    logits = outputs["logits"]
    wanted = ops.cast(matched.positive, "float32")[..., None] if logits.shape[-1] == 1 else None
    wanted = matched.truth(int(logits.shape[-1])) if wanted is None else wanted
    costs = ops.sum(focusing.binary(wanted, logits), axis=-1) * matched.known
    of_boxes = box_regression.of_places(
        box_loss, outputs, matched.boxes, matched.positive, scales=(scales[0], scales[1])
    )
    return ops.sum(costs + box_weight * of_boxes, axis=-1) / matched.count


def as_float32(outputs: Outputs) -> dict[str, Any]:
    """Returns a network's answer, its floats as float32.

    Raises:
        UserError: It is no dict, or lacks what every detector answers.
    """
    if not isinstance(outputs, Mapping):
        raise UserError(f"a loss of boxes needs a detector's dict, not {type(outputs).__name__}")
    if missing := sorted({"anchors", "logits", "deltas", "boxes"} - set(outputs)):
        raise UserError(f"a loss of boxes needs a detector's dict; this one, of {sorted(outputs)}, lacks {missing}")
    return {
        name: ops.cast(value, "float32") if "float" in str(value.dtype) else value for name, value in outputs.items()
    }


def told(truth: Mapping[str, Any]) -> tuple[Any, Any]:
    """Returns the truth's boxes, float32, and labels, int32; one padding box where there is none.

    A box of a class that holds nothing counts as padding: nothing can be learned of it.

    Raises:
        UserError: The truth lacks one of them, or their shapes do not fit.
    """
    if not isinstance(truth, Mapping) or "boxes" not in truth or "labels" not in truth:
        there = sorted(truth) if isinstance(truth, Mapping) else type(truth).__name__
        raise UserError(f"truth of a detector is a dict of 'boxes' and 'labels', not {there}")
    boxes = ops.stop_gradient(ops.cast(ops.convert_to_tensor(truth["boxes"]), "float32"))
    labels = ops.cast(ops.convert_to_tensor(truth["labels"]), "int32")
    pairs = zip(boxes.shape[:2], labels.shape)
    if len(boxes.shape) != 3 or len(labels.shape) != 2 or any(a != b for a, b in pairs if None not in (a, b)):
        raise UserError(
            f"boxes {tuple(boxes.shape)} and labels {tuple(labels.shape)}: (batch, n, edges) and (batch, n) expected"
        )
    if {boxes.shape[1], labels.shape[1]} & {0, None}:  # a list of no boxes at all is a list, too
        boxes = ops.pad(boxes, ((0, 0), (0, 1), (0, 0)))
        labels = ops.pad(labels, ((0, 0), (0, 1)), constant_values=-1)
    return boxes, ops.where(geometry.volume(boxes) > 0.0, labels, -1)


def match(index: Any, boxes: Any, labels: Any) -> Matched:
    """Returns the truth at each place, of what an assigner found."""
    positive = index >= 0
    count = ops.maximum(ops.sum(ops.cast(positive, "float32"), axis=-1), 1.0)
    known = ops.cast(index > assigning.IGNORED, "float32")
    of_places = ops.where(positive, assigning.gather(labels, index), -1)
    return Matched(index, assigning.gather(boxes, index), of_places, positive, known, count)


def exclusive(logits: Any, matched: Matched) -> Any:
    """Returns the cross-entropy of each place, (batch, places): its class, or the background, which is channel 0."""
    found = ops.log_softmax(logits, axis=-1)
    return -ops.sum(ops.one_hot(matched.labels + 1, int(logits.shape[-1]), dtype="float32") * found, axis=-1)


def _class_costs(
    name: str, outputs: Outputs, matched: Matched, gamma: float, alpha: float | None, ratio: float, least: int
) -> Any:
    """Returns what each place costs, (batch, places)."""
    logits = outputs["logits"]
    wanted = matched.truth(int(logits.shape[-1]))
    if name == "focal":
        return ops.sum(focusing.of_each(wanted, logits, gamma, alpha), axis=-1) * matched.known
    if name == "quality_focal":
        fits = ops.stop_gradient(geometry.iou(outputs["boxes"], matched.boxes))
        return ops.sum(focusing.of_quality(wanted * fits[..., None], logits, gamma), axis=-1) * matched.known
    if name == "cross_entropy":
        costs = ops.sum(focusing.binary(wanted, logits), axis=-1)
        return costs * sampling.hard_negatives(matched.index, costs, ratio=ratio, least=least)
    raise UserError(f"classification {name!r} is none; there are: focal, quality_focal, cross_entropy")
