"""V-Net, U-Net++, FCN, DeepLab and Swin UNETR: what the harness of all networks cannot know of them."""

import itertools
import sys
from types import ModuleType
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from radkit import models
from radkit.errors import UserError
from radkit.models import layers
from radkit.models.layers import windows

FREE = {2: (None, None), 3: (None, None, None)}
MONAI_VNET = {"convolutions": (1, 1, 2, 3, 2), "up_convolutions": (2, 2, 1, 1), "activation": "elu"}
TINY = {"encoder": "resnet", "encoder_settings": {"filters": (4, 6, 8), "blocks": (1, 1, 1)}}


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize(
    ("name", "rank", "classes", "found", "expected"),
    [
        ("vnet", 2, 2, MONAI_VNET, 9_358_730),  # MONAI 1.6's VNet
        ("unet_plus_plus", 2, 1, {"norm": "none"}, 9_041_601),  # the paper's table: 9.04 million
        ("swin_unetr", 2, 2, {}, 6_302_228 + 4_656),  # MONAI 1.6's, and the scales that its instance norm lacks
        pytest.param("vnet", 3, 2, MONAI_VNET, 45_597_898, marks=pytest.mark.slow),
        pytest.param("vnet", 3, 2, {}, 65_187_916, marks=pytest.mark.slow),
        pytest.param("swin_unetr", 3, 14, {"filters": 48}, 62_187_296 + 9_312, marks=pytest.mark.slow),
    ],
)
def test_weights_are_as_many_as_published(name: str, rank: int, classes: int, found: dict, expected: int) -> None:
    network = models.build(name, input_shape=(*FREE[rank], 1), num_classes=classes, **found)
    assert network.count_params() == expected


