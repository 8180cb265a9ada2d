"""Measurement reports (TID 1500 and what vendors make of it) as measurements and boxes.

Source: DICOM PS3.16 TID 1500 (Measurement Report), 1501 (Measurement and Qualitative Evaluation Group), 1410 (Planar),
1411 (Volumetric ROI Measurements), 1419 (ROI Measurements), 1001 (Observation Context); PS3.3 C.17.3, C.18.
"""

import datetime
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset

from radkit import config
from radkit.dicom import attributes, part10, scan
from radkit.dicom.annotations import box_rows, figures, sr_tree
from radkit.dicom.annotations.form import WISHES, Annotation, AnnotationError, Box, Measurement
from radkit.dicom.annotations.sr_tree import Concept, Item
from radkit.dicom.findings import Finding
from radkit.dicom.volumes import Volume

# Code values of the templates; SNOMED's in the present and in the old form.
REPORTS = ("126000", "126001", "126002", "126003")  # Imaging Measurement Report and its kinds
MEASUREMENTS = ("126010", "126011")  # Imaging Measurements, Derived Imaging Measurements
EVALUATIONS = ("C0034375",)  # Qualitative Evaluations
GROUP = "125007"
TRACKING_NAME, TRACKING_UID = "112039", "112040"
FINDING, SITES, DERIVATION = "121071", ("363698007", "G-C0E3"), "121401"
SOURCE_SERIES = "121232"
PERSON_NAME, DEVICE_UID, DEVICE_NAME, ALGORITHM = "121008", "121012", "121013", "111001"
# What stands among a group's judgements and is none: category, session, time point, method, algorithm, comment,
# geometric purpose.
_CONTEXT = frozenset((
    FINDING, *SITES, DERIVATION, TRACKING_NAME, TRACKING_UID, "276214006", "C67447", "C2348792", "126070", "126071",
    "126072", "370129005", "G-C036", ALGORITHM, "111003", "121106", "130400", "121049", "121058", "121005",
))  # fmt: skip
# The unit that a number has beside its 0, where de-identification took the report's content (PS3.15 Table E.1-1, D).
_REMOVED = "ANONYMIZED"
_CONTEXT_RELATIONS = ("HAS OBS CONTEXT", "HAS ACQ CONTEXT", "HAS CONCEPT MOD")


@dataclass(frozen=True)
class _Group:
    """A measurement group: what it says, and of which images.

    Attributes:
        label: Its finding, else its tracking identifier.
        lesion_id: TrackingUniqueIdentifier, else the tracking identifier.
        measurements: In order.
        figures: What was drawn.
        images: SOPInstanceUIDs that it names, segmentations left out.
        series: SeriesInstanceUIDs that it names.
    """

    label: str
    lesion_id: str
    measurements: tuple[Measurement, ...]
    figures: tuple[figures.Figure, ...]
    images: tuple[sr_tree.Image, ...]
    series: tuple[str, ...]

    @property
    def instance_uids(self) -> frozenset[str]:
        named = [*self.images, *(one for drawn in self.figures for one in drawn.images)]
        return frozenset(one.instance_uid for one in named)

    @property
    def frames_of_reference(self) -> frozenset[str]:
        return frozenset(drawn.frame_of_reference for drawn in self.figures if drawn.frame_of_reference)


@part10.silence()
def measurements(path: Path) -> list[Measurement]:
    """Returns what a report measures and judges, whichever images it is of, in the report's order.

    Values and units stand as they are in the file: nothing is converted. Where a number has a derivation, that stands
    behind its name and code: "SUVbw, Mean", "126401 DCM, 373098007 SCT". A number that the reader could not tell is nan
    without a unit, with the qualifier's meaning as its text ("Not a number"); so is one that
    `radkit anonymize` removed.

    A long axis drawn as a line from (column c, row r) to (c', r') is, in mm,
    `hypot((r' - r) * PixelSpacing[0], (c' - c) * PixelSpacing[1])` long: PixelSpacing's first value is the distance of
    rows. A report's own number may be rounded.

    Raises:
        AnnotationError: The file cannot be read, or is no measurement report.

    Source: DICOM PS3.3 C.18.1 (Numeric Measurement), 10.7.1.3 (PixelSpacing).
    """
    return [one for group in _parse(path).groups for one in group.measurements]


