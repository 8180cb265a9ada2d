"""What is answered of a detector's places: by hand, and in windows and mirrored images against the image at once."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from radkit import config
from radkit.errors import UserError
from radkit.inference import box_windows, detections

PLACES = np.array([[[0, 0, 4, 4], [0, 0, 4, 5], [9, 9, 12, 14], [0, 0, 0, 0]]], np.float32)
SCORES = np.array([[[0.9, 0.1], [0.8, 0.6], [0.01, 0.7], [1.0, 1.0]]], np.float32)


def plain(answer: dict[str, Any]) -> list[tuple[list[float], float, int]]:
    """Returns one image's boxes, scores and labels, without the padding."""
    boxes, scores, labels = (np.asarray(answer[name])[0] for name in ("boxes", "scores", "labels"))
    count = int(np.asarray(answer["count"])[0])
    assert (boxes[count:] == 0).all()
    assert (scores[count:] == 0).all()
    assert (labels[count:] == -1).all()
    return [(b.tolist(), round(float(s), 4), int(c)) for b, s, c in zip(boxes, scores, labels)][:count]


def test_of_boxes_of_one_thing_the_surest_is_answered() -> None:
    found = detections.found({"boxes": PLACES, "scores": SCORES}, (10, 13), most_detections=5)
    assert plain(found) == [([0, 0, 4, 4], 0.9, 0), ([9, 9, 10, 13], 0.7, 1), ([0, 0, 4, 5], 0.6, 1)]
    assert found["boxes"].shape == (1, 5, 4)
    assert found["labels"].dtype == found["count"].dtype == "int32"
    alone = detections.found({"boxes": PLACES, "scores": SCORES}, class_agnostic=True)
    assert plain(alone) == [([0, 0, 4, 4], 0.9, 0), ([9, 9, 12, 14], 0.7, 1)]
    sure = detections.found({"boxes": PLACES, "scores": SCORES}, score_threshold=0.65, iou_threshold=0.9)
    assert [one[1] for one in plain(sure)] == [0.9, 0.8, 0.7]


def test_nothing_found_is_an_answer() -> None:
    found = detections.found({"boxes": PLACES, "scores": 0 * SCORES}, (10, 13))
    assert plain(found) == []
    assert found["boxes"].shape == (1, 100, 4)


def test_masks_come_with_the_boxes_they_were_made_for() -> None:
    logits = np.full((1, 3, 2, 2, 2), -20.0, np.float32)
    logits[0, 1, :, 1, 1] = 20.0  # the second box's, of its class
    outputs = {
        "found_boxes": PLACES[:, :3],
        "found_scores": np.array([[0.4, 0.9, 0.0]], np.float32),
        "found_labels": np.array([[0, 1, -1]], np.int32),
        "mask_logits": logits,
    }
    found = detections.found(outputs)
    assert plain(found) == [([0, 0, 4, 5], 0.9, 1), ([0, 0, 4, 4], 0.4, 0)]
    np.testing.assert_allclose(found["masks"][0, 0], [[0, 1], [0, 1]], atol=1e-6)
    np.testing.assert_allclose(found["masks"][0, 1:], 0, atol=1e-6)


def test_what_is_no_detector_is_refused() -> None:
    with pytest.raises(UserError, match=r"answers a dict with 'boxes' and 'scores', not \['logits'\]"):
        detections.found({"logits": PLACES})
    with pytest.raises(UserError, match="answers a dict"):
        detections.found(PLACES)


def test_padding_stands_behind_and_order_stays() -> None:
    given = {"boxes": PLACES, "scores": SCORES[..., 0], "labels": np.array([[3, 1, 0, 2]], np.int32)}
    found = detections.padded(given, np.array([[True, False, True, True]]))
    assert [one[1:] for one in plain(found)] == [(0.9, 3), (0.01, 0), (1.0, 2)]


NUMBER = 6


