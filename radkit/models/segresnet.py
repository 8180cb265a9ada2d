"""SegResNet, 2-D and 3-D: residual blocks that normalise first, by groups of channels, and a light decoder.

Layers bear the names that MONAI's weights have, so that `radkit.models.weights.monai` finds each by its own name;
with the same weights the outputs are the same.

Source: Myronenko 2018, https://arxiv.org/abs/1810.11654, without its autoencoder.
"""

from collections.abc import Sequence
from typing import Any

import keras

from radkit.errors import UserError
from radkit.models import layers
from radkit.models.layers import decoding

TASK = "segmentation"
SMALL = {"filters": 4, "groups": 4, "blocks_down": (1, 1), "blocks_up": (1,)}
UPSAMPLING = ("linear", "deconvolution")

_EPSILON = 1e-5  # PyTorch's, for every normalisation


def build(
    input_shape: tuple[int | None, ...],
    num_classes: int,
    filters: int = 8,
    blocks_down: Sequence[int] = (1, 2, 2, 4),
    blocks_up: Sequence[int] = (1, 1, 1),
    norm: str = "group",
    groups: int = 8,
    activation: str = "relu",
    dropout: float = 0.0,
    upsampling: str = "linear",
) -> keras.Model:
    """Returns a segmenter from image to logits, `(batch, *spatial, num_classes)` float32.

    Args:
        input_shape: Spatial sizes and channels; sizes that the strides do not divide are padded, the answer cropped.
        num_classes: Channels of the output, background included.
        filters: Channels of the finest level; each level has twice those of the one above.
        blocks_down: Residual blocks of each level on the way down, finest first.
        blocks_up: The same on the way up, coarsest first; one level fewer.
        norm: As `layers.normalize`.
        groups: Into how many groups of channels `norm="group"` deals them.
        activation: As `layers.activate`.
        dropout: Share of the first convolution's channels dropped in training.
        upsampling: `linear`, or `deconvolution`, which learns it.

    Raises:
        UserError: Settings that do not fit one another.
    """
    if len(blocks_up) != len(blocks_down) - 1:
        raise UserError(
            f"segresnet goes up one level fewer than it has: blocks_down={blocks_down} has {len(blocks_down)}, "
            f"blocks_up={blocks_up} {len(blocks_up)}"
        )
    if upsampling not in UPSAMPLING:
        raise UserError(f"segresnet has no upsampling={upsampling!r}; there are: {', '.join(UPSAMPLING)}")
    if norm == "group" and filters % groups:
        raise UserError(f"segresnet's groups must divide its filters; {groups} do not divide {filters}")
    kind = (norm, groups, activation)
    inputs = keras.Input(input_shape, name="image")
    x = layers.PadToMultiple(2 ** len(blocks_up), name="pad")(inputs)
    x = layers.convolve(x, filters, 3, name="convInit.conv")
    if dropout:
        channels = {4: keras.layers.SpatialDropout2D, 5: keras.layers.SpatialDropout3D}[len(x.shape)]
        x = channels(dropout, name="dropout")(x)
    skips = _down(x, blocks_down, kind)
    x = _up(skips, blocks_up, upsampling, kind)
    x = _normalize(x, kind, "conv_final.0")
    return keras.Model(inputs, decoding.logits(x, num_classes, inputs, name="conv_final.2.conv"), name="segresnet")


def _down(x: Any, blocks: Sequence[int], kind: tuple[str, int, str]) -> list[Any]:
    maps: list[Any] = []
    for level, count in enumerate(blocks):
        name = f"down_layers.{level}"
        if level:
            x = layers.convolve(x, 2 * x.shape[-1], 3, 2, padding="symmetric", name=f"{name}.0.conv")
        for block in range(1, count + 1):
            x = _block(x, kind, f"{name}.{block}")
        maps.append(x)
    return maps


def _up(skips: Sequence[Any], blocks: Sequence[int], upsampling: str, kind: tuple[str, int, str]) -> Any:
    x = skips[-1]
    for index, (count, skip) in enumerate(zip(blocks, reversed(skips[:-1]))):
        name = f"up_samples.{index}"
        x = layers.convolve(x, skip.shape[-1], 1, name=f"{name}.0.conv")
        if upsampling == "linear":
            x = layers.Resize(2, name=f"{name}.1")(x)
        else:
            x = layers.deconvolve(x, skip.shape[-1], bias=True, name=f"{name}.1.deconv")
        x = keras.layers.Add(name=f"{name}.add")([x, skip])
        for block in range(count):
            x = _block(x, kind, f"up_layers.{index}.{block}")
    return x


def _block(x: Any, kind: tuple[str, int, str], name: str) -> Any:
    """Returns the input plus what two convolutions, each after its normalisation, make of it."""
    y = x
    for index in (1, 2):
        y = _normalize(y, kind, f"{name}.norm{index}")
        y = layers.convolve(y, x.shape[-1], 3, name=f"{name}.conv{index}.conv")
    return keras.layers.Add(name=f"{name}.add")([y, x])


def _normalize(x: Any, kind: tuple[str, int, str], name: str) -> Any:
    norm, groups, activation = kind
    if norm != "group":
        return layers.normalize(x, norm, activation, epsilon=_EPSILON, name=name)
    slope = layers.blocks.negative_slope(activation)
    if slope is None:
        return layers.activate(layers.GroupNormalization(groups, epsilon=_EPSILON, name=name)(x), activation)
    return layers.GroupNormalization(groups, negative_slope=slope, epsilon=_EPSILON, name=name)(x)