@part10.silence()
def read(
    path: Path, volume: Volume, labels: Sequence[str] | None = None, wishes: config.Annotations = WISHES
) -> Annotation:
    """Returns what a report says of an image.

    Each group gives its measurements, and one box around all that was drawn of it on the image; where that is a line
    or a point, the box is one voxel wide there. Groups of other images are left out.

    Args:
        path: An SR file.
        volume: The image.
        labels: Only groups of these findings, in whichever case; None: all. A group without a finding goes by its
            tracking identifier.
        wishes: What becomes of a report that is of other images or in another frame of reference, and of boxes partly
            outside.

    Raises:
        AnnotationError: Not a measurement report, none of `labels`, figures wholly outside the image, or what
            `wishes` refuse.
    """
    report = _parse(path)
    groups = report.groups
    if labels is not None and groups:
        asked = {label.casefold() for label in labels}
        groups = tuple(group for group in groups if group.label.casefold() in asked)
        if not groups:
            raise AnnotationError(f"the report has none of the findings {', '.join(labels)}")
    here, findings = _of_image(groups, report.evidence, volume, wishes)
    boxes, said = _boxes(here, volume, wishes)
    return Annotation(
        boxes=boxes,
        measurements=tuple(one for group in here for one in group.measurements),
        reader=report.reader,
        date=report.date,
        reference_standard=report.reference_standard,
        findings=(*findings, *said),
    )


@dataclass(frozen=True)
class _Report:
    """A report: its groups, the images it rests on (SOPInstanceUID to SeriesInstanceUID), and who made it when."""

    groups: tuple[_Group, ...]
    evidence: dict[str, str]
    reader: str
    date: str
    reference_standard: str


def _parse(path: Path) -> _Report:
    try:
        dataset = scan.read_file(path)
        return _report(dataset)
    except scan.NotDicom as error:
        raise AnnotationError(f"the report cannot be read: {error}") from error
    except attributes.UNDECODABLE as error:
        if isinstance(error, AnnotationError):
            raise
        raise AnnotationError(f"the report cannot be read, it is damaged ({type(error).__name__})") from error


def _report(dataset: Dataset) -> _Report:
    if "ContentSequence" not in dataset:
        raise AnnotationError("the file is no structured report: ContentSequence is absent")
    root = sr_tree.tree(dataset)
    every = list(root.walk())
    groups = [item for item in every if _is_group(item)]
    names = {item.concept.known for item in every if item.kind == "CONTAINER"}
    if not groups and not names.intersection((*REPORTS, *MEASUREMENTS)):
        raise AnnotationError(
            "the report is not one of measurements: it has neither a Measurement Group (125007, DCM) nor Imaging "
            "Measurements (126010, DCM)"
        )
    loose = _loose(every)
    reader, standard = _observer(every)
    return _Report(
        groups=(*(_group(item) for item in groups), *([loose] if loose.measurements else [])),
        evidence=sr_tree.evidence(dataset),
        reader=reader,
        date=_date(attributes.text(dataset, "ContentDate")),
        reference_standard=standard,
    )


def _is_group(item: Item) -> bool:
    """Tells a measurement group; reports that name their groups otherwise still track their lesions."""
    tracks = bool(item.below("TEXT", TRACKING_NAME) or item.below("UIDREF", TRACKING_UID))
    return item.kind == "CONTAINER" and (item.concept.known == GROUP or tracks)


def _within(item: Item) -> Iterator[Item]:
    """Yields a group's items, those of containers in it too, but not those of groups in it."""
    for child in item.children:
        if child.kind != "CONTAINER":
            yield child
        elif not _is_group(child):
            yield from _within(child)


def _first(found: Iterable[Item], keyword: str) -> str:
    """Returns the first text of items that says anything; what should be a UID is told in words by some."""
    return next(filter(None, (attributes.text(item.dataset, keyword) for item in found)), "")


def _meaning(found: Iterable[Item]) -> str:
    concepts = (sr_tree.concept(item.dataset, "ConceptCodeSequence") for item in found)
    texts = (attributes.text(item.dataset, "TextValue") for item in found)
    return next(filter(None, (*(c.meaning or c.value for c in concepts), *texts)), "")


