"""Cross-validation in one command: `radkit train --folds 5`, a run a fold, and what they say together.

    radkit train --folds 5 --config hippocampus --input records/hippocampus --output cv/hippocampus

Each fold's run (`fold0/`, `fold1/`, ...) is a normal one, of `trainer.fold`, in a process of its own: it is validated
on that fold and trained on the others. When all have ended, each patient outside the test split is scored once, by the
run that did not train on it: `oof.csv` (a row a case), `summary.json` (the task's figures of all of them, with
intervals; those of each fold; mean and spread over folds), `report.html` (the task's page), `folds.html`. The same
command goes on where it was stopped. With `trainer.test_fold` (nested) that fold is left out.

A fold's run keeps the weights that do best on its own fold, so the figures are a little kind; with
`trainer.evaluate_every` equal to `trainer.steps` there is nothing to choose, and they are not.
"""

import dataclasses
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from radkit import config, outputs, runs, tasks
from radkit.data import pipeline, shards
from radkit.data.splitting import late_folds
from radkit.errors import Unfinished, UserError
from radkit.reports import folds_page, sections
from radkit.tasks import task as task_module
from trainers import checkpoints, child_runs, scoring, standards, strategy

CASES, SUMMARY, REPORT, PAGE = "oof.csv", "summary.json", "report.html", "folds.html"
_FIRST = ("fold", "name", "patient_id", "series_uid", "record_uid")  # columns of the table of cases

TrainOne = Callable[[config.Experiment, Path], bool]  # a run in its folder; False: asked to stop, to be gone on with


def in_processes(folder: Path, flags: Sequence[str] = ()) -> TrainOne:
    """Returns what trains a fold's run in a process of its own.

    Args:
        folder: The data set's.
        flags: More flags of `radkit train`.
    """

    def train_one(experiment: config.Experiment, run: Path) -> bool:
        ended = child_runs.train(experiment, folder, run, flags=flags)
        if ended.how == "failed" and ended.is_lost:
            raise Unfinished(f"the run {run} {ended.why}")  # a supervisor starts all of this again
        if ended.how == "failed":
            raise UserError(f"the run {run} {ended.why}, as told above; mend that, and the same command goes on")
        return ended.how == "finished" and not ended.is_asked

    return train_one


def run(
    experiment: config.Experiment,
    folder: Path,
    output: Path,
    num_folds: int,
    train_one: TrainOne,
    *,
    progress: bool = True,
) -> dict[str, Any] | None:
    """Trains a run a fold, scores each patient by the run that did not see it, and returns the summary.

    Nothing of TensorFlow runs in this process before the runs have ended: they shall have the devices' memory.

    Args:
        experiment: The config; `trainer.fold` is each run's own.
        folder: The data set's version folder; where it has no folds its patients are dealt (`folds.json`).
        output: The folder of the runs and of what they say together.
        num_folds: 2 or more.
        train_one: Trains one run, or goes on with it; a finished one is left alone.
        progress: Whether a bar is shown while patients are scored.

    Returns:
        What `summary.json` holds; None: stopped before all runs had ended.

    Raises:
        UserError: The config, the records or the folder are refused, or a run is.
    """
    _require(experiment, num_folds)
    pipeline.check(folder, experiment.data)
    outputs.require_outside(output, folder)
    said = {"experiment": config.to_json(experiment), "data": shards.digest(folder), "folds": num_folds}
    with checkpoints.lock(output):
        _check_output(output, said)
        if not (output / SUMMARY).is_file():
            late_folds.require(folder, experiment.data, num_folds)
            outputs.make_folder(output)
            outputs.write_json(output / runs.CONFIG, said)
            of_folds = {fold: _of_fold(experiment, fold, num_folds) for fold in _folds(experiment, num_folds)}
            for fold, one in of_folds.items():
                if not train_one(one, of_run(output, fold)):
                    return None
            _pool(of_folds, folder, output, progress=progress)
    return dict(outputs.read_json(output / SUMMARY))


def of_run(output: Path, fold: int) -> Path:
    """Returns the folder of a fold's run."""
    return output / f"fold{fold}"


