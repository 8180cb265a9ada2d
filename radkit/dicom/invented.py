"""Images that are no DICOM as DICOM of invented patients, so that they can go the way that a hospital's go.

Names, numbers, dates and physicians are drawn from short lists by a hash of a name: the same on every machine. The
addresses and telephone numbers are there so that de-identification has something to take out.

Source: DICOM PS3.3 A.2 (CR), A.3 (CT), A.4 (MR), A.8.1 (Secondary Capture).
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from pydicom.uid import SecondaryCaptureImageStorage

from radkit.dicom import write
from radkit.dicom.volumes import SeriesError, Volume

MAKER = "Invented Imaging"

_FAMILY = (
    "Achterberg", "Baranov", "Celik", "Dubois", "Eriksen", "Fontana", "Grabowski", "Hashimoto", "Ibarra", "Jansen",
)  # fmt: skip
_GIVEN = ("Ada", "Bela", "Carlo", "Dina", "Egon", "Freya", "Goran", "Hanna", "Imre", "Judit", "Kaspar", "Liv")
_DOCTORS = ("Weiss^Konrad^^Dr", "Okafor^Ngozi^^Dr", "Lind^Astrid^^Prof")
_YEAR = 2024
_STEPS = 32000  # of the largest value, where values are no whole numbers


def uid(*names: str) -> str:
    """Returns a UID derived from names (PS3.5 B.2), short enough that a slice's number fits behind it."""
    digest = hashlib.sha256("\0".join(names).encode()).digest()
    return f"2.25.{int.from_bytes(digest[:14], 'big')}"


