"""The quality page stands alone, says what to mend first, and says what it does not show."""

import base64
import dataclasses
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from radkit.reports import overview, quality
from tests.reports import page_check

PNG = base64.b64encode(overview.png(np.arange(12, dtype=np.uint8).reshape(3, 4))).decode()


def table(*rows: tuple[object, ...], total: int = 0, header: tuple[str, ...] = ("series", "what was found")):
    return quality.Table(header, rows, max(total, len(rows)), "findings.csv")


def kind(name: str, severity: str = "fault", count: int = 3, **more: object) -> quality.Kind:
    made = quality.Kind(
        name, severity, f"title of {name}", f"Advice on {name}.", count, f"{count} series of 2 patients",
        [quality.Tile("Series 4, CT", "a <gap>", PNG)], table((4, "a <gap>"), total=count),
    )  # fmt: skip
    return dataclasses.replace(made, **more)  # type: ignore[arg-type]


HISTOGRAM = quality.Histogram(
    "Values of <CT>", "HU", (0, 1, 4, 0.001), [(0.0, "-1,000"), (1.0, "1,000")], [0.9], "Two."
)
CONTENT = quality.Quality(
    figures=[("series", "1,234")],
    kinds=[kind("noisy", "warning", 50), kind("gaps"), kind("copies", "note", 99), kind("flat", count=7)],
    rejections=[("localizer", 20), ("plane <not> asked for", 1)],
    histograms=[HISTOGRAM],
    outliers=table((8, "far")),
    kept=[quality.Tile("Series 1, MR", "20 slices", PNG, 1.5), quality.Tile("Series 2, MR", "30 slices")],
    num_kept=1000,
    overrides=table((9, "keep")),
    notes=["Series that are no images: SR 3."],
)
NOTHING = quality.Quality([], [], [], [], table(), [], 0, table())


def test_the_page_stands_alone_and_describes_its_pictures():
    read = page_check.read(quality.page(CONTENT))
    assert len(read.images) == 5
    assert all("Series" in str(image["alt"]) for image in read.images)
    assert {"4", "8", "9", "localizer", "20"} <= set(read.cells)


def test_the_first_part_lists_the_gravest_and_most_frequent_first():
    page = quality.page(CONTENT)
    places = [page.index(f'href="#{name}"') for name in ("flat", "gaps", "noisy", "copies")]
    assert places == sorted(places)
    assert places[-1] < page.index("Left out, by reason") < page.index('id="flat"')


def test_each_kind_of_the_list_says_how_many_what_to_do_and_leads_to_its_examples():
    page = quality.page(CONTENT)
    read = page_check.read(page)
    for name in ("flat", "gaps", "noisy", "copies"):
        assert f"#{name}" in read.links
        assert name in read.anchors
        item = page[page.index(f'href="#{name}"') :]
        assert f"Advice on {name}." in item[: item.index("</li>")]
    assert "7 series of 2 patients" in page[: page.index("Left out, by reason")]


def test_notes_and_what_is_too_many_are_behind_a_line():
    page = quality.page(CONTENT)
    assert page.index("<details>") < page.index('href="#copies"') < page.index("</details>")
    assert "1 more kind of findings, less grave or less frequent: title of copies" in page
    many = quality.page(dataclasses.replace(CONTENT, kinds=[kind(f"k{n}", count=100 - n) for n in range(30)]))
    assert many.index('href="#k7"') < many.index("<details>") < many.index('href="#k8"')
    assert "22 more kinds of findings" in many


def test_what_is_given_is_escaped():
    page = quality.page(CONTENT)
    assert "<gap>" not in page
    assert "<not>" not in page
    assert "Values of &lt;CT&gt;" in page


def test_it_is_said_what_is_not_shown_and_which_table_holds_it():
    page = quality.page(CONTENT)
    assert "1 of 50 others are listed; findings.csv holds all" in page
    assert "2 of the 1,000 series that are kept; curation.csv holds all" in page
    reasons = [(f"reason {n}", 100 - n) for n in range(20)]
    assert "4 reasons more" in quality.page(dataclasses.replace(CONTENT, rejections=reasons))


def test_a_folder_in_which_nothing_is_found_has_a_page_that_says_so():
    page = quality.page(NOTHING)
    assert "Nothing was found." in page
    assert not page_check.read(page).images
    assert "How values spread" not in page


def test_where_only_notes_are_found_the_list_says_that_nothing_is_grave():
    page = quality.page(dataclasses.replace(NOTHING, kinds=[kind("copies", "note")]))
    assert "Nothing grave." in page


def test_a_series_without_a_picture_is_a_tile_that_says_so():
    assert "no picture" in quality.page(CONTENT)


def bars(page: str) -> list[tuple[float, float]]:
    return [
        (float(y), float(tall)) for y, tall in re.findall(r'<rect x="[\d.]+" y="([\d.]+)"[^>]*height="([\d.]+)"', page)
    ]


def test_bars_are_as_tall_as_their_values_and_the_smallest_is_still_seen():
    drawn = bars(quality.page(CONTENT))
    assert len(drawn) == 3  # of nothing there is no bar
    assert drawn[0][1] == pytest.approx(drawn[1][1] / 4, rel=0.01)
    assert drawn[2][1] == 1.5


@given(st.lists(st.floats(0, 1e9), min_size=1, max_size=80), st.lists(st.floats(0, 1), max_size=5))
def test_no_bar_and_no_mark_leaves_the_plot(heights, marks):
    plot = dataclasses.replace(HISTOGRAM, heights=heights, marks=marks)
    page = quality.page(dataclasses.replace(NOTHING, histograms=[plot]))
    page_check.read(page)
    assert all(y >= 0 and y + tall <= 170 for y, tall in bars(page))
    assert all(0 <= float(x) <= 420 for x in re.findall(r'class="out" d="M([\d.]+) ', page))


def test_the_same_content_gives_the_same_bytes():
    assert quality.page(CONTENT) == quality.page(CONTENT)
