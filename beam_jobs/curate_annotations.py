"""What was drawn on a series: each annotation read onto its image and all of one image together, as `convert` would.

What `convert` would set the image aside for is told apart from what it would take with a finding.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from radkit import config
from radkit.data import annotate, readers, resample, sources
from radkit.dicom.annotations.form import Annotation, AnnotationError
from radkit.dicom.findings import Finding
from radkit.dicom.volumes import Volume
from radkit.errors import UserError

# Faults that a policy of data.annotations takes, where it is not "refuse": a person has decided on them in the config.
_POLICIES = {
    "other_instances": "other_instances",
    "other_frame_of_reference": "other_frame_of_reference",
    "overlapping_segments": "overlap",
    "contour_off_slice": "off_slice",
    "repeated_reading": "duplicates",
    "unknown_class": "unknown_class",
}


@dataclass
class Drawn:
    """What was drawn on the images of a series.

    Attributes:
        volume: The one on which most was drawn.
        annotations: What was read onto it.
        findings: Of all annotations of the series.
        refused: Those for which `convert` would set an image aside.
    """

    volume: Volume
    annotations: list[Annotation] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    refused: list[Finding] = field(default_factory=list)


@dataclass
class _OfUnit:
    """What was drawn on what becomes one record, or several of one series: annotations by the volume's place."""

    by_place: dict[int, list[Annotation]]
    said: list[Finding]
    refused: list[tuple[Path | None, Finding]]
    placed: set[Path | None]


def taken(wishes: config.Annotations) -> set[str]:
    """Returns the names of faults that leave nothing out by themselves, as the config's policies take them."""
    return {name for name, policy in _POLICIES.items() if getattr(wishes, policy) != "refuse"}


def of_series(units: Sequence[tuple[Sequence[sources.Source], Sequence[Volume]]], data: config.Data) -> Drawn:
    """Returns what was drawn on a series' images, and what is to be said of it.

    An annotation that does not fit is a finding, and takes no other with it.

    Args:
        units: Annotations and volumes of each unit that could be read; at least one volume.
        data: The config's data section.
    """
    each = [_of_unit(found, volumes, data) for found, volumes in units]
    # A radiograph shares its series, and what is drawn on that, with other views.
    elsewhere = set().union(*(one.placed for one in each)) if len(each) > 1 else set()
    for one in each:
        one.refused = [
            (path, found)
            for path, found in one.refused
            if found.name != "other_instances" or path is None or path not in elsewhere
        ]
    pairs = [
        (volume, one.by_place.get(place, []))
        for one, (_, volumes) in zip(each, units)
        for place, volume in enumerate(volumes)
    ]
    volume, annotations = max(pairs, key=lambda pair: len(pair[1]))
    refused = list(dict.fromkeys(found for one in each for _, found in one.refused))
    said = list(dict.fromkeys(found for one in each for found in one.said))
    alone = sum(not (one.by_place or one.refused) for one in each)
    return Drawn(volume, annotations, [*said, *refused, *_alone(alone, len(each), data)], refused)


def _alone(count: int, total: int, data: config.Data) -> list[Finding]:
    """Returns what is to be said of images without annotation, where the config asks for some."""
    if not count or not (data.mask_labels or data.box_labels) or data.annotations.missing == "empty":
        return []
    said = "no annotation that the config asks for belongs to the series"
    if total > 1:
        said = f"no annotation that the config asks for belongs to {count} of the series' {total} images"
    return [Finding("images_without_labels", said)]


def _of_unit(found: Sequence[sources.Source], volumes: Sequence[Volume], data: config.Data) -> _OfUnit:
    one = _OfUnit({}, [], [], set())
    for source in found:
        place, read = _placed(source, volumes, data)
        if isinstance(read, UserError):
            one.refused.append((source.path, _as_finding(read)))
            continue
        one.placed.add(source.path)
        one.by_place.setdefault(place, []).append(read)
        one.said += read.findings
    for place, annotations in one.by_place.items():
        said, refused = _together(annotations, volumes[place], data)
        one.said += said
        one.refused += [(None, reason) for reason in refused]
    return one


def _as_finding(error: UserError) -> Finding:
    name = error.finding if isinstance(error, AnnotationError) else ""
    return Finding(name or "unreadable_annotation", str(error))


def _placed(source: sources.Source, volumes: Sequence[Volume], data: config.Data) -> tuple[int, Annotation | UserError]:
    """Returns the first volume that an annotation fits, and it; or why it does not fit the first."""
    refusals: list[UserError] = []
    for place, volume in enumerate(volumes):
        try:
            (read,) = annotate.annotations_of([source], volume, data)
        except UserError as error:
            refusals.append(error)
            continue
        return place, read
    return 0, refusals[0]


def _together(
    annotations: Sequence[Annotation], volume: Volume, data: config.Data
) -> tuple[list[Finding], list[Finding]]:
    """Returns what is to be said of all annotations of one volume, and for what `convert` would refuse them."""
    from radkit.dicom import plausible  # SciPy, which workers without masks do without

    doubts = [doubt for one in annotations for doubt in plausible.of_mask(volume, one)]
    refused = doubts if data.annotations.implausible == "refuse" else []
    said = [] if refused else doubts
    try:
        combined = readers.combine(annotations, data.mask_labels, volume.stored.shape[:3], data.annotations)
        said += combined.findings
        if data.box_labels:
            said += annotate.fields(combined, resample.grid_of(volume), replace(data, mask_labels=()))[1]
    except AnnotationError as error:
        refused = [*refused, _as_finding(error)]
    return said, refused
