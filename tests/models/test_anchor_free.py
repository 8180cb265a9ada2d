"""FCOS, YOLOX and its backbone: what their answers mean, worked out by hand, and their sizes as published."""

import functools

import keras
import numpy as np
import pytest
from scipy import ndimage

from radkit import models
from radkit.errors import UserError
from radkit.models import encoders, fcos, yolox
from radkit.models.layers import csp

# Millions of weights that learn, with 80 classes: table 3 and its likes of https://arxiv.org/abs/2107.08430.
PUBLISHED = {"yolox_tiny": 5.06, "yolox_s": 8.97, "yolox_m": 25.3, "yolox_l": 54.2, "yolox_x": 99.1}
SMALL = {"fcos": fcos.SMALL, "yolox": yolox.SMALL}
THIN = {  # slices are halved one time less than rows and columns
    "encoder": "resnet",
    "encoder_settings": {"depth": 18, "filters": (4, 4, 4), "blocks": (1, 1, 1), "stem_strides": (1, 2, 2)},
    "levels": (1, 2),
}


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x.astype(np.float64)))


@functools.cache
def answered(name: str, sizes: tuple[int, ...] = (40, 33)) -> tuple[keras.Model, dict[str, np.ndarray]]:
    """Returns a network, shaken so that no two places answer alike, and what it says of two images."""
    keras.utils.set_random_seed(0)
    network = models.build(name, input_shape=(*(None,) * len(sizes), 1), num_classes=3, **SMALL[name])
    random = np.random.default_rng(0)
    for weight in network.trainable_weights:
        weight.assign_add(random.normal(0, 0.1, weight.shape))
    outputs = network(random.normal(size=(2, *sizes, 1)).astype(np.float32))
    return network, {key: np.array(value) for key, value in outputs.items()}


