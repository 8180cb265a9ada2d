"""What layers draw in training, as a function of (seed, step, replica, part of the batch, layer) and of nothing else.

Keras's dropout counts in a variable how often it has drawn. Such counts differ after a step that was thrown away or a
run that was resumed, and are the same on all replicas, which then drop the same units. Here the count is given anew at
each step and what becomes of it is forgotten: the same step draws the same, whatever came before.
"""

from collections.abc import Sequence

import keras
import tensorflow as tf


def states(network: keras.Model) -> list[keras.Variable]:
    """Returns the states of a network's seed generators."""
    return [variable for variable in network.variables if variable.path.endswith("seed_generator_state")]


def drawn(
    network: keras.Model, seed: int, step: tf.Tensor, replica: tf.Tensor | int, part: int = 0
) -> Sequence[tuple[keras.Variable, tf.Tensor]]:
    """Returns what each seed generator of a network is to begin with, for `keras.StatelessScope`.

    Args:
        network: Built.
        seed: `trainer.seed`.
        step: () int64, steps taken before this one.
        replica: () int32, which of all replicas.
        part: Which part of the replica's batch.

    Returns:
        (state, its value (2,) int64) for each.
    """
    found = states(network)
    if not found:
        return []
    key = tf.stack([tf.constant(seed, tf.int64), tf.cast(step, tf.int64)])
    for place in (replica, part):
        key = tf.random.fold_in(key, tf.cast(place, tf.int64), alg="philox")
    values = tf.random.stateless_uniform(
        (len(found), 2), key, minval=None, maxval=None, dtype=tf.int64, alg="philox"
    )  # fmt: skip
    return list(zip(found, tf.unstack(values), strict=True))
