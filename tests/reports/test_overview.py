"""The index's page stands alone, escapes what it is given, and says what is missing."""

import dataclasses
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from matplotlib import image

from radkit.reports import overview
from tests.reports import page_check

PICTURE = np.arange(12, dtype=np.uint8).reshape(3, 4)
CONTENT = overview.Overview(
    figures=[("series", "3")],
    counts=[overview.Count("Modality", [("CT", 2), ("<MR>", 1)], left_out=4, untold=5)],
    tiles=[overview.Tile("CT", "Bauch & <b>", PICTURE), overview.Tile("MR", "", None, "no decoder")],
    header=["Description", "Rows"],
    rows=[["Bauch", 512]],
    num_series=3,
)


def test_the_page_stands_alone_and_shows_all_it_is_given():
    read = page_check.read(overview.page(CONTENT))
    assert {"CT", "<MR>", "2", "1", "Bauch", "512", "and 4 more", "not told", "5"} <= set(read.cells)
    assert len(read.images) == 1
    assert ("h2", "Pictures") in read.headings


def test_what_is_given_is_escaped():
    page = overview.page(CONTENT)
    assert "<MR>" not in page
    assert "Bauch &amp; &lt;b&gt;" in page


def test_a_picture_that_is_missing_is_a_tile_with_its_reason():
    assert "no decoder" in overview.page(CONTENT)


def test_it_is_said_how_many_series_are_not_listed():
    assert "1 of 3 series; the tables beside this page hold all" in overview.page(CONTENT)
    assert "hold all" not in overview.page(dataclasses.replace(CONTENT, num_series=1))


def test_warnings_stand_first_and_only_when_there_are_some():
    page = overview.page(dataclasses.replace(CONTENT, warnings=["Keep it."]))
    assert page.index("This page must stay") < page.index("Series by")
    assert "must stay" not in overview.page(CONTENT)


def test_a_folder_of_nothing_has_a_page():
    read = page_check.read(overview.page(overview.Overview([], [], [], ["a"], [], 0)))
    assert not read.images


@pytest.mark.parametrize("aspect", [0.1, 1.0, 10.0])
def test_pixels_that_are_not_square_keep_their_shape(aspect):
    tile = overview.Tile("CT", "", np.zeros((10, 20), np.uint8), aspect=aspect)
    page = overview.page(dataclasses.replace(CONTENT, tiles=[tile]))
    assert f"aspect-ratio:20/{round(10 * aspect)}" in page


@given(
    st.one_of(
        arrays.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9))),
        arrays.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3))),
    )
)
def test_matplotlib_reads_the_pictures_as_they_were(picture):
    read = image.imread(io.BytesIO(overview.png(picture)), format="png")
    np.testing.assert_array_equal((read * 255).round().astype(np.uint8), picture)
    assert overview.png(picture) == overview.png(picture.copy())
