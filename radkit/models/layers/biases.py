"""A constant for each channel, whose gradient is summed in float32."""

from typing import Any

from keras import ops


def add(y: Any, bias: Any) -> Any:
    """Returns `y` plus a constant for each channel.

    TensorFlow sums the constant's gradient in the precision of `y` when no other operation takes the sum over: of
    65,536 ones in bfloat16 it makes 2048. Here a product of matrices sums, which counts in float32 inside.

    Args:
        y: (batch, *spatial, channels), floating.
        bias: (channels,).
    """
    # A tensor, not the variable: TensorFlow lets no function with its own gradient read a variable unseen.
    bias = ops.reshape(ops.cast(bias, y.dtype), (-1,))

    @ops.custom_gradient
    def function(y: Any, bias: Any) -> tuple[Any, Any]:
        def gradient(*incoming: Any, upstream: Any = None) -> tuple[Any, Any]:
            change = incoming[0] if incoming else upstream
            flat = ops.reshape(change, (-1, change.shape[-1]))
            ones = ops.ones((1, ops.shape(flat)[0]), flat.dtype)
            return change, ops.reshape(ops.matmul(ones, flat), (-1,))

        return ops.add(y, bias), gradient

    return function(y, bias)
