"""Streaming figures of training: sums that add up over examples, replicas, hosts and steps, and what they come to.

A `Stream` gives sums of one replica's part of a batch. Sums of several replicas, hosts and steps are added, nothing
else; only then `figures` divides. So it does not matter how examples were dealt, as it would for a mean of means.
Examples whose weight is 0 fill up a batch and count nothing; any other counts once, whatever its weight. Where nobody
knows the label (-1, a number that is nan, a voxel of 255) nothing is counted, either.

Figures say how well the network does on what it is trained on: changed images, patches, weights that still move. What
chooses weights is the task's `summary` of the validation split.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from radkit import config
from radkit.boxes import geometry
from radkit.losses import masks

Tensors = Mapping[str, tf.Tensor]
Parts = Callable[[tf.Tensor, Any], dict[str, tf.Tensor]]  # of label and logits: what each example adds, (b, ...)

BINS = 256  # of a probability, between which an area under the curve does not tell apart
MOST_FOUND = 100  # boxes of an image that are looked at, surest first


@dataclass(frozen=True, eq=False)
class Stream:
    """What adds up, and what it comes to.

    Attributes:
        sums: (batch, logits as the loss gets them) -> sums by name, float32 of any static shape. Add those of several
            steps in float64: float32 counts to 16 million.
        figures: Added sums as numpy -> figures by name; nan where nothing was counted.

    Example:
        >>> stream = regression(config.Data("d", label="age", label_kind="regression", label_range=(0.0, 100.0)))
        >>> batch = {"label": tf.constant([40.0, 60.0]), "weight": tf.constant([1.0, 0.0])}
        >>> sums = stream.sums(batch, tf.constant([[0.5], [0.9]]))
        >>> stream.figures({name: value.numpy() for name, value in sums.items()})
        {'mean absolute error': 10.0, 'bias': 10.0}
    """

    sums: Callable[[Tensors, Any], dict[str, tf.Tensor]]
    figures: Callable[[Mapping[str, Any]], dict[str, float]]


def classification(data: config.Data) -> Stream:
    """Returns the accuracy of exclusive classes and, of two, the AUC."""
    classes = len(data.class_names)

    def parts(label: tf.Tensor, logits: tf.Tensor) -> dict[str, tf.Tensor]:
        label = tf.cast(label, tf.int64)
        known = tf.cast(label >= 0, tf.float32)
        found = {"known": known, "right": known * tf.cast(tf.argmax(logits, axis=-1) == label, tf.float32)}
        if classes == 2:
            found |= _bins(tf.cast(label, tf.float32)[:, None], tf.nn.softmax(logits)[:, 1:])
        return found

    def figures(sums: Mapping[str, Any]) -> dict[str, float]:
        told = {"accuracy": _ratio(sums["right"], sums["known"])}
        return told | ({"AUC": _area(sums["yes"][0], sums["no"][0])} if classes == 2 else {})

    return Stream(_of_labels(parts), figures)


def multi_label(data: config.Data) -> Stream:
    """Returns the mean AUC over the labels that have both yes and no, where they are known."""
    del data

    def figures(sums: Mapping[str, Any]) -> dict[str, float]:
        areas = [_area(yes, no) for yes, no in zip(sums["yes"], sums["no"])]
        defined = [area for area in areas if not math.isnan(area)]
        return {"mean AUC": _ratio(sum(defined), len(defined))}

    return Stream(_of_labels(lambda label, logits: _bins(tf.cast(label, tf.float32), tf.sigmoid(logits))), figures)


def ordinal(data: config.Data) -> Stream:
    """Returns the accuracy and the mean error in degrees; the degree is how many steps are likelier passed than not."""
    steps = len(data.class_names) - 1

    def parts(label: tf.Tensor, logits: tf.Tensor) -> dict[str, tf.Tensor]:
        # A step counts only if those before it were passed: a linear head's may cross.
        passed = tf.math.cumprod(tf.cast(logits[:, :steps] > 0.0, tf.float32), axis=1)
        known = tf.cast(label >= 0, tf.float32)
        error = known * tf.abs(tf.reduce_sum(passed, axis=1) - tf.cast(label, tf.float32))
        return {"known": known, "right": known * tf.cast(error == 0.0, tf.float32), "error": error}

    def figures(sums: Mapping[str, Any]) -> dict[str, float]:
        return {
            "accuracy": _ratio(sums["right"], sums["known"]),
            "mean error in degrees": _ratio(sums["error"], sums["known"]),
        }

    return Stream(_of_labels(parts), figures)


def regression(data: config.Data) -> Stream:
    """Returns the mean absolute error and the bias, in the label's unit."""
    low, high = data.label_range

    def parts(label: tf.Tensor, logits: tf.Tensor) -> dict[str, tf.Tensor]:
        known = tf.math.is_finite(label)
        error = tf.cast(logits[:, 0], tf.float32) * (high - low) + low - tf.cast(label, tf.float32)
        error = tf.where(known, error, 0.0)
        return {"known": tf.cast(known, tf.float32), "error": error, "absolute": tf.abs(error)}

    def figures(sums: Mapping[str, Any]) -> dict[str, float]:
        return {
            "mean absolute error": _ratio(sums["absolute"], sums["known"]),
            "bias": _ratio(sums["error"], sums["known"]),
        }

    return Stream(_of_labels(parts), figures)


