"""Annotations in records: the same from every source, moved with the image, several readers, policies."""

import csv
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from radkit import config
from radkit.data import convert, labels, readers, records, shards, sources
from radkit.dicom import annotations, read_volumes, scan, write
from radkit.errors import UserError
from tests.conftest import header

LABELS = ("Liver", "Tumour")
DATA = config.Data("a", mask_labels=LABELS)
PLACE = np.array([[0.7, 0, 0, -40], [0, 0.8, 0, 30], [0, 0, 2.5, 5], [0, 0, 0, 1.0]])
SHAPE = (6, 12, 10)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    write.write_series(
        random.integers(0, 90, SHAPE).astype(np.int16), PLACE, header("MR", 0, 0), tmp_path / "in" / "mr"
    )
    return tmp_path


def mask(seed: int = 1) -> np.ndarray:
    drawn = np.random.default_rng(seed).integers(0, 3, SHAPE).astype(np.uint8)
    drawn[:, 0], drawn[0], drawn[2, 3, 4] = 0, 0, 2
    return drawn


def volume(folder: Path) -> object:
    return read_volumes(folder / "in" / "mr")[0]


def as_nifti(drawn: np.ndarray, path: Path) -> None:
    """Writes a mask as others do: axes turned (RAS), so that only millimetres tell which voxel is which."""
    image = sitk.GetImageFromArray(drawn)
    image.SetSpacing(np.linalg.norm(PLACE[:3, :3], axis=0).tolist())
    image.SetOrigin(PLACE[:3, 3].tolist())
    sitk.WriteImage(sitk.DICOMOrient(image, "RAS"), str(path))


def table(path: Path, rows: Sequence[str], data: config.Data) -> sources.Table:
    path.write_text("\n".join(rows) + "\n")
    return sources.Table(path, data)


def made(folder: Path, data: config.Data, *tables: sources.Table) -> tuple[dict, list[dict]]:
    """Returns what became of the folder's images, and the records."""
    instances = [scan.read_instance(path) for path in scan.find(folder / "in")]
    selected = convert.select(instances, data, tables=tables)
    outcome = convert.write(convert.Shard("train", 0, 1, tuple(selected.units)), data, folder)
    file = folder / shards.shard_name(data.dataset, "train", 0, 1)
    return outcome, [records.decode(r, convert.fields_of(data)) for r in shards.read_shard(file)]


def uid() -> str:
    return str(header("MR", 0, 0)["SeriesInstanceUID"])


@pytest.mark.parametrize("source", ["seg", "rtstruct", "nifti"])
def test_every_source_gives_the_same_mask(folder: Path, source: str) -> None:
    tables = []
    if source == "nifti":
        as_nifti(mask(), folder / "mask.nii.gz")
        tables = [table(folder / "t.csv", ["SeriesInstanceUID,file", f"{uid()},mask.nii.gz"], DATA)]
    else:
        how = annotations.write_seg if source == "seg" else annotations.write_rtstruct
        how(mask(), volume(folder), LABELS, folder / "in" / "drawn.dcm")
    outcome, (record,) = made(folder, DATA, *tables)
    np.testing.assert_array_equal(record["mask"][..., 0], mask())
    assert not outcome["dead"]
    assert len(outcome["inputs"]) == SHAPE[0] + 1


BOX = (1, 3, 2), (5, 9, 7)


def boxed(data: config.Data, folder: Path) -> sources.Table:
    (low_slice, low_row, low_column), (high_slice, high_row, high_column) = BOX
    rows = [
        "SeriesInstanceUID,label,lesion_id,x_min,y_min,x_max,y_max,z_min,z_max",
        f"{uid()},Tumour,T1,{low_column},{low_row},{high_column},{high_row},{low_slice},{high_slice - 1}",
    ]
    return table(folder / "boxes.csv", rows, data)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"record_orientation": "RAS"},
        {"record_orientation": "SLA"},
        {"record_size": (4, 6, 4)},
        {"record_orientation": "IPR", "record_size": (7, 5, 9)},
        {"record_size": (20, 20, 20)},
    ],
)
def test_boxes_and_masks_move_with_the_image(folder: Path, settings: dict[str, object]) -> None:
    data = dataclasses.replace(DATA, box_labels=LABELS, **settings)
    drawn = np.zeros(SHAPE, np.uint8)
    drawn[tuple(slice(low, high) for low, high in zip(*BOX))] = 2
    annotations.write_seg(drawn, volume(folder), LABELS, folder / "in" / "seg.dcm")
    wishes = config.Annotations(several="first")
    data = dataclasses.replace(data, annotations=wishes)
    _, (record,) = made(folder, data, boxed(data, folder))
    there = np.argwhere(record["mask"][..., 0] == 2)
    np.testing.assert_allclose(record["boxes"], [[*there.min(axis=0), *(there.max(axis=0) + 1)]], atol=1e-5)
    assert record["box_labels"].tolist() == [1]
    assert record["lesion_ids"] == ["T1"]


