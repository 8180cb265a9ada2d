import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle

from radkit.evaluation import binary, curves
from radkit.metrics import METRICS, calibration, classification
from tests.evaluation import made_up_endpoints as made_up

CASES = st.lists(st.tuples(st.booleans(), st.integers(0, 20)), min_size=2, max_size=40)


def answers(truth: list, score: list) -> binary.Answers:
    return binary.answers(made_up.ILL, made_up.table(truth, score))


@settings(deadline=None, max_examples=60)
@given(CASES)
def test_curves_agree_with_scikit_learn(cases: list[tuple[bool, int]]) -> None:
    truth, score = np.array([t for t, _ in cases]), np.array([s / 20 for _, s in cases])
    assume(truth.any() and not truth.all())
    found = curves.scores(answers(truth, score))
    fpr, tpr, _ = oracle.roc_curve(truth, score, drop_intermediate=False)
    told = list(zip(found["roc"]["fpr"], found["roc"]["tpr"]))
    assert {(round(x, 9), round(y, 9)) for x, y in told} <= {(round(x, 9), round(y, 9)) for x, y in zip(fpr, tpr)}
    # What is left out lies on the lines between: the area is the whole curve's.
    assert oracle.auc(found["roc"]["fpr"], found["roc"]["tpr"]) == pytest.approx(oracle.roc_auc_score(truth, score))
    for threshold, x, y in zip(*(found["roc"][key][1:] for key in ("threshold", "fpr", "tpr"))):
        called = score >= threshold
        assert (x, y) == pytest.approx((called[~truth].mean(), called[truth].mean()))
    precision, recall, threshold = oracle.precision_recall_curve(truth, score)
    told = found["precision_recall"]
    np.testing.assert_allclose(told["threshold"], threshold[::-1])
    np.testing.assert_allclose(told["recall"], recall[:-1][::-1])
    np.testing.assert_allclose(told["precision"], precision[:-1][::-1])


def test_long_curves_are_thinned_and_keep_their_ends() -> None:
    generator = np.random.default_rng(0)
    truth = generator.random(5000) < 0.5
    found = curves.scores(answers(truth, generator.random(5000)))
    roc, precision = found["roc"], found["precision_recall"]
    assert 400 < len(roc["fpr"]) <= 500
    assert len(precision["recall"]) == 500
    assert (roc["fpr"][0], roc["tpr"][0], roc["fpr"][-1], roc["tpr"][-1]) == (0, 0, 1, 1)
    assert math.isnan(roc["threshold"][0])
    assert precision["recall"][-1] == 1
    assert found["n"] == 5000


def test_a_straight_stretch_is_told_by_its_ends() -> None:
    roc = curves.scores(answers([1, 1, 1, 0, 0], [0.9, 0.8, 0.7, 0.3, 0.2]))["roc"]
    assert (roc["fpr"], roc["tpr"]) == ([0, 0, 1], [0, 1, 1])
    assert roc["threshold"][1:] == [0.7, 0.2]


@pytest.mark.parametrize("truth", [[0, 0], [1, 1], [math.nan, math.nan]])
def test_one_class_has_no_curve(truth: list[float]) -> None:
    found = curves.scores(answers(truth, [0.2, 0.4]))
    assert found["roc"]["fpr"] == found["roc"]["tpr"] == []
    assert found["precision_recall"]["precision"] == ([1, 1] if truth == [1, 1] else [])


def test_bins_are_those_of_the_reliability_diagram_with_wilson_intervals() -> None:
    cases = made_up.of_ill()
    truth, score = cases.numbers("truth"), cases.numbers("score")
    found = curves.calibration(binary.answers(made_up.ILL, cases), 0.9)
    expected = calibration.reliability(truth, score)
    for key in ("mean", "fraction", "count"):
        np.testing.assert_allclose([one[key] for one in found["bins"]], expected[key])
    for one in found["bins"]:
        inside = (score > one["low"]) & (score <= one["high"]) | (score == 0) & (one["low"] == 0)
        assert one["count"] == inside.sum()
        wilson = classification.proportion_ci(int(truth[inside].sum()), one["count"], alpha=0.1)
        assert (one["wilson_low"], one["wilson_high"]) == pytest.approx((wilson["wilson_low"], wilson["wilson_high"]))
    assert (found["n"], found["level"]) == (60, 0.9)


def test_bins_of_truths_in_between_have_shares_without_intervals() -> None:
    (found,) = curves.calibration(answers([0.5, 1], [0.61, 0.65]), 0.95)["bins"]
    assert (found["fraction"], found["count"], found["mean"]) == pytest.approx((0.75, 2, 0.63))
    assert math.isnan(found["wilson_low"])
    assert curves.calibration(answers([math.nan], [0.5]), 0.95)["bins"] == []


def test_the_decision_curve_is_net_benefit_at_each_threshold() -> None:
    cases = made_up.of_ill(digits=3)
    truth, score = cases.numbers("truth"), cases.numbers("score")
    found = curves.decisions(binary.answers(made_up.ILL, cases), cost_of_miss=4)
    assert found["threshold"] == [k / 100 for k in range(1, 100)]
    for threshold, model, everyone in zip(found["threshold"], found["model"], found["all"]):
        assert model == pytest.approx(METRICS["net_benefit"](truth, score, threshold))
        assert everyone == pytest.approx(METRICS["net_benefit"](truth, np.ones(60), threshold))
    # A miss worth four false alarms: act from a probability of one in five on.
    assert (found["none"], found["at_cost"], found["n"]) == (0, 0.2, 60)


def test_a_decision_curve_without_cases_is_empty() -> None:
    found = curves.decisions(answers([math.nan], [0.5]), 1)
    assert (found["threshold"], found["model"], found["all"], found["n"]) == ([], [], [], 0)
