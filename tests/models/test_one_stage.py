"""RetinaNet, Retina U-Net, SSD and MultiBox: what the harness of all detectors cannot know of them."""

import inspect
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from radkit import folder, models
from radkit.errors import UserError
from radkit.models import box_heads, encoders, retina_unet, retinanet, ssd
from radkit.models.layers import CropLike, PadToMultiple, pyramids

FOUR = ("retinanet", "retina_unet", "ssd", "multibox")
# No normalisation: what a place says depends on what is around it alone.
LOCAL: dict[str, Any] = {
    "encoder": "resnet",
    "encoder_settings": {"filters": (4, 6), "blocks": (1, 1), "norm": "none"},
    "levels": (1, 2),
    "extra_levels": 0,
    "sizes": (4.0, 8.0),
}


def build(name: str, shape: tuple[int | None, ...], classes: int = 2, **settings: Any) -> keras.Model:
    keras.utils.set_random_seed(0)
    return models.build(name, input_shape=shape, num_classes=classes, **settings)


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


def looker(network: keras.Model, image: np.ndarray) -> Callable[[str, tuple[int, ...]], np.ndarray]:
    """Returns a function: the middle of what one answer depends on, in pixels, of the image's gradient."""
    given = tf.constant(image)
    middles = np.stack(np.meshgrid(*[np.arange(size) + 0.5 for size in image.shape[1:-1]], indexing="ij"), -1)

    @tf.function(autograph=False, reduce_retracing=True)
    def gradient(where: Any, *, key: str) -> Any:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(given)
            answers = network(given)[key]
            answer = tf.reduce_sum(tf.abs(tf.gather(tf.reshape(answers, (-1, answers.shape[-1])), [where])))
        return tape.gradient(answer, given)

    def seen(key: str, place: tuple[int, ...]) -> np.ndarray:
        where = place[0] if len(place) == 1 else np.ravel_multi_index(place, image.shape[1:-1])
        weights = np.abs(gradient(tf.constant(where), key=key))[0, ..., 0]
        assert weights.max() > 0
        return np.average(middles.reshape(-1, weights.ndim), axis=0, weights=weights.reshape(-1))

    return seen


