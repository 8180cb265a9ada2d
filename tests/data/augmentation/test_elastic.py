"""Smooth displacements against scipy's splines; they never fold, and are undone for points."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import interpolate

from radkit import config
from radkit.data.augmentation import elastic
from tests.data.augmentation.regions import data_of

ONE = tf.constant([1, 2])


def drawn(size, spacing, seed=1, **settings):
    asked = config.Augment(**{"elastic_mm": 5.0, "elastic_spacing_mm": 14.0, **settings})
    return elastic.draw(tf.constant([seed, 3]), size, tf.constant(spacing), asked, data_of(len(size)))


@pytest.mark.parametrize(("size", "spacing"), [((20, 33), (1.5, 0.7)), ((9, 16, 13), (4.0, 1.0, 1.3))])
def test_the_field_is_the_tensor_product_of_scipys_splines(size, spacing):
    warp = drawn(size, spacing)
    expected = warp.points.numpy().astype(np.float64)
    for axis, extent in enumerate(size):
        count = expected.shape[axis + 1]
        knots = np.arange(-2.0, count + 2)  # so that spline n is centred on place n
        basis = interpolate.BSpline(knots, np.eye(count), 3, extrapolate=False)
        at = (np.arange(extent) - (extent - 1) / 2) * spacing[axis] / 14.0 + (count - 1) / 2
        expected = np.moveaxis(np.tensordot(basis(at), expected, (1, axis + 1)), 0, axis + 1)
    assert not np.isnan(expected).any()
    np.testing.assert_allclose(elastic.field(warp), expected, atol=1e-4)


def test_the_displacement_at_a_voxel_is_the_fields_and_is_held_beyond_the_patch():
    warp = drawn((9, 16, 13), (4.0, 1.0, 1.3))
    places = np.array([[0, 0, 0], [8, 15, 12], [3, 7, 11], [4, 0, 6]])
    expected = elastic.field(warp).numpy()[:, places[:, 0], places[:, 1], places[:, 2]].T
    np.testing.assert_allclose(elastic.at(warp, tf.constant(places, tf.float32)), expected, atol=1e-5)
    beyond = elastic.at(warp, tf.constant([[-30.0, 0, 0], [8, 15, 99]]))
    np.testing.assert_allclose(beyond, expected[:2], atol=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_the_largest_displacement_that_is_allowed_does_not_fold(seed):
    spacing = np.array([2.0, 1.0, 1.0])
    warp = drawn((20, 40, 40), spacing.tolist(), seed, elastic_mm=0.3999 * 12, elastic_spacing_mm=12.0)
    mm = elastic.field(warp).numpy() * spacing[:, None, None, None]
    assert np.abs(mm).max() <= 0.4 * 12
    steps = np.stack([np.stack(np.gradient(mm[a], *spacing), 0) for a in range(3)], 0)
    assert np.linalg.det(np.moveaxis(steps, (0, 1), (-2, -1)) + np.eye(3)).min() > 0


def test_displacements_are_millimetres_whatever_the_voxels():
    fine, coarse = drawn((41, 41), (0.5, 0.5)), drawn((11, 11), (2.0, 2.0))
    np.testing.assert_allclose(elastic.field(fine)[:, ::4, ::4] * 0.5, elastic.field(coarse) * 2.0, atol=1e-4)


def test_a_patch_wider_than_the_control_points_reach_is_moved_to_its_edges():
    warp = drawn((400, 30), (3.0, 1.0))
    edge = elastic.field(warp).numpy()[:, [0, -1]]
    assert (np.abs(edge).max(axis=(0, 2)) > 0.1).all()


def test_the_grid_of_control_points_fits_the_spacing_that_is_known():
    data = config.Data("ct", spacing_mm=(4.0, 1.0, 1.0))
    warp = elastic.draw(ONE, (9, 57, 43), tf.constant([4.0, 1, 1]), config.Augment(elastic_mm=3.0), data)
    assert warp.points.shape == (3, 6, 6, 6)


def test_where_it_does_not_happen_nothing_moves():
    warp = drawn((8, 9), (1.0, 1.0), chances=config.Chances(elastic=0.0))
    assert not elastic.field(warp).numpy().any()
    assert not elastic.at(warp, tf.constant([[3.0, 4.0]])).numpy().any()
