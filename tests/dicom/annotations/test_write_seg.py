"""Masks as DICOM SEG, there and back: labels apart or overlapping, by radkit and by highdicom."""

import dataclasses
import datetime
import sys

import highdicom
import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from radkit.dicom import read_volumes
from radkit.dicom.annotations import AnnotationError, seg, write_seg
from tests import made_up
from tests.dicom.annotations.made_up_enhanced import enhanced

QUICK = settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@pytest.fixture(scope="module")
def volume(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ct")
    made_up.ct_series(folder, place=made_up.affine(angles=(10, 20, 30)))
    return read_volumes(folder)[0]


LABELS = ("Liver", "Tumour")


@pytest.fixture
def written(tmp_path, volume):
    """Returns a segmentation of `volume` with two labels, and its mask."""
    write_seg(mask_of(volume), volume, LABELS, tmp_path / "seg.dcm")
    return tmp_path / "seg.dcm", mask_of(volume)


def labels_of(count):
    return [f"Label {n}" for n in range(count)]


def on_image(path, volume):
    """Returns what radkit reads, (slices, rows, columns, labels) bool."""
    return np.stack([region.on(volume.stored.shape) for region in seg.read(path, volume).regions], axis=-1)


@QUICK
@given(st.integers(1, 4), st.integers(0, 9999), st.floats(0.01, 1.0))
def test_overlapping_structures_come_back_as_they_were(tmp_path, volume, count, seed, share):
    mask = np.random.default_rng(seed).random((*volume.stored.shape, count)) < share
    mask[seed % len(mask), 0, 0] = True  # none is empty
    write_seg(mask, volume, labels_of(count), tmp_path / "seg.dcm")
    np.testing.assert_array_equal(on_image(tmp_path / "seg.dcm", volume), mask)


@QUICK
@given(st.integers(1, 4), st.integers(0, 9999))
def test_labels_apart_are_the_same_either_way(tmp_path, volume, count, seed):
    mask = np.random.default_rng(seed).integers(0, count + 1, volume.stored.shape).astype(np.uint8)
    mask[0, 0, : count + 1] = np.arange(count + 1)
    apart = mask[..., None] == np.arange(1, count + 1)
    write_seg(mask, volume, labels_of(count), tmp_path / "one.dcm")
    write_seg(apart, volume, labels_of(count), tmp_path / "many.dcm")
    for name in ("one", "many"):
        np.testing.assert_array_equal(on_image(tmp_path / f"{name}.dcm", volume), apart)


def test_highdicom_reads_the_same_overlap(tmp_path, volume):
    mask = np.random.default_rng(3).random((*volume.stored.shape, 3)) < 0.4
    write_seg(mask, volume, labels_of(3), tmp_path / "seg.dcm")
    found = highdicom.seg.segread(tmp_path / "seg.dcm").get_pixels_by_source_instance(
        list(volume.instance_uids), assert_missing_frames_are_empty=True
    )
    np.testing.assert_array_equal(found, mask)


def test_overlap_has_the_same_bytes_again_and_another_name_than_without(tmp_path, volume):
    when = datetime.datetime(2024, 3, 5, 16, 7, 8)
    mask = np.zeros((*volume.stored.shape, 2), bool)
    mask[1, 1:3, 1:3] = True
    for name in ("first", "again"):
        write_seg(mask, volume, labels_of(2), tmp_path / name, when)
    assert (tmp_path / "first").read_bytes() == (tmp_path / "again").read_bytes()
    mask[1, 1, 1, 1] = False
    write_seg(mask, volume, labels_of(2), tmp_path / "other", when)
    names = {highdicom.seg.segread(tmp_path / name).SOPInstanceUID for name in ("first", "other")}
    assert len(names) == 2


def test_an_overlapping_mask_that_does_not_fit_is_not_written(tmp_path, volume):
    shape = volume.stored.shape
    for mask, said in (
        (np.ones((*shape, 3), bool), "3 structures of bool; 2 of bool were expected"),
        (np.ones((*shape, 2), np.uint8), "2 structures of uint8"),
        (np.ones((*shape[:2], 1, 2), bool), "the mask has shape"),
        (np.ones((*shape, 2, 1), bool), "the mask has shape"),
        (np.zeros((*shape, 2), bool), "the mask is empty"),
    ):
        with pytest.raises(AnnotationError, match=said):
            write_seg(mask, volume, labels_of(2), tmp_path / "seg.dcm")
    assert not (tmp_path / "seg.dcm").exists()


@QUICK
@given(st.integers(1, 3), st.integers(0, 999), st.sampled_from([0.0, 15.0]))
def test_what_is_written_is_read_on_any_grid(tmp_path_factory, count, seed, tilt):
    folder = tmp_path_factory.mktemp("seg")
    made_up.ct_series(folder / "ct", place=made_up.affine(tilt=tilt, angles=(seed, 0, 5)), slices=3)
    (volume,) = read_volumes(folder / "ct")
    mask = np.random.default_rng(seed).random((*volume.stored.shape, count)) < 0.5
    mask[seed % 3] |= True
    write_seg(mask, volume, labels_of(count), folder / "seg.dcm")
    np.testing.assert_array_equal(on_image(folder / "seg.dcm", volume), mask)


def test_frames_of_one_file_are_named_by_their_number(tmp_path):
    volume = enhanced(tmp_path)
    mask = np.random.default_rng(1).integers(0, 3, volume.stored.shape).astype(np.uint8)
    write_seg(mask, volume, labels_of(2), tmp_path / "seg.dcm")
    expected = mask[..., None] == np.arange(1, 3)
    np.testing.assert_array_equal(on_image(tmp_path / "seg.dcm", volume), expected)
    frames = highdicom.seg.segread(tmp_path / "seg.dcm").get_pixels_by_source_frame(
        volume.instance_uids[0], [n + 1 for n in volume.frame_numbers], combine_segments=True
    )
    np.testing.assert_array_equal(frames, mask)


def test_a_volume_of_some_frames_of_a_file_is_written(tmp_path):
    whole = enhanced(tmp_path)
    part = dataclasses.replace(
        whole,
        stored=whole.stored[1:4],
        affine=whole.affine @ np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 1], [0, 0, 0, 1.0]]),
        paths=whole.paths[1:4],
        instance_uids=whole.instance_uids[1:4],
        frame_numbers=whole.frame_numbers[1:4],
    )
    mask = np.random.default_rng(1).random((*part.stored.shape, 2)) < 0.5
    write_seg(mask, part, labels_of(2), tmp_path / "seg.dcm")
    np.testing.assert_array_equal(on_image(tmp_path / "seg.dcm", part), mask)
    np.testing.assert_array_equal(on_image(tmp_path / "seg.dcm", whole)[1:4], mask)


