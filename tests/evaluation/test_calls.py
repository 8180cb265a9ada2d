import math

import numpy as np
import pytest
from scipy import stats

from radkit.evaluation import calls, measures, rates
from radkit.evaluation.cases import Cases
from radkit.evaluation.endpoints import OperatingPoint
from radkit.metrics import METRICS, intervals
from tests.evaluation import made_up_endpoints as made_up

POINT = OperatingPoint("ill", "fixed", None, 0.5)
KEYS = {
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "PPV": "ppv",
    "NPV": "npv",
    "accuracy": "accuracy",
    "balanced accuracy": "balanced_accuracy",
    "F1": "f1",
    "MCC": "mcc",
    "LR+": "lr_plus",
    "kappa": "kappa",
}


def told(cases: Cases, cost: float = 1.0) -> dict[str, dict]:
    listed = calls.measures(made_up.ILL, POINT, cost)
    return {measure.name: measures.figure(measure, cases, made_up.DRAWS) for measure in listed}


def test_every_figure_is_that_of_the_metric() -> None:
    cases = made_up.of_ill()
    truth, called = cases.numbers("truth"), cases.numbers("score") >= 0.5
    expected = METRICS["confusion_metrics"](truth, called)
    found = told(cases, cost=4)
    for name, key in KEYS.items():
        assert found[name]["value"] == pytest.approx(expected[key]), name
    sensitivity, specificity = expected["sensitivity"], expected["specificity"]
    assert found["LR-"]["value"] == pytest.approx((1 - sensitivity) / specificity)
    cost = METRICS["expected_cost"](truth.astype(int), called.astype(int), [[0, 1], [4, 0]])
    assert found["expected cost"]["value"] == pytest.approx(cost)
    assert set(found) == {*KEYS, "LR-", "expected cost"}
    assert all("0.5" in one["method"] for one in found.values())


@pytest.mark.parametrize("name", ["PPV", "NPV", "accuracy", "F1", "MCC", "kappa", "balanced accuracy"])
def test_intervals_are_those_of_bootstrap_ci_with_the_same_seed(name: str) -> None:
    cases = made_up.of_ill(per_patient=3)
    expected = intervals.bootstrap_ci(
        KEYS[name], cases.numbers("truth"), cases.numbers("score") >= 0.5, cases.patients, resamples=200
    )
    found = told(cases)[name]
    assert (found["low"], found["high"]) == pytest.approx((expected["low"], expected["high"]))


def test_a_sensitivity_is_about_the_patients_who_are_ill() -> None:
    cases = made_up.of_ill()
    found, ill = told(cases)["sensitivity"], int(cases.numbers("truth").sum())
    assert (found["n"], found["num_patients"]) == (ill, ill)
    assert told(cases)["specificity"]["n"] == len(cases) - ill


def test_shares_have_exact_and_wilson_intervals() -> None:
    cases = made_up.table([1] * 10 + [0] * 10, [0.9] * 8 + [0.1] * 2 + [0.8] * 1 + [0.2] * 9)
    closed, shares = told(cases), calls.shares(made_up.ILL, POINT, cases, 0.95)
    # R: binom.test(8, 10)$conf.int and prop.test(8, 10, correct = FALSE)$conf.int
    exact = stats.binomtest(8, 10).proportion_ci(method="exact")
    wilson = stats.binomtest(8, 10).proportion_ci(method="wilson")
    assert (shares["sensitivity"]["part"], shares["sensitivity"]["whole"]) == (8, 10)
    low_high = [closed["sensitivity"]["closed"][key] for key in ("low", "high")]
    assert low_high == pytest.approx([exact.low, exact.high])
    assert low_high == pytest.approx([0.4439045, 0.9747893], abs=1e-7)
    of_wilson = [shares["sensitivity"]["wilson"][key] for key in ("low", "high")]
    assert of_wilson == pytest.approx([wilson.low, wilson.high])
    assert of_wilson == pytest.approx([0.4901625, 0.9433178], abs=1e-7)
    assert {name: (one["part"], one["whole"]) for name, one in shares.items()} == {
        "sensitivity": (8, 10),
        "specificity": (9, 10),
        "PPV": (8, 9),
        "NPV": (9, 11),
        "accuracy": (17, 20),
    }


