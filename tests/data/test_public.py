"""Public sets of pictures: tables, masks, patients; and the units that any set comes to."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from hypothesis import given
from hypothesis import strategies as st

from radkit import config
from radkit.data import annotate, contents, public, public_cases, public_table
from radkit.data.public_table import Row
from radkit.dicom.annotations import form
from radkit.errors import UserError
from tests.data import made_up_sets as made

BYTES = np.uint8


def images(folder: Path, *names: str, size: tuple[int, int] = (6, 8)) -> Path:
    for seed, name in enumerate(names):
        made.picture(folder / name, made.values(size, seed, BYTES))
    return folder


def rows(*said: tuple[str, str, object]) -> list[dict[str, object]]:
    return [{"file": file, "patient": patient, "ill": label} for file, patient, label in said]


def chest(folder: Path, lines: list[dict[str, object]], **more: object) -> public.Selection:
    labels = made.table(folder.parent / f"{folder.name}.csv", lines)
    return made.select("png", folder, made.pictures(**more), labels=labels, modality="CR")[0]


def test_the_nihs_own_table_is_read_as_it_is(tmp_path: Path) -> None:
    names = ["00000001_000.png", "00000001_001.png", "00000002_000.png", "00000003_000.png"]
    images(tmp_path / "images_001" / "images", *names, size=(6, 8))
    lines = [
        made.NIH,
        f"{names[0]},Cardiomegaly|ILL,0,1,058Y,M,PA,16,18,0.143,0.2,",
        f"{names[1]},No Finding,1,1,59,M,AP,16,18,0.143,0.2,",
        f"{names[2]},Effusion,0,2,411,F,PA,16,18,0.143,0.2,",
        f"{names[3]},ill,0,3,411,F,PA,16,18,0.143,0.2,",
    ]
    (tmp_path / "Data_Entry_2017.csv").write_text("\n".join(lines) + "\n")
    data = made.pictures()
    found, asked = made.select("png", tmp_path, data, labels=tmp_path / "Data_Entry_2017.csv", modality="CR")
    assert [(case.patient, case.label) for case in found.cases] == [("1", 1), ("1", 0), ("3", 1)]
    assert found.left_out == {"findings of none of data.class_names": 1}
    first, _, last = (dict(unit.facts) for unit in public.units(found, asked, data))
    assert (first["PatientAge"], first["PatientSex"], first["ViewPosition"]) == ("058Y", "M", "PA")
    assert "PatientAge" not in last  # 411 years are none
    # Rows first: 18 rows 0.2 mm apart became 6, 16 columns 0.143 mm apart became 8.
    assert first["PixelSpacing"] == "0.6\\0.286"


def test_the_nihs_findings_are_several_labels(tmp_path: Path) -> None:
    lists = ("Cardiomegaly|Pleural_Thickening", "No Finding", "Effusion", "Pleural_Thickening|Mass", "Mass|No Finding")
    names = [f"{n:08d}_000.png" for n in range(len(lists))]
    images(tmp_path / "images", *names)
    lines = [f"{name},{text},0,{n},058Y,M,PA,16,18,0.143,0.2," for n, (name, text) in enumerate(zip(names, lists))]
    (tmp_path / "t.csv").write_text("\n".join([made.NIH, *lines]) + "\n")
    data = made.pictures(label_kind="multi_label", class_names=("Pleural Thickening", "Mass"))
    found, asked = made.select("png", tmp_path, data, labels=tmp_path / "t.csv", modality="CR")
    assert [case.label for case in found.cases] == [(1, 0), (0, 0), (0, 0), (1, 1)]
    assert found.left_out == {
        "the list of column 'ill' says that nothing is there and names findings, too": 1,
    }
    assert [unit.label for unit in public.units(found, asked, data)] == [case.label for case in found.cases]


KINDS = {
    "multi_label": ({"class_names": ("a", "b")}, {"a": 1, "b": ""}, (1, -1)),
    "ordinal": ({"class_names": ("none", "mild", "severe")}, {"ill": "mild"}, 1),
    "regression": ({"class_names": ()}, {"ill": "2.5"}, 2.5),
    "survival": ({"class_names": (), "event": "died"}, {"ill": 12, "died": 0}, (12.0, 0)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_labels_of_every_kind_come_with_the_picture(tmp_path: Path, kind: str) -> None:
    settings, cells, value = KINDS[kind]
    images(tmp_path / "s", "a.png", "b.png")
    empty = dict.fromkeys(cells, "")
    lines = [{"file": "a.png", **cells, "text": "clear"}, {"file": "b.png", **empty, "text": ""}]
    found = chest(tmp_path / "s", lines, label_kind=kind, report="text", **settings)
    assert [(case.label, case.report) for case in found.cases] == [(value, "clear")]
    what = "class" if kind == "ordinal" else "label"
    assert found.left_out == {f"no {what} in the labels table": 1}
    with pytest.raises(UserError, match=r"line 2: .*unknown_class='leave_out'"):
        chest(tmp_path / "s", [{**lines[0], **dict.fromkeys(cells, "?")}], label_kind=kind, report="text", **settings)
    with pytest.raises(UserError, match=" was expected"):
        chest(tmp_path / "s", [{"file": "a.png", "text": ""}], label_kind=kind, report="text", **settings)
    with pytest.raises(UserError, match=r"'text'.* was expected"):
        chest(tmp_path / "s", [{"file": "a.png", **cells}], label_kind=kind, report="text", **settings)


def test_reports_may_be_all_that_is_asked_for(tmp_path: Path) -> None:
    images(tmp_path / "s", "a.png", "b.png", "c.png")
    lines = [{"file": "a.png", "text": "clear"}, {"file": "b.png", "text": " "}]
    found = chest(tmp_path / "s", lines, label="", class_names=(), report="text")
    assert [(case.label, case.report) for case in found.cases] == [(-1, "clear")]
    assert found.left_out == {"no report in the labels table": 2}
    with pytest.raises(UserError, match=r"data\.report is 'text', so --labels must name the table"):
        made.select("png", tmp_path / "s", made.pictures(label="", class_names=(), report="text"), modality="CR")


def test_a_picture_becomes_a_unit_whose_pixels_are_the_files(tmp_path: Path) -> None:
    array = made.values((6, 8), 3, BYTES)
    made.picture(tmp_path / "set" / "ä b.png", array)
    data = made.pictures()
    labels = made.table(tmp_path / "t.csv", rows(("ä b.png", "P7", "ill")))
    found, asked = made.select("png", tmp_path / "set", data, labels=labels, modality="CR")
    (unit,) = public.units(found, asked, data)
    ((uid, volume),) = contents.volumes_of(unit, data)
    assert np.array_equal(volume.array[0], array)
    assert (unit.patient_id, unit.label, volume.meta["PatientID"], volume.meta["Modality"]) == ("P7", 1, "P7", "CR")
    assert uid == f"{volume.meta['SeriesInstanceUID']}.1"
    assert unit.num_bytes == 6 * 8 * 2
    assert len(uid) <= 64


@pytest.mark.parametrize("turn", [0.0, 180.0, 30.0])
@pytest.mark.parametrize("dtype", [np.int16, np.uint8, np.float32])
def test_a_volume_becomes_a_unit_with_the_files_values_and_place_in_millimetres(
    tmp_path: Path, turn: float, dtype: type
) -> None:
    path = made.stack(tmp_path / "images" / "a.nii.gz", made.values((5, 6, 7), 1, dtype), turn=turn)
    made.stack(tmp_path / "labels" / "a.nii.gz", made.mask((5, 6, 7), 1), turn=turn)
    data = made.volumes()
    found, asked = made.select("nifti", tmp_path, data)
    (unit,) = public.units(found, asked, data)
    ((_, volume),) = contents.volumes_of(unit, data)
    truth = SimpleITK.ReadImage(str(path))
    by_place = {
        tuple(np.round(truth.TransformIndexToPhysicalPoint(index), 3)): truth[index]
        for index in ((0, 0, 0), (6, 5, 4), (1, 2, 3))
    }
    for place, value in by_place.items():
        column, row, number = np.rint(np.linalg.solve(volume.affine, [*place, 1])[:3]).astype(int)
        np.testing.assert_allclose((volume.affine @ [column, row, number, 1])[:3], place, atol=1e-3)
        assert volume.array[number, row, column] == value
    assert volume.spacing_mm == pytest.approx(truth.GetSpacing()[::-1])


def test_identifiers_depend_on_the_names_alone(tmp_path: Path) -> None:
    data = made.pictures(label="", class_names=())
    uids = []
    for folder in (tmp_path / "here", tmp_path / "there"):
        images(folder, "a.png", "b.png")
        found, asked = made.select("png", folder, data, modality="CR")
        uids.append([unit.uid for unit in public.units(found, asked, data)])
    assert uids[0] == uids[1]
    assert len(set(uids[0])) == 2
    found, asked = made.select("png", tmp_path / "here", data, modality="CR")
    others = public.units(found, asked, made.pictures(dataset="other", label="", class_names=()))
    assert {unit.uid for unit in others}.isdisjoint(uids[0])


def test_images_of_no_known_patient_are_patients_of_their_own_and_it_is_said(tmp_path: Path) -> None:
    images(tmp_path, "part1/a.png", "part1/b.png")
    found, _ = made.select("png", tmp_path, made.pictures(label="", class_names=()), modality="CR")
    assert [case.patient for case in found.cases] == ["part1/a", "part1/b"]
    assert [f.text for f in found.findings] == ["2 images of no known patient, each taken as a patient of its own"]


def test_an_empty_patient_is_not_the_same_patient(tmp_path: Path) -> None:
    images(tmp_path / "s", "a.png", "b.png", "c.png")
    found = chest(tmp_path / "s", rows(("a.png", "", "ill"), ("b.png", "", "ill"), ("c.png", "a", "ill")))
    assert len({case.patient for case in found.cases}) == 3


def test_patients_are_found_in_paths_where_they_stand_there(tmp_path: Path) -> None:
    images(tmp_path, "p1/SC-N-05-IM-1.png", "p1/SC-N-05-IM-2.png", "p2/SC-HF-I-06-IM-1.png", "p2/x.png")
    data = made.pictures(label="", class_names=())
    found, _ = made.select("png", tmp_path, data, modality="MR", patients="SC-[A-Z-]+-[0-9]+")
    assert [case.patient for case in found.cases] == ["SC-N-05", "SC-N-05", "SC-HF-I-06"]
    assert found.left_out == {public.NO_PATIENT: 1}
    found, _ = made.select("png", tmp_path, data, modality="MR", patients="([^/]+)/[^/]+$")
    assert {case.patient for case in found.cases} == {"p1", "p2"}
    with pytest.raises(UserError, match="no regular expression"):
        made.select("png", tmp_path, data, modality="MR", patients="(")


def test_rows_and_images_without_each_other_are_counted(tmp_path: Path) -> None:
    images(tmp_path / "s", "a.png", "b.png", "c.png")
    found = chest(tmp_path / "s", rows(("a.png", "P", "ill"), ("gone.png", "P", "ill"), ("c.png", "Q", "")))
    assert [case.name for case in found.cases] == ["a"]
    assert found.left_out == {"no label in the labels table": 1, "no class in the labels table": 1}
    assert {f.name for f in found.findings} == {"labels_without_images", "images_without_labels"}


def test_rows_that_stand_there_twice_count_once(tmp_path: Path) -> None:
    images(tmp_path / "s", "a.png")
    found = chest(tmp_path / "s", rows(("a.png", "P", "ill"), ("a.png", "P", "ill")))
    assert len(found.cases) == 1
    assert [f.name for f in found.findings] == ["duplicate_rows"]


def test_rows_that_contradict_each_other_are_refused_unless_the_first_is_wanted(tmp_path: Path) -> None:
    images(tmp_path / "s", "a.png")
    lines = rows(("a.png", "P", "ill"), ("a.png", "P", "healthy"))
    with pytest.raises(UserError, match="lines 2 and 3 say different things of one image"):
        chest(tmp_path / "s", lines)
    found = chest(tmp_path / "s", lines, annotations=config.Annotations(duplicates="first"))
    assert [case.label for case in found.cases] == [1]
    assert [f.name for f in found.findings] == ["contradicting_rows"]
    with pytest.raises(UserError, match="the same image in two ways"):
        chest(tmp_path / "s", rows(("a.png", "P", "ill"), ("a", "P", "ill")))


def test_a_patient_of_two_sexes_has_none(tmp_path: Path) -> None:
    images(tmp_path / "s", "a.png", "b.png", "c.png")
    lines = [{"file": f"{n}.png", "patient": p, "sex": s, "ill": 1} for n, p, s in ("aPM", "bPF", "cQF")]
    found = chest(tmp_path / "s", lines)
    assert [dict(case.facts).get("PatientSex", "") for case in found.cases] == ["", "", "F"]
    assert [f.text for f in found.findings] == [
        "1 patients are of different sex in different rows; their sex is left empty"
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,ill\na.png,maybe\n", "line 2: class 'maybe' is none of healthy, ill"),
        ("file,ill\n,1\n", "line 2: the image's name is empty"),
        ("file,ill\na.png,1,2\n", "line 2: more values than there are columns"),
        ("patient,ill\nP,1\n", "one that names the image was expected"),
        ("file,sick\na.png,1\n", "'ill' .data.label. or 'Finding Labels' was expected"),
        ("file,ill,ill\na.png,1,1\n", "column ill more than once"),
        ("", "has the columns none"),
    ],
)
def test_a_table_that_cannot_be_right_is_refused(tmp_path: Path, text: str, message: str) -> None:
    images(tmp_path / "s", "a.png")
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        made.select("png", tmp_path / "s", made.pictures(), labels=tmp_path / "t.csv", modality="CR")


@pytest.mark.parametrize(("separator", "encoding"), [(";", "utf-8-sig"), ("\t", "utf-16")])
def test_tables_that_excel_wrote_are_read(tmp_path: Path, separator: str, encoding: str) -> None:
    images(tmp_path / "s", "a.png", "b.png")
    lines = ["File Name,Patient ID,ill,Sex", "a.png,P,1,F", "", "b.png,Q,0"]
    text = "\n".join(lines).replace(",", separator)
    (tmp_path / "t.csv").write_bytes(text.encode(encoding))
    found, _ = made.select("png", tmp_path / "s", made.pictures(), labels=tmp_path / "t.csv", modality="CR")
    assert [(case.patient, case.label, dict(case.facts)) for case in found.cases] == [
        ("P", 1, {"PatientSex": "F"}),
        ("Q", 0, {}),
    ]


def test_a_table_that_is_none_is_refused(tmp_path: Path) -> None:
    images(tmp_path / "s", "a.png")
    (tmp_path / "t.csv").write_bytes("file,ill\nä.png,1\n".encode("latin-1"))
    with pytest.raises(UserError, match="no CSV file in UTF-8"):
        made.select("png", tmp_path / "s", made.pictures(), labels=tmp_path / "t.csv", modality="CR")
    with pytest.raises(UserError, match="does not exist"):
        made.select("png", tmp_path / "s", made.pictures(), labels=tmp_path / "u.csv", modality="CR")
    with pytest.raises(UserError, match="--labels must name the table"):
        made.select("png", tmp_path / "s", made.pictures(), modality="CR")


def test_unknown_classes_are_left_out_where_the_config_says_so(tmp_path: Path) -> None:
    images(tmp_path / "s", "a.png", "b.png")
    wishes = config.Annotations(unknown_class="leave_out")
    found = chest(tmp_path / "s", rows(("a.png", "P", "1"), ("b.png", "Q", "maybe")), annotations=wishes)
    assert found.left_out == {"class that the config does not know": 1}


def test_a_name_in_two_folders_must_be_written_with_its_folder(tmp_path: Path) -> None:
    images(tmp_path / "s", "p/a.png", "q/a.png")
    with pytest.raises(UserError, match="line 2, fits 2 images"):
        chest(tmp_path / "s", rows(("a.png", "P", "ill")))
    found = chest(tmp_path / "s", rows(("p/a.png", "P", "ill"), ("q/a", "Q", "healthy")))
    assert [(case.patient, case.label) for case in found.cases] == [("P", 1), ("Q", 0)]


@pytest.mark.parametrize("names", [("masks", "a.png"), ("Labels", "a_mask.png"), ("lung_masks", "sub/a.png")])
def test_masks_lie_in_a_folder_of_their_own_and_are_no_images(tmp_path: Path, names: tuple[str, str]) -> None:
    sub = "sub/" if "/" in names[1] else ""
    images(tmp_path, f"images/{sub}a.png", "images/b.png")
    made.picture(tmp_path / names[0] / names[1], made.mask((6, 8), 255))
    data = made.pictures(label="", class_names=(), mask_labels=("lung",))
    found, asked = made.select("png", tmp_path, data, modality="CR")
    assert [case.name for case in found.cases] == [f"{sub}a"]
    assert found.left_out == {"no annotation that the config asks for": 1}
    (unit,) = public.units(found, asked, data)
    ((_, volume),) = contents.volumes_of(unit, data)
    (drawn,) = annotate.annotations_of(unit.annotations, volume, data)
    found_mask = form.as_mask(drawn.regions, data.mask_labels, volume.stored.shape)
    assert np.array_equal(found_mask[0], made.mask((6, 8), 1))
    assert not drawn.findings


def test_images_are_not_mistaken_for_masks_when_all_lies_in_one_folder(tmp_path: Path) -> None:
    images(tmp_path, "a.png", "b.png")
    made.picture(tmp_path / "masks" / "a.png", made.mask((6, 8), 255))
    found, _ = made.select("png", tmp_path, made.pictures(label="", class_names=()), modality="CR")
    assert [case.name for case in found.cases] == ["a", "b"]
    images(tmp_path / "other", "a.png")
    with pytest.raises(UserError, match="no folder of --input is named masks or labels"):
        made.select("png", tmp_path / "other", made.pictures(label="", mask_labels=("x",)), modality="CR")


def test_files_that_differ_in_their_suffix_alone_are_refused(tmp_path: Path) -> None:
    images(tmp_path, "a.png", "a.tif")
    with pytest.raises(UserError, match="suffix alone"):
        made.select("png", tmp_path, made.pictures(label="", class_names=()), modality="CR")


@pytest.mark.parametrize(
    ("format_", "data", "message"),
    [
        ("png", made.volumes(), "data.kind must be 'radiograph'"),
        ("nifti", made.pictures(label=""), "data.kind must be 'volume'"),
        ("png", made.pictures(label="", box_labels=("a",)), "--format coco reads"),
        ("png", made.pictures(label=""), "name it, as --modality=CR"),
    ],
)
def test_what_does_not_go_together_is_refused(
    tmp_path: Path, format_: public_cases.Format, data: config.Data, message: str
) -> None:
    images(tmp_path, "a.png")
    with pytest.raises(UserError, match=message):
        made.select(format_, tmp_path, data)


ROW = st.builds(Row, st.integers(2, 99), st.sampled_from("abc"), st.sampled_from(("", "P", "Q")), st.integers(0, 1))


@given(st.lists(ROW, max_size=8))
def test_every_row_is_taken_told_twice_or_contradicting(table: list[Row]) -> None:
    data = made.pictures(annotations=config.Annotations(duplicates="first"))
    found, findings = public_table.gathered(table, data, "t")
    counted = sum(int(finding.text.split()[0]) for finding in findings)
    assert len(found) + counted == len(table)
    for name, row in found.items():
        assert row == next(one for one in table if one.image == name)


@given(st.text(max_size=6) | st.floats(0, 200).map(str) | st.integers(0, 2000).map(str))
def test_ages_are_the_standards_or_none(text: str) -> None:
    found = public_table.age(text)
    assert found == "" or not np.isnan(contents.age_years(found))
