"""Every loss that there is, by being there: its shape, its type, extreme logits, unlabelled voxels."""

import numpy as np
import pytest
import tensorflow as tf

from radkit import losses
from radkit.errors import UserError
from tests.losses import made

# Losses of boxes take a network's dict: tests/losses/test_detection.py holds them to the same.
ALL = [(task, name) for task in losses.LOSSES if task != "detection" for name in losses.names(task)]
OF_MASKS = losses.names("segmentation")
EXTREME = 3e4  # float16 ends at 65504


def example(task: str) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    if task == "segmentation":
        return made.case((6, 5))
    logits = random.normal(size=(3, 1 if task == "regression" else 4)).astype(np.float32)
    truths = {
        "classification": np.array([0, 3, 1]),
        "ordinal": np.array([0, 3, 1]),
        "multi_label": np.array([[0, 1, -1, 1], [1, 1, 0, 0], [-1, -1, -1, -1]]),
        "regression": np.array([0.5, -3.0, 7.0], np.float32),
    }
    return truths[task], logits


@pytest.mark.parametrize(("task", "name"), ALL)
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_a_loss_is_one_finite_number_an_example_with_finite_gradients(task: str, name: str, dtype: str) -> None:
    truth, logits = example(task)
    loss = losses.find(task, name)
    for scale in (1.0, EXTREME):
        given = tf.cast(np.sign(logits) * scale if scale > 1 else logits, dtype)
        with tf.GradientTape() as tape:
            tape.watch(given)
            found = loss(truth, given)
        assert found.shape == (3,)
        assert found.dtype == tf.float32
        assert np.isfinite(found).all()
        gradient = tf.cast(tape.gradient(found, given), tf.float32)
        assert np.isfinite(gradient).all()


@pytest.mark.parametrize("name", OF_MASKS)
def test_what_is_said_of_unlabelled_voxels_costs_nothing(name: str) -> None:
    mask, logits = made.case((6, 5))
    mask[:, :2] = 255
    other = logits.copy()
    other[:, :2] = np.random.default_rng(5).normal(0, 3, other[:, :2].shape)
    loss = losses.find("segmentation", name)
    np.testing.assert_allclose(loss(mask, logits), loss(mask, other), rtol=1e-6)
    given = tf.constant(logits)
    with tf.GradientTape() as tape:
        tape.watch(given)
        found = loss(mask, given)
    gradient = tape.gradient(found, given).numpy()
    assert (gradient[:, :2] == 0).all()
    assert (gradient[:, 2:] != 0).any()


LOCAL = [
    name
    for name in OF_MASKS
    if name not in ("boundary", "dice_and_boundary", "hausdorff", "cl_dice", "dice_and_cl_dice")
]


@pytest.mark.parametrize("name", LOCAL)
def test_unlabelled_voxels_might_as_well_not_be_there(name: str) -> None:
    mask, logits = made.case((6, 5))
    mask[:, :2] = 255
    loss = losses.find("segmentation", name)
    np.testing.assert_allclose(loss(mask, logits), loss(mask[:, 2:], logits[:, 2:]), rtol=1e-5)


@pytest.mark.parametrize("name", OF_MASKS)
def test_nothing_labelled_costs_nothing_to_learn_from(name: str) -> None:
    mask, logits = made.case((6, 5))
    given = tf.constant(logits)
    with tf.GradientTape() as tape:
        tape.watch(given)
        found = losses.find("segmentation", name)(np.full_like(mask, 255), given)
    assert np.isfinite(found).all()
    assert (tape.gradient(found, given).numpy() == 0).all()


@pytest.mark.parametrize("name", OF_MASKS)
def test_a_better_answer_costs_less(name: str) -> None:
    mask, _ = made.case((9, 8), classes=2)
    logits = 6.0 * np.eye(2, dtype=np.float32)[mask[..., 0]] - 3.0
    loss = losses.find("segmentation", name)
    costs = [float(np.mean(loss(mask, share * logits))) for share in (-1.0, 0.0, 0.5, 1.0)]
    assert costs == sorted(costs, reverse=True)


def test_a_loss_is_found_by_task_and_name() -> None:
    assert losses.find("segmentation") is losses.find("segmentation", "dice_and_cross_entropy")
    with pytest.raises(UserError, match=r"no loss 'dise' \(did you mean 'dice'\?\); there are: dice_and"):
        losses.find("segmentation", "dise")
    with pytest.raises(UserError, match=r"none for task 'segmentatoin' \(did you mean 'segmentation'"):
        losses.find("segmentatoin")


def test_code_of_ones_own_is_a_loss() -> None:
    loss = losses.chosen("segmentation", "tests.losses.test_registry:own", {"times": 3.0})
    np.testing.assert_allclose(loss(np.zeros(2), np.ones(2)), [3.0, 3.0])
    with pytest.raises(UserError, match="is str; a function"):
        losses.find("segmentation", "radkit:__version__")


def own(truth: np.ndarray, logits: np.ndarray, times: float = 1.0) -> np.ndarray:
    return times * np.abs(truth - logits)


def test_a_setting_that_a_loss_does_not_have_is_refused() -> None:
    with pytest.raises(UserError, match=r"loss 'tversky' has no setting 'alhpa' \(did you mean 'alpha'"):
        losses.chosen("segmentation", "tversky", {"alhpa": 1})
    with pytest.raises(UserError, match="loss 'squared' has no setting 'delta'; there are: none"):
        losses.chosen("regression", "", {"delta": 1})
