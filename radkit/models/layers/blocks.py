"""Convolution, normalisation and activation, in the orders that networks have them."""

from typing import Any

import keras

from radkit.models.layers import convolutions, normalization


def activate(x: Any, kind: str, *, name: str | None = None) -> Any:
    """Applies an activation: `relu`, `leaky_relu` (slope 0.01, or `leaky_relu:0.1`), `prelu`, `silu`, ... `linear`."""
    slope = negative_slope(kind)
    if slope == 1.0:
        return x
    if slope:
        return keras.layers.LeakyReLU(negative_slope=slope, name=name)(x)
    if kind == "prelu":  # one slope a channel
        space = list(range(1, len(x.shape) - 1))
        return keras.layers.PReLU(shared_axes=space, alpha_initializer=keras.initializers.Constant(0.25), name=name)(x)
    return keras.layers.Activation(kind, name=name)(x)


def negative_slope(kind: str) -> float | None:
    """Returns what an activation multiplies negative values by, if that is all that it does.

    >>> negative_slope("linear"), negative_slope("relu"), negative_slope("leaky_relu:0.1"), negative_slope("silu")
    (1.0, 0.0, 0.1, None)
    """
    kind, _, given = kind.partition(":")
    slope = {"linear": 1.0, "relu": 0.0, "leaky_relu": 0.01}.get(kind)
    return float(given) if given and slope is not None else slope


def normalize(
    x: Any, kind: str, activation: str = "linear", *, epsilon: float | None = None, name: str | None = None
) -> Any:
    """Applies a normalisation and then an activation, in one layer where that is faster.

    Args:
        x: (batch, *spatial, channels).
        kind: `batch`, `instance`, `group` or `none`.
        activation: As `activate`.
        epsilon: Added to the variance; the layer's own if not given.
        name: Of the normalisation layer.
    """
    if kind == "none":
        return activate(x, activation)
    slope = negative_slope(activation)
    if kind == "batch" or slope is None:
        return activate(normalization.layer(kind, epsilon=epsilon, name=name, channels=x.shape[-1])(x), activation)
    return normalization.layer(kind, epsilon=epsilon, name=name, channels=x.shape[-1], negative_slope=slope)(x)


def convolution_block(
    x: Any,
    filters: int,
    strides: convolutions.Sizes = 1,
    *,
    size: convolutions.Sizes = 3,
    norm: str = "instance",
    activation: str = "leaky_relu",
    bias: bool = False,
    padding: str = "same",
    dropout: float = 0.0,
) -> Any:
    """Applies convolution, dropout, normalisation and activation; arguments as `convolve` and `normalize`."""
    x = convolutions.convolve(x, filters, size, strides, bias=bias, padding=padding)
    if dropout:
        x = keras.layers.Dropout(dropout)(x)
    return normalize(x, norm, activation)
