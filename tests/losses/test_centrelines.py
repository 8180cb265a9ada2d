"""Soft centrelines against scipy's grey morphology."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage

from radkit.losses import centrelines, segmentation
from tests.losses import made


def opened(image: np.ndarray) -> np.ndarray:
    return ndimage.grey_dilation(eroded(image), size=(3,) * image.ndim, mode="nearest")


def eroded(image: np.ndarray) -> np.ndarray:
    cross = ndimage.generate_binary_structure(image.ndim, 1)
    return ndimage.grey_erosion(image, footprint=cross, mode="nearest")


def skeleton(image: np.ndarray, iterations: int) -> np.ndarray:
    found = np.maximum(image - opened(image), 0)
    for _ in range(iterations):
        image = eroded(image)
        lost = np.maximum(image - opened(image), 0)
        found = found + np.maximum(lost - found * lost, 0)
    return found


@pytest.mark.parametrize("sizes", made.SHAPES)
@pytest.mark.parametrize("iterations", [0, 2])
def test_centreline_dice(sizes: tuple[int, ...], iterations: int) -> None:
    mask, logits = made.case(sizes, batch=2)
    p, expected = made.softmax(logits), []
    for b in range(2):
        sums = np.zeros(4)
        for k in (1, 2):
            truth, found = (mask[b, ..., 0] == k).astype(float), p[b, ..., k]
            of_truth, of_found = skeleton(truth, iterations), skeleton(found, iterations)
            sums += [(of_found * truth).sum(), of_found.sum(), (of_truth * found).sum(), of_truth.sum()]
        precision, sensitivity = (sums[0] + 1) / (sums[1] + 1), (sums[2] + 1) / (sums[3] + 1)
        expected.append(1 - 2 * precision * sensitivity / (precision + sensitivity + 1e-4))
    np.testing.assert_allclose(centrelines.cl_dice(mask, logits, iterations=iterations), expected, rtol=1e-5)
    both = centrelines.dice_and_cl_dice(mask, logits, iterations=iterations, share=0.25)
    np.testing.assert_allclose(both, 0.75 * segmentation.dice(mask, logits) + 0.25 * np.array(expected), rtol=1e-5)


@pytest.mark.parametrize("rank", [2, 3])
def test_where_several_voxels_are_the_largest_one_has_the_gradient(rank: int) -> None:
    values = tf.ones((1, *(5,) * rank, 1))
    with tf.GradientTape() as tape:
        tape.watch(values)
        pooled = tf.reduce_sum(centrelines._dilated(values))
    assert float(tf.reduce_sum(tape.gradient(pooled, values))) == 5**rank


def test_a_broken_vessel_costs_more_than_a_thin_one() -> None:
    truth = np.zeros((1, 30, 30, 1), np.uint8)
    truth[:, 12:17, 2:28] = 1
    thin, broken = truth.copy(), truth.copy()
    thin[:, 12], thin[:, 16] = 0, 0
    broken[:, :, 5:16] = 0
    costs = [
        float(centrelines.cl_dice(truth, 50.0 * np.eye(2, dtype=np.float32)[m[..., 0]])[0]) for m in (thin, broken)
    ]
    assert costs[0] < 0.05 < 0.2 < costs[1]
