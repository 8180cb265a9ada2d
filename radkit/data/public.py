"""Public sets that are no DICOM as the units that records are made of: who, what class, which annotations.

What identifies an image is derived from the data set's name and the image's, so that the same set gives the same
records, and its images written as DICOM bear the same UIDs.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from radkit import config
from radkit.data import convert, public_cases, public_coco, public_nifti, public_pictures, public_table
from radkit.data.contents import Unit
from radkit.data.label_kinds import UNLABELLED, Value
from radkit.data.public_cases import Asked, Found
from radkit.data.public_table import Row
from radkit.data.sources import Source
from radkit.dicom import decoders, invented, scan
from radkit.dicom.findings import Finding
from radkit.errors import UserError

FORMATS = {"nifti": public_nifti.find, "png": public_pictures.find, "coco": public_coco.find}
NO_PATIENT = "what --patients asks for is not in the image's path"


@dataclass(frozen=True)
class Case:
    """One image of a set, not read yet.

    Attributes:
        name: Unlike in all cases: its path below the images' folder, without the suffix.
        image: Its file.
        patient: Who, as the set names patients.
        annotations: What was drawn on it.
        label: See `label_kinds`; -1 for none.
        facts: (DICOM keyword, text), as PatientSex.
        original: Column spacing, row spacing (mm), columns and rows of the image that this one was made from; empty
            where nobody says.
        report: Its report's text.
    """

    name: str
    image: Path
    patient: str
    annotations: tuple[Source, ...] = ()
    label: Value = UNLABELLED
    facts: tuple[tuple[str, str], ...] = ()
    original: tuple[float, ...] = ()
    report: str = ""


@dataclass
class Selection:
    """The cases that a config asks for, and what became of all others.

    Attributes:
        cases: In order of their names.
        modality: Of all of them.
        left_out: How many images the config leaves out, by reason.
        refused: Images that cannot be used: path below the folder and reason.
        findings: What a person should know of the set.
    """

    cases: list[Case]
    modality: str
    left_out: Counter[str] = field(default_factory=Counter)
    refused: list[tuple[str, str]] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)


def select(asked: Asked, data: config.Data) -> Selection:
    """Returns the cases of a public set that a config asks for.

    Args:
        asked: What a person says of the set.
        data: The config's data section.

    Raises:
        UserError: The folder is no such set, contradicts itself, or lacks what the config refuses to go without.
    """
    _check(asked, data)
    found = FORMATS[asked.format](asked, data)
    if not found.images and not found.refused:
        raise UserError(f"--input holds no images of --format {asked.format}; see `radkit import --help` for layouts")
    if asked.labels is not None and found.rows is None:
        found.rows, said = public_table.read(asked.labels, data)
        found.findings += said
    selection = Selection([], _modality(asked, found, data), found.left_out, found.refused, found.findings)
    rows = _matched(found, data)
    for name, path in sorted(found.images.items()):
        _take(Case(name, path, "", found.drawn.get(name, ())), rows, asked, data, selection)
    _tell_patients(selection)
    _refuse(selection, found, data)
    return selection


def _check(asked: Asked, data: config.Data) -> None:
    if (data.label or data.report) and asked.labels is None and asked.format != "coco":
        what = f"data.label is {data.label!r}" if data.label else f"data.report is {data.report!r}"
        raise UserError(f"the config's {what}, so --labels must name the table with that column")
    if data.kind == "volume" and asked.format != "nifti":
        raise UserError(f"--format {asked.format} holds pictures; the config's data.kind must be 'radiograph'")
    if data.kind == "radiograph" and asked.format == "nifti":
        raise UserError("--format nifti holds volumes; the config's data.kind must be 'volume'")
    if data.box_labels and asked.format != "coco":
        raise UserError("data.box_labels asks for boxes, which --format coco reads")
    try:
        re.compile(asked.patients)
    except re.error as error:
        raise UserError(f"--patients {asked.patients!r} is no regular expression: {error}") from error


def _modality(asked: Asked, found: Found, data: config.Data) -> str:
    only = data.modalities[0] if len(data.modalities) == 1 else ""
    modality = asked.modality or found.modality or only
    if not modality:
        raise UserError("the set does not say its modality; name it, as --modality=CR")
    if data.modalities and modality not in data.modalities:
        raise UserError(
            f"the set's Modality is {modality}, and data.modalities asks for {', '.join(data.modalities)}; say what it "
            "is with --modality, or change the config"
        )
    return modality


def _matched(found: Found, data: config.Data) -> dict[str, Row] | None:
    if found.rows is None:
        return None
    rows, homeless = public_table.matched(found.rows, found.images)
    if homeless:
        said = f"{homeless} rows or entries of the table whose images are not there"
        found.findings.append(Finding("labels_without_images", said, homeless))
    return rows


def _take(case: Case, rows: dict[str, Row] | None, asked: Asked, data: config.Data, selection: Selection) -> None:
    """Adds a case with what a table says of it, or why it is left out."""
    row = rows.get(case.name) if rows is not None else None
    if (data.mask_labels or data.box_labels) and not case.annotations and data.annotations.missing != "empty":
        selection.left_out[convert.NOT_ANNOTATED] += 1
        return
    if (data.label or data.report) and (row is None or row.no_label):
        selection.left_out[row.no_label if row is not None else convert.no_label(data)] += 1
        return
    patient = row.patient if row is not None else ""
    if asked.patients:
        patient = public_cases.patient_of(case.image.relative_to(asked.folder).as_posix(), asked.patients)
        if not patient:
            selection.left_out[NO_PATIENT] += 1
            return
    if row is not None:
        case = replace(case, label=row.label, facts=row.facts, original=row.original, report=row.report)
    selection.cases.append(replace(case, patient=patient))


def _tell_patients(selection: Selection) -> None:
    """Gives each image that nothing names a patient of one of its own, which is said: it may be known elsewhere."""
    taken = {case.patient for case in selection.cases}
    alone = 0
    for number, case in enumerate(selection.cases):
        if case.patient:
            continue
        patient = f"{case.name} alone" if case.name in taken else case.name
        selection.cases[number] = replace(case, patient=patient)
        alone += 1
    if alone:
        said = f"{alone} images of no known patient, each taken as a patient of its own"
        selection.findings.append(Finding("unknown_patients", said, alone))


def _refuse(selection: Selection, found: Found, data: config.Data) -> None:
    """Refuses or says what has no other half."""
    if found.homeless:
        said = f"{found.homeless} annotations whose images are not there"
        selection.findings.append(Finding("labels_without_images", said, found.homeless))
    alone = [f.text for f in selection.findings if f.name == "labels_without_images"]
    if alone and data.annotations.without_image == "refuse":
        raise UserError(f"{'; '.join(alone)}; data.annotations.without_image='report' goes on without them")
    for reason in (convert.NOT_ANNOTATED, convert.no_label(data)):
        count = selection.left_out[reason]
        if count and data.annotations.missing == "refuse":
            raise UserError(f"{count} images have {reason}; data.annotations.missing='leave_out' goes on without them")
        if count:
            selection.findings.append(Finding("images_without_labels", f"{count} images have {reason}", count))
    selection.left_out += Counter()  # no reasons of nothing


def tables(asked: Asked) -> list[Path]:
    """Returns the files beside images and masks that decide what becomes of them, and masks that lie elsewhere."""
    found = [asked.labels] if asked.labels else []
    if asked.format == "coco" and not asked.labels:
        found.append(public_coco.only_json(asked.folder))
    found += [path for path in [asked.folder / public_nifti.DESCRIPTION] if path.is_file()]
    if asked.masks and not asked.masks.is_relative_to(asked.folder):
        found += scan.find(asked.masks)
    if missing := [path for path in found if not path.is_file()]:
        what = "is a folder" if missing[0].is_dir() else "does not exist"
        raise UserError(f"--labels {missing[0]} {what}; name a file")
    return found


def units(selection: Selection, asked: Asked, data: config.Data) -> list[Unit]:
    """Returns what records are made of, as `radkit.data.convert.select` does of DICOM."""
    return [_unit(case, selection.modality, asked, data) for case in selection.cases]


def _unit(case: Case, modality: str, asked: Asked, data: config.Data) -> Unit:
    size = sizes(case.image)
    facts = (*facts_of(case, modality, asked, data, size), ("PatientID", case.patient))
    series = invented.uid(key(case, data), "series")
    return Unit(
        uid=series if data.kind == "volume" else f"{series}.1",
        patient_id=case.patient,
        paths=(case.image,),
        annotations=case.annotations,
        label=case.label,
        report=case.report,
        num_bytes=_num_bytes(size, data),
        facts=facts,
    )


def key(case: Case, data: config.Data) -> str:
    """Returns what a case's identifiers are derived from."""
    return f"{data.dataset}\0{case.name}"


