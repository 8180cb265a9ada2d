import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from radkit.metrics import thinning
from tests.metrics import made_up_masks

STEPS = [step for step in itertools.product((-1, 0, 1), repeat=3) if any(step)]


def test_the_skeleton_of_a_branched_tube_is_that_of_other_software() -> None:
    # scikit-image 0.26.0, morphology.skeletonize; all of it lies in plane 4, here row: columns.
    rows = {2: "22-25", 3: "19-21 26-28", 4: "16-18", 5: "1-3 13-15", 6: "4-12 15", 7: "15", 8: "15", 9: "15", 10: "15"}
    found = np.argwhere(thinning.skeleton(made_up_masks.vessels()[0]))
    assert {tuple(at) for at in found.tolist()} == {(4, *at) for at in told(rows)}


def test_the_skeleton_of_a_slice_is_that_of_other_software() -> None:
    # scikit-image 0.26.0, morphology.skeletonize.
    rows = {
        2: "0 20-27",
        3: "0 17-19",
        4: "1 16",
        5: "2-5 14-15",
        6: "6-13 15",
        7: "15",
        8: "15",
        9: "14",
        10: "14",
    }
    found = np.argwhere(thinning.skeleton(made_up_masks.vessels()[0][4]))
    assert {tuple(at) for at in found.tolist()} == told(rows)


def told(rows: dict[int, str]) -> set[tuple[int, int]]:
    parts = [(row, *map(int, part.split("-"))) for row, line in rows.items() for part in line.split()]
    return {(row, column) for row, first, *last in parts for column in range(first, (last or [first])[0] + 1)}


def neighbourhood(code: int, middle: bool) -> np.ndarray:
    cube = np.zeros((3, 3, 3), bool)
    for bit, (z, y, x) in enumerate(STEPS):
        cube[1 + z, 1 + y, 1 + x] = code >> bit & 1
    cube[1, 1, 1] = middle
    return cube


def euler_characteristic(voxels: np.ndarray) -> int:
    """Counts points, lines, faces and cubes of the closed voxels: a cell has a coordinate 2 i (a wall) or 2 i + 1."""
    cells = {tuple(2 * at + 1 + step) for at in np.argwhere(voxels) for step in [(0, 0, 0), *STEPS]}
    return sum((-1) ** sum(int(c) % 2 for c in cell) for cell in cells)


@settings(deadline=None, max_examples=80)
@given(st.integers(0, 2**26 - 1))
def test_who_may_leave_is_what_counting_cells_and_parts_says(code: int) -> None:
    without, held = neighbourhood(code, False), neighbourhood(code, True)
    parts = ndimage.label(without, np.ones((3, 3, 3)))[1]
    is_end = without.sum() == 1
    stays_alike = euler_characteristic(without) == euler_characteristic(held)
    assert thinning._may_go(code) == (not is_end and stays_alike and parts <= 1)
    assert thinning._hangs_together(code) == (parts <= 1)


@settings(deadline=None, max_examples=30)
@given(hnp.arrays(bool, st.sampled_from([(4, 5, 6), (1, 6, 6), (9, 9)])))
def test_a_skeleton_lies_within_its_mask_which_stays_as_it_was(mask: np.ndarray) -> None:
    before = mask.copy()
    found = thinning.skeleton(mask)
    assert (mask == before).all()
    assert found.shape == mask.shape
    assert not (found & ~mask).any()


def test_a_ring_stays_a_ring() -> None:
    z, y, x = np.ogrid[:7, :21, :21]
    ring = (np.hypot(y - 10, x - 10) - 7) ** 2 + (z - 3) ** 2 < 5
    for mask in (ring, ring[3]):
        line = thinning.skeleton(mask)
        around = [np.count_nonzero(line[tuple(slice(i - 1, i + 2) for i in at)]) for at in np.argwhere(line)]
        assert set(around) == {3}  # itself and one neighbour on either side


@pytest.mark.parametrize(("edge", "n_3d", "n_2d"), [(1, 1, 1), (2, 0, 2), (3, 3, 2), (4, 0, 3)])
def test_of_small_cubes_and_squares_is_left_what_scikit_image_leaves(edge: int, n_3d: int, n_2d: int) -> None:
    mask = np.zeros((8, 8, 8), bool)
    mask[2 : 2 + edge, 2 : 2 + edge, 2 : 2 + edge] = True
    assert np.count_nonzero(thinning.skeleton(mask)) == n_3d
    assert np.count_nonzero(thinning.skeleton(mask[2])) == n_2d
