"""Annotations as a record holds them: read onto the image, several readers made one, set on the record's grid."""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from radkit import config
from radkit.data import readers, resample, sources
from radkit.dicom import annotations
from radkit.dicom.annotations import boxes
from radkit.dicom.annotations.form import Annotation, AnnotationError, Box
from radkit.dicom.findings import Finding
from radkit.dicom.volumes import Volume

_ABOUT = ("reader", "date", "reference_standard")


def annotations_of(found: Sequence[sources.Source], volume: Volume, data: config.Data) -> list[Annotation]:
    """Returns what each source says of an image, on its grid.

    Args:
        found: The sources of its unit.
        volume: The image as acquired.
        data: The config's data section.

    Raises:
        AnnotationError: One does not fit the image, by the config's policies.
    """
    read: list[Annotation] = []
    of_others: list[AnnotationError] = []
    for source in found:
        try:
            read.append(_read(source, volume, data))
        except AnnotationError as error:
            # A radiograph shares its series, and what is drawn on that, with other views.
            if data.kind != "radiograph" or error.finding != "other_instances":
                raise
            of_others.append(error)
    if of_others and not read:
        raise of_others[0]
    return read


def _read(source: sources.Source, volume: Volume, data: config.Data) -> Annotation:
    wishes = data.annotations
    about = {name: told for name in _ABOUT if (told := str(getattr(source, name)))}
    if source.path is None:
        placed, findings = boxes.place(source.boxes, volume, wishes)
        return dataclasses.replace(Annotation(boxes=placed, findings=findings), **about)  # type: ignore[arg-type]
    labels = tuple(dict.fromkeys((*data.mask_labels, *data.box_labels)))
    names = dict(source.names) or dict(enumerate(data.mask_labels or data.box_labels, start=1))
    read = annotations.read(source.path, volume, labels, wishes, names=names)
    return dataclasses.replace(_boxed(read, data), **about)  # type: ignore[arg-type]


def _boxed(read: Annotation, data: config.Data) -> Annotation:
    """Returns an annotation whose outlines of what the config wants boxed are boxes around them."""
    kept = tuple(region for region in read.regions if region.label in data.mask_labels)
    alone = [region for region in read.regions if region.label not in data.mask_labels and region.inside.size]
    around = (
        Box(_floats(region.corner), _floats(np.add(region.corner, region.inside.shape)), region.label)
        for region in alone
    )
    return dataclasses.replace(read, regions=kept, boxes=(*read.boxes, *around))


def _floats(numbers: Sequence[int] | np.ndarray) -> tuple[float, float, float]:
    first, second, third = map(float, numbers)
    return first, second, third


def drawn(found: Sequence[sources.Source], volume: Volume, data: config.Data) -> readers.Combined:
    """Returns what an image's annotations come to, on its grid.

    Raises:
        AnnotationError: One does not fit the image, or they do not fit one another, by the config's policies.
    """
    read = annotations_of(found, volume, data)
    shape = volume.stored.shape[:3]
    if not read:  # the config takes it for an image on which nothing is to be found
        return readers.Combined(np.zeros(shape, np.uint8))
    combined = readers.combine(read, data.mask_labels, shape, data.annotations)
    findings = [finding for one in read for finding in one.findings]
    if data.mask_labels:
        findings += _doubts(read, volume, data)
    return dataclasses.replace(combined, findings=(*findings, *combined.findings))


def _doubts(read: Sequence[Annotation], volume: Volume, data: config.Data) -> list[Finding]:
    from radkit.dicom import plausible  # SciPy, which workers without masks do without

    doubts = [doubt for one in read for doubt in plausible.of_mask(volume, one)]
    if doubts and data.annotations.implausible == "refuse":
        raise AnnotationError("; ".join(doubt.text for doubt in doubts), doubts[0].name)
    return doubts


