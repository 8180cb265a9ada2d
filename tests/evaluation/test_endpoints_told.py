import json
import math

import pytest

from radkit.evaluation import endpoints_told, operating
from radkit.evaluation.cases import Cases
from radkit.evaluation.endpoints import Endpoint, OperatingPoint
from tests.evaluation import made_up_endpoints as made_up

POINT = OperatingPoint("ill", "min_sensitivity", 0.9, 0.4, "validation", 50, 0.9, 0.7)


def test_an_endpoint_is_told_whole() -> None:
    cases = made_up.of_ill(per_patient=2)
    (found,) = endpoints_told.tell(cases, made_up.plan(points=[POINT], cost=3))
    ill = int(cases.numbers("truth").sum())
    assert (found["name"], found["n"], found["num_patients"]) == ("ill", 60, 30)
    assert (found["positives"], found["negatives"], found["soft"], found["unknown"]) == (ill, 60 - ill, 0, 0)
    assert found["prevalence"] == ill / 60
    assert found["set_to_worst"] == 0
    point = found["operating_point"]
    assert sum(point["confusion"].values()) == 60
    assert point["confusion"]["tp"] == ((cases.numbers("score") >= 0.4) & (cases.numbers("truth") == 1)).sum()
    assert (point["rule"], point["value"], point["threshold"], point["num_cases"]) == ("min_sensitivity", 0.9, 0.4, 50)
    by_name = {figure["name"]: figure for figure in point["figures"]}
    assert by_name["sensitivity"]["part"] == point["confusion"]["tp"]
    assert by_name["sensitivity"]["wilson"]["low"] < by_name["sensitivity"]["value"]
    assert "wilson" not in by_name["MCC"]
    for figure in [*found["figures"], *point["figures"]]:
        assert figure["method"]
        assert {"n", "num_patients", "interval", "level"} <= set(figure)
    for part in (found["curve"], found["calibration"], found["decision_curve"], point):
        assert part["method"]
        assert part["n"] == 60
    json.dumps(found)  # plain values only


def test_what_is_unknown_in_between_or_without_a_number_is_counted() -> None:
    cases = made_up.table([1, 0, 0.5, math.nan, 1, 0], [0.9, 0.2, 0.4, 0.5, math.nan, 0.6])
    (found,) = endpoints_told.tell(cases, made_up.plan(points=[POINT]))
    counted = {key: found[key] for key in ("n", "positives", "negatives", "soft", "unknown", "set_to_worst")}
    assert counted == {"n": 5, "positives": 2, "negatives": 2, "soft": 1, "unknown": 1, "set_to_worst": 1}
    assert found["prevalence"] == 0.5
    assert "worst" in found["method"]
    assert "in between" not in found["method"]
    assert "between 0 and 1 counts" in found["method"]
    assert found["operating_point"]["confusion"] == {"tp": 1.5, "fp": 1.5, "fn": 1, "tn": 1}


def test_points_that_are_missing_or_have_no_threshold_are_told_so() -> None:
    (found,) = endpoints_told.tell(made_up.of_ill(n=20), made_up.plan())
    assert found["operating_point"] is None
    nowhere = OperatingPoint("ill", "min_sensitivity", 0.99, math.nan, "validation", 9)
    (found,) = endpoints_told.tell(made_up.of_ill(n=20), made_up.plan(points=[nowhere]))
    assert found["operating_point"]["confusion"] is None
    assert found["operating_point"]["figures"] == []
    assert "no score met the rule" in found["operating_point"]["method"]


def test_scores_that_are_no_probabilities_have_no_calibration_and_no_decisions() -> None:
    (found,) = endpoints_told.tell(made_up.table([0, 1, 1], [-3, 2, 9]), made_up.plan([made_up.RANKED]))
    assert found["calibration"] is None
    assert found["decision_curve"] is None
    assert found["figures"][0]["value"] == 1


@pytest.mark.parametrize("truth", [[0, 0, 0], [1, 1, 1], [math.nan] * 3])
def test_one_class_or_none_is_told_with_what_is_defined(truth: list[float]) -> None:
    cases = made_up.table(truth, [0.2, 0.5, 0.9])
    (found,) = endpoints_told.tell(cases, made_up.plan(points=[POINT]))
    assert math.isnan(found["figures"][0]["value"])
    assert found["n"] + found["unknown"] == 3
    assert math.isnan(found["prevalence"]) == (found["n"] == 0)


def test_several_endpoints_stand_in_the_plans_order_each_with_its_own_point() -> None:
    cases = Cases([{**row, "other": float(k % 2)} for k, row in enumerate(made_up.of_ill().rows)])
    other = Endpoint("other", made_up.column("other"), made_up.column("score"))
    points = [operating.choose(one, cases, "youden") for one in (made_up.ILL, other)]
    found = endpoints_told.tell(cases, made_up.plan([other, made_up.ILL], points))
    assert [one["name"] for one in found] == ["other", "ill"]
    assert [one["operating_point"]["threshold"] for one in found] == [points[1].threshold, points[0].threshold]
    assert endpoints_told.tell(cases, made_up.plan([])) == []
