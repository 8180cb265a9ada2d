import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings

from radkit.errors import UserError
from radkit.metrics import roc
from radkit.metrics import survival_scores as scores
from tests.metrics.made_up_survival import CASES, EVENT, PLACEBO, RISK, TIME, share_left, unzip

TIMES = [4, 10, 20, 30]


def weighted_pairs(
    time: np.ndarray, event: np.ndarray, risk: np.ndarray, weight: Callable[[float], float]
) -> tuple[float, float]:
    """Weight of the concordant pairs and of all, one by one."""
    right = total = 0.0
    for i in np.flatnonzero(event):
        for j in range(time.size):
            if time[j] > time[i] or (time[j] == time[i] and not event[j]):
                total += weight(time[i])
                right += weight(time[i]) * (1.0 if risk[i] > risk[j] else 0.5 if risk[i] == risk[j] else 0.0)
    return right, total


def test_scores_are_those_of_scikit_survival() -> None:
    # scikit-survival 0.28.0, the same cases as training and test data.
    found = scores.concordance_index(TIME, EVENT, RISK)
    assert found == {"c": pytest.approx(0.6690042075736325), "concordant": 432, "discordant": 191, "tied": 90}
    uno = [scores.uno_c(TIME, EVENT, RISK, tau)["c"] for tau in (None, 12, 30)]
    assert uno == pytest.approx([0.6746380388269001, 0.6625348516530865, 0.6746380388269001])
    area = scores.time_dependent_auc(TIME, EVENT, RISK, TIMES)
    assert area["auc"] == pytest.approx([0.82653061, 0.63648095, 0.7584375, 0.82614981], abs=1e-8)
    assert area["mean"] == pytest.approx(0.7447923755714982)
    predicted = np.exp(-0.04 * np.outer(1 + np.array(PLACEBO), TIMES))
    error = scores.integrated_brier(TIME, EVENT, TIMES, predicted)
    assert error["brier"] == pytest.approx([0.12381092, 0.22288462, 0.18532488, 0.12056113], abs=1e-8)
    assert error["ibs"] == pytest.approx(0.17732938999113268)


@settings(deadline=None, max_examples=80)
@given(CASES)
def test_concordance_is_that_of_all_pairs(cases: list[tuple[int, bool, int]]) -> None:
    time, event, risk = unzip(cases)
    right, total = weighted_pairs(time, event, risk, lambda _: 1.0)
    found = scores.concordance_index(time, event, risk)
    assert found["c"] == pytest.approx(right / total if total else math.nan, nan_ok=True)
    assert found["concordant"] + found["discordant"] + found["tied"] == total


@settings(deadline=None, max_examples=80)
@given(CASES)
def test_unos_concordance_is_that_of_all_weighted_pairs(cases: list[tuple[int, bool, int]]) -> None:
    time, event, risk = unzip(cases)
    for tau in (None, 3, 20):

        def weight(moment: float, tau: float | None = tau) -> float:
            share = share_left(time, event, moment, of_censoring=True)
            return 0.0 if tau is not None and moment >= tau else math.inf if share == 0 else share**-2

        right, total = weighted_pairs(time, event, risk, weight)
        expected = right / total if 0 < total < math.inf else math.nan
        assert scores.uno_c(time, event, risk, tau)["c"] == pytest.approx(expected, nan_ok=True)


@settings(deadline=None, max_examples=60)
@given(CASES)
def test_brier_scores_are_the_sum_over_cases(cases: list[tuple[int, bool, int]]) -> None:
    time, event, risk = unzip(cases)
    times = np.array([0.0, 2.5, 4.0, 6.0])
    predicted = np.exp(-0.1 * np.outer(risk, times))
    expected = []
    for moment, column in zip(times, predicted.T):
        total = math.nan if moment >= time.max() else 0.0
        for end, seen, chance in zip(time, event, column):
            if end > moment:
                total += (1 - chance) ** 2 / share_left(time, event, moment, of_censoring=True)
            elif seen and not math.isnan(total):
                total += chance**2 / share_left(time, event, end, of_censoring=True)
        expected.append(total / time.size)
    found = scores.integrated_brier(time, event, times, predicted)
    assert found["brier"] == pytest.approx(expected, nan_ok=True)
    assert found["ibs"] == pytest.approx(np.trapezoid(expected, times) / 6, nan_ok=True)


@settings(deadline=None, max_examples=60)
@given(CASES)
def test_areas_are_those_of_all_pairs(cases: list[tuple[int, bool, int]]) -> None:
    time, event, risk = unzip(cases)
    for moment, found in zip((0, 2.5, 5), scores.time_dependent_auc(time, event, risk, [0, 2.5, 5])["auc"]):
        right = total = 0.0
        for i in np.flatnonzero(event & (time <= moment)):
            for j in np.flatnonzero(time > moment):
                weight = 1 / share_left(time, event, time[i], of_censoring=True)
                total += weight
                right += weight * (0.5 + 0.5 * np.sign(risk[i] - risk[j]))
        assert found == pytest.approx(right / total if total else math.nan, nan_ok=True)


@settings(deadline=None, max_examples=40)
@given(CASES)
def test_only_the_order_of_risks_counts(cases: list[tuple[int, bool, int]]) -> None:
    time, event, risk = unzip(cases)
    for metric in (scores.concordance_index, scores.uno_c):
        plain = metric(time, event, risk)["c"]
        assert metric(time, event, np.exp(3 * risk) * 1e-12)["c"] == pytest.approx(plain, nan_ok=True)
        assert metric(time, event, -risk)["c"] == pytest.approx(1 - plain, nan_ok=True)
        assert metric(time[::-1], event[::-1], risk[::-1])["c"] == pytest.approx(plain, nan_ok=True)
    area = scores.time_dependent_auc(time, event, risk, [2, 4])["auc"]
    assert scores.time_dependent_auc(time, event, -risk, [2, 4])["auc"] == pytest.approx(
        [1 - value for value in area], nan_ok=True
    )


