"""Failures: the worst by hand, ties, unknown truths, answers that are no number, groups by site and confidence."""

import dataclasses
import json
import math

import numpy as np
import pytest

from radkit.evaluation import cases, endpoints, failures, plan
from tests.evaluation import made_up_answers as made_up


def whys(told: dict) -> list[str]:
    return list(dict.fromkeys(case["why"] for case in told["cases"]))


def test_the_worst_numbers_come_first_and_each_case_is_named() -> None:
    table = made_up.changed(made_up.changed(made_up.of_numbers(0), 7, value=math.nan), 8, label=math.nan)
    told = failures.tell(table, made_up.plan_of("numbers"))
    assert told is not None
    assert whys(told) == ["large absolute error"]
    assert told["cases"][0]["name"] == "test 7"
    assert told["cases"][0]["error"] == math.inf
    assert all(case["name"] != "test 8" for case in told["cases"])
    error = np.abs(table.numbers("value") - table.numbers("label"))
    assert [case["error"] for case in told["cases"][1:]] == sorted(error[np.isfinite(error)], reverse=True)[:7]
    assert told["cases"][1]["numbers"].keys() == {"truth", "prediction"}
    json.dumps(made_up.as_json(told), allow_nan=False)


def test_of_equal_errors_the_earlier_comes_first_and_no_error_is_no_failure() -> None:
    rows = made_up.of_numbers(0, n=6).rows
    values = [5.0, 0.0, 5.0, 1.0, 0.0, 5.0]
    table = cases.Cases([{**row, "label": 0.0, "value": value} for row, value in zip(rows, values)])
    told = failures.tell(table, made_up.plan_of("numbers"))
    assert told is not None
    assert [case["name"] for case in told["cases"]] == ["test 0", "test 2", "test 5", "test 3"]


def test_sites_are_compared_by_their_mean_error() -> None:
    table = made_up.of_numbers(0)
    told = failures.tell(table, made_up.plan_of("numbers"))
    assert told is not None
    (by_site,) = told["by"]
    assert by_site["fact"] == "site"
    assert [group["value"] for group in by_site["groups"]] == ["A", "B"]
    error = np.abs(table.numbers("value") - table.numbers("label"))
    for place, group in enumerate(by_site["groups"]):
        assert group["n"] == 20
        assert group["figures"][0]["value"] == pytest.approx(error[place::2].mean())
    one_site = cases.Cases([{**row, "site": "A"} for row in table.rows])
    told = failures.tell(one_site, made_up.plan_of("numbers"))
    assert told is not None
    assert told["by"] == []


def test_masks_fail_by_overlap_and_by_distance() -> None:
    table = made_up.of_masks(0, n=40)
    told = failures.tell(table, made_up.plan_of("masks"))
    assert told is not None
    assert whys(told) == ["large overlap error (1 - mean Dice)", "large HD95, liver", "large HD95, lesion"]
    assert told["cases"][0]["error"] == pytest.approx(1 - table.numbers("dice").min())
    worst = next(case for case in told["cases"] if case["why"] == "large HD95, lesion")
    assert worst["error"] == pytest.approx(table.numbers("diagonal_mm")[0])
    assert min(worst["numbers"].values()) == 0
    assert [table_of["fact"] for table_of in told["by"]] == ["size"] * 3


def test_boxes_fail_by_misses_and_by_false_positives() -> None:
    table = made_up.of_boxes(0, images=40)
    told = failures.tell(table, made_up.plan_of("boxes"))
    assert told is not None
    assert whys(told) == ["large misses at the operating point", "large false positives at the operating point"]
    assert told["cases"][0]["error"] == max(case["numbers"]["misses"] for case in told["cases"])
    assert {of["fact"] for of in told["by"]} == {"confidence"}
    assert all(sum(group["n"] for group in of["groups"]) == 40 for of in told["by"])


def classified(probabilities: list[float], labels: list[float]) -> tuple[cases.Cases, plan.Plan]:
    rows = [{"patient_id": f"P{k}", "record_uid": f"1.{k}"} for k in range(len(labels))]
    sick = endpoints.Endpoint("sick", lambda _: np.array(labels), lambda _: np.array(probabilities))
    asked = plan.Asked([], [sick])
    return cases.Cases(rows), plan.Plan("classification", made_up.NUMBERS, asked, made_up.DRAWS)


def test_classes_fail_by_the_gap_between_probability_and_truth() -> None:
    probabilities = [0.99, 0.2, 0.6, 0.95, 0.5, 0.97] * 6
    labels = [0.0, 0.0, 1.0, 1.0, math.nan, 0.5] * 6
    table, asked = classified(probabilities, labels)
    told = failures.tell(table, asked)
    assert told is not None
    assert len(told["cases"]) == failures.MOST
    assert [case["name"] for case in told["cases"][:6]] == [f"1.{k}" for k in range(0, 36, 6)]
    assert told["cases"][0]["error"] == 0.99
    (by_confidence,) = told["by"]
    groups = {group["value"]: group for group in by_confidence["groups"]}
    assert {value: group["n"] for value, group in groups.items()} == {
        "0.6 to below 0.7": 6,
        "0.8 to below 0.9": 6,
        "0.9 to 1": 18,
    }
    assert groups["0.9 to 1"]["figures"][0]["value"] == pytest.approx((0.99 + 0.05 + 0.47) / 3)


def test_of_several_questions_the_one_with_the_largest_gap_is_told() -> None:
    rows = [{"patient_id": f"P{k}", "record_uid": f"1.{k}"} for k in range(3)]
    known = {"a": [1.0, math.nan, math.nan], "b": [0.0, 0.0, math.nan]}
    sure = {"a": [0.9, 0.1, 0.5], "b": [0.7, 0.4, 0.5]}
    asked = [
        endpoints.Endpoint(name, lambda _, name=name: np.array(known[name]), lambda _, name=name: np.array(sure[name]))
        for name in known
    ]
    of = plan.Plan("multi_label", made_up.NUMBERS, plan.Asked([], asked), made_up.DRAWS)
    told = failures.tell(cases.Cases(rows), of)
    assert told is not None
    assert [(case["name"], case["why"], case["error"]) for case in told["cases"]] == [
        ("1.0", "large gap between probability and truth of b", 0.7),
        ("1.1", "large gap between probability and truth of b", 0.4),
    ]


def test_scores_that_are_no_probabilities_are_not_compared_with_truths() -> None:
    table, asked = classified([3.0, -2.0], [1.0, 0.0])
    (sick,) = asked.asked.endpoints
    improbable = dataclasses.replace(sick, probable=False)
    assert failures.tell(table, dataclasses.replace(asked, asked=plan.Asked([], [improbable]))) is None
