"""Mosaics: tiles and places against the volume that the mosaic was made of."""

import io
import math
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from radkit.dicom import mosaic
from radkit.dicom.geometry import GeometryError
from radkit.errors import UserError
from tests import made_up
from tests.dicom.made_up_siemens import add_csa, add_private, middle, protocol, united
from tests.dicom.made_up_siemens import mosaic as made_up_mosaic

PATH = Path("mosaic.dcm")
ANGLE = st.floats(-180, 180)


def volume(count=7, size=(4, 6), *, flipped=False, angles=(0.0, 0.0, 0.0)):
    """Noise without an empty slice, and where it lies; `flipped`: against the cross product of rows and columns."""
    place = made_up.affine((3.6, 2.5, 2.0), angles=angles)
    if flipped:
        place[:3, 2] = -place[:3, 2]
    return made_up.stored_values((count, *size)), place


def check(dataset, stored, place, *findings):
    """Asserts that the frames are the volume's slices at their places."""
    found = mosaic.frames(PATH, dataset)
    assert found is not None
    assert len(found) == len(stored)
    sheet = np.frombuffer(dataset.PixelData, np.int16).reshape(dataset.Rows, dataset.Columns)
    for k, frame in enumerate(found):
        row, column = frame.tile
        assert frame.number == 0
        np.testing.assert_array_equal(sheet[row : row + frame.rows, column : column + frame.columns], stored[k])
        np.testing.assert_allclose(frame.position_mm, (place @ (0, 0, k, 1))[:3], atol=1e-5)
        np.testing.assert_allclose(frame.spacing_mm, (2.5, 2.0))
        assert frame.findings == findings
    return found


def refused(dataset, words):
    with pytest.raises(mosaic.MosaicError, match=words):
        mosaic.frames(PATH, dataset)


@given(st.integers(2, 40), st.booleans(), st.booleans(), st.tuples(ANGLE, ANGLE, ANGLE))
def test_every_slice_is_found_and_placed(count, marked, flipped, angles):
    stored, place = volume(count, flipped=flipped, angles=angles)
    dataset = made_up_mosaic(stored, place)
    add_csa(dataset, place, count, marked=marked)
    check(dataset, stored, place)


def test_a_tile_by_hand():
    # 4 slices of 2 x 2 pixels of 10 mm: the sheet's corner lies one pixel (half of 4 - 2) before the slices'.
    dataset = made_up_mosaic(np.arange(16, dtype=np.int16).reshape(4, 2, 2), np.diag([10.0, 10.0, 5.0, 1.0]))
    dataset.ImagePositionPatient = [-110.0, -60.0, 30.0]
    add_csa(dataset, np.eye(4), 4)
    found = mosaic.frames(PATH, dataset)
    assert [frame.tile for frame in found] == [(0, 0), (0, 2), (2, 0), (2, 2)]
    assert [frame.position_mm for frame in found] == [(-100.0, -50.0, z) for z in (30.0, 35.0, 40.0, 45.0)]
    assert (found[0].rows, found[0].columns) == (2, 2)


@pytest.mark.parametrize("flipped", [False, True])
def test_without_the_image_header_the_protocol_tells_the_order(flipped):
    stored, place = volume(flipped=flipped)
    dataset = made_up_mosaic(stored, place)
    add_private(dataset, "SIEMENS MR HEADER", 0x0019, 0x0A, "US", 7)
    # The protocol keeps its order when the images are numbered the other way.
    for centres in (middle(stored, place), middle(stored, place)[::-1]):
        add_private(dataset, "SIEMENS CSA HEADER", 0x0029, 0x20, "OB", protocol(centres))
        check(dataset, stored, place)


@pytest.mark.parametrize("angles", [(0, 0, 0), (90, 0, 0), (0, 90, 0), (-90, 20, 5)])
def test_the_number_of_slices_alone_assumes_the_usual_order_and_says_so(angles):
    stored, place = volume(angles=angles)
    if place[np.argmax(np.abs(place[:3, 2])), 2] < 0:
        stored, place = volume(angles=angles, flipped=True)
    dataset = made_up_mosaic(stored, place)
    add_private(dataset, "SIEMENS MR HEADER", 0x0019, 0x0A, "US", 7)
    check(dataset, stored, place, "mosaic without SliceNormalVector: the usual order of slices is assumed")