def test_without_censoring_nothing_is_weighted() -> None:
    random = np.random.default_rng(3)
    time, risk = np.round(random.exponential(5, 60), 1), random.integers(0, 9, 60)
    event, times = np.ones(60), np.array([1.0, 3.0, 6.0])
    assert scores.uno_c(time, event, risk)["c"] == pytest.approx(scores.concordance_index(time, event, risk)["c"])
    areas = scores.time_dependent_auc(time, event, risk, times)["auc"]
    assert areas == pytest.approx([roc.auc(time <= moment, risk) for moment in times])
    predicted = random.random((60, 3))
    found = scores.integrated_brier(time, event, times, predicted)["brier"]
    assert found == pytest.approx(np.mean((predicted - (time[:, None] > times)) ** 2, axis=0))


def test_many_cases_agree_with_all_pairs() -> None:
    random = np.random.default_rng(4)
    time, event, risk = random.integers(0, 300, 1000), random.random(1000) < 0.5, random.integers(0, 200, 1000)
    later = event[:, None] & ((time > time[:, None]) | ((time == time[:, None]) & ~event))
    found = scores.concordance_index(time, event, risk)
    assert found["concordant"] == np.sum(later & (risk < risk[:, None]))
    assert found["discordant"] == np.sum(later & (risk > risk[:, None]))


def test_times_may_come_in_any_order() -> None:
    predicted = np.exp(-0.04 * np.outer(1 + np.array(PLACEBO), TIMES))
    turned = [3, 0, 2, 1]
    brier = scores.integrated_brier(TIME, EVENT, TIMES, predicted)
    other = scores.integrated_brier(TIME, EVENT, np.array(TIMES)[turned], predicted[:, turned])
    assert other["brier"] == pytest.approx(np.array(brier["brier"])[turned])
    assert other["ibs"] == pytest.approx(brier["ibs"])
    area = scores.time_dependent_auc(TIME, EVENT, RISK, TIMES)
    moved = scores.time_dependent_auc(TIME, EVENT, RISK, np.array(TIMES)[turned])
    assert moved["auc"] == pytest.approx(np.array(area["auc"])[turned])
    assert moved["mean"] == pytest.approx(area["mean"])


def test_no_comparable_pair_is_nan() -> None:
    for time, event in (([], []), ([1], [1]), ([1, 2], [0, 0]), ([2, 2], [1, 1]), ([1, 2], [0, 1])):
        risk = list(range(len(time)))
        assert math.isnan(scores.concordance_index(time, event, risk)["c"])
        assert math.isnan(scores.uno_c(time, event, risk)["c"])


def test_an_infinite_weight_is_nan_and_a_smaller_tau_mends_it() -> None:
    # The last two leave together, one with the event: nobody is left uncensored at that time.
    time, event, risk = [1, 2, 3, 3], [1, 1, 1, 0], [4, 3, 1, 2]
    assert math.isnan(scores.uno_c(time, event, risk)["c"])
    assert scores.uno_c(time, event, risk, tau=3)["c"] == 1
    assert math.isnan(scores.uno_c(time, event, risk, tau=1)["c"])


def test_times_outside_follow_up_are_nan() -> None:
    area = scores.time_dependent_auc([2, 3, 4], [1, 1, 0], [3, 2, 1], [1, 2, 4, 9])
    assert area["auc"] == pytest.approx([math.nan, 1, math.nan, math.nan], nan_ok=True)
    assert math.isnan(area["mean"])
    assert scores.time_dependent_auc([2, 3, 4], [1, 1, 0], [3, 2, 1], [2])["mean"] == 1
    brier = scores.integrated_brier([2, 3, 4], [1, 1, 0], [1, 4], [[1, 0.5]] * 3)
    assert brier["brier"] == pytest.approx([0, math.nan], nan_ok=True)
    assert math.isnan(brier["ibs"])
    assert math.isnan(scores.integrated_brier([2, 3], [1, 1], [1], [[1], [1]])["ibs"])


def test_no_times_and_no_cases_give_empty_answers() -> None:
    assert scores.time_dependent_auc([1, 2], [1, 0], [2, 1], [])["auc"] == []
    assert scores.integrated_brier([1, 2], [1, 0], [], np.zeros((2, 0)))["brier"] == []
    assert np.isnan(scores.time_dependent_auc([], [], [], [1, 2])["auc"]).all()
    assert np.isnan(scores.integrated_brier([], [], [1, 2], np.zeros((0, 2)))["brier"]).all()


def test_wrong_input_is_refused() -> None:
    with pytest.raises(UserError, match="time 2, risk 1"):
        scores.concordance_index([1, 2], [1, 0], [1])
    with pytest.raises(UserError, match="risk must hold numbers"):
        scores.uno_c([1, 2], [1, 0], [1, math.nan])
    with pytest.raises(UserError, match="tau must hold numbers"):
        scores.uno_c([1, 2], [1, 0], [1, 2], tau=math.nan)
    with pytest.raises(UserError, match=r"here \(2, 3\).*it is \(3, 2\)"):
        scores.integrated_brier([1, 2], [1, 0], [1, 2, 3], np.zeros((3, 2)))
    with pytest.raises(UserError, match=r"survival must lie in \[0, 1\]"):
        scores.integrated_brier([1, 2], [1, 0], [1], [[1.5], [0]])
