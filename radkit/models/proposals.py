"""Two stages: regions that may hold something, cut out of the maps, then each told what it is and where it ends.

A detector of two stages answers, beside `logits` (batch, proposals, 1 + num_classes; background first), `deltas`,
`boxes` and `scores` of its proposals, which are its `anchors`, those of its first stage: `rpn_anchors`, `rpn_levels`,
`rpn_logits` (batch, places, 1), `rpn_deltas` and `rpn_boxes`, in the order of `boxes.anchors.Anchors`. Where there are
fewer proposals than asked for the rest holds nothing: edges of 0, scores of 0. The second stage answers for every
proposal; which of them teach it is the loss's to choose.
"""

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from radkit.boxes import anchors, assigning, geometry, roi_align, suppression
from radkit.errors import UserError
from radkit.models import box_heads

SCALES = (0.1, 0.2)
"""What the second stage's offsets are divided by, as its loss has it."""


@keras.saving.register_keras_serializable("radkit")
class Proposals(keras.layers.Layer):
    """The boxes that most likely hold something: the best of each level, cut at the image's borders, then suppressed.

    Call arguments:
        inputs: `[boxes, logits, image, *maps]`: (batch, places, 2 * rank), (batch, places, 1), the image before it was
            padded, and the pyramid's maps, from which each level's places are counted.

    Output: `(batch, most, 2 * rank)` float32, surest first; 0s behind the last. Nothing is learned through them.

    Args:
        counts: Anchors at a place, one number a level.
        before: Boxes of each level that are looked at.
        most: Boxes that are kept.
        iou_threshold: A box that overlaps a surer one by more than this is left out.

    Source: Ren et al. 2015, https://arxiv.org/abs/1506.01497, section 3.3.
    """

    def __init__(
        self, counts: Sequence[int], before: int = 1000, most: int = 300, iou_threshold: float = 0.7, **kwargs: Any
    ) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
        if min(before, most) < 1 or not 0 <= iou_threshold <= 1:
            raise UserError(
                f"proposals: {most} of {before} a level with iou_threshold {iou_threshold}: numbers of at least 1 and "
                "a threshold from 0 to 1 were expected"
            )
        self.counts, self.before = [int(count) for count in counts], int(before)
        self.most, self.iou_threshold = int(most), float(iou_threshold)

    def call(self, inputs: Sequence[Any]) -> Any:
        """Returns the proposals."""
        boxes, logits, image, *maps = inputs
        boxes, logits = ops.stop_gradient(boxes), ops.stop_gradient(logits[..., 0])
        of_levels, sure, start = [], [], 0
        for x, count in zip(maps, self.counts):
            end = start + _product(ops.shape(x)[1:-1]) * count
            best, index = ops.top_k(logits[:, start:end], assigning.fewer(self.before, end - start))
            chosen = ops.cast(index, "int32")[..., None]
            of_levels.append(ops.take_along_axis(boxes[:, start:end], chosen, axis=1))
            sure.append(best)
            start = end
        boxes = geometry.clip(ops.concatenate(of_levels, axis=1), ops.shape(image)[1:-1])
        index, there = suppression.nms(
            boxes,
            ops.concatenate(sure, axis=1),
            iou_threshold=self.iou_threshold,
            score_threshold=-float("inf"),
            most=self.most,
        )
        kept = ops.take_along_axis(boxes, index[..., None], axis=1)
        return ops.where(there[..., None], kept, 0.0)

    def compute_output_shape(self, input_shape: Sequence[tuple[int | None, ...]]) -> tuple[int | None, ...]:
        """Returns the output's shape."""
        boxes = input_shape[0]
        return (boxes[0], self.most, boxes[-1])

    def get_config(self) -> dict[str, Any]:
        """Returns what rebuilds the layer."""
        return {
            **super().get_config(), "counts": self.counts, "before": self.before, "most": self.most,
            "iou_threshold": self.iou_threshold,
        }  # fmt: skip