@pytest.mark.parametrize(
    ("name", "wrong", "message"),
    [
        ("vnet", {"filters": (4, 8)}, "2 filters, 5 convolutions and 4 up_convolutions"),
        ("vnet", {"filters": (4,), "convolutions": (1,), "up_convolutions": ()}, "at least 2 filters"),
        ("unet_plus_plus", {"filters": (4,)}, "give 2 or more"),
        ("fcn", {"stride": 4, **TINY}, "stride 4; give 8, 16 or 32"),
        ("fcn", {"encoder": "unet"}, "'unet' is no backbone"),
        ("deeplab", {"encoder": "unet"}, "'unet' is no backbone"),
        ("deeplab", {"encoder": "resnett"}, "did you mean 'resnet"),
        ("swin_unetr", {"depths": (2, 2)}, "2 depths and 4 heads"),
        ("swin_unetr", {"filters": 8}, "stage 1 has 8 channels, which 3 heads do not divide"),
    ],
)
def test_wrong_settings_are_refused(name: str, wrong: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        models.build(name, input_shape=(16, 16, 1), num_classes=2, **wrong)


@pytest.mark.parametrize(
    ("name", "small", "factors"),
    [
        ("vnet", {"filters": (2, 2, 4), "convolutions": (1, 1, 1), "up_convolutions": (1, 1), "size": 3}, (1, 2)),
        ("unet_plus_plus", {"filters": (2, 2, 4)}, (1, 1)),
        ("swin_unetr", {"filters": 4, "depths": (1, 1), "heads": (2, 2), "window": 2}, (1, 2, 4)),
    ],
)
def test_deep_supervision_adds_coarser_answers(name: str, small: dict, factors: tuple[int, ...]) -> None:
    shape = {"input_shape": (13, 22, 1), "num_classes": 3}
    answers = models.build(name, deep_supervision=True, **shape, **small).output
    sizes = [(None, -(-13 // factor), -(-22 // factor), 3) for factor in factors]
    assert [answer.shape for answer in answers] == sizes
    assert models.build(name, **shape, **small).output_shape == sizes[0]


@pytest.mark.parametrize(("channels", "width"), [(1, 4), (2, 4), (3, 4)])
def test_a_vnets_first_shortcut_is_the_image_whatever_its_channels(channels: int, width: int) -> None:
    small = {"filters": (width, 8), "convolutions": (1, 1), "up_convolutions": (1,), "norm": "none"}
    network = models.build("vnet", input_shape=(4, 4, channels), num_classes=2, **small)
    added = next(layer for layer in network.layers if isinstance(layer, keras.layers.Add))
    assert added.output.shape == (None, 4, 4, width)


def test_a_vnet_drops_channels_of_skip_connections_only_in_training() -> None:
    small = {"filters": (4, 8), "convolutions": (1, 1), "up_convolutions": (1,), "dropout": 0.5}
    network, image = models.build("vnet", input_shape=(8, 8, 1), num_classes=2, **small), random(1, 8, 8, 1)
    np.testing.assert_array_equal(network(image), network(image, training=False))
    assert not np.array_equal(network(image, training=True), network(image))


def test_a_unet_plus_plus_joins_all_that_came_before_on_a_level() -> None:
    network = models.build("unet_plus_plus", input_shape=(16, 16, 1), num_classes=2, filters=(2, 3, 5, 7))
    joined = sorted(one.output.shape[1:] for one in network.layers if isinstance(one, keras.layers.Concatenate))
    finest = [(16, 16, 2 * count) for count in (2, 3, 4)]
    assert joined == sorted([*finest, (8, 8, 6), (8, 8, 9), (4, 4, 10)])


@pytest.mark.parametrize(("name", "scored"), [("fcn8s", 3), ("fcn16s", 2), ("fcn32s", 1)])
def test_an_fcn_scores_as_many_maps_as_its_name_says(name: str, scored: int) -> None:
    network = models.build(name, input_shape=(32, 32, 1), num_classes=2, filters=(4,), size=1, **TINY)
    assert len([layer for layer in network.layers if layer.name.startswith("score_")]) == scored
    assert network.output_shape == (None, 32, 32, 2)


def test_an_fcns_answer_is_the_sum_of_its_scores() -> None:
    network = models.build("fcn8s", input_shape=(32, 32, 1), num_classes=2, filters=(4,), size=1, **TINY)
    scores = [layer for layer in network.layers if layer.name.startswith("score_")]
    for number, layer in enumerate(scores, 1):
        layer.set_weights([np.zeros_like(layer.kernel), np.full(2, 10**number, np.float32)])
    np.testing.assert_allclose(network(random(1, 32, 32, 1)), np.full((1, 32, 32, 2), 1110.0), rtol=1e-6)


def _backbone(x: Any, output_stride: int = 32) -> list[Any]:
    maps = []
    for stride in (2, 4, 8, 16, 32):
        x = layers.convolve(x, 4, 3, 2 if stride <= output_stride else 1)
        maps.append(x)
    return maps


@pytest.mark.parametrize(("dilates", "size", "rates"), [(True, 4, {6, 12}), (False, 2, {3, 6})])
def test_a_deeplab_looks_equally_far_whether_its_backbone_dilates(
    monkeypatch: pytest.MonkeyPatch, dilates: bool, size: int, rates: set[int]
) -> None:
    module = ModuleType("made_up_backbone")
    module.features = _backbone if dilates else lambda x: _backbone(x)
    monkeypatch.setitem(sys.modules, "made_up_backbone", module)
    small = {"encoder": "made_up_backbone:features", "filters": 4, "rates": (6, 12), "separable": False}
    network = models.build("deeplab", input_shape=(64, 64, 1), num_classes=2, **small)
    assert network.get_layer("aspp_1x1").output.shape == (None, size, size, 4)
    assert {keras.tree.flatten(one.dilation_rate)[0] for one in network.layers if hasattr(one, "dilation_rate")} - {
        1
    } == {*rates}
    assert network.output_shape == (None, 64, 64, 2)


def test_padding_survives_the_graph_optimizer() -> None:
    """TensorFlow merges a Pad into the Conv3D behind it, and loses the convolution's own padding."""
    inputs = keras.Input((5, 6, 7, 1))
    network = keras.Model(inputs, layers.convolve(layers.PadToMultiple(8)(inputs), 2, 3))
    image = random(1, 5, 6, 7, 1)
    np.testing.assert_allclose(tf.function(network)(image), network(image), atol=1e-5)


class TestWindows:
    @pytest.mark.parametrize("shifted", [False, True])
    @pytest.mark.parametrize(("sizes", "window"), [((6, 4), 2), ((7, 3), 3), ((2, 5), 4), ((4, 3, 5), 2)])
    def test_attention_is_the_papers(self, sizes: tuple[int, ...], window: int, shifted: bool) -> None:
        layer, image = windows.WindowAttention(2, window, shifted), random(2, *sizes, 4)
        free = keras.Input((*(None for _ in sizes), 4))
        network = keras.Model(free, layer(free))
        layer.table.assign(random(*layer.table.shape))
        layer.proj_bias.assign(random(4))
        expected = np.stack([plain_attention(one, layer, window, shifted) for one in image])
        np.testing.assert_allclose(layer(image), expected, atol=1e-5)
        np.testing.assert_allclose(tf.function(network)(image), expected, atol=1e-5)

    def test_heads_must_divide_channels(self) -> None:
        with pytest.raises(ValueError, match="4 channels do not divide into 3 heads"):
            windows.WindowAttention(3, 2)(random(1, 4, 4, 4))

    @settings(max_examples=10)
    @given(half=st.lists(st.integers(1, 3), min_size=2, max_size=3), channels=st.integers(1, 3))
    def test_merged_cells_lie_in_channels(self, half: list[int], channels: int) -> None:
        image = random(1, *(2 * size for size in half), channels)
        corners = [image[(slice(None), *(slice(o, None, 2) for o in offset))] for offset in offsets(len(half))]
        np.testing.assert_array_equal(windows.SpaceToChannels()(image), np.concatenate(corners, -1))


def offsets(rank: int) -> list[tuple[int, ...]]:
    return list(itertools.product((0, 1), repeat=rank))


def plain_attention(image: np.ndarray, layer: windows.WindowAttention, window: int, shifted: bool) -> np.ndarray:
    """Returns the same by loops over cells: who is in a cell's window, how far away, and what it says."""
    sizes = image.shape[:-1]
    cells = [min(window, size) for size in sizes]
    padded = [-(-size // cell) * cell for size, cell in zip(sizes, cells)]
    shift = [cell // 2 if shifted and pad > cell else 0 for cell, pad in zip(cells, padded)]
    full = np.pad(image, [*((0, pad - size) for pad, size in zip(padded, sizes)), (0, 0)])
    qkv = full @ np.array(layer.qkv) + np.array(layer.qkv_bias)
    places = list(itertools.product(*(range(pad) for pad in padded)))
    # A window's number along an axis: -1 for what a shift leaves before the first.
    home = {p: tuple((x - s) // c if s else x // c for x, s, c in zip(p, shift, cells)) for p in places}
    found = np.zeros((*padded, image.shape[-1]))
    width = image.shape[-1] // layer.heads
    for here, head in itertools.product(places, range(layer.heads)):
        part = slice(head * width, (head + 1) * width)
        there = [p for p in places if home[p] == home[here]]
        query = qkv[here][: image.shape[-1]][part] / width**0.5
        scores = np.array([query @ qkv[p][image.shape[-1] :][part] for p in there])
        scores += [np.array(layer.table)[distance(here, p, window), head] for p in there]
        shares = np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()
        found[here][part] = sum(a * qkv[p][2 * image.shape[-1] :][part] for a, p in zip(shares, there))
    out = found @ np.array(layer.proj) + np.array(layer.proj_bias)
    return out[tuple(slice(0, size) for size in sizes)]


def distance(here: tuple[int, ...], there: tuple[int, ...], window: int) -> int:
    row = 0
    for one, other in zip(here, there):
        row = row * (2 * window - 1) + one - other + window - 1
    return row


@pytest.mark.slow
@pytest.mark.parametrize("encoder", ["vgg11", "resnet50", "densenet121", "efficientnet_b0", "convnext_tiny"])
@pytest.mark.parametrize("name", ["fcn8s", "deeplab_v3_plus"])
def test_any_backbone_is_an_encoder(name: str, encoder: str) -> None:
    network = models.build(
        name, input_shape=(None, None, 1), num_classes=2, encoder=encoder, filters=(8,) if name == "fcn8s" else 8
    )
    assert network(random(1, 50, 70, 1)).shape == (1, 50, 70, 2)
