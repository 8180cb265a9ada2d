"""What a run begins with: weights of an earlier run, layers that stay, patients that were seen."""

import dataclasses
import re
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from radkit import config, outputs, runs, tasks
from radkit.errors import UserError
from radkit.models import weights
from radkit.models.weights import freezing
from tests.conftest import MadeUp
from trainers import beginnings, checkpoints, train


def experiment(made: MadeUp, weights_from: str = "", freeze: tuple[str, ...] = (), **rates: float) -> MadeUp:
    model = dataclasses.replace(made.experiment.model, weights=weights_from, freeze=freeze)
    optimizer = dataclasses.replace(made.experiment.optimizer, rates=rates)
    changed = dataclasses.replace(made.experiment, model=model, optimizer=optimizer)
    return dataclasses.replace(made, experiment=changed)


def call(made: MadeUp, run: Path) -> int:
    run.parent.mkdir(exist_ok=True)
    return train.main(
        ["train", f"--config={made.config_file(run.parent)}", f"--input={made.folder}", f"--output={run}"]
    )


def kernels(path: Path) -> dict[str, np.ndarray]:
    found = {}

    def note(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = item[()]

    with h5py.File(path) as file:
        file.visititems(note)
    return found


@pytest.mark.slow
def test_a_run_goes_on_from_an_earlier_one_and_keeps_what_is_frozen(
    run_folders: dict[str, Path], volumes: MadeUp, tmp_path: Path, keras_alone: None, capsys: pytest.CaptureFixture[str]
) -> None:
    before = run_folders["segmentation"]
    made = experiment(volumes, f"run:{before}", ("encoder*",), **{"logits": 0.5})
    assert call(made, tmp_path / "a" / "run") == 0
    assert "left new     0 layers" in capsys.readouterr().out
    said = outputs.read_json(tmp_path / "a" / "run" / runs.TRANSFER)
    manifest, first = runs.manifest(tmp_path / "a" / "run"), runs.manifest(before)
    assert said["sha256"] == first["weights_sha256"]
    assert {row["outcome"] for row in said["layers"]} == {"loaded"}
    assert manifest["patients_before"] == sorted(first["patients"]["train"] + first["patients"]["validation"])
    network = runs.new_network(made.experiment, tasks.find("segmentation"))
    runs.load_weights(network, before)
    theirs = {name: layer.get_weights() for name, layer in freezing.names(network).items()}
    runs.load_weights(network, tmp_path / "a" / "run")
    for name, layer in freezing.names(network).items():
        same = all(np.array_equal(a, b) for a, b in zip(theirs[name], layer.get_weights()))
        assert same == name.startswith("encoder"), name


class TestStart:
    def network(self) -> keras.Model:
        inputs = keras.Input((4,))
        return keras.Model(inputs, keras.layers.Dense(2, name="head")(keras.layers.Dense(3, name="body")(inputs)))

    def settings(self, weights_from: str = "", freeze: tuple[str, ...] = ()) -> config.Experiment:
        return config.Experiment(
            data=config.Data("x"),
            model=config.Model("mlp", weights=weights_from, freeze=freeze),
            task=config.Task("classification"),
        )

    def test_nothing_asked_is_nothing_done(self, tmp_path: Path) -> None:
        network = self.network()
        assert beginnings.start(network, self.settings(), tmp_path) == {}
        assert len(network.trainable_variables) == 4
        assert beginnings.patients(tmp_path) == []

    def test_a_run_that_goes_on_has_its_own(self, tmp_path: Path) -> None:
        checkpoints.Keeper(tmp_path, {}, config.Trainer()).save(1, {}, wait=True)
        network = self.network()
        assert beginnings.start(network, self.settings("gone.weights.h5", ("body",)), tmp_path) == {}
        assert len(network.trainable_variables) == 2

    def test_frozen_layers_of_random_weights_are_told(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        beginnings.start(self.network(), self.settings(freeze=("body",)), tmp_path / "run")
        assert capsys.readouterr().err == (
            "radkit: model.freeze keeps body at random weights: model.weights names none to begin with\n"
        )
        inputs = keras.Input((4,))
        keras.Model(inputs, keras.layers.Dense(2, name="head")(inputs)).save_weights(tmp_path / "other.weights.h5")
        inputs = keras.Input((4,))
        split = keras.layers.Concatenate()([keras.layers.Dense(3, name=name)(inputs) for name in ("body", "side")])
        network = keras.Model(inputs, [keras.layers.Dense(2, name="head")(inputs), split])
        source = str(tmp_path / "other.weights.h5")
        beginnings.start(network, self.settings(source, ("body", "head")), tmp_path / "run")
        assert capsys.readouterr().err == (
            f"radkit: model.freeze keeps body at random weights: nothing of {source} fits them\n"
        )

    def test_a_pattern_of_nothing_is_told_with_the_settings_name(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match=r"^model\.freeze: 'stem\*' matches no layer"):
            beginnings.start(self.network(), self.settings(freeze=("stem*",)), tmp_path)

    def test_nothing_left_to_learn_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match=r"model\.freeze=\('\*',\) leaves no layer that learns"):
            beginnings.start(self.network(), self.settings(freeze=("*",)), tmp_path)

    @pytest.mark.parametrize(("pattern", "freeze"), [("body", ("body",)), ("b*", ())])
    def test_rates_that_move_nothing_are_refused(self, pattern: str, freeze: tuple[str, ...], tmp_path: Path) -> None:
        network, settings = self.network(), self.settings(freeze=freeze)
        beginnings.start(network, settings, tmp_path)
        rates = {pattern: 0.5, "head": 2.0, **({} if freeze else {"body": 0.1})}
        asked = dataclasses.replace(settings, optimizer=config.Optimizer(rates=rates))
        with pytest.raises(UserError, match=rf"optimizer\.rates: {re.escape(repr(pattern))} moves no weight"):
            beginnings.shares(network, asked)

    def test_rates_that_move_some_of_their_layers_are_taken(self, tmp_path: Path) -> None:
        network, settings = self.network(), self.settings(freeze=("body",))
        beginnings.start(network, settings, tmp_path)
        asked = dataclasses.replace(settings, optimizer=config.Optimizer(rates={"*": 0.5}))
        assert beginnings.shares(network, asked) == [0.5, 0.5]

    def test_patients_of_all_runs_before_are_kept(self, tmp_path: Path) -> None:
        earlier, run = tmp_path / "earlier", tmp_path / "run"
        self.network().save_weights(_made(earlier) / weights.BEST)
        seen = {"patients": {"train": ["b"], "validation": ["c"]}, "patients_before": ["a"]}
        outputs.write_json(earlier / runs.MANIFEST, {"data": "", "weights_sha256": "", **seen})
        started = beginnings.start(self.network(), self.settings(f"run:{earlier}?channels=mean"), run)
        outputs.write_json(_made(run) / runs.TRANSFER, started)
        assert beginnings.patients(run) == ["a", "b", "c"]


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        (
            "rates",
            {"stem*": 0.0},
            r"optimizer\.rates: 'stem\*' must have a share .* above 0, not 0\.0; .*model\.freeze",
        ),
        ("rates", {"stem*": True}, "not True"),
        ("rates", {"stem*": "half"}, "not 'half'"),
        ("rates", {" ": 0.5}, r"optimizer\.rates must have patterns"),
        ("freeze", ("",), r"model\.freeze must have patterns"),
    ],
)
def test_settings_that_mean_nothing_are_refused(name: str, value: object, said: str) -> None:
    model = config.Model("unet", freeze=value) if name == "freeze" else config.Model("unet")
    optimizer = config.Optimizer(rates=value) if name == "rates" else config.Optimizer()
    made = config.Experiment(config.Data("x"), model, config.Task("segmentation"), optimizer)
    with pytest.raises(UserError, match=said):
        config.from_json(config.to_json(made))
