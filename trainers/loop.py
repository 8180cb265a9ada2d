"""The step loop: a plain function over `strategy.run`, right on one device and on several.

Keras's own `fit` clips each replica's gradients before they are summed, so its result depends on the number of
devices. Here gradients are summed once over all replicas, then clipped, then applied.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from radkit import config
from radkit.errors import UserError
from radkit.tasks import task as task_module
from radkit.tasks.task import Task
from trainers import adam


def new_optimizer(experiment: config.Experiment, shares: Sequence[float] = ()) -> keras.optimizers.Optimizer:
    """Returns AdamW with a linear warm-up and a cosine down to zero at the last step.

    Args:
        experiment: Its optimizer's and trainer's settings.
        shares: Of the learning rate, one a trainable weight; empty: all of it for each.
    """
    settings, steps = experiment.optimizer, experiment.trainer.steps
    warmup = min(settings.warmup_steps, steps - 1)
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0 if warmup else settings.learning_rate,
        decay_steps=max(1, steps - warmup),
        warmup_target=settings.learning_rate if warmup else None,
        warmup_steps=warmup,
    )
    if any(share != 1 for share in shares):
        return adam.AdamWByLayer(shares, schedule, settings.weight_decay)
    return adam.AdamW(schedule, settings.weight_decay)


def train_step(
    strategy: tf.distribute.Strategy,
    network: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    task: Task,
    *,
    clip_norm: float,
    batch_size: int,
    change: Callable[[Mapping[str, tf.Tensor]], Mapping[str, tf.Tensor]] = dict,
) -> Callable[[Any], tf.Tensor]:
    """Returns a compiled function: a global batch in, its mean loss out, the weights moved once.

    Where a batch has `weight`, each example's loss is multiplied by it.

    Args:
        strategy: Where it runs; the batch is split over its replicas.
        network: Its variables were made in the strategy's scope.
        optimizer: Likewise, and built.
        task: Gives the loss of each example.
        clip_norm: Bound of the summed gradients' global norm; 0: none.
        batch_size: Over all replicas: the loss is the sum of the examples' divided by this, whatever the split.
        change: What is left to do with a replica's part of the batch, on its device: `pipeline.on_device`.
    """

    def on_replica(given: Any) -> tf.Tensor:
        batch = change(given)
        with tf.GradientTape() as tape:
            logits = network(task_module.seen(batch), training=True)
            losses = task.loss(batch, logits)
            if "weight" in batch:
                losses *= tf.cast(batch["weight"], losses.dtype)
            loss = tf.reduce_sum(losses) / batch_size
        variables = network.trainable_variables
        context = tf.distribute.get_replica_context()
        gradients = context.all_reduce(tf.distribute.ReduceOp.SUM, tape.gradient(loss, [v.value for v in variables]))
        norm = tf.linalg.global_norm(gradients)
        if clip_norm:
            gradients, _ = tf.clip_by_global_norm(gradients, clip_norm, use_norm=norm)
        optimizer.apply(gradients, variables)
        # A gradient that is no number spoils the weights: the loss of this very step must say so, before they are kept.
        return loss + 0.0 * norm

    @tf.function(reduce_retracing=True)
    def step(batch: Any) -> tf.Tensor:
        losses = strategy.run(on_replica, args=(batch,))
        return strategy.reduce(tf.distribute.ReduceOp.SUM, losses, axis=None)

    return step


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
    step: Callable[[Any], tf.Tensor],
    batches: Iterator[Any],
    *,
    first_step: int,
    num_steps: int,
    hooks: list[Callable[[int, float], None]],
) -> None:
    """Takes steps and calls each hook with (steps taken, loss) after every one.

    Raises:
        UserError: The loss or its gradient is not a finite number; the message names the step.
    """
    for number in range(first_step, num_steps):
        loss = float(step(next(batches)))
        if not math.isfinite(loss):
            raise UserError(
                f"the loss or its gradient is {loss} at step {number + 1}; lower optimizer.learning_rate, or look for "
                "constant or damaged images with radkit statistics"
            )
        for hook in hooks:
            hook(number + 1, loss)
