"""Moves in space: where each voxel of the patch is read in the region, for images, masks, points and boxes alike.

A patch's voxel, in mm from the patch's middle, is moved by a smooth displacement, mirrored, sheared, turned, zoomed and
shifted; the image is read there once. Points and boxes go the other way.
"""

import math
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from radkit import config
from radkit.data.augmentation import draws, elastic, reach


@dataclass(frozen=True)
class Move:
    """One drawn change of space.

    Attributes:
        size: Of the patch.
        region: Size of the region it is read from.
        flips: The axes that may be flipped.
        mirrored: (rank,) bool: the axes that are flipped.
        matrix: (rank, rank) float32: steps in the region, in voxels, for a step of one voxel in the patch; with flips.
        middle: (rank,) float32: where the patch's middle is read, as an index of the region.
        warp: The displacement on top of it, in voxels of the region.
        between: Whether it may read between voxels.
    """

    size: tuple[int, ...]
    region: tuple[int, ...]
    flips: tuple[int, ...]
    mirrored: tf.Tensor
    matrix: tf.Tensor
    middle: tf.Tensor
    warp: elastic.Warp | None
    between: bool


def draw(
    seed: tf.Tensor,
    size: tuple[int, ...],
    region: tuple[int, ...],
    spacing_mm: tf.Tensor,
    settings: config.Augment,
    data: config.Data,
) -> Move:
    """Returns the change of space that the seed draws."""
    rank = len(size)
    mirrored = _mirrored(seed, rank, settings)
    steps = tf.where(mirrored, -1.0, 1.0)
    middle = tf.constant([(have - 1) / 2 for have in region], tf.float32)
    flips = tuple(axis for axis, flip in enumerate(settings.flip) if flip)
    if not reach.moves(settings):
        return Move(size, region, flips, mirrored, tf.linalg.diag(steps), middle, None, False)
    moved = tf.cast(draws.happens(seed, "affine", settings.chances.affine), tf.float32)
    in_mm = _turn(seed, rank, moved, settings) * _zoom(seed, moved, settings)
    matrix = in_mm * spacing_mm[None, :] / spacing_mm[:, None] * steps[None, :]
    middle = middle + moved * _shift(seed, size, spacing_mm, settings)
    warp = elastic.draw(seed, size, spacing_mm, settings, data).through(matrix) if settings.elastic_mm else None
    return Move(size, region, flips, mirrored, matrix, middle, warp, True)


def _mirrored(seed: tf.Tensor, rank: int, settings: config.Augment) -> tf.Tensor:
    flips = settings.flip or (False,) * rank
    chance = settings.chances.flip
    return tf.stack([draws.happens(seed, f"flip {axis}", chance) if flips[axis] else False for axis in range(rank)])


def _within(seed: tf.Tensor, name: str, most: float) -> tf.Tensor:
    return draws.uniform(draws.key(seed, name), [], -most, most)


def _zoom(seed: tf.Tensor, moved: tf.Tensor, settings: config.Augment) -> tf.Tensor:
    return 1.0 + moved * _within(seed, "scale", settings.scale)  # one zoom for all axes: shapes stay


def _shift(seed: tf.Tensor, size: tuple[int, ...], spacing_mm: tf.Tensor, settings: config.Augment) -> tf.Tensor:
    share = draws.uniform(draws.key(seed, "shift"), [len(size)], -settings.shift, settings.shift)
    mm = draws.uniform(draws.key(seed, "shift_mm"), [len(size)], -settings.shift_mm, settings.shift_mm)
    return share * tf.constant(size, tf.float32) + mm / spacing_mm


def _turn(seed: tf.Tensor, rank: int, moved: tf.Tensor, settings: config.Augment) -> tf.Tensor:
    """Returns rotation times shear, (rank, rank), of steps in mm."""
    matrix = tf.eye(rank)
    if settings.shear:
        lean = draws.uniform(draws.key(seed, "shear"), [rank, rank], -settings.shear, settings.shear)
        matrix += moved * lean * np.triu(np.ones((rank, rank), np.float32), 1)
    for number, (most, plane) in enumerate(zip(settings.rotate, reach.planes(rank))):
        if most:
            angle = moved * _within(seed, f"rotate {number}", math.radians(most))
            matrix = tf.matmul(_turned(angle, plane, rank), matrix)
    return matrix


def _turned(angle: tf.Tensor, plane: tuple[int, int], rank: int) -> tf.Tensor:
    one, other = plane
    cells = [[tf.constant(float(a == b)) for b in range(rank)] for a in range(rank)]
    cells[one][one] = cells[other][other] = tf.cos(angle)
    cells[one][other], cells[other][one] = -tf.sin(angle), tf.sin(angle)
    return tf.stack([tf.stack(row) for row in cells])
