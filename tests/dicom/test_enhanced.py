"""Enhanced instances: facts and places of frames, wherever the groups keep them."""

import math
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from radkit.dicom import enhanced, mosaic, scan
from radkit.dicom.geometry import GeometryError
from tests import made_up
from tests.dicom.made_up_siemens import add_private

PATH = Path("enhanced.dcm")
ORIENTATION = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]
PHILIPS = "Philips MR Imaging DD 005"


def item(**values):
    """An item; a dict among the values is a sequence of one item."""
    dataset = Dataset()
    for keyword, value in values.items():
        setattr(dataset, keyword, Sequence([item(**value)]) if isinstance(value, dict) else value)
    return dataset


def group(z=0.0, **macros):
    """A frame's group, with a place."""
    return item(PlanePositionSequence={"ImagePositionPatient": [1, 2, z]}, **macros)


def shared(**macros):
    place = {
        "PlaneOrientationSequence": {"ImageOrientationPatient": ORIENTATION},
        "PixelMeasuresSequence": {"PixelSpacing": [2, 3], "SliceThickness": 4},
    }
    return item(**{**place, **macros})


def instance(groups, common=None, **header):
    dataset = item(
        SOPClassUID="1.2.840.10008.5.1.4.1.1.4.1", SOPInstanceUID=f"{made_up.ROOT_UID}.8", Modality="MR",
        InstanceNumber=3, NumberOfFrames=len(groups), Rows=5, Columns=7, BitsAllocated=16,
        PixelData=bytes(70 * len(groups)),
    )  # fmt: skip
    dataset.SharedFunctionalGroupsSequence = Sequence([shared() if common is None else common])
    dataset.PerFrameFunctionalGroupsSequence = Sequence(groups)
    for keyword, value in header.items():
        setattr(dataset, keyword, value)
    return dataset


def facts(dataset, keyword):
    return [frame.fact(keyword) for frame in enhanced.frames(PATH, dataset)]


def test_frames_are_placed_by_their_groups_and_the_shared_ones():
    found = enhanced.frames(PATH, instance([group(5.0), group(-1.5)]))
    assert [frame.position_mm for frame in found] == [(1, 2, 5), (1, 2, -1.5)]
    assert [frame.number for frame in found] == [0, 1]
    for frame in found:
        assert frame.path == PATH
        assert frame.orientation == tuple(ORIENTATION)
        assert frame.spacing_mm == (2, 3)
        assert (frame.rows, frame.columns) == (5, 7)
        assert frame.findings == ()
        assert float(frame.fact("SliceThickness")) == 4


def test_a_frames_own_word_stands_over_the_shared_and_that_over_the_instances():
    own = group(MRTimingAndRelatedParametersSequence={"FlipAngle": 10})
    common = shared(MRTimingAndRelatedParametersSequence={"FlipAngle": 20, "RepetitionTime": 21})
    dataset = instance([own, group(1)], common, FlipAngle=30, RepetitionTime=31, EchoTrainLength=32)
    assert facts(dataset, "FlipAngle") == ["10.0", "20.0"]
    assert facts(dataset, "RepetitionTime") == ["21.0", "21.0"]
    assert facts(dataset, "EchoTrainLength") == ["32", "32"]


def test_the_rescale_of_each_frame_is_a_layer():
    frames = [
        group(k, PixelValueTransformationSequence={"RescaleSlope": k + 1, "RescaleIntercept": -k}) for k in (0, 1)
    ]
    dataset = instance(frames, RescaleSlope=99)
    assert [float(v) for v in facts(dataset, "RescaleSlope")] == [1, 2]
    assert [float(v) for v in facts(dataset, "RescaleIntercept")] == [0, -1]


