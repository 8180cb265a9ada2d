import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radkit.errors import UserError
from radkit.metrics import METRICS, boxes
from tests.metrics import made_up_boxes


@pytest.mark.parametrize("rank", [2, 3])
@settings(deadline=None, max_examples=40)
@given(st.integers(0, 1000))
def test_overlap_is_that_of_counted_voxels(rank: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    a, b = (made_up_boxes.box(generator, rank, 8, reach=6) for _ in range(2))
    inside = []
    for one in (a, b):
        mask = np.zeros((14,) * rank, bool)
        mask[tuple(slice(low, high) for low, high in zip(one[:rank], one[rank:]))] = True
        inside.append(mask)
    expected = (inside[0] & inside[1]).sum() / (inside[0] | inside[1]).sum()
    assert METRICS["box_iou"](a=[a.tolist()], b=[b.tolist()], pairwise=True) == pytest.approx([expected])
    assert METRICS["box_iou"](a=[a], b=[b, a], pairwise=False)[0] == pytest.approx([expected, 1])


def test_boxes_that_touch_share_nothing() -> None:
    assert boxes.box_iou([[0, 0, 2, 2]], [[2, 0, 4, 2], [5, 5, 6, 6]]) == [[0, 0]]


def test_empty_boxes_have_no_overlap_to_speak_of() -> None:
    empty, full = [1, 1, 1, 3], [0, 0, 4, 4]
    assert boxes.box_iou([empty], [full], pairwise=True) == [0]
    assert math.isnan(boxes.box_iou([empty], [empty], pairwise=True)[0])


def test_no_boxes_give_no_numbers() -> None:
    assert boxes.box_iou([], []) == []
    assert boxes.box_iou([], [], pairwise=True) == []
    assert boxes.box_iou([[0, 0, 1, 1]], []) == [[]]


@pytest.mark.parametrize(
    ("a", "b", "said"),
    [
        ([[0, 0, 1]], [[0, 0, 1, 1]], "not of shape"),
        ([[0, 0, 1, 1], [3, 0, 2, 1]], [[0, 0, 1, 1]], "number 1"),
        ([[0, 0, math.nan, 1]], [[0, 0, 1, 1]], "finite"),
        ([[0, 0, 1, 1], [0, 0, 1]], [[0, 0, 1, 1]], "one number of edges"),
        ([[0, 0, 1, 1]], [[0, 0, 0, 1, 1, 1]], "cannot be compared"),
        ([[0, 0, 1, 1]], [[0, 0, 1, 1]] * 2, "1 boxes and b 2"),
    ],
)
def test_what_is_no_box_is_refused(a: list[list[float]], b: list[list[float]], said: str) -> None:
    with pytest.raises(UserError, match=said):
        boxes.box_iou(a, b, pairwise=True)
