"""The moving average of a network's weights: a step follows the gradient's noise, the average less so."""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from trainers import replicated


class Average:
    """The moving average of the weights that learn; what batch norms counted is taken as it is.

    Made in the strategy's scope. The first steps count more, or the beginning would stay in the average for long: step
    n keeps (1 + n) / (10 + n) of it, but never more than `decay`.

    Args:
        network: Built.
        decay: Share of the average that a step keeps, 0 to below 1.

    Source: Polyak & Juditsky 1992, https://doi.org/10.1137/0330046; the first steps as TensorFlow's
    `tf.train.ExponentialMovingAverage`.
    """

    def __init__(self, network: keras.Model, decay: float) -> None:
        self._network, self._decay = network, decay
        self._steps = keras.Variable(0, dtype="int64", trainable=False, name="average_steps")
        self._values = [
            keras.Variable(weight.numpy(), dtype=weight.dtype, trainable=False, name="average")
            for weight in network.trainable_variables
        ]

    @property
    def variables(self) -> list[keras.Variable]:
        """All that a checkpoint must hold."""
        return [self._steps, *self._values]

    def update(self) -> None:
        """Moves the average to the weights; called within a replica's part of a step, after they moved."""
        done = tf.cast(self._steps.value, tf.float32)
        share = 1.0 - tf.minimum(self._decay, (1.0 + done) / (10.0 + done))
        weights = [tf.convert_to_tensor(weight.value) for weight in self._network.trainable_variables]

        def move(average: tf.Variable, weight: tf.Tensor, share: tf.Tensor) -> None:
            average.assign_sub(tf.cast(share, average.dtype) * (average - weight))

        replicated.everywhere(move, [value.value for value in self._values], weights, [share] * len(weights))
        replicated.everywhere(lambda steps: steps.assign_add(1), [self._steps.value])

    def answer(self, given: Any, *, training: bool = False) -> Any:
        """Returns the network's output with the average in place of its weights; nothing is changed.

        Args:
            given: What the network takes.
            training: As the network's call; what batch norms would count is forgotten.
        """
        known = list(zip(self._network.trainable_variables, (value.value for value in self._values), strict=True))
        with keras.StatelessScope(known, initialize_variables=False):
            return self._network(given, training=training)

    @contextlib.contextmanager
    def swapped(self) -> Iterator[None]:
        """Lets the network hold the average while the block runs; afterwards its own weights, bit for bit."""
        weights = self._network.trainable_variables
        own = [np.array(weight.numpy()) for weight in weights]
        try:
            for weight, value in zip(weights, self._values, strict=True):
                weight.assign(value.numpy())
            yield
        finally:
            for weight, before in zip(weights, own, strict=True):
                weight.assign(before)
