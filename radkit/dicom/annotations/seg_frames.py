"""The frames of a segmentation: which segment each is of, where it lies, and on which grid they lie together.

Source: DICOM PS3.3 C.8.20.3 (Segmentation functional groups), C.7.6.16.1.1 and C.7.6.16.1.2, C.7.6.16.2.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from radkit.dicom import attributes, geometry, scan
from radkit.dicom.annotations import grids
from radkit.dicom.annotations.form import AnnotationError
from radkit.dicom.volumes import Volume

# Where a frame names the image that it was drawn on, its axes may differ from that image's by this share of their
# length: they are the same, and rounded. Others may be off by half a voxel at the far corner.
AXES_TOLERANCE = 0.01
_HALF_VOXEL = 0.5
_PLACE = ("SOPClassUID", "SOPInstanceUID", "ImagePositionPatient")
_FARTHEST_MM = 1e6
_MOST_SLICES = 20000
_STEP_TOLERANCE = 0.1  # of a step, by which frames may be off a regular grid of their own


@dataclass(frozen=True)
class SegFrame:
    """One frame.

    Attributes:
        number: Its place in the file, from 0.
        segment: ReferencedSegmentNumber; -1 of a labelmap's, which holds all.
        position: ImagePositionPatient; None where it is not told.
        axes: ImageOrientationPatient and PixelSpacing, 8 numbers; None where they are not told.
        steps: SpacingBetweenSlices and SliceThickness, as far as they are told.
        sources: SOPInstanceUID and frame numbers (from 0; empty: all) of the images that it was drawn on.
    """

    number: int
    segment: int
    position: tuple[float, ...] | None
    axes: tuple[float, ...] | None
    steps: tuple[float, ...]
    sources: tuple[tuple[str, tuple[int, ...]], ...]


@dataclass(frozen=True)
class Stacked:
    """Frames that lie on one grid.

    Attributes:
        affine: (4, 4), from the grid's (column, row, slice, 1) to LPS mm.
        shape: Slices, rows, columns of the grid.
        corners: Frame number to slice, row and column of the frame's first pixel.
    """

    affine: np.ndarray
    shape: tuple[int, ...]
    corners: dict[int, tuple[int, int, int]]


class _Groups:
    """Functional groups: a frame's own, else those shared by all frames."""

    def __init__(self, dataset: Dataset) -> None:
        shared = attributes.value(dataset, "SharedFunctionalGroupsSequence") or []
        self._shared = next(iter(shared), Dataset())
        self._known: dict[str, Any] = {}

    def item(self, own: Dataset, sequence: str) -> Dataset:
        """Returns the first item of a group; an empty one where it is absent."""
        if items := attributes.value(own, sequence):
            return items[0]
        if sequence not in self._known:
            items = attributes.value(self._shared, sequence)
            self._known[sequence] = items[0] if items else Dataset()
        found: Dataset = self._known[sequence]
        return found


def frames(dataset: Dataset, groups: Sequence[Dataset], is_labelmap: bool) -> list[SegFrame]:
    """Returns what a segmentation says of each of its frames.

    Raises:
        AnnotationError: A frame does not say its segment.
        NotDicom: An attribute cannot be read.
    """
    shared = _Groups(dataset)
    return [_frame(number, own, shared, is_labelmap) for number, own in enumerate(groups)]


def _frame(number: int, own: Dataset, groups: _Groups, is_labelmap: bool) -> SegFrame:
    segment = -1
    if not is_labelmap:
        said = groups.item(own, "SegmentIdentificationSequence")
        segment = attributes.whole(said, "ReferencedSegmentNumber", -1)
        if segment < 0:
            raise AnnotationError("a frame of the segmentation does not say its segment")
    measures = groups.item(own, "PixelMeasuresSequence")
    steps = [attributes.numbers(measures, keyword) or () for keyword in ("SpacingBetweenSlices", "SliceThickness")]
    return SegFrame(
        number,
        segment,
        _of(groups.item(own, "PlanePositionSequence"), "ImagePositionPatient", 3),
        _axes(groups.item(own, "PlaneOrientationSequence"), measures),
        tuple(abs(found[0]) for found in steps if len(found) == 1 and abs(found[0]) > geometry.STEP_TOLERANCE_MM),
        tuple(_sources(groups.item(own, "DerivationImageSequence"))),
    )


def _of(item: Dataset, keyword: str, count: int) -> tuple[float, ...] | None:
    found = attributes.numbers(item, keyword)
    return found if found is not None and len(found) == count else None


