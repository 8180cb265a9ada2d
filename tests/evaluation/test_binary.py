import math

import numpy as np
import pytest
from sklearn import metrics as oracle

from radkit.errors import UserError
from radkit.evaluation import binary, measures
from radkit.evaluation.cases import Cases
from radkit.evaluation.endpoints import Endpoint
from radkit.metrics import METRICS, intervals, roc
from tests.evaluation import made_up_endpoints as made_up

NAMES = {
    "AUC": "roc_auc",
    "average precision": "average_precision",
    "partial AUC, specificity 0.9 to 1": "partial_auc.raw",
    "partial AUC, specificity 0.9 to 1, corrected": "partial_auc.mcclish",
    "Brier score": "brier",
    "log loss": "log_loss",
    "ECE": "ece_positive",
    "calibration slope": "slope",
    "calibration in the large": "citl",
}


def values(cases: Cases, endpoint: Endpoint = made_up.ILL) -> dict[str, float]:
    return {measure.name: measures.value(measure, cases) for measure in binary.measures(endpoint)}


def test_every_value_is_that_of_the_metric() -> None:
    cases = made_up.of_ill()
    truth, score = cases.numbers("truth"), cases.numbers("score")
    expected = {
        **METRICS["calibration"](truth, score, bins=10),
        "roc_auc": oracle.roc_auc_score(truth, score),
        "average_precision": oracle.average_precision_score(truth, score),
        **{f"partial_auc.{key}": value for key, value in METRICS["partial_auc"](truth, score).items()},
    }
    found = values(cases)
    assert list(found) == list(NAMES)
    for name, key in NAMES.items():
        assert found[name] == pytest.approx(expected[key], rel=1e-8), name
    assert found["Brier score"] == pytest.approx(oracle.brier_score_loss(truth, score))


@pytest.mark.parametrize("name", NAMES)
def test_intervals_are_those_of_bootstrap_ci_with_the_same_seed(name: str) -> None:
    cases = made_up.of_ill(per_patient=2)
    measure = next(one for one in binary.measures(made_up.ILL) if one.name == name)
    found = measures.figure(measure, cases, made_up.DRAWS)
    expected = intervals.bootstrap_ci(
        NAMES[name], cases.numbers("truth"), cases.numbers("score"), cases.patients, resamples=200, seed=0
    )
    assert (found["low"], found["high"]) == pytest.approx((expected["low"], expected["high"]), rel=1e-6)
    assert found["num_undefined"] == expected["num_undefined"]


def test_cases_twice_in_any_order_and_all_as_a_subgroup_change_no_value() -> None:
    cases = made_up.of_ill()
    expected = values(cases)
    assert values(made_up.doubled(cases)) == pytest.approx(expected, rel=1e-8)
    assert values(Cases(list(cases.rows)[::-1])) == pytest.approx(expected, rel=1e-8)
    for measure in binary.measures(made_up.ILL):
        whole = measures.value(measure, cases, np.ones(len(cases), bool))
        assert whole == pytest.approx(expected[measure.name], rel=1e-12)


def test_unknown_truths_are_left_out_and_not_counted() -> None:
    cases = made_up.of_ill(n=40)
    more = Cases([*cases.rows, *({**row, "truth": ""} for row in cases.rows[:9])])
    assert values(more) == pytest.approx(values(cases))
    found = measures.figure(binary.auc(made_up.ILL), more, made_up.DRAWS)
    assert (found["n"], found["num_patients"]) == (40, 40)


def test_what_the_model_gave_no_number_for_is_its_surest_mistake() -> None:
    cases = made_up.table([1, 0, 1, 0], [math.nan, math.nan, 0.9, 0.1])
    found = binary.answers(made_up.ILL, cases)
    assert found.score.tolist() == [0, 1, 0.9, 0.1]
    assert found.unanswered.tolist() == [True, True, False, False]
    # Of four pairs only 0.9 before 0.1 is in order.
    assert values(cases)["AUC"] == 0.25
    assert values(cases, made_up.RANKED)["AUC"] == 0.25
    assert binary.answers(made_up.RANKED, cases).score.tolist() == [-math.inf, math.inf, 0.9, 0.1]