def test_a_number_whose_creator_was_removed_still_counts_but_not_of_another_maker():
    stored, place = volume(16)
    dataset = made_up_mosaic(stored, place, ImageType=["ORIGINAL", "PRIMARY", "M", "ND"])
    add_private(dataset, "SIEMENS MR HEADER", 0x0019, 0x0A, "US", 16)
    del dataset[0x0019, 0x0010]
    found = mosaic.frames(PATH, dataset)
    assert len(found) == 16
    assert any("ImageType does not say so" in said for said in found[0].findings)
    dataset.Manufacturer = "GE MEDICAL SYSTEMS"
    assert mosaic.frames(PATH, dataset) is None


def test_without_private_elements_the_acquired_matrix_tells_the_tiles_and_doubt_is_said():
    stored, place = volume(7)
    found = check(
        made_up_mosaic(stored, place),
        stored,
        place,
        "mosaic without its number of slices: 3 x 3 tiles by AcquisitionMatrix, the empty left out",
        "mosaic without SliceNormalVector: the usual order of slices is assumed",
    )
    assert len(found) == 7


def test_a_mosaic_of_which_nothing_tells_the_tiles_is_refused():
    stored, place = volume()
    dataset = made_up_mosaic(stored, place)
    del dataset.AcquisitionMatrix
    refused(dataset, "nothing says of how many slices")
    dataset.AcquisitionMatrix = [5, 0, 0, 7]  # 12 rows and 18 columns are no multiple
    refused(dataset, "nothing says of how many slices")


@pytest.mark.parametrize("header", [b"", b"SV10", b"\0" * 300, b"garbage" * 50])
def test_a_header_that_is_garbage_is_as_none(header):
    stored, place = volume()
    dataset = made_up_mosaic(stored, place)
    del dataset.AcquisitionMatrix
    add_private(dataset, "SIEMENS CSA HEADER", 0x0029, 0x10, "OB", header)
    refused(dataset, "nothing says of how many slices")


def test_images_that_are_no_mosaic_are_left_to_others():
    stored, place = volume(1, (12, 18))
    split = made_up_mosaic(stored, place)  # an archive took the mosaic apart and left the word
    assert mosaic.frames(PATH, split) is None
    add_csa(split, place, 9)  # and the header
    split.ImageType = ["DERIVED", "PRIMARY", "M"]
    assert mosaic.frames(PATH, split) is None
    alone = made_up_mosaic(stored, place)
    del alone.AcquisitionMatrix
    add_csa(alone, place, 1)
    assert mosaic.frames(PATH, alone) is None
    frames = made_up_mosaic(*volume())
    frames.NumberOfFrames = 7  # Siemens XA
    assert mosaic.frames(PATH, frames) is None
    tomogram = made_up_mosaic(*volume())
    tomogram.Modality = "CT"
    assert mosaic.frames(PATH, tomogram) is None


def test_a_mosaic_that_lost_every_word_is_refused_and_an_interpolated_image_is_not():
    def echo_planar(count, **header):
        said = {"ImageType": ["ORIGINAL", "PRIMARY"], "ScanningSequence": ["EP", "SE"], **header}
        return made_up_mosaic(*volume(count), **said)

    refused(echo_planar(9), "3 times as large as its AcquisitionMatrix")
    assert mosaic.frames(PATH, echo_planar(4)) is None
    assert mosaic.frames(PATH, echo_planar(9, ScanningSequence="GR")) is None
    assert mosaic.frames(PATH, echo_planar(9, Manufacturer="GE MEDICAL SYSTEMS")) is None


def test_a_mosaic_told_by_its_header_alone_is_read_with_a_finding():
    stored, place = volume()
    dataset = made_up_mosaic(stored, place, ImageType=["ORIGINAL", "PRIMARY", "M"])
    add_csa(dataset, place, 7)
    said = "taken for a mosaic by the private number of its slices, ImageType does not say so"
    check(dataset, stored, place, said)


def test_contradictions_are_refused():
    stored, place = volume()
    dataset = made_up_mosaic(stored, place)
    add_csa(dataset, place, 7)
    add_private(dataset, "SIEMENS MR HEADER", 0x0019, 0x0A, "US", 8)
    refused(dataset, r"\[7, 8\] slices")
    dataset = made_up_mosaic(stored, place)
    add_csa(dataset, place, 7, SliceNormalVector=["0.1", "0.0", "0.995"])
    refused(dataset, "SliceNormalVector")
    dataset = made_up_mosaic(stored, place)
    add_csa(dataset, place, 17)  # 5 x 5 tiles, of 12 rows
    refused(dataset, "12 rows and 18 columns")


