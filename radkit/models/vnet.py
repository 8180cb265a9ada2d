"""V-Net, 2-D and 3-D: residual stages of 5-wide convolutions, strided convolutions instead of pooling, PReLU.

Source: Milletari et al. 2016, https://arxiv.org/abs/1606.04797. The paper normalises nothing; here each convolution is
followed by instance normalisation, unless `norm="none"`. With `convolutions=(1, 1, 2, 3, 2)`,
`up_convolutions=(2, 2, 1, 1)`, `norm="batch"` and `activation="elu"` it is the network that MONAI calls VNet.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras

from radkit.errors import UserError
from radkit.models import layers
from radkit.models.layers import decoding

TASK = "segmentation"
SMALL: dict[str, Any] = {"filters": (4, 8), "convolutions": (1, 2), "up_convolutions": (1,), "size": 3}


def build(
    input_shape: tuple[int | None, ...],
    num_classes: int,
    filters: Sequence[int] = (16, 32, 64, 128, 256),
    convolutions: Sequence[int] = (1, 2, 3, 3, 3),
    up_convolutions: Sequence[int] = (3, 3, 2, 1),
    size: int = 5,
    norm: str = "instance",
    activation: str = "prelu",
    dropout: float = 0.0,
    deep_supervision: bool = False,
) -> keras.Model:
    """Returns a V-Net from image to logits, `(batch, *spatial, num_classes)` float32; or a list of them, finest first.

    Args:
        input_shape: Spatial sizes and channels; sizes that 2 ** (levels - 1) does not divide are padded, the answer
            cropped.
        num_classes: Channels of the output, background included.
        filters: Channels of each level, finest first; the sizes halve from one to the next.
        convolutions: How many each level has on the way down, finest first.
        up_convolutions: How many each level has on the way up, coarsest first: one number fewer than levels.
        size: Of the kernels.
        norm: `instance`, `batch`, `group` or `none`.
        activation: As `layers.activate`.
        dropout: Share of the skip connections' channels dropped in training.
        deep_supervision: Whether the coarser levels on the way up answer too; the output is then a list.

    Raises:
        UserError: Numbers of convolutions that do not belong to the levels.
    """
    _check(filters, convolutions, up_convolutions)
    style = _Style(size, norm, activation, dropout)
    inputs = keras.Input(input_shape, name="image")
    x = layers.PadToMultiple(2 ** (len(filters) - 1))(inputs)
    skips = [_stage(x, _widened(x, filters[0]), filters[0], convolutions[0], style)]
    for width, count in zip(filters[1:], convolutions[1:]):
        x = layers.convolve(skips[-1], width, 2, 2, bias=norm == "none")
        x = layers.normalize(x, norm, activation)
        skips.append(_stage(x, x, width, count, style))
    answers: list[Any] = []
    x = skips[-1]
    for level, count in zip(reversed(range(len(filters) - 1)), up_convolutions):
        x = _joined(x, skips[level], filters[level], style)
        x = _stage(x, x, 2 * filters[level], count, style)
        if level == 0 or deep_supervision:
            answers.insert(0, _logits(x, num_classes, inputs, level, style))
    return keras.Model(inputs, answers if deep_supervision else answers[0], name="vnet")


@dataclass(frozen=True)
class _Style:
    size: int
    norm: str
    activation: str
    dropout: float


def _check(filters: Sequence[int], convolutions: Sequence[int], up_convolutions: Sequence[int]) -> None:
    levels = len(filters)
    if levels < 2 or len(convolutions) != levels or len(up_convolutions) != levels - 1:
        raise UserError(
            f"vnet has {levels} filters, {len(convolutions)} convolutions and {len(up_convolutions)} up_convolutions; "
            "give at least 2 filters, as many convolutions, and one of up_convolutions fewer"
        )


def _widened(x: Any, width: int) -> Any:
    """Returns the image as wide as the first level: repeated, or projected where its channels do not divide it."""
    times, left = divmod(width, x.shape[-1])
    if left:
        return layers.convolve(x, width, 1, bias=True)
    return keras.layers.Concatenate()([x] * times) if times > 1 else x


def _stage(x: Any, shortcut: Any, width: int, count: int, style: _Style) -> Any:
    """Returns convolutions, to whose last the shortcut is added before its activation, as the reference has it."""
    # The first stage's one convolution is activated once, after the sum; the last of all others twice.
    before = "linear" if shortcut is not x and count == 1 else style.activation
    for _ in range(count):
        x = layers.convolve(x, width, style.size, bias=style.norm == "none")
        x = layers.normalize(x, style.norm, before)
    return layers.activate(keras.layers.Add()([x, shortcut]), style.activation)


def _joined(x: Any, skip: Any, width: int, style: _Style) -> Any:
    """Returns the coarser features, made finer, beside the skip connection: 2 * width channels."""
    x = layers.normalize(layers.deconvolve(x, width, bias=True), style.norm, style.activation)
    if style.dropout:
        drop = {4: keras.layers.SpatialDropout2D, 5: keras.layers.SpatialDropout3D}[len(x.shape)]
        skip = drop(style.dropout)(skip)
    return keras.layers.Concatenate()([x, skip])


def _logits(x: Any, num_classes: int, image: Any, level: int, style: _Style) -> Any:
    x = layers.convolve(x, num_classes, style.size, bias=style.norm == "none")
    x = layers.normalize(x, style.norm, style.activation)
    return decoding.logits(x, num_classes, image, factor=2**level, name=f"logits_{level}" if level else "logits")
