"""Masks as RT Structure Sets: contours along voxels' edges, so that reading them gives the same masks back.

Source: DICOM PS3.3 A.19 (the IOD), C.8.8.5, C.8.8.6, C.8.8.8.
"""

import datetime
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.tag import Tag
from pydicom.uid import ImplicitVRLittleEndian

from radkit.dicom import attributes, part10
from radkit.dicom.annotations import contours, form, structure_set, written
from radkit.dicom.annotations.form import AnnotationError
from radkit.dicom.volumes import Volume

# Contours run this far within the voxels' edges, in voxels. A reader that tests centres finds the same voxels as on the
# edges; one that rounds places to voxels first and takes those on the path for inside finds them, too, which it would
# not on the edges, halfway between two; and parts that touch by a corner stay apart. Areas change by 1 % of a voxel
# along the border.
INSET = 0.01
_KIND = "structure set"  # in the UIDs that are derived
_CONTOUR_DATA = Tag("ContourData")
_STUDY_MANAGEMENT = "1.2.840.10008.3.1.2.3.1"  # retired, and still what a reference to a study names (C.8.8.5.2)
# What a structure set repeats of its images: whose they are, which study it is, what was taken out.
_REPEATED = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyDate", "StudyTime",
    "ReferringPhysicianName", "StudyID", "AccessionNumber", "PositionReferenceIndicator",
)  # fmt: skip
_REPEATED_IF_THERE = (
    "StudyDescription", "PatientIdentityRemoved", "DeidentificationMethod", "DeidentificationMethodCodeSequence",
    "LongitudinalTemporalInformationModified",
)  # fmt: skip
_COLOURS = ((230, 60, 60), (60, 160, 230), (90, 200, 90), (240, 190, 60), (170, 100, 220), (80, 210, 200))


@part10.silence()
def write_rtstruct(
    mask: np.ndarray, volume: Volume, labels: Sequence[str], path: Path, when: datetime.datetime | None = None
) -> None:
    """Writes a mask as a DICOM RT Structure Set that references the volume's instances.

    `rtstruct.read` gives exactly the mask back. A label without a voxel is a structure without contours. UIDs are
    derived from the image's series and the mask, as those of `write_seg`.

    Args:
        mask: (slices, rows, columns) uint8 on the volume's grid, 0 outside, 1.. as `labels`; or (slices, rows, columns,
            labels) bool, where structures overlap.
        volume: The image; its files are read again for the headers.
        labels: ROIName of value 1, 2, ...
        path: The file to write.
        when: Date and time that the file says it was made at; now if not given. With it, the same bytes come out.

    Raises:
        AnnotationError: The mask does not fit the image or the labels or is empty, the image has no place in the
            patient or no files, or they have changed.
    """
    _check_mask(mask, volume, labels)
    headers = _headers(volume)
    digest = _digest(mask)
    when = when or datetime.datetime.now()
    dataset = _general(headers[0], volume, when, written.derived_uid(volume, _KIND, "instance", digest, *labels))
    images = [_image(header, frame) for header, frame in zip(headers, volume.frame_numbers)]
    dataset.ReferencedFrameOfReferenceSequence = [_frame_of_reference(volume, images)]
    dataset.StructureSetROISequence = [_structure(volume, number, label) for number, label in enumerate(labels, 1)]
    masks = (_inside(mask, number) for number in range(1, len(labels) + 1))
    dataset.ROIContourSequence = [_contours(volume, n, inside, images) for n, inside in enumerate(masks, 1)]
    dataset.RTROIObservationsSequence = [_observation(number) for number in range(1, len(labels) + 1)]
    dataset.save_as(path, enforce_file_format=True)


