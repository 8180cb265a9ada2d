"""Every network of the folder does all that a network must do, by being there."""

import math
import sys
from pathlib import Path
from types import ModuleType

import keras
import numpy as np
import pytest
import tensorflow as tf

from radkit import folder, models
from radkit.errors import UserError

# Odd, so that no stride divides them; the training size of the same rank is even.
ODD = {0: (), 2: (37, 42), 3: (11, 25, 18)}
FIXED_SLICES = ("slices_as_channels",)  # slices become channels: their number is part of the network
# Detectors answer boxes: tests/models/test_detectors.py.
FILES = [name for name in folder.names("radkit.models") if folder.find("radkit.models", name, "TASK") != "detection"]
EVERY = [(name, rank) for name in FILES for rank in models.ranks(name)]
# Hundreds of layers are not soon built, of any width.
AT_ONCE = [pytest.param(*pair, marks=pytest.mark.slow) if pair[0] == "inception" else pair for pair in EVERY]
CLASSES = 3


def build(name: str, rank: int, *, channels: int = 1, seed: int = 0) -> keras.Model:
    keras.utils.set_random_seed(seed)
    shape = [*(None,) * rank, channels if rank else 5]
    if name in FIXED_SLICES:
        shape[0] = ODD[3][0]
    small = folder.find("radkit.models", name, "SMALL")
    return models.build(name, input_shape=shape, num_classes=CLASSES, **small)


def batch(network: keras.Model, rank: int, images: int = 2) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    sizes = [ODD[rank] if len(tensor.shape) == rank + 2 else () for tensor in network.inputs]
    given = [(images, *size, tensor.shape[-1]) for size, tensor in zip(sizes, network.inputs)]
    return [random.normal(size=shape).astype(np.float32) for shape in given]


def answers(network: keras.Model, inputs: list[np.ndarray], *, training: bool = False) -> tf.Tensor:
    return network(inputs if len(inputs) > 1 else inputs[0], training=training)


def output_shape(name: str, rank: int, images: int = 2) -> tuple[int, ...]:
    spatial = ODD[rank] if folder.find("radkit.models", name, "TASK") == "segmentation" else ()
    return (images, *(spatial[-2:] if name in FIXED_SLICES else spatial), CLASSES)


def toy_loss(network: keras.Model, inputs: list[np.ndarray], wanted: np.ndarray) -> tf.Tensor:
    log_probabilities = tf.nn.log_softmax(answers(network, inputs, training=True))
    return -tf.reduce_mean(tf.reduce_sum(wanted * log_probabilities, -1))


@pytest.mark.parametrize(("name", "rank"), AT_ONCE)
def test_every_network_answers_learns_and_is_kept(name: str, rank: int, tmp_path: Path) -> None:
    network = build(name, rank)
    inputs = batch(network, rank)
    found = answers(network, inputs)
    assert tuple(found.shape) == output_shape(name, rank)
    assert found.dtype == tf.float32
    assert np.isfinite(found).all()
    assert np.ptp(found) > 0

    again = build(name, rank)
    for one, other in zip(network.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)

    network.save_weights(tmp_path / "a.weights.h5")
    other_seed = build(name, rank, seed=5)
    assert not np.array_equal(answers(other_seed, inputs), found)
    other_seed.load_weights(tmp_path / "a.weights.h5")
    np.testing.assert_array_equal(answers(other_seed, inputs), found)

    # Of two images a batch norm over the one place that strides leave makes 1 and -1: it has no slope.
    inputs = batch(network, rank, images=6)
    shape = output_shape(name, rank, images=6)
    wanted = np.eye(CLASSES, dtype=np.float32)[np.random.default_rng(1).integers(CLASSES, size=shape[:-1])]
    with tf.GradientTape() as tape:
        before = toy_loss(network, inputs, wanted)
    gradients = tape.gradient(before, network.trainable_weights)
    assert [v.path for v, g in zip(network.trainable_weights, gradients) if g is None] == []
    norm = tf.linalg.global_norm(gradients)
    for length in (1e-2, 1e-3, 1e-4):  # along the gradient a short enough way goes down
        change = [-length * tf.convert_to_tensor(g) / norm for g in gradients]
        for weight, step in zip(network.trainable_weights, change):
            weight.assign_add(step)
        if float(toy_loss(network, inputs, wanted)) < float(before):
            return
        for weight, step in zip(network.trainable_weights, change):
            weight.assign_sub(step)
    pytest.fail(f"no step along the gradient, of length {norm}, lowers the loss of {before}")


