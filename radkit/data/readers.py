"""What several readers drew on one image, made one as the config says; and which cases they should look at again."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np

from radkit import config
from radkit.data import box_consensus
from radkit.dicom.annotations import form
from radkit.dicom.annotations.form import Annotation, AnnotationError, Box, Region
from radkit.dicom.findings import Finding

# Of the table of cases to adjudicate.
COLUMNS = ("record_uid", "readers", "label", "dice", "volumes_ml", "boxes_matched", "reason")


@dataclass(frozen=True)
class Agreement:
    """How far readers agree; empty where no label, or no box, is of several readers.

    Attributes:
        dice: Label -> mean Dice over all pairs of readers (two that both drew nothing agree: 1).
        voxels: Label -> volume in voxels of each reader, in the readers' order.
        boxes_matched: Share of all boxes that a majority of readers drew; nan without boxes of several readers.
    """

    dice: dict[str, float] = field(default_factory=dict)
    voxels: dict[str, tuple[int, ...]] = field(default_factory=dict)
    boxes_matched: float = math.nan


@dataclass(frozen=True)
class Combined:
    """What becomes of all annotations of one image.

    Attributes:
        mask: The image's shape, uint8: 1 is the first of the labels, and so on.
        readers: Who drew the mask (of boxes alone: the boxes), by name; "reader 1", ... where nobody says, and "" where
            that one is alone.
        masks: One a reader, as `mask`; none where boxes alone were drawn.
        boxes: Of all readers, or of the first.
        agreement: Of readers who drew the same labels.
        reference_standard: "consensus" where readings of several became one; empty where some do not say.
        date: YYYY-MM-DD, the latest of those that went into it; empty where nobody says.
        findings: What came of making them one; those of the annotations themselves are not repeated.
    """

    mask: np.ndarray
    readers: tuple[str, ...] = ()
    masks: tuple[np.ndarray, ...] = ()
    boxes: tuple[Box, ...] = ()
    agreement: Agreement = Agreement()
    reference_standard: str = ""
    date: str = ""
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, eq=False)
class _Reader:
    """One reader's annotations of an image, united."""

    name: str
    annotations: tuple[Annotation, ...]
    regions: tuple[Region, ...]
    boxes: tuple[Box, ...]

    @property
    def found_nothing(self) -> bool:
        return not any(one.regions or one.boxes or one.measurements for one in self.annotations)

    @property
    def outlined(self) -> set[str]:
        return {one.label for one in self.regions}

    @property
    def boxed(self) -> set[str]:
        return {box.label for box in self.boxes}


def combine(
    annotations: Sequence[Annotation],
    labels: Sequence[str],
    shape: Sequence[int],
    wishes: config.Annotations = form.WISHES,
) -> Combined:
    """Returns one annotation of several.

    Annotations of one reader are united. Those of nobody named are one reader's as long as no label comes twice (one
    file an organ); a label that comes again is another reader's. Readers of whom no two drew the same label shared the
    work, and nothing has to be decided. Where two drew the same label, a third who drew another one says that it is
    not there. A reader who drew no label, but boxes or measurements, has no say about labels; and so for boxes.

    Args:
        annotations: On the image's grid, at least one.
        labels: The first becomes 1, the next 2, ...; may be empty where only boxes are wanted.
        shape: Of the image, (slices, rows, columns).
        wishes: `several` says how readers are made one (by `staple`, boxes go by majority), `readers` and
            `reference_standards` whose and which annotations count, `duplicates` what becomes of a structure that one
            reader drew twice, `overlap` which label a voxel of several gets.

    Raises:
        AnnotationError: Nothing is left of what counts; several readers, reference standards or readings of one
            reader, and no setting to choose; labels overlap.
    """
    readers = _readers(_that_count(annotations, wishes), labels, wishes)
    _check_standards(readers)
    outliners = [r for r in readers if r.outlined or r.found_nothing] if labels else []
    boxers = [r for r in readers if r.boxed or r.found_nothing]
    differ = _shared([r.outlined for r in outliners]), _shared([r.boxed for r in boxers])
    if any(differ) and wishes.several == "refuse":
        raise AnnotationError(_refusal(outliners if differ[0] else boxers), "several_readers")
    masks = tuple(form.as_mask(r.regions, labels, shape, wishes.overlap) for r in outliners)
    boxes, matched = _boxes(boxers, wishes.several if differ[1] else "")
    agreement = Agreement(*(_overlap(masks, labels, outliners) if differ[0] else ({}, {})), matched)
    first = any(differ) and wishes.several == "first"
    used = outliners[: 1 if differ[0] else None] + boxers[: 1 if differ[1] else None] if first else readers
    return Combined(
        mask=_merged(masks, labels, wishes.several) if differ[0] else _together(outliners, labels, shape, wishes),
        readers=tuple(r.name for r in (outliners or boxers)),
        masks=masks,
        boxes=boxes,
        agreement=agreement,
        reference_standard=_standard(used, merged=any(differ) and not first),
        date=max((one.date for r in used for one in r.annotations), default=""),
        findings=_findings(readers, agreement, wishes.several if any(differ) else ""),
    )


