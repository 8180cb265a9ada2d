"""Losses of masks against logits: overlap of regions, and each voxel for itself.

All take `mask` and `logits` as `radkit.losses.masks.compare` does: a voxel of value 255 is unlabelled and costs
nothing. Overlap is of the foreground unless `background` is set.
"""

from collections.abc import Sequence
from typing import Any, Literal

from keras import ops

from radkit.errors import UserError
from radkit.losses import focusing, masks, settings
from radkit.losses.masks import Activation, Compared

Weights = Sequence[float]


def dice(
    mask: Any,
    logits: Any,
    smooth: float = 1.0,
    *,
    smooth_denominator: float | None = None,
    squared: bool = False,
    jaccard: bool = False,
    batch: bool = False,
    soft_labels: bool = False,
    background: bool = False,
    activation: Activation = "softmax",
    class_weights: Weights = (),
) -> Any:
    """Returns soft Dice loss, the mean over classes of 1 - Dice, (batch,) float32.

    Args:
        mask: (batch, *spatial, 1) integers, or (batch, *spatial, classes).
        logits: (batch, *spatial, classes).
        smooth: Added to the numerator, so that an absent class that is not predicted costs nothing.
        smooth_denominator: Added to the denominator; None: as `smooth`.
        squared: Whether the denominator sums squares.
        jaccard: Whether to take intersection over union instead.
        batch: Whether the batch's voxels count together, as if they were one image; of several replicas each its own.
        soft_labels: Whether the truth may lie between 0 and 1: the intersection is then what makes an answer that
            equals it the best one.
        background: Whether class 0 is scored.
        activation: `softmax` or `sigmoid`.
        class_weights: One a scored class; empty: alike.

    Source: Milletari et al. 2016, https://arxiv.org/abs/1606.04797 (squared); Drozdzal et al. 2016,
    https://arxiv.org/abs/1608.04117; soft labels: Wang et al. 2023, https://arxiv.org/abs/2303.16296.
    """
    compared = masks.compare(mask, logits, activation, background)
    below = smooth if smooth_denominator is None else smooth_denominator
    return _dice(compared, smooth, below, squared, jaccard, batch, soft_labels, class_weights)


def _dice(
    compared: Compared,
    smooth: float,
    below: float,
    squared: bool = False,
    jaccard: bool = False,
    batch: bool = False,
    soft_labels: bool = False,
    weights: Weights = (),
) -> Any:
    settings.from_nought(smooth=smooth, smooth_denominator=below)
    settings.weights(class_weights=weights)
    truth, found, axes = compared.scored_truth, compared.scored, compared.space
    both = ops.sum(truth * found, axis=axes)
    power = 2 if squared else 1
    sizes = ops.sum(truth**power, axis=axes) + ops.sum(found**power, axis=axes)
    if soft_labels and not squared:
        both = (sizes - ops.sum(ops.abs(truth - found), axis=axes)) / 2.0
    if batch:
        both, sizes = ops.sum(both, axis=0, keepdims=True), ops.sum(sizes, axis=0, keepdims=True)
    whole = 2.0 * (sizes - both) if jaccard else sizes
    return masks.per_example(1.0 - masks.quotient(2.0 * both + smooth, whole + below), weights, compared)


def cross_entropy(
    mask: Any,
    logits: Any,
    *,
    label_smoothing: float = 0.0,
    batch: bool = False,
    activation: Activation = "softmax",
    class_weights: Weights = (),
) -> Any:
    """Returns the mean cross-entropy of the labelled voxels, (batch,) float32.

    Args:
        mask: (batch, *spatial, 1) integers, or (batch, *spatial, classes).
        logits: (batch, *spatial, classes).
        label_smoothing: Share of each voxel's truth spread evenly over the classes.
        batch: Whether the mean is over the batch's voxels, not each image's.
        activation: `softmax`, or `sigmoid`: the mean of each class's binary cross-entropy.
        class_weights: One a class, background first; a voxel weighs as its class does, and the mean is by weight. With
            `sigmoid`: of the voxels that are of the class.
    """
    compared = masks.compare(mask, logits, activation)
    return _cross_entropy(compared, label_smoothing, batch, class_weights)


