"""YOLOX, 2-D and 3-D: no anchors; each place tells whether there is anything, of which class, and its box.

Its dict is that of `radkit.models.box_heads` and `quality`, (batch, places): logits of there being anything. `anchors`
are the places, one stride a side, and `deltas` the offsets from them; `scores` are class times `quality`.

Source: Ge et al. 2021, https://arxiv.org/abs/2107.08430; the pyramid's second way: Liu et al. 2018,
https://arxiv.org/abs/1803.01534.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from radkit.errors import UserError
from radkit.models import box_heads, fcos, layers
from radkit.models.layers import csp

TASK = "detection"
LOSS = "yolox"
LOSS_SETTINGS: dict[str, Any] = {"radius": 1.5, "l1_weight": 1.0}
"""For small lesions: places nearer to the middle than the paper's 2.5, and its L1 loss from the first step on."""
SMALL: dict[str, Any] = {
    "encoder": "resnet",
    "encoder_settings": {"filters": (4, 6, 8), "blocks": (1, 1, 1)},
    "levels": (1, 2),
    "filters": 8,
    "blocks": 1,
    "depth": 1,
}
VARIANTS: dict[str, dict[str, Any]] = {
    "yolox_tiny": {"encoder": "csp_darknet_tiny", "filters": 96, "blocks": 1},
    "yolox_s": {"encoder": "csp_darknet_s", "filters": 128, "blocks": 1},
    "yolox_m": {"encoder": "csp_darknet_m", "filters": 192, "blocks": 2},
    "yolox_l": {"encoder": "csp_darknet_l", "filters": 256, "blocks": 3},
    "yolox_x": {"encoder": "csp_darknet_x", "filters": 320, "blocks": 4},
}


def build(
    input_shape: tuple[int | None, ...],
    num_classes: int,
    encoder: str = "csp_darknet_s",
    encoder_settings: Mapping[str, Any] | None = None,
    levels: Sequence[int] = (),
    filters: int = 128,
    blocks: int = 1,
    depth: int = 2,
    norm: str = "batch",
) -> keras.Model:
    """Returns a YOLOX from image to the dict of the module's docstring.

    Args:
        input_shape: Spatial sizes and channels; sizes that strides do not divide are padded behind.
        num_classes: Classes of boxes; background is none of them.
        encoder: A backbone, as `encoders.features` knows it.
        encoder_settings: Its own settings.
        levels: Of the backbone's maps, which are used: n has stride 2 to the n. Empty: 3, 4, 5 in 2-D as the paper, 2,
            3, 4, 5 in 3-D.
        filters: Channels of the heads; maps of the pyramid have the backbone's, the finest at most so many, the next
            at most twice as many, and so on.
        blocks: Depth of each of the pyramid's blocks.
        depth: Convolutions of each head before its last.
        norm: Of pyramid and heads, as `layers.normalize` knows it.

    Raises:
        UserError: Levels that the backbone does not have, or fewer than two.
    """
    box_heads.at_least(0, depth=depth, blocks=blocks)
    rank = len(input_shape) - 1
    join = functools.partial(path_aggregation, blocks=blocks)
    inputs, maps, strides = box_heads.pyramid(
        input_shape, encoder, encoder_settings, levels, 0, filters, norm, join=join
    )
    answers = [_head(x, num_classes, filters, depth, norm, f"head{level}") for level, x in enumerate(maps)]
    logits, deltas, quality = zip(*answers)
    logits = box_heads.listed(logits, num_classes, "logits")
    deltas = box_heads.listed(deltas, 2 * rank, "deltas")
    quality = fcos.each_place(quality)
    outputs = box_heads.one_stage(
        maps, [[tuple(map(float, step))] for step in strides], strides, logits, deltas,
        scores=fcos.joint(logits, quality),
    )  # fmt: skip
    return keras.Model(inputs, {**outputs, "quality": quality}, name="yolox")


def path_aggregation(
    maps: Sequence[Any], filters: int, *, extra: int = 0, norm: str = "batch", blocks: int = 1
) -> list[Any]:
    """Returns as many maps, finest first: from coarse to fine and back, joined by cross-stage partial blocks.

    Args:
        maps: (batch, *spatial, channels), finest first.
        filters: The most channels of the finest; of each next one twice as many.
        extra: Coarser maps; there are none.
        norm: As `layers.normalize` knows it.
        blocks: Depth of each block.

    Raises:
        UserError: Fewer than two maps, or coarser ones wanted.
    """
    if len(maps) < 2 or extra:
        raise UserError(f"a yolox of {len(maps)} maps and {extra} extra ones; two or more, and no extra, are expected")
    style: Any = {"norm": norm, "activation": "silu"}
    widths = [min(x.shape[-1], filters * 2**level) for level, x in enumerate(maps)]
    x, narrow = maps[-1], []
    for level in range(len(maps) - 2, -1, -1):
        narrow.append(csp.convolved(x, widths[level], 1, **style, name=f"down{level}_narrow"))
        x = keras.layers.Concatenate()([layers.Resize(method="nearest")([narrow[-1], maps[level]]), maps[level]])
        x = csp.csp_block(x, widths[level], blocks, shortcut=False, **style, name=f"down{level}_csp")
    found = [x]
    for level, finer in enumerate(reversed(narrow), 1):
        strides = tuple(1 if a is not None and a == b else 2 for a, b in zip(x.shape[1:-1], finer.shape[1:-1]))
        x = csp.convolved(x, widths[level - 1], 3, strides, **style, name=f"up{level}_halve")
        x = keras.layers.Concatenate()([layers.Resize(method="nearest")([x, finer]), finer])
        x = csp.csp_block(x, widths[level], blocks, shortcut=False, **style, name=f"up{level}_csp")
        found.append(x)
    return found


def _head(x: Any, num_classes: int, filters: int, depth: int, norm: str, name: str) -> tuple[Any, Any, Any]:
    """Returns maps of logits, offsets and whether there is anything; each level has weights of its own."""
    rank = len(x.shape) - 2
    style: Any = {"norm": norm, "activation": "silu"}
    x = csp.convolved(x, filters, 1, **style, name=f"{name}_stem")
    of_class, of_box = x, x
    for number in range(depth):
        of_class = csp.convolved(of_class, filters, 3, **style, name=f"{name}_class{number}")
        of_box = csp.convolved(of_box, filters, 3, **style, name=f"{name}_box{number}")
    return (
        box_heads.predict(of_class, num_classes, prior=0.01, size=1, name=f"{name}_class_logits"),
        box_heads.predict(of_box, 2 * rank, size=1, name=f"{name}_box_deltas"),
        box_heads.predict(of_box, 1, prior=0.01, size=1, name=f"{name}_quality_logits"),
    )
