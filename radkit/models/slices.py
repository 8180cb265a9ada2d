"""Images of a set - a volume's slices, a patient's exams - through one 2-D network, and back into the set."""

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from radkit.models import encoders, layers


def encode(x: Any, backbone: str, settings: Mapping[str, Any] | None = None) -> Any:
    """Returns what a backbone sees in each image of a set, averaged over the image: (batch, images, features) float32.

    Args:
        x: (batch, images, rows, columns, channels). A batch norm's statistics are those of all images together.
        backbone: A name that `encoders.features` knows.
        settings: Its own settings.
    """
    images = layers.PadToMultiple(1, 32, name="at_least")(ImagesToBatch(name="images")(x))
    pooled = pool(encoders.features(backbone, images, **dict(settings or {}))[-1])
    return BatchToImages(name="sets", dtype="float32")([pooled, x])


def pool(x: Any) -> Any:
    """Returns each channel's mean over space, (batch, channels) float32."""
    return layers.global_average_pool(x, name="avg_pool")


@keras.saving.register_keras_serializable("radkit")
class ImagesToBatch(keras.layers.Layer):
    """Deals the images of each set into the batch: (batch, images, ...) to (batch * images, ...)."""

    def call(self, inputs: Any) -> Any:
        """Returns the images."""
        return ops.reshape(inputs, (-1, *ops.shape(inputs)[2:]))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Returns the output's shape."""
        return (None, *input_shape[2:])


@keras.saving.register_keras_serializable("radkit")
class BatchToImages(keras.layers.Layer):
    """Undoes `ImagesToBatch`: `[(batch * images, ...), the sets]` to (batch, images, ...)."""

    def call(self, inputs: Any) -> Any:
        """Returns the sets."""
        images, sets = inputs
        return ops.reshape(images, (-1, ops.shape(sets)[1], *ops.shape(images)[1:]))

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        """Returns the output's shape."""
        images, sets = input_shape
        return (sets[0], sets[1], *images[1:])


@keras.saving.register_keras_serializable("radkit")
class Present(keras.layers.Layer):
    """Says which images of a set hold anything: (batch, images, ...) to (batch, images), bool.

    Sets are padded to one length with images of zeros; those are no part of the set. A set of nothing else counts as
    whole, or nothing could be said of it.
    """

    def call(self, inputs: Any) -> Any:
        """Returns True where an image is not all zeros."""
        found = ops.any(ops.not_equal(inputs, 0), axis=list(range(2, len(inputs.shape))))
        return ops.logical_or(found, ops.logical_not(ops.any(found, axis=1, keepdims=True)))

    def compute_output_spec(self, inputs: Any) -> Any:
        """Returns the output's shape and dtype."""
        return keras.KerasTensor(inputs.shape[:2], dtype="bool")


@keras.saving.register_keras_serializable("radkit")
class Neighbours(keras.layers.Layer):
    """Puts neighbouring slices into channels, the ends repeated where slices are lacking.

    Input shape: `(batch, slices, rows, columns, channels)`; output shape: `(batch, rows, columns, count * channels)`,
    or, of every slice, `(batch * slices, rows, columns, count * channels)`.

    Args:
        count: How many slices: the one in question and those around it. Of an even number one more lies before.
        every: Whether each slice is answered with its neighbours, or only the middle one.
    """

    def __init__(self, count: int, every: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.count, self.every = count, every

    def call(self, inputs: Any) -> Any:
        """Returns slices as channels."""
        _, slices, rows, columns, _ = ops.shape(inputs)
        centre = ops.arange(slices) if self.every else ops.reshape(ops.convert_to_tensor(slices // 2), (1,))
        wanted = ops.clip(centre[:, None] + ops.arange(self.count)[None] - self.count // 2, 0, slices - 1)
        x = ops.take(inputs, wanted, axis=1)  # batch, centre, count, rows, columns, channels
        x = ops.transpose(x, (0, 1, 3, 4, 2, 5))
        return ops.reshape(x, (-1, rows, columns, self.count * inputs.shape[-1]))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Returns the output's shape."""
        batch = None if self.every else input_shape[0]
        return (batch, *input_shape[2:4], self.count * int(input_shape[-1] or 0))

    def get_config(self) -> dict[str, Any]:
        """Returns what rebuilds the layer."""
        return {**super().get_config(), "count": self.count, "every": self.every}
