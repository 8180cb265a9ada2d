"""DenseNet, 2-D and 3-D: each layer sees the maps of all layers before it.

Source: Huang et al. 2017, https://arxiv.org/abs/1608.06993. Names, shapes and order of the weights are those of Keras's
applications, whose files fit.
"""

from collections.abc import Sequence
from typing import Any

import keras

from radkit.errors import UserError
from radkit.models import heads, layers

TASK = "classification"
SMALL = {"blocks": (1, 1, 1, 1), "growth": 4, "filters": 8}
VARIANTS: dict[str, dict[str, Any]] = {
    "densenet121": {"blocks": (6, 12, 24, 16)},
    "densenet169": {"blocks": (6, 12, 32, 32)},
    "densenet201": {"blocks": (6, 12, 48, 32)},
}
EPSILON = {"keras": 1.001e-5, "torch": 1e-5}


def build(
    input_shape: tuple[int | None, ...],
    num_classes: int,
    blocks: Sequence[int] = (6, 12, 24, 16),
    growth: int = 32,
    filters: int = 64,
    bottleneck: int = 4,
    norm: str = "batch",
    layout: str = "keras",
    layer_dropout: float = 0.0,
    head: str = "linear",
    dropout: float = 0.0,
) -> keras.Model:
    """Returns a DenseNet from image to logits, `(batch, num_classes)` float32.

    Args:
        input_shape: Spatial sizes and channels; what is smaller than the strides together is padded.
        num_classes: Number of logits.
        blocks: Layers of each dense block.
        growth: Channels that a layer adds.
        filters: Channels of the first convolution.
        bottleneck: Channels between a layer's two convolutions, in multiples of `growth`.
        norm: As `layers.normalize`.
        layout: `keras` as Keras's applications, `torch` as torchvision and MONAI; they differ by epsilon alone.
        layer_dropout: Share dropped in training of what a layer adds.
        head: As `heads.classify`.
        dropout: Share of pooled features dropped in training.

    Raises:
        UserError: A layout that is none.
    """
    inputs = keras.Input(input_shape, name="image")
    x = layers.PadToMultiple(1, at_least=2 ** (len(blocks) + 1))(inputs)
    x = features(x, blocks, growth, filters, bottleneck, norm, layout, layer_dropout)[-1]
    member = next((name for name, found in VARIANTS.items() if found["blocks"] == tuple(blocks)), "densenet")
    return keras.Model(inputs, heads.classify(x, num_classes, head=head, dropout=dropout), name=member)


def features(
    x: Any,
    blocks: Sequence[int] = (6, 12, 24, 16),
    growth: int = 32,
    filters: int = 64,
    bottleneck: int = 4,
    norm: str = "batch",
    layout: str = "keras",
    layer_dropout: float = 0.0,
) -> list[Any]:
    """Returns the last feature maps of strides 2, 4, 8, ..., finest first, normalised; arguments as `build`."""
    if layout not in EPSILON:
        raise UserError(f"densenet has no layout {layout!r}; there are {', '.join(EPSILON)}")

    def normalize(x: Any, name: str) -> Any:
        if norm == "batch":  # in one layer, whose answers a training step need not hold
            return layers.BatchNormalization(
                momentum=layers.MOMENTUM, epsilon=EPSILON[layout], rectify=True, name=name
            )(x)
        return layers.normalize(x, norm, "relu", name=name)

    x = layers.convolve(x, filters, 7, 2, padding="symmetric", name="conv1_conv")
    maps = [normalize(x, "conv1_bn")]
    x = layers.max_pool(_bordered(maps[0]), 3, 2, padding="valid", name="pool1")
    for level, count in enumerate(blocks, 2):
        for layer in range(1, count + 1):
            name = f"conv{level}_block{layer}"
            y = layers.convolve(normalize(x, f"{name}_0_bn"), bottleneck * growth, 1, name=f"{name}_1_conv")
            y = layers.convolve(normalize(y, f"{name}_1_bn"), growth, 3, name=f"{name}_2_conv")
            if layer_dropout:
                y = keras.layers.Dropout(layer_dropout, name=f"{name}_dropout")(y)
            x = layers.Concatenate(name=f"{name}_concat")([x, y])
        if level < len(blocks) + 1:
            maps.append(normalize(x, f"pool{level}_bn"))
            # The paper's convolution comes first; of one place and a mean the order is all the same, but for the work.
            y = layers.average_pool(maps[-1], 2, padding="valid", name=f"pool{level}_pool")
            x = layers.convolve(y, x.shape[-1] // 2, 1, name=f"pool{level}_conv")
    return [*maps, normalize(x, "bn")]


def _bordered(x: Any) -> Any:
    return {4: keras.layers.ZeroPadding2D, 5: keras.layers.ZeroPadding3D}[len(x.shape)](1)(x)
