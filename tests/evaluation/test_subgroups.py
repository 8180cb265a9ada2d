"""Subgroups: who is in them, what is told of them, how they differ from the rest."""

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from radkit.errors import UserError
from radkit.evaluation import measures, subgroups
from radkit.evaluation.cases import Cases
from radkit.evaluation.endpoints import OperatingPoint
from tests.evaluation import made_up_answers, made_up_groups

Told = list[dict[str, Any]]


def of(told: Told, fact: str, value: str) -> dict[str, Any]:
    (found,) = (entry for entry in told if (entry["fact"], entry["value"]) == (fact, value))
    return found


def figure(entry: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = (one for one in entry["figures"] if one["name"] == name)
    return found


@pytest.fixture(scope="module")
def told() -> Told:
    return subgroups.tell(made_up_groups.made(), made_up_groups.plan_of(trained_on=made_up_groups.rows(60, seed=5)))


def test_figures_are_scikit_learns_of_the_group_alone(told: Told) -> None:
    women = [row for row in made_up_groups.rows() if row["sex"] == "F"]
    known = roc_auc_score([row["label"] for row in women], [row["probability sick"] for row in women])
    entry = of(told, "sex", "F")
    assert figure(entry, "AUC")["value"] == pytest.approx(known)
    hits = [row["probability sick"] >= 0.5 for row in women if row["label"] == 1]
    assert figure(entry, "sensitivity")["value"] == pytest.approx(np.mean(hits))
    assert (entry["n"], entry["num_patients"], entry["positives"]) == (60, 30, {"sick": float(len(hits))})


def test_the_group_of_all_is_all(told: Told) -> None:
    cases = made_up_groups.made()
    whole = measures.figure(made_up_groups.AUC, cases, made_up_groups.DRAWS)
    assert told[0]["fact"] == ""
    assert figure(told[0], "AUC") == whole
    assert figure(of(told, "manufacturer", "Maker"), "AUC") == whole
    assert of(told, "manufacturer", "Maker")["differences"] == []


def test_groups_of_a_fact_part_the_cases(told: Told) -> None:
    for fact in {entry["fact"] for entry in told}:
        assert sum(entry["n"] for entry in told if entry["fact"] == fact) == 120
    assert of(told, "kernel", subgroups.NOT_TOLD)["n"] == 120
    assert of(told, "site", subgroups.NOT_TOLD)["n"] == 40


def test_a_difference_is_the_group_minus_all_others_with_students_p(told: Told) -> None:
    cases = made_up_groups.made()
    here = cases.words("site") == "A"
    this, rest = (measures.drawn(made_up_groups.AUC, cases, made_up_groups.DRAWS, kept) for kept in (here, ~here))
    one = of(told, "site", "A")["differences"][0]
    value = measures.value(made_up_groups.AUC, cases, here) - measures.value(made_up_groups.AUC, cases, ~here)
    assert one["difference"] == pytest.approx(value)
    n = one["num_patients"]
    se = math.sqrt(n / (n - 1)) * np.std(this - rest, ddof=1)
    assert one["p"] == pytest.approx(2 * stats.t.sf(abs(value) / se, n - 1))


def test_of_two_groups_the_first_alone_is_tested_and_all_p_are_corrected_together(told: Told) -> None:
    assert len(of(told, "sex", "F")["differences"]) == 3
    assert of(told, "sex", "M")["differences"] == []
    tests = [one for entry in told for one in entry["differences"]]
    made = sorted((one for one in tests if not math.isnan(one["p"])), key=lambda one: one["p"])
    least, rank = 0.0, len(made)
    for one in made:  # Holm's steps, one by one
        least = max(least, min(1.0, one["p"] * rank))
        assert one["p_adjusted"] == pytest.approx(least)
        rank -= 1


def test_cases_trained_on_are_counted_beside(told: Told) -> None:
    entry = of(told, "sex", "F")
    assert (entry["n_train"], entry["num_patients_train"], entry["positives_train"]) == (30, 15, {"sick": 10.0})
    alone = subgroups.tell(made_up_groups.made(), made_up_groups.plan_of())
    assert [entry["n_train"] for entry in alone] == [None] * len(alone)


def test_a_group_that_was_only_learned_from_is_told_without_figures() -> None:
    learned = [{**row, "site": "C"} for row in made_up_groups.rows(20)]
    entry = of(subgroups.tell(made_up_groups.made(), made_up_groups.plan_of(trained_on=learned)), "site", "C")
    assert (entry["n"], entry["n_train"], entry["enough"], entry["figures"]) == (0, 20, False, [])


@pytest.mark.parametrize(("patients", "enough"), [(4, False), (5, True)])
def test_fewer_than_five_patients_are_too_few(patients: int, enough: bool) -> None:
    rows = [{**row, "site": "A" if k < 2 * patients else "B"} for k, row in enumerate(made_up_groups.rows())]
    told = subgroups.tell(Cases(rows), made_up_groups.plan_of())
    entry = of(told, "site", "A")
    assert entry["n"] == 2 * patients
    assert (entry["enough"], bool(entry["figures"]), bool(entry["differences"])) == (enough, enough, enough)
    assert of(told, "site", "B")["differences"] == []


def test_the_order_of_cases_does_not_matter() -> None:
    rows = made_up_groups.rows(60)
    plan = made_up_groups.plan_of()
    one, two = (subgroups.tell(Cases(listed), plan) for listed in (rows, rows[::-1]))
    for first, second in zip(one, two):
        assert (first["fact"], first["value"], first["n"]) == (second["fact"], second["value"], second["n"])
        for a, b in zip(first["figures"], second["figures"]):
            pair = [a[key] for key in ("value", "low", "high")], [b[key] for key in ("value", "low", "high")]
            assert pair[0] == pytest.approx(pair[1], nan_ok=True)


@pytest.mark.parametrize(
    ("fact", "number", "group"),
    [
        ("age_years", 0.0, "0-17 years"),
        ("age_years", 17.99, "0-17 years"),
        ("age_years", 18, "18-39 years"),
        ("age_years", 80, "80+ years"),
        ("age_years", 105, "80+ years"),
        ("age_years", math.nan, "not told"),
        ("field_strength_t", 1.5, "1 to below 2 T"),
        ("field_strength_t", 0.35, "below 1 T"),
        ("field_strength_t", 7, "4 T and more"),
        ("slice_thickness_mm", 1.25, "below 2 mm"),
        ("slice_thickness_mm", 5, "5 mm and more"),
    ],
)
def test_numbers_fall_into_bands(fact: str, number: float, group: str) -> None:
    (found,) = (one for one in subgroups.FACTS if one.name == fact)
    assert found.groups(Cases([{"patient_id": "P", fact: number}])).tolist() == [group]


def test_a_number_in_no_band_is_refused() -> None:
    with pytest.raises(UserError, match="'age_years' of the cases is -3, in no band"):
        subgroups.FACTS[1].groups(Cases([{"patient_id": "P", "age_years": -3}]))


@pytest.mark.parametrize("truth", [0.0, 1.0, math.nan])
def test_groups_of_one_class_or_of_unknown_truth_are_told_as_undefined(truth: float) -> None:
    rows = [{**row, "label": truth if row["sex"] == "F" else row["label"]} for row in made_up_groups.rows()]
    told = subgroups.tell(Cases(rows), made_up_groups.plan_of())
    entry = of(told, "sex", "F")
    assert math.isnan(figure(entry, "AUC")["value"])
    assert math.isnan(entry["differences"][0]["p"])
    assert entry["n"] == 60
    assert figure(entry, "AUC")["n"] == (0 if math.isnan(truth) else 60)


def test_one_patient_alone_is_counted() -> None:
    told = subgroups.tell(Cases(made_up_groups.rows(4, per_patient=4)), made_up_groups.plan_of())
    assert [entry["enough"] for entry in told] == [False] * len(told)
    assert told[0]["n"] == 4


def test_a_detectors_groups_are_called_at_its_one_point() -> None:
    rows = [{**row, "sex": "FM"[k // 2 % 2]} for k, row in enumerate(made_up_answers.of_boxes(images=40).rows)]
    point = OperatingPoint("boxes", "fp_per_image", 1.0, 0.5)
    told = subgroups.tell(Cases(rows), made_up_answers.plan_of("boxes", points=[point]))
    members = [k for k, row in enumerate(rows) if row["sex"] == "F"]
    found = figure(of(told, "sex", "F"), "sensitivity, image with nodule")
    nodules = [k for k in members if 0 in rows[k]["labels"]]
    called = [
        any(label == 0 and score >= 0.5 for label, score in zip(rows[k]["found_labels"], rows[k]["scores"]))
        for k in nodules
    ]
    assert found["value"] == pytest.approx(np.mean(called))
    assert found["n"] == len(nodules)
