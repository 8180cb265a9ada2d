"""By how much a loss is multiplied so that float16 can hold its gradients."""

from dataclasses import dataclass

import keras
import tensorflow as tf

from trainers import replicated

FIRST, SMALLEST, LARGEST = 2.0**15, 1.0, 2.0**24
GOOD_STEPS = 2000
"""Finite steps in a row after which the scale is doubled."""


@dataclass(frozen=True)
class Scale:
    """A loss scale, halved at a step that is not finite, doubled after `GOOD_STEPS` that are.

    Attributes:
        value: () float32.
        good: () int64, finite steps since it last changed.

    Source: Micikevicius et al. 2018, https://arxiv.org/abs/1710.03740, section 3.2.
    """

    value: keras.Variable
    good: keras.Variable

    def update(self, is_finite: tf.Tensor) -> None:
        """Counts a step; called within a replica's part of it, `is_finite` () bool and the same on all replicas."""
        value, good = tf.convert_to_tensor(self.value.value), tf.convert_to_tensor(self.good.value) + 1
        grows = is_finite & (good >= GOOD_STEPS)
        value = tf.where(is_finite, tf.where(grows, 2.0 * value, value), 0.5 * value)
        good = tf.where(is_finite & ~grows, good, tf.zeros_like(good))
        replicated.everywhere(replicated.assign, [self.value.value], [tf.clip_by_value(value, SMALLEST, LARGEST)])
        replicated.everywhere(replicated.assign, [self.good.value], [good])


def new() -> Scale:
    """Returns a scale to begin with; called in the strategy's scope."""
    return Scale(
        keras.Variable(FIRST, dtype="float32", trainable=False, name="loss_scale"),
        keras.Variable(0, dtype="int64", trainable=False, name="good_steps"),
    )
