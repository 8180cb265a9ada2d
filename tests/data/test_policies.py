"""Every setting of data.annotations does something: each of its values gives another outcome."""

import dataclasses
import typing
from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from radkit import config
from radkit.data import convert, records, shards, sources
from radkit.dicom import annotations, read_volumes, scan, write
from radkit.errors import UserError
from tests import made_up

DATA = config.Data("a", mask_labels=("Liver", "Tumour"))
PLACE = np.array([[0.7, 0, 0, -40], [0, 0.8, 0, 30], [0, 0, 2.5, 5], [0, 0, 0, 1.0]])
SHAPE = (6, 12, 10)
UID = str(made_up.header("CT")["SeriesInstanceUID"])
OTHER = {
    "fraction": 0.9,
    "readers": ("A",),
    "reference_standards": ("histology",),
    "keep_readers": True,
}


def block(label: int = 1, low: int = 2, high: int = 8) -> np.ndarray:
    mask = np.zeros(SHAPE, np.uint8)
    mask[1:5, low:high, 3:7] = label
    return mask


class Folder:
    """One CT series, and what a scenario draws on it."""

    def __init__(self, path: Path) -> None:
        self.path, self.rows = path, list[list[str]]()
        body = np.full(SHAPE, -1000, np.int16)
        body[:, 2:11, 2:9] = np.random.default_rng(0).integers(0, 90, (6, 9, 7))
        write.write_series(body, PLACE, made_up.header("CT"), path / "in" / "ct")

    def nifti(self, mask: np.ndarray, *about: str, scale: float = 1.0, shift: float = 0.0, uid: str = UID) -> None:
        """Adds a mask with its reader and reference standard."""
        name = f"{len(self.rows)}.nii.gz"
        image = sitk.GetImageFromArray(mask)
        image.SetSpacing((scale * np.linalg.norm(PLACE[:3, :3], axis=0)).tolist())
        image.SetOrigin((PLACE[:3, 3] + [0, shift, 0]).tolist())
        sitk.WriteImage(image, str(self.path / name))
        self.rows.append([name, uid, *about, *[""] * (2 - len(about))])

    def seg(self, mask: np.ndarray, labels: Sequence[str], change: Callable[[Any], None] | None = None) -> None:
        """Adds a DICOM segmentation, changed."""
        path = self.path / "in" / f"{len(list(self.path.rglob('*.dcm')))}.dcm"
        annotations.write_seg(mask, read_volumes(self.path / "in" / "ct")[0], labels, path)
        if change:
            made_up.change(path, change)

    def outcome(self, data: config.Data) -> dict[str, Any]:
        """Returns all that a conversion tells and writes; why, where it refuses."""
        try:
            return self._outcome(data)
        except UserError as error:
            return {"refused": str(error)}

    def _outcome(self, data: config.Data) -> dict[str, Any]:
        tables = []
        if self.rows:
            header = ["file", "SeriesInstanceUID", "reader", "reference_standard"]
            text = "\n".join(",".join(row) for row in [header, *self.rows])
            (self.path / "masks.csv").write_text(text)
            tables.append(sources.Table(self.path / "masks.csv", data))
        if (self.path / "boxes.csv").exists():
            tables.append(sources.Table(self.path / "boxes.csv", data))
        found = [scan.read_instance(path) for path in scan.find(self.path / "in")]
        selected = convert.select(found, data, tables=tables)
        written = convert.write(convert.Shard("train", 0, 1, tuple(selected.units)), data, self.path)
        shard = shards.read_shard(self.path / shards.shard_name("a", "train", 0, 1))
        every = [records.decode(record, convert.fields_of(data)) for record in shard]
        told = ("dead", "findings", "disagreements")
        return {
            "left_out": dict(selected.left_out),
            "said": [(one.name, one.text) for one in selected.findings],
            **{name: written[name] for name in told},
            "records": [{name: np.asarray(value).tolist() for name, value in record.items()} for record in every],
        }


def other_instances(dataset: pydicom.Dataset) -> None:
    for element in dataset.iterall():
        if element.keyword == "ReferencedSOPInstanceUID":
            element.value = f"{element.value}.9"


def fraction(folder: Folder) -> None:
    folder.nifti(np.where(block(), np.float32(0.7), np.float32(0)) * np.linspace(1, 1.3, 10, dtype=np.float32))


