"""Order, spacing and affine of slices, against grids made by hand."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from radkit.dicom import geometry
from tests import made_up

ANGLE = st.floats(-180, 180)
MM = st.floats(0.2, 8)


def parts(place, count):
    """Returns positions, ImageOrientationPatient and PixelSpacing of a grid's slices."""
    spacing = np.linalg.norm(place[:3, :2], axis=0)
    positions = place[:3, 3] + np.arange(count)[:, None] * place[:3, 2]
    return positions, np.concatenate([place[:3, 0] / spacing[0], place[:3, 1] / spacing[1]]), (spacing[1], spacing[0])


@given(st.tuples(MM, MM, MM), st.tuples(ANGLE, ANGLE, ANGLE), st.floats(-30, 30), st.integers(2, 30), st.randoms())
def test_any_grid_is_found_whatever_the_order(spacing, angles, tilt, count, random):
    place = made_up.affine(spacing, angles=angles, tilt=tilt)
    positions, orientation, pixel_spacing = parts(place, count)
    shuffle = list(range(count))
    random.shuffle(shuffle)
    found = geometry.stack(positions[shuffle], orientation, pixel_spacing, 1.0)
    np.testing.assert_allclose(found.affine, place, atol=1e-9)
    np.testing.assert_allclose(found.spacing_mm, spacing, rtol=1e-9)
    assert [shuffle[i] for i in found.order] == list(range(count))
    if abs(abs(tilt) - geometry.TILT_TOLERANCE_DEGREES) > 1e-6:  # there, rounding decides
        assert bool(found.findings) == (abs(tilt) > geometry.TILT_TOLERANCE_DEGREES)


def test_slices_against_the_normal_are_turned_so_that_the_grid_is_right_handed():
    positions, orientation, spacing = parts(made_up.affine(), 4)
    found = geometry.stack(positions[::-1], orientation, spacing, 1.0)
    assert np.linalg.det(found.affine[:3, :3]) > 0
    assert found.order == (3, 2, 1, 0)


def test_tilt_is_told_in_degrees_and_spacing_is_measured_along_the_normal():
    found = geometry.stack(*parts(made_up.affine((3.0, 1.0, 1.0), tilt=20), 3), 1.0)
    assert found.findings == ("tilt: slices are sheared by 20.00 degrees; the affine keeps it",)
    assert found.spacing_mm[0] == pytest.approx(3.0)
    assert np.linalg.norm(found.affine[:3, 2]) == pytest.approx(3.0 / np.cos(np.radians(20)))


@pytest.mark.parametrize(
    ("heights", "said"),
    [
        ([0, 2, 2, 4], "1 slice positions occur more than once"),
        ([0, 0], "1 slice positions occur more than once"),
        ([0, 2, 4, 8, 10], "1 slices are missing: gaps of 4.000 mm where the step is 2.000 mm"),
        ([0, 2, 8, 10, 16], "4 slices are missing: gaps of 6.000, 6.000 mm where the step is 2.000 mm"),
        ([0, 2, 4, 7.1, 9.1], "slice steps are irregular: 3.100 mm where the median is 2.000 mm"),
        ([0, 1, 2.5, 4.1, 5.2], "irregular"),
    ],
)
def test_what_is_no_regular_grid_is_refused_with_numbers(heights, said):
    positions = np.array([[0.0, 0.0, h] for h in heights])
    with pytest.raises(geometry.GeometryError) as caught:
        geometry.stack(positions, np.array([1.0, 0, 0, 0, 1, 0]), (1.0, 1.0), 1.0)
    assert said in str(caught.value)


@given(st.integers(4, 20), st.data())
def test_one_missing_slice_is_always_noticed(count, data):
    gone = data.draw(st.integers(1, count - 2))
    positions, orientation, spacing = parts(made_up.affine(angles=(10, 20, 30)), count)
    with pytest.raises(geometry.GeometryError, match=r"1 slices are missing|irregular"):
        geometry.stack(np.delete(positions, gone, axis=0), orientation, spacing, 1.0)


def test_a_slice_that_is_shifted_sideways_is_refused():
    positions, orientation, spacing = parts(made_up.affine(), 5)
    positions[2, 0] += 4
    with pytest.raises(geometry.GeometryError, match=r"not on one line: one lies 4\.000 mm"):
        geometry.stack(positions, orientation, spacing, 1.0)


def test_a_drift_of_small_steps_is_refused():
    steps = np.concatenate([np.full(50, 0.985), np.full(50, 1.015)])
    positions = np.zeros((101, 3))
    positions[1:, 2] = np.cumsum(steps)
    with pytest.raises(geometry.GeometryError, match="not on one line"):
        geometry.stack(positions, np.array([1.0, 0, 0, 0, 1, 0]), (1.0, 1.0), 1.0)


@given(st.integers(2, 40), st.integers(0, 2**32 - 1))
def test_rounded_positions_are_still_a_grid(count, seed):
    positions, orientation, spacing = parts(made_up.affine(angles=(3, 5, 7)), count)
    noise = np.random.default_rng(seed).uniform(-0.005, 0.005, positions.shape)
    found = geometry.stack(positions + noise, np.round(orientation, 3), spacing, 1.0)
    np.testing.assert_allclose(found.affine, made_up.affine(angles=(3, 5, 7)), atol=0.012)


@pytest.mark.parametrize(
    "orientation",
    [
        [0, 0, 0, 0, 0, 0], [1, 0, 0, 1, 0, 0], [2, 0, 0, 0, 0.5, 0], [1, 0, 0, 0.1, 0.995, 0], [1, 0, 0, 0, 0.9, 0],
        [float("nan"), 0, 0, 0, 1, 0], [float("inf"), 0, 0, 0, 1, 0],
    ],
)  # fmt: skip
def test_an_orientation_that_is_none_is_refused(orientation):
    with pytest.raises(geometry.GeometryError, match="ImageOrientationPatient"):
        geometry.axes(np.array(orientation, np.float64))


@given(st.tuples(ANGLE, ANGLE, ANGLE), st.integers(2, 6))
def test_axes_are_unit_vectors_even_of_rounded_cosines(angles, digits):
    orientation = np.round(parts(made_up.affine(angles=angles), 1)[1], digits)
    assume(np.abs(np.linalg.norm(orientation.reshape(2, 3), axis=1) - 1).max() < 0.009)
    assume(abs(orientation[:3] @ orientation[3:]) < 0.009)
    along_row, down_column, normal = geometry.axes(orientation)
    for vector in (along_row, down_column, normal):
        assert np.linalg.norm(vector) == pytest.approx(1)
    assert abs(normal @ along_row) + abs(normal @ down_column) < 1e-12


def test_one_slice_takes_its_thickness_for_the_step():
    positions, orientation, spacing = parts(made_up.affine(), 1)
    found = geometry.stack(positions, orientation, spacing, 4.0)
    assert found.spacing_mm == pytest.approx((4.0, 0.7, 0.8))
    assert found.findings == ("single slice: the step between slices is its thickness",)
