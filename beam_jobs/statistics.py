"""Counts, measures and validates what a data set's records hold, by split.

    radkit statistics --input records/hippocampus
    radkit statistics --input records/hippocampus --write_schema trusted.json
    radkit statistics --input new_records/hippocampus --schema trusted.json

--input is a data set's folder, or the data folder when it holds one data set. Writes into the data set's folder, or
beside the file that --output names:

- `statistics.json`: records, patients, intensities (modality units), sizes, spacing (mm), labels, masks, boxes,
  acquisition facts, subgroups; nnU-Net's fingerprint and class weights of the training records. Exact, not sampled.
- `anomalies.csv`: what is wrong, by name. Errors are printed and end with status 1, but for names in --accept.
- `datasheet.md` and `explore.html`: facts for a datasheet, pictures and plots of --sample records.

--write_schema writes what this data set looks like as a file that a person may edit; --schema holds a data set against
such a file. Beam's own flags are passed on (--runner, --direct_num_workers, ...).

Exit status: 0 done; 1 done, but something is wrong with the data set; 2 refused (a damaged shard, no data set),
nothing written.
"""

import functools
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
from absl import flags

from beam_jobs import runner, statistics_shard
from radkit import config, outputs, program
from radkit.data import shards, splits, statistics
from radkit.data.exploring import datasheet
from radkit.data.figures import anomalies, validation
from radkit.errors import UserError, did_you_mean

FLAGS = program.new_flags(
    data_in="Data set's folder, as convert wrote it.",
    out="File to write; statistics.json in the data set's folder if not given.",
)
flags.DEFINE_string("schema", None, "Schema file that the data set must fit.", flag_values=FLAGS)
flags.DEFINE_string("write_schema", None, "File to write the data set's own schema to.", flag_values=FLAGS)
flags.DEFINE_list("accept", [], "Names of anomalies that are listed, but stop nothing.", flag_values=FLAGS)
flags.DEFINE_integer("sample", 2000, "How many records, at most, explore.html shows.", flag_values=FLAGS)

BYTES_WORTH_A_POOL = 2**28  # of shards: from here on, processes are started to share them
_ANOMALIES, _DATASHEET = "anomalies.csv", "datasheet.md"
_BESIDE = (_ANOMALIES, _DATASHEET, "explore.html")
_COLUMNS = ("severity", "name", "where", "text", "advice", "accepted")


def main(argv: Sequence[str]) -> int:
    """Runs the verb; see the module's docstring."""
    return program.run(sys.modules[__name__], _run, argv, passes_on=True)


def _run(values: flags.FlagValues, beam_flags: list[str]) -> int:
    folder = shards.find_dataset(program.input_folder(values)).resolve()
    output = Path(values["output"].value or folder / "statistics.json").resolve()
    accepted, schema = _asked(values, output)
    runner.refuse_unknown(beam_flags)
    data = config.data_from_json(outputs.read_json(folder / "data.json"))
    # What is damaged is refused now, not when all is measured.
    splits.told(splits.read(folder))
    datasheet.earlier(output.parent / _DATASHEET)
    found, rows = _measured(folder, output, data, values["sample"].value, beam_flags)
    listed = validation.anomalies(found, schema)
    found["anomalies"] = [{"name": a.name, "severity": a.severity, "where": a.where, "text": a.text} for a in listed]
    told = values["write_schema"].value
    inferred = validation.infer(found) if told else {}
    _write_pages(folder, output.parent, data, found, rows)  # first: what can fail without a full disk
    if told:
        outputs.write_json(Path(told), inferred)
    outputs.write_csv(output.parent / _ANOMALIES, _COLUMNS, [_row(anomaly, accepted) for anomaly in listed])
    outputs.write_json(output, found)
    for anomaly in listed:
        program.say(f"statistics: {'accepted: ' if anomaly.name in accepted else ''}{anomaly}")
    stopping = anomalies.stopping(listed, accepted)
    program.say(f"statistics: {_line(found)}{_told(listed, stopping)} -> {output}")
    return program.QUARANTINED if stopping else program.DONE


def _asked(values: flags.FlagValues, output: Path) -> tuple[list[str], dict[str, Any] | None]:
    """Returns which anomalies are accepted, and the schema; refuses what cannot be done before anything is measured."""
    _refuse_others("output", output, "statistics.json", lambda said: isinstance(said.get("train"), dict))
    if values["sample"].value < 0:
        raise UserError(f"--sample={values['sample'].value} was not expected; give a number of records, 0 for none")
    for name in values["accept"].value:
        if name not in anomalies.KINDS:
            raise UserError(f"--accept: there is no anomaly {name!r}{did_you_mean(name, anomalies.KINDS)}")
    if told := values["write_schema"].value:
        path = Path(told).resolve()
        _refuse_others("write_schema", path, "schema.json", lambda said: "radkit_schema_of_statistics" in said)
        if path == output:
            raise UserError(f"--write_schema and --output are both {path}; name two files")
        outputs.make_folder(path.parent)
    outputs.make_folder(output.parent)
    given = values["schema"].value
    return list(values["accept"].value), validation.read(Path(given)) if given else None


