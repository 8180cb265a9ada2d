"""nnU-Net's networks, 2-D and 3-D: kernels and strides by level and axis, instance normalisation, leaky ReLU.

Layers bear the names that the weights of MONAI's DynUNet (`dynunet`) or, with a residual encoder, of nnU-Net v2 have.

Sources: Isensee et al. 2021, https://doi.org/10.1038/s41592-020-01008-z; the residual encoder: Isensee et al. 2024,
https://arxiv.org/abs/2404.09556.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras

from radkit.errors import UserError
from radkit.models import layers
from radkit.models.layers import decoding

TASK = "segmentation"
VARIANTS: dict[str, dict[str, Any]] = {
    "nnunet": {},
    "nnunet_residual": {"blocks": "residual_encoder", "decoder_convolutions": 1},
    "dynunet": {"bias": False, "up_bias": False, "decoder_kernels": "below"},
}
SMALL = {"filters": (4, 8, 8)}
BLOCKS = ("plain", "residual", "residual_encoder")

Sizes = int | Sequence[int]

_EPSILON = 1e-5
_REPEATS = (1, 3, 4, 6, 6, 6, 6, 6)  # residual blocks of each level, nnU-Net's preset


def build(
    input_shape: tuple[int | None, ...],
    num_classes: int,
    filters: Sequence[int] = (32, 64, 128, 256, 320, 320),
    kernels: Sequence[Sizes] = (3,),
    strides: Sequence[Sizes] = (1, 2),
    blocks: str = "plain",
    repeats: Sequence[int] = _REPEATS,
    convolutions: int = 2,
    decoder_convolutions: int = 2,
    norm: str = "instance",
    activation: str = "leaky_relu",
    dropout: float = 0.0,
    bias: bool = True,
    up_bias: bool = True,
    decoder_kernels: str = "own",
    deep_supervision: bool = False,
    supervised: int = 0,
) -> keras.Model:
    """Returns a U-Net from image to logits, `(batch, *spatial, num_classes)` float32; or a list of them, finest first.

    Args:
        input_shape: Spatial sizes and channels; sizes that the strides do not divide are padded, the answer cropped.
        num_classes: Channels of the output, background included.
        filters: Channels of each level, finest first.
        kernels: Size of each level's kernels, a number or one an axis, as `((1, 3, 3), 3, 3)`; the last one repeats.
        strides: Of each level against the one above, likewise; the first must be 1.
        blocks: `plain`; `residual`: one residual block a level on the way down, as DynUNet has it; `residual_encoder`:
            nnU-Net v2's, with a stem and `repeats` blocks.
        repeats: Residual blocks of each level of a `residual_encoder`.
        convolutions: Convolutions of each level of a `plain` network on the way down.
        decoder_convolutions: The same on the way up.
        norm: As `layers.normalize`.
        activation: As `layers.activate`.
        dropout: Share of each convolution's features dropped in training.
        bias: Whether convolutions that are normalised add a constant.
        up_bias: Whether transposed convolutions do.
        decoder_kernels: On the way up a level has its `own` kernels, as nnU-Net v2 has it, or those of the level
            `below`, as DynUNet.
        deep_supervision: Whether coarser levels answer too; the output is then a list.
        supervised: How many coarser levels do; 0: all but the coarsest.

    Raises:
        UserError: Settings that do not fit one another.
    """
    rank = len(input_shape) - 1
    if len(filters) < 2:
        raise UserError(f"nnunet needs two levels or more; filters={filters} has {len(filters)}")
    plan = _Plan(
        tuple(filters), _each("kernels", kernels, len(filters), rank), _each("strides", strides, len(filters), rank),
        _Kind(norm, activation, dropout, bias, up_bias),
    )  # fmt: skip
    _check(plan, blocks, repeats, supervised)
    if decoder_kernels not in ("own", "below"):
        raise UserError(f"nnunet's decoder_kernels are 'own' or 'below', not {decoder_kernels!r}")
    inputs = keras.Input(input_shape, name="image")
    x = layers.PadToMultiple(plan.stride(len(filters) - 1), name="pad")(inputs)
    if blocks == "residual_encoder":
        skips = _residual_encoder(x, plan, repeats)
    else:
        skips = _encoder(x, plan, residual=blocks == "residual", convolutions=convolutions)
    below = {"own": 0, "below": 1}[decoder_kernels]
    maps = _decoder(skips, plan, decoder_convolutions, plan.kernels[below:])
    answers = [decoding.logits(maps[0], num_classes, inputs, name="output_block.conv.conv")]
    coarser = maps[1 : 1 + supervised] if supervised else maps[1:]
    for level, x in enumerate(coarser if deep_supervision else [], 1):
        name = f"deep_supervision_heads.{level - 1}.conv.conv"
        answers.append(decoding.logits(x, num_classes, inputs, factor=plan.stride(level), name=name))
    return keras.Model(inputs, answers if deep_supervision else answers[0], name="nnunet")


@dataclass(frozen=True)
class _Kind:
    norm: str
    activation: str
    dropout: float
    bias: bool
    up_bias: bool


@dataclass(frozen=True)
class _Plan:
    filters: tuple[int, ...]
    kernels: tuple[tuple[int, ...], ...]
    strides: tuple[tuple[int, ...], ...]
    kind: _Kind

    def stride(self, level: int) -> tuple[int, ...]:
        """How many times a level is coarser than the image, one number an axis."""
        total = [1] * len(self.strides[0])
        for step in self.strides[: level + 1]:
            total = [one * other for one, other in zip(total, step)]
        return tuple(total)


def _each(what: str, given: Sequence[Sizes], levels: int, rank: int) -> tuple[tuple[int, ...], ...]:
    """Returns one size a level and axis; the last level's given stands for those below."""
    if not 0 < len(given) <= levels:
        raise UserError(f"nnunet has {levels} levels and {what} of {len(given)}: {given}; give 1 to {levels}")
    every = [(size,) * rank if isinstance(size, int) else tuple(size) for size in given]
    for size in every:
        if len(size) != rank:
            raise UserError(f"nnunet's {what} must be numbers or {rank} numbers for {rank} spatial axes, not {size}")
    return tuple(every + [every[-1]] * (levels - len(every)))


