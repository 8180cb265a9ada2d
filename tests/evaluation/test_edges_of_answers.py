"""Every section of numbers, masks and boxes, and its page, on tables at the edge: told, in words or as undefined."""

import json
import math

import pytest

from radkit.evaluation import agreement, cases, failures, lesions, measures, sizes
from radkit.reports import html
from radkit.reports.clinical import agreement as agreement_page
from radkit.reports.clinical import failures as failures_page
from radkit.reports.clinical import figures_table
from radkit.reports.clinical import lesions as lesions_page
from radkit.reports.clinical import sizes as sizes_page
from tests.evaluation import made_up_answers as made_up
from tests.reports import page_check

SECTIONS = (
    (agreement, agreement_page),
    (lesions, lesions_page),
    (sizes, sizes_page),
    (failures, failures_page),
)
NO_BOXES = {"reference": [], "labels": [], "found": [], "scores": [], "found_labels": []}


def every(table: cases.Cases, **values: object) -> cases.Cases:
    return cases.Cases([{**row, **values} for row in table.rows])


EDGES = {
    "one number": ("numbers", made_up.of_numbers(n=1)),
    "one patient's numbers": ("numbers", made_up.of_numbers(n=6, per_patient=6)),
    "all numbers unknown": ("numbers", every(made_up.of_numbers(n=6), label=math.nan)),
    "all predictions infinite": ("numbers", every(made_up.of_numbers(n=6), value=-math.inf)),
    "all numbers alike": ("numbers", every(made_up.of_numbers(n=6), label=1e6 + 0.1, value=1e6 + 0.1)),
    "one mask": ("masks", made_up.of_masks(n=1)),
    "one patient's masks": ("masks", made_up.of_masks(n=6, per_patient=6)),
    "no mask labelled": ("masks", every(made_up.of_masks(n=6), known_voxels=0)),
    "one image of boxes": ("boxes", made_up.of_boxes(images=1)),
    "one patient's boxes": ("boxes", made_up.of_boxes(images=6, per_patient=6)),
    "no boxes at all": ("boxes", every(made_up.of_boxes(images=6), **NO_BOXES)),
    "all scores alike": ("boxes", cases.Cases(
        [{**row, "scores": [0.5] * len(row["scores"])} for row in made_up.of_boxes(images=12).rows]
    )),
    "only regions to ignore": ("boxes", cases.Cases(
        [{**row, "labels": [-2] * len(row["labels"])} for row in made_up.of_boxes(images=6).rows]
    )),
}  # fmt: skip


@pytest.mark.parametrize("name", EDGES)
def test_edges_are_told_and_drawn(name: str) -> None:
    what, table = EDGES[name]
    plan = made_up.plan_of(what)
    figures = made_up.as_json([measures.figure(one, table, plan.draws) for one in plan.asked.measures])
    bodies = [figures_table.part(figures).body]
    for section, page in SECTIONS:
        told = section.tell(table, plan)
        assert made_up.as_json(told) == made_up.as_json(section.tell(table, plan))
        bodies.append(page.part(json.loads(json.dumps(made_up.as_json(told), allow_nan=False))).body)
    page_check.read(html.page(name, *[html.section(f"{number}", body) for number, body in enumerate(bodies)]))


@pytest.mark.parametrize("what", ["numbers", "masks", "boxes"])
def test_without_draws_there_are_values_and_no_intervals(what: str) -> None:
    table = {"numbers": made_up.of_numbers, "masks": made_up.of_masks, "boxes": made_up.of_boxes}[what](0)
    plan = made_up.plan_of(what, cases.Draws(resamples=0))
    for section, _ in SECTIONS:
        told = section.tell(table, plan)
        if told:
            assert not any(math.isfinite(figure["low"]) for figure in figures_in(told))


def figures_in(told: object) -> list[dict]:
    """Returns all figures anywhere in a section."""
    if isinstance(told, list):
        return [one for part in told for one in figures_in(part)]
    if not isinstance(told, dict):
        return []
    own = [told] if "num_undefined" in told and "interval" in told else []
    return own + [one for part in told.values() for one in figures_in(part)]
