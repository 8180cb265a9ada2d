"""Shared layers against plain numpy."""

import keras
import numpy as np
import pytest

from radkit.models import layers


def instance_norm(image: np.ndarray, gamma: np.ndarray, beta: np.ndarray) -> np.ndarray:
    axes = tuple(range(1, image.ndim - 1))
    image = image.astype(np.float64)
    mean, variance = image.mean(axes, keepdims=True), image.var(axes, keepdims=True)
    return (image - mean) / np.sqrt(variance + 1e-5) * gamma + beta


@pytest.mark.parametrize("sizes", [(6, 5), (4, 5, 3)])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("mixed_bfloat16", 0.1)])
def test_instance_normalisation_is_the_formula(sizes: tuple[int, ...], dtype: str, tolerance: float) -> None:
    random = np.random.default_rng(0)
    image = random.normal(2, 3, (2, *sizes, 3)).astype(np.float32)
    gamma, beta = random.normal(size=3).astype(np.float32), random.normal(size=3).astype(np.float32)
    layer = layers.InstanceNormalization(dtype=dtype)
    layer.build(image.shape)
    layer.set_weights([gamma, beta])
    found = layer(image)
    assert keras.backend.standardize_dtype(found.dtype) == layer.compute_dtype
    found = np.array(keras.ops.cast(found, "float32"))
    np.testing.assert_allclose(found, instance_norm(image, gamma, beta), atol=tolerance)


def test_the_scale_keeps_float32s_digits_in_mixed_precision() -> None:
    # bfloat16 cannot tell 1.003 from 1.0; the input is made so that 300 times the scale is read from a large output.
    layer = layers.InstanceNormalization(dtype="mixed_bfloat16")
    layer.build((None, 2, 2, 1))
    image = np.array([-1, 1, -1, 1], np.float32).reshape(1, 2, 2, 1)
    layer.set_weights([np.array([1.0075], np.float32), np.array([-1.0], np.float32)])
    found = np.array(keras.ops.cast(layer(image), "float32"))
    assert found.max() == pytest.approx(0.0075, abs=0.004)


def test_one_image_does_not_change_anothers_answer() -> None:
    random = np.random.default_rng(0)
    batch = random.normal(size=(2, 5, 5, 3)).astype(np.float32)
    layer = layers.InstanceNormalization()
    np.testing.assert_allclose(layer(batch)[:1], layer(batch[:1]), atol=1e-6)


def test_a_constant_image_is_finite() -> None:
    assert np.isfinite(np.array(layers.InstanceNormalization()(np.full((1, 4, 4, 2), 9e3, np.float32)))).all()


def test_the_layer_is_rebuilt_from_its_config() -> None:
    layer = layers.InstanceNormalization(epsilon=0.5, name="norm")
    again = keras.layers.deserialize(keras.layers.serialize(layer))
    assert (again.epsilon, again.name) == (0.5, "norm")


@pytest.mark.parametrize("sizes", [(4, 6), (4, 6, 2)])
def test_upsampling_doubles(sizes: tuple[int, ...]) -> None:
    inputs = keras.Input((*sizes, 3))
    assert layers.deconvolve(inputs, 5).shape == (None, *(2 * s for s in sizes), 5)
