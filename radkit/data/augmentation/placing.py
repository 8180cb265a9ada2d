"""Points and boxes under a move: where in the patch something of the region is seen."""

import itertools

import numpy as np
import tensorflow as tf

from radkit.data.augmentation import elastic
from radkit.data.augmentation.spatial import Move

# A box of which less than this share of its volume is left in the patch is none any more: its label becomes -1.
MIN_SHARE = 0.25
_ROUNDS = 24  # of the search for what a displacement moves onto a point; each brings it nearer by half or more
_STEPS = {2: 5, 3: 3}  # points along a box's edges and faces that are followed where the move is not straight


def points(places: tf.Tensor, move: Move) -> tf.Tensor:
    """Returns where points of the region are in the patch.

    Args:
        places: (n, rank) float32, indices of voxel centres; may lie outside. nan stays nan.
        move: The change of space.

    Returns:
        Likewise, of the patch; those outside it keep their places outside.
    """
    middle = tf.constant([(extent - 1) / 2 for extent in move.size], tf.float32)
    back = _inverse(move.matrix)
    straight = _times(back, places - move.middle) + middle
    warp = move.warp
    if warp is None:
        return straight
    known = tf.where(tf.math.is_finite(straight), straight, 0.0)

    def nearer(found: tf.Tensor) -> tuple[tf.Tensor]:
        return (known - _times(back, elastic.at(warp, found)),)

    (found,) = tf.while_loop(lambda _: True, nearer, (known,), maximum_iterations=_ROUNDS)
    return tf.where(tf.math.is_finite(straight), found, straight)


def boxes(edges: tf.Tensor, labels: tf.Tensor, move: Move) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the boxes around what the region's boxes hold, cut at the patch, and their labels.

    Args:
        edges: (n, 2 * rank) float32: low, then high edges; voxel k reaches from k to k + 1.
        labels: (n,) int64; -1 where there is no box.
        move: The change of space.

    Returns:
        Likewise, of the patch; where less than `MIN_SHARE` of a box is left, its label is -1 and its edges are 0.
    """
    rank = len(move.size)
    low, high = edges[:, None, :rank] - 0.5, edges[:, None, rank:] - 0.5
    followed = low + (high - low) * _of_a_box(rank, 2 if move.warp is None else _STEPS[rank])
    seen = tf.reshape(points(tf.reshape(followed, [-1, rank]), move), tf.shape(followed)) + 0.5
    low, high = tf.reduce_min(seen, axis=1), tf.reduce_max(seen, axis=1)
    size = tf.constant(move.size, tf.float32)
    inside_low, inside_high = tf.clip_by_value(low, 0.0, size), tf.clip_by_value(high, 0.0, size)
    left = tf.reduce_prod(inside_high - inside_low, axis=1)
    kept = (labels >= 0) & (left > 0.0) & (left >= MIN_SHARE * tf.reduce_prod(high - low, axis=1))
    cut = tf.concat([inside_low, inside_high], axis=1)
    return tf.where(kept[:, None], cut, 0.0), tf.where(kept, labels, -1)


def _of_a_box(rank: int, steps: int) -> tf.Tensor:
    """Returns places on a box's surface, (n, rank), 0 at its low and 1 at its high edges."""
    shares = np.array(list(itertools.product(np.linspace(0, 1, steps), repeat=rank)), np.float32)
    return tf.constant(shares[((shares == 0) | (shares == 1)).any(axis=1)])


def _times(matrix: tf.Tensor, vectors: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(matrix[None] * vectors[:, None, :], axis=-1)


def _inverse(matrix: tf.Tensor) -> tf.Tensor:
    """Returns the inverse of a matrix of 2 or 3 rows by its cofactors: exact where it only mirrors."""
    if matrix.shape[0] == 2:
        (a, b), (c, d) = (tf.unstack(row) for row in tf.unstack(matrix))
        return tf.stack([tf.stack([d, -b]), tf.stack([-c, a])]) / (a * d - b * c)
    x, y, z = tf.unstack(matrix)
    crossed = tf.stack([tf.linalg.cross(y, z), tf.linalg.cross(z, x), tf.linalg.cross(x, y)], axis=1)
    return crossed / tf.reduce_sum(x * crossed[:, 0])