def test_scores_that_are_no_probabilities_have_no_calibration() -> None:
    cases = made_up.table([1, 0, 1, 0], [3, -2, math.inf, -math.inf])
    found = values(cases, made_up.RANKED)
    assert "Brier score" not in found
    assert found["AUC"] == 1


def test_truths_in_between_are_parted_and_have_no_delong() -> None:
    cases = made_up.table([1, 0.5, 0], [0.9, 0.5, 0.1])
    # Yes 1 and 0.5, no 0.5 and 1: all pairs in order but the half of the middle case with itself, a tie.
    assert values(cases)["AUC"] == pytest.approx((1.5 * 1.5 - 0.25 + 0.125) / 2.25)
    found = measures.figure(binary.auc(made_up.ILL), cases, made_up.DRAWS)
    assert math.isnan(found["closed"]["low"])
    assert "in between" in found["closed"]["method"]


def test_delong_is_delong_and_with_several_cases_a_patient_it_keeps_them_together() -> None:
    alone, several = made_up.of_ill(), made_up.of_ill(per_patient=3)
    expected = roc.roc_auc_delong(alone.numbers("truth"), alone.numbers("score"), alpha=0.05)
    found = measures.figure(binary.auc(made_up.ILL), alone, made_up.DRAWS)["closed"]
    assert (found["low"], found["high"]) == pytest.approx((expected["ci_low"], expected["ci_high"]))
    assert found["method"] == "DeLong et al. 1988"
    assert "Obuchowski" in measures.figure(binary.auc(made_up.ILL), several, made_up.DRAWS)["closed"]["method"]


@pytest.mark.parametrize("truth", [[0, 0, 0], [1, 1, 1], [math.nan] * 3])
def test_one_class_or_none_leaves_areas_undefined_with_a_method_and_an_n(truth: list[float]) -> None:
    cases = made_up.table(truth, [0.1, 0.5, 0.9])
    found = measures.figure(binary.auc(made_up.ILL), cases, made_up.DRAWS)
    assert all(math.isnan(value) for value in (found["value"], found["low"], found["closed"]["low"]))
    assert found["num_undefined"] == 200
    assert found["method"]
    assert found["n"] == sum(not math.isnan(value) for value in truth)


def test_one_patient_has_values_but_no_interval() -> None:
    cases = made_up.table([0, 1, 1, 0], [0.2, 0.6, 0.4, 0.5], ["P"] * 4)
    found = measures.figure(binary.auc(made_up.ILL), cases, made_up.DRAWS)
    assert found["value"] == 0.75
    assert math.isnan(found["low"] + found["high"])
    assert math.isnan(found["closed"]["low"])


def test_a_column_alone_is_told_in_its_better_direction_also_of_a_subgroup() -> None:
    cases = made_up.table([0, 0, 1, 1, 0, 1], [5, 4, 2, 1, 0, 3])
    measure = binary.auc_of_column(made_up.ILL, "score", "brightness")
    assert measures.value(measure, cases) == pytest.approx(6 / 9)
    # Over all cases lower means yes; so it does in the last two, where that is wrong.
    assert measures.value(measure, cases, np.array([False] * 4 + [True] * 2)) == 0


def test_bad_input_is_refused_with_what_was_expected() -> None:
    with pytest.raises(UserError, match=r"must lie in \[0, 1\] .*runs from 0 to 2"):
        binary.answers(made_up.ILL, made_up.table([0, 2], [0.1, 0.2]))
    with pytest.raises(UserError, match="1 probabilities of 'ill' lie outside"):
        binary.answers(made_up.ILL, made_up.table([0, 1], [0.1, 1.2]))
    with pytest.raises(UserError, match="no column 'truth'"):
        binary.answers(made_up.ILL, Cases([{"patient_id": "P"}]))


def test_a_softmax_that_exceeds_1_by_rounding_is_1() -> None:
    found = binary.answers(made_up.ILL, made_up.table([0, 1], [-1e-8, 1 + 1e-7]))
    assert found.score.tolist() == [0, 1]
