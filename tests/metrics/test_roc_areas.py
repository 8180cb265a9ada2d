import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle

from radkit.errors import UserError
from radkit.metrics import roc
from radkit.metrics.roc_areas import multiclass_auc, partial_auc

CASES = st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=4, max_size=30)
RANGES = st.tuples(st.integers(0, 10), st.integers(0, 10)).filter(lambda pair: pair[0] < pair[1])

TRUTH = [0, 0, 1, 0, 1, 1, 0, 1, 1, 0, 1, 0]
SCORE = [0.1, 0.4, 0.35, 0.8, 0.8, 0.7, 0.4, 0.9, 0.2, 0.6, 0.6, 0.05]


# auc(roc(..., direction = "<"), partial.auc, partial.auc.focus, partial.auc.correct) of pROC 1.18.0, R 4.2.2.
@pytest.mark.parametrize(
    ("focus", "limits", "raw", "corrected"),
    [
        ("specificity", (0.9, 1), 0.0216666666666667, 0.587719298245614),
        ("specificity", (0.8, 1), 0.0588888888888889, 0.608024691358025),
        ("specificity", (0.55, 0.62), 0.0466666666666666, 0.715099715099715),
        ("specificity", (0.3, 0.75), 0.307638888888889, 0.698706643151088),
        ("specificity", (0, 1), 0.694444444444444, 0.694444444444444),
        ("sensitivity", (0.9, 1), 0.0333333333333333, 0.649122807017544),
        ("sensitivity", (0.8, 1), 0.0666666666666667, 0.62962962962963),
        ("sensitivity", (0.55, 0.62), 0.0523833333333333, 0.784900284900285),
        ("sensitivity", (0.3, 0.75), 0.32, 0.724867724867725),
        ("sensitivity", (0, 1), 0.694444444444444, 0.694444444444444),
    ],
)
def test_the_area_agrees_with_proc(focus: str, limits: tuple[float, float], raw: float, corrected: float) -> None:
    found = partial_auc(y_true=TRUTH, y_score=SCORE, focus=focus, range=list(limits))
    assert (found["raw"], found["mcclish"]) == pytest.approx((raw, corrected), abs=1e-12, nan_ok=True)


@settings(deadline=None, max_examples=60)
@given(CASES, RANGES)
def test_high_specificities_agree_with_scikit_learns_standardised_area(
    cases: list[tuple[bool, int]], limits: tuple[int, int]
) -> None:
    truth, score = (np.array(part) for part in zip(*cases))
    assume(truth.any() and not truth.all() and limits[0] > 0)
    low = limits[0] / 10
    expected = oracle.roc_auc_score(truth, score, max_fpr=1 - low)
    found = partial_auc(y_true=truth, y_score=score, focus="specificity", range=[low, 1])["mcclish"]
    if expected > 0.5 + 1e-9:
        assert found == pytest.approx(expected)
    if expected < 0.5 - 1e-9:
        assert math.isnan(found)


@settings(deadline=None, max_examples=60)
@given(CASES, st.sampled_from(["specificity", "sensitivity"]), st.integers(1, 9))
def test_parts_add_up_to_the_whole(cases: list[tuple[bool, int]], focus: str, cut: int) -> None:
    truth, score = (np.array(part) for part in zip(*cases))
    assume(truth.any() and not truth.all())
    below, above, whole = (
        partial_auc(truth, score, focus=focus, range=part)["raw"] for part in ([0, cut / 10], [cut / 10, 1], [0, 1])
    )
    assert below + above == pytest.approx(whole)
    assert whole == pytest.approx(roc.auc(truth, score.astype(float)))


@settings(deadline=None, max_examples=40)
@given(CASES, RANGES)
def test_a_range_of_sensitivities_is_one_of_specificities_with_the_classes_exchanged(
    cases: list[tuple[bool, int]], limits: tuple[int, int]
) -> None:
    truth, score = (np.array(part) for part in zip(*cases))
    assume(truth.any() and not truth.all())
    part = [limit / 10 for limit in limits]
    of_sensitivity = partial_auc(truth, score, focus="sensitivity", range=part)
    exchanged = partial_auc(~truth, -score, focus="specificity", range=part)
    assert of_sensitivity == pytest.approx(exchanged, nan_ok=True)


