"""The import as a program: both ways give the same records; bad files are set aside and named."""

import csv
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK

from beam_jobs import convert as convert_job
from beam_jobs import import_public as job
from radkit import config, outputs
from radkit.data import convert, public_dicom, records, shards
from tests.data import made_up_sets as made

VOLUMES = """
from radkit.config import Data, Experiment, Model, Task
def get_config():
    data = Data(dataset="made", modalities=("MR",), mask_labels=("left", "right"), image_size=(8, 8, 8))
    return Experiment(data=data, model=Model("unet"), task=Task("segmentation"))
"""
PICTURES = """
from radkit.config import Data, Experiment, Model, Task
def get_config():
    data = Data(
        dataset="made", kind="radiograph", label="ill", class_names=("healthy", "ill"), image_size=(8, 8)
    )
    return Experiment(data=data, model=Model("resnet"), task=Task("classification"))
"""
SHAPE = (5, 9, 8)


def run(tmp_path: Path, text: str, *words: str, verb: Any = job) -> int:
    """Runs a verb on a config; returns its status."""
    path = tmp_path / "config.py"
    path.write_text(text)
    return int(verb.main(["radkit", f"--config={path}", "--direct_num_workers=1", *words]))


def read(folder: Path, data: config.Data) -> dict[str, dict[str, Any]]:
    """Returns the records of a data set by record_uid."""
    target = folder / data.dataset / data.version
    files = [file for split in shards.SPLITS for file in shards.split_files(target, split)]
    found = [records.decode(raw, convert.fields_of(data)) for file in files for raw in shards.read_shard(file)]
    return {str(record["record_uid"]): record for record in found}


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def digests(folder: Path) -> dict[str, str]:
    files = [p for p in folder.rglob("*") if p.is_file()]
    return {p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def stacks(folder: Path, *names: str, turn: float = 0.0) -> Path:
    for seed, name in enumerate(names):
        made.stack(folder / "images" / f"{name}.nii.gz", made.values(SHAPE, seed), turn=turn)
        made.stack(folder / "labels" / f"{name}.nii.gz", made.mask(SHAPE, 1, 2), turn=turn)
    return folder


@pytest.mark.parametrize("turn", [0.0, 25.0])
def test_both_ways_give_the_same_images_masks_and_spacing(tmp_path: Path, turn: float) -> None:
    source = stacks(tmp_path / "set", "a", "b", "Köln 3", turn=turn)
    said = ("--format=nifti", f"--input={source}")
    assert run(tmp_path, VOLUMES, *said, f"--output={tmp_path / 'direct'}") == 0
    assert run(tmp_path, VOLUMES, *said, f"--output={tmp_path / 'dicom'}", "--as_dicom") == 0
    back = (f"--input={tmp_path / 'dicom'}", f"--output={tmp_path / 'back'}")
    assert run(tmp_path, VOLUMES, *back, verb=convert_job) == 0
    data = config.load(str(tmp_path / "config.py")).data
    direct, by_dicom = read(tmp_path / "direct", data), read(tmp_path / "back", data)
    assert direct.keys() == by_dicom.keys()
    assert len(direct) == 3
    for uid, record in direct.items():
        other = by_dicom[uid]
        for name in ("image", "mask", "rescale_slope", "rescale_intercept"):
            assert np.array_equal(record[name], other[name]), name
        for name in ("spacing_mm", "origin_mm", "direction"):
            np.testing.assert_allclose(record[name], other[name], atol=1e-6)
        assert set(np.unique(record["mask"])) == {0, 1, 2}
    truth = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(source / "images" / "a.nii.gz")))
    assert any(np.array_equal(record["image"][..., 0], truth) for record in direct.values())


