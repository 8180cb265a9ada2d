"""U-Nets against plain numpy, against the figures of the networks they stand for, and what their settings do."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

from radkit import models
from radkit.errors import UserError
from radkit.models import encoders, monai_unet, nnunet, segresnet, unet
from radkit.models.layers import decoding
from tests.models import in_numpy

SIZES = {2: (8, 12), 3: (4, 8, 4)}
Weights = dict[str, np.ndarray]


def batch(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)


def made(name: str, rank: int, **settings: Any) -> tuple[keras.Model, Weights]:
    """Returns a network of two channels and three classes, and its weights, made up, by `layer/weight`."""
    network = models.build(name, input_shape=(*(None,) * rank, 2), num_classes=3, **settings)
    random = np.random.default_rng(1)
    found = {}
    for layer in network.layers:
        for weight in layer.weights:
            weight.assign(random.normal(0.2, 0.5, weight.shape))
            found[f"{layer.name}/{weight.name}"] = np.array(weight, np.float64)
    return network, found


class Reader:
    """Applies a network's layers, by their names, in numpy."""

    def __init__(self, weights: Weights, same: bool = False) -> None:
        self.weights, self.same, self.used = weights, same, set[str]()

    def of(self, layer: str, weight: str) -> np.ndarray | float:
        key = f"{layer}/{weight}"
        self.used.add(key)
        return self.weights.get(key, 0.0)

    def convolve(self, x: np.ndarray, layer: str, strides: int = 1) -> np.ndarray:
        return in_numpy.convolve(x, self.of(layer, "kernel"), self.of(layer, "bias"), strides, self.same)

    def deconvolve(self, x: np.ndarray, layer: str) -> np.ndarray:
        return in_numpy.deconvolve(x, self.of(layer, "kernel"), self.of(layer, "bias"))

    def norm(self, x: np.ndarray, layer: str) -> np.ndarray:
        return in_numpy.instance_norm(x, self.of(layer, "gamma"), self.of(layer, "beta"))


def join(*parts: np.ndarray) -> np.ndarray:
    return np.concatenate(parts, -1)


def unet_of_two_levels(x: np.ndarray, read: Reader) -> np.ndarray:
    def two(x: np.ndarray, name: str, strides: int = 1) -> np.ndarray:
        for index, step in enumerate((strides, 1)):
            x = read.norm(read.convolve(x, f"{name}_{index}_conv", step), f"{name}_{index}_norm")
            x = in_numpy.leaky_relu(x)
        return x

    skip = two(x, "encoder_0")
    x = read.deconvolve(two(skip, "encoder_1", 2), "decoder_0_up")
    return read.convolve(two(join(x, skip), "decoder_0"), "logits")


def residual_dynunet_of_two_levels(x: np.ndarray, read: Reader) -> np.ndarray:
    def once(x: np.ndarray, name: str, index: int, strides: int = 1) -> np.ndarray:
        return read.norm(read.convolve(x, f"{name}.conv{index}.conv", strides), f"{name}.norm{index}")

    def residual(x: np.ndarray, name: str, strides: int = 1) -> np.ndarray:
        y = once(in_numpy.leaky_relu(once(x, name, 1, strides)), name, 2)
        return in_numpy.leaky_relu(y + once(x, name, 3, strides))

    skip = residual(x, "input_block")
    x = join(read.deconvolve(residual(skip, "bottleneck", 2), "upsamples.0.transp_conv.conv"), skip)
    for index in (1, 2):
        x = in_numpy.leaky_relu(once(x, "upsamples.0.conv_block", index))
    return read.convolve(x, "output_block.conv.conv")


