"""Secondary captures: key slices with the outlines of masks and boxes drawn on them, for any viewer.

Source: DICOM PS3.3 A.8.1 (Secondary Capture Image), A.8.5 (Multi-frame True Color Secondary Capture Image), C.8.6.
"""

import datetime
import hashlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from scipy import ndimage

from radkit.dicom import luts, part10
from radkit.dicom.annotations import AnnotationError, written
from radkit.dicom.volumes import Volume

SINGLE, SEVERAL = "1.2.840.10008.5.1.4.1.1.7", "1.2.840.10008.5.1.4.1.1.7.4"
MOST_SLICES = 32
DESCRIPTION = "radkit overlay"  # of the series, by which one is known again
# Colours that the colour-blind tell apart, too (Okabe and Ito 2008), by name as the description says them.
COLOURS = {
    "orange": (230, 159, 0), "sky blue": (86, 180, 233), "bluish green": (0, 158, 115), "yellow": (240, 228, 66),
    "vermillion": (213, 94, 0), "reddish purple": (204, 121, 167), "blue": (0, 114, 178),
}  # fmt: skip
_KIND = "capture"  # in the UIDs that are derived
_THIN = 512  # pixels of an image a side for each pixel of an outline's width
# Of patient and study, repeated as they are; the first must be there, if empty.
_NEEDED = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyDate", "StudyTime",
    "StudyID", "AccessionNumber", "ReferringPhysicianName", "PatientOrientation",
)  # fmt: skip
_REPEATED = (
    "SpecificCharacterSet", "IssuerOfPatientID", "PatientAge", "PatientSize", "PatientWeight", "PatientIdentityRemoved",
    "DeidentificationMethod", "DeidentificationMethodCodeSequence", "LongitudinalTemporalInformationModified",
    "StudyDescription", "BodyPartExamined", "LossyImageCompression", "LossyImageCompressionRatio",
    "LossyImageCompressionMethod", "RecognizableVisualFeatures",
)  # fmt: skip
# Body parts that a person has one of: Laterality may not be there at all (PS3.3 C.7.3.1, PS3.16 Annex L).
_UNPAIRED = frozenset((
    "ABDOMEN", "ABDOMENPELVIS", "AORTA", "BACK", "BLADDER", "BRAIN", "CEREBELLUM", "CERVIX", "CHEST",
    "CHESTABDOMEN", "CHESTABDPELVIS", "CIRCLEOFWILLIS", "COCCYX", "COLON", "CORONARYARTERY", "CSPINE", "CTSPINE",
    "DUODENUM", "ESOPHAGUS", "FACE", "GALLBLADDER", "HEAD", "HEADNECK", "HEART", "ILEUM", "ILIUM", "JAW",
    "JEJUNUM", "LARYNX", "LIVER", "LSPINE", "LSSPINE", "MAXILLA", "MEDIASTINUM", "MOUTH", "NECK", "NECKCHEST",
    "NECKCHESTABDOMEN", "NECKCHESTABDPELV", "NOSE", "PANCREAS", "PELVIS", "PENIS", "PHARYNX", "PROSTATE",
    "RECTUM", "SCALP", "SKULL", "SPINE", "SPLEEN", "SSPINE", "STERNUM", "STOMACH", "THYMUS", "THYROID", "TLSPINE",
    "TONGUE", "TRACHEA", "TSPINE", "URETER", "URETHRA", "UTERUS", "VAGINA", "VULVA", "WHOLEBODY",
))  # fmt: skip
# Pictures that commonly have the patient's name within their pixels, where the header does not say.
_PICTURES = ("US", "ES", "XC", "GM", "OT", "DOC", "RF", "XA")


@part10.silence()
def write_capture(
    mask: np.ndarray | None,
    boxes: Sequence[Mapping[str, Any]],
    names: Sequence[str],
    volume: Volume,
    path: Path,
    when: datetime.datetime | None = None,
) -> bool:
    """Writes the key slices with what was found on them; returns whether there was anything to draw.

    Slices are shown by the first window of their headers, in grey; UIDs are derived from the image and what is drawn:
    the same answer is the same instance again.

    Args:
        mask: (slices, rows, columns) uint8 on the volume's grid; or None.
        boxes: Each with `low` and `high`, edges in the voxels of the volume, and `label`.
        names: Of the mask's values 1, 2, ...
        volume: The image; its files are read again for the headers.
        path: The file to write.
        when: Date and time that the file says it was made at; now if not given.

    Raises:
        AnnotationError: The image cannot be read again or shown, or has no UID of its study or series.
    """
    slices = key_slices(mask, boxes, len(volume.stored))
    if not slices:
        return False
    headers = {str(one.SOPInstanceUID): one for one in written.headers(volume)}
    sources = [headers[volume.instance_uids[k]] for k in slices]
    _check_named(sources[0])
    shown = [] if mask is None else names
    # A name has one colour, whether it is of a mask or of a box.
    labels = list(dict.fromkeys([*shown, *(box["label"] for box in boxes)]))
    try:
        frames = np.stack([_frame(volume, k, one, mask, boxes, labels) for k, one in zip(slices, sources)])
        made = _dataset(frames, slices, volume, sources, _legend(mask, boxes, labels), when)
        made.save_as(path, enforce_file_format=True)
    except part10.MALFORMED as error:  # a PixelError, too
        raise written.impossible("secondary capture", error) from error
    return True


