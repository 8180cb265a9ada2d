"""Scans a folder of DICOM into tables of its instances and series: headers only.

    radkit index --input hospital --output index
    radkit index --input hospital --output index --direct_num_workers=8 --pictures=0

Writes `instances.parquet`, `series.parquet`, `index.html` (counts, and pictures of some series), `quarantine.csv`
(files that are no DICOM, with the reason), `summary.json` and `provenance.json` into --output; docs/index.md lists the
columns. Works on raw folders (the tables then hold what the headers hold, the page what the images show: keep them in
the hospital) and on de-identified ones. A run that was killed goes on where it was when it is started again; the same
folder gives the same bytes on any number of workers. Links to folders are not followed. Beam's own flags are passed on
(--runner, --direct_num_workers, ...).

Exit status: 0 done; 1 done, some files were set aside and are listed; 2 refused, nothing written.
"""

import contextlib
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import apache_beam as beam
from absl import flags

from beam_jobs import index_batch, index_page, index_series, runner
from radkit import outputs, program
from radkit.errors import UserError

FLAGS = program.new_flags(data_in="Folder of DICOM files, any depth.", out="Folder to write the tables into.")
flags.DEFINE_integer("pictures", 48, "Series shown as pictures on the page; 0 for none.", flag_values=FLAGS)

INSTANCES, SERIES, PAGE = "instances.parquet", "series.parquet", "index.html"
INSTANCE_COLUMNS, SERIES_COLUMNS = index_batch.COLUMNS, index_series.COLUMNS
_ROWS_IN_A_GROUP = 65_536


def main(argv: Sequence[str]) -> int:
    """Runs the verb; see the module's docstring."""
    return program.run(sys.modules[__name__], _run, argv, passes_on=True)


def _run(values: flags.FlagValues, beam_flags: list[str]) -> int:
    folder = program.input_folder(values)
    program.required(values, "output")
    runner.refuse_unknown(beam_flags)
    output, pictures = Path(values["output"].value), values["pictures"].value
    if output.resolve().is_relative_to(folder.resolve()):
        raise UserError("--output lies in --input, and would be scanned the next time; name a folder beside it")
    if pictures < 0:
        raise UserError(f"--pictures={pictures} was not expected; give 0 or more")
    links: list[str] = []
    with tempfile.TemporaryFile() as listing:
        digest, batches, count = index_batch.write_listing(folder, listing, links.append)
        if not count:
            raise UserError(f"--input {folder} holds no files; name a folder with DICOM files")
        record = outputs.provenance("index", {"pictures": pictures}, digest)
        if not outputs.already_done(output, record):
            with outputs.staged(output, record, resumes=True) as aside:
                _scan(listing, batches, folder, aside, count, beam_flags)
                summary = _join(aside, len(batches), len(links))
                index_series.write(aside / INSTANCES, aside / SERIES)
                _describe(aside, folder, summary, pictures)
    return _close(output)


def _scan(
    listing: BinaryIO, batches: Sequence[index_batch.Batch], folder: Path, root: Path, count: int,
    beam_flags: Sequence[str],
) -> None:  # fmt: skip
    """Writes a part for each batch; those that are there are not read again."""
    (root / index_batch.PARTS).mkdir(exist_ok=True)
    listing.seek(0)
    with (root / index_batch.LISTING).open("wb") as file:
        shutil.copyfileobj(listing, file)
    done = {part.stem for part in (root / index_batch.PARTS).glob("*.parquet")}
    waiting = [batch for batch in batches if f"{batch[0]:06d}" not in done]
    if done:
        print(f"index: goes on after {len(done)} batches that an earlier run finished", file=sys.stderr)

    def build(pipeline: Any, ledger: str) -> None:
        _ = (
            pipeline
            | "Batches" >> beam.Create(waiting)
            | beam.Reshuffle()
            | "Headers" >> runner.each(index_batch.scan_batch, str(folder.resolve()), str(root), ledger)
        )

    if waiting:
        import pyarrow.parquet  # noqa: F401 - loaded once, before the workers are forked

        left = min(count, len(waiting) * index_batch.FILES_PER_BATCH)
        runner.run(build, beam_flags, num_items=left, what="index", pools=len(waiting) > 1)


