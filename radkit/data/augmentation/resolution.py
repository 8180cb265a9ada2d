"""Blur and coarser voxels: for each axis one matrix, multiplied along it.

A dense matrix takes any width without a bound, keeps the image's edges right, and is what accelerators are best at.
"""

import math

import tensorflow as tf

from radkit import config
from radkit.data.augmentation import draws


def change(image: tf.Tensor, seed: tf.Tensor, spacing_mm: tf.Tensor, settings: config.Augment) -> tf.Tensor:
    """Returns the image (*size, 1) as a blunter scanner would have shown it.

    Args:
        image: float32.
        seed: Draws how blunt.
        spacing_mm: (rank,) float32.
        settings: `blur_mm`, `low_resolution` and their chances.
    """
    if not (settings.blur_mm or settings.low_resolution):
        return image
    blurred = draws.happens(seed, "blur", settings.chances.blur)
    coarse = draws.happens(seed, "low_resolution", settings.chances.low_resolution)
    blur_mm = draws.uniform(draws.key(seed, "blur"), [], 0.0, settings.blur_mm)
    factor = draws.uniform(draws.key(seed, "low_resolution"), [], 1.0, 1.0 + settings.low_resolution)

    def changed() -> tf.Tensor:
        found = image
        for axis, size in enumerate(image.shape[:-1]):
            matrix = tf.eye(size)
            if settings.low_resolution:
                matrix = tf.where(coarse, coarser(size, factor), matrix)
            if settings.blur_mm:
                finer = gaussian(size, tf.where(blurred, blur_mm, 0.0) / spacing_mm[axis])
                matrix = tf.matmul(matrix, finer) if settings.low_resolution else finer
            found = _along(found, matrix, axis)
        return found

    any_of_them = (blurred & (settings.blur_mm > 0.0)) | (coarse & (settings.low_resolution > 0.0))
    return tf.cond(any_of_them, changed, lambda: image)


def gaussian(size: int, sigma: tf.Tensor) -> tf.Tensor:
    """Returns the (size, size) matrix of a Gaussian of `sigma` voxels; at the edges what is there has all the weight.

    A sigma of 0 gives the identity.
    """
    index = tf.range(size, dtype=tf.float32)
    distance = (index[:, None] - index[None, :]) / tf.maximum(sigma, 1e-3)
    return _shares(tf.exp(-0.5 * tf.square(distance)))


def coarser(size: int, factor: tf.Tensor) -> tf.Tensor:
    """Returns the (size, size) matrix of voxels `factor` times as large, and linearly back to the first ones' places.

    Each coarse voxel is the mean of what it covers; a factor of 1 gives the identity.
    """
    cells = tf.range(size, dtype=tf.float32)
    low, high = cells[:, None] * factor, (cells[:, None] + 1.0) * factor
    covered = tf.minimum(high, cells[None, :] + 1.0) - tf.maximum(low, cells[None, :])
    means = _shares(tf.maximum(covered, 0.0))
    last = tf.math.ceil(size / factor - 1e-3) - 1.0
    place = tf.clip_by_value((cells + 0.5) / factor - 0.5, 0.0, last)
    back = tf.maximum(1.0 - tf.abs(place[:, None] - cells[None, :]), 0.0)
    return tf.matmul(back, means)


def _shares(weights: tf.Tensor) -> tf.Tensor:
    """Returns rows that add to 1; a row of nothing stays nothing."""
    return weights / tf.maximum(tf.reduce_sum(weights, axis=1, keepdims=True), 1e-6)


def _along(image: tf.Tensor, matrix: tf.Tensor, axis: int) -> tf.Tensor:
    shape = image.shape.as_list()
    before, after = math.prod(shape[:axis]), math.prod(shape[axis + 1 :])
    if after == 1:
        return tf.reshape(tf.matmul(tf.reshape(image, [before, shape[axis]]), matrix, transpose_b=True), shape)
    flat = tf.reshape(image, [before, shape[axis], after])
    return tf.reshape(tf.matmul(tf.broadcast_to(matrix, [before, *matrix.shape]), flat), shape)
