"""Contours as masks: against exact arithmetic; and masks as contours, there and back."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radkit.dicom.annotations import contours

SHAPE = (7, 8)
# Places of two decimals are off by a whole number of hundredths: none is off by just this.
TOLERANCE = 0.0105
SQUARE = np.array([(0, 0), (0, 1), (1, 1), (1, 0)], float)


def exactly(points, shape):
    """Returns what `fill` should of one contour, by whole-number arithmetic, one voxel after the other."""
    corners = [(Fraction(row), Fraction(column)) for row, column in points]
    edges = list(zip(corners, corners[1:] + corners[:1]))
    inside = np.zeros(shape, bool)
    for row, column in np.ndindex(shape):
        crossed = False
        for (r0, c0), (r1, c1) in edges:
            way = (r1 - r0, c1 - c0)
            long = way[0] ** 2 + way[1] ** 2
            share = min(max(((row - r0) * way[0] + (column - c0) * way[1]) / long, 0), 1) if long else 0
            off = (row - r0 - share * way[0]) ** 2 + (column - c0 - share * way[1]) ** 2
            reach = Fraction(TOLERANCE) if along_centres((r0, c0), (r1, c1)) else Fraction(1, 10_000)
            if off <= reach**2:
                inside[row, column] = True
            if (r0 <= row) != (r1 <= row) and c0 + (row - r0) * way[1] / way[0] < column:
                crossed = not crossed
        inside[row, column] |= crossed
    return inside


def along_centres(start, end):
    """Tells whether an edge runs along a row's or a column's centres, or from one centre to another."""
    begins, ends = ([abs(x - round(x)) <= TOLERANCE for x in point] for point in (start, end))
    same = any(at and abs(b - round(a)) <= TOLERANCE for at, a, b in zip(begins, start, end))
    return same or (all(begins) and all(ends))


def places(low, high):
    return st.integers(low * 4, high * 4).map(lambda quarter: quarter / 4)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(places(-3, 10), places(-3, 11)), min_size=1, max_size=9))
def test_any_contour_is_filled_as_exact_arithmetic_says(points):
    points = np.array(points)
    found = contours.fill([points], SHAPE, tolerance=TOLERANCE)
    np.testing.assert_array_equal(found, exactly(points.tolist(), SHAPE))
    for same in ([points[::-1]], [points, np.roll(points, 1, axis=0)]):
        np.testing.assert_array_equal(contours.fill(same, SHAPE, tolerance=TOLERANCE), found)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_long_contours_of_decimal_places_are_filled_as_exact_arithmetic_says(seed):
    rng = np.random.default_rng(seed)
    angle = np.sort(rng.uniform(0, 2 * np.pi, 60))
    radius = rng.uniform(3, 12, 60)
    points = np.stack([9 + radius * np.sin(angle), 11 + radius * np.cos(angle)], axis=1).round(2)
    found = contours.fill([points], (18, 20), tolerance=TOLERANCE)
    np.testing.assert_array_equal(found, exactly(points.tolist(), (18, 20)))


def test_what_lies_on_the_path_is_inside_as_far_as_decimal_strings_tell():
    expected = np.zeros(SHAPE, bool)
    expected[2:5, 1:5] = True
    exact = SQUARE * (2, 3) + (2, 1)
    for off in (0, 0.007, -0.007):
        np.testing.assert_array_equal(contours.fill([exact + off], SHAPE), expected)
    assert contours.fill([exact + 0.02], SHAPE).sum() == 6


def test_a_centre_beside_a_contour_that_runs_anywhere_is_outside():
    slanted = np.array([(0.0, 2.495), (6.0, 3.495), (6.0, 7.0), (0.0, 7.0)])  # row 3 is passed at column 2.995
    assert np.flatnonzero(contours.fill([slanted], SHAPE)[3])[0] == 3
    assert np.flatnonzero(contours.fill([slanted + (0, 0.008)], SHAPE)[3])[0] == 4


def test_a_disc_is_what_lies_within_it():
    angle = np.linspace(0, 2 * np.pi, 200, endpoint=False) + 0.1
    for radius in np.linspace(8, 24.9, 80):
        disc = np.stack([31.3 + radius * np.sin(angle), 34.7 + radius * np.cos(angle)], axis=1)
        found = contours.fill([disc], (64, 70), tolerance=contours.tolerance(disc * 0.7, 0.7))
        row, column = np.indices(found.shape)
        way = 0.5 * np.pi / 100
        share = (np.arctan2(row - 31.3, column - 34.7) - 0.1) % (2 * way) - way  # from the middle of a side
        apothem = radius * np.cos(way)
        np.testing.assert_array_equal(found, np.hypot(row - 31.3, column - 34.7) * np.cos(share) <= apothem)


def test_as_many_decimals_as_places_have_say_how_far_off_they_may_be():
    places = np.random.default_rng(0).uniform(-300, 300, (50, 3))
    assert contours.tolerance(places.round(2), 0.8) == pytest.approx(0.005 * 2**0.5 / 0.8)
    assert contours.tolerance(places.round(2), 0.1) == contours.TOLERANCE
    assert contours.tolerance(places.round(3), 0.4) == pytest.approx(0.0005 * 2**0.5 / 0.4)
    assert contours.tolerance(places, 0.4) == pytest.approx(0.001)


def test_a_contour_without_area_is_its_path():
    assert np.argwhere(contours.fill([np.array([(2.0, 3.0)])], SHAPE)).tolist() == [[2, 3]]
    line = np.array([(1.0, 1.0), (3.0, 3.0)])
    assert np.argwhere(contours.fill([line], SHAPE)).tolist() == [[1, 1], [2, 2], [3, 3]]


def test_a_disc_has_its_area():
    angle = np.linspace(0, 2 * np.pi, 2000, endpoint=False)
    for radius in (20.0, 101.3):
        disc = np.stack([128 + radius * np.sin(angle), 127 + radius * np.cos(angle)], axis=1)
        found = contours.fill([disc], (256, 256))
        row, column = np.indices(found.shape)
        from_centre = np.hypot(row - 128, column - 127)
        assert found[from_centre < radius * np.cos(np.pi / 2000)].all()
        assert not found[from_centre > radius + contours.TOLERANCE].any()


def square(low, high):
    """Returns a square along voxels' edges that holds voxels `low` to `high`."""
    return SQUARE * (high - low + 1) + (low - 0.5)


