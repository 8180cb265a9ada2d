import json
import math

import numpy as np
import pytest
from sklearn import metrics as oracle

from radkit.evaluation import confusion, degrees
from radkit.evaluation.cases import Cases
from radkit.metrics import METRICS, intervals
from tests.evaluation import made_up_endpoints as made_up

NAMES = made_up.CLASSES
PLAN = made_up.plan((), names=NAMES)


def test_the_table_and_its_figures_are_scikit_learns() -> None:
    cases = made_up.of_classes()
    truth = cases.numbers("label").astype(int)
    called = np.stack([cases.numbers(f"probability {name}") for name in NAMES], 1).argmax(1)
    found = confusion.tell(cases, PLAN)
    assert found is not None
    assert found["counts"] == oracle.confusion_matrix(truth, called).tolist()
    assert (found["labels"], found["n"], found["num_patients"]) == (list(NAMES), 60, 30)
    by_name = {figure["name"]: figure for figure in found["figures"]}
    recall, precision = (of(truth, called, average=None) for of in (oracle.recall_score, oracle.precision_score))
    for k, name in enumerate(NAMES):
        sensitivity, ppv = by_name[f"sensitivity, {name}"], by_name[f"PPV, {name}"]
        assert (sensitivity["value"], sensitivity["n"]) == pytest.approx((recall[k], (truth == k).sum()))
        assert (ppv["value"], ppv["n"]) == pytest.approx((precision[k], (called == k).sum()))
        exact = METRICS["proportion_ci"](int((called[truth == k] == k).sum()), int((truth == k).sum()))
        assert sensitivity["closed"]["low"] == pytest.approx(exact["clopper_low"])
    json.dumps(found)


def test_draws_of_a_class_are_those_of_its_sensitivity_alone() -> None:
    # Every patient has one case of each class: the patients of a class are all patients.
    generator = np.random.default_rng(0)
    rows = []
    for k in range(60):
        probability = generator.dirichlet([1, 1, 1])
        named = {f"probability {name}": float(value) for name, value in zip(NAMES, probability)}
        rows.append({"patient_id": f"P{k // 3:02d}", "label": k % 3, **named})
    cases = Cases(rows)
    found = confusion.tell(cases, PLAN)
    assert found is not None
    called = np.stack([cases.numbers(f"probability {name}") for name in NAMES], 1).argmax(1)
    truth = cases.numbers("label") == 1
    expected = intervals.bootstrap_ci("sensitivity", truth, called == 1, cases.patients, resamples=200)
    figure = next(one for one in found["figures"] if one["name"] == "sensitivity, nodule")
    assert (figure["low"], figure["high"]) == pytest.approx((expected["low"], expected["high"]))


def test_degrees_are_called_by_their_middle() -> None:
    cases = made_up.of_classes()
    found = confusion.tell(cases, made_up.plan((), task="ordinal", names=NAMES))
    assert found is not None
    called = degrees.called(cases, NAMES).calls
    truth = cases.numbers("label").astype(int)
    assert found["counts"] == oracle.confusion_matrix(truth, called).tolist()
    assert "half of the probability" in found["rule"]


def test_unknown_classes_and_cases_without_a_number_are_counted() -> None:
    rows = list(made_up.of_classes(n=10).rows)
    rows += [{**rows[0], "label": -1}, {**rows[1], "probability mass": math.nan}]
    found = confusion.tell(Cases(rows), PLAN)
    assert found is not None
    assert (found["n"], found["unknown"], found["set_to_worst"]) == (11, 1, 1)
    assert sum(map(sum, found["counts"])) == 11
    assert "called wrongly" in found["method"]


def test_a_class_without_cases_has_undefined_figures_and_nothing_known_an_empty_table() -> None:
    cases = Cases([{**row, "label": 0} for row in made_up.of_classes(n=8).rows])
    found = confusion.tell(cases, PLAN)
    assert found is not None
    mass = next(figure for figure in found["figures"] if figure["name"] == "sensitivity, mass")
    assert math.isnan(mass["value"])
    assert mass["n"] == 0
    nobody = confusion.tell(Cases([{**row, "label": -1} for row in cases.rows]), PLAN)
    assert nobody is not None
    assert (nobody["n"], nobody["counts"]) == (0, [[0, 0, 0]] * 3)


def test_two_classes_numbers_and_labels_have_no_table() -> None:
    assert confusion.tell(made_up.of_classes(), made_up.plan((), names=NAMES[:2])) is None
    assert confusion.tell(made_up.of_ill(), made_up.plan((), names=())) is None
    assert confusion.tell(made_up.of_ill(), made_up.plan((), names=NAMES)) is None
