"""SSD, 2-D and 3-D: boxes found on a backbone's own maps and on ever coarser ones, each by heads of its own.

Source: Liu et al. 2016, https://arxiv.org/abs/1512.02325. The paper's networks are `ssd300` and `ssd512`, for images of
so many pixels a side, without its two wide convolutions behind VGG's last; `ssd` is the same on a residual backbone,
its anchors by the maps' strides.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from radkit.errors import UserError
from radkit.models import box_heads
from radkit.models.layers import pyramids

TASK = "detection"
LOSS = "ssd"
FEW, MORE = (1.0, 2.0, 0.5), (1.0, 2.0, 0.5, 3.0, 1.0 / 3.0)
VARIANTS: dict[str, dict[str, Any]] = {
    "ssd": {},
    "ssd300": {
        "encoder": "vgg16",
        "levels": (3, 4),
        "extra_levels": 4,
        "sizes": (30.0, 60.0, 111.0, 162.0, 213.0, 264.0, 315.0),
        "ratios": (FEW, MORE, MORE, MORE, FEW, FEW),
    },
    "ssd512": {
        "encoder": "vgg16",
        "levels": (3, 4),
        "extra_levels": 5,
        "sizes": (35.84, 76.8, 153.6, 230.4, 307.2, 384.0, 460.8, 537.6),
        "ratios": (FEW, MORE, MORE, MORE, MORE, FEW, FEW),
    },
}
SMALL: dict[str, Any] = {
    "encoder": "resnet",
    "encoder_settings": {"filters": (4, 6, 8), "blocks": (1, 1, 1)},
    "levels": (1, 2),
    "extra_levels": 1,
    "filters": 8,
    "sizes": (4.0, 8.0, 16.0, 32.0),
}
SCALES = (0.1, 0.2)
"""What the offsets are divided by, as the loss has it."""
Ratios = Sequence[float] | Sequence[Sequence[float]]


def build(
    input_shape: tuple[int | None, ...],
    num_classes: int,
    encoder: str = "resnet50",
    encoder_settings: Mapping[str, Any] | None = None,
    levels: Sequence[int] = (),
    extra_levels: int | None = None,
    filters: int = 512,
    norm: str = "none",
    sizes: Sequence[float] = (),
    ratios: Ratios = MORE,
    anchors: Sequence[Sequence[Sequence[float]]] = (),
) -> keras.Model:
    """Returns an SSD from image to the dict of `radkit.models.box_heads`; its logits have background first.

    Args:
        input_shape: Spatial sizes and channels; sizes that strides do not divide are padded behind.
        num_classes: Classes of boxes; background is none of them.
        encoder: A backbone, as `encoders.features` knows it.
        encoder_settings: Its own settings.
        levels: Of the backbone's maps, which are used: n has stride 2 to the n. Empty: 3, 4, 5 in 2-D, 2, 3, 4, 5 in
            3-D.
        extra_levels: Coarser ones made of the last; None: 2 in 2-D, none in 3-D.
        filters: Channels of the extra levels.
        norm: Of the extra levels, as `layers.normalize` knows it.
        sizes: Edge of an anchor's cube in pixels, one a level; with one more, a level's larger cube lies between its
            size and the next. Empty: 4 strides, the next being twice as large.
        ratios: Of the anchors' rows' side to their columns', for all levels or a list a level.
        anchors: Instead of both: the sides of each level's anchors in pixels, as `boxes.fitting` finds them.

    Raises:
        UserError: Levels that the backbone does not have, or another number of sizes or ratios than of levels.
    """
    inputs, maps, strides = box_heads.pyramid(
        input_shape, encoder, encoder_settings, levels, extra_levels, filters, norm, pyramids.separate_maps
    )
    shapes = anchors_of(strides, sizes, ratios, anchors)
    logits, deltas = own_heads(maps, shapes, 1 + num_classes)
    scores = Foreground(name="scores")(logits)
    answer = box_heads.one_stage(maps, shapes, strides, logits, deltas, scales=SCALES, scores=scores)
    return keras.Model(inputs, answer, name="ssd")


def anchors_of(
    strides: Sequence[Sequence[int]],
    sizes: Sequence[float],
    ratios: Ratios,
    given: Sequence[Sequence[Sequence[float]]] = (),
) -> list[list[tuple[float, ...]]]:
    """Returns the sides of each level's anchors: those given, or one a ratio and a cube half way to the next size.

    Half way is the geometric mean. Arguments as `build`.

    Raises:
        UserError: Another number of sizes or ratios than of levels.
    """
    if given:
        return box_heads.anchor_shapes(strides, (), (), 1, given)
    edges = list(sizes) or [4.0 * max(level) for level in strides]
    last = edges.pop() if len(edges) == len(strides) + 1 else 2 * edges[-1]
    of_levels: list[Any] = list(ratios) if isinstance(ratios[0], Sequence) else [ratios] * len(strides)
    if not len(of_levels) == len(edges) == len(strides):
        raise UserError(
            f"{len(edges)} sizes and {len(of_levels)} lists of ratios for {len(strides)} levels; one of each a level "
            "was expected"
        )
    rank, found = len(strides[0]), []
    for edge, larger, some in zip(edges, [*edges[1:], last], of_levels):
        found += box_heads.anchor_shapes(strides[:1], (edge,), some, 1)
        found[-1].append(((edge * larger) ** 0.5,) * rank)
    return found


def own_heads(
    maps: Sequence[Any], shapes: Sequence[Sequence[Any]], channels: int, prior: float = 0.5
) -> tuple[Any, Any]:
    """Returns logits and offsets of all places, (batch, places, ...): one convolution of each level's own for each.

    Args:
        maps: Of any widths.
        shapes: Of each level's anchors.
        channels: Logits a place.
        prior: What their sigmoid begins with.
    """
    edges = 2 * (len(maps[0].shape) - 2)
    logits, deltas = [], []
    for level, (x, of_level) in enumerate(zip(maps, shapes)):
        count = len(of_level)
        logits.append(box_heads.predict(x, count * channels, prior=prior, name=f"class_logits{level}"))
        deltas.append(box_heads.predict(x, count * edges, name=f"box_deltas{level}"))
    return box_heads.listed(logits, channels, "logits"), box_heads.listed(deltas, edges, "deltas")


@keras.saving.register_keras_serializable("radkit")
class Foreground(keras.layers.Layer):
    """Scores of logits whose first channel is background: the softmax without that channel, float32.

    Input shape: `(batch, places, 1 + classes)`; output shape: `(batch, places, classes)`.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})

    def call(self, inputs: Any) -> Any:
        """Returns the scores."""
        return ops.softmax(inputs, axis=-1)[..., 1:]

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Returns the output's shape."""
        return (*input_shape[:-1], int(input_shape[-1] or 1) - 1)