def test_a_contour_in_another_is_a_hole_and_one_in_the_hole_is_inside():
    rings = [square(2, 3), square(0, 9), square(1, 7)]
    expected = np.ones((10, 10), bool)
    expected[1:8, 1:8] = False
    expected[2:4, 2:4] = True
    for order in ([0, 1, 2], [2, 1, 0], [1, 0, 2]):
        for exclusive in (False, True):
            found = contours.fill([rings[i][:: 1 - 2 * (i % 2)] for i in order], (10, 10), exclusive)
            np.testing.assert_array_equal(found, expected)


def test_a_hole_may_touch_its_structure():
    found = contours.fill([square(0, 6), square(0, 2)], (7, 7))
    assert found.sum() == 49 - 9
    path = contours.fill([square(0, 6), SQUARE * 2], (7, 7))
    assert path.sum() == 49 - 1  # of voxels 0 to 2, all but the middle one lie on the hole's path


def test_the_path_of_a_hole_is_inside():
    found = contours.fill([SQUARE * 6, SQUARE * 2 + 2], (7, 7))
    assert np.argwhere(~found).tolist() == [[3, 3]]


def test_contours_that_cross_are_united_unless_they_exclude_each_other():
    two = [square(0, 4), square(3, 6)]
    assert contours.fill(two, (7, 7)).sum() == 25 + 16 - 4
    assert contours.fill(two, (7, 7), exclusive=True).sum() == 25 + 16 - 8


