"""What an exported graph itself refuses, in words: TensorFlow Serving holds no request to a signature's shapes."""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from radkit import config

Tensors = Mapping[str, tf.Tensor]
# Squares of larger values, as float32's largest where others' files hold no image, add up beyond float32 in a mean; a
# window cuts them off.
_MOST = 1e12


def checked(given: Tensors, data: config.Data) -> dict[str, tf.Tensor]:
    """Returns the inputs of `serving_default`, with checks in the graph that this is called in.

    Args:
        given: `image` (batch, *spatial, 1) float32, `spacing_mm` (batch, rank) float32, maybe `table` (batch, columns).
        data: The config's data section.

    The graph raises InvalidArgumentError with words: another number of channels, a size of 0, a pixel that is no
    number or beyond what can be normalised, a spacing that is not above 0 (nan is: not known), and inputs of different
    batches.
    """
    rank = len(data.image_size)
    image = _of_rank(given["image"], "image", rank + 2)
    sizes = tf.shape(image)
    most = tf.float32.max if data.normalise == "window" else _MOST
    # Not the contrary of `<=`, which TensorFlow makes `>` of: of nan neither holds.
    bad = tf.math.count_nonzero(~tf.math.is_finite(image) | (tf.abs(image) > most))
    checks = [
        _require(tf.reduce_all(sizes[:-1] > 0), "image must have no size of 0, and its shape is", sizes),
        _require(sizes[-1] == 1, "image must have 1 channel, grey values in modality units, and its shape is", sizes),
        _require(bad == 0, f"image must hold finite numbers; so many of its pixels are nan or beyond {most:.3g}:", bad),
    ]
    found = {"image": _after(checks, image, [None] * (rank + 1) + [1])}
    spacing = _beside(given["spacing_mm"], "spacing_mm", rank, sizes[0])
    known = tf.reduce_all(tf.math.is_nan(spacing) | ((spacing > 0.0) & tf.math.is_finite(spacing)))
    check = _require(known, "spacing_mm must be numbers > 0 mm, or nan where unknown, not", spacing)
    found["spacing_mm"] = _after([check], spacing, [None, rank])
    if data.table:
        table = _beside(given["table"], "table", len(data.table), sizes[0])
        check = _require(tf.reduce_all(~tf.math.is_inf(table)), "table must be numbers, or nan, not", table)
        found["table"] = _after([check], table, [None, len(data.table)])
    return found


def spacing(spacing_mm: tf.Tensor, data: config.Data) -> tf.Tensor:
    """Returns one image's spacing, (1, rank) float32, with a check in the graph that it is that long."""
    return _beside(spacing_mm, "spacing_mm", len(data.image_size), tf.constant(1))


def _beside(value: tf.Tensor, name: str, columns: int, batch: tf.Tensor) -> tf.Tensor:
    value = _of_rank(value, name, 2)
    wanted, there = tf.stack([batch, columns]), tf.shape(value)
    words = f"{name} must have a row for each image and {columns} columns, the shape"
    return _after([_require(tf.reduce_all(there == wanted), words, wanted, "not", there)], value, [None, columns])


def _of_rank(value: tf.Tensor, name: str, rank: int) -> tf.Tensor:
    """Returns the value with nothing known of its shape but the rank, which is checked.

    What the signature promises is hidden: TensorFlow would take it for granted and leave the checks out.
    """
    hidden = tf.compat.v1.placeholder_with_default(value, None)
    there = tf.rank(hidden)
    return _after([_require(there == rank, f"{name} must have {rank} axes, and it has", there)], hidden, [None] * rank)


def _after(checks: list[Any], value: tf.Tensor, shape: list[int | None]) -> tf.Tensor:
    """Returns the value once the checks hold, its shape known as far as it is given.

    Reshaped, not told by `tf.ensure_shape`: by that TensorFlow would know that the checks hold, and leave them out.
    """
    with tf.control_dependencies(checks):
        there = tf.shape(value)
        return tf.reshape(value, [there[axis] if size is None else size for axis, size in enumerate(shape)])


def _require(holds: tf.Tensor, words: str, *more: tf.Tensor | str) -> Any:
    told = [tf.convert_to_tensor(one) for one in (words, *more)]
    return tf.raw_ops.Assert(condition=holds, data=told, summarize=16)


def stored(slope: tf.Tensor, intercept: tf.Tensor, image: tf.Tensor, data: config.Data) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns what maps stored values to modality values, (batch, slices) or (batch, 1), with checks in the graph.

    Args:
        slope: (batch, slices) or (batch, 1); of radiographs (batch, 1).
        intercept: Likewise.
        image: What they map, (batch, *spatial, 1).
        data: The config's data section.

    The graph raises InvalidArgumentError with words where a slope is 0, either is no number, or they are not of these
    images: TensorFlow would make the image as large as they are.
    """
    sizes = tf.shape(_of_rank(image, "image", len(data.image_size) + 2))
    slices = sizes[1] if data.kind == "volume" else tf.ones_like(sizes[1])
    slope, intercept = (
        _of_slices(one, name, sizes[0], slices)
        for one, name in ((slope, "rescale_slope"), (intercept, "rescale_intercept"))
    )
    usable = tf.reduce_all(tf.math.is_finite(slope) & (slope != 0.0)) & tf.reduce_all(tf.math.is_finite(intercept))
    words = "rescale_slope must be numbers other than 0, and rescale_intercept numbers, not"
    check = _require(usable, words, slope, intercept)
    return _after([check], slope, [None, None]), _after([check], intercept, [None, None])


def _of_slices(value: tf.Tensor, name: str, batch: tf.Tensor, slices: tf.Tensor) -> tf.Tensor:
    value = _of_rank(value, name, 2)
    there = tf.shape(value)
    fits = (there[0] == batch) & ((there[1] == 1) | (there[1] == slices))
    words = f"{name} must have a row for each image, and 1 column or as many as slices, the shape"
    return _after([_require(fits, words, tf.stack([batch, slices]), "not", there)], value, [None, None])


def some(records: tf.Tensor) -> Any:
    """Returns the operation that checks that there is a record, (batch,) string: what comes next must wait for it."""
    hidden = tf.compat.v1.placeholder_with_default(records, None)
    count = tf.size(hidden)
    return _require(count > 0, "at least one serialized tf.Example was expected; there are", count)
