"""MONAI's UNet, 2-D and 3-D: residual units, strided convolutions down and transposed ones up.

Layers bear the names that MONAI's weights have, so that `radkit.models.weights.monai` finds each by its own name;
with the same weights the outputs are the same.

Source: Kerfoot et al. 2019, https://doi.org/10.1007/978-3-030-12029-0_40.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras

from radkit.errors import UserError
from radkit.models import layers

TASK = "segmentation"
SMALL = {"filters": (4, 8)}

Sizes = int | Sequence[int]

_EPSILON = 1e-5  # PyTorch's, for every normalisation


def build(
    input_shape: tuple[int | None, ...],
    num_classes: int,
    filters: Sequence[int] = (16, 32, 64, 128, 256),
    strides: Sequence[Sizes] = (2,),
    size: Sizes = 3,
    up_size: Sizes = 3,
    residual_units: int = 2,
    norm: str = "instance",
    affine: bool = False,
    activation: str = "prelu",
    dropout: float = 0.0,
    bias: bool = True,
) -> keras.Model:
    """Returns a U-Net from image to logits, `(batch, *spatial, num_classes)` float32.

    Args:
        input_shape: Spatial sizes and channels; sizes that the strides do not divide are padded, the answer cropped.
        num_classes: Channels of the output, background included.
        filters: Channels of each level, finest first.
        strides: From each level to the next, a number or one an axis; the last one repeats.
        size: Of the kernels, odd, a number or one an axis.
        up_size: Of the kernels on the way up, likewise.
        residual_units: Convolutions in a residual unit; 0: plain convolutions, nothing is added up.
        norm: As `layers.normalize`.
        affine: Whether what is normalised by `instance` is scaled and shifted; if not, these weights stay 1 and 0.
        activation: As `layers.activate`, but that `prelu` has one slope for all channels.
        dropout: Share of each convolution's features dropped in training.
        bias: Whether convolutions add a constant.

    Raises:
        UserError: Settings that do not fit one another.
    """
    rank = len(input_shape) - 1
    steps = _steps(filters, strides, rank)
    kind = _Kind(
        layers.convolutions.spread(size, rank), layers.convolutions.spread(up_size, rank),
        residual_units, norm, affine, activation, dropout, bias,
    )  # fmt: skip
    if any(width % 2 == 0 for width in (*kind.size, *kind.up_size)):
        raise UserError(f"monai_unet's kernels must be odd, not size={size}, up_size={up_size}")
    inputs = keras.Input(input_shape, name="image")
    multiple = [1] * rank
    for step in steps:
        multiple = [one * other for one, other in zip(multiple, step)]
    x = layers.PadToMultiple(tuple(multiple), name="pad")(inputs)
    x = _level(x, tuple(filters), steps, num_classes, kind, "model", top=True)
    return keras.Model(inputs, layers.CropLike(dtype="float32")([x, inputs]), name="monai_unet")


@dataclass(frozen=True)
class _Kind:
    size: tuple[int, ...]
    up_size: tuple[int, ...]
    units: int
    norm: str
    affine: bool
    activation: str
    dropout: float
    bias: bool


def _steps(filters: Sequence[int], strides: Sequence[Sizes], rank: int) -> list[tuple[int, ...]]:
    levels = len(filters)
    if levels < 2:
        raise UserError(f"monai_unet needs two levels or more; filters={filters} has {levels}")
    if not 0 < len(strides) < levels:
        raise UserError(f"monai_unet has {levels} levels and strides of {len(strides)}; give 1 to {levels - 1}")
    every = [layers.convolutions.spread(step, rank) for step in strides]
    return every + [every[-1]] * (levels - 1 - len(every))


def _level(
    x: Any, filters: tuple[int, ...], steps: Sequence[Sizes], out: int, kind: _Kind, name: str, *, top: bool = False
) -> Any:
    """Returns a level: down, everything below it, joined, up again."""
    x = _unit(x, filters[0], steps[0], kind, f"{name}.0")
    if len(filters) > 2:
        below = _level(x, filters[1:], steps[1:], filters[0], kind, f"{name}.1.submodule")
    else:
        below = _unit(x, filters[1], 1, kind, f"{name}.1.submodule")
    x = keras.layers.Concatenate(name=f"{name}.concatenate")([x, below])
    if not kind.units:
        x = _deconvolve(x, out, steps[0], kind, f"{name}.2.conv", last=top)
        return x if top else _adn(x, kind, f"{name}.2.adn")
    x = _adn(_deconvolve(x, out, steps[0], kind, f"{name}.2.0.conv"), kind, f"{name}.2.0.adn")
    unit = f"{name}.2.1.conv.unit0"
    y = layers.convolve(x, out, kind.size, bias=kind.bias, name=f"{unit}.conv", dtype="float32" if top else None)
    y = y if top else _adn(y, kind, f"{unit}.adn")
    return keras.layers.Add(name=f"{name}.2.1.add", dtype="float32" if top else None)([y, x])


def _unit(x: Any, width: int, step: Sizes, kind: _Kind, name: str) -> Any:
    """Returns a residual unit, or where the network has none one convolution."""
    strides = layers.convolutions.spread(step, len(x.shape) - 2)
    if not kind.units:
        return _convolution(x, width, strides, kind, name)
    y = x
    for index in range(kind.units):
        y = _convolution(y, width, strides if index == 0 else 1, kind, f"{name}.conv.unit{index}")
    strided = any(one != 1 for one in strides)
    if strided or x.shape[-1] != width:
        size = kind.size if strided else 1
        x = layers.convolve(
            x, width, size, strides, bias=kind.bias, padding="symmetric", name=f"{name}.residual"
        )  # fmt: skip
    return keras.layers.Add(name=f"{name}.add")([y, x])


def _convolution(x: Any, width: int, strides: Sizes, kind: _Kind, name: str) -> Any:
    x = layers.convolve(x, width, kind.size, strides, bias=kind.bias, padding="symmetric", name=f"{name}.conv")
    return _adn(x, kind, f"{name}.adn")


def _adn(x: Any, kind: _Kind, name: str) -> Any:
    """Normalises, drops, activates."""
    if kind.norm != "none":
        norm = layers.normalization.layer(kind.norm, epsilon=_EPSILON, name=f"{name}.N", channels=x.shape[-1])
        norm.trainable = kind.affine or kind.norm != "instance"
        x = norm(x)
    if kind.dropout:
        x = keras.layers.Dropout(kind.dropout, name=f"{name}.D")(x)
    if kind.activation != "prelu":
        return layers.activate(x, kind.activation, name=f"{name}.A")
    start = keras.initializers.Constant(0.25)
    return keras.layers.PReLU(shared_axes=list(range(1, len(x.shape))), alpha_initializer=start, name=f"{name}.A")(x)


def _deconvolve(x: Any, width: int, step: Sizes, kind: _Kind, name: str, *, last: bool = False) -> Any:
    """Returns the transposed convolution whose kernels are centred, as PyTorch's are; Keras's `same` is shifted."""
    rank = len(x.shape) - 2
    strides = layers.convolutions.spread(step, rank)
    front = [wide // 2 for wide in kind.up_size]
    behind = [max(wide - one, 0) - wide // 2 for wide, one in zip(kind.up_size, strides)]
    if min(behind) < 0:  # strides wider than the kernels reach: one more row of zeros gives the missing places
        padded = {2: keras.layers.ZeroPadding2D, 3: keras.layers.ZeroPadding3D}[rank]
        x = padded([(0, 1)] * rank, name=f"{name}.pad")(x)
        behind = [more + one for more, one in zip(behind, strides)]
    layer = {2: keras.layers.Conv2DTranspose, 3: keras.layers.Conv3DTranspose}[rank]
    dtype = "float32" if last else None
    x = layer(
        width, kind.up_size, strides=strides, padding="valid", use_bias=kind.bias, kernel_initializer="he_normal",
        name=name, dtype=dtype,
    )(x)  # fmt: skip
    crop = {2: keras.layers.Cropping2D, 3: keras.layers.Cropping3D}[rank]
    return crop(list(zip(front, behind)), name=f"{name}.crop", dtype=dtype)(x)
