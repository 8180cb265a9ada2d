"""Normalisation layers against the formulas, their gradients against automatic differentiation of them."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from radkit.models import layers
from radkit.models.layers import blocks

# How far from the formula in float64, as a share of the largest value.
TOLERANCE = {"float32": 1e-5, "mixed_bfloat16": 2e-2}


def formula(x: Any, gamma: Any, beta: Any, groups: int, slope: float, axes: tuple[int, ...] = (1, 3)) -> Any:
    flat = tf.reshape(x, (x.shape[0], -1, groups, x.shape[-1] // groups))
    mean, variance = tf.nn.moments(flat, axes, keepdims=True)
    y = tf.reshape((flat - mean) / tf.sqrt(variance + 1e-5), x.shape) * gamma + beta
    return tf.where(y > 0, y, slope * y)


def arrays(*shape: int) -> list[np.ndarray]:
    """An image and what comes back from the loss, numbers that bfloat16 has; a scale and a shift."""
    random = np.random.default_rng(0)
    image, upstream = (
        tf.cast(tf.cast(part, "bfloat16"), "float64").numpy()
        for part in (random.normal(3, 2, shape), random.normal(size=shape))
    )
    return [image, upstream, random.normal(1, 0.3, shape[-1]), random.normal(0, 0.3, shape[-1])]


def of_formula(parts: list[np.ndarray], *settings: Any) -> list[np.ndarray]:
    x, upstream, gamma, beta = (tf.constant(part, "float64") for part in parts)
    with tf.GradientTape() as tape:
        tape.watch((x, gamma, beta))
        y = formula(x, gamma, beta, *settings)
    return [part.numpy() for part in (y, *tape.gradient(y, (x, gamma, beta), upstream))]


def of_layer(layer: Any, parts: list[np.ndarray], batch: int | None, *, jit: bool = False) -> list[np.ndarray]:
    """Output and gradients, within a graph that knows the number of images or does not."""
    x, upstream = (tf.cast(part, layer.compute_dtype) for part in parts[:2])
    layer.build(x.shape)
    layer.set_weights([*parts[2:], *layer.get_weights()[2:]])
    signature = [tf.TensorSpec((batch, *x.shape[1:]), x.dtype)] * 2

    @tf.function(input_signature=signature, jit_compile=jit)
    def run(x: Any, upstream: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=True)
        return [y, *tape.gradient(y, [x, *(w.value for w in layer.trainable_weights)], upstream)]

    return [tf.cast(part, "float64").numpy() for part in run(x, upstream)]


def assert_near(found: list[np.ndarray], wanted: list[np.ndarray], tolerance: float) -> None:
    for name, one, other in zip(("output", "image", "scale", "shift"), found, wanted, strict=True):
        distance = np.abs(one - other)
        if name == "image" and tolerance > 1e-3:  # near 0 the activation's side, and so the gradient, is a toss
            distance = np.quantile(distance, 0.98)
        assert np.max(distance) <= tolerance * np.abs(other).max(), name


@pytest.mark.parametrize("policy", list(TOLERANCE))
@pytest.mark.parametrize(
    ("shape", "batch", "slope"),
    [((2, 6, 5, 16), 2, 0.1), ((2, 4, 5, 3, 16), None, 0.01), ((3, 6, 5, 5), None, 0.0), ((17, 4, 3, 16), 17, 1.0),
     ((2, 6, 7, 32), 2, 0.0), ((2, 3, 4, 5, 3), 2, 1.0)],
)  # fmt: skip
def test_instance_normalisation_and_its_gradients_are_the_formulas(
    policy: str, shape: tuple[int, ...], batch: int | None, slope: float
) -> None:
    parts = arrays(*shape)
    layer = layers.InstanceNormalization(negative_slope=slope, dtype=policy)
    assert_near(of_layer(layer, parts, batch), of_formula(parts, shape[-1], slope), TOLERANCE[policy])


@pytest.mark.parametrize("policy", list(TOLERANCE))
@pytest.mark.parametrize(("shape", "groups", "slope"), [((2, 6, 5, 16), 4, 0.0), ((2, 3, 4, 5, 6), 2, 1.0)])
def test_group_normalisation_and_its_gradients_are_the_formulas(
    policy: str, shape: tuple[int, ...], groups: int, slope: float
) -> None:
    parts = arrays(*shape)
    layer = layers.GroupNormalization(groups, slope, epsilon=1e-5, dtype=policy)
    assert_near(of_layer(layer, parts, None), of_formula(parts, groups, slope), TOLERANCE[policy])


@pytest.mark.parametrize("policy", list(TOLERANCE))
@pytest.mark.parametrize("shape", [(4, 6, 5, 16), (2, 4, 5, 3, 5), (9, 4)])
def test_batch_normalisation_and_its_gradients_are_the_formulas(policy: str, shape: tuple[int, ...]) -> None:
    parts = arrays(*shape)
    layer = layers.BatchNormalization(epsilon=1e-5, dtype=policy)
    assert_near(of_layer(layer, parts, None), of_formula(parts, shape[-1], 1.0, (0, 1)), TOLERANCE[policy])


@pytest.mark.parametrize("shape", [(4, 6, 5, 3), (2, 3, 4, 5, 3), (1, 1, 1, 3), (9, 3), (5, 4, 3)])
@pytest.mark.parametrize("settings", [{}, {"scale": False, "momentum": 0.5}, {"center": False, "synchronized": True}])
def test_batch_normalisation_answers_and_follows_as_kerass(shape: tuple[int, ...], settings: dict[str, Any]) -> None:
    image = arrays(*shape)[0].astype("float32")
    ours, theirs = layers.BatchNormalization(**settings), keras.layers.BatchNormalization(**settings)
    for layer in (ours, theirs):
        layer.build(image.shape)
    ours.set_weights([1.5 * weight + 0.25 for weight in theirs.get_weights()])
    theirs.set_weights(ours.get_weights())
    for training in (True, False, None):
        np.testing.assert_allclose(ours(image, training=training), theirs(image, training=training), atol=2e-5)
    for one, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_a_frozen_batch_normalisation_keeps_its_statistics_and_lets_gradients_through() -> None:
    image = tf.constant(arrays(2, 3, 4, 5, 3)[0], "float32")
    layer = layers.BatchNormalization(trainable=False)
    layer.build(image.shape)
    layer.set_weights([np.full(3, value, "float32") for value in (2.0, 0.5, 1.0, 4.0)])
    with tf.GradientTape() as tape:
        tape.watch(image)
        y = layer(image, training=True)
    np.testing.assert_allclose(y, (image - 1) / np.sqrt(4.001) * 2 + 0.5, rtol=1e-5)
    np.testing.assert_allclose(tape.gradient(y, image), np.full(image.shape, 2 / np.sqrt(4.001)), rtol=1e-5)
    assert [float(weight[0]) for weight in layer.get_weights()] == [2.0, 0.5, 1.0, 4.0]


def test_what_is_not_of_the_fast_path_goes_kerass_way() -> None:
    image = arrays(4, 6, 3)[0].astype("float32")
    mask = np.arange(24).reshape(4, 6) % 3 > 0
    # Keras 3.12, the last for Python 3.10, has no renorm.
    renorm = [({"renorm": True}, {})] if hasattr(keras.layers.BatchNormalization(), "renorm") else []
    for settings, call in (({"axis": 1}, {}), *renorm, ({}, {"mask": mask})):
        ours, theirs = layers.BatchNormalization(**settings), keras.layers.BatchNormalization(**settings)
        found, wanted = ours(image, training=True, **call), theirs(image, training=True, **call)
        np.testing.assert_allclose(found, wanted, atol=1e-6)
    ours, theirs = layers.GroupNormalization(3, 0.0, axis=1), keras.layers.GroupNormalization(3, axis=1)
    np.testing.assert_allclose(ours(image), keras.ops.relu(theirs(image)), atol=1e-5)


@pytest.mark.parametrize(
    "layer",
    [layers.InstanceNormalization(negative_slope=0.1), layers.GroupNormalization(4, 0.1, epsilon=1e-5),
     layers.BatchNormalization(epsilon=1e-5)],
    ids=["instance", "group", "batch"],
)  # fmt: skip
def test_layers_compile_with_xla(layer: Any) -> None:
    parts = arrays(2, 4, 5, 16)
    groups, slope, axes = {"I": (16, 0.1, (1, 3)), "G": (4, 0.1, (1, 3)), "B": (16, 1.0, (0, 1))}[
        type(layer).__name__[0]
    ]
    assert_near(of_layer(layer, parts, 2, jit=True), of_formula(parts, groups, slope, axes), 1e-5)


def test_a_mean_far_from_zero_costs_no_digits() -> None:
    image, *rest = arrays(2, 8, 8, 3)
    parts = [(image + 3000).astype("float32").astype("float64"), *rest]
    found = of_layer(layers.InstanceNormalization(negative_slope=0.1), parts, 2)
    assert_near(found, of_formula(parts, 3, 0.1), 1e-3)


def test_layers_are_rebuilt_from_their_configs() -> None:
    for layer in (layers.InstanceNormalization(0.5, 0.1, name="a"), layers.GroupNormalization(2, 0.1, epsilon=0.5)):
        again = keras.layers.deserialize(keras.layers.serialize(layer))
        assert (again.epsilon, again.negative_slope, again.name) == (0.5, 0.1, layer.name)


@pytest.mark.parametrize("kind", ["batch", "instance", "group", "none"])
@pytest.mark.parametrize("activation", ["linear", "relu", "leaky_relu", "leaky_relu:0.1", "prelu", "silu"])
def test_normalising_and_activating_together_is_the_one_after_the_other(kind: str, activation: str) -> None:
    inputs = keras.Input((4, 5, 6))
    x = keras.layers.Identity()(inputs)  # Keras 3.12 has no network of no layer
    together = keras.Model(inputs, layers.normalize(x, kind, activation, epsilon=1e-5))
    apart = keras.Model(inputs, layers.activate(layers.normalize(x, kind, epsilon=1e-5), activation))
    image = arrays(2, 4, 5, 6)[0].astype("float32")
    np.testing.assert_allclose(together(image), apart(image), atol=1e-6)
    assert len(together.layers) <= len(apart.layers)
    assert (blocks.negative_slope(activation) is None) == (activation in ("prelu", "silu"))
