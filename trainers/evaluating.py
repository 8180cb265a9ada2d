"""An evaluation from records to files: the cases of a split, what is measured of them, the page."""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import radkit
from radkit import outputs, runs
from radkit.data import shards
from radkit.evaluation import box_table, boxes, plan, report
from radkit.evaluation.cases import Cases, Draws
from radkit.evaluation.endpoints import OperatingPoint
from radkit.reports import html
from radkit.reports.clinical import figure_files, page, parts
from radkit.tasks import task as task_module
from trainers import evaluation_tables, looks, other_evaluations, robustness, scoring, training_facts
from trainers.operating_points import Model, Rule

CASES, BOXES, REPORT, PAGE, SUMMARY, FIGURES = (
    "cases.csv",
    "boxes.csv",
    "report.json",
    "report.html",
    "summary.json",
    "figures",
)


# Of the run's own records: why figures of these splits say too much.
_FLATTERS = {
    "train": "which the network learned from",
    "validation": "by which the weights and the operating points were chosen",
}


@dataclass(frozen=True)
class Options:
    """What a person asks for, beside which records.

    Attributes:
        rule: Of the operating point; None: the stored one.
        cost_of_miss: In false alarms.
        against: Evaluations of other models on the same records, by name.
        beside: Evaluations of this run on other test sets, by name.
        readers: Table of what readers said.
        robustness_cases: How many cases are asked again at most with perturbed images; 0: none.
        resamples: Draws of patients.
    """

    rule: Rule | None = None
    cost_of_miss: float = 1.0
    against: Mapping[str, Path] = field(default_factory=dict)
    beside: Mapping[str, Path] = field(default_factory=dict)
    readers: Path | None = None
    robustness_cases: int = 0
    resamples: int = 2000

    @property
    def settings(self) -> dict[str, Any]:
        """What decides the result: of folders and tables their contents."""
        return {
            "cost_of_miss": self.cost_of_miss,
            "against": {name: other_evaluations.digest(folder) for name, folder in self.against.items()},
            "beside": {name: other_evaluations.digest(folder) for name, folder in self.beside.items()},
            "readers": "" if self.readers is None else other_evaluations.digest_of_table(self.readers),
            "robustness_cases": self.robustness_cases,
            "resamples": self.resamples,
        }


@dataclass(frozen=True)
class Asked:
    """An evaluation.

    Attributes:
        model: What is evaluated.
        chosen: Its cases.
        points: Its operating points.
        about: The look that this is.
        options: What a person asks for.
        left_out: How many records of the split are not scored, by reason.
    """

    model: Model
    chosen: scoring.Cases
    points: Sequence[OperatingPoint]
    about: looks.About
    options: Options
    left_out: Mapping[str, int] = field(default_factory=dict)


def evaluate(asked: Asked, output: Path) -> None:
    """Writes an evaluation's files into a folder.

    Raises:
        UserError: Other evaluations or the readers' table do not fit, or a look cannot be counted.
    """
    model, chosen = asked.model, asked.chosen
    data, task = model.experiment.data, model.task
    others = other_evaluations.read(asked.options, model.experiment)  # before the images are asked: it may refuse
    sha = runs.manifest(model.run)["weights_sha256"]
    other_evaluations.require_of_run(asked.options.beside, others["elsewhere"], sha)
    rows = scoring.cases(model.answer, chosen, progress=True)
    other_evaluations.require_elsewhere(asked.options.beside, [str(row["record_uid"]) for row in rows])
    perturbed = _perturbed(asked, rows)
    cases = Cases(rows)
    wanted = plan.Plan(
        model.experiment.task.name,
        data,
        task.asked(data) if task.asked else plan.Asked(()),
        Draws(resamples=asked.options.resamples),
        asked.points,
        asked.options.cost_of_miss,
        training_facts.of_run(chosen.folder, data, chosen.trainer) if asked.about.own else (),
        perturbed=perturbed,
        **others,
    )
    # Tables that do not fit are refused here, before a look is counted that shows nobody anything.
    report.of(cases, dataclasses.replace(wanted, draws=Draws(resamples=2)), {})
    told_of_look = looks.told(chosen, asked.about)  # the figures are there now, and are seen next
    wanted = dataclasses.replace(wanted, test_set=told_of_look.get("test_set", {}))
    standards = dict(Counter(row["reference_standard"] for row in rows))
    summary = {**task.summary(rows, data), "reference_standards": standards, **told_of_look}
    about = {**_about(asked), **told_of_look, "notes": _notes(asked, summary)}
    told = task_module.as_json(report.of(cases, wanted, about))
    calls = next((point.threshold for point in asked.points if point.name == boxes.POINT), summary.get("threshold"))
    summary = _agreeing(summary, told)
    as_called = {**summary, "threshold": calls}
    listed = task.listed(rows, as_called, data)
    document, drawings = _page(asked, told, listed, as_called)
    outputs.write_json(output / REPORT, told)
    outputs.write_json(output / SUMMARY, task_module.as_json(summary))
    _write_cases(listed, output)
    evaluation_tables.write(output / evaluation_tables.ROBUSTNESS, perturbed)
    evaluation_tables.write(output / evaluation_tables.TRAINED_ON, wanted.trained_on)
    evaluation_tables.write(output / evaluation_tables.READERS, wanted.readers)
    if model.experiment.task.name == "detection":
        rank = len(data.image_size)
        columns = box_table.columns(rank)
        held = box_table.rows(cases, rank)
        outputs.write_csv(output / BOXES, columns, [[_cell(row[name]) for name in columns] for row in held])
    (output / FIGURES).mkdir()
    for name, content in figure_files.files(drawings):
        (output / FIGURES / name).write_bytes(content)
    outputs.write_text(output / PAGE, document)


