"""Normalisation by image and the activation after it as one function, with a gradient of its own.

Automatic differentiation of the formula keeps half a dozen arrays of the image's size, in float32; this gradient keeps
the input and the output, in the network's own precision, and computes the rest anew.
"""

from typing import Any

import keras
from keras import ops

# Below this many the fast path's fixed cost for an image is more than it saves; other numbers leave lanes idle.
_LANES = 16


def normalized(x: Any, gamma: Any, beta: Any, *, groups: int, epsilon: float, negative_slope: float = 1.0) -> Any:
    """Returns each image's each group of channels at mean 0 and variance 1, scaled, shifted and activated.

    Args:
        x: (batch, *spatial, channels), floating; statistics are in float32 (float64 if it is), whatever its type.
        gamma: (channels,) float32, the scale.
        beta: (channels,) float32, the shift.
        groups: Into how many the channels are dealt; as many as channels: instance normalisation.
        epsilon: Added to the variance.
        negative_slope: Negative values are multiplied by it: 1 is no activation, 0 is ReLU, 0.01 leaky ReLU.

    Source: Wu & He 2018, https://arxiv.org/abs/1803.08494, eq. 1-3.
    """
    # A tensor each, not the variables: TensorFlow lets no function with its own gradient read a variable unseen.
    gamma, beta = ops.reshape(gamma, (-1,)), ops.reshape(beta, (-1,))
    if groups == x.shape[-1] and groups % _LANES == 0 and keras.backend.backend() == "tensorflow":
        from radkit.models.layers import per_image

        if per_image.fits(x):
            return per_image.normalized(x, gamma, beta, epsilon, negative_slope)

    @ops.custom_gradient
    def function(x: Any, gamma: Any, beta: Any) -> tuple[Any, Any]:
        y, mean, scale = _forward(x, gamma, beta, groups, epsilon, negative_slope)

        def gradient(*incoming: Any, upstream: Any = None) -> tuple[Any, Any, Any]:
            return _backward(incoming[0] if incoming else upstream, x, y, mean, scale, gamma, negative_slope)

        return y, gradient

    return function(x, gamma, beta)


def _grouped(x: Any, groups: int) -> Any:
    """(batch, places, groups, channels of a group), in the precision of the statistics."""
    shape = ops.shape(x)
    x = ops.reshape(x, (shape[0], -1, groups, shape[-1] // groups))
    return ops.cast(x, keras.backend.result_type(x.dtype, "float32"))


def _by_channel(weight: Any, like: Any) -> Any:
    return ops.cast(ops.reshape(weight, like.shape[2:]), like.dtype)


def _forward(x: Any, gamma: Any, beta: Any, groups: int, epsilon: float, negative_slope: float) -> tuple[Any, ...]:
    image = _grouped(x, groups)
    mean = ops.mean(image, axis=(1, 3), keepdims=True)
    centred = image - mean
    # 1 / standard deviation, (batch, 1, groups, 1); the variance is that of the centred, so that nothing cancels.
    scale = ops.rsqrt(ops.mean(ops.square(centred), axis=(1, 3), keepdims=True) + epsilon)
    y = centred * (scale * _by_channel(gamma, image)) + _by_channel(beta, image)
    if negative_slope != 1.0:
        y = ops.where(y > 0, y, negative_slope * y)
    return ops.reshape(ops.cast(y, x.dtype), ops.shape(x)), mean, scale


def _backward(
    upstream: Any, x: Any, y: Any, mean: Any, scale: Any, gamma: Any, negative_slope: float
) -> tuple[Any, Any, Any]:
    groups = mean.shape[2]
    image, change = _grouped(x, groups), _grouped(upstream, groups)
    if negative_slope != 1.0:
        change = ops.where(_grouped(y, groups) > 0, change, negative_slope * change)
    normal = (image - mean) * scale
    of_gamma = ops.sum(change * normal, axis=(0, 1))
    of_beta = ops.sum(change, axis=(0, 1))
    change = change * _by_channel(gamma, image)
    # What moves the group's mean or its spread has no effect on the output.
    change = change - ops.mean(change, axis=(1, 3), keepdims=True)
    change = scale * (change - normal * ops.mean(change * normal, axis=(1, 3), keepdims=True))
    shape = ops.shape(gamma)
    return (
        ops.reshape(ops.cast(change, x.dtype), ops.shape(x)),
        ops.cast(ops.reshape(of_gamma, shape), gamma.dtype),
        ops.cast(ops.reshape(of_beta, shape), gamma.dtype),
    )
