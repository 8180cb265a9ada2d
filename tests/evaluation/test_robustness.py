"""Slopes over the grid: against scipy's line and loops over draws, and what is refused."""

import dataclasses

import numpy as np
import pytest
from scipy import stats

from radkit import config, metrics
from radkit.errors import UserError
from radkit.evaluation import measures, robustness
from radkit.evaluation.cases import Cases, Draws
from radkit.evaluation.plan import Asked, Plan


def _mean(cases: Cases, weights: np.ndarray) -> np.ndarray:
    values = cases.numbers("score")
    there = np.isfinite(values)
    total = weights[:, there].sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(total > 0, weights[:, there] @ values[there] / total, np.nan)


MEAN = measures.Measure("mean score", "mean", _mean, leads=True, counts=lambda c: np.isfinite(c.numbers("score")))
SIZE = measures.Measure("not told", "mean", _mean)
AMOUNTS = (2.0, 5.0, 10.0)
DRAWS = Draws(resamples=200, seed=3)


def made(count: int = 14, steps: tuple[float, ...] = AMOUNTS, name: str = "noise") -> tuple[Cases, Plan]:
    random = np.random.default_rng(0)
    own = random.normal(0.8, 0.05, count)
    rows = [{"patient_id": f"P{i // 2}", "record_uid": f"1.{i}", "score": float(own[i])} for i in range(count)]
    worse = [
        {
            **row,
            "score": row["score"] - 0.02 * amount + float(random.normal(0, 0.01)),
            "perturbation": name,
            "amount": amount,
            "references_lost": int(amount > 5),
        }
        for row in rows
        for amount in steps
    ]
    plan = Plan("made_up", config.Data("made_up"), Asked([MEAN, SIZE]), DRAWS, perturbed=worse)
    return Cases(rows), plan


def scores(plan: Plan, amount: float) -> list[float]:
    return [row["score"] for row in plan.perturbed if row["amount"] == amount]


def test_slopes_are_those_of_a_line_through_the_figures() -> None:
    cases, plan = made()
    told = robustness.tell(cases, plan)
    heights = [cases.numbers("score").mean(), *[np.mean(scores(plan, amount)) for amount in AMOUNTS]]
    line = stats.linregress([0.0, *AMOUNTS], heights)
    (slope,) = told["perturbations"][0]["slopes"]
    assert slope["slope"] == pytest.approx(line.slope, abs=1e-12)
    assert slope["low"] < slope["slope"] < slope["high"] < 0
    assert (slope["n"], slope["num_patients"], slope["num_undefined"]) == (14, 7, 0)
    assert slope["per"] == "% of the grey values' range"
    assert [step["references_lost"] for step in told["perturbations"][0]["steps"]] == [0, 0, 0, 14]


def test_intervals_are_those_of_loops_over_drawn_patients() -> None:
    cases, plan = made()
    told = robustness.tell(cases, plan)["perturbations"][0]
    random = np.random.default_rng(DRAWS.seed)
    before, steps = cases.numbers("score"), [np.array(scores(plan, amount)) for amount in AMOUNTS]
    lines, changes = [], []
    for _ in range(DRAWS.resamples):
        members = np.concatenate([np.nonzero(cases.patients == one)[0] for one in random.integers(0, 7, 7)])
        means = [values[members].mean() for values in (before, *steps)]
        lines.append(np.polyfit([0.0, *AMOUNTS], means, 1)[0])
        changes.append(means[3] - means[0])
    outside = metrics.intervals.expanded(0.05, 7)
    for found, low, high in (
        (lines, told["slopes"][0]["low"], told["slopes"][0]["high"]),
        (changes, told["steps"][3]["figures"][0]["change_low"], told["steps"][3]["figures"][0]["change_high"]),
    ):
        np.testing.assert_allclose([low, high], np.quantile(found, [outside / 2, 1 - outside / 2]), atol=1e-12)


def test_figures_of_a_step_are_those_of_its_table() -> None:
    cases, plan = made()
    step = robustness.tell(cases, plan)["perturbations"][0]["steps"][2]
    table = Cases([row for row in plan.perturbed if row["amount"] == 5.0])
    expected = measures.figure(MEAN, table, DRAWS)
    found = step["figures"][0]
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    assert found["change"] == pytest.approx(np.mean(scores(plan, 5.0)) - cases.numbers("score").mean())
    direct = metrics.METRICS["bootstrap_ci"](
        "mean", None, scores(plan, 5.0), cluster=cases.patients, resamples=200, seed=3
    )
    assert (found["low"], found["high"]) == pytest.approx((direct["low"], direct["high"]))


