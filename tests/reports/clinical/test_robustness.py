"""The robustness part: every slope and step stands in it, and the plots say their numbers."""

import pytest

from radkit.reports.clinical import robustness
from tests.reports import page_check
from tests.reports.clinical import reports


@pytest.fixture(scope="module")
def told() -> dict:
    return reports.made(12)["robustness"]


def test_every_slope_and_step_is_told(told: dict) -> None:
    part = robustness.part(told)
    cells = page_check.Reader()
    cells.feed(part.body)
    for one in told["perturbations"]:
        assert f"{one['slopes'][0]['slope']:.3f}" in cells.cells
        assert one["what"] in cells.cells
        for step in one["steps"]:
            assert f"{step['figures'][0]['value']:.3f}" in cells.cells
    assert cells.cells.count("undefined") >= 7  # the measure that is defined nowhere


def test_only_figures_with_a_value_are_drawn_and_alternative_texts_tell_slopes(told: dict) -> None:
    (drawing,) = robustness.part(told).drawings
    assert drawing.stem == "robustness-mean-dice"
    for one in told["perturbations"]:
        assert f"{one['name']} {one['slopes'][0]['slope']:.3f}" in drawing.alt


def test_boxes_that_left_the_image_are_told(told: dict) -> None:
    assert "no longer in the image and are not counted as missed: 1" in robustness.part(told).body


@pytest.mark.parametrize("nothing", [None, {"n": 3, "num_patients": 2, "method": "", "perturbations": []}])
def test_nothing_perturbed_is_nothing_told(nothing: dict | None) -> None:
    part = robustness.part(nothing)
    assert (part.body, list(part.drawings)) == ("", [])
