"""Test sets side by side."""

import math
from typing import Any

import pytest
from scipy import stats

from radkit.errors import UserError
from radkit.evaluation import measures, subgroups, test_sets
from radkit.metrics import METRICS
from tests.evaluation import made_up_answers, made_up_groups


def report(seed: int, **said: Any) -> dict[str, Any]:
    """Returns what the report of another test set says, as its file has it."""
    cases, plan = made_up_groups.made(90, seed=seed), made_up_groups.plan_of()
    told = {
        "task": "classification",
        "cases": {"n": len(cases), "num_patients": cases.num_patients},
        "figures": [measures.figure(made_up_groups.AUC, cases, plan.draws)],
        "subgroups": subgroups.tell(cases, plan),
        "test_set": {"type": "geographic", "told": "geographic, B", "of_the_runs_records": False},
    }
    found: dict[str, Any] = made_up_answers.as_json({**told, **said})
    return found


def told(**elsewhere: dict[str, Any]) -> dict[str, Any]:
    made = {"type": "random", "told": "random", "of_the_runs_records": True}
    found = test_sets.tell(made_up_groups.made(), made_up_groups.plan_of(elsewhere=elsewhere, test_set=made))
    assert found is not None
    return found


def test_sets_are_told_with_their_type_and_figures() -> None:
    other = report(7)
    here, there = told(B=other)["sets"]
    assert (here["type"], here["external"], here["n"]) == ("split-sample", False, 120)
    assert (there["type"], there["external"], there["n"]) == ("geographic", True, 90)
    assert here["figures"][0] == measures.figure(made_up_groups.AUC, made_up_groups.made(), made_up_groups.DRAWS)
    assert [one["name"] for one in there["figures"]] == ["AUC", "sensitivity", "specificity"]
    assert there["figures"][0] == other["figures"][0]


def test_a_difference_has_the_error_of_both_intervals() -> None:
    found = told(B=report(7))
    first, second = (entry["figures"][0] for entry in found["sets"])
    one = found["differences"][0]
    errors = [(figure["high"] - figure["low"]) / (2 * 1.959963985) for figure in (first, second)]
    assert one["se"] == pytest.approx(math.hypot(*errors))
    z = (first["value"] - second["value"]) / math.hypot(*errors)
    assert one["p"] == pytest.approx(2 * stats.norm.sf(abs(z)))
    assert one["difference"] - one["low"] == pytest.approx(1.959963985 * one["se"])
    p = [one["p"] for one in found["differences"]]
    assert [one["p_adjusted"] for one in found["differences"]] == METRICS["adjust_pvalues"](p=p)["holm"]


def test_the_same_set_differs_by_nothing() -> None:
    cases, plan = made_up_groups.made(), made_up_groups.plan_of()
    same = report(1) | {"figures": [measures.figure(made_up_groups.AUC, cases, plan.draws)]}
    assert told(again=same)["differences"][0]["p"] == 1


def test_what_a_report_leaves_undefined_is_undefined() -> None:
    other = report(7)
    other["figures"][0] |= {"value": None, "low": None, "high": None}
    one = told(B=other)["differences"][0]
    assert all(math.isnan(one[key]) for key in ("difference", "low", "high", "p", "p_adjusted"))


def test_a_fold_is_no_external_set_and_what_is_not_told_is_said_so() -> None:
    sets = told(fold=report(7, test_set={"type": "fold", "told": "fold 1"}), old=report(8, test_set={}))["sets"]
    assert [(one["type"], one["external"]) for one in sets[1:]] == [
        ("fold of cross-validation", False),
        ("not told", None),
    ]


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"task": "segmentation"}, "a report of task 'segmentation'; one of 'classification' was expected"),
        ({"figures": {"AUC": 0.9}}, "no report as radkit evaluate writes it"),
        ({"cases": None}, "no report as radkit evaluate writes it"),
    ],
)
def test_other_reports_are_refused(said: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        told(B=report(7, **said))


def test_alone_there_is_nothing_to_tell() -> None:
    assert test_sets.tell(made_up_groups.made(10), made_up_groups.plan_of()) is None
