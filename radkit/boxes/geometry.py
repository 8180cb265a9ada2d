"""Boxes as arrays, 2-D and 3-D: sizes, overlaps, cutting; `checking` refuses what is no box.

A box is its low, then its high edges, one a spatial axis in the array's order: (rows, columns) or (slices, rows,
columns). Edges count voxels: voxel k reaches from k to k + 1, so a box's side is its high edge less its low one. Boxes
of 0s pad lists; they overlap with nothing, and nothing here divides by their volume.
"""

from typing import Any

from keras import ops

from radkit.errors import UserError


def rank(boxes: Any) -> int:
    """Returns the number of spatial axes of boxes, (..., 2 * rank).

    Raises:
        UserError: The last axis has neither 4 nor 6 edges.
    """
    edges = boxes.shape[-1] if len(boxes.shape) else None
    if edges not in (4, 6):
        raise UserError(f"boxes of shape {tuple(boxes.shape)}: 4 edges (2-D) or 6 (3-D) were expected on the last axis")
    return int(edges) // 2


def edges(boxes: Any) -> tuple[Any, Any]:
    """Returns low and high edges, (..., rank) each."""
    axes = rank(boxes)
    return boxes[..., :axes], boxes[..., axes:]


def sides(boxes: Any) -> Any:
    """Returns how long boxes are along each axis, (..., rank)."""
    low, high = edges(boxes)
    return high - low


def centres(boxes: Any) -> Any:
    """Returns the middle of boxes, (..., rank)."""
    low, high = edges(boxes)
    return (low + high) / 2


def around(centre: Any, side: Any) -> Any:
    """Returns boxes, (..., 2 * rank), by their middle and sides, (..., rank) each."""
    return ops.concatenate([centre - side / 2, centre + side / 2], axis=-1)


def volume(boxes: Any) -> Any:
    """Returns what boxes hold, (...,), in pixels (2-D) or voxels (3-D); 0 where a side is not above 0."""
    lengths = ops.maximum(sides(boxes), 0.0)
    found = lengths[..., 0]
    for axis in range(1, rank(boxes)):
        found = found * lengths[..., axis]
    return found


def clip(boxes: Any, sizes: Any) -> Any:
    """Returns boxes cut at the borders of an image.

    Args:
        boxes: (..., 2 * rank).
        sizes: The image's spatial sizes, (rank,) numbers or a tensor.

    Raises:
        UserError: Sizes of another rank.
    """
    if isinstance(sizes, list | tuple) and len(sizes) != rank(boxes):
        raise UserError(f"boxes of {rank(boxes)} axes in an image of {len(sizes)}; the same number was expected")
    limits = ops.cast(
        ops.stack([*sizes, *sizes]) if isinstance(sizes, list | tuple) else ops.tile(sizes, 2), boxes.dtype
    )
    return ops.minimum(ops.maximum(boxes, 0.0), limits)


def crossed(a: Any, b: Any) -> tuple[Any, Any]:
    """Returns two lists of boxes, (..., n, edges) and (..., m, edges), so that each is compared with each."""
    return ops.expand_dims(a, -2), ops.expand_dims(b, -3)


def shared(a: Any, b: Any) -> Any:
    """Returns the volume that boxes share; shapes are broadcast: `shared(*crossed(a, b))` is (..., n, m)."""
    found = None
    axes = rank(a)
    for axis in range(axes):  # one axis after the other: all at once would take `rank` times the memory
        low = ops.maximum(a[..., axis], b[..., axis])
        high = ops.minimum(a[..., axes + axis], b[..., axes + axis])
        length = ops.maximum(high - low, 0.0)
        found = length if found is None else found * length
    return found


def iou(a: Any, b: Any) -> Any:
    """Returns intersection over union, 0 to 1; 0 where both hold nothing. Shapes are broadcast, see `crossed`."""
    inside = shared(a, b)
    return _ratio(inside, volume(a) + volume(b) - inside)


def share_inside(a: Any, b: Any) -> Any:
    """Returns how much of `a` lies within `b`, 0 to 1; 0 where `a` holds nothing. Shapes are broadcast."""
    return _ratio(shared(a, b), volume(a))


def giou(a: Any, b: Any) -> Any:
    """Returns the generalised IoU, -1 to 1: IoU less the share of the box around both that is neither's.

    Source: Rezatofighi et al. 2019, https://arxiv.org/abs/1902.09630. Shapes are broadcast, see `crossed`.
    """
    inside = shared(a, b)
    union = volume(a) + volume(b) - inside
    both = _hull(a, b)
    return _ratio(inside, union) - _ratio(both - union, both)


def diou(a: Any, b: Any) -> Any:
    """Returns the distance IoU, -1 to 1: IoU less the middles' squared distance as a share of the hull's diagonal's.

    Source: Zheng et al. 2020, https://arxiv.org/abs/1911.08287. Shapes are broadcast, see `crossed`.
    """
    axes, apart, diagonal = rank(a), 0.0, 0.0
    for axis in range(axes):
        low_a, high_a, low_b, high_b = (box[..., edge] for box in (a, b) for edge in (axis, axes + axis))
        apart = apart + ops.square((low_a + high_a - low_b - high_b) / 2)
        diagonal = diagonal + ops.square(ops.maximum(high_a, high_b) - ops.minimum(low_a, low_b))
    return iou(a, b) - _ratio(apart, diagonal)


def _hull(a: Any, b: Any) -> Any:
    axes, found = rank(a), None
    for axis in range(axes):
        length = ops.maximum(a[..., axes + axis], b[..., axes + axis]) - ops.minimum(a[..., axis], b[..., axis])
        found = length if found is None else found * length
    return found


def _ratio(part: Any, whole: Any) -> Any:
    is_there = whole > 0.0
    return ops.where(is_there, part / ops.where(is_there, whole, 1.0), 0.0)
