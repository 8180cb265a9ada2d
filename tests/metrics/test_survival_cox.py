import math

import numpy as np
import pytest
from hypothesis import given, settings

from radkit.errors import UserError
from radkit.metrics.survival import logrank
from radkit.metrics.survival_cox import cox_fit
from tests.metrics.made_up_survival import CASES, EVENT, PLACEBO, RISK, TIME, unzip


def likelihood(time: np.ndarray, event: np.ndarray, x: np.ndarray, coefficient: float, efron: bool) -> float:
    """The partial log likelihood at a coefficient, event by event, as the papers write it."""
    weight, found = np.exp(coefficient * x), 0.0
    for moment in np.unique(time[event]):
        dead = event & (time == moment)
        for place in range(dead.sum()):
            gone = place / dead.sum() if efron else 0.0
            found -= math.log(weight[time >= moment].sum() - gone * weight[dead].sum())
        found += coefficient * x[dead].sum()
    return found


@pytest.mark.parametrize(
    ("x", "efron", "breslow"),
    [
        (
            PLACEBO,
            (1.572125148829, 0.412396717709, -85.008424577372),
            (1.509191412586, 0.409564406367, -86.379622071146),
        ),
        (RISK, (0.340331327473, 0.105455920528, -87.735822464503), (0.329645823404, 0.105484197190, -88.873905853966)),
    ],
)
def test_fit_is_that_of_r(x: list[int], efron: tuple[float, ...], breslow: tuple[float, ...]) -> None:
    # R 4.2.2, survival 3.5.3: coxph(Surv(t, e) ~ x, ties = ...).
    found = cox_fit(TIME, EVENT, x)
    assert [found[f"efron_{name}"] for name in ("coef", "se", "loglik")] == pytest.approx(efron, rel=1e-8)
    assert [found[f"breslow_{name}"] for name in ("coef", "se", "loglik")] == pytest.approx(breslow, rel=1e-8)


@settings(deadline=None, max_examples=60)
@given(CASES)
def test_fit_is_the_top_of_the_likelihood(cases: list[tuple[int, bool, int]]) -> None:
    time, event, x = unzip(cases)
    found = cox_fit(time, event, x)
    for name in ("efron", "breslow"):
        top, error, height = (found[f"{name}_{part}"] for part in ("coef", "se", "loglik"))
        if math.isfinite(top):
            low, middle, high = (likelihood(time, event, x, top + step, name == "efron") for step in (-1e-3, 0, 1e-3))
            assert height == pytest.approx(middle, abs=1e-9)
            assert (high - low) / 2e-3 == pytest.approx(0, abs=1e-4)
            assert (2 * middle - low - high) / 1e-6 == pytest.approx(error**-2, rel=1e-3, abs=1e-5)
        elif math.isinf(top):
            assert height == pytest.approx(
                likelihood(time, event, x, math.copysign(60, top), name == "efron"), abs=1e-9
            )
            assert error == math.inf
        else:
            anywhere = [likelihood(time, event, x, place, name == "efron") for place in (-1.0, 0.0, 2.0)]
            assert anywhere == pytest.approx([height] * 3, abs=1e-9)


@settings(deadline=None, max_examples=40)
@given(CASES)
def test_units_of_time_and_covariate_do_not_matter(cases: list[tuple[int, bool, int]]) -> None:
    time, event, x = unzip(cases)
    plain, other = cox_fit(time, event, x), cox_fit(time * 30.4375, event, 500 - 20 * x)
    for name in ("efron", "breslow"):
        assert other[f"{name}_coef"] == pytest.approx(plain[f"{name}_coef"] / -20, abs=1e-9, nan_ok=True)
        assert other[f"{name}_se"] == pytest.approx(plain[f"{name}_se"] / 20, rel=1e-6, nan_ok=True)
        assert other[f"{name}_loglik"] == pytest.approx(plain[f"{name}_loglik"], abs=1e-9)


def test_without_ties_both_approximations_and_the_logrank_test_agree() -> None:
    random = np.random.default_rng(1)
    time, event, group = random.permutation(40) + 1.0, random.random(40) < 0.8, random.integers(0, 2, 40)
    found = cox_fit(time, event, group)
    assert found["efron_coef"] == found["breslow_coef"]
    # The log-rank test is the score test of the coefficient 0.
    low, middle, high = (likelihood(time, event, group, step, True) for step in (-1e-3, 0, 1e-3))
    score, information = (high - low) / 2e-3, (2 * middle - low - high) / 1e-6
    assert logrank(time, event, group)["chisq"] == pytest.approx(score**2 / information, rel=1e-5)


def test_a_likelihood_without_a_top_has_an_infinite_coefficient() -> None:
    rising, falling = cox_fit([1, 2, 3], [1, 1, 1], [3, 2, 1]), cox_fit([1, 2, 3, 3], [1, 1, 1, 0], [1, 2, 3, 4])
    assert (rising["efron_coef"], rising["efron_se"]) == (math.inf, math.inf)
    assert rising["efron_loglik"] == pytest.approx(0, abs=1e-12)
    assert falling["breslow_coef"] == -math.inf
    # Two die at once, with the highest x: 1/2 and then 1 by Efron, 1/2 and 1/2 by Breslow.
    tied = cox_fit([1, 1, 2], [1, 1, 0], [5, 5, 4])
    assert (tied["efron_loglik"], tied["breslow_loglik"]) == pytest.approx((-math.log(2), -2 * math.log(2)))


@pytest.mark.parametrize(
    ("event", "x", "loglik"),
    [([0, 0, 0], [1, 2, 3], 0.0), ([1, 1, 0], [7, 7, 7], -math.log(6)), ([0, 0, 1], [1, 2, 3], 0.0)],
)
def test_nothing_to_learn_from_leaves_the_coefficient_undefined(event: list[int], x: list[int], loglik: float) -> None:
    found = cox_fit([1, 2, 3], event, x)
    assert math.isnan(found["efron_coef"])
    assert math.isnan(found["breslow_se"])
    assert found["efron_loglik"] == pytest.approx(loglik, abs=1e-12)


@pytest.mark.parametrize("sign", [1, -1])
def test_an_outlier_far_away_does_not_break_the_fit(sign: int) -> None:
    random = np.random.default_rng(2)
    x = random.normal(size=60)
    time, event = random.exponential(np.exp(-sign * x)), random.random(60) < 0.8
    alone = cox_fit(time, event, x)
    # Who had the event first with an endless risk tells nothing about the others.
    found = cox_fit([0, *time], [1, *event], [sign * 1e4, *x])
    assert found["efron_coef"] == pytest.approx(alone["efron_coef"], rel=1e-6)
    assert found["efron_se"] == pytest.approx(alone["efron_se"], rel=1e-6)
    assert found["efron_loglik"] == pytest.approx(alone["efron_loglik"], rel=1e-9)


def test_wrong_input_is_refused() -> None:
    with pytest.raises(UserError, match="time 2, x 3"):
        cox_fit([1, 2], [1, 0], [1, 2, 3])
    with pytest.raises(UserError, match="x must be finite"):
        cox_fit([1, 2], [1, 0], [1, math.inf])
    # The outlier had its event first, so that the fit rests on the others, 1e-300 of its size.
    with pytest.raises(UserError, match="leave its outliers out, or take its logarithm"):
        cox_fit([0, 1, 2, 3, 4], [1, 1, 1, 1, 1], [1e150, 1e-150, 0, 1e-150, 0])
