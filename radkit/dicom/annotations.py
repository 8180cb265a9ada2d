"""Masks that come and go as DICOM Segmentation objects, matched to a volume in millimetres.

Source: DICOM PS3.3 C.8.20 (Segmentation), A.51 (its IOD).
"""

import datetime
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset

from radkit.dicom import attributes, part10, scan
from radkit.dicom.volumes import Volume
from radkit.errors import UserError

# A frame may lie this far from its slice, in slices, rows or columns, and still be that slice's.
PLACE_TOLERANCE = 0.1
# Its axes may differ from the image's by this share of their length.
AXES_TOLERANCE = 0.01


class AnnotationError(UserError):
    """An annotation that does not fit its image; the message says how."""


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


@part10.silence()
def write_seg(
    mask: np.ndarray, volume: Volume, labels: Sequence[str], path: Path, when: datetime.datetime | None = None
) -> None:
    """Writes a mask as a DICOM SEG that references the volume's instances.

    Its UIDs are derived from the image's series and the mask: the same answer is the same instance again, another one
    never bears its name.

    Args:
        mask: (slices, rows, columns) uint8 on the volume's grid, 0 outside, 1.. as `labels`.
        volume: The image; its files are read again for the headers. Where it has no place (a radiograph), nor has
            the segmentation, which then names the image of each frame.
        labels: SegmentLabel of value 1, 2, ...
        path: The file to write.
        when: Date and time that the file says it was made at; now if not given. With it, the same bytes come out.

    Raises:
        AnnotationError: The mask does not fit the image or the labels or is empty, the image's headers lack what a
            segmentation must repeat, or highdicom is not installed.
    """
    _check_mask(mask, volume, labels)
    highdicom = _highdicom()
    sources = _sources(volume)
    uid = _derived_uid(volume, "instance", hashlib.sha256(mask.astype(np.uint8).tobytes()).hexdigest(), *labels)
    try:
        segmentation = highdicom.seg.Segmentation(
            source_images=sources,
            pixel_array=mask.astype(np.uint8),
            segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
            segment_descriptions=[_segment(highdicom, n, label) for n, label in enumerate(labels, 1)],
            series_instance_uid=_derived_uid(volume, "series"),
            series_number=100,
            sop_instance_uid=uid,
            instance_number=1,
            manufacturer="radkit",
            manufacturer_model_name="radkit",
            software_versions="1",
            device_serial_number="0",
            omit_empty_frames=True,
        )
    except part10.MALFORMED as error:
        raise AnnotationError(f"no segmentation can be made of these headers ({type(error).__name__})") from error
    if "FrameOfReferenceUID" not in segmentation:
        segmentation.PatientOrientation = ""  # type 2C: there where no place says it
    _repeatable(segmentation, when)
    segmentation.save_as(path)


def _repeatable(segmentation: Dataset, when: datetime.datetime | None) -> None:
    """Takes chance out of a new segmentation: highdicom draws a UID for its dimensions and looks at the clock."""
    dimensions = pydicom.uid.generate_uid(entropy_srcs=[segmentation.SOPInstanceUID, "dimensions"])
    for item in (*segmentation.DimensionOrganizationSequence, *segmentation.DimensionIndexSequence):
        item.DimensionOrganizationUID = dimensions
    if when is None:
        return
    for keyword in ("InstanceCreation", "Content"):
        setattr(segmentation, f"{keyword}Date", f"{when:%Y%m%d}")
        setattr(segmentation, f"{keyword}Time", f"{when:%H%M%S}")
    for item in segmentation.get("ContributingEquipmentSequence", ()):
        if "ContributionDateTime" in item:
            item.ContributionDateTime = f"{when:%Y%m%d%H%M%S}"


def _check_mask(mask: np.ndarray, volume: Volume, labels: Sequence[str]) -> None:
    if mask.shape != volume.stored.shape:
        raise AnnotationError(f"the mask has shape {mask.shape}, the volume {volume.stored.shape}")
    if mask.dtype.kind not in "iub" or not mask.any():
        raise AnnotationError(f"the mask is empty or not of whole numbers ({mask.dtype}); one voxel at least is needed")
    if mask.min() < 0 or mask.max() > len(labels):
        raise AnnotationError(f"the mask has values {mask.min()} to {mask.max()}, and {len(labels)} labels were given")
    for label in labels:
        if not 0 < len(label) <= 64 or "\\" in label:  # LO (PS3.5 6.2)
            raise AnnotationError(f"{label!r} is no SegmentLabel: 1 to 64 characters without backslash were expected")


def _sources(volume: Volume) -> list[Dataset]:
    try:
        sources = [scan.read_header(source) for source in volume.paths]
    except scan.NotDicom as error:
        raise AnnotationError(f"a file of the image cannot be read again: {error}") from error
    if [str(source.SOPInstanceUID) for source in sources] != list(volume.instance_uids):
        raise AnnotationError("the image's files have changed since the volume was read")
    if _has_place(volume) and not volume.meta["FrameOfReferenceUID"]:
        raise AnnotationError("the image has a place but no FrameOfReferenceUID, which a segmentation must repeat")
    return sources


def _derived_uid(volume: Volume, *what: str) -> str:
    return pydicom.uid.generate_uid(entropy_srcs=[volume.meta["SeriesInstanceUID"], *what, "radkit segmentation"])


def _highdicom() -> Any:
    try:
        import highdicom
    except ImportError as error:
        raise AnnotationError("writing a DICOM SEG needs highdicom: pip install 'radkit[serving]'") from error
    return highdicom


def _segment(highdicom: Any, number: int, label: str) -> Any:
    codes = pydicom.sr.codedict.codes
    return highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=label,
        segmented_property_category=codes.SCT.AnatomicalStructure,
        segmented_property_type=pydicom.sr.coding.Code("113343008", "SCT", "Organ"),
        algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=highdicom.AlgorithmIdentificationSequence(
            name="radkit", version="1", family=pydicom.sr.coding.Code("123110", "DCM", "Artificial Intelligence")
        ),
    )