def _that_count(annotations: Sequence[Annotation], wishes: config.Annotations) -> list[Annotation]:
    """Returns the annotations of the reference standards that the config wants."""
    wanted = wishes.reference_standards
    counted = [one for one in annotations if not wanted or one.reference_standard in wanted]
    if not counted:
        what = "none of them rests on one of data.annotations.reference_standards " + ", ".join(wanted)
        raise AnnotationError(
            f"the image has {len(annotations)} annotations; {what if annotations else 'one was expected'}",
            "images_without_labels",
        )
    return counted


def _readers(annotations: Sequence[Annotation], labels: Sequence[str], wishes: config.Annotations) -> list[_Reader]:
    """Returns who is asked, in the order in which the first is the first."""
    named: dict[str, list[Annotation]] = {}
    for one in annotations:
        if one.reader:
            named.setdefault(one.reader, []).append(one)
    unnamed = _told_apart([one for one in annotations if not one.reader], labels)
    if len(unnamed) == 1 and not named:
        named[""] = unnamed[0]
    else:
        free = (name for n in range(1, len(annotations) * 2 + 1) if (name := f"reader {n}") not in named)
        named.update({name: group for name, group in zip(list(free), unnamed)})
    order = wishes.readers or tuple(sorted(named, key=natural))
    asked = [_united(name, named[name], labels, wishes) for name in dict.fromkeys(order) if name in named]
    if not asked:
        raise AnnotationError(
            f"{len(named)} readers annotated the image, and none of them is of data.annotations.readers "
            f"({', '.join(wishes.readers)}); name one of {', '.join(map(_called, named))}, or none",
            "images_without_labels",
        )
    return asked


