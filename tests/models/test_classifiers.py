"""Backbones and classifiers: their sizes, their parts by hand, and Keras's applications with the same weights."""

import re

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from radkit import folder, models
from radkit.errors import UserError
from radkit.models import convnext, encoders, layers, resnet

BACKBONES = ("convnext", "densenet", "efficientnet", "inception", "resnet", "se_resnet", "vgg")
# At 224 x 224 x 3 with 1000 classes; of torchvision and timm (below) what learns, for these count no moving means.
KERAS_COUNTS = {
    "vgg16": 138_357_544, "vgg19": 143_667_240, "resnet50": 25_636_712, "resnet101": 44_707_176,
    "resnet152": 60_419_944, "resnet50_v2": 25_613_800, "resnet101_v2": 44_675_560, "resnet152_v2": 60_380_648,
    "densenet121": 8_062_504, "densenet169": 14_307_880, "densenet201": 20_242_984, "inception_v3": 23_851_784,
    "efficientnet_b0": 5_330_571, "efficientnet_b1": 7_856_239, "efficientnet_b2": 9_177_569,
    "efficientnet_b3": 12_320_535, "efficientnet_b4": 19_466_823, "convnext_tiny": 28_589_128,
    "convnext_small": 50_223_688,
}  # fmt: skip
TORCH_COUNTS = {
    "vgg11": 132_863_336, "vgg13": 133_047_848, "resnet18": 11_689_512, "resnet34": 21_797_672,
    "se_resnet18": 11_778_592, "se_resnet34": 21_958_868, "se_resnet50": 28_088_024, "se_resnet101": 49_326_872,
    "se_resnet152": 66_821_848,
}  # fmt: skip
THEIRS = {
    "vgg16": ("VGG16", 224), "resnet50": ("ResNet50", 64), "resnet101": ("ResNet101", 37),
    "resnet50_v2": ("ResNet50V2", 64), "densenet121": ("DenseNet121", 64), "inception_v3": ("InceptionV3", 95),
    "efficientnet_b0": ("EfficientNetB0", 64), "efficientnet_b3": ("EfficientNetB3", 75),
    "convnext_tiny": ("ConvNeXtTiny", 64),
}  # fmt: skip


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def small(name: str) -> dict:
    return dict(folder.find("radkit.models", name, "SMALL"))


def shaken(network: keras.Model) -> list[np.ndarray]:
    """Weights of which none is 0 or 1 for all channels, so that none can be left out or changed for another."""
    random = np.random.default_rng(0)
    values = []
    for weight, value in zip(network.weights, network.get_weights(), strict=True):
        if weight.path.endswith(("variance", "gamma")):
            values.append(random.uniform(0.2, 0.4, value.shape) if "layer_scale" in weight.path else value)
            values[-1] = values[-1] * random.uniform(0.7, 1.3, value.shape)
        else:
            values.append(value + random.normal(0, 0.02, value.shape) * (value.dtype == np.float32))
    return values


def test_a_residual_network_counts_what_torchvisions_does() -> None:
    network = models.build("resnet18", input_shape=(None, None, 3), num_classes=1000)
    assert trainable(network) == TORCH_COUNTS["resnet18"]
    assert network.count_params() == TORCH_COUNTS["resnet18"] + 2 * 4800  # moving means and variances


def trainable(network: keras.Model) -> int:
    return sum(int(np.prod(weight.shape)) for weight in network.trainable_weights)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(KERAS_COUNTS | TORCH_COUNTS))
def test_every_member_counts_what_its_reference_does(name: str) -> None:
    network = models.build(name, input_shape=(224, 224, 3), num_classes=1000)
    if name in KERAS_COUNTS:
        assert network.count_params() == KERAS_COUNTS[name]
    else:
        assert trainable(network) == TORCH_COUNTS[name]
    assert network.output_shape == (None, 1000)
    keras.backend.clear_session()


def test_every_member_has_a_count_to_hold_it_to() -> None:
    members = {member for name in BACKBONES for member in folder.find("radkit.models", name, "VARIANTS")}
    assert members == {*KERAS_COUNTS, *TORCH_COUNTS, "resnet18_v2", "resnet34_v2"}  # of these there is no reference


