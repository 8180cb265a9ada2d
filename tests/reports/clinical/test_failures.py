"""The section on failures."""

import math

from radkit.evaluation import cases, plan
from radkit.evaluation import failures as evaluated
from radkit.reports import html
from radkit.reports.clinical import failures
from tests.evaluation import made_up_answers as made_up
from tests.evaluation import test_failures as invented
from tests.reports import page_check


def read(table: cases.Cases, of: plan.Plan) -> tuple[str, page_check.Reader]:
    part = failures.part(made_up.as_json(evaluated.tell(table, of)))
    assert part.drawings == ()
    return part.body, page_check.read(html.page("Made up", html.section("Failures", part.body)))


def test_worst_cases_are_named_and_an_answer_that_is_no_number_is_said_to_be_none() -> None:
    table = made_up.changed(made_up.of_numbers(0), 7, value=math.nan)
    body, page = read(table, made_up.plan_of("numbers"))
    assert page.cells.index("test 7") < page.cells.index("no number")
    assert ("h3", "Worst cases: absolute error") in page.headings
    assert "absolute error by site" in body
    assert "mean absolute error (months)" in page.cells


def test_masks_boxes_and_classes_have_sections_of_their_own() -> None:
    assert "Worst cases: HD95, liver" in read(made_up.of_masks(0), made_up.plan_of("masks"))[0]
    body, page = read(made_up.of_boxes(0), made_up.plan_of("boxes"))
    assert "Worst cases: misses at the operating point" in body
    assert "false positives" in page.cells
    assert "5" in page.cells
    assert "5.000" not in page.cells
    _, page = read(*invented.classified([0.9, 0.3, 0.7], [0.0, 0.0, math.nan]))
    assert page.cells.count("sick") == 2
    assert "of" in page.cells


def test_no_error_is_said_and_nothing_measured_is_nothing() -> None:
    perfect = cases.Cases([{**row, "value": row["label"]} for row in made_up.of_numbers(0).rows])
    assert "No case has any error" in read(perfect, made_up.plan_of("numbers"))[0]
    assert failures.part(None).body == ""
