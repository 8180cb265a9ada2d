"""Masks as DICOM Segmentation objects, through highdicom.

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

from radkit.dicom import part10, scan
from radkit.dicom.annotations.form import AnnotationError
from radkit.dicom.volumes import Volume


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
    if np.isfinite(volume.spacing_mm).all() and not volume.meta["FrameOfReferenceUID"]:
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
