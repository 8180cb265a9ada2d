"""The average of a network's weights, and the network that holds it for a while."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainers import averages


def network() -> keras.Model:
    keras.utils.set_random_seed(0)
    image = keras.Input((4,))
    return keras.Model(image, keras.layers.Dense(2)(keras.layers.BatchNormalization()(image)))


def test_the_average_follows_faster_at_first() -> None:
    model = network()
    average = averages.Average(model, 0.2)
    kernel = model.layers[-1].kernel
    expected, update = kernel.numpy(), tf.function(average.update)
    for step in range(6):
        kernel.assign(kernel + 1.0)
        update()
        keeps = min(0.2, (1 + step) / (10 + step))
        expected = keeps * expected + (1 - keeps) * kernel.numpy()
        with average.swapped():
            np.testing.assert_allclose(kernel.numpy(), expected, rtol=1e-6)


def test_the_network_holds_the_average_for_a_while_and_then_its_own_weights_bit_for_bit() -> None:
    model = network()
    average = averages.Average(model, 0.9)
    for weight in model.trainable_variables:
        weight.assign(np.float32(1) / 3 * (weight + 1))
    model.layers[1].moving_mean.assign([1, 2, 3, 4])
    own = [weight.numpy().tobytes() for weight in model.variables]
    held: list[bytes] = []

    def fail() -> None:
        with average.swapped():
            held.extend(weight.numpy().tobytes() for weight in model.variables)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert [weight.numpy().tobytes() for weight in model.variables] == own
    same = [one == other for one, other in zip(own, held)]
    # The statistics are taken as they are.
    assert same == [not weight.trainable for weight in model.variables]


def test_the_average_answers_without_a_change_of_the_network() -> None:
    model = network()
    average = averages.Average(model, 0.9)
    given = tf.constant(np.random.default_rng(0).normal(size=(3, 4)), tf.float32)
    expected = model(given, training=False).numpy()
    model.layers[-1].kernel.assign(model.layers[-1].kernel * 2)
    own = [weight.numpy().tobytes() for weight in model.variables]
    np.testing.assert_allclose(average.answer(given).numpy(), expected, rtol=1e-6)
    average.answer(given, training=True)
    assert [weight.numpy().tobytes() for weight in model.variables] == own
    assert not np.allclose(model(given, training=False).numpy(), expected)


def test_all_that_an_average_is_stands_in_its_variables() -> None:
    model = network()
    one, other = averages.Average(model, 0.9), averages.Average(model, 0.9)
    for weight in model.trainable_variables:
        weight.assign(weight + 1)
    one.update()
    for to, value in zip(other.variables, one.variables, strict=True):
        to.assign(value)
    for average in (one, other):
        average.update()
    assert [value.numpy().tobytes() for value in one.variables] == [
        value.numpy().tobytes() for value in other.variables
    ]