def other_grid(folder: Folder) -> None:
    folder.nifti(block(), scale=0.5)


def partly_outside(folder: Folder) -> None:
    folder.nifti(block(), shift=0.8 * 7)


def empty(folder: Folder) -> None:
    folder.seg(block(), ["Liver", "Tumour"])


def off_slice(folder: Folder) -> None:
    path = folder.path / "in" / "drawn.dcm"
    annotations.write_rtstruct(block(), read_volumes(folder.path / "in" / "ct")[0], ["Liver"], path)

    def change(dataset: pydicom.Dataset) -> None:
        for contour in list(dataset.ROIContourSequence[0].ContourSequence)[-1:]:
            contour.ContourData = [v + 1.2 * (n % 3 == 2) for n, v in enumerate(map(float, contour.ContourData))]

    made_up.change(path, change)


def implausible(folder: Folder) -> None:
    corner = np.zeros(SHAPE, np.uint8)
    corner[:, :2, :] = 1
    folder.nifti(corner)


def missing(folder: Folder) -> None:
    folder.nifti(block())
    write.write_series(np.zeros(SHAPE, np.int16), PLACE, made_up.header("CT", 2), folder.path / "in" / "other")


def without_image(folder: Folder) -> None:
    folder.nifti(block())
    folder.nifti(block(), uid="1.2.3")


def unknown_class(folder: Folder) -> None:
    rows = ["SeriesInstanceUID,label,x_min,y_min,x_max,y_max,z_min,z_max"]
    rows += [f"{UID},{label},1,2,5,6,1,2" for label in ("Lesion", "Cyst")]
    (folder.path / "boxes.csv").write_text("\n".join(rows))


def twice(folder: Folder) -> None:
    folder.nifti(block(), "A")
    folder.nifti(block(high=6), "A")


def readers(folder: Folder) -> None:
    folder.nifti(block(), "A", "histology")
    folder.nifti(block(2, 9, 11), "B", "histology")


def standards(folder: Folder) -> None:
    folder.nifti(block(), "A", "histology")
    folder.nifti(block(2, 9, 11), "A", "reader")


def several(folder: Folder) -> None:
    folder.nifti(block(), "A")
    folder.nifti(block(high=6), "B")
    folder.nifti(block(high=7), "C")


def overlap(folder: Folder) -> None:
    folder.nifti(block(), "A")
    folder.nifti(block(2, 4, 10), "A")


SCENARIOS: dict[str, Callable[[Folder], None]] = {
    "fraction": fraction,
    "other_grid": other_grid,
    "partly_outside": partly_outside,
    "other_instances": lambda folder: folder.seg(block(), ["Liver"], other_instances),
    "other_frame_of_reference": lambda folder: folder.seg(
        block(), ["Liver"], lambda dataset: setattr(dataset, "FrameOfReferenceUID", "1.2.3")
    ),
    "overlap": overlap,
    "empty": empty,
    "off_slice": off_slice,
    "implausible": implausible,
    "missing": missing,
    "without_image": without_image,
    "unknown_class": unknown_class,
    "duplicates": twice,
    "readers": readers,
    "reference_standards": standards,
    "several": several,
    "keep_readers": lambda folder: folder.nifti(block(), "A"),
}


def test_every_setting_is_tried() -> None:
    assert set(SCENARIOS) == {field.name for field in dataclasses.fields(config.Annotations)}


@pytest.mark.parametrize("name", SCENARIOS)
def test_each_value_gives_another_outcome(name: str, tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    SCENARIOS[name](folder)
    hint = typing.get_type_hints(config.Annotations)[name]
    default = getattr(config.Annotations(), name)
    values = typing.get_args(hint) if typing.get_origin(hint) is Literal else (default, OTHER[name])
    assert len(values) > 1
    boxes = ("Lesion",) if name == "unknown_class" else ()
    data = dataclasses.replace(DATA, box_labels=boxes, mask_labels=() if boxes else DATA.mask_labels)
    outcomes = {
        value: folder.outcome(
            dataclasses.replace(data, annotations=dataclasses.replace(data.annotations, **{name: value}))
        )
        for value in values
    }
    for one, other in combinations(values, 2):
        assert outcomes[one] != outcomes[other], f"{name}: {one!r} and {other!r} give the same"
    for value in values:  # a refusal says what would go on
        told = str(outcomes[value])
        assert value != "refuse" or "refused" in told or "reason" in told
