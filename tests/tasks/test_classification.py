"""Classification's answer and figures."""

import dataclasses
import json
import math
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from radkit import config
from radkit.errors import UserError
from radkit.evaluation import cases as evaluated
from radkit.evaluation import measures
from radkit.tasks import classification, task

TWO = config.Data(dataset="c", kind="radiograph", label="ill", class_names=("no", "yes"), image_size=(8, 8))
THREE = dataclasses.replace(TWO, class_names=("a", "b", "c"))
TASK = classification.TASK


def record(label: int, brightness: float = 0.0, **facts: str) -> dict[str, Any]:
    values = np.full((4, 5, 1), brightness, np.float32)
    return {"label": np.int64(label), "values": values, "view_position": "", "sex": "", "manufacturer": "", **facts}


def case(label: int, *probabilities: float, patient: str = "P1", data: config.Data = TWO, **more: Any) -> dict:
    found = TASK.case(record(label, **more), {"probabilities": np.array(probabilities, np.float32)}, data)
    return {"name": "test 1", "patient_id": patient, **found}


def test_the_answer_is_probabilities_with_names() -> None:
    logits = np.array([[0.0, math.log(3)], [5.0, -5.0]], np.float32)
    found = task.answer(lambda image, training: logits, TASK, TWO, tf.zeros([2, 9, 7, 1]), tf.ones([2, 2]))
    np.testing.assert_allclose(found["probabilities"][0], [0.25, 0.75], rtol=1e-6)
    np.testing.assert_allclose(tf.reduce_sum(found["probabilities"], -1), 1.0, rtol=1e-6)
    assert found["class_names"].numpy().tolist() == [[b"no", b"yes"]] * 2


