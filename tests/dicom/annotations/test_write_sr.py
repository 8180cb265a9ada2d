"""Measurements as structured reports: valid, the same numbers back, the same bytes again."""

import datetime
import math
import shutil
import subprocess
import sys
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from radkit.dicom import read_volumes
from radkit.dicom.annotations import form, sr
from radkit.dicom.annotations import write_seg as write_seg_function
from radkit.dicom.annotations.form import AnnotationError, Measurement
from radkit.dicom.annotations.write_sr import TERMS, write_sr
from tests import made_up
from tests.dicom.annotations.made_up_enhanced import enhanced

WHEN = datetime.datetime(2024, 3, 5, 16, 7, 8)
LESIONS = (
    Measurement("volume", 1234.5678901234567, "mL", finding="Liver"),
    Measurement("mean HU", -1 / 3, "", finding="Liver"),
    Measurement("volume", 0.0, "mL", finding="Spleen"),
    Measurement("long axis", 12.34, "mm", lesion_id="a", finding="Tumour", site="Segment 4"),
    Measurement("short axis", 1e-30, "cm", lesion_id="a", finding="Tumour", site="Segment 4"),
    Measurement("Margins", math.nan, "", "spiculated", "a", "Tumour", "Segment 4"),
    Measurement("probability", 0.1 + 0.2, "1", lesion_id="1.2.3.4", finding="malignant"),
)


