"""Keras's convolutions: those whose kernel is one place as the product of two matrices, constants by `biases`.

Kernels' gradients are by `kernel_gradients`.
"""

from typing import Any

import keras
from keras import ops

from radkit.models.layers import biases, kernel_gradients


def _multiplied(inputs: Any, kernel: Any) -> Any:
    """Returns the convolution with a kernel of (1, ..., 1, channels, filters), strides of 1 and one group."""
    filters = kernel.shape[-1]
    y = ops.matmul(ops.reshape(inputs, (-1, inputs.shape[-1])), ops.reshape(kernel, (inputs.shape[-1], filters)))
    return ops.reshape(y, (*ops.shape(inputs)[:-1], filters))


def _finished(layer: Any, y: Any) -> Any:
    if layer.use_bias:
        y = biases.add(y, layer.bias)
    return y if layer.activation is None else layer.activation(y)


def _called(layer: Any, inputs: Any, of_keras: Any) -> Any:
    faster = _faster(layer, inputs)
    careful = kernel_gradients.wanted(inputs) and layer.data_format == "channels_last"
    least = kernel_gradients.extents(layer.kernel_size, layer.dilation_rate)

    def convolution(x: Any, kernel: Any) -> Any:
        if faster:
            return _multiplied(x, kernel)
        if careful:
            return kernel_gradients.convolved(layer.convolution_op, x, kernel, least)
        return layer.convolution_op(x, kernel)

    if _skips(layer):
        return _finished(layer, (_multiplied if faster else _plain)(_skipped(layer, inputs), _kernel(layer)))
    if _recomputed(layer, inputs):
        from radkit.models.layers import recomputed

        return _finished(layer, recomputed.convolved(convolution, inputs, _kernel(layer)))
    if faster or careful:
        return _finished(layer, convolution(inputs, _kernel(layer)))
    return of_keras(inputs)


def _kernel(layer: Any) -> Any:
    return ops.convert_to_tensor(layer.kernel)


def _skips(layer: Any) -> bool:
    """Returns whether places are left out first, and the others convolved with strides of 1.

    TensorFlow's gradient of a 1x1 kernel with strides writes beyond its memory where there are fewer than 16 channels,
    and the process dies sooner or later (2.21 with oneDNN, float32).
    """
    return (
        keras.backend.backend() == "tensorflow"
        and set(layer.kernel_size) == {1}
        and set(layer.strides) != {1}
        and layer.data_format == "channels_last"
    )


def _skipped(layer: Any, inputs: Any) -> Any:
    """Returns the places that the kernel sees; they are the same however the layer pads."""
    kept = (slice(None), *(slice(None, None, step) for step in layer.strides))
    return inputs[kept]


def _plain(inputs: Any, kernel: Any) -> Any:
    return ops.conv(inputs, kernel, data_format="channels_last")


def _recomputed(layer: Any, inputs: Any) -> bool:
    """Returns whether the inputs need not be held for the gradient."""
    if keras.backend.backend() != "tensorflow" or layer.data_format != "channels_last":
        return False
    from radkit.models.layers import recomputed

    return recomputed.again(inputs) is not None


def _faster(layer: Any, inputs: Any) -> bool:
    """Returns whether `_multiplied` can and should do it.

    Of a layer that strides, once places are left out. It should in bfloat16 on TensorFlow, whose convolution of 1x1
    takes twice as long for its gradients (two cores with AMX, 8 images of 28x28, 512 to 128 channels: 34 ms against
    16 ms; forward 6.6 ms against 2.5 ms).
    """
    return (
        keras.backend.backend() == "tensorflow"
        and keras.backend.standardize_dtype(inputs.dtype) == "bfloat16"
        and set(layer.kernel_size) == {1}
        and layer.groups == 1
        and layer.data_format == "channels_last"
    )


@keras.saving.register_keras_serializable("radkit")
class Conv2D(keras.layers.Conv2D):
    """Keras's layer, arguments and weights, made faster where the kernel is one pixel."""

    def call(self, inputs: Any) -> Any:
        """Returns the convolution."""
        return _called(self, inputs, super().call)


@keras.saving.register_keras_serializable("radkit")
class Conv3D(keras.layers.Conv3D):
    """Keras's layer, arguments and weights, made faster where the kernel is one voxel."""

    def call(self, inputs: Any) -> Any:
        """Returns the convolution."""
        return _called(self, inputs, super().call)
