"""RT Structure Sets as regions on a volume's grid: the voxels whose centres contours bound, matched in millimetres.

Nothing is drawn between contours: slices that have none stay empty, and where a structure's contours stand on every
second or n-th slice only, a finding says so.

Source: DICOM PS3.3 A.19, C.8.8.5, C.8.8.6.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from radkit import config
from radkit.dicom import attributes, part10
from radkit.dicom.annotations import contours, form, structure_set
from radkit.dicom.annotations.form import Annotation, AnnotationError, Box, Region
from radkit.dicom.annotations.structure_set import Contour, Structure, StructureSet
from radkit.dicom.findings import Finding
from radkit.dicom.volumes import Volume

# A contour may lie this far from its slice, in slices, and still be that slice's.
PLACE_TOLERANCE = 0.1
_SHOWN = 5  # of a list's numbers in a text
_Where = Literal["between", "beyond", "not parallel"]


@part10.silence()
def roi_names(path: Path) -> list[str]:
    """Returns the ROIName values of a structure set, in its order, spelt as they stand there.

    Raises:
        AnnotationError: No structure set.
    """
    try:
        return [structure.name for structure in structure_set.parse(path).structures]
    except attributes.NotDicom as error:
        raise AnnotationError(f"the structure set cannot be read: {error}") from error


@part10.silence()
def read(
    path: Path, volume: Volume, labels: Sequence[str] | None = None, wishes: config.Annotations = form.WISHES
) -> Annotation:
    """Returns a structure set's structures as regions, and its points as boxes of one voxel.

    See the module for slices without contours.

    Args:
        path: A DICOM RT Structure Set.
        volume: The image that it was drawn on; oblique and tilted stacks, too.
        labels: ROIName values of the structures that are wanted; one that no structure has exactly is looked for in
            any case, and the region then bears the label's spelling. None: all structures, those with open contours
            left out with a finding.
        wishes: What becomes of contours on no slice, of other images' contours, and the like.

    Raises:
        AnnotationError: No structure set, no structure of these labels, or one that cannot be set on the image.
    """
    try:
        return _read(structure_set.parse(path), volume, labels, wishes)
    except attributes.NotDicom as error:
        raise AnnotationError(f"the structure set cannot be read: {error}") from error


@dataclass
class _Tally:
    """What was found in the structures read so far, in numbers; texts are made of it once."""

    contours: int = 0
    off: Counter[_Where] = field(default_factory=Counter)
    named: int = 0  # contours that name images of the volume
    others: int = 0  # contours that name other images
    misnamed: int = 0  # contours on another slice than the image that they name
    short: int = 0  # contours of fewer than three points
    miscounted: int = 0
    reaching_out: int = 0
    points_outside: int = 0
    open: list[int] = field(default_factory=list)  # ROINumbers, as those below
    empty: list[int] = field(default_factory=list)
    skipping: dict[int, int] = field(default_factory=dict)  # ROINumber to every how manieth slice has contours


def _read(found: StructureSet, volume: Volume, labels: Sequence[str] | None, wishes: config.Annotations) -> Annotation:
    if not np.isfinite(volume.spacing_mm).all():
        raise AnnotationError("the image has no place in the patient, and contours are in millimetres of the patient")
    chosen = _chosen(found.structures, labels)
    if shared := found.shared_numbers.intersection(structure.number for structure, _ in chosen):
        raise AnnotationError(f"{len(shared)} ROINumbers stand for several structures each; whose contours are whose?")
    findings = _other_frame(found, [structure for structure, _ in chosen], volume, wishes)
    findings += _repeated_names(chosen)
    tally, grid = _Tally(), _Grid(volume)
    drawn = [_drawn(structure, label, grid, tally, labels is not None) for structure, label in chosen]
    regions = tuple(region for region, _ in drawn if region is not None)
    boxes = tuple(box for _, found_boxes in drawn for box in found_boxes)
    findings += _told(tally, found, volume, wishes)
    if not regions and not boxes and (tally.open or tally.points_outside):
        what = "open contours" if tally.open else "points outside the image"
        raise AnnotationError(
            f"the structure set has nothing but {what}", "open_contour" if tally.open else "outside_image"
        )
    automatic = all(structure.algorithm == "AUTOMATIC" for structure, _ in chosen)
    return Annotation(
        regions=regions,
        boxes=boxes,
        reader=found.reader,
        date=found.date,
        reference_standard="model" if automatic else "",
        findings=tuple(findings),
    )


def _chosen(structures: Sequence[Structure], labels: Sequence[str] | None) -> list[tuple[Structure, str]]:
    """Returns the structures that are wanted and the label of each."""
    if labels is None:
        return [(structure, structure.name) for structure in structures]
    names = form.spelled((structure.name for structure in structures), labels)
    chosen = [(structure, names[structure.name]) for structure in structures if structure.name in names]
    if not chosen:
        raise AnnotationError(f"the structure set has none of the structures {', '.join(labels)}")
    return chosen


def _repeated_names(chosen: Sequence[tuple[Structure, str]]) -> list[Finding]:
    repeated = sum(count > 1 for count in Counter(label for _, label in chosen).values())
    said = f"{repeated} names stand for several structures each"
    return [Finding("repeated_name", said)] if repeated else []


def _other_frame(
    found: StructureSet, chosen: Sequence[Structure], volume: Volume, wishes: config.Annotations
) -> list[Finding]:
    expected = volume.meta["FrameOfReferenceUID"]
    frames = [{s.frame_of_reference} if s.frame_of_reference else found.frames_of_reference for s in chosen]
    others = sum(bool(told) and expected not in told for told in frames) if expected else 0
    said = f"{others} of {len(chosen)} structures have another FrameOfReferenceUID than the image"
    return _by_policy(wishes.other_frame_of_reference, "other_frame_of_reference", said) if others else []


def _by_policy(policy: str, name: str, said: str) -> list[Finding]:
    if policy == "refuse":
        raise AnnotationError(said, name)
    return [Finding(name, said)]


class _Grid:
    """A volume's voxels: where millimetres lie among them, and of which images they are."""

    def __init__(self, volume: Volume) -> None:
        self.volume = volume
        slices, rows, columns = volume.stored.shape[:3]
        self.shape = (slices, rows, columns)
        self._indices: dict[tuple[str, int], set[int]] = {}
        frames = volume.frame_numbers or (0,) * len(volume.instance_uids)
        for index, (uid, frame) in enumerate(zip(volume.instance_uids, frames)):
            self._indices.setdefault((uid, frame), set()).add(index)
            self._indices.setdefault((uid, -1), set()).add(index)

    def places(self, points_mm: np.ndarray) -> np.ndarray:
        """Returns slice, row, column, whole at voxels' centres."""
        return form.from_mm(points_mm, self.volume) - 0.5

    def slices_named(self, contour: Contour) -> set[int] | None:
        """Returns the slices that a contour names; None where it names none, or the volume's are of no file."""
        if not contour.images or not self._indices:
            return None
        return set[int]().union(*(self._indices.get(image, set()) for image in contour.images))


