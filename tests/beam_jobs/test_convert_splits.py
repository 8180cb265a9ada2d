"""How patients are split, from the flags to the shards: by day, by site, by list, by strata, into folds."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from beam_jobs import convert as job
from radkit import outputs
from radkit.data import convert, records, shards, splits
from radkit.dicom import write
from tests import made_up

Call = Callable[..., tuple[int, Path]]
NUM_PATIENTS = 24
SITES = ("north", "south", "east")
CONFIG = """
from radkit.config import *
def get_config():
    data = Data(dataset="a", kind="radiograph", label="x", class_names=("no", "yes"), image_size=(8, 8),
                splits=(0.5, 0.25, 0.25))
    return Experiment(data=data, model=Model("resnet", {}), task=Task("classification"))
"""
TEMPORAL = ("--set=data.split.test=temporal", "--set=data.split.test_from=2024-03-01")
IDENTITY_REMOVED = {"PatientIdentityRemoved": "YES"}
TRUE_DATES = {**IDENTITY_REMOVED, "LongitudinalTemporalInformationModified": "UNMODIFIED"}


def day(patient: int) -> str:
    return f"2024{1 + patient % 4:02d}15"


def write_patients(folder: Path, patients: range, **more: Any) -> None:
    rows = ["PatientID,x"]
    for patient in patients:
        said = made_up.header("CR", patient, StudyDate=day(patient), **more)
        stored = np.random.default_rng(patient).integers(0, 999, (1, 12, 10)).astype(np.uint16)
        write.write_series(stored, None, said, folder / str(patient))
        rows.append(f"P{patient:03d},{patient % 2}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")


def table(path: Path, column: str, values: Callable[[int], str]) -> str:
    lines = [f"PatientID,{column}", *(f"P{n:03d},{values(n)}" for n in range(NUM_PATIENTS) if values(n))]
    path.write_text("\n".join(lines) + "\n")
    return f"--patients={path}"


@pytest.fixture
def call(tmp_path: Path) -> Call:
    """Returns a call of the job on radiographs of patients on known days."""
    (tmp_path / "config.py").write_text(CONFIG)

    def run(*flags: str, output: str = "out", patients: range = range(NUM_PATIENTS), **more: Any) -> tuple[int, Path]:
        folder = tmp_path / f"in{len(patients)}{len(more)}"
        if not folder.exists():
            write_patients(folder, patients, **more)
        said = [f"--input={folder}", f"--config={tmp_path / 'config.py'}", f"--output={tmp_path / output}"]
        status = job.main(["convert", *said, f"--labels={folder / 'labels.csv'}", *flags])
        return status, tmp_path / output / "a" / "1.0.0"

    return run


def held(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Returns what the records of each split say of their patients."""
    data = outputs.read_json(folder / "data.json")
    assert data["dataset"] == "a"
    fields = tuple(
        field
        for field in convert.fields_of(convert.config.data_from_json(data))
        if field.name in ("patient_id", "site", "study_date", "label")
    )
    return {
        split: [
            records.decode(r, fields) for path in shards.split_files(folder, split) for r in shards.read_shard(path)
        ]
        for split in shards.SPLITS
    }


def test_by_day_of_the_images(call: Call, capsys: pytest.CaptureFixture[str]) -> None:
    status, folder = call(*TEMPORAL)
    assert status == 0
    assert f"of {NUM_PATIENTS} patients, test set temporal, from 2024-03-01; 0 series" in capsys.readouterr().out
    found = held(folder)
    assert {r["study_date"] for r in found["test"]} == {"20240315", "20240415"}
    assert {r["study_date"] for r in found["train"] + found["validation"]} == {"20240115", "20240215"}
    said = splits.read(folder)
    assert said["test_set"] == {"type": "temporal", "from": "2024-03-01", "straddling": "leave_out"}
    assert said["patients"] == {split: len(found[split]) for split in shards.SPLITS}
    assert said["shares"] == [0.5, 0.25, 0.25]


