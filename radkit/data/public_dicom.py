"""A public set's cases as DICOM of invented patients: series, segmentations, and tables of classes and boxes."""

import datetime
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from radkit import config
from radkit.data import annotate, label_cells, public
from radkit.data.public import Case, Selection
from radkit.data.public_cases import Asked
from radkit.dicom import annotations, foreign, invented
from radkit.dicom.annotations import form
from radkit.dicom.annotations.form import Annotation
from radkit.dicom.volumes import SeriesError, Volume, read_volumes
from radkit.errors import UserError, disk_error

BOX_COLUMNS = ("SOPInstanceUID", "label", "x_min", "y_min", "x_max", "y_max")
_DESCRIPTION = "Imported for research"
# Attributes of type 2 and 2C (PS3.3 C.7.6.1, C.8.2.1, C.8.3.1) that are empty where nobody knows.
_UNKNOWN: dict[str, dict[str, object]] = {
    "CT": {"PatientPosition": "", "KVP": ""},
    "MR": {"PatientPosition": "", "RepetitionTime": "", "MRAcquisitionType": "", "ScanningSequence": "RM"},
    "picture": {"PatientOrientation": "", "BodyPartExamined": ""},
}
# Laterality (C.7.3.1) is there where a body part is paired, or may be.
_PAIRED = (
    "", "ANKLE", "ARM", "BREAST", "CLAVICLE", "EAR", "ELBOW", "EXTREMITY", "EYE", "FEMUR", "FINGER", "FOOT", "FOREARM",
    "HAND", "HIP", "HUMERUS", "KIDNEY", "KNEE", "LEG", "LUNG", "OVARY", "SCAPULA", "SHOULDER", "THIGH", "TOE", "WRIST",
)  # fmt: skip
_CLOSE_MM = 1e-3  # what decimal strings may take from a place


@dataclass(frozen=True)
class Job:
    """What a process needs to write a case.

    Attributes:
        case: The case.
        header: What every file of it says.
        folder: Below the output, of its series.
        data: The config's data section.
    """

    case: Case
    header: Mapping[str, object]
    folder: str
    data: config.Data


@dataclass(frozen=True)
class Written:
    """What came of a case.

    Attributes:
        reason: Why nothing was written; empty where it was.
        label: Row of the labels table; empty where the config has neither label nor report.
        boxes: Rows of the boxes' table.
        num_files: How many files were written.
        is_empty: Whether the image has a mask in which nothing is drawn: no segmentation holds nothing.
    """

    reason: str = ""
    label: tuple[str, ...] = ()
    boxes: tuple[tuple[object, ...], ...] = ()
    num_files: int = 0
    is_empty: bool = False


def label_columns(data: config.Data) -> tuple[str, ...]:
    """Returns the columns of the labels table; of several labels there is one each."""
    report = (data.report,) if data.report else ()
    identifier = "SeriesInstanceUID" if data.kind == "volume" else "SOPInstanceUID"
    return (identifier, "PatientName", *label_cells.columns(data, ()), *report)


def jobs(selection: Selection, asked: Asked, data: config.Data) -> list[Job]:
    """Returns what is to be written, in order of the cases.

    Raises:
        UserError: Volumes of a modality that is not written.
    """
    if data.kind == "volume" and selection.modality not in ("CT", "MR"):
        raise UserError(f"volumes of Modality {selection.modality} are not written as DICOM; CT and MR are")
    under = invented.distinct(f"{data.dataset}\0{case.patient}" for case in selection.cases)
    youngest: dict[str, int] = {}
    sexes: dict[str, str] = {}
    for case in selection.cases:
        facts = dict(case.facts)
        age = _years(facts.get("PatientAge", ""))
        if age is not None:
            youngest[case.patient] = min(age, youngest.get(case.patient, age))
        sexes[case.patient] = sexes.get(case.patient) or facts.get("PatientSex", "")
    found = []
    for case in selection.cases:
        name = under[f"{data.dataset}\0{case.patient}"]
        person = invented.patient(name, sex=sexes[case.patient], age=youngest.get(case.patient))
        header = _header(case, person, youngest.get(case.patient), selection.modality, asked, data)
        found.append(Job(case, header, f"{person['PatientID']}/{_plain(case.name)}", data))
    return found


def _years(age: str) -> int | None:
    """Returns whole years of a PatientAge; None where nobody says."""
    return None if not age else int(age[:3]) if age.endswith("Y") else 0


