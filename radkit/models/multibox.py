"""MultiBox, 2-D and 3-D: each box is one place's, the one that fits it best and is surest; no place is background.

Sources: Erhan et al. 2014, https://arxiv.org/abs/1312.2249; on grids of priors as here: Szegedy et al. 2014,
https://arxiv.org/abs/1412.1441. It is SSD's maps and heads with a confidence of its own a class instead of one
distribution, and a loss that gives each box to one prior. The papers' network has one class, that there is something:
`num_classes=1`, and another network names it. Their priors are clusters of the data's boxes: `boxes.fitting` finds
them, `anchors` takes them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from radkit.models import box_heads, ssd
from radkit.models.layers import pyramids

TASK = "detection"
LOSS = "multibox"
SMALL: dict[str, Any] = ssd.SMALL


def build(
    input_shape: tuple[int | None, ...],
    num_classes: int,
    encoder: str = "inception_v3",
    encoder_settings: Mapping[str, Any] | None = None,
    levels: Sequence[int] = (),
    extra_levels: int | None = None,
    filters: int = 256,
    norm: str = "none",
    sizes: Sequence[float] = (),
    ratios: ssd.Ratios = ssd.MORE,
    anchors: Sequence[Sequence[Sequence[float]]] = (),
) -> keras.Model:
    """Returns a MultiBox network from image to the dict of `radkit.models.box_heads`.

    Args:
        input_shape: As `ssd.build` has it, and so all below.
        num_classes: Classes of boxes; 1 as the paper: whether there is something.
        encoder: See there.
        encoder_settings: See there.
        levels: See there.
        extra_levels: See there.
        filters: See there.
        norm: See there.
        sizes: See there.
        ratios: See there.
        anchors: See there; the papers' priors.

    Raises:
        UserError: Levels that the backbone does not have, or another number of sizes or ratios than of levels.
    """
    inputs, maps, strides = box_heads.pyramid(
        input_shape, encoder, encoder_settings, levels, extra_levels, filters, norm, pyramids.separate_maps
    )
    shapes = ssd.anchors_of(strides, sizes, ratios, anchors)
    logits, deltas = ssd.own_heads(maps, shapes, num_classes, prior=0.01)
    return keras.Model(inputs, box_heads.one_stage(maps, shapes, strides, logits, deltas), name="multibox")
