import math

import numpy as np
import pytest
from sklearn import metrics as oracle

from radkit.errors import UserError
from radkit.evaluation import classes, measures
from radkit.evaluation.cases import Cases
from radkit.metrics import METRICS
from tests.evaluation import made_up_endpoints as made_up

NAMES = made_up.CLASSES


def arrays(cases: Cases) -> tuple[np.ndarray, np.ndarray]:
    return cases.numbers("label").astype(int), np.stack([cases.numbers(f"probability {name}") for name in NAMES], 1)


def values(cases: Cases) -> dict[str, float]:
    return {measure.name: measures.value(measure, cases) for measure in classes.measures(NAMES)}


def test_every_value_is_that_of_scikit_learn() -> None:
    cases = made_up.of_classes()
    truth, probability = arrays(cases)
    probability, called = probability / probability.sum(1, keepdims=True), probability.argmax(1)
    found = values(cases)
    expected = {
        "AUC": oracle.roc_auc_score(truth, probability, multi_class="ovr"),
        "AUC, Hand and Till": oracle.roc_auc_score(truth, probability, multi_class="ovo"),
        "accuracy": oracle.accuracy_score(truth, called),
        "balanced accuracy": oracle.balanced_accuracy_score(truth, called),
        "macro F1": oracle.f1_score(truth, called, average="macro"),
        "MCC": oracle.matthews_corrcoef(truth, called),
        "kappa": oracle.cohen_kappa_score(truth, called),
        "Brier score": np.mean(((probability - np.eye(3)[truth]) ** 2).sum(1)),
        "log loss": oracle.log_loss(truth, probability),
        **{f"AUC, {name}": oracle.roc_auc_score(truth == k, probability[:, k]) for k, name in enumerate(NAMES)},
    }
    # Probabilities of three digits add up to 1 but for one in a thousand.
    assert found == pytest.approx(expected, abs=1e-3)
    assert found["AUC"] == pytest.approx(METRICS["multiclass_auc"](*arrays(cases))["ovr_macro"])
    assert found["AUC, Hand and Till"] == pytest.approx(
        METRICS["multiclass_auc"](*arrays(cases))["ovo_macro_hand_till"]
    )


def test_cases_twice_in_any_order_and_all_as_a_subgroup_change_no_value() -> None:
    cases = made_up.of_classes()
    expected = values(cases)
    assert values(made_up.doubled(cases)) == pytest.approx(expected)
    assert values(Cases(list(cases.rows)[::-1])) == pytest.approx(expected)
    for measure in classes.measures(NAMES):
        whole = measures.value(measure, cases, np.ones(len(cases), bool))
        assert whole == pytest.approx(expected[measure.name]), measure.name


def test_draws_of_patients_are_the_cases_drawn_with_loops() -> None:
    cases = made_up.of_classes(n=20)
    truth, probability = arrays(cases)
    generator = np.random.default_rng(0)
    drawn = {one.name: measures.drawn(one, cases, made_up.DRAWS) for one in classes.measures(NAMES)}
    for draw in range(3):
        rows = [row for p in generator.integers(0, 10, 10) for row in np.flatnonzero(cases.patients == p)]
        areas = METRICS["multiclass_auc"](truth[rows], probability[rows])
        calls = METRICS["multiclass_metrics"](truth[rows], probability[rows].argmax(1), labels=range(3))
        assert drawn["AUC"][draw] == pytest.approx(areas["ovr_macro"])
        assert drawn["AUC, Hand and Till"][draw] == pytest.approx(areas["ovo_macro_hand_till"])
        assert drawn["MCC"][draw] == pytest.approx(calls["mcc"])
        assert drawn["macro F1"][draw] == pytest.approx(calls["macro_f1"])


def test_two_classes_ask_one_question_and_three_ask_three() -> None:
    assert [one.name for one in classes.endpoints(("no", "yes"))] == ["yes"]
    assert [one.name for one in classes.endpoints(NAMES)] == list(NAMES)
    cases = made_up.of_classes(n=6)
    nodule = classes.endpoints(NAMES)[1]
    assert nodule.truth(cases).tolist() == [float(row["label"] == 1) for row in cases.rows]
    assert nodule.score(cases).tolist() == [row["probability nodule"] for row in cases.rows]


def test_an_unknown_class_is_left_out() -> None:
    cases = made_up.of_classes(n=30)
    more = Cases([*cases.rows, {**cases.rows[0], "label": -1}, {**cases.rows[1], "label": ""}])
    assert values(more) == pytest.approx(values(cases))
    assert np.isnan(classes.endpoints(NAMES)[0].truth(more)[-2:]).all()
    assert classes.known(NAMES, more).sum() == 30


def test_a_case_without_a_number_is_the_worst_possible() -> None:
    row = {"patient_id": "P", **{f"probability {name}": 1.0 * (name == "none") for name in NAMES}}
    cases = Cases([{**row, "label": 0}, {**row, "label": 2, "probability mass": math.nan}])
    found = classes.called(cases, NAMES)
    assert (found.calls.tolist(), found.unanswered.tolist()) == ([0, 0], [False, True])
    assert found.probability[1].tolist() == [1, 1, 0]
    told = values(cases)
    assert told["accuracy"] == 0.5
    assert told["Brier score"] == 1.0  # of 0 and 2, the largest that probabilities can reach
    assert told["log loss"] == pytest.approx(-math.log(np.finfo(float).eps) / 2)


def test_one_class_among_the_cases_leaves_areas_undefined() -> None:
    cases = Cases([{**row, "label": 1} for row in made_up.of_classes(n=8).rows])
    found = values(cases)
    assert math.isnan(found["AUC"])
    assert math.isnan(found["AUC, Hand and Till"])
    assert math.isnan(found["kappa"]) or found["kappa"] == 0
    assert 0 <= found["accuracy"] <= 1


def test_nothing_known_leaves_all_undefined() -> None:
    cases = Cases([{**row, "label": -1} for row in made_up.of_classes(n=4).rows])
    assert all(math.isnan(value) for value in values(cases).values())


@pytest.mark.parametrize("label", [3, 0.5, -2])
def test_a_number_that_no_class_has_is_refused(label: float) -> None:
    with pytest.raises(UserError, match="0 to 2, or -1 for unknown, but 1 cases"):
        classes.truth(made_up.with_case(made_up.of_classes(n=4), label=label), NAMES)