@pytest.fixture(scope="module")
def volume(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ct")
    made_up.ct_series(folder)
    return read_volumes(folder)[0]


@pytest.fixture(scope="module")
def seg(tmp_path_factory, volume):
    mask = np.zeros(volume.stored.shape, np.uint8)
    mask[1:3, 2:4, 2:4] = 1
    mask[2, 4, 4] = 2
    path = tmp_path_factory.mktemp("seg") / "seg.dcm"
    write_seg_function(mask, volume, ["Liver", "Tumour", "Spleen"], path)
    return path


def same(found, expected):
    np.testing.assert_equal([one.value for one in found], [one.value for one in expected])


def test_numbers_units_and_words_come_back(tmp_path, volume, seg):
    write_sr(LESIONS, volume, tmp_path / "sr.dcm", segmentation=seg, when=WHEN)
    found = sr.measurements(tmp_path / "sr.dcm")
    same(found, LESIONS)
    assert [one.unit for one in found] == ["mL", "[hnsf'U]", "mL", "mm", "cm", "", "1"]
    assert [(one.finding, one.site, one.text) for one in found] == [(m.finding, m.site, m.text) for m in LESIONS]
    assert [one.name for one in found][:2] == ["Volume", "Attenuation Coefficient, Mean"]
    assert len({one.lesion_id for one in found}) == 4
    assert found[-1].lesion_id == "1.2.3.4"


def test_what_was_read_is_written_again_and_read_the_same(tmp_path, volume):
    write_sr(LESIONS, volume, tmp_path / "first.dcm", when=WHEN)
    first = sr.measurements(tmp_path / "first.dcm")
    write_sr(first, volume, tmp_path / "second.dcm", when=WHEN)
    np.testing.assert_equal(
        [vars(one) for one in sr.measurements(tmp_path / "second.dcm")], [vars(one) for one in first]
    )


WORDS = st.text(
    st.characters(codec="ascii", exclude_categories=["Cc"], exclude_characters="\\"), min_size=1, max_size=64
)


@pytest.mark.slow
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(sorted(TERMS)),
            st.floats(allow_nan=False, allow_infinity=False),
            st.sampled_from(["", "mm", "mL", "cm3", "{SUVbw}g/ml"]),
            WORDS.map(str.strip).filter(bool),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_any_number_comes_back_as_it_was(tmp_path, volume, said):
    given = [Measurement(name, value, unit, finding=words) for name, value, unit, words in said]
    given.sort(key=lambda one: one.finding)
    write_sr(given, volume, tmp_path / "sr.dcm", when=WHEN)
    found = sr.measurements(tmp_path / "sr.dcm")
    assert [one.value for one in found] == [one.value for one in given]
    assert [one.finding for one in found] == [one.finding for one in given]
    assert [one.unit for one in found] == [one.unit or TERMS[one.name].unit for one in given]


@pytest.mark.parametrize("name", TERMS)
def test_each_name_has_a_code_that_pydicom_knows(name):
    for code in filter(None, (TERMS[name].name, TERMS[name].derivation)):
        known = getattr(pydicom.sr.codedict.codes, code.scheme_designator)
        assert code in [getattr(known, one) for one in known.dir(code.meaning.split()[0])]


def test_a_reader_or_the_software_is_told(tmp_path, volume):
    write_sr(LESIONS, volume, tmp_path / "a.dcm", when=WHEN)
    write_sr(LESIONS, volume, tmp_path / "b.dcm", reader="Reader 2", when=WHEN)
    a, b = (sr.read(tmp_path / f"{name}.dcm", volume) for name in "ab")
    assert (a.reader, a.reference_standard, a.date, a.findings) == ("radkit", "model", "2024-03-05", ())
    assert (b.reader, b.reference_standard, b.date, b.findings) == ("Reader 2", "reader", "2024-03-05", ())


def test_the_same_answer_is_the_same_instance_and_another_one_is_not(tmp_path, volume, seg):
    for name in ("first", "again"):
        write_sr(LESIONS, volume, tmp_path / name, segmentation=seg, when=WHEN)
    content = (tmp_path / "first").read_bytes()
    assert content == (tmp_path / "again").read_bytes()
    assert f"{datetime.date.today():%Y%m%d}".encode() not in content
    write_sr(LESIONS[1:], volume, tmp_path / "other", segmentation=seg, when=WHEN)
    said, other = pydicom.dcmread(tmp_path / "first"), pydicom.dcmread(tmp_path / "other")
    assert said.SOPInstanceUID != other.SOPInstanceUID
    assert said.SeriesInstanceUID == other.SeriesInstanceUID
    assert said.SeriesInstanceUID not in (volume.meta["SeriesInstanceUID"], pydicom.dcmread(seg).SeriesInstanceUID)
    assert (said.PatientID, said.StudyInstanceUID) == (volume.meta["PatientID"], volume.meta["StudyInstanceUID"])


def test_highdicom_finds_segments_and_images(tmp_path, volume, seg):
    write_sr(LESIONS, volume, tmp_path / "sr.dcm", segmentation=seg, when=WHEN)
    content = highdicom.sr.srread(tmp_path / "sr.dcm").content
    by_finding = {g.finding_type.meaning: g for g in content.get_volumetric_roi_measurement_groups()}
    assert {name: g.referenced_segment.referenced_segment_numbers for name, g in by_finding.items()} == {
        "Liver": [1],
        "Tumour": [2],
    }  # Spleen has a segment, but no voxel
    assert [m.value for m in by_finding["Liver"].get_measurements()] == [m.value for m in LESIONS[:2]]
    others = {g.finding_type.meaning: g for g in content.get_image_measurement_groups()}
    assert list(others) == ["Spleen", "malignant"]
    named = [image.referenced_sop_instance_uid for image in others["Spleen"].source_images]
    assert named == list(volume.instance_uids)
    assert [m.value for m in others["Spleen"].get_measurements()] == [0.0]


def valid(path):
    said = subprocess.run(["dciodvfy", "-new", str(path)], capture_output=True, text=True, check=False).stderr
    return "Error" not in said and "Comprehensive3DSR" in said


@pytest.mark.skipif(not shutil.which("dciodvfy"), reason="dciodvfy is not installed")
@pytest.mark.parametrize("reader", ["", "Reader 2"])
def test_dciodvfy_finds_no_error(tmp_path, volume, seg, reader):
    write_sr(LESIONS, volume, tmp_path / "a.dcm", segmentation=seg, reader=reader)
    write_sr(LESIONS, volume, tmp_path / "b.dcm", reader=reader)
    assert valid(tmp_path / "a.dcm")
    assert valid(tmp_path / "b.dcm")


def test_a_radiographs_answer_is_written(tmp_path):
    made_up.radiograph(tmp_path / "cr" / "a.dcm")
    (volume,) = read_volumes(tmp_path / "cr")
    write_sr([Measurement("probability", 0.25, "", finding="pneumonia")], volume, tmp_path / "sr.dcm", when=WHEN)
    found = sr.read(tmp_path / "sr.dcm", volume)
    assert [(one.value, one.unit, one.finding) for one in found.measurements] == [(0.25, "1", "pneumonia")]


def test_a_file_of_many_frames_is_named_once(tmp_path):
    volume = enhanced(tmp_path)
    write_sr(LESIONS, volume, tmp_path / "sr.dcm", when=WHEN)
    found = sr.read(tmp_path / "sr.dcm", volume)
    same(found.measurements, LESIONS)
    groups = highdicom.sr.srread(tmp_path / "sr.dcm").content.get_image_measurement_groups()
    assert [len(group.source_images) for group in groups] == [1] * 4


def test_what_a_header_lacks_is_named(tmp_path):
    made_up.ct_series(tmp_path / "ct", each=lambda header: delattr(header, "PatientID"))
    (volume,) = read_volumes(tmp_path / "ct")
    with pytest.raises(AnnotationError, match="they have no PatientID"):
        write_sr(LESIONS, volume, tmp_path / "sr.dcm")


REFUSED = {
    "no measurements": [],
    "is nan": [Measurement("volume", math.nan, "mL")],
    "is inf": [Measurement("volume", math.inf, "mL")],
    "has no code": [Measurement("Girth", 1.0, "mm")],
    "UCUM code was expected": [Measurement("volume", 1.0, "m" * 17)],
    "is no CodeMeaning": [Measurement("volume", 1.0, "mL", finding="x" * 65)],
    "is no CodeMeaning: 1": [Measurement("Shape", math.nan, "", "a\\b")],
    "is no code; one": [Measurement("Girth", 1.0, "mm", code="103339001")],
    "has two codes": [Measurement("Girth", 1.0, "mm", code="1 X, 2 Y")],
}


@pytest.mark.parametrize("said", REFUSED)
def test_what_cannot_be_said_is_refused(tmp_path, volume, said):
    with pytest.raises(AnnotationError, match=said):
        write_sr(REFUSED[said], volume, tmp_path / "sr.dcm")
    assert not (tmp_path / "sr.dcm").exists()


@pytest.mark.parametrize("reader", ["x" * 65, "A=B", "A^B", "A\\B"])
def test_a_reader_that_dicom_cannot_hold_is_refused(tmp_path, volume, reader):
    with pytest.raises(AnnotationError, match="a reader is named"):
        write_sr(LESIONS, volume, tmp_path / "sr.dcm", reader=reader)


def test_a_segmentation_that_is_none_or_of_another_series_is_refused(tmp_path, volume, seg):
    (tmp_path / "a.txt").write_text("no DICOM")
    made_up.ct_series(tmp_path / "other", series=2)
    other = read_volumes(tmp_path / "other")[0]
    for path, image, said in (
        (tmp_path / "a.txt", volume, "cannot be read"),
        (volume.paths[0], volume, "no DICOM segmentation"),
        (seg, other, "of another series"),
    ):
        with pytest.raises(AnnotationError, match=said):
            write_sr(LESIONS, image, tmp_path / "sr.dcm", segmentation=path)


def test_images_that_have_changed_or_were_interpolated_are_refused(tmp_path):
    made_up.ct_series(tmp_path / "ct")
    (volume,) = read_volumes(tmp_path / "ct")
    made_up.change(volume.paths[0], lambda d: setattr(d, "SOPInstanceUID", "1.2.3"))
    with pytest.raises(AnnotationError, match="have changed"):
        write_sr(LESIONS, volume, tmp_path / "sr.dcm")
    volume.paths[1].unlink()
    with pytest.raises(AnnotationError, match="cannot be read again"):
        write_sr(LESIONS, volume, tmp_path / "sr.dcm")
    made_up.ct_series(tmp_path / "gap", faults={2: None})
    (resampled,) = read_volumes(tmp_path / "gap", spacing="resample")
    with pytest.raises(AnnotationError, match="interpolated"):
        write_sr(LESIONS, resampled, tmp_path / "sr.dcm")


def test_without_highdicom_one_is_told_what_to_install(tmp_path, volume, monkeypatch):
    monkeypatch.setitem(sys.modules, "highdicom", None)
    with pytest.raises(AnnotationError, match=r"pip install 'radkit\[serving\]'"):
        write_sr(LESIONS, volume, tmp_path / "sr.dcm")


REAL = Path(__file__).parents[3] / "radkit" / "demo" / "data" / "series" / "liver_ct"


def test_a_real_series_and_its_segmentation_are_measured(tmp_path):
    (volume,) = read_volumes(REAL.glob("IMG*.dcm"))
    measured = [Measurement("volume", 1.25, "mL", finding="Liver")]
    write_sr(measured, volume, tmp_path / "sr.dcm", segmentation=REAL / "segmentation.dcm", when=WHEN)
    found = sr.read(tmp_path / "sr.dcm", volume)
    assert isinstance(found, form.Annotation)
    same(found.measurements, measured)
