"""Retina U-Net, 2-D and 3-D: RetinaNet whose pyramid goes up to the image's own grid and learns a segmentation there.

Source: Jaeger et al. 2020, https://arxiv.org/abs/1811.08661. The pyramid is a U-Net's decoder: its coarser maps find
boxes, its finest one tells each voxel's class, which teaches all below it where a lesion ends. Without masks they are
drawn of the boxes (`radkit.losses.two_stage.retina_unet`). Widths are those of the authors' code.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from radkit.models import box_heads, layers
from radkit.models.layers import pyramids

TASK = "detection"
LOSS = "retina_unet"
SMALL: dict[str, Any] = {
    "encoder": "resnet",
    "encoder_settings": {"filters": (4, 6, 8), "blocks": (1, 1, 1)},
    "levels": (1, 2, 3),
    "filters": 8,
    "stem": 4,
    "head_filters": 8,
    "depth": 1,
    "sizes": (4.0, 8.0, 16.0),
}


def build(
    input_shape: tuple[int | None, ...],
    num_classes: int,
    encoder: str = "resnet50",
    encoder_settings: Mapping[str, Any] | None = None,
    levels: Sequence[int] = (2, 3, 4, 5),
    extra_levels: int = 0,
    filters: int | None = None,
    stem: int | None = None,
    head_filters: int | None = None,
    depth: int = 4,
    norm: str = "none",
    sizes: Sequence[float] = (),
    ratios: Sequence[float] = (0.5, 1.0, 2.0),
    octaves: int = 3,
    anchors: Sequence[Sequence[Sequence[float]]] = (),
) -> keras.Model:
    """Returns a Retina U-Net from image to the dict of `radkit.models.box_heads` and its `segmentation`.

    `segmentation`, (batch, *spatial, 1 + num_classes) float32, are logits on the image's grid; background comes first.

    Args:
        input_shape: Spatial sizes and channels; sizes that strides do not divide are padded behind.
        num_classes: Classes of boxes; background is none of them.
        encoder: A backbone, as `encoders.features` knows it.
        encoder_settings: Its own settings.
        levels: Of the backbone's maps, which find boxes: n has stride 2 to the n. Finer ones only serve segmentation.
        extra_levels: Coarser ones made of the last.
        filters: Channels of the pyramid; None: 192 in 2-D, 36 in 3-D.
        stem: Channels of the two convolutions of the image itself, which join the pyramid at stride 1; None: 48 in
            2-D, 18 in 3-D.
        head_filters: Channels of the heads; None: 256 in 2-D, 64 in 3-D.
        depth: Convolutions of each head before its last.
        norm: Of pyramid and heads, as `layers.normalize` knows it.
        sizes: Edge of an anchor's cube in pixels, one a level that finds boxes; empty: 4 strides.
        ratios: Of the anchors' rows' side to their columns'.
        octaves: Sizes between one level and the next.
        anchors: Instead of these three: the sides of each level's anchors in pixels, as `boxes.fitting` finds them.

    Raises:
        UserError: Levels that the backbone does not have, another number of sizes than of levels, or of anchors on
            one level than on the others.
    """
    flat = len(input_shape) == 3
    found = box_heads.backbone(input_shape, encoder, encoder_settings, levels)
    first, last = found.levels[0], found.levels[-1]
    image = box_heads.tower(
        found.padded, stem or (48 if flat else 18), 2, norm="none" if norm == "none" else norm, name="stem"
    )
    joined = pyramids.feature_pyramid(
        [image, *found.maps[:last]], filters or (192 if flat else 36), extra=extra_levels, norm=norm
    )
    strides = found.strides[first - 1 : last]
    strides = strides + box_heads.further(strides[-1], extra_levels)
    maps = joined[first:]
    shapes = box_heads.anchor_shapes(strides, sizes, ratios, octaves, anchors)
    logits, deltas = box_heads.shared_heads(
        maps, shapes, num_classes, head_filters or (256 if flat else 64), depth, norm
    )
    answer = box_heads.one_stage(maps, shapes, strides, logits, deltas)
    answer["segmentation"] = _segmentation(joined[0], found.inputs, 1 + num_classes)
    return keras.Model(found.inputs, answer, name="retina_unet")


def _segmentation(x: Any, image: Any, channels: int) -> Any:
    """Returns logits of the finest map on the image's grid, float32."""
    x = layers.convolve(
        x, channels, 1, bias=True, initializer="glorot_uniform", name="segmentation_logits", dtype="float32"
    )
    return layers.CropLike(side="after", dtype="float32", name="segmentation")([x, image])
