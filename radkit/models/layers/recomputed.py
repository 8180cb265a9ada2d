"""Activations that a training step does not hold for its gradients but computes again from what it holds anyway.

A convolution's gradient needs the convolution's input. Where that is a normalised and activated tensor, and its source
a concatenation, a dense block would hold all three of each layer, and concatenations grow with each layer. Here the
gradient normalises again, with the mean and the variance that it has, from the concatenation's parts: no convolution
is computed twice. A process that trains DenseNet-121 (8 images of 224x224, bfloat16) peaks at 1.4 GiB instead of 1.9,
the optimizer of `trainers/rules.py` included.

Source: Pleiss et al. 2017, https://arxiv.org/abs/1707.06990.
"""

from collections.abc import Callable, Iterable
from typing import Any

import tensorflow as tf

from radkit.models.layers import whole_batch

# Attributes of tensors, as Keras keeps masks: how one is computed again, and of what it was concatenated. A tensor that
# lost them on its way is held, as any other.
_AGAIN, _PARTS = "_radkit_again", "_radkit_parts"


def again(x: Any) -> Callable[[Any], Any] | None:
    """Returns a function that computes a tensor again after the tensor it is given is there; None: `x` is held."""
    return getattr(x, _AGAIN, None)


def fits(x: Any) -> bool:
    """Returns whether it is worth it: outside a graph each operation holds its inputs by itself."""
    return not tf.executing_eagerly() and whole_batch.fits(x, synchronized=True)


def joined(x: Any, parts: Iterable[Any]) -> None:
    """Tells a tensor that it is the concatenation, along the channels, of `parts`, or of what those are made of."""
    setattr(x, _PARTS, [one for part in parts for one in getattr(part, _PARTS, [part])])


class _Once:
    """Makes operations at most once a graph, and so that they wait until they are needed: nothing is held till then."""

    def __init__(self, compute: Callable[[], Any]) -> None:
        self._compute, self._graph, self._found = compute, None, None

    def __call__(self, after: Any) -> Any:
        graph = tf.compat.v1.get_default_graph()
        if self._graph is not graph:
            with tf.control_dependencies([after]):
                self._graph, self._found = graph, self._compute()
        return self._found


@tf.autograph.experimental.do_not_convert
def normalized(x: Any, gamma: Any, beta: Any, epsilon: float) -> tuple[Any, Any, Any]:
    """Returns `whole_batch.normalized` followed by ReLU, and the mean and variance used; holds `x` alone.

    Args:
        x: (batch, *spatial, channels); one that was `joined` is not held either.
        gamma: (channels,) float32, the scale.
        beta: (channels,) float32, the shift.
        epsilon: Added to the variance.
    """
    parts, last = getattr(x, _PARTS, None), tf.constant(-1)  # made here: the concatenation itself must wait

    @tf.custom_gradient
    def function(x: Any, gamma: Any, beta: Any) -> tuple[Any, Any]:
        flat = whole_batch.flat(x)
        out = whole_batch.trained(flat, gamma, beta, epsilon)
        mean, variance = out.batch_mean, whole_batch.biased(out.batch_variance, x)

        def compute() -> tuple[Any, Any]:
            found = whole_batch.flat(tf.concat(parts, last)) if parts else flat
            return found, tf.nn.relu(whole_batch.applied(found, gamma, beta, epsilon, (mean, variance)))

        both = _Once(compute)
        kept.extend((both, mean, variance))

        def gradient(upstream: Any) -> tuple[Any, Any, Any]:
            found, y = both(upstream)
            change = tf.raw_ops.ReluGrad(gradients=whole_batch.flat(upstream), features=y)
            changes = tf.raw_ops.FusedBatchNormGradV3(
                y_backprop=change, x=found, scale=gamma, reserve_space_1=out.reserve_space_1,
                reserve_space_2=out.reserve_space_2, reserve_space_3=out.reserve_space_3, epsilon=epsilon,
            )  # fmt: skip
            return whole_batch.unflat(changes.x_backprop, x), changes.scale_backprop, changes.offset_backprop

        return whole_batch.unflat(tf.nn.relu(out.y), x), gradient

    kept: list[Any] = []  # no outputs of the function: the gradient would make zeros for each
    y = function(x, gamma, beta)
    both, mean, variance = kept
    setattr(y, _AGAIN, lambda after: whole_batch.unflat(both(after)[1], y))
    return y, mean, variance


@tf.autograph.experimental.do_not_convert
def convolved(convolution: Callable[[Any, Any], Any], x: Any, kernel: Any) -> Any:
    """Returns `convolution(x, kernel)`, which does not hold `x`.

    Args:
        convolution: Of a tensor and a kernel; linear in each.
        x: A tensor that `again` knows.
        kernel: A tensor, not a variable.
    """
    compute = again(x)
    assert compute is not None

    @tf.custom_gradient
    def function(x: Any, kernel: Any) -> tuple[Any, Any]:
        def gradient(upstream: Any) -> tuple[Any, Any]:
            found = compute(upstream)
            with tf.GradientTape() as tape:
                tape.watch((found, kernel))
                # Of the gradient's operations none needs this one's answer: the graph leaves it out.
                y = convolution(found, kernel)
            return tape.gradient(y, (found, kernel), upstream)

        return convolution(x, kernel), gradient

    return function(x, kernel)
