"""FCOS, 2-D and 3-D: no anchors; each place of a feature pyramid tells how far the edges of its box are.

Its dict is that of `radkit.models.box_heads` and `quality`, (batch, places): logits of centerness, how near to the
middle of its box a place is. `anchors` are the places, one stride a side; `deltas` are distances of the low, then the
high edges from a place's middle, in strides; `scores` the root of class times centerness.

Source: Tian et al. 2019, https://arxiv.org/abs/1904.01355; centerness beside the boxes and distances in strides as in
its second version, Tian et al. 2020, https://arxiv.org/abs/2006.09214.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from radkit.boxes import coder
from radkit.models import box_heads

TASK = "detection"
LOSS = "fcos"
SMALL: dict[str, Any] = {
    "encoder": "resnet",
    "encoder_settings": {"filters": (4, 6, 8), "blocks": (1, 1, 1)},
    "levels": (1, 2),
    "extra_levels": 1,
    "filters": 8,
    "depth": 1,
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
    norm: str = "group",
) -> keras.Model:
    """Returns an FCOS from image to the dict of the module's docstring.

    Args:
        input_shape: Spatial sizes and channels; sizes that strides do not divide are padded behind.
        num_classes: Classes of boxes; background is none of them.
        encoder: A backbone, as `encoders.features` knows it.
        encoder_settings: Its own settings.
        levels: Of the backbone's maps, which are used: n has stride 2 to the n. Empty: 3, 4, 5 in 2-D as the paper, 2,
            3, 4, 5 in 3-D. Boxes of up to 8 strides are learned on the first.
        extra_levels: Coarser ones made of the last; None: 2 in 2-D as the paper, none in 3-D.
        filters: Channels of the pyramid and the heads.
        depth: Convolutions of each head before its last.
        norm: Of the heads, as `layers.normalize` knows it.

    Raises:
        UserError: Levels that the backbone does not have.
    """
    inputs, maps, strides = box_heads.pyramid(
        input_shape, encoder, encoder_settings, levels, extra_levels, filters, "none"
    )
    rank = len(input_shape) - 1

    def scored(x: Any) -> Any:
        x = box_heads.tower(x, filters, depth, norm=norm)
        return box_heads.predict(x, num_classes, prior=0.01, name="class_logits")

    def moved(x: Any) -> list[Any]:
        x = box_heads.tower(x, filters, depth, norm=norm)
        return [
            box_heads.predict(x, 2 * rank, name="box_distances"),
            box_heads.predict(x, 1, name="centerness_logits"),
        ]

    answers = box_heads.shared(moved, maps, "box_head")
    distances = [Distances(name=f"distances{level}")(x) for level, (x, _) in enumerate(answers)]
    logits = box_heads.listed(box_heads.shared(scored, maps, "class_head"), num_classes, "logits")
    deltas = box_heads.listed(distances, 2 * rank, "deltas")
    quality = each_place([x for _, x in answers])
    outputs = box_heads.one_stage(
        maps, [[tuple(map(float, step))] for step in strides], strides, logits, deltas,
        coder="distances", scores=joint(logits, quality, 0.5),
    )  # fmt: skip
    return keras.Model(inputs, {**outputs, "quality": quality}, name="fcos")


def each_place(maps: Sequence[Any]) -> Any:
    """Returns maps of one channel as one list, (batch, places) float32."""
    return keras.layers.Reshape((-1,), dtype="float32", name="quality")(box_heads.listed(maps, 1, "quality_listed"))


def joint(logits: Any, quality: Any, exponent: float = 1.0) -> Any:
    """Returns how sure a detector is of a class and of the place, (batch, places, classes), 0 to 1.

    Args:
        logits: (batch, places, classes) float32.
        quality: (batch, places) float32, logits.
        exponent: Of the two's product.
    """
    # As logarithms: the slope of a root of 0 has no end.
    return ops.exp(exponent * (ops.log_sigmoid(logits) + ops.expand_dims(ops.log_sigmoid(quality), -1)))


@keras.saving.register_keras_serializable("radkit")
class Distances(keras.layers.Layer):
    """Distances in strides, above 0, of what a head that all levels share answers: exp(scale x), a level's own scale.

    Input shape: `(batch, *spatial, channels)`; the output's is the same, float32.

    Source: Tian et al. 2019, https://arxiv.org/abs/1904.01355, section 3.1.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Makes the scale."""
        self.scale = self.add_weight(shape=(), initializer="ones", name="scale")

    def call(self, inputs: Any) -> Any:
        """Returns the distances."""
        return ops.exp(ops.minimum(inputs * self.scale, coder.LARGEST))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Returns the output's shape."""
        return input_shape
