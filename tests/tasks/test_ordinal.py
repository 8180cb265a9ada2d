"""Degrees: probabilities from steps, figures, page."""

import json
import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from radkit import config, metrics
from radkit.evaluation import cases as evaluated
from radkit.evaluation import measures
from radkit.tasks import ordinal, task
from tests.tasks import cases

DATA = config.Data(
    dataset="o", kind="radiograph", label="grade", label_kind="ordinal", class_names=("none", "mild", "severe"),
    image_size=(8, 8),
)  # fmt: skip
TASK = ordinal.TASK


def answered(logits: np.ndarray) -> np.ndarray:
    found = task.answer(lambda image, training: logits, TASK, DATA, tf.zeros([len(logits), 9, 7, 1]), tf.ones([1, 2]))
    assert found["class_names"].numpy().tolist() == [[b"none", b"mild", b"severe"]] * len(logits)
    return found["probabilities"].numpy()


def test_probabilities_are_differences_of_steps() -> None:
    logits = np.array([[math.log(3), 0.0]], np.float32)  # more than none 0.75, more than mild 0.5
    np.testing.assert_allclose(answered(logits), [[0.25, 0.25, 0.5]], rtol=1e-6)
    with_a_linear_head = np.array([[math.log(3), 0.0, 7.0]], np.float32)
    np.testing.assert_allclose(answered(with_a_linear_head), [[0.25, 0.25, 0.5]], rtol=1e-6)


@given(st.lists(st.floats(-30, 30, width=32), min_size=2, max_size=3))
def test_probabilities_are_none_below_nought_even_where_steps_cross(logits: list[float]) -> None:
    found = answered(np.array([logits], np.float32))
    assert (found >= 0).all()
    assert found.sum() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    ("probabilities", "called"), [([0.5, 0.3, 0.2], 0), ([0.4, 0.05, 0.55], 2), ([0.4, 0.3, 0.3], 1), ([0, 0, 1], 2)]
)
def test_the_median_degree_is_called(probabilities: list[float], called: int) -> None:
    found = cases.case(TASK, DATA, 1, {"probabilities": probabilities}, "P")
    assert (found["called"], found["error"]) == (called, abs(called - 1))


def test_the_score_is_the_quadratic_kappa() -> None:
    random = np.random.default_rng(0)
    listed = []
    for n in range(24):
        p = random.dirichlet(0.5 + 3 * np.eye(3)[n % 3])
        listed.append(cases.case(TASK, DATA, n % 3, {"probabilities": p}, f"P{n // 2}", sex="FM"[n // 6 % 2]))
    summary = TASK.summary(listed, DATA)
    truth, called = [c["label"] for c in listed], [c["called"] for c in listed]
    kappa = metrics.METRICS["cohen_kappa"](a=truth, b=called, labels=[0, 1, 2])["quadratic"]
    assert summary["score"] == pytest.approx(kappa)
    assert summary["figures"]["accuracy"]["value"] == pytest.approx(np.mean(np.equal(truth, called)))
    assert set(summary["subgroups"]) == {"sex F", "sex M"}
    shown = [task.Shown(i, cases.record(1), {}) for i in TASK.pick(listed, DATA)]
    errors = [listed[one.index]["error"] for one in shown]
    assert errors == sorted((c["error"] for c in listed), reverse=True)[:8]
    page = TASK.page("t", summary, listed, shown, [], DATA)
    assert "called mild" in page


def test_one_degree_only_is_undefined_and_no_exception() -> None:
    listed = [cases.case(TASK, DATA, 1, {"probabilities": [0.1, 0.8, 0.1]}, f"P{n}") for n in range(3)]
    summary = json.loads(json.dumps(task.as_json(TASK.summary(listed, DATA)), allow_nan=False))
    assert TASK.headline(summary) == "quadratic kappa undefined, mean error 0.000 degrees, n = 3"


def test_an_evaluation_measures_what_the_summary_tells() -> None:
    assert TASK.asked is not None
    generator = np.random.default_rng(0)
    listed = [
        cases.case(
            TASK, DATA, n % 3, {"probabilities": generator.dirichlet(np.ones(3) + 3 * np.eye(3)[n % 3])}, f"P{n}"
        )
        for n in range(30)
    ]
    asked, told = TASK.asked(DATA), TASK.summary(listed, DATA)["figures"]
    found = {measure.name: measures.value(measure, evaluated.Cases(listed)) for measure in asked.measures}
    assert found["quadratic kappa"] == pytest.approx(told["quadratic kappa"])
    for name in ("mean error in degrees", "accuracy"):
        assert found[name] == pytest.approx(told[name]["value"])
    assert [endpoint.name for endpoint in asked.endpoints] == ["mild or higher", "severe"]
