"""Frames without functional groups: nuclear, dose grids, cine."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from radkit.dicom import enhanced, multiframe, scan
from radkit.dicom.geometry import GeometryError
from tests import made_up

PATH = Path("frames.dcm")
SAGITTAL = [0.0, 1.0, 0.0, 0.0, 0.0, -1.0]  # normal -x


def instance(count, **header):
    """An instance of some frames of 2 x 3 pixels."""
    dataset = Dataset()
    said = {"InstanceNumber": 4, "NumberOfFrames": count, "Rows": 2, "Columns": 3, "PixelData": bytes(12 * count)}
    for keyword, value in {**said, **header}.items():
        setattr(dataset, keyword, value)
    return dataset


def placed(count, **header):
    place = {"ImagePositionPatient": [1, 2, 3], "ImageOrientationPatient": SAGITTAL, "PixelSpacing": [2, 4]}
    return instance(count, **{**place, **header})


def positions(dataset):
    found = enhanced.frames(PATH, dataset)
    assert [frame.number for frame in found] == list(range(len(found)))
    return [frame.position_mm for frame in found]


def test_nuclear_slices_run_along_the_normal_and_may_run_backwards():
    dataset = placed(3, SliceVector=[1, 2, 3], SpacingBetweenSlices=5)
    assert positions(dataset) == [(1, 2, 3), (-4, 2, 3), (-9, 2, 3)]
    dataset.SpacingBetweenSlices = -5
    assert positions(dataset) == [(1, 2, 3), (6, 2, 3), (11, 2, 3)]


def test_a_nuclear_place_may_stand_with_the_detector():
    detector = Dataset()
    detector.ImagePositionPatient, detector.ImageOrientationPatient = [1, 2, 3], SAGITTAL
    dataset = instance(2, SliceVector=[2, 1], SpacingBetweenSlices=5, DetectorInformationSequence=Sequence([detector]))
    assert positions(dataset) == [(-4, 2, 3), (1, 2, 3)]


def test_gated_frames_are_told_apart():
    dataset = placed(4, SliceVector=[1, 2, 1, 2], TimeSlotVector=[1, 1, 2, 2], SpacingBetweenSlices=5)
    dataset.RRIntervalVector = [1, 1, 1, 1]
    found = multiframe.frames(PATH, dataset)
    assert [frame.fact("TemporalPositionIdentifier") for frame in found] == ["0001", "0001", "0002", "0002"]
    assert [frame.fact("DimensionIndexValues") for frame in found] == ["1", "1", "2", "2"]
    assert found[0].position_mm == found[2].position_mm


def test_offsets_count_from_the_first_frame_or_are_coordinates():
    axial = [1, 0, 0, 0, -1, 0]  # normal -z
    dataset = placed(3, GridFrameOffsetVector=[0, 2, 5])
    assert positions(dataset) == [(1, 2, 3), (-1, 2, 3), (-4, 2, 3)]
    dataset = placed(3, ImageOrientationPatient=axial, GridFrameOffsetVector=[0, 2, 5])
    assert positions(dataset) == [(1, 2, 3), (1, 2, 1), (1, 2, -2)]
    dataset.GridFrameOffsetVector = [3, 5, 8]
    assert positions(dataset) == [(1, 2, 3), (1, 2, 5), (1, 2, 8)]
    dataset = placed(2, ImagePositionPatient=[1, 2, 0], ImageOrientationPatient=axial, GridFrameOffsetVector=[0, 2])
    assert positions(dataset) == [(1, 2, 0), (1, 2, -2)]


def test_a_grid_of_offsets_is_where_simpleitk_has_it(tmp_path):
    made_up.radiograph(tmp_path / "grid.dcm", np.zeros((4, 6), np.uint16))

    def grid(dataset):
        dataset.SOPClassUID, dataset.Modality = "1.2.840.10008.5.1.4.1.1.481.2", "RTDOSE"
        dataset.NumberOfFrames, dataset.PixelData = 2, bytes(96)
        dataset.ImagePositionPatient, dataset.ImageOrientationPatient = [-10, 20, 30], [1, 0, 0, 0, 1, 0]
        dataset.PixelSpacing, dataset.GridFrameOffsetVector = [2, 3], [0, 4]
        dataset.FrameIncrementPointer = 0x3004000C

    made_up.change(tmp_path / "grid.dcm", grid)
    image = SimpleITK.ReadImage(str(tmp_path / "grid.dcm"))
    expected = [image.TransformIndexToPhysicalPoint((0, 0, k)) for k in range(2)]
    np.testing.assert_allclose(positions(scan.read_file(tmp_path / "grid.dcm")), expected)


@pytest.mark.parametrize(
    "header",
    [
        {},
        {"SpacingBetweenSlices": 5},
        {"SliceVector": [1, 2]},
        {"SliceVector": [1, 2], "SpacingBetweenSlices": 0},
    ],
)
def test_frames_of_which_nothing_tells_the_place_have_none(header):
    assert positions(placed(2, **header)) == [None, None]
    assert positions(instance(2, **header)) == [None, None]


def test_a_single_frame_lies_at_its_instances_place():
    assert positions(placed(1)) == [(1, 2, 3)]


def test_frames_are_numbered_within_their_instance_so_that_they_sort():
    found = multiframe.frames(PATH, instance(12))
    numbers = [float(frame.fact("InstanceNumber")) for frame in found]
    assert numbers == sorted(numbers)
    assert len(set(numbers)) == 12
    assert {int(n) for n in numbers} == {4}


def region(units=3, across=0.05, down=0.02):
    item = Dataset()
    item.PhysicalUnitsXDirection = item.PhysicalUnitsYDirection = units
    item.PhysicalDeltaX, item.PhysicalDeltaY = across, down
    return item


def test_ultrasound_spacing_is_of_its_regions_where_they_agree():
    def spacing(*regions, **header):
        dataset = instance(2, SequenceOfUltrasoundRegions=Sequence(regions), **header)
        return multiframe.frames(PATH, dataset)[0].spacing_mm

    assert spacing(region()) == pytest.approx((0.2, 0.5))  # rows, columns; cm to mm
    assert spacing(region(down=-0.02), region(units=4)) == pytest.approx((0.2, 0.5))
    assert spacing(region(), region(across=0.1)) is None
    assert spacing(region(units=4)) is None
    assert spacing(region(), PixelSpacing=[1, 1]) == (1, 1)


def test_contradictions_are_refused():
    with pytest.raises(GeometryError, match="SliceVector has 3 values where 2"):
        multiframe.frames(PATH, placed(2, SliceVector=[1, 2, 3], SpacingBetweenSlices=5))
    with pytest.raises(GeometryError, match="ImagePositionPatient"):
        multiframe.frames(PATH, placed(2, ImagePositionPatient=[1, 2]))


def test_more_frames_than_the_pixels_have_bits_are_refused_before_they_are_made():
    with pytest.raises(scan.NotDicom, match="NumberOfFrames is 2000000000"):
        multiframe.frames(PATH, instance(2_000_000_000, PixelData=bytes(100)))
    assert multiframe.count(instance(0)) == 1
    assert multiframe.count(instance(8, PixelData=b"\0")) == 8  # one bit each
