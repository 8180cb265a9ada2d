"""From modality values to what the network sees, and back: the same graph in training, evaluation and serving.

Everything here is TensorFlow on a batch of equally sized images, `(batch, *spatial, 1)`, so that it can be traced into
a SavedModel. Radiographs are scaled to `image_size` and padded; volumes are resampled to `spacing_mm` and padded.
"""

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from radkit import config


class Place(NamedTuple):
    """Where a prepared image came from: enough to put an answer back."""

    source: tf.Tensor  # (rank,) int32: size of the image that came in
    scaled: tf.Tensor  # (rank,) int32: its size after resampling
    before: tf.Tensor  # (rank,) int32: padding in front of it


def modality_values(image: tf.Tensor, slope: tf.Tensor, intercept: tf.Tensor) -> tf.Tensor:
    """Returns a record's image in modality units, float32.

    Args:
        image: Stored values, (slices, rows, columns, 1) or (rows, columns, 1).
        slope: (slices,), or (1,) for a radiograph.
        intercept: As slope.
    """
    shape = [-1, 1, 1, 1] if image.shape.rank == 4 else [-1, 1, 1]
    return tf.cast(image, tf.float32) * tf.reshape(slope, shape) + tf.reshape(intercept, shape)


def prepare(image: tf.Tensor, spacing_mm: tf.Tensor, data: config.Data) -> tuple[tf.Tensor, Place]:
    """Returns the network's input and the place it came from.

    Args:
        image: Modality values, (batch, *spatial, 1) float32.
        spacing_mm: (batch, rank) float32. Where images are resampled by it, it must be known, and one for the batch.
        data: The config's data section.

    Returns:
        (batch, *sizes, 1) float32, sizes at least `data.image_size` and multiples of `data.size_multiple`.
    """
    image, place = resample(normalise(image, data), spacing_mm, data)
    return pad(image, place, data)


def normalise(image: tf.Tensor, data: config.Data) -> tf.Tensor:
    """Returns intensities as `data.normalise` says: each image to mean 0 and deviation 1, or a window to [-1, 1]."""
    if data.normalise == "none":
        return image
    if data.normalise == "window":
        low, high = data.window
        return tf.clip_by_value((image - low) / (high - low), 0.0, 1.0) * 2.0 - 1.0
    axes = list(range(1, image.shape.rank))
    # The mean is taken out first: squares of large offsets would lose float32's digits.
    centred = image - tf.reduce_mean(image, axes, keepdims=True)
    # Once more, for what rounding left of it: a constant image becomes 0, not 1 or -1.
    centred -= tf.reduce_mean(centred, axes, keepdims=True)
    deviation = tf.sqrt(tf.reduce_mean(tf.square(centred), axes, keepdims=True))
    return centred / tf.maximum(deviation, 1e-6)


def resample(image: tf.Tensor, spacing_mm: tf.Tensor, data: config.Data) -> tuple[tf.Tensor, Place]:
    """Returns the image at the network's spacing (volumes) or fitted into `image_size` (radiographs)."""
    source = tf.shape(image)[1:-1]
    if data.kind == "radiograph":
        target = tf.constant(data.image_size, tf.int32)
        ratio = tf.reduce_min(tf.cast(target, tf.float32) / tf.cast(source, tf.float32))
        scaled = tf.minimum(target, tf.maximum(1, tf.cast(tf.round(tf.cast(source, tf.float32) * ratio), tf.int32)))
        image = tf.image.resize(image, scaled, method="bilinear", antialias=True)
        return image, Place(source, scaled, tf.zeros_like(scaled))
    if not data.spacing_mm:
        return image, Place(source, source, tf.zeros_like(source))
    sizes_mm = tf.cast(source, tf.float32) * _shared(spacing_mm)
    scaled = tf.maximum(1, tf.cast(tf.round(sizes_mm / tf.constant(data.spacing_mm)), tf.int32))
    return resize(image, scaled), Place(source, scaled, tf.zeros_like(scaled))


def _shared(spacing_mm: tf.Tensor) -> tf.Tensor:
    """The batch's spacing, (rank,); the graph itself refuses what would give a wrong answer without a word."""
    known = tf.reduce_all(tf.math.is_finite(spacing_mm) & (spacing_mm > 0.0))
    tf.debugging.Assert(known, ["spacing_mm must be numbers > 0 mm, not", spacing_mm])
    same = tf.reduce_all(tf.abs(spacing_mm - spacing_mm[:1]) <= 1e-3 * spacing_mm[:1])
    tf.debugging.Assert(same, ["the images of a batch must share one spacing_mm, not", spacing_mm])
    return spacing_mm[0]