def cells(sizes: tuple[int, ...], strides: tuple[tuple[int, ...], ...]) -> np.ndarray:
    """Returns the cells of maps of these strides that cover an image, low and high edges, row by row."""
    found = []
    for step in strides:
        counts = [-(-size // 32) * 32 // one for size, one in zip(sizes, step)]
        found += [[*np.multiply(at, step), *np.multiply(np.add(at, 1), step)] for at in np.ndindex(*counts)]
    return np.array(found, np.float32)


@pytest.mark.parametrize("name", ["fcos", "yolox"])
def test_places_are_the_cells_of_the_maps(name: str) -> None:
    outputs = answered(name)[1]
    strides = ((2, 2), (4, 4), (8, 8)) if name == "fcos" else ((2, 2), (4, 4))
    np.testing.assert_array_equal(outputs["anchors"][1], cells((40, 33), strides))


@pytest.mark.parametrize("name", ["fcos", "yolox"])
def test_places_have_the_sides_of_thin_strides_in_3d(name: str) -> None:
    extra = {"extra_levels": 0} if name == "fcos" else {}
    network = models.build(name, input_shape=(9, 33, 20, 1), num_classes=1, **{**SMALL[name], **THIN, **extra})
    found = np.array(network(np.zeros((1, 9, 33, 20, 1), np.float32))["anchors"])[0]
    np.testing.assert_array_equal(found, cells((9, 33, 20), ((1, 2, 2), (2, 4, 4))))


def test_fcos_tells_edges_by_their_distances_from_a_places_middle() -> None:
    outputs = answered("fcos")[1]
    low, high = outputs["anchors"][..., :2], outputs["anchors"][..., 2:]
    middle, stride = (low + high) / 2, high - low
    assert outputs["deltas"].min() > 0
    assert outputs["deltas"].std() > 0
    np.testing.assert_allclose(outputs["boxes"][..., :2], middle - stride * outputs["deltas"][..., :2], rtol=1e-5)
    np.testing.assert_allclose(outputs["boxes"][..., 2:], middle + stride * outputs["deltas"][..., 2:], rtol=1e-5)


def test_yolox_tells_middle_and_sides_by_strides() -> None:
    outputs = answered("yolox")[1]
    low, high = outputs["anchors"][..., :2], outputs["anchors"][..., 2:]
    box_low, box_high = outputs["boxes"][..., :2], outputs["boxes"][..., 2:]
    offset, logarithm = outputs["deltas"][..., :2], outputs["deltas"][..., 2:]
    np.testing.assert_allclose((box_low + box_high) / 2, (low + high) / 2 + offset * (high - low), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(box_high - box_low, np.exp(logarithm) * (high - low), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("name", "exponent"), [("fcos", 0.5), ("yolox", 1.0)])
def test_scores_are_of_class_and_place(name: str, exponent: float) -> None:
    outputs = answered(name)[1]
    expected = (sigmoid(outputs["logits"]) * sigmoid(outputs["quality"])[..., None]) ** exponent
    np.testing.assert_allclose(outputs["scores"], expected, rtol=1e-4)


@pytest.mark.parametrize("name", ["fcos", "yolox"])
def test_before_it_learns_a_network_says_that_there_is_next_to_nothing(name: str) -> None:
    keras.utils.set_random_seed(0)
    network = models.build(name, input_shape=(64, 64, 1), num_classes=2, **SMALL[name])
    outputs = network(np.random.default_rng(0).normal(size=(1, 64, 64, 1)).astype(np.float32))
    first = {"fcos": "logits", "yolox": "quality"}[name]
    np.testing.assert_allclose(sigmoid(np.array(outputs[first])).mean(), 0.01, rtol=0.5)


def test_levels_of_fcos_share_their_heads_and_have_a_scale_each() -> None:
    network = answered("fcos")[0]
    assert sum(isinstance(layer, fcos.Distances) for layer in network.layers) == 3
    assert [layer.name for layer in network.layers if "_head" in layer.name].count("class_head") == 1
    assert sum("class_logits" in weight.path and "kernel" in weight.path for weight in network.weights) == 1


def test_distances_of_an_untrained_head_stay_finite() -> None:
    found = np.array(fcos.Distances()(np.array([[[[-1e4, 0.0, 1e4]]]], np.float32)))[0, 0, 0]
    np.testing.assert_allclose(found, [0.0, 1.0, 62.5], rtol=1e-5)


def test_levels_of_yolox_have_heads_of_their_own() -> None:
    network = answered("yolox")[0]
    assert sum("class_logits" in weight.path and "kernel" in weight.path for weight in network.weights) == 2


def test_a_yolox_of_one_map_or_of_no_depth_is_refused() -> None:
    with pytest.raises(UserError, match="two or more"):
        models.build("yolox", input_shape=(32, 32, 1), num_classes=1, **{**SMALL["yolox"], "levels": (1,)})
    with pytest.raises(UserError, match="blocks must be a whole number from 0 on, not -1"):
        models.build("yolox", input_shape=(32, 32, 1), num_classes=1, **{**SMALL["yolox"], "blocks": -1})


@pytest.mark.parametrize("name", ["fcos", "yolox"])
def test_half_precision_answers_in_float32(name: str) -> None:
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        network = models.build(name, input_shape=(32, 32, 1), num_classes=1, **SMALL[name])
        outputs = network(np.random.default_rng(0).normal(size=(1, 32, 32, 1)).astype(np.float32))
    finally:
        keras.config.set_dtype_policy("float32")
    outputs = {key: np.array(value) for key, value in outputs.items()}
    assert {key for key, value in outputs.items() if value.dtype != np.float32} == {"levels"}
    low, high = outputs["anchors"][..., :2], outputs["anchors"][..., 2:]  # boxes are not rounded to 8 bits
    if name == "fcos":
        expected = (low + high) / 2 + (high - low) * outputs["deltas"][..., 2:]
        np.testing.assert_allclose(outputs["boxes"][..., 2:], expected, rtol=1e-6)


@pytest.mark.parametrize(
    "name", ["yolox_tiny", *(pytest.param(n, marks=pytest.mark.slow) for n in list(PUBLISHED)[1:])]
)
def test_members_have_as_many_weights_as_published(name: str) -> None:
    network = models.build(name, input_shape=(None, None, 3), num_classes=80)
    count = sum(int(np.prod(weight.shape)) for weight in network.trainable_weights) / 1e6
    assert count == pytest.approx(PUBLISHED[name], abs=0.05 if count > 10 else 0.005)


def test_the_backbone_halves_from_one_map_to_the_next() -> None:
    made = encoders.features("csp_darknet", keras.Input((32, 64, 64, 1)), filters=2, depth=1)
    assert [one.shape[1:] for one in made] == [
        (32 // s, 64 // s, 64 // s, c) for s, c in zip((2, 4, 8, 16, 32), (2, 4, 8, 16, 32))
    ]
    with pytest.raises(UserError, match="at least 1"):
        encoders.features("csp_darknet", keras.Input((32, 32, 1)), filters=0)


def test_its_first_convolution_is_one_of_the_rearranged_image() -> None:
    random = np.random.default_rng(0)
    image = random.normal(size=(1, 8, 10, 1)).astype(np.float32)
    given = keras.Input((8, 10, 1))
    stem = keras.Model(given, csp.convolved(given, 3, 6, 2, norm="none", activation="linear", name="stem"))
    kernel = random.normal(size=(6, 6, 1, 3)).astype(np.float32)
    stem.set_weights([kernel, np.zeros(3, np.float32)])
    # The paper's: every second pixel, four times, as channels; then a convolution of 3.
    phases = [(row, column) for row in range(2) for column in range(2)]
    expected = sum(
        ndimage.correlate(image[0, row::2, column::2, 0], kernel[row::2, column::2, 0, 1], mode="constant")
        for row, column in phases
    )
    np.testing.assert_allclose(np.array(stem(image))[0, ..., 1], expected, atol=1e-4)


@pytest.mark.parametrize("sizes", [(16, 17), (6, 7, 15)])
def test_maxima_are_over_5_9_and_13_places(sizes: tuple[int, ...]) -> None:
    given = keras.Input((*sizes, 2))
    network = keras.Model(given, csp.pooled_pyramid(given, 4, norm="none", activation="linear", name="pool"))
    inner = keras.Model(given, [network.get_layer("pool_enter_conv").output, network.get_layer("pool_all").output])
    x, found = (np.array(y)[0] for y in inner(np.random.default_rng(0).normal(size=(1, *sizes, 2)).astype(np.float32)))
    expected = [x[..., 0], *(ndimage.maximum_filter(x[..., 0], width, mode="nearest") for width in (5, 9, 13))]
    np.testing.assert_array_equal(found, np.stack(expected, -1))
