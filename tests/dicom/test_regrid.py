"""Interpolated and moved planes, against scipy's interpolation at the same places."""

import numpy as np
import pytest
import SimpleITK
from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st
from scipy import ndimage

from radkit.dicom import geometry, regrid
from tests import made_up

SEED = st.integers(0, 2**32 - 1)
SHAPE = st.tuples(st.integers(2, 6), st.integers(1, 7), st.integers(1, 7))
ANGLE = st.floats(-180, 180)
MM = st.floats(0.3, 4)
PLACES = st.builds(
    made_up.affine,
    st.tuples(MM, MM, MM),
    origin=st.tuples(*[st.floats(-300, 300)] * 3),
    tilt=st.one_of(st.floats(-40, -0.2), st.floats(0.2, 40)),
    angles=st.tuples(ANGLE, ANGLE, ANGLE),
)


def noise(shape, seed):
    return np.random.default_rng(seed).normal(0, 1000, shape).astype(np.float32)


def places_of(shape):
    k, j, i = np.indices(shape)
    return np.stack([i, j, k, np.ones_like(i)], axis=-1).astype(float)


@given(SHAPE, st.integers(1, 15), SEED)
def test_between_is_scipys_linear_interpolation(shape, count, seed):
    values = noise(shape, seed)
    places = np.sort(np.random.default_rng(seed).uniform(0, shape[0] - 1, count))
    at = np.stack(np.meshgrid(places, np.arange(shape[1]), np.arange(shape[2]), indexing="ij"))
    expected = ndimage.map_coordinates(values.astype(float), at, order=1, mode="nearest")
    found = regrid.between(values, places)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-3)


@given(SHAPE, SEED)
def test_between_gives_given_slices_back_as_they_are(shape, seed):
    values = noise(shape, seed)
    order = np.random.default_rng(seed).permutation(shape[0])
    np.testing.assert_array_equal(regrid.between(values, order.astype(float)), values[order])


def test_between_of_one_slice_is_that_slice():
    values = noise((1, 3, 4), 0)
    np.testing.assert_array_equal(regrid.between(values, np.zeros(3)), np.repeat(values, 3, axis=0))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_value_that_is_no_number_stays_in_its_slice(value):
    values = noise((4, 3, 4), 0)
    values[2, 1, 1] = value
    np.testing.assert_array_equal(regrid.between(values, np.arange(4.0)), values)


@pytest.mark.parametrize("dtype", [np.int16, np.uint16])
def test_extremes_are_not_wrapped(dtype):
    bounds = np.iinfo(dtype)
    values = np.array([bounds.min, bounds.max, bounds.min], np.float32).reshape(3, 1, 1)
    middle = (bounds.min + bounds.max) / 2
    found = regrid.between(values, np.array([0, 0.5, 1, 1.5, 2]))
    np.testing.assert_array_equal(found.ravel(), [bounds.min, middle, bounds.max, middle, bounds.min])


@given(SHAPE, PLACES, SEED, st.floats(-3000, 3000))
def test_upright_is_scipys_interpolation_at_the_same_places_in_the_patient(shape, place, seed, fill):
    values = noise(shape, seed)
    found, straight = regrid.upright(values, place, fill)
    index = places_of(found.shape) @ (np.linalg.inv(place) @ straight).T
    np.testing.assert_allclose(index[..., 2], places_of(found.shape)[..., 2], atol=1e-6)  # slices stay in their planes
    at = [places_of(found.shape)[..., 2], index[..., 1], index[..., 0]]
    expected = ndimage.map_coordinates(values.astype(float), at, order=1, mode="grid-constant", cval=fill)
    np.testing.assert_allclose(found, expected, atol=0.02)


