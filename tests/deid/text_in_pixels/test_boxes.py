"""Rectangles."""

import hypothesis
import numpy as np
from hypothesis import strategies as st

from radkit.deid.text_in_pixels import boxes

corners = st.tuples(st.integers(0, 9), st.integers(0, 7), st.integers(1, 5), st.integers(1, 5)).map(
    lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])
)


@hypothesis.given(st.lists(corners, max_size=4))
def test_what_is_outside_covers_all_but_the_union_once(inner):
    inner = [(a, b, min(c, 12), min(d, 9)) for a, b, c, d in inner]
    count, held = np.zeros((9, 12), int), np.zeros((9, 12), bool)
    for left, top, right, bottom in inner:
        held[top:bottom, left:right] = True
    for left, top, right, bottom in boxes.outside(inner, (9, 12)):
        count[top:bottom, left:right] += 1
    assert np.array_equal(count, ~held)


def test_a_line_grows_along_itself_and_stays_in_the_image():
    assert boxes.padded((50, 20, 90, 30), (100, 200)) == (38, 13, 103, 38)
    assert boxes.padded((0, 0, 90, 10), (100, 95)) == (0, 0, 95, 18)


def test_a_column_of_text_grows_up_and_down():
    left, top, right, bottom = boxes.padded((50, 20, 60, 80), (200, 200))
    assert (50 - left, 20 - top) == (7, 12)
    assert (right - 61, bottom - 81) == (7, 12)
