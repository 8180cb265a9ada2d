"""Residual networks, 2-D and 3-D: ResNet-18 to -152 in two versions, and a light one for small images.

Version 1: He et al. 2016, https://arxiv.org/abs/1512.03385. Version 2, normalisation before the convolutions: He et al.
2016, https://arxiv.org/abs/1603.05027. The light one, which `resnet` without a depth is, has no pooling after the stem
and is normalised by image instead of by batch, so that small batches and several replicas give the same statistics.

Names, shapes and order of the weights of ResNet-50 to -152 are those of Keras's applications, whose files fit.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from radkit.errors import UserError, did_you_mean
from radkit.models import heads, layers

TASK = "classification"
SMALL = {"filters": (4, 8)}
BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
VARIANTS: dict[str, dict[str, Any]] = {
    **{f"resnet{depth}": {"depth": depth} for depth in BLOCKS},
    **{f"resnet{depth}_v2": {"depth": depth, "version": 2} for depth in BLOCKS},
}
LAYOUTS = ("keras", "torch")
SHORTCUTS = ("convolution", "pad")


@dataclasses.dataclass(frozen=True)
class Style:
    """What all blocks of one network have in common.

    Attributes:
        bottleneck: Three convolutions a block, 1-3-1, the last four times as wide; else two.
        norm: Normalisation, as `layers.normalize`.
        epsilon: Added to the variance of batch normalisation.
        torch: Stride in the 3x3 convolution and no constants before a normalisation; else as Keras's applications.
        shortcut: `convolution`, or `pad`: every second voxel, new channels 0.
        shortcut_bias: Whether the shortcut's convolution adds a constant.
        excite: How many channels share one in the squeeze-and-excitation of each block; 0: none.
    """

    bottleneck: bool
    norm: str
    epsilon: float | None
    torch: bool
    shortcut: str
    shortcut_bias: bool
    excite: int

    @property
    def bias(self) -> bool:
        """Whether the convolutions of a block add a constant."""
        return self.bottleneck and not self.torch

    def width(self, filters: int) -> int:
        """Returns the channels that a block gives."""
        return 4 * filters if self.bottleneck else filters

    def normalize(self, x: Any, activation: str, name: str) -> Any:
        """Applies normalisation and activation."""
        return layers.normalize(x, self.norm, activation, epsilon=self.epsilon, name=name)


def build(
    input_shape: tuple[int | None, ...],
    num_classes: int,
    filters: Sequence[int] = (64, 128, 256, 512),
    blocks: Sequence[int] | None = None,
    depth: int | None = None,
    version: int = 1,
    norm: str | None = None,
    layout: str = "keras",
    stem_size: int | Sequence[int] = 7,
    stem_strides: int | Sequence[int] = 2,
    stem_pool: bool = True,
    shortcut: str = "convolution",
    shortcut_bias: bool | None = None,
    head: str = "linear",
    dropout: float = 0.0,
) -> keras.Model:
    """Returns a ResNet from image to logits, `(batch, num_classes)` float32.

    Args:
        input_shape: Spatial sizes and channels.
        num_classes: Number of logits.
        filters: Channels of each level; the blocks of depth 50 and more give four times as many.
        blocks: Residual blocks of each level; those of the depth if not given.
        depth: 18, 34, 50, 101 or 152; the light network if not given.
        version: 1 or 2.
        norm: `batch`, `instance`, `group` or `none`; batch with a depth and instance without if not given.
        layout: `keras`: as Keras's applications. `torch`: as torchvision and MONAI, the stride of a block in its 3x3
            convolution and no constants before a normalisation. Depths 18 and 34 differ by epsilon alone.
        stem_size: Of the first convolution, one number or one an axis.
        stem_strides: Likewise.
        stem_pool: Whether the first convolution is followed by max pooling.
        shortcut: `convolution`, or `pad` (the paper's option A): every second voxel, new channels 0.
        shortcut_bias: Whether the shortcut's convolution adds a constant; as the layout has it if not given.
        head: As `heads.classify`.
        dropout: Share of pooled features dropped in training.

    Raises:
        UserError: A setting that is none, fewer numbers of blocks than levels, or an image so small that one pixel is
            left of it where each image is normalised by itself.
    """
    norm = norm or ("instance" if depth is None else "batch")
    _check_size(input_shape[:-1], len(filters) + (depth is not None and stem_pool), norm)
    inputs = keras.Input(input_shape, name="image")
    x = features(
        inputs, filters, blocks, depth, version, norm, layout, stem_size, stem_strides, stem_pool, shortcut,
        shortcut_bias,
    )[-1]  # fmt: skip
    name = "resnet" if depth is None else f"resnet{depth}" + ("_v2" if version == 2 else "")
    return keras.Model(inputs, heads.classify(x, num_classes, head=head, dropout=dropout), name=name)


def features(
    x: Any,
    filters: Sequence[int] = (64, 128, 256, 512),
    blocks: Sequence[int] | None = None,
    depth: int | None = None,
    version: int = 1,
    norm: str | None = None,
    layout: str = "keras",
    stem_size: int | Sequence[int] = 7,
    stem_strides: int | Sequence[int] = 2,
    stem_pool: bool = True,
    shortcut: str = "convolution",
    shortcut_bias: bool | None = None,
    excite: int = 0,
    output_stride: int | None = None,
) -> list[Any]:
    """Returns the last feature maps of strides 2, 4, 8, ..., finest first; a stem that does not stride has none.

    Args:
        x: (batch, *spatial, channels).
        filters: As `build`, and so are the others.
        blocks: See `build`.
        depth: See `build`.
        version: See `build`.
        norm: See `build`.
        layout: See `build`.
        stem_size: See `build`.
        stem_strides: See `build`.
        stem_pool: See `build`.
        shortcut: See `build`.
        shortcut_bias: See `build`.
        excite: How many channels share one in the squeeze-and-excitation of each block; 0: none.
        output_stride: Of the coarsest map, as 16: levels that would go beyond are dilated instead of strided, with the
            same weights. Not limited if not given.
    """
    blocks = _blocks(depth, blocks, len(filters))
    if depth is None:
        return _light_features(x, filters, blocks, norm or "instance", _steps(len(filters), 2, output_stride))
    _check_choices(version=(version, (1, 2)), layout=(layout, LAYOUTS), shortcut=(shortcut, SHORTCUTS))
    torch, norm = layout == "torch", norm or "batch"
    bottleneck = depth >= 50
    epsilon = (1e-5 if torch else 1.001e-5) if norm == "batch" else None
    with_bias = (bottleneck and not torch) if shortcut_bias is None else shortcut_bias
    style = Style(bottleneck, norm, epsilon, torch, shortcut, with_bias, excite)
    x = layers.convolve(x, filters[0], stem_size, stem_strides, bias=style.bias, padding="symmetric", name="conv1_conv")
    if version == 1:
        x = style.normalize(x, "relu", "conv1_bn")
    strided = stem_strides if isinstance(stem_strides, int) else max(stem_strides)
    maps = [x] if stem_pool and strided > 1 else []
    if stem_pool:
        x = layers.max_pool(_bordered(x), 3, 2, padding="valid", name="pool1_pool")
    entry = strided * (2 if stem_pool else 1)
    steps = _steps(len(filters), entry, output_stride)
    return maps + (_levels if version == 1 else _levels_v2)(x, filters, blocks, steps, style)


@dataclasses.dataclass(frozen=True)
class Step:
    """How a block goes on: its stride, and the kernels' dilation up to the convolution that strides and behind it."""

    strides: int = 1
    before: int = 1
    behind: int = 1

    @property
    def enters(self) -> bool:
        """Whether a level begins that is coarser, or would be if it strode."""
        return self.strides > 1 or self.before != self.behind

    @property
    def rest(self) -> "Step":
        """How the level's other blocks go on."""
        return Step(1, self.behind, self.behind)


def _steps(levels: int, entry: int, output_stride: int | None) -> list[Step]:
    """Returns how each level's entry strides until the output stride is reached; then it dilates what is behind it.

    So a dilated level computes what the strided one does, at the voxels between as well.
    """
    if output_stride is not None and output_stride < entry:
        raise UserError(f"output_stride of resnet must be at least {entry}, the stem's, not {output_stride}")
    steps, stride, dilation = [Step()], entry, 1
    for _ in range(levels - 1):
        if output_stride is None or 2 * stride <= output_stride:
            stride *= 2
            steps.append(Step(2, dilation, dilation))
        else:
            steps.append(Step(1, dilation, 2 * dilation))
            dilation *= 2
    return steps


def _blocks(depth: int | None, blocks: Sequence[int] | None, levels: int) -> Sequence[int]:
    if depth is not None and depth not in BLOCKS:
        raise UserError(f"resnet has no depth {depth}; there are {', '.join(map(str, BLOCKS))}")
    blocks = BLOCKS[depth or 18] if blocks is None else blocks
    if len(blocks) < levels:
        raise UserError(f"resnet has {levels} levels and the blocks of {len(blocks)}; give as many")
    return blocks


def _check_choices(**choices: tuple[Any, Sequence[Any]]) -> None:
    for setting, (value, known) in choices.items():
        if value not in known:
            near = did_you_mean(value, list(known)) if isinstance(value, str) else ""
            raise UserError(f"resnet has no {setting} {value!r}{near}; there are {', '.join(map(str, known))}")


def _check_size(sizes: Sequence[int | None], halvings: int, norm: str) -> None:
    # Normalised over its one pixel every channel would be 0, whatever the image shows.
    if norm == "instance" and all(size is not None and size <= 2**halvings for size in sizes):
        least = 2**halvings + 1
        raise UserError(f"resnet that halves {halvings} times needs images of at least {least}, not {tuple(sizes)}")


def _bordered(x: Any) -> Any:
    """Zeros around the image: what version 2 pools is not positive, so that they count."""
    layer = {4: keras.layers.ZeroPadding2D, 5: keras.layers.ZeroPadding3D}[len(x.shape)]
    return layer(1, name="pool1_pad")(x)


def _levels(x: Any, filters: Sequence[int], blocks: Sequence[int], steps: Sequence[Step], style: Style) -> list[Any]:
    maps: list[Any] = []
    for level, (width, count, step) in enumerate(zip(filters, blocks, steps)):
        for block in range(count):
            x = _block(x, width, step.rest if block else step, f"conv{level + 2}_block{block + 1}", style)
        maps[-1 if level and step.strides == 1 else len(maps) :] = [x]
    return maps


def _block(x: Any, filters: int, step: Step, name: str, style: Style) -> Any:
    shortcut = _shortcut(x, style.width(filters), step, name, style)
    x = (_three if style.bottleneck else _two)(x, filters, step, name, style)
    if style.excite:
        x = layers.squeeze_and_excite(x, max(1, x.shape[-1] // style.excite), name=f"{name}_")
    x = keras.layers.Add(name=f"{name}_add")([shortcut, x])
    return layers.activate(x, "relu", name=f"{name}_out")


def _shortcut(x: Any, width: int, step: Step, name: str, style: Style) -> Any:
    if not step.enters and x.shape[-1] == width:
        return x
    if style.shortcut == "pad":
        x = layers.average_pool(x, 1, step.strides, padding="valid")
        return ops.pad(x, [[0, 0]] * (len(x.shape) - 1) + [[0, width - x.shape[-1]]])
    x = layers.convolve(x, width, 1, step.strides, bias=style.shortcut_bias, padding="symmetric", name=f"{name}_0_conv")
    return style.normalize(x, "linear", f"{name}_0_bn")


def _two(x: Any, filters: int, step: Step, name: str, style: Style) -> Any:
    x = _wide(x, filters, step.strides, step.before, f"{name}_1_conv")
    x = style.normalize(x, "relu", f"{name}_1_bn")
    x = _wide(x, filters, 1, step.behind, f"{name}_2_conv")
    return style.normalize(x, "linear", f"{name}_2_bn")


def _three(x: Any, filters: int, step: Step, name: str, style: Style) -> Any:
    first, second, dilation = (1, step.strides, step.before) if style.torch else (step.strides, 1, step.behind)
    bias = style.bias
    x = layers.convolve(x, filters, 1, first, bias=bias, padding="symmetric", name=f"{name}_1_conv")
    x = style.normalize(x, "relu", f"{name}_1_bn")
    x = _wide(x, filters, second, dilation, f"{name}_2_conv", bias=bias)
    x = style.normalize(x, "relu", f"{name}_2_bn")
    x = layers.convolve(x, 4 * filters, 1, bias=bias, name=f"{name}_3_conv")
    return style.normalize(x, "linear", f"{name}_3_bn")


def _wide(x: Any, filters: int, strides: int, dilation: int, name: str, bias: bool = False) -> Any:
    """Keras and TensorFlow have strides or dilation, not both: a dilated level does not stride."""
    return layers.convolve(x, filters, 3, strides, bias=bias, dilation=dilation, padding="symmetric", name=name)


def _levels_v2(x: Any, filters: Sequence[int], blocks: Sequence[int], steps: Sequence[Step], style: Style) -> list[Any]:
    """The last block of a level strides, as in Keras's applications; what enters it, normalised, is the level's map."""
    maps, onward = [], [*steps[1:], steps[-1].rest]
    for level, (width, count) in enumerate(zip(filters, blocks)):
        for block in range(count):
            step = onward[level] if block == count - 1 else steps[level].rest
            x, entry = _block_v2(x, width, step, f"conv{level + 2}_block{block + 1}", not block, style)
            if step.strides == 2:
                maps.append(entry)
    return [*maps, style.normalize(x, "relu", "post_bn")]


def _block_v2(x: Any, filters: int, step: Step, name: str, first: bool, style: Style) -> tuple[Any, Any]:
    entry, width, shortcut = style.normalize(x, "relu", f"{name}_preact_bn"), style.width(filters), x
    if first and (style.bottleneck or x.shape[-1] != width):
        bias = style.shortcut_bias
        shortcut = layers.convolve(entry, width, 1, step.strides, bias=bias, padding="symmetric", name=f"{name}_0_conv")
    elif step.strides > 1:
        shortcut = layers.max_pool(x, 1, step.strides, padding="valid")
    if style.bottleneck:
        y = style.normalize(layers.convolve(entry, filters, 1, name=f"{name}_1_conv"), "relu", f"{name}_1_bn")
        y = style.normalize(_wide(y, filters, step.strides, step.before, f"{name}_2_conv"), "relu", f"{name}_2_bn")
        y = layers.convolve(y, width, 1, bias=style.bias, name=f"{name}_3_conv")
    else:
        y = style.normalize(_wide(entry, filters, step.strides, step.before, f"{name}_1_conv"), "relu", f"{name}_1_bn")
        y = _wide(y, filters, 1, step.behind, f"{name}_2_conv")
    return keras.layers.Add(name=f"{name}_out")([shortcut, y]), entry


def _light_features(
    x: Any, filters: Sequence[int], blocks: Sequence[int], norm: str, steps: Sequence[Step]
) -> list[Any]:
    x = layers.convolution_block(layers.convolve(x, filters[0], 7, 2), filters[0], norm=norm)
    maps: list[Any] = []
    for level, (width, count, step) in enumerate(zip(filters, blocks, steps)):
        for block in range(count):
            x = _light_block(x, width, step.rest if block else step, norm)
        maps[-1 if level and step.strides == 1 else len(maps) :] = [x]
    return maps


def _light_block(x: Any, width: int, step: Step, norm: str) -> Any:
    shortcut = x
    if step.enters or x.shape[-1] != width:
        shortcut = layers.normalize(layers.convolve(x, width, 1, step.strides), norm)
    y = layers.normalize(layers.convolve(x, width, 3, step.strides, dilation=step.before), norm, "leaky_relu")
    y = layers.normalize(layers.convolve(y, width, 3, dilation=step.behind), norm)
    return layers.activate(keras.layers.Add()([y, shortcut]), "relu")
