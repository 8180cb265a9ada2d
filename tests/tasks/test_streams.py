"""Streaming figures: equal to those of all examples at once, however these were dealt to replicas and steps."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from radkit import config, folder, metrics, tasks
from radkit.losses import masks
from radkit.tasks import streams

DATA = {
    "classification": config.Data("d", label="ill", class_names=("no", "yes")),
    "multi_label": config.Data("d", label="found", label_kind="multi_label", class_names=("a", "b", "c")),
    "ordinal": config.Data("d", label="grade", label_kind="ordinal", class_names=("1", "2", "3", "4")),
    "regression": config.Data("d", label="age", label_kind="regression", label_range=(20.0, 80.0)),
    "segmentation": config.Data("d", mask_labels=("organ", "tumour")),
    "detection": config.Data(
        "d", kind="radiograph", box_labels=("nodule", "mass", "unsure"), ignored_boxes=("unsure",)
    ),
}
NUMBER = 12


def examples(task: str, seed: int) -> tuple[dict[str, np.ndarray], Any]:
    """Returns a batch and what a network might say of it."""
    random = np.random.default_rng(seed)
    if task == "segmentation":
        mask = random.choice([0, 1, 2, masks.UNLABELLED], (NUMBER, 4, 6, 1)).astype(np.uint8)
        return {"mask": mask}, random.normal(size=(NUMBER, 4, 6, 3)).astype(np.float32)
    if task == "detection":
        low = random.uniform(0, 20, (NUMBER, 3, 2)).astype(np.float32)
        boxes = np.concatenate([low, low + 10], -1)
        places = np.concatenate([boxes + random.normal(0, 1.5, boxes.shape), boxes[:, ::-1]], 1).astype(np.float32)
        found = {"boxes": places, "scores": random.uniform(0, 1, (NUMBER, 6, 2)).astype(np.float32)}
        return {"boxes": boxes, "box_labels": random.integers(-1, 3, (NUMBER, 3))}, found
    outputs = {"classification": 2, "multi_label": 3, "ordinal": 4, "regression": 1}[task]
    label: np.ndarray = random.integers(0, max(2, outputs), NUMBER)
    if task == "multi_label":
        label = random.integers(-1, 2, (NUMBER, 3))
    if task == "regression":
        label = random.uniform(20, 80, NUMBER).astype(np.float32)
    return {"label": label}, random.normal(size=(NUMBER, outputs)).astype(np.float32)


def take(values: Any, rows: np.ndarray) -> Any:
    if isinstance(values, Mapping):
        return {name: take(value, rows) for name, value in values.items()}
    return tf.constant(values[rows])


def told(task: str, batch: Mapping[str, Any], outputs: Any, parts: list[np.ndarray]) -> dict[str, float]:
    """Returns the figures of examples that are dealt in parts."""
    stream = streams_of(task)
    added: dict[str, Any] = {}
    for rows in parts:
        for name, value in stream.sums(take(batch, rows), take(outputs, rows)).items():
            added[name] = added.get(name, 0.0) + value.numpy().astype(np.float64)
    return stream.figures(added)


def streams_of(task: str) -> streams.Stream:
    stream = tasks.find(task).stream
    assert stream is not None
    return stream(DATA[task])


def whole(task: str, batch: Mapping[str, Any], outputs: Any) -> dict[str, float]:
    return told(task, batch, outputs, [np.arange(NUMBER)])


def test_every_task_has_a_stream() -> None:
    assert all(tasks.find(name).stream is not None for name in folder.names("radkit.tasks"))
    assert set(DATA) == set(folder.names("radkit.tasks"))


@pytest.mark.parametrize("task", DATA)
@given(seed=st.integers(0, 99), cuts=st.lists(st.integers(1, NUMBER - 1), max_size=4, unique=True))
@settings(max_examples=12)
def test_figures_do_not_depend_on_how_examples_are_dealt(task: str, seed: int, cuts: list[int]) -> None:
    batch, outputs = examples(task, seed)
    rows = np.random.default_rng(seed).permutation(NUMBER)
    parts = [part for part in np.split(rows, sorted(cuts))]
    assert told(task, batch, outputs, parts) == pytest.approx(whole(task, batch, outputs), rel=1e-6, nan_ok=True)


@pytest.mark.parametrize("task", DATA)
def test_what_fills_up_a_batch_counts_nothing_and_weights_do_not_bend(task: str) -> None:
    batch, outputs = examples(task, 7)
    weight = np.array([0.0, 3.0] * (NUMBER // 2), np.float32)
    kept = np.arange(1, NUMBER, 2)
    found = told(task, {**batch, "weight": weight}, outputs, [np.arange(NUMBER)])
    assert found == pytest.approx(told(task, batch, outputs, [kept]), rel=1e-6)
    of_nothing = told(task, {**batch, "weight": 0 * weight}, outputs, [np.arange(NUMBER)])
    assert all(np.isnan(value) for value in of_nothing.values())


@pytest.mark.parametrize("task", DATA)
def test_sums_are_compiled_with_static_shapes(task: str) -> None:
    """A TPU asks for them."""
    batch, outputs = examples(task, 0)
    rows = np.arange(NUMBER)
    compiled = tf.function(streams_of(task).sums, jit_compile=True)
    plain = streams_of(task).sums(take(batch, rows), take(outputs, rows))
    for name, value in compiled(take(batch, rows), take(outputs, rows)).items():
        np.testing.assert_allclose(value, plain[name], rtol=1e-5, err_msg=name)


def test_accuracy_and_area_are_the_metrics() -> None:
    label, logits = np.array([0, 1, 1, 0, 1, 0]), np.array([-2.0, 1.0, -1.0, 0.5, 3.0, -0.5])
    found = told_of("classification", {"label": label}, np.stack([0 * logits, logits], -1).astype(np.float32), range(6))
    assert found["accuracy"] == pytest.approx(4 / 6)
    assert found["AUC"] == pytest.approx(metrics.METRICS["roc_auc_delong"](y_true=label, y_score=logits)["auc"])


def told_of(task: str, batch: Mapping[str, Any], outputs: Any, rows: range) -> dict[str, float]:
    return told(task, batch, outputs, [np.array(rows)])


@pytest.mark.parametrize("task", ["classification", "ordinal", "regression"])
def test_an_example_without_label_is_left_out(task: str) -> None:
    batch, outputs = examples(task, 5)
    batch["label"][0] = np.nan if task == "regression" else -1
    alone = np.arange(1, NUMBER)
    assert whole(task, batch, outputs) == pytest.approx(told(task, batch, outputs, [alone]), rel=1e-6)


def test_unknown_labels_are_left_out() -> None:
    label = np.array([[1, -1, 0], [0, 1, -1], [1, 0, -1]])
    logits = np.array([[2.0, 9.0, 1.0], [-1.0, 1.0, 5.0], [0.5, -1.0, -5.0]], np.float32)
    assert told_of("multi_label", {"label": label}, logits, range(3)) == {"mean AUC": 1.0}


def test_a_degree_is_the_steps_that_are_passed() -> None:
    logits = np.array([[3.0, 1.0, -1.0, 9.0], [-1.0, 2.0, 2.0, 9.0]], np.float32)  # degrees 2 and 0: steps cross
    found = told_of("ordinal", {"label": np.array([2, 3])}, logits, range(2))
    assert found == {"accuracy": 0.5, "mean error in degrees": 1.5}


def test_pooled_dice_is_that_of_all_voxels() -> None:
    batch, logits = examples("segmentation", 3)
    batch["mask"] %= 3  # nothing is unlabelled
    found = whole("segmentation", batch, logits)
    of_all = metrics.METRICS["multilabel_dice"](ref=batch["mask"][..., 0], pred=logits.argmax(-1), labels=[1, 2])
    assert found["pooled Dice, tumour"] == pytest.approx(of_all[2])
    assert found["pooled Dice"] == pytest.approx((of_all[1] + of_all[2]) / 2)
    deep = streams_of("segmentation").sums(take(batch, np.arange(2)), [tf.constant(logits[:2]), tf.zeros([2, 2, 3, 3])])
    flat = streams_of("segmentation").sums(take(batch, np.arange(2)), tf.constant(logits[:2]))
    assert all(np.array_equal(deep[name], value) for name, value in flat.items())


def test_boxes_are_hit_by_their_class_alone() -> None:
    boxes = np.array([[[0.0, 0.0, 10.0, 10.0], [20.0, 20.0, 30.0, 30.0], [0.0, 0.0, 0.0, 0.0]]], np.float32)
    found = {"boxes": boxes[:, [0, 1, 1]], "scores": np.array([[[0.9, 0.1], [0.8, 0.1], [0.1, 0.3]]], np.float32)}
    batch = {"boxes": boxes, "box_labels": np.array([[0, 1, -1]])}
    # The second box is told of as class 1, too, but not surely.
    assert told_of("detection", batch, found, range(1)) == {"boxes hit": 0.5, "IoU of the best place": 1.0}
    unsure = {**batch, "box_labels": np.array([[0, 2, -1]])}
    assert told_of("detection", unsure, found, range(1))["boxes hit"] == 1.0


def test_mixed_labels_count_by_their_share() -> None:
    batch = {"label": np.array([0]), "mixed_label": np.array([1]), "mixed_share": np.array([0.75], np.float32)}
    found = told_of("classification", batch, np.array([[5.0, -5.0]], np.float32), range(1))
    assert found["accuracy"] == pytest.approx(0.75)
