import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from radkit.boxes import roi_align
from radkit.errors import UserError
from tests.boxes import made


def value(image, point):
    """The linear value at a point between voxels' middles, by hand: edges hold half a voxel and one more, then 0."""
    if any(x - 0.5 < -1.0 or x - 0.5 > size for x, size in zip(point, image.shape)):
        return 0.0
    at = [min(max(x - 0.5, 0.0), size - 1.0) for x, size in zip(point, image.shape)]
    return float(ndimage.map_coordinates(image.astype(np.float64), [[x] for x in at], order=1)[0])


def plain(image, box, size, samples):
    """One box of one channel, its cells' means; the box in the map's voxels."""
    rank = image.ndim
    found = np.zeros(size)
    for cell in itertools.product(*map(range, size)):
        points = itertools.product(range(samples), repeat=rank)
        side = [(box[rank + k] - box[k]) / size[k] for k in range(rank)]
        of_cell = [
            value(image, [box[k] + (cell[k] + (point[k] + 0.5) / samples) * side[k] for k in range(rank)])
            for point in points
        ]
        found[cell] = np.mean(of_cell)
    return found


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10**6), rank=st.sampled_from([2, 3]), samples=st.sampled_from([1, 2, 3]))
def test_it_is_the_linear_reading_of_each_level(seed, rank, samples):
    random = np.random.default_rng(seed)
    size = (2, 3, 2)[-rank:]
    strides = [(2, 2, 2)[:rank], (2, 4, 4)[-rank:]]
    maps = [random.normal(size=(2, *[14 // step + 1 for step in level], 2)).astype(np.float32) for level in strides]
    boxes = np.stack([made.boxes(random, 3, rank, 14.0) for _ in range(2)])
    boxes[:, 0] += 9.0  # reaches out of the image behind
    boxes[:, 1] -= 7.0
    levels = random.integers(0, 2, (2, 3))
    found = roi_align.roi_align(maps, boxes, levels, strides, size, samples)
    assert found.shape == (2, 3, *size, 2)
    for image, box, channel in itertools.product(range(2), range(3), range(2)):
        level = levels[image, box]
        placed = boxes[image, box] / np.tile(strides[level], 2)
        expected = plain(maps[level][image, ..., channel], placed, size, samples)
        np.testing.assert_allclose(np.array(found)[image, box, ..., channel], expected, atol=2e-5)


def test_a_ramp_is_read_where_it_is():
    ramp = np.broadcast_to(np.arange(16.0, dtype=np.float32)[:, None] + 0.5, (16, 16))[None, ..., None]
    found = roi_align.roi_align([ramp], np.array([[[4.0, 4.0, 8.0, 6.0]]]), None, [1], size=2)
    np.testing.assert_allclose(found[0, 0, :, :, 0], [[5.0, 5.0], [7.0, 7.0]], rtol=1e-6)


def test_it_is_the_same_compiled_and_with_free_sizes_and_gradients_reach_the_maps():
    random = np.random.default_rng(0)
    maps = [random.normal(size=(2, 8, 8, 3)).astype(np.float32), random.normal(size=(2, 4, 4, 3)).astype(np.float32)]
    boxes = np.stack([made.boxes(random, 4, 2, 32.0) for _ in range(2)])
    boxes[1, -1] = 0.0

    def ask(first, second, boxes):
        with tf.GradientTape() as tape:
            tape.watch([first, second, boxes])
            found = roi_align.roi_align([first, second], boxes, None, [4, 8], 3, samples=1)
            total = tf.reduce_sum(found)
        return found, tape.gradient(total, [first, second, boxes], unconnected_gradients=tf.UnconnectedGradients.ZERO)

    given_ = [tf.constant(x) for x in (*maps, boxes)]
    found, gradients = tf.function(ask, jit_compile=True)(*given_)
    free = [tf.TensorSpec((None, None, None, 3))] * 2 + [tf.TensorSpec((None, None, 4))]
    freely, again = tf.function(ask, input_signature=free)(*given_)
    np.testing.assert_allclose(found, freely, rtol=1e-5, atol=1e-6)
    assert np.isfinite(found).all()
    for one, other in zip(gradients, again):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    assert np.array(gradients[0]).any()
    assert not np.array(gradients[2]).any()
    # All of a box's points are within the image, so each of 3 x 3 cells of 3 channels gives 1.
    inside = sum(float(np.sum(g)) for g in gradients[:2])
    assert inside == pytest.approx(2 * 4 * 9 * 3, rel=1e-4)


def test_levels_are_those_of_the_paper():
    sides = np.array([10.0, 56.0, 111.0, 113.0, 223.9, 224.0, 448.0, 2000.0])
    boxes = np.concatenate([np.zeros((8, 2)), np.stack([sides, sides], -1)], -1)[None].astype(np.float32)
    expected = np.clip(np.floor(4 + np.log2(sides / 224)), 2, 5) - 2
    np.testing.assert_array_equal(roi_align.by_size(boxes, [4, 8, 16, 32]), [expected])
    flat = np.array([[[0, 0, 0, 14, 56, 56]]], np.float32)  # a slice is 4 voxels thick
    np.testing.assert_array_equal(roi_align.by_size(flat, [(1, 2, 2), (1, 4, 4), (2, 8, 8)]), [[1]])


def test_features_keep_their_dtype():
    maps = [keras.ops.ones((1, 4, 4, 2), "bfloat16")]
    found = roi_align.roi_align(maps, np.array([[[0.0, 0, 4, 4]]], np.float32), None, [1])
    assert keras.backend.standardize_dtype(found.dtype) == "bfloat16"
    assert found.shape == (1, 1, 7, 7, 2)


@pytest.mark.parametrize(
    ("strides", "size", "samples"), [([1, 2], 7, 2), ([(1, 1, 1)], 7, 2), ([1], (7, 7, 7), 2), ([1], 0, 2), ([1], 7, 0)]
)
def test_what_does_not_belong_together_is_refused(strides, size, samples):
    with pytest.raises(UserError, match=r"expected"):
        roi_align.roi_align([np.zeros((1, 4, 4, 1))], np.zeros((1, 1, 4)), None, strides, size, samples)


def test_edges_that_are_no_numbers_read_nothing():
    boxes = np.array([[[0, 0, 4, 4], [np.nan, 0, 4, 4], [0, -np.inf, 4, np.inf]]], np.float32)
    found = roi_align.roi_align([np.ones((1, 4, 4, 1), np.float32)], boxes, None, [1], size=2)
    np.testing.assert_array_equal(np.array(found)[0, :, 0, 0, 0], [1.0, 0.0, 0.0])