def test_likelihood_ratios_have_intervals_on_the_log_scale() -> None:
    cases = made_up.table([1] * 10 + [0] * 10, [0.9] * 8 + [0.1] * 2 + [0.8] * 1 + [0.2] * 9)
    found = told(cases)
    half = stats.norm.ppf(0.975) * math.sqrt(1 / 8 - 1 / 10 + 1 / 1 - 1 / 10)
    closed = found["LR+"]["closed"]
    assert (closed["low"], closed["high"]) == pytest.approx((8 * math.exp(-half), 8 * math.exp(half)))
    perfect = told(made_up.table([1, 1, 0, 0], [0.9, 0.8, 0.1, 0.2]))
    assert perfect["LR+"]["value"] == math.inf
    assert math.isnan(perfect["LR+"]["closed"]["low"])
    assert "undefined where a count is 0" in perfect["LR+"]["closed"]["method"]


def test_cases_twice_in_any_order_and_all_as_a_subgroup_change_no_value() -> None:
    cases = made_up.of_ill()
    for measure in calls.measures(made_up.ILL, POINT):
        expected = measures.value(measure, cases)
        assert measures.value(measure, made_up.doubled(cases)) == pytest.approx(expected), measure.name
        assert measures.value(measure, Cases(list(cases.rows)[::-1])) == pytest.approx(expected), measure.name
        assert measures.value(measure, cases, np.ones(len(cases), bool)) == expected, measure.name


def test_a_case_without_a_number_is_wrong_whatever_the_threshold() -> None:
    cases = made_up.table([1, 0, 1, 0], [math.nan, math.nan, 0.9, 0.1])
    everyone = np.ones((1, 4))
    for threshold, expected in ((0.5, [1, 1, 1, 1]), (0.0, [1, 2, 1, 0]), (1.0, [0, 1, 2, 1])):
        point = OperatingPoint("ill", "fixed", None, threshold)
        assert calls.counts(made_up.ILL, point, cases, everyone)[0].tolist() == expected
        # Subgroups and fairness count alike.
        of_rates = measures.value(rates.sensitivity(made_up.ILL, threshold), cases)
        assert of_rates == expected[0] / (expected[0] + expected[2])


def test_truths_in_between_are_parted_and_have_no_intervals_of_whole_cases() -> None:
    cases = made_up.table([1, 0.75, 0.25, 0], [0.9, 0.8, 0.6, 0.1])
    assert calls.counts(made_up.ILL, POINT, cases, np.ones((1, 4)))[0].tolist() == [2, 1, 0, 1]
    found, shares = told(cases), calls.shares(made_up.ILL, POINT, cases, 0.95)
    for name in ("sensitivity", "PPV", "LR+"):
        assert math.isnan(found[name]["closed"]["low"])
        assert "in between" in found[name]["closed"]["method"]
    assert math.isnan(shares["PPV"]["wilson"]["low"])


def test_without_a_threshold_nothing_is_defined() -> None:
    nowhere = OperatingPoint("ill", "min_sensitivity", 0.9, math.nan)
    found = calls.counts(made_up.ILL, nowhere, made_up.of_ill(n=5), np.ones((2, 5)))
    assert found.shape == (2, 4)
    assert np.isnan(found).all()


@pytest.mark.parametrize(("truth", "missing"), [([0, 0], "sensitivity"), ([1, 1], "specificity")])
def test_one_class_leaves_its_figure_undefined(truth: list[float], missing: str) -> None:
    found = told(made_up.table(truth, [0.2, 0.7]))
    assert math.isnan(found[missing]["value"])
    assert found[missing]["n"] == 0
    assert math.isnan(found[missing]["closed"]["low"])
