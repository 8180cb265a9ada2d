"""Weights in fewer bits: what stands for a kernel, how near it is, and that an export holds nothing else."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from radkit.errors import UserError
from serving import quantised


def network() -> keras.Model:
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 2))
    x = keras.layers.Conv2D(6, 3, padding="same", name="conv")(image)
    x = keras.layers.DepthwiseConv2D(3, padding="same", name="depth")(keras.layers.BatchNormalization()(x))
    x = keras.layers.Conv2DTranspose(4, 2, strides=2, name="up")(x)
    return keras.Model(image, keras.layers.Dense(3, name="dense")(keras.layers.GlobalAveragePooling2D()(x)))


def whole(kept: quantised.Kept) -> dict[str, np.ndarray]:
    return {kernel.variable.path.split("/")[0]: kernel.whole().numpy() for kernel in kept.kernels}


@pytest.mark.parametrize(("layer", "axes"), [("conv", (3,)), ("depth", (2, 3)), ("up", (2,)), ("dense", (1,))])
def test_an_int8_kernel_is_off_by_half_a_step_of_its_own_output_channel(layer: str, axes: tuple[int, ...]) -> None:
    made = network()
    kernel = np.asarray(made.get_layer(layer).kernel.value)
    # Channels of very different sizes: with one scale for all of them the small ones would be lost.
    sizes = 10.0 ** -np.arange(np.prod([kernel.shape[a] for a in axes])).reshape([kernel.shape[a] for a in axes])
    kernel = kernel * sizes.reshape([kernel.shape[a] if a in axes else 1 for a in range(kernel.ndim)])
    made.get_layer(layer).kernel.assign(kernel)
    found = whole(quantised.keep([made], "int8"))[layer]
    rest = tuple(a for a in range(kernel.ndim) if a not in axes)
    step = np.abs(kernel).max(axis=rest, keepdims=True) / 127
    assert (np.abs(found - kernel) <= 0.5001 * step).all()


@pytest.mark.parametrize(("way", "bits"), [("float16", 11), ("bfloat16", 8)])
def test_floats_are_rounded_to_their_own_digits(way: str, bits: int) -> None:
    made = network()
    kernel = np.asarray(made.get_layer("dense").kernel.value)
    kept = quantised.keep([made], way)
    assert {one.values.dtype.name for one in kept.kernels} == {way}
    assert (np.abs(whole(kept)["dense"] - kernel) <= 2.0**-bits * np.abs(kernel)).all()


def test_a_weight_that_float16_cannot_hold_is_refused() -> None:
    made = network()
    made.get_layer("dense").kernel.assign(np.full((4, 3), 7e4))
    assert np.isfinite(whole(quantised.keep([made], "bfloat16"))["dense"]).all()
    with pytest.raises(UserError, match=r"--weights=float16 cannot hold 7e[+]04, a weight of dense/kernel"):
        quantised.keep([made], "float16")


def test_a_channel_of_zeros_stays_zero() -> None:
    made = network()
    made.get_layer("dense").kernel.assign(np.zeros((4, 3)))
    assert not whole(quantised.keep([made], "int8"))["dense"].any()


@pytest.mark.parametrize("way", ["float16", "int8"])
def test_a_saved_graph_reads_the_stored_weights_alone(way: str, tmp_path: Path) -> None:
    made = network()
    kept = quantised.keep([made], way)

    @tf.function(input_signature=[tf.TensorSpec([None, 8, 8, 2], tf.float32, name="image")])
    def answer(image: tf.Tensor) -> tf.Tensor:
        with quantised.reading(kept):
            return made(image, training=False)

    image = np.random.default_rng(0).normal(size=(2, 8, 8, 2)).astype(np.float32)
    before = np.asarray(made(image, training=False))
    module = tf.Module()
    module.kept, module.answer = kept.variables, answer
    tf.saved_model.save(module, str(tmp_path / "m"), signatures={"serving_default": answer})
    loaded = tf.saved_model.load(str(tmp_path / "m"))
    found = loaded.answer(image).numpy()
    for kernel in kept.kernels:  # the network with the stored weights put in is the same network
        kernel.variable.assign(kernel.whole())
    np.testing.assert_allclose(found, np.asarray(made(image, training=False)), rtol=1e-5, atol=1e-6)
    assert not np.array_equal(found, before)
    reader = tf.train.load_checkpoint(str(tmp_path / "m" / "variables" / "variables"))
    stored = [dtype.name for dtype in reader.get_variable_to_dtype_map().values()]
    assert stored.count(way) == 4
    kernels = {tuple(kernel.variable.shape) for kernel in kept.kernels}
    whole_ones = [
        name
        for name, shape in reader.get_variable_to_shape_map().items()
        if tuple(shape) in kernels and reader.get_variable_to_dtype_map()[name] == tf.float32
    ]
    assert not whole_ones


def test_float32_is_left_as_it_is_and_other_ways_are_refused() -> None:
    assert quantised.keep([network()], "float32") is None
    with pytest.raises(UserError, match="--weights must be one of float32, float16, bfloat16, int8, not 'int4'"):
        quantised.keep([network()], "int4")
    image = keras.Input((4,))
    with pytest.raises(UserError, match="no kernels"):
        quantised.keep([keras.Model(image, keras.layers.ReLU()(image))], "int8")