def segmentation(data: config.Data) -> Stream:
    """Returns the Dice of all voxels together, by label and in the mean; the summary's is a mean over images."""
    labels = tf.range(1, len(data.mask_labels) + 1)

    def sums(batch: Tensors, logits: Any) -> dict[str, tf.Tensor]:
        finest = logits[0] if isinstance(logits, list | tuple) else logits
        mask = tf.cast(batch["mask"], tf.int32)
        truth = tf.reshape(mask, [tf.shape(mask)[0], -1, 1])
        found = tf.reshape(tf.argmax(finest, axis=-1, output_type=tf.int32), [tf.shape(mask)[0], -1, 1])
        known = truth != masks.UNLABELLED
        there, called = (tf.cast((one == labels) & known, tf.float32) for one in (truth, found))
        sizes = tf.reduce_sum(there, axis=1) + tf.reduce_sum(called, axis=1)
        return _added(batch, {"both": tf.reduce_sum(there * called, axis=1), "sizes": sizes})

    def figures(added: Mapping[str, Any]) -> dict[str, float]:
        dice = {label: _ratio(2.0 * b, s) for label, b, s in zip(data.mask_labels, added["both"], added["sizes"])}
        defined = [value for value in dice.values() if not math.isnan(value)]
        of_labels = {f"pooled Dice, {label}": value for label, value in dice.items()}
        return {"pooled Dice": _ratio(sum(defined), len(defined)), **of_labels}

    return Stream(sums, figures)


def detection(data: config.Data) -> Stream:
    """Returns the share of boxes that a place hits (its class, score and IoU of 0.5 or more), and the IoU of the best.

    Places are as the network tells them, before boxes of one thing become one.
    """
    classes = len(data.box_labels) - len(data.ignored_boxes)

    def sums(batch: Tensors, outputs: Any) -> dict[str, tf.Tensor]:
        scores, found, overlap = _surest(outputs, batch["boxes"])
        labels = tf.cast(batch["box_labels"], tf.int32)
        there = tf.cast((labels >= 0) & (labels < classes), tf.float32)
        own = tf.where(found[:, :, None] == labels[:, None], overlap, 0.0)
        hits = tf.reduce_any((own >= 0.5) & (scores[:, :, None] >= 0.5), axis=1)
        best = tf.reduce_max(own, axis=1)
        parts = {"boxes": there, "hits": there * tf.cast(hits, tf.float32), "overlap": there * best}
        return _added(batch, {name: tf.reduce_sum(part, axis=1) for name, part in parts.items()})

    def figures(added: Mapping[str, Any]) -> dict[str, float]:
        return {
            "boxes hit": _ratio(added["hits"], added["boxes"]),
            "IoU of the best place": _ratio(added["overlap"], added["boxes"]),
        }

    return Stream(sums, figures)


def _surest(outputs: Tensors, boxes: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns score and class of an image's surest places, (b, places), and their IoU with its boxes."""
    of_place = tf.reduce_max(outputs["scores"], axis=-1)
    scores, places = tf.math.top_k(of_place, min(MOST_FOUND, of_place.shape[1] or MOST_FOUND))
    classes = tf.argmax(outputs["scores"], axis=-1, output_type=tf.int32)
    told = tf.gather(outputs["boxes"], places, batch_dims=1)
    overlap = geometry.iou(told[:, :, None], tf.cast(boxes, tf.float32)[:, None])
    return scores, tf.gather(classes, places, batch_dims=1), overlap


def _of_labels(parts: Parts) -> Callable[[Tensors, Any], dict[str, tf.Tensor]]:
    """Returns sums of `batch["label"]`; where examples were mixed, each label counts by its share."""

    def sums(batch: Tensors, logits: tf.Tensor) -> dict[str, tf.Tensor]:
        found = parts(batch["label"], logits)
        if "mixed_label" in batch:
            share, other = batch["mixed_share"], parts(batch["mixed_label"], logits)
            found = {n: _times(share, value) + _times(1.0 - share, other[n]) for n, value in found.items()}
        return _added(batch, found)

    return sums


def _added(batch: Tensors, parts: Tensors) -> dict[str, tf.Tensor]:
    """Returns the sums over the examples that count."""
    number = tf.shape(next(iter(parts.values())))[0]
    weight = batch["weight"] if "weight" in batch else tf.ones([number])
    counts = tf.cast(weight != 0.0, tf.float32)
    return {name: tf.reduce_sum(_times(counts, part), axis=0) for name, part in parts.items()}


def _times(share: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    """Returns (b, ...) times (b,)."""
    return tf.reshape(share, [-1] + [1] * (values.shape.rank - 1)) * values


def _bins(label: tf.Tensor, probability: tf.Tensor) -> dict[str, tf.Tensor]:
    """Returns in which bin an example's probabilities are, apart by label: (b, labels, BINS); unknown ones in none."""
    place = tf.clip_by_value(tf.cast(tf.cast(probability, tf.float32) * BINS, tf.int32), 0, BINS - 1)
    there = tf.one_hot(place, BINS)
    return {name: there * tf.cast(label == value, tf.float32)[..., None] for name, value in (("yes", 1.0), ("no", 0.0))}


def _area(yes: Any, no: Any) -> float:
    """Returns the area under the curve of counts by bin; those in one bin count half."""
    yes, no = np.asarray(yes, float), np.asarray(no, float)
    below = np.cumsum(no) - no
    return _ratio(float((yes * (below + 0.5 * no)).sum()), float(yes.sum() * no.sum()))


def _ratio(above: Any, below: Any) -> float:
    return float(above) / float(below) if below else math.nan