def _check(plan: _Plan, blocks: str, repeats: Sequence[int], supervised: int) -> None:
    levels = len(plan.filters)
    if any(step != 1 for step in plan.strides[0]):
        raise UserError(f"nnunet's first stride must be 1: the answer is as fine as the image; found {plan.strides[0]}")
    if any(size % 2 == 0 for sizes in plan.kernels for size in sizes):
        raise UserError(f"nnunet's kernels must be odd, not {plan.kernels}")
    if blocks not in BLOCKS:
        raise UserError(f"nnunet has no blocks={blocks!r}; there are: {', '.join(BLOCKS)}")
    if not 0 <= supervised <= levels - 2:
        raise UserError(
            f"nnunet of {levels} levels has {levels - 2} coarser answers; supervised={supervised} asks more"
        )
    if blocks == "residual_encoder" and len(repeats) < levels:
        raise UserError(f"nnunet has {levels} levels and repeats of {len(repeats)}; give one number a level")


def _encoder(x: Any, plan: _Plan, *, residual: bool, convolutions: int) -> list[Any]:
    maps, last = [], len(plan.filters) - 1
    for level, (width, size, step) in enumerate(zip(plan.filters, plan.kernels, plan.strides)):
        name = "input_block" if level == 0 else "bottleneck" if level == last else f"downsamples.{level - 1}"
        if residual:
            x = _residual(x, width, size, step, plan.kind, name)
        else:
            x = _stack(x, width, size, step, plan.kind, name, convolutions)
        maps.append(x)
    return maps