def test_enhanced_names_answer_as_classic_ones():
    frames = [
        group(
            MREchoSequence={"EffectiveEchoTime": 30.0 + k},
            MRModifierSequence={"InversionTimes": [900.0 + k]},
            CardiacSynchronizationSequence={"NominalCardiacTriggerDelayTime": 40.0 + k},
            MRDiffusionSequence={
                "DiffusionBValue": 1000.0 * k,
                "DiffusionDirectionality": "DIRECTIONAL",
                "DiffusionGradientDirectionSequence": {"DiffusionGradientOrientation": [0.0, 0.6, 0.8 * k]},
            },
            FrameContentSequence={
                "TemporalPositionIndex": k + 1, "FrameAcquisitionNumber": k + 2, "StackID": "1",
                "InStackPositionNumber": k + 3, "FrameAcquisitionDateTime": f"2020010112000{k}",
                "FrameReferenceDateTime": f"2020010113000{k}",
            },
        )
        for k in (0, 1)
    ]  # fmt: skip
    dataset = instance(frames, AcquisitionNumber=77)
    expected = {
        "EchoTime": ["30.0", "31.0"],
        "InversionTime": ["900.0", "901.0"],
        "TriggerTime": ["40.0", "41.0"],
        "DiffusionBValue": ["0.0", "1000.0"],
        "DiffusionDirectionality": ["DIRECTIONAL", "DIRECTIONAL"],
        "DiffusionGradientOrientation": ["0.0\\0.6\\0.0", "0.0\\0.6\\0.8"],
        "TemporalPositionIdentifier": ["1", "2"],
        "AcquisitionNumber": ["2", "3"],
        "StackID": ["1", "1"],
        "InStackPositionNumber": ["3", "4"],
        "AcquisitionTime": ["20200101120000", "20200101120001"],
        "ContentTime": ["20200101130000", "20200101130001"],
    }
    assert {keyword: facts(dataset, keyword) for keyword in expected} == expected


def test_what_nothing_tells_is_empty_and_the_instance_is_asked():
    dataset = instance([group()], AcquisitionNumber=77, EchoTime=12)
    assert facts(dataset, "AcquisitionNumber") == ["77"]
    assert facts(dataset, "EchoTime") == ["12.0"]
    assert facts(dataset, "DiffusionBValue") == [""]
    assert facts(dataset, "TemporalPositionIdentifier") == [""]


@pytest.mark.parametrize("macro", ["MRImageFrameTypeSequence", "CTImageFrameTypeSequence", "PETFrameTypeSequence"])
def test_the_image_type_is_the_frames_with_its_component(macro):
    kinds = [("M", "MAGNITUDE"), ("P", "PHASE")]
    frames = [
        group(**{macro: {"FrameType": ["ORIGINAL", "PRIMARY", t, "NONE"], "ComplexImageComponent": c}})
        for t, c in kinds
    ]
    dataset = instance(frames, ImageType=["ORIGINAL", "PRIMARY", "MIXED", "NONE"])
    expected = ["ORIGINAL\\PRIMARY\\M\\NONE\\MAGNITUDE", "ORIGINAL\\PRIMARY\\P\\NONE\\PHASE"]
    assert facts(dataset, "ImageType") == expected
    assert facts(instance([group()], ImageType=["DERIVED", "SECONDARY"]), "ImageType") == ["DERIVED\\SECONDARY"]


def dimensions(*keywords):
    return Sequence([item(DimensionIndexPointer=pydicom.datadict.tag_for_keyword(keyword)) for keyword in keywords])


def test_dimensions_that_are_no_place_tell_frames_apart():
    indices = [(1, 1, 1, 4), (1, 2, 1, 4), (1, 1, 2, 4)]
    frames = [group(FrameContentSequence={"DimensionIndexValues": list(values)}) for values in indices]
    named = dimensions("StackID", "InStackPositionNumber", "TemporalPositionTimeOffset", "DiffusionBValue")
    dataset = instance(frames, DimensionIndexSequence=named)
    assert facts(dataset, "DimensionIndexValues") == ["1\\4", "1\\4", "2\\4"]
    assert facts(dataset, "TemporalPositionIdentifier") == ["1", "1", "2"]
    dataset.DimensionIndexSequence = dimensions("StackID")  # not as many as there are indices
    assert facts(dataset, "TemporalPositionIdentifier") == ["", "", ""]


def test_the_temporal_index_stands_over_the_dimension():
    frames = [group(FrameContentSequence={"DimensionIndexValues": [8], "TemporalPositionIndex": 2})]
    dataset = instance(frames, DimensionIndexSequence=dimensions("TemporalPositionIndex"))
    assert facts(dataset, "TemporalPositionIdentifier") == ["2"]


