"""From series to shards: which become records, in which split and shard, and what came of each.

Pure functions; `beam_jobs/convert.py` spreads them over workers. The plan is made from headers alone, so that the
same input gives the same shards on any runner.
"""

import csv
import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from radkit import config
from radkit.data import contents, records, schema, shards, splits
from radkit.data.contents import Unit
from radkit.dicom import scan
from radkit.errors import UserError, disk_error

KILLED = "reading it killed a worker three times, the last time alone: for want of memory, or a fault in a decoder"
_LABEL_KEYS = ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "PatientID")


@dataclass(frozen=True)
class Shard:
    """What one worker writes: the units of one file, in order."""

    split: str
    index: int
    count: int
    units: tuple[Unit, ...]


def fields_of(data: config.Data) -> tuple[schema.Field, ...]:
    """Returns the fields of this config's records."""
    return schema.fields(
        data.kind,
        image_dtype=data.image_dtype,
        mask_labels=data.mask_labels,
        class_names=data.class_names if data.label else (),
    )


def select(
    instances: Iterable[scan.Instance], data: config.Data, labels: "Labels | None"
) -> tuple[list[Unit], Counter[str]]:
    """Returns the units that the config asks for, and how many series were left out, by reason.

    A series that is no image is left out, too, but for a segmentation that is a unit's mask.
    """
    every = list(instances)
    # Copies of an image go along: the reader counts them once, and refuses two images of one identifier.
    found = scan.group(every)
    masks = _masks_by_series(scan.group(_once(every)), data)
    units: list[Unit] = []
    left_out: Counter[str] = Counter()
    for series in found:
        if not series.is_image:
            continue  # counted below, when it is known which are masks
        if data.modalities and series.modality not in data.modalities:
            left_out[f"Modality {series.modality or 'absent'} is not in data.modalities"] += 1
            continue
        if data.mask_labels and series.uid not in masks:
            left_out["no segmentation with data.mask_labels"] += 1
            continue
        for unit, instance in _units(series, data, masks):
            label = labels.of(instance) if labels is not None else -1
            if label is None:
                left_out["no row in the labels table"] += 1
            else:
                units.append(Unit(**{**unit, "label": label}))
    used = {path for unit in units for path in unit.masks}
    others = (series for series in found if not series.is_image and used.isdisjoint(series.paths))
    left_out.update(f"no image series (Modality {series.modality or 'absent'})" for series in others)
    return units, left_out


def _once(instances: Iterable[scan.Instance]) -> list[scan.Instance]:
    """Returns instances without copies, by SOPInstanceUID."""
    by_path = sorted(instances, key=lambda i: i.path, reverse=True)
    return list({instance["SOPInstanceUID"]: instance for instance in by_path}.values())


def _masks_by_series(found: Sequence[scan.Series], data: config.Data) -> dict[str, list[Path]]:
    masks: dict[str, list[Path]] = defaultdict(list)
    for series in found:
        for instance in series.instances:
            if set(instance.segment_labels) & set(data.mask_labels):
                for uid in instance.referenced_series:
                    masks[uid].append(instance.path)
    return masks