def facts_of(
    case: Case, modality: str, asked: Asked, data: config.Data, size: Sequence[int]
) -> tuple[tuple[str, str], ...]:
    """Returns what a case's header says, but for the patient: (DICOM keyword, text).

    Args:
        case: The case.
        modality: Its Modality.
        asked: See `select`.
        data: The config's data section.
        size: From `sizes`.
    """
    name = key(case, data)
    said = {
        "StudyInstanceUID": invented.uid(name, "study"),
        "SeriesInstanceUID": invented.uid(name, "series"),
        "Modality": modality,
        "BodyPartExamined": asked.body_part,
        **dict(case.facts),
    }
    if data.kind == "volume":
        said["FrameOfReferenceUID"] = invented.uid(name, "frame")
    if case.original and len(size) >= 2:
        # The table tells the spacing of the image that this one was made from; it covers the same.
        across, down, columns, rows = case.original
        said["PixelSpacing"] = f"{down * rows / size[-2]:.10g}\\{across * columns / size[-1]:.10g}"
    return tuple((keyword, text) for keyword, text in said.items() if text)


def sizes(path: Path) -> tuple[int, ...]:
    """Returns an image's size, rows and columns last; nothing where it cannot be read: its reader will say why."""
    if quick := _png_size(path):
        return quick
    import SimpleITK

    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        with decoders.held_back():
            reader.ReadImageInformation()
    except RuntimeError:
        return ()
    return tuple(reversed(reader.GetSize()))


def _png_size(path: Path) -> tuple[int, ...]:
    """Returns a PNG's rows and columns from its first bytes, of which sets have 100 000; nothing of other files."""
    try:
        with path.open("rb") as file:
            head = file.read(24)
    except OSError:
        return ()
    if head[:8] != b"\x89PNG\r\n\x1a\n" or len(head) < 24:
        return ()
    return int.from_bytes(head[20:24], "big"), int.from_bytes(head[16:20], "big")


def _num_bytes(size: Sequence[int], data: config.Data) -> int:
    voxels = 1
    for number in size:
        voxels *= number
    return voxels * ((4 if data.image_dtype == "float32" else 2) + bool(data.mask_labels)) if size else 0
