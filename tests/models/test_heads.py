"""Logits from features: by hand, and in order for ordered classes."""

from pathlib import Path

import keras
import numpy as np
import pytest

from radkit.errors import UserError
from radkit.models import heads


def answered(features: np.ndarray, num_classes: int, **settings: object) -> tuple[keras.Model, np.ndarray]:
    inputs = keras.Input(features.shape[1:])
    network = keras.Model(inputs, heads.classify(inputs, num_classes, **settings))
    return network, np.array(network(features))


@pytest.mark.parametrize("space", [(), (3, 5), (2, 3, 4)])
def test_a_linear_head_weighs_the_means_over_space(space: tuple[int, ...]) -> None:
    features = np.random.default_rng(0).normal(size=(2, *space, 6)).astype(np.float32)
    network, found = answered(features, 4)
    kernel, bias = network.get_weights()
    means = features.reshape(2, -1, 6).mean(1)
    np.testing.assert_allclose(found, means @ kernel + bias, atol=1e-6)


def test_logits_are_float32_in_mixed_precision(keras_alone: None) -> None:
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    for head in heads.HEADS:
        network, found = answered(np.ones((1, 4, 4, 3), np.float32), 3, head=head, dropout=0.2)
        assert found.dtype == np.float32
        assert {str(weight.dtype) for weight in network.weights} <= {"float32", "uint32"}


def test_coral_gives_one_logit_a_step_and_all_share_one_direction() -> None:
    features = np.random.default_rng(0).normal(size=(5, 8)).astype(np.float32)
    network, found = answered(features, 4, head="coral")
    kernel, bias = network.get_weights()
    assert kernel.shape == (8, 1)
    np.testing.assert_allclose(bias, [1, 2 / 3, 1 / 3])
    np.testing.assert_allclose(found, features @ kernel + bias, atol=1e-6)
    assert (np.diff(found, axis=1) < 0).all()


def test_features_are_dropped_in_training_alone() -> None:
    features = np.ones((4, 64), np.float32)
    network, found = answered(features, 2, dropout=0.5)
    np.testing.assert_array_equal(network(features), found)
    assert not np.array_equal(network(features, training=True), found)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"head": "corral"}, "no 'corral' .did you mean 'coral'"),
        ({"head": "coral", "num_classes": 1}, "at least 2 classes, not 1"),
        ({"num_classes": 0}, "at least 1 classes, not 0"),
        ({"dropout": 1.0}, "dropout is 1.0"),
    ],
)
def test_what_is_no_head_is_refused(settings: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        heads.classify(keras.Input((4,)), **{"num_classes": 2, **settings})


def test_coral_is_kept(tmp_path: Path) -> None:
    features = np.ones((1, 4), np.float32)
    network, found = answered(features, 3, head="coral")
    network.save(tmp_path / "a.keras")
    np.testing.assert_array_equal(keras.saving.load_model(tmp_path / "a.keras")(features), found)
