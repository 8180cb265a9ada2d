"""What a network learns of records without labels: a slower copy of itself, the teacher, says what they show.

The teacher's weights are the moving average of the network's; it sees the same changed image as the student, without
the noise that is added to the student's. `mean_teacher`: the student's probabilities are pulled towards the teacher's
(Tarvainen and Valpola 2017, https://arxiv.org/abs/1703.01780). `pseudo_labels`: where the teacher is sure enough, its
class is the label of the task's own loss (Sohn et al. 2020, https://arxiv.org/abs/2001.07685, with a teacher).

The teacher is the better network of the two, so it is what is scored and kept: `decay` is the one average of a run.

    teacher = averages.Average(network, unlabelled.decay(experiment))
    losses = unlabelled.losses(experiment, task, teacher)  # of batches of `unlabelled_records.beside`
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from radkit import config
from radkit.data.augmentation import draws
from radkit.errors import UserError
from radkit.losses import masks
from radkit.tasks import task as task_module
from radkit.tasks.task import Task, Tensors
from trainers import averages, unlabelled_records

_UNKNOWN = -1  # of labels: costs nothing


def decay(experiment: config.Experiment) -> float:
    """Returns which share of the weights' moving average a step keeps, the teacher's where there is one; 0: none."""
    with_teacher = experiment.unlabelled.method != "none"
    return experiment.unlabelled.average if with_teacher else experiment.optimizer.average


def require(experiment: config.Experiment, folder: Path | None, num_replicas: int = 1) -> None:
    """Refuses a method without records, records without a method, and batches that do not divide.

    Args:
        experiment: The config.
        folder: What `--unlabelled` names; None: nothing.
        num_replicas: Over which batches are split.

    Raises:
        UserError: It says which of the two is missing.
    """
    settings = experiment.unlabelled
    if settings.method == "none" and folder is not None:
        raise UserError(
            f"--unlabelled {folder} is of a config that learns of such records, and unlabelled.method is 'none'; set "
            "it to 'mean_teacher' or 'pseudo_labels'"
        )
    if settings.method != "none" and folder is None:
        raise UserError(
            f"unlabelled.method={settings.method!r} learns of records without labels; name their data set with "
            "--unlabelled, or set it to 'none'"
        )
    parts = num_replicas * experiment.trainer.accumulate
    if settings.method != "none" and settings.batch_size % parts:
        raise UserError(
            f"unlabelled.batch_size is {settings.batch_size}, which does not divide by {parts}, the number of replicas "
            "times trainer.accumulate"
        )


def losses(
    experiment: config.Experiment, task: Task, teacher: averages.Average
) -> Callable[[keras.Model, Tensors, tf.Tensor], Any]:
    """Returns the losses of batches of both: the network, a replica's batch and the step to one value an example.

    The unlabelled examples' mean, times its weight at this step, is added to each labelled example's loss. The sum over
    a batch divided by the number of its examples is then the labelled mean plus the weighted unlabelled one, whatever
    the labelled examples' own weights are.

    Args:
        experiment: The config; `unlabelled` says how.
        task: Gives the loss of labels.
        teacher: The moving average of the network's weights; it is the step that moves it.
    """
    settings = experiment.unlabelled
    compare = _agreement if settings.method == "mean_teacher" else _of_pseudo_labels
    stream = task_module.stream_of(task, experiment.data)

    def of_batch(network: keras.Model, batch: Tensors, step: tf.Tensor) -> Any:
        labelled, images = unlabelled_records.parted(batch)
        taught = tf.stop_gradient(_finest(teacher.answer(task_module.seen(images))))
        noisy = {**images, "image": _noised(images, experiment)}
        of_labelled, of_unlabelled = _answers(network, labelled, noisy)
        own = task.loss(labelled, of_labelled)
        pull = _risen(settings, step) * tf.reduce_mean(compare(task, settings, noisy, taught, of_unlabelled))
        # The loop multiplies each loss by its example's weight; what is no loss of that example must not be.
        own += tf.math.divide_no_nan(pull, batch["weight"]) if "weight" in batch else pull
        answer = tf.nest.map_structure(tf.stop_gradient, of_labelled)
        return own if stream is None else (own, stream.sums(labelled, answer))

    return of_batch


def _answers(network: keras.Model, labelled: Tensors, images: Tensors) -> tuple[Any, Any]:
    """Returns the student's answers to both parts of a batch, asked at once: statistics of a batch are of both."""
    count = labelled["image"].shape[0]
    both = tf.nest.map_structure(
        lambda one, other: tf.concat([one, tf.cast(other, one.dtype)], axis=0),
        task_module.seen(labelled),
        task_module.seen(images),
    )
    answers = network(both, training=True)
    first = tf.nest.map_structure(lambda answer: answer[:count], answers)
    return first, tf.nest.map_structure(lambda answer: answer[count:], answers)


