import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from scipy import stats

from radkit.errors import UserError
from radkit.metrics import survival
from tests.metrics.made_up_survival import CASES, EVENT, PLACEBO, TIME, share_left, unzip

AT = [0, 6, 10, 23, 40]


def test_curve_and_median_are_those_of_r() -> None:
    # R 4.2.2, survival 3.5.3: survfit(Surv(t, e) ~ 1), summary(times = AT, extend = TRUE), summary()$table.
    treated = survival.kaplan_meier(TIME[:21], EVENT[:21], at=AT)
    assert treated["survival"] == pytest.approx([1, 0.857142857143, 0.752941176471, 0.448179271709, 0.448179271709])
    assert treated["ci_low"] == pytest.approx([1, 0.719817083916, 0.585918982030, 0.248788226818, 0.248788226818])
    assert treated["ci_high"] == pytest.approx([1, 1, 0.967574754552, 0.807372045529, 0.807372045529])
    assert treated["at_risk"] == [21, 21, 15, 6, 0]
    assert treated["median"] == 23

    placebo = survival.kaplan_meier(TIME[21:], EVENT[21:], at=AT)
    assert placebo["survival"] == pytest.approx([1, 0.571428571429, 0.380952380952, 0, 0], abs=1e-12)
    assert placebo["ci_high"] == pytest.approx([1, 0.827606556639, 0.657132736169, math.nan, math.nan], nan_ok=True)
    assert placebo["median"] == 8


@pytest.mark.parametrize(
    ("event", "median"),
    [
        ([1, 1, 1, 1], 2.5),  # one half between the second event and the third
        ([1, 1, 0, 1], 3.0),  # and until the fourth, past who is censored
        ([1, 1, 0, 0], 2.0),  # to the end
        ([1, 0, 0, 0], math.nan),
        ([0, 0, 1, 1], 3.5),
        ([0, 0, 0, 0], math.nan),
    ],
)
def test_a_curve_level_at_one_half_has_its_median_in_the_middle(event: list[int], median: float) -> None:
    assert survival.kaplan_meier([1, 2, 3, 4], event, at=[])["median"] == pytest.approx(median, nan_ok=True)


def test_rounding_does_not_move_the_median() -> None:
    # 5/6 * 4/5 * 3/4 is not exactly one half in floating point; R says 3.5 too.
    assert survival.kaplan_meier(range(1, 7), [1] * 6, at=[])["median"] == 3.5


@settings(deadline=None, max_examples=100)
@given(CASES)
def test_curves_agree_with_the_product_case_by_case(cases: list[tuple[int, bool, int]]) -> None:
    time, event, _ = unzip(cases)
    at = np.arange(-1, 9) + 0.0
    found = survival.kaplan_meier(time, event, at)["survival"]
    assert found == pytest.approx([share_left(time, event, moment) for moment in at], abs=1e-12)
    uncensored = survival.uncensored(time, event, at)
    assert uncensored == pytest.approx([share_left(time, event, moment, True) for moment in at], abs=1e-12)
    # Nobody is both: the two curves together are the share still followed.
    followed = [np.mean(time > moment) for moment in at]
    assert np.multiply(found, uncensored) == pytest.approx(followed, abs=1e-12)


def test_without_censoring_the_curve_is_the_share_still_followed() -> None:
    time = np.random.default_rng(0).integers(0, 20, 50)
    found = survival.kaplan_meier(time, np.ones(50), at=range(20))
    assert found["survival"] == pytest.approx([np.mean(time > moment) for moment in range(20)], abs=1e-12)
    assert found["at_risk"] == [np.sum(time >= moment) for moment in range(20)]


def test_greater_coverage_gives_wider_intervals() -> None:
    wide, narrow = (survival.kaplan_meier(TIME, EVENT, at=[8, 15], alpha=alpha) for alpha in (0.01, 0.2))
    assert np.all(np.array(wide["ci_low"]) < narrow["ci_low"])
    assert np.all(np.array(wide["ci_high"]) > narrow["ci_high"])


def test_logrank_is_that_of_r() -> None:
    # R 4.2.2, survival 3.5.3: survdiff(Surv(t, e) ~ group).
    two = survival.logrank(TIME, EVENT, PLACEBO)
    assert (two["chisq"], two["p"]) == pytest.approx((16.7929409892, 4.16880910933e-05), rel=1e-10)
    assert (two["df"], two["groups"], two["observed"]) == (1, [0, 1], [9, 21])
    assert two["expected"] == pytest.approx([19.250500948, 10.749499052])
    three = survival.logrank(TIME, EVENT, [place % 3 for place in range(42)])
    assert (three["chisq"], three["p"]) == pytest.approx((0.716380589169, 0.698940057843), rel=1e-10)


