import itertools
import math

import numpy as np
import pytest

from radkit.metrics import surface_elements
from tests.metrics import made_up_masks

SPACING = (2.5, 0.8, 0.7)


def of_cube(code: int) -> np.ndarray:
    return np.array([code >> (7 - bit) & 1 for bit in range(8)]).reshape(2, 2, 2)


def code_of(cube: np.ndarray) -> int:
    return int(sum(int(voxel) << (7 - bit) for bit, voxel in enumerate(cube.ravel())))


def test_areas_are_those_of_surface_distance() -> None:
    # DeepMind's surface-distance 0.1, a code of each kind that turning and mirroring cannot make of another.
    expected = {
        1: 0.3394872052080903,
        3: 0.9187083323884682,
        5: 1.0384603988597736,
        7: 1.2984616156242708,
        15: 0.56,
        22: 1.018461615624271,
        23: 2.036923231248542,
        24: 0.6789744104161806,
        25: 1.6682554317999214,
        27: 2.541563133558163,
        30: 1.637948820832361,
        60: 1.8374166647769363,
        105: 1.3579488208323611,
        254: 0.3394872052080903,
    }
    sizes = surface_elements.sizes(SPACING)
    assert {code: sizes[code] for code in expected} == pytest.approx(expected, rel=1e-14)


def test_areas_turn_with_the_voxels_and_do_not_mind_which_side_is_inside() -> None:
    sizes = surface_elements.sizes(SPACING)
    for order in itertools.permutations(range(3)):
        turned = surface_elements.sizes([SPACING[axis] for axis in order])
        for code in range(256):
            cube = of_cube(code).transpose(order)
            assert turned[code_of(cube)] == pytest.approx(sizes[code])
            assert sizes[code_of(of_cube(code)[::-1, :, ::-1])] == pytest.approx(sizes[code])
            assert sizes[255 - code] == pytest.approx(sizes[code])


def test_no_surface_where_all_are_alike() -> None:
    for spacing, last in ((SPACING, 255), (SPACING[1:], 15)):
        assert np.flatnonzero(surface_elements.sizes(spacing) == 0).tolist() == [0, last]


def test_a_long_box_has_its_own_surface_up_to_its_cut_edges() -> None:
    mask = np.ones((10, 20, 30), bool)
    places, areas = surface_elements.elements(mask, (3.0, 2.0, 1.0))
    assert places.min(0).tolist() == [0, 0, 0]
    assert places.max(0).tolist() == [10, 20, 30]
    flat = 2 * (9 * 3 * 19 * 2 + 9 * 3 * 29 + 19 * 2 * 29)
    edges = 4 * (9 * 3 * math.hypot(2, 1) / 2 + 19 * 2 * math.hypot(3, 1) / 2 + 29 * math.hypot(3, 2) / 2)
    corners = 8 * math.sqrt(6**2 + 3**2 + 2**2) / 8
    assert areas.sum() == pytest.approx(flat + edges + corners)


def test_the_outline_of_a_rectangle_worked_by_hand() -> None:
    places, lengths = surface_elements.elements(np.ones((2, 4), bool), (3.0, 1.0))
    assert len(places) == 12
    assert lengths.sum() == pytest.approx(2 * (1 * 3 + 3 * 1) + 4 * math.hypot(3, 1) / 2)


def test_two_pixels_that_touch_at_a_corner_have_two_line_pieces_there() -> None:
    places, lengths = surface_elements.elements(np.eye(2, dtype=bool), (1.0, 1.0))
    at_middle = (places == 1).all(1)
    assert lengths[at_middle].tolist() == pytest.approx([math.sqrt(2)])


def test_codes_are_counted_as_a_loop_counts_them() -> None:
    mask = made_up_masks.organs()[0]
    places, areas = surface_elements.elements(mask, SPACING)
    padded, sizes = np.pad(mask, 1), surface_elements.sizes(SPACING)
    codes = {at: code_of(padded[tuple(slice(i, i + 2) for i in at)]) for at in np.ndindex(13, 21, 25)}
    expected = {at: sizes[code] for at, code in codes.items() if code not in (0, 255)}
    assert dict(zip(map(tuple, places.tolist()), areas.tolist())) == pytest.approx(expected)
