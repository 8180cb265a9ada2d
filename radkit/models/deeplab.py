"""DeepLab v3+, 2-D and 3-D: dilated convolutions at several rates over a backbone, and a small decoder.

Source: Chen et al. 2018, https://arxiv.org/abs/1802.02611.
"""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from radkit import folder, models
from radkit.errors import UserError
from radkit.models import encoders, layers

TASK = "segmentation"
VARIANTS: dict[str, dict[str, Any]] = {"deeplab_v3_plus": {}}
SMALL: dict[str, Any] = {
    "encoder": "resnet",
    "encoder_settings": {"filters": (4, 6, 8), "blocks": (1, 1, 1)},
    "filters": 8,
    "low_level_filters": 4,
    "rates": (1, 2),
}


def build(
    input_shape: tuple[int | None, ...],
    num_classes: int,
    encoder: str = "resnet50",
    encoder_settings: Mapping[str, Any] | None = None,
    filters: int = 256,
    low_level_filters: int = 48,
    rates: Sequence[int] = (6, 12, 18),
    separable: bool = True,
    norm: str = "batch",
    dropout: float = 0.0,
) -> keras.Model:
    """Returns a DeepLab v3+ from image to logits, `(batch, *spatial, num_classes)` float32.

    Args:
        input_shape: Spatial sizes and channels; sizes that 32 does not divide are padded, the answer cropped.
        num_classes: Channels of the output, background included.
        encoder: A backbone, as `encoders.features` knows it. One that has the setting `output_stride` is dilated to
            stride 16; another is taken as it is.
        encoder_settings: Its own settings.
        filters: Channels of the pyramid and of the decoder.
        low_level_filters: Channels that are left of the map of stride 4 that the decoder looks at.
        rates: Of the pyramid's dilated convolutions at stride 16; at 32 they are halved, at 8 doubled, so that they
            see as far.
        separable: Whether the 3-wide convolutions are a depthwise and a pointwise one, as the paper's.
        norm: `batch`, `instance`, `group` or `none`.
        dropout: Share of the pyramid's features dropped in training; 0.5 in the authors' code.

    Raises:
        UserError: No such backbone or setting.
    """
    style = _Style(filters, separable, norm)
    inputs = keras.Input(input_shape, name="image")
    settings = {**_dilated(encoder), **dict(encoder_settings or {})}
    maps = encoders.features(encoder, layers.PadToMultiple(32)(inputs), **settings)
    stride = min(settings.get("output_stride", 2 ** len(maps)), 2 ** len(maps))
    rates = [max(1, rate * 16 // stride) for rate in rates]
    x = _pyramid(maps[-1], rates, style)
    if dropout:
        x = keras.layers.Dropout(dropout)(x)
    low = maps[min(1, len(maps) - 1)]
    low = _block(low, low_level_filters, "low_level", norm)
    x = keras.layers.Concatenate(name="decoder_concat")([layers.Resize(name="decoder_resize")([x, low]), low])
    x = _convolution(_convolution(x, 1, "decoder_1", style), 1, "decoder_2", style)
    x = layers.convolve(x, num_classes, 1, bias=True, name="logits", dtype="float32")
    x = layers.Resize(2 ** min(2, len(maps)), name="resize", dtype="float32")(x)
    return keras.Model(inputs, layers.CropLike(name="crop", dtype="float32")([x, inputs]), name="deeplab")


@dataclass(frozen=True)
class _Style:
    filters: int
    separable: bool
    norm: str


def _dilated(encoder: str) -> dict[str, Any]:
    """Returns the setting by which a backbone keeps stride 16, if it has it."""
    try:
        made = folder.find(models.__name__, models.find(encoder)[0], "features")
    except UserError:
        return {}  # encoders.features says what is wrong
    return {"output_stride": 16} if "output_stride" in inspect.signature(made).parameters else {}


def _pyramid(x: Any, rates: Sequence[int], style: _Style) -> Any:
    """Returns what is seen at each rate, and in the whole image, side by side and then mixed."""
    branches = [_block(x, style.filters, "aspp_1x1", style.norm)]
    branches += [_convolution(x, rate, f"aspp_{number}", style) for number, rate in enumerate(rates, 1)]
    # Without normalisation: of one voxel an image's own statistics are nothing, a small batch's not much.
    whole = layers.convolve(Overview(name="aspp_mean")(x), style.filters, 1, bias=True, name="aspp_image")
    branches.append(layers.Resize(name="aspp_resize")([layers.activate(whole, "relu"), x]))
    return _block(keras.layers.Concatenate(name="aspp_concat")(branches), style.filters, "aspp", style.norm)


def _block(x: Any, filters: int, name: str, norm: str) -> Any:
    x = layers.convolve(x, filters, 1, bias=norm == "none", name=name)
    return layers.normalize(x, norm, "relu", name=f"{name}_norm")


def _convolution(x: Any, rate: int, name: str, style: _Style) -> Any:
    if not style.separable:
        x = layers.convolve(x, style.filters, 3, bias=style.norm == "none", dilation=rate, name=name)
        return layers.normalize(x, style.norm, "relu", name=f"{name}_norm")
    x = layers.convolve_depthwise(x, 3, dilation=rate, name=f"{name}_depthwise")
    return _block(x, style.filters, name, style.norm)


@keras.saving.register_keras_serializable("radkit")
class Overview(keras.layers.Layer):
    """Averages over space, which stays as axes of size 1; the mean is taken in float32.

    Input shape: `(batch, *spatial, channels)`; output shape: `(batch, 1, 1[, 1], channels)`.
    """

    def call(self, inputs: Any) -> Any:
        """Returns the means."""
        axes = list(range(1, len(inputs.shape) - 1))
        return ops.cast(ops.mean(ops.cast(inputs, "float32"), axis=axes, keepdims=True), inputs.dtype)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Returns the output's shape."""
        return (input_shape[0], *(1 for _ in input_shape[1:-1]), input_shape[-1])
