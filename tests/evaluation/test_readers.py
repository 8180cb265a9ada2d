"""Readers beside the model."""

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import cohen_kappa_score

from radkit.errors import UserError
from radkit.evaluation import boxes, paired, plan, readers
from radkit.evaluation.cases import Cases
from radkit.metrics import METRICS
from tests.evaluation import made_up_answers, made_up_groups

ROWS = made_up_groups.rows(80, per_patient=1)
A = made_up_groups.reader_rows(ROWS, "A", 1, 0.15)
B = made_up_groups.reader_rows(ROWS[:60], "B", 2, 0.3)


def tell(rows: list[dict[str, str]], cases: Cases | None = None, **fields: Any) -> dict[str, Any]:
    found = readers.tell(cases or Cases(ROWS), made_up_groups.plan_of(readers=rows, **fields))
    assert found is not None
    return found


@pytest.fixture(scope="module")
def told() -> dict[str, Any]:
    return tell([*A, *B])


def by_name(figures: list[dict[str, Any]]) -> dict[str, float]:
    return {one["name"]: one["value"] for one in figures}


def test_each_reader_is_told_on_the_cases_that_were_read(told: dict[str, Any]) -> None:
    assert (told["readers"], told["n"], told["num_patients"]) == (["A", "B"], 80, 80)
    first, second = told["calls"][0]["readers"]
    assert (first["n"], second["n"]) == (80, 60)
    calls, truth = [int(row["call"]) for row in B], [row["label"] for row in ROWS[:60]]
    known = METRICS["confusion_metrics"](y_true=truth, y_pred=calls)
    own = METRICS["confusion_metrics"](y_true=truth, y_pred=[row["probability sick"] >= 0.5 for row in ROWS[:60]])
    figures = by_name(second["figures"])
    assert (figures["sensitivity"], figures["specificity"]) == (known["sensitivity"], known["specificity"])
    assert figures["kappa with the reference"] == pytest.approx(known["kappa"])
    assert by_name(second["model"])["specificity"] == own["specificity"]
    assert second["tests"][0]["difference"] == pytest.approx(own["sensitivity"] - known["sensitivity"])


def test_agreement_is_scikit_learns(told: dict[str, Any]) -> None:
    (pair,) = told["calls"][0]["between"]
    calls = [[int(row["call"]) for row in rows[:60]] for rows in (A, B)]
    assert (pair["a"], pair["b"], pair["n"]) == ("A", "B", 60)
    assert pair["value"] == pytest.approx(cohen_kappa_score(*calls))
    yes = np.sum(calls, axis=0)
    known = METRICS["fleiss_kappa"](table=np.stack([2 - yes, yes], axis=1))
    assert told["calls"][0]["fleiss"]["value"] == pytest.approx(known)
    assert told["calls"][0]["fleiss_with_model"]["num_readers"] == 3


def test_ratings_are_tested_by_delong(told: dict[str, Any]) -> None:
    first, second = told["ratings"][0]["readers"]
    ratings = [float(row["rating"]) for row in A]
    known = METRICS["roc_auc_delong"](y_true=[row["label"] for row in ROWS], y_score=ratings)
    assert (first["auc"], first["low"]) == pytest.approx((known["auc"], known["ci_low"]))
    test = METRICS["delong_test"](
        y_true=[row["label"] for row in ROWS],
        score_a=[row["probability sick"] for row in ROWS],
        score_b=ratings,
    )
    assert first["tests"][0]["p"] == pytest.approx(test["p"])
    assert second["n"] == 60


def test_all_p_are_corrected_together(told: dict[str, Any]) -> None:
    tests = [
        test
        for section in ("calls", "ratings")
        for entry in told[section]
        for reader in entry["readers"]
        for test in reader["tests"]
    ]
    assert len(tests) == 8
    assert [test["p_adjusted"] for test in tests] == METRICS["adjust_pvalues"](p=[test["p"] for test in tests])["holm"]


def test_a_reader_who_says_what_the_model_says_differs_by_nothing() -> None:
    rows = [
        {"record_uid": row["record_uid"], "reader": "A", "call": str(int(row["probability sick"] >= 0.5))}
        for row in ROWS
    ]
    (reader,) = tell(rows)["calls"][0]["readers"]
    assert [test["p"] for test in reader["tests"]] == [1, 1, 1]
    assert reader["kappa_with_model"]["value"] == 1


def test_without_an_operating_point_the_model_makes_no_calls() -> None:
    told = tell(A, points=())
    (reader,) = told["calls"][0]["readers"]
    assert (reader["model"], reader["tests"], reader["kappa_with_model"]) == ([], [], None)
    assert math.isnan(told["calls"][0]["threshold"])
    assert told["calls"][0]["fleiss"] is None


def test_cases_of_unknown_truth_are_counted() -> None:
    cases = Cases([{**row, "label": ""} if k < 5 else row for k, row in enumerate(ROWS)])
    told = tell(A, cases)
    assert told["calls"][0]["readers"][0]["num_unknown"] == 5
    assert told["calls"][0]["readers"][0]["tests"][2]["left_out"] == 5
    assert told["ratings"][0]["readers"][0]["left_out"] == 5


