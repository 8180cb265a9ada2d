"""The table of figures: intervals both ways, undefined ones said, empty columns left out."""

from radkit.reports.clinical import figures_table
from tests.reports import page_check

FIGURE = {
    "name": "AUC", "value": 0.9, "low": 0.8, "high": 0.95, "level": 0.9, "unit": "", "better": "higher",
    "method": "Mann-Whitney", "interval": "bootstrap", "n": 20, "num_patients": 15, "num_undefined": 0,
}  # fmt: skip


def cells(body: str) -> list[str]:
    reader = page_check.Reader()
    reader.feed(body)
    assert reader.open == []
    return reader.cells


def test_a_figure_stands_with_its_intervals_and_numbers() -> None:
    closed = {"low": 0.78, "high": 0.97, "method": "DeLong 1988"}
    found = cells(figures_table.part([{**FIGURE, "closed": closed}]).body)
    for cell in ("AUC", "0.900", "90 % interval", "0.800 to 0.950", "0.780 to 0.970 (DeLong 1988)", "20", "15"):
        assert cell in found
    assert "Mann-Whitney" in found
    assert "draws undefined" not in found


def test_an_undefined_figure_says_so_and_how_many_draws_were() -> None:
    found = cells(figures_table.part([{**FIGURE, "value": None, "low": None, "high": None, "num_undefined": 7}]).body)
    assert "undefined" in found
    assert "7" in found
    assert "90 % interval" not in found


def test_units_stand_beside_names() -> None:
    assert "HD95 (mm)" in cells(figures_table.table([{**FIGURE, "name": "HD95", "unit": "mm"}], "figures"))


def test_without_figures_there_is_nothing() -> None:
    assert figures_table.part([]).body == "" == figures_table.part(None).body