@keras.saving.register_keras_serializable("radkit")
class CutOut(keras.layers.Layer):
    """What maps show within boxes, on a grid of one size: RoIAlign, each box of the map that suits its size.

    That is the coarsest map on which a box still has 14 places a side; small lesions are always cut out of the finest.

    Call arguments:
        inputs: `[boxes, *maps]`: (batch, n, 2 * rank) float32 and one map a level, finest first.

    Output: `(batch, n, *size, channels)` of the maps' dtype.

    Args:
        strides: Of the maps, one number an axis each.
        size: Of the grid, one number an axis.
        enlarged: What boxes' sides are multiplied by first, so that some of what is around them is seen.

    Source: He et al. 2017, https://arxiv.org/abs/1703.06870, section 3; the map: Lin et al. 2017,
    https://arxiv.org/abs/1612.03144, equation 1.
    """

    def __init__(
        self, strides: Sequence[Sequence[int]], size: Sequence[int], enlarged: float = 1.0, **kwargs: Any
    ) -> None:
        # Boxes stay float32 under mixed precision: nothing is cast on its way in.
        super().__init__(**{"autocast": False, **kwargs})
        if not all(0 < one < math.inf for one in (*size, enlarged)):
            raise UserError(f"a grid of {tuple(size)} in boxes {enlarged} times as large; above 0 was expected")
        self.strides = [tuple(int(step) for step in level) for level in strides]
        self.size, self.enlarged = tuple(int(side) for side in size), float(enlarged)

    def call(self, inputs: Sequence[Any]) -> Any:
        """Returns the grids."""
        boxes, *maps = inputs
        boxes = ops.stop_gradient(ops.cast(boxes, "float32"))
        if self.enlarged != 1.0:
            boxes = geometry.around(geometry.centres(boxes), geometry.sides(boxes) * self.enlarged)
        return roi_align.roi_align(maps, boxes, None, self.strides, size=self.size)

    def compute_output_spec(self, inputs: Sequence[Any]) -> Any:
        """Returns the output's shape and dtype."""
        boxes, first = inputs[:2]
        return keras.KerasTensor((*boxes.shape[:2], *self.size, first.shape[-1]), dtype=first.dtype)

    def get_config(self) -> dict[str, Any]:
        """Returns what rebuilds the layer."""
        return {**super().get_config(), "strides": self.strides, "size": self.size, "enlarged": self.enlarged}


@keras.saving.register_keras_serializable("radkit")
class Classes(keras.layers.Layer):
    """How sure each class is, of `[logits, proposals]`: (batch, n, 1 + classes) to (batch, n, classes), 0 to 1.

    It is the softmax without its first channel, background; 0 where a proposal holds nothing.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})

    def call(self, inputs: Sequence[Any]) -> Any:
        """Returns the scores."""
        logits, proposals = inputs
        is_there = ops.cast(geometry.volume(proposals) > 0.0, "float32")
        return ops.softmax(logits, axis=-1)[..., 1:] * is_there[..., None]

    def compute_output_shape(self, input_shape: Sequence[tuple[int | None, ...]]) -> tuple[int | None, ...]:
        """Returns the output's shape."""
        *places, channels = input_shape[0]
        return (*places, channels - 1)  # type: ignore[operator]


def first_stage(
    image: Any,
    maps: Sequence[Any],
    shapes: Sequence[Sequence[tuple[float, ...]]],
    strides: Sequence[Sequence[int]],
    *,
    filters: int,
    norm: str,
    before: int,
    most: int,
    iou_threshold: float,
) -> tuple[dict[str, Any], Any]:
    """Returns what a region proposal network says of all places, and its proposals, (batch, most, 2 * rank).

    Args:
        image: Before it was padded.
        maps: The pyramid's, finest first.
        shapes: Of each level's anchors.
        strides: Of each level.
        filters: Channels of the convolution that stands before both answers.
        norm: Behind it, as `layers.normalize` knows it.
        before: As `Proposals` has it.
        most: Likewise.
        iou_threshold: Likewise.

    Raises:
        UserError: Levels of different numbers of anchors.

    Source: Ren et al. 2015, https://arxiv.org/abs/1506.01497, section 3.1.
    """
    counts, rank = [len(level) for level in shapes], len(strides[0])
    if len(set(counts)) != 1:
        raise UserError(f"a head that levels share needs as many anchors a place on each; they have {counts}")

    def told(x: Any) -> list[Any]:
        x = box_heads.tower(x, filters, 1, norm=norm, name="rpn")
        logits = box_heads.predict(x, counts[0], size=1, name="rpn_logits")
        return [logits, box_heads.predict(x, counts[0] * 2 * rank, size=1, name="rpn_deltas")]

    logits, deltas = zip(*box_heads.shared(told, maps, "rpn_head"))
    placed = anchors.Anchors(shapes, strides, name="rpn_anchors")(list(maps))
    answer = {
        "rpn_anchors": placed,
        "rpn_levels": anchors.Levels(counts, name="rpn_levels")(list(maps)),
        "rpn_logits": box_heads.listed(logits, 1, "rpn_logits"),
        "rpn_deltas": box_heads.listed(deltas, 2 * rank, "rpn_deltas"),
    }
    answer["rpn_boxes"] = box_heads.Decoded(name="rpn_boxes")([answer["rpn_deltas"], placed])
    layer = Proposals(counts, before, most, iou_threshold, name="proposals")
    return answer, layer([answer["rpn_boxes"], answer["rpn_logits"], image, *maps])