def test_slices_of_one_frame_are_refused(tmp_path):
    mosaic = dataclasses.replace(enhanced(tmp_path), frame_numbers=(0,) * 5)
    with pytest.raises(AnnotationError, match="of a mosaic"):
        write_seg(np.ones(mosaic.stored.shape, np.uint8), mosaic, labels_of(1), tmp_path / "seg.dcm")


def test_interpolated_slices_are_of_no_file(tmp_path):
    made_up.ct_series(tmp_path, faults={2: None})
    (volume,) = read_volumes(tmp_path, spacing="resample")
    with pytest.raises(AnnotationError, match="interpolated"):
        write_seg(np.ones(volume.stored.shape, np.uint8), volume, labels_of(1), tmp_path / "seg.dcm")


def test_what_a_header_lacks_is_named(tmp_path, volume):
    made_up.ct_series(tmp_path, each=lambda header: delattr(header, "PatientID"))
    (volume,) = read_volumes(tmp_path)
    with pytest.raises(AnnotationError, match="they have no PatientID"):
        write_seg(np.ones(volume.stored.shape, np.uint8), volume, labels_of(1), tmp_path / "seg.dcm")


def test_an_empty_character_set_is_as_good_as_none(tmp_path):
    made_up.ct_series(tmp_path / "ct", each=lambda header: setattr(header, "SpecificCharacterSet", ""))
    (volume,) = read_volumes(tmp_path / "ct")
    write_seg(np.ones(volume.stored.shape, np.uint8), volume, labels_of(1), tmp_path / "seg.dcm")
    assert on_image(tmp_path / "seg.dcm", volume).all()


