"""Distances against scipy's transform, and the losses that use them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage

from radkit.losses import boundary, distances, segmentation
from tests.losses import made


def one_by_one(inside: np.ndarray) -> np.ndarray:
    found = np.full(inside.shape, np.inf)
    for example in range(len(inside)):
        for channel in range(inside.shape[-1]):
            one = inside[example, ..., channel]
            if one.any():
                found[example, ..., channel] = ndimage.distance_transform_edt(~one)
    return found


@settings(max_examples=25)
@given(arrays.arrays(bool, st.tuples(*[st.integers(1, 6)] * 4), elements=st.booleans()))
def test_distances_are_scipys(inside: np.ndarray) -> None:
    found, expected = np.sqrt(distances.squared_distances(inside)), one_by_one(inside)
    np.testing.assert_allclose(found[np.isfinite(expected)], expected[np.isfinite(expected)], rtol=1e-6)
    assert (found[~np.isfinite(expected)] >= 1e6).all()


def test_distances_in_a_volume_are_scipys() -> None:
    inside = np.random.default_rng(0).random((2, 13, 6, 9, 3)) < 0.02
    inside[0, ..., 1] = False
    inside[1, 3:, :, :, 2] = False
    found, expected = np.sqrt(distances.squared_distances(inside)), one_by_one(inside)
    there = np.isfinite(expected)
    np.testing.assert_allclose(found[there], expected[there], rtol=1e-6)


def signed(one: np.ndarray) -> np.ndarray:
    if not one.any() or one.all():
        return np.zeros(one.shape)
    return np.where(one, 1 - ndimage.distance_transform_edt(one), ndimage.distance_transform_edt(~one))


@pytest.mark.parametrize("sizes", made.SHAPES)
def test_boundary_loss(sizes: tuple[int, ...]) -> None:
    mask, logits = made.case(sizes)
    p = made.softmax(logits)
    expected = [
        np.mean([(p[b, ..., k] * signed(mask[b, ..., 0] == k)).mean() for k in (1, 2)]) for b in range(len(mask))
    ]
    np.testing.assert_allclose(boundary.boundary(mask, logits), expected, rtol=1e-5)
    found = boundary.dice_and_boundary(mask, logits, boundary_weight=0.1)
    np.testing.assert_allclose(found, segmentation.dice(mask, logits) + 0.1 * np.array(expected), rtol=1e-5)


def edge(one: np.ndarray) -> np.ndarray:
    if not one.any() or one.all():
        return np.zeros(one.shape)
    return ndimage.distance_transform_edt(one) + ndimage.distance_transform_edt(~one)


@pytest.mark.parametrize("sizes", made.SHAPES)
@pytest.mark.parametrize("alpha", [1.0, 2.0])
def test_hausdorff_loss(sizes: tuple[int, ...], alpha: float) -> None:
    mask, logits = made.case(sizes)
    p = made.softmax(logits)
    expected = []
    for b in range(len(mask)):
        of_class = []
        for k in (1, 2):
            truth, found = mask[b, ..., 0] == k, p[b, ..., k]
            of_class.append(((truth - found) ** 2 * (edge(truth) ** alpha + edge(found > 0.5) ** alpha)).mean())
        expected.append(np.mean(of_class))
    np.testing.assert_allclose(boundary.hausdorff(mask, logits, alpha=alpha), expected, rtol=1e-5)
