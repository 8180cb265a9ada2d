"""What a worker does with a shard that is measured; a module of its own, to be imported.

What a shard holds is written as one file, so that no figures travel through the pipeline.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from beam_jobs import runner
from radkit import config, outputs
from radkit.data import convert, shards, splits, statistics
from radkit.data.exploring import image_features
from radkit.errors import UserError


@dataclass(frozen=True)
class Job:
    """What every shard of a run shares; it travels in the pipeline's graph.

    Attributes:
        root: Folder that workers write to.
        folder: Of the data set.
        data: The config's data section.
        version: Of the schema that the records were written by.
        sampled: Records whose place (`splits.place` of their record_uid) is below it are described one by one.
    """

    root: str
    folder: str
    data: config.Data
    version: int
    sampled: float


def files_of(job: Job) -> list[tuple[str, Path]]:
    """Returns split and path of every shard, in order."""
    folder = Path(job.folder)
    return [(split, path) for split in shards.SPLITS for path in shards.split_files(folder, split)]


def measure(number: int, job: Job, ledger: str, look: int = 0) -> None:
    """Measures the shard of a number and writes what it holds; Beam calls it.

    Args:
        number: Of the shard, in the order of `files_of`.
        job: Of this run.
        ledger: See `runner.run`.
        look: 0 for the first look; 1 and 2 for what the look before could not tell apart, see `statistics.wanted`.
    """
    split, path = files_of(job)[number]
    try:
        found = _first(split, path, job) if look == 0 else _again(split, path, job, look)
    except UserError as error:
        found = {"reason": str(error)}
    outputs.write_text(_part(job, number, look), json.dumps(found), durable=False)
    runner.finished(ledger, f"{look}-{number}", 1)


def _first(split: str, path: Path, job: Job) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []

    def describe(record: Mapping[str, Any]) -> None:
        if splits.place(record["record_uid"]) < job.sampled:
            rows.append({**image_features.describe(record, job.data), "split": split})

    record_fields = convert.fields_of(job.data, job.version)
    num_masks = len(job.data.mask_labels) if job.data.mask_labels else None
    part = statistics.of_shard(path, record_fields, num_masks=num_masks, each=describe)
    return {"part": part, "rows": rows}


def _again(split: str, path: Path, job: Job, look: int) -> dict[str, Any]:
    wanted = outputs.read_json(_wanted(job, look)).get(split, {})
    if not wanted:
        return {"part": None}
    return {"part": statistics.look_again(path, convert.fields_of(job.data, job.version), wanted, look)}


def write_wanted(job: Job, look: int, wanted: Mapping[str, statistics.Wanted]) -> None:
    """Writes what another look must tell apart, by split, where workers read it."""
    outputs.write_text(_wanted(job, look), json.dumps(wanted), durable=False)


def found(job: Job, look: int = 0) -> list[tuple[str, dict[str, Any]]]:
    """Returns split and what was found of every shard, in order.

    Raises:
        UserError: A shard is damaged.
    """
    listed = []
    for number, (split, _) in enumerate(files_of(job)):
        read = outputs.read_json(_part(job, number, look))
        if "reason" in read:
            raise UserError(read["reason"])
        listed.append((split, read))
    return listed


def _part(job: Job, number: int, look: int) -> Path:
    return Path(job.root, f"part-{look}-{number:05d}.json")


def _wanted(job: Job, look: int) -> Path:
    return Path(job.root, f"wanted-{look}.json")
