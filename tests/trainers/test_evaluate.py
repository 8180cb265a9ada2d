"""A finished run scored: what is written, and what is refused."""

import csv
import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from radkit import outputs, runs, tasks
from radkit.data import shards
from radkit.data.splitting import test_lock
from tests.conftest import MadeUp
from trainers import evaluate

PAIRS = [("segmentation", "volumes"), ("classification", "radiographs")]


def call(run: Path, folder: Path, output: Path, *flags: str) -> int:
    return evaluate.main(["evaluate", f"--run={run}", f"--input={folder}", f"--output={output}", *flags])


@pytest.fixture
def made(request: pytest.FixtureRequest) -> MadeUp:
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize(("task", "made"), PAIRS, indirect=["made"])
def test_a_run_is_scored(
    task: str,
    made: MadeUp,
    run_folders: dict[str, Path],
    tmp_path: Path,
    keras_alone: None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(made.folder, tmp_path / "records")  # the look at its test set is written into it
    assert call(run_folders[task], tmp_path / "records", tmp_path / "out", "--resamples=100") == 0
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        "summary.json", "cases.csv", "cases.parquet", "trained_on.csv", "report.html", "report.json", "figures",
        "provenance.json",
    }  # fmt: skip
    assert {p.suffix for p in (tmp_path / "out" / "figures").iterdir()} == {".svg", ".png"}
    report = json.loads((tmp_path / "out" / "report.json").read_text(), parse_constant=pytest.fail)
    summary = json.loads((tmp_path / "out" / "summary.json").read_text(), parse_constant=pytest.fail)
    count = shards.num_records(made.folder, "test")
    assert summary["num_cases"] == report["cases"]["n"] == count
    assert tasks.find(task).headline(summary) in capsys.readouterr().out
    # One number has one interval, wherever it is told.
    leading = report["figures"][0]
    of_summary = summary["figures"][leading["name"]]
    assert of_summary == pytest.approx({name: leading[name] for name in of_summary})
    with (tmp_path / "out" / "cases.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len({row["record_uid"] for row in rows}) == count
    if task == "segmentation":
        assert [row["record_uid"] for row in rows] == [row["series_uid"] for row in rows]
    patients = outputs.read_json(made.folder / "patients.json")
    assert {row["patient_id"] for row in rows} == set(patients["test"])
    if task == "segmentation":
        assert summary["score"] == pytest.approx(np.mean([float(row["dice"]) for row in rows]), abs=1e-5)
    assert "<html" in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.parametrize(("task", "made"), PAIRS[:1], indirect=["made"])
def test_the_same_run_gives_the_same_bytes_and_a_second_call_none(
    task: str, made: MadeUp, run_folders: dict[str, Path], tmp_path: Path, keras_alone: None
) -> None:
    for name in ("one", "two"):
        assert call(run_folders[task], made.folder.parent, tmp_path / name, "--split=validation") == 0
    for path in (tmp_path / "one").rglob("*.*"):
        other = tmp_path / "two" / path.relative_to(tmp_path / "one")
        assert path.read_bytes() == other.read_bytes(), path.name
    (note,) = outputs.read_json(tmp_path / "one" / "report.json")["notes"]
    assert "cases of the split validation, by which the weights" in note
    assert note in (tmp_path / "one" / "report.html").read_text()
    before = (tmp_path / "one" / "report.html").stat().st_mtime_ns
    assert call(run_folders[task], made.folder, tmp_path / "one", "--split=validation") == 0
    assert (tmp_path / "one" / "report.html").stat().st_mtime_ns == before
    assert call(run_folders[task], made.folder, tmp_path / "one", "--split=train") == 2


def test_the_score_of_validation_is_the_trainers(
    radiographs: MadeUp, run_folders: dict[str, Path], tmp_path: Path, keras_alone: None
) -> None:
    run = run_folders["classification"]
    assert call(run, radiographs.folder, tmp_path / "out", "--split=validation") == 0
    assert outputs.read_json(tmp_path / "out" / "summary.json")["score"] == runs.manifest(run)["best_score"]


class TestRefused:
    def test_folders_that_are_no_run(self, volumes: MadeUp, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert call(tmp_path / "nowhere", volumes.folder, tmp_path / "out") == 2
        assert "does not exist" in capsys.readouterr().err
        assert call(volumes.folder, volumes.folder, tmp_path / "out") == 2
        assert "is no finished run (manifest.json is missing)" in capsys.readouterr().err
        assert not (tmp_path / "out").exists()

    def test_a_folder_of_several_runs_names_one(
        self, volumes: MadeUp, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for inner in ("cv/fold0", "cv/fold1", "search/trials/003"):
            (tmp_path / inner).mkdir(parents=True)
            (tmp_path / inner / runs.MANIFEST).write_text("{}")
        for folder, number, first in (("cv", 2, "cv/fold0"), ("search", 1, "search/trials/003")):
            assert call(tmp_path / folder, volumes.folder, tmp_path / "out") == 2
            told = f"holds {number} finished runs and is none itself; name one, as --run {tmp_path / first}"
            assert told in capsys.readouterr().err

    def test_another_run_and_the_same_records_are_no_other_test_set(
        self,
        radiographs: MadeUp,
        run_folders: dict[str, Path],
        tmp_path: Path,
        keras_alone: None,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        run, said = run_folders["classification"], ("--split=validation", "--resamples=100")
        assert call(run, radiographs.folder, tmp_path / "one", *said) == 0
        beside = f"--beside=b={tmp_path / 'one'}"
        assert call(run, radiographs.folder, tmp_path / "two", *said, beside) == 2
        assert f"{tmp_path / 'one'} shares 8 of its records with this evaluation" in capsys.readouterr().err
        report = outputs.read_json(tmp_path / "one" / "report.json")
        outputs.write_json(
            tmp_path / "one" / "report.json", {**report, "run": {**report["run"], "weights_sha256": "0" * 64}}
        )
        assert call(run, radiographs.folder, tmp_path / "two", *said, beside) == 2
        assert "is an evaluation of another run" in capsys.readouterr().err
        assert not (tmp_path / "two").exists()

    def test_an_unfinished_run(
        self, volumes: MadeUp, run_folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        shutil.copytree(run_folders["segmentation"], tmp_path / "run")
        (tmp_path / "run" / runs.MANIFEST).unlink()
        assert call(tmp_path / "run", volumes.folder, tmp_path / "out") == 2
        assert "run radkit train again to finish it" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("change", "message"),
        [(lambda path: path.unlink(), "holds no best.weights.h5"), (lambda p: p.write_bytes(b"x"), "does not fit")],
    )
    def test_weights_that_are_gone_or_damaged(
        self,
        volumes: MadeUp,
        run_folders: dict[str, Path],
        tmp_path: Path,
        change: object,
        message: str,
        capsys: pytest.CaptureFixture[str],
        keras_alone: None,
    ) -> None:
        shutil.copytree(run_folders["segmentation"], tmp_path / "run")
        change(tmp_path / "run" / runs.BEST)
        assert call(tmp_path / "run", volumes.folder, tmp_path / "out") == 2
        assert message in capsys.readouterr().err
        assert not (tmp_path / "out").exists()

    def test_a_run_of_another_radkit_is_told_from_a_slip(
        self, volumes: MadeUp, run_folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        shutil.copytree(run_folders["segmentation"], tmp_path / "run")
        said = json.loads((tmp_path / "run" / runs.CONFIG).read_text())
        said["experiment"]["trainer"]["shuffle_records"] = 4
        outputs.write_json(tmp_path / "run" / runs.CONFIG, said)
        assert call(tmp_path / "run", volumes.folder, tmp_path / "out") == 2
        error = capsys.readouterr().err
        assert "no setting 'trainer.shuffle_records'" in error
        assert "if another version of radkit wrote it, train the run again" in error

    def test_weights_that_are_not_the_runs(
        self,
        volumes: MadeUp,
        run_folders: dict[str, Path],
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        keras_alone: None,
    ) -> None:
        shutil.copytree(run_folders["segmentation"], tmp_path / "run")
        manifest = {**runs.manifest(tmp_path / "run"), "weights_sha256": "0" * 64}
        outputs.write_json(tmp_path / "run" / runs.MANIFEST, manifest)
        assert call(tmp_path / "run", volumes.folder, tmp_path / "out") == 2
        assert "best.weights.h5 was changed since the run ended" in capsys.readouterr().err
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize(
        ("name", "said"), [(runs.CONFIG, "lacks experiment"), (runs.MANIFEST, "lacks data, patients, weights_sha256")]
    )
    @pytest.mark.parametrize("content", ["{}", "[]"])
    def test_a_run_whose_files_were_edited(
        self,
        volumes: MadeUp,
        run_folders: dict[str, Path],
        tmp_path: Path,
        name: str,
        said: str,
        content: str,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        shutil.copytree(run_folders["segmentation"], tmp_path / "run")
        (tmp_path / "run" / name).write_text(content)
        assert call(tmp_path / "run", volumes.folder, tmp_path / "out") == 2
        assert f"{name} {said}" in capsys.readouterr().err

    def test_patients_that_the_run_has_learned_from(
        self, volumes: MadeUp, run_folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        shutil.copytree(volumes.folder, tmp_path / "records")
        patients = outputs.read_json(volumes.folder / "patients.json")
        mixed = {**patients, "test": [*patients["test"], patients["train"][0], patients["validation"][0]]}
        outputs.write_json(tmp_path / "records" / "patients.json", mixed)
        assert call(run_folders["segmentation"], tmp_path / "records", tmp_path / "out") == 2
        assert f"2 of the {len(mixed['test'])} patients of split 'test'" in capsys.readouterr().err
        assert not (tmp_path / "out").exists()

    def test_records_of_another_data_set(
        self,
        radiographs: MadeUp,
        run_folders: dict[str, Path],
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        assert call(run_folders["segmentation"], radiographs.folder, tmp_path / "out") == 2
        assert "data.dataset='squares', the config says 'blobs'" in capsys.readouterr().err

    def test_a_faulty_table_of_readers_and_no_look_is_spent_on_it(
        self,
        radiographs: MadeUp,
        run_folders: dict[str, Path],
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        keras_alone: None,
    ) -> None:
        shutil.copytree(radiographs.folder, tmp_path / "records")
        (tmp_path / "readers.csv").write_text("record_uid,reader,call\n9.9,A,1\n")
        flags = (f"--readers={tmp_path / 'readers.csv'}", "--resamples=100")
        assert call(run_folders["classification"], tmp_path / "records", tmp_path / "out", *flags) == 2
        assert "none of the 1 rows of the readers' table is of a record" in capsys.readouterr().err
        assert not (tmp_path / "out").exists()
        assert not (tmp_path / "records" / test_lock.LOOKS).exists()

    def test_a_split_that_is_none(
        self, volumes: MadeUp, run_folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert call(run_folders["segmentation"], volumes.folder, tmp_path / "out", "--split=tset") == 2
        assert "split" in capsys.readouterr().err

    def test_a_damaged_shard_is_named_and_nothing_is_left(
        self,
        volumes: MadeUp,
        run_folders: dict[str, Path],
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        keras_alone: None,
    ) -> None:
        shutil.copytree(volumes.folder, tmp_path / "records")
        shard = shards.split_files(tmp_path / "records", "test")[0]
        damaged = bytearray(shard.read_bytes())
        damaged[-20] ^= 1
        shard.write_bytes(damaged)
        made = dataclasses.replace(volumes, folder=tmp_path / "records")
        assert call(run_folders["segmentation"], made.folder, tmp_path / "out") == 2
        assert f"radkit: {shard.name} is damaged" in capsys.readouterr().err
        assert not list(tmp_path.glob("out*"))