def _group(item: Item) -> _Group:
    inside = list(_within(item))
    named = [child for child in inside if child.concept.known == TRACKING_NAME]
    identified = [child for child in inside if child.concept.known == TRACKING_UID]
    identifier = _first(named, "TextValue")
    lesion_id = _first(identified, "UID") or _first(identified, "TextValue") or identifier
    finding = _meaning([child for child in inside if child.concept.known == FINDING])
    site = _meaning([child for child in inside if child.concept.known in SITES])
    found = [one for child in inside for one in _measured(child, lesion_id, finding, site)]
    drawn = [one for child in inside for one in (child, *child.children) if one.kind in ("SCOORD", "SCOORD3D")]
    pictures = [one for child in inside for one in (child, *child.children) if one.kind == "IMAGE"]
    images = [one for one in map(sr_tree.image, pictures) if one and one.instance_uid and not one.is_segment]
    series = [attributes.text(c.dataset, "UID") for c in inside if c.concept.known == SOURCE_SERIES]
    shapes = tuple(map(figures.figure, drawn))
    return _Group(finding or identifier, lesion_id, tuple(found), shapes, tuple(images), tuple(filter(None, series)))


def _loose(every: Sequence[Item]) -> _Group:
    """Returns what stands in no group: numbers derived from several lesions, judgements of the whole study."""
    found: list[Measurement] = []
    for item in every:
        if item.kind == "CONTAINER" and item.concept.known in (*MEASUREMENTS, *EVALUATIONS):
            found += [one for child in item.children for one in _measured(child, "", "", "")]
    return _Group("", "", tuple(found), (), (), ())


def _measured(item: Item, lesion_id: str, finding: str, site: str) -> list[Measurement]:
    if item.kind == "NUM":
        return _numbers(item, lesion_id, finding, site)
    is_context = item.relation in _CONTEXT_RELATIONS or item.concept.known in _CONTEXT
    if item.kind not in ("CODE", "TEXT") or is_context:
        return []
    text, name = _meaning([item]), item.concept.meaning or item.concept.value
    return [Measurement(name, float("nan"), "", text, lesion_id, finding, site, _code(item.concept))]


def _numbers(item: Item, lesion_id: str, finding: str, site: str) -> list[Measurement]:
    concepts = [item.concept]
    for child in item.below("CODE", DERIVATION)[:1]:
        concepts.append(sr_tree.concept(child.dataset, "ConceptCodeSequence"))
    name = ", ".join(concept.meaning or concept.value for concept in concepts)
    code = ", ".join(filter(None, map(_code, concepts)))
    own_site = _meaning(item.below("CODE", *SITES)) or site
    measured = sr_tree.items(item.dataset, "MeasuredValueSequence")
    if not measured:
        why = sr_tree.concept(item.dataset, "NumericValueQualifierCodeSequence")
        text = why.meaning or why.value or "Not a number"
        return [Measurement(name, float("nan"), "", text, lesion_id, finding, own_site, code)]
    return [
        Measurement(name, float("nan"), "", "removed by de-identification", lesion_id, finding, own_site, code)
        if _unit(one) == _REMOVED
        else Measurement(name, value, _unit(one), "", lesion_id, finding, own_site, code)
        for one in measured
        for value in _values(one)
    ]


def _values(measured: Dataset) -> Sequence[float]:
    """Returns a number as exactly as the file holds it: its text has 16 characters only, where others may stand beside.

    Source: DICOM PS3.3 Table C.18.1-1.
    """
    for keyword in ("FloatingPointValue", "NumericValue"):
        if found := attributes.numbers(measured, keyword):
            return found
    above, below = (attributes.numbers(measured, f"Rational{k}Value") for k in ("Numerator", "Denominator"))
    if above and below and below[0]:
        return [above[0] / below[0]]
    return [float("nan")]


def _unit(measured: Dataset) -> str:
    return sr_tree.concept(measured, "MeasurementUnitsCodeSequence").value


def _code(concept: Concept) -> str:
    return f"{concept.value} {concept.scheme}".strip()