def _refuse_others(flag: str, path: Path, usual: str, is_ours: Callable[[Mapping[str, Any]], bool]) -> None:
    """Refuses to write where a file stands that is not what would be written: a data set is full of JSON files."""
    if path.is_dir():
        raise UserError(f"--{flag} {path} is a folder; name a file, as {usual}")
    if path.name in _BESIDE:
        raise UserError(f"--{flag} {path} is the name of another file that is written; name it as {usual}")
    if not path.exists():
        return
    try:
        said = outputs.read_json(path)
    except UserError:
        said = None
    if not isinstance(said, dict) or not is_ours(said):
        raise UserError(f"--{flag} {path} is there and radkit statistics did not write it; name another file")


def _measured(
    folder: Path, output: Path, data: config.Data, sample: int, beam_flags: Sequence[str]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Returns what `statistics.report` says of the data set, and what is shown of a sample of its records."""
    aside = output.with_name(f"{output.name}.incomplete.{os.getpid()}")  # where workers of other machines see it, too
    outputs.sweep(output)
    outputs.make_folder(aside)
    try:
        sampled = _sampled(sum(shards.num_records(folder, split) for split in shards.SPLITS), sample)
        job = statistics_shard.Job(str(aside), str(folder), data, shards.schema_of(folder), sampled)
        _pass(job, 0, beam_flags)
        first = statistics_shard.found(job)

        def look(asked: dict[str, statistics.Wanted], number: int) -> list[tuple[str, statistics.Part]]:
            statistics_shard.write_wanted(job, number, asked)
            _pass(job, number, beam_flags)
            again = statistics_shard.found(job, number)
            return [(split, found["part"]) for split, found in again if found["part"]]

        parts = statistics.exact([(split, found["part"]) for split, found in first], look)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    rows = sorted((row for _, found in first for row in found["rows"]), key=_place)
    return statistics.report(parts, data), rows[:sample]


def _write_pages(
    folder: Path, output: Path, data: config.Data, found: dict[str, Any], rows: list[dict[str, Any]]
) -> None:
    from beam_jobs import statistics_page  # it loads scikit-learn, which measuring needs not

    statistics_page.write(folder=folder, output=output, data=data, found=found, rows=rows)


def _sampled(records: int, sample: int) -> float:
    """Returns below which place records are described: a few more than are asked for, whatever their shards."""
    if not sample or sample >= records:
        return float(bool(sample))
    return min(1.0, (sample + 4 * sample**0.5 + 4) / records)


def _place(row: dict[str, Any]) -> tuple[float, str]:
    return splits.place(row["record_uid"]), row["record_uid"]


def _pass(job: statistics_shard.Job, look: int, beam_flags: Sequence[str]) -> None:
    paths = [path for _, path in statistics_shard.files_of(job)]
    build = functools.partial(graph, numbers=list(range(len(paths))), job=job, look=look)
    slow = len(paths) > 1 and sum(path.stat().st_size for path in paths) >= BYTES_WORTH_A_POOL
    what = "statistics" if look == 0 else f"statistics, look {look + 1}"
    runner.run(build, beam_flags, num_items=len(paths), what=what, pools=True, slow=slow)


def graph(pipeline: Any, ledger: str, *, numbers: Sequence[int], job: statistics_shard.Job, look: int) -> None:
    """Builds the pipeline that looks at the shards of these numbers: nothing but numbers in it."""
    _ = (
        pipeline
        | "Shards" >> beam.Create(numbers)
        | beam.Reshuffle()
        | "Measure" >> runner.each(statistics_shard.measure, job, ledger, look)
    )


def _row(anomaly: anomalies.Anomaly, accepted: Sequence[str]) -> tuple[str, ...]:
    advice = anomalies.KINDS[anomaly.name].advice
    is_accepted = "yes" if anomaly.name in accepted else ""
    return anomaly.severity, anomaly.name, anomaly.where, anomaly.text, advice, is_accepted


def _told(listed: Sequence[anomalies.Anomaly], stopping: Sequence[anomalies.Anomaly]) -> str:
    if not listed:
        return ""
    names = ", ".join(dict.fromkeys(anomaly.name for anomaly in stopping))
    return f"; {len(stopping)} errors{f' ({names})' if names else ''} and {len(listed) - len(stopping)} more anomalies"


def _line(found: dict[str, Any]) -> str:
    counts = " / ".join(f"{found[split]['records']} {split}" for split in shards.SPLITS)
    return f"{counts} records{_described(found['train'])}"


def _described(train: dict[str, Any]) -> str:
    if not train["records"] or "mean" not in train["intensity"]:
        return ""
    sizes = " x ".join(f"{axis['median']:.0f}" for axis in train["size"])
    mean, deviation = train["intensity"]["mean"], train["intensity"]["std"]
    return f"; training: median size {sizes}, intensity {mean:.4g} +- {deviation:.4g}"


if __name__ == "__main__":
    sys.exit(main(sys.argv))
