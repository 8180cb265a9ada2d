"""Masks as DICOM SEG: there and back, read by others, and refused where they do not fit."""

from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.sr.codedict import codes

from radkit.dicom import read_volumes
from radkit.dicom.annotations import AnnotationError, read_seg, segment_labels, write_seg
from tests import made_up

REAL = Path(__file__).parents[2] / "radkit" / "demo" / "data" / "series" / "liver_ct"
LABELS = ("Liver", "Tumour")


def volume_of(folder, **more):
    made_up.ct_series(folder, **more)
    return read_volumes(folder.glob("*.dcm"))[0]


def mask_of(volume, num_labels=2, seed=0):
    mask = np.random.default_rng(seed).integers(0, num_labels + 1, volume.stored.shape).astype(np.uint8)
    mask[0] = 0  # an empty slice, which has no frame
    mask[-1, 0, 0] = 1
    return mask


@pytest.fixture
def volume(tmp_path):
    return volume_of(tmp_path / "ct", place=made_up.affine(angles=(10, 20, 30)))


@pytest.fixture
def seg(tmp_path, volume):
    """Returns a segmentation of `volume` with two labels, and its mask."""
    write_seg(mask_of(volume), volume, LABELS, tmp_path / "seg.dcm")
    return tmp_path / "seg.dcm", mask_of(volume)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.integers(1, 3), st.integers(0, 999), st.sampled_from([0.0, 15.0]))
def test_what_is_written_is_read(tmp_path_factory, num_labels, seed, tilt):
    folder = tmp_path_factory.mktemp("seg")
    volume = volume_of(folder / "ct", place=made_up.affine(tilt=tilt, angles=(seed, 0, 5)), slices=3)
    labels = [f"Label {n}" for n in range(num_labels)]
    mask = mask_of(volume, num_labels, seed)
    write_seg(mask, volume, labels, folder / "seg.dcm")
    np.testing.assert_array_equal(read_seg(folder / "seg.dcm", volume, labels), mask)
    assert segment_labels(folder / "seg.dcm") == labels


@pytest.mark.parametrize("slices", [1, 2])
@pytest.mark.parametrize("labels", [LABELS[:1], LABELS])
def test_few_slices_and_few_labels_are_read_too(tmp_path, slices, labels):
    volume = volume_of(tmp_path / "ct", slices=slices)
    mask = np.zeros(volume.stored.shape, np.uint8)
    mask[-1, 2:4, 1:3] = 1
    write_seg(mask, volume, labels, tmp_path / "seg.dcm")
    np.testing.assert_array_equal(read_seg(tmp_path / "seg.dcm", volume, labels), mask)


def test_labels_are_chosen_and_numbered_by_the_caller(seg, volume):
    path, mask = seg
    np.testing.assert_array_equal(read_seg(path, volume, ["Tumour"]), mask == 2)
    np.testing.assert_array_equal(read_seg(path, volume, LABELS[::-1]), np.array([0, 2, 1])[mask])
    np.testing.assert_array_equal(read_seg(path, volume, ["Spleen", "Liver"]), np.array([0, 2, 0])[mask])


def test_a_label_that_is_not_there_is_refused(seg, volume):
    with pytest.raises(AnnotationError, match="none of the segments Spleen, Kidney"):
        read_seg(seg[0], volume, ["Spleen", "Kidney"])


def made_by_highdicom(path, volume, mask, kind, labels=LABELS):
    """Writes a segmentation of another type than radkit's."""
    segments = [
        highdicom.seg.SegmentDescription(
            number,
            label,
            codes.SCT.AnatomicalStructure,
            codes.SCT.Organ,
            highdicom.seg.SegmentAlgorithmTypeValues.MANUAL,
        )
        for number, label in enumerate(labels, 1)
    ]
    highdicom.seg.Segmentation(
        [pydicom.dcmread(p) for p in volume.paths], mask, kind, segments, "1.2.3.1", 1, "1.2.3.2", 1, "m", "m", "1", "0"
    ).save_as(path)


def test_a_labelmap_is_read(tmp_path, volume):
    mask = mask_of(volume)
    made_by_highdicom(tmp_path / "seg.dcm", volume, mask, "LABELMAP")
    np.testing.assert_array_equal(read_seg(tmp_path / "seg.dcm", volume, LABELS), mask)
    np.testing.assert_array_equal(read_seg(tmp_path / "seg.dcm", volume, ["Tumour"]), mask == 2)


