"""DICOM Segmentation objects as regions on a volume's grid, matched in millimetres.

Source: DICOM PS3.3 C.8.20 (Segmentation), A.51 (its IOD).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset

from radkit.dicom import attributes, part10, scan
from radkit.dicom.annotations.form import AnnotationError
from radkit.dicom.volumes import Volume

# A frame may lie this far from its slice, in slices, rows or columns, and still be that slice's.
PLACE_TOLERANCE = 0.1
# Its axes may differ from the image's by this share of their length.
AXES_TOLERANCE = 0.01


@part10.silence()
def segment_labels(path: Path) -> list[str]:
    """Returns the SegmentLabel values of a segmentation, in segment order.

    Raises:
        AnnotationError: Not a segmentation.
    """
    try:
        return [_label(segment) for segment in _whole(scan.read_header(path), "SegmentSequence")]
    except scan.NotDicom as error:
        raise AnnotationError(f"the segmentation cannot be read: {error}") from error


@part10.silence()
def read_seg(path: Path, volume: Volume, labels: Sequence[str]) -> np.ndarray:
    """Returns a segmentation as a mask on a volume's grid.

    Args:
        path: A DICOM SEG, BINARY or LABELMAP.
        volume: The image it was drawn on; where it has no place (a radiograph), frames are matched by the image
            that they name.
        labels: SegmentLabel values; the first becomes 1, the next 2, ...; other segments are left out.

    Returns:
        (slices, rows, columns) uint8.

    Raises:
        AnnotationError: Not a segmentation, another grid or frame of reference, no segment of these labels,
            or segments that overlap.
    """
    try:
        return _read(scan.read_file(path), volume, labels)
    except scan.NotDicom as error:
        raise AnnotationError(f"the segmentation cannot be read: {error}") from error


def _read(dataset: Dataset, volume: Volume, labels: Sequence[str]) -> np.ndarray:
    frames = _frames(dataset)
    _check_place(dataset, volume)
    segments = {attributes.whole(s, "SegmentNumber", 0): _label(s) for s in _whole(dataset, "SegmentSequence")}
    values = {number: labels.index(label) + 1 for number, label in segments.items() if label in labels}
    if not values:
        raise AnnotationError(f"the segmentation has none of the segments {', '.join(labels)}")
    groups = _whole(dataset, "PerFrameFunctionalGroupsSequence")
    if len(groups) != len(frames):
        raise AnnotationError(f"the segmentation has {len(frames)} frames and says where {len(groups)} of them lie")
    mask = np.zeros(volume.stored.shape, np.uint8)
    is_labelmap = dataset.SegmentationType == "LABELMAP"
    for frame, group in zip(frames, groups):
        both = _Groups(group, dataset)
        slice_index = _slice_index(both, volume)
        for number in np.unique(frame).tolist() if is_labelmap else [_segment_number(both)]:
            if number in values:
                _draw(mask[slice_index], frame == number if is_labelmap else frame > 0, values[number])
    return mask


def _label(segment: Dataset) -> str:
    return str(attributes.value(segment, "SegmentLabel") or "")


def _whole(dataset: Dataset, keyword: str) -> Sequence[Dataset]:
    """Returns a sequence that a segmentation cannot do without."""
    found = attributes.value(dataset, keyword)
    if not isinstance(found, pydicom.sequence.Sequence) or not found:
        raise AnnotationError(f"the file is no segmentation: {keyword} is absent")
    return found


class _Groups:
    """One frame's functional groups: its own, else those shared by all frames.

    Source: DICOM PS3.3 C.7.6.16.1.1 and C.7.6.16.1.2.
    """

    def __init__(self, own: Dataset, dataset: Dataset) -> None:
        self._sources = [own, *(attributes.value(dataset, "SharedFunctionalGroupsSequence") or [])[:1]]

    def get(self, sequence: str, keyword: str) -> Any:
        """Returns an attribute of a group's first item, or None."""
        for source in self._sources:
            if items := attributes.value(source, sequence):
                return attributes.value(items[0], keyword)
        return None

    def numbers(self, sequence: str, keyword: str) -> list[float]:
        """Returns an attribute's numbers, empty when it is absent."""
        try:
            return [float(v) for v in self.get(sequence, keyword) or []]
        except (TypeError, ValueError) as error:
            raise AnnotationError(f"{keyword} of a frame of the segmentation is not numbers") from error

    def source_image(self) -> str:
        """Returns the SOPInstanceUID of the one image that the frame was drawn on, or nothing."""
        sources = self.get("DerivationImageSequence", "SourceImageSequence") or []
        return str(attributes.value(sources[0], "ReferencedSOPInstanceUID")) if len(sources) == 1 else ""


