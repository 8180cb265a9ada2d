"""Looks at a test set are counted and told; a run of a fold is scored on its fold."""

import csv
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from radkit import config, outputs, runs
from radkit.data import splits
from radkit.data.splitting import test_lock
from tests.conftest import MadeUp
from tests.trainers.test_evaluate import call
from trainers import looks

pytestmark = pytest.mark.usefixtures("keras_alone")


@pytest.fixture
def folder(radiographs: MadeUp, tmp_path: Path) -> Path:
    """A copy of the records, at which nobody has looked."""
    shutil.copytree(radiographs.folder, tmp_path / "records")
    (tmp_path / "records" / test_lock.LOOKS).unlink(missing_ok=True)
    return tmp_path / "records"


def told(output: Path) -> tuple[Mapping[str, Any], str]:
    return outputs.read_json(output / "summary.json"), (output / "report.html").read_text()


def test_a_second_look_is_told_everywhere(
    folder: Path, run_folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_folders["classification"]
    assert call(run, folder, tmp_path / "one") == 0
    said = capsys.readouterr()
    assert "evaluate: test (random, look 1), AUC" in said.out
    assert "no longer unseen" not in said.err
    summary, page = told(tmp_path / "one")
    assert summary["look"] == {"number": 1, "networks": 1, "told": "look 1 at this test set", "warning": ""}
    assert summary["test_set"] == {"type": "random", "of_the_runs_records": True, "told": "random"}
    assert "test set: random; look 1 at this test set" in page
    assert call(run, folder, tmp_path / "one") == 0  # done already: nobody looks
    assert "(random, look 1)" in capsys.readouterr().out
    assert call(run, folder, tmp_path / "two") == 0
    said = capsys.readouterr()
    assert "evaluate: test (random, look 2), AUC" in said.out
    assert "look 2 at this test set, of one network: it is no longer unseen" in said.err
    summary, page = told(tmp_path / "two")
    assert summary["look"]["number"] == 2
    assert page.index("it is no longer unseen") < page.index("Figures")
    rows = [json.loads(line) for line in (folder / test_lock.LOOKS).read_text().splitlines()]
    assert [row["look"] for row in rows] == [1, 2]
    assert rows[0]["weights"] == runs.manifest(run)["weights_sha256"]


def test_a_look_that_cannot_be_counted_is_refused_or_told(
    folder: Path,
    run_folders: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = run_folders["classification"]
    (folder / test_lock.LOOKS).mkdir()  # whoever runs this may be root, who may write anywhere
    assert call(run, folder, tmp_path / "out") == 2
    assert "or give --unrecorded" in capsys.readouterr().err
    assert not list(tmp_path.glob("out*"))
    assert call(run, folder, tmp_path / "out", "--unrecorded") == 0
    assert "(random, look not counted)" in capsys.readouterr().out
    summary, page = told(tmp_path / "out")
    assert summary["look"]["number"] == 0
    assert "this look at the test set is not recorded" in page
    monkeypatch.setattr(test_lock.os, "access", lambda *_: False)
    assert call(run, folder, tmp_path / "other") == 2


@pytest.fixture
def folded(folder: Path, run_folders: dict[str, Path], tmp_path: Path) -> tuple[Path, dict[str, int]]:
    """A run of fold 1 of 3 and the folds."""
    patients = outputs.read_json(folder / "patients.json")
    fold_of = {patient: n % 3 for n, patient in enumerate(sorted(patients["train"] + patients["validation"]))}
    said = {"folds": 3, "repeats": 1, "patients": {patient: [fold] for patient, fold in fold_of.items()}}
    outputs.write_json(folder / "folds.json", said)
    run = tmp_path / "run"
    shutil.copytree(run_folders["classification"], run)
    written = outputs.read_json(run / runs.CONFIG)
    written["experiment"]["data"]["split"]["folds"] = 3
    written["experiment"]["trainer"] |= {"fold": 1, "test_fold": 2}
    outputs.write_json(run / runs.CONFIG, written)
    trainer = config.from_json(written["experiment"]).trainer
    mine = {split: splits.patients(folder, split, trainer) for split in ("train", "validation")}
    outputs.write_json(run / runs.MANIFEST, {**runs.manifest(run), "patients": mine})
    return run, fold_of


@pytest.mark.slow
def test_a_run_of_a_fold_is_scored_on_its_fold(
    folder: Path, folded: tuple[Path, dict[str, int]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, fold_of = folded
    for split, fold in (("validation", 1), ("test", 2)):
        assert call(run, folder, tmp_path / split, f"--split={split}") == 0
        with (tmp_path / split / "cases.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert {row["patient_id"] for row in rows} == {p for p, held in fold_of.items() if held == fold}
        assert len({row["record_uid"] for row in rows}) == len(rows) == 2 * len({row["patient_id"] for row in rows})
        assert f"squares: {split}, fold {fold} of repeat 0" in told(tmp_path / split)[1]
    assert "look" not in told(tmp_path / "validation")[0]  # at which one may look as often as one likes
    (row,) = [json.loads(line) for line in (folder / test_lock.LOOKS).read_text().splitlines()]
    assert row["test_set"] == "fold 2 of repeat 0"
    # Whatever the data set's test set is: this is none of its patients.
    assert "evaluate: test (fold 2 of repeat 0, of those outside the test split, look 1)" in capsys.readouterr().out


@pytest.mark.slow
def test_a_run_of_a_fold_is_tested_on_other_records_as_a_whole(
    folder: Path, folded: tuple[Path, dict[str, int]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, _ = folded
    outputs.write_json(run / runs.MANIFEST, {**runs.manifest(run), "data": "others", "patients": {}})
    (folder / "folds.json").unlink()
    outputs.write_json(folder / "splits.json", {"test_set": {"type": "temporal", "from": "2024-01-01"}})
    assert call(run, folder, tmp_path / "out") == 0
    summary, page = told(tmp_path / "out")
    assert summary["test_set"]["told"] == "temporal, from 2024-01-01, of other records than the run's"
    assert "squares: test split" in page
    assert "test set: temporal, from 2024-01-01, of other records than the run&#x27;s; look 1" in page
    assert (
        "evaluate: test (temporal, from 2024-01-01, of other records than the run's, look 1)" in capsys.readouterr().out
    )


def test_the_fold_that_was_trained_on_is_refused(
    folder: Path, folded: tuple[Path, dict[str, int]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, fold_of = folded
    said = {patient: [(fold + 1) % 3] for patient, fold in fold_of.items()}
    outputs.write_json(folder / "folds.json", {"folds": 3, "repeats": 1, "patients": said})
    assert call(run, folder, tmp_path / "out", "--split=validation") == 2
    assert "are among those that the run was trained or chosen on" in capsys.readouterr().err


def test_other_splits_say_nothing_of_looks() -> None:
    assert looks.in_a_line({"figures": {}}) == ""
    assert looks.in_a_line({"test_set": {"told": "random"}, "look": {"number": 0}}) == " (random, look not counted)"
