"""The plan of a curation as files, and what a worker does with some series of it; a module of its own, to be imported.

What a batch of series came to is written as one file, last: a run that was killed goes on with those that have none.
"""

import json
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from beam_jobs import curate_annotations, curate_picture, curate_values, runner, workers
from radkit import config, outputs
from radkit.data import contents, convert, sources
from radkit.dicom import checks, words
from radkit.dicom.annotations.form import Annotation, as_mask
from radkit.dicom.findings import Finding
from radkit.dicom.volumes import SeriesError, Volume, read_volumes
from radkit.errors import UserError

WORK, HEADERS = "work", "headers"  # below the output while it is made
_PLAN, _BATCHES, _PARTS = "plan.json", "plan", "parts"
_FILES_A_BATCH, _SERIES_A_BATCH = 64, 32
_MOST_OF_A_KIND = 3  # findings that a series of many volumes is told with

Row = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """What every batch of a run shares; it travels in the pipeline's graph.

    Attributes:
        root: Folder that the output is made in.
        folder: Of the DICOM.
        data: The config's data section.
    """

    root: str
    folder: str
    data: config.Data


@dataclass(frozen=True)
class Entry:
    """A series of the plan.

    Attributes:
        number: Its row in the tables, from 1.
        uid: SeriesInstanceUID.
        patient_id: PatientID.
        modality: Modality.
        paths: Of its files, each image's copies together.
        header_findings: What the headers say against it, and more to know.
        examined: Whether its pixels are looked at.
        annotations: What was drawn on each of its images that becomes a record of its own; of a volume, one.
        thickness_mm: SliceThickness; None where it is not told.
    """

    number: int
    uid: str
    patient_id: str
    modality: str
    paths: list[list[Path]]
    header_findings: list[Finding]
    examined: bool
    annotations: list[list[sources.Source]] = field(default_factory=list)
    thickness_mm: float | None = None


@dataclass(frozen=True)
class Plan:
    """What is to be done.

    Attributes:
        files: How many files each batch has that are read.
        num_bytes: How large they are.
        unreadable: Path and reason of each file that is no DICOM.
        not_images: How many series are no images, by Modality.
        findings: Name, text and count of each finding of the folder as a whole.
        refusals: For what `convert` would refuse the whole of it, in words.
    """

    files: list[int]
    num_bytes: list[int]
    unreadable: list[list[str]]
    not_images: dict[str, int]
    findings: list[list[Any]]
    refusals: list[str] = field(default_factory=list)


def write_plan(
    job: Job,
    entries: Sequence[Entry],
    unreadable: Sequence[Any],
    not_images: dict[str, int],
    said: Sequence[Finding],
    refusals: Sequence[str] = (),
) -> Plan:
    """Writes the plan below the output, one file a batch, and returns what `read_plan` would."""
    work = Path(job.root, WORK)
    for name in (_BATCHES, _PARTS):
        (work / name).mkdir(parents=True)
    files, sizes = [], []
    for number, batch in enumerate(_batches(entries)):
        rows = [_to_json(entry, Path(job.folder)) for entry in batch]
        outputs.write_text(work / _BATCHES / f"{number:05d}.json", json.dumps(rows), durable=False)
        read = [path for entry in batch if entry.examined for paths in entry.paths for path in paths]
        files.append(len(read))
        sizes.append(sum(path.stat().st_size for path in read))
    listed = [[finding.name, finding.text, finding.count] for finding in said]
    plan = Plan(files, sizes, [list(row) for row in unreadable], not_images, listed, list(refusals))
    outputs.write_json(work / _PLAN, vars(plan))
    return plan


def _batches(entries: Sequence[Entry]) -> list[list[Entry]]:
    """Returns neighbours together, so that small series do not cost a file each."""
    made: list[list[Entry]] = []
    held = 0
    for entry in entries:
        count = sum(map(len, entry.paths)) if entry.examined else 1
        if not made or held + count > _FILES_A_BATCH or len(made[-1]) >= _SERIES_A_BATCH:
            made.append([])
            held = 0
        made[-1].append(entry)
        held += count
    return made


