"""The section on lesions: curves described with their numbers, points told with their origin, masks counted."""

from typing import Any

import pytest

from radkit.evaluation import cases, endpoints
from radkit.evaluation import lesions as evaluated
from radkit.reports import html
from radkit.reports.clinical import lesions
from tests.evaluation import made_up_answers as made_up
from tests.reports import page_check

CHOSEN = endpoints.OperatingPoint("boxes", "fp_per_image", 2.0, 0.5, "validation", 80, 0.7)


def told_of(table: cases.Cases, what: str, points: Any = ()) -> Any:
    return made_up.as_json(evaluated.tell(table, made_up.plan_of(what, points=points)))


def test_a_detectors_section_tells_curve_point_and_classes() -> None:
    told = told_of(made_up.of_boxes(0), "boxes", [CHOSEN])
    part = lesions.part(told)
    page = page_check.read(html.page("Made up", html.section("Lesions", part.body)))
    (drawing,) = part.drawings
    by_name = {figure["name"]: figure["value"] for figure in told["operating_point"]["figures"]}
    assert f"{by_name['sensitivity']:.3f} at" in drawing.alt
    assert "at the operating point" in drawing.alt
    assert "chosen on the validation split" in part.body
    assert {"nodule", "mass"} <= set(page.cells)
    assert "flatter" not in part.body


@pytest.mark.parametrize("rate", [0.125, 1.0, 8.0])
def test_sensitivities_in_the_alternative_text_are_the_curves(rate: float) -> None:
    froc = {"fp_per_image": [0.0, 0.5, 1.0, 3.0], "sensitivity": [0.2, 0.4, 0.6, 0.9]}
    assert lesions._held(froc, rate) == {0.125: 0.2, 1.0: 0.6, 8.0: 0.9}[rate]
    assert lesions._held({"fp_per_image": [2.0], "sensitivity": [0.5]}, 1.0) == 0.0


def test_a_point_chosen_on_the_same_cases_is_owned_up_to() -> None:
    assert "its figures flatter" in lesions.part(told_of(made_up.of_boxes(0), "boxes")).body


def test_nothing_to_find_and_nothing_found_are_told_in_words() -> None:
    empty = cases.Cases([{**row, "reference": [], "labels": []} for row in made_up.of_boxes(0).rows])
    part = lesions.part(told_of(empty, "boxes"))
    assert part.drawings == []
    assert "No curve" in part.body
    blind = cases.Cases([{**row, "found": [], "scores": [], "found_labels": []} for row in made_up.of_boxes(0).rows])
    part = lesions.part(told_of(blind, "boxes"))
    assert "No score meets the rule" in part.body
    assert part.drawings == []


def test_masks_tell_missed_and_invented_labels() -> None:
    told = told_of(made_up.of_masks(0), "masks")
    part = lesions.part(told)
    page = page_check.read(html.page("Made up", html.section("Lesions", part.body)))
    assert "set to worst" in page.cells
    assert f"{told['labels'][1]['parts']['reference']} parts in the reference" in part.body
    assert lesions.part(None).body == ""
