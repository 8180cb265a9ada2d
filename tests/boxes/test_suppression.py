import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from radkit.boxes import suppression
from radkit.errors import UserError
from tests.boxes import made


def greedy(boxes, scores, iou_threshold, score_threshold, most, groups=None):
    """The plain loop: the surest box that no kept one overlaps too much."""
    kept: list[int] = []
    for one in np.argsort(-scores, kind="stable"):
        rivals = [k for k in kept if groups is None or groups[k] == groups[one]]
        if len(kept) == most or scores[one] < score_threshold or np.prod(boxes[one][len(boxes[one]) // 2 :]) == 0:
            continue
        if all(made.iou(boxes[one], boxes[k]) <= iou_threshold for k in rivals):
            kept.append(int(one))
    return kept


def softly(boxes, scores, method, sigma, iou_threshold, score_threshold, most, groups):
    left, index, kept = scores.astype(float).copy(), [], []
    while len(index) < most and left.max() >= score_threshold:
        one = int(left.argmax())
        index.append(one)
        kept.append(left[one])
        for other in range(len(left)):
            if left[other] >= 0 and other != one and groups[other] == groups[one]:
                overlap = made.iou(boxes[one], boxes[other])
                linear = 1 - overlap if overlap > iou_threshold else 1.0
                left[other] *= linear if method == "linear" else np.exp(-(overlap**2) / sigma)
        left[one] = -1.0
    return index, kept


def listed(index, valid):
    return [[int(k) for k, there in zip(*row) if there] for row in zip(np.array(index), np.array(valid))]


def drawn(seed, batch, count, rank):
    """Crowded boxes, scores of few values so that many are equal, groups, and some padding."""
    random = np.random.default_rng(seed)
    boxes = np.stack([made.boxes(random, count, rank, size=14.0) for _ in range(batch)])
    boxes[:, count - count // 8 :] = 0.0
    scores = (random.integers(0, 12, (batch, count)) / 12).astype(np.float32)
    return boxes, scores, random.integers(0, 3, (batch, count)).astype(np.int32)


@settings(max_examples=10, deadline=None)
@given(
    seed=st.integers(0, 10**6), rank=st.sampled_from([2, 3]), threshold=st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.7, 1.0]),
    most=st.sampled_from([1, 5, 60]), grouped=st.booleans(), tile=st.sampled_from([8, 16]),
)  # fmt: skip
def test_nms_is_the_greedy_one(seed, rank, threshold, most, grouped, tile):
    boxes, scores, groups = drawn(seed, 2, 40, rank)
    chosen = groups if grouped else None
    usual = suppression.TILE, suppression.CHUNK, suppression.FEW
    suppression.TILE, suppression.CHUNK, suppression.FEW = tile, 4, 3  # so that few boxes are many tiles
    try:
        index, valid = suppression.nms(
            boxes, scores, iou_threshold=threshold, score_threshold=0.1, most=most, groups=chosen
        )
    finally:
        suppression.TILE, suppression.CHUNK, suppression.FEW = usual
    assert index.shape == valid.shape == (2, most)
    expected = [
        greedy(boxes[k], scores[k], threshold, 0.1, most, chosen if chosen is None else chosen[k]) for k in range(2)
    ]
    assert listed(index, valid) == expected
    assert not np.array(index)[~np.array(valid)].any()


def test_nms_is_the_same_compiled_and_with_free_sizes():
    boxes, scores, groups = drawn(3, 2, 600, 3)
    settings_ = {"iou_threshold": 0.2, "score_threshold": 0.05, "most": 150}

    def ask(boxes, scores, groups):
        return suppression.nms(boxes, scores, groups=groups, **settings_)

    expected = [greedy(boxes[k], scores[k], 0.2, 0.05, 150, groups[k]) for k in range(2)]
    free = [tf.TensorSpec((None, None, 6)), tf.TensorSpec((None, None)), tf.TensorSpec((None, None), tf.int32)]
    assert listed(*tf.function(ask, input_signature=free)(boxes, scores, groups)) == expected
    assert listed(*tf.function(ask, jit_compile=True)(boxes, scores, groups)) == expected


def test_the_chain_of_boxes_keeps_every_second():
    low = np.arange(300, dtype=np.float32)[:, None] * [1.0, 0.0]
    boxes = np.concatenate([low, low + [2.0, 4.0]], -1)[None].astype(np.float32)  # each half in the next
    scores = np.linspace(1.0, 0.1, 300, dtype=np.float32)[None]
    index, valid = suppression.nms(boxes, scores, iou_threshold=0.3, most=300)
    assert listed(index, valid) == [list(range(0, 300, 2))]


def test_an_overlap_of_just_the_threshold_stays():
    boxes = np.array([[[0, 0, 10, 10], [0, 0, 5, 10], [0, 0, 4.75, 10]]], np.float32)
    index, valid = suppression.nms(boxes, np.array([[0.9, 0.8, 0.7]]), iou_threshold=0.5, most=3)
    assert listed(index, valid) == [[0, 1]]  # the third lies in the second


@pytest.mark.parametrize("count", [0, 1, 5])
def test_padding_and_what_is_no_number_are_never_kept(count):
    boxes = np.zeros((1, count, 4), np.float32)
    scores = np.ones((1, count), np.float32)
    if count == 5:
        boxes[0, 1], boxes[0, 2], boxes[0, 3] = (1, 1, 3, 3), (np.nan, 1, 3, 3), (5, 5, 8, 8)
        scores[0, 3] = np.nan
    index, valid = suppression.nms(boxes, scores, score_threshold=-float("inf"), most=4)
    assert listed(index, valid) == [[1] if count == 5 else []]


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10**6), rank=st.sampled_from([2, 3]), method=st.sampled_from(["gaussian", "linear"]))
def test_soft_nms_is_the_plain_loop(seed, rank, method):
    boxes, scores, groups = drawn(seed, 2, 24, rank)
    scores = (scores + np.arange(24) / 1000).astype(np.float32)
    scores[:, -3:] = 0.0  # the loop below knows no padding
    index, left, valid = suppression.soft_nms(
        boxes, scores, method=method, sigma=0.4, iou_threshold=0.2, score_threshold=0.3, most=10, groups=groups
    )
    for k, found in enumerate(listed(index, valid)):
        flat = scores[k] * (boxes[k].any(-1))
        expected, kept = softly(boxes[k], flat, method, 0.4, 0.2, 0.3, 10, groups[k])
        assert found == expected
        np.testing.assert_allclose(np.array(left)[k, : len(kept)], kept, rtol=1e-5)


