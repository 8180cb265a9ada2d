"""Which files of a folder are DICOM, and which series they make up: headers only, pixels untouched."""

import io
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
from pydicom import config
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_dataset
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from radkit import outputs
from radkit.dicom import lean, part10, quick
from radkit.dicom.attributes import UNDECODABLE, NotDicom, text

SEGMENTATION_STORAGE = "1.2.840.10008.5.1.4.1.1.66.4"
DICOMDIR_STORAGE = "1.2.840.10008.1.3.10"
# They have Rows and Columns, and are drawn or computed on an image: SEG, labelmap SEG, RTDOSE, parametric map.
_DERIVED_STORAGE = frozenset((
    SEGMENTATION_STORAGE, "1.2.840.10008.5.1.4.1.1.66.7", "1.2.840.10008.5.1.4.1.1.481.2",
    "1.2.840.10008.5.1.4.1.1.30",
))  # fmt: skip

# The columns of the instance table: DICOM keywords, each read as text.
KEYWORDS = (
    "SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "PatientID",
    "FrameOfReferenceUID", "Modality", "Manufacturer", "ManufacturerModelName", "BodyPartExamined",
    "ViewPosition", "SeriesNumber", "InstanceNumber", "ImageType", "ImagePositionPatient",
    "ImageOrientationPatient", "PixelSpacing", "SliceThickness", "Rows", "Columns", "NumberOfFrames",
    "BitsStored", "PhotometricInterpretation", "KVP", "MagneticFieldStrength", "EchoTime",
    "ConvolutionKernel", "StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate", "StudyTime", "SeriesTime",
    "AcquisitionTime", "ContentTime", "AcquisitionDateTime", "StudyDescription", "SeriesDescription", "ProtocolName",
    "ContrastBolusAgent", "ContrastBolusStartTime", "AcquisitionNumber", "TemporalPositionIdentifier",
    "RepetitionTime", "InversionTime", "FlipAngle", "DiffusionBValue", "SoftwareVersions", "SpacingBetweenSlices",
    "ImagerPixelSpacing", "PatientSex", "PatientAge", "PatientPosition", "Laterality", "ImageLaterality",
    "BitsAllocated", "SamplesPerPixel", "BurnedInAnnotation", "PatientIdentityRemoved",
)  # fmt: skip
_GROUPS = ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence")
# Where an annotation says which series it is of: sequences, one in the other, down to the SeriesInstanceUID.
_REFERENCES = (
    ("ReferencedSeriesSequence",),
    ("ReferencedFrameOfReferenceSequence", "RTReferencedStudySequence", "RTReferencedSeriesSequence"),
    ("CurrentRequestedProcedureEvidenceSequence", "ReferencedSeriesSequence"),
)
_STRUCTURES = (("SegmentSequence", "SegmentLabel"), ("StructureSetROISequence", "ROIName"))
_DRAWN = (*(names[0] for names in _REFERENCES), *(sequence for sequence, _ in _STRUCTURES))
_WANTED = lean.Wanted(KEYWORDS, refused=_DRAWN)

