"""The step loop: a plain function over `strategy.run`, right on one device and on several.

Keras's own `fit` clips each replica's gradients before they are summed, so its result depends on the number of
devices. Here gradients are summed once over all replicas, then clipped, then applied. A step whose loss or gradient is
not finite on any replica changes nothing.
"""

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from radkit import config
from radkit.errors import UserError
from radkit.tasks import task as task_module
from radkit.tasks.task import Task, Tensors
from trainers import averages, gradients, optimizers, replicated, scales

Losses = gradients.Losses
Step = Callable[[Any, tf.Tensor], dict[str, tf.Tensor]]
Hook = Callable[[int, Mapping[str, Any]], bool | None]


@dataclass(frozen=True)
class Trained:
    """All that a step changes. Made in the strategy's scope.

    Attributes:
        network: Built.
        optimizer: Built for the network's trainable variables; it must not sum gradients over replicas itself.
        average: Moved after each step that counts; None: none is kept.
        scale: For float16; None: losses are not scaled.
        total: () int64, the step at which the schedule ends, if it is no setting.
    """

    network: keras.Model
    optimizer: keras.optimizers.Optimizer
    average: averages.Average | None = None
    scale: scales.Scale | None = None
    total: tf.Variable | None = None

    def parts(self) -> dict[str, list[tf.Variable]]:
        """Returns everything that a checkpoint must hold, TensorFlow's variables in a fixed order, by part."""
        found = {"network": self.network.variables, "optimizer": self.optimizer.variables}
        if self.scale is not None:
            found["scale"] = [self.scale.value, self.scale.good]
        if self.average is not None:
            found["average"] = self.average.variables
        parts = {name: [variable.value for variable in variables] for name, variables in found.items()}
        return parts if self.total is None else {**parts, "total": [self.total]}


def new(
    network: keras.Model,
    experiment: config.Experiment,
    *,
    shares: Sequence[float] = (),
    total: tf.Variable | None = None,
) -> Trained:
    """Returns what trains a network as the config says; called in the strategy's scope, after the policy is set.

    Args:
        network: Built, with the weights to begin with.
        experiment: The config.
        shares: As `optimizers.new`.
        total: As `optimizers.new`.
    """
    optimizer = optimizers.new(experiment, shares, total)
    optimizer.build(network.trainable_variables)
    decay = experiment.optimizer.average
    average = averages.Average(network, decay) if decay else None
    scale = scales.new() if keras.config.dtype_policy().compute_dtype == "float16" else None
    return Trained(network, optimizer, average, scale, total)


def losses_of(task: Task, data: config.Data | None = None) -> Losses:
    """Returns a task's loss of what the network answers to a batch.

    Args:
        task: The task.
        data: The config's section, where the sums of the task's stream are wanted, too, if it has one.
    """
    stream = None if data is None else task_module.stream_of(task, data)

    def losses(network: keras.Model, batch: Tensors, number: tf.Tensor) -> Any:
        del number
        answer = network(task_module.seen(batch), training=True)
        found = task.loss(batch, answer)
        return found if stream is None else (found, stream.sums(batch, tf.nest.map_structure(tf.stop_gradient, answer)))

    return losses


@contextlib.contextmanager
def as_refused() -> Iterator[None]:
    """Lets refusals of what the block traces through as they were said; AutoGraph wraps them in errors of its own.

    Raises:
        UserError: What a loss, a layer or a change of images refused while it was traced.
    """
    try:
        yield
    except Exception as error:
        found = error.__context__
        while found is not None and not isinstance(found, UserError):
            found = found.__context__
        if found is None or isinstance(error, UserError) or f"UserError: {found}" not in str(error):
            raise
        raise UserError(str(found)) from error


def require_parts(trainer: config.Trainer, replicas: int) -> None:
    """Refuses a batch that does not divide into `trainer.accumulate` parts on each replica.

    Raises:
        UserError: It names the numbers.
    """
    if trainer.batch_size % (replicas * trainer.accumulate):
        raise UserError(
            f"trainer.batch_size is {trainer.batch_size}, which does not divide into trainer.accumulate = "
            f"{trainer.accumulate} equal parts on each of {replicas} replicas; change one of them"
        )


