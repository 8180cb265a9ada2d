"""Turns de-identified series into TFRecord shards in TensorFlow Datasets' layout, split by patient.

    radkit convert --config hippocampus --input clean --output records
    radkit convert --config chest --input clean --labels clean/labels.csv --output records

Writes `<output>/<dataset>/<version>/`: the shards, `features.json`, `dataset_info.json`, `patients.json` (which
pseudonymous patients each split holds), `data.json` (the config's data section), `inputs.csv` (the files that were
read, with SHA-256), `quarantine.csv` (files and series that were set aside, with reasons), `summary.json` and
`provenance.json`. Stock `tfds.builder_from_directory` reads it. The same input and config give the same bytes on any
runner and number of workers. A run that was killed goes on where it was when it is started again; a worker that is
killed is replaced. Beam's own flags are passed on (--runner, --direct_num_workers, ...); workers on other machines must
see --input and --output under the same names.

Exit status: 0 done; 1 done, some inputs were set aside and are listed; 2 refused (as where no series becomes a record)
or interrupted, nothing written.
"""

import functools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
from absl import flags

from beam_jobs import convert_close, convert_shard, headers, runner
from radkit import config, outputs, program
from radkit.data import convert, schema, shards
from radkit.dicom import scan
from radkit.errors import UserError

FLAGS = program.new_flags(
    data_in="Folder of de-identified DICOM.", out="Data folder; the data set is made below it.", config=True
)
flags.DEFINE_string(
    "labels", None, "CSV with an identifier column (a DICOM keyword) and the config's label column.", flag_values=FLAGS
)

BYTES_WORTH_A_POOL = 2**28


def main(argv: Sequence[str]) -> int:
    """Runs the verb; see the module's docstring."""
    return program.run(sys.modules[__name__], _run, argv, passes_on=True)


def _run(values: flags.FlagValues, beam_flags: list[str]) -> int:
    program.required(values, "config", "output")
    runner.refuse_unknown(beam_flags)
    experiment = config.load(values["config"].value, values["set"].value)
    data = experiment.data
    folder = program.input_folder(values).resolve()
    labels = _labels(values["labels"].value, data)
    target = Path(values["output"].value) / data.dataset / data.version
    if target.resolve().is_relative_to(folder):
        raise UserError("--output lies in --input, and would be read the next time; name a folder beside it")
    paths = scan.find(folder)
    record = outputs.provenance(
        "convert",
        {"data": config.to_json(experiment)["data"], "schema": schema.VERSION},
        _digest(paths, folder, values["labels"].value),
    )
    done = convert_close.already_done(target, record, folder)
    if not done:
        _convert(folder, paths, target, data, labels, record, beam_flags)
    summary = outputs.read_json(target / "summary.json")
    print(
        f"convert: {'already done: ' if done else ''}"
        f"{_counts(summary['records'])} records of {summary['patients']} patients; "
        f"{summary['left_out']} series left out by the config; {summary['quarantined']} inputs set aside -> {target}"
    )
    return program.QUARANTINED if summary["quarantined"] else program.DONE


def _labels(path: str | None, data: config.Data) -> convert.Labels | None:
    if not data.label:
        if path is not None:
            raise UserError("--labels was given, but the config has no data.label: the column to read")
        return None
    if path is None:
        raise UserError(f"the config's data.label is {data.label!r}, so --labels must name the table with that column")
    return convert.Labels(Path(path), data)


def _digest(paths: Sequence[Path], folder: Path, labels: str | None) -> str:
    parts = [outputs.digest_of_names(paths, folder)]
    if labels is not None:
        parts.append(outputs.digest_of_files([Path(labels)], Path(labels).parent))
    return "+".join(parts)


def _convert(
    folder: Path,
    paths: Sequence[Path],
    target: Path,
    data: config.Data,
    labels: convert.Labels | None,
    record: dict[str, Any],
    beam_flags: Sequence[str],
) -> None:
    with outputs.staged(target, record, resumes=True) as aside:
        job = convert_shard.Job(str(aside), str(folder), data)
        plan = convert_shard.read_plan(job, paths)
        if plan is None:
            outputs.empty(aside)  # of what a run left whose plan no longer holds
            plan = _plan(job, labels, beam_flags)
        left = convert_shard.missing(job, plan)
        if len(left) < len(plan.files):
            done = len(plan.files) - len(left)
            print(f"convert: goes on after {done} shards that an earlier run finished", file=sys.stderr)
        if left:
            num_items = sum(plan.files[number] for number in left)
            build = functools.partial(graph, numbers=left, job=job)
            slow = sum(plan.num_bytes[number] for number in left) >= BYTES_WORTH_A_POOL  # few files, many frames
            runner.run(build, beam_flags, num_items=num_items, what="convert", pools=True, slow=slow, guarded=True)
        record["contents"] = convert_close.write(job, plan, record["settings"]["data"])
        convert_close.tidy(job)


def _plan(job: convert_shard.Job, labels: convert.Labels | None, beam_flags: Sequence[str]) -> convert_shard.Plan:
    instances, unreadable = headers.read(Path(job.folder), Path(job.root, convert_shard.HEADERS), beam_flags)
    units, left_out = convert.select(instances, job.data, labels)
    if not units:
        reasons = "; ".join(f"{n} x {reason}" for reason, n in left_out.most_common(3)) or "no image series"
        raise UserError(f"--input {job.folder} holds nothing for data set {job.data.dataset!r}: {reasons}")
    return convert_shard.write_plan(job, convert.plan(units, job.data), unreadable, dict(left_out))


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
