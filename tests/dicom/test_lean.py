"""The lean reader says what pydicom says, or that it does not know."""

import contextlib
import os
import struct
import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.data import get_testdata_files
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    EnhancedMRImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from radkit.dicom import facts, lean, scan
from tests import made_up

# pydicom's own, those that come with it; `get_testdata_files` fetches none.
WITH_PYDICOM = sorted(name for name in get_testdata_files() if Path(name).is_file())


def outcome(read, path):
    try:
        instance = read(path)
    except scan.NotDicom as error:
        return str(error)
    return instance.values, instance.referenced_series, instance.segment_labels


def is_lean(path):
    try:
        lean.read(path, scan._WANTED)
    except lean.Odd:
        return False
    return True


@pytest.fixture
def file(tmp_path):
    made_up.ct_series(tmp_path / "s", slices=1, Manufacturer="Invented", SeriesDescription="Bauch")
    return next((tmp_path / "s").iterdir())


@pytest.mark.parametrize("name", WITH_PYDICOM, ids=lambda name: Path(name).name)
def test_pydicoms_own_files_give_the_same_rows(name):
    assert outcome(scan.read_instance, name := Path(name)) == outcome(scan._read_instance_whole, name)


def test_most_of_pydicoms_own_files_need_no_pydicom():
    lean_ones = sum(is_lean(name) for name in WITH_PYDICOM)
    assert lean_ones > 0.6 * len(WITH_PYDICOM)


@pytest.mark.parametrize("syntax", made_up.SYNTAXES, ids=lambda s: s.name)
def test_all_but_deflated_syntaxes_are_walked(file, tmp_path, syntax):
    made_up.save(pydicom.dcmread(file), tmp_path / "a", syntax)
    assert is_lean(tmp_path / "a") == (syntax != DeflatedExplicitVRLittleEndian)
    assert outcome(scan.read_instance, tmp_path / "a") == outcome(scan._read_instance_whole, tmp_path / "a")


TEXTS = st.text("ABz ,.0159-+\\^äß€中\0\t", max_size=12)
NUMBERS = st.one_of(
    st.floats(-1e6, 1e6).map(lambda v: f"{v:.6g}"),
    st.sampled_from(["1", " 2 ", "3.", ".5", "+1e3", "nan", "1e400", "x"]),
)
SETS = ("", "ISO_IR 6", "ISO_IR 100", "ISO_IR 192", "ISO_IR 144", "\\ISO 2022 IR 87", "GB18030", "none such")
SYNTAXES = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian)


@st.composite
def elements(draw):
    """Returns (tag, vr, bytes) of attributes that are wanted, with all that is wrong with real ones."""
    found = []
    for tag, (_, vr) in sorted(scan._WANTED.by_tag.items()):
        if tag in (0x00080016, 0x00080018) or not draw(st.booleans()):
            continue
        if vr in ("US", "FD"):
            value = draw(st.binary(max_size=2 * {"US": 2, "FD": 8}[vr]))
        elif vr in ("DS", "IS"):
            value = "\\".join(draw(st.lists(NUMBERS, max_size=3))).encode()
        else:
            value = draw(TEXTS).encode(draw(st.sampled_from(["latin-1", "utf-8", "gb18030"])), "replace")
        said = draw(st.sampled_from([vr, vr, vr, vr, "UN", "LO"]))
        found.append((tag, said, value + b" " * (len(value) % 2)))
    return found


def encoded(found, syntax):
    order, implicit = (">" if syntax == ExplicitVRBigEndian else "<"), syntax == ImplicitVRLittleEndian
    parts = []
    for tag, vr, value in found:
        head = struct.pack(order + "HH", tag >> 16, tag & 0xFFFF)
        if implicit:
            head += struct.pack("<L", len(value))
        elif vr in ("UN", "SQ", "OB"):
            head += vr.encode() + bytes(2) + struct.pack(order + "L", len(value))
        else:
            head += vr.encode() + struct.pack(order + "H", len(value))
        parts.append(head + value)
    return b"".join(parts)