def _cross_entropy(compared: Compared, smoothing: float = 0.0, batch: bool = False, weights: Weights = ()) -> Any:
    settings.shares(label_smoothing=smoothing)
    settings.weights(class_weights=weights)
    by_class = masks.class_weights(weights, compared.logits.shape[-1]) if len(weights) else 1.0
    costs, count = (_of_each if compared.activation == "sigmoid" else _of_one)(compared, smoothing, by_class)
    if batch:
        costs, count = ops.sum(costs, axis=0, keepdims=True), ops.sum(count, axis=0, keepdims=True)
    return masks.for_each(costs / ops.where(count > 0, count, 1.0), compared)


def _of_one(compared: Compared, smoothing: float, by_class: Any) -> tuple[Any, Any]:
    """Returns the summed cross-entropy of voxels of one class each, and their weight, (batch,) each."""
    axes, truth = (*compared.space, -1), compared.truth
    if smoothing:
        truth = truth * (1.0 - smoothing) + compared.known * (smoothing / compared.logits.shape[-1])
    costs = -ops.sum(truth * compared.log_probabilities * by_class, axis=axes)
    weighed = compared.known if isinstance(by_class, float) else compared.truth * by_class
    return costs, ops.sum(weighed, axis=axes)


def _of_each(compared: Compared, smoothing: float, by_class: Any) -> tuple[Any, Any]:
    """Returns the summed binary cross-entropy of every class, and how many voxels and classes there are."""
    axes = (*compared.space, -1)
    truth = compared.truth * (1.0 - smoothing) + compared.known * (smoothing / 2.0)
    of_no = compared.log_probabilities - compared.logits  # log(1 - p)
    costs = -ops.sum((by_class * truth * compared.log_probabilities + (compared.known - truth) * of_no), axis=axes)
    return costs, ops.sum(compared.known + ops.zeros_like(compared.truth), axis=axes)


def dice_and_cross_entropy(
    mask: Any,
    logits: Any,
    smooth: float = 1.0,
    *,
    smooth_denominator: float | None = None,
    squared: bool = False,
    batch: bool = False,
    background: bool = False,
    activation: Activation = "softmax",
    class_weights: Weights = (),
    label_smoothing: float = 0.0,
    dice_weight: float = 1.0,
    cross_entropy_weight: float = 1.0,
) -> Any:
    """Returns cross-entropy plus soft Dice loss over the foreground classes, (batch,) float32.

    Args:
        mask: (batch, *spatial, 1), integers 0 .. classes - 1; 0 is background.
        logits: (batch, *spatial, classes).
        smooth: As of `dice`.
        smooth_denominator: As of `dice`.
        squared: As of `dice`.
        batch: As of `dice` and `cross_entropy`.
        background: Whether Dice scores class 0; cross-entropy always does.
        activation: `softmax` or `sigmoid`.
        class_weights: One a class, background first, of both.
        label_smoothing: Of cross-entropy.
        dice_weight: Of the Dice loss in the sum.
        cross_entropy_weight: Of cross-entropy in the sum.

    Source: Isensee et al. 2021, https://doi.org/10.1038/s41592-020-01008-z (online methods).
    """
    settings.from_nought(dice_weight=dice_weight, cross_entropy_weight=cross_entropy_weight)
    settings.weights(class_weights=class_weights)
    compared = masks.compare(mask, logits, activation, background)
    below = smooth if smooth_denominator is None else smooth_denominator
    entropy = _cross_entropy(compared, label_smoothing, batch, class_weights)
    overlap = _dice(
        compared, smooth, below, squared=squared, batch=batch, weights=tuple(class_weights)[compared.first :]
    )
    return cross_entropy_weight * entropy + dice_weight * overlap


