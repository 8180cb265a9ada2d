"""Folds dealt after the conversion."""

import dataclasses
import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from radkit import config
from radkit.data import splits
from radkit.data.splitting import late_folds
from radkit.errors import UserError

DATA = config.Data("blobs")


def records(folder: Path, num_patients: int) -> Path:
    patients = [f"P{number:03d}" for number in range(num_patients)]
    sides = {"train": patients[::2], "validation": patients[1::2], "test": ["T1", "T2"]}
    (folder / splits.PATIENTS_JSON).write_text(json.dumps(sides))
    return folder


@given(st.integers(2, 9), st.integers(0, 40), st.integers(1, 3))
def test_each_patient_but_the_test_sets_is_in_one_fold_and_folds_are_of_one_size(
    tmp_path_factory: pytest.TempPathFactory, num_folds: int, more: int, repeats: int
) -> None:
    folder = records(tmp_path_factory.mktemp("records"), num_folds + more)
    split = config.Split(folds=num_folds, repeats=repeats)
    late_folds.require(folder, dataclasses.replace(DATA, split=split), num_folds)
    for repeat in range(repeats):
        validated = Counter()
        for fold in range(num_folds):
            trainer = config.Trainer(fold=fold, repeat=repeat)
            held_out = set(splits.patients(folder, "validation", trainer))
            assert not held_out & set(splits.patients(folder, "train", trainer))
            assert len(held_out) in ((num_folds + more) // num_folds, -(-(num_folds + more) // num_folds))
            validated.update(held_out)
        assert validated == Counter(f"P{number:03d}" for number in range(num_folds + more))


def test_they_stay_as_they_were_dealt(tmp_path: Path) -> None:
    folder = records(tmp_path, 11)
    late_folds.require(folder, DATA, 3)
    before = (folder / splits.FOLDS_JSON).read_bytes()
    late_folds.require(folder, dataclasses.replace(DATA, split_seed="another"), 3)
    assert (folder / splits.FOLDS_JSON).read_bytes() == before
    (folder / splits.FOLDS_JSON).unlink()
    late_folds.require(folder, DATA, 3)
    assert (folder / splits.FOLDS_JSON).read_bytes() == before
    with pytest.raises(UserError, match="dealt into 3 folds, and 5 are asked for"):
        late_folds.require(folder, DATA, 5)


def test_what_cannot_be_dealt_is_refused(tmp_path: Path) -> None:
    folder = records(tmp_path, 4)
    with pytest.raises(UserError, match="4 patients outside the test split, too few for 5 folds"):
        late_folds.require(folder, DATA, 5)
    strata = dataclasses.replace(DATA, split=config.Split(stratify=("label", "site")))
    with pytest.raises(UserError, match="names label and site, by which only a conversion can deal"):
        late_folds.require(folder, strata, 2)
    (folder / splits.SPLITS_JSON).write_text(json.dumps({"test_set": {"type": "random"}, "stratify": ["site"]}))
    with pytest.raises(UserError, match="names site"):
        late_folds.require(folder, DATA, 2)
    assert not (folder / splits.FOLDS_JSON).exists()


def test_a_folder_that_cannot_be_written_to_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("radkit.outputs.write_json", closed)
    with pytest.raises(UserError, match="make the folder writable once"):
        late_folds.require(records(tmp_path, 4), DATA, 2)