def volume_of(folder, **more):
    made_up.ct_series(folder, **more)
    return read_volumes(folder.glob("*.dcm"))[0]


def mask_of(volume, num_labels=2, seed=0):
    mask = np.random.default_rng(seed).integers(0, num_labels + 1, volume.stored.shape).astype(np.uint8)
    mask[0] = 0  # an empty slice, which has no frame
    mask[-1, 0, 0] = 1
    return mask


def test_highdicom_reads_the_same_at_the_same_place(written, volume):
    path, mask = written
    found = highdicom.seg.segread(path)
    uids = list(volume.instance_uids)
    frames = found.get_pixels_by_source_instance(
        uids, combine_segments=True, relabel=False, assert_missing_frames_are_empty=True
    )
    np.testing.assert_array_equal(frames, mask)
    geometry = found.get_volume_geometry()
    near = np.linalg.inv(geometry.affine)[:3, :3] @ volume.affine[:3, [2, 1, 0]]
    np.testing.assert_allclose(np.abs(near), np.eye(3), atol=1e-5)


def test_each_segment_says_what_it_is(written):
    found = highdicom.seg.segread(written[0])
    assert [found.get_segment_description(n).segment_label for n in (1, 2)] == list(LABELS)
    assert found.Modality == "SEG"
    assert found.PatientID == made_up.header()["PatientID"]
    assert found.StudyInstanceUID == made_up.header()["StudyInstanceUID"]
    assert found.FrameOfReferenceUID == made_up.header()["FrameOfReferenceUID"]
    assert found.SeriesInstanceUID != made_up.header()["SeriesInstanceUID"]


def test_a_second_answer_has_the_same_identity(written, volume, tmp_path):
    write_seg(written[1], volume, LABELS, tmp_path / "again.dcm")
    first, second = pydicom.dcmread(written[0]), pydicom.dcmread(tmp_path / "again.dcm")
    assert (first.SOPInstanceUID, first.SeriesInstanceUID) == (second.SOPInstanceUID, second.SeriesInstanceUID)


def test_a_radiographs_mask_goes_and_comes_without_a_place(tmp_path):
    made_up.radiograph(tmp_path / "a.dcm")
    (volume,) = read_volumes([tmp_path / "a.dcm"])
    mask = np.zeros((1, 8, 9), np.uint8)
    mask[0, 2:5, 3:7] = 2
    mask[0, 0, 0] = 1
    write_seg(mask, volume, LABELS, tmp_path / "seg.dcm")
    np.testing.assert_array_equal(seg.read_seg(tmp_path / "seg.dcm", volume, LABELS), mask)
    dataset = pydicom.dcmread(tmp_path / "seg.dcm")
    assert "FrameOfReferenceUID" not in dataset
    assert dataset.PatientOrientation == ""
    made_up.radiograph(tmp_path / "b.dcm", series=2)
    with pytest.raises(AnnotationError, match="names 1 images, none of which is the series"):
        seg.read_seg(tmp_path / "seg.dcm", read_volumes([tmp_path / "b.dcm"])[0], LABELS)