def fields(drawn: readers.Combined, grid: resample.Grid, data: config.Data) -> tuple[dict[str, Any], list[Finding]]:
    """Returns the record's fields that hold annotations, and what was found on the way.

    Args:
        drawn: On the grid of the image as acquired.
        grid: Of the record, made from it.
        data: The config's data section.

    Raises:
        AnnotationError: A box has a label that the config does not name.
    """
    values: dict[str, Any] = about(
        "annotation", " + ".join(filter(None, drawn.readers)), drawn.date, drawn.reference_standard
    )
    if data.mask_labels:
        values["mask"] = as_kind(resample.mask_onto(drawn.mask, grid), data.kind)
        if data.annotations.keep_readers:
            each = [as_kind(resample.mask_onto(mask, grid), data.kind) for mask in drawn.masks]
            values["reader_masks"] = np.stack(each) if each else np.zeros((0, *values["mask"].shape), np.uint8)
            values["readers"] = list(drawn.readers)[: len(each)]
    if not data.box_labels:
        return values, []
    named, unknown = _named(drawn.boxes, data)
    placed = [(box, label, edges) for box, label in named if (edges := _onto(box, grid)) is not None]
    findings = [Finding("unknown_class", f"{unknown} boxes of labels that data.box_labels does not name")] * bool(
        unknown
    )
    if len(placed) < len(named):
        said = f"{len(named) - len(placed)} boxes lie outside the record, which is a part of the image"
        findings.append(Finding("partly_outside", said))
    rank = 2 if data.kind == "radiograph" else 3
    listed = [[*low[-rank:], *high[-rank:]] for _, _, (low, high) in placed]
    values["boxes"] = np.array(listed, np.float32).reshape(-1, 2 * rank)
    values["box_labels"] = [label for _, label, _ in placed]
    values["lesion_ids"] = [box.lesion_id for box, _, _ in placed]
    return values, findings


def about(what: str, reader: str, date: str, reference_standard: str) -> dict[str, str]:
    """Returns the fields that say where a label comes from.

    >>> about("label", "A", "", "histology")
    {'label_reader': 'A', 'label_date': '', 'label_reference_standard': 'histology'}
    """
    return {f"{what}_{name}": value for name, value in zip(_ABOUT, (reader, date, reference_standard))}


def _named(found: Sequence[Box], data: config.Data) -> tuple[list[tuple[Box, int]], int]:
    """Returns boxes with their class, and how many have none that the config knows."""
    known = {label.casefold(): number for number, label in enumerate(data.box_labels)}
    if len(data.box_labels) == 1:
        known.setdefault("", 0)  # a table of one kind of lesion need not name it
    named = [(box, known[box.label.casefold()]) for box in found if box.label.casefold() in known]
    unknown = len(found) - len(named)
    if unknown and data.annotations.unknown_class == "refuse":
        raise AnnotationError(
            f"{unknown} boxes have labels that data.box_labels does not name; "
            "data.annotations.unknown_class='leave_out' leaves them out",
            "unknown_class",
        )
    return named, unknown


def _onto(box: Box, grid: resample.Grid) -> tuple[np.ndarray, np.ndarray] | None:
    """Returns a box's low and high edges in a record's voxels, cut at its borders; None where nothing of it is left."""
    corners = np.array(list(itertools.product(*zip(box.low, box.high))))
    there = (corners[:, ::-1] - 0.5 - grid.source[:3, 3]) @ np.linalg.inv(grid.source[:3, :3]).T
    edges = np.clip(there[:, ::-1] + 0.5, 0, grid.shape)
    low, high = edges.min(axis=0), edges.max(axis=0)
    # What a permuted axis leaves of rounding is no part of a voxel.
    low, high = np.round(low, 6), np.round(high, 6)
    return (low, high) if (high > low).all() else None


def as_kind(array: np.ndarray, kind: str) -> np.ndarray:
    """Returns (slices, rows, columns) as a record's array: (slices, rows, columns, 1), or (rows, columns, 1)."""
    if kind == "radiograph":
        array = array[0]
    return np.ascontiguousarray(array[..., None])
