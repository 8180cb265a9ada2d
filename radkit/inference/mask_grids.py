"""Masks within boxes, (batch, n, *size): a grid that fills its box, whatever the box's size."""

from typing import Any

from keras import ops

from radkit.boxes import geometry


def within(masks: Any, boxes: Any, inner: Any) -> Any:
    """Returns masks on grids that fill inner boxes: what is cut off a box is cut off its mask, too.

    Values between the middles of cells are interpolated linearly; beyond the last middle they stay.

    Args:
        masks: (batch, n, *size) float32, each filling its box.
        boxes: (batch, n, 2 * rank) float32, low, then high edges.
        inner: Likewise, each within the box of the same place. Of one without a side nothing is known.

    Returns:
        As `masks`.
    """
    (low, high), (first, last) = geometry.edges(boxes), geometry.edges(inner)
    sides = ops.maximum(high - low, 1e-6)
    for axis in range(geometry.rank(boxes)):
        size = int(masks.shape[2 + axis])
        middles = (ops.arange(size, dtype="float32") + 0.5) / size
        asked = first[..., axis, None] + middles * (last - first)[..., axis, None]  # (batch, n, size)
        place = (asked - low[..., axis, None]) / sides[..., axis, None] * size - 0.5
        place = ops.clip(place, 0.0, size - 1.0)[..., None]
        shares = ops.maximum(1.0 - ops.abs(place - ops.arange(size, dtype="float32")), 0.0)  # (batch, n, new, old)
        moved = ops.moveaxis(masks, 2 + axis, -1)
        rest = [1] * (len(masks.shape) - 3)
        shares = ops.reshape(shares, (*ops.shape(shares)[:2], *rest, size, size))
        masks = ops.moveaxis(ops.sum(moved[..., None, :] * shares, axis=-1), -1, 2 + axis)
    return masks
