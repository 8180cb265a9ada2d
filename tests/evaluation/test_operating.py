import dataclasses
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radkit import outputs
from radkit.errors import UserError
from radkit.evaluation import operating
from radkit.evaluation.endpoints import OperatingPoint
from radkit.metrics import METRICS
from tests.evaluation import made_up_endpoints as made_up

RULES = [("youden", None), ("min_sensitivity", 0.9), ("min_specificity", 0.8)]
CASES = st.lists(st.tuples(st.booleans(), st.integers(0, 8)), min_size=2, max_size=25)


@settings(deadline=None, max_examples=60)
@given(CASES, st.sampled_from(RULES))
def test_a_rule_takes_what_the_metric_takes(cases: list[tuple[bool, int]], rule: tuple[str, float | None]) -> None:
    truth, score = [float(t) for t, _ in cases], [s / 8 for _, s in cases]
    found = operating.choose(made_up.ILL, made_up.table(truth, score), *rule)
    expected = METRICS["operating_point"](truth, score, *rule)
    for key in ("threshold", "sensitivity", "specificity"):
        assert getattr(found, key) == pytest.approx(expected[key], nan_ok=True), key
    assert (found.rule, found.value, found.num_cases, found.chosen_on) == (*rule, len(cases), "validation")


@settings(deadline=None, max_examples=60)
@given(CASES, st.sampled_from([0.2, 1, 5, 50]))
def test_the_smallest_cost_is_that_of_a_search_over_all_thresholds(cases: list[tuple[bool, int]], miss: float) -> None:
    truth, score = np.array([t for t, _ in cases]), np.array([s / 8 for _, s in cases])
    found = operating.choose(made_up.ILL, made_up.table(truth, score), "min_cost", miss)
    if truth.all() or not truth.any():
        assert math.isnan(found.threshold)
        return

    def cost(threshold: float) -> float:
        called = score >= threshold
        return miss * np.sum(truth & ~called) + np.sum(~truth & called)

    tried = [*np.unique(score), np.inf]
    assert cost(found.threshold) == pytest.approx(min(map(cost, tried)))
    # Of equals the highest observed score; above all only where that is cheaper than any.
    best = [t for t in np.unique(score) if cost(t) <= min(map(cost, tried)) + 1e-9]
    assert found.threshold == pytest.approx(max(best)) if best else found.threshold > score.max()


def test_a_threshold_above_all_scores_is_above_them_in_float32_too() -> None:
    # The highest score is a no, and a miss is cheap.
    found = operating.choose(made_up.ILL, made_up.table([1, 0, 0, 0], [0.1, 0.7, 0.8, 0.9]), "min_cost", 0.1)
    assert np.float32(found.threshold) > np.float32(0.9)
    assert (found.sensitivity, found.specificity) == (0, 1)


def test_truths_in_between_and_missing_numbers_count() -> None:
    cases = made_up.table([1, 0.5, 0, 1, math.nan], [0.9, 0.8, 0.2, math.nan, 0.5])
    found = operating.choose(made_up.ILL, cases, "min_sensitivity", 0.6)
    # Yes weighs 1 + 0.5 + 1, of which the last has no number: at 0.8, 1.5 of 2.5 are called.
    assert (found.threshold, found.num_cases) == (0.8, 4)
    assert (found.sensitivity, found.specificity) == pytest.approx((0.6, 1 - 0.5 / 1.5))
    # All three that have a number are called at the lowest score; that is still not 0.9.
    assert math.isnan(operating.choose(made_up.ILL, cases, "min_sensitivity", 0.9).threshold)


@pytest.mark.parametrize("truth", [[0, 0], [1, 1], [math.nan, math.nan]])
def test_one_class_has_no_operating_point(truth: list[float]) -> None:
    for rule in [*RULES, ("min_cost", 2.0)]:
        found = operating.choose(made_up.ILL, made_up.table(truth, [0.2, 0.7]), *rule)
        assert math.isnan(found.threshold)
        assert math.isnan(found.sensitivity)


def test_rules_and_values_that_are_none_are_refused() -> None:
    cases = made_up.of_ill(n=10)
    with pytest.raises(UserError, match="did you mean 'youden'"):
        operating.choose(made_up.ILL, cases, "yuden")
    with pytest.raises(UserError, match="needs a value in \\[0, 1\\]"):
        operating.choose(made_up.ILL, cases, "min_sensitivity", 90)
    for value in (None, 0.0, math.inf, math.nan):
        with pytest.raises(UserError, match="costs in false alarms"):
            operating.choose(made_up.ILL, cases, "min_cost", value)


def test_json_gives_points_back_and_knows_whose_weights_they_are(tmp_path) -> None:
    points = [
        operating.choose(made_up.ILL, made_up.of_ill(), "min_sensitivity", 0.9),
        OperatingPoint("other", "youden", None, math.nan),
    ]
    outputs.write_json(tmp_path / "points.json", operating.to_json(points, "abc"))
    said = outputs.read_json(tmp_path / "points.json")
    found = operating.from_json(said, "abc")
    assert found is not None
    assert found[0] == points[0]
    assert json.dumps(dataclasses.asdict(found[1])) == json.dumps(dataclasses.asdict(points[1]))
    assert said["points"][1]["threshold"] is None
    assert operating.from_json(said, "another") is None
    assert operating.of_endpoint(made_up.ILL, found) == points[0]
    assert operating.of_endpoint(made_up.ILL, found[1:]) is None


@pytest.mark.parametrize(
    "said",
    [None, [], {}, {"points": [{}], "weights_sha256": "a"}, {"points": []}, {"points": 3, "weights_sha256": "a"}],
)
def test_what_is_no_table_of_points_is_refused(said: object) -> None:
    with pytest.raises(UserError, match=r"no operating points.*choose them again"):
        operating.from_json(said, "a")