def test_a_box_keeps_its_place_in_mm_on_another_spacing(folder: Path) -> None:
    data = config.Data("a", box_labels=LABELS, record_spacing_mm=(1.0, 1.0, 1.0))
    _, (record,) = made(folder, data, boxed(data, folder))
    steps = record["direction"] * record["spacing_mm"][::-1]
    for corner, voxel in zip(np.split(record["boxes"][0].astype(float), 2), BOX):
        in_mm = record["origin_mm"] + steps @ (corner[::-1] - 0.5)
        expected = PLACE[:3, 3] + PLACE[:3, :3] @ (np.array(voxel[::-1]) - 0.5)
        np.testing.assert_allclose(in_mm, expected, atol=1e-4)


def test_a_box_that_was_cropped_away_is_said(folder: Path) -> None:
    data = config.Data("a", box_labels=LABELS, record_size=(0, 2, 0))
    rows = ["SeriesInstanceUID,label,x_min,y_min,x_max,y_max,z_min,z_max", f"{uid()},Liver,1,0,3,2,1,1"]
    outcome, (record,) = made(folder, data, table(folder / "boxes.csv", rows, data))
    assert record["boxes"].shape == (0, 6)
    assert [name for _, name, _ in outcome["findings"]] == ["partly_outside"]


@pytest.mark.parametrize("policy", ["refuse", "leave_out"])
def test_boxes_of_unknown_labels_go_by_the_policy(folder: Path, policy: str) -> None:
    wishes = config.Annotations(unknown_class=policy)
    data = config.Data("a", box_labels=("Cyst", "Nodule"), annotations=wishes)
    outcome, found = made(folder, data, boxed(data, folder))
    assert [name for _, name, _ in outcome["findings"]] == ["unknown_class"]
    assert len(found) == (policy == "leave_out")
    assert len(outcome["dead"]) == (policy == "refuse")


class TestReaders:
    def read(self, folder: Path, **wishes: object) -> tuple[dict, list[dict]]:
        for name, seed in (("A", 1), ("B", 2), ("C", 3)):
            as_nifti(mask(seed), folder / f"{name}.nii.gz")
        rows = ["SeriesInstanceUID,file,reader,date,reference_standard"]
        rows += [f"{uid()},{name}.nii.gz,{name},2026-01-0{n},reader" for n, name in enumerate("ABC", 1)]
        data = dataclasses.replace(DATA, annotations=config.Annotations(**wishes))
        return made(folder, data, table(folder / "t.csv", rows, data))

    def test_they_are_refused_until_the_config_says_how(self, folder: Path) -> None:
        outcome, found = self.read(folder)
        assert not found
        assert [name for _, name, _ in outcome["findings"]] == ["several_readers"]
        assert "data.annotations.several" in outcome["dead"][0]["reason"]

    def test_a_majority_is_theirs_and_each_is_kept(self, folder: Path) -> None:
        outcome, (record,) = self.read(folder, several="majority", keep_readers=True)
        each = np.stack([mask(seed) for seed in (1, 2, 3)])
        np.testing.assert_array_equal(record["reader_masks"][..., 0], each)
        votes = np.stack([(each == value).sum(axis=0) for value in (0, 1, 2)])
        expected = np.where(votes.max(axis=0) > 1, votes.argmax(axis=0), 0)
        np.testing.assert_array_equal(record["mask"][..., 0], expected)
        assert record["readers"] == ["A", "B", "C"]
        assert record["annotation_reader"] == "A + B + C"
        assert record["annotation_date"] == "2026-01-03"
        assert record["annotation_reference_standard"] == "consensus"
        assert {row["label"] for row in outcome["disagreements"]} == set(LABELS)
        assert all(set(row) == set(readers.COLUMNS) for row in outcome["disagreements"])

    def test_one_of_them_can_be_asked(self, folder: Path) -> None:
        _, (record,) = self.read(folder, readers=("B",))
        np.testing.assert_array_equal(record["mask"][..., 0], mask(2))
        assert record["annotation_reader"] == "B"
        assert record["annotation_reference_standard"] == "reader"


@pytest.mark.parametrize("policy", ["leave_out", "empty", "refuse"])
def test_images_without_annotation_go_by_the_policy(folder: Path, policy: str) -> None:
    data = dataclasses.replace(DATA, box_labels=LABELS, annotations=config.Annotations(missing=policy))
    if policy == "refuse":
        with pytest.raises(UserError, match="1 images have no annotation"):
            made(folder, data)
        return
    _, found = made(folder, data)
    assert len(found) == (policy == "empty")
    for record in found:
        assert not record["mask"].any()
        assert record["boxes"].shape == (0, 6)


