"""Sensitivity and specificity at an operating point, as measures."""

import math

import numpy as np
import pytest

from radkit.evaluation import measures, rates
from radkit.evaluation.cases import Cases
from radkit.evaluation.endpoints import OperatingPoint
from radkit.metrics import METRICS
from tests.evaluation import made_up_answers, made_up_groups

RATES = (rates.sensitivity, rates.specificity, rates.false_positives, rates.called)


def test_rates_are_those_of_the_table_of_four() -> None:
    cases = made_up_groups.made()
    truth, score = cases.numbers("label"), cases.numbers("probability sick")
    known = METRICS["confusion_metrics"](y_true=truth, y_pred=score >= 0.5)
    found = [measures.value(make(made_up_groups.SICK, 0.5), cases) for make in RATES]
    by_hand = [known["sensitivity"], known["specificity"], 1 - known["specificity"], float((score >= 0.5).mean())]
    assert found == pytest.approx(by_hand)


def test_weight_two_is_the_case_twice_and_weight_zero_is_none() -> None:
    cases = made_up_groups.made(20)
    times = [k % 4 for k in range(20)]
    weights = np.array([times], float)
    copies = made_up_answers.copied(cases, times)
    for make in RATES:
        measure = make(made_up_groups.SICK, 0.4)
        assert measure.of(cases, weights)[0] == pytest.approx(measures.value(measure, copies))


def test_a_case_without_a_number_is_wrong_either_way_and_unknown_ones_are_left_out() -> None:
    rows = [("1", 0.9), ("1", ""), ("0", 0.1), ("0", ""), ("", 0.9)]
    cases = Cases([{"patient_id": str(k), "label": a, "probability sick": b} for k, (a, b) in enumerate(rows)])
    found = [measures.value(make(made_up_groups.SICK, 0.5), cases) for make in RATES]
    assert found == [0.5, 0.5, 0.5, 0.25]
    assert rates.sensitivity(made_up_groups.SICK, 0.5).known(cases).tolist() == [True, True, False, False, False]


def test_truths_in_between_count_by_their_share() -> None:
    rows = [(0.75, 0.9), (0.25, 0.1), (1.0, 0.2)]
    cases = Cases([{"patient_id": str(k), "label": a, "probability sick": b} for k, (a, b) in enumerate(rows)])
    found = [measures.value(make(made_up_groups.SICK, 0.5), cases) for make in RATES[:2]]
    assert found == pytest.approx([0.75 / 2, 0.75 / 1])
    told = measures.figure(rates.sensitivity(made_up_groups.SICK, 0.5), cases, made_up_groups.DRAWS)
    assert math.isnan(told["closed"]["low"])
    assert "in between" in told["closed"]["method"]


def test_the_formula_is_clopper_and_pearsons() -> None:
    cases = made_up_groups.made(per_patient=1)
    told = measures.figure(rates.sensitivity(made_up_groups.SICK, 0.5), cases, made_up_groups.DRAWS)
    yes = cases.numbers("label") == 1
    hits = int((cases.numbers("probability sick")[yes] >= 0.5).sum())
    known = METRICS["proportion_ci"](k=hits, n=int(yes.sum()))
    assert (told["closed"]["low"], told["closed"]["high"]) == (known["clopper_low"], known["clopper_high"])
    assert told["n"] == int(yes.sum())


def test_an_interval_is_that_of_bootstrap_ci_with_the_same_seed() -> None:
    cases = made_up_groups.made()
    told = measures.figure(rates.specificity(made_up_groups.SICK, 0.5), cases, made_up_groups.DRAWS)
    patients = cases.words("patient_id").tolist()
    known = METRICS["bootstrap_ci"](
        metric="specificity", y_true=cases.numbers("label"), y_score=cases.numbers("probability sick") >= 0.5,
        cluster=patients, resamples=150, seed=3,
    )  # fmt: skip
    assert (told["low"], told["high"]) == pytest.approx((known["low"], known["high"]))


def test_only_endpoints_with_a_threshold_have_calls_and_a_detectors_point_is_for_all() -> None:
    one = [made_up_groups.SICK]
    nowhere = OperatingPoint("sick", "min_sensitivity", 1.0, math.nan)
    assert rates.thresholds(one, [nowhere]) == {}
    assert rates.thresholds(one, [OperatingPoint("boxes", "fp_per_image", 1.0, 0.3)]) == {"sick": 0.3}
    assert rates.thresholds(one, [made_up_groups.POINT, OperatingPoint("boxes", "fixed", 1.0, 0.3)]) == {"sick": 0.5}
    assert [measure.name for measure in rates.of_points(one, {"sick": 0.3})] == ["sensitivity", "specificity"]
    assert rates.of_points(one, {}) == []