def resize(image: tf.Tensor, sizes: tf.Tensor, *, nearest: bool = False) -> tf.Tensor:
    """Returns (batch, *sizes, channels): linear (or nearest) between voxel centres, edges held."""
    rank = image.shape.rank - 2
    for axis in range(rank):
        old, new = tf.shape(image)[axis + 1], sizes[axis]
        scale = tf.cast(old, tf.float32) / tf.cast(new, tf.float32)
        positions = (tf.cast(tf.range(new), tf.float32) + 0.5) * scale - 0.5
        image = sample_axis(image, positions, axis + 1, nearest=nearest)
    return image


def sample_axis(image: tf.Tensor, positions: tf.Tensor, axis: int, *, nearest: bool) -> tf.Tensor:
    """Returns the image read at fractional indices along one axis; beyond the ends the end is held."""
    last = tf.cast(tf.shape(image)[axis] - 1, tf.float32)
    positions = tf.clip_by_value(positions, 0.0, last)
    if nearest:
        return tf.gather(image, tf.cast(tf.floor(positions + 0.5), tf.int32), axis=axis)
    below = tf.floor(positions)
    share = tf.reshape(positions - below, [-1 if a == axis else 1 for a in range(image.shape.rank)])
    low = tf.cast(below, tf.int32)
    high = tf.minimum(low + 1, tf.cast(last, tf.int32))
    return tf.gather(image, low, axis=axis) * (1.0 - share) + tf.gather(image, high, axis=axis) * share


def pad(image: tf.Tensor, place: Place, data: config.Data) -> tuple[tf.Tensor, Place]:
    """Returns the image in the middle: at least `image_size`, each size a multiple of `size_multiple`."""
    multiple = data.size_multiple if data.kind == "volume" else 1
    least = tf.maximum(place.scaled, tf.constant(data.image_size, tf.int32))
    sizes = (least + multiple - 1) // multiple * multiple
    before = (sizes - place.scaled) // 2
    after = sizes - place.scaled - before
    none = tf.zeros([1, 2], tf.int32)
    paddings = tf.concat([none, tf.stack([before, after], axis=1), none], axis=0)
    # As a tensor: without it TensorFlow may merge this into a network's first Conv3D, and lose that one's own padding.
    batch, channels = image.shape[0], image.shape[-1]
    image = tf.pad(image, paddings, constant_values=tf.constant(padding_value(data), image.dtype))
    # What the paddings' tensor hides from the graph: these two are as before.
    image.set_shape([batch, *[None] * (image.shape.rank - 2), channels])
    return image, place._replace(before=before)


def padding_value(data: config.Data) -> float:
    """Returns what surrounds an image: its mean (0) or, for a window, the window's lower end, as air around a patient.

    >>> padding_value(config.Data("ct", normalise="window"))
    -1.0
    """
    return -1.0 if data.normalise == "window" else 0.0


def restore(outputs: tf.Tensor, place: Place) -> tf.Tensor:
    """Returns an answer on the grid of the image that came in: padding cut away, resampled back (linear).

    Args:
        outputs: (batch, *sizes, channels) float32 on the network's grid, as probabilities.
        place: From `prepare`.
    """
    begin = tf.concat([[0], place.before, [0]], axis=0)
    size = tf.concat([[-1], place.scaled, [-1]], axis=0)
    kept = tf.slice(outputs, begin, size)
    # Nothing was resampled, so nothing is: the copies of all channels of a large volume would cost more than it seems.
    same = tf.reduce_all(tf.equal(place.scaled, place.source))
    return tf.cond(same, lambda: kept, lambda: resize(kept, place.source))


def crop_or_pad(image: tf.Tensor, sizes: Sequence[int], offset: tf.Tensor, fill: float = 0.0) -> tf.Tensor:
    """Returns (*sizes, channels) of one image: `offset`, in [0, 1] per axis, says where the cut (or the image) lies."""
    have, channels = tf.shape(image)[:-1], image.shape[-1]  # slicing would forget the static number of channels
    want = tf.constant(sizes, tf.int32)
    spare = tf.cast(tf.maximum(have - want, 0), tf.float32)
    begin = tf.cast(tf.round(offset * spare), tf.int32)
    image = tf.slice(image, tf.concat([begin, [0]], 0), tf.concat([tf.minimum(have, want), [-1]], 0))
    lacking = want - tf.minimum(have, want)
    before = tf.cast(tf.round(offset * tf.cast(lacking, tf.float32)), tf.int32)
    paddings = tf.concat([tf.stack([before, lacking - before], 1), [[0, 0]]], 0)
    image = tf.pad(image, paddings, constant_values=tf.cast(fill, image.dtype))
    return tf.ensure_shape(image, [*sizes, channels])