def _axes(orientation: Dataset, measures: Dataset) -> tuple[float, ...] | None:
    cosines = _of(orientation, "ImageOrientationPatient", 6)
    spacing = _of(measures, "PixelSpacing", 2)
    return (*cosines, *spacing) if cosines is not None and spacing is not None else None


def _sources(derivation: Dataset) -> list[tuple[str, tuple[int, ...]]]:
    found = []
    for item in attributes.value(derivation, "SourceImageSequence") or []:
        uid = attributes.text(item, "ReferencedSOPInstanceUID")
        numbers = attributes.numbers(item, "ReferencedFrameNumber") or ()
        found.append((uid, tuple(int(n) - 1 for n in numbers)))
    return found


def stacked(found: Sequence[SegFrame], size: tuple[int, int], volume: Volume, named: frozenset[str]) -> list[Stacked]:
    """Returns frames on the grids that they lie on: the image's where that can be, else grids of their own.

    Args:
        found: The frames; one or more.
        size: Rows and columns of each.
        volume: The image. Where it, or a frame, has no place, frames are matched by the image that they name.
        named: SOPInstanceUIDs that the segmentation names as a whole.

    Raises:
        AnnotationError: A frame neither has a place nor names the image, or frames make no grid.
    """
    if not np.isfinite(volume.spacing_mm).all() or any(frame.position is None for frame in found):
        return [_by_name(found, size, volume, named)]
    positions = np.array([frame.position for frame in found])
    if any(frame.axes is None for frame in found):
        raise AnnotationError("a frame of the segmentation has no ImageOrientationPatient or no PixelSpacing")
    if np.abs(positions).max() > _FARTHEST_MM:
        raise AnnotationError("a frame of the segmentation lies more than 1 km from the scanner's centre")
    is_even = not any(geometry.UNEVEN_KEPT in said for said in volume.findings)
    if all(_along_image(axes, size, volume, found) for axes in {frame.axes for frame in found}):
        on_image = _on_image(found, positions, volume) if is_even else _on_slices(found, positions, size, volume)
        if on_image is not None:
            return [on_image]
    if not is_even:
        raise AnnotationError(
            "the image's slices are unevenly spaced, and the segmentation's frames are not those slices; "
            "data.irregular='resample' sets them on a grid",
            "other_grid",
        )
    return _own_grids(found, positions, size)


def _by_name(found: Sequence[SegFrame], size: tuple[int, int], volume: Volume, named: frozenset[str]) -> Stacked:
    if size != volume.stored.shape[1:3]:
        raise AnnotationError(
            f"the segmentation has {size[0]} x {size[1]} pixels, the image {volume.stored.shape[1]} x "
            f"{volume.stored.shape[2]}, and no place in millimetres says how they lie",
            "other_grid",
        )
    places: dict[tuple[str, int], int] = {}
    of_file = volume.frame_numbers or (0,) * len(volume.instance_uids)
    for index, key in enumerate(zip(volume.instance_uids, of_file)):
        places.setdefault(key, index)
    return Stacked(
        volume.affine,
        volume.stored.shape[:3],
        {frame.number: (_slice_named(frame, places, named), 0, 0) for frame in found},
    )


def _slice_named(frame: SegFrame, places: dict[tuple[str, int], int], named: frozenset[str]) -> int:
    sources = frame.sources or tuple((uid, ()) for uid in named if len(named) == 1)
    if len(sources) == 1:
        uid, numbers = sources[0]
        fit = [index for (known, number), index in places.items() if known == uid and number in (numbers or (number,))]
        if len(fit) == 1:
            return fit[0]
    raise AnnotationError(
        "a frame of the segmentation has neither an ImagePositionPatient that fits the image nor names one of its "
        "slices",
        "other_instances",
    )


def _along_image(
    axes: tuple[float, ...] | None, size: tuple[int, int], volume: Volume, found: Sequence[SegFrame]
) -> bool:
    """Tells whether frames' rows and columns run, and are spaced, as the image's do."""
    if axes is None:
        return False
    known = set(volume.instance_uids) - {""}
    mine = size == volume.stored.shape[1:3] and any(uid in known for frame in found for uid, _ in frame.sources)
    orientation, (row, column) = np.array(axes[:6]), axes[6:]
    for theirs, ours, count in (
        (orientation[:3] * column, volume.affine[:3, 0], size[1]),
        (orientation[3:] * row, volume.affine[:3, 1], size[0]),
    ):
        tolerance = AXES_TOLERANCE if mine else _HALF_VOXEL / max(count - 1, 1)
        if not np.linalg.norm(theirs - ours) <= tolerance * np.linalg.norm(ours):
            return False
    return True


