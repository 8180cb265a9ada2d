"""From a detector's dict of places to what is answered: few boxes, each with its score and its class.

A network of `radkit.models.box_heads` answers for thousands of places; `found` keeps the surest, leaves one of those
that are of one thing, and pads. `model` is a network with this inside, to be exported. Images that are larger than what
a network sees at once, and mirrored ones, are of `radkit.inference.box_windows`.

An answer is a dict: `boxes` (batch, most, 2 * rank) float32, low then high edges in the image's pixels; `scores`
(batch, most) float32, surest first; `labels` (batch, most) int32; `count` (batch,) int32. Behind the count there are
0s, and labels are -1. Of a network of masks also `masks` (batch, most, *mask_size) float32, 0 to 1, each within its
box.
"""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from radkit.boxes import fusion, geometry, suppression
from radkit.errors import UserError
from radkit.inference import mask_grids

Boxes = dict[str, Any]

BEFORE = 1000
"""Pairs of place and class that are looked at, the surest ones."""
_NAMES = ("boxes", "scores", "labels", "count")
_SUPPRESS = ("nms", "soft_nms", "fusion")
_WAYS = "nms, soft_nms or fusion"


def found(
    outputs: Mapping[str, Any],
    sizes: Any = None,
    *,
    score_threshold: float = 0.05,
    suppress: str = "nms",
    iou_threshold: float = 0.5,
    most_detections: int = 100,
    class_agnostic: bool = False,
) -> Boxes:
    """Returns what a detector found in its images; see the module's docstring.

    Args:
        outputs: The network's dict: `boxes` and `scores` of all places, or of Mask R-CNN `found_boxes`, `found_scores`,
            `found_labels` and `mask_logits`.
        sizes: The image's spatial sizes, at which boxes are cut; None: they are not.
        score_threshold: Boxes below it are left out.
        suppress: What becomes of boxes of one thing. `nms`: the surest is kept; `soft_nms`: the others get less sure;
            `fusion`: their weighted mean is kept. See `radkit.boxes`.
        iou_threshold: Boxes that overlap by more are of one thing.
        most_detections: Boxes an image.
        class_agnostic: Whether boxes of two classes can be of one thing.

    Raises:
        UserError: The dict lacks boxes, or a setting makes no sense.
    """
    return settled(
        candidates(outputs, sizes),
        score_threshold=score_threshold,
        suppress=suppress,
        iou_threshold=iou_threshold,
        most_detections=most_detections,
        class_agnostic=class_agnostic,
    )


def candidates(outputs: Mapping[str, Any], sizes: Any = None) -> Boxes:
    """Returns the surest pairs of place and class, (batch, k, ...), cut at the image's borders: `boxes`, `scores`, ...

    Raises:
        UserError: The dict lacks boxes.
    """
    if isinstance(outputs, Mapping) and "mask_logits" in outputs:
        chosen = _with_masks(outputs)
        return chosen if sizes is None else clipped(chosen, list(sizes))
    if not isinstance(outputs, Mapping) or not {"boxes", "scores"} <= set(outputs):
        there = sorted(outputs) if isinstance(outputs, Mapping) else type(outputs).__name__
        raise UserError(
            f"a detector answers a dict with 'boxes' and 'scores', not {there}; see radkit.models.box_heads"
        )
    boxes, scores = (ops.cast(outputs[name], "float32") for name in ("boxes", "scores"))
    if sizes is not None:
        boxes = geometry.clip(boxes, list(sizes))
        # Places beside the image, in what the network pads it with, take no room from those within.
        scores = ops.where(geometry.volume(boxes)[..., None] > 0.0, scores, 0.0)
    return dict(zip(_NAMES, suppression.pairs(boxes, scores, BEFORE)))


def clipped(given: Boxes, sizes: Any) -> Boxes:
    """Returns an answer with its boxes cut at an image's borders, and with them their masks, where there are any."""
    inner = geometry.clip(given["boxes"], sizes)
    if "masks" not in given:
        return {**given, "boxes": inner}
    return {**given, "boxes": inner, "masks": mask_grids.within(given["masks"], given["boxes"], inner)}


def _with_masks(outputs: Mapping[str, Any]) -> Boxes:
    labels = ops.cast(outputs["found_labels"], "int32")
    masks = ops.sigmoid(ops.cast(outputs["mask_logits"], "float32"))
    own = ops.one_hot(ops.maximum(labels, 0), int(masks.shape[-1]), dtype="float32")
    own = ops.reshape(own, (*ops.shape(labels), *[1] * (len(masks.shape) - 3), masks.shape[-1]))
    return {
        "boxes": ops.cast(outputs["found_boxes"], "float32"),
        "scores": ops.where(labels >= 0, ops.cast(outputs["found_scores"], "float32"), 0.0),
        "labels": labels,
        "masks": ops.sum(masks * own, axis=-1),
    }