def generalised_dice(
    mask: Any,
    logits: Any,
    smooth: float = 1e-5,
    *,
    volumes: Literal["square", "simple", "uniform"] = "square",
    batch: bool = False,
    background: bool = True,
    activation: Activation = "softmax",
) -> Any:
    """Returns generalised Dice loss, in which small classes weigh as much as large ones, (batch,) float32.

    Args:
        mask: (batch, *spatial, 1) integers, or (batch, *spatial, classes).
        logits: (batch, *spatial, classes).
        smooth: Added to both sides of the quotient.
        volumes: A class weighs by 1 / voxels^2 (`square`), 1 / voxels (`simple`) or as all (`uniform`); one that is
            absent weighs as the heaviest that is there.
        batch: Whether the batch's voxels count together.
        background: Whether class 0 is scored; the formula is made for that.
        activation: `softmax` or `sigmoid`.

    Source: Sudre et al. 2017, https://arxiv.org/abs/1707.03237.
    """
    powers = {"square": 2, "simple": 1, "uniform": 0}
    if volumes not in powers:
        raise UserError(f"volumes must be one of {', '.join(powers)}, not {volumes!r}")
    settings.from_nought(smooth=smooth)
    compared = masks.compare(mask, logits, activation, background)
    axes = (0, *compared.space) if batch else compared.space
    truth, found = compared.scored_truth, compared.scored
    there = ops.sum(truth, axis=axes, keepdims=True)
    weights = ops.where(there > 0, 1.0 / ops.where(there > 0, there, 1.0) ** powers[volumes], 0.0)
    weights = ops.where(there > 0, weights, ops.max(weights, axis=-1, keepdims=True))
    of_classes = (*axes, -1)
    both = ops.sum(weights * ops.sum(truth * found, axis=axes, keepdims=True), axis=of_classes)
    sizes = ops.sum(weights * ops.sum(truth + found, axis=axes, keepdims=True), axis=of_classes)
    return masks.for_each(1.0 - masks.quotient(2.0 * both + smooth, sizes + smooth), compared)


def tversky(
    mask: Any,
    logits: Any,
    smooth: float = 1e-5,
    *,
    alpha: float = 0.3,
    beta: float = 0.7,
    batch: bool = False,
    background: bool = False,
    activation: Activation = "softmax",
    class_weights: Weights = (),
) -> Any:
    """Returns Tversky loss, the mean over classes of 1 - Tversky index, (batch,) float32.

    Args:
        mask: (batch, *spatial, 1) integers, or (batch, *spatial, classes).
        logits: (batch, *spatial, classes).
        smooth: Added to both sides of the quotient.
        alpha: Weight of what is called wrongly (false positives).
        beta: Weight of what is missed (false negatives). Both 0.5: Dice.
        batch: Whether the batch's voxels count together.
        background: Whether class 0 is scored.
        activation: `softmax` or `sigmoid`.
        class_weights: One a scored class; empty: alike.

    Source: Salehi et al. 2017, https://arxiv.org/abs/1706.05721.
    """
    settings.weights(class_weights=class_weights)
    compared = masks.compare(mask, logits, activation, background)
    return masks.per_example(1.0 - _index(compared, smooth, alpha, beta, batch), class_weights, compared)


def focal_tversky(
    mask: Any,
    logits: Any,
    smooth: float = 1e-5,
    *,
    alpha: float = 0.3,
    beta: float = 0.7,
    gamma: float = 4 / 3,
    batch: bool = False,
    background: bool = False,
    activation: Activation = "softmax",
    class_weights: Weights = (),
) -> Any:
    """Returns focal Tversky loss, the mean over classes of (1 - Tversky index)^(1 / gamma), (batch,) float32.

    Args:
        mask: As of `tversky`.
        logits: As of `tversky`.
        smooth: As of `tversky`.
        alpha: As of `tversky`.
        beta: As of `tversky`.
        gamma: Above 1, classes that are still poor weigh more.
        batch: As of `tversky`.
        background: As of `tversky`.
        activation: As of `tversky`.
        class_weights: As of `tversky`.

    Source: Abraham and Khan 2018, https://arxiv.org/abs/1810.07842 (their alpha is our beta).
    """
    settings.above_nought(gamma=gamma)
    settings.weights(class_weights=class_weights)
    compared = masks.compare(mask, logits, activation, background)
    lacking = 1.0 - _index(compared, smooth, alpha, beta, batch)
    return masks.per_example(focusing.power(lacking, 1.0 / gamma), class_weights, compared)


def _index(compared: Compared, smooth: float, alpha: float, beta: float, batch: bool) -> Any:
    settings.from_nought(smooth=smooth, alpha=alpha, beta=beta)
    truth, found = compared.scored_truth, compared.scored
    both = ops.sum(truth * found, axis=compared.space)
    called, missed = ops.sum(found, axis=compared.space) - both, ops.sum(truth, axis=compared.space) - both
    if batch:
        both, called, missed = (ops.sum(part, axis=0, keepdims=True) for part in (both, called, missed))
    return masks.quotient(both + smooth, both + alpha * called + beta * missed + smooth)


