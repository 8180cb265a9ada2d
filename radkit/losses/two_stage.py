"""Losses of detectors that propose places first, and of those that draw masks beside their boxes.

Truth is that of `radkit.losses.detection`, with `mask` (batch, *spatial, 1) uint8 where masks are learned: 0
background, 1 + the class of a box, 255 where nobody said what is there. The second stage answers for all proposals;
which of them count is sampled here.
"""

from collections.abc import Mapping
from typing import Any, Literal

from keras import ops

from radkit.boxes import assigning, sampling
from radkit.errors import UserError
from radkit.losses import box_masks, box_regression, detection, focusing, segmentation, settings

Order = Literal["random", "hardest"]


def faster_rcnn(
    truth: Mapping[str, Any],
    outputs: detection.Outputs,
    *,
    rpn_positive: float = 0.7,
    rpn_negative: float = 0.3,
    rpn_number: int = 256,
    rpn_share: float = 0.5,
    rpn_weight: float = 1.0,
    positive: float = 0.5,
    negative: float = 0.5,
    number: int = 128,
    share: float = 0.25,
    order: Order = "random",
    box_loss: box_regression.BoxLoss = "smooth_l1",
    beta: float = 1.0 / 9.0,
    box_weight: float = 1.0,
    scales: tuple[float, float] = (0.1, 0.2),
) -> Any:
    """Returns the loss of the proposals and that of what became of them, (batch,) float32.

    Args:
        truth: See above.
        outputs: `rpn_anchors`, `rpn_logits`, `rpn_deltas`, `rpn_boxes`, and those of `fast_rcnn`.
        rpn_positive: Of the anchors, as `assigning.max_iou` knows it; each box also gets those that overlap it most.
        rpn_negative: Likewise.
        rpn_number: Anchors an image that count.
        rpn_share: The most of them that answer for a box.
        rpn_weight: Of the proposals' loss.
        positive: As `fast_rcnn` has it, and so all below.
        negative: See there.
        number: See there.
        share: See there.
        order: See there; of the anchors, too.
        box_loss: See there; of the anchors, too.
        beta: Likewise.
        box_weight: Likewise.
        scales: See there.

    Source: Ren et al. 2015, https://arxiv.org/abs/1506.01497, equation 1.
    """
    settings.from_nought(rpn_weight=rpn_weight)
    outputs = detection.as_float32(outputs)
    boxes, labels = detection.told(truth)
    # Whatever the class, there is something.
    anything = ops.minimum(labels, 0)
    index = assigning.max_iou(
        outputs["rpn_anchors"], boxes, anything, positive=rpn_positive, negative=rpn_negative, rescue=True
    )
    matched = detection.match(index, boxes, anything)
    costs = focusing.binary(ops.cast(matched.positive, "float32"), outputs["rpn_logits"][..., 0])
    of_anchors = {name: outputs[f"rpn_{name}"] for name in ("anchors", "deltas", "boxes")}
    of_boxes = box_regression.of_places(box_loss, of_anchors, matched.boxes, matched.positive, beta=beta)
    found = _sampled(index, costs, box_weight * of_boxes, rpn_number, rpn_share, order)
    return rpn_weight * found + fast_rcnn(
        truth, outputs, positive=positive, negative=negative, number=number, share=share, order=order,
        box_loss=box_loss, beta=beta, box_weight=box_weight, scales=scales,
    )  # fmt: skip