def _drawn(
    structure: Structure, label: str, grid: _Grid, tally: _Tally, asked: bool
) -> tuple[Region | None, list[Box]]:
    """Returns a structure's region, None where it is left out or of points only, and its points' boxes."""
    found = structure_set.decode(structure)
    if any(contour.kind in structure_set.OPEN for contour in found):
        if asked:
            raise AnnotationError(f"structure {label!r} has open contours, which bound no area", "open_contour")
        tally.open.append(structure.number)
        return None, []
    points = [contour for contour in found if contour.kind == "POINT"]
    closed = [contour for contour in found if contour.kind in structure_set.CLOSED]
    tally.miscounted += sum(not contour.counted for contour in found)
    boxes = _boxes(points, label, grid, tally)
    if points and not closed:
        if asked and not boxes:
            raise AnnotationError(f"the points of structure {label!r} lie outside the image", "outside_image")
        return None, boxes
    by_slice = _by_slice(closed, grid, tally)
    region = _region(structure, label, by_slice, closed, grid, tally)
    if not region.inside.size:
        tally.empty.append(structure.number)
    if step := _skipped(sorted(by_slice)):
        tally.skipping[structure.number] = step
    return region, boxes


def _boxes(points: Iterable[Contour], label: str, grid: _Grid, tally: _Tally) -> list[Box]:
    boxes = []
    for place in (place for contour in points for place in grid.places(contour.points)):
        last = np.array(grid.shape) - 1.0
        # A point on the image's edge, as far as decimal strings tell, is in its last voxel.
        if np.abs(place - np.clip(place, -0.5, last + 0.5)).max() > contours.TOLERANCE:
            tally.points_outside += 1
            continue
        k, j, i = np.clip(np.floor(place + 0.5), 0, last).tolist()
        boxes.append(Box((k, j, i), (k + 1, j + 1, i + 1), label))
    return boxes


