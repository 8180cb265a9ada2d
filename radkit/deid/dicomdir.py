"""A DICOMDIR for a tree of de-identified files, made from those files alone: an old one tells who was in it.

A record has its File ID as the file lies in the tree. PS3.10 8.2 and 8.5 allow eight capitals, digits or underscores a
component; pseudonyms and UIDs are longer and have dots. The tree keeps them all the same: the names are what joins its
files to tables and logs, and links under short names would show every instance twice to whoever reads the folder.
pydicom and most of dcmtk follow such paths (dcmtk 3.6.7's dcmdump does not print them); a medium that must be strictly
conformant is made from the tree by a tool that copies and renames (`pydicom.fileset`, `dcmmkdir --invent`).

Source: DICOM PS3.3 Annex F, PS3.10 8.6.
"""

import contextlib
import hashlib
import itertools
import os
import struct
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pydicom import config
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.errors import InvalidDicomError
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_file_meta_info
from pydicom.filewriter import write_dataset, write_file_meta_info
from pydicom.tag import Tag
from pydicom.uid import ExplicitVRLittleEndian, MediaStorageDirectoryStorage

from radkit.dicom import part10, scan

NAME = "DICOMDIR"

# What stands in for a value that the directory must have (Type 1) and de-identification took away.
DATE, TIME = "19000101", "000000"

_ITEM = b"\xfe\xff\x00\xe0"
# Where two offsets lie in every encoded record: its first elements are (0004,1400) UL, (0004,1410) US, (0004,1420) UL.
_NEXT_AT, _LOWER_AT = 8, 30
# What an element raises when its value is first asked for; OSError is pydicom's word for a sequence cut short.
_UNREADABLE = (*part10.MALFORMED, OSError)
_SEQUENCE_HEADER = struct.Struct("<HH2sHI")


@dataclass(frozen=True)
class _Kind:
    """The keys of a type of record: Type 1 and what stands in for an absent one, Type 2, and the conditional ones."""

    always: Mapping[str, object]
    empty: tuple[str, ...] = ()
    when_there: tuple[str, ...] = ()


_DATED = {"ContentDate": DATE, "ContentTime": TIME}
_NUMBERED = {"InstanceNumber": "1"}
_LABELLED = {**_NUMBERED, "ContentLabel": "ANONYMIZED"}
_TOLD = ("ContentDescription", "ContentCreatorName")
_CONCEPT = ("18748-4", "LN", "Diagnostic imaging study")