def monai_unet_of_two_levels(x: np.ndarray, read: Reader) -> np.ndarray:
    def adn(x: np.ndarray, name: str) -> np.ndarray:
        return in_numpy.leaky_relu(read.norm(x, f"{name}.N"), float(np.squeeze(read.of(f"{name}.A", "alpha"))))

    def unit(x: np.ndarray, name: str, strides: int = 1) -> np.ndarray:
        y = x
        for index, step in enumerate((strides, 1)):
            inner = f"{name}.conv.unit{index}"
            y = adn(read.convolve(y, f"{inner}.conv", step), f"{inner}.adn")
        return y + read.convolve(x, f"{name}.residual", strides)

    x = unit(x, "model.0", 2)
    x = join(x, unit(x, "model.1.submodule"))
    x = adn(read.deconvolve(x, "model.2.0.conv"), "model.2.0.adn")
    return x + read.convolve(x, "model.2.1.conv.unit0.conv")


def segresnet_of_two_levels(x: np.ndarray, read: Reader) -> np.ndarray:
    def norm(x: np.ndarray, name: str) -> np.ndarray:
        return np.maximum(in_numpy.group_norm(x, read.of(name, "gamma"), read.of(name, "beta"), 2), 0)

    def block(x: np.ndarray, name: str) -> np.ndarray:
        y = x
        for index in (1, 2):
            y = read.convolve(norm(y, f"{name}.norm{index}"), f"{name}.conv{index}.conv")
        return x + y

    skip = block(read.convolve(x, "convInit.conv"), "down_layers.0.1")
    x = block(read.convolve(skip, "down_layers.1.0.conv", 2), "down_layers.1.1")
    x = in_numpy.twice(read.convolve(x, "up_samples.0.0.conv"), range(1, x.ndim - 1)) + skip
    return read.convolve(norm(block(x, "up_layers.0.0"), "conv_final.0"), "conv_final.2.conv")


REFERENCES: list[tuple[str, Callable[[np.ndarray, Reader], np.ndarray], dict[str, Any]]] = [
    ("unet", unet_of_two_levels, {"filters": (4, 6)}),
    ("dynunet", residual_dynunet_of_two_levels, {"filters": (4, 6), "blocks": "residual"}),
    ("monai_unet", monai_unet_of_two_levels, {"filters": (4, 6)}),
    ("segresnet", segresnet_of_two_levels, {"filters": 4, "groups": 2, "blocks_down": (1, 1), "blocks_up": (1,)}),
]


@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize(("name", "reference", "settings"), REFERENCES, ids=[name for name, *_ in REFERENCES])
def test_the_network_is_the_formula(name: str, reference: Any, settings: dict[str, Any], rank: int) -> None:
    network, weights = made(name, rank, **settings)
    image = batch(*SIZES[rank], 2)
    read = Reader(weights, same=name == "unet")
    expected = reference(image.astype(np.float64), read)
    assert read.used >= set(weights)  # the reference has every weight, by the name that the source gives its layer
    np.testing.assert_allclose(network(image), expected, atol=1e-5 * np.abs(expected).max())


