"""What no loss can make sense of is told in a line: shapes that would be broadcast, settings without a meaning."""

from typing import Any

import numpy as np
import pytest

from radkit import losses
from radkit.errors import UserError
from radkit.losses import deep_supervision, segmentation
from tests.losses import made

TASKS = ("classification", "multi_label", "ordinal", "regression")
LABELS = [(task, name) for task in TASKS for name in losses.names(task)]


@pytest.mark.parametrize("name", losses.names("segmentation"))
def test_masks_of_other_sizes_are_not_broadcast(name: str) -> None:
    mask, logits = made.case((6, 5))
    for other in (mask[:, :1], mask[:, :3], mask[:1]):
        with pytest.raises(UserError, match="must have the same axes and sizes"):
            losses.find("segmentation", name)(other, logits)


@pytest.mark.parametrize(("task", "name"), LABELS)
def test_labels_of_other_sizes_are_not_broadcast(task: str, name: str) -> None:
    loss, outputs = losses.find(task, name), 1 if task == "regression" else 3
    label = np.zeros((2, 3) if task == "multi_label" else 2, np.float32)
    logits = np.zeros((2, outputs), np.float32)
    for truth, answer in ((label[:1], logits), (np.concatenate([label, label]), logits), (label, logits[:, None])):
        with pytest.raises(UserError, match="logits"):
            loss(truth, answer)


def test_one_label_an_example_may_be_a_column() -> None:
    logits = np.array([[0.3], [2.0]], np.float32)
    column = losses.find("regression", "squared")(np.array([[1.0], [0.5]]), logits)
    np.testing.assert_array_equal(column, losses.find("regression", "squared")(np.array([1.0, 0.5]), logits))


@pytest.mark.parametrize(
    ("task", "name", "settings", "said"),
    [
        ("segmentation", "dice", {"smooth": -1.0}, "smooth must be a number from 0 on, not -1.0"),
        ("segmentation", "dice", {"smooth": "a"}, "smooth must be a number from 0 on, not 'a'"),
        ("segmentation", "dice", {"class_weights": None}, "class_weights must be several numbers"),
        ("segmentation", "focal", {"gamma": -1}, "gamma must be a number from 0 on"),
        ("segmentation", "focal", {"alpha": 2.0}, "alpha must be a number from 0 to 1"),
        ("segmentation", "focal_tversky", {"gamma": 0}, "gamma must be a number above 0"),
        ("segmentation", "tversky", {"beta": -1}, "beta must be a number from 0 on"),
        ("segmentation", "cross_entropy", {"label_smoothing": 2}, "label_smoothing must be a number from 0 to 1"),
        ("segmentation", "hausdorff", {"alpha": -1}, "alpha must be"),
        ("segmentation", "cl_dice", {"iterations": 1.5}, "iterations must be a whole number from 0 on"),
        ("segmentation", "dice_and_cl_dice", {"share": 3}, "share must be a number from 0 to 1"),
        ("classification", "cross_entropy", {"label_smoothing": float("nan")}, "label_smoothing must be"),
        ("classification", "cost_sensitive", {"costs": (1, 2, 3)}, "costs must be 3 rows of 3 numbers"),
        ("classification", "cost_sensitive", {"costs": [[0, float("nan"), 1]] * 3}, "costs must be 3 rows"),
        ("multi_label", "binary_cross_entropy", {"positive_weights": (1, -1, 1)}, "positive_weights must be"),
        ("ordinal", "coral", {"step_weights": (1, -1, 1)}, "step_weights must be"),
        ("regression", "huber", {"delta": 0}, "delta must be a number above 0"),
    ],
)
def test_settings_that_make_no_sense(task: str, name: str, settings: dict[str, Any], said: str) -> None:
    mask, logits = made.case((4, 4))
    truths = {"segmentation": mask, "multi_label": np.zeros((2, 3)), "regression": np.zeros(2)}
    answers = {"segmentation": logits, "regression": logits[0, 0, :2, :1]}
    truth = truths.get(task, np.zeros(2, int))
    with pytest.raises(UserError, match=said):
        losses.chosen(task, name, settings)(truth, answers.get(task, logits[0, 0, :2]))


@pytest.mark.parametrize("name", ["dice", "generalised_dice", "tversky", "focal_tversky", "cl_dice"])
def test_nothing_there_and_nothing_called_costs_nothing_without_smoothing(name: str) -> None:
    mask, logits = np.full((1, 4, 4, 1), 255, np.uint8), np.zeros((1, 4, 4, 2), np.float32)
    # clDice's harmonic mean has MONAI's 1e-4 below.
    np.testing.assert_allclose(losses.find("segmentation", name)(mask, logits, 0.0), 0.0, atol=1e-4)


def test_several_resolutions_must_be_some_and_the_finest_the_masks() -> None:
    mask, logits = made.case((4, 4))
    with pytest.raises(UserError, match="list of answers is empty"):
        deep_supervision.supervised(segmentation.dice, mask, [])
    with pytest.raises(UserError, match="must have the same axes and sizes"):
        deep_supervision.supervised(segmentation.dice, mask, [logits[:, :2], logits[:, :1]])