@pytest.mark.slow
@pytest.mark.parametrize("name", THEIRS)
def test_with_the_weights_of_keras_applications_its_answers_are_theirs(name: str) -> None:
    function, size = THEIRS[name]
    shape = (size, size, 3)
    theirs = getattr(keras.applications, function)(
        weights=None, input_shape=shape, classes=7, classifier_activation=None
    )
    ours = models.build(name, input_shape=shape, num_classes=7)
    weights = shaken(theirs)
    theirs.set_weights(weights)
    ours.set_weights(weights)
    if name != "inception_v3":  # whose layers Keras numbers by the session
        # Keras gave ConvNeXt's scales no name: it counts them.
        named = [re.sub("layer_scale/.*", "layer_scale/gamma", one.path) for one in theirs.weights]
        assert [one.path.split("/")[-2:] for one in ours.weights] == [path.split("/")[-2:] for path in named]
    image = 128 + 60 * noise(2, *shape) if "net_b" in name or "convnext" in name else noise(2, *shape)
    expected = np.array(theirs(image))
    np.testing.assert_allclose(ours(image), expected, atol=1e-5 * np.abs(expected).max(), rtol=0)
    keras.backend.clear_session()


@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize("name", BACKBONES)
def test_maps_halve_from_one_to_the_next(name: str, rank: int) -> None:
    chosen = small(name) | ({"filters": (4, 8, 8, 8)} if name.endswith("resnet") else {})
    chosen.pop("wide", None)  # of the head
    made = encoders.features(name, keras.Input((64, *(32,) * (rank - 1), 1)), **chosen)
    strides = [2, 4, 8, 16] if name == "resnet" else [2, 4, 8, 16, 32]
    assert [one.shape[1:-1] for one in made] == [(64 // s, *(32 // s,) * (rank - 1)) for s in strides]


SETTINGS = [
    ("keras basic", {"depth": 18}),
    ("keras bottleneck", {"depth": 50}),
    ("torch bottleneck", {"depth": 50, "layout": "torch"}),
    ("version 2 basic", {"depth": 18, "version": 2}),
    ("version 2 bottleneck", {"depth": 50, "version": 2}),
]


@pytest.mark.parametrize("chosen", [c for _, c in SETTINGS], ids=[n for n, _ in SETTINGS])
def test_a_dilated_network_computes_what_the_strided_one_does(chosen: dict) -> None:
    image = keras.Input((64, 48, 1))
    common = {"filters": (4, 4, 8, 8), "blocks": (1, 2, 2, 2), **chosen}
    maps = resnet.features(image, output_stride=8, **common)
    assert [one.shape[1] for one in maps] == [32, 16, 8]
    strided, dilated = keras.Model(image, resnet.features(image, **common)[-1]), keras.Model(image, maps[-1])
    weights = shaken(strided)
    strided.set_weights(weights)
    dilated.set_weights(weights)
    x = noise(2, 64, 48, 1)
    np.testing.assert_allclose(dilated(x)[:, ::4, ::4], strided(x), atol=1e-5)


def test_an_output_stride_below_the_stems_is_refused() -> None:
    with pytest.raises(UserError, match="at least 4, the stem's, not 2"):
        resnet.features(keras.Input((64, 64, 1)), depth=18, output_stride=2)


def test_the_light_residual_network_is_the_one_it_was() -> None:
    def norm(x: keras.KerasTensor, leaky: bool = False) -> keras.KerasTensor:
        x = layers.InstanceNormalization()(x)
        return keras.layers.LeakyReLU(0.01)(x) if leaky else x

    def convolve(x: keras.KerasTensor, width: int, size: int = 3, strides: int = 1) -> keras.KerasTensor:
        return keras.layers.Conv2D(width, size, strides, padding="same", use_bias=False)(x)

    image = keras.Input((24, 20, 1))
    x = norm(convolve(convolve(image, 4, 7, 2), 4), leaky=True)
    x = keras.layers.ReLU()(norm(convolve(norm(convolve(x, 4), leaky=True), 4)) + x)
    shortcut = norm(convolve(x, 8, 1, 2))
    y = norm(convolve(norm(convolve(x, 8, 3, 2), leaky=True), 8))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.ReLU()(keras.layers.Add()([y, shortcut])))
    expected = keras.Model(image, keras.layers.Dense(3)(x))
    ours = models.build("resnet", input_shape=(24, 20, 1), num_classes=3, filters=(4, 8), blocks=(1, 1))
    ours.set_weights(shaken(expected))
    expected.set_weights(shaken(expected))
    np.testing.assert_allclose(ours(noise(2, 24, 20, 1)), expected(noise(2, 24, 20, 1)), atol=1e-4)


def test_a_layout_says_where_a_block_strides() -> None:
    strides = {}
    for layout in resnet.LAYOUTS:
        image = keras.Input((32, 32, 1))
        maps = resnet.features(image, (4, 4), (1, 1), 50, layout=layout)
        network = keras.Model(image, maps[-1])
        parts = [network.get_layer(f"conv3_block1_{part}_conv") for part in (0, 1, 2)]
        strides[layout] = [part.strides[0] for part in parts]
        assert {part.use_bias for part in parts} == {layout == "keras"}
    assert strides == {"keras": [2, 2, 1], "torch": [2, 1, 2]}


def test_a_padded_shortcut_takes_every_second_voxel_and_has_no_weights() -> None:
    x = keras.Input((6, 5, 3))
    style = resnet.Style(False, "batch", None, True, "pad", False, 0)
    found = keras.Model(x, resnet._shortcut(x, 5, resnet.Step(2), "any", style))
    image = noise(1, 6, 5, 3)
    expected = np.pad(image[:, ::2, ::2][:, :3, :2], ((0, 0), (0, 0), (0, 0), (0, 2)))
    np.testing.assert_array_equal(found(image)[:, :3, :2], expected)
    assert not found.weights


@pytest.mark.parametrize(
    ("name", "chosen", "message"),
    [
        ("resnet", {"depth": 20}, "no depth 20; there are 18, 34"),
        ("resnet50", {"layout": "tourch"}, "no layout 'tourch' .did you mean 'torch'"),
        ("resnet50", {"version": 3}, "no version 3"),
        ("resnet50", {"shortcut": "none"}, "no shortcut 'none'"),
        ("resnet18", {"norm": "instance"}, "halves 5 times needs images of at least 33"),
        ("densenet121", {"layout": "monai"}, "no layout 'monai'"),
        ("vgg", {"depth": 12}, "no depth 12; there are 11, 13, 16, 19"),
        ("vgg16", {"filters": (1,) * 6}, "5 blocks and was given 6 filters"),
        ("inception_v3", {"padding": "full"}, "no padding 'full'"),
        ("efficientnet_b0", {"preprocessing": "torch"}, "no preprocessing 'torch'"),
        ("efficientnet_b0", {"preprocessing": "imagenet"}, "3 channels, not 1"),
        ("convnext_tiny", {"preprocessing": "imagenet"}, "no preprocessing 'imagenet'"),
        ("convnext_tiny", {"preprocessing": "keras"}, "3 channels, not 1"),
        ("convnext_tiny", {"depths": (1,)}, "4 levels and the depths of 1"),
    ],
)
def test_settings_that_are_none_are_refused(name: str, chosen: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        models.build(name, input_shape=(32, 32, 1), num_classes=2, **chosen)


def test_members_answer_to_the_names_people_write() -> None:
    assert models.find("ConvNeXt-T") == models.find("convnext_tiny")
    assert models.find("ResNet50V2") == models.find("resnet50_v2")
    assert models.find("EfficientNetB3") == models.find("efficientnet_b3")
    assert "convnext_t" not in models.names()


@pytest.mark.parametrize(("name", "layer"), [("efficientnet", "rescaling"), ("convnext", "normalization")])
def test_only_a_colour_image_is_scaled_inside(name: str, layer: str) -> None:
    def scales(channels: int, rank: int = 2, **more: str) -> bool:
        shape = (*(32,) * rank, channels)
        network = models.build(name, input_shape=shape, num_classes=2, **small(name), **more)
        return any(layer in one.name for one in network.layers)

    assert scales(3)
    assert not scales(1)
    assert not scales(3, rank=3)
    assert not scales(3, preprocessing="none")


def test_imagenets_scaling_is_that_of_keras_applications() -> None:
    image = keras.Input((32, 32, 3))
    network = keras.Model(
        image, encoders.features("efficientnet", image, preprocessing="imagenet", **small("efficientnet"))
    )
    scaled = keras.Model(image, network.get_layer("rescaling_1").output)
    expected = 100 / 255 / np.sqrt([0.229, 0.224, 0.225])
    np.testing.assert_allclose(scaled(np.full((1, 32, 32, 3), 100, np.float32))[0, 0, 0], expected, rtol=1e-5)


@pytest.mark.parametrize("sizes", [(9, 11), (5, 9, 8)])
def test_a_depthwise_kernel_slides_over_its_own_channel(sizes: tuple[int, ...]) -> None:
    image = noise(2, *sizes, 3)
    layer = convnext.DepthwiseConvolution(7)
    layer.build(image.shape)
    kernel, bias = noise(*layer.kernel.shape, seed=1), noise(3, seed=2)
    layer.set_weights([kernel, bias])
    assert kernel.shape == (*(7,) * len(sizes), 1, 3)
    expected = [
        [ndimage.correlate(one[..., c], kernel[..., 0, c], mode="constant") + bias[c] for c in range(3)]
        for one in image
    ]
    np.testing.assert_allclose(layer(image), np.moveaxis(expected, 1, -1), atol=2e-4)


def test_a_new_block_of_convnext_is_nearly_identity() -> None:
    image = keras.Input((8, 8, 4))
    found = keras.Model(image, convnext._block(image, 4, 1e-6, 0.0, "any"))
    x = noise(1, 8, 8, 4)
    assert 0 < np.abs(found(x) - x).max() < 1e-4


@pytest.mark.parametrize("sizes", [(3, 5), (2, 3, 4)])
def test_excitation_scales_each_channel_by_what_all_means_say(sizes: tuple[int, ...]) -> None:
    inputs = keras.Input((*sizes, 6))
    network = keras.Model(inputs, layers.squeeze_and_excite(inputs, 2, name="one_"))
    weights = [noise(*value.shape, seed=i) for i, value in enumerate(network.get_weights())]
    network.set_weights(weights)
    x = noise(2, *sizes, 6)
    first, first_bias, second, second_bias = (w.reshape(w.shape[-2:]) if w.ndim > 1 else w for w in weights)
    hidden = np.maximum(x.reshape(2, -1, 6).mean(1) @ first + first_bias, 0)
    share = 1 / (1 + np.exp(-(hidden @ second + second_bias)))
    np.testing.assert_allclose(network(x), x * share.reshape(2, *(1,) * len(sizes), 6), atol=1e-5)


@settings(max_examples=4)
@given(st.lists(st.integers(1, 2), min_size=1, max_size=3), st.integers(1, 5), st.sampled_from([2, 3]))
def test_a_dense_network_grows_by_its_rule(blocks: list[int], growth: int, rank: int) -> None:
    image = keras.Input((*(None,) * rank, 1))
    network = keras.Model(image, encoders.features("densenet", image, blocks=blocks, growth=growth, filters=6))
    channels, count = 6, 7**rank * 6 + 4 * 6
    for level, layer_count in enumerate(blocks):
        for _ in range(layer_count):
            count += 4 * channels + channels * 4 * growth + 4 * 4 * growth + 3**rank * 4 * growth * growth
            channels += growth
        if level < len(blocks) - 1:
            count += 4 * channels + channels * (channels // 2)
            channels //= 2
    assert network.count_params() == count + 4 * channels


def test_vgg_has_the_same_weights_for_any_size() -> None:
    networks = [
        models.build("vgg", input_shape=shape, num_classes=2, **small("vgg"))
        for shape in ((224, 224, 1), (40, 90, 1), (None, None, 1))
    ]
    networks[2].set_weights(networks[1].get_weights())
    x = noise(1, 40, 90, 1)
    np.testing.assert_allclose(networks[2](x), networks[1](x), atol=1e-6)
    assert len({network.count_params() for network in networks}) == 1
    assert networks[0].get_layer("fc1").kernel.shape == (7 * 7 * 8, 16)


def test_inception_treats_slices_as_rows() -> None:
    image = keras.Input((32, 32, 32, 1))
    network = keras.Model(image, encoders.features("inception", image, width=0.05))
    sizes = {layer.kernel_size for layer in network.layers if hasattr(layer, "kernel_size")}
    assert sizes == {(1, 1, 1), (3, 3, 3), (5, 5, 5), (1, 1, 7), (7, 7, 1), (1, 1, 3), (3, 3, 1)}


@pytest.mark.parametrize("name", ["efficientnet", "convnext"])
def test_blocks_are_left_out_in_training_alone(name: str) -> None:
    image = keras.Input((32, 32, 1))
    chosen = small(name) | ({"depths": (1, 2, 1, 1), "layer_scale": 1.0} if name == "convnext" else {"depth": 0.6})
    network = keras.Model(image, encoders.features(name, image, drop_path=0.9, **chosen)[-1])
    x = noise(2, 32, 32, 1)
    np.testing.assert_array_equal(network(x), network(x, training=False))
    if name == "convnext":  # which has no batch's statistics to differ by
        assert not np.array_equal(network(x, training=True), network(x))


@pytest.mark.parametrize("norm", ["none", "layer", "batch"])
def test_a_table_may_lack_values(norm: str) -> None:
    network = models.build("mlp", input_shape=(4,), num_classes=2, norm=norm, units=(8,), dropout=0.1)
    rows = noise(3, 4)
    lacking, zeros = rows.copy(), rows.copy()
    lacking[:, 1], zeros[:, 1] = np.nan, 0
    assert np.isfinite(network(lacking)).all()
    assert not np.allclose(network(lacking), network(zeros))  # it is told that the value is not known
    np.testing.assert_allclose(network(rows)[:1], network(rows[:1]), atol=1e-6)


def test_a_table_has_one_axis() -> None:
    with pytest.raises(UserError, match="a number of columns"):
        models.build("mlp", input_shape=(4, 4, 1), num_classes=2)
    with pytest.raises(UserError, match="no norm 'group'"):
        models.build("mlp", input_shape=(4,), num_classes=2, norm="group")
