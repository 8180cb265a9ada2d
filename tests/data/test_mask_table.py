"""The table of masks: what others' programs write of it, and rows that cannot be meant."""

from pathlib import Path

import pytest

from radkit import config
from radkit.data import sources
from radkit.errors import UserError
from tests.data.test_sources import BOXES, MASKS, image

HEADER = "file,SeriesInstanceUID,PatientID,reader,date"


def table(folder: Path, *rows: str, header: str = HEADER, data: config.Data = MASKS, **more: object) -> sources.Table:
    for name in ("a.nii", "b.nii"):
        (folder / name).touch()
    (folder / "t.csv").write_bytes("\n".join([header, *rows, ""]).encode(str(more.pop("encoding", "utf-8"))))
    return sources.Table(folder / "t.csv", data, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("separator", "encoding", "above"),
    [(",", "utf-8", ""), (";", "utf-8-sig", ""), ("\t", "utf-16", ""), (";", "utf-8", "sep=;\n")],
)
def test_tables_that_say_the_same(tmp_path: Path, separator: str, encoding: str, above: str) -> None:
    header, row = (text.replace(",", separator) for text in (HEADER, "a.nii,1,P,Jörg,20260201"))
    found = table(tmp_path, row, "", header=above + header, encoding=encoding).of([image("1")])
    assert [(one.path, one.reader, one.date) for one in found] == [
        ((tmp_path / "a.nii").resolve(), "Jörg", "2026-02-01")
    ]


def test_the_same_row_again_counts_once_and_is_said(tmp_path: Path) -> None:
    made = table(tmp_path, "a.nii,1,P,A,", "a.nii,1,P,A,", "a.nii,1,P,A,20260201", "b.nii,1,P,A,")
    assert len(made.of([image("1")])) == 3
    assert [(one.name, one.count) for one in made.findings] == [("duplicate_rows", 1)]


def test_a_mask_that_stands_for_two_images_is_said(tmp_path: Path) -> None:
    made = table(tmp_path, "a.nii,1,P,A,", "a.nii,2,P,A,", "b.nii,3,P,A,", "b.nii,3,P,B,")
    assert [(one.name, one.count) for one in made.findings] == [("one_mask_of_several_images", 1)]


@pytest.mark.parametrize(
    ("row", "header", "said"),
    [
        ("a.nii,1,P,A,01/02/2026", HEADER, "line 2: date is none; YYYY-MM-DD"),
        ("a.nii,1,P,A,,more", HEADER, "line 2: more values than the 5 columns"),
        ("a.nii,1,1", "file,SeriesInstanceUID,SeriesInstanceUID", "column SeriesInstanceUID more than once"),
        ("a.nii,1", "path,uid", r"t\.csv: the table's first line names none.*; a table of masks has a column file"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, row: str, header: str, said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        table(tmp_path, row, header=header)
    assert "01/02/2026" not in str(caught.value)


def test_another_encoding_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no CSV file in UTF-8"):
        table(tmp_path, "a.nii,1,P,Jörg,", encoding="latin-1")


def test_a_folder_is_no_table(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is a folder; name a CSV"):
        sources.Table(tmp_path, MASKS)


def test_a_row_of_one_image_and_another_patient_is_refused(tmp_path: Path) -> None:
    made = table(tmp_path, "a.nii,1,P,A,", "b.nii,2,Q,A,", "b.nii,3,,A,")
    assert made.of([image("1")])
    assert made.of([image("3")])
    with pytest.raises(UserError, match="line 3: the image of this SeriesInstanceUID has another PatientID"):
        made.of([image("2")])


def test_images_that_are_there_and_left_out_are_not_missing(tmp_path: Path) -> None:
    made = table(tmp_path, "a.nii,1,P,A,", "b.nii,2,P,A,")
    made.of([image("1")])
    assert [one.count for one in made.unused()] == [1]
    assert not made.unused([image("1"), image("2")])


def test_boxes_of_no_view_of_the_series_are_counted(tmp_path: Path) -> None:
    columns = "SeriesInstanceUID,SOPInstanceUID,label,x_min,y_min,x_max,y_max"
    made = table(tmp_path, "1,1.7,Nodule,1,2,3,4", "1,1.1,Nodule,1,2,3,4", header=columns, data=BOXES)
    assert len(made.of([image("1")])[0].boxes) == 1
    assert [(one.name, one.count) for one in made.unused([image("1")])] == [("labels_without_images", 1)]


@pytest.mark.parametrize("boxes", [False, True])
def test_original_dates_do_not_come_along_with_original_identifiers(tmp_path: Path, boxes: bool) -> None:
    header = "SeriesInstanceUID,label,x_min,y_min,x_max,y_max,date" if boxes else HEADER
    row = "1,Nodule,1,2,3,4,2026-02-01" if boxes else "a.nii,1,P,A,2026-02-01"
    made = table(tmp_path, row, header=header, data=BOXES if boxes else MASKS, rename=lambda column, value: value)
    (found,) = made.of([image("1")])
    assert not found.date
    assert not any(row.date for row in found.boxes)
    assert [(one.name, one.count) for one in made.findings] == [("remark", 1)]