def _check_named(source: Dataset) -> None:
    """Refuses an image that no other can name."""
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID"):
        if not source.get(keyword):
            raise AnnotationError(f"no secondary capture can be made of these headers (they have no {keyword})")


def key_slices(mask: np.ndarray | None, boxes: Sequence[Mapping[str, Any]], count: int) -> list[int]:
    """Returns the slices that are shown: where each structure is largest, and through the middle of each box.

    Args:
        mask: (slices, rows, columns); or None.
        boxes: The surest first.
        count: Of slices.

    Returns:
        At most `MOST_SLICES`, in order.
    """
    found: dict[int, None] = {}
    if mask is not None:
        for value in np.unique(mask[mask > 0]).tolist():
            found[int((mask == value).sum(axis=(1, 2)).argmax())] = None
    for box in boxes:
        middle = math.floor((box["low"][0] + box["high"][0]) / 2) if len(box["low"]) == 3 else 0
        found[min(max(middle, 0), count - 1)] = None
    return sorted(list(found)[:MOST_SLICES])


def _frame(
    volume: Volume,
    k: int,
    header: Dataset,
    mask: np.ndarray | None,
    boxes: Sequence[Mapping[str, Any]],
    labels: Sequence[str],
) -> np.ndarray:
    """Returns one slice with its outlines, (rows, columns, 3) uint8."""
    values = volume.stored[k].astype(np.float32) * volume.slope[k] + volume.intercept[k]
    number = volume.frame_numbers[k] if volume.frame_numbers else 0
    shown = np.round(luts.window(values, header, frame=number) * 255).astype(np.uint8)
    picture = np.repeat(shown[..., None], 3, axis=2)
    width = max(1, round(max(shown.shape) / _THIN))
    if mask is not None:
        for value in np.unique(mask[k][mask[k] > 0]).tolist():
            picture[_outline(mask[k] == value, width)] = _colour(value - 1)
    for box in boxes:
        (top, left), (bottom, right) = box["low"][-2:], box["high"][-2:]
        if len(box["low"]) == 3 and not math.floor(box["low"][0]) <= k < math.ceil(box["high"][0]):
            continue
        inside = np.zeros(shown.shape, bool)
        inside[math.floor(top) : math.ceil(bottom), math.floor(left) : math.ceil(right)] = True
        picture[_outline(inside, width)] = _colour(labels.index(box["label"]))
    return picture


def _outline(inside: np.ndarray, width: int) -> np.ndarray:
    """Returns the outermost pixels of a structure; the image's border ends it, too."""
    return np.asarray(inside & ~ndimage.binary_erosion(inside, iterations=width))


def _colour(number: int) -> tuple[int, int, int]:
    return list(COLOURS.values())[number % len(COLOURS)]


def _legend(mask: np.ndarray | None, boxes: Sequence[Mapping[str, Any]], labels: Sequence[str]) -> str:
    """Returns what each colour is, as an ST holds it."""
    drawn = set() if mask is None else {labels[value - 1] for value in np.unique(mask[mask > 0]).tolist()}
    drawn |= {box["label"] for box in boxes}
    said = [f"{list(COLOURS)[number % len(COLOURS)]} {name}" for number, name in enumerate(labels) if name in drawn]
    return f"Outlines drawn by radkit: {'; '.join(said)}"[:1024].rstrip()