def _by_slice(closed: Sequence[Contour], grid: _Grid, tally: _Tally) -> dict[int, list[np.ndarray]]:
    """Returns the contours of each slice, (points, 2) row and column."""
    by_slice: dict[int, list[np.ndarray]] = {}
    beyond = 0
    for contour in closed:
        tally.contours += 1
        tally.short += len(contour.points) < 3
        places = grid.places(contour.points)
        where = _slice(places[:, 0], grid.shape[0])
        named = grid.slices_named(contour)
        tally.named += bool(named)
        tally.others += named == set()
        if isinstance(where, str):
            tally.off[where] += 1
            beyond += where == "beyond"
            continue
        tally.misnamed += bool(named) and where not in (named or ())
        by_slice.setdefault(where, []).append(places[:, 1:])
    if closed and beyond == len(closed):
        raise AnnotationError(
            f"a structure lies wholly outside the image: {beyond} contours before its first slice or after its last",
            "outside_image",
        )
    return by_slice


def _slice(along: np.ndarray, count: int) -> int | _Where:
    """Returns which slice points lie on, or how they do not."""
    middle = float(along.mean())
    if np.abs(along - middle).max() > PLACE_TOLERANCE:
        return "not parallel"
    index = round(middle)
    if not 0 <= index < count:
        return "beyond"
    return index if abs(middle - index) <= PLACE_TOLERANCE else "between"


def _region(
    structure: Structure,
    label: str,
    by_slice: dict[int, list[np.ndarray]],
    closed: Sequence[Contour],
    grid: _Grid,
    tally: _Tally,
) -> Region:
    nothing = Region(label, structure.number, (0, 0, 0), np.zeros((0, 0, 0), bool))
    every = [points for found in by_slice.values() for points in found]
    if not every:
        return nothing
    size = np.array(grid.shape[1:])
    low = np.array([points.min(axis=0) for points in every])
    high = np.array([points.max(axis=0) for points in every])
    if ((high < -0.5) | (low > size - 0.5)).any(axis=1).all():
        raise AnnotationError("a structure lies wholly outside the image, beside its rows or columns", "outside_image")
    edge = 0.5 + contours.TOLERANCE
    tally.reaching_out += int(((low < -edge) | (high > size - 1 + edge)).any(axis=1).sum())
    first = np.clip(np.floor(low.min(axis=0)), 0, size - 1).astype(int)
    shape = np.clip(np.ceil(high.max(axis=0)) + 1, first + 1, size).astype(int) - first
    inside = np.zeros((max(by_slice) - min(by_slice) + 1, *shape), bool)
    xor = any(contour.kind == "CLOSEDPLANAR_XOR" for contour in closed)
    tolerance = contours.tolerance(
        np.concatenate([contour.points for contour in closed]), min(grid.volume.spacing_mm[1:])
    )
    for index, found in by_slice.items():
        inside[index - min(by_slice)] = contours.fill([p - first for p in found], (shape[0], shape[1]), xor, tolerance)
    cut = form.region(label, structure.number, inside)
    if not cut.inside.size:
        return nothing
    corner = np.array(cut.corner) + (min(by_slice), *first)
    return Region(label, structure.number, (int(corner[0]), int(corner[1]), int(corner[2])), cut.inside)


