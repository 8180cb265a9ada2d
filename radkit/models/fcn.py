"""Fully convolutional network, 2-D and 3-D: a classifier's scores at strides 32, 16 and 8, summed and enlarged.

Source: Long et al. 2015, https://arxiv.org/abs/1411.4038; enlarged linearly, as its transposed convolutions begin. The
paper's backbone is VGG-16; any other goes. Its finer maps are the last of their stride, the paper's the first.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from radkit.errors import UserError
from radkit.models import encoders, layers

TASK = "segmentation"
VARIANTS: dict[str, dict[str, Any]] = {"fcn8s": {"stride": 8}, "fcn16s": {"stride": 16}, "fcn32s": {"stride": 32}}
SMALL: dict[str, Any] = {
    "encoder": "resnet",
    "encoder_settings": {"filters": (4, 6, 8), "blocks": (1, 1, 1)},
    "filters": (8,),
    "size": 3,
}


def build(
    input_shape: tuple[int | None, ...],
    num_classes: int,
    encoder: str = "vgg16",
    encoder_settings: Mapping[str, Any] | None = None,
    stride: int = 8,
    filters: Sequence[int] = (4096, 4096),
    size: int = 0,
    dropout: float = 0.0,
) -> keras.Model:
    """Returns an FCN from image to logits, `(batch, *spatial, num_classes)` float32.

    Args:
        input_shape: Spatial sizes and channels; sizes that 32 does not divide are padded, the answer cropped.
        num_classes: Channels of the output, background included.
        encoder: A backbone, as `encoders.features` knows it.
        encoder_settings: Its own settings.
        stride: Of the finest map that is scored, 8, 16 or 32, of a backbone whose coarsest has 32; of one with fewer
            maps the coarsest and as many finer ones as would be.
        filters: Channels of the layers between backbone and scores.
        size: Of the first of these layers' kernel; 0: the paper's 7 in 2-D, and 3 in 3-D, where 7 would be 720 million
            weights.
        dropout: Share of these layers' features dropped in training; the paper has 0.5.

    Raises:
        UserError: A stride that is none of the three.
    """
    if stride not in (8, 16, 32):
        raise UserError(f"fcn has stride {stride}; give 8, 16 or 32")
    inputs = keras.Input(input_shape, name="image")
    maps = encoders.features(encoder, layers.PadToMultiple(32)(inputs), **dict(encoder_settings or {}))
    x = maps[-1]
    for number, width in enumerate(filters):
        taps = (size or (7 if len(input_shape) == 3 else 3)) if number == 0 else 1
        x = layers.convolve(x, width, taps, bias=True, name=f"fc{number + 6}")
        x = layers.activate(x, "relu")
        if dropout:
            x = keras.layers.Dropout(dropout)(x)
    scores = _scores(x, num_classes, "score_coarsest")
    level = len(maps)
    for finer in maps[-2 : -2 - {32: 0, 16: 1, 8: 2}[stride] : -1]:
        level -= 1
        enlarged = layers.Resize(2, dtype="float32")(scores)
        scores = keras.layers.Add(dtype="float32")([enlarged, _scores(finer, num_classes, f"score_{2**level}")])
    scores = layers.Resize(2**level, dtype="float32")(scores)
    return keras.Model(inputs, layers.CropLike(dtype="float32")([scores, inputs]), name="fcn")


def _scores(x: Any, num_classes: int, name: str) -> Any:
    return layers.convolve(x, num_classes, 1, bias=True, initializer="glorot_uniform", name=name, dtype="float32")