def _require(experiment: config.Experiment, num_folds: int) -> None:
    trainer = experiment.trainer
    if num_folds < 2:
        raise UserError(f"--folds must be 2 or more, not {num_folds}")
    if trainer.fold >= 0:
        raise UserError(f"--folds trains all folds, and trainer.fold={trainer.fold} names one; leave one of them out")
    if trainer.strategy == "multi_worker":
        raise UserError(
            "--folds trains on the devices of one machine, and trainer.strategy is 'multi_worker'; train each fold by "
            "itself, with --set trainer.fold=0, 1, ..."
        )


def _check_output(output: Path, said: Mapping[str, Any]) -> None:
    """Refuses a folder that is something else than this very cross-validation."""
    if output.exists() and not output.is_dir():
        raise UserError(f"--output {output} is a file; name a folder that does not exist yet")
    if not output.is_dir() or not any(output.iterdir()):
        return
    if not (output / runs.CONFIG).is_file():
        raise UserError(f"--output {output} exists and is no cross-validation of radkit; name another folder")
    if outputs.read_json(output / runs.CONFIG) != said:
        raise UserError(
            f"--output {output} is a run, or one of another config, of other records or with another --folds; name "
            "another folder or remove it"
        )
    checkpoints.require_places(output, (CASES, SUMMARY, REPORT, PAGE))


def _folds(experiment: config.Experiment, num_folds: int) -> list[int]:
    return [fold for fold in range(num_folds) if fold != experiment.trainer.test_fold]


def _of_fold(experiment: config.Experiment, fold: int, num_folds: int) -> config.Experiment:
    """Returns the experiment of a fold's run, checked as any other."""
    split = dataclasses.replace(experiment.data.split, folds=num_folds)
    data = dataclasses.replace(experiment.data, split=split)
    trainer = dataclasses.replace(experiment.trainer, fold=fold)
    return config.from_json(config.to_json(dataclasses.replace(experiment, data=data, trainer=trainer)))


def _pool(of_folds: Mapping[int, config.Experiment], folder: Path, output: Path, *, progress: bool) -> None:
    """Scores all runs on their own folds and writes what they say together, the summary last."""
    some = next(iter(of_folds.values()))
    task, data = tasks.find(some.task.name), some.data
    strategy.set_precision("float32")  # as `evaluate` and the export
    by_fold = {}
    for fold, one in of_folds.items():
        by_fold[fold] = _cases(*_asked(one, folder, of_run(output, fold)), fold, progress=progress)
    cases = [case for found in by_fold.values() for case in found]
    manifests = {fold: runs.manifest(of_run(output, fold)) for fold in of_folds}
    rows = [_told(fold, task.summary(found, data), manifests[fold]) for fold, found in by_fold.items()]
    summary = {
        **task.summary(cases, data),
        "reference_standards": dict(Counter(case["reference_standard"] for case in cases)),
        "folds": rows,
        "over_folds": over_folds(rows),
        "notes": _notes(of_folds, cases),
    }
    listed = task.listed(cases, summary, data)
    pictures = _pictures(task.pick(listed, data), by_fold, of_folds, folder, output)
    title = f"{data.dataset}: {len(rows)} folds together"
    report = task.page(title, summary, listed, pictures, (), data)
    outputs.write_csv(output / CASES, *_table(listed))
    outputs.write_text(output / REPORT, report)
    histories = {fold: runs.history(of_run(output, fold)) for fold in of_folds}
    page = folds_page.page(title, task.headline(summary), rows, summary["over_folds"], histories, summary["notes"])
    outputs.write_text(output / PAGE, page)
    outputs.write_json(output / SUMMARY, task_module.as_json(summary))


def _asked(one: config.Experiment, folder: Path, run: Path) -> tuple[task_module.Answer, scoring.Cases]:
    """Returns a run's answer to images, and the cases of its fold."""
    task = tasks.find(one.task.name)
    network = runs.new_network(one, task)
    runs.load_weights(network, run)
    chosen = scoring.Cases(folder, "validation", one.data, task, trainer=one.trainer)
    return task_module.answering(network, task, one.data, one.inference), chosen