def test_numbers_are_compared_with_the_models() -> None:
    random = np.random.default_rng(0)
    own = random.normal(50, 10, 30)
    said = own + random.normal(2, 3, 30)
    cases = Cases([{**row, "value": float(own[k])} for k, row in enumerate(ROWS[:30])])
    rows = [{"record_uid": row["record_uid"], "reader": "A", "value": str(v)} for row, v in zip(ROWS, said)]
    (entry,) = tell(rows, cases)["values"]
    (reader,) = entry["readers"]
    assert reader["bland_altman"]["bias"] == pytest.approx((own - said).mean())
    assert reader["ccc"] == pytest.approx(METRICS["lin_ccc"](a=own, b=said))
    icc = METRICS["icc"](ratings=np.stack([said, own], axis=1))["ICC2"]
    assert (entry["icc_with_model"]["value"], entry["icc_with_model"]["low"]) == (icc["icc"], icc["lo"])
    assert math.isnan(entry["icc"]["value"])
    assert reader["kappas"] == []


def test_whole_numbers_have_kappas_and_missing_ones_are_counted() -> None:
    own = [0.0, 1, 2, 3, 2, math.inf]
    said = ["0", "1", "1", "3", "2", "2"]
    cases = Cases([{**row, "called": v} for row, v in zip(ROWS, own)])
    rows = [{"record_uid": row["record_uid"], "reader": "A", "value": v} for row, v in zip(ROWS, said)]
    (entry,) = tell(rows, cases)["values"]
    (reader,) = entry["readers"]
    assert (entry["num_undefined"], reader["left_out"], reader["n"]) == (1, 1, 5)
    known = cohen_kappa_score([0, 1, 1, 3, 2], [0, 1, 2, 3, 2], weights="quadratic")
    assert reader["kappas"][1]["value"] == pytest.approx(known)


def test_marks_give_jafroc_beside_the_models() -> None:
    cases = made_up_answers.of_boxes(images=40)
    names = boxes.class_names(made_up_answers.BOXES)
    asked = plan.Asked(boxes.measures(names), boxes.endpoints(names))
    rows, ratings, normal = [], [], []
    for k, row in enumerate(cases.rows):
        lesions = [place for place, label in enumerate(row["labels"]) if label >= 0]
        of = {"record_uid": row["record_uid"], "reader": "A"}
        rows.append({**of, "rating": str(k % 5 + 1) if k % 2 else "", "lesion": ""})
        rows += [{**of, "rating": str(k % 3 + 2), "lesion": str(place)} for place in lesions[1:]]
        ratings += [None if place == lesions[0] else float(k % 3 + 2) for place in lesions]
        if not lesions:
            normal.append([float(k % 5 + 1)] if k % 2 else [])
    (entry,) = tell(rows, cases, asked=asked, points=())["marks"]
    (reader,) = entry["readers"]
    known = METRICS["jafroc"](normal_case_marks=normal, lesion_ratings=ratings)
    assert reader["figures"][0]["value"] == pytest.approx(known)
    assert (reader["num_normal"], reader["num_lesions"]) == (len(normal), len(ratings))
    assert reader["model"][0]["name"] == "JAFROC"
    assert reader["tests"][0]["difference"] == pytest.approx(reader["model"][0]["value"] - known)


def test_marks_beyond_the_lesions_are_refused() -> None:
    cases = Cases([{**ROWS[0], "labels": [0]}])
    rows = [{"record_uid": "1.2.0", "reader": "A", "rating": "3", "lesion": name} for name in "ab"]
    with pytest.raises(UserError, match="marked 2 lesions in a case that has 1"):
        tell(rows, cases)
    with pytest.raises(UserError, match="no boxes whose lesions could be marked"):
        tell(rows, Cases(ROWS))


def test_one_read_case_leaves_all_undefined_and_nobody_is_nothing() -> None:
    (reader,) = tell(A[:1])["calls"][0]["readers"]
    assert reader["n"] == 1
    assert math.isnan(reader["figures"][0]["low"])
    assert readers.tell(Cases(ROWS), made_up_groups.plan_of()) is None


def test_the_paired_p_is_near_that_of_the_same_pairs_by_t() -> None:
    told = tell(A)
    test = told["calls"][0]["readers"][0]["tests"][1]
    hard = np.array([row["label"] == 0 for row in ROWS])
    own = np.array([row["probability sick"] < 0.5 for row in ROWS])[hard].astype(float)
    said = np.array([row["call"] == "0" for row in A])[hard].astype(float)
    assert test["name"] == "specificity"
    assert test["p"] == pytest.approx(stats.ttest_rel(own, said).pvalue, abs=0.06)
    assert paired.MCNEMAR in told["calls"][0]["readers"][0]["tests"][2]["method"]
