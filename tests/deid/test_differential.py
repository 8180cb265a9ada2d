"""The raw-byte engine against a second de-identifier that shares no step with it, on made-up and on real files."""

import json
from pathlib import Path

import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import UID, ExplicitVRBigEndian, ImplicitVRLittleEndian

import radkit
from radkit.deid import part10, profile, safe_private, wire
from radkit.deid.settings import Settings
from radkit.deid.wire import NotCleanable
from radkit.dicom.part10 import silence
from tests.deid import reference
from tests.deid.test_engine import CT, KEY, SEGMENTATION, SYNTAXES, header, packed, raw

PLAN, ENHANCED_MR, UNKNOWN = "1.2.840.10008.5.1.4.1.1.481.5", "1.2.840.10008.5.1.4.1.1.4.1", "1.2.999.66"
RADIOGRAPH, PRESENTATION = "1.2.840.10008.5.1.4.1.1.1", "1.2.840.10008.5.1.4.1.1.11.1"
CLASSES = (CT, SEGMENTATION, PLAN, ENHANCED_MR, RADIOGRAPH, PRESENTATION, UNKNOWN)
RETAIN = tuple(option for option in profile.OPTIONS if option.startswith("Retain"))

REAL = sorted(Path(pydicom.__file__).parent.glob("data/test_files/**/*"))
SHIPPED = sorted(p for p in (Path(radkit.__file__).parent / "demo/data/series").rglob("*") if p.is_file())

# Not made up: an instance's own identifiers and pixels, which `header` has, and what declares private elements safe.
_GIVEN = {int(element.tag) for element in header().elements()} | {0x00080005, 0x00080300, 0x7FE00008, 0x7FE00009}
LISTED = [t for t, row in profile.ATTRIBUTES.items() if row.vr and t not in _GIVEN and t >> 16 not in (0, 2)]
PUBLIC = [t for t in pydicom.datadict.DicomDictionary if t not in _GIVEN and t >> 16 not in (0, 2, 0xFFFE)]


def _telling(row: profile.Attribute) -> bool:
    return "D" in row.basic or "U" in row.basic or "K" in row.options.values()


# pydicom does not know all of the table's sequences, and reads those as bytes where the file gives no VR.
_NESTING = [t for t in {*LISTED, *PUBLIC} if reference.vr(t) == "SQ" and t in pydicom.datadict.DicomDictionary]
# What goes by its Type, sequences whose items become dummies or stay, labels, and the paths along which IODs say more.
_COMPOUND = [t for t in LISTED if "/" in profile.ATTRIBUTES[t].basic]
_SPECIAL = [t for t in _NESTING if t in profile.ATTRIBUTES and _telling(profile.ATTRIBUTES[t])]
_LABELS = [0x00181160, 0x00181210, 0x00620005, 0x00082111, 0x00189005, 0x0040A30A, 0x00280010, 0x00080104, 0x30060026]
_PATHS = [
    0x52009229, 0x52009230, 0x00620002, 0x300A00B0, 0x300A0111, 0x00081115, 0x0008114A, 0x00081140, 0x00082218,
    0x00189346, 0x00209111, 0x00209113, 0x00189114, 0x00081199, 0x00289110, 0x0040A043, 0x00081032, 0x00540220,
    0x00089124,
]  # fmt: skip
_SAFE = json.loads(Path(safe_private.__file__).with_name("safe_private.json").read_text(encoding="utf-8"))["elements"]
SAFE = [
    (int(block[:4], 16), block[5:], int(low, 16), vr.split("/")[0])
    for block, elements in _SAFE.items()
    for low, vr in elements.items()
    if vr.split("/")[0] not in ("SQ", "")
]

