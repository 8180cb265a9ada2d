"""Measurements as DICOM structured reports, through highdicom.

Source: DICOM PS3.16 TID 1500 (Measurement Report), 1501, 1411, 1419, 1420; PS3.3 A.35.13 (Comprehensive 3D SR).
"""

import datetime
import hashlib
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pydicom
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from radkit.dicom import attributes, part10, scan
from radkit.dicom.annotations import write_regions, written
from radkit.dicom.annotations.form import AnnotationError, Box, Measurement
from radkit.dicom.annotations.sr_tree import SEGMENTATIONS, items
from radkit.dicom.volumes import Volume


class Term(NamedTuple):
    """How a measurement is coded: its name, what the number is of many values (or None), and its usual unit."""

    name: Code
    derivation: Code | None
    unit: str


# What `Measurement.name` may be where it brings no code of its own. A report read again gives the codes' meanings.
#   name         code                                        derivation           unit
TERMS: Mapping[str, Term] = {
    "volume": Term(Code("118565006", "SCT", "Volume"), None, "mL"),
    "long axis": Term(Code("103339001", "SCT", "Long axis"), None, "mm"),
    "short axis": Term(Code("103340004", "SCT", "Short axis"), None, "mm"),
    "mean HU": Term(
        Code("112031", "DCM", "Attenuation Coefficient"), Code("373098007", "SCT", "Mean"), "[hnsf'U]"
    ),
    "probability": Term(Code("122157", "DCM", "Probability"), None, "1"),
}  # fmt: skip
# pydicom's dictionary has no millilitre, nor most of UCUM: a unit's code is its own meaning where none stands here.
UNITS = {
    "mm": "millimeter", "cm": "centimeter", "mm2": "square millimeter", "cm2": "square centimeter", "mL": "milliliter",
    "ml": "milliliter", "mm3": "cubic millimeter", "cm3": "cubic centimeter", "[hnsf'U]": "Hounsfield unit",
    "%": "percent", "1": "no units", "g": "gram",
}  # fmt: skip
# Findings, sites and judgements that have words only are given a code of this scheme, made from the words.
PRIVATE_SCHEME = "99RADKIT"
# Of radkit as an observing device; made from this text, the same in all reports.
_DEVICE_UID = pydicom.uid.generate_uid(entropy_srcs=["radkit", "device observer"])
_KIND = "report"  # in the UIDs that are derived
_CODE = re.compile(r"(\S{1,16}) (\S{1,16})")
_Key = tuple[str, str, str]


@part10.silence()
def write_sr(
    measurements: Sequence[Measurement],
    volume: Volume,
    path: Path,
    *,
    segmentation: Path | None = None,
    boxes: Sequence[Box] = (),
    reader: str = "",
    when: datetime.datetime | None = None,
) -> None:
    """Writes measurements as a Comprehensive 3D SR that references the volume's instances.

    Measurements of the same lesion, finding and site make one group. Where `segmentation` has one segment with the
    group's finding as its label, the group references that segment, else all images of the volume: so a class that was
    looked for and is absent is said by a volume of 0. Numbers and units are written as they are. UIDs are derived from
    the image's series and the measurements, lesions' from their names: the same answer is the same instance again.

    Args:
        measurements: A number, or with `text` a judgement. `name` is one of `TERMS`, unless `code` says its code; a
            number's `unit` is UCUM, that of `TERMS` where it is empty. `lesion_id` is a UID, which is kept, or a name.
        volume: The image; its files are read again for the headers.
        path: The file to write.
        segmentation: A DICOM SEG of the image.
        boxes: Where lesions lie, by `lesion_id`; the group of such a lesion has the box's coordinates.
        reader: Who measured, by a pseudonym; empty: the software did, a device observer named radkit.
        when: Date and time that the file says it was made at; now if not given. With it, the same bytes come out.

    Raises:
        AnnotationError: Nothing to write, a name without a code, a number that is none, text too long for DICOM, images
            or a segmentation that cannot be read again, or highdicom is not installed.
    """
    if not measurements:
        raise AnnotationError("there are no measurements to write; say a class that is absent by a volume of 0")
    highdicom = written.highdicom("SR")
    sources = written.headers(volume)
    segments = None if segmentation is None else _segmentation(segmentation, volume)
    groups: dict[_Key, list[Measurement]] = {}
    for one in measurements:
        groups.setdefault((one.lesion_id, one.finding, one.site), []).append(one)
    when = when or datetime.datetime.now()
    try:
        made = _Writer(highdicom, volume, sources, segments, write_regions.by_lesion(boxes, volume))
        report = highdicom.sr.MeasurementReport(
            observation_context=made.observer(reader),
            procedure_reported=Code("363679005", "SCT", "Imaging procedure"),
            imaging_measurements=[made.group(n, key, found) for n, (key, found) in enumerate(groups.items(), 1)],
        )
        document = highdicom.sr.Comprehensive3DSR(
            evidence=[*sources, *([] if segments is None else [segments])],
            content=report[0],
            series_instance_uid=written.derived_uid(volume, _KIND, "series"),
            series_number=101,
            sop_instance_uid=written.derived_uid(
                volume, _KIND, "instance", _digest(measurements, segments, reader, boxes)
            ),
            instance_number=1,
            manufacturer="radkit",
            is_complete=True,
        )
    except part10.MALFORMED as error:
        raise written.impossible("report", error) from error
    _identify(document)
    _repeatable(document, when)
    document.save_as(path)


