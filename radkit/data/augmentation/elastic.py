"""Smooth displacements: cubic B-splines of control points at random, in mm.

Source: Rueckert et al. 1999, Nonrigid registration using free-form deformations. Displacements below 0.4 of the control
points' spacing never fold the image (Choi and Lee 2000, Injectivity conditions of 2D and 3D uniform cubic B-spline
functions); the config's check holds that.
"""

import dataclasses
import math
from dataclasses import dataclass

import tensorflow as tf

from radkit import config
from radkit.data.augmentation import draws

_MOST = 24  # control points along an axis, where the records' spacing is not known beforehand
_TAPS = 4  # control points that move a place, along each axis


@dataclass(frozen=True)
class Warp:
    """A displacement of each place of a patch.

    Attributes:
        points: (rank, *control points) float32: displacements of control points, in voxels.
        cells: (rank,) float32: control points a voxel of the patch.
        size: Of the patch.
        happens: () bool: whether any displacement is not 0.
    """

    points: tf.Tensor
    cells: tf.Tensor
    size: tuple[int, ...]
    happens: tf.Tensor

    def through(self, matrix: tf.Tensor) -> "Warp":
        """Returns the displacement that is seen where places go through a matrix, (rank, rank), after it."""
        return dataclasses.replace(self, points=tf.tensordot(matrix, self.points, 1))


def draw(
    seed: tf.Tensor, size: tuple[int, ...], spacing_mm: tf.Tensor, settings: config.Augment, data: config.Data
) -> Warp:
    """Returns the displacement that the seed draws; of zero where none happens."""
    counts = [_count(extent, axis, settings, data) for axis, extent in enumerate(size)]
    # Where a patch is wider than its control points reach, they stand further apart.
    widest = tf.constant([(count - _TAPS) / max(1, extent - 1) for count, extent in zip(counts, size)], tf.float32)
    cells = tf.minimum(spacing_mm / settings.elastic_spacing_mm, widest)
    happens = draws.happens(seed, "elastic", settings.chances.elastic)
    key = draws.key(seed, "elastic")
    mm = draws.uniform(key, [len(size), *counts], -settings.elastic_mm, settings.elastic_mm)
    mm *= tf.cast(happens, tf.float32)
    return Warp(mm / tf.reshape(spacing_mm, [-1] + [1] * len(size)), cells, size, happens)


def _count(extent: int, axis: int, settings: config.Augment, data: config.Data) -> int:
    if data.kind == "volume" and data.spacing_mm:
        return math.ceil((extent - 1) * data.spacing_mm[axis] / settings.elastic_spacing_mm) + _TAPS
    return _MOST


def field(warp: Warp) -> tf.Tensor:
    """Returns the displacement of every voxel of the patch, (rank, *size) float32: one matrix product an axis."""
    none = tf.zeros([len(warp.size), *warp.size])
    return tf.cond(warp.happens, lambda: _field(warp), lambda: none)


def _field(warp: Warp) -> tf.Tensor:
    rank = len(warp.size)
    values = warp.points
    for axis in reversed(range(rank)):
        weights = _weights(warp, axis)
        before, after = values.shape[: axis + 1], values.shape[axis + 2 :]
        flat = tf.reshape(values, [math.prod(before), values.shape[axis + 1], math.prod(after)])
        flat = tf.matmul(tf.broadcast_to(weights, [flat.shape[0], *weights.shape]), flat)
        values = tf.reshape(flat, [*before, warp.size[axis], *after])
    return values


def _weights(warp: Warp, axis: int) -> tf.Tensor:
    """Returns (voxels, control points): how much of each point's displacement each voxel has."""
    extent, count = warp.size[axis], warp.points.shape[axis + 1]
    steps = tf.range(extent, dtype=tf.float32) - (extent - 1) / 2
    at = steps * warp.cells[axis] + (count - 1) / 2
    return _spline(at[:, None] - tf.range(count, dtype=tf.float32)[None, :])


def _spline(distance: tf.Tensor) -> tf.Tensor:
    """Returns the cubic B-spline at a distance in control points."""
    far = tf.maximum(2.0 - tf.abs(distance), 0.0)
    near = tf.maximum(1.0 - tf.abs(distance), 0.0)
    return (far * far * far - 4.0 * near * near * near) / 6.0


def at(warp: Warp, places: tf.Tensor) -> tf.Tensor:
    """Returns the displacement at places of the patch, (n, rank) in voxels; beyond the patch its edge's is held."""
    indices, shares = tf.zeros([1, 1], tf.int32), tf.ones([1, 1])
    for axis, extent in enumerate(warp.size):
        count, half = warp.points.shape[axis + 1], (extent - 1) / 2
        place = tf.clip_by_value(places[:, axis] - half, -half, half) * warp.cells[axis] + (count - 1) / 2
        first = tf.clip_by_value(tf.cast(tf.floor(place), tf.int32) - 1, 0, count - _TAPS)
        taps = first[:, None] + tf.range(_TAPS)[None, :]
        share = _spline(place[:, None] - tf.cast(taps, tf.float32))
        indices = tf.reshape(indices[:, :, None] * count + taps[:, None, :], [places.shape[0], -1])
        shares = tf.reshape(shares[:, :, None] * share[:, None, :], [places.shape[0], -1])
    flat = tf.reshape(warp.points, [len(warp.size), -1])
    return tf.transpose(tf.reduce_sum(tf.gather(flat, indices, axis=1) * shares[None], axis=-1))
