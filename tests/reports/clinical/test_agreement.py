"""The section on agreement: every figure in it, plots described with their numbers, what is missing said."""

import math

from radkit.evaluation import agreement as evaluated
from radkit.evaluation import cases
from radkit.reports import html, text
from radkit.reports.clinical import agreement
from tests.evaluation import made_up_answers as made_up
from tests.reports import page_check


def told_of(table: cases.Cases, what: str) -> list:
    told: list = made_up.as_json(evaluated.tell(table, made_up.plan_of(what)))
    return told


def test_plots_and_tables_tell_the_figures() -> None:
    told = told_of(made_up.of_masks(0), "masks")
    part = agreement.part(told)
    page = page_check.read(html.page("Made up", html.section("Agreement", part.body)))
    assert [drawing.stem for drawing in part.drawings] == [
        "bland_altman_1_volume_of_all_labels",
        "bland_altman_2_volume_of_liver",
        "bland_altman_3_volume_of_lesion",
    ]
    assert [heading for level, heading in page.headings if level == "h3"] == [
        "Volume of all labels", "Volume of liver", "Volume of lesion",
    ]  # fmt: skip
    limits = told[2]["bland_altman"]
    words = f"bias {text.number(limits['bias'])}, lower limit {text.number(limits['loa_low'])}"
    assert "24 pairs" in part.drawings[2].alt
    assert words in part.drawings[2].alt
    assert page.cells.count("Lin's concordance") == 3


def test_pairs_of_one_patient_and_pairs_left_out_are_told() -> None:
    table = made_up.changed(made_up.of_numbers(0, per_patient=2), 0, label=math.nan)
    table = made_up.changed(table, 1, value=math.inf)
    body = agreement.part(told_of(table, "numbers")).body
    assert "1 left out, as the reference&#x27;s is unknown" in body
    assert "1 left out, as the model&#x27;s is no number" in body
    assert "Patients have several pairs" in body


def test_one_pair_is_drawn_without_limits_and_nobody_without_a_plot() -> None:
    part = agreement.part(told_of(made_up.of_numbers(0, n=1), "numbers"))
    assert "upper limit" not in part.drawings[0].alt
    assert "undefined" in part.body
    unknown = cases.Cases([{**row, "label": math.nan} for row in made_up.of_numbers(0).rows])
    part = agreement.part(told_of(unknown, "numbers"))
    assert part.drawings == []
    assert "0 pairs" in part.body
    assert "40 left out" in part.body
    assert agreement.part([]).body == agreement.part(None).body == ""
