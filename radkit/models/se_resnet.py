"""ResNets with squeeze and excitation in each block, 2-D and 3-D.

Source: Hu et al. 2018, https://arxiv.org/abs/1709.01507; the ResNet is PyTorch's, the stride of a block in its 3x3
convolution.
"""

from collections.abc import Sequence
from typing import Any

import keras

from radkit.models import heads, resnet

TASK = "classification"
SMALL = {"depth": 18, "filters": (8, 16)}
VARIANTS: dict[str, dict[str, Any]] = {f"se_resnet{depth}": {"depth": depth} for depth in resnet.BLOCKS}


def build(
    input_shape: tuple[int | None, ...],
    num_classes: int,
    depth: int = 50,
    filters: Sequence[int] = (64, 128, 256, 512),
    blocks: Sequence[int] | None = None,
    excite: int = 16,
    norm: str = "batch",
    head: str = "linear",
    dropout: float = 0.0,
) -> keras.Model:
    """Returns an SE-ResNet from image to logits, `(batch, num_classes)` float32.

    Args:
        input_shape: Spatial sizes and channels.
        num_classes: Number of logits.
        depth: 18, 34, 50, 101 or 152.
        filters: Channels of each level; the blocks of depth 50 and more give four times as many.
        blocks: Residual blocks of each level; those of the depth if not given.
        excite: How many channels share one between the two layers of an excitation.
        norm: As `layers.normalize`.
        head: As `heads.classify`.
        dropout: Share of pooled features dropped in training.

    Raises:
        UserError: A depth that is none, or fewer numbers of blocks than levels.
    """
    inputs = keras.Input(input_shape, name="image")
    x = features(inputs, depth, filters, blocks, excite, norm)[-1]
    return keras.Model(inputs, heads.classify(x, num_classes, head=head, dropout=dropout), name=f"se_resnet{depth}")


def features(
    x: Any,
    depth: int = 50,
    filters: Sequence[int] = (64, 128, 256, 512),
    blocks: Sequence[int] | None = None,
    excite: int = 16,
    norm: str = "batch",
    output_stride: int | None = None,
) -> list[Any]:
    """Returns the last feature maps of strides 2, 4, 8, ..., finest first.

    Args:
        x: (batch, *spatial, channels).
        depth: As `build`, and so are the others.
        filters: See `build`.
        blocks: See `build`.
        excite: See `build`.
        norm: See `build`.
        output_stride: As `resnet.features`.
    """
    return resnet.features(
        x, filters, blocks, depth, norm=norm, layout="torch", excite=excite, output_stride=output_stride
    )
