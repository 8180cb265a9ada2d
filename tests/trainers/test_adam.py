"""The optimizer's numbers are Keras's, at one operation a weight."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainers import adam


def variables() -> list[keras.Variable]:
    random = np.random.default_rng(0)
    return [keras.Variable(random.normal(size=size).astype(np.float32)) for size in (5, 7, 1)]


def moved(optimizer: Any) -> list[np.ndarray]:
    """Returns weights, moments and the number of steps after four steps of an optimizer."""
    weights = variables()
    optimizer.build(weights)
    step = tf.function(lambda gradients: optimizer.apply(gradients, weights))
    random = np.random.default_rng(1)
    for _ in range(4):
        step([tf.constant(random.normal(size=weight.shape), tf.float32) for weight in weights])
    return [np.asarray(one) for one in (*weights, *optimizer.variables)]


@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_weights_and_moments_are_kerass(decay: float) -> None:
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 10)
    expected = moved(keras.optimizers.AdamW(schedule, weight_decay=decay))
    for one, other in zip(moved(adam.AdamW(schedule, decay)), expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_without_decay_it_is_adam() -> None:
    for one, other in zip(moved(adam.AdamW(0.1)), moved(keras.optimizers.Adam(0.1)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_what_is_excluded_does_not_decay() -> None:
    optimizer = adam.AdamW(0.1, 0.5)
    weights = variables()
    optimizer.exclude_from_weight_decay([weights[0]])
    optimizer.build(weights)
    before = [np.array(weight) for weight in weights]
    optimizer.apply([tf.zeros(weight.shape) for weight in weights], weights)
    np.testing.assert_allclose(weights[0], before[0])
    np.testing.assert_allclose(weights[1], 0.95 * before[1], rtol=1e-6)


def test_a_weight_costs_few_operations() -> None:
    def count(optimizer: Any, weights: list[keras.Variable]) -> int:
        optimizer.build(weights)
        gradients = [tf.constant(np.ones(weight.shape, np.float32)) for weight in weights]
        function = tf.function(lambda: optimizer.apply(gradients, weights)).get_concrete_function()
        return len([one for one in function.graph.get_operations() if one.type not in ("Placeholder", "Const", "NoOp")])

    few, many = (count(adam.AdamW(0.1), [keras.Variable(np.ones(3, "f")) for _ in range(number)]) for number in (1, 11))
    assert many - few == 10