def natural(name: str) -> list[Any]:
    """Returns what sorts "reader 2" before "reader 10"."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]


def _called(name: str) -> str:
    return name or "(nobody named)"


def _told_apart(annotations: Iterable[Annotation], labels: Sequence[str]) -> list[list[Annotation]]:
    """Returns groups of annotations in which no label comes twice, in the order given."""
    groups: list[tuple[set[tuple[str, str]], list[Annotation]]] = []
    for one in annotations:
        drawn = {("region", label) for label in one.labels if label in labels}
        drawn |= {("box", box.label) for box in one.boxes}
        for taken, group in groups:
            if taken.isdisjoint(drawn):
                taken |= drawn
                group.append(one)
                break
        else:
            groups.append((drawn, [one]))
    return [group for _, group in groups]


def _united(name: str, given: Sequence[Annotation], labels: Sequence[str], wishes: config.Annotations) -> _Reader:
    """Returns what one reader drew, of several files: other parts of a structure are added, copies are dropped."""
    regions: list[Region] = []
    for one in given:
        again = {region.label for region in one.regions if any(_conflict(region, old) for old in regions)}
        again &= set(labels)
        if again and wishes.duplicates == "refuse":
            raise AnnotationError(
                f"reader {_called(name)} drew {', '.join(sorted(again))} more than once, and differently; "
                "data.annotations.duplicates='first' takes the first",
                "repeated_reading",
            )
        regions += [region for region in one.regions if region.label in labels and region.label not in again]
    boxes = dict.fromkeys(box for one in given for box in one.boxes)
    return _Reader(name, tuple(given), tuple(regions), tuple(boxes))


def _conflict(new: Region, old: Region) -> bool:
    """Tells whether two regions of a label meet and are not the same."""
    if new.label != old.label or (new.corner == old.corner and np.array_equal(new.inside, old.inside)):
        return False
    places = [
        (max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(new.place, old.place)
    ]  # of the image, in which both lie
    if any(low >= high for low, high in places):
        return False
    new_part, old_part = (
        one.inside[tuple(slice(low - start, high - start) for (low, high), start in zip(places, one.corner))]
        for one in (new, old)
    )
    return bool((new_part & old_part).any())


def _check_standards(readers: Sequence[_Reader]) -> None:
    stated = sorted({one.reference_standard for r in readers for one in r.annotations} - {""})
    if len(stated) > 1:
        raise AnnotationError(
            f"the image's annotations rest on several reference standards ({', '.join(stated)}); name the one that "
            "counts in data.annotations.reference_standards",
            "mixed_reference_standards",
        )


def _standard(used: Sequence[_Reader], merged: bool) -> str:
    stated = {one.reference_standard for r in used for one in r.annotations}
    standard = stated.pop() if len(stated) == 1 else ""
    return "consensus" if merged and standard == "reader" else standard


def _shared(drawn: Sequence[set[str]]) -> bool:
    """Tells whether readers may contradict each other: a label of two, or one who found nothing."""
    if len(drawn) < 2:
        return False
    return not all(drawn) or any(a & b for a, b in combinations(drawn, 2))


def _refusal(readers: Sequence[_Reader]) -> str:
    return (
        f"{len(readers)} readers ({', '.join(r.name for r in readers)}) annotated this image; "
        "data.annotations.several='majority', 'staple' or 'first' says how they are made one, data.annotations.readers "
        "whose annotations count"
    )


def _together(
    readers: Sequence[_Reader], labels: Sequence[str], shape: Sequence[int], wishes: config.Annotations
) -> np.ndarray:
    return form.as_mask((one for r in readers for one in r.regions), labels, shape, wishes.overlap)


def _merged(masks: Sequence[np.ndarray], labels: Sequence[str], how: str) -> np.ndarray:
    if how == "first":
        return masks[0]
    from radkit.metrics import consensus  # only where readers are made one: workers stay light

    merge = consensus.staple_labels if how == "staple" else consensus.majority_labels
    return merge(masks, len(labels))


def _overlap(
    masks: Sequence[np.ndarray], labels: Sequence[str], readers: Sequence[_Reader]
) -> tuple[dict[str, float], dict[str, tuple[int, ...]]]:
    """Returns mean Dice and readers' volumes of each label that somebody outlined."""
    from radkit.metrics import segmentation

    inside = [mask != 0 for mask in masks]
    place = form.region("", 0, np.logical_or.reduce(inside)).place  # what lies beyond it is nobody's
    dice, voxels = {}, {}
    for value, label in enumerate(labels, start=1):
        if any(label in r.outlined for r in readers):
            each = [mask[place] == value for mask in masks]
            dice[label] = float(np.mean([segmentation.dice(a, b) for a, b in combinations(each, 2)]))
            voxels[label] = tuple(int(np.count_nonzero(one)) for one in each)
    return dice, voxels