def _to_json(entry: Entry, root: Path) -> Row:
    said = [[finding.name, finding.text] for finding in entry.header_findings]
    paths = [[path.relative_to(root).as_posix() for path in group] for group in entry.paths]
    drawn = [[sources.to_json(source, root) for source in group] for group in entry.annotations]
    return {**asdict(entry), "header_findings": said, "paths": paths, "annotations": drawn}


def _from_json(values: Row, root: Path) -> Entry:
    said = [Finding(*finding) for finding in values["header_findings"]]
    paths = [[root / path for path in group] for group in values["paths"]]
    drawn = [[sources.from_json(source, root) for source in group] for group in values["annotations"]]
    return Entry(**{**values, "header_findings": said, "paths": paths, "annotations": drawn})


def read_plan(job: Job, paths: Sequence[Path]) -> Plan | None:
    """Returns the plan that a killed run left; None when there is none, or a file is younger than it.

    Args:
        job: Of this run.
        paths: All files of the input.
    """
    try:
        made = outputs.read_json(Path(job.root, WORK, _PLAN))
        written_at = Path(job.root, WORK, _PLAN).stat().st_mtime
    except (OSError, ValueError):  # a UserError is one
        return None
    # A file's date may be older than its contents' arrival; when its entry changed tells that, too.
    ages = (max(status.st_mtime, status.st_ctime) for path in paths if (status := path.stat()))
    return None if any(age >= written_at for age in ages) else Plan(**made)


def missing(job: Job, plan: Plan) -> list[int]:
    """Returns the numbers of the batches that are not finished, the largest first, so that workers end together."""
    left = [number for number in range(len(plan.files)) if not _is_finished(part(job.root, number))]
    return sorted(left, key=lambda number: (-plan.num_bytes[number], number))


def _is_finished(path: Path) -> bool:
    try:
        return path.exists() and isinstance(outputs.read_json(path), list)
    except UserError:  # cut short when the power went
        return False


def part(root: str | Path, number: int) -> Path:
    """Returns where a batch's outcome stands."""
    return Path(root, WORK, _PARTS, f"{number:05d}.json")


def examine(number: int, job: Job, ledger: str, *, killers: Collection[str] = ()) -> None:
    """Looks at a batch's series and writes, last, what was found.

    Args:
        number: Of the batch.
        job: What all batches share.
        ledger: See `runner.finished`.
        killers: Uids of series that are not to be tried again: their workers did not survive it.
    """
    text = Path(job.root, WORK, _BATCHES, f"{number:05d}.json").read_text(encoding="utf-8")
    entries = [_from_json(values, Path(job.folder)) for values in json.loads(text)]
    rows = []
    for entry in entries:
        workers.at(entry.uid)
        rows.append(_row(entry, job.data, killed=entry.uid in killers))
    outputs.write_text(part(job.root, number), json.dumps(rows), durable=False)
    runner.finished(ledger, number, sum(sum(map(len, entry.paths)) for entry in entries if entry.examined))


def _row(entry: Entry, data: config.Data, *, killed: bool) -> Row:
    """Returns what is known of a series, as plain JSON values."""
    row: Row = {
        "number": entry.number,
        "uid": entry.uid,
        "patient_id": entry.patient_id,
        "modality": entry.modality,
        "num_instances": sum(map(len, entry.paths)),
        "thickness_mm": entry.thickness_mm,
    }
    found = list(entry.header_findings)
    if entry.examined:
        try:
            if killed:
                raise SeriesError(convert.KILLED)
            more, facts = _examined(entry, data)
            found += more
            row |= facts
        except Exception as error:  # noqa: BLE001 - one bad series may not end a job of a million
            found += refused(convert.reason_of(error), entry.modality)
    return {**row, "findings": list(dict.fromkeys((finding.name, finding.text) for finding in found))}


def refused(text: str, modality: str) -> list[Finding]:
    """Returns why a series cannot be read as findings; what has no kind of its own depends on the config."""
    return [Finding(name, text) for name in words.kinds(text, modality) or ("unreadable_series",)]