@given(SHAPE, PLACES, SEED)
def test_upright_is_as_simpleitk_moves_each_slice(shape, place, seed):
    assume(min(shape[1:]) > 1)
    values = noise(shape, seed)
    found, straight = regrid.upright(values, place, 0.0)
    row_mm, column_mm = np.linalg.norm(place[:3, 1]), np.linalg.norm(place[:3, 0])
    for k in range(shape[0]):
        plane = SimpleITK.GetImageFromArray(values[k].astype(np.float64))
        plane.SetSpacing((column_mm, row_mm))
        # Where the new slice's first pixel lies in the given slice's plane.
        first = straight[:3, 3] + k * straight[:3, 2] - place[:3, 3] - k * place[:3, 2]
        origin = (float(first @ place[:3, 0] / column_mm), float(first @ place[:3, 1] / row_mm))
        size = (found.shape[2], found.shape[1])
        moved, inside = (
            SimpleITK.GetArrayFromImage(
                SimpleITK.Resample(image, size, SimpleITK.Transform(), SimpleITK.sitkLinear, origin, plane.GetSpacing())
            )
            for image in (plane, plane * 0 + 1)
        )
        at = origin / np.array([column_mm, row_mm])
        rows, columns = np.arange(size[1])[:, None] + at[1], np.arange(size[0]) + at[0]
        within = (rows >= 0) & (rows <= shape[1] - 1) & (columns >= 0) & (columns <= shape[2] - 1)
        np.testing.assert_allclose(found[k][within & (inside > 0)], moved[within & (inside > 0)], atol=0.02)


@given(SHAPE, PLACES)
def test_upright_makes_a_right_angled_grid_that_holds_every_voxel(shape, place):
    found, straight = regrid.upright(noise(shape, 0), place, 0.0)
    steps = straight[:3, :3]
    assert not geometry.is_sheared(steps)
    lengths = np.linalg.norm(steps, axis=0)
    np.testing.assert_allclose((steps / lengths).T @ (steps / lengths), np.eye(3), atol=1e-9)
    np.testing.assert_allclose(lengths[:2], np.linalg.norm(place[:3, :2], axis=0))
    index = places_of(shape) @ (np.linalg.inv(straight) @ place).T
    assert index[..., :3].min() > -1e-6
    assert (index[..., :3].reshape(-1, 3).max(axis=0) < np.array(found.shape[::-1]) - 1 + 1e-6).all()


@settings(phases=[Phase.explicit, Phase.generate])
@given(SHAPE, PLACES)
def test_upright_is_the_smallest_such_grid(shape, place):
    found, straight = regrid.upright(noise(shape, 0), place, 0.0)
    index = (places_of(shape) @ (np.linalg.inv(straight) @ place).T)[..., :2].reshape(-1, 2)
    assert (index.min(axis=0) < 1).all()
    assert (index.max(axis=0) > np.array([found.shape[2], found.shape[1]]) - 2).all()


@settings(max_examples=30)
@given(st.integers(-4, 4), st.integers(-4, 4), st.integers(2, 5), st.tuples(ANGLE, ANGLE, ANGLE))
def test_a_shear_of_whole_pixels_moves_values_unchanged(right, down, count, angles):
    assume(right or down)
    place = made_up.affine((2.0, 0.7, 0.9), angles=angles)
    place[:3, 2] += right * place[:3, 0] + down * place[:3, 1]
    values = noise((count, 5, 6), 1)
    found, _ = regrid.upright(values, place, -7.0)
    for k in range(count):
        top, left = max(0, -down * (count - 1)) + k * down, max(0, -right * (count - 1)) + k * right
        # Rounding of the angles may cost a row or column of `fill` at the edges.
        extra = np.array(found.shape[1:]) - [5 + abs(down) * (count - 1), 6 + abs(right) * (count - 1)]
        assert (extra >= 0).all()
        assert (extra <= 2).all()
        inner = [found[k, top + a : top + a + 5, left + b : left + b + 6] for a in range(3) for b in range(3)]
        assert any(part.shape == (5, 6) and np.allclose(part, values[k], atol=1e-2) for part in inner)
    assert (found != -7.0).sum() >= values.size


def test_upright_by_hand():
    values = np.arange(1.0, 5.0, dtype=np.float32).reshape(2, 1, 2)
    place = np.eye(4)
    place[0, 2] = 0.25  # the second slice lies a quarter of a pixel to the right
    found, straight = regrid.upright(values, place, 0.0)
    np.testing.assert_allclose(found, [[[1, 2, 0]], [[2.25, 3.75, 1]]])
    np.testing.assert_allclose(straight, np.eye(4))