def made(count: int = 40) -> list[dict]:
    random = np.random.default_rng(0)
    cases = []
    for n in range(count):
        label, score = n % 2, float(np.clip(random.normal(0.4 + 0.2 * (n % 2), 0.15), 0, 1))
        facts = {"sex": ("F", "M")[n // 2 % 2], "view_position": "PA" if n < 30 else "AP"}
        cases.append(case(label, 1 - score, score, patient=f"P{n // 3}", brightness=-float(label), **facts))
    return cases


def by_hand(truth: list[int], score: list[float]) -> float:
    pairs = [(p, n) for p, t in zip(score, truth) if t for n, u in zip(score, truth) if not u]
    return sum((p > n) + 0.5 * (p == n) for p, n in pairs) / len(pairs)


def test_the_auc_is_the_share_of_pairs_in_order() -> None:
    cases = made()
    summary = TASK.summary(cases, TWO)
    expected = by_hand([c["label"] for c in cases], [c["probability yes"] for c in cases])
    assert summary["figures"]["AUC"]["value"] == summary["score"] == pytest.approx(expected)
    assert TASK.score(cases, TWO) == summary["score"]
    assert summary["figures"]["AUC"]["low"] < expected < summary["figures"]["AUC"]["high"]
    brier = np.mean([(c["probability yes"] - c["label"]) ** 2 for c in cases])
    assert summary["figures"]["Brier score"] == pytest.approx(brier)
    assert summary["num_patients"] == 14


def test_the_brightness_baseline_takes_the_better_direction() -> None:
    summary = TASK.summary(made(), TWO)
    assert summary["figures"]["AUC of mean brightness alone"]["value"] == 1.0
    assert "confounded" in TASK.page("t", summary, made(), [], [], TWO)


def test_subgroups_are_counted_apart() -> None:
    groups = TASK.summary(made(), TWO)["subgroups"]
    assert set(groups) == {"sex F", "sex M", "view PA", "view AP"}
    assert (groups["view PA"]["n"], groups["view PA"]["positives"]) == (30, 15)


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_only_is_undefined_and_no_exception(label: int) -> None:
    cases = [case(label, 0.3, 0.7, patient=f"P{n}", sex="FM"[n % 2]) for n in range(4)]
    summary = TASK.summary(cases, TWO)
    assert math.isnan(summary["score"])
    assert math.isnan(TASK.score(cases, TWO))
    text = json.dumps(task.as_json(summary), allow_nan=False)
    assert json.loads(text)["figures"]["AUC"]["value"] is None
    for given in (summary, json.loads(text)):
        assert TASK.headline(given).startswith("AUC undefined, brightness")
    shown = [task.Shown(i, record(label), {"probabilities": [0.3, 0.7]}) for i in TASK.pick(cases, TWO)]
    history = [{"step": 3, "loss": 1.0, "validation score": None}]
    assert "<html" in TASK.page("t", summary, cases, shown, history, TWO)


def test_several_classes_have_a_mean_auc() -> None:
    random = np.random.default_rng(0)
    cases = [
        case(n % 3, *random.dirichlet(np.ones(3) + 3 * np.eye(3)[n % 3]), patient=f"P{n}", data=THREE)
        for n in range(30)
    ]
    summary = TASK.summary(cases, THREE)
    assert summary["score"] == pytest.approx(np.mean([summary["figures"][f"AUC, {c}"] for c in "abc"]))
    assert TASK.score(cases, THREE) == summary["score"]
    assert TASK.headline(summary) == f"AUC {summary['score']:.3f}, n = 30"
    assert "<html" in TASK.page("t", summary, cases, [], [], THREE)
    alone = TASK.summary(cases[:1], THREE)
    assert TASK.headline(json.loads(json.dumps(task.as_json(alone), allow_nan=False))) == "AUC undefined, n = 1"


def test_the_least_sure_of_the_truth_are_drawn_first() -> None:
    cases = [case(1, 1 - p, p) for p in (0.9, 0.1, 0.5)] + [case(0, 0.05, 0.95)]
    assert TASK.pick(cases, TWO) == [3, 1, 2, 0]


def test_a_volumes_page_shows_its_middle_slice() -> None:
    volume = {**record(1), "values": np.zeros((5, 6, 7, 1), np.float32)}
    cases = [case(n % 2, 0.5, 0.5, patient=f"P{n}") for n in range(4)]
    shown = [task.Shown(1, volume, {"probabilities": [0.5, 0.5]})]
    assert "<img" in TASK.page("t", TASK.summary(cases, TWO), cases, shown, [], TWO)


@pytest.mark.parametrize(
    ("change", "told"), [({"label": ""}, r"needs data\.label"), ({"class_names": ("only",)}, "two or more")]
)
def test_a_config_without_classes_is_refused(change: dict, told: str) -> None:
    with pytest.raises(UserError, match=told):
        TASK.num_outputs(dataclasses.replace(TWO, **change))


@pytest.mark.parametrize("kind", ["multi_label", "regression", "survival"])
def test_other_kinds_of_labels_are_refused(kind: str) -> None:
    with pytest.raises(UserError, match=f"learns data.label_kind 'class' or 'ordinal', not '{kind}'"):
        TASK.num_outputs(dataclasses.replace(TWO, label_kind=kind))


def test_an_evaluation_measures_what_the_summary_tells() -> None:
    assert TASK.asked is not None
    asked, cases = TASK.asked(TWO), made()
    told, table = TASK.summary(cases, TWO)["figures"], evaluated.Cases(cases)
    found = {measure.name: measures.value(measure, table) for measure in asked.measures}
    assert list(found) == ["AUC", "average precision", "AUC of mean brightness alone"]
    assert found["AUC"] == pytest.approx(told["AUC"]["value"])
    assert found["average precision"] == pytest.approx(told["average precision"])
    assert found["AUC of mean brightness alone"] == pytest.approx(told["AUC of mean brightness alone"]["value"])
    assert [measure.name for measure in measures.leading(asked.measures)] == ["AUC"]
    (endpoint,) = asked.endpoints
    assert endpoint.name == "yes"
    assert endpoint.score(table).tolist() == [case["probability yes"] for case in cases]


def test_an_evaluation_of_three_classes_asks_of_each() -> None:
    assert TASK.asked is not None
    asked = TASK.asked(THREE)
    cases = [case(k % 3, 0.2, 0.3, 0.5, patient=f"P{k}", data=THREE) for k in range(6)]
    assert [endpoint.name for endpoint in asked.endpoints] == ["a", "b", "c"]
    found = {measure.name: measures.value(measure, evaluated.Cases(cases)) for measure in asked.measures}
    assert (found["AUC"], found["accuracy"]) == pytest.approx((0.5, 1 / 3))