def second_stage(x: Any, proposals: Any, num_classes: int) -> dict[str, Any]:
    """Returns `anchors`, `logits`, `deltas`, `boxes` and `scores` of proposals.

    Args:
        x: (batch, n, features) of each.
        proposals: (batch, n, 2 * rank) float32.
        num_classes: Background is none of them.
    """
    logits = _told(1 + num_classes, 0.01, "logits")(x)
    deltas = _told(proposals.shape[-1], 0.001, "deltas")(x)
    boxes = box_heads.Decoded("offsets", SCALES, name="boxes")([deltas, proposals])
    scores = Classes(name="scores")([logits, proposals])
    return {"anchors": proposals, "logits": logits, "deltas": deltas, "boxes": boxes, "scores": scores}


def connected(grids: Any, hidden: Sequence[int]) -> Any:
    """Returns features of each box, (batch, n, hidden[-1]): its grid's values, all connected to all.

    Args:
        grids: (batch, n, *size, channels), as `CutOut` gives them.
        hidden: Widths of the layers; empty: the values themselves.
    """
    x = keras.layers.Reshape((-1, _product(grids.shape[2:])))(grids)
    for number, width in enumerate(hidden, 1):
        x = keras.layers.Dense(width, activation="relu", kernel_initializer="he_normal", name=f"box_fc{number}")(x)
    return x


@keras.saving.register_keras_serializable("radkit")
class PerBox(keras.layers.Layer):
    """What layers made of boxes as if they were images, told by images again.

    Input shape: `[(batch * n, *features), (batch, n, ...)]`; output shape: `(batch, n, *features)`. What stands behind
    the boxes, as `NeverNone` puts it there, is left out.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"autocast": False, **kwargs})

    def call(self, inputs: Sequence[Any]) -> Any:
        """Returns the first, its boxes dealt to images as in the second."""
        x, like = inputs
        batch, number = ops.shape(like)[:2]
        return ops.reshape(x[: batch * number], (batch, number, *x.shape[1:]))

    def compute_output_spec(self, inputs: Sequence[Any]) -> Any:
        """Returns the output's shape and dtype."""
        x, like = inputs
        return keras.KerasTensor((*like.shape[:2], *x.shape[1:]), dtype=x.dtype)


@keras.saving.register_keras_serializable("radkit")
class NeverNone(keras.layers.Layer):
    """One blank image where there is none: TensorFlow's convolutions refuse an empty batch on processors.

    Input shape: `(batch, *sizes, channels)`; output shape the same, with a batch of 1 in place of 0.
    """

    def call(self, inputs: Any) -> Any:
        """Returns the images, or a blank one."""
        count = ops.shape(inputs)[0]
        blank = max(1 - count, 0) if isinstance(count, int) else ops.maximum(1 - count, 0)
        return ops.concatenate([inputs, ops.zeros((blank, *inputs.shape[1:]), inputs.dtype)], axis=0)

    def compute_output_spec(self, inputs: Any) -> Any:
        """Returns the output's shape and dtype."""
        return keras.KerasTensor((None, *inputs.shape[1:]), dtype=inputs.dtype)


def as_images(grids: Any) -> Any:
    """Returns grids of boxes, (batch, n, *size, channels), as (batch * n, *size, channels); `PerBox` undoes it."""
    return ops.reshape(grids, (-1, *grids.shape[2:]))


def grid(size: int, rank: int, flat: int, deep: int) -> tuple[int, ...]:
    """Returns the size of a grid along each axis: `size`, or if that is 0 `flat` in 2-D and `deep` in 3-D."""
    return (size or (flat if rank == 2 else deep),) * rank


def _told(width: int, deviation: float, name: str) -> Any:
    start = keras.initializers.RandomNormal(stddev=deviation)
    return keras.layers.Dense(width, kernel_initializer=start, dtype="float32", name=name)


def _product(numbers: Any) -> Any:
    """Returns the product; a whole number where all are known before anything runs."""
    found = 1
    for number in numbers:
        found = found * number
    return found