def test_each_view_of_a_radiographs_series_has_its_own_mask(tmp_path: Path) -> None:
    said = header("CR", 0, 0)
    drawn = np.zeros((1, 8, 9), np.uint8)
    for number in range(2):
        stored = np.full((8, 9), 10 * number, np.uint16)
        path = tmp_path / "in" / f"{number}.dcm"
        path.parent.mkdir(exist_ok=True)
        frame = write.instance(stored, said, f"{said['SeriesInstanceUID']}.{number}")
        frame.save_as(path, enforce_file_format=True)
        drawn[0, 1 : 3 + number, 2:5] = 1
        annotations.write_seg(drawn, read_volumes([path])[0], ("Liver",), tmp_path / "in" / f"seg{number}.dcm")
    data = config.Data("a", kind="radiograph", image_size=(8, 8), mask_labels=("Liver",))
    outcome, found = made(tmp_path, data)
    assert not outcome["dead"]
    assert sorted(int(record["mask"].sum()) for record in found) == [6, 9]
    assert all((record["image"] == 0).all() == (record["mask"].sum() == 6) for record in found)


def test_a_mask_that_names_another_series_is_refused_and_named(folder: Path) -> None:
    annotations.write_seg(mask(), volume(folder), LABELS, folder / "in" / "seg.dcm")
    dataset = pydicom.dcmread(folder / "in" / "seg.dcm")
    for item in dataset.ReferencedSeriesSequence[0].ReferencedInstanceSequence:
        item.ReferencedSOPInstanceUID += ".9"
    for group in dataset.PerFrameFunctionalGroupsSequence:
        group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID += ".9"
    dataset.save_as(folder / "in" / "seg.dcm")
    outcome, found = made(folder, DATA)
    assert not found
    assert [name for _, name, _ in outcome["findings"]] == ["other_instances"]
    reported = dataclasses.replace(DATA, annotations=config.Annotations(other_instances="report"))
    outcome, (record,) = made(folder, reported)
    np.testing.assert_array_equal(record["mask"][..., 0], mask())
    assert [name for _, name, _ in outcome["findings"]] == ["other_instances"]
    assert outcome["findings"][0][2] in record["findings"]


def test_the_table_of_findings_is_a_csv_of_names(folder: Path) -> None:
    """The names are what configs and people use, so they must be plain words."""
    from radkit.dicom.findings import KINDS

    assert all(name.isidentifier() and name == name.lower() for name in KINDS)
    assert next(csv.reader([",".join(KINDS)])) == list(KINDS)


@pytest.mark.parametrize("how", [annotations.write_seg, annotations.write_rtstruct])
@pytest.mark.parametrize("masks", [(), ("Tumour",)])
def test_what_is_outlined_and_asked_for_as_a_box_is_boxed(folder: Path, how, masks: tuple[str, ...]) -> None:
    drawn = np.zeros(SHAPE, np.uint8)
    drawn[1:4, 3:8, 2:6], drawn[2, 9, 3] = 1, 2
    how(drawn, volume(folder), LABELS, folder / "in" / "drawn.dcm")
    data = dataclasses.replace(DATA, mask_labels=masks, box_labels=("Liver",))
    _, (record,) = made(folder, data)
    np.testing.assert_array_equal(record["boxes"], [[1, 3, 2, 4, 8, 6]])
    assert record["box_labels"].tolist() == [0]
    if masks:
        np.testing.assert_array_equal(record["mask"][..., 0], drawn == 2)


def test_a_mask_that_two_tables_name_counts_once(folder: Path) -> None:
    as_nifti(mask(), folder / "mask.nii.gz")
    rows = ["SeriesInstanceUID,file", f"{uid()},mask.nii.gz"]
    outcome, (record,) = made(folder, DATA, *(table(folder / name, rows, DATA) for name in ("t.csv", "u.csv")))
    np.testing.assert_array_equal(record["mask"][..., 0], mask())
    assert not outcome["findings"]


def test_slices_of_different_classes_are_their_own_reason(folder: Path) -> None:
    instances = [scan.read_instance(path) for path in scan.find(folder / "in")]
    rows = [f"{one['SOPInstanceUID']},{number % 2}" for number, one in enumerate(instances)]
    (folder / "labels.csv").write_text("\n".join(["SOPInstanceUID,ill", *rows]))
    data = config.Data("a", label="ill", class_names=("no", "yes"))
    selected = convert.select(instances, data, labels.Labels(folder / "labels.csv", data))
    assert selected.left_out == {convert.CONTRADICTED: 1}
    assert [(one.name, one.count) for one in selected.findings] == [("contradicting_rows", 1)]
