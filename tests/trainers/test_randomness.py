"""What layers draw is a function of seed, step, replica, part and layer, and of nothing else."""

import itertools

import keras
import numpy as np
import tensorflow as tf

from trainers import randomness


def network() -> keras.Model:
    image = keras.Input((64,))
    inner = keras.Sequential([keras.Input((64,)), keras.layers.GaussianNoise(1.0)])
    x = keras.layers.Dropout(0.5)(image)
    return keras.Model(image, inner(keras.layers.SpatialDropout1D(0.5)(keras.layers.Reshape((64, 1))(x))[..., 0]))


def seeds(model: keras.Model, *place: int) -> list[tuple[int, int]]:
    seed, step, replica, part = place
    found = randomness.drawn(model, seed, tf.constant(step, tf.int64), tf.constant(replica), part)
    assert [id(state) for state, _ in found] == [id(state) for state in randomness.states(model)]
    return [tuple(value.numpy()) for _, value in found]


def test_every_seed_step_replica_part_and_layer_draws_its_own() -> None:
    model = network()
    assert len(randomness.states(model)) == 3
    places = list(itertools.product((0, 1), (0, 1, 2), (0, 1), (0, 1)))
    found = [seed for place in places for seed in seeds(model, *place)]
    assert len(set(found)) == len(found) == 3 * len(places)
    assert seeds(model, 1, 2, 0, 1) == seeds(network(), 1, 2, 0, 1)


def test_a_call_draws_the_same_again_and_counts_nothing() -> None:
    model = network()
    before = [state.numpy().tolist() for state in randomness.states(model)]

    @tf.function
    def answer(step: tf.Tensor) -> tf.Tensor:
        with keras.StatelessScope(randomness.drawn(model, 0, step, 0), initialize_variables=False):
            return tf.stack([model(tf.ones((2, 64)), training=True) for _ in range(2)])

    first, second, again = (answer(tf.constant(step, tf.int64)).numpy() for step in (3, 4, 3))
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, second)
    assert not np.allclose(first[0], first[1])  # a layer that is called twice draws twice
    assert [state.numpy().tolist() for state in randomness.states(model)] == before


def test_a_network_that_draws_nothing_needs_nothing() -> None:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    assert randomness.drawn(model, 0, tf.constant(0, tf.int64), 0) == []
