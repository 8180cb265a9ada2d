"""Sizes that strides do not divide: padded in the graph and cropped back; and resampling by a factor."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from radkit.models.layers.convolutions import Sizes, spread


@keras.saving.register_keras_serializable("radkit")
class PadToMultiple(keras.layers.Layer):
    """Pads space with zeros, in front and behind alike, up to a multiple and to a least size.

    Input shape: `(batch, *spatial, channels)`, sizes fixed or free. What fits already stays as it is.

    Args:
        multiple: One number, or one an axis.
        at_least: Likewise.
        side: `both`; or `after`: only behind, so that a place has the same indices before and after.
    """

    def __init__(self, multiple: Sizes, at_least: Sizes = 1, side: str = "both", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.multiple, self.at_least, self.side = multiple, at_least, side

    def call(self, inputs: Any) -> Any:
        """Returns the inputs padded."""
        sizes = ops.shape(inputs)[1:-1]
        lacking = [wanted - size for wanted, size in zip(self._wanted(sizes), sizes)]
        if all(isinstance(number, int) and not number for number in lacking):
            return inputs
        front = [number // 2 if self.side == "both" else 0 for number in lacking]
        sides = [[0, 0], *([before, number - before] for before, number in zip(front, lacking)), [0, 0]]
        # The value as a tensor, for TensorFlow's graph optimizer merges the op that has none (Pad, not PadV2) into a
        # Conv3D behind it and forgets that the convolution pads as well (2.21: seen on CPU, wrong sizes and numbers).
        return ops.pad(inputs, sides, constant_values=ops.zeros((), inputs.dtype))

    def _wanted(self, sizes: Sequence[Any]) -> list[Any]:
        rank, wanted = len(sizes), []
        for size, multiple, least in zip(sizes, spread(self.multiple, rank), spread(self.at_least, rank)):
            if size is not None:
                size = max(size, least) if isinstance(size, int) else ops.maximum(size, least)
                size = (size + multiple - 1) // multiple * multiple
            wanted.append(size)
        return wanted

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Returns the output's shape."""
        return (input_shape[0], *self._wanted(input_shape[1:-1]), input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        """Returns what rebuilds the layer."""
        return {**super().get_config(), "multiple": self.multiple, "at_least": self.at_least, "side": self.side}


@keras.saving.register_keras_serializable("radkit")
class CropLike(keras.layers.Layer):
    """Cuts away what `PadToMultiple` added: `CropLike()([answer, image])` has the image's spatial sizes.

    Input shape: `[(batch, *larger, channels), (batch, *spatial, any)]`; output shape: `(batch, *spatial, channels)`.

    Args:
        side: Where it was added, as `PadToMultiple` has it: `both` or `after`.
    """

    def __init__(self, side: str = "both", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.side = side

    def call(self, inputs: Sequence[Any]) -> Any:
        """Returns the middle of the first, or its beginning, as large as the second."""
        larger, like = inputs
        sizes, wanted = ops.shape(larger)[1:-1], ops.shape(like)[1:-1]
        if tuple(larger.shape[1:-1]) == tuple(like.shape[1:-1]) and None not in like.shape[1:-1]:
            return larger
        for axis, (size, want) in enumerate(zip(sizes, wanted), 1):
            first = (size - want) // 2 if self.side == "both" else 0
            larger = larger[(slice(None),) * axis + (slice(first, first + want),)]
        return larger

    def compute_output_shape(self, input_shape: Sequence[tuple[int | None, ...]]) -> tuple[int | None, ...]:
        """Returns the output's shape."""
        larger, like = input_shape
        return (larger[0], *like[1:-1], larger[-1])

    def get_config(self) -> dict[str, Any]:
        """Returns what rebuilds the layer."""
        return {**super().get_config(), "side": self.side}


@keras.saving.register_keras_serializable("radkit")
class Resize(keras.layers.Layer):
    """Resamples space by whole factors, or to another tensor's sizes; linear or nearest.

    Voxels' outer edges are aligned and the ends held, as Keras's `UpSampling2D` and PyTorch's `align_corners=False`.

    Input shape: `(batch, *spatial, channels)`, or of a pair `[x, like]` when no factor is given.

    Args:
        factor: One number, or one an axis; None: to the sizes of the second tensor.
        method: `linear` or `nearest`.
    """

    def __init__(self, factor: Sizes | None = None, method: str = "linear", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.factor, self.method = factor, method

    def call(self, inputs: Any) -> Any:
        """Returns the inputs resampled."""
        image, like = (inputs, None) if self.factor is not None else inputs
        rank = len(image.shape) - 2
        if like is not None:
            wanted = ops.shape(like)[1:-1]
        else:
            wanted = [n * f for n, f in zip(ops.shape(image)[1:-1], spread(self.factor or 1, rank))]
        for axis in range(rank):
            image = self._along(image, axis + 1, wanted[axis])
        return image

    def _along(self, image: Any, axis: int, wanted: Any) -> Any:
        size = ops.shape(image)[axis]
        if isinstance(size, int) and isinstance(wanted, int) and size == wanted:
            return image
        scale = ops.cast(size, "float32") / ops.cast(wanted, "float32")
        position = (ops.cast(ops.arange(wanted), "float32") + 0.5) * scale - 0.5
        last = ops.cast(size - 1, "float32")
        if self.method == "nearest":
            return ops.take(image, ops.cast(ops.clip(ops.floor(position + 0.5), 0.0, last), "int32"), axis=axis)
        position = ops.clip(position, 0.0, last)
        below = ops.floor(position)
        share = ops.reshape(position - below, [-1 if a == axis else 1 for a in range(len(image.shape))])
        low = ops.cast(below, "int32")
        high = ops.minimum(low + 1, size - 1)
        share = ops.cast(share, image.dtype)
        return ops.take(image, low, axis=axis) * (1 - share) + ops.take(image, high, axis=axis) * share

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        """Returns the output's shape."""
        if self.factor is None:
            return (input_shape[0][0], *input_shape[1][1:-1], input_shape[0][-1])
        factors = spread(self.factor, len(input_shape) - 2)
        sizes = [None if size is None else size * factor for size, factor in zip(input_shape[1:-1], factors)]
        return (input_shape[0], *sizes, input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        """Returns what rebuilds the layer."""
        return {**super().get_config(), "factor": self.factor, "method": self.method}