def focal(
    mask: Any,
    logits: Any,
    *,
    gamma: float = 2.0,
    alpha: float | Weights | None = None,
    background: bool = True,
    activation: Activation = "softmax",
    class_weights: Weights = (),
    mean_over_classes: bool = False,
) -> Any:
    """Returns the mean focal loss of the labelled voxels, (batch,) float32.

    Args:
        mask: (batch, *spatial, 1) integers, or (batch, *spatial, classes).
        logits: (batch, *spatial, classes).
        gamma: How much less a voxel counts that is right already; 0: cross-entropy.
        alpha: One number: weight of the foreground, background 1 - alpha (`sigmoid`: of yes, no 1 - alpha). Several:
            one a scored class (`sigmoid`: of yes). None: alike.
        background: Whether voxels of class 0 count.
        activation: `softmax` or `sigmoid`.
        class_weights: One a scored class; empty: alike.
        mean_over_classes: Whether to divide by the number of classes, as MONAI does; `sigmoid` always does.

    Source: Lin et al. 2017, https://arxiv.org/abs/1708.02002.
    """
    compared = masks.compare(mask, logits, activation, background)
    return _focal(compared, gamma, alpha, class_weights, mean_over_classes)


def _focal(
    compared: Compared, gamma: float, alpha: float | Weights | None, weights: Weights, mean_over_classes: bool
) -> Any:
    settings.from_nought(gamma=gamma)
    settings.alpha(alpha)
    settings.weights(class_weights=weights)
    of_one = compared.activation == "softmax"
    truth, first = compared.scored_truth, compared.first
    if of_one:
        costs = focusing.of_one(truth, compared.log_probabilities[..., first:], gamma, alpha, bool(first))
    else:
        costs = focusing.of_each(truth, compared.logits[..., first:], gamma, alpha)
    known = compared.known if compared.known.shape[-1] == 1 else compared.known[..., first:]
    costs, classes = costs * known, int(truth.shape[-1])
    if len(weights):
        costs = costs * masks.class_weights(weights, classes)
    axes = (*compared.space, -1)
    share = 1.0 if of_one and not mean_over_classes else float(classes)
    count = ops.sum(known, axis=axes) * share / int(known.shape[-1])
    return ops.sum(costs, axis=axes) / ops.where(count > 0, count, 1.0)


def dice_and_focal(
    mask: Any,
    logits: Any,
    smooth: float = 1.0,
    *,
    smooth_denominator: float | None = None,
    squared: bool = False,
    batch: bool = False,
    gamma: float = 2.0,
    alpha: float | Weights | None = None,
    background: bool = False,
    activation: Activation = "softmax",
    class_weights: Weights = (),
    mean_over_classes: bool = False,
    dice_weight: float = 1.0,
    focal_weight: float = 1.0,
) -> Any:
    """Returns soft Dice plus focal loss, (batch,) float32.

    Args:
        mask: As of `dice`.
        logits: As of `dice`.
        smooth: As of `dice`.
        smooth_denominator: As of `dice`.
        squared: As of `dice`.
        batch: As of `dice`.
        gamma: As of `focal`.
        alpha: As of `focal`.
        background: Whether class 0 is scored, by both.
        activation: `softmax` or `sigmoid`.
        class_weights: One a scored class, of both.
        mean_over_classes: As of `focal`.
        dice_weight: Of the Dice loss in the sum.
        focal_weight: Of the focal loss in the sum.

    Source: Zhu et al. 2018, https://arxiv.org/abs/1808.05238.
    """
    compared = masks.compare(mask, logits, activation, background)
    below = smooth if smooth_denominator is None else smooth_denominator
    settings.from_nought(dice_weight=dice_weight, focal_weight=focal_weight)
    overlap = _dice(compared, smooth, below, squared=squared, batch=batch, weights=class_weights)
    return dice_weight * overlap + focal_weight * _focal(compared, gamma, alpha, class_weights, mean_over_classes)