def _noised(images: Tensors, experiment: config.Experiment) -> tf.Tensor:
    """Returns images with noise that is a function of the seed and each example's number."""
    image, deviation = images["image"], experiment.unlabelled.noise
    if not deviation:
        return image
    numbers, seed = tf.unstack(tf.cast(images[unlabelled_records.DRAW] % 2**31, tf.int32)), experiment.trainer.seed
    keys = [draws.key(tf.stack([seed, number]), "unlabelled noise") for number in numbers]
    noise = tf.stack([draws.normal(key, image.shape.as_list()[1:]) for key in keys])
    return image + deviation * tf.cast(noise, image.dtype)


def _risen(settings: config.Unlabelled, step: tf.Tensor) -> tf.Tensor:
    """Returns the unlabelled loss's weight at a step: it rises as exp(-5 (1 - t)^2), t from 0 to 1 over `ramp_steps`.

    Source: Laine and Aila 2017, https://arxiv.org/abs/1610.02242, section 3.1.
    """
    if not settings.ramp_steps:
        return tf.constant(settings.weight)
    share = tf.minimum(tf.cast(step, tf.float32) / settings.ramp_steps, 1.0)
    return settings.weight * tf.exp(-5.0 * (1.0 - share) ** 2)


def _finest(answer: Any) -> tf.Tensor:
    """Returns logits as float32, of a network that answers at several resolutions those of the finest."""
    return tf.cast(answer[0] if isinstance(answer, list | tuple) else answer, tf.float32)


def _agreement(task: Task, settings: config.Unlabelled, images: Tensors, taught: tf.Tensor, told: Any) -> tf.Tensor:
    """Returns how far the student's probabilities are from the teacher's, (batch,) float32.

    The squared difference, added up over classes and averaged over voxels: from 0 to 2.
    """
    del task, settings, images
    apart = tf.reduce_sum((tf.nn.softmax(_finest(told)) - tf.nn.softmax(taught)) ** 2, axis=-1)
    return tf.reduce_mean(tf.reshape(apart, [apart.shape[0], -1]), axis=1)


def _of_pseudo_labels(
    task: Task, settings: config.Unlabelled, images: Tensors, taught: tf.Tensor, told: Any
) -> tf.Tensor:
    """Returns the task's loss of the classes that the teacher is sure of, (batch,) float32; others cost nothing."""
    probabilities = tf.nn.softmax(taught)
    sure = tf.reduce_max(probabilities, axis=-1) >= settings.threshold
    classes = tf.argmax(probabilities, axis=-1, output_type=tf.int32)
    truth: Mapping[str, tf.Tensor] = {"label": tf.where(sure, classes, _UNKNOWN)}
    if taught.shape.rank > 2:
        truth = {"mask": tf.cast(tf.where(sure, classes, masks.UNLABELLED), tf.uint8)[..., None]}
    return task.loss({**images, **truth}, told)
