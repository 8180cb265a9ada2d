"""What an RT Structure Set says, as it stands there: structures, their contours in mm, what they were drawn on.

Source: DICOM PS3.3 A.19 (the IOD), C.8.8.5 (Structure Set), C.8.8.6 (ROI Contour), C.8.8.8 (RT ROI Observations).
"""

import datetime
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset

from radkit.dicom import attributes, scan
from radkit.dicom.annotations.form import AnnotationError

STORAGE = "1.2.840.10008.5.1.4.1.1.481.3"
CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
OPEN = ("OPEN_PLANAR", "OPEN_NONPLANAR")
_KINDS = (*CLOSED, *OPEN, "POINT")
# No patient is that far from anything: such numbers are damage, and would overflow.
_FARTHEST_MM = 1e6


@dataclass(frozen=True)
class Contour:
    """One contour.

    Attributes:
        kind: ContourGeometricType.
        points: (points, 3) LPS mm; a point that repeats the one before it, or at the end the first, is left out.
        images: SOPInstanceUID and frame, from 0, of the images that it was drawn on; frame -1 where none is told.
        counted: Whether NumberOfContourPoints is what there are.
    """

    kind: str
    points: np.ndarray
    images: tuple[tuple[str, int], ...]
    counted: bool


@dataclass(frozen=True)
class Structure:
    """One region of interest, its contours not decoded yet.

    Attributes:
        number: ROINumber.
        name: ROIName, as it is spelt.
        frame_of_reference: ReferencedFrameOfReferenceUID; empty where it is not told.
        algorithm: ROIGenerationAlgorithm.
        items: The items of its ContourSequence.
    """

    number: int
    name: str
    frame_of_reference: str
    algorithm: str
    items: tuple[Dataset, ...] = ()


@dataclass(frozen=True)
class StructureSet:
    """A structure set.

    Attributes:
        structures: In the file's order.
        shared_numbers: ROINumbers that stand for several structures.
        nameless: How many groups of contours are of no structure.
        frames_of_reference: FrameOfReferenceUIDs that the whole refers to.
        series: SeriesInstanceUIDs that the whole refers to.
        images: SOPInstanceUIDs that the whole refers to.
        reader: ReviewerName, OperatorsName or ROIInterpreter, the first that is told.
        date: StructureSetDate, YYYY-MM-DD; empty where it is none.
    """

    structures: tuple[Structure, ...]
    shared_numbers: frozenset[int] = frozenset()
    nameless: int = 0
    frames_of_reference: frozenset[str] = frozenset()
    series: frozenset[str] = frozenset()
    images: frozenset[str] = frozenset()
    reader: str = ""
    date: str = ""


def parse(path: Path) -> StructureSet:
    """Returns what a file says, contours not decoded.

    Raises:
        AnnotationError: No structure set, or one whose structures have no numbers.
        NotDicom: An attribute cannot be decoded.
    """
    dataset = scan.read_file(path)
    found = _items(dataset, "StructureSetROISequence")
    if attributes.text(dataset, "SOPClassUID") != STORAGE or not found:
        raise AnnotationError("the file is no RT Structure Set with structures: StructureSetROISequence was expected")
    numbers = [_number(item, "ROINumber") for item in found]
    contours: dict[int, list[Dataset]] = {number: [] for number in numbers}
    nameless = 0
    for group in _items(dataset, "ROIContourSequence"):
        of_group = _items(group, "ContourSequence")
        number = attributes.whole(group, "ReferencedROINumber", -1)
        contours.get(number, []).extend(of_group)
        nameless += number not in contours
    frames = _items(dataset, "ReferencedFrameOfReferenceSequence")
    series = _below(_below(frames, "RTReferencedStudySequence"), "RTReferencedSeriesSequence")
    images = _below(series, "ContourImageSequence")
    return StructureSet(
        tuple(_structure(item, number, contours[number]) for item, number in zip(found, numbers)),
        frozenset(number for number, count in Counter(numbers).items() if count > 1),
        nameless,
        _uids(frames, "FrameOfReferenceUID"),
        _uids(series, "SeriesInstanceUID"),
        _uids(images, "ReferencedSOPInstanceUID"),
        _reader(dataset),
        _date(dataset),
    )


