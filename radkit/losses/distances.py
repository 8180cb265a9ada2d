"""Euclidean distances to a mask, exact, as a graph of plain operations: no step back to the host."""

from typing import Any

from keras import ops

_FAR = 1e12  # squared: beyond every image


def squared_distances(inside: Any) -> Any:
    """Returns the squared distance, in voxels, of each voxel to the nearest one that is inside; float32, same shape.

    Args:
        inside: (batch, *spatial, channels) bool, each channel for itself. Where a channel is empty: 1e12 or more.

    Axis by axis: a line's squared distance is the lowest of its voxels' plus the square of the way there. The way is
    lengthened as long as it can still pay.

    Source: Felzenszwalb and Huttenlocher 2012, https://doi.org/10.4086/toc.2012.v008a019, section 2 (the definition).
    """
    found = ops.stop_gradient(ops.where(inside, 0.0, _FAR))
    for axis in range(1, len(inside.shape) - 1):
        found = _along(found, axis)
    return found


def _along(values: Any, axis: int) -> Any:
    """Returns what voxels may cost that are reached along one axis, too."""
    order = [axis, *[other for other in range(len(values.shape)) if other != axis]]
    turned = ops.transpose(values, order)
    length = ops.shape(turned)[0]
    lines = ops.reshape(turned, (length, -1))  # the axis first: a shift is then one piece of memory
    width = ops.shape(lines)[1]
    beyond = ops.full_like(lines, _FAR)
    padded = ops.concatenate([beyond, lines, beyond], axis=0)
    can_be_reached = ops.min(lines, axis=0, keepdims=True) < _FAR

    def goes_on(way: Any, found: Any) -> Any:
        farthest = ops.max(ops.where(can_be_reached, found, 0.0))
        return ops.logical_and(way < length, ops.cast(way * way, "float32") < farthest)

    def lengthened(way: Any, found: Any) -> tuple[Any, Any]:
        near = [ops.slice(padded, (start, 0), (length, width)) for start in (length - way, length + way)]
        return way + 1, ops.minimum(found, ops.minimum(*near) + ops.cast(way * way, "float32"))

    _, found = ops.while_loop(goes_on, lengthened, (ops.cast(1, "int32"), lines))
    back = [order.index(place) for place in range(len(order))]
    return ops.transpose(ops.reshape(found, ops.shape(turned)), back)


def has_both(inside: Any) -> Any:
    """Returns (batch, 1, ..., channels) bool: whether a mask has an edge, being neither empty nor everything."""
    space = tuple(range(1, len(inside.shape) - 1))
    some, every = (ops.any(part, axis=space, keepdims=True) for part in (inside, ops.logical_not(inside)))
    return ops.logical_and(some, every)


def signed(inside: Any) -> Any:
    """Returns distances to a mask's edge, float32: above 0 outside; inside 0 for its outermost voxels, then below.

    A mask without an edge gives 0 everywhere.
    """
    outwards = ops.sqrt(squared_distances(inside))
    inwards = ops.sqrt(squared_distances(ops.logical_not(inside)))
    return ops.where(has_both(inside), ops.where(inside, 1.0 - inwards, outwards), 0.0)


def to_edge(inside: Any) -> Any:
    """Returns each voxel's distance to the nearest one on the other side of the edge, float32; 0 without an edge."""
    across = squared_distances(inside) + squared_distances(ops.logical_not(inside))
    return ops.where(has_both(inside), ops.sqrt(across), 0.0)
