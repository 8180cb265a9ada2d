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
    flat = _flat(x)
    mean, variance = moving or (tf.zeros([0]), tf.zeros([0]))
    out = tf.raw_ops.FusedBatchNormV3(
        x=flat, scale=gamma, offset=beta, mean=mean, variance=variance, epsilon=epsilon, is_training=moving is None
    )
    y = out.y if flat is x else tf.reshape(out.y, tf.shape(x))
    y.set_shape(x.shape)
    if moving is not None:
        return y, mean, variance
    # The operation returns the unbiased variance; Keras's moving one follows the biased.
    count = tf.cast(tf.size(x) // x.shape[-1], tf.float32)
    return y, tf.stop_gradient(out.batch_mean), tf.stop_gradient(out.batch_variance * ((count - 1.0) / count))


def _flat(x: Any) -> Any:
    """(batch, rows, columns, channels): of a volume the slices are counted to the batch."""
    if x.shape.rank == 4:
        return x
    if x.shape.rank == 5:
        return tf.reshape(x, tf.concat([[-1], tf.shape(x)[2:]], 0))
    return tf.reshape(x, (-1, 1, 1, x.shape[-1]))
