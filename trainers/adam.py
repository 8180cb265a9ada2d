"""AdamW, one operation a weight.

Keras writes Adam with some fifteen operations a weight. Of DenseNet-121, which has 364 weights, the optimizer alone
took more than half of the time in which a step is traced.
"""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf


class AdamW(keras.optimizers.AdamW):
    """Keras's AdamW, its moments and its numbers, on gradients already summed over the replicas.

    Keras's would sum them a second time.

    Args:
        learning_rate: A number or a schedule.
        weight_decay: Share of each weight that is taken away, times the learning rate.

    Source: Loshchilov & Hutter 2019, https://arxiv.org/abs/1711.05101.
    """

    def __init__(self, learning_rate: Any = 1e-3, weight_decay: float = 0.0) -> None:
        super().__init__(learning_rate=learning_rate, weight_decay=weight_decay)

    def _all_reduce_sum_gradients(self, grads_and_vars: Any) -> list[Any]:
        return list(grads_and_vars)

    def _apply_weight_decay(self, variables: Any) -> None:
        """Leaves it to `update_step`, which knows the weight's own rate."""

    def _backend_update_step(self, grads: Any, trainable_variables: Any, learning_rate: Any) -> None:
        """Moves all weights; what is the same for all of them is computed once, on each replica."""
        step = tf.cast(self.iterations.value + 1, tf.float32)
        beta_1, beta_2, epsilon = (tf.constant(number) for number in (self.beta_1, self.beta_2, self.epsilon))
        alike = {
            "lr": tf.cast(learning_rate, tf.float32), "beta1": beta_1, "beta2": beta_2, "epsilon": epsilon,
            "beta1_power": tf.pow(beta_1, step), "beta2_power": tf.pow(beta_2, step),
        }  # fmt: skip
        super()._backend_update_step(grads, trainable_variables, alike)

    def update_step(self, gradient: Any, variable: Any, learning_rate: dict[str, Any]) -> None:
        """Decays one weight, then moves it.

        Args:
            gradient: Of the weight.
            variable: The weight.
            learning_rate: `lr`, and whatever else is the same for all weights.
        """
        index = self._get_variable_index(variable)
        rate = self._own_rate(index, learning_rate["lr"])
        if self.weight_decay and self._use_weight_decay(variable):
            tf.raw_ops.ResourceApplyGradientDescent(
                var=variable.handle, alpha=rate * self.weight_decay, delta=variable.read_value()
            )
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle, m=self._momentums[index].value.handle, v=self._velocities[index].value.handle,
            grad=tf.cast(gradient, variable.dtype), **{**learning_rate, "lr": rate},
        )  # fmt: skip

    def _own_rate(self, index: int, rate: Any) -> Any:
        """Returns the learning rate of the weight with this place."""
        return rate


class AdamWByLayer(AdamW):
    """AdamW that moves each weight by its own share of the learning rate, and decays it by as much.

    Gradients cannot be scaled instead: Adam divides by their size.

    Args:
        shares: One a weight, in the order of the variables it is built with.
        learning_rate: As `AdamW`.
        weight_decay: As `AdamW`.
    """

    def __init__(self, shares: Sequence[float], learning_rate: Any = 1e-3, weight_decay: float = 0.0) -> None:
        super().__init__(learning_rate, weight_decay)
        self._share = tuple(shares).__getitem__  # a function: numbers that an optimizer holds become part of its state

    def _own_rate(self, index: int, rate: Any) -> Any:
        return rate * self._share(index)