# PS3.3 F.5.1 to F.5.48, by the name of the record.
_KINDS = {
    "PATIENT": _Kind({"PatientID": "ANONYMIZED"}, ("PatientName",)),
    "STUDY": _Kind(
        {"StudyDate": DATE, "StudyTime": TIME, "StudyInstanceUID": "", "StudyID": "1"},
        ("StudyDescription", "AccessionNumber"),
    ),
    "SERIES": _Kind({"Modality": "OT", "SeriesInstanceUID": "", "SeriesNumber": "1"}),
    "IMAGE": _Kind(_NUMBERED),
    "RT DOSE": _Kind({**_NUMBERED, "DoseSummationType": "PLAN"}),
    "RT STRUCTURE SET": _Kind(
        {**_NUMBERED, "StructureSetLabel": "ANONYMIZED"}, ("StructureSetDate", "StructureSetTime")
    ),
    "RT PLAN": _Kind({**_NUMBERED, "RTPlanLabel": "ANONYMIZED"}, ("RTPlanDate", "RTPlanTime")),
    "RT TREAT RECORD": _Kind(_NUMBERED, ("TreatmentDate", "TreatmentTime")),
    "PRESENTATION": _Kind(
        {**_LABELLED, "PresentationCreationDate": DATE, "PresentationCreationTime": TIME},
        _TOLD,
        ("ReferencedSeriesSequence", "BlendingSequence"),
    ),
    "WAVEFORM": _Kind({**_NUMBERED, **_DATED}),
    "SR DOCUMENT": _Kind(
        {**_NUMBERED, **_DATED, "CompletionFlag": "PARTIAL", "VerificationFlag": "UNVERIFIED",
         "ConceptNameCodeSequence": _CONCEPT},
        (),
        ("VerificationDateTime",),
    ),
    "KEY OBJECT DOC": _Kind({**_NUMBERED, **_DATED, "ConceptNameCodeSequence": ("113000", "DCM", "Of Interest")}),
    "SPECTROSCOPY": _Kind(
        {**_NUMBERED, **_DATED, "ImageType": ["DERIVED", "PRIMARY"], "NumberOfFrames": "1", "Rows": 1, "Columns": 1,
         "DataPointRows": 1, "DataPointColumns": 1}
    ),
    "RAW DATA": _Kind(_DATED, ("InstanceNumber",)),
    "REGISTRATION": _Kind({**_LABELLED, **_DATED}, _TOLD),
    "FIDUCIAL": _Kind({**_LABELLED, **_DATED}, _TOLD),
    "VALUE MAP": _Kind({**_LABELLED, **_DATED}, _TOLD),
    "ENCAP DOC": _Kind(
        {**_NUMBERED, "MIMETypeOfEncapsulatedDocument": "application/octet-stream"},
        ("ContentDate", "ContentTime", "DocumentTitle", "ConceptNameCodeSequence"),
        ("HL7InstanceIdentifier",),
    ),
    "STEREOMETRIC": _Kind({}),
    "PLAN": _Kind({}),
    "MEASUREMENT": _Kind({**_LABELLED, **_DATED}, _TOLD),
    "SURFACE": _Kind({**_LABELLED, **_DATED}, _TOLD),
    "SURFACE SCAN": _Kind(_DATED),
    "TRACT": _Kind({**_LABELLED, **_DATED}, _TOLD),
    "ASSESSMENT": _Kind({**_NUMBERED, "InstanceCreationDate": DATE}, ("InstanceCreationTime",)),
    "RADIOTHERAPY": _Kind(_NUMBERED, _TOLD, ("UserContentLabel", "UserContentLongLabel")),
    "PRIVATE": _Kind({"PrivateRecordUID": ""}),
    "HANGING PROTOCOL": _Kind(
        {"HangingProtocolName": "ANONYMIZED", "HangingProtocolDescription": "ANONYMIZED",
         "HangingProtocolLevel": "SITE", "HangingProtocolCreator": "ANONYMIZED",
         "HangingProtocolCreationDateTime": DATE, "HangingProtocolDefinitionSequence": _CONCEPT,
         "NumberOfPriorsReferenced": 0},
        ("HangingProtocolUserIdentificationCodeSequence",),
    ),
    "PALETTE": _Kind({"ContentLabel": "ANONYMIZED"}, ("ContentDescription",)),
}  # fmt: skip

