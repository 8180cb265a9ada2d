"""Looks at every series before anything learns from it: what is kept, what is left out and why, on one page.

    radkit curate --config hippocampus --input clean --output quality
    radkit curate --config chest --input clean --labels clean/labels.csv --output quality
    radkit curate --config hippocampus --input clean --output quality --overrides decisions.csv

The config's data.curate says which series are asked for (by their headers) and what faults leave out. The pixels of
those that are asked for are read, with the annotations that belong to them: DICOM ones below --input by the series that
they name, others by a table (--annotations, and --labels for classes, as `radkit convert` takes them). What does not
fit is told, also where `convert` would refuse it by data.annotations; so a series whose annotations `convert` would set
aside is left out. Writes into --output: `quality.html` (what
to mend first, with pictures), `curation.csv` (each series: keep or leave_out, the reasons, who decided), `findings.csv`
(what was found), `quarantine.csv` (files that are no DICOM), `summary.json` and `provenance.json`. Series are numbered
alike in all of them; `radkit convert --curation` takes what is kept.

--overrides is a CSV with the columns SeriesInstanceUID, decision (keep or leave_out), by (who), date (YYYY-MM-DD) and
reason: what persons decided stands over the rules, and is recorded in curation.csv. The same input, config and tables
give the same bytes on any number of workers. A run that was killed goes on where it was when it is started again.
Beam's own flags are passed on (--runner, --direct_num_workers, ...).

Exit status: 0 nothing was found and nothing set aside (what only a rule leaves out is no finding); 1 something was
found or set aside, and is listed; 2 refused or interrupted, nothing written.
"""

import functools
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import apache_beam as beam
from absl import flags

from beam_jobs import convert_tables, curate_close, curate_labels, curate_series, headers, runner
from radkit import config, outputs, program
from radkit.data import sources
from radkit.dicom import curate, facts, scan
from radkit.dicom.findings import Finding
from radkit.errors import UserError

FLAGS = program.new_flags(data_in="Folder of de-identified DICOM.", out="Folder to write the tables into.", config=True)
flags.DEFINE_string(
    "overrides", None, "CSV of persons' decisions: SeriesInstanceUID, decision, by, date, reason.", flag_values=FLAGS
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
    "key", None, "Key of `radkit anonymize`, where those tables hold the original identifiers.", flag_values=FLAGS
)
flags.DEFINE_integer("pictures", 144, "Series shown as pictures on the page, at most; 0 for none.", flag_values=FLAGS)

BYTES_WORTH_A_POOL = 2**26


def main(argv: Sequence[str]) -> int:
    """Runs the verb; see the module's docstring."""
    return program.run(sys.modules[__name__], _run, argv, passes_on=True)


@dataclass(frozen=True)
class Given:
    """What the flags name beside the images.

    Attributes:
        labels: The labels table, if one is given.
        tables: Annotations that are not below --input.
        overrides: What persons decided, by SeriesInstanceUID.
        paths: All files that this was read from.
        pictures: How many pictures the page holds at most.
    """

    labels: curate_labels.Told | None
    tables: tuple[sources.Table, ...]
    overrides: dict[str, curate.Override]
    paths: tuple[Path, ...]
    pictures: int


def _run(values: flags.FlagValues, beam_flags: list[str]) -> int:
    program.required(values, "config", "output")
    runner.refuse_unknown(beam_flags)
    experiment = config.load(values["config"].value, values["set"].value)
    folder = program.input_folder(values).resolve()
    output = Path(values["output"].value)
    if output.resolve().is_relative_to(folder):
        raise UserError("--output lies in --input, and would be read the next time; name a folder beside it")
    given = _given(values, experiment.data)
    paths = scan.find(folder)
    settings = {
        "data": config.to_json(experiment)["data"],
        "pictures": given.pictures,
        "tables": [outputs.digest_of_files([path], path.parent) for path in given.paths],
    }
    record = outputs.provenance("curate", settings, outputs.digest_of_names(paths, folder))
    done = outputs.already_done(output, record)
    if not done:
        with outputs.staged(output, record, resumes=True) as aside:
            job = curate_series.Job(str(aside), str(folder), experiment.data)
            _curate(job, paths, given, beam_flags)
    return _close(output, done)


