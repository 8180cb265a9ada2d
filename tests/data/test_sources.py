"""Which annotation belongs to which image: by reference, by frame of reference, by a table."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from radkit import config
from radkit.data import sources
from radkit.dicom import scan
from radkit.dicom.annotations import boxes
from radkit.errors import UserError

MASKS = config.Data("made_up", mask_labels=("Liver",))
BOXES = config.Data("made_up", kind="radiograph", image_size=(8, 8), box_labels=("Nodule",))
IMAGE, SEG, STRUCTURES, REPORT = (
    "1.2.840.10008.5.1.4.1.1.2",
    "1.2.840.10008.5.1.4.1.1.66.4",
    "1.2.840.10008.5.1.4.1.1.481.3",
    "1.2.840.10008.5.1.4.1.1.88.22",
)


def image(series: str = "1", frame: str = "9", **more: str) -> scan.Instance:
    values = {"SOPClassUID": IMAGE, "SOPInstanceUID": f"{series}.1", "SeriesInstanceUID": series, "Rows": "8"}
    return scan.Instance(Path(f"{series}.dcm"), {**values, "FrameOfReferenceUID": frame, "PatientID": "P", **more})


def annotation(
    sop_class: str, refers: tuple[str, ...], labels: tuple[str, ...] = ("Liver",), frame: str = ""
) -> scan.Instance:
    values = {"SOPClassUID": sop_class, "SOPInstanceUID": f"{sop_class}.7", "SeriesInstanceUID": f"{sop_class}.8"}
    return scan.Instance(Path("drawn.dcm"), {**values, "FrameOfReferenceUID": frame}, refers, labels)


def of_series(data: config.Data, *instances: scan.Instance) -> tuple[dict[str, list[sources.Source]], list[str]]:
    found, findings = sources.in_series(scan.group(instances), data)
    return dict(found), [finding.name for finding in findings]


@pytest.mark.parametrize("sop_class", [SEG, STRUCTURES])
def test_an_annotation_belongs_to_the_series_that_it_names(sop_class: str) -> None:
    found, findings = of_series(MASKS, image("1"), image("2"), annotation(sop_class, ("2",)))
    assert {uid: [s.path for s in each] for uid, each in found.items()} == {"2": [Path("drawn.dcm")]}
    assert not findings


def test_one_that_names_no_series_belongs_to_the_only_one_of_its_frame_of_reference() -> None:
    found, findings = of_series(MASKS, image("1", "8"), image("2", "9"), annotation(SEG, (), frame="9"))
    assert list(found) == ["2"]
    assert not findings


@pytest.mark.parametrize("refers", [(), ("3",)])
def test_one_whose_image_is_not_here_is_named(refers: tuple[str, ...]) -> None:
    # Two series share the frame of reference: which of them it is of is not guessed.
    found, findings = of_series(MASKS, image("1"), image("2"), annotation(SEG, refers, frame="9"))
    assert not found
    assert findings == ["labels_without_images"]


def test_only_what_the_config_asks_for_is_taken() -> None:
    other = annotation(SEG, ("1",), ("Spleen",))
    report = annotation(REPORT, ("1",), ())
    assert of_series(MASKS, image(), other, report) == ({}, ["other_labels"])  # it may be misspelt
    liver = annotation(SEG, ("1",), ("Liver",))
    assert list(of_series(MASKS, image(), other, report, liver)[0]) == ["1"]
    assert of_series(MASKS, image(), other, report, liver)[1] == []
    assert of_series(config.Data("a"), image(), other, report, liver) == ({}, [])
    assert list(of_series(BOXES, image(), other, report)[0]) == ["1"]


def test_labels_are_found_whatever_their_case() -> None:
    assert list(of_series(MASKS, image(), annotation(STRUCTURES, ("1",), ("LIVER",)))[0]) == ["1"]


def table(folder: Path, text: str, data: config.Data = MASKS, name: str = "table.csv") -> sources.Table:
    (folder / name).write_text(text, encoding="utf-8")
    return sources.Table(folder / name, data)


def test_a_table_of_masks_names_files_beside_it(tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / "a.nii.gz").touch()
    made = table(
        tmp_path,
        "SeriesInstanceUID,file,reader,date,reference_standard\n1,masks/a.nii.gz,A,2026-02-01,histology\n",
    )
    (found,) = made.of([image("1")])
    assert (found.kind, found.reader, found.date, found.reference_standard) == ("image", "A", "2026-02-01", "histology")
    assert found.path == (tmp_path / "masks" / "a.nii.gz").resolve()
    assert made.paths == [tmp_path / "table.csv", found.path]
    assert not made.of([image("2")])
    assert not made.unused()


@pytest.mark.parametrize("column", sources.IDENTIFIERS)
def test_any_identifier_finds_the_image(tmp_path: Path, column: str) -> None:
    (tmp_path / "a.nrrd").touch()
    made = table(tmp_path, f"{column},file\nX,a.nrrd\n")
    assert made.unused()[0].name == "labels_without_images"
    assert len(made.of([image("1", **{column: "X"})])) == 1
    assert not made.unused()


def test_original_identifiers_are_mapped(tmp_path: Path) -> None:
    (tmp_path / "a.nii").touch()
    (tmp_path / "t.csv").write_text("PatientID,file\nMRN1,a.nii\n")
    made = sources.Table(tmp_path / "t.csv", MASKS, lambda column, value: f"{column} of {value}")
    assert made.of([image("1", PatientID="PatientID of MRN1")])
    assert not made.of([image("1", PatientID="MRN1")])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("SeriesInstanceUID,file\n1,\n", "line 2: file or SeriesInstanceUID is empty"),
        ("SeriesInstanceUID,file\n1,nowhere.nii\n", "line 2: its file does not exist beside the table"),
        ("SeriesInstanceUID,file,reference_standard\n1,a.nii,histolgy\n", "did you mean 'histology'"),
    ],
)
def test_rows_that_make_no_sense_are_refused_with_their_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "a.nii").touch()
    with pytest.raises(UserError, match=said):
        table(tmp_path, text)


def test_a_table_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist; name a CSV or COCO JSON file"):
        sources.Table(tmp_path / "nowhere.csv", MASKS)


def test_boxes_of_one_reader_on_several_slices_are_one_annotation(tmp_path: Path) -> None:
    made = table(
        tmp_path,
        "SOPInstanceUID,label,x_min,y_min,x_max,y_max,reader\n1.1,Nodule,1,2,3,4,A\n1.2,Nodule,1,2,3,4,A\n"
        "1.2,Nodule,1,2,3,4,B\n",
        BOXES,
    )
    found = made.of([image("1"), image("1", SOPInstanceUID="1.2")])
    assert {source.reader: [row.instance_uid for row in source.boxes] for source in found} == {
        "A": ["1.1", "1.2"],
        "B": ["1.2"],
    }


def test_boxes_of_a_coco_file_find_the_image_by_its_name(tmp_path: Path) -> None:
    said = {
        "images": [{"id": 1, "file_name": "images/1.1.dcm", "width": 8, "height": 8}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 3, "bbox": [1, 2, 3, 4]}],
        "categories": [{"id": 3, "name": "Nodule"}],
    }
    made = table(tmp_path, json.dumps(said), BOXES, "coco.json")
    ((row,),) = (source.boxes for source in made.of([image("1")]))
    assert (row.low, row.high, row.label) == ((2, 1), (6, 4), "Nodule")


rows = st.builds(
    boxes.Row,
    low=st.tuples(*[st.floats(0, 9)] * 2),
    high=st.tuples(*[st.floats(0, 9)] * 2),
    label=st.text(max_size=5),
    instance_uid=st.sampled_from(["", "1.2.3"]),
)
made_up_sources = st.builds(
    sources.Source,
    path=st.sampled_from([None, Path("/data/in/a.dcm"), Path("/data/beside/b.nii.gz")]),
    kind=st.sampled_from(["dicom", "image", "boxes"]),
    reader=st.text(max_size=5),
    names=st.lists(st.tuples(st.integers(0, 255), st.text(max_size=3)), max_size=3).map(tuple),
    boxes=st.lists(rows, max_size=3).map(tuple),
)


@given(made_up_sources)
def test_a_source_comes_back_from_json(source: sources.Source) -> None:
    root = Path("/data/in")
    back = sources.from_json(json.loads(json.dumps(sources.to_json(source, root))), root)
    resolved = None if back.path is None else Path(*back.path.parts).resolve()
    assert resolved == source.path
    assert (back.kind, back.reader, back.names, back.boxes) == (source.kind, source.reader, source.names, source.boxes)


def test_boxes_of_another_view_say_nothing_of_this_one(tmp_path: Path) -> None:
    columns = "SeriesInstanceUID,SOPInstanceUID,label,x_min,y_min,x_max,y_max\n"
    made = table(tmp_path, f"{columns}1,1.2,Nodule,1,2,3,4\n", BOXES)
    assert not made.of([image("1")])
    assert len(made.of([image("1", SOPInstanceUID="1.2")])) == 1


@pytest.mark.parametrize("number", [11, 40, 50, 59, 67])  # basic text, procedure log, CAD, key objects, dose
def test_reports_that_hold_no_measurements_of_lesions_are_no_annotations(number: int) -> None:
    told = annotation(f"1.2.840.10008.5.1.4.1.1.88.{number}", ("1",), ())
    assert of_series(BOXES, image(), told) == ({}, [])