_DATES = [b"", b"20240229", b"19991231", b"2024", b"PLANTED?", b"20240101\\20240102", b"19000101", b"00010101"]
_UIDS = [b"", b"1.2.999.5", b"1.2.999.3\\1.2.999.77", b"1.2.840.10008.1.2.1", b"1.2.840.10008.5.1.4.1.1.2", b"1.2.3 "]
_TEXTS = [
    b"",
    b"PLANTED",
    b"PLANTED^NAME",
    b"two\\PLANTED",
    b"Gr\xfc\xdfe",
    b" padded PLANTED ",
    b"ANONYMIZED",
    b"head",
]
_BY_VR = {
    "DA": _DATES,
    "DT": [b"", b"20240229112233.5+0100", b"202402", b"PLANTED", b"20240229235960"],
    "TM": [b"", b"112233", b"112233.123456", b"11:22:33", b"PLANTED"],
    "UI": _UIDS,
    "AS": [b"", b"062Y", b"999D"],
    "IS": [b"", b"620304", b"-1\\2"],
    "DS": [b"", b"62.0304", b"1e3\\-2 "],
    "CS": [b"", b"PLANTED", b"A\\B"],
}


def values(vr: str) -> st.SearchStrategy[bytes]:
    """Makes values for a VR: real ones, empty ones, several, and such that the VR does not allow."""
    if vr in _BY_VR:
        return st.sampled_from(_BY_VR[vr])
    if vr in ("AE", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"):
        return st.sampled_from(_TEXTS)
    return st.sampled_from([b"", bytes(8), b"PLANTED!", b"\xff" * 16])


def tags() -> st.SearchStrategy[int]:
    """Makes tags: as many that the table lists as any others."""
    overlays = [0x60000010, 0x60003000, 0x60020022, 0x601E1500, 0x50003000, 0x00280000, 0x00100000, 0xFFFCFFFC]
    return st.one_of(*map(st.sampled_from, (LISTED, _COMPOUND, PUBLIC, _SPECIAL, _PATHS, _LABELS, overlays)))


@st.composite
def filled(draw: st.DrawFn, dataset: Dataset, depth: int) -> Dataset:
    """Makes a data set's elements: listed, unlisted and private ones, in the sequences that hold them."""
    for tag in draw(st.lists(tags(), min_size=1, max_size=9, unique=True)):
        if reference.vr(tag) != "SQ":
            dataset.add(raw(tag, reference.vr(tag), draw(values(reference.vr(tag)))))
        elif depth and tag in pydicom.datadict.DicomDictionary:
            items = [draw(filled(Dataset(), depth - 1)) for _ in range(draw(st.integers(0, 2)))]
            for item in items:
                item.is_undefined_length_sequence_item = draw(st.booleans())
            dataset.add(DataElement(tag, "SQ", Sequence(items), is_undefined_length=draw(st.booleans())))
    if depth and draw(st.booleans()):
        _person_or_code(draw, dataset)
    if draw(st.booleans()):
        group, creator, low, vr = draw(st.sampled_from(SAFE))
        block = draw(st.integers(0x10, 0xFF))
        value = draw(values(vr))
        with silence():  # pydicom looks at private creators at once
            dataset.add(raw(group << 16 | block, "LO", creator.encode()))
            dataset.add(raw(group << 16 | block << 8 | low, vr, value))
            if safe_private.vr(creator, group, low ^ 0x80) is None:
                dataset.add(raw(group << 16 | block << 8 | (low ^ 0x80), "LO", b"PLANTED"))
    return dataset


def _person_or_code(draw: st.DrawFn, dataset: Dataset) -> None:
    if "PatientID" in dataset or draw(st.booleans()):
        codes = [(b"T-A0100", b"SRT", b"Brain"), (b"12", b"99HERE", b"PLANTED"), (b"39607008", b"SCT", b"Lung PLANTED")]
        code = draw(st.sampled_from(codes))
        for tag, vr, value in zip((0x00080100, 0x00080102, 0x00080104), ("SH", "SH", "LO"), code, strict=True):
            dataset.add(raw(tag, vr, value))
    else:
        dataset.add(raw(0x00100010, "PN", b"PLANTED^NAME"))
        dataset.add(raw(0x00100020, "LO", draw(st.sampled_from([b"PLANTED1", b"PLANTED2 "]))))


@st.composite
def instances(draw: st.DrawFn, depth: int = 3, syntaxes: tuple[UID, ...] = SYNTAXES) -> bytes:
    """Makes whole files of every encoding and of SOP classes with and without an IOD."""
    dataset = header(draw(st.sampled_from(syntaxes)))
    dataset.SOPClassUID = draw(st.sampled_from(CLASSES))
    dataset.PatientID = draw(st.sampled_from(["PLANTED1", "", "Müller PLANTED"]))
    if draw(st.booleans()):
        dataset.SpecificCharacterSet = draw(st.sampled_from(["ISO_IR 100", "ISO_IR 192", "ISO_IR 6"]))
    else:
        dataset.PatientID = dataset.PatientID.replace("ü", "u")
    made = draw(filled(dataset, depth))
    with silence():
        return as_file(made)


def as_file(dataset: Dataset) -> bytes:
    """Returns a made-up data set as a file's bytes."""
    said = dataset.file_meta.TransferSyntaxUID
    syntax = {ImplicitVRLittleEndian: wire.IMPLICIT, ExplicitVRBigEndian: wire.BIG}.get(said, wire.EXPLICIT)
    body = packed(dataset, syntax)
    body = part10.deflated(body) if said == part10.DEFLATED else body
    return part10.meta(dataset.SOPClassUID, dataset.SOPInstanceUID, said) + body


def choices(options: tuple[str, ...] = RETAIN) -> st.SearchStrategy[Settings]:
    """Makes settings; the two options for dates exclude each other."""

    def chosen(said: tuple[set[str], str]) -> Settings:
        both = {"RetainLongFullDates", "RetainLongModifiedDates"}
        return Settings(frozenset(said[0] - ({"RetainLongFullDates"} if both <= said[0] else set())), said[1])

    return st.tuples(st.sets(st.sampled_from(options)), st.sampled_from(("clean", "remove"))).map(chosen)


def agree(content: bytes, chosen: Settings) -> None:
    """Fails where the engine does other than the reference."""
    assert reference.judged(content, KEY, chosen) == []


@given(instances(), choices())
@settings(max_examples=200)
def test_the_engine_does_what_the_reference_says(content, chosen):
    agree(content, chosen)


@pytest.mark.slow
@given(instances(depth=4), choices())
@settings(max_examples=1500, suppress_health_check=list(HealthCheck))
def test_the_engine_does_what_the_reference_says_of_many_more(content, chosen):
    agree(content, chosen)


@pytest.mark.parametrize("chosen", [Settings(), Settings(frozenset(RETAIN) - {"RetainLongFullDates"}, "remove")])
@pytest.mark.parametrize("folder", ["pydicom", "radkit"])
def test_real_files_become_what_the_reference_says(folder, chosen):
    refused = set()
    found = REAL if folder == "pydicom" else SHIPPED[::4]
    for path in (path for path in found if path.is_file()):
        try:
            assert reference.judged(path.read_bytes(), KEY, chosen) == [], path.name
        except NotCleanable as error:
            refused.add(str(error).split()[0])
    # DICOMDIRs, text files, cut ones, and fragments without the identifiers that a file of an instance must have.
    expected = {"DICOMDIR:", "the", "StudyInstanceUID", "SOPClassUID"} if folder == "pydicom" else set()
    assert refused == expected
    assert len(found) >= 8


@pytest.mark.slow
@pytest.mark.parametrize("option", [*RETAIN, None])
def test_each_option_alone_agrees_on_real_files(option):
    for path in (path for path in (*REAL, *SHIPPED) if path.is_file()):
        for text in ("clean", "remove"):
            try:
                agree(path.read_bytes(), Settings(frozenset([option] if option else []), text))
            except NotCleanable:
                continue


def test_the_reference_would_see_a_difference():
    """A judge that finds nothing is worth nothing: one wrong byte, one element too many, one too few."""
    content = as_file(header())
    before = reference.cleaned(content, KEY, Settings())
    with silence():
        fates = reference.Reference(KEY, Settings()).instance(reference.read(content))
        for old, new, said in (
            (b"SOFT", b"HARD", "was"),
            (b"120 ", b"121 ", "was"),
            (b"\x60\0CS", b"\x61\0CS", "gone"),
        ):
            assert before.count(old) == 1
            assert said in str(reference.differences(fates, reference.read(before.replace(old, new))))
