"""Attributes' values from bytes, against pydicom's own of the same bytes."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from radkit.dicom import attributes, part10

TEXTS = {"ImageType": "CS", "StudyDate": "DA", "StationName": "SH", "SeriesInstanceUID": "UI", "AcquisitionTime": "TM"}
NUMBERS = {"PixelSpacing": "DS", "InstanceNumber": "IS", "EchoTime": "DS"}
LETTERS = st.text("AZ09. -+eE\\\0\t", max_size=12).map(lambda text: text.encode("ascii"))


def holding(keyword, vr, value, little=True):
    raw = RawDataElement(Tag(keyword), vr, len(value), value, 0, vr is None, little, True)
    return Dataset({raw.tag: raw})


def either(function, *arguments):
    try:
        return function(*arguments)
    except attributes.NotDicom:
        return "refused"


@given(st.sampled_from(sorted(TEXTS)), LETTERS, st.booleans())
def test_texts_are_what_pydicom_makes_of_them(keyword, value, implicit):
    with part10.silence():
        ours = attributes.text(holding(keyword, None if implicit else TEXTS[keyword], value), keyword)
        decoded = holding(keyword, TEXTS[keyword], value)
        found = decoded[keyword].value
    several = isinstance(found, list) or type(found).__name__ == "MultiValue"
    assert ours == ("\\".join(map(str, found)) if several else str(found or "").rstrip("\0 ").strip())


@given(st.sampled_from(sorted(NUMBERS)), st.lists(st.floats(-1e6, 1e6), max_size=3), st.booleans())
def test_numbers_are_read_as_they_were_written(keyword, numbers, spaces):
    if NUMBERS[keyword] == "IS":
        numbers = [float(round(n)) for n in numbers]
    texts = [f"{n:.0f}" if NUMBERS[keyword] == "IS" else f"{n:.9g}" for n in numbers]
    value = "\\".join(f" {t} " if spaces else t for t in texts).encode()
    found = attributes.numbers(holding(keyword, NUMBERS[keyword], value), keyword)
    assert found == (tuple(map(float, texts)) if texts else None)


@given(st.sampled_from(sorted(NUMBERS)), LETTERS)
def test_whatever_stands_there_becomes_finite_numbers_or_is_refused(keyword, value):
    with part10.silence():
        found = either(attributes.numbers, holding(keyword, NUMBERS[keyword], value), keyword)
    assert found in (None, "refused") or all(map(math.isfinite, found))


@pytest.mark.parametrize("little", [True, False])
@given(number=st.integers(0, 65535))
def test_whole_numbers_of_two_bytes(little, number):
    value = number.to_bytes(2, "little" if little else "big")
    assert attributes.whole(holding("Rows", "US", value, little), "Rows", 7) == number


def test_what_is_absent_or_empty_is_the_default():
    assert attributes.whole(Dataset(), "Rows", 7) == 7
    assert attributes.whole(holding("Rows", "US", b""), "Rows", 7) == 7
    assert attributes.text(Dataset(), "Modality") == attributes.text(holding("Modality", "CS", b""), "Modality") == ""
    assert attributes.numbers(Dataset(), "EchoTime") is attributes.numbers(holding("EchoTime", "DS", b" "), "EchoTime")


@pytest.mark.parametrize(("keyword", "vr", "value"), [("Rows", "US", b"\1\2\3"), ("InstanceNumber", "IS", b"one")])
def test_what_is_no_whole_number_is_refused(keyword, vr, value):
    with pytest.raises(attributes.NotDicom), part10.silence():
        attributes.whole(holding(keyword, vr, value), keyword, 7)


def test_text_of_other_letters_is_pydicoms_work():
    dataset = holding("StationName", "SH", "Größe".encode("latin-1"))
    dataset.set_original_encoding(False, True, ["latin-1"])
    assert attributes.text(dataset, "StationName") == "Größe"