def test_the_same_contour_twice_counts_once_unless_it_excludes_itself():
    assert contours.fill([square(1, 4), np.roll(square(1, 4)[::-1], 1, axis=0)], (7, 7)).sum() == 16
    assert contours.fill([square(1, 4), square(1, 4)], (7, 7), exclusive=True).sum() == 0


def test_a_hole_of_two_united_structures_is_a_hole():
    parts = [square(0, 5), SQUARE * (6, 9) + (-0.5, 1.5), SQUARE * (2, 2) + (1.5, 2.5)]
    found = contours.fill(parts, (6, 11))
    assert found.sum() == 6 * 11 - 4


def test_a_keyhole_loses_and_adds_nothing():
    outer, inner = square(0, 8), square(3, 5)
    expected = np.ones((9, 9), bool)
    expected[3:6, 3:6] = False
    for row in (4.0, 4.3):  # along a row of voxels' centres, and beside one
        there, back = [(row, -0.5), (row, 2.5)], [(row + 0.004, 2.5), (row + 0.004, -0.5)]
        keyhole = np.array([outer[0], *there, *inner[[3, 2, 1, 0]], *back, *outer[[3, 2, 1]]])
        np.testing.assert_array_equal(contours.fill([keyhole], (9, 9)), expected)


def test_what_lies_beyond_the_slice_is_cut_off():
    assert contours.fill([square(-3, 2)], (5, 5)).sum() == 9
    assert contours.fill([square(-4000, 4000)], (5, 5)).all()
    assert not contours.fill([square(7, 9)], (5, 5)).any()
    assert contours.fill([square(-9, 9), square(-8, 1)], (5, 5)).sum() == 25 - 4


MASKS = st.tuples(st.integers(1, 12), st.integers(1, 12), st.integers(0, 999), st.sampled_from([0.1, 0.4, 0.6, 0.9, 1]))


@settings(max_examples=200, deadline=None)
@given(MASKS, st.sampled_from([0.0, 0.01, 0.4]), st.booleans(), st.booleans())
def test_a_mask_is_traced_and_filled_again(mask, inset, keyholes, exclusive):
    rows, columns, seed, share = mask
    inside = np.random.default_rng(seed).random((rows, columns)) < share
    traced = contours.trace(inside, inset, keyholes)
    np.testing.assert_array_equal(contours.fill(traced, inside.shape, exclusive), inside)


@settings(max_examples=60, deadline=None)
@given(MASKS)
def test_keyholes_are_right_by_winding_as_well_as_by_even_and_odd(mask):
    rows, columns, seed, share = mask
    inside = np.random.default_rng(seed).random((rows, columns)) < share
    wound = np.zeros(inside.shape, int)
    for points in contours.trace(inside, 0.01, keyholes=True):
        ends = np.roll(points, -1, axis=0)
        for row, column in np.ndindex(*inside.shape):
            # Upright edges alone cross a level line.
            left = points[:, 1] < column
            wound[row, column] += int((left & (points[:, 0] > row) & (ends[:, 0] <= row)).sum())
            wound[row, column] -= int((left & (points[:, 0] <= row) & (ends[:, 0] > row)).sum())
    np.testing.assert_array_equal(wound, inside)


def test_contours_follow_edges_from_corner_to_corner():
    inside = np.zeros((4, 5), bool)
    inside[1:3, 1:4] = True
    (points,) = contours.trace(inside)
    assert points.tolist() == [[0.5, 0.5], [0.5, 3.5], [2.5, 3.5], [2.5, 0.5]]
    (points,) = contours.trace(inside, inset=0.125)
    assert points.tolist() == [[0.625, 0.625], [0.625, 3.375], [2.375, 3.375], [2.375, 0.625]]
    assert contours.trace(np.zeros((3, 3), bool)) == []


def test_voxels_that_touch_by_a_corner_are_two_contours():
    assert len(contours.trace(np.eye(2, dtype=bool))) == 2
    holes = ~np.pad(np.eye(2, dtype=bool), 1)
    assert len(contours.trace(holes)) == 2  # the outer one, and the two holes as one
    assert len(contours.trace(holes, keyholes=True)) == 1
