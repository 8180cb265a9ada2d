"""From series to shards: which become records, in which split and shard, and what came of each.

Pure functions; `beam_jobs/convert.py` spreads them over workers. The plan is made from headers alone, so that the
same input gives the same shards on any runner.
"""

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from radkit import config
from radkit.data import contents, records, schema, shards, sources, splits
from radkit.data.contents import Unit
from radkit.data.labels import Labels
from radkit.data.splitting import patients_table
from radkit.dicom import curate, scan
from radkit.dicom.findings import KINDS, Finding
from radkit.errors import UserError, disk_error

KILLED = "reading it killed a worker three times, the last time alone: for want of memory, or a fault in a decoder"
NOT_ANNOTATED = "no annotation that the config asks for"
TIED = "readers who name different classes, with as many votes each"
CONTRADICTED = "rows of the labels table that name different classes"
NOT_LABELLED = "no label in the labels table"
NOT_REPORTED = "no report in the labels table"


@dataclass(frozen=True)
class Shard:
    """What one worker writes: the units of one file, in order."""

    split: str
    index: int
    count: int
    units: tuple[Unit, ...]


def fields_of(data: config.Data, version: int = schema.VERSION) -> tuple[schema.Field, ...]:
    """Returns the fields of this config's records.

    Args:
        data: The config's data section.
        version: Of the schema they were written by: `shards.schema_of` of their folder.

    Raises:
        UserError: Records of that version cannot be read, or do not have what the config asks for.
    """
    return schema.fields(
        data.kind,
        image_dtype=data.image_dtype,
        mask_labels=data.mask_labels,
        class_names=data.class_names if data.label else (),
        label_kind=data.label_kind if data.label else "",
        label_unit=data.label_unit,
        has_report=bool(data.report),
        box_labels=data.box_labels,
        keep_readers=data.annotations.keep_readers,
        version=version,
    )


def no_label(data: config.Data) -> str:
    """Returns why an image is left out of which the labels table says nothing."""
    return NOT_LABELLED if data.label else NOT_REPORTED


@dataclass
class Selected:
    """What of the input becomes records, and what does not.

    Attributes:
        units: In the order found.
        left_out: How many series, by reason.
        findings: Of labels and annotations as a whole.
        disagreements: Of images whose readers name different classes: rows for `adjudication.csv`.
        known: Of each unit, by patient and uid: what decides on which side it is.
    """

    units: list[Unit]
    left_out: Counter[str]
    findings: list[Finding]
    disagreements: list[dict[str, Any]] = field(default_factory=list)
    known: dict[tuple[str, str], patients_table.Known] = field(default_factory=dict)


def select(
    instances: Iterable[scan.Instance],
    data: config.Data,
    labels: Labels | None = None,
    tables: Sequence[sources.Table] = (),
    decisions: Mapping[str, bool] | None = None,
    patients: patients_table.Table | None = None,
) -> Selected:
    """Returns the units that the config asks for.

    A series that is no image is left out, too, but for an annotation of a unit.

    Args:
        instances: Of the whole input.
        data: The config's data section.
        labels: The labels table, if the config asks for labels or reports.
        tables: Annotations that are not among the instances.
        decisions: Of the curation, whether to take it, by SeriesInstanceUID; None: there was none.
        patients: The patients table, if there is one.

    Raises:
        UserError: Images without annotations or labels, or the reverse, where the config refuses them.
    """
    every = list(instances)
    # Copies of an image go along: the reader counts them once, and refuses two images of one identifier.
    found = scan.group(every)
    drawn, findings = sources.in_series(scan.group(_once(every)), data)
    selected = Selected([], Counter(), findings)
    for series in found:
        if not series.is_image:
            continue  # counted below, when it is known which are annotations
        reason = _reason_against(series, data, decisions)
        if reason:
            selected.left_out[reason] += 1
            continue
        for unit, group in _units(series, data):
            known = patients_table.known(patients, data, group[0].__getitem__)
            selected.known[unit["patient_id"], unit["uid"]] = known
            _take({**unit, "site": known.site}, group, drawn.get(series.uid, []), data, labels, tables, selected)
    used = {source.path for unit in selected.units for source in unit.annotations}
    others = (series for series in found if not series.is_image and used.isdisjoint(series.paths))
    selected.left_out.update(f"no image series (Modality {series.modality or 'absent'})" for series in others)
    for table in tables:
        selected.findings += [*table.findings, *table.unused(every)]
    if labels is not None:
        labels.unused(every)
        selected.findings += labels.findings
    _refuse(selected, data)
    return selected


def _reason_against(series: scan.Series, data: config.Data, decisions: Mapping[str, bool] | None) -> str:
    if data.modalities and series.modality not in data.modalities:
        return f"Modality {series.modality or 'absent'} is not in data.modalities"
    if decisions is not None and not decisions.get(series.uid, False):
        return "left out by the curation" if series.uid in decisions else "not among the series of the curation"
    if decisions is None:  # a curation has applied the rules, and a person may have overruled them
        found = curate.rules(series.instances, data.curate)
        broken = [finding.name for finding in found if finding.severity == "rule"]
        return f"by data.curate: {KINDS[broken[0]].title}" if broken else ""
    return ""