def _join(root: Path, num_parts: int, num_links: int) -> dict[str, Any]:
    """Makes one table of the parts, and lists what was set aside; returns the summary, but for the series."""
    from pyarrow import compute, parquet

    parts = [root / index_batch.PARTS / f"{number:06d}.parquet" for number in range(num_parts)]
    patients: set[str | None] = set()
    studies: set[str | None] = set()
    count = size = clean = 0
    with parquet.ParquetWriter(root / INSTANCES, index_batch.schema()) as writer:
        for table in _tables(parts):
            writer.write_table(table)
            patients.update(compute.unique(table.column("PatientID")).to_pylist())
            studies.update(compute.unique(table.column("StudyInstanceUID")).to_pylist())
            marked = compute.equal(table.column("PatientIdentityRemoved"), "YES")
            clean += compute.sum(marked).as_py() or 0
            count += table.num_rows
            size += compute.sum(table.column(index_batch.SIZE)).as_py() or 0
    reasons: Counter[str] = Counter()
    odd: Counter[str] = Counter()
    outputs.write_csv(root / outputs.QUARANTINE, ("path", "reason"), _set_aside(parts, reasons, odd))
    aside = reasons.total()
    return {
        "files": count + aside, "instances": count, "patients": len(patients), "studies": len(studies),
        "size_bytes": size, "not_deidentified": count - clean, "quarantined": aside,
        "quarantined_by_reason": dict(reasons), "unreadable_numbers": {k: n for k, n in odd.items() if n},
        "links_not_followed": num_links,
    }  # fmt: skip


def _tables(parts: Sequence[Path]) -> Iterator[Any]:
    """Yields the parts' rows in order, many parts at a time: a row group for each would be slow to read."""
    import pyarrow
    from pyarrow import parquet

    held: list[Any] = []
    for part in parts:
        held.append(parquet.read_table(part, schema=index_batch.schema()).replace_schema_metadata(None))
        if sum(table.num_rows for table in held) >= _ROWS_IN_A_GROUP:
            yield pyarrow.concat_tables(held).combine_chunks()
            held = []
    if held:
        yield pyarrow.concat_tables(held).combine_chunks()


def _set_aside(parts: Sequence[Path], reasons: Counter[str], odd: Counter[str]) -> Iterator[tuple[str, str]]:
    for part in parts:
        notes = index_batch.notes(part)
        odd.update(notes["odd"])
        for path, reason in notes["aside"]:
            reasons[reason] += 1
            yield path, reason


def _describe(root: Path, folder: Path, summary: dict[str, Any], pictures: int) -> None:
    """Writes the summary and the page, and removes what only the run needed."""
    from pyarrow import parquet

    modalities = parquet.read_table(root / SERIES, columns=["Modality"])
    counted = modalities.group_by("Modality").aggregate([([], "count_all")]).to_pylist()
    summary["series"] = modalities.num_rows
    summary["series_by_modality"] = {row["Modality"] or "none": row["count_all"] for row in counted}
    index_page.write(root / PAGE, root / SERIES, folder, summary, pictures)
    outputs.write_json(root / "summary.json", summary)
    shutil.rmtree(root / index_batch.PARTS)
    with contextlib.suppress(FileNotFoundError):
        (root / index_batch.LISTING).unlink()


def _close(output: Path) -> int:
    summary = outputs.read_json(output / "summary.json")
    if summary["links_not_followed"]:
        print(f"index: {summary['links_not_followed']} links to folders were not followed", file=sys.stderr)
    print(
        f"index: {summary['files']} files, {summary['patients']} patients, {summary['series']} series"
        f"{_counts(summary['series_by_modality'])}; {summary['quarantined']} set aside -> {output}"
    )
    return program.QUARANTINED if summary["quarantined"] else program.DONE


def _counts(counts: dict[str, int]) -> str:
    found = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
    return f" ({found})" if found else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv))
