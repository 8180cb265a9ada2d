"""Boxes as coordinates of a structured report: where a group's finding lies, through highdicom.

On a radiograph, and where nobody says where the image lies, a rectangle in columns and rows of each image (SCOORD); in
a volume the first and the last face, which span the box, in mm of its frame of reference (SCOORD3D).

Source: DICOM PS3.16 TID 1410 (Planar ROI), 1411 (Volumetric ROI); PS3.3 C.18.6, C.18.9.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from radkit.dicom.annotations import form
from radkit.dicom.annotations.form import AnnotationError, Box
from radkit.dicom.volumes import Volume


def by_lesion(boxes: Sequence[Box], volume: Volume) -> dict[str, Box]:
    """Returns boxes by `lesion_id`.

    Raises:
        AnnotationError: Two of one lesion, one without, or a box without extent or outside of the image.
    """
    found = {box.lesion_id: box for box in boxes if box.lesion_id}
    if len(found) < len(boxes):
        raise AnnotationError(f"{len(boxes)} boxes are of {len(found)} lesions; a lesion_id for each was expected")
    for box in boxes:
        low, high = np.array(box.low), np.array(box.high)
        # That nan is no number is said by the comparisons, too.
        if not ((low >= 0) & (low < high) & (high <= volume.stored.shape[:3])).all():
            raise AnnotationError(
                f"a box from {box.low} to {box.high} is none of an image of {volume.stored.shape[:3]} voxels"
            )
    return found


def group(sr: Any, box: Box, volume: Volume, sources: Sequence[Dataset], said: Mapping[str, Any]) -> Any:
    """Returns the measurement group of a box.

    Args:
        sr: `highdicom.sr`.
        box: Within the image.
        volume: The image.
        sources: Headers of its files, as `written.headers`.
        said: What else the group says.
    """
    frame_of_reference = volume.meta["FrameOfReferenceUID"]
    if frame_of_reference and np.isfinite(volume.spacing_mm).all():
        faces = [_in_patient(box, slices, volume) for slices in (box.low[0], box.high[0])]
        images = [_source(sr.SourceImageForSegmentation, k, volume, sources) for k in _slices(box)]
        surface = sr.VolumeSurface("POLYGON", faces, frame_of_reference, source_images=images)
        return sr.VolumetricROIMeasurementsAndQualitativeEvaluations(referenced_volume_surface=surface, **said)
    corners = np.array(_corners(box))[:, ::-1]
    images = [_source(sr.SourceImageForRegion, k, volume, sources) for k in _slices(box)]
    regions = [sr.ImageRegion("POLYLINE", corners, image) for image in images]
    if len(volume.stored) == 1:
        return sr.PlanarROIMeasurementsAndQualitativeEvaluations(referenced_region=regions[0], **said)
    return sr.VolumetricROIMeasurementsAndQualitativeEvaluations(referenced_regions=regions, **said)


def _corners(box: Box) -> list[tuple[float, float]]:
    """Returns row and column of a closed rectangle's corners, in voxels' edges."""
    (_, top, left), (_, bottom, right) = box.low, box.high
    return [(top, left), (top, right), (bottom, right), (bottom, left), (top, left)]


def _in_patient(box: Box, slices: float, volume: Volume) -> np.ndarray:
    return form.to_mm(np.array([(slices, row, column) for row, column in _corners(box)]), volume)


def _slices(box: Box) -> range:
    """Returns the slices that a box reaches into."""
    return range(math.floor(box.low[0]), math.ceil(box.high[0]))


def _source(kind: Any, k: int, volume: Volume, sources: Sequence[Dataset]) -> Any:
    header = next(one for one in sources if one.SOPInstanceUID == volume.instance_uids[k])
    several = int(header.get("NumberOfFrames") or 1) > 1
    frames = [volume.frame_numbers[k] + 1] if several and volume.frame_numbers else None
    return kind.from_source_image(header, frames)