def _check_mask(mask: np.ndarray, volume: Volume, labels: Sequence[str]) -> None:
    shape = volume.stored.shape[:3]
    if mask.ndim == 4 and (mask.dtype != bool or mask.shape[3] != len(labels)):
        raise AnnotationError(
            f"a mask of {mask.shape} {mask.dtype} and {len(labels)} labels: bool and one last axis a label was expected"
        )
    if mask.shape[:3] != shape or mask.ndim not in (3, 4):
        raise AnnotationError(f"the mask has shape {mask.shape}, the volume {shape}")
    if mask.dtype.kind not in "iub" or not mask.any():
        raise AnnotationError(f"the mask is empty or not of whole numbers ({mask.dtype}); one voxel at least is needed")
    if mask.ndim == 3 and (mask.min() < 0 or mask.max() > len(labels)):
        raise AnnotationError(f"the mask has values {mask.min()} to {mask.max()}, and {len(labels)} labels were given")
    for label in labels:
        if not 0 < len(label) <= 64 or "\\" in label or label != label.strip():  # LO (PS3.5 6.2)
            raise AnnotationError(
                f"{label!r} is no ROIName: 1 to 64 characters without backslash or outer spaces were expected"
            )
    if len(set(labels)) < len(labels):
        raise AnnotationError(f"{len(labels) - len(set(labels))} labels are given twice; readers could not tell them")


def _inside(mask: np.ndarray, number: int) -> np.ndarray:
    return np.ascontiguousarray(mask[..., number - 1]) if mask.ndim == 4 else mask == number


def _digest(mask: np.ndarray) -> str:
    """Returns the same for masks that say the same, bool or not."""
    found = hashlib.sha256(f"{mask.ndim}".encode())
    for of_slice in mask:
        found.update(of_slice.astype(np.uint8).tobytes())
    return found.hexdigest()


def _headers(volume: Volume) -> list[Dataset]:
    """Returns the header of each slice's file."""
    if not np.isfinite(volume.spacing_mm).all() or not volume.meta["FrameOfReferenceUID"]:
        raise AnnotationError(
            "the image has no place in the patient or no FrameOfReferenceUID; a structure set needs both"
        )
    by_uid = {str(header.SOPInstanceUID): header for header in written.headers(volume)}
    return [by_uid[uid] for uid in volume.instance_uids]


def _general(source: Dataset, volume: Volume, when: datetime.datetime, uid: str) -> FileDataset:
    """Returns all but structures and references."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = structure_set.STORAGE
    meta.MediaStorageSOPInstanceUID = uid
    # Explicit VR holds 64 KiB of decimal strings an element, which a long contour exceeds (PS3.5 7.1.2).
    meta.TransferSyntaxUID = ImplicitVRLittleEndian
    meta.ImplementationClassUID = part10.IMPLEMENTATION_CLASS_UID
    meta.ImplementationVersionName = part10.IMPLEMENTATION_VERSION_NAME
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SpecificCharacterSet = "ISO_IR 192"
    try:
        for keyword in (*_REPEATED, *_REPEATED_IF_THERE):
            found = attributes.value(source, keyword)
            if found is not None or keyword in _REPEATED:
                setattr(dataset, keyword, "" if found is None else found)
    except attributes.NotDicom as error:
        raise AnnotationError(f"the image's header cannot be repeated: {error}") from error
    dataset.SOPClassUID, dataset.SOPInstanceUID = structure_set.STORAGE, uid
    dataset.SeriesInstanceUID = written.derived_uid(volume, _KIND, "series")
    dataset.FrameOfReferenceUID = volume.meta["FrameOfReferenceUID"]
    dataset.Modality, dataset.SeriesNumber, dataset.InstanceNumber = "RTSTRUCT", 101, 1
    dataset.OperatorsName = ""
    dataset.Manufacturer = dataset.ManufacturerModelName = "radkit"
    dataset.SoftwareVersions = "1"
    dataset.StructureSetLabel = "radkit"
    dataset.ApprovalStatus = "UNAPPROVED"
    for keyword in ("InstanceCreation", "StructureSet"):
        setattr(dataset, f"{keyword}Date", f"{when:%Y%m%d}")
        setattr(dataset, f"{keyword}Time", f"{when:%H%M%S}")
    return dataset


def _image(header: Dataset, frame: int) -> Dataset:
    """Returns a reference to a slice's image."""
    image = Dataset()
    image.ReferencedSOPClassUID = header.SOPClassUID
    image.ReferencedSOPInstanceUID = header.SOPInstanceUID
    if attributes.whole(header, "NumberOfFrames", 1) > 1:
        image.ReferencedFrameNumber = frame + 1
    return image


