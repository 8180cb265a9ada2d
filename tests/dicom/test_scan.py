"""What is DICOM and what is not, and what is told of it: headers, never values in logs."""

import contextlib
import io
import logging
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from radkit import outputs
from radkit.dicom import annotations, read_volumes, scan
from radkit.dicom.volumes import SeriesError
from tests import made_up


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "a.dcm"
    made_up.radiograph(path)
    return path


def test_an_instances_row_is_its_header_as_text(tmp_path):
    made_up.ct_series(tmp_path, slices=1, Manufacturer="Invented", StudyDate="20240229")
    instance = scan.read_instance(next(tmp_path.iterdir()))
    assert instance["PatientID"] == "P001"
    assert instance["Manufacturer"] == "Invented"
    assert instance["PixelSpacing"] == "0.7\\0.8"
    assert instance["Rows"] == "6"
    assert instance["StudyDate"] == "20240229"
    assert instance["TransferSyntaxUID"] == ExplicitVRLittleEndian
    assert instance["EchoTime"] == ""
    assert set(instance.values) <= {*scan.KEYWORDS, "TransferSyntaxUID"}


@pytest.mark.parametrize("syntax", made_up.SYNTAXES, ids=lambda s: s.name)
def test_the_row_is_the_same_in_every_transfer_syntax(file, tmp_path, syntax):
    made_up.save(pydicom.dcmread(file), tmp_path / "b.dcm", syntax)
    first, second = scan.read_instance(file).values, scan.read_instance(tmp_path / "b.dcm").values
    assert {**first, "TransferSyntaxUID": syntax} == second


@pytest.mark.parametrize("implicit", [True, False])
def test_a_file_without_preamble_is_dicom(file, implicit):
    before = scan.read_instance(file).values
    made_up.without_preamble(file, implicit)
    after = scan.read_instance(file).values
    assert {**before, "TransferSyntaxUID": ""} == {**after, "TransferSyntaxUID": ""}
    said = scan.read_file(file).file_meta.TransferSyntaxUID
    assert said == (ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian)


def test_a_file_of_big_endian_without_meta_says_its_syntax(file, tmp_path):
    read = pydicom.dcmread(file)
    dataset = Dataset()
    dataset.update(read)
    dataset.PixelData = np.frombuffer(read.PixelData, "<u2").astype(">u2").tobytes()
    dataset.save_as(tmp_path / "b", implicit_vr=False, little_endian=False, enforce_file_format=False)
    said = scan.read_file(tmp_path / "b")
    assert said.file_meta.TransferSyntaxUID == ExplicitVRBigEndian
    np.testing.assert_array_equal(read_volumes([tmp_path / "b"])[0].stored, read_volumes([file])[0].stored)


def dicomdir(dataset):
    dataset.SOPClassUID = scan.DICOMDIR_STORAGE


NOT_DICOM = {
    "empty": (b"", "the file is empty"),
    "short": (b"x", "not DICOM"),
    "text": (b"Please ring extension 4711 when done.\n" * 20, "not DICOM"),
    "zeros": (bytes(5000), "not DICOM"),
    "ones": (b"\xff" * 5000, "not DICOM|cannot be read"),
    "png": (b"\x89PNG\r\n\x1a\n" + bytes(500), "not DICOM|cannot be read"),
    "magic alone": (bytes(128) + b"DICM", "cut short"),
}


@pytest.mark.parametrize("kind", NOT_DICOM)
def test_what_is_not_dicom_is_refused_by_reason(tmp_path, kind):
    content, said = NOT_DICOM[kind]
    (tmp_path / "a").write_bytes(content)
    for read in (scan.read_instance, scan.read_file):
        with pytest.raises(scan.NotDicom, match=said):
            read(tmp_path / "a")


def test_a_header_cut_short_is_told_as_that(file):
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(scan.NotDicom, match="cut short"):
        scan.read_instance(file)


@pytest.mark.parametrize("kept", [4, 8, 12])
def test_a_sequence_cut_short_stops_no_scan(file, kept):
    dataset = pydicom.dcmread(file)
    item = Dataset()
    item.SegmentLabel = "liver"
    dataset.SegmentSequence = Sequence([item])
    dataset.save_as(file)
    start = file.read_bytes().index(b"\x62\x00\x02\x00SQ") + 12
    file.write_bytes(file.read_bytes()[: start + kept])
    assert not any(scan.read_instance(file).segment_labels)


def test_a_dicomdir_is_no_image(file):
    dataset = pydicom.dcmread(file)
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = scan.DICOMDIR_STORAGE
    dataset.save_as(file)
    with pytest.raises(scan.NotDicom, match="DICOMDIR"):
        scan.read_instance(file)


