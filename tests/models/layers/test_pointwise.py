"""Convolutions of one place against Keras's."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from radkit.models import layers
from radkit.models.layers import pointwise


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("sizes", [(4, 6), (4, 6, 3), (None, None)])
@pytest.mark.parametrize("strides", [1, 2])
@pytest.mark.parametrize("bias", [True, False])
def test_answers_weights_and_names_are_kerass(
    policy: str, sizes: tuple[int | None, ...], strides: int, bias: bool
) -> None:
    inputs = keras.Input((*sizes, 8))
    found = keras.Model(inputs, layers.convolve(inputs, 5, 1, strides, bias=bias, name="mix", dtype=policy))
    kind = {2: keras.layers.Conv2D, 3: keras.layers.Conv3D}[len(sizes)]
    wanted = keras.Model(inputs, kind(5, 1, strides, use_bias=bias, name="mix", dtype=policy)(inputs))
    assert [weight.path for weight in found.weights] == [weight.path for weight in wanted.weights]
    random = np.random.default_rng(0)
    wanted.set_weights([random.normal(size=weight.shape) for weight in wanted.weights])
    found.set_weights(wanted.get_weights())
    image = random.normal(size=(2, *(size or 5 for size in sizes), 8)).astype("float32")
    one, other = (np.array(keras.ops.cast(model(image), "float32")) for model in (found, wanted))
    np.testing.assert_allclose(one, other, atol=(1e-5 if policy == "float32" else 0.02) * np.abs(other).max())
    assert isinstance(found.layers[-1], kind)


def test_groups_and_activations_are_kept() -> None:
    image = np.random.default_rng(0).normal(size=(2, 4, 6, 8)).astype("float32")
    for settings in ({"groups": 1, "activation": "relu"}, {"groups": 2, "activation": None}):
        ours, theirs = (
            kind(4, 1, dtype="mixed_bfloat16", **settings) for kind in (pointwise.Conv2D, keras.layers.Conv2D)
        )
        ours.build(image.shape)
        theirs.build(image.shape)
        theirs.set_weights(ours.get_weights())
        one, other = (np.array(keras.ops.cast(layer(image), "float32")) for layer in (ours, theirs))
        np.testing.assert_allclose(one, other, atol=0.02 * np.abs(other).max())


@pytest.mark.parametrize("rank", [2, 3])
def test_kernels_of_one_place_never_stride_in_the_graph(rank: int) -> None:
    """TensorFlow's own gradient of those corrupts memory: a process may die far from there."""
    image = tf.constant(np.random.default_rng(0).normal(size=(2, *(7, 6, 5)[:rank], 16)).astype("float32"))
    kind = {2: pointwise.Conv2D, 3: pointwise.Conv3D}[rank]
    ours, theirs = (made(4, 1, (2, 1, 3)[:rank], padding="same") for made in (kind, kind.__mro__[1]))
    ours.build(image.shape)
    theirs.build(image.shape)
    theirs.set_weights(ours.get_weights())

    def gradients(layer: keras.Layer) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(image)
            loss = tf.reduce_sum(tf.square(layer(image)))
        return list(tape.gradient(loss, [image, *[weight.value for weight in layer.weights]]))

    for one, other in zip(gradients(ours), gradients(theirs), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)
    graph = tf.function(gradients).get_concrete_function(ours).graph
    strided = [op for op in graph.get_operations() if "Conv" in op.type and set(op.get_attr("strides")) != {1}]
    assert not strided
