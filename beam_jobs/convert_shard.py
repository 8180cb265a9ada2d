"""The plan of a conversion as files, and what a worker does with a shard of it; a module of its own, to be imported.

The plan stands in files so that the pipeline's graph holds numbers only. What a shard became is written as one file,
last: a run that was killed goes on with the shards that have none.
"""

import json
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from beam_jobs import runner, workers
from radkit import config, outputs
from radkit.data import convert, shards

WORK, HEADERS = "work", "headers"  # below the output while it is made
_PLAN, _SHARDS, _PARTS = "plan.json", "plan", "parts"
_FILES_A_NOTE = 64
_HEAD_BYTES = 16  # of a record in a TFRecord file: its length and two sums


@dataclass(frozen=True)
class Job:
    """What every shard of a run shares; it travels in the pipeline's graph.

    Attributes:
        root: Folder that the shards are written to.
        folder: Of the DICOM.
        data: The config's data section.
    """

    root: str
    folder: str
    data: config.Data


@dataclass(frozen=True)
class Plan:
    """What is to be done.

    Attributes:
        files: How many files each shard is made of.
        num_bytes: About how large each shard's records are.
        unreadable: Path and reason of each file that is no DICOM.
        left_out: How many series the config leaves out, by reason.
        findings: Of labels and annotations as a whole: uid (empty), name, text, and how many they are of.
        disagreements: Rows for `adjudication.csv` of images without a record.
        splits: What `splits.json` says, but for counts.
        folds: Of the development patients, as `dealing.deal` gives them.
    """

    files: list[int]
    num_bytes: list[int]
    unreadable: list[list[str]]
    left_out: dict[str, int]
    findings: list[list[Any]]
    disagreements: list[dict[str, Any]]
    splits: dict[str, Any] = field(default_factory=dict)
    folds: dict[str, list[int]] = field(default_factory=dict)


def write_plan(
    job: Job,
    planned: Sequence[convert.Shard],
    unreadable: Sequence[Any],
    told: dict[str, Any],
) -> Plan:
    """Writes the plan below the output, one file a shard, and returns what `read_plan` would.

    Args:
        job: Of this run.
        planned: The shards.
        unreadable: See `Plan`; and so for what follows there, which is `told`.
        told: `left_out`, `findings`, `disagreements`, `splits`, `folds`.
    """
    work = Path(job.root, WORK)
    for name in (_SHARDS, _PARTS):
        (work / name).mkdir(parents=True)
    for number, shard in enumerate(planned):
        text = json.dumps(convert.to_json(shard, Path(job.folder)))
        outputs.write_text(work / _SHARDS / f"{number:05d}.json", text, durable=False)
    plan = Plan(
        [sum(len(unit.paths) for unit in shard.units) for shard in planned],
        [sum(unit.num_bytes for unit in shard.units) for shard in planned],
        [list(row) for row in unreadable],
        **told,
    )
    outputs.write_json(work / _PLAN, vars(plan))
    return plan


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
    if "splits" not in made or any(changed_at(path) >= written_at for path in paths):
        return None
    return Plan(**made)


def changed_at(path: Path) -> float:
    """Returns when a file's contents or its entry last changed: an older date that it was given does not count."""
    status = path.stat()
    return max(status.st_mtime, status.st_ctime)


def missing(job: Job, plan: Plan) -> list[int]:
    """Returns the numbers of the shards that are not finished, the largest first, so that workers end together."""
    left = [number for number in range(len(plan.files)) if not _is_finished(job, number)]
    return sorted(left, key=lambda number: (-plan.num_bytes[number], number))


def _is_finished(job: Job, number: int) -> bool:
    part = _part(job, number)
    if not part.exists():
        return False
    try:
        outcome = outputs.read_json(part)
        size = Path(job.root, outcome["name"]).stat().st_size
    except (OSError, ValueError, KeyError):
        return False
    return bool(size == outcome["bytes"] + _HEAD_BYTES * outcome["records"])


def _part(job: Job, number: int) -> Path:
    return Path(job.root, WORK, _PARTS, f"{number:05d}.json")


def outcomes(job: Job, plan: Plan) -> list[dict[str, Any]]:
    """Returns what became of each shard, in the plan's order."""
    return [outputs.read_json(_part(job, number)) for number in range(len(plan.files))]


def write(number: int, job: Job, ledger: str, *, killers: Collection[str] = ()) -> None:
    """Writes a shard of the plan and, last, what became of it.

    Args:
        number: Of the shard.
        job: What all shards share.
        ledger: See `runner.finished`.
        killers: See `convert.write`.
    """
    text = Path(job.root, WORK, _SHARDS, f"{number:05d}.json").read_text(encoding="utf-8")
    shard = convert.from_json(json.loads(text), Path(job.folder))
    noted = read = 0

    def begins(unit: convert.Unit) -> None:
        nonlocal noted, read
        workers.at(unit.uid)
        if read - noted >= _FILES_A_NOTE:
            runner.finished(ledger, f"{number}.{read}", read - noted)
            noted = read
        read += len(unit.paths)

    outcome = convert.write(shard, job.data, Path(job.root), killers=killers, begins=begins)
    outcome["inputs"] = [(os.path.relpath(row[0], job.folder), *row[1:]) for row in outcome["inputs"]]
    # Of an image that is no DICOM nobody knows the UID: it was made here.
    files = {unit.uid: os.path.relpath(unit.paths[0], job.folder) for unit in shard.units if unit.facts}
    outcome["dead"] = [{**row, "path": files.get(row["uid"], row["uid"])} for row in outcome["dead"]]
    outcome["name"] = shards.shard_name(job.data.dataset, shard.split, shard.index, shard.count)
    outputs.write_text(_part(job, number), json.dumps(outcome))
    runner.finished(ledger, f"{number}.end", read - noted)