def _skipped(slices: Sequence[int]) -> int:
    """Returns n where contours stand on every n-th slice only; 0 where they do not."""
    steps = np.diff(slices)
    if len(steps) < 2 or (step := int(np.gcd.reduce(steps))) < 2:
        return 0
    # Parts that lie apart leave a longer gap here and there; two slices by chance tell nothing.
    return step if (steps == step).mean() >= 0.75 else 0


def _told(tally: _Tally, found: StructureSet, volume: Volume, wishes: config.Annotations) -> list[Finding]:
    """Returns what is to be said of all structures together.

    Raises:
        AnnotationError: What was found is refused by `wishes`.
    """
    findings = []
    if said := _other_images(tally, found, volume):
        findings += _by_policy(wishes.other_instances, "other_instances", said)
    if off := tally.off.total():
        kinds = ", ".join(f"{count} {_OFF[where]}" for where, count in sorted(tally.off.items()))
        said = f"{off} of {tally.contours} contours lie on no slice of the image: {kinds}"
        findings += _by_policy(wishes.off_slice, "contour_off_slice", said)
    if tally.reaching_out:
        said = f"{tally.reaching_out} of {tally.contours} contours reach beyond the image's rows or columns"
        findings += _by_policy(wishes.partly_outside, "partly_outside", said)
    if tally.points_outside:
        said = f"{tally.points_outside} points lie outside the image and were left out"
        findings += _by_policy(wishes.partly_outside, "partly_outside", said)
    if tally.empty:
        said = f"{len(tally.empty)} structures have no voxel: ROINumber {_listed(tally.empty)}"
        findings += _by_policy(wishes.empty, "empty_segment", said)
    if tally.open:
        said = f"{len(tally.open)} structures with open contours were left out: ROINumber {_listed(tally.open)}"
        findings.append(Finding("open_contour", said))
    return findings + _oddities(tally, found)


_OFF: dict[_Where, str] = {
    "between": "between slices",
    "beyond": "before the first or after the last slice",
    "not parallel": "not parallel to the slices",
}


def _other_images(tally: _Tally, found: StructureSet, volume: Volume) -> str:
    """Returns what is to be said of contours of other images: their own word counts, else the whole set's."""
    if tally.others:
        return f"{tally.others} of {tally.contours} contours name images that are not the volume's"
    if tally.named or not tally.contours:
        return ""
    ours = found.images.intersection(volume.instance_uids) or found.series & {volume.meta["SeriesInstanceUID"]}
    return "the structure set names the images of other series" if found.series and not ours else ""


def _oddities(tally: _Tally, found: StructureSet) -> list[Finding]:
    findings = []
    if tally.skipping:
        said = ", ".join(f"every {step}. slice (ROINumber {n})" for n, step in sorted(tally.skipping.items())[:_SHOWN])
        said = f"contours of {len(tally.skipping)} structures skip slices, which stay empty: {said}"
        findings.append(Finding("skipped_slices", said))
    if tally.misnamed:
        said = f"{tally.misnamed} of {tally.contours} contours lie on another slice than the image that they name"
        findings.append(Finding("contour_names_other_slice", said))
    odd = [
        f"{count} {what}"
        for count, what in (
            (tally.short, "contours have fewer than three points"),
            (tally.miscounted, "contours have another NumberOfContourPoints than points"),
            (found.nameless, "groups of contours are of no structure and were left out"),
        )
        if count
    ]
    return findings + ([Finding("odd_contours", "; ".join(odd))] if odd else [])


def _listed(numbers: Sequence[int]) -> str:
    shown = ", ".join(map(str, numbers[:_SHOWN]))
    return shown + (", ..." if len(numbers) > _SHOWN else "")
