import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, special

from radkit.metrics import calibration, weighted_calibration

FIGURES = {
    "brier": weighted_calibration.brier,
    "log_loss": weighted_calibration.log_loss,
    "ece_positive": weighted_calibration.expected_error,
    "slope": weighted_calibration.slope,
    "citl": weighted_calibration.intercept,
}
CASES = st.lists(st.tuples(st.booleans(), st.integers(0, 20), st.integers(0, 3)), min_size=1, max_size=25)


@settings(deadline=None, max_examples=100)
@given(CASES)
def test_a_case_of_weight_2_counts_as_if_it_were_there_twice(cases: list[tuple[bool, int, int]]) -> None:
    truth, prob, times = (np.array(part, float) for part in zip(*cases))
    rows = np.repeat(np.arange(len(cases)), times.astype(int))
    expected = calibration.calibration(truth[rows], prob[rows] / 20)
    for name, figure in FIGURES.items():
        found = figure(truth, prob / 20, times[None])[0]
        assert found == pytest.approx(expected[name], rel=1e-6, abs=1e-6, nan_ok=True), name


def test_recalibration_of_truths_in_between_agrees_with_a_general_optimiser() -> None:
    generator = np.random.default_rng(3)
    logit = generator.normal(0, 1.5, 200)
    truth = np.round(special.expit(0.4 + 0.6 * logit + generator.normal(0, 1, 200)) * 4) / 4
    weight = generator.integers(0, 4, 200).astype(float)

    def loss(beta: np.ndarray) -> float:
        linear = beta[0] + beta[1] * logit
        return float(np.sum(weight * (np.logaddexp(0, linear) - truth * linear)) / weight.sum())

    both = optimize.minimize(loss, [0.0, 1.0], method="BFGS", options={"gtol": 1e-9}).x
    offset = optimize.minimize_scalar(lambda a: loss(np.array([a, 1.0])), options={"xtol": 1e-10}).x
    prob = special.expit(logit)
    assert weighted_calibration.slope(truth, prob, weight[None])[0] == pytest.approx(both[1], abs=1e-5)
    assert weighted_calibration.intercept(truth, prob, weight[None])[0] == pytest.approx(offset, abs=1e-5)


def test_brier_and_log_loss_of_truths_in_between_by_hand() -> None:
    truth, prob = np.array([0.5, 1.0]), np.array([0.25, 0.75])
    assert weighted_calibration.brier(truth, prob, np.ones((1, 2)))[0] == 0.0625
    expected = (-(math.log(0.25) + math.log(0.75)) / 2 - math.log(0.75)) / 2
    assert weighted_calibration.log_loss(truth, prob, np.ones((1, 2)))[0] == pytest.approx(expected)


def test_the_binned_error_of_truths_in_between_by_hand() -> None:
    # Both are in (0.2, 0.3]: share of yes 0.5, mean probability 0.26.
    found = weighted_calibration.expected_error(np.array([0.25, 0.75]), np.array([0.22, 0.3]), np.ones((1, 2)))
    assert found[0] == pytest.approx(0.24)


def test_what_has_no_finite_estimate_is_undefined() -> None:
    apart, prob = np.array([0.0, 0, 1, 1]), np.array([0.1, 0.2, 0.3, 0.9])
    assert math.isnan(weighted_calibration.slope(apart, prob, np.ones((1, 4)))[0])
    assert math.isfinite(weighted_calibration.intercept(apart, prob, np.ones((1, 4)))[0])
    for one_class in (np.zeros(4), np.ones(4)):
        assert math.isnan(weighted_calibration.slope(one_class, prob, np.ones((1, 4)))[0])
        assert math.isnan(weighted_calibration.intercept(one_class, prob, np.ones((1, 4)))[0])
    empty = np.zeros(0)
    for name, figure in FIGURES.items():
        assert np.isnan(figure(empty, empty, np.ones((2, 0)))).all(), name


def test_certain_probabilities_have_a_slope_where_some_are_wrong() -> None:
    # Two distinct logits: the fit is exact, and the slope the difference of the log odds over that of the logits.
    truth, prob = np.array([1.0, 1, 1, 0, 0, 0, 0, 1]), np.array([1.0, 1, 1, 1, 0, 0, 0, 0])
    expected = 2 * math.log(3) / (2 * special.logit(1 - np.finfo(float).eps))
    found = weighted_calibration.slope(truth, prob, np.ones((1, 8)))[0]
    assert found == pytest.approx(expected, rel=1e-3)
