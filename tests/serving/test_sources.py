"""Runs that one export is made of: alike but in seed and fold, and the mean of their probabilities."""

import json
import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from radkit import config, tasks
from radkit.errors import UserError
from serving import accuracy, gate, sources


def network(seed: int, outputs: int) -> keras.Model:
    keras.utils.set_random_seed(seed)
    image = keras.Input((4, 4, 1))
    return keras.Model(image, keras.layers.Dense(outputs)(keras.layers.Flatten()(image)))


def source(task: str, data: config.Data, networks: list[keras.Model]) -> sources.Source:
    experiment = config.Experiment(data=data, model=config.Model("resnet"), task=config.Task(task))
    return sources.Source((), (), experiment, tasks.find(task), tuple(networks), None, "")


KINDS = {
    "classification": (3, "class", lambda logits: tf.nn.softmax(logits)),
    "multi_label": (3, "multi_label", tf.sigmoid),
    "regression": (1, "regression", lambda logits: logits),
}


@pytest.mark.parametrize("task", sorted(KINDS))
def test_what_is_averaged_is_what_the_task_makes_of_the_logits(task: str) -> None:
    outputs, kind, made = KINDS[task]
    names = tuple("abc") if outputs == 3 else ()
    data = config.Data("d", kind="radiograph", label="x", label_kind=kind, class_names=names, image_size=(4, 4))
    networks = [network(seed, outputs) for seed in range(3)]
    image = np.random.default_rng(0).normal(size=(5, 4, 4, 1)).astype(np.float32)
    expected = np.mean([made(one(image)).numpy() for one in networks], axis=0)
    asked = sources.network(source(task, data, networks))
    found = made(asked(tf.constant(image), training=False)).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def copied(run: Path, folder: Path, sha: str, **trainer: Any) -> Path:
    """Returns a run that says that it was trained otherwise."""
    shutil.copytree(run, folder, ignore=shutil.ignore_patterns("state", "tensorboard"))
    for name, change in (("config.json", trainer), ("manifest.json", {"weights_sha256": sha})):
        said = json.loads((folder / name).read_text())
        (said["experiment"]["trainer"] if name == "config.json" else said).update(change)
        (folder / name).write_text(json.dumps(said))
    return folder


def test_runs_may_differ_in_seed_and_fold_only(run_folders: dict[str, Path], tmp_path: Path) -> None:
    run = run_folders["classification"]
    other = copied(run, tmp_path / "a", "1", seed=7)
    assert sources.require([run, other]).trainer.seed == 0
    with pytest.raises(UserError, match=r"differs from .* in trainer.batch_size; runs of an ensemble may differ"):
        sources.require([run, copied(run, tmp_path / "b", "2", batch_size=3)])
    with pytest.raises(UserError, match="the same weights"):
        sources.require([run, run])
    with pytest.raises(UserError, match="differs from"):
        sources.require([run, run_folders["segmentation"]])


class TestAccuracy:
    data = config.Data("d", label_range=(0.0, 20.0))

    def test_each_answer_is_measured_in_its_own_unit(self) -> None:
        def difference(name: str, found: Any, expected: Any) -> float:
            return accuracy.difference({name: np.array(found)}, {name: np.array(expected)}, self.data)

        assert difference("probabilities", [[0.2, 0.8]], [[0.3, 0.7]]) == pytest.approx(0.1)
        assert difference("values", [[12.0]], [[10.0]]) == pytest.approx(0.1)
        assert difference("mask", [[0, 1, 2, 2]], [[0, 1, 1, 2]]) == 0.25
        assert difference("scores", [[0.9, 0.0]], [[0.8, 0.0]]) == pytest.approx(0.1)
        assert difference("probabilities", [[np.nan, 0.8]], [[0.3, 0.7]]) == np.inf

    def test_answers_of_another_kind_are_refused(self) -> None:
        with pytest.raises(UserError, match="answers of text cannot be held against each other; leave --weights out"):
            accuracy.difference({"text": np.array(["a"])}, {"text": np.array(["a"])}, self.data)

    def test_more_than_is_tolerated_is_refused_with_its_figures(self) -> None:
        accuracy.require(accuracy.Change(0.01), "int8", 0.01)
        for change in (accuracy.Change(0.02), accuracy.Change(0.0, 0.02, 4, 0.0), accuracy.Change(0.0, 0.0, 4, 0.02)):
            with pytest.raises(UserError, match=r"--weights=int8 changes answers by more than --tolerance=0.01.*0\.02"):
                accuracy.require(change, "int8", 0.01)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ({"p": np.array([0.5001])}, "differs from the run's by up to 0.0001"),
        ({"p": np.array([0.5, 0.5])}, "its shape is"),
        ({"q": np.array([0.5])}, "has the outputs q, the run's p"),
    ],
)
def test_the_gate_says_what_differs(found: dict[str, np.ndarray], said: str) -> None:
    with pytest.raises(UserError, match=said):
        gate._compare(found, {"p": np.array([0.5])}, "0/serving_default", "the export's")


def test_the_gate_wants_masks_and_texts_as_they_are() -> None:
    with pytest.raises(UserError, match=r"mask differs from the run's in 25\.000% of its values"):
        gate._compare({"mask": np.array([1, 2, 3, 5])}, {"mask": np.array([1, 2, 3, 4])}, "0/x", "the export's")
    gate._compare({"t": np.array([np.nan, 0.3])}, {"t": np.array([np.nan, 0.3])}, "0/x", "the export's")
