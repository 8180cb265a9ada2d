"""The demo's page: the steps, what de-identification did, what curation found, each task's evaluation, an answer."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom

from radkit.deid import keys
from radkit.dicom import annotations, scan
from radkit.dicom.findings import KINDS
from radkit.dicom.volumes import read_volumes
from radkit.reports import demo as report
from radkit.reports import html, pictures

_SHOWN = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientAge", "PatientAddress", "InstitutionName",
    "ReferringPhysicianName", "AccessionNumber", "StudyDate", "StudyInstanceUID", "SOPInstanceUID", "Modality",
    "PatientIdentityRemoved",
)  # fmt: skip

# Of an evaluation's page these stand in the demo's.
_OF_EVALUATION = ("figures-table", "subgroups", "pictures")
_GRAVEST_FIRST = ("fault", "warning", "note")

# What is known of the shipped images, whatever this run's figures say.
_REMARKS = {
    "chest": (
        "These labels were found by text mining and go together with how the images were taken: projection (PA, AP), "
        "brightness, patient number. PA and AP stand apart below; no clinical claim can rest on any of these figures.",
    )
}


def demo(output: Path, steps: Sequence[Mapping[str, Any]], tasks: Sequence[str]) -> str:
    """Returns the demo's page from what its steps left in `output`."""
    sections = [("De-identification", _deidentification(output)), ("Quality of the images", _quality(output))]
    sections.append(("What the records hold", _records(output, tasks)))
    for task in tasks:
        sections.append((f"Evaluation: {task}", html.notes(_REMARKS.get(task, ())) + _evaluation(output, task)))
    sections.append(("An answer over gRPC", _answers(output, tasks)))
    return report.demo_page(steps, sections)


def _evaluation(output: Path, task: str) -> str:
    """What an evaluation is known by, and a link to all of it."""
    path = output / "evaluation" / task / "report.html"
    page = path.read_text(encoding="utf-8")
    link = (
        f'<p><a href="{path.relative_to(output).as_posix()}">The whole evaluation</a>: calls at the operating point, '
    )
    link += "calibration, subgroups, failures, methods; its plots as files, every number as JSON.</p>"
    return link + "".join(html.section_of(page, anchor) for anchor in _OF_EVALUATION)


def _records(output: Path, tasks: Sequence[str]) -> str:
    """Links to the pages of the data sets."""
    links = []
    for task in tasks:
        (folder,) = (path.parent for path in (output / "records" / task).glob("*/explore.html"))
        found = json.loads((folder / "statistics.json").read_text(encoding="utf-8"))
        counts = ", ".join(f"{found[split]['records']} {split}" for split in ("train", "validation", "test"))
        page = (folder / "explore.html").relative_to(output).as_posix()
        links.append(f'<p><a href="{page}">{task}</a>: {counts}; balance, grey values, pictures, projections.</p>')
    links.append('<p><a href="leakage/report.html">Leakage</a>: patients, images and headers on two sides.</p>')
    return "".join(links)


def _deidentification(output: Path) -> str:
    """One instance's header before and after."""
    raw = scan.find(output / "hospital")
    before = next(pydicom.dcmread(path, stop_before_pixels=True) for path in raw if path.suffix == ".dcm")
    key = keys.read(output / "demo.key")
    after_path = next((output / "clean").rglob(f"{key.uid(before.SOPInstanceUID)}.dcm"))
    after = pydicom.dcmread(after_path, stop_before_pixels=True)
    rows = [(keyword, str(before.get(keyword, "")), str(after.get(keyword, "removed"))) for keyword in _SHOWN]
    words = "One slice's header in the hospital's folder (an invented patient) and in the de-identified one."
    return html.paragraph(words) + html.table(("attribute", "before", "after"), rows)


def _quality(output: Path) -> str:
    """What `radkit curate` said."""
    summary = json.loads((output / "quality" / "summary.json").read_text(encoding="utf-8"))
    found = Counter(summary["series_by_finding"]) + Counter(summary["of_folder"])  # of series, and of their annotations
    counts = {name: count for name, count in found.items() if KINDS[name].severity != "rule"}
    gravest = sorted(counts, key=lambda name: (_GRAVEST_FIRST.index(KINDS[name].severity), -counts[name], name))
    said = (
        f"{summary['series']} series of {summary['patients']} patients: {summary['kept']} kept, "
        f"{summary['left_out']} left out; {summary['with_faults']} with faults, {summary['with_warnings']} with "
        "warnings. The other task's images are among those that are left out."
    )
    rows = [(KINDS[name].severity, KINDS[name].title, counts[name]) for name in gravest]
    return report.quality_part(said, rows, "quality/quality.html")


def _answers(output: Path, tasks: Sequence[str]) -> str:
    parts = []
    for task in tasks:
        for path in sorted((output / "answers" / task).rglob("answer.json")):
            answer = json.loads(path.read_text())
            parts.append(html.paragraph(f"{task}: {_words(answer)}"))
            if (path.parent / "segmentation.dcm").is_file():
                parts.append(_picture(output, path.parent / "segmentation.dcm", answer))
    return "".join(parts)


def _words(answer: Mapping[str, Any]) -> str:
    figures = answer.get("probabilities") or answer.get("volume_ml") or {}
    unit = "" if "probabilities" in answer else " mL"
    model = f"version {answer['model']['version']}"
    return f"{model}: " + ", ".join(f"{name} {value:.2f}{unit}" for name, value in figures.items())


def _picture(output: Path, segmentation: Path, answer: Mapping[str, Any]) -> str:
    """The served mask, read back from the DICOM SEG, beside the reference that came with the image."""
    found, _ = scan.series(scan.find(output / "clean"))
    image = next(s for s in found if s.uid == answer["series_uid"])
    volume = read_volumes(image.paths)[0]
    labels = annotations.segment_labels(segmentation)
    predicted = annotations.read_seg(segmentation, volume, labels)
    truth = [i.path for s in found for i in s.instances if image.uid in i.referenced_series]
    reference = annotations.read_seg(truth[0], volume, labels) if truth else np.zeros_like(predicted)
    caption = "The DICOM SEG that the client wrote, read back; the reference is outlined too."
    plot = pictures.outlines(volume.array, reference, predicted, volume.spacing_mm)
    return html.figure(plot, "A slice with the served mask and the reference outlined", caption)