def decode(structure: Structure) -> list[Contour]:
    """Returns a structure's contours that have points.

    Raises:
        AnnotationError: A contour of another kind than the standard's, or of numbers that are no points.
        NotDicom: An attribute cannot be decoded, as numbers that are none.
    """
    found = [_contour(item) for item in structure.items]
    return [contour for contour in found if len(contour.points)]


def _contour(item: Dataset) -> Contour:
    kind = attributes.text(item, "ContourGeometricType")
    if kind not in _KINDS:
        raise AnnotationError(f"a contour's ContourGeometricType is none of {', '.join(_KINDS)}")
    numbers = np.array(attributes.numbers(item, "ContourData") or (), np.float64)
    if len(numbers) % 3:
        raise AnnotationError(
            f"a contour has {len(numbers)} coordinates; three a point were expected, its data is damaged"
        )
    if np.abs(numbers).max(initial=0) > _FARTHEST_MM:
        raise AnnotationError("a contour lies more than a kilometre from its frame of reference's origin: damaged data")
    points = numbers.reshape(-1, 3)
    counted = attributes.whole(item, "NumberOfContourPoints", len(points)) == len(points)
    if kind in CLOSED and len(points) > 1:
        points = (
            points[(points != np.roll(points, 1, axis=0)).any(axis=1)] if (points != points[0]).any() else points[:1]
        )
    return Contour(kind, points, _images(item), counted)


def _images(item: Dataset) -> tuple[tuple[str, int], ...]:
    found = []
    for image in _items(item, "ContourImageSequence"):
        uid = attributes.text(image, "ReferencedSOPInstanceUID")
        frames = attributes.numbers(image, "ReferencedFrameNumber") or (0,)  # counted from 1
        found += [(uid, int(frame) - 1) for frame in frames] if uid else []
    return tuple(found)


def _structure(item: Dataset, number: int, contours: Sequence[Dataset]) -> Structure:
    return Structure(
        number,
        attributes.text(item, "ROIName"),
        attributes.text(item, "ReferencedFrameOfReferenceUID"),
        attributes.text(item, "ROIGenerationAlgorithm"),
        tuple(contours),
    )


def _number(item: Dataset, keyword: str) -> int:
    number = attributes.whole(item, keyword, -1)
    if number < 0:
        raise AnnotationError(f"a structure has no {keyword}, or a negative one; its contours cannot be found")
    return number


def _items(dataset: Dataset, keyword: str) -> Sequence[Dataset]:
    found = attributes.value(dataset, keyword)
    if found is None:
        return ()
    if not isinstance(found, pydicom.sequence.Sequence):
        raise AnnotationError(f"the structure set is damaged: {keyword} is no sequence")
    return found


def _below(items: Iterable[Dataset], keyword: str) -> list[Dataset]:
    return [found for item in items for found in _items(item, keyword)]


def _uids(items: Iterable[Dataset], keyword: str) -> frozenset[str]:
    return frozenset(filter(None, (attributes.text(item, keyword) for item in items)))


def _reader(dataset: Dataset) -> str:
    observations = _items(dataset, "RTROIObservationsSequence")
    told = [attributes.text(dataset, "ReviewerName"), attributes.text(dataset, "OperatorsName")]
    told += [attributes.text(item, "ROIInterpreter") for item in observations]
    return next((name.split("\\")[0] for name in told if name.strip("^=\\ ")), "")


def _date(dataset: Dataset) -> str:
    try:
        return datetime.datetime.strptime(attributes.text(dataset, "StructureSetDate"), "%Y%m%d").date().isoformat()
    except ValueError:
        return ""
