"""Plots as text: places and heights worked by hand, everything escaped, nothing that stops on odd input."""

import math
import re

import pytest

from radkit.reports import html, svg
from tests.reports import page_check


def read(*parts: str) -> page_check.Reader:
    return page_check.read(html.page("Made up", svg.STYLE, *parts))


def histogram(*curves: svg.Curve, **more: object) -> svg.Histogram:
    settings = {"heading": "Values of <CT>", "unit": "HU", "low": 0.0, "high": 8.0, "curves": curves, **more}
    return svg.Histogram(**settings)  # type: ignore[arg-type]


def test_a_histogram_reads_well_and_names_its_axis():
    drawn = svg.histogram(histogram(svg.Curve("train", 0, [0.5, 0.25]), svg.Curve("te<st", 1, [0, 1]), caption="All."))
    read(drawn)
    assert "Values of &lt;CT&gt; (HU)" in drawn
    assert "te&lt;st" in drawn
    assert re.findall(r"<text[^>]*>([^<]*)<", drawn) == ["0", "2", "4", "6", "8"]
    assert "All." in drawn


def test_heights_are_shares_of_the_highest():
    drawn = svg.histogram(histogram(svg.Curve("one", 0, [1.0, 0.5, 0.0])))
    heights = [float(y) for y in re.findall(r"V([0-9.]+)h", drawn)]
    base = max(heights)
    assert [(base - y) / (base - heights[0]) for y in heights] == pytest.approx([1, 0.5, 0])
    assert "legend" not in drawn  # one line needs none


def test_what_is_far_higher_is_cut_only_where_that_was_asked_for():
    curve = svg.Curve("air", 0, [100.0, *[1.0] * 30])
    assert "leave the top" in svg.histogram(histogram(curve, cut=True))
    assert "leave the top" not in svg.histogram(histogram(curve))
    assert "leave the top" not in svg.histogram(histogram(svg.Curve("flat", 0, [1.0] * 30), cut=True))


def test_an_axis_of_whole_numbers_names_whole_numbers():
    drawn = svg.histogram(histogram(svg.Curve("one", 0, [1, 2, 3]), low=23.5, high=26.5, whole=True))
    assert re.findall(r"<text[^>]*>([^<]*)<", drawn) == ["24", "25", "26"]


def test_an_empty_histogram_is_drawn():
    read(
        svg.histogram(
            histogram(svg.Curve("none", 0, [0.0, 0.0])),
        ),
        svg.histogram(histogram()),
    )


def scatter(points: list[tuple[float, float]], **more: object) -> str:
    count = len(points)
    settings = {
        "heading": "PCA", "axes": ("x", "y"), "points": points, "words": [f"<r{n}>" for n in range(count)],
        "classes": ["a-0"] * count, **more,
    }  # fmt: skip
    return svg.scatter(svg.Scatter(**settings))  # type: ignore[arg-type]


def test_dots_keep_their_order_and_are_named():
    drawn = scatter([(0, 0), (5, 1), (10, 2)])
    read(drawn)
    across, down = ([float(n) for n in re.findall(rf'{axis}="([0-9.]+)"', drawn)] for axis in ("cx", "cy"))
    assert across == sorted(across)
    assert down == sorted(down, reverse=True)  # SVG counts from the top
    assert across[1] == pytest.approx((across[0] + across[2]) / 2, abs=0.06)
    assert "<title>&lt;r1&gt;</title>" in drawn


@pytest.mark.parametrize("points", [[], [(1, 1)], [(2, 2), (2, 2)], [(math.nan, 0), (1, 2), (3, math.inf)]])
def test_odd_points_are_no_fault(points):
    drawn = scatter(points)
    read(drawn)
    assert "nan" not in drawn
    assert drawn.count("<circle") == sum(math.isfinite(x) and math.isfinite(y) for x, y in points)


def test_bars_are_shares_of_their_sum():
    drawn = svg.stacked([("no", 0, 30), ("y<es", 1, 10), ("none", 2, 0)])
    read(drawn)
    assert re.findall(r"width:([0-9.]+)%", drawn) == ["75.00", "25.00"]
    assert "y&lt;es: 10" in drawn
    assert read(svg.stacked([("no", 0, 0)]))


def test_colours_end_with_grey():
    assert [svg.colour(n) for n in (0, 6, 7, 99)] == [0, 6, svg.NUM_COLOURS - 1, svg.NUM_COLOURS - 1]
    assert f"--g{svg.NUM_COLOURS - 1}" in svg.STYLE
