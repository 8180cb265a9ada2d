"""A region read at the places that a move says: once, linear for the image, nearest for the mask."""

import math
from collections.abc import Callable, Sequence

import tensorflow as tf

from radkit.data.augmentation import elastic
from radkit.data.augmentation.spatial import Move

Pair = tuple[tf.Tensor, tf.Tensor | None]  # an image and its mask


def between(image: tf.Tensor, mask: tf.Tensor | None, move: Move) -> Pair:
    """Returns the image (*size, 1) and the mask as a move shows them that may read between voxels.

    Args:
        image: (*region, 1) float32. Beyond the region its edge is held.
        mask: (*region, 1) uint8, or None.
        move: The change of space.
    """
    places = _places(move)
    return _linear(image, places, move), None if mask is None else _nearest(mask, places, move)


def mirrored(region: Callable[[], Pair], move: Move) -> Pair:
    """Returns the image (*size, 1) and the mask as a move shows them that only mirrors: voxels change places.

    Args:
        region: Gives the region's image and mask. It becomes part of one branch for each choice of axes, so that XLA
            makes of it, and of the mirroring, one pass over whole rows.
        move: The change of space.
    """
    if not move.flips:
        return _turned_over(region(), (), move)
    choices = [tuple(a for a, on in zip(move.flips, chosen) if on) for chosen in _choices(len(move.flips))]
    number = sum(tf.cast(move.mirrored[axis], tf.int32) * 2**place for place, axis in enumerate(move.flips))

    def branch(axes: tuple[int, ...]) -> Callable[[], list[tf.Tensor]]:
        return lambda: [values for values in _turned_over(region(), axes, move) if values is not None]

    found = tf.switch_case(number, [branch(axes) for axes in choices])
    found = list(found) if isinstance(found, list | tuple) else [found]
    return found[0], found[1] if len(found) > 1 else None


def _choices(count: int) -> list[tuple[bool, ...]]:
    """Returns which of so many are chosen, by the number whose binary digits say it, the lowest first."""
    return [tuple(bool(number >> place & 1) for place in range(count)) for number in range(2**count)]


def _turned_over(pair: Pair, axes: tuple[int, ...], move: Move) -> Pair:
    begin = [(have - want) // 2 for have, want in zip(move.region, move.size)]
    image, mask = (None if v is None else tf.reverse(tf.slice(v, [*begin, 0], [*move.size, 1]), axes) for v in pair)
    return image, mask


def _places(move: Move) -> list[tf.Tensor]:
    """Returns, for each axis of the region, the fractional index at which each voxel of the patch is read."""
    rank = len(move.size)
    warp = None if move.warp is None else elastic.field(move.warp)
    found = []
    for axis in range(rank):
        place = move.middle[axis]
        for other, extent in enumerate(move.size):
            steps = move.matrix[axis, other] * (tf.range(extent, dtype=tf.float32) - (extent - 1) / 2)
            place += tf.reshape(steps, [-1 if a == other else 1 for a in range(rank)])
        if warp is not None:
            place += warp[axis]
        found.append(tf.clip_by_value(place, 0.0, float(move.region[axis] - 1)))
    return found


def _linear(image: tf.Tensor, places: Sequence[tf.Tensor], move: Move) -> tf.Tensor:
    flat = tf.reshape(image, [-1])
    lows = [tf.minimum(tf.floor(place), max(0.0, have - 2.0)) for place, have in zip(places, move.region)]
    shares = [place - low for place, low in zip(places, lows)]

    def read(axis: int, index: tf.Tensor) -> tf.Tensor:
        if axis == len(move.size):
            return tf.gather(flat, index)
        low = read(axis + 1, index)
        if move.region[axis] == 1:
            return low
        high = read(axis + 1, index + _stride(move, axis))
        return low + (high - low) * shares[axis]

    return tf.reshape(read(0, _index(lows, move)), [*move.size, 1])


def _nearest(mask: tf.Tensor, places: Sequence[tf.Tensor], move: Move) -> tf.Tensor:
    index = _index([tf.floor(place + 0.5) for place in places], move)
    return tf.reshape(tf.gather(tf.reshape(mask, [-1]), index), [*move.size, 1])


def _index(places: Sequence[tf.Tensor], move: Move) -> tf.Tensor:
    """Returns whole places along each axis as one index into the flat region."""
    index = tf.zeros([], tf.int32)
    for axis, place in enumerate(places):
        index += tf.cast(place, tf.int32) * _stride(move, axis)
    return index


def _stride(move: Move, axis: int) -> int:
    return math.prod(move.region[axis + 1 :])
