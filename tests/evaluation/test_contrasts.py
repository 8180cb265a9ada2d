"""Differences of groups and models from draws of patients that both share."""

import math

import numpy as np
import pytest
from scipy import stats

from radkit.evaluation import contrasts, measures
from radkit.evaluation.cases import Cases, Draws
from tests.evaluation import made_up_groups

MEAN = measures.Measure(
    "mean", "mean", lambda cases, weights: (weights @ cases.numbers("x")) / np.maximum(weights.sum(1), 1e-300)
)
DRAWS = Draws(resamples=400, seed=0)


def table(x: list[float]) -> Cases:
    return Cases([{"patient_id": f"P{k:03d}", "x": value} for k, value in enumerate(x)])


def test_what_is_drawn_is_what_a_figure_draws() -> None:
    cases = made_up_groups.made()
    members = cases.words("sex") == "F"
    (found,) = contrasts.drawn([(made_up_groups.AUC, cases, members)], made_up_groups.DRAWS)
    assert found.figure(made_up_groups.DRAWS) == measures.figure(
        made_up_groups.AUC, cases, made_up_groups.DRAWS, members
    )
    np.testing.assert_array_equal(
        found.values, measures.drawn(made_up_groups.AUC, cases, made_up_groups.DRAWS, members)
    )


def test_two_groups_of_the_same_spread_give_welchs_p() -> None:
    random = np.random.default_rng(2)
    x = [*random.normal(0.0, 1, 150), *random.normal(0.3, 1, 150)]
    cases = table(x)
    first = np.arange(300) < 150
    this, other = contrasts.drawn([(MEAN, cases, first), (MEAN, cases, ~first)], Draws(resamples=2000, seed=0))
    found = contrasts.difference(this, other, Draws(resamples=2000, seed=0))
    known = stats.ttest_ind(x[:150], x[150:], equal_var=False)
    assert found["difference"] == pytest.approx(np.mean(x[:150]) - np.mean(x[150:]))
    assert found["p"] == pytest.approx(known.pvalue, abs=0.02)
    assert found["se"] == pytest.approx(found["difference"] / known.statistic, rel=0.05)
    assert found["low"] < found["difference"] < found["high"]
    assert found["n"] == 300


def test_small_groups_without_any_difference_seldom_seem_to_differ() -> None:
    random, draws, runs = np.random.default_rng(1), Draws(resamples=200, seed=0), 400
    first = np.arange(40) < 10
    found = 0
    for _ in range(runs):
        cases = table(random.normal(0, 1, 40).tolist())
        this, other = contrasts.drawn([(MEAN, cases, first), (MEAN, cases, ~first)], draws)
        found += contrasts.difference(this, other, draws)["p"] < 0.05
    assert found / runs <= 0.05  # by a normal p 7.2 %


def test_a_difference_from_itself_is_nothing_and_exchanged_it_changes_its_sign() -> None:
    cases = made_up_groups.made()
    women = cases.words("sex") == "F"
    asked = [(made_up_groups.AUC, cases, women), (made_up_groups.AUC, cases, ~women)]
    this, other = contrasts.drawn(asked, made_up_groups.DRAWS)
    one, two = (contrasts.difference(*pair, made_up_groups.DRAWS) for pair in ((this, other), (other, this)))
    assert (one["difference"], one["low"], one["high"]) == pytest.approx(
        (-two["difference"], -two["high"], -two["low"])
    )
    assert one["p"] == two["p"]
    same = contrasts.difference(this, this, made_up_groups.DRAWS)
    assert (same["difference"], same["low"], same["high"], same["p"]) == (0, 0, 0, 1)


def test_equal_values_differ_by_nothing_whatever_their_last_bits_say() -> None:
    cases = table([0.1 + 0.2] * 21)
    first = np.arange(21) < 10
    found = contrasts.difference(*contrasts.drawn([(MEAN, cases, first), (MEAN, cases, ~first)], DRAWS), DRAWS)
    assert found["p"] == 1


def test_a_difference_without_any_spread_has_no_p() -> None:
    cases = table([1.0] * 10 + [2.0] * 10)
    first = np.arange(20) < 10
    found = contrasts.difference(*contrasts.drawn([(MEAN, cases, first), (MEAN, cases, ~first)], DRAWS), DRAWS)
    assert found["difference"] == pytest.approx(-1)
    assert math.isnan(found["p"])


def test_one_patient_has_no_interval_and_infinity_minus_infinity_is_undefined() -> None:
    cases = table([1.0, 2.0, 3.0, 4.0])
    alone = np.arange(4) < 1
    found = contrasts.difference(*contrasts.drawn([(MEAN, cases, alone), (MEAN, cases, ~alone)], DRAWS), DRAWS)
    assert all(math.isnan(found[name]) for name in ("low", "high", "se", "p"))
    endless = measures.Measure("endless", "", lambda _, weights: np.full(len(weights), math.inf))
    both = contrasts.drawn([(endless, cases, alone), (endless, cases, ~alone)], DRAWS)
    found = contrasts.difference(*both, DRAWS)
    assert math.isnan(found["difference"])
    assert found["num_undefined"] == 400


def test_without_draws_there_is_a_difference_and_no_interval() -> None:
    cases, none = table([1.0, 2.0, 3.0, 5.0]), Draws(resamples=0)
    first = np.arange(4) < 2
    found = contrasts.difference(*contrasts.drawn([(MEAN, cases, first), (MEAN, cases, ~first)], none), none)
    assert found["difference"] == pytest.approx(-2.5)
    assert math.isnan(found["p"])


def test_p_is_corrected_as_by_r() -> None:
    # p.adjust(c(0.01, 0.04, 0.03), "holm")
    assert contrasts.adjusted([0.01, math.nan, 0.04, 0.03])[::2] == pytest.approx([0.03, 0.06])


def test_nothing_asked_is_nothing_drawn() -> None:
    assert contrasts.drawn([], DRAWS) == []