def test_overlapping_segments_are_refused(tmp_path, volume):
    both = np.zeros((*volume.stored.shape, 2), np.uint8)
    both[1, 2:4, 2:4, :] = 1
    made_by_highdicom(tmp_path / "seg.dcm", volume, both, "BINARY")
    with pytest.raises(AnnotationError, match="segments overlap in 4 voxels"):
        read_seg(tmp_path / "seg.dcm", volume, LABELS)
    assert read_seg(tmp_path / "seg.dcm", volume, LABELS[:1]).sum() == 4


def delete(*keywords):
    def change(dataset):
        for keyword in keywords:
            del dataset[keyword]

    return change


def fewer_places(dataset):
    dataset.PerFrameFunctionalGroupsSequence.pop()


def no_place(dataset):
    for group in dataset.PerFrameFunctionalGroupsSequence:
        del group.PlanePositionSequence
        del group.DerivationImageSequence


BROKEN = {
    "SegmentSequence is absent": delete("SegmentSequence"),
    "SegmentationType is absent": delete("SegmentationType"),
    "PerFrameFunctionalGroupsSequence is absent": delete("PerFrameFunctionalGroupsSequence"),
    "no ImageOrientationPatient or no PixelSpacing": delete("SharedFunctionalGroupsSequence"),
    "cannot be decoded": delete("PixelData"),
    "and says where": fewer_places,
    "neither an ImagePositionPatient": no_place,
    "0 x 7 pixels": delete("Rows"),
}


@pytest.mark.parametrize("said", BROKEN)
def test_a_broken_segmentation_is_refused_by_name(seg, volume, said):
    dataset = pydicom.dcmread(seg[0])
    BROKEN[said](dataset)
    dataset.save_as(seg[0])
    with pytest.raises(AnnotationError) as caught:
        read_seg(seg[0], volume, LABELS)
    assert said in str(caught.value) or (said == "0 x 7 pixels" and "decoded" in str(caught.value))


def test_what_is_no_segmentation_is_refused(volume, tmp_path):
    (tmp_path / "a.txt").write_text("no DICOM")
    for path in (volume.paths[0], tmp_path / "a.txt", tmp_path / "none"):
        with pytest.raises(AnnotationError):
            read_seg(path, volume, LABELS)
        with pytest.raises(AnnotationError):
            segment_labels(path)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_a_damaged_segmentation_is_read_or_refused(tmp_path, volume, seg, data):
    content = bytearray(seg[0].read_bytes())
    for _ in range(data.draw(st.integers(1, 5))):
        content[data.draw(st.integers(132, len(content) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / "damaged.dcm").write_bytes(content)
    try:
        mask = read_seg(tmp_path / "damaged.dcm", volume, LABELS)
    except AnnotationError:
        return
    assert mask.shape == volume.stored.shape


def wrong_masks(shape):
    return {
        "the mask has shape": np.ones((1, 2, 3), np.uint8),
        "the mask is empty": np.zeros(shape, np.uint8),
        "not of whole numbers": np.ones(shape, np.float32),
        "values 1 to 3, and 2 labels": np.full(shape, 3, np.uint8) - np.eye(shape[1], shape[2], dtype=np.uint8) * 2,
        "values -1": -np.ones(shape, np.int16),
    }


def test_files_that_have_changed_since_are_refused(tmp_path, volume):
    made_up.change(volume.paths[0], lambda d: setattr(d, "SOPInstanceUID", "1.2.3"))
    with pytest.raises(AnnotationError, match="have changed"):
        write_seg(mask_of(volume), volume, LABELS, tmp_path / "seg.dcm")
    volume.paths[1].unlink()
    with pytest.raises(AnnotationError, match="cannot be read again"):
        write_seg(mask_of(volume), volume, LABELS, tmp_path / "seg.dcm")


def test_a_real_segmentation_lies_on_its_image():
    (volume,) = read_volumes(REAL.glob("IMG*.dcm"))
    labels = segment_labels(REAL / "segmentation.dcm")
    mask = read_seg(REAL / "segmentation.dcm", volume, labels)
    assert set(np.unique(mask)) == set(range(len(labels) + 1))
    found = highdicom.seg.segread(REAL / "segmentation.dcm")
    frames = found.get_pixels_by_source_instance(
        list(volume.instance_uids),
        combine_segments=True,
        relabel=True,
        assert_missing_frames_are_empty=True,
        ignore_spatial_locations=True,
    )
    np.testing.assert_array_equal(mask, frames)
