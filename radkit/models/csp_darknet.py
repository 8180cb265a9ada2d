"""CSPDarknet, 2-D and 3-D: the backbone of YOLOX, cross-stage partial blocks from stride 4 on.

Source: Ge et al. 2021, https://arxiv.org/abs/2107.08430; the blocks: Wang et al. 2019,
https://arxiv.org/abs/1911.11929. The first convolution, 6 voxels wide with a stride of 2, is the paper's rearranged
image under one of 3: the same sums, the same number of weights.
"""

from typing import Any

import keras

from radkit.errors import UserError
from radkit.models import heads, layers
from radkit.models.layers import csp

TASK = "classification"
SMALL: dict[str, Any] = {"filters": 4, "depth": 1}
VARIANTS: dict[str, dict[str, Any]] = {
    "csp_darknet_tiny": {"filters": 24, "depth": 1},
    "csp_darknet_s": {"filters": 32, "depth": 1},
    "csp_darknet_m": {"filters": 48, "depth": 2},
    "csp_darknet_l": {"filters": 64, "depth": 3},
    "csp_darknet_x": {"filters": 80, "depth": 4},
}
_LEVELS = ((2, 1), (4, 3), (8, 3), (16, 1))  # by how much the first filters, and the depth, are multiplied


def build(
    input_shape: tuple[int | None, ...],
    num_classes: int,
    filters: int = 64,
    depth: int = 3,
    norm: str = "batch",
    head: str = "linear",
    dropout: float = 0.0,
) -> keras.Model:
    """Returns a CSPDarknet from image to logits, `(batch, num_classes)` float32.

    Args:
        input_shape: Spatial sizes and channels; what is smaller than 32 is padded.
        num_classes: Number of logits.
        filters: Channels of the first convolution; the last level has 16 times as many.
        depth: Blocks of the first and the last level; those between have three times as many.
        norm: As `layers.normalize`.
        head: As `heads.classify`.
        dropout: Share of pooled features dropped in training.
    """
    inputs = keras.Input(input_shape, name="image")
    x = layers.PadToMultiple(1, at_least=32)(inputs)
    x = features(x, filters, depth, norm)[-1]
    return keras.Model(inputs, heads.classify(x, num_classes, head=head, dropout=dropout), name="csp_darknet")


def features(x: Any, filters: int = 64, depth: int = 3, norm: str = "batch") -> list[Any]:
    """Returns the last feature maps of strides 2, 4, 8, 16 and 32, finest first; arguments as `build`.

    Raises:
        UserError: Fewer than 1 filters or blocks.
    """
    if filters < 1 or depth < 1:
        raise UserError(f"csp_darknet with filters={filters}, depth={depth}: both at least 1 were expected")
    style: Any = {"norm": norm, "activation": "silu"}
    maps = [csp.convolved(x, filters, 6, 2, **style, name="stem")]
    for level, (width, times) in enumerate(_LEVELS, 2):
        is_last = level == len(_LEVELS) + 1
        x = csp.convolved(maps[-1], filters * width, 3, 2, **style, name=f"dark{level}")
        if is_last:
            x = csp.pooled_pyramid(x, filters * width, **style, name=f"dark{level}_pool")
        maps.append(
            csp.csp_block(x, filters * width, depth * times, shortcut=not is_last, **style, name=f"dark{level}_csp")
        )
    return maps
