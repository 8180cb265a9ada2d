"""BasicUNet, 2-D and 3-D: max pooling down, transposed convolution up; MONAI's network of this name.

Layers bear the names that MONAI's weights have, so that `radkit.models.weights.monai` finds each by its own name;
with the same weights the outputs are the same.

Source: Falk et al. 2019, https://doi.org/10.1038/s41592-018-0261-2.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from radkit.errors import UserError
from radkit.models import layers
from radkit.models.layers import decoding

TASK = "segmentation"
SMALL = {"filters": (4, 4, 6, 6, 8, 4)}

_EPSILON = 1e-5  # PyTorch's, for every normalisation


def build(
    input_shape: tuple[int | None, ...],
    num_classes: int,
    filters: Sequence[int] = (32, 32, 64, 128, 256, 32),
    norm: str = "instance",
    activation: str = "leaky_relu:0.1",
    dropout: float = 0.0,
    bias: bool = True,
) -> keras.Model:
    """Returns a U-Net from image to logits, `(batch, *spatial, num_classes)` float32.

    Args:
        input_shape: Spatial sizes and channels. Of an odd size pooling leaves the last place out, and on the way up the
            edge is repeated; sizes under 16 are padded, and the answer cropped.
        num_classes: Channels of the output, background included.
        filters: Channels of the five levels, finest first, and of the last block.
        norm: As `layers.normalize`.
        activation: As `layers.activate`.
        dropout: Share of each convolution's features dropped in training.
        bias: Whether convolutions add a constant.

    Raises:
        UserError: Other than six widths.
    """
    if len(filters) != 6:
        raise UserError(f"basic_unet has five levels and a last block: filters must be six numbers, not {filters}")
    kind = _Kind(norm, activation, dropout, bias)
    inputs = keras.Input(input_shape, name="image")
    x = _two(layers.PadToMultiple(1, 16, name="pad")(inputs), filters[0], "conv_0", kind)
    skips = [x]
    for level, width in enumerate(filters[1:5], 1):
        x = layers.max_pool(x, padding="valid", name=f"down_{level}.max_pooling")
        x = _two(x, width, f"down_{level}.convs", kind)
        skips.append(x)
    for level in (4, 3, 2, 1):
        # The last step up keeps its channels; the others halve them.
        width = x.shape[-1] if level == 1 else x.shape[-1] // 2
        x = layers.deconvolve(x, width, bias=True, name=f"upcat_{level}.upsample.deconv")
        x = EdgeLike(name=f"upcat_{level}.edge")([x, skips[level - 1]])
        x = keras.layers.Concatenate(name=f"upcat_{level}.concatenate")([skips[level - 1], x])
        x = _two(x, filters[5] if level == 1 else filters[level - 1], f"upcat_{level}.convs", kind)
    return keras.Model(inputs, decoding.logits(x, num_classes, inputs, name="final_conv"), name="basic_unet")


@keras.saving.register_keras_serializable("radkit")
class EdgeLike(keras.layers.Layer):
    """Repeats the last places of space until it is as large as another tensor's.

    Input shape: `[(batch, *smaller, channels), (batch, *spatial, any)]`; output shape: `(batch, *spatial, channels)`.
    """

    def call(self, inputs: Sequence[Any]) -> Any:
        """Returns the first, as large as the second."""
        x, like = inputs
        for axis, (size, wanted) in enumerate(zip(ops.shape(x)[1:-1], ops.shape(like)[1:-1]), 1):
            if not (isinstance(size, int) and isinstance(wanted, int) and size == wanted):
                x = ops.take(x, ops.minimum(ops.arange(wanted), size - 1), axis=axis)
        return x

    def compute_output_shape(self, input_shape: Sequence[tuple[int | None, ...]]) -> tuple[int | None, ...]:
        """Returns the output's shape."""
        x, like = input_shape
        return (x[0], *like[1:-1], x[-1])


@dataclass(frozen=True)
class _Kind:
    norm: str
    activation: str
    dropout: float
    bias: bool


def _two(x: Any, filters: int, name: str, kind: _Kind) -> Any:
    for index in (0, 1):
        inner = f"{name}.conv_{index}"
        x = layers.convolve(x, filters, 3, bias=kind.bias, name=f"{inner}.conv")
        if kind.dropout:
            x = layers.normalize(x, kind.norm, epsilon=_EPSILON, name=f"{inner}.adn.N")
            x = keras.layers.Dropout(kind.dropout, name=f"{inner}.adn.D")(x)
            x = layers.activate(x, kind.activation, name=f"{inner}.adn.A")
        else:
            x = layers.normalize(x, kind.norm, kind.activation, epsilon=_EPSILON, name=f"{inner}.adn.N")
    return x