def test_frames_are_numbered_within_their_instance_so_that_they_sort():
    numbers = [float(number) for number in facts(instance([group(k) for k in range(12)]), "InstanceNumber")]
    assert numbers == sorted(numbers)
    assert len(set(numbers)) == 12
    assert {int(number) for number in numbers} == {3}


def philips(**values):
    told = group(7.0)
    add_private(told, PHILIPS, 0x2005, 0x0F, "SQ", Sequence([item(**values)]))
    return told


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_philips_private_items_answer_last(tmp_path, syntax):
    told = philips(
        EchoTime=4.5, DiffusionBValue=800.0, ImageType=["ORIGINAL", "PRIMARY", "PHASE MAP", "P", "FFE"],
        ImagePositionPatient=[0, 0, 0], SOPInstanceUID="1.2.3", FlipAngle=5, PixelSpacing=[9, 9], AcquisitionNumber=6,
    )  # fmt: skip
    told.MRImageFrameTypeSequence = Sequence([item(FrameType=["ORIGINAL", "PRIMARY", "T1", "NONE"])])
    common = shared()
    more = item(FlipAngle=6, EchoTime=5.5, InversionTime=700, TriggerTime=3)
    add_private(common, PHILIPS, 0x2005, 0x0E, "SQ", Sequence([more]))
    made = instance([told], common, FlipAngle=8, TriggerTime=2, AcquisitionNumber=9)
    made.file_meta = pydicom.dataset.FileMetaDataset()
    made.file_meta.TransferSyntaxUID = syntax
    made.save_as(tmp_path / "philips.dcm", enforce_file_format=True)
    dataset = scan.read_file(tmp_path / "philips.dcm")
    (frame,) = enhanced.frames(PATH, dataset)
    assert frame.fact("EchoTime") == "4.5"
    assert frame.fact("DiffusionBValue") == "800.0"
    assert frame.fact("AcquisitionNumber") == "9"
    assert frame.fact("ImageType") == "ORIGINAL\\PRIMARY\\T1\\NONE\\PHASE MAP\\P\\FFE"
    assert frame.fact("FlipAngle") == "8.0"
    assert frame.fact("InversionTime") == "700.0"
    assert frame.fact("TriggerTime") == "2.0"
    assert frame.fact("SOPInstanceUID") == made.SOPInstanceUID
    assert frame.position_mm == (1, 2, 7)
    assert frame.spacing_mm == (2, 3)


def test_a_place_that_only_the_private_items_tell_is_none():
    told = philips(ImagePositionPatient=[0, 0, 0])
    del told.PlanePositionSequence
    assert enhanced.frames(PATH, instance([told]))[0].position_mm is None


def test_an_instances_own_place_is_that_of_its_only_frame_not_of_several():
    place = {"ImagePositionPatient": [4, 5, 6]}
    assert enhanced.frames(PATH, instance([item()], **place))[0].position_mm == (4, 5, 6)
    assert [f.position_mm for f in enhanced.frames(PATH, instance([item(), item()], **place))] == [None, None]


def test_the_place_in_an_ultrasound_volume_is_told_as_such():
    frames = [item(PlanePositionVolumeSequence={"ImagePositionVolume": [0.0, 0.0, 1.0 * k]}) for k in range(2)]
    common = item(
        PlaneOrientationVolumeSequence={"ImageOrientationVolume": ORIENTATION},
        PixelMeasuresSequence={"PixelSpacing": [1, 1]},
    )
    for k, frame in enumerate(enhanced.frames(PATH, instance(frames, common))):
        assert frame.position_mm == (0, 0, k)
        assert frame.orientation == tuple(ORIENTATION)
        assert any("not the patient's" in said for said in frame.findings)


def test_empty_values_do_not_hide_the_next_layers():
    dataset = instance(
        [group(FrameContentSequence={"FrameAcquisitionNumber": None, "StackID": ""})], AcquisitionNumber=5
    )
    assert facts(dataset, "AcquisitionNumber") == ["5"]
    assert facts(dataset, "StackID") == [""]


def test_an_attribute_that_cannot_be_read_is_no_reason_to_lose_the_frame():
    broken = group(MREchoSequence={"EffectiveEchoTime": 1.0})
    broken.MREchoSequence[0]["EffectiveEchoTime"] = raw("EffectiveEchoTime", b"abc", "FD")
    dataset = instance([broken])
    assert facts(dataset, "EchoTime") == [""]
    assert enhanced.frames(PATH, dataset)[0].position_mm == (1, 2, 0)


