"""What identifies in a header, as it may stand in an image."""

import pydicom
import pytest

from radkit.deid.text_in_pixels import known


def header() -> pydicom.Dataset:
    made = pydicom.Dataset()
    made.PatientName, made.PatientID, made.PatientBirthDate = "Müller^Jörg Peter", "47-11/0815", "19610312"
    made.AccessionNumber, made.StudyTime, made.PatientAge = "A20394417", "143205.120", "054Y"
    made.SeriesDescription, made.PatientSex = "T2 AXIAL", "M"
    item = pydicom.Dataset()
    item.RequestingPhysician = "Okafor^Ada"
    made.RequestAttributesSequence = [item]
    return made


@pytest.mark.parametrize(
    "spelling",
    ["MULLER", "JORG", "47110815", "19610312", "12031961", "03121961", "12MAR1961", "MAR121961", "120361", "A20394417",
     "143205", "54Y", "OKAFOR"],
)  # fmt: skip
def test_names_numbers_and_dates_are_known_in_their_spellings(spelling):
    assert spelling in known.known_strings(header())


def test_what_does_not_identify_is_not_known():
    strings = known.known_strings(header())
    assert not strings & {"T2", "AXIAL", "T2AXIAL", "M"}


@pytest.mark.parametrize("said", ["DOB: 12.03.1961", "Mul1er", "ID 47-11 O815", "Mueller, JORG", "A2039441/"])
def test_misread_text_is_still_recognized(said):
    assert known.names_any(said, known.known_strings(header()))


@pytest.mark.parametrize("said", ["", "R", "kV 120", "SUPINE", "T2 AXIAL", "10 cm"])
def test_other_text_is_not(said):
    assert not known.names_any(said, known.known_strings(header()))


def test_a_value_that_cannot_be_decoded_hides_no_other():
    made = header()
    made[0x00080050] = pydicom.dataelem.RawDataElement(
        pydicom.tag.Tag(0x00080050), "US", 1, b"\x01", 0, False, True
    )  # fmt: skip
    assert "MULLER" in known.known_strings(made)