@settings(deadline=None, max_examples=60)
@given(CASES)
def test_logrank_of_two_groups_is_the_sum_over_tables(cases: list[tuple[int, bool, int]]) -> None:
    time, event, score = unzip(cases)
    group = score > 1
    difference = variance = 0.0
    for moment in np.unique(time[event]):
        at_risk, dead = time >= moment, event & (time == moment)
        n, d, share = at_risk.sum(), dead.sum(), (at_risk & group).sum() / at_risk.sum()
        difference += (dead & group).sum() - d * share
        variance += d * share * (1 - share) * (n - d) / max(n - 1, 1)
    assume(variance > 1e-9)
    found = survival.logrank(time, event, group)
    assert found["chisq"] == pytest.approx(difference**2 / variance, rel=1e-9, abs=1e-12)
    assert found["p"] == pytest.approx(stats.chi2.sf(found["chisq"], 1))


@settings(deadline=None, max_examples=40)
@given(CASES)
def test_names_and_order_of_groups_do_not_matter(cases: list[tuple[int, bool, int]]) -> None:
    time, event, score = unzip(cases)
    shuffled = np.random.default_rng(len(cases)).permutation(time.size)
    names = np.array(["e", "d", "c", "b", "a"])[score.astype(int)]
    plain = survival.logrank(time, event, score)
    renamed = survival.logrank(time[shuffled], event[shuffled], names[shuffled])
    assert renamed["chisq"] == pytest.approx(plain["chisq"], rel=1e-9, abs=1e-9, nan_ok=True)
    assert renamed["df"] == plain["df"]


def test_a_group_gone_before_the_first_event_is_left_out_of_the_test() -> None:
    time, event = [3, 4, 5, 6, 1, 1, 7, 8], [1, 1, 0, 1, 0, 0, 1, 1]
    found = survival.logrank(time, event, list("aaaabbcc"))
    # R 4.2.2, survival 3.5.3: 2.86363636363636 on 1 degree of freedom.
    assert (found["chisq"], found["df"]) == pytest.approx((2.86363636363636, 1))
    assert found["expected"] == pytest.approx([1.6, 0, 3.4])


@pytest.mark.parametrize(
    ("time", "event", "group"),
    [
        ([], [], []),
        ([1, 2], [1, 1], ["a", "a"]),
        ([1, 2], [0, 0], ["a", "b"]),
        ([3, 3], [1, 1], ["a", "b"]),
        ([1, 4, 5], [0, 1, 1], ["a", "b", "b"]),
    ],
)
def test_logrank_is_nan_when_nothing_can_be_compared(time: list[int], event: list[int], group: list[str]) -> None:
    found = survival.logrank(time, event, group)
    assert math.isnan(found["chisq"])
    assert math.isnan(found["p"])


def test_groups_may_be_named_by_anything() -> None:
    assert survival.logrank([1, 2, 3], [1, 1, 1], ["1", 1, True])["groups"] == ["1", 1]
    assert survival.logrank([1, 2, 3], [1, 1, 1], np.array([2, 0, 2]))["groups"] == [2, 0]


def test_no_cases_have_no_curve() -> None:
    found = survival.kaplan_meier([], [], at=[1, 2])
    assert np.isnan([*found["survival"], *found["ci_low"], *found["ci_high"], found["median"]]).all()
    assert found["at_risk"] == [0, 0]


def test_wrong_input_is_refused() -> None:
    with pytest.raises(UserError, match=r"2 of 3 values are negative, the least -5.*wrong way round"):
        survival.kaplan_meier([1, -2, -5], [1, 1, 0], at=[1])
    with pytest.raises(UserError, match="event must hold 0 and 1 only"):
        survival.kaplan_meier([1, 2], [1, 2], at=[1])
    with pytest.raises(UserError, match="time 2, event 1"):
        survival.kaplan_meier([1, 2], [1], at=[1])
    with pytest.raises(UserError, match="time 2, group 3"):
        survival.logrank([1, 2], [1, 0], ["a", "b", "b"])
    with pytest.raises(UserError, match="2 of 3 are missing"):
        survival.logrank([1, 2, 3], [1, 0, 1], ["a", None, math.nan])
    with pytest.raises(UserError, match="group must be one-dimensional"):
        survival.logrank([1, 2], [1, 0], [["a"], ["b"]])
