"""What writers of annotations share: the image's headers, read again, and highdicom."""

from typing import Any

import pydicom
from pydicom.dataset import Dataset

from radkit.dicom import part10, scan
from radkit.dicom.annotations.form import AnnotationError
from radkit.dicom.volumes import Volume

# Of patient and study, type 2: writers want them there, if empty. Without PatientID no archive knows whose it is.
_THERE = (
    "PatientName", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID",
    "AccessionNumber", "ReferringPhysicianName",
)  # fmt: skip
_SEXES = ("M", "F", "O")


@part10.silence()
def headers(volume: Volume) -> list[Dataset]:
    """Returns the headers of an image's files, in the order of its slices, each file's once.

    They are as what is made of them repeats them: texts in UTF-8 (ISO_IR 192), which holds the image's own and every
    label; empty what must be there and is not; without what cannot be read.

    Raises:
        AnnotationError: They cannot be read again, have changed since, or the slices are of no file.
    """
    if not volume.paths:
        raise AnnotationError("the volume's slices are of no file: they were interpolated; read it as acquired")
    by_path = {}
    try:
        for path in volume.paths:
            if path not in by_path:
                by_path[path] = scan.read_header(path)
    except scan.NotDicom as error:
        raise AnnotationError(f"a file of the image cannot be read again: {error}") from error
    if [str(by_path[path].SOPInstanceUID) for path in volume.paths] != list(volume.instance_uids):
        raise AnnotationError("the image's files have changed since the volume was read")
    for header in by_path.values():
        _make_repeatable(header)
    return list(by_path.values())


def _make_repeatable(header: Dataset) -> None:
    """Changes a header to what `headers` tells."""
    for tag in list(header.keys()):
        raw = header.get_item(tag)
        if raw is None or (isinstance(raw.value, bytes) and raw.value.isascii() and b"\x1b" not in raw.value):
            continue  # the same in UTF-8, and quicker left alone
        try:
            element = header[tag]
            for item in element.value if element.VR == "SQ" else ():
                item.decode()
        except part10.MALFORMED:
            del header[tag]
    header.SpecificCharacterSet = "ISO_IR 192"
    for keyword in _THERE:
        if keyword not in header:
            setattr(header, keyword, "")
    sex = str(header.PatientSex).upper()
    header.PatientSex = sex if sex in _SEXES else ""  # highdicom takes no other, as the standard


def derived_uid(volume: Volume, kind: str, *what: str) -> str:
    """Returns a UID that the same image, kind of instance and contents give again, and no others do.

    Args:
        volume: The image.
        kind: Of instance, in words.
        what: The contents.
    """
    return pydicom.uid.generate_uid(entropy_srcs=[volume.meta["SeriesInstanceUID"], *what, f"radkit {kind}"])


def highdicom(what: str) -> Any:
    """Returns highdicom, which only writers need.

    Args:
        what: What is to be written, for the message.

    Raises:
        AnnotationError: It is not installed.
    """
    try:
        import highdicom
    except ImportError as error:
        raise AnnotationError(f"writing a DICOM {what} needs highdicom: pip install 'radkit[serving]'") from error
    return highdicom


def impossible(what: str, error: Exception) -> AnnotationError:
    """Returns the error to raise where highdicom can make nothing of an image's headers.

    Args:
        what: What was to be written.
        error: What highdicom raised.
    """
    if isinstance(error, AnnotationError):
        return error
    keyword = getattr(error, "name", None) if isinstance(error, AttributeError) else None
    why = f"they have no {keyword}" if keyword else type(error).__name__
    return AnnotationError(f"no {what} can be made of these headers ({why})")