@pytest.mark.parametrize("keyword", ["SOPClassUID", "SOPInstanceUID"])
def test_an_instance_without_identity_is_refused(file, keyword):
    dataset = pydicom.dcmread(file)
    del dataset[keyword]
    dataset.save_as(file)
    with pytest.raises(scan.NotDicom):
        scan.read_instance(file)


@pytest.mark.parametrize("keyword", ["SOPClassUID", "SOPInstanceUID"])
def test_an_identity_that_was_emptied_is_taken_from_the_file_meta(file, keyword):
    before = scan.read_instance(file).values

    dataset = pydicom.dcmread(file)
    dataset[keyword].value = ""
    dataset.save_as(file, enforce_file_format=False)
    assert not pydicom.dcmread(file)[keyword].value
    assert scan.read_instance(file).values == before
    assert str(scan.read_file(file)[keyword].value) == before[keyword]


def test_a_folder_or_a_missing_file_is_not_dicom(tmp_path):
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(scan.NotDicom):
            scan.read_instance(path)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_damaged_files_are_read_or_refused_by_name(tmp_path, data):
    path = tmp_path / "a.dcm"
    made_up.ct_series(tmp_path / "s", slices=1, each=lambda d: setattr(d, "NumberOfFrames", "1"))
    content = bytearray(next((tmp_path / "s").iterdir()).read_bytes())
    (next((tmp_path / "s").iterdir())).unlink()
    for _ in range(data.draw(st.integers(1, 8))):
        place = data.draw(st.integers(128, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(content[: data.draw(st.integers(100, len(content)))]))
    with contextlib.suppress(scan.NotDicom, SeriesError):
        scan.read_instance(path)
        read_volumes([path])


@pytest.mark.parametrize("keyword", ["PixelSpacing", "SliceThickness", "EchoTime", "NumberOfFrames", "InstanceNumber"])
def test_a_number_that_is_none_does_not_lose_the_row(tmp_path, keyword):
    made_up.ct_series(tmp_path, slices=1, size=(64, 64))
    path = next(tmp_path.iterdir())
    content = path.read_bytes()
    planted(path, keyword)
    assert path.read_bytes() != content
    assert scan.read_instance(path)["PatientID"] == "P001"


def planted(path, keyword="PixelSpacing"):
    """Writes text where a number belongs, as damaged exports do."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pydicom.config.settings.writing_validation_mode, kept = 0, pydicom.config.settings.writing_validation_mode
        try:
            dataset = pydicom.dcmread(path)
            vr = pydicom.datadict.dictionary_VR(keyword)
            raw = pydicom.dataelem.RawDataElement
            tag = pydicom.tag.Tag(keyword)
            dataset._dict[tag] = raw(tag, vr, 16, b"PLANTED^NAME 1A ", 0, False, True, True)
            dataset.save_as(path)
        finally:
            pydicom.config.settings.writing_validation_mode = kept


@pytest.fixture
def log():
    """Returns what reaches the root logger, as a program's own handler would write it."""
    stream, root = io.StringIO(), logging.getLogger()
    handler, level = logging.StreamHandler(stream), root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield stream
    root.removeHandler(handler)
    root.setLevel(level)


@pytest.mark.parametrize("keyword", ["PixelSpacing", "SOPInstanceUID", "PatientAge", "InstanceNumber", "RescaleSlope"])
def test_odd_values_reach_neither_log_nor_warning_nor_message(tmp_path, log, capsys, keyword):
    made_up.ct_series(tmp_path, slices=1, size=(64, 64))
    path = next(tmp_path.iterdir())
    planted(path, keyword)
    log.truncate(0)
    said = []
    for read in (
        lambda: scan.read_instance(path),
        lambda: scan.series([path]),
        lambda: read_volumes([path]),
        lambda: annotations.segment_labels(path),
    ):
        try:
            with warnings.catch_warnings(record=True) as warned:
                warnings.simplefilter("always")
                read()
            assert not warned
        except (scan.NotDicom, SeriesError, annotations.AnnotationError) as error:
            said.append(str(error))
    assert "PLANTED" not in " ".join(said) + log.getvalue() + "".join(capsys.readouterr())


def test_files_are_found_at_any_depth_sorted_without_hidden_ones(tmp_path):
    for name in ("b/c/1", "a", ".hidden", ".git/x", "b/.DS_Store", "b/a b ä"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    (tmp_path / "itself").symlink_to(tmp_path / "itself")
    os.mkfifo(tmp_path / "pipe")  # opening it would hang for ever
    found = [p.relative_to(tmp_path).as_posix() for p in scan.find(tmp_path)]
    assert found == ["a", "b/a b ä", "b/c/1"]


def test_in_radkits_own_folder_the_tables_at_the_top_are_left_out(tmp_path):
    made_up.radiograph(tmp_path / "x" / "a.dcm")
    outputs.write_json(tmp_path / outputs.PROVENANCE, {"verb": "anonymize"})
    (tmp_path / "quarantine.csv").write_text("")
    assert scan.find(tmp_path) == [tmp_path / "x" / "a.dcm"]


def test_a_folder_that_cannot_be_listed_is_not_passed_over(tmp_path, monkeypatch):
    def refused(_):
        raise PermissionError(13, "no")

    monkeypatch.setattr(scan.os, "scandir", refused)
    with pytest.raises(PermissionError):
        scan.find(tmp_path)


def test_links_to_folders_are_told_and_not_followed(tmp_path):
    made_up.radiograph(tmp_path / "x" / "a.dcm")
    (tmp_path / "x" / "circle").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "link").symlink_to(tmp_path / "x" / "a.dcm")
    links = []
    assert [path for path, _ in scan.walk(tmp_path, links.append)] == ["link", "x/a.dcm"]
    assert links == ["x/circle"]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.sets(st.text("ab.-Z ", min_size=1, max_size=3).filter(lambda n: not n.startswith(".")), max_size=6))