def _dataset(
    frames: np.ndarray,
    slices: Sequence[int],
    volume: Volume,
    sources: Sequence[Dataset],
    legend: str,
    when: datetime.datetime | None,
) -> FileDataset:
    several = len(frames) > 1
    digest = hashlib.sha256(frames.tobytes() + repr((slices, legend)).encode()).hexdigest()
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = SEVERAL if several else SINGLE
    meta.MediaStorageSOPInstanceUID = written.derived_uid(volume, _KIND, "instance", digest)
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    meta.ImplementationClassUID = part10.IMPLEMENTATION_CLASS_UID
    meta.ImplementationVersionName = part10.IMPLEMENTATION_VERSION_NAME
    made = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    made.SOPClassUID, made.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    _identify(made, sources[0], volume)
    when = when or datetime.datetime.now()
    for keyword in ("InstanceCreation", "Content", "Series"):
        setattr(made, f"{keyword}Date", f"{when:%Y%m%d}")
        setattr(made, f"{keyword}Time", f"{when:%H%M%S}")
    made.ImageType = ["DERIVED", "SECONDARY"]
    made.DerivationDescription = legend
    made.ConversionType = "WSD"
    made.BurnedInAnnotation = _burned_in(sources)
    _reference(made, slices, volume, sources)
    _pixels(made, frames, slices, volume)
    return made


def _identify(made: Dataset, source: Dataset, volume: Volume) -> None:
    for keyword in (*_NEEDED, *_REPEATED):
        if keyword in source:
            made[keyword] = source[keyword]
        elif keyword in _NEEDED:
            setattr(made, keyword, "")
    made.Modality = source.get("Modality") or "OT"  # of the images that it was drawn on (PS3.3 C.7.3.1.1.1)
    made.SeriesInstanceUID = written.derived_uid(volume, _KIND, "series")
    made.SeriesNumber, made.InstanceNumber = 102, 1
    made.SeriesDescription = DESCRIPTION
    made.Manufacturer = made.ManufacturerModelName = "radkit"
    _set_side(made, source)


def _set_side(made: Dataset, source: Dataset) -> None:
    """Says which side of a paired organ was imaged, once; what no one says is there and empty."""
    if source.get("BodyPartExamined") in _UNPAIRED:
        return
    if source.get("ImageLaterality") in ("L", "R", "U", "B"):
        made.ImageLaterality = source.ImageLaterality
    else:
        made.Laterality = source.Laterality if source.get("Laterality") in ("L", "R") else ""


def _burned_in(sources: Sequence[Dataset]) -> str:
    """Returns whether names may stand in the pixels: what is drawn says none, the images may."""
    said = {source.get("BurnedInAnnotation") for source in sources}
    picture = any(one.get("Modality") in _PICTURES or str(one.SOPClassUID).startswith(SINGLE) for one in sources)
    return "YES" if "YES" in said or (said != {"NO"} and picture) else "NO"


def _reference(made: Dataset, slices: Sequence[int], volume: Volume, sources: Sequence[Dataset]) -> None:
    """Names the images that were drawn on, an instance of several frames once."""
    frames: dict[str, list[int]] = {}
    for k, source in zip(slices, sources):
        several = int(source.get("NumberOfFrames") or 1) > 1
        frames.setdefault(volume.instance_uids[k], []).extend([volume.frame_numbers[k] + 1] if several else [])
    classes = {str(source.SOPInstanceUID): source.SOPClassUID for source in sources}
    made.SourceImageSequence, plain = [], []
    for uid, numbers in frames.items():
        item, instance = Dataset(), Dataset()
        for one in (item, instance):
            one.ReferencedSOPClassUID, one.ReferencedSOPInstanceUID = classes[uid], uid
        if numbers:
            item.ReferencedFrameNumber = numbers
        made.SourceImageSequence.append(item)
        plain.append(instance)
    series = Dataset()
    series.SeriesInstanceUID, series.ReferencedInstanceSequence = volume.meta["SeriesInstanceUID"], plain
    made.ReferencedSeriesSequence = [series]


def _pixels(made: Dataset, frames: np.ndarray, slices: Sequence[int], volume: Volume) -> None:
    made.Rows, made.Columns, made.SamplesPerPixel = *frames.shape[1:3], 3
    made.PhotometricInterpretation, made.PlanarConfiguration = "RGB", 0
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 8, 8, 7, 0
    if np.isfinite(volume.spacing_mm[1:]).all():
        made.PixelSpacing = [f"{mm:.10g}" for mm in volume.spacing_mm[1:]]
    if len(frames) > 1:
        made.NumberOfFrames = len(frames)
        made.FrameIncrementPointer = pydicom.tag.Tag("PageNumberVector")
        made.PageNumberVector = [k + 1 for k in slices]
    data = frames.tobytes()
    made.PixelData = data + b"\0" * (len(data) % 2)
    made["PixelData"].VR = "OB"