def _observer(every: Sequence[Item]) -> tuple[str, str]:
    """Returns who made the report and what its labels rest on: a person's eyes, or a model."""

    def said(known: str) -> list[str]:
        found = [item for item in every if item.concept.known == known]
        texts = [attributes.text(i.dataset, k) for i in found for k in ("PersonName", "TextValue", "UID")]
        return list(dict.fromkeys(filter(None, texts)))

    if people := said(PERSON_NAME):
        return "; ".join(people), "reader"
    devices = said(DEVICE_NAME) or said(ALGORITHM)
    return "; ".join(devices), "model" if devices or said(DEVICE_UID) else ""


def _date(said: str) -> str:
    try:
        return f"{datetime.datetime.strptime(said, '%Y%m%d'):%Y-%m-%d}"
    except ValueError:
        return ""


def _of_image(
    groups: Sequence[_Group], evidence: dict[str, str], volume: Volume, wishes: config.Annotations
) -> tuple[list[_Group], list[Finding]]:
    """Returns the groups that are of the image, and what is to be said of the others.

    Raises:
        AnnotationError: All are of other images, and `wishes` refuse that.
    """
    if not groups:
        return [], [Finding("no_measurements", "the report has no measurement group")]
    verdicts = [_elsewhere(group, evidence, volume) for group in groups]
    here = [group for group, verdict in zip(groups, verdicts) if not verdict]
    if len(here) == len(groups):
        return here, []
    if here:
        count = len(groups) - len(here)
        return here, [Finding("other_images_too", f"{count} of {len(groups)} groups are of other images; left out")]
    name = "other_instances" if "other_instances" in verdicts else "other_frame_of_reference"
    what = "of other images" if name == "other_instances" else "in another frame of reference"
    said = f"all {len(groups)} groups of the report are {what}"
    if getattr(wishes, name) == "refuse":
        raise AnnotationError(f"{said}; find the series that was measured", name)
    return list(groups), [Finding(name, said)]


def _elsewhere(group: _Group, evidence: dict[str, str], volume: Volume) -> str:
    """Returns the finding that a group is for this image; empty where it is of the image, or nothing says."""
    own_series, own_frame = volume.meta["SeriesInstanceUID"], volume.meta["FrameOfReferenceUID"]
    if own_series in group.series or (own_frame and own_frame in group.frames_of_reference):
        return ""
    if named := group.instance_uids:
        return "" if _any_of(named, evidence, volume) else "other_instances"
    if group.series:
        return "other_instances"
    if own_frame and group.frames_of_reference:
        return "other_frame_of_reference"
    return "other_instances" if evidence and not _any_of(evidence, evidence, volume) else ""


def _any_of(named: Iterable[str], evidence: dict[str, str], volume: Volume) -> bool:
    """Tells whether images are among the volume's; where its slices were interpolated, the series decides."""
    if volume.instance_uids:
        return not set(volume.instance_uids).isdisjoint(named)
    return any(evidence.get(uid) == volume.meta["SeriesInstanceUID"] for uid in named)


def _boxes(
    groups: Sequence[_Group], volume: Volume, wishes: config.Annotations
) -> tuple[tuple[Box, ...], list[Finding]]:
    boxes, cut, lost = [], 0, 0
    for group in groups:
        found = [figures.bounds(_on_image(drawn, group), volume) for drawn in group.figures]
        lost += found.count(None)
        if bounds := [one for one in found if one is not None]:
            low, high = box_rows.union(bounds)
            box, was_cut = box_rows.fit(Box(tuple(low), tuple(high), group.label, group.lesion_id), volume, wishes)
            boxes.append(box)
            cut += was_cut
    findings = []
    if cut:
        findings.append(Finding("partly_outside", f"{cut} boxes reach beyond the image and were cut off there"))
    if lost:
        findings.append(Finding("figure_without_slice", f"{lost} figures are of no slice of the image; left out"))
    return tuple(boxes), findings


def _on_image(drawn: figures.Figure, group: _Group) -> figures.Figure:
    """Returns a figure with its images; one that names none is of the one that its group names."""
    if drawn.images or drawn.points.shape[1] == 3 or len(group.images) != 1:
        return drawn
    return figures.Figure(drawn.kind, drawn.points, group.images)
