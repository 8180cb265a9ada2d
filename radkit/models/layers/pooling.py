"""Pooling in two and three dimensions."""

from typing import Any

import keras
from keras import ops

from radkit.models.layers.convolutions import Sizes, spread


def max_pool(
    x: Any, size: Sizes = 2, strides: Sizes | None = None, *, padding: str = "same", name: str | None = None
) -> Any:
    """Applies max pooling; strides are the size if not given."""
    layer = {4: keras.layers.MaxPooling2D, 5: keras.layers.MaxPooling3D}[len(x.shape)]
    return layer(size, strides=strides, padding=padding, name=name)(x)


def average_pool(
    x: Any, size: Sizes = 2, strides: Sizes | None = None, *, padding: str = "same", name: str | None = None
) -> Any:
    """Applies average pooling; padded zeros are not counted, strides are the size if not given."""
    layer = {4: keras.layers.AveragePooling2D, 5: keras.layers.AveragePooling3D}[len(x.shape)]
    return layer(size, strides=strides, padding=padding, name=name)(x)


def global_average_pool(x: Any, *, name: str | None = None) -> Any:
    """Returns each channel's mean over space, (batch, channels) float32."""
    layer = {4: keras.layers.GlobalAveragePooling2D, 5: keras.layers.GlobalAveragePooling3D}[len(x.shape)]
    return layer(dtype="float32", name=name)(x)


@keras.saving.register_keras_serializable("radkit")
class AdaptiveAveragePooling(keras.layers.Layer):
    """Averages space of any size to a fixed one; cell i of n covers voxels floor(i s / n) to ceil((i + 1) s / n).

    Input shape: `(batch, *spatial, channels)`; output shape: `(batch, *size, channels)`.

    Args:
        size: One number, or one an axis.
    """

    def __init__(self, size: Sizes, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.size = size

    def call(self, inputs: Any) -> Any:
        """Returns the averages."""
        rank = len(inputs.shape) - 2
        for axis, cells in enumerate(spread(self.size, rank), 1):
            length = ops.shape(inputs)[axis]
            if not isinstance(length, int) or length != cells:
                # No `matmul`: of batches (n, 1) and one matrix TensorFlow writes beyond memory, and Keras 3.12 asks it.
                inputs = ops.moveaxis(ops.tensordot(inputs, self._shares(length, cells), axes=[[axis], [0]]), -1, axis)
        return inputs

    def _shares(self, length: Any, cells: int) -> Any:
        """Returns (length, cells): how much of each voxel goes into each cell."""
        voxel, cell = ops.arange(length)[:, None], ops.arange(cells)[None]
        first, end = cell * length // cells, ((cell + 1) * length + cells - 1) // cells
        inside = ops.cast((voxel >= first) & (voxel < end), "float32")
        return ops.cast(inside / ops.cast(end - first, "float32"), self.compute_dtype)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Returns the output's shape."""
        return (input_shape[0], *spread(self.size, len(input_shape) - 2), input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        """Returns what rebuilds the layer."""
        return {**super().get_config(), "size": self.size}
