"""The one form that annotations of every source come in: regions, boxes, measurements, on an image's grid.

Boxes are in voxels of the image, lowest slice, row, column, then highest, along voxels' edges: voxel 3 of an axis
reaches from 3.0 to 4.0, so that one voxel is 1 wide and a whole axis of n voxels is 0 to n.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from radkit import config, config_check
from radkit.dicom.findings import Finding
from radkit.dicom.volumes import Volume
from radkit.errors import UserError

REFERENCE_STANDARDS = config_check.REFERENCE_STANDARDS
Overlap = Literal["refuse", "first", "last"]
WISHES = config.Annotations()  # where no config says otherwise


class AnnotationError(UserError):
    """An annotation that does not fit its image; the message says how.

    Attributes:
        finding: The kind of finding that it is (of `radkit.dicom.findings.KINDS`); empty where it is none, as of a
            damaged file.
    """

    def __init__(self, message: str, finding: str = "") -> None:
        super().__init__(message)
        self.finding = finding


@dataclass(frozen=True)
class Region:
    """One structure that was outlined: a segment, a region of interest, a value of a label image.

    Attributes:
        label: SegmentLabel, ROIName, or the value's name.
        number: SegmentNumber, ROINumber, or the value.
        corner: Slice, row, column in the image at which `inside` begins.
        inside: (slices, rows, columns) bool, no larger than the structure needs; (0, 0, 0) of an empty one.
    """

    label: str
    number: int
    corner: tuple[int, int, int]
    inside: np.ndarray

    @property
    def place(self) -> tuple[slice, slice, slice]:
        """Where `inside` lies in the image's array."""
        slices, rows, columns = (slice(low, low + n) for low, n in zip(self.corner, self.inside.shape))
        return slices, rows, columns

    def on(self, shape: Sequence[int]) -> np.ndarray:
        """Returns the region in an array of the image's shape, bool."""
        whole = np.zeros(tuple(shape), bool)
        whole[self.place] = self.inside
        return whole


def region(label: str, number: int, inside: np.ndarray) -> Region:
    """Returns the region of an array of the image's whole shape, cropped to what is inside."""
    places = [np.flatnonzero(inside.any(axis=tuple(a for a in range(3) if a != axis))) for axis in range(3)]
    if not places[0].size:
        return Region(label, number, (0, 0, 0), np.zeros((0, 0, 0), bool))
    slices, rows, columns = (slice(int(found[0]), int(found[-1]) + 1) for found in places)
    cut = np.ascontiguousarray(inside[slices, rows, columns]).astype(bool)
    return Region(label, number, (slices.start, rows.start, columns.start), cut)


@dataclass(frozen=True)
class Box:
    """A box around a lesion; see the module for its numbers."""

    low: tuple[float, float, float]
    high: tuple[float, float, float]
    label: str = ""
    lesion_id: str = ""  # TrackingUniqueIdentifier, or the reader's own name of it


@dataclass(frozen=True)
class Measurement:
    """A figure that a reader measured or a judgement that one wrote down.

    Attributes:
        name: What was measured, the code's meaning: "Long Axis", "Volume".
        value: The number, in `unit`; nan for a judgement.
        unit: UCUM code as it stands there: "mm", "cm3", "[hnsf'U]".
        text: The judgement's meaning; empty for a number.
        lesion_id: Of which lesion; see `Box`.
        finding: What the lesion is, the code's meaning.
        site: Where it is, the code's meaning.
        code: Code value and scheme of the name, as "103339001 SCT".
    """

    name: str
    value: float
    unit: str
    text: str = ""
    lesion_id: str = ""
    finding: str = ""
    site: str = ""
    code: str = ""


