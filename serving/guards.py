"""What an exported graph itself refuses, in words: TensorFlow Serving holds no request to a signature's shapes."""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from radkit import config

Tensors = Mapping[str, tf.Tensor]


def checked(given: Tensors, data: config.Data) -> dict[str, tf.Tensor]:
    """Returns the inputs of `serving_default`, with checks in the graph that this is called in.

    Args:
        given: `image` (batch, *spatial, 1) float32, `spacing_mm` (batch, rank) float32, maybe `table` (batch, columns).
        data: The config's data section.

    The graph raises InvalidArgumentError with words: another number of channels, a size of 0, a pixel that is no
    number, a spacing that is not above 0 (nan is: not known), and inputs of different batches.
    """
    rank = len(data.image_size)
    image = _of_rank(given["image"], "image", rank + 2)
    sizes = tf.shape(image)
    bad = tf.math.count_nonzero(~tf.math.is_finite(image))
    checks = [
        _require(tf.reduce_all(sizes[:-1] > 0), "image must have no size of 0, and its shape is", sizes),
        _require(sizes[-1] == 1, "image must have 1 channel, grey values in modality units, and its shape is", sizes),
        _require(bad == 0, "image must hold finite numbers; so many of its pixels are nan or infinite:", bad),
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


def stored(slope: tf.Tensor, intercept: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns what maps stored values to modality values, (batch, slices) or (batch, 1), with checks in the graph.

    The graph raises InvalidArgumentError with words where a slope is 0 or either is no number.
    """
    slope, intercept = _of_rank(slope, "rescale_slope", 2), _of_rank(intercept, "rescale_intercept", 2)
    usable = tf.reduce_all(tf.math.is_finite(slope) & (slope != 0.0)) & tf.reduce_all(tf.math.is_finite(intercept))
    words = "rescale_slope must be numbers other than 0, and rescale_intercept numbers, not"
    check = _require(usable, words, slope, intercept)
    return _after([check], slope, [None, None]), _after([check], intercept, [None, None])


def some(records: tf.Tensor) -> Any:
    """Returns the operation that checks that there is a record, (batch,) string: what comes next must wait for it."""
    hidden = tf.compat.v1.placeholder_with_default(records, None)
    count = tf.size(hidden)
    return _require(count > 0, "at least one serialized tf.Example was expected; there are", count)
