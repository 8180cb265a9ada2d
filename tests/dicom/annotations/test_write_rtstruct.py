"""Masks as structure sets: there and back, valid, repeatable, and refused where they do not fit."""

import dataclasses
import datetime
import shutil
import subprocess

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radkit.dicom import read_volumes
from radkit.dicom.annotations import AnnotationError, as_mask, contours, rtstruct, write_rtstruct
from tests import made_up

LABELS = ("Liver", "Tumör 2")
WHEN = datetime.datetime(2026, 2, 3, 4, 5, 6)


def volume_of(folder, **more):
    made_up.ct_series(folder, **more)
    return read_volumes(folder.glob("*.dcm"))[0]


def mask_of(volume, num_labels=2, seed=0):
    mask = np.random.default_rng(seed).integers(0, num_labels + 1, volume.stored.shape).astype(np.uint8)
    mask[0] = 0
    mask[-1, 0, 0] = 1
    return mask


@pytest.fixture
def volume(tmp_path):
    return volume_of(tmp_path / "ct", place=made_up.affine(angles=(10, 20, 30)))


@settings(max_examples=20, deadline=None)
@given(
    st.integers(1, 3),
    st.integers(0, 999),
    st.sampled_from([0.0, 15.0, -20.0]),
    st.sampled_from([(0, 0, 0), (0, 90, 0), (90, 0, 0)]),
)
def test_what_is_written_is_read(tmp_path_factory, num_labels, seed, tilt, angles):
    folder = tmp_path_factory.mktemp("rt")
    place = made_up.affine(
        (2.5, 0.7, 0.9), origin=(-512.3, 2048.7, -1300.1), tilt=tilt, angles=np.add(angles, seed % 9)
    )
    volume = volume_of(folder / "ct", place=place, slices=3, size=(9, 13))
    labels = [f"Label {n}" for n in range(num_labels)]
    mask = mask_of(volume, num_labels, seed)
    write_rtstruct(mask, volume, labels, folder / "rt.dcm")
    found = rtstruct.read(folder / "rt.dcm", volume)
    np.testing.assert_array_equal(as_mask(found.regions, labels, mask.shape), mask)
    assert found.labels == tuple(labels)
    assert found.findings == ()


def test_structures_may_overlap_and_one_may_be_empty(tmp_path, volume):
    masks = np.random.default_rng(1).random((*volume.stored.shape, 4)) < (0.3, 0.9, 0.0, 1.0)
    labels = ["A", "B", "Absent", "Body"]
    write_rtstruct(masks, volume, labels, tmp_path / "rt.dcm")
    found = rtstruct.read(tmp_path / "rt.dcm", volume)
    for region, mask in zip(found.regions, np.moveaxis(masks, 3, 0), strict=True):
        np.testing.assert_array_equal(region.on(mask.shape), mask)
    assert [finding.name for finding in found.findings] == ["empty_segment"]


def test_a_structure_of_a_whole_slice_with_a_hole_is_one_contour(tmp_path, volume):
    mask = np.zeros(volume.stored.shape, np.uint8)
    mask[2] = 1
    mask[2, 2:4, 3:5] = 0
    write_rtstruct(mask, volume, ["A"], tmp_path / "rt.dcm")
    (item,) = pydicom.dcmread(tmp_path / "rt.dcm").ROIContourSequence[0].ContourSequence
    assert item.ContourGeometricType == "CLOSED_PLANAR"
    assert item.NumberOfContourPoints * 3 == len(item.ContourData)
    np.testing.assert_array_equal(rtstruct.read(tmp_path / "rt.dcm", volume).regions[0].on(mask.shape), mask)


def test_readers_that_round_places_to_voxels_find_the_same(tmp_path, volume):
    mask = (np.random.default_rng(4).random(volume.stored.shape) < 0.6).astype(np.uint8)
    write_rtstruct(mask, volume, ["A"], tmp_path / "rt.dcm")
    inverse = np.linalg.inv(volume.affine)
    rounded = [[] for _ in mask]
    for item in pydicom.dcmread(tmp_path / "rt.dcm").ROIContourSequence[0].ContourSequence:
        points = np.array(item.ContourData, float).reshape(-1, 3)
        places = np.rint(points @ inverse[:3, :3].T + inverse[:3, 3])
        rounded[int(places[0, 2])].append(places[:, 1::-1])
    for of_slice, expected in zip(rounded, mask):
        # Each voxel on the path is inside then, and nothing beside it is.
        found = np.any([contours.fill([points], expected.shape) for points in of_slice], axis=0)
        np.testing.assert_array_equal(found, expected)


def test_whose_it_is_and_what_it_was_drawn_on_is_repeated(tmp_path, volume):
    mask = mask_of(volume)
    write_rtstruct(mask, volume, LABELS, tmp_path / "rt.dcm", WHEN)
    found, header = pydicom.dcmread(tmp_path / "rt.dcm"), made_up.header()
    for keyword in ("PatientID", "PatientName", "StudyInstanceUID", "FrameOfReferenceUID"):
        assert found[keyword].value == header[keyword]
    assert (found.Modality, found.StructureSetDate, found.ApprovalStatus) == ("RTSTRUCT", "20260203", "UNAPPROVED")
    assert found.SeriesInstanceUID != header["SeriesInstanceUID"]
    frame = found.ReferencedFrameOfReferenceSequence[0]
    series = frame.RTReferencedStudySequence[0].RTReferencedSeriesSequence[0]
    assert frame.FrameOfReferenceUID == header["FrameOfReferenceUID"]
    assert series.SeriesInstanceUID == header["SeriesInstanceUID"]
    assert [image.ReferencedSOPInstanceUID for image in series.ContourImageSequence] == list(volume.instance_uids)
    assert [item.ROIName for item in found.StructureSetROISequence] == list(LABELS)
    for number, group in enumerate(found.ROIContourSequence, 1):
        assert group.ReferencedROINumber == number
        named = {item.ContourImageSequence[0].ReferencedSOPInstanceUID for item in group.ContourSequence}
        drawn = np.flatnonzero((mask == number).any(axis=(1, 2)))
        assert named == {volume.instance_uids[index] for index in drawn}


