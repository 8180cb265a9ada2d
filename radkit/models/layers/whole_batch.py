"""Batch normalisation with TensorFlow's one operation for it."""

from typing import Any

import tensorflow as tf


def fits(x: Any, synchronized: bool) -> bool:
    """Returns whether `normalized` can take a tensor: with several replicas it sees only one's share."""
    if x.dtype not in (tf.bfloat16, tf.float16, tf.float32):
        return False
    return not synchronized or tf.distribute.get_strategy().num_replicas_in_sync == 1


@tf.autograph.experimental.do_not_convert
def normalized(
    x: Any, gamma: Any, beta: Any, epsilon: float, moving: tuple[Any, Any] | None = None
) -> tuple[Any, Any, Any]:
    """Returns each channel at mean 0 and variance 1, scaled and shifted, and the mean and variance used.

    Args:
        x: (batch, *spatial, channels), bfloat16, float16 or float32.
        gamma: (channels,) float32, the scale.
        beta: (channels,) float32, the shift.
        epsilon: Added to the variance.
        moving: Mean and variance to use, (channels,) float32; the batch's own if not given.
    """
    if moving is not None:
        return unflat(applied(flat(x), gamma, beta, epsilon, moving), x), *moving
    out = trained(flat(x), gamma, beta, epsilon)
    return unflat(out.y, x), tf.stop_gradient(out.batch_mean), tf.stop_gradient(biased(out.batch_variance, x))


def trained(flat_x: Any, gamma: Any, beta: Any, epsilon: float) -> Any:
    """Returns the operation's outputs, normalised by what it finds."""
    none = tf.constant((), tf.float32)
    return tf.raw_ops.FusedBatchNormV3(
        x=flat_x, scale=gamma, offset=beta, mean=none, variance=none, epsilon=epsilon, is_training=True
    )


def applied(flat_x: Any, gamma: Any, beta: Any, epsilon: float, moving: tuple[Any, Any]) -> Any:
    """Returns a tensor normalised by the given mean and variance."""
    return tf.raw_ops.FusedBatchNormV3(
        x=flat_x, scale=gamma, offset=beta, mean=moving[0], variance=moving[1], epsilon=epsilon, is_training=False
    ).y


def biased(variance: Any, x: Any) -> Any:
    """Returns the biased variance, which Keras's moving one follows; the operation returns the unbiased."""
    if x.shape.is_fully_defined():
        count = x.shape.num_elements() // x.shape[-1]
        return variance * ((count - 1.0) / count)
    count = tf.cast(tf.size(x) // x.shape[-1], tf.float32)
    return variance * ((count - 1.0) / count)


def flat(x: Any) -> Any:
    """(batch, rows, columns, channels): of a volume the slices are counted to the batch."""
    if x.shape.rank == 4:
        return x
    if x.shape.rank == 5:
        return tf.reshape(x, tf.concat([[-1], tf.shape(x)[2:]], 0))
    return tf.reshape(x, (-1, 1, 1, x.shape[-1]))


def unflat(y: Any, x: Any) -> Any:
    """Returns what was made of `flat(x)` in the shape of `x`."""
    if x.shape.rank != 4:
        y = tf.reshape(y, tf.shape(x))
    y.set_shape(x.shape)
    return y
