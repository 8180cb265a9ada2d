"""Masks in the loss: cut out of the image's mask where a box was found, and drawn of boxes where there is none."""

from collections.abc import Sequence
from typing import Any, Literal

from keras import ops

from radkit.boxes import geometry
from radkit.boxes.assigning import IGNORED
from radkit.errors import UserError
from radkit.losses.masks import UNLABELLED

Shape = Literal["ellipsoid", "box"]


def cut(mask: Any, found: Any, wanted: Any, size: Sequence[int]) -> tuple[Any, Any]:
    """Returns a mask's values on a grid within each box: at the middles of its cells, those of the nearest voxels.

    Args:
        mask: (batch, *spatial, 1) integers.
        found: (batch, n, 2 * rank), the boxes that the grids fill. Outside of the image the value is 0.
        wanted: (batch, n, 2 * rank), the box of each that is asked for.
        size: Of the grids.

    Returns:
        (batch, n, *size) int32, and bool: whether the place is within the wanted box and the image.
    """
    mask = ops.convert_to_tensor(mask)[..., 0]
    rank, spatial = geometry.rank(found), ops.shape(mask)[1:]
    (low, high), (least, most) = geometry.edges(found), geometry.edges(wanted)
    within: Any = True
    flat: Any = 0
    for axis in range(rank):
        steps = (ops.arange(size[axis], dtype="float32") + 0.5) / size[axis]
        at = low[..., axis, None] + steps * (high - low)[..., axis, None]  # (batch, n, size of the axis)
        last = ops.cast(spatial[axis], "float32")
        inside = ops.logical_and(at >= ops.maximum(least[..., axis, None], 0.0), at < most[..., axis, None])
        inside = ops.logical_and(inside, at < last)
        voxel = ops.cast(ops.clip(ops.floor(at), 0.0, last - 1.0), "int32")
        within = ops.logical_and(within, _along(inside, axis, rank))
        flat = flat * spatial[axis] + _along(voxel, axis, rank)
    batch = ops.shape(mask)[0]
    voxels = spatial[0] * spatial[1] * (spatial[2] if rank == 3 else 1)
    starts = ops.reshape(ops.arange(batch, dtype="int32") * voxels, (-1, *[1] * (rank + 1)))
    values = ops.cast(ops.take(ops.reshape(mask, (-1,)), flat + starts, axis=0), "int32")
    return ops.where(within, values, 0), within


def drawn(boxes: Any, labels: Any, spatial: Sequence[Any], shape: Shape = "ellipsoid") -> Any:
    """Returns a mask of boxes, (batch, *spatial, 1) uint8: 1 + the class within, the smaller box over the larger one.

    Regions to ignore (label -2) are 255 where no box is drawn. A box that holds no voxel's middle gets the voxel that
    its own middle lies in.

    Args:
        boxes: (batch, n, 2 * rank) float32.
        labels: (batch, n) int32.
        spatial: Sizes of the mask.
        shape: What is drawn of a box: an `ellipsoid` that touches its sides, or the whole `box`.

    Raises:
        UserError: Another shape.
    """
    if shape not in ("ellipsoid", "box"):
        raise UserError(f"pseudo_shape {shape!r} is none; there are: ellipsoid, box")
    # Regions first, then the largest: what is drawn later lies above.
    order = ops.argsort(ops.where(labels == IGNORED, -1e30, -geometry.volume(boxes)), axis=-1)
    labels = ops.take_along_axis(labels, order, axis=1)
    boxes = ops.take_along_axis(boxes, order[..., None], axis=1)
    values = ops.where(labels >= 0, labels + 1, ops.where(labels == IGNORED, UNLABELLED, 0))
    batch, rank = ops.shape(boxes)[0], geometry.rank(boxes)

    def draw(number: Any, mask: Any) -> Any:
        box = ops.take(boxes, number, axis=1)
        value = ops.reshape(ops.take(values, number, axis=1), (-1, *[1] * rank))
        whole = ops.logical_or(shape == "box", value == UNLABELLED)
        held = ops.logical_and(_held(box, spatial, whole), value > 0)
        return ops.where(held, value, mask)

    mask = ops.fori_loop(0, ops.shape(boxes)[1], draw, ops.zeros((batch, *spatial), dtype="int32"))
    return ops.cast(mask, "uint8")[..., None]


def _held(box: Any, spatial: Sequence[Any], whole: Any) -> Any:
    """Returns whether each voxel is of a box, (batch, *spatial) bool: within it, or within its ellipsoid."""
    rank = geometry.rank(box)
    squares, within, of_middle = 0.0, True, True
    middle, half = geometry.centres(box), ops.maximum(geometry.sides(box), 1e-6) / 2
    for axis in range(rank):
        voxels = ops.arange(spatial[axis], dtype="float32")[None] + 0.5
        apart = (voxels - middle[:, axis, None]) / half[:, axis, None]
        here = ops.logical_and(apart >= -1.0, apart < 1.0)
        own = ops.floor(voxels) == ops.floor(middle[:, axis, None])
        shape = (ops.shape(box)[0], *[1] * axis, spatial[axis], *[1] * (rank - 1 - axis))
        squares = squares + ops.reshape(ops.square(apart), shape)
        within = ops.logical_and(within, ops.reshape(here, shape))
        of_middle = ops.logical_and(of_middle, ops.reshape(own, shape))
    held = ops.logical_and(within, ops.logical_or(whole, squares <= 1.0))
    return ops.logical_or(held, of_middle)


def _along(values: Any, axis: int, rank: int) -> Any:
    """Returns (batch, n, size) values as (batch, n, *1, size, *1): of one axis of a grid."""
    for other in range(rank):
        if other != axis:
            values = ops.expand_dims(values, 2 + other)
    return values
