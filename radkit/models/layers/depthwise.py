"""Convolutions of each channel by itself; kernels' gradients are by `kernel_gradients`."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from radkit.models.layers import kernel_gradients

Sizes = int | Sequence[int]


def spread(sizes: Sizes, rank: int) -> tuple[int, ...]:
    """Returns one size an axis.

    >>> spread(3, 2), spread((1, 3, 3), 3)
    ((3, 3), (1, 3, 3))
    """
    return (sizes,) * rank if isinstance(sizes, int) else tuple(sizes)


def _convolved(x: Any, kernel: Any, strides: Sequence[int], padding: str, dilation: Sequence[int]) -> Any:
    """Returns each channel of images, (batch, height, width, channels), convolved by itself."""
    kernel = ops.convert_to_tensor(kernel)

    def convolution(x: Any, kernel: Any) -> Any:
        return ops.depthwise_conv(
            x,
            kernel,
            strides=tuple(strides),
            padding=padding,
            data_format="channels_last",
            dilation_rate=tuple(dilation),
        )

    if not kernel_gradients.wanted(x):
        return convolution(x, kernel)
    return kernel_gradients.convolved(convolution, x, kernel, kernel_gradients.extents(kernel.shape[:2], dilation))


@keras.saving.register_keras_serializable("radkit")
class DepthwiseConv2D(keras.layers.DepthwiseConv2D):
    """Keras's layer, arguments and weights."""

    def call(self, inputs: Any) -> Any:
        """Returns the inputs convolved."""
        if self.data_format != "channels_last":
            return super().call(inputs)
        y = _convolved(inputs, self.kernel, self.strides, self.padding, self.dilation_rate)
        if self.use_bias:
            y = y + ops.cast(self.bias, y.dtype)
        return y if self.activation is None else self.activation(y)


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
        out = _convolved(flat, kernel, self.strides[1:], self.padding, self.dilation_rate[1:])
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