def test_a_perfect_curve_is_1_chance_is_half_and_worse_is_undefined() -> None:
    for focus in ("specificity", "sensitivity"):
        perfect = partial_auc([0, 0, 1, 1], [1, 2, 3, 4], focus=focus, range=[0.8, 1])
        assert (perfect["raw"], perfect["mcclish"]) == pytest.approx((0.2, 1.0))
        chance = partial_auc([0, 0, 1, 1], [5, 5, 5, 5], focus=focus, range=[0.8, 1])
        assert (chance["raw"], chance["mcclish"]) == pytest.approx((0.02, 0.5))
        worse = partial_auc([0, 0, 1, 1], [3, 4, 1, 2], focus=focus, range=[0.8, 1])
        assert worse["raw"] == 0
        assert math.isnan(worse["mcclish"])


@pytest.mark.parametrize("y_true", [[0, 0], [1, 1], []])
def test_one_class_has_no_partial_area(y_true: list[int]) -> None:
    assert all(math.isnan(value) for value in partial_auc(y_true, [0.2, 0.4][: len(y_true)]).values())


def test_a_range_or_focus_that_is_none_is_refused() -> None:
    for limits in ([1.0, 0.9], [0.5, 0.5], [0.5, 1.2], [0.5]):
        with pytest.raises(UserError, match="0 <= lo < hi <= 1"):
            partial_auc([0, 1], [0.1, 0.2], range=limits)
    with pytest.raises(UserError, match="did you mean 'specificity'"):
        partial_auc([0, 1], [0.1, 0.2], focus="specifity")


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 3), *[st.integers(1, 5)] * 4), min_size=8, max_size=40))
def test_several_classes_agree_with_scikit_learn(cases: list[tuple[int, ...]]) -> None:
    table = np.array(cases)
    truth, proba = table[:, 0], table[:, 1:] / table[:, 1:].sum(axis=1, keepdims=True)
    assume(np.unique(truth).size == 4)
    found = multiclass_auc(y_true=truth, proba=proba)
    for key, way in (("ovr_macro", "ovr"), ("ovo_macro_hand_till", "ovo")):
        assert found[key] == pytest.approx(oracle.roc_auc_score(truth, proba, multi_class=way, average="macro")), key


def test_two_classes_are_the_ordinary_area() -> None:
    score = np.array([0.1, 0.6, 0.4, 0.4])
    found = multiclass_auc(y_true=[0, 0, 1, 1], proba=np.column_stack([1 - score, score]))
    assert found["ovr_macro"] == found["ovo_macro_hand_till"] == roc.auc(np.array([0, 0, 1, 1]) == 1, score)


def test_a_class_without_cases_is_left_out_and_counted() -> None:
    proba = [[0.7, 0.2, 0.1], [0.6, 0.3, 0.1], [0.1, 0.8, 0.1], [0.65, 0.25, 0.1]]
    found = multiclass_auc(y_true=["a", "a", "b", "b"], proba=proba, labels=["a", "b", "c"])
    # Of four pairs of an a and a b one is the wrong way round, by either column.
    assert found["per_class"][:2] == [0.75, 0.75]
    assert math.isnan(found["per_class"][2])
    assert (found["ovr_macro"], found["ovo_macro_hand_till"], found["num_undefined"]) == (0.75, 0.75, 1)


def test_one_class_only_has_no_area() -> None:
    found = multiclass_auc(y_true=[1, 1], proba=[[0.5, 0.5], [0.1, 0.9]])
    assert math.isnan(found["ovr_macro"])
    assert math.isnan(found["ovo_macro_hand_till"])
    assert found["num_undefined"] == 2


def test_columns_must_fit_the_classes() -> None:
    with pytest.raises(UserError, match="y_true holds 2"):
        multiclass_auc(y_true=[0, 2], proba=[[0.5, 0.5], [0.1, 0.9]])
    with pytest.raises(UserError, match="each of proba's 2 columns"):
        multiclass_auc(y_true=["a", "b"], proba=[[0.5, 0.5], [0.1, 0.9]], labels=["a"])
    with pytest.raises(UserError, match="2 or more classes"):
        multiclass_auc(y_true=[0, 1], proba=[0.1, 0.9])