def settled(
    given: Boxes,
    *,
    score_threshold: float = 0.05,
    suppress: str = "nms",
    iou_threshold: float = 0.5,
    most_detections: int = 100,
    class_agnostic: bool = False,
) -> Boxes:
    """Returns an answer of boxes that may be of one thing: of `candidates`, or of several answers joined.

    Args:
        given: `boxes`, `scores`, `labels` (-1: none), maybe `masks`, and for `fusion` maybe `views`, how many windows
            and mirrored images looked there; (batch, k, ...).
        score_threshold: As `found`, as the rest.
        suppress: Likewise.
        iou_threshold: Likewise.
        most_detections: Likewise.
        class_agnostic: Likewise.

    Raises:
        UserError: No such way to suppress.
    """
    asked: dict[str, Any] = {
        "iou_threshold": iou_threshold,
        "score_threshold": score_threshold,
        "most": most_detections,
    }
    labels = ops.maximum(given["labels"], 0)
    scores = ops.where(given["labels"] >= 0, given["scores"], -1.0)
    groups = None if class_agnostic else labels
    boxes, views = given["boxes"], given.get("views", 1.0)
    kept = {name: value for name, value in given.items() if name != "views"}
    if suppress == "fusion":
        if "masks" in given:
            raise UserError(
                "suppress='fusion' makes new boxes, for which the network made no masks; use nms or soft_nms"
            )
        fused = fusion.fuse(boxes, scores, labels, views=views, class_agnostic=class_agnostic, **asked)
        return dict(zip(_NAMES, fused))
    if suppress == "nms":
        index, valid = suppression.nms(boxes, scores, groups=groups, **asked)
    elif suppress == "soft_nms":
        index, left, valid = suppression.soft_nms(boxes, scores, groups=groups, **asked)
    else:
        raise UserError(f"suppress must be {_WAYS}, not {suppress!r}")
    chosen = {name: _taken(value, index) for name, value in kept.items()}
    return padded(chosen if suppress == "nms" else {**chosen, "scores": left}, valid)


def padded(given: Boxes, valid: Any) -> Boxes:
    """Returns an answer of boxes of which some do not count: these are padding, and stand behind."""
    order = ops.argsort(ops.cast(ops.logical_not(valid), "int32"), axis=1)  # stable: the surest stays first
    kept = ops.take_along_axis(ops.cast(valid, "int32"), order, axis=1) > 0
    answer = {}
    for name, value in given.items():
        value = _taken(value, order)
        there = ops.reshape(kept, (*ops.shape(kept), *[1] * (len(value.shape) - 2)))
        answer[name] = ops.where(there, value, -1 if name == "labels" else 0)
    return {**answer, "count": ops.sum(ops.cast(valid, "int32"), axis=1)}


def _taken(values: Any, index: Any) -> Any:
    """Returns values, (batch, n, ...), at indices, (batch, k)."""
    index = ops.reshape(index, (*ops.shape(index), *[1] * (len(values.shape) - 2)))
    return ops.take_along_axis(values, index, axis=1)


def check(settings: Mapping[str, Any]) -> None:
    """Refuses settings that `found` does not have, and values that make no sense.

    Raises:
        UserError: It names the setting, its value, and what was expected.
    """
    known = [name for name in inspect.signature(found).parameters if name not in ("outputs", "sizes")]
    for name, value in settings.items():
        if name not in known:
            raise UserError(f"what a detector found has no setting {name!r}; there are: {', '.join(known)}")
        if name == "suppress" and value not in _SUPPRESS:
            raise UserError(f"suppress must be {_WAYS}, not {value!r}")
        if name.endswith("_threshold") and not 0 <= value <= 1:
            raise UserError(f"{name} must be from 0 to 1, not {value}")
        if name == "most_detections" and (value < 1 or value != int(value)):
            raise UserError(f"most_detections must be a whole number of at least 1, not {value}")


@keras.saving.register_keras_serializable("radkit")
class Found(keras.layers.Layer):
    """What a detector found, of a dict of its image (`image`) and its answer; see `found` for the settings."""

    def __init__(self, settings: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(**{"dtype": "float32", "autocast": False, "trainable": False, **kwargs})
        self.settings = dict(settings or {})
        check(self.settings)

    def call(self, inputs: Mapping[str, Any]) -> Boxes:
        """Returns the answer."""
        return found(inputs, ops.shape(inputs["image"])[1:-1], **self.settings)

    def compute_output_spec(self, inputs: Mapping[str, Any]) -> dict[str, keras.KerasTensor]:
        """Returns the shapes and types."""
        batch, most = inputs["image"].shape[0], self.settings.get("most_detections", 100)
        edges = 2 * (len(inputs["image"].shape) - 2)
        shapes: dict[str, tuple[tuple[int | None, ...], str]] = {
            "boxes": ((batch, most, edges), "float32"),
            "scores": ((batch, most), "float32"),
            "labels": ((batch, most), "int32"),
            "count": ((batch,), "int32"),
        }
        if "mask_logits" in inputs:
            shapes["masks"] = ((batch, most, *inputs["mask_logits"].shape[2:-1]), "float32")
        return {name: keras.KerasTensor(shape, dtype=dtype) for name, (shape, dtype) in shapes.items()}

    def get_config(self) -> dict[str, Any]:
        """Returns what rebuilds the layer."""
        return {**super().get_config(), "settings": self.settings}


def model(network: keras.Model, **settings: Any) -> keras.Model:
    """Returns a detector that answers what it found: it can be saved, and exported with free batch and sizes.

    Args:
        network: From an image (and proposals, if it takes them) to the dict of `radkit.models.box_heads`.
        settings: `found`'s.

    Raises:
        UserError: The network is no detector, or a setting makes no sense.

    Example:
        >>> from radkit import models
        >>> small = {"encoder": "resnet", "encoder_settings": {"filters": (4, 8), "blocks": (1, 1)}, "levels": (1, 2)}
        >>> network = models.build("retinanet", input_shape=(None, None, 1), num_classes=2, filters=8, depth=1, **small)
        >>> model(network, most_detections=5).output["boxes"].shape
        (None, 5, 4)
    """
    inputs: Sequence[Any] = network.inputs
    outputs = network(list(inputs) if len(inputs) > 1 else inputs[0])
    if not isinstance(outputs, Mapping):
        raise UserError(f"{network.name!r} is no detector: it answers one array, not a dict of boxes and scores")
    image = next(tensor for tensor in inputs if len(tensor.shape) > 3)
    answer = Found(settings, name="found")({"image": image, **outputs})
    return keras.Model(list(inputs) if len(inputs) > 1 else inputs[0], answer, name=f"{network.name}_found")