def part10(body, syntax):
    said = syntax.encode() + b"\0" * (len(syntax) % 2)
    return bytes(128) + b"DICM" + encoded([(0x00020010, "UI", said)], ExplicitVRLittleEndian) + body


@pytest.mark.slow
@settings(max_examples=200, suppress_health_check=list(HealthCheck), deadline=None)
@given(
    found=elements(), charset=st.sampled_from(SETS), syntax=st.sampled_from(SYNTAXES), nested=st.integers(0, 2),
    pixels=st.booleans(), end=st.integers(-20, 0),
)  # fmt: skip
def test_made_up_files_give_the_same_rows(tmp_path, found, charset, syntax, nested, pixels, end):
    path = tmp_path / "a"
    letters = charset.encode() + b" " * (len(charset) % 2)
    identity = [(0x00080005, "CS", letters), (0x00080016, "UI", b"1.2."), (0x00080018, "UI", b"1.25")]
    inner = encoded([(0x00080060, "CS", b"PR"), (0x00180050, "DS", b"7 ")], syntax)
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    item = (
        struct.pack(order + "HHL", 0xFFFE, 0xE000, 0xFFFFFFFF) + inner + struct.pack(order + "HHL", 0xFFFE, 0xE00D, 0)
    )
    sequence = struct.pack(order + "HH", 0x0040, 0x0275)
    sequence += b"" if syntax == ImplicitVRLittleEndian else b"SQ\0\0"
    sequence += struct.pack(order + "L", 0xFFFFFFFF) + item * nested + struct.pack(order + "HHL", 0xFFFE, 0xE0DD, 0)
    body = encoded(sorted([*identity, *found]), syntax) + sequence
    if pixels:
        body += encoded([(0x7FE00010, "OB", bytes(64))], syntax)
    whole = part10(body, syntax)
    path.write_bytes(whole[: len(whole) + end])
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a warning could tell a value
        assert outcome(scan.read_instance, path) == outcome(scan._read_instance_whole, path)