def test_files_are_walked_in_the_order_of_paths(tmp_path_factory, names):
    folder = tmp_path_factory.mktemp("walked")
    for name in names:
        for below in ("1", "a-/1", "a/1"):
            path = folder / name / below
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("")
    found = [folder / path for path, _ in scan.walk(folder)]
    assert found == sorted(p for p in folder.rglob("*") if p.is_file())
    assert scan.find(folder) == found


def test_files_are_grouped_by_series_whatever_the_folder(tmp_path):
    made_up.ct_series(tmp_path / "a", slices=3, series=2)
    made_up.ct_series(tmp_path / "b", slices=2, series=1)
    made_up.radiograph(tmp_path / "a" / "cr.dcm", series=3)
    (tmp_path / "b" / "note.txt").write_text("a note")
    found, unreadable = scan.series(scan.find(tmp_path))
    assert [(s.modality, len(s.paths)) for s in found] == [("CT", 2), ("CT", 3), ("CR", 1)]
    assert all(s.is_image and s.paths == sorted(s.paths) for s in found)
    assert [(p.name, "not DICOM" in reason) for p, reason in unreadable] == [("note.txt", True)]


@pytest.mark.parametrize(
    "sop_class", ["1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7", "1.2.840.10008.5.1.4.1.1.481.2"]
)
def test_what_is_drawn_on_images_is_no_image(file, sop_class):
    def become(dataset):
        dataset.SOPClassUID = sop_class
        dataset.SegmentSequence = Sequence([Dataset(), Dataset()])
        dataset.SegmentSequence[0].SegmentLabel = "Liver"
        dataset.ReferencedSeriesSequence = Sequence([Dataset()])
        dataset.ReferencedSeriesSequence[0].SeriesInstanceUID = "1.2.3"

    made_up.change(file, become)
    instance = scan.read_instance(file)
    assert not scan.group([instance])[0].is_image
    assert instance.segment_labels == ("Liver", "")
    assert instance.referenced_series == ("1.2.3",)


def test_scanning_loads_nothing_heavy():
    code = (
        "import radkit.dicom.scan, sys; print({'SimpleITK', 'highdicom', 'apache_beam', 'tensorflow'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert done.stdout.strip() == "set()"


def test_pixels_cut_short_are_told_from_the_header_alone(tmp_path):
    made_up.ct_series(tmp_path, slices=1, size=(64, 64))
    (path,) = scan.find(tmp_path)
    assert scan.read_instance(path)["Rows"]
    path.write_bytes(path.read_bytes()[:-1500])
    with pytest.raises(scan.NotDicom, match="cut short: its pixels take"):
        scan.read_instance(path)


def test_an_image_cut_before_its_rows_is_told(tmp_path):
    made_up.ct_series(tmp_path, slices=1, size=(64, 64))
    (path,) = scan.find(tmp_path)
    dataset = pydicom.dcmread(path)
    for keyword in ("Rows", "Columns", "PixelData"):
        del dataset[keyword]
    dataset.save_as(path)
    with pytest.raises(scan.NotDicom, match="an image and has no Rows"):
        scan.read_instance(path)