@pytest.mark.parametrize(
    ("name", "sizes"),
    [("ssd", (43, 72))]
    + [
        pytest.param(name, sizes, marks=pytest.mark.slow)
        for name in ("retinanet", "retina_unet", "multibox")
        for sizes in ((72, 43), (20, 37, 28))
        if name == "retinanet" or len(sizes) == 2
    ],
)  # fmt: skip
def test_each_answer_is_of_the_image_where_its_anchor_is(name: str, sizes: tuple[int, ...]) -> None:
    small = {key: value for key, value in folder.find("radkit.models", name, "SMALL").items() if "filters" in key}
    network = build(name, (*(None,) * len(sizes), 1), **{**small, **LOCAL})
    image = random(1, *sizes, 1)
    found = network(image)
    rank, levels = len(sizes), np.array(found["levels"][0])
    anchors = np.array(found["anchors"][0])
    middles = (anchors[:, :rank] + anchors[:, rank:]) / 2
    border = {2: 16, 3: 8}[rank]
    inner = np.all((middles > border) & (middles < np.array(sizes) - border), axis=-1)
    seen = looker(network, image)
    for level, stride in enumerate((2, 4)):
        places = np.flatnonzero(inner & (levels == level))
        for key in ("logits", "deltas"):
            some = places[:: len(places) // 5]
            apart = np.array([seen(key, (place,)) - middles[place] for place in some])
            assert np.abs(apart).max() <= 3 * stride  # weights are random, and coarser maps know more than a place
            assert np.abs(apart.mean(0)).max() <= stride + 1  # strided convolutions look half a stride further on


@pytest.mark.parametrize("sizes", [(43, 38), pytest.param((17, 22, 19), marks=pytest.mark.slow)])
def test_a_segmentation_is_on_the_images_grid(sizes: tuple[int, ...]) -> None:
    network = build("retina_unet", (*(None,) * len(sizes), 1), filters=4, stem=4, head_filters=4, depth=1, **LOCAL)
    image = random(1, *sizes, 1)
    assert network(image)["segmentation"].shape == (1, *sizes, 3)
    seen, places = looker(network, image), np.random.default_rng(0).integers(7, np.array(sizes) - 7, (6, len(sizes)))
    apart = np.array([seen("segmentation", tuple(place)) - (place + 0.5) for place in places])
    assert np.abs(apart).max() < 4
    assert np.abs(apart.mean(0)).max() < 1.5


def test_what_was_padded_behind_is_cut_behind() -> None:
    image = random(2, 5, 7, 1)
    padded = PadToMultiple(4, side="after")(image)
    assert padded.shape == (2, 8, 8, 1)
    np.testing.assert_array_equal(CropLike(side="after")([padded, image]), image)
    layer = CropLike(side="after")
    assert CropLike.from_config(layer.get_config()).side == "after"
    np.testing.assert_array_equal(CropLike()([PadToMultiple(4)(image), image]), image)


def features(x: Any, width: int = 2) -> list[Any]:
    """Returns the maps of a backbone whose first halves twice and only in plane."""
    first = keras.layers.Conv3D(width, 3, (1, 4, 4), padding="same")(x)
    return [first, keras.layers.Conv3D(width, 3, 2, padding="same")(first)]


@pytest.mark.parametrize("name", ["retinanet", "retina_unet"])
def test_thick_slices_have_their_own_strides(name: str) -> None:
    narrow = {"filters": 4, "depth": 1} if name == "retinanet" else {"filters": 4, "head_filters": 4, "depth": 1}
    network = build(
        name, (None, None, None, 1), encoder=f"{__name__}:features", levels=(1, 2), extra_levels=1, ratios=(1.0,),
        octaves=1, **narrow,
    )  # fmt: skip
    found = network(random(1, 6, 30, 40, 1))  # padded to 32, 32, 64
    places = [32 * 8 * 16, 16 * 4 * 8, 8 * 2 * 4]
    levels = np.array(found["levels"][0])
    assert [int(np.sum(levels == level)) for level in range(3)] == places
    first = np.array(found["anchors"][0])[[0, places[0], places[0] + places[1]]]
    np.testing.assert_array_equal((first[:, :3] + first[:, 3:]) / 2, [[0.5, 2, 2], [1, 4, 4], [2, 8, 8]])


@pytest.mark.parametrize("name", FOUR)
def test_given_anchors_stand_at_every_place(name: str) -> None:
    given = [[(3.0, 5.0), (7.0, 2.0)], [(9.0, 11.0), (12.0, 8.0)]]
    settings = {**LOCAL, "sizes": (), "anchors": given, "filters": 4}
    found = build(name, (16, 16, 1), **settings)(random(1, 16, 16, 1))
    anchors, levels = np.array(found["anchors"][0]), np.array(found["levels"][0])
    for level, shapes in enumerate(given):
        sides = (anchors[:, 2:] - anchors[:, :2])[levels == level]
        np.testing.assert_array_equal(sides.reshape(-1, 2, 2), np.broadcast_to(shapes, (len(sides) // 2, 2, 2)))


def test_the_first_answers_are_the_prior() -> None:
    image = random(1, 32, 32, 1)
    for name in ("retinanet", "multibox"):
        scores = np.array(build(name, (32, 32, 1), **folder.find("radkit.models", name, "SMALL"))(image)["scores"])
        assert 0.003 < scores.mean() < 0.03


def test_the_heads_of_a_pyramid_are_one_and_ssds_are_each_levels_own() -> None:
    def heads(name: str, levels: tuple[int, ...], sizes: tuple[float, ...]) -> int:
        network = build(name, (64, 64, 1), **{**LOCAL, "filters": 6, "levels": levels, "sizes": sizes})
        return sum(layer.count_params() for layer in network.layers if "class_" in layer.name)

    one, two = (heads("retinanet", levels, sizes) for levels, sizes in (((2,), (8.0,)), ((1, 2), (4.0, 8.0))))
    assert one == two
    one, two = (heads("ssd", levels, sizes) for levels, sizes in (((2,), (8.0,)), ((1, 2), (4.0, 8.0))))
    assert one == (6 * 9 + 1) * 6 * 3  # six anchors a place, two classes and background
    assert two == one + (4 * 9 + 1) * 6 * 3


def test_the_anchors_of_ssd300_are_the_papers() -> None:
    settings = ssd.VARIANTS["ssd300"]
    strides = [(8, 8), (16, 16), (32, 32), (64, 64), (128, 128), (256, 256)]
    found = ssd.anchors_of(strides, settings["sizes"], settings["ratios"])
    assert [len(level) for level in found] == [4, 6, 6, 6, 4, 4]
    np.testing.assert_allclose(found[0], [(30, 30), (42.43, 21.21), (21.21, 42.43), (42.43, 42.43)], atol=0.01)
    np.testing.assert_allclose(found[1][3:], [(103.92, 34.64), (34.64, 103.92), (81.61, 81.61)], atol=0.01)
    np.testing.assert_allclose(found[5][-1], (288.37, 288.37), atol=0.01)  # between 264 and 315
    volume = ssd.anchors_of([(2, 4, 4)], (), (1.0, 4.0))
    np.testing.assert_allclose(volume, [[(16, 16, 16), (16, 32, 8), (512**0.5,) * 3]])


def test_scores_leave_background_out() -> None:
    logits = random(2, 5, 4)
    wanted = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    layer = ssd.Foreground()
    np.testing.assert_allclose(layer(logits), wanted[..., 1:], rtol=1e-5)
    assert layer.compute_output_shape((None, 5, 4)) == (None, 5, 3)


def test_places_are_brought_to_one_length() -> None:
    x = random(2, 3, 4, 6) * 100
    layer = pyramids.ScaledToLength(scale=10.0)
    np.testing.assert_allclose(np.linalg.norm(layer(x), axis=-1), 10.0, rtol=1e-4)
    layer.factors.assign([1, 2, 3, 4, 5, 6])
    wanted = x / np.linalg.norm(x, axis=-1, keepdims=True) * [1, 2, 3, 4, 5, 6]
    np.testing.assert_allclose(layer(x), wanted, rtol=1e-4)
    assert np.isfinite(layer(np.zeros((1, 1, 1, 6)))).all()


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("retinanet", {"levels": (1, 3)}, r"levels \(1, 3\) of backbone 'resnet': following numbers from 1 to 2"),
        ("retinanet", {"levels": (2, 3)}, "following numbers from 1 to 2"),
        ("retina_unet", {"levels": (0, 1)}, "following numbers from 1 to 2"),
        ("retina_unet", {"levels": ()}, "following numbers from 1 to 2"),
        ("retinanet", {"extra_levels": -1}, "-1 extra maps"),
        ("ssd", {"extra_levels": -1}, "-1 extra maps"),
        ("retinanet", {"sizes": (4.0,)}, "1 sizes for 2 levels"),
        ("ssd", {"sizes": (4.0,)}, "1 sizes and 2 lists of ratios for 2 levels"),
        ("multibox", {"ratios": ((1.0,),)}, "2 sizes and 1 lists of ratios for 2 levels"),
        ("retinanet", {"ratios": (0.0,)}, "ratios .* above 0 expected"),
        (
            "retinanet",
            {"anchors": [[(3, 4)], [(3, 4), (5, 6)]]},
            r"as many anchors a place on each; they have \[1, 2\]",
        ),
        ("retinanet", {"anchors": [[(3, 4)]]}, "1 lists of anchors for 2 levels"),
        ("ssd", {"anchors": [[(3, 4)], [(3, 4, 5)]]}, "2 numbers above 0 were expected"),
        ("ssd", {"anchors": [[(3, 4)], [(3, 0)]]}, "2 numbers above 0 were expected"),
        ("retinanet", {"anchors": [[(3, 4)], [(3, float("nan"))]]}, "2 numbers above 0 were expected"),
        ("retinanet", {"anchors": "fit"}, "'fit' is understood by `radkit train`"),
        ("retinanet", {"sizes": (4.0, float("nan"))}, "sizes .* above 0 expected"),
        ("retinanet", {"depth": -1}, "depth must be a whole number from 0 on, not -1"),
        ("retinanet", {"norm": "layer"}, "norm 'layer' is none; there are: none, batch, instance, group"),
        ("retinanet", {"encoder": "unet"}, "'unet' is no backbone"),
    ],
)
def test_wrong_settings_are_refused(name: str, settings: dict, message: str) -> None:
    with pytest.raises(UserError, match=message) as told:
        build(name, (32, 32, 1), **{**LOCAL, "filters": 4, **settings})
    assert "\n" not in str(told.value)


def test_heads_that_levels_share_need_maps_of_one_width() -> None:
    with pytest.raises(UserError, match=r"maps of one width; they have \[2, 3\]"):
        box_heads.shared(lambda x: x, [keras.Input((4, 4, 2)), keras.Input((4, 4, 3))], "head")


@pytest.mark.slow
def test_weights_are_as_many_as_published() -> None:
    network = build("retinanet", (None, None, 3), classes=91)
    ours = sum(layer.count_params() for layer in network.layers if layer.name.startswith(("fpn", "class", "box")))
    assert ours == 34_014_999 - 23_454_912  # torchvision's with ResNet-50, less the convolutions of that


@pytest.mark.slow
@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize("file", sorted({models.find(name)[0] for name in encoders.names()}))
def test_any_backbone_carries_them(file: str, rank: int) -> None:
    known = inspect.signature(folder.find("radkit.models", file, "features")).parameters
    settings = {k: v for k, v in folder.find("radkit.models", file, "SMALL").items() if k in known}
    sizes = {2: (37, 42), 3: (33, 25, 18)}[rank]
    for factory in (retinanet, ssd, retina_unet):
        given = {**factory.SMALL, "encoder": file, "encoder_settings": settings, "levels": (1, 2), "sizes": ()}
        network = factory.build((*(None,) * rank, 1), 2, **{**given, "extra_levels": 1})
        found = network(random(2, *sizes, 1))
        whole = [-(-size // 32) * 32 for size in sizes]
        places = [int(np.prod([size // stride for size in whole])) for stride in (2, 4, 8)]
        each = found["anchors"].shape[1] // sum(places)
        levels = np.array(found["levels"][0])
        assert [int(np.sum(levels == level)) for level in range(3)] == [count * each for count in places]
        assert np.isfinite(found["boxes"]).all()
