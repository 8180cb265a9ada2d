"""Several labels: answer, figures over what is known, page."""

import dataclasses
import json
import math

import numpy as np
import pytest
import tensorflow as tf

from radkit import config, metrics
from radkit.errors import UserError
from radkit.evaluation import cases as evaluated
from radkit.evaluation import measures
from radkit.tasks import multi_label, task
from tests.tasks import cases

DATA = config.Data(
    dataset="m", kind="radiograph", label="findings", label_kind="multi_label", class_names=("mass", "effusion"),
    image_size=(8, 8),
)  # fmt: skip
TASK = multi_label.TASK


def made(count: int = 30) -> list[dict]:
    random = np.random.default_rng(0)
    found = []
    for n in range(count):
        flags = np.array([n % 2, -1 if n % 3 == 0 else n // 2 % 2])
        scores = np.clip(random.normal(0.4 + 0.2 * flags, 0.15), 0, 1)
        found.append(cases.case(TASK, DATA, flags, {"probabilities": scores}, f"P{n // 2}", sex="FM"[n // 4 % 2]))
    return found


def test_the_answer_is_a_probability_of_each_label() -> None:
    logits = np.array([[0.0, math.log(3)], [5.0, -5.0]], np.float32)
    found = task.answer(lambda image, training: logits, TASK, DATA, tf.zeros([2, 9, 7, 1]), tf.ones([2, 2]))
    np.testing.assert_allclose(found["probabilities"], 1 / (1 + np.exp(-logits)), rtol=1e-6)
    assert found["class_names"].numpy().tolist() == [[b"mass", b"effusion"]] * 2


def test_figures_are_over_the_cases_whose_label_is_known() -> None:
    listed = made()
    summary = TASK.summary(listed, DATA)
    known = [case for case in listed if case["label effusion"] >= 0]
    truth, score = [c["label effusion"] for c in known], [c["probability effusion"] for c in known]
    area = metrics.METRICS["roc_auc_delong"](y_true=truth, y_score=score)["auc"]
    figure = summary["figures"]["AUC, effusion"]
    assert (figure["value"], figure["undefined"]) == (pytest.approx(area), 10)
    assert figure["low"] < area <= figure["high"]
    assert summary["score"] == pytest.approx((summary["figures"]["AUC, mass"]["value"] + area) / 2)
    assert set(summary["subgroups"]) == {"sex F", "sex M"}
    assert TASK.headline(summary) == f"mean AUC {summary['score']:.3f}, n = 30"


def test_a_label_that_nobody_knows_is_undefined_and_no_exception() -> None:
    listed = [cases.case(TASK, DATA, [-1, 1], {"probabilities": [0.3, 0.7]}, f"P{n}") for n in range(4)]
    summary = TASK.summary(listed, DATA)
    assert math.isnan(summary["score"])
    text = json.loads(json.dumps(task.as_json(summary), allow_nan=False))
    assert TASK.headline(text) == "mean AUC undefined, n = 4"
    shown = [task.Shown(i, cases.record([-1, 1]), {"probabilities": [0.3, 0.7]}) for i in TASK.pick(listed, DATA)]
    page = TASK.page("t", summary, listed, shown, [], DATA)
    assert "effusion: yes; probability of yes 0.70" in page
    nothing = [{**case, "label effusion": -1} for case in listed]
    assert "<html" in TASK.page("t", TASK.summary(nothing, DATA), nothing, [], [], DATA)


def test_the_most_wrong_are_drawn_first() -> None:
    wrong = [0.2, 0.9, 0.5]
    listed = [cases.case(TASK, DATA, [0, -1], {"probabilities": [p, 1.0]}, "P") for p in wrong]
    assert TASK.pick(listed, DATA) == [1, 2, 0]


def test_labels_of_another_kind_are_refused() -> None:
    with pytest.raises(
        UserError, match=r"learns data.label_kind 'multi_label', not 'ordinal': set task.name='ordinal'"
    ):
        TASK.num_outputs(dataclasses.replace(DATA, label_kind="ordinal"))
    with pytest.raises(UserError, match=r"not 'class': set task\.name='classification'"):
        TASK.num_outputs(dataclasses.replace(DATA, label_kind="class"))
    assert TASK.num_outputs(DATA) == 2


def test_an_evaluation_measures_what_the_summary_tells() -> None:
    assert TASK.asked is not None
    asked, listed = TASK.asked(DATA), made()
    told, table = TASK.summary(listed, DATA)["figures"], evaluated.Cases(listed)
    found = {measure.name: measures.value(measure, table) for measure in asked.measures}
    assert found["mean AUC"] == pytest.approx(told["mean AUC"])
    for name in DATA.class_names:
        assert found[f"AUC, {name}"] == pytest.approx(told[f"AUC, {name}"]["value"])
    assert [endpoint.name for endpoint in asked.endpoints] == list(DATA.class_names)
    unknown = np.isnan(asked.endpoints[1].truth(table)).sum()
    assert unknown == told["AUC, effusion"]["undefined"] == 10
