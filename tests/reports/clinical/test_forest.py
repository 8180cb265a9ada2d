"""A plot of groups, and what tables of groups share."""

import pytest

from radkit.reports.clinical import forest

FIGURE = {"name": "AUC", "value": 0.9, "low": 0.8, "high": 0.95, "unit": ""}


def test_alternative_text_holds_every_number() -> None:
    undefined = {**FIGURE, "value": None, "low": None, "high": None}
    drawing = forest.plot("groups", "AUC", [("women", FIGURE), ("men", undefined)], 0.85)
    assert drawing.alt == "AUC by group, dotted line at 0.850: women 0.900 (0.800 to 0.950); men undefined"
    (axis,) = drawing.plot.axes
    assert [label.get_text() for label in axis.get_yticklabels()] == ["women", "men"]
    assert sum(line.get_marker() == "o" for line in axis.get_lines()) == 1


def test_more_rows_than_fit_are_told_to_stand_in_the_table() -> None:
    rows = [(f"group {k}", FIGURE) for k in range(forest.MOST_ROWS + 3)]
    assert forest.plot("groups", "AUC", rows).alt.endswith("; 3 more stand in the table")


@pytest.mark.parametrize(
    ("figure", "words"),
    [
        (None, "-"),
        (FIGURE, "0.900 (0.800 to 0.950)"),
        ({**FIGURE, "low": None, "high": None}, "0.900"),
        ({**FIGURE, "value": None, "low": None, "high": None}, "undefined"),
    ],
)
def test_figures_are_said_with_their_interval(figure: dict[str, object] | None, words: str) -> None:
    assert forest.figure(figure) == words


def test_names_are_words() -> None:
    assert (forest.fact("age_years"), forest.fact("site")) == ("age", "site")
    assert forest.named({**FIGURE, "unit": "mm"}) == "AUC (mm)"
