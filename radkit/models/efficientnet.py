"""EfficientNet-B0 to -B4, 2-D and 3-D: inverted residual blocks, scaled in width and depth together.

Source: Tan and Le 2019, https://arxiv.org/abs/1905.11946. Names, shapes and order of the weights are those of Keras's
applications, whose files fit. These take 0 to 255 in three channels and scale inside: `preprocessing`.
"""

import math
from typing import Any

import keras

from radkit.errors import UserError
from radkit.models import heads, layers

TASK = "classification"
SMALL = {"width": 0.1, "depth": 0.1}
VARIANTS: dict[str, dict[str, Any]] = {
    "efficientnet_b0": {"width": 1.0, "depth": 1.0},
    "efficientnet_b1": {"width": 1.0, "depth": 1.1},
    "efficientnet_b2": {"width": 1.1, "depth": 1.2},
    "efficientnet_b3": {"width": 1.2, "depth": 1.4},
    "efficientnet_b4": {"width": 1.4, "depth": 1.8},
}
# The paper's table 1: size of the kernel, blocks, channels, expansion, strides.
STAGES = (
    (3, 1, 16, 1, 1), (3, 2, 24, 6, 2), (5, 2, 40, 6, 2), (3, 3, 80, 6, 2), (5, 3, 112, 6, 1), (5, 4, 192, 6, 2),
    (3, 1, 320, 6, 1),
)  # fmt: skip
PREPROCESSING = ("auto", "none", "keras", "imagenet")
_STANDARD_DEVIATIONS = (0.229, 0.224, 0.225)  # of ImageNet's red, green and blue, of 1
# By what one voxel of a kernel feeds: he_normal counts a depthwise kernel's channels as if each saw all.
_FAN_OUT: Any = {
    "class_name": "VarianceScaling",
    "config": {"scale": 2.0, "mode": "fan_out", "distribution": "truncated_normal"},
}


def build(
    input_shape: tuple[int | None, ...],
    num_classes: int,
    width: float = 1.0,
    depth: float = 1.0,
    norm: str = "batch",
    preprocessing: str = "auto",
    drop_path: float = 0.0,
    head: str = "linear",
    dropout: float = 0.0,
) -> keras.Model:
    """Returns an EfficientNet from image to logits, `(batch, num_classes)` float32.

    Args:
        input_shape: Spatial sizes and channels; what is smaller than 32 is padded.
        num_classes: Number of logits.
        width: Factor of all channels, which are rounded to multiples of 8.
        depth: Factor of all numbers of blocks, which are rounded up.
        norm: As `layers.normalize`.
        preprocessing: `none`: the image is normalised already, as radkit's are. `keras`: it is 0 to 255, as Keras's new
            networks take it. `imagenet`: likewise, as Keras's weights of ImageNet take it. `auto`: `keras` in 2-D with
            three channels, else `none`.
        drop_path: Share of last blocks left out of an image's way in training, earlier ones less; the paper's is 0.2.
        head: As `heads.classify`.
        dropout: Share of pooled features dropped in training; the paper's is 0.2 (B0) to 0.4 (B4).

    Raises:
        UserError: A preprocessing that is none, or one of colours where there are other channels.
    """
    inputs = keras.Input(input_shape, name="image")
    x = layers.PadToMultiple(1, at_least=32)(inputs)
    if preprocessing == "auto":
        preprocessing = "keras" if len(input_shape) == 3 and input_shape[-1] == 3 else "none"
    x = features(x, width, depth, norm, preprocessing, drop_path)[-1]
    wanted = {"width": width, "depth": depth}
    member = next((name for name, found in VARIANTS.items() if found == wanted), "efficientnet")
    return keras.Model(inputs, heads.classify(x, num_classes, head=head, dropout=dropout), name=member)


def features(
    x: Any,
    width: float = 1.0,
    depth: float = 1.0,
    norm: str = "batch",
    preprocessing: str = "none",
    drop_path: float = 0.0,
) -> list[Any]:
    """Returns the last feature maps of strides 2, 4, 8, 16 and 32, finest first; arguments as `build`."""
    x = _scaled(x, preprocessing)
    x = layers.convolve(x, _round(32, width), 3, 2, initializer=_FAN_OUT, name="stem_conv")
    x = layers.normalize(x, norm, "silu", name="stem_bn")
    repeats = [math.ceil(depth * count) for _, count, *_ in STAGES]
    maps, done = [], 0
    for stage, ((size, _, filters, expand, strides), count) in enumerate(zip(STAGES, repeats), 1):
        for block in range(count):
            step = strides if not block else 1
            if step == 2:
                maps.append(x)
            rate = drop_path * done / sum(repeats)
            name = f"block{stage}{chr(ord('a') + block)}_"
            x = _block(x, _round(filters, width), size, step, expand, norm=norm, rate=rate, name=name)
            done += 1
    x = layers.convolve(x, _round(1280, width), 1, initializer=_FAN_OUT, name="top_conv")
    return [*maps, layers.normalize(x, norm, "silu", name="top_bn")]


def _scaled(x: Any, preprocessing: str) -> Any:
    if preprocessing not in PREPROCESSING:
        raise UserError(f"efficientnet has no preprocessing {preprocessing!r}; there are {', '.join(PREPROCESSING)}")
    if preprocessing in ("auto", "none"):
        return x
    x = keras.layers.Rescaling(1 / 255, name="rescaling")(x)
    x = keras.layers.Normalization(axis=-1, name="normalization")(x)
    if preprocessing == "imagenet":
        if x.shape[-1] != 3:
            raise UserError(f"preprocessing 'imagenet' is of 3 channels, not {x.shape[-1]}; set preprocessing='none'")
        # The weights were learnt on images divided by the variance's root twice.
        scale = [1 / math.sqrt(deviation) for deviation in _STANDARD_DEVIATIONS]
        x = keras.layers.Rescaling(scale, name="rescaling_1")(x)
    return x


def _round(filters: int, width: float) -> int:
    """Returns the multiple of 8 next to a scaled number of channels, at most a tenth below it.

    >>> _round(32, 1.0), _round(32, 1.1), _round(16, 0.1)
    (32, 32, 8)
    """
    scaled = filters * width
    rounded = max(8, int(scaled + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * scaled else rounded


def _block(
    inputs: Any, filters: int, size: int, strides: int, expand: int, *, norm: str, rate: float, name: str
) -> Any:
    x, entering = inputs, inputs.shape[-1]
    if expand != 1:
        x = layers.convolve(x, expand * entering, 1, initializer=_FAN_OUT, name=f"{name}expand_conv")
        x = layers.normalize(x, norm, "silu", name=f"{name}expand_bn")
    start = _FAN_OUT if len(x.shape) == 4 else "he_normal"
    x = layers.convolve_depthwise(x, size, strides, initializer=start, name=f"{name}dwconv")
    x = layers.normalize(x, norm, "silu", name=f"{name}bn")
    x = layers.squeeze_and_excite(x, max(1, entering // 4), activation="silu", name=name)
    x = layers.convolve(x, filters, 1, initializer=_FAN_OUT, name=f"{name}project_conv")
    x = layers.normalize(x, norm, name=f"{name}project_bn")
    if strides > 1 or entering != filters:
        return x
    if rate:
        shape = (None, *(1,) * (len(x.shape) - 1))
        x = keras.layers.Dropout(rate, noise_shape=shape, name=f"{name}drop")(x)
    return keras.layers.Add(name=f"{name}add")([x, inputs])
