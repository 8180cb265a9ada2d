"""Changes of the patch's intensities, which are normalised ones; each is off where its setting is 0.

What has a zero of its own (gamma, a coil's field, Rician noise) takes the lower end of the intensities for it: the
window's, or the least of the patch.
"""

import math
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from radkit import config
from radkit.data import prepare
from radkit.data.augmentation import draws, resolution

_FIELD_POINTS = 5  # control points of the coil's field along each axis: two cells of a cubic spline
_SMALL = 1e-6


def change(
    image: tf.Tensor, seed: tf.Tensor, spacing_mm: tf.Tensor, settings: config.Augment, data: config.Data
) -> tf.Tensor:
    """Returns the image (*size, 1) changed: as the scanner blurs, shades and displays it, then its noise, then holes.

    Args:
        image: Normalised, float32.
        seed: Draws how much of each.
        spacing_mm: (rank,) float32.
        settings: How much of each at most, and how often.
        data: Says how the image was normalised.
    """
    chances = settings.chances
    image = resolution.change(image, seed, spacing_mm, settings)
    if settings.bias_field:
        image = _at_times(image, seed, "bias_field", chances.bias_field, lambda i: _bias(i, seed, settings, data))
    if settings.gamma:
        image = _at_times(image, seed, "gamma", chances.gamma, lambda i: _gamma(i, seed, settings, data))
    if settings.gain:
        drawn = draws.uniform(draws.key(seed, "gain"), [2], -settings.gain, settings.gain)
        drawn *= tf.cast(draws.happens(seed, "gain", chances.gain), tf.float32)
        image = image * (1.0 + drawn[0]) + drawn[1]
    if settings.noise:
        image = _at_times(image, seed, "noise", chances.noise, lambda i: _noisy(i, seed, settings))
    if settings.rician:
        image = _at_times(image, seed, "rician", chances.rician, lambda i: _rician(i, seed, settings, data))
    return _cut_out(image, seed, settings, data) if settings.cut_out else image


def _at_times(
    image: tf.Tensor, seed: tf.Tensor, name: str, chance: float, change: Callable[[tf.Tensor], tf.Tensor]
) -> tf.Tensor:
    """Returns the image changed where this seed draws the change; it costs nothing where it does not."""
    if chance >= 1.0:
        return change(image)
    return tf.cond(draws.happens(seed, name, chance), lambda: change(image), lambda: image)


def _low(image: tf.Tensor, data: config.Data) -> tf.Tensor:
    return tf.constant(-1.0) if data.normalise == "window" else tf.reduce_min(image)


def _high(image: tf.Tensor, data: config.Data) -> tf.Tensor:
    return tf.constant(1.0) if data.normalise == "window" else tf.reduce_max(image)


def _bias(image: tf.Tensor, seed: tf.Tensor, settings: config.Augment, data: config.Data) -> tf.Tensor:
    low = _low(image, data)
    return (image - low) * _field(image.shape.as_list(), seed, settings) + low


def _field(shape: list[int], seed: tf.Tensor, settings: config.Augment) -> tf.Tensor:
    """Returns the factor of each voxel, (*size, 1), from 1 - bias_field to 1 + bias_field: a cubic spline."""
    rank = len(shape) - 1
    most = settings.bias_field
    values = draws.uniform(draws.key(seed, "bias_field"), [_FIELD_POINTS] * rank, -most, most)
    for axis in reversed(range(rank)):
        before, after = values.shape[:axis], values.shape[axis + 1 :]
        flat = tf.reshape(values, [math.prod(before), _FIELD_POINTS, math.prod(after)])
        weights = tf.constant(_spline_weights(shape[axis]))
        values = tf.reshape(
            tf.matmul(tf.broadcast_to(weights, [flat.shape[0], *weights.shape]), flat), [*before, shape[axis], *after]
        )
    return 1.0 + values[..., None]


def _spline_weights(size: int) -> np.ndarray:
    """Returns (size, control points): cubic B-splines over two cells."""
    at = (np.arange(size) + 0.5) / size * (_FIELD_POINTS - 3) + 1.0
    distance = np.abs(at[:, None] - np.arange(_FIELD_POINTS)[None])
    weights = (np.maximum(2 - distance, 0) ** 3 - 4 * np.maximum(1 - distance, 0) ** 3) / 6
    return np.asarray(weights, np.float32)


def _gamma(image: tf.Tensor, seed: tf.Tensor, settings: config.Augment, data: config.Data) -> tf.Tensor:
    most = math.log(1.0 + settings.gamma)
    exponent = tf.exp(draws.uniform(draws.key(seed, "gamma"), [], -most, most))
    low = _low(image, data)
    width = tf.maximum(_high(image, data) - low, _SMALL)
    share = (image - low) / width
    # As exp and log, which processors compute many at a time; pow they do not.
    changed = tf.where(share > _SMALL, tf.exp(exponent * tf.math.log(tf.maximum(share, _SMALL))), share)
    return changed * width + low


def _noisy(image: tf.Tensor, seed: tf.Tensor, settings: config.Augment) -> tf.Tensor:
    strength = draws.uniform(draws.key(seed, "noise strength"), [], 0.0, settings.noise)
    return image + strength * draws.normal(draws.key(seed, "noise"), image.shape.as_list())


def _rician(image: tf.Tensor, seed: tf.Tensor, settings: config.Augment, data: config.Data) -> tf.Tensor:
    """Returns the magnitude of a complex signal of the image's size with normal noise in both of its parts."""
    strength = draws.uniform(draws.key(seed, "rician strength"), [], 0.0, settings.rician)
    shape, low = image.shape.as_list(), _low(image, data)
    real = image - low + strength * draws.normal(draws.key(seed, "rician real"), shape)
    imaginary = strength * draws.normal(draws.key(seed, "rician imaginary"), shape)
    return tf.sqrt(tf.square(real) + tf.square(imaginary)) + low


def _cut_out(image: tf.Tensor, seed: tf.Tensor, settings: config.Augment, data: config.Data) -> tf.Tensor:
    rank = image.shape.rank - 1
    sides = draws.uniform(draws.key(seed, "cut_out sides"), [rank], 0.0, settings.cut_out)
    middles = draws.uniform(draws.key(seed, "cut_out middles"), [rank])
    blank = tf.reshape(draws.happens(seed, "cut_out", settings.chances.cut_out), [1] * (rank + 1))
    for axis, size in enumerate(image.shape[:-1]):
        place = (tf.range(size, dtype=tf.float32) + 0.5) / size
        within = tf.abs(place - middles[axis]) < sides[axis] / 2
        blank &= tf.reshape(within, [-1 if a == axis else 1 for a in range(rank + 1)])
    return tf.where(blank, prepare.padding_value(data), image)
