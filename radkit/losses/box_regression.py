"""How far a box is from the one that it should be: by its offsets, or by its overlap.

Each gives one value a place, (batch, places) float32, 0 where the place answers for no box; gradients are finite there,
whatever stands in its place.
"""

from typing import Any, Literal

from keras import ops

from radkit.boxes import coder, geometry
from radkit.errors import UserError

BoxLoss = Literal["l1", "smooth_l1", "squared", "iou", "giou", "diou"]
Coder = Literal["offsets", "distances"]
_OF_OFFSETS = ("l1", "smooth_l1", "squared")
_OF_BOXES = ("iou", "giou", "diou")


def of_places(
    name: BoxLoss,
    outputs: Any,
    boxes: Any,
    positive: Any,
    *,
    beta: float = 1.0 / 9.0,
    code: Coder = "offsets",
    scales: tuple[float, float] = coder.SCALES,
) -> Any:
    """Returns what each place's box costs, (batch, places) float32.

    Args:
        name: Of offsets, summed over them: `l1`, `smooth_l1`, `squared` (half of the square, as MultiBox). Of boxes:
            `iou` (1 - IoU^2), `giou` (1 - GIoU), `diou` (1 - DIoU).
        outputs: The network's `anchors`, `deltas` and `boxes`, (batch, places, 2 * rank) float32 each.
        boxes: (batch, places, 2 * rank), the box that each place answers for.
        positive: (batch, places) bool, whether it does.
        beta: Below it `smooth_l1` is a square.
        code: What `deltas` are: `offsets`, or `distances` of edges.
        scales: Of `offsets`, as the network's.

    Raises:
        UserError: Another name.

    Source: smooth L1: Girshick 2015, https://arxiv.org/abs/1504.08083; GIoU: Rezatofighi et al. 2019,
    https://arxiv.org/abs/1902.09630; DIoU: Zheng et al. 2020, https://arxiv.org/abs/1911.08287.
    """
    asked = positive[..., None]
    if name in _OF_BOXES:
        # Elsewhere the box is compared with itself: neither overflow nor a slope.
        found = ops.where(asked, outputs["boxes"], ops.stop_gradient(outputs["boxes"]))
        costs = overlap(name, found, ops.where(asked, boxes, found))
    elif name in _OF_OFFSETS:
        unit = ops.cast(ops.arange(boxes.shape[-1]) >= geometry.rank(boxes), "float32")  # a box of one voxel
        wanted, anchors = ops.where(asked, boxes, unit), ops.where(asked, outputs["anchors"], unit)
        if code == "distances":
            target = coder.encode_distances(wanted, anchors)
        else:
            target = coder.encode(wanted, anchors, scales)
        costs = ops.sum(distance(name, outputs["deltas"] - ops.stop_gradient(target), beta), axis=-1)
    else:
        known = ", ".join((*_OF_OFFSETS, *_OF_BOXES))
        raise UserError(f"box_loss {name!r} is none; there are: {known}")
    return ops.where(positive, costs, 0.0)


def distance(name: str, differences: Any, beta: float) -> Any:
    """Returns what differences cost, same shape: `l1`, `smooth_l1` or `squared`."""
    size = ops.abs(differences)
    if name == "l1" or (name == "smooth_l1" and beta <= 0):
        return size
    if name == "squared":
        return ops.square(differences) / 2.0
    within = ops.minimum(size, beta)  # its square does not overflow
    return ops.square(within) / (2.0 * beta) + size - within


def overlap(name: str, found: Any, wanted: Any) -> Any:
    """Returns 1 less how well boxes fit, (...,), 0 for equal ones: `iou`, `giou` or `diou`."""
    if name == "iou":
        return 1.0 - ops.square(geometry.iou(found, wanted))
    return 1.0 - (geometry.giou if name == "giou" else geometry.diou)(found, wanted)
