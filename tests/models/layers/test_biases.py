"""Constants and their gradients."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from radkit.models import layers
from radkit.models.layers import biases


@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize("build", ["convolution", "pointwise", "volume", "deconvolution"])
def test_many_small_gradients_are_summed(build: str, graph: bool, keras_alone: None) -> None:
    # 65,536 ones: summed in bfloat16, whose eight bits end at 256 of them, they stay far below.
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    shape = (8, 16, 32, 16) if build == "volume" else (64, 64, 16) if build == "deconvolution" else (256, 256, 16)
    inputs = keras.Input(shape)
    made = {
        "convolution": lambda: layers.convolve(inputs, 16, 3, bias=True),
        "pointwise": lambda: layers.convolve(inputs, 16, 1, bias=True),
        "volume": lambda: layers.convolve(inputs, 16, 3, bias=True),
        "deconvolution": lambda: layers.deconvolve(inputs, 16, bias=True),
    }
    network = keras.Model(inputs, made[build]())
    kernel, bias = network.trainable_weights
    image = tf.zeros((16 if build in ("volume", "deconvolution") else 1, *shape))

    def gradient() -> tf.Tensor:
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(tf.cast(network(image, training=True), tf.float32))
        return tape.gradient(total, [bias.value])[0]  # the kernel's is not asked for: it is frozen

    del kernel
    found = tf.function(gradient)() if graph else gradient()
    places = int(np.prod(network(image).shape[:-1]))
    np.testing.assert_allclose(np.array(found, np.float32), places, rtol=0.01)


def test_it_is_an_addition() -> None:
    y, bias = np.arange(12, dtype=np.float32).reshape(2, 3, 2), np.array([0.5, -1], np.float32)
    np.testing.assert_array_equal(biases.add(ops.convert_to_tensor(y), ops.convert_to_tensor(bias)), y + bias)
