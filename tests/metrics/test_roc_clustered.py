import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radkit.errors import UserError
from radkit.metrics import roc
from radkit.metrics.roc_clustered import roc_auc_clustered

CASES = st.lists(st.tuples(st.booleans(), st.integers(0, 6), st.integers(0, 5)), min_size=1, max_size=25)


def by_loops(truth: list[bool], score: list[int], owner: list[int]) -> tuple[float, float]:
    """Obuchowski's variance, pair by pair and patient by patient."""
    yes = [(s, o) for t, s, o in zip(truth, score, owner) if t]
    no = [(s, o) for t, s, o in zip(truth, score, owner) if not t]
    m, n = len(yes), len(no)

    def order(a: int, b: int) -> float:
        return 1.0 if a > b else 0.5 if a == b else 0.0

    area = sum(order(a, b) for a, _ in yes for b, _ in no) / (m * n)
    patients = sorted(set(owner))
    first = [sum(sum(order(a, b) for b, _ in no) / n - area for a, o in yes if o == p) for p in patients]
    second = [sum(sum(order(a, b) for a, _ in yes) / m - area for b, o in no if o == p) for p in patients]
    i10, i01, i = len({o for _, o in yes}), len({o for _, o in no}), len(patients)
    s10 = i10 / ((i10 - 1) * m) * sum(x * x for x in first)
    s01 = i01 / ((i01 - 1) * n) * sum(x * x for x in second)
    s11 = i / (i - 1) * sum(x * y for x, y in zip(first, second))
    return area, s10 / m + s01 / n + 2 * s11 / (m * n)


@settings(deadline=None, max_examples=100)
@given(CASES)
def test_the_variance_is_that_of_plain_loops(cases: list[tuple[bool, int, int]]) -> None:
    truth, score, owner = (list(part) for part in zip(*cases))
    found = roc_auc_clustered(truth, score, owner)
    if len({o for t, _, o in cases if t}) < 2 or len({o for t, _, o in cases if not t}) < 2:
        assert math.isnan(found["var"])
        return
    area, variance = by_loops(truth, score, owner)
    assert (found["auc"], found["var"]) == pytest.approx((area, variance), abs=1e-12)


@settings(deadline=None, max_examples=60)
@given(CASES)
def test_one_case_a_patient_is_delong(cases: list[tuple[bool, int, int]]) -> None:
    truth, score, _ = (list(part) for part in zip(*cases))
    found, expected = roc_auc_clustered(truth, score, range(len(cases)), 0.1), roc.roc_auc_delong(truth, score, 0.1)
    assert found == pytest.approx(expected, nan_ok=True)


def test_a_case_that_is_there_twice_is_no_more_evidence() -> None:
    generator = np.random.default_rng(0)
    truth = generator.random(60) < 0.5
    score, owner = generator.random(60) + 0.3 * truth, np.arange(60)
    once = roc_auc_clustered(truth, score, owner)
    twice = roc_auc_clustered(np.tile(truth, 2), np.tile(score, 2), np.tile(owner, 2))
    assert (twice["auc"], twice["var"]) == pytest.approx((once["auc"], once["var"]))
    # As little evidence as before, so no narrower; by log odds more room below than above.
    low, high = (abs(twice[end] - twice["auc"]) for end in ("ci_low", "ci_high"))
    assert low > high
    assert low + high == pytest.approx(once["ci_high"] - once["ci_low"], rel=0.05)
    assert roc.roc_auc_delong(np.tile(truth, 2), np.tile(score, 2))["var"] < 0.6 * once["var"]


def test_intervals_of_clustered_cases_hold_the_truth_as_often_as_they_say() -> None:
    # A patient's shift is shared by its four cases; the true area is that of two normals, Phi(d / sqrt(2 var)).
    generator = np.random.default_rng(1)
    truth, owner = np.tile([1, 0, 1, 0], 150), np.repeat(np.arange(150), 4)
    truth[:300] = np.repeat([1, 0], 150)  # half of the patients have one class only
    expected = 0.5 * (1 + math.erf(1.2 / math.sqrt(2 * 1.25) / math.sqrt(2)))
    inside = alone = 0
    for _ in range(300):
        score = generator.normal(0, 1, 150)[owner] + generator.normal(0, 0.5, 600) + 1.2 * truth
        kept, apart = roc_auc_clustered(truth, score, owner), roc.roc_auc_delong(truth, score)
        inside += kept["ci_low"] <= expected <= kept["ci_high"]
        alone += apart["ci_low"] <= expected <= apart["ci_high"]
    assert 0.925 <= inside / 300 <= 0.975
    assert alone / 300 < 0.9


def test_intervals_of_forty_patients_hold_high_areas_too() -> None:
    # Patients are ill or not, four images each that are much alike; the true area is 0.9.
    generator = np.random.default_rng(2)
    owner, runs = np.repeat(np.arange(40), 4), 400
    inside = normal = 0
    for _ in range(runs):
        truth = (generator.random(40) < 0.5)[owner]
        score = generator.normal(0, 0.8**0.5, 40)[owner] + generator.normal(0, 0.2**0.5, 160) + 1.8124 * truth
        found = roc_auc_clustered(truth, score, owner)
        inside += found["ci_low"] <= 0.9 <= found["ci_high"]
        normal += abs(found["auc"] - 0.9) <= 1.96 * math.sqrt(found["var"])
    assert 0.93 <= inside / runs <= 0.97
    assert normal / runs < 0.92


def test_intervals_stay_between_0_and_1_and_turn_with_the_score() -> None:
    truth, score, owner = [1, 1, 0, 0, 1, 0, 0, 1], [9, 8, 1, 2, 7, 6.5, 7.5, 6], [1, 1, 2, 2, 3, 3, 4, 5]
    found, turned = (roc_auc_clustered(truth, np.multiply(sign, score), owner) for sign in (1, -1))
    assert 0 < found["ci_low"] < found["auc"] < found["ci_high"] < 1
    assert (turned["ci_low"], turned["ci_high"]) == pytest.approx((1 - found["ci_high"], 1 - found["ci_low"]))
    apart = roc_auc_clustered([1, 1, 0, 0, 1, 0], [3, 4, 1, 2, 5, 0], [1, 1, 2, 2, 3, 4])
    assert (apart["var"], apart["ci_low"], apart["ci_high"]) == (0, 1, 1)


def test_bad_input_is_refused() -> None:
    with pytest.raises(UserError, match="patient of each of 2 cases"):
        roc_auc_clustered([0, 1], [0.1, 0.2], ["a"])
    with pytest.raises(UserError, match="0 and 1 only"):
        roc_auc_clustered([0, 2], [0.1, 0.2], ["a", "b"])