def _take(
    unit: dict[str, Any],
    group: Sequence[scan.Instance],
    drawn: Sequence[sources.Source],
    data: config.Data,
    labels: Labels | None,
    tables: Sequence[sources.Table],
    selected: Selected,
) -> None:
    """Adds a unit with its annotations and label, or why it is left out."""
    every = (*drawn, *(source for table in tables for source in table.of(group)))
    annotations = tuple(dict.fromkeys(every))  # what two tables say alike counts once
    if (data.mask_labels or data.box_labels) and not annotations and data.annotations.missing != "empty":
        selected.left_out[NOT_ANNOTATED] += 1
        return
    label = labels.of_any(group) if labels is not None else None
    tied = labels.disagreement(unit["uid"], group) if labels is not None else None
    selected.disagreements += [tied] if tied else []
    if labels is not None and label is None:
        against = CONTRADICTED if labels.contradicts(group) else no_label(data)
        selected.left_out[TIED if tied else against] += 1
        return
    about: dict[str, Any] = {}
    if label is not None:
        told = (label.reader, label.date, label.reference_standard)
        about = {"label": label.value, "label_about": told, "report": label.report}
    selected.units.append(Unit(**{**unit, **about, "annotations": annotations}))


def _refuse(selected: Selected, data: config.Data) -> None:
    """Refuses or says what has no other half."""
    wishes = data.annotations
    for reason in (NOT_ANNOTATED, no_label(data)):
        count = selected.left_out[reason]
        if count and wishes.missing == "refuse":
            raise UserError(f"{count} images have {reason}; data.annotations.missing='leave_out' goes on without them")
        if count:
            selected.findings.append(Finding("images_without_labels", f"{count} images have {reason}", count))
    alone = [f.text for f in selected.findings if f.name == "labels_without_images"]
    if alone and wishes.without_image == "refuse":
        raise UserError(f"{'; '.join(alone)}; data.annotations.without_image='report' goes on without them")


def _once(instances: Iterable[scan.Instance]) -> list[scan.Instance]:
    """Returns instances without copies, by SOPInstanceUID."""
    by_path = sorted(instances, key=lambda i: i.path, reverse=True)
    return list({instance["SOPInstanceUID"]: instance for instance in by_path}.values())


def _units(series: scan.Series, data: config.Data) -> list[tuple[dict[str, Any], list[scan.Instance]]]:
    by_image: dict[str, list[scan.Instance]] = defaultdict(list)
    for instance in series.instances:
        by_image[instance["SOPInstanceUID"] if data.kind == "radiograph" else ""].append(instance)
    return [
        (
            {
                "uid": series.uid if data.kind == "volume" else group[0]["SOPInstanceUID"],
                "patient_id": group[0]["PatientID"],
                "study_date": group[0]["StudyDate"],
                "paths": tuple(i.path for i in group),
                "num_bytes": _num_bytes(_once(group), data),
            },
            group,
        )
        for group in by_image.values()
    ]


def _num_bytes(group: Sequence[scan.Instance], data: config.Data) -> int:
    """Returns what a record's pixels will take, as far as headers tell."""
    voxels: float = sum(_int(i["Rows"]) * _int(i["Columns"]) * max(1, _int(i["NumberOfFrames"])) for i in group)
    if data.record_size and all(data.record_size):
        voxels = math.prod(data.record_size)
    elif data.record_spacing_mm:
        between = _floats(group[0]["SpacingBetweenSlices"] or group[0]["SliceThickness"])
        present = [*between, *_floats(group[0]["PixelSpacing"])][-len(data.record_spacing_mm) :]
        voxels *= math.prod(old / new for old, new in zip(present, data.record_spacing_mm) if new and old > 0)
    return int(voxels) * ((4 if data.image_dtype == "float32" else 2) + bool(data.mask_labels))


def _int(text: str) -> int:
    return int(text) if text.isdigit() else 0


def _floats(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split("\\")]
    except ValueError:
        return [0.0]


