"""Rules move weights as their papers say, learning rates go as the config says."""

import dataclasses
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from radkit import config
from trainers import optimizers, rules

EXPERIMENT = config.Experiment(config.Data("x"), config.Model("x"), config.Task("segmentation"))
RULES = {"adamw": rules.adamw, "sgd": rules.sgd, "lamb": rules.lamb}


def variables() -> list[keras.Variable]:
    random = np.random.default_rng(0)
    return [keras.Variable(random.normal(size=size).astype(np.float32)) for size in (5, 7, 1)]


def moved(optimizer: Any, steps: int = 4) -> list[np.ndarray]:
    """Returns weights, slots and the number of steps after some steps of an optimizer."""
    weights = variables()
    optimizer.build(weights)
    step = tf.function(lambda gradients: optimizer.apply(gradients, weights))
    random = np.random.default_rng(1)
    for _ in range(steps):
        step([tf.constant(random.normal(size=weight.shape), tf.float32) for weight in weights])
    return [np.asarray(one) for one in (*weights, *optimizer.variables)]


@pytest.mark.parametrize("decay", [0.0, 0.3])
@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.8, 0.9)])
def test_adamw_is_kerass_to_the_moments(decay: float, betas: tuple[float, float]) -> None:
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 10)
    peer = keras.optimizers.AdamW(schedule, weight_decay=decay, beta_1=betas[0], beta_2=betas[1])
    ours = moved(optimizers.Optimizer(rules.adamw(betas), schedule, decay))
    expected = moved(peer)
    for one, other in zip(ours[:3], expected[:3], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    slots = {one.shape: [] for one in ours[:3]}
    for one in ours[4:]:
        slots[one.shape].append(one)
    for one in expected[4:]:
        assert any(np.allclose(one, other, rtol=1e-5, atol=1e-6) for other in slots[one.shape])


@pytest.mark.parametrize("decay", [0.0, 0.3])
@pytest.mark.parametrize("momentum", [0.9, 0.5, 0.0])
def test_sgd_is_kerass_with_nesterov(decay: float, momentum: float) -> None:
    peer = keras.optimizers.SGD(0.1, momentum=momentum, nesterov=momentum > 0, weight_decay=decay or None)
    ours = moved(optimizers.Optimizer(rules.sgd(momentum), 0.1, decay))
    for one, other in zip(ours[:3], moved(peer)[:3], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_lamb_is_the_papers_algorithm(decay: float) -> None:
    random = np.random.default_rng(1)
    gradients = [[random.normal(size=one.shape) for one in variables()] for _ in range(4)]
    expected = []
    for place, weight in enumerate(np.asarray(one, np.float64) for one in variables()):
        mean, square = np.zeros_like(weight), np.zeros_like(weight)
        for step, gradient in enumerate((one[place] for one in gradients), start=1):
            mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2
            change = mean / (1 - 0.9**step) / (np.sqrt(square / (1 - 0.999**step)) + 1e-7) + decay * weight
            weight = weight - 0.1 * np.linalg.norm(weight) / np.linalg.norm(change) * change
        expected.append(weight)
    for one, other in zip(moved(optimizers.Optimizer(rules.lamb(), 0.1, decay))[:3], expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-5, atol=1e-6)


def test_lamb_moves_a_weight_that_is_zero_and_leaves_one_without_gradient() -> None:
    zero, still = keras.Variable(np.zeros(3, "f")), keras.Variable(np.ones(3, "f"))
    optimizer = optimizers.Optimizer(rules.lamb(), 0.1)
    optimizer.build([zero, still])
    optimizer.apply([tf.constant([1.0, -2.0, 0.5]), tf.zeros(3)], [zero, still])
    np.testing.assert_allclose(zero.numpy(), [-0.1, 0.1, -0.1], rtol=1e-5)
    np.testing.assert_array_equal(still.numpy(), 1)


@pytest.mark.parametrize("name", RULES)
def test_what_is_excluded_does_not_decay(name: str) -> None:
    optimizer = optimizers.Optimizer(RULES[name](), 0.1, 0.5)
    weights = variables()
    optimizer.exclude_from_weight_decay([weights[0]])
    optimizer.build(weights)
    before = [np.array(weight) for weight in weights]
    optimizer.apply([tf.zeros(weight.shape) for weight in weights], weights)
    np.testing.assert_allclose(weights[0], before[0])
    # LAMB's step is as long as the weight times the rate, whatever the decay.
    np.testing.assert_allclose(weights[1], (0.9 if name == "lamb" else 0.95) * before[1], rtol=1e-6)


@pytest.mark.parametrize(("name", "most"), [("adamw", 1), ("sgd", 1), ("lamb", 28)])
def test_a_weight_costs_few_operations(name: str, most: int) -> None:
    def count(number: int) -> int:
        weights = [keras.Variable(np.ones(3, "f")) for _ in range(number)]
        optimizer = optimizers.Optimizer(RULES[name](), 0.1)
        optimizer.build(weights)
        gradients = [tf.constant(np.ones(weight.shape, np.float32)) for weight in weights]
        function = tf.function(lambda: optimizer.apply(gradients, weights)).get_concrete_function()
        return len([one for one in function.graph.get_operations() if one.type not in ("Placeholder", "Const", "NoOp")])

    assert count(11) - count(1) <= 10 * most


class TestShares:
    """Each weight moves by its own share of the learning rate."""

    def moved(self, name: str, shares: tuple[float, ...], decay: float) -> list[np.ndarray]:
        section = config.Optimizer(name=name, learning_rate=0.1, weight_decay=decay, warmup_steps=0)
        weights = [keras.Variable(np.full(3, 2.0, np.float32)) for _ in range(2)]
        optimizer = optimizers.new(dataclasses.replace(EXPERIMENT, optimizer=section), shares)
        optimizer.build(weights)
        optimizer.apply([tf.constant([1.0, -3.0, 0.5])] * 2, weights)
        return [np.asarray(weight) - 2.0 for weight in weights]

    @pytest.mark.parametrize("decay", [0.0, 0.5])
    @pytest.mark.parametrize("name", RULES)
    def test_shares_scale_the_step_and_the_decay(self, name: str, decay: float) -> None:
        whole, alike = self.moved(name, (), decay)
        slow, same = self.moved(name, (0.1, 1.0), decay)
        np.testing.assert_allclose(alike, whole)
        np.testing.assert_allclose(same, whole, rtol=1e-6)
        # The decay goes first: what is left of the weight does not change an adaptive step's size.
        np.testing.assert_allclose(slow, 0.1 * whole, rtol=1e-4, atol=1e-6)

    def test_adamws_first_step_is_the_rate_against_the_sign(self) -> None:
        whole, _ = self.moved("adamw", (), 0.5)
        np.testing.assert_allclose(whole, -0.1 * np.sign([1, -3, 0.5]) - 0.1 * 0.5 * 2.0, rtol=1e-4, atol=1e-6)


def rates(steps: int, total: tf.Variable | None = None, **section: Any) -> np.ndarray:
    schedule = optimizers.Schedule(config.Optimizer(learning_rate=0.5, **section), steps, total)
    return schedule(tf.range(steps + 1, dtype=tf.int64)).numpy()


@pytest.mark.parametrize("schedule", ["cosine", "poly"])
@pytest.mark.parametrize(("steps", "warmup"), [(100, 20), (10, 0), (5, 50), (1, 20), (2, 1)])
def test_the_learning_rate_rises_and_falls_to_zero(steps: int, warmup: int, schedule: str) -> None:
    found = rates(steps, warmup_steps=warmup, schedule=schedule)
    top = int(found.argmax())
    assert found.max() == pytest.approx(0.5)
    assert top == min(warmup, steps - 1)
    assert (np.diff(found[: top + 1]) > 0).all()
    assert (np.diff(found[top:]) < 0).all()
    assert found[-1] == pytest.approx(0.0, abs=1e-7)


@given(st.integers(1, 300), st.integers(0, 50))
@settings(max_examples=10)
def test_cosine_is_kerass(steps: int, warmup: int) -> None:
    first = min(warmup, steps - 1)
    peer = keras.optimizers.schedules.CosineDecay(
        0.0 if first else 0.5, max(1, steps - first), warmup_target=0.5 if first else None, warmup_steps=first
    )
    places = np.unique(np.linspace(0, steps, 5).astype(int))
    expected = [float(peer(place)) for place in places]
    np.testing.assert_allclose(rates(steps, warmup_steps=warmup)[places], expected, atol=1e-6)


def test_poly_and_constant_by_hand() -> None:
    np.testing.assert_allclose(
        rates(4, warmup_steps=0, schedule="poly", power=2.0), [0.5, 0.28125, 0.125, 0.03125, 0.0]
    )
    np.testing.assert_allclose(rates(4, warmup_steps=2, schedule="constant"), [0, 0.25, 0.5, 0.5, 0.5])


def test_the_schedule_ends_where_a_variable_says() -> None:
    total = tf.Variable(10, dtype=tf.int64, trainable=False)
    section = config.Optimizer(learning_rate=0.5, warmup_steps=2)
    optimizer = optimizers.new(dataclasses.replace(EXPERIMENT, optimizer=section), total=total)
    weight = keras.Variable(np.zeros(1, "f"))
    optimizer.build([weight])

    @tf.function
    def rate(step: tf.Tensor) -> tf.Tensor:
        optimizer.iterations.assign(step)
        return tf.identity(optimizer.learning_rate)

    assert float(rate(tf.constant(6, tf.int64))) == pytest.approx(0.25)
    total.assign(6)
    assert float(rate(tf.constant(4, tf.int64))) == pytest.approx(0.25)
    assert float(rate(tf.constant(6, tf.int64))) == pytest.approx(0.0, abs=1e-7)
    assert float(rate(tf.constant(99, tf.int64))) == pytest.approx(0.0, abs=1e-7)
