"""A config's inference section: refused when it makes no sense, the same answer when exported."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage

from radkit import config, config_check, tasks
from radkit.errors import UserError
from radkit.tasks import task as task_module

DATA = config.Data("r", kind="radiograph", image_size=(24, 24), mask_labels=("lung", "heart"), normalise="none")
INFERENCE = config.Inference(
    window=(16, 16), batch_size=2, flips=(False, True), largest_component=("lung",), fill_holes=("heart",)
)


def experiment(task: str = "segmentation", **inference: Any) -> config.Experiment:
    made = config.Inference(**inference)
    return config.Experiment(DATA, config.Model("unet"), config.Task(task), inference=made)


@pytest.mark.parametrize(
    ("inference", "said"),
    [
        ({"window": (8,)}, "window must be empty or 2 sizes"),
        ({"overlap": 1.0}, "overlap must be a share"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"flips": (True,)}, "flips must be empty or 2 values"),
        ({"fill_holes": ("hart",)}, "did you mean 'heart'"),
        ({"task": "classification", "window": (8, 8)}, "classification answers an image"),
    ],
)
def test_what_makes_no_sense_is_refused(inference: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        config_check.check(experiment(**inference))


def test_flips_and_labels_that_mirror_each_other_are_refused() -> None:
    one = experiment(flips=(False, True))
    config_check.check(one)
    swapped = dataclasses.replace(one, augment=config.Augment(swap_labels=(("lung", "heart"),), swap_axis=1))
    with pytest.raises(UserError, match="average labels with their mirror images"):
        config_check.check(swapped)


def test_the_export_answers_as_the_process_does_and_masks_are_clean(tmp_path: Path) -> None:
    def network(image: tf.Tensor, training: bool) -> tf.Tensor:  # what a voxel gets depends on its window
        return tf.concat([0 * image, tf.cumsum(image, 1) / 3, tf.cumsum(image, 2) / 3], -1)

    task = tasks.find("segmentation")
    answer = task_module.answering(network, task, DATA, INFERENCE)
    plain = task_module.answering(network, task, DATA)
    served = tf.Module()
    served.answer = answer
    tf.saved_model.save(served, str(tmp_path), signatures=answer)
    loaded = tf.saved_model.load(str(tmp_path)).signatures["serving_default"]
    cleaned = 0
    for sizes in ((24, 24), (37, 20), (9, 11)):
        image = tf.constant(np.random.default_rng(0).normal(size=(2, *sizes, 1)), tf.float32)
        spacing = tf.ones([2, 2])
        mask = answer(image, spacing)["mask"]
        assert mask.shape == (2, *sizes)
        np.testing.assert_array_equal(loaded(image=image, spacing_mm=spacing)["mask"], mask)
        assert all(ndimage.label(one == 1, np.ones((3, 3)))[1] <= 1 for one in mask.numpy())
        cleaned += int(np.any(plain(image, spacing)["mask"] != mask))
    assert cleaned