def test_the_same_answer_is_the_same_bytes_and_another_one_another_instance(tmp_path, volume):
    for name, mask in (("a", mask_of(volume)), ("b", mask_of(volume)), ("c", mask_of(volume, seed=1))):
        write_rtstruct(mask, volume, LABELS, tmp_path / name, WHEN)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    first, other = pydicom.dcmread(tmp_path / "a"), pydicom.dcmread(tmp_path / "c")
    assert first.SeriesInstanceUID == other.SeriesInstanceUID
    assert first.SOPInstanceUID != other.SOPInstanceUID


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dicom3tools are not installed")
def test_an_independent_checker_finds_no_error(tmp_path, volume):
    mask = mask_of(volume)
    mask[mask == 2] = 0
    write_rtstruct(mask, volume, LABELS, tmp_path / "rt.dcm")
    said = subprocess.run(["dciodvfy", tmp_path / "rt.dcm"], capture_output=True, text=True, check=False).stderr
    assert "RTStructureSet" in said
    assert "Error" not in said


def test_a_contour_longer_than_explicit_vr_can_hold_is_written(tmp_path):
    volume = volume_of(tmp_path / "ct", slices=1, size=(120, 120))
    mask = np.random.default_rng(0).random(volume.stored.shape) < 0.8
    write_rtstruct(mask, volume, ["A"], tmp_path / "rt.dcm")
    items = pydicom.dcmread(tmp_path / "rt.dcm").ROIContourSequence[0].ContourSequence
    assert max(item.NumberOfContourPoints for item in items) * 3 * 8 > 2**16
    np.testing.assert_array_equal(rtstruct.read(tmp_path / "rt.dcm", volume).regions[0].on(mask.shape), mask)


REFUSED = {
    "the mask has shape": lambda mask: (mask[:, :-1], LABELS),
    "one last axis a label": lambda mask: (np.stack([mask, mask], axis=-1), LABELS),
    "one last axis a label was": lambda mask: (np.stack([mask > 0], axis=-1), LABELS),
    "the mask is empty": lambda mask: (mask * 0, LABELS),
    "not of whole numbers": lambda mask: (mask * 0.5, LABELS),
    "values 0 to 2, and 1 labels": lambda mask: (mask, LABELS[:1]),
    "values -1 to": lambda mask: (mask.astype(np.int16) - 1, LABELS),
    "is no ROIName": lambda mask: (mask, ("A", "B" * 65)),
    "without backslash": lambda mask: (mask, ("A", "B\\C")),
    "outer spaces": lambda mask: (mask, ("A", "B ")),
    "1 labels are given twice": lambda mask: (mask, ("A", "A")),
}


@pytest.mark.parametrize("said", REFUSED)
def test_a_mask_that_does_not_fit_is_refused(tmp_path, volume, said):
    mask, labels = REFUSED[said](mask_of(volume))
    with pytest.raises(AnnotationError, match=said):
        write_rtstruct(mask, volume, labels, tmp_path / "rt.dcm")
    assert not (tmp_path / "rt.dcm").exists()


def test_an_image_without_place_or_files_is_refused(tmp_path):
    made_up.radiograph(tmp_path / "cr.dcm")
    radiograph = read_volumes(tmp_path / "cr.dcm")[0]
    with pytest.raises(AnnotationError, match="no place in the patient"):
        write_rtstruct(np.ones(radiograph.stored.shape, np.uint8), radiograph, ["A"], tmp_path / "rt.dcm")
    made_up.ct_series(tmp_path / "ct", slices=6, faults={2: None})
    volume = read_volumes((tmp_path / "ct").glob("*.dcm"), spacing="resample")[0]
    with pytest.raises(AnnotationError, match="interpolated"):
        write_rtstruct(np.ones(volume.stored.shape, np.uint8), volume, ["A"], tmp_path / "rt.dcm")


def test_a_contour_on_an_enhanced_image_names_its_frame(tmp_path, volume):
    enhanced = tmp_path / "enhanced.dcm"
    shutil.copy(volume.paths[0], enhanced)
    made_up.change(enhanced, lambda dataset: dataset.add_new("NumberOfFrames", "IS", len(volume.stored)))
    count = len(volume.stored)
    uids, frames = volume.instance_uids[:1] * count, tuple(reversed(range(count)))
    volume = dataclasses.replace(volume, paths=(enhanced,) * count, instance_uids=uids, frame_numbers=frames)
    mask = mask_of(volume)
    write_rtstruct(mask, volume, LABELS, tmp_path / "rt.dcm")
    written = pydicom.dcmread(tmp_path / "rt.dcm")
    study = written.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence[0]
    assert len(study.RTReferencedSeriesSequence[0].ContourImageSequence) == 1
    images = [item.ContourImageSequence[0] for item in written.ROIContourSequence[0].ContourSequence]
    assert {image.ReferencedFrameNumber for image in images} == set(range(1, count))  # slice 0 is empty
    found = rtstruct.read(tmp_path / "rt.dcm", volume)
    np.testing.assert_array_equal(as_mask(found.regions, LABELS, mask.shape), mask)
    assert found.findings == ()
