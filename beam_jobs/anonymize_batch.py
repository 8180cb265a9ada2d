"""What a worker of `anonymize` does with a batch of files; a module of its own, so that workers can import it.

What a batch became is written as one file, last: a run that was killed goes on with the batches that have none.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from beam_jobs import runner
from radkit import outputs
from radkit.deid import faces, files, keys, text_in_pixels, vault
from radkit.deid.engine import Directory, Old, Outcome
from radkit.deid.settings import FEATURES, Settings
from radkit.deid.text_in_pixels import review
from radkit.deid.wire import NotCleanable
from radkit.dicom import SeriesError, read_volumes, scan

_OF_A_HEAD = (
    "Modality", "BodyPartExamined", "StudyDescription", "SeriesDescription", "ProtocolName", "SOPClassUID",
    "SOPInstanceUID",
)  # fmt: skip
PARTS, AUDIT, VAULT = "parts", "audit", "vault"


@dataclass(frozen=True)
class Job:
    """What every batch of a run shares; it travels in the pipeline's graph, so it holds no secret.

    Attributes:
        root: Folder to write below.
        key_file: The key travels as a path.
        settings: Options, and what becomes of unlisted text.
        keeps_vault: Whether a way back is kept, encrypted.
        certificate: PEM of whom originals are encrypted for.
        templates: File of known places of text; empty for those shipped.
    """

    root: str
    key_file: str
    settings: Settings
    keeps_vault: bool = False
    certificate: bytes = b""
    templates: str = ""


def clean(batch: tuple[int, list[tuple[int, bytes]]], job: Job, ledger: str) -> None:
    """De-identifies a batch's files and writes what became of each: where it is, or why it is not; never its name.

    Args:
        batch: The batch's number, and of each file its number in the listing and its path, as the file system has it.
        job: What all batches share.
        ledger: See `runner.finished`.
    """
    part, batch_files = batch
    key = keys.load(Path(job.key_file))  # each time: a cache by path would outlive a changed file
    templates = text_in_pixels.load_templates(*([Path(job.templates)] if job.templates else []))
    work = files.Work(key, job.settings, job.certificate, templates)
    masks, refused = _faces([Path(os.fsdecode(path)) for _, path in batch_files], job.settings)
    rows: list[dict[str, Any]] = []
    audit: list[str] = []
    entries: list[vault.Entry] = []
    for number, path in batch_files:
        row, written = _one(number, Path(os.fsdecode(path)), job, work, masks, refused)
        rows.append(row)
        if written:
            audit.append(written.outcome.log.lines(written.outcome.instance))
            entries += _entries(written.outcome)
    root = Path(job.root)
    outputs.write_text(root / AUDIT / f"{part:06d}.jsonl", "".join(audit), durable=False)
    if job.keeps_vault:
        vault.write_part(root / VAULT / f"{part:06d}", entries, key)
    outputs.write_text(root / PARTS / f"{part:06d}.json", json.dumps(rows), durable=False)
    runner.finished(ledger, part, len(batch_files))


def _one(
    number: int, path: Path, job: Job, work: files.Work, masks: Mapping[Path, np.ndarray], refused: str
) -> tuple[dict[str, Any], files.Written | None]:
    try:
        if refused:
            raise NotCleanable(refused)
        written = files.deidentify_file(path, Path(job.root), work, face=masks.get(path))
    except Directory:
        return {"number": number, "directory": True}, None
    except NotCleanable as error:
        return {"number": number, "reason": str(error)}, None
    outcome = written.outcome
    row: dict[str, Any] = {
        "number": number,
        "place": written.place,
        "aside": written.aside,
        "removed": outcome.log.removed,
        "replaced": outcome.log.replaced,
        "pixels_with_text": outcome.pixels_with_text,
        "looked_at": written.looked_at,
        "defaced": path in masks and bool(masks[path].any()),
    }
    if written.cleaned is not None:
        row["masked"] = review.row(review.entry(outcome.instance, written.cleaned))
    return row, written


def _entries(outcome: Outcome) -> list[vault.Entry]:
    """Returns the ways back to one instance's original identifiers."""
    old: Old = outcome.old
    ways = [vault.Entry("patient", outcome.patient, old.patient, old.name, old.birth_date)]
    pairs = (("study", outcome.study, old.study), ("series", outcome.series, old.series))
    for kind, new, was in (*pairs, ("instance", outcome.instance, old.instance)):
        if new != was:
            ways.append(vault.Entry(kind, new, was))
    return ways


def _faces(paths: Sequence[Path], settings: Settings) -> tuple[dict[Path, np.ndarray], str]:
    """Returns what to overwrite of each file of a series, and why the series cannot be written, or nothing.

    With the option, a batch is one series: a face is found in a volume, not in a slice.
    """
    if FEATURES not in settings.options:
        return {}, ""
    headers = {}
    for path in paths:
        try:
            header = scan.read_header(path, _OF_A_HEAD)
        except scan.NotDicom:
            continue
        headers[path] = {keyword: str(header.get(keyword, "")) for keyword in _OF_A_HEAD}
    if not any(faces.is_head(header) for header in headers.values()):
        return {}, ""
    try:
        masks = {uid: mask for volume in read_volumes(list(headers)) for uid, mask in faces.masks_for(volume).items()}
    except (SeriesError, faces.FaceError) as error:
        return {}, f"its face cannot be found, and so not removed: {error}"
    found = {path: masks.get(header["SOPInstanceUID"]) for path, header in headers.items()}
    if any(mask is None for mask in found.values()):
        return {}, "its face cannot be removed: not all of the series' instances are in its volumes"
    return {path: mask for path, mask in found.items() if mask is not None}, ""