def _page(
    asked: Asked, told: Mapping[str, Any], listed: Sequence[Mapping[str, Any]], summary: Mapping[str, Any]
) -> tuple[str, Sequence[parts.Drawing]]:
    """Returns the page and its plots; a task that draws no pictures for it has a page of its own, which is embedded."""
    model, data, task = asked.model, asked.model.experiment.data, asked.model.task
    shown = scoring.shown(model.answer, task.pick(listed, data), asked.chosen)
    history = runs.history(model.run)
    if task.drawn:
        return page.page(told, task.drawn(shown, listed, summary, data), history)
    own = task.page(page.title(told), summary, listed, shown, history, data)
    return page.page(told, history=history, own=own) if html.is_ours(own) else (own, [])


def _notes(asked: Asked, summary: Mapping[str, Any]) -> list[str]:
    """Returns what a reader must know before any figure."""
    said = []
    if asked.about.own and asked.chosen.split in _FLATTERS:
        said.append(
            f"These are the cases of the split {asked.chosen.split}, {_FLATTERS[asked.chosen.split]}: the figures "
            "flatter the model and are no result."
        )
    return [*said, *(asked.model.task.notes(summary) if asked.model.task.notes else ())]


def _agreeing(summary: Mapping[str, Any], told: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a summary whose intervals are the report's, which may be of another number of draws."""
    known = {one["name"]: one for one in told["figures"]}
    known |= {f"{one['name']}, {of['name']}": one for of in told["endpoints"] for one in of["figures"]}
    figures = {
        name: {**held, "low": known[name]["low"], "high": known[name]["high"]}
        if isinstance(held, Mapping) and name in known
        else held
        for name, held in summary["figures"].items()
    }
    return {**summary, "figures": figures}


def _perturbed(asked: Asked, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    if not asked.options.robustness_cases:
        return []
    wanted = robustness.some(rows, asked.options.robustness_cases)
    return robustness.rows(
        asked.model.answer,
        asked.chosen,
        wanted,
        lambda record, answer: scoring.figures(record, answer, asked.chosen),
    )


def _about(asked: Asked) -> dict[str, Any]:
    manifest = runs.manifest(asked.model.run)
    chosen = asked.chosen
    return {
        "left_out": dict(asked.left_out),
        "data": {
            "dataset": chosen.data.dataset,
            "split": chosen.split,
            "cases": looks.of_fold(chosen),
            "digest": shards.digest(chosen.folder),
        },
        "run": {
            "weights_sha256": manifest["weights_sha256"],
            "model": asked.model.experiment.model.name,
            "steps": manifest["steps"],
            "trained_on_these_records": asked.about.own,
            "radkit": radkit.__version__,
        },
    }


def _write_cases(listed: Sequence[Mapping[str, Any]], output: Path) -> None:
    """Writes the table of cases as CSV, numbers with all their digits, and as Parquet with their types."""
    import pyarrow
    from pyarrow import parquet

    header = list(dict.fromkeys(name for row in listed for name in row))
    outputs.write_csv(output / CASES, header, [[_cell(row.get(name)) for name in header] for row in listed])
    columns = {name: [row.get(name) for row in listed] for name in header}
    parquet.write_table(pyarrow.table(columns), output / "cases.parquet")


def _cell(value: Any) -> Any:
    return "" if value is None else value
