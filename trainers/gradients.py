"""What one replica computes of its part of a batch, and the sum of it over all replicas.

Nothing is written here: what layers would write while they are called (batch norms their moving statistics, dropouts
how often they drew) is caught by `keras.StatelessScope` and returned.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from radkit import config
from radkit.tasks.task import Tensors
from trainers import randomness

Told = dict[str, tf.Tensor]
"""Sums of a task's stream: they add up over parts, replicas and steps."""

Losses = Callable[[keras.Model, Tensors, tf.Tensor], tf.Tensor | tuple[tf.Tensor, Told]]
"""(network, one replica's batch, () int64 steps taken before) -> one loss an example, (batch,) float32.

Where figures of training are wanted, also the stream's sums of this batch.
"""


@dataclass(frozen=True)
class Sums:
    """What a replica computed of its examples, or all replicas together.

    Attributes:
        gradients: One a trainable weight, of the scaled loss; float32 for float32 weights.
        loss: () float32, the sum of weighted losses, divided by `trainer.batch_size`.
        count: () float32, how many examples have a weight that is not 0.
        statistics: What layers would have written, float32, by the variable's place in `network.variables`.
        told: The stream's sums; empty where the losses give none.
    """

    gradients: list[tf.Tensor]
    loss: tf.Tensor
    count: tf.Tensor
    statistics: dict[int, tf.Tensor]
    told: Told


def computed(
    network: keras.Model,
    losses: Losses,
    batch: Tensors,
    number: tf.Tensor,
    trainer: config.Trainer,
    scale: tf.Tensor | float = 1.0,
) -> Sums:
    """Returns a replica's sums, computed in `trainer.accumulate` parts of its batch, one after the other.

    Args:
        network: Its variables are read.
        losses: Of each example.
        batch: The replica's; every tensor's first axis divides into the parts.
        number: () int64, steps taken before.
        trainer: Its `accumulate`, `batch_size` and `seed`.
        scale: By how much the loss is multiplied before gradients are taken.
    """
    found = _of_part(network, losses, _cut(batch, 0, trainer.accumulate), (number, 0), trainer, scale, {})
    for place in range(1, trainer.accumulate):
        # Only when the part before is done: what it held is free by then, which is why a batch is cut at all.
        with tf.control_dependencies(found.gradients):
            part = _cut(batch, place, trainer.accumulate)
        found = _added(found, _of_part(network, losses, part, (number, place), trainer, scale, found.statistics))
    return found


def _cut(batch: Tensors, place: int, parts: int) -> Tensors:
    """Returns one of so many equal parts of a batch."""
    if parts == 1:
        return batch
    return {name: tf.nest.map_structure(lambda x: tf.split(x, parts)[place], value) for name, value in batch.items()}


def _of_part(
    network: keras.Model,
    losses: Losses,
    batch: Tensors,
    place: tuple[tf.Tensor, int],
    trainer: config.Trainer,
    scale: tf.Tensor | float,
    known: dict[int, tf.Tensor],
) -> Sums:
    """Returns the sums of one part; `place` is (steps taken before, which part), `known` what parts before wrote."""
    number, part = place
    variables, replica = network.variables, tf.distribute.get_replica_context().replica_id_in_sync_group
    given = [(variables[at], value) for at, value in known.items()]
    given += randomness.drawn(network, trainer.seed, number, replica, part)
    with keras.StatelessScope(given, initialize_variables=False) as scope, tf.GradientTape() as tape:
        given_back = losses(network, batch, number)
        found, told = given_back if isinstance(given_back, tuple) else (given_back, {})
        found = tf.cast(found, tf.float32)
        count = tf.cast(tf.size(found), tf.float32)
        if "weight" in batch:
            count = tf.math.count_nonzero(batch["weight"], dtype=tf.float32)
            found *= tf.cast(batch["weight"], tf.float32)
        loss = tf.reduce_sum(found) / trainer.batch_size
        scaled = loss * scale
    weights = [weight.value for weight in network.trainable_variables]
    gradients = [_dense(*pair) for pair in zip(tape.gradient(scaled, weights), weights, strict=True)]
    seeds = {id(state) for state in randomness.states(network)}
    written = {at: scope.get_current_value(one) for at, one in enumerate(variables) if id(one) not in seeds}
    statistics = {at: tf.cast(value, tf.float32) for at, value in written.items() if value is not None}
    return Sums(gradients, loss, count, statistics, told)


def _dense(gradient: Any, weight: tf.Variable) -> tf.Tensor:
    """Returns a gradient as a tensor; of a weight that the loss does not depend on it is zero."""
    return tf.zeros(weight.shape, weight.dtype) if gradient is None else tf.convert_to_tensor(gradient)


def _added(one: Sums, more: Sums) -> Sums:
    gradients = [a + b for a, b in zip(one.gradients, more.gradients, strict=True)]
    told = {name: value + more.told[name] for name, value in one.told.items()}
    return Sums(gradients, one.loss + more.loss, one.count + more.count, {**one.statistics, **more.statistics}, told)


def summed(sums: Sums, replicas: int) -> Sums:
    """Returns the sums over all replicas, and the mean of what their layers would write; called on each of them.

    Args:
        sums: This replica's.
        replicas: How many there are.
    """
    if replicas == 1:
        return sums
    context = tf.distribute.get_replica_context()
    flat = [*sums.gradients, sums.loss, sums.count, *sums.statistics.values(), *sums.told.values()]
    flat = context.all_reduce(tf.distribute.ReduceOp.SUM, flat)
    gradients, (loss, count, *values) = flat[: len(sums.gradients)], flat[len(sums.gradients) :]
    statistics = {at: value / replicas for at, value in zip(sums.statistics, values)}
    told = dict(zip(sums.told, values[len(statistics) :], strict=True))
    return Sums(gradients, loss, count, statistics, told)