def _given(values: flags.FlagValues, data: config.Data) -> Given:
    pictures, labels, named, key = (values[name].value for name in ("pictures", "labels", "annotations", "key"))
    if pictures < 0:
        raise UserError(f"--pictures={pictures} was not expected; give 0 or more")
    if named and not (data.mask_labels or data.box_labels):
        raise UserError("--annotations was given, but the config has neither data.mask_labels nor data.box_labels")
    if labels is not None and not (data.label or data.report):
        raise UserError("--labels was given, but the config has no data.label: the column to read")
    if key and not (named or labels):
        raise UserError("--key was given without --annotations or --labels, whose identifiers it is for")
    if (data.label or data.report) and labels is None:
        print("curate: labels were not looked at; --labels names their table", file=sys.stderr)
    rename = convert_tables.renaming(key)
    told = curate_labels.Told(Path(labels), data, rename) if labels is not None else None
    tables = tuple(sources.Table(Path(path), data, rename) for path in dict.fromkeys(named))
    overrides = values["overrides"].value
    decided = curate.read_overrides(Path(overrides)) if overrides is not None else {}
    paths = [Path(path) for path in (labels, overrides, key) if path]
    paths += [path for table in tables for path in table.paths]
    return Given(told, tables, decided, tuple(path.resolve() for path in paths), pictures)


def _curate(job: curate_series.Job, paths: Sequence[Path], given: Given, beam_flags: Sequence[str]) -> None:
    plan = curate_series.read_plan(job, [*paths, *given.paths])
    if plan is None:
        outputs.empty(Path(job.root))  # of what a run left whose plan no longer holds
        plan = _plan(job, given, beam_flags)
    left = curate_series.missing(job, plan)
    if len(left) < len(plan.files):
        done = len(plan.files) - len(left)
        print(f"curate: goes on after {done} batches of series that an earlier run finished", file=sys.stderr)
    if left:
        build = functools.partial(graph, numbers=left, job=job)
        slow = sum(plan.num_bytes[number] for number in left) >= BYTES_WORTH_A_POOL  # few files, many frames
        num_items = sum(plan.files[number] for number in left)
        runner.run(build, beam_flags, num_items=num_items, what="curate", pools=True, slow=slow, guarded=True)
    curate_close.write(job, plan, given.overrides, given.pictures)
    curate_close.tidy(job)


def graph(pipeline: Any, ledger: str, *, numbers: Sequence[int], job: curate_series.Job) -> None:
    """Builds the pipeline that looks at the batches of these numbers: nothing but numbers in it."""
    _ = (
        pipeline
        | "Batches" >> beam.Create(numbers)
        | beam.Reshuffle()
        | "Look" >> runner.each(curate_series.examine, job, ledger)
    )


def _plan(job: curate_series.Job, given: Given, beam_flags: Sequence[str]) -> curate_series.Plan:
    instances, unreadable = headers.read(Path(job.folder), Path(job.root, curate_series.HEADERS), beam_flags)
    found = scan.group(instances)
    images = [series for series in found if series.is_image]
    if not images:
        raise UserError(f"--input {job.folder} holds no image series; name a folder with DICOM images")
    drawn, said = sources.in_series(_once(found), job.data)
    refusals: dict[str, None] = {}  # for what `convert` refuses the whole folder
    entries = [
        _entry(number, series, drawn.get(series.uid, []), job.data, given, refusals)
        for number, series in enumerate(images, start=1)
    ]
    for table in given.tables:
        said = [*said, *table.findings, *table.unused(instances)]
    if given.labels is not None:
        said = [*said, *given.labels.findings(instances)]
        refusals |= dict.fromkeys(given.labels.refusals)
    others = Counter(series.modality or "absent" for series in found if not series.is_image)
    return curate_series.write_plan(job, entries, unreadable, dict(others), said, list(refusals))


