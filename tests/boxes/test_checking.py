"""What is no box is refused, by its number and what is wrong."""

import subprocess
import sys

import numpy as np
import pytest

from radkit.boxes import checking
from radkit.errors import UserError

GOOD = [1.0, 2.0, 3.0, 4.0]


def test_boxes_and_none_at_all_pass() -> None:
    checking.check(np.array([GOOD, [-1.0, 0.0, 2.0, 99.0]]), (8, 8))
    checking.check(np.zeros((0, 6)))
    checking.check(np.array([[100.0, 0.0, 0.0, 101.0, 1.0, 1.0]]))  # of no image in particular


@pytest.mark.parametrize(
    ("box", "said"),
    [
        ([3.0, 2.0, 3.0, 4.0], "box 1 of case 7 .3 2 to 3 4. has no extent along axis 0"),
        ([1.0, 5.0, 3.0, 4.0], "has no extent along axis 1"),
        ([0.0, 0.0, 0.0, 0.0], "has no extent along axis 0"),
        ([1.0, np.nan, 3.0, 4.0], "has an edge that is no number"),
        ([1.0, 2.0, np.inf, 4.0], "has an edge that is no number"),
        ([8.0, 2.0, 9.0, 4.0], "lies outside of the image, which is 8 x 8"),
        ([1.0, -3.0, 3.0, 0.0], "lies outside of the image"),
    ],
)
def test_what_is_no_box_is_refused_by_name(box: list[float], said: str) -> None:
    with pytest.raises(UserError, match=said):
        checking.check(np.array([GOOD, box]), (8, 8), "case 7")


def test_an_array_of_other_edges_is_refused() -> None:
    with pytest.raises(UserError, match=r"boxes of case 7 of shape \(2, 5\)"):
        checking.check(np.zeros((2, 5)), whose="case 7")


def test_boxes_of_another_rank_than_the_images_are_refused() -> None:
    with pytest.raises(UserError, match="boxes of 2 axes in case 7 of 3"):
        checking.check(np.array([GOOD]), (8, 8, 8), "case 7")


def test_what_workers_and_clients_use_loads_no_keras() -> None:
    names = ("checking", "fitting", "masks", "places")
    code = f"import {', '.join(f'radkit.boxes.{name}' for name in names)}, sys; print('keras' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "False"