def test_days_that_may_have_been_moved_are_refused_and_true_ones_taken(
    call: Call, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(*TEMPORAL, **IDENTITY_REMOVED)[0] == 2
    said = capsys.readouterr().err
    assert "24 of 24 de-identified studies do not say that theirs are the true ones" in said
    assert "Give --patients a table" in said
    assert not (tmp_path / "out").exists()
    assert call(*TEMPORAL, output="true", **TRUE_DATES)[0] == 0
    flag = table(tmp_path / "days.csv", "date", lambda n: f"1999-0{1 + n % 4}-07")
    when = "--set=data.split.test_from=1999-02-01"
    status, folder = call(TEMPORAL[0], when, flag, output="table", **IDENTITY_REMOVED)
    assert status == 0
    found = held(folder)
    assert {r["patient_id"] for r in found["test"]} == {f"P{n:03d}" for n in range(NUM_PATIENTS) if n % 4}
    # The true days stand in no file, and the records keep the images' own.
    assert {r["study_date"] for r in found["test"]} == {"20240215", "20240315", "20240415"}
    for path in folder.rglob("*"):
        assert b"1999-01" not in path.read_bytes()
        assert b"199901" not in path.read_bytes()


def test_by_site_of_a_table(call: Call, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flag = table(tmp_path / "sites.csv", "hospital", lambda n: SITES[n % 3] if n else "")
    flags = (flag, "--set=data.split.test=geographic", "--set=data.split.test_sites=('south',)")
    site = "--set=data.split.site=hospital"
    assert call(*flags)[0] == 2
    assert "has the columns PatientID, hospital" in capsys.readouterr().err
    assert call(*flags, site)[0] == 2
    assert "1 patients have images of which the site that" in capsys.readouterr().err
    status, folder = call(*flags, site, "--set=data.split.unknown=leave_out")
    assert status == 0
    assert "23 patients, test set geographic, south, 1 patients left out by the split" in capsys.readouterr().out
    found = held(folder)
    assert {r["site"] for r in found["test"]} == {"south"}
    assert {r["site"] for r in found["train"] + found["validation"]} == {"north", "east"}
    summary = outputs.read_json(folder / "summary.json")
    assert (summary["left_out"], summary["patients_left_out"]) == (1, 1)


def test_by_list(call: Call, tmp_path: Path) -> None:
    sides = ("train", "validation", "test", "leave_out")
    flag = table(tmp_path / "list.csv", "split", lambda n: sides[n % 4])
    status, folder = call(flag, "--set=data.split.test=explicit")
    assert status == 0
    for number, split in enumerate(shards.SPLITS):
        wanted = [f"P{n:03d}" for n in range(number, NUM_PATIENTS, 4)]
        assert outputs.read_json(folder / "patients.json")[split] == wanted
        assert sorted(r["patient_id"] for r in held(folder)[split]) == wanted
    assert splits.read(folder)["left_out"] == {"by the split column of the patients table": 6}


def test_strata_and_folds_and_patients_who_stay(call: Call, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ("--set=data.split.stratify=('label',)", "--set=data.split.folds=3", "--set=data.split.repeats=2")
    status, folder = call(*flags, patients=range(16))
    assert status == 0
    found = {split: [r["label"] for r in rows] for split, rows in held(folder).items()}
    assert {split: (len(labels), sum(labels)) for split, labels in found.items()} == {
        "train": (8, 4), "validation": (4, 2), "test": (4, 2)
    }  # fmt: skip
    before = {name: outputs.read_json(folder / f"{name}.json") for name in ("patients", "folds")}
    developed = before["patients"]["train"] + before["patients"]["validation"]
    assert sorted(before["folds"]["patients"]) == sorted(developed)
    assert (before["folds"]["folds"], before["folds"]["repeats"]) == (3, 2)
    status, later = call(*flags, f"--keep_splits={folder.parent}", output="later")
    assert status == 0
    after = {name: outputs.read_json(later / f"{name}.json") for name in ("patients", "folds")}
    assert all(set(before["patients"][split]) <= set(after["patients"][split]) for split in shards.SPLITS)
    assert before["folds"]["patients"].items() <= after["folds"]["patients"].items()
    assert [len(after["patients"][split]) for split in shards.SPLITS] == [12, 6, 6]
    # What was kept is part of what the records depend on.
    assert call(*flags, output="later")[0] == 2
    assert "differs in inputs" in capsys.readouterr().err


def test_the_plan_of_a_killed_run_says_who_is_where(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    flags = ("--set=data.split.folds=2", *TEMPORAL)
    whole = call(*flags, output="whole")[1]
    with monkeypatch.context() as patch:
        patch.setattr(job.convert_close, "write", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        assert call(*flags)[0] == 2
    folder = call(*flags)[1]
    for name in ("splits.json", "folds.json", "patients.json", "summary.json"):
        assert (folder / name).read_bytes() == (whole / name).read_bytes()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--set=data.split.test=temporal",), "data.split.test_from must be a day, as 2024-01-01 where"),
        (("--set=data.split.test_from=2024-01-01",), "data.split.test_from must be empty where"),
        ((TEMPORAL[0], "--set=data.split.test_from=2024-1-1"), "must be a day as YYYY-MM-DD, not '2024-1-1'"),
        (("--set=data.split.test=geographic",), "data.split.test_sites must be sites where"),
        (("--set=data.split.test=explicit",), "needs a column 'split'"),
        (("--set=data.split.stratify=('label','label')",), "must name each column once"),
        (("--set=data.split.folds=1",), "data.split.folds must be 0 (none), or 2 or more, not 1"),
        (("--set=data.split.repeats=2",), "data.split.repeats must be 1, or more with data.split.folds"),
        (("--set=trainer.fold=0",), "choose among data.split.folds, which is 0"),
        (("--set=data.split.folds=2", "--set=trainer.fold=2"), "trainer.fold must be from 0 to 1"),
        (("--set=data.split.folds=3", "--set=trainer.test_fold=2"), "trainer.fold must be from 0 to 2"),
        (("--set=data.split.folds=3", "--set=trainer.fold=1", "--set=trainer.test_fold=1"), "must be another fold"),
        ((*TEMPORAL, "--set=data.splits=(0.0,0.0,1.0)"), "data.splits must have a share of train or validation"),
        (("--keep_splits=nowhere",), "--keep_splits nowhere is no data set's folder"),
    ],
)
def test_what_makes_no_sense_is_refused(
    call: Call, flags: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert call(*flags, patients=range(1))[0] == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_without_any_setting_patients_are_dealt_by_hash(call: Call) -> None:
    folder = call()[1]
    patients = outputs.read_json(folder / "patients.json")
    assert outputs.read_json(folder / "splits.json") == {
        "test_set": {"type": "random"}, "shares": [0.5, 0.25, 0.25], "seed": "radkit", "stratify": [], "folds": 0,
        "repeats": 0, "left_out": {}, "patients": {split: len(found) for split, found in patients.items()},
    }  # fmt: skip
    assert not (folder / "folds.json").exists()
    for split, found in patients.items():
        assert all(splits.split_of(patient, (0.5, 0.25, 0.25), "radkit") == split for patient in found)


@pytest.mark.filterwarnings("ignore")
def test_a_split_without_records_is_none_for_stock_tfds(call: Call) -> None:
    import tensorflow_datasets as tfds

    folder = call("--set=data.splits=(0.6,0.0,0.4)")[1]
    read = tfds.builder_from_directory(str(folder)).as_dataset()
    assert {split: len(list(found)) for split, found in read.items()} == {
        split: len(found) for split, found in held(folder).items() if split != "validation"
    }
    assert shards.split_files(folder, "validation") == []
    assert (shards.num_records(folder, "validation"), shards.num_records(folder, "train") > 0) == (0, True)
