"""Turns de-identified series into TFRecord shards in TensorFlow Datasets' layout, split by patient.

    radkit convert --config hippocampus --input clean --output records
    radkit convert --config chest --input clean --labels clean/labels.csv --output records
    radkit convert --config liver --input clean --annotations masks/masks.csv --curation quality --output records
    radkit convert --config chest --input clean --patients patients.csv --keep_splits old/chest --output records

Writes `<output>/<dataset>/<version>/`: the shards, `features.json`, `dataset_info.json`, `patients.json` (which
pseudonymous patients each split holds), `splits.json` (how they were split: the type of the test set, shares, seed),
`folds.json` (the folds of those who are not tested on, if there are any), `data.json` (the config's data section),
`inputs.csv` (the files that were read, with SHA-256), `quarantine.csv` (files and series that were set aside, with
reasons), `findings.csv` (what labels and annotations have that a person should know, by name), `adjudication.csv`
(images whose readers disagree, if there are such), `summary.json` and `provenance.json`. Stock
`tfds.builder_from_directory` reads it.

Segmentations, structure sets and reports (DICOM SEG, RTSTRUCT, SR) are found below --input by the series that they
name; masks and boxes of other kinds by a table (--annotations; docs/labels.md has its columns). Sites, days, sides and
strata of patients come from a table, too (--patients; docs/splits.md). The same input and config give the same bytes on
any runner and number of workers. A run that was killed goes on where it was when it is started again; a worker that is
killed is replaced. Beam's own flags are passed on (--runner, --direct_num_workers, ...); workers on other machines must
see --input and --output under the same names.

Exit status: 0 done; 1 done, some inputs were set aside and are listed; 2 refused (as where no series becomes a record)
or interrupted, nothing written.
"""

import functools
import hashlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
from absl import flags

from beam_jobs import convert_close, convert_shard, convert_tables, headers, runner
from radkit import config, outputs, program
from radkit.data import convert, schema, shards, splits
from radkit.data.splitting import dealing, header_dates, patients_table
from radkit.dicom import scan
from radkit.dicom.findings import KINDS
from radkit.errors import UserError

FLAGS = program.new_flags(
    data_in="Folder of de-identified DICOM.", out="Data folder; the data set is made below it.", config=True
)
flags.DEFINE_string(
    "labels", None, "CSV with an identifier column (a DICOM keyword) and the config's label column.", flag_values=FLAGS
)
flags.DEFINE_multi_string(
    "annotations",
    [],
    "Annotations that are not in --input: a CSV of mask files or of boxes, or COCO JSON; may be given again.",
    flag_values=FLAGS,
)
flags.DEFINE_string(
    "patients", None, "CSV of patients or studies: site, date, split, strata (docs/splits.md).", flag_values=FLAGS
)
flags.DEFINE_string(
    "keep_splits", None, "Data set's folder, or its patients.json: its patients stay where they are.", flag_values=FLAGS
)
flags.DEFINE_string("curation", None, "Folder that `radkit curate` wrote: only the series it keeps.", flag_values=FLAGS)
flags.DEFINE_string(
    "key", None, "Key of `radkit anonymize`, where the tables hold the original identifiers.", flag_values=FLAGS
)

HOMELESS = "labels_without_images"
BYTES_WORTH_A_POOL = 2**28

# Gives what becomes records, and (path, reason) of each file that cannot be read, when no plan is left of a killed run.
Select = Callable[[convert_shard.Job], tuple[convert.Selected, list[tuple[str, str]]]]


def main(argv: Sequence[str]) -> int:
    """Runs the verb; see the module's docstring."""
    return program.run(sys.modules[__name__], _run, argv, passes_on=True)


def _run(values: flags.FlagValues, beam_flags: list[str]) -> int:
    program.required(values, "config", "output")
    runner.refuse_unknown(beam_flags)
    data = config.load(values["config"].value, values["set"].value).data
    folder = program.input_folder(values).resolve()
    given = convert_tables.read(values, data)

    def select(job: convert_shard.Job) -> tuple[convert.Selected, list[tuple[str, str]]]:
        instances, unreadable = headers.read(folder, Path(job.root, convert_shard.HEADERS), beam_flags)
        tables = {os.path.relpath(path, folder) for path in given.paths}  # that lie among the images are none of them
        selected = convert.select(instances, data, given.labels, given.annotations, given.decisions, given.patients)
        if given.patients is not None:
            there = {unit.patient_id for unit in selected.units}
            selected.findings += given.patients.strangers(instances, there)
        if data.split.test == "temporal" and not patients_table.tells_day(given.patients, data):
            header_dates.require_true(instances, selected.units)
        return selected, [(path, reason) for path, reason in unreadable if path not in tables]

    output = Path(values["output"].value)
    return write_dataset("convert", folder, output, data, select, beam_flags, given.paths, kept=given.kept)