@pytest.mark.slow
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("name", "rank"), EVERY)
def test_every_network_is_exported_rebuilt_and_mixed(
    name: str, rank: int, channels: int, tmp_path: Path, keras_alone: None
) -> None:
    network = build(name, rank, channels=channels)
    inputs = batch(network, rank)
    found = np.array(answers(network, inputs))
    for image in range(2):  # nothing depends on the other images of a batch
        np.testing.assert_allclose(answers(network, [i[image : image + 1] for i in inputs])[0], found[image], atol=2e-4)

    network.save(tmp_path / "a.keras")
    rebuilt = keras.saving.load_model(tmp_path / "a.keras")
    np.testing.assert_array_equal(answers(rebuilt, inputs), found)

    network.export(tmp_path / "served", verbose=False)
    served = tf.saved_model.load(str(tmp_path / "served"))
    np.testing.assert_allclose(served.serve(inputs if len(inputs) > 1 else inputs[0]), found, rtol=1e-4, atol=1e-4)

    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    mixed = build(name, rank, channels=channels)
    mixed.set_weights(network.get_weights())
    rounded = answers(mixed, inputs)
    assert rounded.dtype == tf.float32
    assert np.abs(rounded - found).max() < 0.15 * max(1.0, np.ptp(found))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "rank"), [pair for pair in EVERY if pair[1]])
def test_every_network_learns_in_a_compiled_step(name: str, rank: int) -> None:
    network = build(name, rank)
    inputs = batch(network, rank, images=6)
    shape = output_shape(name, rank, images=6)
    wanted = np.eye(CLASSES, dtype=np.float32)[np.random.default_rng(1).integers(CLASSES, size=shape[:-1])]
    optimizer = keras.optimizers.Adam(3e-3)
    optimizer.build(network.trainable_variables)

    @tf.function
    def step() -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = toy_loss(network, inputs, wanted)
        gradients = tape.gradient(loss, [v.value for v in network.trainable_variables])
        optimizer.apply(gradients, network.trainable_variables)
        return loss

    losses = [float(step()) for _ in range(12)]
    assert np.isfinite(losses).all()
    assert min(losses[-4:]) < losses[0]


def test_names_are_the_files_and_their_tasks() -> None:
    assert {"unet", "resnet50", "densenet121"} <= set(models.names())
    assert "resnet" not in models.names()  # its members stand for it
    assert models.find("ResNet-50") == models.find("resnet50")
    assert "layers" not in models.names()
    assert "unet" in models.names("segmentation")
    assert "unet" not in models.names("classification")
    assert models.names("cooking") == []


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("unett", {}, "did you mean 'unet'"),
        ("layers", {}, "models has no 'layers'"),
        ("unet", {"filter": (4, 8)}, "no setting 'filter'.*did you mean 'filters'"),
        ("unet", {"filters": 8}, "cannot be built with"),
        ("unet", {"filters": ("a", "b")}, "cannot be built with"),
        ("resnet", {"filters": ()}, "cannot be built with"),
        ("resnet", {"filters": (4, 8), "blocks": (1,)}, "2 levels and the blocks of 1"),
        ("resnet", {"filters": (4, 8, 16, 32)}, "needs images of at least 17"),
    ],
)
def test_wrong_names_and_settings_are_refused(name: str, settings: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        models.build(name, input_shape=(16, 16, 1), num_classes=2, **settings)


@pytest.mark.parametrize("shape", [(), (1,), (16, 1), (4, 4, 4, 4, 1)])
def test_other_ranks_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match="2 or 3 spatial sizes"):
        models.build("unet", input_shape=shape, num_classes=2)


def test_a_resnet_drops_features_only_in_training() -> None:
    network = models.build("resnet", input_shape=(16, 16, 1), num_classes=2, filters=(4, 8), dropout=0.5)
    image = np.random.default_rng(0).normal(size=(2, 16, 16, 1)).astype(np.float32)
    np.testing.assert_array_equal(network(image), network(image, training=False))
    assert not np.array_equal(network(image, training=True), network(image))


def test_a_resnets_depth_is_its_blocks() -> None:
    counts = [
        models.build("resnet", input_shape=(32, 32, 1), num_classes=2, filters=(4, 8), blocks=blocks).count_params()
        for blocks in ((1, 1), (1, 2))
    ]
    assert counts[1] - counts[0] == 2 * (8 * 8 * 9 + 2 * 8)


def test_outside_code_is_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    def mine(input_shape: tuple[int, ...], num_classes: int, width: int = 1) -> keras.Model:
        inputs = keras.Input(input_shape)
        return keras.Model(inputs, keras.layers.Conv2D(num_classes * width, 1)(inputs))

    module = ModuleType("made_up_network")
    module.mine = mine
    monkeypatch.setitem(sys.modules, "made_up_network", module)
    found = models.build("made_up_network:mine", input_shape=(8, 8, 1), num_classes=2, width=3)
    assert found.output_shape == (None, 8, 8, 6)
    assert math.prod(found.input_shape[1:]) == 64


@pytest.mark.parametrize(("mine", "said"), [(lambda _, __: None, "gave NoneType"), (3, "is int; a function")])
def test_outside_code_that_builds_no_network_is_told(monkeypatch: pytest.MonkeyPatch, mine: object, said: str) -> None:
    module = ModuleType("made_up_network")
    module.mine = mine
    monkeypatch.setitem(sys.modules, "made_up_network", module)
    with pytest.raises(UserError, match=said):
        models.build("made_up_network:mine", input_shape=(8, 8, 1), num_classes=2)
