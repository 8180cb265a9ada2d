import math

import numpy as np
import pytest
from sklearn import metrics as oracle

from radkit.data import label_kinds
from radkit.evaluation import classes, degrees, measures
from radkit.evaluation.cases import Cases
from radkit.metrics import METRICS, intervals
from tests.evaluation import made_up_endpoints as made_up

NAMES = ("none", "mild", "moderate", "severe")


def made() -> Cases:
    return made_up.of_classes(names=NAMES)


def called_by_task(cases: Cases) -> list[int]:
    return [label_kinds.middle_degree([row[f"probability {name}"] for name in NAMES]) for row in cases.rows]


def values(cases: Cases) -> dict[str, float]:
    return {measure.name: measures.value(measure, cases) for measure in degrees.measures(NAMES)}


def test_the_middle_degree_is_called_as_the_task_calls_it() -> None:
    cases = made()
    assert degrees.called(cases, NAMES).calls.tolist() == called_by_task(cases)


def test_every_value_is_that_of_scikit_learn() -> None:
    cases = made()
    truth, called = cases.numbers("label").astype(int), np.array(called_by_task(cases))
    assert values(cases) == pytest.approx(
        {
            "quadratic kappa": oracle.cohen_kappa_score(truth, called, weights="quadratic"),
            "linear kappa": oracle.cohen_kappa_score(truth, called, weights="linear"),
            "accuracy": oracle.accuracy_score(truth, called),
            "mean error in degrees": oracle.mean_absolute_error(truth, called),
            "at most one degree off": np.mean(abs(truth - called) <= 1),
        }
    )


def test_intervals_are_those_of_bootstrap_ci_with_the_same_seed() -> None:
    cases = made()
    error = abs(cases.numbers("label") - called_by_task(cases))
    expected = intervals.bootstrap_ci("mean", None, error, cases.patients, resamples=200)
    measure = next(one for one in degrees.measures(NAMES) if one.name == "mean error in degrees")
    found = measures.figure(measure, cases, made_up.DRAWS)
    assert (found["low"], found["high"]) == pytest.approx((expected["low"], expected["high"]))
    assert found["better"] == "lower"


def test_each_degree_but_the_lowest_asks_whether_it_is_reached() -> None:
    cases = made()
    asked = degrees.endpoints(NAMES)
    assert [one.name for one in asked] == ["mild or higher", "moderate or higher", "severe"]
    for k, endpoint in enumerate(asked, 1):
        assert endpoint.truth(cases).tolist() == [float(row["label"] >= k) for row in cases.rows]
        above = [label_kinds.at_least([row[f"probability {name}"] for name in NAMES])[k - 1] for row in cases.rows]
        np.testing.assert_allclose(np.minimum(endpoint.score(cases), 1), above)


def test_cases_twice_in_any_order_change_no_value() -> None:
    cases = made()
    assert values(made_up.doubled(cases)) == pytest.approx(values(cases))
    assert values(Cases(list(cases.rows)[::-1])) == pytest.approx(values(cases))


def test_a_case_without_a_number_is_called_the_farthest_degree() -> None:
    rows = [{**row, "label": k, "probability mild": math.nan} for k, row in enumerate(made().rows[:4])]
    found = degrees.called(Cases(rows), NAMES)
    assert found.calls.tolist() == [3, 3, 0, 0]
    assert found.unanswered.all()
    assert values(Cases(rows))["mean error in degrees"] == 2.5


def test_unknown_degrees_are_left_out() -> None:
    cases = made()
    more = Cases([*cases.rows, {**cases.rows[0], "label": -1}])
    assert values(more) == pytest.approx(values(cases))
    assert np.isnan(degrees.endpoints(NAMES)[0].truth(more)[-1])
    nobody = Cases([{**row, "label": -1} for row in cases.rows[:3]])
    assert all(math.isnan(value) for value in values(nobody).values())


def test_kappa_weighs_as_the_metric_does_where_a_degree_was_never_used() -> None:
    cases = Cases([row for row in made().rows if row["label"] != 1])
    expected = METRICS["cohen_kappa"](cases.numbers("label").astype(int), called_by_task(cases), labels=range(4))
    assert values(cases)["quadratic kappa"] == pytest.approx(expected["quadratic"])
    assert classes.table(NAMES, degrees.called, cases, np.ones((1, len(cases))))[0, 1].sum() == 0
