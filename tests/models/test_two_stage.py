"""Regions proposed, cut out and told: the parts of detectors of two stages, and what each family adds."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from radkit import models
from radkit.boxes import suppression
from radkit.errors import UserError
from radkit.models import fast_rcnn, mask_rcnn, proposals

TINY: dict[str, Any] = {"encoder": "resnet", "encoder_settings": {"filters": (4, 6), "blocks": (1, 1)}}
IMAGE = np.random.default_rng(0).normal(size=(1, 32, 40, 1)).astype(np.float32)


def test_proposals_are_the_best_of_each_level_cut_and_suppressed() -> None:
    maps = [np.zeros((1, 2, 2, 3), np.float32), np.zeros((1, 1, 1, 3), np.float32)]
    image = np.zeros((1, 16, 16, 1), np.float32)
    boxes = np.array([[[0, 0, 4, 4], [0, 0, 4, 5], [8, 8, 20, 20], [20, 20, 24, 24], [-4, 2, 8, 6]]], np.float32)
    logits = np.array([[[3.0], [2.0], [1.0], [9.0], [0.5]]], np.float32)
    layer = proposals.Proposals([1, 1], before=4, most=4, iou_threshold=0.7)
    found = np.array(layer([boxes, logits, image, *maps]))[0]
    # The second overlaps the first by 0.8, the fourth lies outside of the image; the last is of a level of its own.
    np.testing.assert_array_equal(found, [[0, 0, 4, 4], [8, 8, 16, 16], [0, 2, 8, 6], [0, 0, 0, 0]])
    few = proposals.Proposals([1, 1], before=1, most=4)([boxes, logits, image, *maps])
    np.testing.assert_array_equal(few[0], [[0, 2, 8, 6], [0] * 4, [0] * 4, [0] * 4])  # only the surest of each level
    again = proposals.Proposals.from_config(layer.get_config())
    np.testing.assert_array_equal(again([boxes, logits, image, *maps])[0], found)


def test_proposals_of_any_logits_are_found() -> None:
    maps, image = [np.zeros((1, 1, 1, 3), np.float32)], np.zeros((1, 16, 16, 16, 1), np.float32)
    maps = [x[:, :, :, None] for x in maps]
    box, layer = np.array([[[1, 2, 3, 9, 9, 9]]], np.float32), proposals.Proposals([1], most=1)
    for logit in (-300.0, 0.0, 300.0):
        np.testing.assert_array_equal(layer([box, np.full((1, 1, 1), logit, np.float32), image, *maps]), box)


def test_a_grid_shows_the_map_within_the_box() -> None:
    rows = (np.arange(32) * 2 + 1).astype(np.float32)  # what a map of stride 2 shows at its places' middles
    ramp = np.broadcast_to(rows[None, :, None, None], (1, 32, 32, 1)).copy()
    box = np.array([[[10, 20, 22, 32], [0, 0, 0, 0]]], np.float32)
    found = np.array(proposals.CutOut([(2, 2)], (3, 4))([box, ramp]))
    assert found.shape == (1, 2, 3, 4, 1)
    np.testing.assert_allclose(found[0, 0, :, 0, 0], [12, 16, 20], atol=1e-4)
    larger = np.array(proposals.CutOut([(2, 2)], (3, 4), enlarged=2.0)([box, ramp]))
    np.testing.assert_allclose(larger[0, 0, :, 0, 0], [8, 16, 24], atol=1e-4)
    assert np.isfinite(found).all()


def test_a_box_is_cut_out_of_the_map_that_suits_its_size() -> None:
    maps = [np.full((1, 64, 64, 1), 1.0, np.float32), np.full((1, 32, 32, 1), 2.0, np.float32)]
    boxes = np.array([[[30, 30, 33, 34], [20, 20, 75, 75], [20, 20, 76, 76], [0, 0, 128, 128]]], np.float32)
    found = np.array(proposals.CutOut([(2, 2), (4, 4)], (2, 2))([boxes, *maps]))
    np.testing.assert_allclose(found[0, :, 0, 0, 0], [1, 1, 2, 2], rtol=1e-6)


def test_boxes_stay_exact_where_maps_are_rounded() -> None:
    ramp = np.broadcast_to(np.arange(8, dtype=np.float32)[None, :, None, None], (1, 8, 512, 1)).copy()
    box = np.array([[[2, 257, 6, 263]]], np.float32)  # 257 is none of bfloat16's numbers
    layer = proposals.CutOut([(1, 1)], (2, 2), dtype="mixed_bfloat16")
    columns = np.broadcast_to(np.arange(512) % 8, (1, 8, 512)).astype(np.float32)[..., None].copy()
    found = layer([keras.ops.convert_to_tensor(box), keras.ops.cast(ramp, "bfloat16")])
    assert keras.backend.standardize_dtype(found.dtype) == "bfloat16"
    np.testing.assert_allclose(keras.ops.cast(found, "float32")[0, 0, :, 0, 0], [2.5, 4.5])
    found = layer([keras.ops.convert_to_tensor(box), keras.ops.cast(columns, "bfloat16")])
    np.testing.assert_allclose(keras.ops.cast(found, "float32")[0, 0, 0, :, 0], [2.0, 5.0], rtol=0.01)


def test_scores_leave_background_out_and_padding_has_none() -> None:
    logits = np.log(np.array([[[0.5, 0.2, 0.3], [0.1, 0.8, 0.1]]], np.float32))
    boxes = np.array([[[0, 0, 2, 2], [0, 0, 0, 0]]], np.float32)
    np.testing.assert_allclose(proposals.Classes()([logits, boxes]), [[[0.2, 0.3], [0.0, 0.0]]], rtol=1e-5)


def test_what_layers_make_of_boxes_is_dealt_to_images_again() -> None:
    for boxes in (0, 3):
        grids = np.random.default_rng(0).normal(size=(2, boxes, 4, 4, 5)).astype(np.float32)
        flat = proposals.as_images(keras.ops.convert_to_tensor(grids))
        assert flat.shape == (2 * boxes, 4, 4, 5)
        np.testing.assert_array_equal(proposals.PerBox()([flat[:, 0, 0], grids]), grids[:, :, 0, 0])


def test_each_given_region_is_told_by_itself() -> None:
    keras.utils.set_random_seed(0)
    settings = {**fast_rcnn.SMALL, **TINY}
    network = models.build("fast_rcnn", input_shape=(None, None, 1), num_classes=2, **settings)
    regions = np.array([[[2, 3, 9, 9], [10, 12, 30, 31], [0, 0, 0, 0], [4, 20, 8, 39]]], np.float32)
    found = network([IMAGE, regions])
    np.testing.assert_array_equal(found["anchors"], regions)
    np.testing.assert_array_equal(found["scores"][0, 2], 0)
    np.testing.assert_array_equal(found["boxes"][0, 2], 0)
    assert np.array(found["scores"])[0, [0, 1, 3]].min() > 0
    alone = network([IMAGE, regions[:, 1:2]])
    for key in ("logits", "deltas", "boxes", "scores"):
        np.testing.assert_allclose(alone[key][0, 0], found[key][0, 1], rtol=1e-4, atol=1e-5)
    nothing = network([IMAGE, regions[:, :0]])
    assert nothing["boxes"].shape == (1, 0, 4)


def test_r_cnn_sees_its_region_and_nothing_else() -> None:
    keras.utils.set_random_seed(0)
    network = models.build("rcnn", input_shape=(32, 40, 1), num_classes=2, size=32, **TINY)
    regions = np.array([[[8, 10, 20, 22]]], np.float32)
    others = IMAGE.copy()
    others[:, :4], others[:, 25:], others[:, :, :6], others[:, :, 27:] = 5, 5, 5, 5
    before, after = network([IMAGE, regions])["logits"], network([others, regions])["logits"]
    np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-5)
    others[:, 12:14, 14:16] = 5
    assert np.abs(network([others, regions])["logits"] - before).max() > 1e-4


@pytest.mark.parametrize("sizes", [(None, None), (None, None, None)])
def test_r_cnn_takes_images_of_which_no_region_is_given(sizes: tuple[None, ...]) -> None:
    network = models.build("rcnn", input_shape=(*sizes, 1), num_classes=2, size=8, **TINY)
    image = np.zeros((2, *(16 for _ in sizes), 1), np.float32)
    none, one = (np.zeros((2, number, 2 * len(sizes)), np.float32) for number in (0, 1))
    asked = tf.function(network, reduce_retracing=True)
    assert asked([image, one])["logits"].shape == (2, 1, 3)
    for call in (network, asked, tf.function(network, jit_compile=True)):
        found = call([image, none])
        assert found["logits"].shape == (2, 0, 3)
        assert found["boxes"].shape == (2, 0, 2 * len(sizes))


def test_masks_are_of_the_boxes_that_are_found() -> None:
    scores = np.random.default_rng(0).uniform(size=(2, 30, 2)).astype(np.float32)
    low = np.random.default_rng(1).uniform(-3, 30, (2, 30, 2))
    boxes = np.concatenate([low, low + 8], -1).astype(np.float32)
    image = np.zeros((2, 32, 40, 1), np.float32)
    found, sure, labels = mask_rcnn.SurestBoxes(12, 0.4)([boxes, scores, image])
    cut = np.clip(boxes, 0, [32, 40, 32, 40])
    wanted = suppression.best(cut, scores, iou_threshold=0.4, score_threshold=0.0, most=12)
    for value, same in zip((found, sure, labels), wanted):
        np.testing.assert_array_equal(value, same)
    assert np.array(found).max() <= 40
    assert np.array(labels).dtype == np.int32


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: proposals.Proposals([1], most=0), "at least 1"),
        (lambda: proposals.Proposals([1], iou_threshold=1.5), "iou_threshold 1.5"),
        (lambda: proposals.CutOut([(2, 2)], (0, 3)), "above 0"),
        (lambda: proposals.CutOut([(2, 2)], (3, 3), float("nan")), "above 0"),
        (lambda: mask_rcnn.SurestBoxes(0), "at least 1"),
        (
            lambda: models.build("mask_rcnn", input_shape=(32, 32, 1), num_classes=1, mask_depth=-1),
            "mask_depth must be a whole number from 0 on",
        ),
        (
            lambda: models.build("fast_rcnn", input_shape=(32, 32, 1), num_classes=1, num_proposals=0),
            "num_proposals must be a whole number from 1 on",
        ),
        (lambda: models.build("fast_rcnn", input_shape=(32, 32, 1), num_classes=1, cut="sky"), "maps, image"),
        (
            lambda: models.build(
                "faster_rcnn", input_shape=(32, 32, 1), num_classes=1, levels=(1, 2), extra_levels=0,
                anchors=(((4, 4),), ((4, 4), (8, 8))), **TINY,
            ),
            "as many anchors",
        ),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(make: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        make()
