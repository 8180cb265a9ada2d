"""Boxes in the patient: against SimpleITK's own geometry, there and back, and onto records' grids."""

import hypothesis
import numpy as np
import pytest
import SimpleITK
from hypothesis import strategies as st
from scipy.spatial import transform

from radkit.boxes import places
from radkit.data import annotate, resample
from radkit.dicom.annotations import form
from radkit.errors import UserError

BOXES = np.array([[0, 0, 0, 1, 1, 1], [2, 3.5, 1, 5, 4, 8.25]], np.float64)


def turned(angles: tuple[float, float, float], spacing_mm=(2.5, 0.7, 0.6), origin_mm=(-80.0, 12.5, 300.0)):
    """Returns origin, direction and spacing as records have them."""
    return np.array(origin_mm), transform.Rotation.from_euler("xyz", angles).as_matrix(), np.array(spacing_mm)


def test_middles_are_where_simpleitk_has_them() -> None:
    origin, direction, spacing = turned((0.3, -0.2, 1.1))
    image = SimpleITK.Image(9, 9, 9, SimpleITK.sitkUInt8)
    image.SetOrigin(origin.tolist())
    image.SetDirection(direction.ravel().tolist())
    image.SetSpacing(spacing[::-1].tolist())
    placed = places.to_mm(BOXES, places.affine(origin, direction, spacing))
    for box, centre, sides in zip(BOXES, placed.centres, placed.sides_mm):
        index = ((box[:3] + box[3:]) / 2 - 0.5)[::-1].tolist()
        assert np.allclose(centre, image.TransformContinuousIndexToPhysicalPoint(index))
        assert np.allclose(sides, (box[3:] - box[:3]) * spacing)


@hypothesis.given(
    st.tuples(*[st.floats(-3, 3)] * 3), st.tuples(*[st.floats(0.2, 6)] * 3), st.integers(2, 3), st.integers(0, 9)
)
def test_there_and_back_is_the_same(angles, spacing, rank, seed) -> None:
    low = np.random.default_rng(seed).uniform(-5, 50, (4, rank))
    boxes = np.concatenate([low, low + np.random.default_rng(seed + 1).uniform(0.5, 20, (4, rank))], axis=1)
    affine = places.affine(*turned(angles, spacing[-rank:]))
    assert np.allclose(places.to_voxels(places.to_mm(boxes, affine), affine), boxes, atol=1e-8)


def test_a_radiograph_lies_on_its_plane() -> None:
    affine = places.affine([10.0, 20.0, 5.0], np.eye(3), [0.5, 0.25])
    placed = places.to_mm(np.array([[0.0, 0.0, 4.0, 2.0]]), affine)
    assert placed.centres.tolist() == [[10 + 0.5 * 0.25, 20 + 1.5 * 0.5, 5]]
    assert placed.sides_mm.tolist() == [[2.0, 0.5]]


def test_corners_are_those_of_the_box_and_their_mean_its_middle() -> None:
    affine = np.diag([0.5, 1.0, 2.0, 1.0])
    found = places.corners(np.array([[0.0, 0.0, 0.0, 1.0, 2.0, 4.0]]), affine)
    assert found.shape == (1, 8, 3)
    assert found[0, 0].tolist() == [-0.25, -0.5, -1.0]
    assert found[0, 1].tolist() == [1.75, -0.5, -1.0]
    assert found[0, -1].tolist() == [1.75, 1.5, 1.0]
    turn = places.affine(*turned((1.0, 0.2, 0.4)))
    assert np.allclose(places.corners(BOXES, turn).mean(axis=1), places.to_mm(BOXES, turn).centres)
    assert places.corners(np.zeros((0, 4)), turn).shape == (0, 4, 3)


@pytest.mark.parametrize("wrong", [(np.nan, 1.0), (0.0, 1.0), (-1.0, 1.0)])
def test_what_is_not_known_has_no_affine(wrong) -> None:
    assert places.affine([0.0, 0.0, 0.0], np.eye(3), wrong) is None
    assert places.affine([np.nan, 0.0, 0.0], np.eye(3), (1.0, 1.0)) is None


def test_sides_in_mm() -> None:
    assert places.sides_mm(np.array([[1.0, 1.0, 3.0, 5.0]]), (0.5, 2.0)).tolist() == [[1.0, 8.0]]
    with pytest.raises(UserError, match="for boxes of 2 axes"):
        places.sides_mm(np.zeros((1, 4)), (1.0, 1.0, 1.0))


def test_a_shape_that_is_none_is_refused() -> None:
    with pytest.raises(UserError, match=r"boxes of shape \(6,\)"):
        places.to_mm(BOXES[0], np.eye(4))
    with pytest.raises(UserError, match="centres of shape"):
        places.to_voxels(places.Placed(np.zeros((2, 2)), np.zeros((2, 2))), np.eye(4))


def record_grid() -> resample.Grid:
    """Returns a record's grid of other voxels, in another order, cut out of the image."""
    source = np.array([[0, 0.5, 0, 2.0], [-2.0, 0, 0, 7.0], [0, 0, 1.25, 0.5], [0, 0, 0, 1]])
    return resample.Grid(source, (4, 6, 8), source)


def test_onto_a_records_grid_as_conversion_has_it_and_back() -> None:
    grid = record_grid()
    box = form.Box((1.0, 2.0, 3.0), (4.0, 7.0, 4.5))
    low, high = annotate._onto(box, grid)
    here = np.array([[*box.low, *box.high]])
    there = places.moved(here, np.linalg.inv(grid.source), grid.shape)
    assert np.allclose(there, [[*low, *high]])
    # What was not cut off comes back, and the axes with it.
    inside = np.array([[1.0, 1.0, 2.0, 3.0, 4.0, 6.0]])
    assert np.allclose(places.moved(places.moved(inside, grid.source), np.linalg.inv(grid.source)), inside, atol=1e-5)


def test_a_box_off_the_grid_is_left_without_extent() -> None:
    found = places.moved(np.array([[0.0, 0.0, 2.0, 2.0], [9.0, 9.0, 12.0, 12.0]]), np.eye(4), (8, 8))
    assert found.tolist() == [[0, 0, 2, 2], [8, 8, 8, 8]]