def fast_rcnn(
    truth: Mapping[str, Any],
    outputs: detection.Outputs,
    *,
    positive: float = 0.5,
    negative: float = 0.5,
    number: int = 128,
    share: float = 0.25,
    order: Order = "random",
    box_loss: box_regression.BoxLoss = "smooth_l1",
    beta: float = 1.0,
    box_weight: float = 1.0,
    scales: tuple[float, float] = (0.1, 0.2),
) -> Any:
    """Returns the cross-entropy and the box loss of a sample of the proposals, (batch,) float32.

    Both are divided by the number of proposals that count: mean over the sample.

    Args:
        truth: See above.
        outputs: `anchors` (the proposals), `logits` (their first channel background), `deltas`, `boxes`.
        positive: IoU from which on a proposal answers for a box.
        negative: Below it a proposal is background; between the two nothing is asked.
        number: Proposals an image that count.
        share: The most of them that answer for a box.
        order: Which of them: `random`, or the `hardest`.
        box_loss: As `radkit.losses.box_regression` knows it.
        beta: Of `smooth_l1`.
        box_weight: Of the box loss.
        scales: What the network's offsets are divided by.

    Source: Girshick 2015, https://arxiv.org/abs/1504.08083, section 2.3.
    """
    settings.from_nought(beta=beta, box_weight=box_weight)
    outputs = detection.as_float32(outputs)
    boxes, labels = detection.told(truth)
    index = assigning.max_iou(outputs["anchors"], boxes, labels, positive=positive, negative=negative, rescue=False)
    matched = detection.match(index, boxes, labels)
    costs = detection.exclusive(outputs["logits"], matched)
    of_boxes = box_regression.of_places(
        box_loss, outputs, matched.boxes, matched.positive, beta=beta, scales=(scales[0], scales[1])
    )
    return _sampled(index, costs, box_weight * of_boxes, number, share, order)


def mask_rcnn(
    truth: Mapping[str, Any],
    outputs: detection.Outputs,
    *,
    mask_weight: float = 1.0,
    mask_positive: float = 0.5,
    rpn_positive: float = 0.7,
    rpn_negative: float = 0.3,
    rpn_number: int = 256,
    rpn_share: float = 0.5,
    rpn_weight: float = 1.0,
    positive: float = 0.5,
    negative: float = 0.5,
    number: int = 128,
    share: float = 0.25,
    order: Order = "random",
    box_loss: box_regression.BoxLoss = "smooth_l1",
    beta: float = 1.0 / 9.0,
    box_weight: float = 1.0,
    scales: tuple[float, float] = (0.1, 0.2),
) -> Any:
    """Returns the loss of `faster_rcnn` and that of the masks of the boxes that were found, (batch,) float32.

    A found box that overlaps a true one is asked for the true class's mask: binary cross-entropy, mean over its pixels
    and over such boxes.

    Args:
        truth: See above; with `mask`.
        outputs: Those of `faster_rcnn`, `found_boxes` and `mask_logits` (batch, found, *mask_size, classes).
        mask_weight: Of the masks' loss.
        mask_positive: IoU from which on a found box is asked for a mask.
        rpn_positive: As `faster_rcnn` has it, and so all below.
        rpn_negative: See there.
        rpn_number: See there.
        rpn_share: See there.
        rpn_weight: See there.
        positive: See there.
        negative: See there.
        number: See there.
        share: See there.
        order: See there.
        box_loss: See there.
        beta: See there.
        box_weight: See there.
        scales: See there.

    Raises:
        UserError: The truth has no mask.

    Source: He et al. 2017, https://arxiv.org/abs/1703.06870, section 3.
    """
    settings.from_nought(mask_weight=mask_weight)
    if truth.get("mask") is None:
        raise UserError(
            "mask_rcnn learns masks, and the truth has none; name data.mask_labels, or take faster_rcnn without"
        )
    outputs = detection.as_float32(outputs)
    found = faster_rcnn(
        truth, outputs, rpn_positive=rpn_positive, rpn_negative=rpn_negative, rpn_number=rpn_number,
        rpn_share=rpn_share, rpn_weight=rpn_weight, positive=positive, negative=negative, number=number, share=share,
        order=order, box_loss=box_loss, beta=beta, box_weight=box_weight, scales=scales,
    )  # fmt: skip
    boxes, labels = detection.told(truth)
    index = assigning.max_iou(
        outputs["found_boxes"], boxes, labels, positive=mask_positive, negative=mask_positive, rescue=False
    )
    matched = detection.match(index, boxes, labels)
    return found + mask_weight * _of_masks(truth["mask"], outputs["found_boxes"], outputs["mask_logits"], matched)


