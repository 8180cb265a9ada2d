"""Normalisation; statistics in float32 whatever the precision."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable("radkit")
class InstanceNormalization(keras.layers.Layer):
    """Each image's each channel to mean 0 and variance 1, then scaled and shifted; statistics in float32.

    Input shape: `(batch, *spatial, channels)`; the output's is the same.

    Source: Ulyanov et al. 2016, https://arxiv.org/abs/1607.08022.
    """

    def __init__(self, epsilon: float = 1e-5, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.epsilon = epsilon

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Makes the scale and the shift, one a channel."""
        # Without autocast, or mixed precision would round both to 8 bits before the statistics are scaled by them.
        channels = (input_shape[-1],)
        self.gamma = self.add_weight(shape=channels, initializer="ones", name="gamma", autocast=False)
        self.beta = self.add_weight(shape=channels, initializer="zeros", name="beta", autocast=False)

    def call(self, inputs: Any) -> Any:
        """Returns the inputs normalised."""
        axes = list(range(1, len(inputs.shape) - 1))
        mean, variance = ops.moments(ops.cast(inputs, "float32"), axes=axes, keepdims=True)
        scale = ops.rsqrt(variance + self.epsilon) * self.gamma
        shift = self.beta - mean * scale
        return inputs * ops.cast(scale, inputs.dtype) + ops.cast(shift, inputs.dtype)

    def get_config(self) -> dict[str, Any]:
        """Returns what rebuilds the layer."""
        return {**super().get_config(), "epsilon": self.epsilon}


@keras.saving.register_keras_serializable("radkit")
class BatchNormalization(keras.layers.BatchNormalization):
    """Each channel to the batch's mean 0 and variance 1 in training, to the moving ones else."""


@keras.saving.register_keras_serializable("radkit")
class GroupNormalization(keras.layers.GroupNormalization):
    """Each image's each group of channels to mean 0 and variance 1."""


def layer(kind: str, *, epsilon: float | None = None, name: str | None = None) -> keras.layers.Layer:
    """Returns a normalisation layer: `batch`, `instance` or `group`."""
    made = {"batch": BatchNormalization, "instance": InstanceNormalization, "group": GroupNormalization}[kind]
    return made(name=name, **({} if epsilon is None else {"epsilon": epsilon}))
