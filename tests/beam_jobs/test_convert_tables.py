"""The tables beside the images: what changes in them is noticed, what does not is not; where they may lie."""

import csv
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from beam_jobs import convert as job
from beam_jobs import convert_tables
from radkit import outputs
from radkit.dicom import write
from tests import made_up

Call = Callable[..., tuple[int, Path]]
SHAPE = (4, 8, 8)
CONFIG = """
from radkit.config import *
def get_config():
    data = Data(dataset="a", mask_labels=("Liver",), image_size=(4, 8, 8))
    return Experiment(data=data, model=Model("unet", {}), task=Task("segmentation"))
"""


def uid(patient: int) -> str:
    return str(made_up.header("MR", patient)["SeriesInstanceUID"])


def draw(path: Path, low: int) -> None:
    mask = np.zeros(SHAPE, np.uint8)
    mask[1:3, low:6, 2:6] = 1
    image = sitk.GetImageFromArray(mask)
    sitk.WriteImage(image, str(path))


def rows_of(path: Path, *rows: tuple[str, ...]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


@pytest.fixture
def call(tmp_path: Path) -> Call:
    """Returns a call of the job on three series, each with a mask, and on one without."""
    masks = tmp_path / "in" / "masks"
    for patient in range(1, 5):
        values = np.random.default_rng(patient).integers(0, 90, SHAPE).astype(np.int16)
        write.write_series(values, np.eye(4), made_up.header("MR", patient), tmp_path / "in" / str(patient))
    masks.mkdir()
    for patient in range(1, 4):
        draw(masks / f"{patient}.nii", 2)
    rows_of(
        masks / "masks.csv",
        ("file", "SeriesInstanceUID"),
        *((f"{patient}.nii", uid(patient)) for patient in range(1, 4)),
        ("1.nii", "1.2.3"),
    )
    (tmp_path / "config.py").write_text(CONFIG)

    def run(*flags: str, output: str = "out") -> tuple[int, Path]:
        said = [f"--input={tmp_path / 'in'}", f"--config={tmp_path / 'config.py'}", f"--output={tmp_path / output}"]
        status = job.main(["convert", *said, f"--annotations={masks / 'masks.csv'}", *flags])
        return status, tmp_path / output / "a" / "1.0.0"

    return run


def test_tables_and_masks_among_the_images_are_not_set_aside(call: Call, capsys: pytest.CaptureFixture[str]) -> None:
    status, folder = call()
    assert status == 0
    assert "1 series left out by the config; 0 inputs set aside" in capsys.readouterr().out
    summary = outputs.read_json(folder / "summary.json")
    assert sum(summary["records"].values()) == 3
    # Each is counted by how many images or rows it is of.
    assert summary["findings_by_name"] == {
        "images_without_labels": 1,
        "labels_without_images": 1,
        "one_mask_of_several_images": 1,
    }


def test_what_changed_in_them_is_noticed_and_what_did_not_is_not(
    call: Call, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call()[0] == 0
    masks = tmp_path / "in" / "masks"
    for path in masks.iterdir():
        os.utime(path)
    capsys.readouterr()
    assert call()[0] == 0
    assert "already done" in capsys.readouterr().out
    before = (masks / "2.nii").read_bytes()
    draw(masks / "2.nii", 3)
    assert call()[0] == 2
    assert "differs in inputs" in capsys.readouterr().err
    (masks / "2.nii").write_bytes(before)
    assert call()[0] == 0
    shutil.copy(masks / "masks.csv", tmp_path / "old.csv")
    (masks / "masks.csv").write_text((masks / "masks.csv").read_text().replace("1.nii,1.2.3\r\n", ""))
    assert call()[0] == 2


def test_a_table_that_is_given_twice_is_one(call: Call, tmp_path: Path) -> None:
    status, folder = call(f"--annotations={tmp_path / 'in' / 'masks' / 'masks.csv'}")
    assert status == 0
    assert outputs.read_json(folder / "summary.json")["findings_by_name"]["labels_without_images"] == 1


def test_original_identifiers_without_a_key_are_thought_of(
    call: Call, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows_of(tmp_path / "in" / "masks" / "masks.csv", ("file", "PatientID"), ("1.nii", "MRN4711"))
    assert call()[0] == 2
    said = capsys.readouterr().err
    assert "original ones need --key" in said
    assert "MRN4711" not in said


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"uid,x\n1,2\n", "lacks the columns SeriesInstanceUID and decision"),
        (b"", "lacks the columns SeriesInstanceUID and decision"),
        (b"SeriesInstanceUID,decision\n1,yes\n", "1 decisions of curation.csv are none of keep, leave_out"),
        (b"SeriesInstanceUID,decision\n\xe4,keep\n", "is no CSV file in UTF-8"),
    ],
)
def test_a_curation_that_cannot_be_read_says_why(
    call: Call, tmp_path: Path, text: bytes, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / convert_tables.CURATION).write_bytes(text)
    assert call(f"--curation={tmp_path}")[0] == 2
    assert message in capsys.readouterr().err


def test_a_series_that_the_curation_leaves_out_is_not_missing(call: Call, tmp_path: Path) -> None:
    decided = [(uid(patient), "leave_out" if patient == 2 else "keep") for patient in range(1, 5)]
    rows_of(tmp_path / convert_tables.CURATION, ("SeriesInstanceUID", "decision"), *decided)
    _, folder = call(f"--curation={tmp_path}")
    summary = outputs.read_json(folder / "summary.json")
    assert summary["left_out_by_reason"]["left out by the curation"] == 1
    assert summary["findings_by_name"]["labels_without_images"] == 1  # the row of no image at all
