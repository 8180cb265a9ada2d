"""Mask R-CNN, 2-D and 3-D: Faster R-CNN, and of each box that it finds a mask for each class.

Beside what `faster_rcnn` answers: `found_boxes` (batch, found, 2 * rank), `found_scores` (batch, found),
`found_labels` (batch, found) int32, -1 behind the last, and `mask_logits` (batch, found, *mask_size, num_classes), the
masks on a grid that fills each found box, edge to edge.

Source: He et al. 2017, https://arxiv.org/abs/1703.06870. The paper learns masks in proposals and answers them in what
the second stage makes of these; here both are done in the latter, so a mask is learned where it will be asked for.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from radkit.boxes import geometry, suppression
from radkit.errors import UserError
from radkit.models import box_heads, faster_rcnn, layers, proposals

TASK = "detection"
LOSS = "mask_rcnn"
SMALL: dict[str, Any] = {**faster_rcnn.SMALL, "found": 20, "mask_filters": 6, "mask_depth": 1, "mask_grid": 3}


@keras.saving.register_keras_serializable("radkit")
class SurestBoxes(keras.layers.Layer):
    """What is found of all that the second stage says, `[boxes, scores, image]`: the surest, suppressed class by class.

    Output: boxes (batch, most, 2 * rank), cut at the image's borders, and scores (batch, most), float32, and labels
    (batch, most) int32, -1 behind the last. Nothing is learned through them.

    Args:
        most: Boxes that are kept.
        iou_threshold: A box that overlaps a surer one of its class by more than this is left out.
    """

    def __init__(self, most: int = 100, iou_threshold: float = 0.5, **kwargs: Any) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
        if most < 1 or not 0 <= iou_threshold <= 1:
            raise UserError(
                f"found: {most} boxes with iou_threshold {iou_threshold}: at least 1 and a threshold from 0 to 1 were "
                "expected"
            )
        self.most, self.iou_threshold = int(most), float(iou_threshold)

    def call(self, inputs: Sequence[Any]) -> tuple[Any, Any, Any]:
        """Returns boxes, scores and labels."""
        boxes, scores, image = inputs
        boxes = geometry.clip(ops.stop_gradient(boxes), ops.shape(image)[1:-1])
        return suppression.best(
            boxes, ops.stop_gradient(scores), iou_threshold=self.iou_threshold, score_threshold=0.0, most=self.most
        )[:3]

    def compute_output_spec(self, inputs: Sequence[Any]) -> tuple[Any, Any, Any]:
        """Returns the outputs' shapes and dtypes."""
        batch, _, edges = inputs[0].shape
        return (
            keras.KerasTensor((batch, self.most, edges), dtype="float32"),
            keras.KerasTensor((batch, self.most), dtype="float32"),
            keras.KerasTensor((batch, self.most), dtype="int32"),
        )

    def get_config(self) -> dict[str, Any]:
        """Returns what rebuilds the layer."""
        return {**super().get_config(), "most": self.most, "iou_threshold": self.iou_threshold}


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
    found: int = 100,
    found_iou: float = 0.5,
    mask_filters: int = 256,
    mask_depth: int = 4,
    mask_grid: int = 0,
) -> keras.Model:
    """Returns a Mask R-CNN from image to the dict of `radkit.models.proposals` and its masks, see above.

    Args:
        input_shape: As `faster_rcnn` has it, and so all up to `hidden`.
        num_classes: See there.
        encoder: See there.
        encoder_settings: See there.
        levels: See there.
        extra_levels: See there.
        filters: See there.
        norm: See there; also of the masks' layers.
        sizes: See there.
        ratios: See there.
        octaves: See there.
        anchors: See there.
        before: See there.
        most: See there.
        iou_threshold: See there.
        size: See there.
        hidden: See there.
        found: Boxes that get a mask.
        found_iou: As `SurestBoxes` has `iou_threshold`.
        mask_filters: Channels of the masks' convolutions.
        mask_depth: How many there are before the grid is enlarged.
        mask_grid: Size along each axis of the grid that they see; a mask is twice as large. 0: 14 in 2-D as the paper,
            7 in 3-D.

    Raises:
        UserError: As `faster_rcnn`.

    Source: He et al. 2017, https://arxiv.org/abs/1703.06870.
    """
    box_heads.at_least(0, mask_depth=mask_depth, mask_grid=mask_grid)
    box_heads.at_least(1, found=found)
    of_boxes = faster_rcnn.stages(
        input_shape, num_classes, encoder, encoder_settings, levels, extra_levels, filters, norm, sizes, ratios,
        octaves, anchors, before, most, iou_threshold, size, hidden,
    )  # fmt: skip
    answer, rank = dict(of_boxes.answer), len(input_shape) - 1
    boxes, scores, labels = SurestBoxes(found, found_iou, name="found")(
        [answer["boxes"], answer["scores"], of_boxes.inputs]
    )
    layer = proposals.CutOut(of_boxes.strides, proposals.grid(mask_grid, rank, 14, 7), name="mask_grids")
    masks = _masks(layer([boxes, *of_boxes.maps]), num_classes, mask_filters, mask_depth, norm)
    answer |= {"found_boxes": boxes, "found_scores": scores, "found_labels": labels, "mask_logits": masks}
    return keras.Model(of_boxes.inputs, answer, name="mask_rcnn")


def _masks(grids: Any, num_classes: int, filters: int, depth: int, norm: str) -> Any:
    """Returns logits of each box's masks, (batch, n, *mask_size, num_classes) float32; boxes are images to its layers.

    Args:
        grids: (batch, n, *size, channels).
        num_classes: One mask each.
        filters: Channels.
        depth: Convolutions.
        norm: Behind each, as `layers.normalize` knows it.
    """
    x = proposals.as_images(grids)
    for number in range(1, depth + 1):
        x = layers.convolve(x, filters, 3, bias=norm == "none", name=f"mask_conv{number}")
        x = layers.normalize(x, norm, "relu", name=f"mask_norm{number}")
    x = layers.activate(layers.deconvolve(x, filters, bias=True, name="mask_enlarge"), "relu")
    x = layers.convolve(x, num_classes, 1, bias=True, initializer="glorot_uniform", name="mask_logits", dtype="float32")
    return proposals.PerBox(name="masks")([x, grids])