def chest(folder: Path, count: int = 6) -> Path:
    rows = []
    for number in range(count):
        made.picture(folder / f"{number}.png", made.values((9, 8), number, np.uint8))
        rows.append(
            {"file": f"{number}.png", "patient": number // 2, "sex": "M", "age": 60 + number, "ill": number % 2}
        )
    made.table(folder / "labels.csv", rows)
    return folder


KINDS = {
    "multi_label": ("label_kind='multi_label', class_names=('a', 'b')", {"a": (1, 0, "", -1), "b": (1, 0, 0, 1)}),
    "ordinal": ("label_kind='ordinal', class_names=('1', '2', '3')", {"ill": ("1", "2", "3", "3")}),
    "regression": ("label_kind='regression'", {"ill": (0.1, 2, -7e-3, 1e9)}),
    "survival": ("label_kind='survival', event='died'", {"ill": (0, 2.5, 700, 1), "died": (0, 1, 1, 0)}),
    "report": ("report='text'", {"text": ("a", "b, c", "d\ne", "f")}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_both_ways_give_the_same_labels_of_every_kind(kind: str, tmp_path: Path) -> None:
    settings, columns = KINDS[kind]
    label = "" if kind == "report" else "ill"
    text = PICTURES.replace('label="ill", class_names=("healthy", "ill")', f'label="{label}", {settings}')
    source = chest(tmp_path / "set", 4)
    rows = [{"file": f"{n}.png", **{name: cells[n] for name, cells in columns.items()}} for n in range(4)]
    made.table(source / "labels.csv", rows)
    said = ("--format=png", f"--input={source}", f"--labels={source / 'labels.csv'}", "--modality=CR")
    assert run(tmp_path, text, *said, f"--output={tmp_path / 'direct'}") == 0
    dicom = tmp_path / "dicom"
    assert run(tmp_path, text, *said, f"--output={dicom}", "--as_dicom") == 0
    back = (f"--input={dicom}", f"--labels={dicom / 'labels.csv'}", f"--output={tmp_path / 'back'}")
    assert run(tmp_path, text, *back, verb=convert_job) == 0
    data = config.load(str(tmp_path / "config.py")).data
    direct, by_dicom = read(tmp_path / "direct", data), read(tmp_path / "back", data)
    assert direct.keys() == by_dicom.keys()
    assert len(direct) == 4
    for uid, record in direct.items():
        for name in {"label", "event", "report"} & record.keys():
            np.testing.assert_array_equal(record[name], by_dicom[uid][name])


def test_both_ways_give_the_same_radiographs_and_classes(tmp_path: Path) -> None:
    source = chest(tmp_path / "set")
    said = ("--format=png", f"--input={source}", f"--labels={source / 'labels.csv'}", "--modality=CR")
    assert run(tmp_path, PICTURES, *said, f"--output={tmp_path / 'direct'}") == 0
    dicom = tmp_path / "dicom"
    assert run(tmp_path, PICTURES, *said, f"--output={dicom}", "--as_dicom") == 0
    back = (f"--input={dicom}", f"--labels={dicom / 'labels.csv'}", f"--output={tmp_path / 'back'}")
    assert run(tmp_path, PICTURES, *back, verb=convert_job) == 0
    data = config.load(str(tmp_path / "config.py")).data
    direct, by_dicom = read(tmp_path / "direct", data), read(tmp_path / "back", data)
    assert direct.keys() == by_dicom.keys()
    for uid, record in direct.items():
        assert np.array_equal(record["image"], by_dicom[uid]["image"])
        for name in ("label", "sex", "age_years", "view_position", "body_part"):
            assert record[name] == by_dicom[uid][name], name
    assert len({record["patient_id"] for record in direct.values()}) == 3
    splits = outputs.read_json(tmp_path / "direct" / "made" / "1.0.0" / "patients.json")
    assert sorted(p for found in splits.values() for p in found) == ["0", "1", "2"]


def test_a_patient_is_one_person_who_grows_older(tmp_path: Path) -> None:
    source = chest(tmp_path / "set")
    said = ("--format=png", f"--input={source}", f"--labels={source / 'labels.csv'}", "--modality=CR", "--as_dicom")
    assert run(tmp_path, PICTURES, *said, f"--output={tmp_path / 'dicom'}") == 0
    found: dict[str, set[str]] = {}
    for path in (tmp_path / "dicom").rglob("*.dcm"):
        header = pydicom.dcmread(path, stop_before_pixels=True)
        found.setdefault(str(header.PatientID), set()).add(f"{header.PatientName} {header.PatientBirthDate}")
        assert path.relative_to(tmp_path / "dicom").parts[0] == header.PatientID
        assert int(header.StudyDate[:4]) - int(header.PatientBirthDate[:4]) == int(header.PatientAge[:3])
    assert [len(people) for people in found.values()] == [1, 1, 1]


def test_bad_files_are_set_aside_by_name_either_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = stacks(tmp_path / "set", "a", "b", "c", "d")
    (source / "images" / "b.nii.gz").write_bytes(b"")
    made.stack(source / "labels" / "c.nii.gz", made.mask((3, 4, 5), 1), spacing=(30.0, 30.0, 90.0))
    four = SimpleITK.JoinSeries([SimpleITK.ReadImage(str(source / "images" / "a.nii.gz"))] * 2)
    SimpleITK.WriteImage(four, str(source / "images" / "d.nii.gz"))
    wish = "--set=data.annotations.other_grid='refuse'"
    said = ("--format=nifti", f"--input={source}", wish)
    assert run(tmp_path, VOLUMES, *said, f"--output={tmp_path / 'direct'}") == 1
    assert run(tmp_path, VOLUMES, *said, f"--output={tmp_path / 'dicom'}", "--as_dicom") == 1
    assert "1 images of 1 invented patients" in capsys.readouterr().out
    rows = table(tmp_path / "dicom" / outputs.QUARANTINE)
    assert [row["input"] for row in rows] == ["images/b.nii.gz", "images/c.nii.gz", "images/d.nii.gz"]
    assert "cannot be read" in rows[0]["reason"]
    assert "one volume was expected" in rows[2]["reason"]
    direct = table(tmp_path / "direct" / "made" / "1.0.0" / outputs.QUARANTINE)
    assert sorted(row["reason"] for row in direct) == sorted(row["reason"] for row in rows)
    assert [row["input"] for row in direct] == [row["input"] for row in rows]  # their UIDs nobody knows
    left = {p.relative_to(tmp_path / "dicom").parts[0] for p in (tmp_path / "dicom").rglob("*.dcm")}
    assert len(left) == 1  # nothing of the others


def test_a_corrupt_picture_is_set_aside(tmp_path: Path) -> None:
    source = chest(tmp_path / "set")
    damaged = (source / "3.png").read_bytes()
    (source / "3.png").write_bytes(damaged[:40])
    said = ("--format=png", f"--input={source}", f"--labels={source / 'labels.csv'}", "--modality=CR")
    assert run(tmp_path, PICTURES, *said, f"--output={tmp_path / 'direct'}") == 1
    assert run(tmp_path, PICTURES, *said, f"--output={tmp_path / 'dicom'}", "--as_dicom") == 1
    assert [row["input"] for row in table(tmp_path / "dicom" / outputs.QUARANTINE)] == ["3.png"]
    assert len(table(tmp_path / "dicom" / "labels.csv")) == 5


def test_where_nothing_can_be_written_nothing_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = stacks(tmp_path / "set", "a")
    (source / "images" / "a.nii.gz").write_bytes(b"none")
    said = ("--format=nifti", f"--input={source}", f"--output={tmp_path / 'out'}")
    assert run(tmp_path, VOLUMES, *said, "--as_dicom") == 2
    assert "all 1 images were refused" in capsys.readouterr().err
    assert run(tmp_path, VOLUMES, *said) == 2
    assert not (tmp_path / "out").exists()


def test_the_same_dicom_comes_out_again_and_a_second_call_is_done_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = stacks(tmp_path / "set", "a", "b", "c", "d")
    said = ("--format=nifti", f"--input={source}", "--as_dicom")
    assert run(tmp_path, VOLUMES, *said, f"--output={tmp_path / 'one'}") == 0
    assert run(tmp_path, VOLUMES, *said, f"--output={tmp_path / 'two'}", "--direct_num_workers=2") == 0
    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    capsys.readouterr()
    assert run(tmp_path, VOLUMES, *said, f"--output={tmp_path / 'one'}") == 0
    assert capsys.readouterr().out.startswith("import: already done: 4 images of 4 invented patients")
    assert run(tmp_path, VOLUMES, *said, f"--output={tmp_path / 'one'}", "--body_part=HEAD") == 2
    assert "differs in settings" in capsys.readouterr().err


def test_boxes_and_empty_masks_go_through_dicom(tmp_path: Path) -> None:
    source = tmp_path / "set"
    text = PICTURES.replace(
        'label="ill", class_names=("healthy", "ill")', 'mask_labels=("lung",), box_labels=("lung",)'
    )
    for name, number in (("a", 255), ("b", 0)):
        made.picture(source / "images" / f"{name}.png", made.values((9, 8), 1, np.uint8))
        made.picture(source / "masks" / f"{name}.png", made.mask((9, 8), number))
    boxes = [
        {"file": "a.png", "boxes": [{"category": "lung", "bbox_xywh": [1, 2.5, 3, 4]}]},
        {"file": "b.png", "boxes": []},
    ]
    made.as_json(source / "boxes.json", boxes)
    said = ("--format=coco", f"--input={source}", "--modality=CR", f"--output={tmp_path / 'dicom'}", "--as_dicom")
    assert run(tmp_path, text, *said) == 0
    rows = table(tmp_path / "dicom" / "boxes.csv")
    assert [tuple(row.values())[1:] for row in rows] == [("lung", "1.0", "2.5", "4.0", "6.5"), ("",) * 5]
    images = {str(pydicom.dcmread(p).SOPInstanceUID) for p in (tmp_path / "dicom").rglob("0001.dcm")}
    assert {row["SOPInstanceUID"] for row in rows} == images
    assert len(list((tmp_path / "dicom").rglob("*_segmentation.dcm"))) == 1
    summary = outputs.read_json(tmp_path / "dicom" / "summary.json")
    assert summary["without_segmentation"] == 1
    assert summary["findings_by_name"]["empty_segment"] == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--format=nifti", "--mask_names=organ"), "a value and its label were expected"),
        (("--format=nifti", "--masks=nowhere"), "--masks nowhere is no folder"),
        (("--format=tiff",), "--format"),
        ((), "--format must be given"),
        (("--format=nifti", "--patients=("), "no regular expression"),
        (("--format=nifti", "--modality=PT", "--set=data.modalities=()", "--as_dicom"), "CT and MR are"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], message: str
) -> None:
    source = stacks(tmp_path / "set", "a")
    assert run(tmp_path, VOLUMES, *words, f"--input={source}", f"--output={tmp_path / 'out'}") == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("more", [(), ("--as_dicom",)])
def test_an_output_within_the_input_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...]
) -> None:
    source = stacks(tmp_path / "set", "a")
    assert run(tmp_path, VOLUMES, "--format=nifti", f"--input={source}", f"--output={source / 'out'}", *more) == 2
    assert "lies in --input" in capsys.readouterr().err


def test_folders_names_are_ascii_and_differ_where_the_cases_do() -> None:
    names = ["a", "a b", "a_b", "ä", "ö", "x" * 200, "x" * 201, "..", "/", ".hidden"]
    plain = [public_dicom._plain(name) for name in names]
    assert len(set(plain)) == len(names)
    assert all(name.isascii() and not name.startswith(".") and len(name) < 80 for name in plain)
