"""DICOM Segmentation objects as regions on a volume's grid, matched in millimetres.

Source: DICOM PS3.3 C.8.20 (Segmentation), A.51 (its IOD), C.8.20.2.3 (label maps).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset

from radkit import config
from radkit.dicom import attributes, part10, pixels, scan
from radkit.dicom.annotations import form, grids, seg_frames
from radkit.dicom.annotations.form import WISHES, Annotation, AnnotationError, Region
from radkit.dicom.findings import Finding
from radkit.dicom.volumes import Volume

_KINDS = ("BINARY", "FRACTIONAL", "LABELMAP")
_BACKGROUND = 0  # a label map's segment of what is none (PS3.3 C.8.20.4)


@part10.silence()
def segment_labels(path: Path) -> list[str]:
    """Returns the SegmentLabel values of a segmentation, in segment order; a label map's background is left out.

    Raises:
        AnnotationError: Not a segmentation.
    """
    try:
        return [segment.label for segment in _segments(scan.read_header(path)).values()]
    except AnnotationError:
        raise
    except (scan.NotDicom, *part10.MALFORMED) as error:
        raise AnnotationError(_unreadable(error)) from error


def read_seg(path: Path, volume: Volume, labels: Sequence[str]) -> np.ndarray:
    """Returns a segmentation as a mask on a volume's grid.

    Args:
        path: A DICOM SEG.
        volume: The image it was drawn on.
        labels: SegmentLabel values; the first becomes 1, the next 2, ...; other segments are left out.

    Returns:
        (slices, rows, columns) uint8.

    Raises:
        AnnotationError: As `read`; or segments of different labels overlap.
    """
    return form.as_mask(read(path, volume, labels).regions, labels, volume.stored.shape[:3])


@part10.silence()
def read(
    path: Path, volume: Volume, labels: Sequence[str] | None = None, wishes: config.Annotations = WISHES
) -> Annotation:
    """Returns a segmentation's segments as regions on a volume's grid.

    Frames on the image's voxels are copied. Frames on another grid make a volume of their own, which is resampled.

    Args:
        path: A DICOM SEG: BINARY, FRACTIONAL or LABELMAP, of any transfer syntax that images are read in.
        volume: The image it was drawn on; where it has no place (a radiograph), frames are matched by the image
            that they name.
        labels: SegmentLabel values; segments of others are not decoded. None: all but a label map's background.
        wishes: `fraction`, `other_grid`, `partly_outside`, `other_instances`, `other_frame_of_reference` and `empty`
            are heeded.

    Returns:
        A region for each segment, in segment order. Its `reader` is ContentCreatorName as the file has it; its
        `reference_standard` is `model` where an algorithm made all segments without a person.

    Raises:
        AnnotationError: Not a segmentation, damaged, of a slide, outside the image, no segment of these labels, or
            what `wishes` refuse.
    """
    try:
        dataset = scan.read_file(path)
        return _read(dataset, volume, labels, wishes)
    except AnnotationError:
        raise
    except (scan.NotDicom, pixels.PixelError, *part10.MALFORMED) as error:
        raise AnnotationError(_unreadable(error)) from error
    except MemoryError as error:
        raise AnnotationError("the segmentation is larger than the memory") from error


def _unreadable(error: Exception) -> str:
    if isinstance(error, pixels.PixelError):
        return f"the segmentation's pixels cannot be decoded: {error}"
    said = str(error) if isinstance(error, scan.NotDicom) else f"it is damaged ({type(error).__name__})"
    return f"the segmentation cannot be read: {said}"


@dataclass(frozen=True)
class _Segment:
    label: str
    number: int
    is_automatic: bool


def _read(dataset: Dataset, volume: Volume, labels: Sequence[str] | None, wishes: config.Annotations) -> Annotation:
    kind, segments = _kind(dataset), _segments(dataset)
    findings = _of_other_images(dataset, volume, wishes)
    wanted = _wanted(segments, labels)
    found = _frames(dataset, kind, segments)
    chosen = [frame for frame in found if frame.segment in wanted or kind == "LABELMAP"]
    pieces: list[tuple[seg_frames.Stacked, _Pieces]] = []
    if chosen:
        size = (attributes.whole(dataset, "Rows", 0), attributes.whole(dataset, "Columns", 0))
        stacks = seg_frames.stacked(chosen, size, volume, _named(dataset)[1])
        decoded = _decoded(dataset, kind, chosen, segments, wishes.fraction)
        pieces = _sorted_in(stacks, decoded)
    findings += _of_empty(wanted, pieces, wishes)
    regions, said = _regions(wanted, pieces, volume, wishes)
    return Annotation(
        regions=regions,
        reader=attributes.text(dataset, "ContentCreatorName"),
        date=date_of(dataset),
        reference_standard="model" if all(s.is_automatic for s in wanted.values()) else "",
        findings=(*findings, *said),
    )


def _kind(dataset: Dataset) -> str:
    kind = attributes.text(dataset, "SegmentationType")
    if kind not in _KINDS:
        raise AnnotationError(f"SegmentationType is {'another' if kind else 'absent'}; {', '.join(_KINDS)} are read")
    if "TotalPixelMatrixColumns" in dataset:
        raise AnnotationError("the segmentation is of a slide, in tiles; those of radiology's images are read")
    return kind


def _segments(dataset: Dataset) -> dict[int, _Segment]:
    """Returns the segments by number; what a label map calls its background, and its padding, are none."""
    found: dict[int, _Segment] = {}
    none = {_BACKGROUND, _padding(dataset)}
    for item in _whole(dataset, "SegmentSequence"):
        number = attributes.whole(item, "SegmentNumber", -1)
        if attributes.text(dataset, "SegmentationType") == "LABELMAP" and number in none:
            continue
        if number in found or number < 0:
            raise AnnotationError(
                "two segments have the same SegmentNumber, or one has none; each its own was expected"
            )
        found[number] = _Segment(
            attributes.text(item, "SegmentLabel"),
            number,
            attributes.text(item, "SegmentAlgorithmType") == "AUTOMATIC",
        )
    return found


def _padding(dataset: Dataset) -> int:
    value = attributes.value(dataset, "PixelPaddingValue")
    return -1 if value is None else int(value)


def _whole(dataset: Dataset, keyword: str) -> Sequence[Dataset]:
    """Returns a sequence that a segmentation cannot do without."""
    found = attributes.value(dataset, keyword)
    if not isinstance(found, pydicom.sequence.Sequence) or not found:
        raise AnnotationError(f"the file is no segmentation: {keyword} is absent")
    return found


def _wanted(segments: dict[int, _Segment], labels: Sequence[str] | None) -> dict[int, _Segment]:
    if labels is None:
        return segments
    labels_of = form.spelled((one.label for one in segments.values()), labels)
    wanted = {n: replace(one, label=labels_of[one.label]) for n, one in segments.items() if one.label in labels_of}
    if not wanted:
        raise AnnotationError(f"the segmentation has none of the segments {', '.join(labels)}")
    return wanted


def _frames(dataset: Dataset, kind: str, segments: dict[int, _Segment]) -> list[seg_frames.SegFrame]:
    groups = _whole(dataset, "PerFrameFunctionalGroupsSequence")
    count = max(attributes.whole(dataset, "NumberOfFrames", 1), 1)
    if len(groups) != count:
        raise AnnotationError(f"the segmentation has {count} frames and says where {len(groups)} of them lie")
    found = seg_frames.frames(dataset, groups, kind == "LABELMAP")
    unknown = {frame.segment for frame in found} - segments.keys() - {-1}
    if unknown:
        raise AnnotationError(f"frames are of segment {min(unknown)}, which SegmentSequence does not describe")
    return found


def _named(dataset: Dataset) -> tuple[frozenset[str], frozenset[str]]:
    """Returns the UIDs of series and of instances that a segmentation says it was drawn on."""
    series = attributes.value(dataset, "ReferencedSeriesSequence") or []
    uids = {attributes.text(item, "SeriesInstanceUID") for item in series}
    instances = {
        attributes.text(item, "ReferencedSOPInstanceUID")
        for one in series
        for item in attributes.value(one, "ReferencedInstanceSequence") or []
    }
    return frozenset(uids - {""}), frozenset(instances - {""})


def _of_other_images(dataset: Dataset, volume: Volume, wishes: config.Annotations) -> list[Finding]:
    findings = []
    reference, expected = attributes.text(dataset, "FrameOfReferenceUID"), volume.meta.get("FrameOfReferenceUID", "")
    if reference and expected and reference != expected:
        text = "the segmentation has another FrameOfReferenceUID than the image"
        if wishes.other_frame_of_reference == "refuse":
            raise AnnotationError(f"{text}: its millimetres are not the image's", "other_frame_of_reference")
        findings.append(Finding("other_frame_of_reference", text))
    series, instances = _named(dataset)
    instances |= _drawn_on(dataset) if not instances else frozenset()
    ours, own_series = set(volume.instance_uids) - {""}, volume.meta.get("SeriesInstanceUID", "")
    other = not instances & ours if instances and ours else bool(series and own_series and own_series not in series)
    if other:
        text = f"the segmentation names {len(instances) or 'other'} images, none of which is the series'"
        if wishes.other_instances == "refuse":
            raise AnnotationError(f"{text}; it was drawn on another series", "other_instances")
        findings.append(Finding("other_instances", text))
    return findings


def _drawn_on(dataset: Dataset) -> frozenset[str]:
    """Returns the SOPInstanceUIDs that the frames name, where the file does not list them as a whole."""
    groups = attributes.value(dataset, "PerFrameFunctionalGroupsSequence") or []
    return frozenset(uid for frame in seg_frames.frames(dataset, groups, True) for uid, _ in frame.sources) - {""}


_Piece = tuple[tuple[int, int, int], np.ndarray]  # where it begins in its stack, and (rows, columns) bool
_Pieces = dict[int, list[_Piece]]  # by segment


def _decoded(
    dataset: Dataset,
    kind: str,
    frames: Sequence[seg_frames.SegFrame],
    segments: dict[int, _Segment],
    fraction: float,
) -> Iterator[tuple[int, int, np.ndarray]]:
    """Yields frame number, segment and what is inside, (rows, columns) bool."""
    # A palette is for looking at; and values are as they stand, whatever they are said to look like.
    dataset.PhotometricInterpretation = "MONOCHROME2"
    maximum = attributes.whole(dataset, "MaximumFractionalValue", 255)
    least = fraction * maximum - 1e-6 if kind == "FRACTIONAL" else 0.0  # 0.7 of 10 is 7
    none = {_BACKGROUND, _padding(dataset)}
    values = pixels.stored_frames(dataset, [frame.number for frame in frames])
    for frame, plane in zip(frames, values, strict=True):
        if plane.ndim != 2 or plane.dtype.kind != "u":
            raise AnnotationError(
                "the segmentation's pixels are in colour, negative or not whole; segments were expected"
            )
        if kind != "LABELMAP":
            yield frame.number, frame.segment, (plane > 0) & (plane >= least)
            continue
        there = set(np.unique(plane).tolist()) - none
        if unknown := there - segments.keys():
            raise AnnotationError(f"pixels are of segment {min(unknown)}, which SegmentSequence does not describe")
        for number in sorted(there):
            yield frame.number, number, plane == number


def _sorted_in(
    stacks: Sequence[seg_frames.Stacked], decoded: Iterator[tuple[int, int, np.ndarray]]
) -> list[tuple[seg_frames.Stacked, _Pieces]]:
    """Returns each stack with the pieces of its segments, cropped to what is inside."""
    pieces: list[tuple[seg_frames.Stacked, _Pieces]] = [(stack, {}) for stack in stacks]
    of_frame = {number: index for index, stack in enumerate(stacks) for number in stack.corners}
    for number, segment, inside in decoded:
        rows = np.flatnonzero(inside.any(axis=1))
        if not rows.size:
            continue
        strip = inside[rows[0] : rows[-1] + 1]
        columns = np.flatnonzero(strip.any(axis=0))
        stack, of_stack = pieces[of_frame[number]]
        k, row, column = stack.corners[number]
        corner = (k, row + int(rows[0]), column + int(columns[0]))
        of_stack.setdefault(segment, []).append((corner, strip[:, columns[0] : columns[-1] + 1].copy()))
    return pieces


def _of_empty(
    wanted: dict[int, _Segment], pieces: Sequence[tuple[seg_frames.Stacked, _Pieces]], wishes: config.Annotations
) -> list[Finding]:
    empty = [number for number in wanted if not any(number in of_stack for _, of_stack in pieces)]
    text = f"segment {', '.join(map(str, empty))} of {len(wanted)} has no voxel"
    if empty and wishes.empty == "refuse":
        raise AnnotationError(text, "empty_segment")
    return [Finding("empty_segment", text)] if empty else []


def _regions(
    wanted: dict[int, _Segment],
    pieces: Sequence[tuple[seg_frames.Stacked, _Pieces]],
    volume: Volume,
    wishes: config.Annotations,
) -> tuple[tuple[Region, ...], list[Finding]]:
    nothing = np.zeros((0, 0, 0), bool)
    found: dict[int, list[Region]] = {number: [] for number in wanted}
    findings: list[Finding] = []
    for stack, of_stack in pieces:
        own = [_region(one, of_stack.pop(number)) for number, one in wanted.items() if number in of_stack]
        moved, said = grids.regions_onto(own, stack.affine, stack.shape, volume, wishes)
        findings += [finding for finding in said if finding not in findings]
        for one in moved:
            found[one.number].append(one)
    regions: list[Region] = []
    for number, of_number in found.items():
        regions += of_number or [Region(wanted[number].label, number, (0, 0, 0), nothing)]
    return tuple(regions), findings


def _region(segment: _Segment, pieces: Sequence[_Piece]) -> Region:
    corners = np.array([corner for corner, _ in pieces])
    ends = corners + [(1, *inside.shape) for _, inside in pieces]
    low, high = corners.min(axis=0), ends.max(axis=0)
    whole = np.zeros(high - low, bool)
    for (slices, rows, columns), (_, inside) in zip(corners - low, pieces):
        whole[slices, rows : rows + inside.shape[0], columns : columns + inside.shape[1]] |= inside
    return Region(segment.label, segment.number, (int(low[0]), int(low[1]), int(low[2])), whole)


def date_of(dataset: Dataset) -> str:
    """Returns the day that an annotation was made on, YYYY-MM-DD, by ContentDate or SeriesDate; empty if untold."""
    found = attributes.text(dataset, "ContentDate") or attributes.text(dataset, "SeriesDate")
    return f"{found[:4]}-{found[4:6]}-{found[6:8]}" if len(found) == 8 and found.isdigit() else ""
