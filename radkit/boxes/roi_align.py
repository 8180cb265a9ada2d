"""Features of boxes: a small grid of fixed size for each, read out of feature maps between their voxels."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

from keras import ops

from radkit.boxes import geometry
from radkit.errors import UserError


def roi_align(
    maps: Sequence[Any],
    boxes: Any,
    levels: Any,
    strides: Sequence[int | Sequence[int]],
    size: int | Sequence[int] = 7,
    samples: int = 2,
) -> Any:
    """Returns the features of each box, (batch, n, *size, channels), of the maps' dtype.

    A box is cut into `size` cells along each axis and a cell is the mean of `samples` points along each axis, read
    linearly between the map's voxels. The value of voxel k sits at k + 0.5, as everywhere here (others call this
    `aligned`). Up to half a voxel beyond the middle of the map's outermost voxel their value holds, and up to a whole
    one more; points farther outside are 0. Gradients reach the maps, not the boxes.

    Args:
        maps: One a level, (batch, *spatial, channels), all of one width.
        boxes: (batch, n, 2 * rank), edges in the image's voxels. Where a box holds nothing, as padding, the result is
            finite and means nothing; of edges that are no numbers it is 0.
        levels: (batch, n) int, the map that each box is read from; None: as `by_size` says.
        strides: One a level: voxels of the image a voxel of the map, one number or one an axis.
        size: Cells along each axis; one number: along all.
        samples: Points a cell along each axis.

    Raises:
        UserError: Maps, strides, sizes and boxes that do not belong together.

    Source: He et al. 2017 (Mask R-CNN), https://arxiv.org/abs/1703.06870, section 3.
    """
    rank, boxes = geometry.rank(boxes), ops.stop_gradient(ops.cast(boxes, "float32"))
    cells = (size,) * rank if isinstance(size, int) else tuple(size)
    steps = _one_an_axis(strides, rank)
    _check(maps, steps, cells, samples, rank)
    levels = by_size(boxes, steps) if levels is None else ops.cast(levels, "int32")
    rows, first, extent = _listed(maps, levels)
    low, high = geometry.edges(boxes / ops.tile(ops.take(ops.convert_to_tensor(steps, "float32"), levels, axis=0), 2))
    pitch = ops.ones_like(first)
    taps: list[tuple[Any, Any]] = []
    for axis in reversed(range(rank)):
        index, weights = _taps(low[..., axis], high[..., axis], extent[..., axis], cells[axis], samples)
        place = [1] * rank
        place[axis] = cells[axis]
        whole = (*ops.shape(boxes)[:2], *place, 2 * samples)
        taps.insert(0, (ops.reshape(index * pitch[..., None, None], whole), ops.reshape(weights, whole)))
        pitch = pitch * extent[..., axis]
    first = ops.reshape(first, (*ops.shape(boxes)[:2], *[1] * rank))
    # One tap after the other: all at once would take (2 * samples) ** rank times the memory.
    found: Any = 0.0
    for chosen in itertools.product(range(2 * samples), repeat=rank):
        index, weight = first, ops.ones_like(first, dtype="float32")
        for (at, weights), tap in zip(taps, chosen):
            index, weight = index + at[..., tap], weight * weights[..., tap]
        found = found + ops.cast(ops.take(rows, index, axis=0), "float32") * weight[..., None]
    return ops.cast(found, maps[0].dtype)


def by_size(boxes: Any, strides: Sequence[int | Sequence[int]], cells: float = 14.0) -> Any:
    """Returns which level each box is read from, (batch, n) int32: the coarsest where it still has so many voxels.

    Args:
        boxes: (batch, n, 2 * rank), edges in the image's voxels; the mean of its sides counts (the geometric one).
        strides: One a level, finest first, one number or one an axis.
        cells: Of a box's side, on its level; 14 is a box of 224 at stride 16, as the paper has it.

    Source: Lin et al. 2017 (FPN), https://arxiv.org/abs/1612.03144, equation 1.
    """
    rank = geometry.rank(boxes)
    volume = geometry.volume(ops.cast(boxes, "float32"))
    found = ops.zeros_like(volume, dtype="int32")
    for step in _one_an_axis(strides, rank)[1:]:
        found = found + ops.cast(volume >= cells**rank * math.prod(step), "int32")
    return found


def _one_an_axis(strides: Sequence[int | Sequence[int]], rank: int) -> list[tuple[int, ...]]:
    return [(step,) * rank if isinstance(step, int) else tuple(step) for step in strides]


def _check(
    maps: Sequence[Any], strides: list[tuple[int, ...]], cells: tuple[int, ...], samples: int, rank: int
) -> None:
    fits = len(maps) == len(strides) > 0 and {len(step) for step in strides} == {rank} == {len(cells)}
    if not fits or {len(x.shape) for x in maps} != {rank + 2} or len({x.shape[-1] for x in maps}) != 1:
        raise UserError(
            f"maps of shapes {[tuple(x.shape) for x in maps]}, strides {strides}, size {cells} for {rank}-D boxes: one "
            f"stride a map, {rank} spatial axes everywhere and maps of one width were expected"
        )
    if min(*cells, samples) < 1:
        raise UserError(f"boxes' features of size {cells} with samples={samples}: 1 or more was expected")


def _listed(maps: Sequence[Any], levels: Any) -> tuple[Any, Any, Any]:
    """Returns all voxels of all maps, (places, channels), where a box's map begins (batch, n), and its sizes there."""
    batch, width = ops.shape(maps[0])[0], maps[0].shape[-1]
    sizes = [ops.shape(x)[1:-1] for x in maps]
    starts: list[Any] = [0]
    for of_map in sizes:
        starts.append(starts[-1] + math.prod(of_map))
    rows = ops.concatenate([ops.reshape(x, (batch, -1, width)) for x in maps], axis=1) if len(maps) > 1 else maps[0]
    extents = ops.cast(ops.stack([ops.stack(list(of_map)) for of_map in sizes]), "int32")
    first = ops.take(ops.cast(ops.stack(starts[:-1]), "int32"), levels, axis=0)
    first = first + ops.arange(batch, dtype="int32")[:, None] * starts[-1]
    return ops.reshape(rows, (-1, width)), first, ops.take(extents, levels, axis=0)


def _taps(low: Any, high: Any, extent: Any, cells: int, samples: int) -> tuple[Any, Any]:
    """Returns which voxels along an axis a cell is made of, and how much of each: (batch, n, cells, 2 * samples).

    Args:
        low: (batch, n), in the map's voxels.
        high: Likewise.
        extent: (batch, n) int32, the map's size.
        cells: Along the axis.
        samples: Points in a cell.
    """
    share = (ops.arange(cells * samples, dtype="float32") + 0.5) / (cells * samples)
    point = low[..., None] + share * (high - low)[..., None] - 0.5
    point = ops.where(ops.isfinite(point), point, -2.0)  # outside: edges that are no numbers read 0, nowhere
    last = ops.cast(extent, "float32")[..., None] - 1.0
    is_near = ops.cast(ops.logical_and(point >= -1.0, point <= last + 1.0), "float32") / samples
    point = ops.minimum(ops.maximum(point, 0.0), last)
    below = ops.floor(point)
    part = point - below
    above = ops.minimum(below + 1.0, last)
    whole = (*ops.shape(low), cells, 2 * samples)
    index = ops.cast(ops.reshape(ops.stack([below, above], axis=-1), whole), "int32")
    return index, ops.reshape(ops.stack([(1.0 - part) * is_near, part * is_near], axis=-1), whole)
