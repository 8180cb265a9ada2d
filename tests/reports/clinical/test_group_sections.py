"""The page's sections on subgroups, fairness, other models, readers and test sets."""

import functools
import importlib
import json
from typing import Any

import pytest

from radkit.evaluation import readers as told_of_readers
from radkit.evaluation.cases import Cases
from radkit.reports import html
from radkit.reports.clinical import forest, parts
from tests.evaluation import made_up_answers, made_up_groups
from tests.reports import page_check
from tests.reports.clinical import made_up_sections

MODULES = {
    "subgroups": "subgroups",
    "fairness": "fairness",
    "comparison": "comparisons",
    "readers": "readers",
    "test_sets": "test_sets",
}


def part(module: str, told: Any) -> parts.Part:
    found: parts.Part = importlib.import_module(f"radkit.reports.clinical.{module}").part(told)
    return found


@functools.cache
def whole(module: str) -> parts.Part:
    return part(module, made_up_sections.told()[MODULES[module]])


def cells_of(made: parts.Part) -> list[str]:
    return page_check.read(html.page("t", html.section("s", made.body))).cells


@pytest.mark.parametrize("module", MODULES)
def test_a_section_is_a_page_that_reads_well(module: str) -> None:
    made = whole(module)
    reader = page_check.read(html.page("t", html.section("s", made.body)))
    assert len(reader.images) == len(made.drawings)
    assert len({drawing.stem for drawing in made.drawings}) == len(made.drawings)
    assert made_up_sections.NAUGHTY not in made.body
    assert not {"None", "nan"} & set(reader.cells)
    json.dumps(made_up_sections.told()[MODULES[module]], allow_nan=False)


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("nothing", [None, []])
def test_nothing_told_is_no_section(module: str, nothing: Any) -> None:
    made = part(module, nothing)
    assert (made.body, list(made.drawings)) == ("", [])


def test_cases_trained_on_stand_beside_a_groups_figures() -> None:
    found = cells_of(whole("subgroups"))
    entry = next(one for one in made_up_sections.told()["subgroups"] if one["value"] == "F")
    figures = [forest.figure(one) for one in entry["figures"]]
    numbers = [entry["n"], entry["num_patients"], int(entry["positives"]["sick"]), entry["n_train"], 10]
    row = ["F", *map(str, numbers), *figures]
    place = found.index("F")
    assert found[place : place + len(row)] == row
    body = whole("subgroups").body
    assert "Trained on but not tested: C." in body
    assert "too few to tell" in body
    assert "All cases have in common: manufacturer Maker." in body


def test_every_difference_stands_in_the_table_with_both_p() -> None:
    told = made_up_sections.told()["subgroups"]
    found = cells_of(whole("subgroups"))
    for entry in told:
        for one in entry["differences"]:
            assert forest.figure({**one, "value": one["difference"]}) in found
            assert forest.p(one["p_adjusted"]) in found


def test_every_gap_stands_in_the_table() -> None:
    told = made_up_sections.told()["fairness"]
    found = cells_of(whole("fairness"))
    for entry in told:
        for gap in entry["gaps"]:
            assert forest.figure(gap) in found
        for group in entry["groups"]:
            assert group["value"] in found


def test_both_models_and_the_tests_are_told() -> None:
    (entry,) = made_up_sections.told()["comparisons"]
    found = cells_of(whole("comparison"))
    for one in entry["figures"]:
        assert {forest.number(one["this"]), forest.number(one["other"])} <= set(found)
    assert {"DeLong, sick", "McNemar, sick"} <= set(found)
    assert "McNemar's test takes these for independent" in html_text(whole("comparison").body)


def html_text(body: str) -> str:
    return body.replace("&#x27;", "'")


def test_numbers_and_marks_of_readers_are_told() -> None:
    rows = [{**row, "value": float(k % 4)} for k, row in enumerate(made_up_groups.rows(30))]
    said = [
        {"record_uid": row["record_uid"], "reader": name, "value": str((k + shift) % 4)}
        for name, shift in (("A", 0), ("B", 1))
        for k, row in enumerate(rows)
    ]
    told = made_up_answers.as_json(told_of_readers.tell(Cases(rows), made_up_groups.plan_of(readers=said)))
    found = cells_of(part("readers", told))
    assert {"readers alone", "readers and model", "ICC"} <= set(found)
    with_boxes = made_up_answers.of_boxes(images=20)
    marks = [{"record_uid": row["record_uid"], "reader": "A", "rating": "2", "lesion": ""} for row in with_boxes.rows]
    told = told_of_readers.tell(
        with_boxes, made_up_groups.plan_of(readers=marks, asked=made_up_answers.plan_of("boxes").asked)
    )
    found = cells_of(part("readers", made_up_answers.as_json(told)))
    assert "JAFROC of the model" in found


def test_types_of_test_sets_are_told() -> None:
    found = cells_of(whole("test_sets"))
    assert {"temporal", "internal", "temporal, from 2024-01-01", "not told"} <= set(found)
