"""Which files of a folder are DICOM, and which series they make up: headers only, pixels untouched."""

import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.multival import MultiValue
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from radkit import outputs
from radkit.dicom import part10
from radkit.errors import UserError

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
    "ConvolutionKernel", "StudyDate",
)  # fmt: skip

# Pixels of these transfer syntaxes take a known number of bytes.
_NATIVE = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian)
# What an attribute raises when its value is first asked for; OSError is pydicom's word for a sequence cut short.
_UNDECODABLE = (*part10.MALFORMED, OSError)
_SIZES = ("Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "BitsAllocated")


class NotDicom(UserError):
    """The file cannot be read as DICOM; the message says why, without its name or contents."""


@dataclass(frozen=True)
class Instance:
    """One DICOM file's row: where it lies and what its header says, as text."""

    path: Path
    values: dict[str, str]
    referenced_series: tuple[str, ...] = ()  # a segmentation's: SeriesInstanceUID of what it was drawn on
    segment_labels: tuple[str, ...] = ()  # a segmentation's: SegmentLabel of each segment

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
        """Whether the instances hold pixels to look at: no segmentation, no dose, no report, no plan."""
        return self.instances[0]["SOPClassUID"] not in _DERIVED_STORAGE and bool(self.instances[0]["Rows"])


def find(folder: Path) -> list[Path]:
    """Returns all regular files below a folder, sorted; hidden files and folders are left out.

    In a folder that radkit wrote, so are the tables and records at its top, the audit and the conflicts.

    Raises:
        OSError: A folder cannot be listed; leaving it out would be a silent loss.
    """
    own = outputs.read_provenance(folder) is not None
    found = []
    for root, folders, files in os.walk(folder, onerror=_raise):
        folders[:] = [name for name in folders if not name.startswith(".")]
        if own and Path(root) == folder:
            folders[:] = [name for name in folders if name not in outputs.BESIDE_DATA]
        else:
            found += [Path(root, name) for name in files if not name.startswith(".")]
    return sorted(path for path in found if path.is_file())


def _raise(error: OSError) -> None:
    raise error


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


def read_file(path: Path) -> Dataset:
    """Returns a file's header and pixels, nothing decoded; its transfer syntax is always said.

    Raises:
        NotDicom: As `read_header`.
    """
    dataset = _read_checked(path)
    if "TransferSyntaxUID" not in dataset.file_meta:
        implicit, little = dataset.original_encoding
        explicit = ExplicitVRLittleEndian if little is not False else ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
    return dataset


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
    meta = getattr(dataset, "file_meta", None)
    if str(getattr(meta, "MediaStorageSOPClassUID", "")) == DICOMDIR_STORAGE:
        raise NotDicom("a DICOMDIR is an index of other files, not an image")
    if not str(dataset.get("SOPClassUID", "")).startswith("1.") or not dataset.get("SOPInstanceUID"):
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


@part10.silence()
def read_instance(path: Path) -> Instance:
    """Returns a file's row of the instance table.

    Raises:
        NotDicom: As `read_header`.
    """
    header = read_header(path, [*KEYWORDS, *_SIZES, "ReferencedSeriesSequence", "SegmentSequence"])
    _check_length(header, path)
    values = {keyword: _text(header, keyword) for keyword in KEYWORDS}
    syntax = getattr(getattr(header, "file_meta", None), "TransferSyntaxUID", "")
    values["TransferSyntaxUID"] = str(syntax)
    referenced = _of_items(header, "ReferencedSeriesSequence", "SeriesInstanceUID")
    labels = _of_items(header, "SegmentSequence", "SegmentLabel")
    return Instance(path, {k: v for k, v in values.items() if v}, referenced, labels)


def _check_length(header: Dataset, path: Path) -> None:
    """Refuses a file that is shorter than the uncompressed pixels that its header announces."""
    syntax = getattr(getattr(header, "file_meta", None), "TransferSyntaxUID", None)
    if syntax not in _NATIVE or value(header, "Rows") is None:
        return
    try:
        rows, columns, frames, samples, bits = (whole(header, keyword, 1) for keyword in _SIZES)
    except NotDicom:  # the row stays, the reader will judge
        return
    announced, there = rows * columns * frames * samples * bits // 8, path.stat().st_size
    if there < announced:
        raise NotDicom(f"the file is cut short: its pixels take {announced} bytes, the whole file has {there}")


def _of_items(header: Dataset, sequence: str, keyword: str) -> tuple[str, ...]:
    try:
        return tuple(str(item.get(keyword, "")) for item in header.get(sequence) or [])
    except _UNDECODABLE:  # the row stays, the reader will judge
        return ()


def value(dataset: Dataset, keyword: str) -> Any:
    """Returns an attribute's value, None when it is absent or empty.

    Raises:
        NotDicom: It cannot be decoded, as a number that is none.
    """
    try:
        found = dataset.get(keyword)
    except _UNDECODABLE as error:
        raise NotDicom(f"{keyword} cannot be read ({type(error).__name__})") from error
    return None if found is None or found == "" else found


def whole(dataset: Dataset, keyword: str, default: int) -> int:
    """Returns an attribute that is a whole number, `default` when it is absent or empty.

    Raises:
        NotDicom: It is not one whole number.
    """
    found = value(dataset, keyword)
    try:
        return default if found is None else int(found)
    except (TypeError, ValueError) as error:
        raise NotDicom(f"{keyword} is not one whole number") from error


def _text(header: Dataset, keyword: str) -> str:
    try:
        found = value(header, keyword)
    except NotDicom:  # the row stays, the reader will judge
        return ""
    if found is None:
        return ""
    return "\\".join(map(str, found)) if isinstance(found, MultiValue | list) else str(found).strip()


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
