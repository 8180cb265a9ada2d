"""Answers to mirror images, and of several networks, averaged."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from radkit import models
from radkit.errors import UserError
from radkit.inference import ensembles, flips


def drawn(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def small(classes: int = 3, name: str = "unet") -> keras.Model:
    return models.build(name, input_shape=(None, None, 1), num_classes=classes, filters=(4, 8))


def saved(model: keras.Model, folder: Path) -> keras.Model:
    model.save(folder / "whole.keras")
    return keras.saving.load_model(folder / "whole.keras")


def test_mirrored_answers_are_turned_back_and_averaged(tmp_path: Path) -> None:
    network, image = small(), drawn(2, 24, 16, 1)
    answers = [
        np.flip(network(np.flip(image, axes).copy()), axes) if axes else np.array(network(image))
        for axes in ((), (1,), (2,), (1, 2))
    ]
    model = flips.flipped(network, (True, True))
    np.testing.assert_allclose(model(image), np.mean(answers, axis=0), atol=1e-5)
    np.testing.assert_allclose(saved(model, tmp_path)(image), model(image), atol=1e-6)
    one = flips.apply(network, tf.constant(image), (False, True))
    np.testing.assert_allclose(one, (answers[0] + answers[2]) / 2, atol=1e-5)


def test_an_answer_to_the_whole_image_has_nothing_to_turn_back() -> None:
    image = drawn(2, 8, 8, 1)

    def network(image: tf.Tensor, training: bool) -> tf.Tensor:
        return image[:, 0, 0]  # a corner: each flip sees another

    found = flips.apply(network, tf.constant(image), (True, True))
    np.testing.assert_allclose(found, image[:, [0, 0, -1, -1], [0, -1, 0, -1]].mean(1), atol=1e-6)
    with pytest.raises(UserError, match="flips must be 2 values"):
        flips.apply(network, tf.constant(image), (True,))


def test_an_ensemble_is_the_weighted_mean(tmp_path: Path) -> None:
    networks, image = [small(), small()], drawn(2, 8, 8, 1)
    first, second = (keras.ops.softmax(network(image)) for network in networks)
    model = ensembles.ensemble(networks, activation="softmax", weights=(1, 3))
    np.testing.assert_allclose(model(image), (first + 3 * second) / 4, atol=1e-6)
    np.testing.assert_allclose(saved(model, tmp_path)(image), model(image), atol=1e-6)


def test_networks_that_do_not_go_together_are_refused() -> None:
    with pytest.raises(UserError, match="one number of channels"):
        ensembles.ensemble([small(2), small(3)])
    with pytest.raises(UserError, match="needs networks"):
        ensembles.ensemble([])
    with pytest.raises(UserError, match="weights must be 1 numbers"):
        ensembles.ensemble([small()], weights=(1, 2))
    inputs = keras.Input((8, 8, 1))
    pooled = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.GlobalAveragePooling2D()(inputs)))
    with pytest.raises(UserError, match="one number of channels and axes"):
        ensembles.ensemble([small(2), pooled])