_STORAGE = "1.2.840.10008.5.1.4.1.1."
# By SOP class: the longest beginning counts. What is not listed is IMAGE when it has Rows, else PRIVATE.
_KIND_BY_CLASS = {
    **{_STORAGE + end: kind for end, kind in (
        ("481.2", "RT DOSE"), ("481.3", "RT STRUCTURE SET"), ("481.4", "RT TREAT RECORD"), ("481.5", "RT PLAN"),
        ("481.6", "RT TREAT RECORD"), ("481.7", "RT TREAT RECORD"), ("481.8", "RT PLAN"),
        ("481.9", "RT TREAT RECORD"), ("481.1.", "RADIOTHERAPY"), ("481.2.", "RADIOTHERAPY"),
        ("11.", "PRESENTATION"), ("131", "PRESENTATION"), ("9.", "WAVEFORM"), ("88.", "SR DOCUMENT"),
        ("88.59", "KEY OBJECT DOC"), ("4.2", "SPECTROSCOPY"), ("66", "RAW DATA"), ("66.1", "REGISTRATION"),
        ("66.2", "FIDUCIAL"), ("66.3", "REGISTRATION"), ("66.5", "SURFACE"), ("66.6", "TRACT"),
        ("67", "VALUE MAP"), ("68.", "SURFACE SCAN"), ("77.1.5.3", "STEREOMETRIC"), ("78.", "MEASUREMENT"),
        ("80.", "MEASUREMENT"), ("90.", "ASSESSMENT"), ("104.", "ENCAP DOC"),
    )},
    **{f"{_STORAGE}481.{number}": "RADIOTHERAPY" for number in range(10, 26)},
    "1.2.840.10008.5.1.4.34.7": "PLAN",
    "1.2.840.10008.5.1.4.34.10": "PLAN",
    "1.2.840.10008.5.1.4.38.1": "HANGING PROTOCOL",
    "1.2.840.10008.5.1.4.39.1": "PALETTE",
}  # fmt: skip
# Of no patient: they stand beside the patients (PS3.3 F.4).
_ROOTS = ("HANGING PROTOCOL", "PALETTE")
_LEVELS = (("PATIENT", "PatientID"), ("STUDY", "StudyInstanceUID"), ("SERIES", "SeriesInstanceUID"))
_KEYWORDS = sorted(
    {keyword for kind in _KINDS.values() for keyword in (*kind.always, *kind.empty, *kind.when_there)}
    | {"SOPClassUID", "SOPInstanceUID", "SpecificCharacterSet", "ContentSequence", "Rows"}
)


@dataclass(frozen=True)
class _Entry:
    """One file: where it stands in the hierarchy and its encoded records, root first."""

    keys: tuple[tuple[str, ...], ...]  # of each record, what it is sorted by and told from its neighbours
    records: tuple[bytes, ...]
    instance_uid: str


def write(root: Path, places: Sequence[str]) -> None:
    """Writes `root/DICOMDIR`, with a record for each file, its series, study and patient.

    Values that the directory must have and a file no longer has become dummies, as date 19000101. The same files give
    the same bytes, whatever the order of `places`.

    Args:
        root: The tree's folder.
        places: The files, as POSIX paths relative to `root`, at most eight components each.

    Raises:
        NotDicom: One of the files is no DICOM; the message does not name it.
    """
    with part10.silence():
        entries = _entries(root, places)
        head = _head(entry.instance_uid for entry in entries)
        aside = root / f"{NAME}.{os.getpid()}-{threading.get_ident()}.incomplete"
        try:
            with aside.open("wb") as file:
                _write(file, head, _tree(entries))
            aside.replace(root / NAME)
        finally:
            aside.unlink(missing_ok=True)


@dataclass
class _Node:
    """A record in the tree; `at` is where its item begins in the file."""

    record: bytearray
    depth: int
    at: int = 0


def _tree(entries: Sequence[_Entry]) -> list[_Node]:
    """Returns the records in the order in which they are written: each before what is below it."""
    nodes: list[_Node] = []
    before: tuple[tuple[str, ...], ...] = ()
    for entry in entries:
        shared = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(before, entry.keys[:-1])))
        nodes += [_Node(bytearray(entry.records[depth]), depth) for depth in range(shared, len(entry.records))]
        before = entry.keys[:-1]
    return nodes


def _write(file: BinaryIO, head: bytes, nodes: Sequence[_Node]) -> None:
    """Writes preamble, meta, the file-set's own elements and the records with their offsets."""
    fixed = _fixed(0, 0, 0)
    at = len(head) + len(fixed)
    for node in nodes:
        node.at = at
        at += 8 + len(node.record)
    first, last = _link(nodes)
    file.write(head + _fixed(first, last, at - len(head) - len(fixed)))
    for node in nodes:
        file.write(_ITEM + struct.pack("<I", len(node.record)) + node.record)