# Pixels of these transfer syntaxes take a known number of bytes.
_NATIVE = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian)
_SIZES = ("Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "BitsAllocated")


@dataclass(frozen=True)
class Instance:
    """One DICOM file's row: where it lies and what its header says, as text; an enhanced one's first frame's."""

    path: Path
    values: dict[str, str]
    referenced_series: tuple[str, ...] = ()  # an annotation's: SeriesInstanceUID of what it was drawn on
    segment_labels: tuple[str, ...] = ()  # an annotation's: SegmentLabel of each segment, or ROIName

    def __getitem__(self, keyword: str) -> str:
        """Returns the value of a keyword of `KEYWORDS` (or `TransferSyntaxUID`); empty when absent."""
        return self.values.get(keyword, "")


@dataclass(frozen=True)
class Series:
    """The instances of one SeriesInstanceUID."""

    uid: str
    instances: tuple[Instance, ...]

    @property
    def modality(self) -> str:
        """The first instance's Modality."""
        return self.instances[0]["Modality"]

    @property
    def paths(self) -> list[Path]:
        """The files, sorted."""
        return [instance.path for instance in self.instances]

    @property
    def is_image(self) -> bool:
        """See the function of that name."""
        return is_image(self.instances[0]["SOPClassUID"], self.instances[0]["Rows"])


def is_image(sop_class: str, rows: object) -> bool:
    """Tells whether instances hold pixels to look at: no segmentation, no dose, no report, no plan.

    Args:
        sop_class: SOPClassUID.
        rows: Rows; empty or 0 where there are none.
    """
    return sop_class not in _DERIVED_STORAGE and bool(rows)


def walk(folder: Path, passed_over: Callable[[str], None] | None = None) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yields (path below the folder with slashes, entry) of all regular files below it, sorted as `find` says.

    Args:
        folder: Where to begin.
        passed_over: Called with the path of each link to a folder: none is followed, it may lead in a circle.

    Raises:
        OSError: A folder cannot be listed; leaving it out would be a silent loss.
    """
    own = outputs.read_provenance(folder) is not None
    waiting = [_entries(str(folder), "")]
    while waiting:
        try:
            path, entry = next(waiting[-1])
        except StopIteration:
            waiting.pop()
            continue
        at_top = own and len(waiting) == 1
        if entry.is_dir(follow_symlinks=False):
            if not (at_top and entry.name in outputs.BESIDE_DATA):
                waiting.append(_entries(entry.path, f"{path}/"))
        elif _is(entry.is_file):
            if not at_top:
                yield path, entry
        elif passed_over is not None and _is(entry.is_dir):
            passed_over(path)


def _is(kind: Callable[[], bool]) -> bool:
    try:
        return kind()
    except OSError:  # a link that leads to itself
        return False


def _entries(folder: str, above: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
    with os.scandir(folder) as found:
        entries = sorted((entry for entry in found if not entry.name.startswith(".")), key=lambda entry: entry.name)
    return iter([(above + entry.name, entry) for entry in entries])


def find(folder: Path) -> list[Path]:
    """Returns all regular files below a folder, sorted; hidden files and folders are left out.

    In a folder that radkit wrote, so are the tables and records at its top, the audit and the conflicts.

    Raises:
        OSError: As `walk`.
    """
    return [Path(folder, path) for path, _ in walk(folder)]


def read_header(path: Path, keywords: Sequence[str] | None = None) -> Dataset:
    """Returns a file's header, without pixels.

    Args:
        path: The file.
        keywords: Only these attributes are read; None reads all.

    Raises:
        NotDicom: The file is empty, cut short, a DICOMDIR, or no DICOM.
    """
    tags = None if keywords is None else [t for t in map(tag_for_keyword, keywords) if t is not None]
    return _read_checked(path, stop_before_pixels=True, specific_tags=tags)


def read_file(path: Path, *, defer: bool = False) -> Dataset:
    """Returns a file's header and pixels, nothing decoded; its transfer syntax is always said.

    Args:
        path: The file.
        defer: Whether pixels may stay in the file until `pixels.stored` or pydicom asks for them.

    Raises:
        NotDicom: As `read_header`.
    """
    dataset = _read_plain(path, defer)
    if dataset is None:
        dataset = _read_checked(path)
    if "TransferSyntaxUID" not in dataset.file_meta:
        implicit, little = dataset.original_encoding
        explicit = ExplicitVRLittleEndian if little is not False else ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
    return dataset


@part10.silence()
def _read_plain(path: Path, defer: bool) -> Dataset | None:
    """Returns a plain file's data set; None where pydicom must read it, or tell what is wrong with it."""
    try:
        dataset = quick.read(path, defer=defer)
        return None if dataset is None else _checked(dataset)
    except (OSError, InvalidDicomError, *part10.MALFORMED):
        return None


@part10.silence()
def _read_checked(path: Path, **how: Any) -> Dataset:
    try:
        return _checked(_read(path, how))
    except NotDicom:
        raise
    except InvalidDicomError as error:
        raise NotDicom(_at_start(path) or "the file is not DICOM (no SOPClassUID and SOPInstanceUID)") from error
    except part10.MALFORMED as error:
        raise NotDicom(f"the header cannot be read, it is cut short or damaged ({type(error).__name__})") from error
    except PermissionError as error:
        raise NotDicom("the file may not be opened") from error
    except OSError as error:  # also pydicom's word for a sequence item that is not there
        raise NotDicom("the file is cut short or cannot be opened") from error


def _read(path: Path, how: dict[str, Any]) -> Dataset:
    try:
        return pydicom.dcmread(path, **how)
    except InvalidDicomError:
        # Files of old archives begin without preamble and file meta; any other file, too, can be forced.
        return pydicom.dcmread(path, **how, force=True)


def _checked(dataset: Dataset) -> Dataset:
    meta = getattr(dataset, "file_meta", None) or Dataset()
    if text(meta, "MediaStorageSOPClassUID") == DICOMDIR_STORAGE:
        raise NotDicom("a DICOMDIR is an index of other files, not an image")
    for keyword in ("SOPClassUID", "SOPInstanceUID"):  # emptied by some anonymizers, which leave PS3.10's copy
        if keyword in dataset and not text(dataset, keyword) and (copy := text(meta, f"MediaStorage{keyword}")):
            setattr(dataset, keyword, copy)
    if not text(dataset, "SOPClassUID").startswith("1.") or not text(dataset, "SOPInstanceUID"):
        raise InvalidDicomError
    return dataset


def _at_start(path: Path) -> str:
    """Returns what the first bytes say against a file, if they do."""
    try:
        with path.open("rb") as file:
            start = file.read(132)
    except OSError:
        return ""
    if not start:
        return "the file is empty"
    return "the file is cut short, or has no SOPClassUID and SOPInstanceUID" if start[128:] == b"DICM" else ""


def read_instance(path: Path) -> Instance:
    """Returns a file's row of the instance table.

    Raises:
        NotDicom: As `read_header`.
    """
    try:
        header = lean.read(path, _WANTED)
    except (lean.Odd, OSError):
        return _read_instance_whole(path)
    texts = header.texts
    if header.odd:
        texts = texts | _texts_of(header.odd, header, header.odd_keywords)
    if header.storage == DICOMDIR_STORAGE or not texts.get("SOPClassUID", "").startswith("1."):
        return _read_instance_whole(path)  # it has the words for what this is
    if not texts.get("SOPInstanceUID"):
        return _read_instance_whole(path)
    _check_length(header.syntax, texts, header.num_bytes)
    if header.groups:
        texts = _of_groups([_decoded(header.groups.get(name, b""), header) for name in _GROUPS]) | texts
    values = {keyword: texts[keyword] for keyword in KEYWORDS if keyword in texts}
    return Instance(path, {**values, "TransferSyntaxUID": header.syntax})


@part10.silence()
def _texts_of(elements: bytes, header: lean.Header, keywords: Sequence[str]) -> dict[str, str]:
    try:
        decoded = _decoded(elements, header)
    except (*part10.MALFORMED, OSError):
        return {}
    found = {keyword: _text(decoded, keyword) for keyword in keywords}
    return {keyword: text for keyword, text in found.items() if text}


def _decoded(elements: bytes, header: lean.Header) -> Dataset:
    return read_dataset(io.BytesIO(elements), header.implicit, header.little)


@part10.silence()
def _read_instance_whole(path: Path) -> Instance:
    """Returns what `read_instance` does, all of it read by pydicom."""
    header = read_header(path, [*KEYWORDS, *_DRAWN, *_GROUPS])
    texts = {keyword: _text(header, keyword) for keyword in KEYWORDS}
    texts = {keyword: text for keyword, text in texts.items() if text}
    syntax = str(getattr(getattr(header, "file_meta", None), "TransferSyntaxUID", ""))
    _check_length(syntax, texts, path.stat().st_size)
    values = _of_groups([_first(header, name) for name in _GROUPS]) | texts
    values = {keyword: values[keyword] for keyword in KEYWORDS if keyword in values}
    if syntax:
        values["TransferSyntaxUID"] = syntax
    referenced = tuple(dict.fromkeys(uid for names in _REFERENCES for uid in _series_uids(header, names)))
    labels = tuple(label for names in _STRUCTURES for label in _of_items(header, *names))
    return Instance(path, values, referenced, labels)


def _first(header: Dataset, sequence: str) -> Dataset:
    try:
        return next(iter(header.get(sequence) or []), Dataset())
    except UNDECODABLE:  # the row stays, the reader will judge
        return Dataset()


@part10.silence()
def _of_groups(groups: Iterable[Dataset]) -> dict[str, str]:
    """Returns what functional groups say, the first of them first."""
    found: dict[str, str] = {}
    for group in groups:
        for macro, keywords in lean.MACROS.items():
            item = _first(group, macro)
            for keyword, column in keywords.items():
                if column not in found and (text := _text(item, keyword)):
                    found[column] = text
    return found


def _check_length(syntax: str, texts: dict[str, str], there: int) -> None:
    """Refuses a file that is shorter than the uncompressed pixels that its header announces."""
    if not texts.get("Rows") and UID(texts.get("SOPClassUID", ""), config.IGNORE).name.endswith("Image Storage"):
        raise NotDicom("the file is cut short or damaged: it is an image and has no Rows")
    if syntax not in _NATIVE or not texts.get("Rows"):
        return
    announced = 1
    for keyword in _SIZES:
        try:
            announced *= int(float(texts.get(keyword, "1")))
        except (ValueError, OverflowError):  # the row stays, the reader will judge
            return
    if "422" in texts.get("PhotometricInterpretation", ""):  # two pixels share their colours
        announced = announced * 2 // 3
    announced //= 8
    if there < announced:
        raise NotDicom(f"the file is cut short: its pixels take {announced} bytes, the whole file has {there}")


def _series_uids(header: Dataset, sequences: Sequence[str]) -> Iterator[str]:
    """Yields the SeriesInstanceUID of each item of a sequence in sequences."""
    if len(sequences) == 1:
        yield from filter(None, _of_items(header, sequences[0], "SeriesInstanceUID"))
        return
    try:
        items = list(header.get(sequences[0]) or [])
    except UNDECODABLE:  # the row stays, the reader will judge
        return
    for item in items:
        yield from _series_uids(item, sequences[1:])


def _of_items(header: Dataset, sequence: str, keyword: str) -> tuple[str, ...]:
    try:
        return tuple(str(item.get(keyword, "")) for item in header.get(sequence) or [])
    except UNDECODABLE:  # the row stays, the reader will judge
        return ()


def _text(header: Dataset, keyword: str) -> str:
    try:
        return text(header, keyword)
    except NotDicom:  # the row stays, the reader will judge
        return ""


def group(instances: Iterable[Instance]) -> list[Series]:
    """Returns the series that instances make up, sorted by UID; files within a series sorted by path."""
    by_uid: dict[str, list[Instance]] = defaultdict(list)
    for instance in instances:
        by_uid[instance["SeriesInstanceUID"] or instance["SOPInstanceUID"]].append(instance)
    return [Series(uid, tuple(sorted(found, key=lambda i: i.path))) for uid, found in sorted(by_uid.items())]


def series(paths: Iterable[Path]) -> tuple[list[Series], list[tuple[Path, str]]]:
    """Returns the series of some files, and the files that are no DICOM with the reason of each."""
    instances, unreadable = [], []
    for path in paths:
        try:
            instances.append(read_instance(path))
        except NotDicom as error:
            unreadable.append((path, str(error)))
    return group(instances), unreadable