def train_step(
    devices: tf.distribute.Strategy,
    trained: Trained,
    losses: Losses,
    experiment: config.Experiment,
    *,
    change: Callable[[Tensors], Tensors] = dict,
) -> Step:
    """Returns a compiled function: a global batch and its number in, figures out, the weights moved once.

    The loss is the sum of all examples' losses, each times its `weight` where the batch has one, divided by how many
    examples of the global batch have a weight that is not 0. A step whose loss, gradients or batch statistics are not
    finite on any replica leaves every variable as it was, but for float16's scale.

    Args:
        devices: Where it runs; the batch is split over its replicas.
        trained: What it changes.
        losses: Of each example.
        experiment: Its `optimizer.clip_norm`, and the trainer's `batch_size`, `accumulate`, `seed` and `xla`.
        change: What is left to do with a replica's part of the batch, on its device: `pipeline.on_device`.

    Returns:
        (batch, () int64 steps taken before) -> scalars: `loss`, `gradient_norm` (before clipping), `learning_rate` and
        `scale`, float32, and `is_finite`, bool; where the losses give any, `sums`, a dict of the stream's, of all.

    Raises:
        UserError: A replica's part of the batch does not divide by `trainer.accumulate`.
    """
    trainer, replicas = experiment.trainer, devices.num_replicas_in_sync
    require_parts(trainer, replicas)

    def on_replica(given: Tensors, number: tf.Tensor) -> dict[str, tf.Tensor]:
        scale = tf.constant(1.0) if trained.scale is None else tf.convert_to_tensor(trained.scale.value.value)
        found = gradients.computed(trained.network, losses, change(given), number, trainer, scale)
        return _moved(trained, gradients.summed(found, replicas), scale, experiment)

    # Around `run`, not within: there the statistics of several replicas could not be summed. A TPU compiles anyway.
    compiled = True if trainer.xla and not isinstance(devices, tf.distribute.TPUStrategy) else None

    @tf.function(reduce_retracing=True, jit_compile=compiled)
    def step(batch: Any, number: tf.Tensor) -> dict[str, tf.Tensor]:
        found = devices.run(on_replica, args=(batch, number))
        return tf.nest.map_structure(lambda value: devices.experimental_local_results(value)[0], found)

    return step


def _moved(
    trained: Trained, found: gradients.Sums, scale: tf.Tensor, experiment: config.Experiment
) -> dict[str, tf.Tensor]:
    """Moves the weights by what all replicas found, if it is finite, and returns the step's figures."""
    # The sums were divided by the whole batch's size; what counts are the examples that have a weight.
    share, clip = experiment.trainer.batch_size / tf.maximum(found.count, 1.0), experiment.optimizer.clip_norm
    loss, norm = found.loss * share, tf.linalg.global_norm(found.gradients) * (share / scale)
    factor = share / scale * (clip / tf.maximum(norm, clip) if clip else 1.0)
    statistics = list(found.statistics.values())
    checked = tf.stack([loss, norm, *map(tf.reduce_sum, statistics)])
    is_finite = tf.reduce_all(tf.math.is_finite(checked))
    rate = tf.identity(tf.cast(trained.optimizer.learning_rate, tf.float32))
    variables = trained.network.variables
    written = [variables[place].value for place in found.statistics]

    def apply(changes: list[tf.Tensor], values: list[tf.Tensor]) -> None:
        trained.optimizer.apply(changes, trained.network.trainable_variables)
        replicated.everywhere(replicated.assign, written, values)
        if trained.average is not None:
            trained.average.update()

    replicated.only_if(is_finite, apply, [gradient * factor for gradient in found.gradients], statistics)
    if trained.scale is not None:
        trained.scale.update(is_finite)
    told = {"loss": loss, "is_finite": is_finite, "gradient_norm": norm, "learning_rate": rate, "scale": scale}
    return {**told, "sums": found.told} if found.told else told


