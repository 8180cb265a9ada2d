"""Sliding windows against a plain loop over numpy arrays."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from radkit import models
from radkit.errors import UserError
from radkit.inference import sliding_window, windows

CASES = [
    ((13, 9, 11), (8, 8, 8), 0.5, 1, "gaussian"),
    ((9, 8, 14), (8, 5, 7), 0.6, 3, "gaussian"),
    ((9, 20), (8, 8), 0.25, 4, "constant"),
    ((8, 8), (8, 8), 0.5, 2, "gaussian"),
]


def network(x: Any, training: bool = False) -> Any:
    """Answers otherwise to each window: what a voxel gets depends on where the window begins."""
    assert not training
    mean = ops.mean(x, axis=tuple(range(1, len(x.shape) - 1)), keepdims=True)
    return ops.concatenate([ops.sin(x), ops.cumsum(x, axis=1) / 4, mean + 0 * x], -1)


def plain(image: np.ndarray, window: Sequence[int], overlap: float, blending: str) -> np.ndarray:
    weight = np.ones([1] * len(window))
    for axis, side in enumerate(window):
        sides = [-1 if axis == a else 1 for a in range(len(window))]
        weight = weight * windows.importance(side, blending).astype(np.float64).reshape(sides)
    total, counted = np.zeros((*image.shape[:-1], 3)), np.zeros(image.shape[1:-1])
    places = [windows.starts(n, side, overlap) for n, side in zip(image.shape[1:-1], window)]
    for corner in itertools.product(*places):
        cut = tuple(slice(first, first + side) for first, side in zip(corner, window))
        total[(slice(None), *cut)] += np.array(network(image[(slice(None), *cut)])) * weight[..., None]
        counted[cut] += weight
    return total / counted[..., None]


def drawn(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize(("sizes", "window", "overlap", "batch", "blending"), CASES)
def test_blended_windows_equal_a_plain_loop(
    sizes: tuple[int, ...], window: tuple[int, ...], overlap: float, batch: int, blending: str
) -> None:
    image, settings = drawn(2, *sizes, 1), {"overlap": overlap, "blending": blending}
    expected = plain(image, window, overlap, blending)
    signature = [tf.TensorSpec([None] * (len(sizes) + 1) + [1])]

    @tf.function(input_signature=signature)
    def blended(image: tf.Tensor) -> tf.Tensor:
        return sliding_window.apply(network, image, window, batch_size=batch, **settings)

    assert blended.get_concrete_function().structured_outputs.shape[-1] == 3
    np.testing.assert_allclose(blended(image), expected, atol=1e-5)
    if len(sizes) == 2:
        labels = sliding_window.apply(network, image, window, batch_size=batch, labels=True, **settings)
        np.testing.assert_array_equal(labels, expected.argmax(-1))
    # The way of backends without free sizes.
    other = sliding_window.blend(
        network, ops.convert_to_tensor(image), window, batch_size=batch, finish=lambda found: found, **settings
    )
    np.testing.assert_allclose(other, expected, atol=1e-5)


def test_a_small_image_is_padded_and_cut_back() -> None:
    image = drawn(1, 5, 12, 1)
    padded = np.pad(image, [(0, 0), (1, 2), (0, 0), (0, 0)], constant_values=-1)
    expected = plain(padded, (8, 8), 0.5, "gaussian")[:, 1:6]
    found = sliding_window.apply(network, image, (8, 8), padding_value=-1.0)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.fixture(scope="module")
def unet() -> keras.Model:
    return models.build("unet", input_shape=(16, 16, 1), num_classes=3, filters=(4, 8))


def test_as_a_model_it_takes_any_size_in_one_graph_and_is_saved_and_exported(unet: keras.Model, tmp_path: Path) -> None:
    model = sliding_window.sliding_window(unet, (16, 16), activation="softmax")
    (layer,) = (layer for layer in model.layers if isinstance(layer, sliding_window.SlidingWindow))
    model.save(tmp_path / "whole.keras")
    again = keras.saving.load_model(tmp_path / "whole.keras")
    model.export(tmp_path / "served", verbose=False)
    served = tf.saved_model.load(str(tmp_path / "served"))
    traced = 0
    for sizes in ((23, 33), (10, 40)):
        image = drawn(1, *sizes, 1)
        expected = model(image)
        assert expected.shape == (1, *sizes, 3)
        np.testing.assert_allclose(np.sum(expected, -1), 1.0, atol=1e-5)
        np.testing.assert_allclose(again(image), expected, atol=1e-6)
        np.testing.assert_allclose(served.serve(image), expected, atol=1e-6)
        traced = traced or layer._compiled.experimental_get_tracing_count()
    assert layer._compiled.experimental_get_tracing_count() == traced


def test_an_image_as_large_as_the_window_is_answered_as_by_the_network(unet: keras.Model) -> None:
    image = drawn(2, 16, 16, 1)
    model = sliding_window.sliding_window(unet, (16, 16), labels=True)
    assert (model.output_shape, model.output.dtype) == ((None, None, None), "int32")
    np.testing.assert_array_equal(model(image), np.argmax(unet(image), -1))


def test_settings_that_make_no_sense_are_refused(unet: keras.Model) -> None:
    with pytest.raises(UserError, match="window must be 2 sizes"):
        sliding_window.sliding_window(unet, (16, 16, 16))
    with pytest.raises(UserError, match="linear, softmax, sigmoid, not 'relu'"):
        sliding_window.sliding_window(unet, (16, 16), activation="relu")
    with pytest.raises(UserError, match="blending must be one of"):
        sliding_window.sliding_window(unet, (16, 16), blending="cosine")


def test_networks_that_answer_no_windows_are_refused(unet: keras.Model) -> None:
    inputs = keras.Input((8, 8, 1))
    halved = keras.Model(inputs, keras.layers.Conv2D(2, 3, strides=2, padding="same")(inputs))
    pooled = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(inputs))
    for network in (halved, pooled):
        with pytest.raises(UserError, match="must answer each voxel of its image"):
            sliding_window.sliding_window(network, (8, 8))
    with pytest.raises(UserError, match=r"takes images of \(16, 16\) voxels, and would be given \(8, 8\)"):
        sliding_window.sliding_window(unet, (8, 8))