def write_dataset(
    verb: str,
    folder: Path,
    output: Path,
    data: config.Data,
    select: Select,
    beam_flags: Sequence[str],
    tables: Sequence[Path] = (),
    settings: Mapping[str, Any] | None = None,
    kept: dealing.Kept | None = None,
) -> int:
    """Writes a data set below `output`, or finds it done, prints the summary line and returns the exit status.

    Args:
        verb: What the lines and the provenance say.
        folder: Of the images.
        output: Data folder.
        data: The config's data section.
        select: See `Select`.
        beam_flags: Beam's own.
        tables: Files beside the folder that the records depend on.
        settings: What else they depend on, for the provenance.
        kept: Patients that stay on the side where another data set has them.

    Raises:
        UserError: Nothing was selected, or the output is of another run.
    """
    target = output / data.dataset / data.version
    if target.resolve().is_relative_to(folder):
        raise UserError("--output lies in --input, and would be read the next time; name a folder beside it")
    paths = scan.find(folder)
    said = {"data": config.data_to_json(data), "schema": schema.VERSION, **(settings or {})}
    record = outputs.provenance(verb, said, _digest(paths, folder, tables))
    done = convert_close.already_done(target, record, folder)
    if not done:
        plan = functools.partial(_plan, select=select, kept=kept)
        _write(verb, folder, [*paths, *tables], target, data, plan, record, beam_flags)
    summary = outputs.read_json(target / "summary.json")
    print(
        f"{verb}: {'already done: ' if done else ''}"
        f"{_counts(summary['records'])} records of {summary['patients']} patients{_test_set(target)}; "
        f"{summary['left_out']} series left out by the config; {summary['quarantined']} inputs set aside"
        f"{_findings(summary['findings_by_name'])} -> {target}"
    )
    return program.QUARANTINED if summary["quarantined"] else program.DONE


def _test_set(target: Path) -> str:
    """Returns of what type the test set is, in words, where it is none by chance alone; and who is left out for it."""
    said = splits.read(target)
    gone = sum(said.get("left_out", {}).values())
    without = f", {gone} patients left out by the split" if gone else ""
    return without if said["test_set"]["type"] == "random" else f", test set {splits.told(said)}{without}"


def _findings(counts: dict[str, int]) -> str:
    told = ", ".join(f"{count} {name}" for name, count in counts.items())
    return f"; findings: {told}" if told else ""


def _digest(paths: Sequence[Path], folder: Path, tables: Sequence[Path]) -> str:
    images = outputs.digest_of_names(paths, folder)
    if not tables:
        return images
    parts = [outputs.digest_of_files([table], table.parent) for table in tables]  # masks: there may be thousands
    return f"{images}+{hashlib.sha256('+'.join(parts).encode()).hexdigest()}"


def _write(
    verb: str,
    folder: Path,
    paths: Sequence[Path],
    target: Path,
    data: config.Data,
    new_plan: Callable[[convert_shard.Job], convert_shard.Plan],
    record: dict[str, Any],
    beam_flags: Sequence[str],
) -> None:
    with outputs.staged(target, record, resumes=True) as aside:
        job = convert_shard.Job(str(aside), str(folder), data)
        plan = convert_shard.read_plan(job, paths)
        if plan is None:
            outputs.empty(aside)  # of what a run left whose plan no longer holds
            plan = new_plan(job)
        left = convert_shard.missing(job, plan)
        if len(left) < len(plan.files):
            done = len(plan.files) - len(left)
            print(f"{verb}: goes on after {done} shards that an earlier run finished", file=sys.stderr)
        if left:
            num_items = sum(plan.files[number] for number in left)
            build = functools.partial(graph, numbers=left, job=job)
            slow = sum(plan.num_bytes[number] for number in left) >= BYTES_WORTH_A_POOL  # few files, many frames
            runner.run(build, beam_flags, num_items=num_items, what=verb, pools=True, slow=slow, guarded=True)
        record["contents"] = convert_close.write(job, plan, record["settings"]["data"])
        convert_close.tidy(job)


def _plan(job: convert_shard.Job, select: Select, kept: dealing.Kept | None) -> convert_shard.Plan:
    selected, unreadable = select(job)
    if not selected.known:  # an import's, which has no patients table
        patients_table.require(None, job.data)
    dealt = dealing.deal(selected.units, job.data, selected.known, kept)
    selected.left_out.update(dealt.left_out)
    if not dealt.units:
        reasons = "; ".join(f"{n} x {reason}" for reason, n in selected.left_out.most_common(3)) or "no image series"
        said = "".join(f"; {f.text}: {KINDS[f.name].advice}" for f in selected.findings if f.name == HOMELESS)
        raise UserError(f"--input {job.folder} holds nothing for data set {job.data.dataset!r}: {reasons}{said}")
    findings = [("", finding.name, finding.text, finding.count) for finding in [*selected.findings, *dealt.findings]]
    planned = convert.plan(dealt.units, job.data, dealt.split_of)
    told = {
        "left_out": dict(selected.left_out),
        "findings": findings,
        "disagreements": selected.disagreements,
        "splits": {**dealt.said, "left_out": dealt.patients_left_out},
        "folds": dealt.folds,
    }
    return convert_shard.write_plan(job, planned, unreadable, told)


def graph(pipeline: Any, ledger: str, *, numbers: Sequence[int], job: convert_shard.Job) -> None:
    """Builds the pipeline that writes the shards of these numbers: one line, one leaf, nothing but numbers in it."""
    _ = (
        pipeline
        | "Shards" >> beam.Create(numbers)
        | beam.Reshuffle()
        | "Write" >> runner.each(convert_shard.write, job, ledger)
    )


def _counts(counts: dict[str, int]) -> str:
    return " / ".join(f"{counts[split]} {split}" for split in shards.SPLITS)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
