"""Transposed convolution in bfloat16 against a loop in numpy."""

import itertools
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from radkit.models import layers
from radkit.models.layers import deconvolutions


def by_hand(image: np.ndarray, kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
    size = kernel.shape[:-2]
    out = np.zeros((image.shape[0], *(n * s for n, s in zip(image.shape[1:-1], size)), len(bias)))
    for place in itertools.product(*(range(width) for width in size)):
        out[(slice(None), *(slice(first, None, step) for first, step in zip(place, size)))] = image @ kernel[place].T
    return out + bias


def rounded(*shape: int) -> np.ndarray:
    """Numbers that bfloat16 has."""
    found = tf.cast(np.random.default_rng(sum(shape)).normal(size=shape), "bfloat16")
    return tf.cast(found, "float64").numpy()


@pytest.mark.parametrize("known", [True, False], ids=["sizes known", "sizes free"])
@pytest.mark.parametrize(
    ("sizes", "stride"), [((4, 5), (2, 2)), ((4, 5), (1, 3)), ((3, 4, 5), (2, 2, 2)), ((3, 4, 5), (1, 2, 3))]
)
def test_it_is_the_formula_and_so_are_its_gradients(
    sizes: tuple[int, ...], stride: tuple[int, ...], known: bool
) -> None:
    image, kernel, bias = rounded(2, *sizes, 6), rounded(*stride, 7, 6), rounded(7)
    kind = {2: deconvolutions.Conv2DTranspose, 3: deconvolutions.Conv3DTranspose}[len(sizes)]
    layer = kind(7, stride, strides=stride, padding="same", dtype="mixed_bfloat16", activation="linear")
    layer.build(image.shape)
    layer.set_weights([kernel, bias])
    free = tf.TensorSpec(image.shape if known else (None,) * (len(sizes) + 1) + (6,), "bfloat16")

    @tf.function(input_signature=[free])
    def run(x: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x)
            loss = tf.reduce_sum(tf.cast(y, "float32") ** 2) / 2
        return [y, *tape.gradient(loss, [x, *(weight.value for weight in layer.trainable_weights)])]

    y, of_image, of_kernel, of_bias = (tf.cast(part, "float64").numpy() for part in run(tf.cast(image, "bfloat16")))
    wanted = by_hand(image, kernel, bias)
    np.testing.assert_allclose(y, wanted, atol=0.01 * np.abs(wanted).max())
    np.testing.assert_allclose(of_bias, wanted.sum(tuple(range(wanted.ndim - 1))), atol=0.02 * np.abs(wanted).sum() / 7)
    back = np.zeros_like(image)
    for place in itertools.product(*(range(width) for width in stride)):
        part = wanted[(slice(None), *(slice(first, None, step) for first, step in zip(place, stride)))]
        back += part @ kernel[place]
        found = np.tensordot(part, image, axes=(range(len(sizes) + 1),) * 2)
        np.testing.assert_allclose(of_kernel[place], found, atol=0.02 * np.abs(of_kernel).max())
    np.testing.assert_allclose(of_image, back, atol=0.02 * np.abs(back).max())


def test_the_biass_gradient_is_not_summed_in_bfloat16() -> None:
    layer = deconvolutions.Conv2DTranspose(3, 2, strides=2, padding="same", dtype="mixed_bfloat16")
    layer.build((None, None, None, 2))

    @tf.function
    def of_weights(image: Any) -> Any:
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(tf.cast(layer(image), "float32"))
        return tape.gradient(total, [weight.value for weight in layer.trainable_weights])

    # A sum in bfloat16 stops growing early: there 256 + 1 is 256. TensorFlow's own gradient of a bias ends at 2048.
    _, found = of_weights(tf.ones((4, 64, 64, 2), "bfloat16"))
    np.testing.assert_allclose(found, np.full(3, 4 * 128 * 128), rtol=0.01)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("sizes", [(4, 6), (4, 6, 2)])
@pytest.mark.parametrize(("size", "stride"), [(2, 2), (3, 2), (3, 1)])
def test_weights_shapes_and_names_are_kerass(policy: str, sizes: tuple[int, ...], size: int, stride: int) -> None:
    inputs = keras.Input((*sizes, 3))
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        ours = keras.Model(inputs, layers.deconvolve(inputs, 5, size, stride, bias=True, name="up"))
        kind = {2: keras.layers.Conv2DTranspose, 3: keras.layers.Conv3DTranspose}[len(sizes)]
        theirs = keras.Model(inputs, kind(5, size, strides=stride, padding="same", name="up")(inputs))
    finally:
        keras.config.set_dtype_policy(before)
    assert [w.path for w in ours.weights] == [w.path for w in theirs.weights]
    ours.set_weights([np.random.default_rng(0).normal(size=w.shape) for w in theirs.weights])
    theirs.set_weights(ours.get_weights())
    image = rounded(2, *sizes, 3).astype("float32")
    found, wanted = (np.array(keras.ops.cast(model(image), "float32")) for model in (ours, theirs))
    np.testing.assert_allclose(found, wanted, atol=(1e-5 if policy == "float32" else 0.02) * np.abs(wanted).max())
    again = keras.Model.from_config(ours.get_config())
    again.set_weights(ours.get_weights())
    assert np.array_equal(keras.ops.cast(again(image), "float32"), found)
