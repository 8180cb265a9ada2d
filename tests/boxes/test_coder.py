"""Offsets and distances: by hand, there and back, and finite whatever a network says."""

import hypothesis
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies as st

from radkit.boxes import coder
from tests.boxes import made

RANKS = pytest.mark.parametrize("rank", [2, 3])


def test_offsets_by_hand() -> None:
    anchor, box = np.array([[10.0, 20.0, 14.0, 28.0]], np.float32), np.array([[11.0, 18.0, 19.0, 26.0]], np.float32)
    # Middles (12, 24) and (15, 22), sides (4, 8) and (8, 8).
    wanted = np.array([[3 / 4, -2 / 8, np.log(2), 0]])
    assert np.allclose(coder.encode(box, anchor), wanted, atol=1e-6)
    assert np.allclose(coder.encode(box, anchor, (0.1, 0.2)), wanted * [10, 10, 5, 5], atol=1e-5)
    assert np.allclose(coder.decode(wanted.astype(np.float32), anchor), box, atol=1e-5)
    cube = np.array([[0.0, 0, 0, 2, 4, 8]], np.float32)
    assert np.allclose(coder.encode(cube + 1, cube), [[1 / 2, 1 / 4, 1 / 8, 0, 0, 0]])


def test_distances_by_hand() -> None:
    cell, box = np.array([[8.0, 8.0, 16.0, 16.0]], np.float32), np.array([[4.0, 10.0, 20.0, 13.0]], np.float32)
    wanted = [[8 / 8, 2 / 8, 8 / 8, 1 / 8]]  # of the middle, (12, 12)
    assert np.allclose(coder.encode_distances(box, cell), wanted)
    assert np.allclose(coder.decode_distances(np.array(wanted, np.float32), cell), box)
    outside = coder.encode_distances(np.array([[0.0, 0.0, 8.0, 8.0]], np.float32), cell)
    assert np.array(outside).min() < 0  # the middle is not within the box


@hypothesis.given(st.integers(0, 10_000), st.integers(2, 3), st.sampled_from([(1.0, 1.0), (0.1, 0.2)]))
@hypothesis.settings(max_examples=25)
def test_there_and_back_is_the_same(seed: int, rank: int, scales: tuple[float, float]) -> None:
    random = np.random.default_rng(seed)
    boxes, anchors = made.boxes(random, 20, rank, 200.0), made.boxes(random, 20, rank, 200.0)
    assert np.allclose(coder.decode(coder.encode(boxes, anchors, scales), anchors, scales), boxes, atol=1e-2)
    assert np.allclose(coder.decode_distances(coder.encode_distances(boxes, anchors), anchors), boxes, atol=1e-2)


@RANKS
def test_padding_is_finite_on_either_side_and_so_is_its_gradient(rank: int) -> None:
    boxes = np.stack([np.zeros(2 * rank), made.boxes(np.random.default_rng(0), 1, rank)[0]]).astype(np.float32)
    for a, b in ((boxes, boxes[::-1]), (boxes, np.zeros_like(boxes)), (np.zeros_like(boxes), boxes)):
        given = tf.Variable(a)
        with tf.GradientTape() as tape:
            found = coder.encode(given, tf.constant(b.copy()))
        assert np.isfinite(found).all()
        assert np.isfinite(tape.gradient(found, given)).all()


@RANKS
def test_no_answer_of_a_network_makes_a_box_that_is_no_number(rank: int) -> None:
    anchors = made.boxes(np.random.default_rng(0), 3, rank)
    deltas = tf.Variable(np.full((3, 2 * rank), 1e4, np.float32))
    with tf.GradientTape() as tape:
        found = coder.decode(deltas, tf.constant(anchors))
    assert np.isfinite(found).all()
    assert np.isfinite(tape.gradient(found, deltas)).all()
    longest = np.array(found)[:, rank:] - np.array(found)[:, :rank]
    assert np.allclose(longest, (anchors[:, rank:] - anchors[:, :rank]) * 62.5, rtol=0.1)
    assert np.isfinite(coder.decode(-deltas, tf.constant(anchors))).all()


# Of torchvision 0.29.2's BoxCoder, weights (10, 10, 5, 5), which counts (x, y): turned to (rows, columns).
BOXES = [[12.0, 30.0, 40.0, 70.0], [5.0, 5.0, 9.0, 50.0]]
ANCHORS = [[10.0, 20.0, 42.0, 84.0], [0.0, 0.0, 16.0, 32.0]]
THEIRS = [
    [0.0, -0.3125, -0.6676569581031799, -2.350018262863159],
    [-0.625, 3.59375, -6.931471824645996, 1.7046329975128174],
]


def test_offsets_are_those_of_torchvision() -> None:
    found = coder.encode(np.array(BOXES, np.float32), np.array(ANCHORS, np.float32), (0.1, 0.2))
    assert np.allclose(found, THEIRS, atol=1e-5)
