"""Agreement: the metrics' own figures, copies of cases, pairs within patients, what is left out is counted."""

import math

import numpy as np
import pytest
from scipy import stats

from radkit.evaluation import agreement, cases, measures
from radkit.metrics import METRICS
from tests.evaluation import made_up_answers as made_up


def by_name(told: dict) -> dict[str, dict]:
    return {figure["name"]: figure for figure in told["figures"]}


def test_figures_are_the_metrics_own() -> None:
    table = made_up.of_numbers(0)
    (told,) = agreement.tell(table, made_up.plan_of("numbers"))
    truth, found = table.numbers("label"), table.numbers("value")
    wanted, figures = METRICS["bland_altman"](found, truth), by_name(told)
    assert (told["name"], told["unit"], told["n"], told["num_patients"]) == ("age", "months", 40, 40)
    for name, key in (
        ("bias", "bias"),
        ("lower limit of agreement", "loa_low"),
        ("upper limit of agreement", "loa_high"),
    ):
        assert figures[name]["value"] == pytest.approx(wanted[key], rel=1e-10)
        assert told["bland_altman"][key] == wanted[key]
    assert figures["Lin's concordance"]["value"] == pytest.approx(METRICS["lin_ccc"](found, truth), rel=1e-10)
    icc = METRICS["icc"](np.stack([found, truth], axis=1))["ICC2"]
    assert figures["ICC(2,1)"]["value"] == pytest.approx(icc["icc"], rel=1e-10)
    assert (figures["ICC(2,1)"]["closed"]["low"], figures["ICC(2,1)"]["closed"]["high"]) == pytest.approx(
        (icc["lo"], icc["hi"]), rel=1e-10
    )
    slope = stats.linregress((found + truth) / 2, found - truth).slope
    assert figures["slope of differences"]["value"] == pytest.approx(slope, rel=1e-9)
    low, high = stats.t.interval(0.95, 39, (found - truth).mean(), stats.sem(found - truth))
    assert (figures["bias"]["closed"]["low"], figures["bias"]["closed"]["high"]) == pytest.approx((low, high))
    assert told["bland_altman"]["independent"]


def test_points_are_the_pairs() -> None:
    table = made_up.of_numbers(2, n=5)
    (told,) = agreement.tell(table, made_up.plan_of("numbers"))
    truth, found = table.numbers("label"), table.numbers("value")
    got = sorted(zip(told["points"]["mean"], told["points"]["difference"]))
    assert got == sorted(zip(((truth + found) / 2).tolist(), (found - truth).tolist()))


def test_weights_are_copies_of_cases() -> None:
    table = made_up.of_numbers(3, n=12)
    pairs = agreement.of_columns("label", "value", table)
    times = np.random.default_rng(0).integers(0, 4, (3, 12))
    for place, one in enumerate(agreement.measures_of(pairs, "months")):
        for often, value in zip(times, one.of(table, times.astype(float))):
            more = made_up.copied(table, often)
            again = agreement.measures_of(agreement.of_columns("label", "value", more), "months")[place]
            assert value == pytest.approx(measures.value(again, more), rel=1e-9), one.name


def test_the_interval_of_the_bias_draws_patients_as_bootstrap_ci_does() -> None:
    table = made_up.of_numbers(1, per_patient=4)
    (told,) = agreement.tell(table, made_up.plan_of("numbers", cases.Draws(120, 5)))
    difference = table.numbers("value") - table.numbers("label")
    wanted = METRICS["bootstrap_ci"]("mean", None, difference, cluster=table.words("patient_id"), resamples=120, seed=5)
    bias = by_name(told)["bias"]
    assert (bias["low"], bias["high"]) == pytest.approx((wanted["low"], wanted["high"]), rel=1e-10)
    assert not told["bland_altman"]["independent"]
    assert math.isnan(bias["closed"]["low"])
    assert "several measurements" in bias["closed"]["method"]


def test_what_is_left_out_is_counted() -> None:
    table = made_up.changed(made_up.of_numbers(0), 0, label=math.nan)
    table = made_up.changed(made_up.changed(table, 1, value=math.inf), 2, value=math.nan)
    (told,) = agreement.tell(table, made_up.plan_of("numbers"))
    assert (told["n"], told["num_unknown"], told["num_undefined"]) == (37, 1, 2)
    nobody = cases.Cases([{**row, "label": math.nan} for row in table.rows])
    (told,) = agreement.tell(nobody, made_up.plan_of("numbers"))
    assert (told["n"], told["num_unknown"]) == (0, 40)
    assert math.isnan(told["bland_altman"]["bias"])
    assert math.isnan(by_name(told)["bias"]["value"])


def test_one_case_has_a_bias_and_no_limits() -> None:
    (told,) = agreement.tell(made_up.of_numbers(0, n=1), made_up.plan_of("numbers"))
    figures = by_name(told)
    assert math.isfinite(figures["bias"]["value"])
    assert math.isnan(figures["upper limit of agreement"]["value"])
    assert math.isnan(figures["ICC(2,1)"]["value"])


def test_volumes_are_told_label_by_label_and_together() -> None:
    table = made_up.of_masks(0)
    told = agreement.tell(table, made_up.plan_of("masks"))
    assert [one["name"] for one in told] == ["volume of all labels", "volume of liver", "volume of lesion"]
    assert {one["unit"] for one in told} == {"mL"}
    liver = told[1]
    assert liver["bland_altman"]["bias"] == pytest.approx(
        np.mean(table.numbers("pred_ml liver") - table.numbers("ref_ml liver"))
    )
    nobody = made_up.changed(table, 4, known_voxels=0)
    assert agreement.tell(nobody, made_up.plan_of("masks"))[1]["num_unknown"] == 1


def test_sizes_of_boxes_compare_what_was_hit_at_the_operating_point() -> None:
    row = {
        "patient_id": "P",
        "record_uid": "1",
        "reference": [[0, 0, 4, 4], [20, 20, 24, 30]],
        "labels": [0, 0],
        "found": [[0, 0, 4, 6], [0, 0, 4, 4], [20, 20, 24, 28]],
        "scores": [0.9, 0.8, 0.2],
        "found_labels": [0, 0, 0],
        "spacing_mm": [2.0, 0.5],
    }
    table = cases.Cases([row, {**row, "patient_id": "Q", "record_uid": "2", "spacing_mm": [math.nan, math.nan]}])
    # The best fit to the first is hit by the highest score first: 4 rows of 2 mm, against 4 rows or 6 columns.
    pairs = agreement.of_boxes(table, 1, 0.5)
    assert (pairs.reference.tolist(), pairs.found.tolist(), pairs.case.tolist()) == ([8.0], [8.0], [0])
    assert pairs.num_unknown == 1
    low = agreement.of_boxes(table, 1, 0.1)
    assert low.reference.tolist() == [8.0, 8.0]
    assert low.num_unknown == 2
    (told,) = agreement.tell(made_up.of_boxes(1), made_up.plan_of("boxes"))
    assert told["n"] > 3
    assert told["unit"] == "mm"
    assert told["num_cases"] <= told["n"]


def test_classes_have_nothing_that_is_measured_twice() -> None:
    table = cases.Cases([{"patient_id": "P", "label": 1, "probability a": 0.5}])
    assert agreement.tell(table, made_up.plan_of("numbers")) == []
