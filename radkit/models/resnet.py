"""Residual network, 2-D and 3-D: two basic blocks a level, instance normalisation.

Source: He et al. 2016, https://arxiv.org/abs/1512.03385; normalisation by image instead of by batch, so that small
batches and several replicas give the same statistics.
"""

from collections.abc import Sequence
from typing import Any

import keras

from radkit.errors import UserError
from radkit.models import layers

TASK = "classification"


def build(
    input_shape: tuple[int | None, ...],
    num_classes: int,
    filters: Sequence[int] = (64, 128, 256, 512),
    blocks: Sequence[int] = (2, 2, 2, 2),
    dropout: float = 0.0,
) -> keras.Model:
    """Returns a ResNet from image to logits, `(batch, num_classes)` float32.

    Args:
        input_shape: Spatial sizes and channels.
        num_classes: Number of logits.
        filters: Channels of each level.
        blocks: Residual blocks of each level; (2, 2, 2, 2) is ResNet-18.
        dropout: Share of pooled features dropped in training.

    Raises:
        UserError: Fewer numbers of blocks than levels, or an image so small that one pixel is left of it.
    """
    if len(blocks) < len(filters):
        raise UserError(f"resnet has {len(filters)} levels and the blocks of {len(blocks)}; give as many")
    # Normalised over its one pixel every channel would be 0, whatever the image shows.
    if all(size is not None and size <= 2 ** len(filters) for size in input_shape[:-1]):
        least = 2 ** len(filters) + 1
        raise UserError(f"resnet with {len(filters)} levels needs images of at least {least}, not {input_shape[:-1]}")
    inputs = x = keras.Input(input_shape, name="image")
    x = layers.convolution_block(layers.convolve(x, filters[0], 7, 2), filters[0])
    for level, (width, count) in enumerate(zip(filters, blocks)):
        for block in range(count):
            x = _basic_block(x, width, strides=2 if level > 0 and block == 0 else 1)
    x = layers.global_average_pool(x)
    if dropout:
        x = keras.layers.Dropout(dropout)(x)
    logits = keras.layers.Dense(num_classes, dtype="float32")(x)
    return keras.Model(inputs, logits, name="resnet")


def _basic_block(x: Any, width: int, strides: int) -> Any:
    shortcut = x
    if strides != 1 or x.shape[-1] != width:
        shortcut = layers.InstanceNormalization()(layers.convolve(x, width, 1, strides))
    y = layers.convolution_block(x, width, strides)
    y = layers.InstanceNormalization()(layers.convolve(y, width, 3))
    return keras.layers.ReLU()(keras.layers.Add()([y, shortcut]))
