"""Figures of numbers for many draws: against repeated cases, numpy, scikit-learn and the room's own metrics."""

import math

import numpy as np
import pytest
from sklearn import metrics as peers

from radkit.metrics import agreement, icc, weighted_numbers


def made_up(seed: int, n: int = 23, draws: int = 7) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    truth = generator.normal(50, 9, n).round(generator.integers(0, 3))  # rounded ones tie
    found = truth + generator.normal(1, 4, n).round(1)
    return truth, found, generator.integers(0, 4, (draws, n)).astype(float)


def repeated(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return np.repeat(values, weights.astype(int))


@pytest.mark.parametrize("seed", range(6))
def test_a_weight_counts_as_so_many_copies(seed: int) -> None:
    truth, found, weights = made_up(seed)
    of = weighted_numbers.moments(truth, found, weights)
    got = {
        "mean": weighted_numbers.mean(truth, weights),
        "median": weighted_numbers.median(truth, weights),
        "r2": weighted_numbers.r2(truth, found, weights),
        "ccc": weighted_numbers.concordance(of),
        "icc": weighted_numbers.icc2(of),
        "variance": of.var_b,
        "covariance": of.covariance,
    }
    for draw, weight in enumerate(weights):
        a, b = repeated(truth, weight), repeated(found, weight)
        wanted = {
            "mean": a.mean(),
            "median": np.median(a),
            "r2": peers.r2_score(a, b),
            "ccc": agreement.lin_ccc(a, b),
            "icc": icc.icc(np.stack([a, b], axis=1))["ICC2"]["icc"],
            "variance": b.var(),
            "covariance": np.cov(a, b, ddof=0)[0, 1],
        }
        for name, value in wanted.items():
            assert got[name][draw] == pytest.approx(value, rel=1e-9), name


def test_the_order_of_cases_does_not_matter() -> None:
    truth, found, weights = made_up(3)
    order = np.random.default_rng(1).permutation(truth.size)
    for function in (weighted_numbers.mean, weighted_numbers.median):
        np.testing.assert_allclose(function(truth[order], weights[:, order]), function(truth, weights), rtol=1e-13)
    np.testing.assert_allclose(
        weighted_numbers.r2(truth[order], found[order], weights[:, order]),
        weighted_numbers.r2(truth, found, weights),
        rtol=1e-12,
    )


def test_a_value_that_is_no_number_spoils_only_the_draws_that_count_it() -> None:
    values = np.array([1.0, math.nan, 5.0, math.inf])
    weights = np.array([[1, 0, 1, 0], [1, 1, 1, 0], [2, 0, 1, 1], [0, 0, 0, 0]], float)
    assert weighted_numbers.mean(values, weights).tolist() == pytest.approx([3, *[math.nan] * 3], nan_ok=True)
    assert weighted_numbers.median(values, weights).tolist() == pytest.approx([3, *[math.nan] * 3], nan_ok=True)
    of = weighted_numbers.moments(values, np.arange(4.0), weights)
    assert np.isnan(of.var_a).tolist() == [False, True, True, True]


def test_nothing_at_all_is_undefined() -> None:
    nothing, weights = np.zeros(0), np.zeros((2, 0))
    assert np.isnan(weighted_numbers.mean(nothing, weights)).all()
    assert np.isnan(weighted_numbers.median(nothing, weights)).all()
    assert np.isnan(weighted_numbers.r2(nothing, nothing, weights)).all()


def test_one_value_only_has_no_r2_and_no_agreement_however_far_from_zero() -> None:
    same, once = np.full(5, 1e6 + 0.1), np.ones((1, 5))
    assert np.isnan(weighted_numbers.r2(same, np.arange(5.0), once)).all()
    of = weighted_numbers.moments(same, same, once)
    assert of.var_a.tolist() == [0.0]
    assert np.isnan(weighted_numbers.concordance(of)).all()
    assert np.isnan(weighted_numbers.icc2(of)).all()
    # Draws of one patient hold one value, whatever the others are.
    values = np.array([0.1, 0.1, 7.3])
    assert np.isnan(weighted_numbers.r2(values, values + 1, np.array([[2.0, 1, 0]]))).all()


def test_two_constants_that_differ_agree_in_nothing() -> None:
    of = weighted_numbers.moments(np.zeros(4), np.ones(4), np.ones((1, 4)))
    assert weighted_numbers.concordance(of).tolist() == [agreement.lin_ccc(np.zeros(4), np.ones(4))] == [0.0]


def test_one_case_alone_has_no_agreement() -> None:
    of = weighted_numbers.moments(np.array([3.0]), np.array([4.0]), np.array([[1.0], [2.0]]))
    assert np.isnan(weighted_numbers.icc2(of))[0]
    assert np.isnan(weighted_numbers.concordance(of))[0]
    assert weighted_numbers.concordance(of)[1] == 0.0


def test_medians_of_shares_of_weight() -> None:
    values, weights = np.array([4.0, 1.0, 9.0]), np.array([[0.5, 0.5, 0.5], [0.5, 0.5, 1.0], [0.0, 0.25, 0.25]])
    assert weighted_numbers.median(values, weights).tolist() == [4.0, 6.5, 5.0]