def _boxes(readers: Sequence[_Reader], how: str) -> tuple[tuple[Box, ...], float]:
    """Returns the boxes of all readers, and the share of theirs that a majority drew."""
    if not how:
        return tuple(box for r in readers for box in r.boxes), math.nan
    agreed, matched = box_consensus.majority([r.boxes for r in readers])
    return readers[0].boxes if how == "first" else agreed, matched


def _findings(readers: Sequence[_Reader], agreement: Agreement, how: str) -> tuple[Finding, ...]:
    if len(readers) < 2:
        return ()
    who = f"{len(readers)} readers ({', '.join(_called(r.name) for r in readers)})"
    if not how:
        return (Finding("several_readers", f"{who} shared the work: no label is of two of them"),)
    said = [f"{who}; data.annotations.several={how!r}"]
    said += [f"{label}: mean Dice {dice:.2f}" for label, dice in agreement.dice.items()]
    for label, volumes in agreement.voxels.items():
        if 0 in volumes and any(volumes):
            said.append(f"{label} was outlined by {_of(volumes)} readers")
    if not math.isnan(agreement.boxes_matched):
        said.append(f"{agreement.boxes_matched:.0%} of the boxes are a majority's")
    return (Finding("several_readers", "; ".join(said)),)


def _of(volumes: Sequence[int]) -> str:
    return f"{sum(volume > 0 for volume in volumes)} of {len(volumes)}"


def disagreements(record_uid: str, combined: Combined, voxel_ml: float) -> list[dict[str, Any]]:
    """Returns rows of `COLUMNS` of an image's labels and boxes in which its readers differ; none where they do not.

    Args:
        record_uid: The record's.
        combined: From `combine`.
        voxel_ml: A voxel's volume; nan where it is not known.
    """
    agreement, rows = combined.agreement, []
    for label, dice in agreement.dice.items():
        if dice < 1:
            volumes = agreement.voxels[label]
            reason = f"outlined by {_of(volumes)} readers" if 0 in volumes else "outlines differ"
            shown = "" if math.isnan(voxel_ml) else "; ".join(f"{volume * voxel_ml:.3f}" for volume in volumes)
            rows.append(_row(record_uid, combined.readers, reason, label=label, dice=round(dice, 4), volumes_ml=shown))
    if agreement.boxes_matched < 1:
        share = round(agreement.boxes_matched, 4)
        rows.append(_row(record_uid, combined.readers, "boxes that no majority drew", boxes_matched=share))
    return rows


def class_disagreement(record_uid: str, classes: Mapping[str, str]) -> dict[str, Any]:
    """Returns the row of `COLUMNS` of an image whose readers named different classes.

    Args:
        record_uid: The record's.
        classes: Reader -> class.
    """
    said = "; ".join(f"{_called(reader)}: {name}" for reader, name in classes.items())
    return _row(record_uid, tuple(classes), f"classes differ ({said})")


def _row(record_uid: str, readers: Sequence[str], reason: str, **values: Any) -> dict[str, Any]:
    found = {**values, "record_uid": record_uid, "readers": "; ".join(map(_called, readers)), "reason": reason}
    return {column: found.get(column, "") for column in COLUMNS}


def adjudication(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Returns rows of `disagreements` and `class_disagreement`, the images that disagree most first.

    First come images with the lowest Dice of any label or share of matched boxes, then those that differ in their
    class alone; an image's rows stay together, the worst first.
    """

    def score(row: Mapping[str, Any]) -> float:
        return min((float(row[name]) for name in ("dice", "boxes_matched") if row[name] != ""), default=math.inf)

    every = [dict(row) for row in rows]
    worst: dict[str, float] = {}
    for row in every:
        worst[row["record_uid"]] = min(score(row), worst.get(row["record_uid"], math.inf))
    return sorted(every, key=lambda row: (worst[row["record_uid"]], row["record_uid"], score(row), row["label"]))
