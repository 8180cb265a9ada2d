"""RetinaNet, 2-D and 3-D: anchors on a feature pyramid, scored and moved by two heads that all levels share.

Source: Lin et al. 2017, https://arxiv.org/abs/1708.02002. In 3-D with finer levels for lesions of few voxels, as
Jaeger et al. 2020, https://arxiv.org/abs/1811.08661.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from radkit.models import box_heads

TASK = "detection"
LOSS = "retinanet"
SMALL: dict[str, Any] = {
    "encoder": "resnet",
    "encoder_settings": {"filters": (4, 6, 8), "blocks": (1, 1, 1)},
    "levels": (1, 2),
    "extra_levels": 1,
    "filters": 8,
    "depth": 1,
    "sizes": (4.0, 8.0, 16.0),
}


def build(
    input_shape: tuple[int | None, ...],
    num_classes: int,
    encoder: str = "resnet50",
    encoder_settings: Mapping[str, Any] | None = None,
    levels: Sequence[int] = (),
    extra_levels: int | None = None,
    filters: int = 256,
    depth: int = 4,
    norm: str = "none",
    sizes: Sequence[float] = (),
    ratios: Sequence[float] = (0.5, 1.0, 2.0),
    octaves: int = 3,
    anchors: Sequence[Sequence[Sequence[float]]] = (),
) -> keras.Model:
    """Returns a RetinaNet from image to the dict of `radkit.models.box_heads`.

    Args:
        input_shape: Spatial sizes and channels; sizes that strides do not divide are padded behind.
        num_classes: Classes of boxes; background is none of them.
        encoder: A backbone, as `encoders.features` knows it.
        encoder_settings: Its own settings.
        levels: Of the backbone's maps, which are used: n has stride 2 to the n. Empty: 3, 4, 5 in 2-D as the paper, 2,
            3, 4, 5 in 3-D.
        extra_levels: Coarser ones made of the last; None: 2 in 2-D as the paper, none in 3-D.
        filters: Channels of the pyramid and the heads.
        depth: Convolutions of each head before its last.
        norm: Of pyramid and heads, as `layers.normalize` knows it.
        sizes: Edge of an anchor's cube in pixels, one a level; empty: 4 strides, as the paper.
        ratios: Of the anchors' rows' side to their columns'.
        octaves: Sizes between one level and the next.
        anchors: Instead of these three: the sides of each level's anchors in pixels, as `boxes.fitting` finds them.

    Raises:
        UserError: Levels that the backbone does not have, another number of sizes than of levels, or of anchors on
            one level than on the others.
    """
    inputs, maps, strides = box_heads.pyramid(
        input_shape, encoder, encoder_settings, levels, extra_levels, filters, norm
    )
    shapes = box_heads.anchor_shapes(strides, sizes, ratios, octaves, anchors)
    logits, deltas = box_heads.shared_heads(maps, shapes, num_classes, filters, depth, norm)
    return keras.Model(inputs, box_heads.one_stage(maps, shapes, strides, logits, deltas), name="retinanet")