def wrong_masks(shape):
    return {
        "the mask has shape": np.ones((1, 2, 3), np.uint8),
        "the mask is empty": np.zeros(shape, np.uint8),
        "not of whole numbers": np.ones(shape, np.float32),
        "values 1 to 3, and 2 labels": np.full(shape, 3, np.uint8) - np.eye(shape[1], shape[2], dtype=np.uint8) * 2,
        "values -1": -np.ones(shape, np.int16),
    }


@pytest.mark.parametrize("said", wrong_masks((5, 6, 7)))
def test_a_mask_that_does_not_fit_is_not_written(tmp_path, volume, said):
    with pytest.raises(AnnotationError) as caught:
        write_seg(wrong_masks(volume.stored.shape)[said], volume, LABELS, tmp_path / "seg.dcm")
    assert said in str(caught.value)
    assert not (tmp_path / "seg.dcm").exists()


@pytest.mark.parametrize("label", ["", "x" * 65, "a\\b"])
def test_a_label_that_dicom_cannot_hold_is_refused(tmp_path, volume, label):
    with pytest.raises(AnnotationError, match="is no SegmentLabel"):
        write_seg(mask_of(volume, 1), volume, [label], tmp_path / "seg.dcm")


def test_a_place_without_a_frame_of_reference_is_refused(tmp_path):
    volume = volume_of(tmp_path / "ct", FrameOfReferenceUID="")
    with pytest.raises(AnnotationError, match="no FrameOfReferenceUID"):
        write_seg(mask_of(volume), volume, LABELS, tmp_path / "seg.dcm")


def test_files_that_have_changed_since_are_refused(tmp_path):
    volume = volume_of(tmp_path / "ct")
    made_up.change(volume.paths[0], lambda d: setattr(d, "SOPInstanceUID", "1.2.3"))
    with pytest.raises(AnnotationError, match="have changed"):
        write_seg(mask_of(volume), volume, LABELS, tmp_path / "seg.dcm")
    volume.paths[1].unlink()
    with pytest.raises(AnnotationError, match="cannot be read again"):
        write_seg(mask_of(volume), volume, LABELS, tmp_path / "seg.dcm")


def test_headers_without_type_2_attributes_are_written_or_refused_by_name(tmp_path):
    def strip(dataset):
        for keyword in ("PatientBirthDate", "PatientSex", "AccessionNumber", "StudyTime", "ReferringPhysicianName"):
            del dataset[keyword]

    volume = volume_of(tmp_path / "ct", each=strip)
    try:
        write_seg(mask_of(volume), volume, LABELS, tmp_path / "seg.dcm")
    except AnnotationError:
        return
    np.testing.assert_array_equal(seg.read_seg(tmp_path / "seg.dcm", volume, LABELS), mask_of(volume))


def test_without_highdicom_one_is_told_what_to_install(tmp_path, volume, monkeypatch):
    monkeypatch.setitem(sys.modules, "highdicom", None)
    with pytest.raises(AnnotationError, match=r"pip install 'radkit\[serving\]'"):
        write_seg(mask_of(volume), volume, LABELS, tmp_path / "seg.dcm")


def test_the_same_answer_is_the_same_instance_and_another_one_is_not(tmp_path, volume):
    when = datetime.datetime(2024, 3, 5, 16, 7, 8)
    mask = mask_of(volume)
    for name in ("first", "again"):
        write_seg(mask, volume, LABELS, tmp_path / name, when)
    assert (tmp_path / "first").read_bytes() == (tmp_path / "again").read_bytes()
    said = pydicom.dcmread(tmp_path / "first")
    assert (said.ContentDate, said.ContentTime) == ("20240305", "160708")
    mask = mask.copy()
    mask[mask > 0] = 1
    write_seg(mask, volume, LABELS, tmp_path / "other", when)
    other = pydicom.dcmread(tmp_path / "other")
    assert other.SOPInstanceUID != said.SOPInstanceUID
    assert other.SeriesInstanceUID == said.SeriesInstanceUID