def _decoder(skips: Sequence[Any], plan: _Plan, convolutions: int, kernels: Sequence[Sizes]) -> list[Any]:
    """Returns each level's features on the way up but the bottom's, finest first."""
    x = skips[-1]
    maps: list[Any] = []
    for index, level in enumerate(range(len(skips) - 2, -1, -1)):
        name, step = f"upsamples.{index}", plan.strides[level + 1]
        up = layers.deconvolve(
            x, plan.filters[level], step, step, bias=plan.kind.up_bias, name=f"{name}.transp_conv.conv"
        )  # fmt: skip
        x = keras.layers.Concatenate(name=f"{name}.concatenate")([up, skips[level]])
        x = _stack(x, plan.filters[level], kernels[level], 1, plan.kind, f"{name}.conv_block", convolutions)
        maps.insert(0, x)
    return maps


def _stack(x: Any, width: int, size: Sizes, step: Sizes, kind: _Kind, name: str, count: int) -> Any:
    for index in range(1, count + 1):
        strides = step if index == 1 else 1
        x = _convolution(x, width, size, strides, kind, f"{name}.conv{index}.conv", f"{name}.norm{index}")
    return x


def _convolution(
    x: Any, width: int, size: Sizes, step: Sizes, kind: _Kind, name: str, norm_name: str, activation: str | None = None
) -> Any:
    x = layers.convolve(x, width, size, step, bias=kind.bias, padding="symmetric", name=name)
    if kind.dropout:
        x = keras.layers.Dropout(kind.dropout, name=f"{name}.dropout")(x)
    activation = kind.activation if activation is None else activation
    return layers.normalize(x, kind.norm, activation, epsilon=_EPSILON, name=norm_name)


def _residual(x: Any, width: int, size: Sizes, step: Sequence[int], kind: _Kind, name: str) -> Any:
    y = _convolution(x, width, size, step, kind, f"{name}.conv1.conv", f"{name}.norm1")
    y = _convolution(y, width, size, 1, kind, f"{name}.conv2.conv", f"{name}.norm2", "linear")
    if x.shape[-1] != width or any(one != 1 for one in step):
        x = _convolution(x, width, 1, step, kind, f"{name}.conv3.conv", f"{name}.norm3", "linear")
    return layers.activate(keras.layers.Add(name=f"{name}.add")([y, x]), kind.activation)


def _residual_encoder(x: Any, plan: _Plan, repeats: Sequence[int]) -> list[Any]:
    x = _convolution(
        x, plan.filters[0], plan.kernels[0], 1, plan.kind, "encoder.stem.convs.0.conv", "encoder.stem.convs.0.norm"
    )
    maps = []
    for level, (width, size, step) in enumerate(zip(plan.filters, plan.kernels, plan.strides)):
        for block in range(repeats[level]):
            name = f"encoder.stages.{level}.blocks.{block}"
            x = _basic_block(x, width, size, step if block == 0 else (1,) * len(step), plan.kind, name)
        maps.append(x)
    return maps


def _basic_block(x: Any, width: int, size: Sizes, step: Sequence[int], kind: _Kind, name: str) -> Any:
    """Returns a residual block whose shortcut is averaged before it is projected."""
    y = _convolution(x, width, size, step, kind, f"{name}.conv1.conv", f"{name}.conv1.norm")
    y = _convolution(y, width, size, 1, kind, f"{name}.conv2.conv", f"{name}.conv2.norm", "linear")
    place = 0
    if any(one != 1 for one in step):
        x, place = layers.average_pool(x, tuple(step), name=f"{name}.skip.0"), 1
    if x.shape[-1] != width:
        x = layers.convolve(x, width, 1, name=f"{name}.skip.{place}.conv")
        x = layers.normalize(x, kind.norm, epsilon=_EPSILON, name=f"{name}.skip.{place}.norm")
    return layers.activate(keras.layers.Add(name=f"{name}.add")([y, x]), kind.activation)
