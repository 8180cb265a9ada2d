"""Faster R-CNN, 2-D and 3-D: one network proposes regions on a pyramid, a second head tells what each of them is.

Source: Ren et al. 2015, https://arxiv.org/abs/1506.01497; on a pyramid: Lin et al. 2017,
https://arxiv.org/abs/1612.03144; grids cut out as He et al. 2017, https://arxiv.org/abs/1703.06870. The offsets of the
second stage are the same for all classes.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import keras

from radkit.models import box_heads, proposals

TASK = "detection"
LOSS = "faster_rcnn"
SMALL: dict[str, Any] = {
    "encoder": "resnet",
    "encoder_settings": {"filters": (4, 6, 8), "blocks": (1, 1, 1)},
    "levels": (1, 2),
    "extra_levels": 1,
    "filters": 8,
    "sizes": (4.0, 8.0, 16.0),
    "before": 64,
    "most": 32,
    "size": 3,
    "hidden": (16,),
}


class Stages(NamedTuple):
    """A network before it is closed.

    Attributes:
        inputs: The image.
        answer: The dict of `radkit.models.proposals`.
        maps: Of the pyramid, those that boxes are cut out of.
        strides: Of these.
    """

    inputs: Any
    answer: dict[str, Any]
    maps: list[Any]
    strides: list[tuple[int, ...]]


def build(
    input_shape: tuple[int | None, ...],
    num_classes: int,
    encoder: str = "resnet50",
    encoder_settings: Mapping[str, Any] | None = None,
    levels: Sequence[int] = (2, 3, 4, 5),
    extra_levels: int | None = None,
    filters: int = 256,
    norm: str = "none",
    sizes: Sequence[float] = (),
    ratios: Sequence[float] = (0.5, 1.0, 2.0),
    octaves: int = 1,
    anchors: Sequence[Sequence[Sequence[float]]] = (),
    before: int = 1000,
    most: int = 300,
    iou_threshold: float = 0.7,
    size: int = 0,
    hidden: Sequence[int] = (1024, 1024),
) -> keras.Model:
    """Returns a Faster R-CNN from image to the dict of `radkit.models.proposals`.

    Args:
        input_shape: Spatial sizes and channels; sizes that strides do not divide are padded behind.
        num_classes: Classes of boxes; background is none of them.
        encoder: A backbone, as `encoders.features` knows it.
        encoder_settings: Its own settings.
        levels: Of the backbone's maps, which are used: n has stride 2 to the n.
        extra_levels: Coarser ones made of the last, on which regions are proposed but not cut out; None: 1 in 2-D as
            the paper of the pyramid, none in 3-D.
        filters: Channels of the pyramid and of the first stage.
        norm: Of both, as `layers.normalize` knows it.
        sizes: Edge of an anchor's cube in pixels, one a level; empty: 8 strides in 2-D as there, 4 in 3-D.
        ratios: Of the anchors' rows' side to their columns'.
        octaves: Sizes between one level and the next.
        anchors: Instead of these three: the sides of each level's anchors in pixels, as `boxes.fitting` finds them.
        before: Boxes of each level that may become proposals.
        most: Proposals.
        iou_threshold: A proposal that overlaps a surer one by more than this is left out.
        size: Of the grid that is cut out, along each axis; 0: 7 in 2-D, and 4 in 3-D, where 7 would be 90 million
            weights.
        hidden: Widths of the second stage's layers.

    Raises:
        UserError: Levels that the backbone does not have, another number of sizes than of levels, or of anchors on
            one level than on the others.

    Source: Ren et al. 2015, https://arxiv.org/abs/1506.01497.
    """
    found = stages(
        input_shape, num_classes, encoder, encoder_settings, levels, extra_levels, filters, norm, sizes, ratios,
        octaves, anchors, before, most, iou_threshold, size, hidden,
    )  # fmt: skip
    return keras.Model(found.inputs, found.answer, name="faster_rcnn")


def stages(
    input_shape: tuple[int | None, ...],
    num_classes: int,
    encoder: str,
    encoder_settings: Mapping[str, Any] | None,
    levels: Sequence[int],
    extra_levels: int | None,
    filters: int,
    norm: str,
    sizes: Sequence[float],
    ratios: Sequence[float],
    octaves: int,
    anchors: Sequence[Sequence[Sequence[float]]],
    before: int,
    most: int,
    iou_threshold: float,
    size: int,
    hidden: Sequence[int],
) -> Stages:
    """Returns both stages; arguments as `build`."""
    rank = len(input_shape) - 1
    extra = extra_levels if extra_levels is not None else (1 if rank == 2 else 0)
    inputs, maps, strides = box_heads.pyramid(input_shape, encoder, encoder_settings, levels, extra, filters, norm)
    if rank == 2 and not sizes and not anchors:
        sizes = [8.0 * max(level) for level in strides]
    shapes = box_heads.anchor_shapes(strides, sizes, ratios, octaves, anchors)
    answer, regions = proposals.first_stage(
        inputs, maps, shapes, strides, filters=filters, norm=norm, before=before, most=most, iou_threshold=iou_threshold
    )
    maps, strides = maps[: len(maps) - extra], strides[: len(strides) - extra]
    grids = proposals.CutOut(strides, proposals.grid(size, rank, 7, 4), name="grids")([regions, *maps])
    answer |= proposals.second_stage(proposals.connected(grids, hidden), regions, num_classes)
    return Stages(inputs, answer, maps, strides)
