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

from radkit import config, outputs, runs, tasks
from radkit.errors import UserError
from radkit.tasks import task as task_module
from serving import accuracy, card, export, gate, operating, sources
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


def test_weights_of_nan_are_refused(tmp_path: Path) -> None:
    image = keras.Input((3,))
    network = keras.Model(image, keras.layers.Dense(2, name="dense")(keras.layers.BatchNormalization()(image)))
    sources._require_numbers(network, tmp_path)
    for value in (np.nan, np.inf):
        network.get_layer("dense").bias.assign([0.0, value])
        with pytest.raises(UserError, match=r"its weights hold nan or infinite numbers \(dense/bias\)"):
            sources._require_numbers(network, tmp_path)


def test_an_answer_of_nan_is_refused_and_a_threshold_of_nan_is_not() -> None:
    gate._require_numbers({"probabilities": np.ones(2), "thresholds": np.full(2, np.nan)}, "0/serving_default")
    with pytest.raises(UserError, match=r"probabilities that are no finite numbers [(]classify[)]"):
        gate._require_numbers({"probabilities": np.array([0.5, np.nan])}, "5/classify")


def test_another_config_of_the_same_weights_is_another_export(tmp_path: Path) -> None:
    outputs.write_json(tmp_path / "manifest.json", {"data": "abc", "patients": {}, "weights_sha256": "def"})
    outputs.write_json(tmp_path / "config.json", {"experiment": {"inference": {"flips": []}}})
    before = export._provenance([tmp_path], export.Options("m"))
    assert export._provenance([tmp_path], export.Options("m")) == before
    edited(tmp_path / "config.json", lambda said: said["experiment"]["inference"].update(flips=[True, True]))
    assert export._provenance([tmp_path], export.Options("m")) != before


def test_a_lost_score_of_a_regression_is_a_share_of_its_range(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = config.Data("d", label="age", label_kind="regression", label_range=(0.0, 200.0))
    experiment = config.Experiment(data, config.Model("resnet"), config.Task("regression"))
    record = {"values": np.zeros((2, 2, 1), np.float32), "spacing_mm": np.ones(2, np.float32), "label": 50.0}
    record |= {"patient_id": "p", "record_uid": "r", "view_position": "", "sex": "", "manufacturer": ""}
    monkeypatch.setattr(accuracy.pipeline, "check", lambda *_: None)
    monkeypatch.setattr(accuracy, "_records", lambda *_: [record])

    def of(value: float) -> Any:
        return lambda *_: {"values": tf.constant([[value]], tf.float32)}

    found = accuracy.of_records(of(51.0), of(50.0), tmp_path, experiment, tasks.find("regression"))
    assert found == (pytest.approx(1 / 200), 1, pytest.approx(1 / 200))


@pytest.mark.parametrize("patients", [None, ["a"], {"train": None}])
def test_a_manifest_without_its_patients_is_told(patients: Any) -> None:
    assert card._counts({"patients": {"train": ["a", "b"]}}) == {"train": 2}
    with pytest.raises(UserError, match=r"manifest\.json does not tell its patients by split"):
        card._counts({"patients": patients})


def test_the_card_tells_where_no_threshold_was_found() -> None:
    line = card._point({"name": "yes", "threshold": None, "rule": "min_sensitivity"})
    assert line == "- yes: none: no threshold meets the rule (rule min_sensitivity)"


def evaluation(folder: Path, weights: str, verb: str = "evaluate") -> Path:
    folder.mkdir()
    settings = {"split": "validation", "weights": weights, "reference_standards": ["histology"]}
    outputs.write_json(folder / "provenance.json", {"verb": verb, "settings": settings})
    figures = {"AUC": {"value": 0.912, "low": 0.85, "high": None}, "kappa": 0.5, "AUC, a|b": 1.0}
    outputs.write_json(folder / "summary.json", {"num_cases": 8, "num_patients": 4, "figures": figures})
    return folder


def test_the_card_takes_figures_of_its_own_weights_only(tmp_path: Path) -> None:
    found = card.figures(evaluation(tmp_path / "a", "abc"), ["abc"])
    lines = card._evaluated(found)
    assert lines[0] == "Split validation, 8 cases of 4 patients."
    assert "| AUC | 0.912 | 0.85 to unknown |" in lines
    assert "| kappa | 0.5 | |" in lines
    assert "| AUC, a\\|b | 1 | |" in lines
    with pytest.raises(UserError, match="is of other weights than the run's"):
        card.figures(tmp_path / "a", ["other"])
    with pytest.raises(UserError, match="no folder that radkit evaluate wrote"):
        card.figures(evaluation(tmp_path / "b", "abc", verb="train"), ["abc"])
    with pytest.raises(UserError, match="no folder that radkit evaluate wrote"):
        card.figures(tmp_path, ["abc"])
