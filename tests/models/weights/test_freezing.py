"""Layers that do not learn, and layers that learn slowly."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from radkit import models
from radkit.errors import UserError
from radkit.models import layers, weights
from radkit.models.weights import freezing


def network(norm: str = "batch") -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 1))
    x = layers.normalize(layers.convolve(inputs, 4, 3, name="stem_conv"), norm, "relu", name="stem_norm")
    x = layers.normalize(layers.convolve(x, 4, 3), norm, "relu")
    x = layers.convolve(x, 4, 3)
    return keras.Model(inputs, keras.layers.Dense(2, name="head")(layers.global_average_pool(x)))


def step(made: keras.Model) -> None:
    image = np.random.default_rng(0).normal(3, 2, (4, 8, 8, 1)).astype(np.float32)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(made(image, training=True) ** 2)
    optimizer = keras.optimizers.SGD(0.1)
    optimizer.apply(tape.gradient(loss, made.trainable_weights), made.trainable_weights)


def test_names_do_not_depend_on_what_was_built_before() -> None:
    network()
    found = list(freezing.names(network()))
    assert found == ["stem_conv", "stem_norm", "conv2d", "batch_normalization", "conv2d_1", "head"]


def test_what_is_frozen_stays_and_the_rest_moves() -> None:
    made = network()
    assert weights.freeze(made, ("stem*", "conv2d")) == 3
    before = {name: layer.get_weights() for name, layer in freezing.names(made).items()}
    step(made)
    for name, layer in freezing.names(made).items():
        moved = [not np.array_equal(a, b) for a, b in zip(before[name], layer.get_weights())]
        assert any(moved) == (name not in ("stem_conv", "stem_norm", "conv2d")), name


def test_a_frozen_batch_normalisation_answers_in_training_as_in_use() -> None:
    image = np.random.default_rng(0).normal(3, 2, (4, 8, 8, 1)).astype(np.float32)
    made = network()
    free = np.abs(made(image, training=True) - made(image, training=False)).max()
    weights.freeze(made, ("*norm*",))
    frozen = np.abs(made(image, training=True) - made(image, training=False)).max()
    assert free > 1e-3
    assert frozen < 1e-6


def test_a_network_within_a_wrapper_is_looked_into() -> None:
    inputs = keras.Input((3, 8, 8, 1))
    x = keras.layers.TimeDistributed(network(), name="each")(inputs)
    made = keras.Model(inputs, keras.layers.Dense(1, name="last")(keras.layers.Flatten()(x)))
    assert set(freezing.names(made)) >= {"stem_conv", "head", "last"}
    weights.freeze(made, ("stem_conv",))
    assert len(made.trainable_variables) == len(made.variables) - 5


def test_building_freezes() -> None:
    made = models.build("unet", input_shape=(16, 16, 1), num_classes=2, filters=(4, 8), freeze=("encoder*",))
    frozen = [name for name, layer in freezing.names(made).items() if not layer.trainable]
    assert frozen
    assert all(name.startswith("encoder") for name in frozen)


@pytest.mark.parametrize(
    ("pattern", "said"),
    [("stem_cnov", r"did you mean 'stem_conv'"), ("*decoder*", "there are: stem_conv, stem_norm"), ("re_lu*", "that")],
)
def test_a_pattern_of_nothing_is_refused(pattern: str, said: str) -> None:
    with pytest.raises(UserError, match=f"freeze: .*matches no layer.*{said}"):
        weights.freeze(network(), (pattern,))


def test_shares_are_those_of_the_last_pattern_that_matches() -> None:
    made = network()
    found = weights.shares(made, {"*": 0.1, "head": 1, "stem*": 0.01})
    told = {variable.path.split("/")[0]: share for variable, share in zip(made.trainable_variables, found)}
    assert (told["stem_conv"], told["stem_norm"], told["head"]) == (0.01, 0.01, 1.0)
    assert sorted(set(found)) == [0.01, 0.1, 1.0]
    assert weights.shares(made, {}) == [1.0] * len(made.trainable_variables)
    with pytest.raises(UserError, match=r"optimizer\.rates: 'haed' matches no layer"):
        weights.shares(made, {"haed": 0.1})