def _once(found: Sequence[scan.Series]) -> list[scan.Series]:
    """Returns series without copies of an annotation, which would be taken for another reader's."""
    return [
        series
        if series.is_image
        else replace(series, instances=tuple({i["SOPInstanceUID"]: i for i in reversed(series.instances)}.values()))
        for series in found
    ]


def _entry(
    number: int,
    series: scan.Series,
    drawn: Sequence[sources.Source],
    data: config.Data,
    given: Given,
    refusals: dict[str, None],
) -> curate_series.Entry:
    found = against(series, data)
    override = given.overrides.get(series.uid)
    # What has a fault by its headers is asked for, too: its picture helps to find out.
    asked = not any(finding.severity == "rule" for finding in found)
    wanted = asked or (override is not None and override.decision == "keep")
    first = series.instances[0]
    thickness = facts.numbers(first["SliceThickness"], 1)
    by_image: dict[str, list[scan.Instance]] = defaultdict(list)
    for instance in series.instances:
        by_image[instance["SOPInstanceUID"]].append(instance)
    units = list(by_image.values()) if data.kind == "radiograph" else [list(series.instances)]
    annotations, said = _annotations(units, drawn, given.tables, refusals)
    if wanted:
        found = [*found, *said, *(given.labels.of(series) if given.labels is not None else ())]
    return curate_series.Entry(
        number=number,
        uid=series.uid,
        patient_id=first["PatientID"],
        modality=series.modality,
        paths=[[instance.path for instance in group] for group in by_image.values()],
        header_findings=found,
        examined=wanted,
        annotations=annotations,
        thickness_mm=thickness[0] if thickness and thickness[0] > 0 else None,
    )


def _annotations(
    units: Sequence[Sequence[scan.Instance]],
    drawn: Sequence[sources.Source],
    tables: Sequence[sources.Table],
    refusals: dict[str, None],
) -> tuple[list[list[sources.Source]], list[Finding]]:
    """Returns the annotations of each unit of a series, what two tables say alike once, and what is against them."""
    found: list[list[sources.Source]] = [list(drawn) for _ in units]
    said: list[Finding] = []
    for table in tables:
        for held, unit in zip(found, units):
            try:
                held += table.of(unit)
            except UserError as error:  # a row says two images at once
                refusals[str(error)] = None
                said.append(Finding("contradicting_rows", str(error)))
    return [list(dict.fromkeys(held)) for held in found], list(dict.fromkeys(said))


def against(series: scan.Series, data: config.Data) -> list[Finding]:
    """Returns what the config's rules have against a series, by its headers."""
    found = curate.rules(series.instances, data.curate)
    if data.modalities and series.modality not in data.modalities:
        said = f"Modality {series.modality or 'absent'} is not in data.modalities"
        found = [Finding("modality_not_asked", said), *found]
    return found


def _close(output: Path, done: bool) -> int:
    summary = outputs.read_json(output / curate_close.SUMMARY)
    if summary["overrides_without_series"]:
        count = summary["overrides_without_series"]
        print(f"curate: {count} overrides are about series that are not here; see findings.csv", file=sys.stderr)
    print(
        f"curate: {'already done: ' if done else ''}{summary['series']} series of {summary['patients']} patients: "
        f"{summary['kept']} kept, {summary['left_out']} left out, {summary['overridden']} decided by persons; "
        f"{summary['with_faults']} with faults, {summary['with_warnings']} with warnings; "
        f"{summary['quarantined']} files set aside{_of_folder(summary['of_folder'])} -> {output / curate_close.PAGE}"
    )
    return program.QUARANTINED if curate_close.found_something(summary) else program.DONE


def _of_folder(counts: dict[str, int]) -> str:
    told = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
    return f"; of the folder and its tables: {told}" if told else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv))
