"""U-Net, 2-D and 3-D: two convolutions a level, instance normalisation, leaky ReLU.

Source: Ronneberger et al. 2015, https://arxiv.org/abs/1505.04597; the blocks are those of Isensee et al. 2021,
https://doi.org/10.1038/s41592-020-01008-z.
"""

from collections.abc import Sequence

import keras

from radkit.errors import UserError
from radkit.models import layers

TASK = "segmentation"


def build(
    input_shape: tuple[int | None, ...], num_classes: int, filters: Sequence[int] = (32, 64, 128, 256)
) -> keras.Model:
    """Returns a U-Net from image to logits, `(batch, *spatial, num_classes)` float32.

    Args:
        input_shape: Spatial sizes and channels; a size that is given must divide by 2 to the number of poolings.
        num_classes: Channels of the output, background included.
        filters: Channels of each level, finest first; the sizes halve from one to the next.

    Raises:
        UserError: A size does not divide.
    """
    multiple = 2 ** (len(filters) - 1)
    if any(size is not None and size % multiple for size in input_shape[:-1]):
        raise UserError(f"U-Net with {len(filters)} levels needs sizes that {multiple} divides, not {input_shape[:-1]}")
    inputs = x = keras.Input(input_shape, name="image")
    skips = []
    for level, width in enumerate(filters):
        x = layers.convolution_block(x, width, strides=1 if level == 0 else 2)
        x = layers.convolution_block(x, width)
        skips.append(x)
    for width, skip in zip(reversed(filters[:-1]), reversed(skips[:-1])):
        x = keras.layers.Concatenate()([layers.deconvolve(x, width), skip])
        x = layers.convolution_block(x, width)
        x = layers.convolution_block(x, width)
    logits = layers.convolve(x, num_classes, 1, bias=True, dtype="float32")
    return keras.Model(inputs, logits, name="unet")