def _cases(answer: task_module.Answer, chosen: scoring.Cases, fold: int, *, progress: bool) -> list[dict[str, Any]]:
    found = scoring.cases(answer, chosen, progress=progress)
    return [{**case, "name": f"fold {fold}, {place}", "fold": fold} for place, case in enumerate(found, 1)]


def _pictures(
    wanted: Sequence[int],
    by_fold: Mapping[int, Sequence[Any]],
    of_folds: Mapping[int, config.Experiment],
    folder: Path,
    output: Path,
) -> list[task_module.Shown]:
    """Returns the cases to draw, which are numbered over all folds, each answered by its own fold's run."""
    found: dict[int, task_module.Shown] = {}
    first = 0
    for fold, cases in by_fold.items():
        here = [index - first for index in wanted if first <= index < first + len(cases)]
        if here:
            answer_images, chosen = _asked(of_folds[fold], folder, of_run(output, fold))
            for one in scoring.shown(answer_images, here, chosen):
                found[one.index + first] = dataclasses.replace(one, index=one.index + first)
        first += len(cases)
    return [found[index] for index in wanted]


def _told(fold: int, summary: Mapping[str, Any], manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what `summary.json` says of a fold: its score and figures, as plain numbers."""
    figures = {name: float(found["value"]) for name, found in sections.figures(summary).items()}
    return {
        "fold": fold,
        "num_cases": summary["num_cases"],
        "score": float(summary["score"]),
        "best_step": manifest["best_step"],
        "figures": figures,
    }


def over_folds(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Returns mean and spread of each figure over folds; folds in which it is undefined are left out and counted.

    Args:
        rows: One a fold, with `score` and `figures`, name to value.

    Returns:
        `score` and each figure: `mean`, `sd` (with n - 1; nan of one fold), `least`, `most`, `undefined`.

    Example:
        >>> of_score = over_folds([{"score": 0.5, "figures": {}}, {"score": 0.7, "figures": {}}])["score"]
        >>> [round(of_score[name], 3) for name in ("mean", "sd", "least", "most", "undefined")]
        [0.6, 0.141, 0.5, 0.7, 0]
    """
    names = dict.fromkeys(name for row in rows for name in row["figures"])
    found = {"score": [row["score"] for row in rows]}
    found |= {name: [row["figures"].get(name, float("nan")) for row in rows] for name in names if name != "score"}
    return {name: _spread(np.array(values, dtype=float)) for name, values in found.items()}


def _spread(values: np.ndarray) -> dict[str, float]:
    known = values[np.isfinite(values)]
    nothing = float("nan")
    return {
        "mean": float(known.mean()) if known.size else nothing,
        "sd": float(known.std(ddof=1)) if known.size > 1 else nothing,
        "least": float(known.min()) if known.size else nothing,
        "most": float(known.max()) if known.size else nothing,
        "undefined": int(values.size - known.size),
    }


def _notes(of_folds: Mapping[int, config.Experiment], cases: Sequence[Mapping[str, Any]]) -> list[str]:
    notes = []
    trainer = next(iter(of_folds.values())).trainer
    if trainer.evaluate_every < trainer.steps:
        notes.append(
            "Each run kept the weights that did best on the very fold that it is scored on: the figures are a little "
            "kinder than those of new patients. With trainer.evaluate_every equal to trainer.steps nothing is chosen."
        )
    kinds = sorted({case["reference_standard"] for case in cases} - {standards.NOT_TOLD})
    if len(kinds) > 1:
        notes.append(f"Labels rest on different reference standards, mixed here: {', '.join(kinds)}.")
    return notes


def _table(listed: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[Any]]]:
    """Returns header and rows of the table of cases, fold and names first."""
    header = [*_FIRST, *(name for name in listed[0] if name not in _FIRST)]
    rows = [[case.get(name, "") for name in header] for case in listed]
    return header, rows


def headline(summary: Mapping[str, Any], task: task_module.Task) -> str:
    """Returns the summary in a line: the pooled figure, mean and spread of the score over folds."""
    score = summary["over_folds"]["score"]
    mean, sd = (task_module.spell(score[name]) for name in ("mean", "sd"))
    return f"{len(summary['folds'])} folds, {task.headline(summary)}; score by fold {mean} (sd {sd})"