def _frames(dataset: Dataset) -> np.ndarray:
    kind = str(attributes.value(dataset, "SegmentationType") or "")
    if kind not in ("BINARY", "LABELMAP"):
        raise AnnotationError(f"SegmentationType is {kind or 'absent'}; BINARY and LABELMAP are read")
    try:
        frames = dataset.pixel_array
    except (*part10.MALFORMED, RuntimeError, OSError, MemoryError) as error:
        raise AnnotationError("the segmentation's pixels cannot be decoded") from error
    return frames if frames.ndim == 3 else frames[None]


def _check_place(dataset: Dataset, volume: Volume) -> None:
    reference = str(attributes.value(dataset, "FrameOfReferenceUID") or "")
    expected = volume.meta["FrameOfReferenceUID"]
    if reference and expected and reference != expected:
        raise AnnotationError("the segmentation has another FrameOfReferenceUID than the image")
    size = (attributes.whole(dataset, "Rows", 0), attributes.whole(dataset, "Columns", 0))
    if size != volume.stored.shape[1:]:
        raise AnnotationError(
            f"the segmentation has {size[0]} x {size[1]} pixels, the image "
            f"{volume.stored.shape[1]} x {volume.stored.shape[2]}; masks on another grid are not resampled"
        )


def _segment_number(groups: _Groups) -> int:
    number = groups.get("SegmentIdentificationSequence", "ReferencedSegmentNumber")
    if number is None:
        raise AnnotationError("a frame of the segmentation does not say its segment")
    return int(number)


def _slice_index(groups: _Groups, volume: Volume) -> int:
    position = groups.numbers("PlanePositionSequence", "ImagePositionPatient")
    if len(position) != 3 or not _has_place(volume):
        # Without a place on both sides, only the image that the frame names can tell.
        if (source := groups.source_image()) in volume.instance_uids:
            return volume.instance_uids.index(source)
        raise AnnotationError(
            "a frame of the segmentation has neither an ImagePositionPatient that fits the image nor names it"
        )
    _check_axes(groups, volume)
    column, row, along, _ = np.linalg.solve(volume.affine, [*position, 1.0])
    index = round(float(along))
    off = max(abs(column), abs(row), abs(along - index))
    if not (off <= PLACE_TOLERANCE and 0 <= index < len(volume.stored)):
        raise AnnotationError(
            f"a frame of the segmentation lies at slice {along:.2f}, row {row:.2f}, column {column:.2f} of the image's "
            "grid; a whole slice at row 0, column 0 was expected"
        )
    return index


def _has_place(volume: Volume) -> bool:
    return bool(np.isfinite(volume.spacing_mm).all())


def _check_axes(groups: _Groups, volume: Volume) -> None:
    """Refuses a frame whose rows or columns run, or are spaced, otherwise than the image's."""
    orientation = groups.numbers("PlaneOrientationSequence", "ImageOrientationPatient")
    spacing = groups.numbers("PixelMeasuresSequence", "PixelSpacing")
    if len(orientation) != 6 or len(spacing) != 2:
        raise AnnotationError("a frame of the segmentation has no ImageOrientationPatient or no PixelSpacing")
    for found, expected in (
        (np.array(orientation[:3]) * spacing[1], volume.affine[:3, 0]),
        (np.array(orientation[3:]) * spacing[0], volume.affine[:3, 1]),
    ):
        if not np.linalg.norm(found - expected) <= AXES_TOLERANCE * np.linalg.norm(expected):
            raise AnnotationError(
                "the segmentation's rows and columns run, or are spaced, otherwise than the image's; "
                "masks on another grid are not resampled"
            )


def _draw(target: np.ndarray, inside: np.ndarray, value: int) -> None:
    taken = int(((target != 0) & (target != value) & inside).sum())
    if taken:
        raise AnnotationError(f"segments overlap in {taken} voxels of a slice; one label a voxel was expected")
    target[inside] = value
