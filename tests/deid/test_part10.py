"""What a file is told to be and what it is: read as it is, written as readers expect it."""

import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import pydicom
import pytest
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    RLELossless,
)

from radkit.deid import keys, part10, reencode, verify, wire
from radkit.deid.settings import Settings
from radkit.deid.wire import NotCleanable
from tests.deid.test_engine import KEY, PIXELS, cleaned, content, header, packed, raw, written

NATIVE = {
    ExplicitVRLittleEndian: wire.EXPLICIT,
    ImplicitVRLittleEndian: wire.IMPLICIT,
    ExplicitVRBigEndian: wire.BIG,
}


def body(dataset, syntax):
    return packed(dataset, syntax)


def checked(path, folder):
    """Returns the cleaned file as pydicom reads it, without being told to be lenient."""
    output = cleaned(path, folder)
    assert verify.file(output) == []
    after = pydicom.dcmread(output)
    assert after.preamble == bytes(128)
    assert (after.PatientID, after.Rows, after.KVP) == (KEY.patient("PLANTED1"), 16, 120)
    return after


# --- what stands around a data set -------------------------------------------------------------------------------


@pytest.mark.parametrize("syntax", list(NATIVE))
@pytest.mark.parametrize("around", ["nothing", "meta only", "preamble only"])
def test_what_old_archives_leave_out_is_made(tmp_path, syntax, around):
    if syntax == ExplicitVRBigEndian and around == "meta only":
        around = "nothing"
    dataset = header(syntax)
    whole = written(dataset, tmp_path).read_bytes()
    bare = body(dataset, NATIVE[syntax])
    meta = whole[132 : len(whole) - len(bare)]
    content_ = {"nothing": bare, "meta only": meta + bare, "preamble only": bytes(128) + b"DICM" + bare}[around]
    (tmp_path / "bare").write_bytes(content_)
    after = checked(tmp_path / "bare", tmp_path / "out")
    assert after.file_meta.TransferSyntaxUID == syntax
    assert after.PixelData == PIXELS


@pytest.mark.parametrize("real", list(NATIVE))
@pytest.mark.parametrize("said", list(NATIVE))
def test_a_meta_that_lies_is_not_believed(tmp_path, real, said):
    dataset = header(real)
    path = tmp_path / "in.dcm"
    path.write_bytes(part10.meta(dataset.SOPClassUID, dataset.SOPInstanceUID, said) + body(dataset, NATIVE[real]))
    after = checked(path, tmp_path / "out")
    assert after.file_meta.TransferSyntaxUID == real
    assert after.PixelData == PIXELS


def test_a_meta_without_a_transfer_syntax_or_a_length_is_understood(tmp_path):
    dataset = header()
    class_ = wire.element(0x00020002, "UI", str(dataset.SOPClassUID).encode(), wire.EXPLICIT)
    for meta in (class_, class_ + wire.element(0x00020010, "UI", b"", wire.EXPLICIT)):
        path = tmp_path / "in.dcm"
        path.write_bytes(bytes(128) + b"DICM" + meta + body(dataset, wire.EXPLICIT))
        out = tmp_path / str(len(meta))
        assert checked(path, out).file_meta.TransferSyntaxUID == ExplicitVRLittleEndian


@pytest.mark.parametrize("said", ["PLANTED", "1.2.840.10008.1.2.PLANTED", "1.2.840.10008.1.2.4.95"])
def test_a_transfer_syntax_that_cannot_be_read_is_refused(tmp_path, said):
    dataset = header()
    path = tmp_path / "in.dcm"
    path.write_bytes(part10.meta(dataset.SOPClassUID, dataset.SOPInstanceUID, said) + body(dataset, wire.EXPLICIT))
    with pytest.raises(NotCleanable, match="transfer syntax that cannot be read") as refused:
        cleaned(path, tmp_path / "out")
    assert "PLANTED" not in str(refused.value)


# --- implicit data sets under a compressed transfer syntax -------------------------------------------------------