class _Writer:
    """What groups are made of: the images, the segmentation, and highdicom."""

    def __init__(
        self,
        highdicom: Any,
        volume: Volume,
        sources: Sequence[Dataset],
        segments: Dataset | None,
        boxes: Mapping[str, Box],
    ) -> None:
        self._sr = highdicom.sr
        self._volume, self._sources, self._boxes = volume, sources, boxes
        self._images = [self._sr.SourceImageForMeasurementGroup.from_source_image(one) for one in sources]
        self._segments = segments

    def observer(self, reader: str) -> Any:
        """Returns who measured: a person, or radkit."""
        if reader:
            if len(reader) > 64 or set(reader) & set("\\=^"):
                raise AnnotationError("a reader is named by 1 to 64 characters without backslash, = and ^")
            context = self._sr.ObserverContext(
                observer_type=pydicom.sr.codedict.codes.DCM.Person,
                observer_identifying_attributes=self._sr.PersonObserverIdentifyingAttributes(name=reader),
            )
            return self._sr.ObservationContext(observer_person_context=context)
        context = self._sr.ObserverContext(
            observer_type=pydicom.sr.codedict.codes.DCM.Device,
            observer_identifying_attributes=self._sr.DeviceObserverIdentifyingAttributes(
                uid=_DEVICE_UID, name="radkit", manufacturer_name="radkit", model_name="radkit"
            ),
        )
        return self._sr.ObservationContext(observer_device_context=context)

    def group(self, number: int, key: _Key, found: Sequence[Measurement]) -> Any:
        """Returns the group of one lesion: of its box or segment where there is one, else of the images."""
        lesion_id, finding, site = key
        given = _is_uid(lesion_id)
        said: dict[str, Any] = {
            "tracking_identifier": self._sr.TrackingIdentifier(
                uid=lesion_id
                if given
                else written.derived_uid(self._volume, _KIND, "lesion", lesion_id or f"{finding} {site}"),
                identifier=(finding or f"lesion {number}") if given else lesion_id or finding or f"lesion {number}",
            ),
            "finding_type": _coded(finding, "finding") if finding else None,
            "finding_sites": [self._sr.FindingSite(_coded(site, "site"))] if site else None,
            "measurements": list(self._numbers(found)) or None,
            "qualitative_evaluations": list(self._judgements(found)) or None,
        }
        if lesion_id in self._boxes:
            return write_regions.group(self._sr, self._boxes[lesion_id], self._volume, self._sources, said)
        segment = _segment_number(self._segments, finding)
        if segment:
            reference = self._sr.ReferencedSegment.from_segmentation(self._segments, segment)
            return self._sr.VolumetricROIMeasurementsAndQualitativeEvaluations(referenced_segment=reference, **said)
        return self._sr.MeasurementsAndQualitativeEvaluations(source_images=self._images, **said)

    def _numbers(self, found: Sequence[Measurement]) -> Iterator[Any]:
        for one in found:
            if one.text:
                continue
            if not math.isfinite(one.value):
                raise AnnotationError(
                    f"the measurement {one.name!r} is {one.value}; a finite number, or a text, was expected"
                )
            term = _term(one)
            unit = one.unit or term.unit
            if not 0 < len(unit) <= 16:
                raise AnnotationError(f"the measurement {one.name!r} has the unit {unit!r}; a UCUM code was expected")
            code = Code(unit, "UCUM", UNITS.get(unit, unit))
            yield self._sr.Measurement(term.name, float(one.value), code, derivation=term.derivation)

    def _judgements(self, found: Sequence[Measurement]) -> Iterator[Any]:
        for one in found:
            if one.text:
                yield self._sr.QualitativeEvaluation(_term(one).name, _coded(one.text, "judgement"))


