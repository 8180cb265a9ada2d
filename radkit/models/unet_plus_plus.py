"""U-Net++, 2-D and 3-D: skip connections are themselves small decoders, densely joined.

Source: Zhou et al. 2018, https://arxiv.org/abs/1807.10165. The paper's network has no normalisation: with
`norm="none"` its size is the published one, 9.04 million weights.
"""

from collections.abc import Sequence
from typing import Any

import keras

from radkit.errors import UserError
from radkit.models import layers
from radkit.models.layers import decoding

TASK = "segmentation"
SMALL: dict[str, Any] = {"filters": (4, 6, 8)}


def build(
    input_shape: tuple[int | None, ...],
    num_classes: int,
    filters: Sequence[int] = (32, 64, 128, 256, 512),
    norm: str = "instance",
    activation: str = "leaky_relu",
    dropout: float = 0.0,
    deep_supervision: bool = False,
) -> keras.Model:
    """Returns a U-Net++ from image to logits, `(batch, *spatial, num_classes)` float32; or a list of them.

    Args:
        input_shape: Spatial sizes and channels; sizes that 2 ** (levels - 1) does not divide are padded, the answer
            cropped.
        num_classes: Channels of the output, background included.
        filters: Channels of each level, finest first; the sizes halve from one to the next.
        norm: `instance`, `batch`, `group` or `none`.
        activation: As `layers.activate`.
        dropout: Share of each convolution's features dropped in training.
        deep_supervision: Whether each nested U-Net answers too; the output is then a list, the deepest first. All its
            logits have the image's size: that is how the paper supervises.

    Raises:
        UserError: One level only.
    """
    if len(filters) < 2:
        raise UserError(f"unet_plus_plus has filters {tuple(filters)}: one level has nothing to join; give 2 or more")

    def block(x: Any, width: int) -> Any:
        for _ in range(2):
            x = layers.convolution_block(
                x, width, norm=norm, activation=activation, bias=norm == "none", dropout=dropout
            )
        return x

    inputs = keras.Input(input_shape, name="image")
    x = layers.PadToMultiple(2 ** (len(filters) - 1))(inputs)
    # rows[i][j]: level i after j times that something came up from below.
    rows: list[list[Any]] = []
    for level, width in enumerate(filters):
        rows.append([block(layers.max_pool(rows[-1][0]) if level else x, width)])
        for finer in reversed(range(level)):
            up = layers.deconvolve(rows[finer + 1][-1], filters[finer], bias=True)
            rows[finer].append(block(keras.layers.Concatenate()([*rows[finer], up]), filters[finer]))
    answering = list(enumerate(rows[0]))[1:] if deep_supervision else [(len(filters) - 1, rows[0][-1])]
    answers = [decoding.logits(x, num_classes, inputs, name=f"logits_{depth}") for depth, x in reversed(answering)]
    return keras.Model(inputs, answers if deep_supervision else answers[0], name="unet_plus_plus")