def knowing(image: Any, training: bool = False) -> dict[str, Any]:
    """A network that finds things by their value, 1, 2, ...: the box around what is seen of each."""
    assert not training
    rank, seen = len(image.shape) - 2, []
    for value in range(1, NUMBER + 1):
        there = ops.equal(image[..., 0], float(value))
        edges = []
        for axis in range(rank):
            others = [1 + other for other in range(rank) if other != axis]
            along = ops.cast(ops.any(there, axis=others), "float32")
            size = ops.cast(ops.shape(along)[1], "float32")
            place = ops.cast(ops.arange(ops.shape(along)[1]), "float32")[None]
            low = ops.min(ops.where(along > 0, place, size), axis=1)
            high = ops.max(ops.where(along > 0, place + 1.0, 0.0), axis=1)
            edges.append((low, high))
        seen.append(ops.stack([low for low, _ in edges] + [high for _, high in edges], axis=-1))
    boxes = ops.stack(seen, axis=1)
    is_there = ops.all(boxes[..., rank:] > boxes[..., :rank], axis=-1)
    boxes = ops.where(is_there[..., None], boxes, 0.0)
    # All alike: what is seen in part is as sure as the whole. Things 1 to 3 are of class 0, the others of class 1.
    of_class = ops.one_hot(ops.arange(NUMBER) // (NUMBER // 2), 2)[None]
    return {"boxes": boxes, "scores": 0.9 * ops.cast(is_there, "float32")[..., None] * of_class}


def things(sizes: Sequence[int], longest: int, seed: int) -> tuple[np.ndarray, list[list[float]]]:
    """Returns an image of things that do not meet, and their boxes."""
    random, image, boxes = np.random.default_rng(seed), np.zeros(sizes, np.float32), []
    for value in range(1, NUMBER + 1):
        for _ in range(200):
            side = random.integers(2, longest + 1, len(sizes))
            low = (random.uniform(0, 1, len(sizes)) * (np.array(sizes) - side + 1)).astype(int)
            where = tuple(slice(a, a + b) for a, b in zip(low, side))
            if not image[where].any():
                image[where] = value
                boxes.append([*map(float, low), *map(float, low + side)])
                break
    return image, boxes


SETTINGS = {
    "much_overlap": config.Inference(window=(20, 16), overlap=0.75, batch_size=1),
    "flips": config.Inference(flips=(True, True)),
    "windows_and_flips": config.Inference(window=(16, 16), overlap=0.5, batch_size=3, flips=(False, True)),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_windows_and_flips_find_what_the_whole_image_shows(name: str) -> None:
    asked = box_windows.network(knowing, SETTINGS[name])
    compiled = tf.function(asked, input_signature=[tf.TensorSpec([None, None, None, 1])], autograph=False)
    for seed, sizes in enumerate([(40, 57), (9, 11), (33, 16)]):
        image, boxes = things(sizes, 6, seed)
        other, more = things(sizes, 6, seed + 100)
        found = compiled(np.stack([image, other])[..., None])
        for which, wanted in enumerate((boxes, more)):
            alone = {key: value[which : which + 1] for key, value in found.items()}
            assert sorted(box for box, _, _ in plain(alone)) == sorted(wanted)
            assert {(tuple(b), c) for b, _, c in plain(alone)} <= {
                (tuple(b), int(number >= NUMBER // 2)) for number, b in enumerate(wanted)
            } or len(wanted) < NUMBER


def test_windows_of_volumes_without_a_graph() -> None:
    image, boxes = things((9, 14, 12), 3, 7)
    settings = config.Inference(window=(8, 12, 12), batch_size=4, flips=(True, False, False))
    found = box_windows.network(knowing, settings, padding_value=-1.0)(image[None, ..., None])
    assert sorted(box for box, _, _ in plain(found)) == sorted(boxes)


def test_what_is_longer_than_the_overlap_is_not_lost() -> None:
    image = np.zeros((1, 16, 60, 1), np.float32)
    image[0, 4:9, 10:50] = 1
    found = box_windows.network(knowing, config.Inference(window=(16, 16), overlap=0.5))(image)
    parts = [box for box, _, _ in plain(found)]
    assert min(box[1] for box in parts) == 10
    assert max(box[3] for box in parts) == 50
    covered = np.zeros(60, bool)
    for box in parts:
        covered[int(box[1]) : int(box[3])] = True
    assert covered[10:50].all()


def test_a_fused_box_is_as_sure_as_the_views_that_found_it() -> None:
    image, boxes = things((40, 31), 6, 3)
    settings = config.Inference(window=(16, 16), flips=(True, False), batch_size=4, suppress="fusion")
    found = plain(box_windows.network(knowing, settings)(image[None, ..., None]))
    for box, score, _ in found:
        assert score == pytest.approx(0.9, abs=1e-3), "every window that sees all of it found it"
        assert min(np.abs(np.array(box) - np.array(wanted)).max() for wanted in boxes) < 1e-3
    assert len(found) == len(boxes)


def test_other_ways_than_to_keep_the_surest() -> None:
    outputs = {"boxes": PLACES, "scores": SCORES}
    (first, *_) = plain(detections.found(outputs, suppress="fusion"))
    middle = (0.9 * 4 + 0.8 * 5) / 1.7
    np.testing.assert_allclose(first[0], [0, 0, 4, middle], rtol=1e-5)
    assert first[1:] == (0.85, 0)
    soft = plain(detections.found(outputs, suppress="soft_nms"))
    assert soft[0] == ([0, 0, 4, 4], 0.9, 0)
    assert ([0, 0, 4, 5], round(0.8 * float(np.exp(-(0.8**2) / 0.5)), 4), 0) in soft
    with pytest.raises(UserError, match="suppress must be nms, soft_nms or fusion, not 'none'"):
        detections.found(outputs, suppress="none")


def test_scores_fall_once_where_windows_and_mirrored_images_are_joined() -> None:
    def network(image: Any, training: bool = False) -> dict[str, Any]:
        boxes = ops.convert_to_tensor([[[2.0, 2, 6, 6], [2, 2, 6, 7]]])
        return {"boxes": boxes, "scores": ops.convert_to_tensor([[[0.9], [0.8]]])}

    image, asked = np.zeros((1, 8, 9, 1), np.float32), {"suppress": "soft_nms"}
    alone = plain(box_windows.apply(network, image, **asked))
    once = plain(box_windows.apply(network, image, window=(8, 9), **asked))
    assert once == alone
    assert [score for _, score, _ in alone] == [0.9, pytest.approx(0.8 * np.exp(-(0.8**2) / 0.5), abs=1e-4)]


def test_masks_are_turned_back() -> None:
    def network(image: Any, training: bool = False) -> dict[str, Any]:
        part = ops.stack([image[:, :2, :2, 0], image[:, 2:4, 4:6, 0]], axis=1)
        return {
            "found_boxes": ops.tile(ops.convert_to_tensor([[[0.0, 0, 2, 2], [2, 4, 4, 6]]]), (1, 1, 1)),
            "found_scores": ops.convert_to_tensor([[0.9, 0.8]]),
            "found_labels": ops.convert_to_tensor([[0, 0]]),
            "mask_logits": part[..., None],
        }

    image = np.random.default_rng(0).normal(size=(1, 4, 6, 1)).astype(np.float32)
    found = box_windows.apply(network, image, flip=(True, True))
    places = {tuple(box): mask for (box, _, _), mask in zip(plain(found), np.array(found["masks"][0]))}
    assert len(places) == 4
    for (top, left, bottom, right), mask in places.items():
        part = image[0, int(top) : int(bottom), int(left) : int(right), 0]
        np.testing.assert_allclose(mask, 1 / (1 + np.exp(-part)), rtol=1e-5)


def test_settings_that_make_no_sense_are_refused() -> None:
    image = np.zeros((1, 8, 8, 1), np.float32)
    with pytest.raises(UserError, match="flips must be 2 values"):
        box_windows.apply(knowing, image, flip=(True,))
    with pytest.raises(UserError, match="window must be 2 sizes"):
        box_windows.apply(knowing, image, window=(8, 8, 8))
    with pytest.raises(UserError, match="boxes of 2 axes in an image of 3"):
        detections.found(knowing(image), (8, 8, 8))


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ({"most": 5}, "no setting 'most'; there are: score_threshold, suppress"),
        ({"suppress": "hard"}, "suppress must be nms, soft_nms or fusion, not 'hard'"),
        ({"iou_threshold": 3.0}, "iou_threshold must be from 0 to 1, not 3.0"),
        ({"score_threshold": float("nan")}, "score_threshold must be from 0 to 1, not nan"),
        ({"most_detections": 0}, "most_detections must be a whole number of at least 1, not 0"),
    ],
)
def test_a_detector_of_settings_that_make_no_sense_is_refused_before_it_is_asked(
    setting: dict[str, Any], told: str
) -> None:
    with pytest.raises(UserError, match=told):
        detections.Found(setting)


def test_a_network_that_is_no_detector_is_refused() -> None:
    image = keras.Input((None, None, 1))
    segmenter = keras.Model(image, keras.layers.Conv2D(2, 1)(image), name="segmenter")
    with pytest.raises(UserError, match="'segmenter' is no detector: it answers one array"):
        detections.model(segmenter)
