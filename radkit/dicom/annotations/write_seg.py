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

from radkit.dicom import part10
from radkit.dicom.annotations import written
from radkit.dicom.annotations.form import AnnotationError
from radkit.dicom.volumes import Volume

_KIND = "segmentation"  # in the UIDs that are derived


@part10.silence()
def write_seg(
    mask: np.ndarray,
    volume: Volume,
    labels: Sequence[str],
    path: Path,
    when: datetime.datetime | None = None,
    *,
    by_hand: bool = False,
) -> None:
    """Writes a mask as a DICOM SEG that references the volume's instances.

    Its UIDs are derived from the image's series and the mask: the same answer is the same instance again, another one
    never bears its name.

    Args:
        mask: (slices, rows, columns) uint8 on the volume's grid, 0 outside, 1.. as `labels`. Structures that overlap:
            (slices, rows, columns, labels) bool.
        volume: The image; its files are read again for the headers. Where it has no place (a radiograph), nor has
            the segmentation, which then names the image of each frame.
        labels: SegmentLabel of value 1, 2, ...
        path: The file to write.
        when: Date and time that the file says it was made at; now if not given. With it, the same bytes come out.
        by_hand: Whether a person drew it (SegmentAlgorithmType MANUAL), not a network (AUTOMATIC).

    Raises:
        AnnotationError: The mask does not fit the image or the labels or is empty, the image's headers lack what a
            segmentation must repeat, or highdicom is not installed.
    """
    _check_mask(mask, volume, labels)
    highdicom = written.highdicom("SEG")
    sources = _sources(volume)
    mask = mask.astype(np.uint8)
    uid = written.derived_uid(volume, _KIND, "instance", hashlib.sha256(mask.tobytes()).hexdigest(), *labels)
    try:
        segmentation = highdicom.seg.Segmentation(
            source_images=sources,
            pixel_array=_by_frame(mask, volume, sources),
            segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
            segment_descriptions=[_segment(highdicom, n, label, by_hand) for n, label in enumerate(labels, 1)],
            series_instance_uid=written.derived_uid(volume, _KIND, "series"),
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
        raise written.impossible("segmentation", error) from error
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
    if mask.shape[:3] != volume.stored.shape[:3] or mask.ndim not in (3, 4):
        raise AnnotationError(f"the mask has shape {mask.shape}, the volume {volume.stored.shape}")
    if mask.ndim == 4 and (mask.dtype != bool or mask.shape[3] != len(labels)):
        raise AnnotationError(
            f"the mask has {mask.shape[3]} structures of {mask.dtype}; {len(labels)} of bool were expected, one a label"
        )
    if mask.dtype.kind not in "iub" or not mask.any():
        raise AnnotationError(f"the mask is empty or not of whole numbers ({mask.dtype}); one voxel at least is needed")
    if mask.min() < 0 or mask.max() > len(labels):
        raise AnnotationError(f"the mask has values {mask.min()} to {mask.max()}, and {len(labels)} labels were given")
    for label in labels:
        if not 0 < len(label) <= 64 or "\\" in label:  # LO (PS3.5 6.2)
            raise AnnotationError(f"{label!r} is no SegmentLabel: 1 to 64 characters without backslash were expected")


def _sources(volume: Volume) -> list[Dataset]:
    sources = written.headers(volume)
    if np.isfinite(volume.spacing_mm).all() and not volume.meta["FrameOfReferenceUID"]:
        raise AnnotationError("the image has a place but no FrameOfReferenceUID, which a segmentation must repeat")
    return sources


def _by_frame(mask: np.ndarray, volume: Volume, sources: Sequence[Dataset]) -> np.ndarray:
    """Returns a mask in the order of its one file's frames, of which the volume may hold but some."""
    count = int(sources[0].get("NumberOfFrames") or 1)
    if len(sources) > 1 or count == 1:
        return mask
    if len(set(volume.frame_numbers)) < len(mask):
        raise AnnotationError("several slices are of one frame, as of a mosaic; a segmentation has a frame for each")
    found = np.zeros((count, *mask.shape[1:]), mask.dtype)
    found[list(volume.frame_numbers)] = mask
    return found


def _segment(highdicom: Any, number: int, label: str, by_hand: bool) -> Any:
    codes = pydicom.sr.codedict.codes
    network = highdicom.AlgorithmIdentificationSequence(
        name="radkit", version="1", family=pydicom.sr.coding.Code("123110", "DCM", "Artificial Intelligence")
    )
    return highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=label,
        segmented_property_category=codes.SCT.AnatomicalStructure,
        segmented_property_type=pydicom.sr.coding.Code("113343008", "SCT", "Organ"),
        algorithm_type="MANUAL" if by_hand else "AUTOMATIC",
        algorithm_identification=None if by_hand else network,
    )
