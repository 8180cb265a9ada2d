"""Masks cut out where boxes were found, and drawn of boxes."""

import numpy as np
import pytest
import tensorflow as tf

from radkit import losses
from radkit.errors import UserError
from radkit.losses import box_masks, detection, segmentation
from tests.losses import test_detection
from tests.losses.made import sigmoid


@pytest.mark.parametrize("rank", [2, 3])
def test_a_grid_in_a_box_reads_the_nearest_voxels(rank: int) -> None:
    random = np.random.default_rng(0)
    mask = random.integers(0, 4, (2, *(7, 6, 5)[:rank], 1)).astype(np.uint8)
    low = random.uniform(-2, 4, (2, 3, rank))
    found = np.concatenate([low, low + random.uniform(1, 5, low.shape)], -1).astype(np.float32)
    wanted = np.concatenate([low + 0.3, low + 3.1], -1).astype(np.float32)
    size = (4, 3, 2)[:rank]
    values, within = box_masks.cut(mask, found, wanted, size)
    for index in np.ndindex(2, 3, *size):
        box, asked = found[index[:2]], wanted[index[:2]]
        at = box[:rank] + (np.array(index[2:]) + 0.5) / size * (box[rank:] - box[:rank])
        inside = (at >= np.maximum(asked[:rank], 0)).all() and (at < np.minimum(asked[rank:], mask.shape[1:-1])).all()
        assert bool(within[index]) == inside
        voxel = (index[0], *np.floor(at).astype(int), 0)
        assert int(values[index]) == (mask[voxel] if inside else 0)


@pytest.mark.parametrize(("rank", "shape"), [(2, "ellipsoid"), (3, "ellipsoid"), (2, "box")])
def test_boxes_are_drawn_the_smaller_over_the_larger(rank: int, shape: str) -> None:
    boxes = np.array([
        [[5.25] * rank + [5.4] * rank, [1] * rank + [8] * rank, [0] * 2 * rank, [3] * rank + [6] * rank],
        [[0] * 2 * rank, [4] * rank + [9] * rank, [2] * rank + [6] * rank, [0] * 2 * rank],
    ], np.float32)  # fmt: skip
    labels = np.array([[2, 0, -1, 1], [-1, -2, 0, -1]])
    found = box_masks.drawn(boxes, labels, [9] * rank, shape).numpy()
    assert found.dtype == np.uint8
    wanted = np.zeros_like(found)
    for example, order in ((0, (1, 3, 0)), (1, (1, 2))):
        for number in order:
            box, label = boxes[example, number], labels[example, number]
            middle, half = (box[:rank] + box[rank:]) / 2, (box[rank:] - box[:rank]) / 2
            for index in np.ndindex(*[9] * rank):
                apart = (np.array(index) + 0.5 - middle) / half
                drawn = (apart >= -1).all() and (apart < 1).all()
                if shape == "ellipsoid" and label >= 0:
                    drawn = drawn and (apart**2).sum() <= 1
                if drawn or (np.array(index) == np.floor(middle)).all():
                    wanted[(example, *index, 0)] = 255 if label == -2 else label + 1
    np.testing.assert_array_equal(found, wanted)
    assert set(np.unique(found)) == {0, 1, 2, 3, 255}
    compiled = tf.function(box_masks.drawn, jit_compile=True)(boxes, tf.constant(labels, tf.int32), [9] * rank, shape)
    np.testing.assert_array_equal(compiled, found)


def test_retina_unet_is_retinanet_and_a_segmentation_of_the_mask_or_the_boxes() -> None:
    truth = test_detection.truth_of(np.array([[[2.0, 3, 9, 9]]]), np.array([[1]]))
    whole = test_detection.completed("retina_unet", {}, test_detection.answer("retina_unet", 1))
    loss = losses.find("detection", "retina_unet")
    beside = segmentation.dice_and_cross_entropy(truth["mask"], whole["segmentation"])
    alone = detection.retinanet(truth, whole)
    np.testing.assert_allclose(loss(truth, whole, segmentation_weight=2.0), alone + 2.0 * beside, rtol=1e-6)
    del truth["mask"]
    drawn = box_masks.drawn(*detection.told(truth), (16, 16))
    beside = segmentation.dice_and_cross_entropy(drawn, whole["segmentation"])
    np.testing.assert_allclose(loss(truth, whole), alone + beside, rtol=1e-6)
    with pytest.raises(UserError, match="pseudo_shape 'round' is none"):
        loss(truth, whole, pseudo_shape="round")


def test_mask_rcnn_asks_for_the_mask_of_the_boxes_class_within_it() -> None:
    truth = test_detection.truth_of(np.array([[[0.0, 0, 8, 8]]]), np.array([[0]]))
    truth["mask"][:] = 0
    truth["mask"][0, :4, :8], truth["mask"][0, 4:6, :8], truth["mask"][0, 6:8, :4] = 1, 2, 255
    whole = test_detection.completed("mask_rcnn", {}, test_detection.answer("mask_rcnn", 1))
    whole["found_boxes"] = np.array([[[0, 0, 8, 12], [8, 8, 16, 16], [0, 0, 0, 0], [0, 0, 8, 8]]], np.float32)
    whole["mask_logits"] = logits = np.random.default_rng(0).normal(0, 1, (1, 4, 4, 4, 2)).astype(np.float32)
    p = sigmoid(logits)[0, ..., 0]
    first, last = np.zeros((4, 4)), np.zeros((4, 4))
    first[:2, :3], last[:2] = 1, 1  # the first box reaches 4 columns beyond the true one
    known_first, known_last = np.ones((4, 4)), np.ones((4, 4))
    known_first[3, :2] = 0  # columns 1.5 and 4.5: the second is labelled
    known_first[3, 1], known_last[3, :2] = 1, 0
    total = 0.0
    for wanted, known, q in ((first, known_first, p[0]), (last, known_last, p[3])):
        total += (-(wanted * np.log(q) + (1 - wanted) * np.log(1 - q)) * known).sum() / known.sum()
    loss = losses.find("detection", "mask_rcnn")
    found = loss(truth, whole) - losses.find("detection", "faster_rcnn")(truth, whole)
    np.testing.assert_allclose(found, [total / 2], rtol=1e-4)
