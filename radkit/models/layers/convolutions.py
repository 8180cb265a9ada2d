"""Convolutions in two and three dimensions."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from radkit.models.layers import deconvolutions, pointwise

Sizes = int | Sequence[int]


def spread(sizes: Sizes, rank: int) -> tuple[int, ...]:
    """Returns one size an axis.

    >>> spread(3, 2), spread((1, 3, 3), 3)
    ((3, 3), (1, 3, 3))
    """
    return (sizes,) * rank if isinstance(sizes, int) else tuple(sizes)


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
    layer = {2: keras.layers.DepthwiseConv2D, 3: DepthwiseConv3D}[rank]
    return layer(
        size, strides=strides, padding=padding, use_bias=bias, dilation_rate=dilation,
        depthwise_initializer=initializer, name=name,
    )(x)  # fmt: skip


@keras.saving.register_keras_serializable("radkit")
class DepthwiseConv3D(keras.layers.Layer):
    """Convolves each channel of a volume by itself: the sum of a 2-D convolution for each slice of the kernel.

    Keras has none; a grouped 3-D convolution, its only other way, is slow on processors and missing on some.

    Input shape: `(batch, depth, height, width, channels)`; the output's is the same but for strides and padding.

    Args:
        kernel_size: One number, or (depth, height, width).
        strides: Likewise; height's and width's must be equal.
        padding: `same` or `valid`.
        use_bias: Whether a constant is added to each channel.
        dilation_rate: One number for all axes, or one an axis; height's and width's must be equal.
        depthwise_initializer: Of the kernel, (depth, height, width, channels, 1).
    """

    def __init__(
        self,
        kernel_size: Sizes,
        strides: Sizes = 1,
        padding: str = "same",
        use_bias: bool = False,
        dilation_rate: Sizes = 1,
        depthwise_initializer: str = "he_normal",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.kernel_size, self.strides = spread(kernel_size, 3), spread(strides, 3)
        self.dilation_rate, self.padding, self.use_bias = spread(dilation_rate, 3), padding, use_bias
        self.depthwise_initializer = depthwise_initializer

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Makes the kernel and the constant."""
        channels = int(input_shape[-1] or 0)
        # He's rule counts what one output sees: one channel's taps.
        scale = {"he_normal": (2.0 / _product(self.kernel_size)) ** 0.5}.get(self.depthwise_initializer)
        start: Any = keras.initializers.TruncatedNormal(stddev=scale) if scale else self.depthwise_initializer
        self.kernel = self.add_weight(shape=(*self.kernel_size, channels, 1), initializer=start, name="kernel")
        self.bias = self.add_weight(shape=(channels,), initializer="zeros", name="bias") if self.use_bias else None

    def call(self, inputs: Any) -> Any:
        """Returns the inputs convolved."""
        taps, step, far = self.kernel_size[0], self.strides[0], self.dilation_rate[0]
        if self.padding == "same":
            inputs = ops.pad(inputs, [[0, 0], self._around(ops.shape(inputs)[1]), [0, 0], [0, 0], [0, 0]])
        depth = (ops.shape(inputs)[1] - (taps - 1) * far - 1) // step + 1
        total: Any = None
        for tap in range(taps):
            first = tap * far
            slices = inputs[:, first : first + (depth - 1) * step + 1 : step]
            convolved = self._in_plane(slices, self.kernel[tap])
            total = convolved if total is None else total + convolved
        return total if self.bias is None else total + ops.cast(self.bias, total.dtype)

    def _around(self, size: Any) -> list[Any]:
        taps, step, far = self.kernel_size[0], self.strides[0], self.dilation_rate[0]
        lacking = (((size + step - 1) // step) - 1) * step + (taps - 1) * far + 1 - size
        lacking = max(lacking, 0) if isinstance(lacking, int) else ops.maximum(lacking, 0)
        return [lacking // 2, lacking - lacking // 2]

    def _in_plane(self, slices: Any, kernel: Any) -> Any:
        shape = ops.shape(slices)
        flat = ops.reshape(slices, (-1, *shape[2:]))
        out = ops.depthwise_conv(
            flat, kernel, strides=self.strides[1:], padding=self.padding, dilation_rate=self.dilation_rate[1:]
        )
        return ops.reshape(out, (-1, shape[1], *ops.shape(out)[1:]))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Returns the output's shape."""
        sizes = [
            _length(size, width, step, far, self.padding)
            for size, width, step, far in zip(input_shape[1:4], self.kernel_size, self.strides, self.dilation_rate)
        ]
        return (input_shape[0], *sizes, input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        """Returns what rebuilds the layer."""
        names = ("kernel_size", "strides", "padding", "use_bias", "dilation_rate", "depthwise_initializer")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def _product(sizes: Sequence[int]) -> int:
    product = 1
    for size in sizes:
        product *= size
    return product


def _length(size: int | None, width: int, step: int, far: int, padding: str) -> int | None:
    if size is None:
        return None
    return -(-size // step) if padding == "same" else (size - (width - 1) * far - 1) // step + 1


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
