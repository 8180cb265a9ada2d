"""A region's stored values as the network sees them: normalised, through a jittered window, padded."""

from collections.abc import Mapping

import tensorflow as tf

from radkit import config
from radkit.data import prepare
from radkit.data.augmentation import draws


def normalised(
    example: Mapping[str, tf.Tensor],
    seed: tf.Tensor,
    settings: config.Augment,
    data: config.Data,
    already: bool | tf.Tensor,
) -> tf.Tensor:
    """Returns the region's normalised image, (*region, 1) float32.

    Args:
        example: As `augment.augment_example` takes it.
        seed: Draws the change of the window.
        settings: Of augmentation.
        data: Says how values are normalised.
        already: Whether `image` holds normalised values; a tensor where that is known only when it runs.
    """
    values = prepare.modality_values(example["image"], example["slope"], example["intercept"])
    if data.normalise == "zscore":
        # Of the whole record, as `prepare.normalise`: a patch by itself would not know it.
        found = (values - example["centre"][0] - example["centre"][1]) / tf.maximum(example["deviation"], 1e-6)
    elif data.normalise == "window":
        found = _windowed(values, data.window)
    else:
        found = values
    if already is not False:
        found = tf.where(already, values, found)
    if data.normalise == "window" and settings.window:
        found = _jittered(values, found, seed, settings, data, already)
    return found


def padded(example: Mapping[str, tf.Tensor], values: tf.Tensor, fill: float) -> tf.Tensor:
    """Returns the region's values, with `fill` where it lies beyond its record."""
    return tf.where(inside(example), values, tf.cast(fill, values.dtype))


def is_inside(example: Mapping[str, tf.Tensor]) -> tf.Tensor:
    """Returns () bool: whether all of the region is the record's."""
    region = tf.constant(example["image"].shape[:-1].as_list(), tf.int32)
    return tf.reduce_all((example["low"] >= 0) & (example["low"] + region <= example["shape"]))


def inside(example: Mapping[str, tf.Tensor]) -> tf.Tensor:
    """Returns which voxels of the region are the record's, bool, to be broadcast to (*region, 1)."""
    rank = example["image"].shape.rank - 1
    found = tf.ones([1] * (rank + 1), tf.bool)
    for axis in range(rank):
        index = tf.range(example["image"].shape[axis]) + example["low"][axis]
        within = (index >= 0) & (index < example["shape"][axis])
        found &= tf.reshape(within, [-1 if a == axis else 1 for a in range(rank + 1)])
    return found


def _windowed(values: tf.Tensor, window: tuple[float, float] | tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
    low, high = window
    return tf.clip_by_value((values - low) / (high - low), 0.0, 1.0) * 2.0 - 1.0


def _jittered(
    values: tf.Tensor,
    found: tf.Tensor,
    seed: tf.Tensor,
    settings: config.Augment,
    data: config.Data,
    already: bool | tf.Tensor,
) -> tf.Tensor:
    """Returns the values through another window; what a window has already cut away stays away."""
    low, high = data.window
    width = high - low
    if already is not False:
        values = tf.where(already, (values + 1.0) * (width / 2) + low, values)
    drawn = draws.uniform(draws.key(seed, "window"), [2], -settings.window, settings.window)
    middle, wide = (low + high) / 2 + width * drawn[0], width * (1.0 + drawn[1])
    other = _windowed(values, (middle - wide / 2, middle + wide / 2))
    return tf.where(draws.happens(seed, "window", settings.chances.window), other, found)