def retina_unet(
    truth: Mapping[str, Any],
    outputs: detection.Outputs,
    *,
    segmentation_weight: float = 1.0,
    pseudo_shape: box_masks.Shape = "ellipsoid",
    assigner: detection.Assigner = "max_iou",
    positive: float = 0.5,
    negative: float = 0.4,
    rescue: bool = True,
    top: int = 9,
    inside: bool = True,
    classification: detection.Classification = "focal",
    gamma: float = 2.0,
    alpha: float | None = 0.25,
    ratio: float = 3.0,
    least: int = 16,
    box_loss: box_regression.BoxLoss = "smooth_l1",
    beta: float = 1.0 / 9.0,
    box_weight: float = 1.0,
) -> Any:
    """Returns the loss of `retinanet` and Dice + cross-entropy of the segmentation beside it, (batch,) float32.

    Args:
        truth: See above; without `mask` one is drawn of the boxes.
        outputs: Those of `retinanet`, and `segmentation` (batch, *spatial, 1 + classes) logits.
        segmentation_weight: Of the segmentation's loss.
        pseudo_shape: What is drawn of a box: an `ellipsoid` that touches its sides, or the whole `box`.
        assigner: As `retinanet` has it, and so all below.
        positive: See there.
        negative: See there.
        rescue: See there.
        top: See there.
        inside: See there.
        classification: See there.
        gamma: See there.
        alpha: See there.
        ratio: See there.
        least: See there.
        box_loss: See there.
        beta: See there.
        box_weight: See there.

    Source: Jaeger et al. 2020, https://arxiv.org/abs/1811.08661.
    """
    found = detection.retinanet(
        truth, outputs, assigner=assigner, positive=positive, negative=negative, rescue=rescue, top=top, inside=inside,
        classification=classification, gamma=gamma, alpha=alpha, ratio=ratio, least=least,
        box_loss=box_loss, beta=beta, box_weight=box_weight,
    )  # fmt: skip
    settings.from_nought(segmentation_weight=segmentation_weight)
    logits, mask = outputs["segmentation"], truth.get("mask")
    if mask is None:
        mask = box_masks.drawn(*detection.told(truth), ops.shape(logits)[1:-1], pseudo_shape)
    return found + segmentation_weight * segmentation.dice_and_cross_entropy(mask, logits)


def _sampled(index: Any, costs: Any, of_boxes: Any, number: int, share: float, order: str) -> Any:
    """Returns the mean over a balanced sample of places, (batch,)."""
    if order not in ("random", "hardest"):
        raise UserError(f"order {order!r} is none; there are: random, hardest")
    ranked = costs if order == "hardest" else sampling.shuffled(costs)
    weights = sampling.balanced(index, ranked, number=number, share=share)
    return ops.sum((costs + of_boxes) * weights, axis=-1) / ops.maximum(ops.sum(weights, axis=-1), 1.0)


def _of_masks(mask: Any, found: Any, logits: Any, matched: detection.Matched) -> Any:
    """Returns the masks' cross-entropy: mean over known pixels, then over the found boxes that have one, (batch,)."""
    size = tuple(int(side) for side in logits.shape[2:-1])
    values, within = box_masks.cut(mask, found, matched.boxes, size)  # (batch, found, *size)
    axes = [1] * len(size)
    labels = ops.reshape(matched.labels, (*ops.shape(matched.labels), *axes))
    wanted = ops.cast(ops.logical_and(values == labels + 1, within), "float32")
    known = ops.cast(ops.logical_or(values != box_masks.UNLABELLED, ops.logical_not(within)), "float32")
    channel = ops.one_hot(ops.maximum(labels, 0), int(logits.shape[-1]), dtype="float32")
    costs = focusing.binary(wanted, ops.sum(logits * channel, axis=-1)) * known
    space = tuple(range(2, 2 + len(size)))
    of_box = ops.sum(costs, axis=space) / ops.maximum(ops.sum(known, axis=space), 1.0)
    return ops.sum(ops.where(matched.positive, of_box, 0.0), axis=-1) / matched.count