def _frame_of_reference(volume: Volume, images: Sequence[Dataset]) -> Dataset:
    series = Dataset()
    series.SeriesInstanceUID = volume.meta["SeriesInstanceUID"]
    instances = []
    for uid, first in {image.ReferencedSOPInstanceUID: image for image in images}.items():
        whole = Dataset()  # all frames of it
        whole.ReferencedSOPClassUID, whole.ReferencedSOPInstanceUID = first.ReferencedSOPClassUID, uid
        instances.append(whole)
    series.ContourImageSequence = instances
    study = Dataset()
    study.ReferencedSOPClassUID = _STUDY_MANAGEMENT
    study.ReferencedSOPInstanceUID = volume.meta["StudyInstanceUID"]
    study.RTReferencedSeriesSequence = [series]
    frame = Dataset()
    frame.FrameOfReferenceUID = volume.meta["FrameOfReferenceUID"]
    frame.RTReferencedStudySequence = [study]
    return frame


def _structure(volume: Volume, number: int, label: str) -> Dataset:
    item = Dataset()
    item.ROINumber = number
    item.ReferencedFrameOfReferenceUID = volume.meta["FrameOfReferenceUID"]
    item.ROIName = label
    item.ROIGenerationAlgorithm = "AUTOMATIC"
    return item


def _observation(number: int) -> Dataset:
    item = Dataset()
    item.ObservationNumber = item.ReferencedROINumber = number
    item.RTROIInterpretedType = item.ROIInterpreter = ""
    return item


def _contours(volume: Volume, number: int, inside: np.ndarray, images: Sequence[Dataset]) -> Dataset:
    item = Dataset()
    item.ROIDisplayColor = list(_COLOURS[(number - 1) % len(_COLOURS)])
    item.ReferencedROINumber = number
    if found := [_contour(volume, index, points, images[index]) for index, points in _traced(inside)]:
        item.ContourSequence = found
    return item


def _traced(inside: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Yields each contour's slice and its points, row and column.

    Holes are keyholes, which the standard has for CLOSED_PLANAR and which any reader that fills a polygon takes
    rightly, by the even-odd rule or by winding. CLOSEDPLANAR_XOR is unknown to readers older than it, some of which
    pass such contours over; and of nested CLOSED_PLANAR contours some readers fill the holes.
    """
    for index in np.flatnonzero(inside.any(axis=(1, 2))).tolist():
        cut = form.region("", 0, inside[index : index + 1])
        for points in contours.trace(cut.inside[0], INSET, keyholes=True):
            yield index, points + cut.corner[1:]


def _contour(volume: Volume, index: int, points: np.ndarray, image: Dataset) -> Dataset:
    places = np.concatenate([np.full((len(points), 1), index), points], axis=1)
    item = Dataset()
    item.ContourImageSequence = [image]
    item.ContourGeometricType = "CLOSED_PLANAR"
    item.NumberOfContourPoints = len(points)
    text = "\\".join(map(_decimal, form.to_mm(places + 0.5, volume).ravel().tolist())).encode()
    text += b" " * (len(text) % 2)
    # As bytes, which implicit VR does not tell from DS: pydicom would make an object of each of millions of numbers.
    item.add(DataElement(_CONTOUR_DATA, "OB", text))
    return item


def _decimal(value: float) -> str:
    """Returns a decimal string: at most 16 characters (PS3.5 6.2), and no more than the 0.1 nm that it can hold."""
    return f"{0.0 if abs(value) < 1e-7 else value:.10g}"