def test_basic_unet_is_the_formula() -> None:
    network, weights = made("basic_unet", 2, filters=(2, 3, 4, 4, 6, 3))
    read = Reader(weights)

    def two(x: np.ndarray, name: str) -> np.ndarray:
        for index in (0, 1):
            inner = f"{name}.conv_{index}"
            x = in_numpy.leaky_relu(read.norm(read.convolve(x, f"{inner}.conv"), f"{inner}.adn.N"), 0.1)
        return x

    image = batch(32, 32, 2)
    skips = [x := two(image.astype(np.float64), "conv_0")]
    for level in (1, 2, 3, 4):
        skips.append(x := two(in_numpy.max_pool(x), f"down_{level}.convs"))
    for level in (4, 3, 2, 1):
        x = read.deconvolve(x, f"upcat_{level}.upsample.deconv")
        x = two(join(skips[level - 1], x), f"upcat_{level}.convs")
    expected = read.convolve(x, "final_conv")
    assert read.used >= set(weights)
    np.testing.assert_allclose(network(image), expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize(("size", "strides"), [(3, 2), (3, 1), (3, 3), (3, 5), (5, 2), ((1, 3), (1, 2))])
def test_monais_transposed_convolution_is_centred(size: Any, strides: Any) -> None:
    network, weights = made("monai_unet", 2, filters=(2, 2), residual_units=0, strides=(strides,), up_size=size)
    joined = network.get_layer("model.concatenate").output
    part = keras.Model(network.input, [joined, network.get_layer("model.2.conv.crop").output])
    given, found = part(batch(15, 10, 2))
    kernel, bias = weights["model.2.conv/kernel"], weights["model.2.conv/bias"]
    strides = (strides, strides) if isinstance(strides, int) else strides
    np.testing.assert_allclose(found, in_numpy.deconvolve(np.array(given), kernel, bias, strides), atol=1e-5)


def test_a_gate_is_the_papers_formula() -> None:
    skip, coarse = keras.Input((None, None, 2)), keras.Input((None, None, 3))
    network = keras.Model([skip, coarse], decoding.gate(skip, coarse, 4, (1, 2), name="g"))
    network.set_weights([np.random.default_rng(2).normal(size=w.shape) for w in network.weights])
    fine, rough = batch(5, 6, 2), batch(5, 3, 3)
    named = {w.path: np.array(w) for w in network.weights}
    both = (
        in_numpy.convolve(fine, named["g_skip/kernel"], 0, (1, 2), same=True)
        + in_numpy.convolve(rough, named["g_coarse/kernel"], named["g_coarse/bias"])
    )  # fmt: skip
    score = in_numpy.convolve(np.maximum(both, 0), named["g_weight/kernel"], named["g_weight/bias"])
    expected = fine * in_numpy.twice(1 / (1 + np.exp(-score)), [2])
    np.testing.assert_allclose(network([fine, rough]), expected, atol=1e-5)


# Of MONAI 1.6 and nnU-Net 2.8 with their own defaults (UNet: two residual units), one channel, two classes.
COUNTS = {
    ("basic_unet", 2): 1_978_466,
    ("basic_unet", 3): 5_749_410,
    ("monai_unet", 2): 1_625_161,
    ("monai_unet", 3): 4_806_481,
    ("segresnet", 2): 394_986,
    ("segresnet", 3): 1_176_186,
}
LARGE = {("dynunet", 2): 10_704_738, ("dynunet", 3): 31_189_410}


@pytest.mark.parametrize(
    ("name", "rank"), [*COUNTS, *(pytest.param(*pair, marks=pytest.mark.slow) for pair in LARGE)]
)  # fmt: skip
def test_as_many_weights_learn_as_in_the_original(name: str, rank: int) -> None:
    network = models.build(name, input_shape=(*(None,) * rank, 1), num_classes=2)
    assert sum(int(np.prod(weight.shape)) for weight in network.trainable_weights) == {**COUNTS, **LARGE}[name, rank]


@pytest.mark.parametrize("sizes", [(16, 24), (13, 21)])
@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("unet", {"filters": (2, 2, 2)}),
        ("nnunet", {"filters": (2, 2, 2)}),
        ("nnunet_residual", {"filters": (2, 2, 2), "repeats": (1, 1, 1)}),
    ],
)
def test_coarser_levels_answer_too(name: str, settings: dict[str, Any], sizes: tuple[int, int]) -> None:
    half = tuple(-(-size // 2) for size in sizes)
    for shape in (sizes, (None, None)):
        network = models.build(name, input_shape=(*shape, 1), num_classes=3, deep_supervision=True, **settings)
        found = network(batch(*sizes, 1))
        assert [tuple(answer.shape) for answer in found] == [(2, *sizes, 3), (2, *half, 3)]
        assert {keras.backend.standardize_dtype(answer.dtype) for answer in found} == {"float32"}
        assert [answer.shape[1:-1] for answer in network.outputs] == [shape, tuple(s and -(-s // 2) for s in shape)]


def test_deep_supervision_only_adds_answers() -> None:
    keras.utils.set_random_seed(0)
    plain = models.build("unet", input_shape=(16, 16, 1), num_classes=2, filters=(2, 2, 2))
    deep = models.build("unet", input_shape=(16, 16, 1), num_classes=2, filters=(2, 2, 2), deep_supervision=True)
    deep.set_weights([*plain.get_weights(), *deep.get_weights()[len(plain.get_weights()) :]])
    np.testing.assert_array_equal(deep(batch(16, 16, 1))[0], plain(batch(16, 16, 1)))


def test_a_coarse_crop_is_kept_in_a_file() -> None:
    layer = decoding.CropLikeCoarse((2, 4), name="crop")
    again = keras.layers.deserialize(keras.layers.serialize(layer))
    assert (again.factor, again.name) == ((2, 4), "crop")
    assert again([batch(8, 4, 3), batch(13, 15, 1)]).shape == (2, 7, 4, 3)


def test_kernels_and_strides_differ_by_axis() -> None:
    settings = {"kernels": ((1, 3, 3), 3), "strides": (1, (1, 2, 2), 2)}
    network = models.build(
        "nnunet", input_shape=(None, None, None, 1), num_classes=2, filters=(2, 3, 4), deep_supervision=True, **settings
    )
    assert [tuple(answer.shape[1:-1]) for answer in network(batch(6, 16, 20, 1))] == [(6, 16, 20), (6, 8, 10)]
    kernels = {
        layer.name: tuple(layer.kernel.shape)
        for layer in network.layers
        if layer.weights and layer.weights[0].name == "kernel"
    }
    assert kernels["input_block.conv1.conv"] == (1, 3, 3, 1, 2)
    assert kernels["bottleneck.conv2.conv"] == (3, 3, 3, 4, 4)
    assert kernels["upsamples.1.conv_block.conv1.conv"] == (1, 3, 3, 4, 2)  # as its own level on the way down
    assert kernels["upsamples.1.transp_conv.conv"][:3] == (1, 2, 2)
    assert tuple(network(batch(5, 11, 9, 1))[0].shape) == (2, 5, 11, 9, 2)


def test_dynunet_has_the_kernels_of_the_level_below_on_the_way_up() -> None:
    network = models.build(
        "dynunet", input_shape=(8, 8, 8, 1), num_classes=2, filters=(2, 3, 4), kernels=((1, 3, 3), 3)
    )  # fmt: skip
    assert tuple(network.get_layer("upsamples.1.conv_block.conv1.conv").kernel.shape) == (3, 3, 3, 4, 2)


@pytest.mark.parametrize("name", ["attention_unet", "residual_unet"])
def test_members_are_unets_of_their_settings(name: str) -> None:
    member = models.build(name, input_shape=(16, 16, 1), num_classes=2, filters=(2, 4))
    family = models.build("unet", input_shape=(16, 16, 1), num_classes=2, filters=(2, 4), **unet.VARIANTS[name])
    assert member.count_params() == family.count_params()
    assert member.count_params() > unet.build((16, 16, 1), 2, (2, 4)).count_params()


def test_a_unet_of_one_level_is_two_convolutions() -> None:
    assert unet.build((5, 7, 1), 2, (4,)).count_params() == 9 * 4 + 2 * 4 + 9 * 16 + 2 * 4 + 4 * 2 + 2


@pytest.mark.parametrize("module", [unet, nnunet, monai_unet])
def test_dropout_drops_only_in_training(module: Any) -> None:
    network = module.build((16, 16, 1), 2, **module.SMALL, dropout=0.5)
    image = batch(16, 16, 1)
    np.testing.assert_array_equal(network(image), network(image, training=False))
    assert not np.array_equal(network(image, training=True), network(image))


def test_segresnet_learns_its_upsampling_and_drops_whole_channels() -> None:
    network = segresnet.build((16, 16, 1), 2, **segresnet.SMALL, upsampling="deconvolution", dropout=0.5)
    assert network.get_layer("up_samples.0.1.deconv").weights
    part = keras.Model(network.input, network.get_layer("dropout").output)
    found = np.array(part(batch(16, 16, 1), training=True))
    assert (np.any(found, (1, 2)) == np.all(found, (1, 2))).all()


@pytest.mark.parametrize(("rank", "attention"), [(2, True), (3, False)])
def test_any_backbone_encodes(rank: int, attention: bool) -> None:
    settings = {"encoder": "resnet", "encoder_settings": {"filters": (2, 4), "blocks": (1, 1)}, "attention": attention}
    size = (33, 20, 7)[:rank]
    answers = []
    for shape in (size, (None,) * rank):
        keras.utils.set_random_seed(0)
        network = models.build("unet", input_shape=(*shape, 1), num_classes=2, filters=(2, 3), **settings)
        answers.append(np.array(network(batch(*size, 1))))
    assert answers[0].shape == (2, *size, 2)
    np.testing.assert_array_equal(*answers)


def features(x: Any, width: int = 2) -> list[Any]:
    """Returns the maps of a backbone whose first halves twice and only in plane."""
    first = keras.layers.Conv3D(width, 3, (1, 4, 4), padding="same")(x)
    return [first, keras.layers.Conv3D(width, 3, 2, padding="same")(first)]


def test_a_backbone_may_skip_a_stride_and_spare_an_axis() -> None:
    image = keras.Input((None, None, None, 1))
    maps = encoders.features(f"{__name__}:features", image, width=3)
    assert encoders.strides(image, maps) == [(1, 4, 4), (2, 8, 8)]
    network = unet.build((None, None, None, 1), 2, (2, 3), encoder=f"{__name__}:features", deep_supervision=True)
    found = network(batch(5, 32, 20, 1))
    assert [tuple(answer.shape[1:-1]) for answer in found] == [(5, 32, 20), (5, 16, 10), (5, 8, 5)]


def test_only_backbones_encode() -> None:
    assert "resnet50" in encoders.names()
    assert not set(encoders.names()) & {"unet", "nnunet", "segresnet"}


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("unet", {"blocks": "round"}, "no blocks='round'; there are: plain, residual"),
        ("unet", {"encoder_settings": {"depth": 18}}, "but no encoder"),
        ("unet", {"encoder": "resnet5"}, "models has no 'resnet5'"),
        ("unet", {"encoder": "segresnet"}, "'segresnet' is no backbone"),
        ("unet", {"encoder": "resnet", "encoder_settings": {"filter": (2, 4)}}, "no setting 'filter'.*'filters'"),
        ("unet", {"encoder": "resnet", "encoder_settings": {"filters": 4}}, "cannot be built with"),
        ("basic_unet", {"filters": (2, 4)}, "must be six numbers"),
        ("monai_unet", {"filters": (2,)}, "two levels or more"),
        ("monai_unet", {"filters": (2, 4), "strides": (2, 2)}, "strides of 2; give 1 to 1"),
        ("monai_unet", {"size": 2}, "must be odd"),
        ("segresnet", {"blocks_up": (1,)}, "one level fewer"),
        ("segresnet", {"upsampling": "cubic"}, "there are: linear, deconvolution"),
        ("segresnet", {"filters": 12}, "8 do not divide 12"),
        ("nnunet", {"filters": (4,)}, "two levels or more"),
        ("nnunet", {"strides": (2, 2)}, "first stride must be 1"),
        ("nnunet", {"strides": (1, (2, 2, 2))}, "2 numbers for 2 spatial axes"),
        ("nnunet", {"kernels": (2,)}, "must be odd"),
        ("nnunet", {"kernels": ()}, "kernels of 0"),
        ("nnunet", {"blocks": "round"}, "there are: plain, residual, residual_encoder"),
        ("nnunet", {"blocks": "residual_encoder", "repeats": (1, 1)}, "6 levels and repeats of 2"),
        ("nnunet", {"decoder_kernels": "above"}, "'own' or 'below'"),
        ("nnunet", {"supervised": 5, "filters": (2, 2)}, "supervised"),
    ],
)
def test_settings_that_do_not_fit_are_refused(name: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        models.build(name, input_shape=(16, 16, 1), num_classes=2, **settings)
