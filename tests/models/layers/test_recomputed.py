"""What is computed again in a training step: the same gradients, and nothing held."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from radkit import models
from radkit.models import layers
from radkit.models.layers import recomputed

SMALL = {"blocks": (2, 2), "growth": 4, "filters": 8}


def after_a_step(network: keras.Model, x: np.ndarray, *, in_graph: bool) -> list[np.ndarray]:
    """Returns the answers, the gradients of weights and image, and the moving statistics after one step's forward."""

    def step(x: tf.Tensor) -> tuple[Any, Any]:
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = network(x, training=True)
            loss = tf.reduce_sum(tf.cast(y, tf.float32) ** 2)
        return y, tape.gradient(loss, [x, *(weight.value for weight in network.trainable_variables)])

    before = network.get_weights()
    y, gradients = (tf.function(step) if in_graph else step)(tf.constant(x))
    moved = [np.asarray(weight) for weight in network.non_trainable_variables]
    network.set_weights(before)
    return [np.asarray(tf.cast(found, tf.float32)) for found in (y, *gradients)] + moved


@pytest.mark.parametrize("sizes", [(32, 32), (8, 16, 16)])
def test_a_dense_network_in_a_graph_learns_what_it_does_outside(sizes: tuple[int, ...]) -> None:
    keras.utils.set_random_seed(0)
    network = models.build("densenet", input_shape=(*sizes, 1), num_classes=2, **SMALL)
    x = np.random.default_rng(0).normal(size=(2, *sizes, 1)).astype(np.float32)
    # Outside a graph nothing is computed again.
    expected, found = (after_a_step(network, x, in_graph=in_graph) for in_graph in (False, True))
    assert len(found) == len(expected)
    for one, other in zip(found, expected):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5 * max(1.0, np.abs(other).max()))


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("sizes", [(6, 6), (4, 4, 4), (None, None)])
def test_a_layer_that_rectifies_is_two_layers(sizes: tuple[int | None, ...], policy: str) -> None:
    def made(together: bool) -> keras.Model:
        keras.utils.set_random_seed(0)
        inputs = [keras.Input((*sizes, 3)), keras.Input((*sizes, 2))]
        x = layers.Concatenate(dtype=policy)(inputs)
        x = layers.BatchNormalization(rectify=together, gamma_initializer="random_uniform", dtype=policy)(x)
        x = x if together else keras.layers.ReLU(dtype=policy)(x)
        return keras.Model(inputs, [layers.convolve(x, 4, size, dtype=policy) for size in (1, 3)])

    def gradients(network: keras.Model, xs: list[tf.Tensor]) -> list[np.ndarray]:
        @tf.function
        def step(*xs: tf.Tensor) -> Any:
            with tf.GradientTape() as tape:
                tape.watch(xs)
                loss = sum(tf.reduce_sum(tf.cast(y, tf.float32) ** 2) for y in network(list(xs), training=True))
            return tape.gradient(loss, [*xs, *(weight.value for weight in network.trainable_variables)])

        return [np.asarray(tf.cast(found, tf.float32)) for found in step(*xs)]

    random = np.random.default_rng(0)
    space = tuple(size or 5 for size in sizes)
    xs = [tf.constant(random.normal(size=(2, *space, channels)), tf.float32) for channels in (3, 2)]
    bound = {"float32": 1e-5, "mixed_bfloat16": 2e-2}[policy]
    for one, other in zip(gradients(made(True), xs), gradients(made(False), xs), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=bound * np.abs(other).max())


def test_nothing_between_a_dense_layers_convolutions_is_held() -> None:
    network = models.build("densenet", input_shape=(32, 32, 1), num_classes=2, **SMALL)

    @tf.function
    def step(x: tf.Tensor) -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(network(x, training=True))
        return tape.gradient(loss, [weight.value for weight in network.trainable_variables])

    graph = step.get_concrete_function(tf.TensorSpec((2, 32, 32, 1))).graph
    operations = {operation.type: [] for operation in graph.get_operations()}
    for operation in graph.get_operations():
        operations[operation.type].append(operation)
    # 4 layers of 2 normalisations, 2 transitions and ends, 1 stem: each is written down twice.
    trained = [one for one in operations["FusedBatchNormV3"] if one.get_attr("is_training")]
    again = [one for one in operations["FusedBatchNormV3"] if not one.get_attr("is_training")]
    assert len(trained) == len(again) == 11
    assert all(one.control_inputs or one.inputs[0].op.control_inputs for one in again)
    # What a gradient reads is what was computed again, not what the forward pass left.
    sources = {one.inputs[0].op.name for one in again}
    assert {one.inputs[1].op.name for one in operations["FusedBatchNormGradV3"]} == sources
    rectified = {one.outputs[0].ref() for one in operations["Relu"] if one.inputs[0].op in again}
    assert all(one.inputs[1].ref() in rectified for one in operations["ReluGrad"])
    of_kernels = [one.inputs[0] for one in operations["Conv2DBackpropFilter"]]
    assert sum(one.ref() in rectified for one in of_kernels) == 8  # in blocks; the others see an image and a mean


def test_layers_that_rectify_are_rebuilt_from_their_configs() -> None:
    layer = layers.BatchNormalization(rectify=True, epsilon=0.5)
    again = keras.layers.deserialize(keras.layers.serialize(layer))
    assert (again.rectify, again.epsilon, again.synchronized) == (True, 0.5, True)
    assert not layers.BatchNormalization().rectify


def test_a_frozen_layer_rectifies_with_what_it_has() -> None:
    layer = layers.BatchNormalization(rectify=True, epsilon=0.0)
    layer.build((None, 2, 2, 1))
    layer.trainable = False
    layer.moving_mean.assign([1.0])
    layer.moving_variance.assign([4.0])
    x = tf.reshape(tf.constant([-1.0, 0.0, 1.0, 5.0]), (1, 2, 2, 1))
    y = tf.function(lambda x: layer(x, training=True))(x)
    np.testing.assert_allclose(np.ravel(y), [0, 0, 0, 2], atol=1e-6)
    assert recomputed.again(y) is None