def _on_image(found: Sequence[SegFrame], positions: np.ndarray, volume: Volume) -> Stacked | None:
    """Returns frames whose first pixels lie on voxels of the image, or on its grid carried on; None if one does not."""
    there = np.linalg.solve(volume.affine, np.column_stack([positions, np.ones(len(positions))]).T)[:3].T
    whole = np.rint(there)
    if not np.abs(there - whole).max() <= grids.PLACE_TOLERANCE or np.abs(whole).max() > _MOST_SLICES:
        return None
    corners = {f.number: (int(k), int(r), int(c)) for f, (c, r, k) in zip(found, whole)}
    return Stacked(volume.affine, volume.stored.shape[:3], corners)


def _on_slices(
    found: Sequence[SegFrame], positions: np.ndarray, size: tuple[int, int], volume: Volume
) -> Stacked | None:
    """Returns frames that lie at slices' own places, as their files have them; None if one does not."""
    if size != volume.stored.shape[1:3] or len(set(volume.paths)) != len(volume.stored):
        return None
    try:
        headers = [scan.read_header(path, _PLACE) for path in volume.paths]
        places = [attributes.numbers(header, "ImagePositionPatient") or () for header in headers]
    except scan.NotDicom:  # the image is no DICOM, or was moved since
        return None
    if any(len(place) != 3 for place in places):
        return None
    slices = np.array(places)
    most = grids.PLACE_TOLERANCE * np.linalg.norm(volume.affine[:3, :2], axis=0).min()
    nearest = [int(np.linalg.norm(slices - position, axis=1).argmin()) for position in positions]
    if np.linalg.norm(slices[nearest] - positions, axis=1).max() > most:
        return None
    corners = {frame.number: (index, 0, 0) for frame, index in zip(found, nearest)}
    return Stacked(volume.affine, volume.stored.shape[:3], corners)


def _own_grids(found: Sequence[SegFrame], positions: np.ndarray, size: tuple[int, int]) -> list[Stacked]:
    """Returns frames on grids that are made of them, one for each way that their axes run."""
    by_axes: dict[tuple[float, ...], list[int]] = {}
    for index, frame in enumerate(found):
        by_axes.setdefault(tuple(np.round(frame.axes or (), 4).tolist()), []).append(index)
    return [_own_grid([found[i] for i in chosen], positions[chosen], size) for chosen in by_axes.values()]


def _own_grid(found: Sequence[SegFrame], positions: np.ndarray, size: tuple[int, int]) -> Stacked:
    axes = np.array(found[0].axes)
    try:
        along_row, down_column, normal = geometry.axes(axes[:6])
    except geometry.GeometryError as error:
        raise AnnotationError(f"a frame of the segmentation: {error}") from error
    if not axes[6:].min() > 0:
        raise AnnotationError("PixelSpacing of a frame of the segmentation is not positive")
    along = positions @ normal
    order = np.argsort(along, kind="stable")
    step, index = _step(along - along[order[0]], found[0].steps)
    first, last = positions[order[0]], positions[order[-1]]
    vector = (last - first) / index.max() if index.max() else normal * step
    off = np.linalg.norm(first + index[:, None] * vector - positions, axis=1)
    if off.max() > max(geometry.LINE_TOLERANCE_MM, _STEP_TOLERANCE * step):
        raise AnnotationError(
            f"the segmentation's frames are not the image's slices and make no grid of their own: one lies "
            f"{off.max():.3f} mm from its place",
            "other_grid",
        )
    affine = np.eye(4)
    affine[:3, :3] = np.stack([along_row * axes[7], down_column * axes[6], vector], axis=1)
    affine[:3, 3] = first
    corners = {frame.number: (int(k), 0, 0) for frame, k in zip(found, index)}
    return Stacked(affine, (int(index.max()) + 1, *size), corners)


def _step(along: np.ndarray, told: Sequence[float]) -> tuple[float, np.ndarray]:
    """Returns the step of the widest grid that frames lie on, of those told or found, and each frame's place on it."""
    gaps = np.diff(np.unique(along))
    gaps = gaps[gaps > geometry.STEP_TOLERANCE_MM]
    if not gaps.size:
        return (told[0] if told else 1.0), np.zeros(len(along))
    # Frames without the segment may be left out: the least gap need not be the step.
    for step in (*told, float(gaps.min())):
        index = np.rint(along / step)
        if np.abs(along / step - index).max() <= _STEP_TOLERANCE and np.rint(gaps / step).min() >= 1:
            if index.max() > _MOST_SLICES:
                break
            return step, index
    raise AnnotationError(
        f"the segmentation's frames are not the image's slices and make no grid of their own: they are "
        f"{gaps.min():.3f} to {gaps.max():.3f} mm apart",
        "other_grid",
    )