@dataclass(frozen=True)
class Annotation:
    """What one reader drew and wrote on one image, on that image's grid.

    Attributes:
        regions: What was outlined; regions may overlap.
        boxes: What was boxed.
        measurements: What was measured or judged.
        reader: Who, by a pseudonym; empty where nobody says.
        date: When, YYYY-MM-DD; empty where nobody says.
        reference_standard: One of `REFERENCE_STANDARDS`; empty where nobody says.
        findings: What a person should know.
    """

    regions: tuple[Region, ...] = ()
    boxes: tuple[Box, ...] = ()
    measurements: tuple[Measurement, ...] = ()
    reader: str = ""
    date: str = ""
    reference_standard: str = ""
    findings: tuple[Finding, ...] = field(default=())

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the regions, each once, in order."""
        return tuple(dict.fromkeys(r.label for r in self.regions))

    @property
    def lesion_ids(self) -> tuple[str, ...]:
        """Of the boxes and measurements, each once, in order; empty ones left out."""
        found = [box.lesion_id for box in self.boxes] + [one.lesion_id for one in self.measurements]
        return tuple(dict.fromkeys(filter(None, found)))


def as_mask(
    regions: Iterable[Region], labels: Sequence[str], shape: Sequence[int], overlap: Overlap = "refuse"
) -> np.ndarray:
    """Returns regions as one mask.

    Args:
        regions: Several of one label are united.
        labels: The first becomes 1, the next 2, ...; regions of other labels are left out.
        shape: Of the image, (slices, rows, columns).
        overlap: Which label a voxel of several gets: the `first` or `last` of `labels`; `refuse` raises.

    Returns:
        (slices, rows, columns) uint8.

    Raises:
        AnnotationError: Regions of different labels overlap.
    """
    if len(labels) > 255:
        raise AnnotationError(f"{len(labels)} labels were given; a mask holds 255 at most")
    mask = np.zeros(tuple(shape), np.uint8)
    by_label: dict[str, list[Region]] = {label: [] for label in labels}
    for one in regions:
        if one.label in by_label:
            by_label[one.label].append(one)
    taken = 0
    for value, label in enumerate(labels, start=1):
        for one in by_label[label]:
            part = mask[one.place]
            others = one.inside & (part != 0) & (part != value)
            taken += int(others.sum())
            part[one.inside & ~others if overlap == "first" else one.inside] = value
    if taken and overlap == "refuse":
        raise AnnotationError(
            f"segments overlap in {taken} voxels; one label a voxel was expected: data.annotations.overlap='first' or "
            "'last' says which",
            "overlapping_segments",
        )
    return mask


def spelled(names: Iterable[str], labels: Sequence[str]) -> dict[str, str]:
    """Returns the label that each of an annotation's names stands for; names that stand for none are left out.

    Names are the labels as they are spelled; where there is none so spelled, upper and lower case do not matter.

    Args:
        names: Of segments or structures.
        labels: What is asked for.

    Raises:
        AnnotationError: Several names are a label but for upper and lower case.

    >>> spelled(["LIVER", "Spleen", "spleen"], ["Liver", "Spleen"])
    {'Spleen': 'Spleen', 'LIVER': 'Liver'}
    """
    there = set(names)
    found = {label: label for label in labels if label in there}
    for label in labels:
        alike = {name for name in there if name.strip().casefold() == label.strip().casefold()} - set(found)
        if label not in there and len(alike) > 1:
            raise AnnotationError(f"{len(alike)} segments are named {label!r} but for upper and lower case; spell one")
        if label not in there:
            found |= dict.fromkeys(alike, label)
    return found


def to_mm(points: np.ndarray, volume: Volume) -> np.ndarray:
    """Returns places in LPS mm of places in voxels' edges (see the module), slice, row, column.

    Args:
        points: (..., 3).
        volume: The image.
    """
    points = np.asarray(points, np.float64) - 0.5
    affine: np.ndarray = volume.affine
    return points[..., ::-1] @ affine[:3, :3].T + affine[:3, 3]


def from_mm(points: np.ndarray, volume: Volume) -> np.ndarray:
    """Returns the inverse of `to_mm`: slice, row, column in voxels' edges of places in LPS mm."""
    affine: np.ndarray = volume.affine
    there = (np.asarray(points, np.float64) - affine[:3, 3]) @ np.linalg.inv(affine[:3, :3]).T
    return np.asarray(there[..., ::-1] + 0.5)
