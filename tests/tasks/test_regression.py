"""Numbers: answer in the label's unit, figures, page."""

import dataclasses
import math

import numpy as np
import pytest
import tensorflow as tf

from radkit import config, tasks
from radkit.evaluation import cases as evaluated
from radkit.evaluation import measures
from radkit.tasks import regression, task
from tests.tasks import cases

DATA = config.Data(
    dataset="r", kind="radiograph", label="age", label_kind="regression", label_unit="months", image_size=(8, 8),
    label_range=(20.0, 220.0),
)  # fmt: skip
TASK = regression.TASK


def test_the_answer_is_in_the_labels_unit() -> None:
    logits = np.array([[0.0], [0.5], [1.0]], np.float32)
    found = task.answer(lambda image, training: logits, TASK, DATA, tf.zeros([3, 9, 7, 1]), tf.ones([3, 2]))
    np.testing.assert_allclose(found["values"], [[20.0], [120.0], [220.0]])
    assert found["class_names"].numpy().tolist() == [[b"age"]] * 3


def test_the_loss_is_of_what_the_network_answers() -> None:
    said = config.Task("regression", "absolute")
    experiment = config.Experiment(data=DATA, model=config.Model("resnet"), task=said)
    batch = {"label": tf.constant([120.0, 220.0, float("nan")])}
    logits = tf.constant([[0.5], [0.5], [0.5]])
    np.testing.assert_allclose(tasks.of(experiment).loss(batch, logits), [0.0, 0.5, 0.0])
    mixed = {**batch, "mixed_label": tf.constant([20.0, 20.0, 20.0]), "mixed_share": tf.constant([0.8, 1.0, 0.8])}
    np.testing.assert_allclose(tasks.of(experiment).loss(mixed, logits), [0.2 * 0.5, 0.5, 0.2 * 0.5], rtol=1e-6)


def test_figures_worked_by_hand_and_a_page() -> None:
    pairs = [(100, 110), (120, 100), (60, 60), (80, 90)]
    listed = [
        cases.case(TASK, DATA, np.float32(t), {"values": [p]}, f"P{n}", sex="FM"[n % 2])
        for n, (t, p) in enumerate(pairs)
    ]
    summary = TASK.summary(listed, DATA)
    found = summary["figures"]
    assert found["mean absolute error"]["value"] == 10.0 == -summary["score"]
    assert found["bias"]["value"] == 0.0
    assert found["root mean squared error"] == pytest.approx(np.sqrt(600 / 4))
    assert found["R2"] == pytest.approx(1 - 600 / 2000)
    assert set(summary["subgroups"]) == {"sex F", "sex M"}
    assert TASK.headline(summary).startswith("mean absolute error 10.000 months (")
    assert TASK.pick(listed, DATA) == [1, 0, 3, 2]
    shown = [task.Shown(1, cases.record(120.0), {})]
    page = TASK.page("t", summary, listed, shown, [], DATA)
    assert "120 months, predicted 100 months" in page
    alone = TASK.summary(listed[:1], DATA)
    assert "<html" in TASK.page("t", alone, listed[:1], [], [], dataclasses.replace(DATA, label_unit=""))


def test_unknown_truths_are_left_out_and_counted_and_an_answer_that_is_no_number_is_not() -> None:
    pairs = [(100, 110), (math.nan, 100), (60, 60), (80, 90)]
    listed = [cases.case(TASK, DATA, np.float32(t), {"values": [p]}, f"P{n}") for n, (t, p) in enumerate(pairs)]
    summary = TASK.summary(listed, DATA)
    assert summary["figures"]["mean absolute error"]["value"] == pytest.approx(20 / 3)
    assert summary["num_unknown"] == 1
    assert TASK.headline(summary).endswith("n = 3")
    assert TASK.notes is not None
    assert TASK.notes(summary) == ["Nobody knows the truth of 1 case: no figure counts them."]
    assert TASK.pick(listed, DATA) == [0, 3, 2]
    assert "<html" in TASK.page("t", summary, listed, [task.Shown(1, cases.record(1.0), {})], [], DATA)
    silent = TASK.summary([*listed, cases.case(TASK, DATA, np.float32(1), {"values": [math.nan]}, "P9")], DATA)
    assert math.isnan(silent["score"])
    assert TASK.headline(silent) == "mean absolute error undefined, n = 4"
    assert math.isnan(TASK.summary(listed[1:2], DATA)["score"])


def test_what_a_clinical_evaluation_measures_is_of_its_cases() -> None:
    listed = [cases.case(TASK, DATA, np.float32(t), {"values": [p]}, f"P{t}") for t, p in ((100, 110), (60, 60))]
    asked = TASK.asked(DATA)
    table = evaluated.Cases(listed)
    found = {one.name: measures.value(one, table) for one in asked.measures}
    assert found["mean absolute error"] == 5.0
    assert {one.unit for one in asked.measures} == {"months", ""}