def _examined(entry: Entry, data: config.Data) -> tuple[list[Finding], Row]:
    found: list[Finding] = []
    held: list[tuple[Sequence[sources.Source], list[Volume]]] = []
    whole = replace(data, volumes="all")  # read once, whatever is taken of them
    for unit in _units(entry, data):
        try:
            read = [volume for _, volume in contents.volumes_of(unit, whole)]
        except UserError as error:  # what convert would say of it, and still something to look at
            found += refused(str(error), entry.modality)
            read = _as_they_are(unit)
        found += _too_many(read, data)
        held += [(unit.annotations, read if data.volumes == "all" else read[:1])] if read else []  # the largest
    volumes = [volume for _, some in held for volume in some]
    for volume in volumes:
        found += [*words.said(volume.findings, entry.modality), *checks.of_volume(volume)]
    found = _some_of_each(found)
    if not volumes:
        return found, {}
    drawn = curate_annotations.of_series(held, data)
    refusals = [[finding.name, finding.text] for finding in drawn.refused]
    facts = _facts(entry, volumes, drawn.volume, drawn.annotations, data)
    return found + drawn.findings, {**facts, "refused": refusals}


def _some_of_each(found: Sequence[Finding]) -> list[Finding]:
    """Returns some findings of each kind, and how many there are: a series may be of hundreds of volumes."""
    told: list[Finding] = []
    count: Counter[str] = Counter()
    for finding in dict.fromkeys(found):
        count[finding.name] += 1
        if count[finding.name] <= _MOST_OF_A_KIND:
            told.append(finding)
    more = [(name, number - _MOST_OF_A_KIND) for name, number in count.items() if number > _MOST_OF_A_KIND]
    return told + [Finding(name, f"and {number} more like it in this series") for name, number in more]


def _units(entry: Entry, data: config.Data) -> list[contents.Unit]:
    groups = entry.paths if data.kind == "radiograph" else [[path for group in entry.paths for path in group]]
    drawn = entry.annotations or [[] for _ in groups]
    return [
        contents.Unit(entry.uid, entry.patient_id, tuple(group), tuple(found)) for group, found in zip(groups, drawn)
    ]


def _too_many(volumes: Sequence[Volume], data: config.Data) -> list[Finding]:
    """Returns a finding where the config takes one volume of several, and does not say which."""
    told = data.volumes == "largest" and len(volumes) > 1 and volumes[0].stored.size > volumes[1].stored.size
    if len(volumes) < 2 or data.volumes == "all" or told:
        return []
    return [Finding("too_many_volumes", f"the series holds {len(volumes)} volumes; data.volumes={data.volumes!r}")]


def _as_they_are(unit: contents.Unit) -> list[Volume]:
    try:
        return read_volumes(unit.paths, spacing="keep", scaling="display")
    except UserError:
        return []


def _facts(
    entry: Entry, volumes: Sequence[Volume], shown: Volume, drawn: Sequence[Annotation], data: config.Data
) -> Row:
    """Returns what the folder as a whole is compared by, and the picture."""
    picture, aspect = curate_picture.encoded(shown, _mask(shown, drawn, data))
    first = volumes[0]
    values = curate_values.sampled(first)
    return {
        "num_volumes": len(volumes),
        "num_slices": len(first.stored),
        "spacing_mm": [round(float(step), 4) if np.isfinite(step) else None for step in first.spacing_mm],
        "values": [round(float(value), 4) for value in np.percentile(values, (1, 50, 99))],
        "histogram": curate_values.histogram(values, entry.modality),
        "look": curate_values.look(first),
        "digests": sorted(filter(None, map(curate_values.digest, volumes))),
        "mask_features": _mask_features(shown, drawn),
        "picture": picture,
        "aspect": aspect,
    }


def _mask_features(volume: Volume, drawn: Sequence[Annotation]) -> dict[str, dict[str, float]]:
    """Returns what a mask is compared with the other cases' by; of several readers the first one's."""
    from radkit.dicom import plausible

    return next((plausible.features(volume, annotation) for annotation in drawn if annotation.regions), {})


def _mask(volume: Volume, drawn: Sequence[Annotation], data: config.Data) -> np.ndarray | None:
    regions = [region for annotation in drawn for region in annotation.regions]
    if not regions:
        return None
    # Of several readers the first one's is seen where both drew: the picture shows where, not who.
    labels = data.mask_labels or tuple(dict.fromkeys(region.label for region in regions))[:255]
    return as_mask(regions, labels, volume.stored.shape[:3], "first")
