"""Gaps between groups: rates of calls and leading figures."""

import math
from typing import Any

import numpy as np
import pytest

from radkit.evaluation import fairness_told, measures, plan, subgroups
from radkit.evaluation.cases import Cases
from radkit.metrics import METRICS
from tests.evaluation import made_up_groups


def of(told: list[dict[str, Any]], fact: str, endpoint: str | None = "sick") -> dict[str, Any]:
    (found,) = (entry for entry in told if (entry["fact"], entry["endpoint"]) == (fact, endpoint))
    return found


def gaps(entry: dict[str, Any]) -> list[float]:
    return [one["value"] for one in entry["gaps"]]


@pytest.mark.parametrize("fact", ["sex", "age_years"])
def test_gaps_are_those_of_metrics_fairness(fact: str) -> None:
    cases = made_up_groups.made(400)
    entry = of(fairness_told.tell(cases, made_up_groups.plan_of()), fact)
    (grouped,) = (one for one in subgroups.FACTS if one.name == fact)
    known = METRICS["fairness"](
        y_true=cases.numbers("label"),
        y_pred=cases.numbers("probability sick") >= 0.5,
        group=grouped.groups(cases).tolist(),
    )
    keys = ("tpr_difference", "fpr_difference", "demographic_parity_difference", "equalized_odds_difference")
    assert gaps(entry) == pytest.approx([known[key] for key in keys])
    for group in entry["groups"]:
        rates = [one["value"] for one in group["figures"]]
        assert rates == pytest.approx([known[key][group["value"]] for key in ("tpr", "fpr", "selection_rate")])
    extremes = {known["tpr"][entry["gaps"][0][key]] for key in ("largest", "smallest")}
    assert extremes == {max(known["tpr"].values()), min(known["tpr"].values())}


def test_an_interval_of_a_gap_is_that_of_the_gaps_of_the_same_draws() -> None:
    cases = made_up_groups.made()
    entry = of(fairness_told.tell(cases, made_up_groups.plan_of()), "sex", None)
    drawn = [
        measures.drawn(made_up_groups.AUC, cases, made_up_groups.DRAWS, cases.words("sex") == value) for value in "FM"
    ]
    known = measures.interval(0.0, np.abs(drawn[0] - drawn[1]), 30, 0.95)
    assert (entry["gaps"][0]["low"], entry["gaps"][0]["high"]) == known
    assert entry["gaps"][0]["name"] == "gap in AUC"


def test_groups_alike_have_no_gap() -> None:
    rows = made_up_groups.rows(60)
    twins = [{**row, "patient_id": f"Q{row['patient_id']}", "record_uid": f"2{row['record_uid']}"} for row in rows]
    cases = Cases([{**row, "site": site} for site, listed in (("A", rows), ("B", twins)) for row in listed])
    assert gaps(of(fairness_told.tell(cases, made_up_groups.plan_of()), "site")) == [0, 0, 0, 0]


def test_small_groups_and_those_not_told_are_left_out_and_counted() -> None:
    sites = ["A"] * 40 + ["B"] * 40 + ["C"] * 6 + [""] * 34
    cases = Cases([{**row, "site": site} for row, site in zip(made_up_groups.rows(), sites)])
    entry = of(fairness_told.tell(cases, made_up_groups.plan_of()), "site")
    assert [group["value"] for group in entry["groups"]] == ["A", "B"]
    assert (entry["n"], entry["num_too_few"], entry["num_not_told"]) == (80, 6, 34)


def test_a_group_without_positives_has_no_sensitivity_and_no_say_in_its_gap() -> None:
    rows = made_up_groups.rows()
    cases = Cases([{**row, "label": 0.0 if row["site"] == "A" else row["label"]} for row in rows])
    entry = of(fairness_told.tell(cases, made_up_groups.plan_of()), "site")
    assert entry["num_undefined"] == 1
    assert math.isnan(entry["gaps"][0]["value"])
    assert math.isnan(entry["gaps"][3]["value"])
    assert not math.isnan(entry["gaps"][1]["value"])
    three = [
        {**row, "site": row["site"] if k % 12 < 6 else row["site"].replace("B", "C")}
        for k, row in enumerate(cases.rows)
    ]
    entry = of(fairness_told.tell(Cases(three), made_up_groups.plan_of()), "site")
    assert entry["gaps"][0]["value"] >= 0
    assert not math.isnan(entry["gaps"][0]["low"])
    assert "A" not in (entry["gaps"][0]["largest"], entry["gaps"][0]["smallest"])


def test_tasks_without_questions_have_gaps_of_their_leading_figures() -> None:
    asked = plan.Asked((made_up_groups.BRIGHT,))
    told = fairness_told.tell(made_up_groups.made(), made_up_groups.plan_of(asked=asked, points=()))
    assert told == []
    leading = measures.Measure("mean brightness", "mean", made_up_groups.BRIGHT.of, leads=True)
    told = fairness_told.tell(made_up_groups.made(), made_up_groups.plan_of(asked=plan.Asked((leading,)), points=()))
    assert [entry["fact"] for entry in told] == ["sex", "age_years", "site"]
    cases = made_up_groups.made()
    means = [cases.numbers("brightness")[cases.words("sex") == value].mean() for value in "FM"]
    assert gaps(told[0]) == pytest.approx([abs(means[0] - means[1])])


def test_cases_that_are_all_alike_are_not_compared() -> None:
    cases = Cases(made_up_groups.rows(4, per_patient=4))
    assert fairness_told.tell(cases, made_up_groups.plan_of()) == []


def test_draws_that_leave_a_gap_infinite_are_counted_as_undefined() -> None:
    cases = made_up_groups.made()
    first = cases.patients == 0

    def of(_: Cases, weights: np.ndarray) -> np.ndarray:
        there = weights[:, first].sum(axis=1) > 0
        return np.where(there | (weights[:, ~first].sum(axis=1) == 0), 1.0, np.inf)

    leading = measures.Measure("finite while the first patient is drawn", "", of, leads=True)
    told = fairness_told.tell(cases, made_up_groups.plan_of(asked=plan.Asked((leading,)), points=()))
    for entry in told:
        of_groups = [group["figures"][0]["num_undefined"] for group in entry["groups"]]
        assert entry["gaps"][0]["num_undefined"] == max(of_groups) > 0
