"""Runs: finished, stopped and gone on with, refused."""

import contextlib
import dataclasses
import json
import os
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import keras
import numpy as np
import pytest

from radkit import config, models, outputs, runs
from radkit.data import convert, shards
from tests import conftest
from tests.conftest import MadeUp
from tests.reports import page_check
from tests.trainers import test_logs
from trainers import checkpoints, finish, loop, strategy, train


def call(made: MadeUp, run: Path, *flags: str) -> int:
    said = [f"--config={made.config_file(run.parent)}", f"--input={made.folder}", f"--output={run}"]
    return train.main(["train", *said, *flags])


def weights(run: Path) -> dict[str, np.ndarray]:
    found = {}
    with h5py.File(run / runs.BEST) as file:
        file.visititems(lambda name, item: found.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
    return found


TIMES = ("seconds", "images_per_s", "waiting_share", "memory_mib")


def without_times(run: Path) -> list[dict]:
    return [{k: v for k, v in line.items() if k not in TIMES} for line in runs.history(run)]


class TestFinished:
    @pytest.mark.parametrize("task", ["segmentation", "classification"])
    def test_a_run_says_what_it_is_made_of(
        self, task: str, run_folders: dict[str, Path], volumes: MadeUp, radiographs: MadeUp
    ) -> None:
        run, made = run_folders[task], volumes if task == "segmentation" else radiographs
        manifest = runs.manifest(run)
        assert runs.experiment(run) == made.experiment
        patients = outputs.read_json(made.folder / "patients.json")
        assert manifest["patients"] == {split: patients[split] for split in ("train", "validation")}
        assert manifest["data"] == shards.digest(made.folder)
        history = runs.history(run)
        assert [line["step"] for line in history] == [3, 6]
        assert all(line["images_per_s"] > 0 and 0 <= line["waiting_share"] <= 1 for line in history)
        best = max(reversed(history), key=lambda line: line["validation score"])  # of equal ones the newest
        assert (manifest["best_step"], manifest["best_score"]) == (best["step"], best["validation score"])
        assert manifest["precision"] == "float32"
        assert (manifest["ended"], manifest["steps"], manifest["skipped_steps"]) == ("steps", 6, 0)
        assert manifest["select"]["figure"] == "score"
        assert manifest["data_provenance"]["verb"] == "convert"
        assert len(manifest["code"]["sha256"]) == 64
        assert "devices" in manifest
        json.loads((run / runs.MANIFEST).read_text(), parse_constant=pytest.fail)

    @pytest.mark.parametrize("task", ["segmentation", "classification"])
    def test_it_has_a_page_a_table_and_its_architecture(self, task: str, run_folders: dict[str, Path]) -> None:
        run = run_folders[task]
        page = page_check.read((run / runs.PAGE).read_text())
        assert len(page.images) >= 2  # curves, and what the task's page shows
        assert (run / runs.TABLE).read_text().splitlines()[0].startswith("step,loss,validation score,")
        network = keras.models.model_from_json((run / runs.ARCHITECTURE).read_text())
        assert network.count_params() == runs.manifest(run)["num_parameters"]
        assert not (run / runs.BOARD).exists()

    def test_a_finished_run_is_left_alone(
        self, run_folders: dict[str, Path], volumes: MadeUp, keras_alone: None, capsys: pytest.CaptureFixture[str]
    ) -> None:
        run = run_folders["segmentation"]
        before = {p: p.stat().st_mtime_ns for p in run.rglob("*")}
        assert call(volumes, run) == 0
        assert {p: p.stat().st_mtime_ns for p in run.rglob("*")} == before
        assert "best validation score" in capsys.readouterr().out

    @pytest.mark.slow
    def test_the_same_config_gives_the_same_weights(
        self, run_folders: dict[str, Path], radiographs: MadeUp, tmp_path: Path, keras_alone: None
    ) -> None:
        assert call(radiographs, tmp_path / "run") == 0
        assert_same(tmp_path / "run", run_folders["classification"])

    @pytest.mark.slow
    def test_sampling_and_changes_on_the_device_train(self, volumes: MadeUp, tmp_path: Path, keras_alone: None) -> None:
        said = ["augment.where=device", "trainer.sampling.foreground=0.5", "trainer.sampling.records=lesions"]
        assert call(volumes, tmp_path / "run", *(f"--set={one}" for one in said)) == 0
        assert len(runs.history(tmp_path / "run")) == 2


class TestFlags:
    @pytest.mark.slow
    def test_a_run_tells_and_chooses_as_asked(
        self, radiographs: MadeUp, tmp_path: Path, keras_alone: None, capsys: pytest.CaptureFixture[str]
    ) -> None:
        said = ["trainer.select=Brier score", "optimizer.average=0.9", "optimizer.name=sgd"]
        run = tmp_path / "run"
        asked = ["--tensorboard", "--profile=5,6", "--noprogress"]
        assert call(radiographs, run, *asked, *(f"--set={one}" for one in said)) == 0
        assert "best validation Brier score" in capsys.readouterr().out
        manifest, history = runs.manifest(run), runs.history(run)
        assert manifest["select"]["better"] == "lower"
        assert manifest["select"]["value"] == min(line["validation Brier score"] for line in history)
        assert manifest["averaged"]
        tags = {value.tag for event in test_logs.events(run / runs.BOARD) for value in event.summary.value}
        assert {"training/loss", "validation/validation_score", "case_1", "case_3"} <= tags
        assert list((run / runs.BOARD).rglob("*.xplane.pb"))

    @pytest.mark.slow
    def test_a_run_of_minutes_ends_in_time_with_its_page(
        self, volumes: MadeUp, tmp_path: Path, keras_alone: None
    ) -> None:
        run = tmp_path / "run"
        assert call(volumes, run, "--minutes=1", "--set=trainer.evaluate_every=100") == 0
        manifest, history = runs.manifest(run), runs.history(run)
        assert manifest["ended"] == "time"
        assert 20 < manifest["seconds"] <= 60
        assert history[-1]["step"] == manifest["steps"] > 6
        assert history[-1]["learning_rate"] < 0.05 * 1e-2  # annealed
        assert (run / runs.PAGE).is_file()

    @pytest.mark.slow
    def test_a_run_that_is_asked_to_stop_goes_on_to_the_same_weights(
        self,
        volumes: MadeUp,
        run_folders: dict[str, Path],
        tmp_path: Path,
        keras_alone: None,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        whole, run = loop.run, tmp_path / "run"

        def signalled(*given: Any, hooks: list[loop.Hook], **more: Any) -> int:
            def ask(number: int, _: Mapping[str, float]) -> None:
                if number == 2:
                    os.kill(os.getpid(), signal.SIGTERM)

            return whole(*given, hooks=[ask, *hooks], **more)

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(loop, "run", signalled)
            assert call(volumes, run) == 0
        assert "stopped at step 2 (SIGTERM); the same command goes on" in capsys.readouterr().out
        assert not (run / runs.MANIFEST).exists()
        assert call(volumes, run) == 0
        assert_same(run, run_folders["segmentation"])

    def test_a_figure_that_nobody_tells_is_refused(
        self, radiographs: MadeUp, tmp_path: Path, capsys: pytest.CaptureFixture[str], keras_alone: None
    ) -> None:
        assert call(radiographs, tmp_path / "run", "--set=trainer.select=AUCC") == 2
        assert "did you mean 'AUC'" in capsys.readouterr().err
        assert not (tmp_path / "run").exists()

    @pytest.mark.slow
    def test_a_run_that_learned_nothing_is_refused(
        self, radiographs: MadeUp, tmp_path: Path, capsys: pytest.CaptureFixture[str], keras_alone: None
    ) -> None:
        assert call(radiographs, tmp_path / "run", "--set=augment.gain=1e38") == 2
        assert "none of the 6 steps had a finite loss" in capsys.readouterr().err
        assert not (tmp_path / "run" / runs.MANIFEST).exists()


def assert_same(one: Path, other: Path) -> None:
    assert without_times(one) == without_times(other)
    expected = weights(other)
    found = weights(one)
    assert set(found) == set(expected)
    for name, value in found.items():
        np.testing.assert_array_equal(value, expected[name])


class Killed(BaseException):
    """What no handler of ours catches, as a kill."""


def kill_after(steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = loop.run

    def short(*given: Any, hooks: list[loop.Hook], **more: Any) -> int:
        def kill(number: int, _: Mapping[str, float]) -> None:
            if number == steps:
                raise Killed

        return whole(*given, hooks=[*hooks, kill], **more)

    monkeypatch.setattr(loop, "run", short)


class TestResumed:
    @pytest.mark.parametrize("killed_at", [2, pytest.param(5, marks=pytest.mark.slow)])
    def test_a_killed_run_goes_on_to_the_same_weights(
        self, run_folders: dict[str, Path], volumes: MadeUp, killed_at: int, tmp_path: Path, keras_alone: None
    ) -> None:
        run = tmp_path / "run"
        with pytest.MonkeyPatch.context() as patched:
            kill_after(killed_at, patched)
            with pytest.raises(Killed):
                call(volumes, run)
        assert not (run / runs.MANIFEST).exists()
        assert call(volumes, run) == 0
        assert_same(run, run_folders["segmentation"])
        assert runs.manifest(run)["best_score"] == runs.manifest(run_folders["segmentation"])["best_score"]

    @pytest.mark.slow
    def test_dropout_goes_on_where_it_was(self, radiographs: MadeUp, tmp_path: Path, keras_alone: None) -> None:
        model = config.Model("resnet", {"filters": (4, 8), "dropout": 0.5})
        experiment = dataclasses.replace(radiographs.experiment, model=model)
        made = dataclasses.replace(radiographs, experiment=experiment)
        assert call(made, tmp_path / "whole") == 0
        with pytest.MonkeyPatch.context() as patched:
            kill_after(4, patched)
            with pytest.raises(Killed):
                call(made, tmp_path / "run")
        assert call(made, tmp_path / "run") == 0
        assert_same(tmp_path / "run", tmp_path / "whole")

    @pytest.mark.slow
    def test_a_run_killed_at_its_last_step_is_finished(
        self, run_folders: dict[str, Path], volumes: MadeUp, tmp_path: Path, keras_alone: None
    ) -> None:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(finish, "finish", lambda *_: (_ for _ in ()).throw(Killed))
            with pytest.raises(Killed):
                call(volumes, tmp_path / "run")
        assert call(volumes, tmp_path / "run") == 0
        assert_same(tmp_path / "run", run_folders["segmentation"])

    def test_a_history_line_cut_by_a_kill_is_left_out(self, tmp_path: Path) -> None:
        for step in (3, 6, 9):
            checkpoints.add_history(tmp_path, {"step": step})
        with (tmp_path / runs.HISTORY).open("a") as file:
            file.write('{"step": 1')
        assert [line["step"] for line in runs.history(tmp_path)] == [3, 6, 9]
        checkpoints.cut_history(tmp_path, 6)
        checkpoints.add_history(tmp_path, {"step": 12})
        assert [line["step"] for line in runs.history(tmp_path)] == [3, 6, 12]


class TestRefused:
    @pytest.mark.parametrize(
        ("flags", "message"),
        [
            (["--set=model.name=unett"], "did you mean 'unet'"),
            (["--set=model.settings={'filter':(4,8)}"], "no setting 'filter'"),
            (["--set=model.settings={'filters':8}"], "cannot be built with"),
            (["--set=task.name=classification"], "classification needs data.label"),
            (["--set=data.mask_labels=('core','shell')"], "the records in"),
            (["--set=augment.flip=(True,)"], "augment.flip must be empty or 3"),
            (["--set=trainer.seed=-4"], "trainer.seed must be 0"),
            (["--profile=3"], "must be the first and the last step"),
            (["--profile=5,2"], "must be the first and the last step"),
            (["--set=unlabelled.method=mean_teacher"], "name their data set with --unlabelled"),
            (["--profile=100,200"], "--profile=100,200 begins after the last step, trainer.steps=6"),
        ],
    )
    def test_a_config_that_is_refused_leaves_no_folder(
        self,
        volumes: MadeUp,
        tmp_path: Path,
        flags: list[str],
        message: str,
        capsys: pytest.CaptureFixture[str],
        keras_alone: None,
    ) -> None:
        assert call(volumes, tmp_path / "run", *flags) == 2
        assert message in capsys.readouterr().err
        assert not (tmp_path / "run").exists()

    def test_a_batch_that_does_not_divide_on_these_devices_leaves_no_folder(
        self,
        volumes: MadeUp,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        keras_alone: None,
    ) -> None:
        two: Any = SimpleNamespace(num_replicas_in_sync=2, scope=contextlib.nullcontext)
        monkeypatch.setattr(strategy, "choose", lambda *_: strategy.Devices(two))
        assert call(volumes, tmp_path / "run", "--set=trainer.accumulate=2") == 2
        assert "does not divide into trainer.accumulate = 2 equal parts on each of 2" in capsys.readouterr().err
        assert not (tmp_path / "run").exists()

    def test_another_config_in_the_run_folder(
        self, run_folders: dict[str, Path], volumes: MadeUp, capsys: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        said = [f"--config={volumes.config_file(tmp_path)}", f"--input={volumes.folder}"]
        assert train.main(["train", *said, f"--output={run_folders['segmentation']}", "--set=trainer.steps=7"]) == 2
        told = capsys.readouterr().err
        assert "is a run with another config or other records: trainer.steps is 6, asked for is 7; name" in told

    def test_folders_that_are_something_else(
        self, volumes: MadeUp, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / "thesis.txt").write_text("x")
        (tmp_path / "file").write_text("x")
        for name, message in (("mine", "is no run of radkit"), ("file", "is a file")):
            assert call(volumes, tmp_path / name) == 2
            assert message in capsys.readouterr().err
        assert (tmp_path / "mine" / "thesis.txt").read_text() == "x"

    @pytest.mark.parametrize("name", [runs.HISTORY, runs.BEST, runs.MANIFEST, checkpoints.STATE])
    def test_what_stands_where_a_file_of_the_run_goes_is_told_before_training(
        self, name: str, volumes: MadeUp, tmp_path: Path, capsys: pytest.CaptureFixture[str], keras_alone: None
    ) -> None:
        run = tmp_path / "run"
        run.mkdir()
        said = {"experiment": config.to_json(volumes.experiment), "data": shards.digest(volumes.folder)}
        outputs.write_json(run / runs.CONFIG, said)
        (run / name).write_text("x") if name == checkpoints.STATE else (run / name).mkdir()
        assert call(volumes, run) == 2
        told = capsys.readouterr().err
        assert f"/{name} is a {'file' if name == checkpoints.STATE else 'folder'}, and a" in told
        assert len(told.splitlines()) == 1

    def test_folders_in_which_nothing_may_be_written(
        self, volumes: MadeUp, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        before = sorted(volumes.folder.iterdir())
        for run, message in (
            (volumes.folder, "lies within the records"),
            (volumes.folder / "runs" / "1", "lies within the records"),
            (Path("/proc/run"), "nothing can be written in /proc; name another --output"),
        ):
            assert call(volumes, tmp_path / "run", f"--output={run}") == 2
            told = capsys.readouterr().err
            assert message in told
            assert "Traceback" not in told
        assert sorted(volumes.folder.iterdir()) == before

    def test_a_folder_without_records(
        self, volumes: MadeUp, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        made = dataclasses.replace(volumes, folder=volumes.dicom)
        assert call(made, tmp_path / "run") == 2
        assert "must hold one data set" in capsys.readouterr().err

    def test_an_empty_validation_split_is_told_before_training(
        self, volumes: MadeUp, tmp_path: Path, capsys: pytest.CaptureFixture[str], keras_alone: None
    ) -> None:
        data = dataclasses.replace(volumes.experiment.data, splits=(1.0, 0.0, 0.0))
        made = dataclasses.replace(volumes, experiment=dataclasses.replace(volumes.experiment, data=data))
        made = dataclasses.replace(made, folder=conftest.convert(made, tmp_path / "records"))
        assert call(made, tmp_path / "run") == 2
        assert "split 'validation'" in capsys.readouterr().err
        assert not (tmp_path / "run").exists()

    def test_a_damaged_shard_is_named(
        self, volumes: MadeUp, tmp_path: Path, capsys: pytest.CaptureFixture[str], keras_alone: None
    ) -> None:
        shutil.copytree(volumes.folder, tmp_path / "records")
        shard = shards.split_files(tmp_path / "records", "train")[0]
        shard.write_bytes(shard.read_bytes()[:-9])
        assert call(dataclasses.replace(volumes, folder=tmp_path / "records"), tmp_path / "run") == 2
        assert f"radkit: {shard.name} is damaged or cut short" in capsys.readouterr().err

    def test_a_loss_that_is_no_number_stops_the_run(
        self, volumes: MadeUp, tmp_path: Path, capsys: pytest.CaptureFixture[str], keras_alone: None
    ) -> None:
        assert call(volumes, tmp_path / "run", "--set=augment.gain=1e38", "--set=trainer.bad_steps=3") == 2
        assert "at step" in capsys.readouterr().err
        assert not (tmp_path / "run" / runs.MANIFEST).exists()


def test_a_validation_split_of_one_class_trains_all_the_same(
    radiographs: MadeUp, tmp_path: Path, capsys: pytest.CaptureFixture[str], keras_alone: None
) -> None:
    validation = set(outputs.read_json(radiographs.folder / "patients.json")["validation"])
    rows = radiographs.labels.read_text().splitlines()
    uids = {f"{conftest.header('CR', p, 1)['SeriesInstanceUID']}": f"P{p:03d}" for p in range(conftest.NUM_PATIENTS)}
    kept = [row for row in rows if uids.get(row.split(",")[0]) not in validation]
    (tmp_path / "labels.csv").write_text("\n".join(kept) + "\n")
    made = dataclasses.replace(radiographs, labels=tmp_path / "labels.csv")
    made = dataclasses.replace(made, folder=conftest.convert(made, tmp_path / "records"))
    assert shards.num_records(made.folder, "validation") == len(validation)
    assert convert.fields_of(made.experiment.data)
    assert call(made, tmp_path / "run") == 0
    assert "best validation score undefined at step 6" in capsys.readouterr().out
    manifest = json.loads((tmp_path / "run" / runs.MANIFEST).read_text(), parse_constant=pytest.fail)
    assert manifest["best_score"] is None
    assert [line["validation score"] for line in runs.history(tmp_path / "run")] == [None, None]
    network = models.build("resnet", input_shape=(24, 24, 1), num_classes=2, filters=(4, 8))
    runs.load_weights(network, tmp_path / "run")
