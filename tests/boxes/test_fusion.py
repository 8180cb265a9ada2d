import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from radkit.boxes import fusion
from radkit.errors import UserError
from tests.boxes import made


def plain(boxes, scores, labels, views, weights, threshold, least, agnostic):
    """The paper's steps, with lists."""
    clusters: list[list[int]] = []

    def mean(members):
        shares = scores[members].astype(float) * weights[members]
        return (boxes[members] * shares[:, None]).sum(0) / shares.sum()

    for one in np.argsort(-scores, kind="stable"):
        if scores[one] < least or not boxes[one].any():
            continue
        overlaps = [
            made.iou(mean(members), boxes[one]) if agnostic or labels[members[0]] == labels[one] else 0.0
            for members in clusters
        ]
        if overlaps and max(overlaps) > threshold:
            clusters[int(np.argmax(overlaps))].append(int(one))
        else:
            clusters.append([int(one)])
    found = []
    for members in clusters:
        seen, votes = views[members[0]], weights[members].sum()
        score = (scores[members] * weights[members]).sum() / votes * min(votes, seen) / seen
        if score >= least:
            found.append((score, mean(members), labels[members[0]]))
    return sorted(found, key=lambda one: -one[0])


def drawn(seed, rank):
    """What three looked at: the same boxes, each time a little elsewhere, and some of their own; then padding."""
    random = np.random.default_rng(seed)
    things = made.boxes(random, 5, rank, 40.0)
    found = [things + random.normal(0, 0.7, things.shape) for _ in range(3)]
    boxes = np.concatenate([*found, made.boxes(random, 4, rank, 40.0), np.zeros((2, 2 * rank))])
    scores = random.uniform(0.1, 1.0, len(boxes))
    labels = np.concatenate([np.tile(random.integers(0, 2, 5), 3), random.integers(0, 2, 6)])
    weights, views = random.choice([0.5, 1.0], len(boxes)), random.choice([1.0, 3.0], len(boxes))
    floats = [x.astype(np.float32) for x in (boxes, scores, views, weights)]
    return floats[0], floats[1], labels.astype(np.int32), floats[2], floats[3]


@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 10**6), rank=st.sampled_from([2, 3]), agnostic=st.booleans())
def test_it_is_the_papers_steps(seed, rank, agnostic):
    both = [drawn(seed, rank), drawn(seed + 1, rank)]
    boxes, scores, labels, views, weights = (np.stack(x) for x in zip(*both))
    found = fusion.fuse(
        boxes, scores, labels, views=views, weights=weights, iou_threshold=0.4, score_threshold=0.15, most=30,
        class_agnostic=agnostic, room=40,
    )  # fmt: skip
    fused, sure, names, count = map(np.array, found)
    assert fused.shape == (2, 30, 2 * rank)
    for k in range(2):
        expected = plain(boxes[k], scores[k], labels[k], views[k], weights[k], 0.4, 0.15, agnostic)
        assert count[k] == len(expected)
        np.testing.assert_allclose(sure[k, : count[k]], [one[0] for one in expected], rtol=1e-4)
        np.testing.assert_allclose(fused[k, : count[k]], [one[1] for one in expected], atol=1e-3)
        np.testing.assert_array_equal(names[k, : count[k]], [one[2] for one in expected])
        assert not fused[k, count[k] :].any()
        assert set(names[k, count[k] :]) <= {-1}


def test_two_boxes_of_one_thing_by_hand():
    boxes = np.array([[[0, 0, 10, 10], [0, 0, 10, 8], [20, 20, 24, 24]]], np.float32)
    scores, labels = np.array([[0.6, 0.3, 0.5]], np.float32), np.zeros((1, 3), np.int32)
    fused, sure, _, count = fusion.fuse(boxes, scores, labels, views=2.0, most=4)
    np.testing.assert_array_equal(count, [2])
    np.testing.assert_allclose(sure, [[0.45, 0.25, 0.0, 0.0]], rtol=1e-6)
    np.testing.assert_allclose(fused[0, 0], [0, 0, 10, (10 * 0.6 + 8 * 0.3) / 0.9], rtol=1e-6)


def test_it_is_the_same_compiled_and_with_free_sizes():
    boxes, scores, labels, _, _ = (x[None] for x in drawn(5, 3))

    def ask(boxes, scores, labels):
        return fusion.fuse(boxes, scores, labels, views=3.0, most=8)

    free = [tf.TensorSpec((None, None, 6)), tf.TensorSpec((None, None)), tf.TensorSpec((None, None), tf.int32)]
    compiled = tf.function(ask, jit_compile=True)(boxes, scores, labels)
    freely = tf.function(ask, input_signature=free)(boxes, scores, labels)
    assert int(compiled[3][0]) == int(freely[3][0]) > 3
    for one, other in zip(compiled, freely):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


def test_best_fuses_places_of_a_detector():
    boxes = np.array([[[0, 0, 4, 4], [0, 0, 4, 5], [8, 8, 12, 12]]], np.float32)
    scores = np.array([[[0.9, 0.2], [0.7, 0.04], [0.04, 0.5]]], np.float32)
    _, sure, labels, count = fusion.best(boxes, scores, most=4)
    np.testing.assert_array_equal(count, [3])
    np.testing.assert_array_equal(labels, [[0, 1, 1, -1]])
    np.testing.assert_allclose(sure, [[0.8, 0.5, 0.2, 0.0]], rtol=1e-6)


def test_nothing_found_is_answered_as_nothing():
    fused, sure, labels, count = fusion.fuse(np.zeros((2, 3, 4)), np.ones((2, 3)), np.zeros((2, 3)), most=2)
    assert not np.array(fused).any()
    assert not np.array(sure).any()
    np.testing.assert_array_equal(labels, -np.ones((2, 2)))
    np.testing.assert_array_equal(count, [0, 0])


def test_no_boxes_at_all_are_a_list_too():
    free = [tf.TensorSpec([None, None, 4]), tf.TensorSpec([None, None]), tf.TensorSpec([None, None])]
    traced = tf.function(lambda *given: fusion.fuse(*given, most=2), input_signature=free)
    for one in (traced, lambda *given: fusion.fuse(*given, most=2)):
        fused, _, labels, count = one(np.zeros((2, 0, 4)), np.zeros((2, 0)), np.zeros((2, 0)))
        assert not np.array(fused).any()
        np.testing.assert_array_equal(labels, -np.ones((2, 2)))
        np.testing.assert_array_equal(count, [0, 0])


def test_a_box_of_hardly_any_score_is_as_large_as_it_was():
    boxes = np.array([[[2.0, 2.0, 6.0, 8.0]]])
    fused, _, _, count = fusion.fuse(boxes, np.full((1, 1), 1e-14), np.zeros((1, 1)), score_threshold=0.0, most=1)
    np.testing.assert_allclose(fused, boxes, rtol=1e-5)
    np.testing.assert_array_equal(count, [1])


def test_what_cannot_be_fused_is_refused():
    with pytest.raises(UserError, match="0 or more"):
        fusion.fuse(np.zeros((1, 3, 4)), np.zeros((1, 3)), np.zeros((1, 3)), score_threshold=-1.0)
    with pytest.raises(UserError, match="at least 1 box"):
        fusion.fuse(np.zeros((1, 3, 4)), np.zeros((1, 3)), np.zeros((1, 3)), room=0)
    with pytest.raises(UserError, match=r"labels of shape \(1, 2\)"):
        fusion.fuse(np.zeros((1, 3, 4)), np.zeros((1, 3)), np.zeros((1, 2)))