def compressed(syntax):
    dataset = header(syntax)
    dataset.PixelData = encapsulate([PIXELS, PIXELS[::-1]])
    dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
    dataset.NumberOfFrames = 2
    nested = pydicom.Dataset()
    nested.CodeValue, nested.CodingSchemeDesignator, nested.CodeMeaning = "T-A0100", "SRT", "Brain"
    dataset.AnatomicRegionSequence = [nested]
    dataset["AnatomicRegionSequence"].is_undefined_length = True
    nested.is_undefined_length_sequence_item = True
    dataset.add(raw(0x00090010, "LO", b"MAKER"))
    dataset.add(raw(0x00091001, "UN", b"PLANTED"))
    return dataset


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGBaseline8Bit, RLELossless])
def test_implicit_elements_under_a_compressed_syntax_become_explicit(tmp_path, syntax):
    # All of them are explicit (PS3.5 A.4); no reader finds its way through the others.
    dataset = compressed(syntax)
    head = part10.meta(dataset.SOPClassUID, dataset.SOPInstanceUID, syntax)
    path = tmp_path / "in.dcm"
    path.write_bytes(head + body(dataset, wire.IMPLICIT))
    after = checked(path, tmp_path / "out")
    assert after.file_meta.TransferSyntaxUID == syntax
    assert list(generate_frames(after.PixelData, number_of_frames=2)) == [PIXELS, PIXELS[::-1]]
    assert after.AnatomicRegionSequence[0].CodeMeaning == "Brain"
    assert not [e for e in after if e.tag.is_private]
    again = tmp_path / "explicit.dcm"
    again.write_bytes(head + body(dataset, wire.EXPLICIT))
    as_explicit = cleaned(again, tmp_path / "explicit")
    assert pydicom.dcmread(as_explicit) == after


def test_elements_made_explicit_are_those_that_were_implicit():
    dataset = compressed(JPEG2000Lossless)
    implicit = body(dataset, wire.IMPLICIT)
    explicit = reencode.explicit(wire.Scanner(implicit), 0, len(implicit))
    entries = [
        list(wire.Scanner(b).entries(0, len(b), s)) for b, s in ((implicit, wire.IMPLICIT), (explicit, wire.EXPLICIT))
    ]
    assert [e.tag for e in entries[0]] == [e.tag for e in entries[1]]
    values = [{e.tag: b[e.value : e.value_end] for e in found} for found, b in zip(entries, (implicit, explicit))]
    assert {t: v for t, v in values[0].items() if t != 0x00082218} == {
        t: v for t, v in values[1].items() if t != 0x00082218
    }


# --- deflated, padded, cut ---------------------------------------------------------------------------------------


def test_a_deflated_file_is_deflated_again_and_of_even_length(tmp_path):
    path = written(header(DeflatedExplicitVRLittleEndian), tmp_path)
    output = cleaned(path, tmp_path / "out")
    assert len(output.read_bytes()) % 2 == 0
    assert b"PLANTED" not in content(output)
    assert checked(path, tmp_path / "again").PixelData == PIXELS


def test_what_stands_behind_deflated_data_is_not_copied(tmp_path):
    path = written(header(DeflatedExplicitVRLittleEndian), tmp_path)
    path.write_bytes(path.read_bytes() + b"PLANTED")
    assert b"PLANTED" not in cleaned(path, tmp_path / "out").read_bytes()