@pytest.mark.parametrize(("method", "sigma"), [("linear", 0.5), ("gaussian", 0.01)])
def test_softly_no_box_is_taken_twice_where_its_rivals_scores_fall_to_0(method, sigma):
    boxes = np.array([[[0, 0, 4, 4], [0, 0, 4, 4], [0, 0, 4, 4], [9, 9, 12, 12]]], np.float32)
    scores = np.array([[0.9, 0.8, 0.7, 0.6]], np.float32)
    index, left, valid = suppression.soft_nms(boxes, scores, method=method, sigma=sigma, score_threshold=0.0, most=9)
    assert [sorted(row) for row in listed(index, valid)] == [[0, 1, 2, 3]]
    np.testing.assert_allclose(np.array(left)[0, :2], [0.9, 0.6], rtol=1e-6)


@pytest.mark.parametrize("soft", [False, True])
def test_no_boxes_at_all_are_a_list_too(soft):
    def found(boxes, scores, groups):
        chosen = suppression.soft_nms if soft else suppression.nms
        return chosen(boxes, scores, most=5, groups=groups)

    free = [tf.TensorSpec([None, None, 4]), tf.TensorSpec([None, None]), tf.TensorSpec([None, None], tf.int32)]
    traced = tf.function(found, input_signature=free)
    for images, count in ((1, 0), (2, 0), (0, 3)):
        given = (np.zeros((images, count, 4)), np.zeros((images, count)), np.zeros((images, count), np.int32))
        for one in (found, traced) if images else (traced,):
            assert listed(*[one(*given)[k] for k in (0, -1)]) == [[]] * images


