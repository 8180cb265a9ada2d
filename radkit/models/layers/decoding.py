"""What the ends of segmenters share: gates on skip connections, and logits of one size or of several."""

from collections.abc import Sequence
from typing import Any

import keras

from radkit.models.layers import blocks, convolutions, sizes


def gate(skip: Any, coarse: Any, filters: int, strides: convolutions.Sizes = 2, *, name: str) -> Any:
    """Returns a skip connection weighed, place by place, by the coarser features (additive attention).

    Args:
        skip: (batch, *spatial, c).
        coarse: (batch, *spatial / strides, d).
        filters: Number of channels in which the two are compared.
        strides: How many times `coarse` is coarser, one number or one an axis.
        name: Prefix of the layers' names.

    Source: Oktay et al. 2018, https://arxiv.org/abs/1804.03999, eq. 1-2; the weights come back to the skip's grid
    linearly, as there.
    """
    ours = convolutions.convolve(skip, filters, strides, strides, name=f"{name}_skip")
    theirs = convolutions.convolve(coarse, filters, 1, bias=True, name=f"{name}_coarse")
    both = blocks.activate(keras.layers.Add(name=f"{name}_add")([ours, theirs]), "relu", name=f"{name}_relu")
    weight = convolutions.convolve(both, 1, 1, bias=True, name=f"{name}_weight")
    weight = keras.layers.Activation("sigmoid", name=f"{name}_sigmoid")(weight)
    weight = sizes.Resize(strides, name=f"{name}_resize")(weight)
    return keras.layers.Multiply(name=f"{name}_multiply")([skip, weight])


def logits(
    x: Any, num_classes: int, image: Any, *, factor: convolutions.Sizes = 1, bias: bool = True, name: str = "logits"
) -> Any:
    """Returns (batch, *spatial, num_classes) float32: scores of each voxel, what padding added cut away.

    Args:
        x: Features of the padded image, (batch, *padded / factor, channels).
        num_classes: Channels of the answer.
        image: What the network was given; its spatial sizes, divided by `factor` and rounded up, are the answer's.
        factor: How many times coarser than the image the features are, one number or one an axis.
        bias: Whether a constant is added to each class.
        name: Of the convolution.
    """
    x = convolutions.convolve(x, num_classes, 1, bias=bias, name=name, dtype="float32")
    factors = convolutions.spread(factor, len(x.shape) - 2)
    if all(step == 1 for step in factors):
        return sizes.CropLike(dtype="float32")([x, image])
    wanted = [None if size is None else -(-size // step) for size, step in zip(image.shape[1:-1], factors)]
    if None not in wanted and tuple(wanted) == tuple(x.shape[1:-1]):
        return x
    return CropLikeCoarse(factors, dtype="float32")([x, image])


@keras.saving.register_keras_serializable("radkit")
class CropLikeCoarse(keras.layers.Layer):
    """Cuts coarse logits to the part that the image, before it was padded, covers.

    Input shape: `[(batch, *coarse, channels), (batch, *spatial, any)]`; output shape:
    `(batch, *(spatial / factor, rounded up), channels)`.

    Args:
        factor: One number an axis.
    """

    def __init__(self, factor: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.factor = tuple(factor)

    def call(self, inputs: Sequence[Any]) -> Any:
        """Returns the middle of the first."""
        coarse, image = inputs
        found, like = keras.ops.shape(coarse)[1:-1], keras.ops.shape(image)[1:-1]
        for axis, (size, whole, step) in enumerate(zip(found, like, self.factor), 1):
            wanted = (whole + step - 1) // step
            first = (size - wanted) // 2
            coarse = coarse[(slice(None),) * axis + (slice(first, first + wanted),)]
        return coarse

    def compute_output_shape(self, input_shape: Sequence[tuple[int | None, ...]]) -> tuple[int | None, ...]:
        """Returns the output's shape."""
        coarse, image = input_shape
        wanted = [None if size is None else -(-size // step) for size, step in zip(image[1:-1], self.factor)]
        return (coarse[0], *wanted, coarse[-1])

    def get_config(self) -> dict[str, Any]:
        """Returns what rebuilds the layer."""
        return {**super().get_config(), "factor": self.factor}