def _link(nodes: Sequence[_Node]) -> tuple[int, int]:
    """Sets each record's offsets of its next sibling and first child; returns those of the first and last root."""
    latest: dict[int, _Node] = {}
    for node in nodes:
        # What is deeper than this record ended with it: it has no further siblings.
        for depth in [depth for depth in latest if depth > node.depth]:
            del latest[depth]
        if node.depth in latest:
            struct.pack_into("<I", latest[node.depth].record, _NEXT_AT, node.at)
        elif node.depth:
            struct.pack_into("<I", latest[node.depth - 1].record, _LOWER_AT, node.at)
        latest[node.depth] = node
    return (nodes[0].at, latest[0].at) if nodes else (0, 0)


def _head(instance_uids: Iterable[str]) -> bytes:
    """Returns preamble, prefix and file meta; the directory's UID is made from those of its instances."""
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\0\1"
    meta.MediaStorageSOPClassUID = MediaStorageDirectoryStorage
    meta.MediaStorageSOPInstanceUID = _uid(sorted(instance_uids))
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = part10.IMPLEMENTATION_CLASS_UID
    meta.ImplementationVersionName = part10.IMPLEMENTATION_VERSION_NAME
    file = DicomBytesIO()
    write_file_meta_info(file, meta)
    return bytes(128) + b"DICM" + file.getvalue()


def _uid(parts: Iterable[str]) -> str:
    """Returns a UUID-derived UID that is the same for the same parts (PS3.5 B.2)."""
    digest = hashlib.sha256("\n".join(parts).encode()).digest()
    # RFC 9562 version 8 (custom) and variant.
    number = int.from_bytes(digest[:16], "big") & ~(0xF << 76) & ~(0x3 << 62) | 0x8 << 76 | 0x2 << 62
    return f"2.25.{number}"


def _fixed(first: int, last: int, length: int) -> bytes:
    """Returns the elements before the first record, the header of their sequence included."""
    dataset = Dataset()
    dataset.FileSetID = ""
    dataset.OffsetOfTheFirstDirectoryRecordOfTheRootDirectoryEntity = first
    dataset.OffsetOfTheLastDirectoryRecordOfTheRootDirectoryEntity = last
    dataset.FileSetConsistencyFlag = 0
    return _encode(dataset) + _SEQUENCE_HEADER.pack(0x0004, 0x1220, b"SQ", 0, length)


def _encode(dataset: Dataset) -> bytes:
    file = DicomBytesIO()
    file.is_little_endian, file.is_implicit_VR = True, False
    write_dataset(file, dataset)
    return bytes(file.getvalue())


def _entries(root: Path, places: Sequence[str]) -> list[_Entry]:
    above: dict[tuple[tuple[str, ...], ...], bytes] = {}  # one record a patient, study, series, however many files
    return sorted((_entry(root, place, above) for place in sorted(set(places))), key=lambda entry: entry.keys)


def _entry(root: Path, place: str, above: dict[tuple[tuple[str, ...], ...], bytes]) -> _Entry:
    header = _header(root, place)
    with contextlib.suppress(*_UNREADABLE):  # the elements that cannot be read are met one by one below
        header.decode()
    kind, instance_uid = _kind(header), str(header.SOPInstanceUID)
    keys: tuple[tuple[str, ...], ...] = ()
    records = []
    for level, identity in () if kind in _ROOTS else _LEVELS:
        found = _element(header, identity)
        keys += ((level, str(_dummy(identity, level, place) if found is None else found.value)),)
        if keys not in above:
            above[keys] = _record(level, _values(header, level, place))
        records.append(above[keys])
    values = _values(header, kind, place)
    _refer(values, header, place)
    turn = str(values.get("InstanceNumber") or "").rjust(12, "0")  # so that text sorts as numbers do
    return _Entry((*keys, (kind, turn, instance_uid)), (*records, _record(kind, values)), instance_uid)