def test_the_first_step_is_the_images_as_they_are() -> None:
    cases, plan = made()
    step = robustness.tell(cases, plan)["perturbations"][0]["steps"][0]
    figure = step["figures"][0]
    assert step["amount"] == 0
    assert figure["value"] == pytest.approx(cases.numbers("score").mean())
    assert (figure["change"], figure["change_low"], figure["change_high"]) == (0, 0, 0)


def test_only_leading_measures_are_told_and_the_order_of_rows_does_not_matter() -> None:
    cases, plan = made()
    told = robustness.tell(cases, plan)
    assert [slope["name"] for slope in told["perturbations"][0]["slopes"]] == ["mean score"]
    mixed = dataclasses.replace(plan, perturbed=[plan.perturbed[i] for i in np.random.default_rng(1).permutation(42)])
    assert robustness.tell(cases, mixed) == told


def test_only_the_cases_that_were_asked_again_are_compared() -> None:
    cases, plan = made()
    kept = [f"1.{i}" for i in range(6)]
    some = dataclasses.replace(plan, perturbed=[row for row in plan.perturbed if row["record_uid"] in kept])
    told = robustness.tell(cases, some)
    assert (told["n"], told["num_patients"]) == (6, 3)
    step = told["perturbations"][0]["steps"][1]
    assert step["figures"][0]["change"] == pytest.approx(np.mean(scores(some, 2.0)) - cases.numbers("score")[:6].mean())


def test_a_case_unknown_at_one_step_is_left_out_at_all_and_the_n_says_so() -> None:
    cases, plan = made()
    rows = [dict(row) for row in plan.perturbed]
    rows[4]["score"] = float("nan")
    told = robustness.tell(cases, dataclasses.replace(plan, perturbed=rows))["perturbations"][0]
    assert told["n"] == 14
    assert {step["figures"][0]["n"] for step in told["steps"]} == {13} == {told["slopes"][0]["n"]}
    left = [i for i in range(14) if i != 4 // len(AMOUNTS)]
    change = np.mean(np.array(scores(plan, 2.0))[left]) - cases.numbers("score")[left].mean()
    assert told["steps"][1]["figures"][0]["change"] == pytest.approx(change)


def test_one_patient_has_a_slope_and_no_interval() -> None:
    cases, plan = made(2)
    slope = robustness.tell(cases, plan)["perturbations"][0]["slopes"][0]
    assert np.isfinite(slope["slope"])
    assert np.isnan(slope["low"])


def test_what_is_unknown_everywhere_is_undefined_and_told() -> None:
    cases, plan = made()
    rows = [{**row, "score": float("nan")} for row in plan.perturbed]
    told = robustness.tell(cases, dataclasses.replace(plan, perturbed=rows))["perturbations"][0]
    assert np.isnan(told["slopes"][0]["slope"])
    assert told["slopes"][0]["n"] == 0
    assert told["slopes"][0]["num_undefined"] == 200


def test_nothing_asked_again_is_nothing_told() -> None:
    cases, plan = made()
    assert robustness.tell(cases, dataclasses.replace(plan, perturbed=())) is None


@pytest.mark.parametrize("wrong", ["missing", "twice", "unknown"])
def test_steps_of_other_records_are_refused(wrong) -> None:
    cases, plan = made()
    rows = list(plan.perturbed)
    rows = {
        "missing": rows[1:],
        "twice": [*rows, rows[0]],
        "unknown": [*rows, {**rows[0], "record_uid": "9.9"}],
    }[wrong]
    with pytest.raises(UserError, match="one of each of the"):
        robustness.tell(cases, dataclasses.replace(plan, perturbed=rows))


def test_an_amount_of_nothing_is_refused() -> None:
    cases, plan = made()
    rows = [*plan.perturbed, {**plan.perturbed[0], "amount": 0.0}]
    with pytest.raises(UserError, match="amount above 0"):
        robustness.tell(cases, dataclasses.replace(plan, perturbed=rows))
