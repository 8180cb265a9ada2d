"""Convolutions in two and three dimensions."""

from collections.abc import Sequence
from typing import Any

import keras

from radkit.models.layers import deconvolutions, depthwise, pointwise
from radkit.models.layers.depthwise import Sizes as Sizes
from radkit.models.layers.depthwise import spread as spread


def convolve(
    x: Any,
    filters: int,
    size: Sizes,
    strides: Sizes = 1,
    *,
    bias: bool = False,
    dilation: Sizes = 1,
    groups: int = 1,
    padding: str = "same",
    initializer: str = "he_normal",
    name: str | None = None,
    dtype: Any = None,
) -> Any:
    """Returns the convolution of a tensor.

    Args:
        x: (batch, *spatial, channels), two or three spatial axes.
        filters: Channels of the output.
        size: Of the kernel, one number or one an axis.
        strides: Likewise.
        bias: Whether a constant is added to each channel.
        dilation: Distance of the kernel's taps.
        groups: Into how many the channels are dealt.
        padding: `same`, Keras's; `valid`; or `symmetric`: (dilated size - 1) // 2 zeros on both sides, as PyTorch's
            networks have them. It differs from `same` where an even size meets a stride.
        initializer: Of the kernel.
        name: Of the layer.
        dtype: Of the computation; the policy's if not given.
    """
    rank = len(x.shape) - 2
    if padding == "symmetric":
        x, padding = _padded(x, spread(size, rank), spread(strides, rank), spread(dilation, rank))
    layer: Any = {2: pointwise.Conv2D, 3: pointwise.Conv3D}[rank]
    return layer(
        filters, size, strides=strides, padding=padding, use_bias=bias, dilation_rate=dilation, groups=groups,
        kernel_initializer=initializer, name=name, dtype=dtype,
    )(x)  # fmt: skip


def _padded(x: Any, size: Sequence[int], strides: Sequence[int], dilation: Sequence[int]) -> tuple[Any, str]:
    """Pads evenly; `same` does so by itself where nothing is strided."""
    if all(step == 1 for step in strides) and all(width % 2 for width in size):
        return x, "same"
    sides = [(step * (width - 1)) // 2 for width, step in zip(size, dilation)]
    if not any(sides):
        return x, "valid"
    layer = {2: keras.layers.ZeroPadding2D, 3: keras.layers.ZeroPadding3D}[len(size)]
    return layer([(side, side) for side in sides])(x), "valid"


def convolve_depthwise(
    x: Any,
    size: Sizes,
    strides: Sizes = 1,
    *,
    bias: bool = False,
    dilation: Sizes = 1,
    padding: str = "same",
    initializer: str = "he_normal",
    name: str | None = None,
) -> Any:
    """Returns the convolution of each channel by itself; arguments as `convolve`."""
    rank = len(x.shape) - 2
    if padding == "symmetric":
        x, padding = _padded(x, spread(size, rank), spread(strides, rank), spread(dilation, rank))
    layer = {2: depthwise.DepthwiseConv2D, 3: depthwise.DepthwiseConv3D}[rank]
    return layer(
        size, strides=strides, padding=padding, use_bias=bias, dilation_rate=dilation,
        depthwise_initializer=initializer, name=name,
    )(x)  # fmt: skip


def deconvolve(
    x: Any, filters: int, size: Sizes = 2, strides: Sizes = 2, *, bias: bool = False, name: str | None = None
) -> Any:
    """Returns the transposed convolution of a tensor, `same` padding: each size is multiplied by its stride.

    Args:
        x: (batch, *spatial, channels).
        filters: Channels of the output.
        size: Of the kernel, one number or one an axis.
        strides: Likewise.
        bias: Whether a constant is added to each channel.
        name: Of the layer.
    """
    layer: Any = {2: deconvolutions.Conv2DTranspose, 3: deconvolutions.Conv3DTranspose}[len(x.shape) - 2]
    return layer(
        filters, size, strides=strides, padding="same", use_bias=bias, kernel_initializer="he_normal", name=name
    )(x)
