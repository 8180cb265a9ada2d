"""What a search leaves: a table of its trials, the best config as a file, a summary, a page."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from radkit import config, outputs, runs
from radkit.planning import written
from radkit.reports import tune_page
from radkit.tasks import task as task_module
from trainers import tune_space, validation
from trainers.tune_space import Space
from trainers.tune_study import Row

TRIALS, BEST, SUMMARY, PAGE = "trials.csv", "best.py", "summary.json", "tune.html"


def of_trial(output: Path, number: int) -> Path:
    """Returns a trial's run folder."""
    return output / "trials" / f"{number:03d}"


def best(rows: Sequence[Row]) -> Row | None:
    """Returns the finished trial of the best score, of equal ones the first; None: none has finished."""
    finished = [row for row in rows if row.state == "finished" and row.score is not None]
    return max(finished, key=lambda row: (row.score or 0.0, -row.number), default=None)


def write(output: Path, experiment: config.Experiment, space: Space, rows: Sequence[Row]) -> dict[str, Any]:
    """Writes `trials.csv`, `best.py`, `tune.html` and, last, `summary.json`, which it returns.

    Args:
        output: The search's folder.
        experiment: The config that was varied.
        space: Its varied fields.
        rows: The trials that ended.
    """
    found = best(rows)
    summary = _summary(experiment, space, rows, found)
    header = ["trial", "state", "score", "best_step", *space, "why"]
    table = [
        [row.number, row.state, _cell(row.score), _cell(row.step), *map(_cell, row.values.values()), row.why]
        for row in rows
    ]
    outputs.write_csv(output / TRIALS, header, table)
    if found:
        outputs.write_text(output / BEST, _config_file(experiment, found, summary))
    outputs.write_text(output / PAGE, _page(output, experiment, space, rows, summary))
    outputs.write_json(output / SUMMARY, summary)
    return summary


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else value


def _summary(experiment: config.Experiment, space: Space, rows: Sequence[Row], found: Row | None) -> dict[str, Any]:
    current, select = tune_space.current(experiment, space), experiment.trainer.select
    plain = next((row for row in rows if row.values == current), None) if current else None
    return {
        "trials": dict(Counter(row.state for row in rows)),
        "best": _told(found),
        "as_configured": _told(plain),
        "split": "validation",
        "select": {"figure": select, "better": validation.better(select)},
        "note": "The best of several scores of one validation split is kinder than the score of new patients; "
        "the test split was not looked at. Evaluate the best run once.",
    }


def _told(row: Row | None) -> dict[str, Any] | None:
    if row is None:
        return None
    facts = {"trial": row.number, "state": row.state, "score": row.score, "best_step": row.step}
    return dict(task_module.as_json({**facts, "values": row.values}))


def _config_file(experiment: config.Experiment, found: Row, summary: Mapping[str, Any]) -> str:
    tried = sum(summary["trials"].values())
    figure = _figure(summary["select"], found.score)
    about = [f"Validation {figure}, the best of {tried} trials; varied were:"]
    about += [f"    {name} = {_cell(value)}" for name, value in found.values.items()]
    origin = f"the best of a search (radkit tune), trial {found.number}."
    return written.config_file(tune_space.applied(experiment, found.values), origin, about)


def _page(
    output: Path, experiment: config.Experiment, space: Space, rows: Sequence[Row], summary: Mapping[str, Any]
) -> str:
    trials = [
        tune_page.Trial(row.number, row.state, row.score, row.values, _course(of_trial(output, row.number)), row.why)
        for row in rows
    ]
    logarithmic = frozenset(name for name, domain in space.items() if domain.kind.startswith("log"))
    title = f"{experiment.data.dataset}: search over {len(space)} field{'s' if len(space) > 1 else ''}"
    return tune_page.page(title, headline(summary), trials, [summary["note"]], logarithmic)


def _course(run: Path) -> list[tuple[int, float]]:
    return [(line["step"], score) for line in runs.history(run) if (score := score_of(line)) is not None]


def score_of(line: Mapping[str, Any]) -> float | None:
    """Returns the validation score of a line of a run's history; None: undefined."""
    return line.get("validation score")


def headline(summary: Mapping[str, Any]) -> str:
    """Returns the summary in a line.

    >>> found = {"trial": 3, "score": 0.91234}
    >>> select = {"figure": "score", "better": "higher"}
    >>> counts = {"finished": 4, "failed": 1}
    >>> headline({"trials": counts, "best": found, "as_configured": {"score": 0.9}, "select": select})
    '5 trials (4 finished, 1 failed), best validation score 0.912 by trial 3 (as configured: 0.900)'
    """
    counts = ", ".join(f"{count} {state}" for state, count in summary["trials"].items())
    words = f"{sum(summary['trials'].values())} trials ({counts})"
    if summary["best"] is None:
        return f"{words}, none has finished"
    found, plain, select = summary["best"], summary["as_configured"], summary["select"]
    beside = f" (as configured: {_figure(select, plain['score']).rpartition(' ')[2]})" if plain else ""
    return f"{words}, best validation {_figure(select, found['score'])} by trial {found['trial']}{beside}"


def _figure(select: Mapping[str, str], score: float | None) -> str:
    """Returns the figure that was selected by, with its value; scores of one of which less is better are negative."""
    value = score if score is None or select["better"] == "higher" else -score
    return f"{select['figure']} {task_module.spell(value)}"
