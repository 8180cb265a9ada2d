"""Normalisation; statistics in float32 whatever the precision."""

import math
from typing import Any

import keras
from keras import ops

from radkit.errors import UserError
from radkit.models.layers import fused

MOMENTUM = 0.9
"""What a step leaves of a batch norm's moving statistics in radkit's networks: PyTorch's, and so MONAI's and timm's.

With Keras's 0.99 a third of them is still the beginning's after 100 steps, and a network that learnt answers wrongly.
"""


@keras.saving.register_keras_serializable("radkit")
class InstanceNormalization(keras.layers.Layer):
    """Each image's each channel to mean 0 and variance 1, then scaled and shifted; statistics in float32.

    Input shape: `(batch, *spatial, channels)`; the output's is the same.

    Args:
        epsilon: Added to the variance.
        negative_slope: Negative values are multiplied by it afterwards: 1 is no activation, 0 is ReLU.

    Source: Ulyanov et al. 2016, https://arxiv.org/abs/1607.08022.
    """

    def __init__(self, epsilon: float = 1e-5, negative_slope: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.epsilon, self.negative_slope = epsilon, negative_slope

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Makes the scale and the shift, one a channel."""
        # Without autocast, or mixed precision would round both to 8 bits before the statistics are scaled by them.
        channels = (input_shape[-1],)
        self.gamma = self.add_weight(shape=channels, initializer="ones", name="gamma", autocast=False)
        self.beta = self.add_weight(shape=channels, initializer="zeros", name="beta", autocast=False)

    def call(self, inputs: Any) -> Any:
        """Returns the inputs normalised."""
        gamma, beta = ops.convert_to_tensor(self.gamma), ops.convert_to_tensor(self.beta)
        return fused.normalized(
            inputs, gamma, beta, groups=inputs.shape[-1], epsilon=self.epsilon, negative_slope=self.negative_slope
        )

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Returns the output's shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Returns what rebuilds the layer."""
        return {**super().get_config(), "epsilon": self.epsilon, "negative_slope": self.negative_slope}


@keras.saving.register_keras_serializable("radkit")
class GroupNormalization(keras.layers.GroupNormalization):
    """Each image's each group of channels to mean 0 and variance 1; arguments and weights are Keras's.

    Args:
        groups: Into how many the channels are dealt.
        negative_slope: Negative values are multiplied by it afterwards: 1 is no activation, 0 is ReLU.
        **kwargs: As `keras.layers.GroupNormalization`.

    Source: Wu & He 2018, https://arxiv.org/abs/1803.08494.
    """

    def __init__(self, groups: int = 32, negative_slope: float = 1.0, **kwargs: Any) -> None:
        super().__init__(groups=groups, **kwargs)
        self.negative_slope = negative_slope

    def call(self, inputs: Any) -> Any:
        """Returns the inputs normalised."""
        if self.axis not in (-1, len(inputs.shape) - 1):
            y = super().call(inputs)
            return y if self.negative_slope == 1.0 else ops.where(y > 0, y, self.negative_slope * y)
        channels = inputs.shape[-1]
        gamma = ops.ones((channels,), "float32") if self.gamma is None else ops.convert_to_tensor(self.gamma)
        beta = ops.zeros((channels,), "float32") if self.beta is None else ops.convert_to_tensor(self.beta)
        y = fused.normalized(
            inputs, gamma, beta, groups=self.groups, epsilon=self.epsilon, negative_slope=self.negative_slope
        )
        return ops.cast(y, self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        """Returns what rebuilds the layer."""
        return {**super().get_config(), "negative_slope": self.negative_slope}


@keras.saving.register_keras_serializable("radkit")
class BatchNormalization(keras.layers.BatchNormalization):
    """Each channel to the batch's mean 0 and variance 1 in training, to the moving ones else.

    Arguments, weights and answers are Keras's, but that statistics are over all replicas unless told otherwise
    (`synchronized`, which TensorFlow alone has): weights do not depend on the number of devices. On TensorFlow it is
    one operation instead of a dozen, which also reads bfloat16 and keeps its statistics in float32. Keras's own way
    stays for masks, other axes than the last, batch renormalisation, and several replicas.

    Args:
        *args: As `keras.layers.BatchNormalization`.
        rectify: Whether negative values become 0 afterwards. A training step then holds neither what comes out nor, of
            a `Concatenate`, what goes in: the gradient computes both again (`recomputed`).
        synchronized: Whether statistics are over all replicas.
        **kwargs: As `keras.layers.BatchNormalization`.

    Source: Ioffe & Szegedy 2015, https://arxiv.org/abs/1502.03167.
    """

    def __init__(self, *args: Any, rectify: bool = False, synchronized: bool = True, **kwargs: Any) -> None:
        super().__init__(*args, synchronized=synchronized and keras.backend.backend() == "tensorflow", **kwargs)
        self.rectify = rectify

    def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        """Returns the inputs normalised; in training the moving statistics follow."""
        plain = mask is not None or getattr(self, "renorm", False) or self.axis not in (-1, len(inputs.shape) - 1)
        if plain or not isinstance(training, (bool, int, type(None))) or keras.backend.backend() != "tensorflow":
            return self._rectified(super().call(inputs, training=training, mask=mask))
        from radkit.models.layers import whole_batch

        if not whole_batch.fits(inputs, self.synchronized):
            return self._rectified(super().call(inputs, training=training, mask=mask))
        return self._in_one(inputs, bool(training and self.trainable))

    def _in_one(self, inputs: Any, learns: bool) -> Any:
        """Returns the answer of TensorFlow's one operation."""
        from radkit.models.layers import recomputed, whole_batch

        channels = inputs.shape[-1]
        gamma = ops.convert_to_tensor(self.gamma) if self.scale else ops.ones((channels,), "float32")
        beta = ops.convert_to_tensor(self.beta) if self.center else ops.zeros((channels,), "float32")
        moving = (ops.convert_to_tensor(self.moving_mean), ops.convert_to_tensor(self.moving_variance))
        if not learns:
            y, _, _ = whole_batch.normalized(inputs, gamma, beta, self.epsilon, moving)
            return self._rectified(ops.cast(y, self.compute_dtype))
        recomputes = self.rectify and inputs.dtype == self.compute_dtype and recomputed.fits(inputs)
        function = recomputed.normalized if recomputes else whole_batch.normalized
        y, mean, variance = function(inputs, gamma, beta, self.epsilon)
        self.moving_mean.assign(mean + (moving[0] - mean) * self.momentum)
        self.moving_variance.assign(variance + (moving[1] - variance) * self.momentum)
        return y if recomputes else self._rectified(ops.cast(y, self.compute_dtype))

    def _rectified(self, y: Any) -> Any:
        return ops.relu(y) if self.rectify else y

    def get_config(self) -> dict[str, Any]:
        """Returns what rebuilds the layer."""
        return {**super().get_config(), "rectify": self.rectify}


@keras.saving.register_keras_serializable("radkit")
class Concatenate(keras.layers.Concatenate):
    """Keras's layer along the channels; `BatchNormalization` with `rectify` need not hold its answer."""

    def call(self, inputs: Any) -> Any:
        """Returns the concatenation."""
        y = super().call(inputs)
        if keras.backend.backend() == "tensorflow" and self.axis == -1:
            from radkit.models.layers import recomputed

            recomputed.joined(y, inputs)
        return y


def layer(
    kind: str,
    *,
    epsilon: float | None = None,
    name: str | None = None,
    channels: int = 32,
    negative_slope: float = 1.0,
) -> keras.layers.Layer:
    """Returns a normalisation layer.

    Args:
        kind: `batch`, `instance` or `group` (32 groups, or the most below that deal the channels evenly).
        epsilon: Added to the variance; the layer's own if not given.
        name: Of the layer.
        channels: Of the layer's input.
        negative_slope: What negative values are multiplied by afterwards, but after `batch`, which has no such setting.

    Raises:
        UserError: Another kind.
    """
    settings: dict[str, Any] = {"name": name} | ({} if epsilon is None else {"epsilon": epsilon})
    if kind == "batch":
        return BatchNormalization(momentum=MOMENTUM, **settings)
    if kind == "group":
        return GroupNormalization(math.gcd(32, channels), negative_slope, **settings)
    if kind == "instance":
        return InstanceNormalization(negative_slope=negative_slope, **settings)
    raise UserError(f"norm {kind!r} is none; there are: none, batch, instance, group")