def test_groups_and_frames_must_be_as_many():
    with pytest.raises(enhanced.EnhancedError, match="has 2 items, NumberOfFrames is 3"):
        enhanced.frames(PATH, instance([group(), group()], NumberOfFrames=3))


def test_a_place_that_is_no_place_is_refused():
    with pytest.raises(GeometryError, match="ImagePositionPatient has 2 values"):
        enhanced.frames(PATH, instance([item(PlanePositionSequence={"ImagePositionPatient": [1, 2]})]))


def test_shared_groups_alone_are_enough_to_read():
    dataset = instance([group(), group()])
    del dataset.PerFrameFunctionalGroupsSequence
    found = enhanced.frames(PATH, dataset)
    assert [(frame.position_mm, frame.spacing_mm) for frame in found] == [(None, (2, 3))] * 2


def raw(keyword, value, vr="SQ"):
    return pydicom.dataelem.RawDataElement(pydicom.tag.Tag(keyword), vr, len(value), value, 0, False, True)


def test_groups_that_are_cut_short_are_refused():
    dataset = instance([group()])
    dataset.PerFrameFunctionalGroupsSequence[0]["MREchoSequence"] = raw("MREchoSequence", b"\xfe\xff\x00\xe0\xff")
    with pytest.raises(enhanced.EnhancedError, match="cannot be read"):
        enhanced.frames(PATH, dataset)


def test_a_mosaic_in_a_frame_is_refused_and_the_mere_word_is_not():
    told = group()
    types = item()
    add_private(types, "SIEMENS MR SDI 02", 0x0021, 0x75, "CS", ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"])
    add_private(told, "SIEMENS MR SDI 02", 0x0021, 0xFE, "SQ", Sequence([types]))
    with pytest.raises(mosaic.MosaicError, match="nothing says of how many slices"):
        enhanced.frames(PATH, instance([told]))
    split = instance([group(0), group(1)], ImageType=["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"])
    assert [frame.position_mm for frame in enhanced.frames(PATH, split)] == [(1, 2, 0), (1, 2, 1)]


@given(st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=20))
def test_every_frame_keeps_its_number_and_place(places):
    found = enhanced.frames(PATH, instance([group(round(z, 3)) for z in places]))
    assert [frame.number for frame in found] == list(range(len(places)))
    assert all(math.isclose(f.position_mm[2], z, abs_tol=1e-3) for f, z in zip(found, places, strict=True))


@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_a_legacy_converted_instance_answers_as_the_files_that_it_was_made_of(tmp_path, modality):
    if modality == "CT":
        made_up.ct_series(tmp_path, SeriesNumber=1, StudyDate="20200101", StudyTime="120000")
    else:
        made_up.ct_series(tmp_path, Modality="MR", SeriesNumber=1, StudyDate="20200101", StudyTime="120000")
    originals = [pydicom.dcmread(path) for path in sorted(tmp_path.iterdir())]
    for k, original in enumerate(originals):
        original.AcquisitionNumber, original.FlipAngle, original.AcquisitionTime = k + 1, 10 + k, f"12000{k}"
    writer = {
        "CT": highdicom.legacy.LegacyConvertedEnhancedCTImage,
        "MR": highdicom.legacy.LegacyConvertedEnhancedMRImage,
    }
    made = writer[modality](
        originals, series_instance_uid="1.2.3.4", series_number=2, sop_instance_uid="1.2.3.5", instance_number=1
    )
    made.save_as(tmp_path / "legacy.dcm")
    found = enhanced.frames(tmp_path / "legacy.dcm", scan.read_file(tmp_path / "legacy.dcm"))
    assert len(found) == len(originals)
    stored = made.pixel_array
    for frame in found:
        (source,) = [o for o in originals if np.array_equal(o.pixel_array, stored[frame.number])]
        assert frame.position_mm == tuple(source.ImagePositionPatient)
        assert frame.orientation == tuple(source.ImageOrientationPatient)
        assert frame.spacing_mm == tuple(source.PixelSpacing)
        assert float(frame.fact("FlipAngle")) == source.FlipAngle
        assert frame.fact("AcquisitionNumber") == str(source.AcquisitionNumber)
