"""U-Net, 2-D and 3-D: two convolutions a level, instance normalisation, leaky ReLU; or any backbone as its encoder.

Sources: Ronneberger et al. 2015, https://arxiv.org/abs/1505.04597; the blocks are those of Isensee et al. 2021,
https://doi.org/10.1038/s41592-020-01008-z; residual blocks: Zhang et al. 2018, https://arxiv.org/abs/1711.10684;
attention: Oktay et al. 2018, https://arxiv.org/abs/1804.03999.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from radkit.errors import UserError
from radkit.models import encoders, layers
from radkit.models.layers import decoding

TASK = "segmentation"
VARIANTS: dict[str, dict[str, Any]] = {
    "unet": {},
    "attention_unet": {"attention": True},
    "residual_unet": {"blocks": "residual"},
}
SMALL = {"filters": (4, 8)}
BLOCKS = ("plain", "residual")


def build(
    input_shape: tuple[int | None, ...],
    num_classes: int,
    filters: Sequence[int] = (32, 64, 128, 256),
    blocks: str = "plain",
    attention: bool = False,
    encoder: str = "",
    encoder_settings: Mapping[str, Any] | None = None,
    norm: str = "instance",
    activation: str = "leaky_relu",
    dropout: float = 0.0,
    deep_supervision: bool = False,
) -> keras.Model:
    """Returns a U-Net from image to logits, `(batch, *spatial, num_classes)` float32; or a list of them, finest first.

    Args:
        input_shape: Spatial sizes and channels; sizes that the strides do not divide are padded, the answer cropped.
        num_classes: Channels of the output, background included.
        filters: Channels of each level, finest first; the sizes halve from one to the next. With an `encoder`, those of
            the way up alone; the last one repeats.
        blocks: `plain`, or `residual`: what enters a level is added to what leaves it.
        attention: Whether the coarser features weigh what skips a level.
        encoder: Empty: the network's own; else a backbone's name, as `resnet34`, `densenet121`.
        encoder_settings: The backbone's own, as `{"norm": "instance"}`.
        norm: As `layers.normalize`.
        activation: As `layers.activate`.
        dropout: Share of each convolution's features dropped in training.
        deep_supervision: Whether every level but the coarsest answers; the output is then a list.

    Raises:
        UserError: Settings that do not fit one another, or no such backbone.
    """
    if blocks not in BLOCKS:
        raise UserError(f"unet has no blocks={blocks!r}; there are: {', '.join(BLOCKS)}")
    if encoder_settings and not encoder:
        raise UserError(f"unet has encoder_settings={dict(encoder_settings)} but no encoder; name one, as 'resnet34'")
    kind = _Kind(blocks, norm, activation, dropout)
    inputs = keras.Input(input_shape, name="image")
    if encoder:
        x = layers.PadToMultiple(encoders.MULTIPLE, name="pad")(inputs)
        levels = _levels(x, encoders.features(encoder, x, **dict(encoder_settings or {})))
    else:
        x = layers.PadToMultiple(2 ** (len(filters) - 1), name="pad")(inputs)
        own = _encoder(x, filters, kind)
        levels = [_Level((2**level,) * (len(x.shape) - 2), skip) for level, skip in enumerate(own)]
    maps = _decoder(levels, filters, kind, attention=attention)
    answers = [decoding.logits(maps[0], num_classes, inputs)]
    for index, x in enumerate(maps[1:] if deep_supervision else [], 1):
        factor = levels[index].stride
        answers.append(decoding.logits(x, num_classes, inputs, factor=factor, name=f"logits_{index}"))
    return keras.Model(inputs, answers if deep_supervision else answers[0], name="unet")


@dataclass(frozen=True)
class _Kind:
    blocks: str
    norm: str
    activation: str
    dropout: float


def _encoder(x: Any, filters: Sequence[int], kind: _Kind) -> list[Any]:
    maps = []
    for level, width in enumerate(filters):
        x = _two(x, width, 1 if level == 0 else 2, kind, f"encoder_{level}")
        maps.append(x)
    return maps


@dataclass(frozen=True)
class _Level:
    """How many times coarser than the image, and what the way down has there; None: nothing."""

    stride: tuple[int, ...]
    skip: Any


def _levels(x: Any, maps: Sequence[Any]) -> list[_Level]:
    """Returns the levels from the image's own size down, so that each is at most twice as coarse as the one above."""
    one = (1,) * (len(x.shape) - 2)
    found: list[_Level] = []
    for stride, skip in zip(encoders.strides(x, maps), maps):
        if not found and stride != one:
            found.append(_Level(one, None))
        while found and any(step > 2 * above for step, above in zip(stride, found[-1].stride)):
            between = tuple(min(step, 2 * above) for step, above in zip(stride, found[-1].stride))
            found.append(_Level(between, None))
        found.append(_Level(stride, skip))
    return found


def _decoder(levels: Sequence[_Level], filters: Sequence[int], kind: _Kind, *, attention: bool) -> list[Any]:
    """Returns each level's features on the way up but the coarsest's, finest first."""
    x = levels[-1].skip
    maps: list[Any] = []
    for index in range(len(levels) - 2, -1, -1):
        name, width, skip = f"decoder_{index}", filters[min(index, len(filters) - 1)], levels[index].skip
        step = tuple(below // here for below, here in zip(levels[index + 1].stride, levels[index].stride))
        up = layers.deconvolve(x, width, step, step, name=f"{name}_up")
        if skip is not None:
            if attention:
                skip = decoding.gate(skip, x, max(skip.shape[-1] // 2, 1), step, name=f"{name}_gate")
            up = keras.layers.Concatenate(name=f"{name}_concatenate")([up, skip])
        x = _two(up, width, 1, kind, name)
        maps.insert(0, x)
    return maps or [x]


def _two(x: Any, width: int, strides: int, kind: _Kind, name: str) -> Any:
    """Returns what a level makes of its input: two convolutions, the input added where the blocks are residual."""
    residual = kind.blocks == "residual"
    y = _convolution(x, width, 3, strides, kind, f"{name}_0", kind.activation)
    y = _convolution(y, width, 3, 1, kind, f"{name}_1", "linear" if residual else kind.activation)
    if not residual:
        return y
    if strides != 1 or x.shape[-1] != width:
        x = _convolution(x, width, 1, strides, kind, f"{name}_shortcut", "linear")
    return layers.activate(keras.layers.Add(name=f"{name}_add")([y, x]), kind.activation)


def _convolution(x: Any, width: int, size: int, strides: int, kind: _Kind, name: str, activation: str) -> Any:
    x = layers.convolve(x, width, size, strides, name=f"{name}_conv")
    if kind.dropout:
        x = keras.layers.Dropout(kind.dropout, name=f"{name}_dropout")(x)
    return layers.normalize(x, kind.norm, activation, name=f"{name}_norm")