def _term(one: Measurement) -> Term:
    """Returns a measurement's codes: its own, else those of its name."""
    if one.code:
        codes = [_CODE.fullmatch(said) for said in one.code.split(", ")]
        if len(codes) not in (1, 2) or None in codes:
            raise AnnotationError(f"{one.code!r} is no code; one as '103339001 SCT', or two with a comma, was expected")
        # Behind the last comma stands the derivation, where there is one; a name may have commas of its own.
        names = one.name.rsplit(", ", 1) if len(codes) == 2 else [one.name]
        if len(names) < len(codes):
            raise AnnotationError(f"{one.name!r} has two codes; a name and its derivation with a comma were expected")
        found = [Code(*match.groups(), _meaning(name)) for match, name in zip(codes, names) if match]
        return Term(found[0], found[1] if len(found) == 2 else None, "")
    if one.text and one.name not in TERMS:
        return Term(_coded(one.name, "name"), None, "")
    if one.name not in TERMS:
        raise AnnotationError(
            f"the measurement {one.name!r} has no code; give `code`, or one of the names {', '.join(TERMS)}"
        )
    return TERMS[one.name]


def _meaning(text: str) -> str:
    if not 0 < len(text) <= 64 or "\\" in text or text != text.strip():  # LO (PS3.5 6.2)
        raise AnnotationError(f"{text!r} is no CodeMeaning: 1 to 64 characters without backslash were expected")
    return text


def _coded(text: str, what: str) -> Code:
    """Returns a private code for words: the same words, the same code."""
    value = hashlib.sha256(f"{what} {text}".encode()).hexdigest()[:16].upper()
    return Code(value, PRIVATE_SCHEME, _meaning(text))


def code_of(words: str) -> str:
    """Returns the private code of a measurement's name that has words only, as `Measurement.code` takes it.

    Raises:
        AnnotationError: The words are too long for DICOM.
    """
    code = _coded(words, "name")
    return f"{code.value} {code.scheme_designator}"


def _is_uid(text: str) -> bool:
    return len(text) <= 64 and bool(re.fullmatch(r"(0|[1-9]\d*)(\.(0|[1-9]\d*))+", text))


def _segmentation(path: Path, volume: Volume) -> Dataset:
    try:
        found = scan.read_header(path)
        if attributes.text(found, "SOPClassUID") not in SEGMENTATIONS:
            raise AnnotationError("the file is no DICOM segmentation; one of the image was expected")
        series = [attributes.text(one, "SeriesInstanceUID") for one in items(found, "ReferencedSeriesSequence")]
    except scan.NotDicom as error:
        raise AnnotationError(f"the segmentation cannot be read: {error}") from error
    if series and volume.meta["SeriesInstanceUID"] not in series:
        raise AnnotationError("the segmentation is of another series than the image", "other_instances")
    return found


def _segment_number(segments: Dataset | None, label: str) -> int:
    """Returns the number of the one segment with this label that has frames; 0 where there is none."""
    if segments is None or not label:
        return 0
    found = [int(one.SegmentNumber) for one in segments.SegmentSequence if one.SegmentLabel == label]
    if len(found) != 1:
        return 0
    frames = [
        int(item.ReferencedSegmentNumber)
        for frame in segments.PerFrameFunctionalGroupsSequence
        for item in frame.get("SegmentIdentificationSequence", ())
    ]
    return found[0] if found[0] in frames else 0


def _digest(
    measurements: Sequence[Measurement], segments: Dataset | None, reader: str, boxes: Sequence[Box] = ()
) -> str:
    said = repr(
        (
            list(measurements),
            "" if segments is None else str(segments.SOPInstanceUID),
            reader,
            *([list(boxes)] if boxes else []),
        )
    )
    return hashlib.sha256(said.encode()).hexdigest()


def _identify(document: Dataset) -> None:
    """Says whose the private codes are (PS3.3 C.12.1.1.2)."""
    scheme = Dataset()
    scheme.CodingSchemeDesignator = PRIVATE_SCHEME
    scheme.CodingSchemeName = "radkit: codes made from words"
    scheme.CodingSchemeResponsibleOrganization = "radkit"
    document.CodingSchemeIdentificationSequence = [scheme]


def _repeatable(document: Dataset, when: datetime.datetime) -> None:
    """Takes the clock out of a new report."""
    for keyword in ("InstanceCreation", "Content"):
        setattr(document, f"{keyword}Date", f"{when:%Y%m%d}")
        setattr(document, f"{keyword}Time", f"{when:%H%M%S}")
    for item in document.get("ContributingEquipmentSequence", ()):
        if "ContributionDateTime" in item:
            item.ContributionDateTime = f"{when:%Y%m%d%H%M%S}"