def test_best_of_no_places_is_nothing():
    free = [tf.TensorSpec([None, None, 6]), tf.TensorSpec([None, None, 2])]
    for soft in (False, True):
        traced = tf.function(lambda b, s, soft=soft: suppression.best(b, s, most=3, soft=soft), input_signature=free)
        for one in (traced, lambda b, s, soft=soft: suppression.best(b, s, most=3, soft=soft)):
            boxes, _, labels, count = one(np.zeros((2, 0, 6)), np.zeros((2, 0, 2)))
            assert not np.array(boxes).any()
            np.testing.assert_array_equal(labels, -np.ones((2, 3)))
            np.testing.assert_array_equal(count, [0, 0])


def test_best_answers_a_place_once_for_each_class():
    boxes = np.array([[[0, 0, 4, 4], [0, 0, 4, 5], [8, 8, 12, 12]]], np.float32)
    scores = np.array([[[0.9, 0.2], [0.7, 0.8], [0.04, 0.5]]], np.float32)
    found, sure, labels, count = suppression.best(boxes, scores, most=5)
    np.testing.assert_array_equal(count, [3])
    np.testing.assert_array_equal(labels, [[0, 1, 1, -1, -1]])
    np.testing.assert_allclose(sure, [[0.9, 0.8, 0.5, 0.0, 0.0]])
    np.testing.assert_array_equal(found[0, :3], boxes[0])
    assert not np.array(found)[0, 3:].any()
    assert keras.ops.convert_to_numpy(labels).dtype == np.int32
    _, _, labels, count = suppression.best(boxes, scores, most=5, class_agnostic=True)
    np.testing.assert_array_equal(labels, [[0, 1, -1, -1, -1]])
    np.testing.assert_array_equal(suppression.best(boxes, scores, most=5, before=2)[3], [2])


def test_best_softly_lowers_scores_and_compiles():
    boxes = np.array([[[0, 0, 4, 4], [0, 0, 4, 4], [8, 8, 12, 12]]], np.float32)
    scores = np.array([[[0.9], [0.8], [0.5]]], np.float32)
    ask = tf.function(lambda boxes, scores: suppression.best(boxes, scores, most=4, soft=True), jit_compile=True)
    _, sure, labels, count = ask(boxes, scores)
    np.testing.assert_allclose(sure, [[0.9, 0.5, 0.8 * np.exp(-2.0), 0.0]], rtol=1e-5)
    np.testing.assert_array_equal(labels, [[0, 0, 0, -1]])
    np.testing.assert_array_equal(count, [3])


@pytest.mark.parametrize(
    ("shapes", "more", "told"),
    [
        (((1, 3, 5), (1, 3)), {}, "4 edges"),
        (((3, 4), (3,)), {}, "batch, n"),
        (((1, 3, 4), (1, 3)), {"most": 0}, "at least 1 box"),
        (((1, 3, 4), (1, 3)), {"iou_threshold": 1.5}, "from 0 to 1"),
        (((1, 3, 4), (1, 3)), {"most": 2.5}, "at least 1 box"),
        (((1, 3, 4), (1, 3)), {"score_threshold": float("nan")}, "score_threshold=nan"),
        (((1, 3, 4), (1, 2)), {}, r"scores of shape \(1, 2\) for boxes of shape \(1, 3, 4\): one number a box"),
        (((1, 3, 4), (1, 3)), {"groups": np.zeros((1, 4), int)}, r"groups of shape \(1, 4\)"),
    ],
)
def test_what_cannot_be_suppressed_is_refused(shapes, more, told):
    with pytest.raises(UserError, match=told):
        suppression.nms(*map(np.zeros, shapes), **more)


def test_settings_of_soft_nms_and_best_are_refused_by_name():
    with pytest.raises(UserError, match="hard"):
        suppression.soft_nms(np.zeros((1, 3, 4)), np.zeros((1, 3)), method="hard")
    with pytest.raises(UserError, match="sigma=nan"):
        suppression.soft_nms(np.zeros((1, 3, 4)), np.zeros((1, 3)), sigma=float("nan"))
    with pytest.raises(UserError, match="classes"):
        suppression.best(np.zeros((1, 3, 4)), np.zeros((1, 3)))
