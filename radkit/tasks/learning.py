"""From a loss of truth and logits to what a training step asks for: the loss of a batch."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from radkit import config, folder, losses, models
from radkit.errors import UserError
from radkit.losses import deep_supervision
from radkit.tasks.task import Tensors

OfBatch = Callable[[Tensors, Any], tf.Tensor]


def chosen(task: str, experiment: config.Experiment) -> losses.Loss:
    """Returns the loss that a config chooses for a task, with its settings.

    Raises:
        UserError: No such loss or setting.
    """
    return losses.chosen(task, experiment.task.loss, experiment.task.loss_settings)


def of_labels(loss: losses.Loss) -> OfBatch:
    """Returns the loss of `batch["label"]`; where examples were mixed, each label counts by its share."""

    def of_batch(batch: Tensors, logits: tf.Tensor) -> tf.Tensor:
        found = loss(batch["label"], logits)
        if "mixed_label" not in batch:
            return found
        share = batch["mixed_share"]  # of the example's own label; the rest is of the one it was mixed with
        return share * found + (1.0 - share) * loss(batch["mixed_label"], logits)

    return of_batch


def of_chosen(task: str) -> Callable[[config.Experiment], OfBatch]:
    """Returns the function from an experiment to the loss of `batch["label"]` that it chooses for a task."""
    return lambda experiment: of_labels(chosen(task, experiment))


def of_masks(loss: losses.Loss) -> OfBatch:
    """Returns the loss of `batch["mask"]`, at each resolution that the network answers at."""
    return lambda batch, logits: deep_supervision.supervised(loss, batch["mask"], logits)


def of_boxes(loss: losses.Loss, classes: int | None = None) -> OfBatch:
    """Returns the loss of `batch["boxes"]` and `batch["box_labels"]`, and of `batch["mask"]` where there is one.

    Args:
        loss: One of detection, of truth and a detector's dict.
        classes: Labels from here on are of regions to ignore; None: none is.
    """

    def of_batch(batch: Tensors, outputs: Any) -> tf.Tensor:
        labels = tf.cast(batch["box_labels"], tf.int32)
        if classes is not None:
            labels = tf.where(labels >= classes, -2, labels)
        truth = {"boxes": batch["boxes"], "labels": labels}
        return loss({**truth, "mask": batch["mask"]} if "mask" in batch else truth, outputs)

    return of_batch


def of_detector(model: str) -> tuple[str, dict[str, Any]]:
    """Returns the loss that a detector learns by unless it is told otherwise, and that one's settings.

    Args:
        model: As `models.build` knows it. Code of one's own may say `LOSS` and `LOSS_SETTINGS` as the files of
            `radkit.models` do.

    Raises:
        UserError: It finds no boxes.

    Example:
        >>> of_detector("retinanet")
        ('retinanet', {})
    """
    file, _ = models.find(model)
    if ":" not in file and _said(file, "TASK", "") != "detection":
        known = ", ".join(models.names("detection"))
        raise UserError(f"model {model!r} finds no boxes, and the task is detection; there are: {known}")
    return _said(file, "LOSS", losses.names("detection")[0]), dict(_said(file, "LOSS_SETTINGS", {}))


def _said(file: str, attribute: str, otherwise: Any) -> Any:
    """Returns what a model's file says of itself."""
    where = f"{file.partition(':')[0]}:{attribute}" if ":" in file else file
    try:
        return folder.find(models.__name__, where, attribute)
    except UserError:
        return otherwise


def require(task: str, data: config.Data, *kinds: str) -> None:
    """Refuses labels of a kind that a task does not learn.

    Raises:
        UserError: It names the tasks that there are for them.
    """
    if data.label and data.label_kind in kinds:
        return
    wanted = " or ".join(repr(kind) for kind in kinds)
    if not data.label:
        raise UserError(f"{task} needs data.label (the table's column), of data.label_kind {wanted}; it is empty")
    others = {"class": "classification", "survival": ""}
    other = others.get(data.label_kind, data.label_kind)
    advice = f"set task.name='{other}'" if other else "such labels are stored and fed, and no task learns from them yet"
    raise UserError(f"{task} learns data.label_kind {wanted}, not {data.label_kind!r}: {advice}")