def _header(root: Path, place: str) -> Dataset:
    """Returns a header; of one that pydicom cannot read, what the file meta and the place say."""
    try:
        return scan.read_header(root / place, _KEYWORDS)
    except scan.NotDicom as error:
        try:
            header, meta = Dataset(), read_file_meta_info(root / place)
        except InvalidDicomError:
            raise error from None
        header.PatientID, header.StudyInstanceUID, header.SeriesInstanceUID = place.split("/")[:3]
        header.SOPClassUID, header.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
        header.file_meta = meta
        return header


def _kind(header: Dataset) -> str:
    """Returns the type of the record that stands for an instance."""
    uid = str(header.SOPClassUID)
    exact = _KIND_BY_CLASS.get(uid)
    begun = next((kind for start, kind in _KIND_BY_CLASS.items() if start[-1] == "." and uid.startswith(start)), None)
    return exact or begun or ("IMAGE" if "Rows" in header else "PRIVATE")


def _values(header: Dataset, kind: str, place: str) -> Dataset:
    """Returns a record's keys: as in the file, dummies for what must be there and is not."""
    said, values = _KINDS[kind], Dataset()
    for keyword in (*said.always, *said.empty, *said.when_there):
        element = _element(header, keyword)
        if element is not None:
            values.add(element)
        elif keyword in said.always:
            setattr(values, keyword, _dummy(keyword, kind, place))
        elif keyword in said.empty:
            setattr(values, keyword, None)
    if kind in ("SR DOCUMENT", "KEY OBJECT DOC"):
        _add_modifiers(values, header)
    if not str(values).isascii():
        values.SpecificCharacterSet = "ISO_IR 192"
    return values


def _element(header: Dataset, keyword: str) -> DataElement | None:
    """Returns an element of a file, all its values decoded; None when it is absent, empty or cannot be read."""
    try:
        if keyword not in header or header[keyword].is_empty:
            return None
        found = header[keyword]
        return DataElement(found.tag, found.VR, found.value)
    except _UNREADABLE:
        return None


def _add_modifiers(values: Dataset, header: Dataset) -> None:
    """Adds the content items that qualify a document's title, and no other (PS3.3 F.5.25, F.5.28)."""
    content = _element(header, "ContentSequence")
    items = [item for item in content.value if item.get("RelationshipType") == "HAS CONCEPT MOD"] if content else []
    if items:
        values.ContentSequence = items


def _dummy(keyword: str, kind: str, place: str) -> object:
    dummy = _KINDS[kind].always[keyword]
    if keyword.endswith("UID"):
        # A file that names no study or series is in one with its folder's others.
        return _uid([place.rpartition("/")[0], keyword])
    if isinstance(dummy, tuple):
        item = Dataset()
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = dummy
        return [item]
    return dummy


def _refer(values: Dataset, header: Dataset, place: str) -> None:
    """Adds to a record which file it stands for."""
    parts = place.split("/")
    # Longer than a CS may be, on purpose (module docstring): pydicom would refuse it.
    file_id = DataElement(Tag("ReferencedFileID"), "CS", parts, validation_mode=config.IGNORE)
    values.add(file_id)
    values.ReferencedSOPClassUIDInFile = header.SOPClassUID
    values.ReferencedSOPInstanceUIDInFile = header.SOPInstanceUID
    meta = getattr(header, "file_meta", Dataset())
    values.ReferencedTransferSyntaxUIDInFile = meta.get("TransferSyntaxUID", ExplicitVRLittleEndian)


def _record(kind: str, values: Dataset) -> bytes:
    values.OffsetOfTheNextDirectoryRecord = 0
    values.RecordInUseFlag = 0xFFFF
    values.OffsetOfReferencedLowerLevelDirectoryEntity = 0
    values.DirectoryRecordType = kind
    return _encode(values)