def _number(name: str, below: int, what: str) -> int:
    digest = hashlib.sha256(f"{what}\0{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % below


def patient(name: str, *, sex: str = "", age: int | None = None) -> dict[str, object]:
    """Returns an invented patient's attributes: the same name gives the same person.

    Args:
        name: Of the patient in the set; it does not appear in the attributes.
        sex: PatientSex.
        age: In years; drawn, too, if not given.
    """
    age = _number(name, 60, "age") + 25 if age is None else age
    family, given = _FAMILY[_number(name, len(_FAMILY), "family")], _GIVEN[_number(name, len(_GIVEN), "given")]
    return {
        "PatientName": f"{family}^{given}",
        "PatientID": patient_id(name),
        "PatientBirthDate": f"{_YEAR - age}{_number(name, 12, 'month') + 1:02d}{_number(name, 28, 'day') + 1:02d}",
        "PatientSex": sex,
        "PatientAge": f"{age:03d}Y",
        "PatientAddress": f"{_number(name, 200, 'house') + 1} Harbour Street",
        "PatientTelephoneNumbers": f"+1 555 {_number(name, 10**6, 'phone'):06d}",
        "InstitutionName": "Harbour General Hospital",
        "ReferringPhysicianName": _DOCTORS[_number(name, len(_DOCTORS), "doctor")],
    }


def patient_id(name: str) -> str:
    """Returns the PatientID of `patient`."""
    return f"MRN{_number(name, 10**8, 'mrn'):08d}"


def distinct(names: Iterable[str]) -> dict[str, str]:
    """Returns for each name one under which `patient` draws a PatientID that no other of them has.

    Of thirty thousand patients, four or five pairs draw the same one at first.
    """
    found: dict[str, str] = {}
    taken: set[str] = set()
    for name in sorted(set(names)):
        under = name
        while patient_id(under) in taken:
            under += "'"
        taken.add(patient_id(under))
        found[name] = under
    return found


def study(name: str, description: str, *, later: int = 0) -> dict[str, object]:
    """Returns an invented examination's attributes, of a study of one series.

    Args:
        name: Of the image; its UIDs are derived from it.
        description: StudyDescription.
        later: By how many years: of a patient who was older than on the first image.
    """
    year, month, day = _YEAR + later, _number(name, 12, "study month") + 1, _number(name, 28, "study day") + 1
    return {
        "StudyInstanceUID": uid(name, "study"),
        "SeriesInstanceUID": uid(name, "series"),
        "StudyDate": f"{year}{month:02d}{day:02d}",
        "StudyTime": f"{_number(name, 24, 'hour'):02d}{_number(name, 60, 'minute'):02d}00",
        "AccessionNumber": f"A{_number(name, 10**7, 'accession'):07d}",
        "StudyDescription": description,
        "SeriesNumber": "1",
    }


def stored(volume: Volume) -> Volume:
    """Returns a volume whose stored values are int16 or uint16, as DICOM images hold them.

    Whole numbers stay what they are where they fit; all others are put in 32000 steps of the largest, so that values
    come back to within half of a step. RescaleIntercept is 0.

    Args:
        volume: As `radkit.dicom.foreign.read` gives it.

    Raises:
        SeriesError: It is colour, or its values are too small for a step to be written.
    """
    if volume.stored.ndim != 3:
        raise SeriesError("the image is colour; grey was expected: DICOM of these modalities holds no colour")
    values = volume.stored
    if values.dtype in (np.int16, np.uint16):
        return volume
    low, high = float(values.min()), float(values.max())
    if values.dtype.kind in "iu" or np.array_equal(values, np.rint(values)):
        fitting = next((t for t in (np.int16, np.uint16) if np.iinfo(t).min <= low and high <= np.iinfo(t).max), None)
        if fitting is not None:
            return replace(volume, stored=values.astype(fitting))
    # A decimal string's digits, so that a reader of the file has the very same number.
    step = float(f"{max(high, -low) / _STEPS:.6g}")
    if not step > np.finfo(np.float32).tiny:
        raise SeriesError(f"the image's values reach from {low:g} to {high:g}, which is too little to be told apart")
    steps = np.rint(values.astype(np.float64) / step).astype(np.int16)
    return replace(volume, stored=steps, slope=np.full(len(steps), step, np.float32))


def as_dicom(volume: Volume, header: Mapping[str, object], folder: Path) -> None:
    """Writes a volume or a picture as a DICOM series.

    A volume becomes CT or MR; a picture CR, or of another modality a secondary capture, which needs no place in the
    patient.

    Args:
        volume: As `radkit.dicom.foreign.read` gives it.
        header: Keyword to value, Modality and UIDs among them; see `patient` and `study`. Of a picture, None takes out
            what would stand there otherwise.
        folder: Where; made when absent.

    Raises:
        SeriesError: A volume of another modality, colour, or values that DICOM does not hold.
    """
    made = stored(volume)
    picture = not np.isfinite(volume.spacing_mm[0])
    modality = str(header["Modality"])
    if picture:
        _write_picture(made, header, folder)
        return
    if modality not in ("CT", "MR"):
        raise SeriesError(f"a volume of Modality {modality} is not written as DICOM; CT or MR were expected")
    # What hospitals have: signed, so that HU can be below 0.
    signed = made.stored.astype(np.int16) if made.stored.max(initial=0) <= np.iinfo(np.int16).max else made.stored
    rescale = {"RescaleSlope": f"{_step(made):.10g}", "RescaleIntercept": "0"}
    write.write_series(signed, made.affine, {**header, **rescale}, folder)


def _step(volume: Volume) -> float:
    # As it was written down, not as float32 has it.
    return float(f"{float(volume.slope[0]):.6g}")


def _write_picture(made: Volume, header: Mapping[str, object], folder: Path) -> None:
    said: dict[str, object] = dict(header)
    if _step(made) != 1:
        said |= {"RescaleSlope": f"{_step(made):.10g}", "RescaleIntercept": "0", "RescaleType": "US"}
    said["PhotometricInterpretation"] = "MONOCHROME2"
    if np.isfinite(made.spacing_mm[1]):
        said["PixelSpacing"] = [f"{step:.10g}" for step in made.spacing_mm[1:]]
    absent = [keyword for keyword, value in said.items() if value is None]
    present = {keyword: value for keyword, value in said.items() if value is not None}
    dataset = write.instance(made.stored[0], {**present, "Modality": "CR"}, f"{said['SeriesInstanceUID']}.1")
    dataset.InstanceNumber = 1
    if said["Modality"] != "CR":
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
        dataset.Modality = said["Modality"]
        dataset.ImageType = ["DERIVED", "SECONDARY", "OTHER"]
        dataset.ConversionType = "WSD"
        absent += ["ViewPosition", "PositionReferenceIndicator"]
    for keyword in absent:
        if keyword in dataset:
            delattr(dataset, keyword)
    folder.mkdir(parents=True, exist_ok=True)
    dataset.save_as(folder / "0001.dcm", enforce_file_format=True)