def _units(
    series: scan.Series, data: config.Data, masks: Mapping[str, list[Path]]
) -> list[tuple[dict[str, Any], scan.Instance]]:
    by_image: dict[str, list[scan.Instance]] = defaultdict(list)
    for instance in series.instances:
        by_image[instance["SOPInstanceUID"] if data.kind == "radiograph" else ""].append(instance)
    return [
        (
            {
                "uid": series.uid if data.kind == "volume" else group[0]["SOPInstanceUID"],
                "patient_id": group[0]["PatientID"],
                "paths": tuple(i.path for i in group),
                "masks": tuple(sorted(masks.get(series.uid, ()))) if data.mask_labels else (),
                "num_bytes": _num_bytes(_once(group), data),
            },
            group[0],
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


def plan(units: Sequence[Unit], data: config.Data) -> list[Shard]:
    """Returns the shards to write: whole patients to one split, sizes near `data.shard_mib`, order by hash.

    Raises:
        UserError: `data.shard_mib` is no size.
    """
    if not data.shard_mib > 0:
        raise UserError(f"data.shard_mib must be > 0, not {data.shard_mib}")
    planned = []
    for split in shards.SPLITS:
        chosen = [u for u in units if splits.split_of(u.patient_id, data.splits, data.split_seed) == split]
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
    values = asdict(shard)
    for unit in values["units"]:
        for name in ("paths", "masks"):
            unit[name] = [path.relative_to(root).as_posix() for path in unit[name]]
    return values


def from_json(values: Mapping[str, Any], root: Path) -> Shard:
    """Returns a shard of the plan from what `to_json` gave."""
    units = [
        Unit(**{**unit, **{name: tuple(root / path for path in unit[name]) for name in ("paths", "masks")}})
        for unit in values["units"]
    ]
    return Shard(**{**values, "units": tuple(units)})


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
        Counts; `dead`: what was left out and why; `inputs`: path, bytes, SHA-256 and uid of each file of a unit.
    """
    outcome = _Outcome([], [], set())

    def encoded() -> Iterator[list[records.Part]]:
        for unit in shard.units:
            begins(unit)
            outcome.inputs += [_input(path, unit) for path in (*unit.paths, *unit.masks)]
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
    }


@dataclass
class _Outcome:
    """What comes of a shard's units while it is written."""

    dead: list[dict[str, str]]
    inputs: list[tuple[str, int, str, str]]
    patients: set[str]


def _records(unit: Unit, data: config.Data, outcome: _Outcome) -> Iterator[list[records.Part]]:
    """Yields the records of a unit; one that cannot be made is noted and takes no other with it."""
    record_fields = fields_of(data)
    try:
        volumes = contents.volumes_of(unit, data)
    except Exception as error:  # noqa: BLE001 - one bad series may not end a job of a million
        outcome.dead.append({"uid": unit.uid, "reason": _reason(error)})
        return
    while volumes:
        uid, volume = volumes.pop(0)
        try:
            parts = records.parts(contents.record_of(unit, uid, volume, data), record_fields)
        except Exception as error:  # noqa: BLE001 - as above
            outcome.dead.append({"uid": uid, "reason": _reason(error)})
            continue
        outcome.patients.add(unit.patient_id)
        del volume
        yield parts
        del parts  # before the next is read


def _reason(error: Exception) -> str:
    """Returns why a unit was left out; a disk that is full is no property of a unit."""
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


class Labels:
    """A labels table: a CSV with one identifier column (a DICOM keyword) and the config's label column."""

    def __init__(self, path: Path, data: config.Data) -> None:
        if not path.is_file():
            raise UserError(f"--labels {path} does not exist; name a CSV file")
        self._of: dict[str, int] = {}
        try:
            with path.open(newline="", encoding="utf-8-sig") as file:
                self._read(csv.DictReader(file), path.name, data)
        except (UnicodeDecodeError, csv.Error) as error:
            raise UserError(f"--labels {path.name} is no CSV file in UTF-8; save it as one") from error

    def _read(self, reader: "csv.DictReader[str]", name: str, data: config.Data) -> None:
        columns = reader.fieldnames or []
        self.key = next((k for k in _LABEL_KEYS if k in columns), "")
        if not self.key or data.label not in columns:
            raise UserError(
                f"--labels {name} has the columns {', '.join(columns) or 'none'}; one of "
                f"{', '.join(_LABEL_KEYS)} and {data.label!r} were expected"
            )
        twice = [column for column in (self.key, data.label) if columns.count(column) > 1]
        if twice:
            raise UserError(f"--labels {name} has the column {twice[0]} more than once; leave one")
        for row in reader:
            if None in row:  # a comma too many: which value belongs to which column is a guess
                raise UserError(f"--labels {name}, line {reader.line_num}: more values than the {len(columns)} columns")
            self._add(row, reader.line_num, name, data)

    def _add(self, row: Mapping[str, str | None], line: int, name: str, data: config.Data) -> None:
        value = (row[data.label] or "").strip()
        if not value:
            return
        known = {**{str(i): i for i in range(len(data.class_names))}, **{c: i for i, c in enumerate(data.class_names)}}
        if value not in known:
            raise UserError(f"--labels {name}, line {line}: class {value!r} is none of {', '.join(data.class_names)}")
        uid = (row[self.key] or "").strip()
        if not uid:
            raise UserError(f"--labels {name}, line {line}: {self.key} is empty; each class needs one")
        if self._of.setdefault(uid, known[value]) != known[value]:
            raise UserError(f"--labels {name}, line {line}: the same {self.key} had another class before")

    def of(self, instance: scan.Instance) -> int | None:
        """Returns the class of an instance, or None when the table has no row for it."""
        return self._of.get(instance[self.key])
