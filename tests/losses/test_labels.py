"""Losses of labels, degrees and numbers against plain numpy; what is unknown costs nothing."""

import numpy as np
import pytest

from radkit.errors import UserError
from radkit.losses import classification, multi_label, ordinal, regression
from tests.losses import made

RANDOM = np.random.default_rng(0)
LOGITS = RANDOM.normal(0, 2, (6, 4)).astype(np.float32)
LABEL = np.array([0, 1, 2, 3, 2, -1])
FLAGS = np.array([[1, 0, -1, 0], [0, 0, 1, 1], [-1, -1, -1, -1], [1, 1, 1, 1], [0, -1, 0, 0], [1, 0, 0, -1]])
P = made.softmax(LOGITS)
OF_TRUTH = np.where(LABEL >= 0, P[np.arange(6), LABEL], 1.0)


def test_an_unknown_class_costs_nothing() -> None:
    found = classification.cross_entropy(LABEL, LOGITS, 0.1)
    assert found[-1] == 0
    assert (np.asarray(found[:-1]) > 0).all()


@pytest.mark.parametrize("gamma", [0.0, 2.0, 3.5])
def test_focal_loss_of_classes(gamma: float) -> None:
    expected = -((1 - OF_TRUTH) ** gamma) * np.log(OF_TRUTH)
    np.testing.assert_allclose(classification.focal(LABEL, LOGITS, gamma=gamma), expected, rtol=1e-5, atol=1e-7)
    weights = np.array([0.1, 0.2, 0.3, 0.4])
    found = classification.focal(LABEL, LOGITS, gamma=gamma, alpha=tuple(weights))
    np.testing.assert_allclose(found, expected * weights[LABEL], rtol=1e-5, atol=1e-7)


def test_a_cost_matrix_is_read_by_truth_then_call() -> None:
    costs = RANDOM.random((4, 4))
    expected = np.where(LABEL >= 0, (costs[LABEL] * P).sum(-1), 0.0)
    found = classification.cost_sensitive(LABEL, LOGITS, costs.tolist(), cross_entropy_weight=0.0)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    found = classification.cost_sensitive(LABEL, LOGITS, costs.tolist(), cost_weight=0.5)
    np.testing.assert_allclose(found, 0.5 * expected - np.log(OF_TRUTH), rtol=1e-5)
    squares = (np.arange(4)[:, None] - np.arange(4)) ** 2
    found = classification.cost_sensitive(LABEL, LOGITS, cross_entropy_weight=0.0)
    np.testing.assert_allclose(found, np.where(LABEL >= 0, (squares[LABEL] * P).sum(-1), 0.0), rtol=1e-5)
    with pytest.raises(UserError, match="costs must be 4 rows of 4 numbers"):
        classification.cost_sensitive(LABEL, LOGITS, [[0, 1], [1, 0]])


def binary(flags: np.ndarray, logits: np.ndarray) -> np.ndarray:
    p = made.sigmoid(logits)
    return -np.where(flags == 1, np.log(p), np.log(1 - p))


def mean_of_known(costs: np.ndarray) -> np.ndarray:
    known = FLAGS >= 0
    return (costs * known).sum(-1) / np.maximum(known.sum(-1), 1)


def test_unknown_labels_are_left_out_of_the_mean() -> None:
    found = multi_label.binary_cross_entropy(FLAGS, LOGITS)
    np.testing.assert_allclose(found, mean_of_known(binary(FLAGS, LOGITS)), rtol=1e-5)
    assert found[2] == 0
    costs = 0.95 * binary(FLAGS, LOGITS) + 0.05 * binary(1 - FLAGS, LOGITS)
    found = multi_label.binary_cross_entropy(FLAGS, LOGITS, label_smoothing=0.1)
    np.testing.assert_allclose(found, mean_of_known(costs), rtol=1e-5)
    found = multi_label.binary_cross_entropy(FLAGS, LOGITS, positive_weights=(1.0, 2.0, 3.0, 4.0))
    weights = np.where(FLAGS == 1, [1, 2, 3, 4], 1)
    np.testing.assert_allclose(found, mean_of_known(binary(FLAGS, LOGITS) * weights), rtol=1e-5)
    with pytest.raises(UserError, match="positive_weights must be 4 numbers"):
        multi_label.binary_cross_entropy(FLAGS, LOGITS, positive_weights=(1.0,))


@pytest.mark.parametrize("gamma", [0.0, 2.0])
def test_focal_loss_of_several_labels(gamma: float) -> None:
    p = made.sigmoid(LOGITS)
    right = np.where(FLAGS == 1, p, 1 - p)
    costs = binary(FLAGS, LOGITS) * (1 - right) ** gamma
    np.testing.assert_allclose(multi_label.focal(FLAGS, LOGITS, gamma=gamma), mean_of_known(costs), rtol=1e-5)
    found = multi_label.focal(FLAGS, LOGITS, gamma=gamma, alpha=0.25)
    np.testing.assert_allclose(found, mean_of_known(costs * np.where(FLAGS == 1, 0.25, 0.75)), rtol=1e-5)


def test_coral_asks_of_each_step_whether_it_is_more() -> None:
    logits = LOGITS[:, :3]
    more = LABEL[:, None] > np.arange(3)
    expected = np.where(LABEL >= 0, binary(more.astype(int), logits).sum(-1), 0.0)
    np.testing.assert_allclose(ordinal.coral(LABEL, logits), expected, rtol=1e-5)
    found = ordinal.coral(LABEL, logits, (1.0, 0.0, 2.0))
    weighed = (binary(more.astype(int), logits) * [1, 0, 2]).sum(-1)
    np.testing.assert_allclose(found, np.where(LABEL >= 0, weighed, 0.0), rtol=1e-5)
    with pytest.raises(UserError, match="step_weights must be 3 numbers"):
        ordinal.coral(LABEL, logits, (1.0,))


def test_errors_of_numbers() -> None:
    label = np.array([1.0, -2.0, 0.5, np.nan])
    found = np.array([[1.5], [1.0], [0.5], [9.0]], np.float32)
    np.testing.assert_allclose(regression.squared(label, found), [0.25, 9.0, 0.0, 0.0])
    np.testing.assert_allclose(regression.absolute(label, found), [0.5, 3.0, 0.0, 0.0])
    np.testing.assert_allclose(regression.huber(label, found, 2.0), [0.125, 2.0 * (3.0 - 1.0), 0.0, 0.0])