def _header(
    case: Case, person: Mapping[str, object], youngest: int | None, modality: str, asked: Asked, data: config.Data
) -> dict[str, object]:
    name = public.key(case, data)
    facts = dict(public.facts_of(case, modality, asked, data, public.sizes(case.image) if case.original else ()))
    age = _years(facts.get("PatientAge", ""))
    later = age - youngest if age is not None and youngest is not None else 0
    said = {
        **person,
        **invented.study(name, _DESCRIPTION, later=later),
        "Manufacturer": invented.MAKER,
        # An age that nobody told is no fact about the image: only the birth date is drawn.
        "PatientAge": "",
        **facts,
        "PatientSex": person["PatientSex"],
        "StudyID": "1",
    }
    # Nobody says which: what `write` puts there for made-up images would be taken for facts.
    unknown = {**_UNKNOWN[modality if data.kind == "volume" else "picture"]}
    if facts.get("BodyPartExamined", "") in _PAIRED:
        unknown["Laterality"] = ""
    elif data.kind == "radiograph":
        unknown["Laterality"] = None
    said |= {keyword: value for keyword, value in unknown.items() if keyword not in facts}
    return said


def _plain(name: str) -> str:
    """Returns a folder's name: ASCII letters, digits, dashes; what differed before differs still."""
    plain = re.sub("[^A-Za-z0-9_-]+", "_", name).strip("_")[:64]
    return plain if plain == name else f"{plain or 'case'}_{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def write_case(job: Job, output: Path) -> Written:
    """Writes a case's series and segmentation; a case that cannot be written leaves nothing behind.

    Args:
        job: From `jobs`.
        output: The folder that all is written below.
    """
    folder = output / job.folder
    try:
        return _written(job, folder)
    except Exception as error:  # noqa: BLE001 - one bad image may not end a job of a hundred thousand
        _remove(folder)
        return Written(reason=_reason(error))


def _reason(error: Exception) -> str:
    """Returns why a case was left out; a disk that is full is no property of a case."""
    if isinstance(error, UserError):
        return str(error)
    if disk_error(error):
        raise error
    return f"not foreseen ({type(error).__name__}): a defect of radkit or of a library"


def _remove(folder: Path) -> None:
    for path in [*folder.glob("*.dcm"), _segmentation(folder)]:
        path.unlink(missing_ok=True)
    for empty in (folder, folder.parent):
        if empty.is_dir() and not any(empty.iterdir()):
            empty.rmdir()


def _segmentation(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}_segmentation.dcm")


def _written(job: Job, folder: Path) -> Written:
    case, data = job.case, job.data
    volume = foreign.read(case.image, {"PixelSpacing": str(job.header.get("PixelSpacing", ""))})
    drawn = annotate.annotations_of(case.annotations, volume, data)
    mask = _mask(drawn, volume, data)
    header = {keyword: value for keyword, value in job.header.items() if keyword != "PixelSpacing"}
    invented.as_dicom(volume, header, folder)
    if mask is not None and mask.any():
        back = _read_back(volume, folder)
        when = datetime.datetime.strptime(f"{header['StudyDate']}{header['StudyTime']}", "%Y%m%d%H%M%S")
        annotations.write_seg(mask, back, data.mask_labels, _segmentation(folder), when, by_hand=True)
    is_empty = mask is not None and not mask.any()
    image = f"{header['SeriesInstanceUID']}.1"
    identifier = str(header["SeriesInstanceUID"]) if data.kind == "volume" else image
    return Written(
        label=_label(case, identifier, str(header["PatientName"]), data),
        boxes=tuple(_boxes(drawn, image)) if data.box_labels else (),
        num_files=len(volume.stored) + (mask is not None and not is_empty),
        is_empty=is_empty,
    )


def _label(case: Case, identifier: str, name: str, data: config.Data) -> tuple[str, ...]:
    """Returns the case's row of the labels table."""
    if not (data.label or data.report):
        return ()
    return (identifier, name, *label_cells.cells(case.label, data), *([case.report] if data.report else []))


def _mask(drawn: Sequence[Annotation], volume: Volume, data: config.Data) -> np.ndarray | None:
    regions = [region for one in drawn for region in one.regions]
    if not data.mask_labels or not drawn:
        return None
    return form.as_mask(regions, data.mask_labels, volume.stored.shape, data.annotations.overlap)


def _read_back(volume: Volume, folder: Path) -> Volume:
    """Returns the series that was written, on the very grid of what was read."""
    (back,) = read_volumes(folder.glob("*.dcm"))
    same = back.stored.shape == volume.stored.shape
    placed = bool(np.isfinite(volume.spacing_mm).all())
    if not same or (placed and np.abs(back.affine - volume.affine).max() > _CLOSE_MM):
        raise SeriesError("the series that was written lies on another grid than the image")
    return back


def _boxes(drawn: Sequence[Annotation], image: str) -> list[tuple[object, ...]]:
    found = [box for one in drawn for box in one.boxes]
    if not found:  # somebody looked, and nothing is there
        return [(image, "", "", "", "", "")] if drawn else []
    return [(image, box.label, box.low[2], box.low[1], box.high[2], box.high[1]) for box in found]