def plan(units: Sequence[Unit], data: config.Data, split_of: Mapping[str, str] | None = None) -> list[Shard]:
    """Returns the shards to write: whole patients to one split, sizes near `data.shard_mib`, order by hash.

    Args:
        units: What becomes records.
        data: The config's data section.
        split_of: The split of each patient, as `dealing.deal` gives it; None: by hash.

    Raises:
        UserError: `data.shard_mib` is no size.
    """
    if not data.shard_mib > 0:
        raise UserError(f"data.shard_mib must be > 0, not {data.shard_mib}")
    if split_of is None:
        split_of = {u.patient_id: splits.split_of(u.patient_id, data.splits, data.split_seed) for u in units}
    planned = []
    for split in shards.SPLITS:
        chosen = [u for u in units if split_of[u.patient_id] == split]
        chosen.sort(key=lambda u: (splits.place(u.uid), u.uid))
        total = sum(u.num_bytes for u in chosen)
        count = max(1, min(len(chosen), math.ceil(total / (data.shard_mib * 2**20))))
        cuts: list[list[Unit]] = [[] for _ in range(count)]
        before = 0
        for unit in chosen:
            cuts[min(count - 1, before * count // max(total, 1))].append(unit)
            before += unit.num_bytes
        planned += [Shard(split, i, count, tuple(cut)) for i, cut in enumerate(cuts)]
    return planned


def to_json(shard: Shard, root: Path) -> dict[str, Any]:
    """Returns a shard of the plan as plain JSON values, paths below the input folder; `from_json` gives it back."""
    return {**vars(shard), "units": [contents.to_json(unit, root) for unit in shard.units]}


def from_json(values: Mapping[str, Any], root: Path) -> Shard:
    """Returns a shard of the plan from what `to_json` gave."""
    return Shard(**{**values, "units": tuple(contents.from_json(unit, root) for unit in values["units"])})


def write(
    shard: Shard,
    data: config.Data,
    folder: Path,
    *,
    killers: Collection[str] = (),
    begins: Callable[[Unit], None] = lambda _: None,
) -> dict[str, Any]:
    """Writes one shard and returns what came of it, as plain JSON values.

    A unit that cannot be read is left out of the shard and named with its reason.

    Args:
        shard: From `plan`.
        data: The config's data section.
        folder: Where the shards lie.
        killers: Uids of units that are not to be tried again: their workers did not survive it.
        begins: Called before each unit.

    Returns:
        Counts; `dead`: what was left out and why; `inputs`: path, bytes, SHA-256 and uid of each file of a unit;
        `findings`: uid, name and text of each finding of annotations; `disagreements`: rows for `adjudication.csv`.
    """
    outcome = _Outcome()

    def encoded() -> Iterator[list[records.Part]]:
        for unit in shard.units:
            begins(unit)
            outcome.inputs += [_input(path, unit) for path in _files(unit)]
            if unit.uid in killers:
                outcome.dead.append({"uid": unit.uid, "reason": KILLED})
            else:
                yield from _records(unit, data, outcome)

    name = shards.shard_name(data.dataset, shard.split, shard.index, shard.count)
    count, size = shards.write_shard(folder / name, encoded())
    return {
        "split": shard.split,
        "index": shard.index,
        "records": count,
        "bytes": size,
        "dead": outcome.dead,
        "inputs": outcome.inputs,
        "patients": sorted(outcome.patients),
        "findings": outcome.findings,
        "disagreements": outcome.disagreements,
    }


def _files(unit: Unit) -> tuple[Path, ...]:
    return (*unit.paths, *(source.path for source in unit.annotations if source.path is not None))


@dataclass
class _Outcome:
    """What comes of a shard's units while it is written."""

    dead: list[dict[str, str]] = field(default_factory=list)
    inputs: list[tuple[str, int, str, str]] = field(default_factory=list)
    patients: set[str] = field(default_factory=set)
    findings: list[tuple[str, str, str]] = field(default_factory=list)
    disagreements: list[dict[str, Any]] = field(default_factory=list)


def _records(unit: Unit, data: config.Data, outcome: _Outcome) -> Iterator[list[records.Part]]:
    """Yields the records of a unit; one that cannot be made is noted and takes no other with it."""
    record_fields = fields_of(data)
    try:
        volumes = contents.volumes_of(unit, data)
    except Exception as error:  # noqa: BLE001 - one bad series may not end a job of a million
        outcome.dead.append({"uid": unit.uid, "reason": reason_of(error)})
        return
    while volumes:
        uid, volume = volumes.pop(0)
        try:
            made = contents.record_of(unit, uid, volume, data)
            parts = records.parts(made.values, record_fields)
        except Exception as error:  # noqa: BLE001 - as above
            outcome.dead.append({"uid": uid, "reason": reason_of(error)})
            outcome.findings += [(uid, name, str(error)) for name in [getattr(error, "finding", "")] if name]
            continue
        outcome.patients.add(unit.patient_id)
        outcome.findings += [(uid, found.name, found.text) for found in made.findings]
        outcome.disagreements += made.disagreements
        del volume, made
        yield parts
        del parts  # before the next is read


def reason_of(error: Exception) -> str:
    """Returns why a unit was left out; a disk that is full is no property of a unit, and raised again."""
    if isinstance(error, UserError):
        return str(error)
    if disk_error(error):
        raise error
    if isinstance(error, MemoryError):
        return "there is not enough memory to read it"
    return f"not foreseen ({type(error).__name__}): a defect of radkit or of a library"


def _input(path: Path, unit: Unit) -> tuple[str, int, str, str]:
    """Returns path, bytes, SHA-256 and uid: the file is in memory when it is read for its pixels."""
    size, digest = digest_of(path)
    return str(path), size, digest, unit.uid


def digest_of(path: Path) -> tuple[int, str]:
    """Returns a file's bytes and SHA-256; 0 and nothing when it cannot be read."""
    digest, size = hashlib.sha256(), 0
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
                size += len(block)
    except OSError:
        return 0, ""
    return size, digest.hexdigest()
