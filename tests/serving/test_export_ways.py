"""Exports of several runs, of operating points, of weights in fewer bits, and what the card tells of an evaluation."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from radkit import outputs, runs, tasks
from radkit.errors import UserError
from radkit.tasks import task as task_module
from serving import card, export, operating
from tests.conftest import MadeUp

IMAGE = np.random.default_rng(1).normal(500, 80, (2, 19, 26, 1)).astype(np.float32)
SPACING = np.full((2, 2), np.nan, np.float32)


@pytest.fixture
def run(run_folders: dict[str, Path], tmp_path: Path) -> Path:
    """A copy of the classification run, to be changed."""
    return copied(run_folders["classification"], tmp_path / "run")


def copied(run: Path, folder: Path) -> Path:
    shutil.copytree(run, folder, ignore=shutil.ignore_patterns("state", "tensorboard"))
    return folder


def other(run: Path, folder: Path) -> Path:
    """Returns a run of another seed: the same but for its weights."""
    copied(run, folder)
    experiment = runs.experiment(run)
    network = runs.new_network(experiment, tasks.find(experiment.task.name))
    runs.load_weights(network, run)
    random = np.random.default_rng(0)
    for variable in network.trainable_variables:
        variable.assign(variable + random.normal(0, 0.3, variable.shape))
    network.save_weights(folder / runs.BEST)
    edited(folder / "config.json", lambda said: said["experiment"]["trainer"].update(seed=9))
    sha = hashlib.sha256((folder / runs.BEST).read_bytes()).hexdigest()
    edited(folder / "manifest.json", lambda said: said.update(weights_sha256=sha))
    return folder


def edited(path: Path, change: Any) -> None:
    said = json.loads(path.read_text())
    change(said)
    path.write_text(json.dumps(said))


def probabilities(run: Path) -> np.ndarray:
    experiment = runs.experiment(run)
    task = tasks.find(experiment.task.name)
    network = runs.new_network(experiment, task)
    runs.load_weights(network, run)
    answer = task_module.answering(network, task, experiment.data, experiment.inference)
    return np.asarray(answer(tf.constant(IMAGE), tf.constant(SPACING))["probabilities"])


def exported(output: Path, *flags: str) -> dict[str, np.ndarray]:
    policy = keras.mixed_precision.global_policy()
    assert export.main(["export", f"--output={output}", *flags]) == 0
    keras.mixed_precision.set_global_policy(policy)
    loaded = tf.saved_model.load(str(output / "1"))
    found = loaded.signatures["serving_default"](image=tf.constant(IMAGE), spacing_mm=tf.constant(SPACING))
    return {name: value.numpy() for name, value in found.items()}


@pytest.mark.slow
class TestExports:
    def test_an_operating_point_makes_calls_in_the_graph(self, run: Path, tmp_path: Path) -> None:
        threshold = float(np.sort(probabilities(run)[:, 1])[-1])  # that of the surer of the two images
        point = {"name": "yes", "threshold": threshold, "rule": "youden", "value": None, "chosen_on": "validation"}
        said = {"weights_sha256": runs.manifest(run)["weights_sha256"], "points": [point]}
        (run / operating.FILE).write_text(json.dumps(said))
        found = exported(tmp_path / "m", f"--run={run}")
        assert found["calls"][:, 0].tolist() == [255, 255]
        assert sorted(found["calls"][:, 1].tolist()) == [0, 1]
        assert np.isnan(found["thresholds"][:, 0]).all()
        assert "- yes: from" in (tmp_path / "m" / "1" / "assets" / "model_card.md").read_text()

    def test_several_runs_answer_their_mean(self, run: Path, tmp_path: Path) -> None:
        second = other(run, tmp_path / "second")
        alone = [probabilities(one) for one in (run, second)]
        assert np.abs(alone[0] - alone[1]).max() > 0.01
        found = exported(tmp_path / "m", f"--run={run}", f"--run={second}")
        np.testing.assert_allclose(found["probabilities"], np.mean(alone, axis=0), rtol=1e-5, atol=1e-6)
        said = json.loads((tmp_path / "m" / "1" / "assets" / "model.json").read_text())
        assert [one["weights_sha256"] for one in said["runs"]] == [
            runs.manifest(one)["weights_sha256"] for one in (run, second)
        ]

    def test_int8_answers_nearly_the_same_and_says_how_nearly(
        self, run: Path, tmp_path: Path, radiographs: MadeUp, capsys: pytest.CaptureFixture[str]
    ) -> None:
        flags = [f"--run={run}", "--weights=int8", f"--input={radiographs.folder}"]
        found = exported(tmp_path / "m", *flags, "--tolerance=0.1")
        apart_by = np.abs(found["probabilities"] - probabilities(run)).max()
        assert 0 < apart_by < 0.1
        said = json.loads((tmp_path / "m" / "1" / "assets" / "model_card.json").read_text())["weights"]
        assert said["stored_as"] == "int8"
        assert said["num_validation_records"] == 8
        assert 0 < said["largest_difference"]["validation_records"] < 0.1
        capsys.readouterr()
        assert export.main(["export", f"--output={tmp_path / 'none'}", *flags, "--tolerance=0"]) == 2
        assert "--weights=int8 changes answers by more than --tolerance=0" in capsys.readouterr().err
        assert not (tmp_path / "none").exists()


def evaluation(folder: Path, weights: str, verb: str = "evaluate") -> Path:
    folder.mkdir()
    settings = {"split": "validation", "weights": weights, "reference_standards": ["histology"]}
    outputs.write_json(folder / "provenance.json", {"verb": verb, "settings": settings})
    figures = {"AUC": {"value": 0.912, "low": 0.85, "high": None}, "kappa": 0.5}
    outputs.write_json(folder / "summary.json", {"num_cases": 8, "num_patients": 4, "figures": figures})
    return folder


def test_the_card_takes_figures_of_its_own_weights_only(tmp_path: Path) -> None:
    found = card.figures(evaluation(tmp_path / "a", "abc"), ["abc"])
    lines = card._evaluated(found)
    assert lines[0] == "Split validation, 8 cases of 4 patients."
    assert "| AUC | 0.912 | 0.85 to unknown |" in lines
    assert "| kappa | 0.5 | |" in lines
    with pytest.raises(UserError, match="is of other weights than the run's"):
        card.figures(tmp_path / "a", ["other"])
    with pytest.raises(UserError, match="no folder that radkit evaluate wrote"):
        card.figures(evaluation(tmp_path / "b", "abc", verb="train"), ["abc"])
    with pytest.raises(UserError, match="no folder that radkit evaluate wrote"):
        card.figures(tmp_path, ["abc"])
