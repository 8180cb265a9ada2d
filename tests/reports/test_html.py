import sys

import numpy as np
import pytest

from radkit.errors import UserError
from radkit.reports import html, plots
from tests.reports import page_check

NASTY = "<script>alert('x')</script> & \"quoted\""


def test_everything_given_is_escaped() -> None:
    picture = html.figure(np.zeros((2, 2), np.uint8), NASTY, NASTY)
    page = html.page(
        NASTY,
        html.notes([NASTY]),
        html.section(NASTY, html.paragraph(NASTY), html.table([NASTY, NASTY], [(NASTY, NASTY)], NASTY), picture),
        lead=NASTY,
    )
    reader = page_check.read(page)
    assert ("h1", NASTY) in reader.headings
    assert reader.cells == [NASTY] * 4
    assert reader.images[0]["alt"] == NASTY


def test_empty_parts_leave_no_trace() -> None:
    assert html.section("Nothing", "", html.paragraph(""), html.notes([]), html.gallery([]), html.contents([])) == ""


def test_numbers_stand_to_the_right_and_missing_ones_are_dashes() -> None:
    table = html.table(("name", "value"), [("a", 0.5), ("b", None), ("c", float("nan"))])
    assert '<td class="n">0.500</td>' in table
    assert '<td class="n">-</td>' in table
    assert '<td class="n">undefined</td>' in table


def test_a_row_of_another_length_is_refused() -> None:
    with pytest.raises(UserError, match="2 columns has a row of 1"):
        html.table(("a", "b"), [("x",)])


def test_a_figure_without_words_is_refused() -> None:
    with pytest.raises(UserError, match="alternative text"):
        html.figure(np.zeros((2, 2), np.uint8), "")


def test_an_embedded_page_moves_its_headings_down() -> None:
    inner = html.page("Inner", html.section("Part", html.paragraph("words")))
    reader = page_check.read(html.page("Outer", html.section("Step", html.body_of(inner))))
    assert reader.headings == [("h1", "Outer"), ("h2", "Step"), ("h3", "Part")]


def test_only_our_own_page_is_embedded() -> None:
    with pytest.raises(UserError, match="no <main>"):
        html.body_of("<html></html>")


def test_without_matplotlib_the_message_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(UserError, match=r"pip install 'radkit\[reports\]'"):
        plots.panels(1)


def test_plots_stand_side_by_side_and_none_leave_nothing() -> None:
    assert html.side_by_side(["<figure>a</figure>", "<figure>b</figure>"]) == (
        '<div class="pair">\n<figure>a</figure>\n<figure>b</figure>\n</div>'
    )
    assert html.side_by_side([]) == ""


def test_what_is_folded_away_has_its_heading() -> None:
    assert html.folded("a<b", "<p>in</p>", "") == (
        "<details>\n<summary><h3>a&lt;b</h3></summary>\n<p>in</p>\n</details>"
    )
    assert html.folded("nothing", "") == ""


def test_a_section_is_taken_whole_out_of_a_page() -> None:
    inner = html.section("Two", html.subsection("Within", "<p>deep</p>"), "<p>end</p>", anchor="two")
    page = html.page("Outer", html.section("One", "<p>other</p>", anchor="one"), inner)
    taken = html.section_of(page, "two")
    assert (
        taken == "<section>\n<h3>Two</h3>\n<section>\n<h4>Within</h4>\n<p>deep</p>\n</section>\n<p>end</p>\n</section>"
    )
    assert html.section_of(page, "three") == ""
    with pytest.raises(UserError, match="cut off"):
        html.section_of(page[: page.index("end")], "two")