class Watched:
    """Batches, and how long the steps waited for them.

    The wait for the very first batch is not counted: it is the time in which the input pipeline is built.
    """

    def __init__(self, batches: Iterator[Any], batch_size: int, clock: Callable[[], float] = time.perf_counter) -> None:
        self._batches, self._batch_size, self._clock = batches, batch_size, clock
        self._is_first = True
        self.restart()

    def restart(self) -> None:
        """Counts from now on: what was since the last batch (a validation, say) is no part of any step."""
        self._since, self._waited, self._steps = self._clock(), 0.0, 0

    def __iter__(self) -> "Watched":
        return self

    def __next__(self) -> Any:
        asked = self._clock()
        batch = next(self._batches)
        waited = self._clock() - asked
        if self._is_first:
            self._since, waited, self._is_first = self._since + waited, 0.0, False
        self._waited, self._steps = self._waited + waited, self._steps + 1
        return batch

    def figures(self) -> dict[str, float]:
        """Returns `images_per_s` and `waiting_share`, the part of the time that was spent waiting for batches."""
        seconds = max(self._clock() - self._since, 1e-9)
        rate = self._steps * self._batch_size / seconds
        return {"images_per_s": round(rate, 2), "waiting_share": round(self._waited / seconds, 4)}


def run(
    step: Step,
    batches: Iterator[Any],
    *,
    first_step: int,
    num_steps: int | Callable[[], int],
    hooks: Sequence[Hook],
    bad_steps: int = 10,
    per_execution: int = 1,
) -> int:
    """Takes steps and calls each hook with (steps taken, the step's figures) after every one; returns the steps taken.

    Args:
        step: As `train_step` returns it.
        batches: Global batches.
        first_step: Steps that were taken before.
        num_steps: Steps to take in all, or what tells them: it is asked before each step.
        hooks: Called in this order; when one returns True training ends, after the other hooks heard of the step.
        bad_steps: Steps in a row that are not finite after which training is given up.
        per_execution: Steps that are taken before the hooks hear of them, one by one. The weights have gone on by
            then: hooks that look at them must do so where the number of steps divides by it. What lies before the
            first such number, and a last part that is smaller, is taken step by step.

    Raises:
        UserError: `bad_steps` steps in a row had a loss or a gradient that is not finite; the message names the last.
    """
    end = num_steps if callable(num_steps) else lambda: num_steps
    several, bad, number = _several(step), 0, first_step
    while number < end():
        count = per_execution if number % per_execution == 0 and number + per_execution <= end() else 1
        given = [next(batches) for _ in range(count)]
        at = tf.constant(number, tf.int64)
        found = [step(given[0], at)] if count == 1 else several(given, at)
        wants_end = False
        for figures in found:
            number += 1
            told: dict[str, Any] = {name: float(value) for name, value in figures.items() if name != "sums"}
            if "sums" in figures:
                told["sums"] = {name: value.numpy() for name, value in figures["sums"].items()}
            bad = 0 if told["is_finite"] else bad + 1
            if bad >= bad_steps:
                raise UserError(_gave_up(number, bad, told))
            wants_end = any([hook(number, told) for hook in hooks]) or wants_end
        if wants_end:
            break
    return number


def _several(step: Step) -> Callable[[list[Any], tf.Tensor], list[dict[str, tf.Tensor]]]:
    """Returns a compiled function of several batches and the steps taken before: one step each, in order."""

    @tf.function(reduce_retracing=True, autograph=False)
    def several(batches: list[Any], number: tf.Tensor) -> list[dict[str, tf.Tensor]]:
        return [step(batch, number + place) for place, batch in enumerate(batches)]

    return several


def _gave_up(number: int, bad: int, told: Mapping[str, Any]) -> str:
    what = "loss" if not math.isfinite(told["loss"]) else "gradient"
    value = told["loss"] if what == "loss" else told["gradient_norm"]
    return (
        f"the {what} is {value} at step {number}, the {bad}. step in a row that is not finite (trainer.bad_steps); "
        "lower optimizer.learning_rate, or look for constant or damaged images with radkit statistics"
    )