@settings(max_examples=150, suppress_health_check=list(HealthCheck), deadline=None)
@given(data=st.data())
def test_damaged_files_give_a_row_or_a_reason_never_another_error(tmp_path, file, data):
    content = bytearray(file.read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(128, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "a"
    path.write_bytes(bytes(content[: data.draw(st.integers(100, len(content)))]))
    with contextlib.suppress(lean.Odd):
        lean.read(path, scan._WANTED)
    with contextlib.suppress(scan.NotDicom):
        scan.read_instance(path)


def test_text_that_is_not_plain_is_read_as_its_character_set_says(file):
    dataset = pydicom.dcmread(file)
    dataset.SpecificCharacterSet = "\\ISO 2022 IR 149"
    dataset.SeriesDescription = "복부"
    dataset.ProtocolName = "plain"
    dataset.save_as(file)
    header = lean.read(file, scan._WANTED)
    assert "SeriesDescription" in header.odd_keywords
    assert scan.read_instance(file)["SeriesDescription"] == "복부"
    for charset in ("ISO_IR 100", "ISO_IR 192"):
        dataset.SpecificCharacterSet, dataset.SeriesDescription = charset, "Schädel  "
        dataset.save_as(file)
        assert lean.read(file, scan._WANTED).texts["SeriesDescription"] == "Schädel"


def test_what_lies_behind_large_elements_is_found(file):
    dataset = pydicom.dcmread(file)
    block = dataset.private_block(0x0019, "INVENTED", create=True)
    block.add_new(0x01, "OB", bytes(200_000))
    dataset.save_as(file)
    assert is_lean(file)
    assert scan.read_instance(file)["Rows"] == "6"


def test_only_the_beginning_of_a_file_is_read(file, monkeypatch):
    dataset = pydicom.dcmread(file)
    dataset.Rows = dataset.Columns = 1024
    dataset.PixelData = bytes(2 << 20)
    dataset.save_as(file)
    read, pread = [], os.pread
    monkeypatch.setattr(os, "pread", lambda d, count, place: read.append(count) or pread(d, count, place))
    assert scan.read_instance(file)["Rows"] == "1024"
    assert sum(read) <= 32 * 1024


def test_elements_out_of_order_or_twice_are_left_to_pydicom(tmp_path):
    identity = [(0x00080016, "UI", b"1.2."), (0x00080018, "UI", b"1.25")]
    for more in ([(0x00280010, "US", b"\1\0"), (0x00200013, "IS", b"7 ")], [(0x00200013, "IS", b"7 ")] * 2):
        (tmp_path / "a").write_bytes(
            part10(encoded([*identity, *more], ExplicitVRLittleEndian), ExplicitVRLittleEndian)
        )
        assert not is_lean(tmp_path / "a")
        assert scan.read_instance(tmp_path / "a")["InstanceNumber"] == "7"


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda s: s.name)
@pytest.mark.parametrize("undefined", [False, True])
def test_an_enhanced_instance_tells_its_first_frames_place(file, syntax, undefined):
    dataset = pydicom.dcmread(file)
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"):
        del dataset[keyword]
    dataset.SOPClassUID = EnhancedMRImageStorage
    dataset.NumberOfFrames, dataset.PixelData = 2, dataset.PixelData * 2

    def item(**values):
        made = Dataset()
        for keyword, value in values.items():
            setattr(made, keyword, value)
        return made

    shared = item(
        PixelMeasuresSequence=[item(PixelSpacing=[0.5, 0.6], SliceThickness=2, SpacingBetweenSlices=2.5)],
        PlaneOrientationSequence=[item(ImageOrientationPatient=[0, 1, 0, 0, 0, -1])],
        MREchoSequence=[item(EffectiveEchoTime=12.5)],
    )
    frames = [item(PlanePositionSequence=[item(ImagePositionPatient=[1, 2, z])]) for z in (3, 4)]
    dataset.SharedFunctionalGroupsSequence = Sequence([shared])
    dataset.PerFrameFunctionalGroupsSequence = Sequence(frames)
    for sequence in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        dataset[sequence].is_undefined_length = undefined
        for each in dataset[sequence].value:
            each.is_undefined_length_sequence_item = undefined
    if syntax == ExplicitVRBigEndian:
        dataset.PixelData = np.frombuffer(dataset.PixelData, "<u2").byteswap().tobytes()
    made_up.save(dataset, file, syntax)
    assert is_lean(file)
    instance = scan.read_instance(file)
    assert outcome(scan.read_instance, file) == outcome(scan._read_instance_whole, file)
    assert facts.numbers(instance["ImagePositionPatient"], 3) == (1, 2, 3)
    assert facts.numbers(instance["ImageOrientationPatient"], 6) == (0, 1, 0, 0, 0, -1)
    assert (instance["PixelSpacing"], instance["SpacingBetweenSlices"]) == ("0.5\\0.6", "2.5")
    assert float(instance["EchoTime"]) == 12.5


def test_the_pixels_of_two_that_share_colours_are_not_called_cut_short(file):
    dataset = pydicom.dcmread(file)
    dataset.SamplesPerPixel, dataset.PlanarConfiguration = 3, 0
    dataset.PhotometricInterpretation = "YBR_FULL_422"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.Rows, dataset.Columns = 8, 8, 7, 200, 200
    dataset.PixelData = bytes(200 * 200 * 2)
    dataset.save_as(file)
    assert scan.read_instance(file)["Rows"] == "200"
    file.write_bytes(file.read_bytes()[:-5000])
    with pytest.raises(scan.NotDicom, match="cut short: its pixels take 80000 bytes"):
        scan.read_instance(file)
