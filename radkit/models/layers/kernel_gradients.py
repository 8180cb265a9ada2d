"""Kernels' gradients where half precision's are wrong: of images smaller than the kernel.

On processors TensorFlow (2.21 with oneDNN, AVX-512) leaves parts of a kernel's gradient unwritten in bfloat16, or
writes beyond it, where the image is smaller than the kernel along an axis: of a kernel of 3x3x3 on two slices two
thirds are whatever lay in memory. There, and only there, gradients are computed in float32; so small an image takes
no time.
"""

from collections.abc import Callable, Sequence
from typing import Any

import keras


def wanted(inputs: Any) -> bool:
    """Returns whether gradients have to be looked after: in half precision on TensorFlow."""
    half = keras.backend.standardize_dtype(inputs.dtype) in ("bfloat16", "float16")
    return half and keras.backend.backend() == "tensorflow"


def extents(sizes: Sequence[int], dilation: Sequence[int]) -> tuple[int, ...]:
    """Returns how far a kernel reaches along each axis."""
    return tuple((size - 1) * far + 1 for size, far in zip(sizes, dilation))


def convolved(
    convolution: Callable[[Any, Any], Any], x: Any, kernel: Any, least: Sequence[int], *, transposed: bool = False
) -> Any:
    """Returns `convolution(x, kernel)`.

    Args:
        convolution: Of a tensor and a kernel; linear in each.
        x: (batch, *spatial, channels), bfloat16 or float16.
        kernel: Likewise.
        least: Below which size, along each axis, gradients are computed in float32.
        transposed: Whether the kernel moves over the answer, not over `x`.
    """
    moved_over = convolution(x, kernel) if transposed else x
    sizes = moved_over.shape[1:-1]
    if all(size is not None and size >= one for size, one in zip(sizes, least)):
        return moved_over if transposed else convolution(x, kernel)
    import tensorflow as tf

    # A tensor, not the variable: TensorFlow lets no function with its own gradient read a variable unseen.
    kernel = tf.reshape(tf.cast(kernel, x.dtype), kernel.shape)
    # Sizes that are known only when the image is there are looked at then.
    known = any(size is not None and size < one for size, one in zip(sizes, least))

    @tf.custom_gradient
    @tf.autograph.experimental.do_not_convert
    def function(x: Any, kernel: Any) -> tuple[Any, Any]:
        def computed(upstream: Any, dtype: Any) -> Any:
            image, weights, change = (tf.cast(one, dtype) for one in (x, kernel, upstream))
            with tf.GradientTape() as tape:
                tape.watch((image, weights))
                y = convolution(image, weights)  # a graph leaves it out: the gradients do not need the answer
            return tuple(tf.cast(one, x.dtype) for one in tape.gradient(y, (image, weights), change))

        def gradient(upstream: Any) -> Any:
            if known:
                return computed(upstream, tf.float32)
            there = tf.shape(upstream if transposed else x)[1:-1]
            small = tf.reduce_any(there < least)
            return tf.cond(small, lambda: computed(upstream, tf.float32), lambda: computed(upstream, x.dtype))

        return convolution(x, kernel), gradient

    return function(x, kernel)
