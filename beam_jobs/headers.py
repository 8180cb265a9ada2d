"""What `convert` and `anonymize` begin with: every file's header, read in parallel, as rows.

Workers write a batch's rows as one file, as those of `index` do, so that none goes through Beam.
"""

import json
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam

from beam_jobs import index_batch, runner
from radkit.dicom import scan
from radkit.errors import UserError

_ROWS = "rows"


def read(folder: Path, aside: Path, beam_flags: Sequence[str]) -> tuple[list[scan.Instance], list[tuple[str, str]]]:
    """Returns the instances below a folder, and (path below it, reason) of each file that is no DICOM.

    Files whose names are not UTF-8 are among the latter: no table, and no worker elsewhere, could name them.

    Args:
        folder: Of the files.
        aside: Folder for the rows while they are read; made here, and removed. Workers on other machines must see
            both folders under the same names.
        beam_flags: Beam's own.

    Raises:
        UserError: There is no file at all.
    """
    shutil.rmtree(aside, ignore_errors=True)  # of a run that was killed
    (aside / _ROWS).mkdir(parents=True)
    try:
        with (aside / index_batch.LISTING).open("wb") as listing:
            _, batches, count = index_batch.write_listing(folder, listing, lambda _: None)
        if not count:
            raise UserError(f"--input {folder} holds no files; name a folder with DICOM files")
        _read_all(batches, count, folder, aside, beam_flags)
        rows = [row for number, _, _ in batches for row in _rows(aside, number)]
    finally:
        shutil.rmtree(aside)
    rows.sort(key=lambda row: row[0])
    instances = [scan.Instance(folder / path, *told) for path, *told in rows if not isinstance(told[0], str)]
    return instances, [(path, told[0]) for path, *told in rows if isinstance(told[0], str)]


def _read_all(
    batches: Sequence[index_batch.Batch], count: int, folder: Path, aside: Path, beam_flags: Sequence[str]
) -> None:
    def build(pipeline: Any, ledger: str) -> None:
        _ = (
            pipeline
            | "Batches" >> beam.Create(batches)
            | beam.Reshuffle()
            | "Headers" >> runner.each(_read_batch, str(folder.resolve()), str(aside.resolve()), ledger)
        )

    runner.run(build, beam_flags, num_items=count, what="headers", pools=len(batches) > 1)


def _read_batch(batch: index_batch.Batch, folder: str, aside: str, ledger: str) -> None:
    """Reads a batch's headers and writes them as `rows/<number>.jsonl`, complete or not at all."""
    part = _part(Path(aside), batch[0])
    half = part.with_name(f"{part.name}.incomplete.{os.getpid()}")
    count = 0
    with half.open("w", encoding="utf-8") as file:
        for name, _ in index_batch.listed(batch, Path(aside)):
            file.write(json.dumps(_row(name, folder)) + "\n")  # ASCII: half a character stays what it was
            count += 1
    half.replace(part)
    runner.finished(ledger, batch[0], count)


def _row(name: bytes, folder: str) -> tuple[Any, ...]:
    """Returns a file's path, then the fields of its `scan.Instance`, or why it is none."""
    try:
        path = name.decode()
    except UnicodeDecodeError:
        return name.decode("utf-8", "backslashreplace"), index_batch.NAME
    try:
        instance = scan.read_instance(Path(folder, path))
    except scan.NotDicom as error:
        return path, str(error)
    return path, instance.values, instance.referenced_series, instance.segment_labels


def _rows(aside: Path, number: int) -> Iterator[tuple[Any, ...]]:
    with _part(aside, number).open(encoding="utf-8") as file:
        for line in file:
            path, *told = json.loads(line)
            if len(told) == 1:
                yield path, told[0]
                continue
            values, *more = told
            # One copy of each keyword, not one a file.
            yield path, {sys.intern(keyword): value for keyword, value in values.items()}, *map(tuple, more)


def _part(aside: Path, number: int) -> Path:
    return aside / _ROWS / f"{number:06d}.jsonl"
