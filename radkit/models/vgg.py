"""VGG, 2-D and 3-D: 3x3 convolutions and pooling, and two wide layers behind them.

Source: Simonyan and Zisserman 2015, https://arxiv.org/abs/1409.1556. Names, shapes and order of the weights are those
of Keras's applications, whose files fit. Their image is 224 x 224, of which 7 x 7 is left; of other sizes, means over
7 x 7 cells are taken (2 x 2 x 2 in 3-D).
"""

from collections.abc import Sequence
from typing import Any

import keras

from radkit.errors import UserError
from radkit.models import heads, layers

TASK = "classification"
SMALL = {"filters": (4, 4, 8, 8, 8), "wide": 16}
BLOCKS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
VARIANTS: dict[str, dict[str, Any]] = {f"vgg{depth}": {"depth": depth} for depth in BLOCKS}


def build(
    input_shape: tuple[int | None, ...],
    num_classes: int,
    depth: int = 16,
    filters: Sequence[int] = (64, 128, 256, 512, 512),
    wide: int = 4096,
    cells: int | Sequence[int] | None = None,
    norm: str = "none",
    head: str = "linear",
    dropout: float = 0.0,
) -> keras.Model:
    """Returns a VGG from image to logits, `(batch, num_classes)` float32.

    Args:
        input_shape: Spatial sizes and channels; what is smaller than 32 is padded.
        num_classes: Number of logits.
        depth: 11, 13, 16 or 19.
        filters: Channels of each block of convolutions; five for all of VGG.
        wide: Units of each of the two layers before the last; 0: none, and means over the whole image.
        cells: To how many cells an axis the maps are averaged before; 7 in 2-D and 2 in 3-D if not given.
        norm: Normalisation after each convolution, as `layers.normalize`; the paper has none.
        head: As `heads.classify`.
        dropout: Share of units dropped in training after each of the wide layers; the paper's is 0.5.

    Raises:
        UserError: A depth that is none, or more levels than VGG has.
    """
    rank = len(input_shape) - 1
    inputs = keras.Input(input_shape, name="image")
    x = layers.PadToMultiple(1, at_least=2 ** len(filters))(inputs)
    x = features(x, depth, filters, norm)[-1]
    if wide:
        x = layers.AdaptiveAveragePooling({2: 7, 3: 2}[rank] if cells is None else cells, name="cells")(x)
        x = keras.layers.Flatten(name="flatten")(x)
        for name in ("fc1", "fc2"):
            x = keras.layers.Dense(wide, kernel_initializer="he_normal", name=name)(x)
            x = layers.activate(x, "relu")
            if dropout and name == "fc1":  # the head drops what comes behind the second
                x = keras.layers.Dropout(dropout)(x)
    return keras.Model(inputs, heads.classify(x, num_classes, head=head, dropout=dropout), name=f"vgg{depth}")


def features(
    x: Any, depth: int = 16, filters: Sequence[int] = (64, 128, 256, 512, 512), norm: str = "none"
) -> list[Any]:
    """Returns the last feature maps of strides 2, 4, 8, 16 and 32, finest first; arguments as `build`.

    The map of stride 1 is not among them; the last is the last block's, pooled.
    """
    if depth not in BLOCKS:
        raise UserError(f"vgg has no depth {depth}; there are {', '.join(map(str, BLOCKS))}")
    if len(filters) > len(BLOCKS[depth]):
        raise UserError(f"vgg has {len(BLOCKS[depth])} blocks and was given {len(filters)} filters; give as many")
    maps = []
    for block, (width, count) in enumerate(zip(filters, BLOCKS[depth]), 1):
        for layer in range(1, count + 1):
            name = f"block{block}_conv{layer}"
            x = layers.convolve(x, width, 3, bias=True, name=name)
            x = layers.normalize(x, norm, "relu", name=None if norm == "none" else f"{name}_norm")
        maps.append(x)
        x = layers.max_pool(x, 2, padding="valid", name=f"block{block}_pool")
    return [*maps[1:], x]