@pytest.mark.parametrize("damage", [lambda b: b[:-40], lambda b: b[:400] + b"PLANTED" + b[407:], lambda b: b[:360]])
def test_damaged_deflated_data_are_refused(tmp_path, damage):
    path = written(header(DeflatedExplicitVRLittleEndian), tmp_path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(NotCleanable):
        cleaned(path, tmp_path / "out")


@pytest.mark.parametrize("syntax", list(NATIVE))
@pytest.mark.parametrize("zeros", [1, 2, 8, 11, 12, 512, 10_000])
def test_zeros_behind_a_data_set_are_left_out(tmp_path, syntax, zeros):
    # Archives fill blocks up; pydicom and DCMTK pass over it.
    path = written(header(syntax), tmp_path)
    without = cleaned(path, tmp_path / "without").read_bytes()
    path.write_bytes(path.read_bytes() + bytes(zeros))
    assert cleaned(path, tmp_path / "out").read_bytes() == without


def test_what_stands_behind_zeros_is_not_copied(tmp_path):
    path = written(header(), tmp_path)
    path.write_bytes(path.read_bytes() + bytes(6000) + b"PLANTED")
    try:
        output = cleaned(path, tmp_path / "out")
    except NotCleanable:
        return
    assert b"PLANTED" not in output.read_bytes()


# --- large files -------------------------------------------------------------------------------------------------


def large(path, *, frames=18, frame_bytes=1 << 20):
    """Writes an image whose pixels are a hole in the file but for its first and last bytes."""
    dataset = header()
    del dataset.PixelData
    dataset.NumberOfFrames = frames
    path.write_bytes(part10.meta(dataset.SOPClassUID, dataset.SOPInstanceUID, ExplicitVRLittleEndian))
    length = frames * frame_bytes
    with path.open("ab") as file:
        file.write(body(dataset, wire.EXPLICIT) + wire.header(0x7FE00010, "OW", length, wire.EXPLICIT))
        start = file.tell()
        file.write(b"first")
    os.truncate(path, start + length)
    with path.open("r+b") as file:
        file.seek(-6, os.SEEK_END)
        file.write(b"last  ")
    return start, length


def test_a_large_file_is_mapped_and_its_pixels_are_the_same(tmp_path):
    _, length = large(tmp_path / "in.dcm", frames=9)
    with part10.opened(tmp_path / "in.dcm") as source:
        assert source.mapped
    output = cleaned(tmp_path / "in.dcm", tmp_path / "out")
    assert b"PLANTED" not in output.read_bytes()[:4096]
    pixels = pydicom.dcmread(output).PixelData
    assert len(pixels) == length
    assert (pixels[:5], pixels[-6:], any(pixels[5:-6])) == (b"first", b"last  ", False)
    assert verify.file(output) == []


def test_a_large_file_that_is_cut_is_refused(tmp_path):
    large(tmp_path / "in.dcm", frames=9)
    os.truncate(tmp_path / "in.dcm", (9 << 20) - 1000)
    with pytest.raises(NotCleanable, match="cut short"):
        cleaned(tmp_path / "in.dcm", tmp_path / "out")
    assert not [p for p in (tmp_path / "out").rglob("*") if p.is_file()]


def test_large_pixels_in_all_native_syntaxes_and_deflated_are_the_same(tmp_path):
    many = PIXELS * (9 << 11)
    for syntax in (*NATIVE, DeflatedExplicitVRLittleEndian):
        dataset = header(syntax)
        dataset.PixelData = many
        path = written(dataset, tmp_path)
        assert pydicom.dcmread(cleaned(path, tmp_path / str(syntax))).PixelData == many


_MEASURE = """
import resource, sys
from pathlib import Path
from radkit.deid import files, keys, settings
small, large, out = map(Path, sys.argv[1:])
work = files.Work(keys.Key(bytes(32)), settings.Settings())
files.deidentify_file(small, out, work)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
files.deidentify_file(large, out, work)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.slow
def test_memory_is_flat_however_large_a_file_is(tmp_path):
    large(tmp_path / "small.dcm", frames=9)
    large(tmp_path / "large.dcm", frames=300)
    files = [str(tmp_path / name) for name in ("small.dcm", "large.dcm", "out")]
    done = subprocess.run(
        [sys.executable, "-c", _MEASURE, *files],
        cwd=Path(__file__).parents[2], check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert int(done.stdout) < 30_000  # KB, of a file of 300 MB


# --- writing -----------------------------------------------------------------------------------------------------


def test_a_file_appears_under_its_name_when_it_is_complete_only(tmp_path, monkeypatch):
    def fail(*_):
        assert not list((tmp_path / "out").rglob("*.dcm"))
        raise OSError(28, "full")

    monkeypatch.setattr(part10, "_write_parts", fail)
    with pytest.raises(OSError, match="full"):
        cleaned(written(header(), tmp_path), tmp_path / "out")
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]


def test_a_full_disk_is_no_quarantine_and_leaves_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    path = written(header(), tmp_path)
    monkeypatch.setattr(part10, "_write", full)
    with pytest.raises(OSError, match="No space"):
        cleaned(path, tmp_path / "out")
    assert not [p for p in (tmp_path / "out").rglob("*") if p.is_file()]


def test_the_meta_is_whole_and_counts_itself():
    meta = part10.meta("1.2.3", "1.2.4", ExplicitVRLittleEndian)
    assert meta[:132] == bytes(128) + b"DICM"
    length = struct.unpack("<L", meta[140:144])[0]
    assert len(meta) == 144 + length
    assert zlib.crc32(meta) == zlib.crc32(part10.meta("1.2.3", "1.2.4", ExplicitVRLittleEndian))


def test_the_source_stays_as_it_is(tmp_path):
    path = written(header(), tmp_path)
    before = path.read_bytes()
    path.chmod(0o444)
    cleaned(path, tmp_path / "out", key=keys.Key(bytes(32)), chosen=Settings())
    assert path.read_bytes() == before