@pytest.mark.parametrize("keyword", ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"])
def test_a_mosaic_without_a_place_is_refused(keyword):
    stored, place = volume()
    dataset = made_up_mosaic(stored, place)
    add_csa(dataset, place, 7)
    delattr(dataset, keyword)
    refused(dataset, "no place in the patient")


def test_a_place_that_is_no_place_is_refused():
    dataset = made_up_mosaic(*volume())
    dataset.ImagePositionPatient = [1.0, 2.0]
    with pytest.raises((GeometryError, mosaic.MosaicError), match="ImagePositionPatient"):
        mosaic.frames(PATH, dataset)


def test_the_way_between_slices_is_the_protocols_or_the_thickness_with_a_finding():
    stored, place = volume()
    dataset = made_up_mosaic(stored, place)
    add_csa(dataset, place, 7)
    del dataset.SpacingBetweenSlices
    found = mosaic.frames(PATH, dataset)
    assert math.dist(found[0].position_mm, found[1].position_mm) == pytest.approx(1.5)
    assert any("SliceThickness is taken" in said for said in found[0].findings)
    add_private(dataset, "SIEMENS CSA HEADER", 0x0029, 0x20, "OB", protocol(middle(stored, place)))
    check(dataset, stored, place)
    del dataset[0x0029, 0x1020], dataset.SliceThickness
    refused(dataset, "way between slices")


def test_diffusion_of_the_header_is_told():
    stored, place = volume()
    dataset = made_up_mosaic(stored, place)
    add_csa(dataset, place, 7, B_value=["1000"], DiffusionGradientDirection=["0.6", "0.0", "0.8"])
    for frame in mosaic.frames(PATH, dataset):
        assert frame.fact("DiffusionBValue") == "1000"
        assert frame.fact("DiffusionGradientOrientation") == "0.6\\0.0\\0.8"


@pytest.mark.parametrize("count", [1, 2, 5, 12, 20])
def test_tiles_of_uih_have_places_of_their_own(count):
    stored, place = volume(count)
    dataset = united(stored, place)
    add_private(dataset, "Image Private Header", 0x0065, 0x09, "FD", 700.0)
    add_private(dataset, "Image Private Header", 0x0065, 0x37, "FD", [0.0, 0.6, 0.8])
    found = check(dataset, stored, place)
    assert [frame.fact("AcquisitionTime") for frame in found] == [f"12000{k % 10}" for k in range(count)]
    assert found[0].fact("DiffusionBValue") == "700.0"
    assert found[0].fact("DiffusionGradientOrientation") == "0.0\\0.6\\0.8"


def test_tiles_of_uih_without_their_list_are_refused():
    dataset = united(*volume())
    del dataset[0x0065, 0x1051]
    refused(dataset, "MRVFrameSequence is absent")
    dataset = united(*volume(5))
    dataset.Rows = 7
    refused(dataset, "cannot be divided")


def test_messages_hold_nothing_of_the_patient():
    dataset = made_up_mosaic(*volume())
    del dataset.AcquisitionMatrix
    with pytest.raises(UserError) as error:
        mosaic.frames(PATH, dataset)
    assert not any(word in str(error.value) for word in ("Invented", "P001", PATH.name))


def test_a_private_element_is_found_in_its_creators_block():
    dataset = Dataset()
    where = ("RADKIT", 0x0019, 0x0A)
    assert mosaic.private(dataset, where) is None
    add_private(dataset, "SOMEONE ELSE", 0x0019, 0x0A, "US", 3)
    assert mosaic.private(dataset, where) is None
    add_private(dataset, "RADKIT", 0x0019, 0x0A, "US", 4)
    assert mosaic.private(dataset, where) == 4


def test_a_private_element_that_cannot_be_decoded_is_as_if_it_were_absent():
    creator = b"\x19\0\x10\0LO\6\0RADKIT"
    whole, cut = (b"\x19\0\x0a\x10FD" + bytes([length, 0]) + bytes(length) for length in (8, 6))
    for element, expected in ((whole, 0.0), (cut, None)):
        dataset = pydicom.dcmread(io.BytesIO(creator + element), force=True)
        assert mosaic.private(dataset, ("RADKIT", 0x0019, 0x0A)) == expected
