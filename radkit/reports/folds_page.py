"""The page of a cross-validation: figures of each fold, mean and spread over folds, how each run learned."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from radkit.reports import html, plots, sections


def page(
    title: str,
    lead: str,
    rows: Sequence[Mapping[str, Any]],
    over_folds: Mapping[str, Mapping[str, float]],
    histories: Mapping[int, Sequence[Mapping[str, Any]]],
    notes: Sequence[str],
) -> str:
    """Returns the HTML page.

    Args:
        title: Plain text.
        lead: The pooled result in a sentence.
        rows: One a fold: `fold`, `num_cases`, `score`, `best_step`, `figures` (name to value).
        over_folds: Figure to `mean`, `sd`, `least`, `most`, `undefined`.
        histories: Of each fold's run: `step`, `loss`, `validation score`.
        notes: What a reader must know first.

    Raises:
        UserError: matplotlib is not installed.
    """
    names = [name for name in over_folds if name != "score"]
    header = ("fold", "cases", "best step", "score", *map(sections.words, names))
    by_fold = [
        (
            str(row["fold"]),
            row["num_cases"],
            row["best_step"],
            row["score"],
            *[row["figures"].get(name) for name in names],
        )
        for row in rows
    ]
    spread = [
        (sections.words(name), *[found[part] for part in ("mean", "sd", "least", "most", "undefined")])
        for name, found in over_folds.items()
    ]
    return html.page(
        title,
        html.notes(notes),
        html.section("Folds", html.table(header, by_fold, "Each scored on the patients that its run did not train on")),
        html.section(
            "Over folds",
            html.table(("figure", "mean", "sd", "least", "most", "folds undefined"), spread),
            html.paragraph("The spread is between folds: of other patients and of another training, both at once."),
        ),
        html.section("Learning curves", html.figure(_curves(histories), "Loss and validation score of each fold")),
        html.paragraph("report.html has the figures of all folds' patients together, with intervals and pictures."),
        lead=lead,
    )


def _curves(histories: Mapping[int, Sequence[Mapping[str, Any]]]) -> Any:
    plot, axes = plots.panels(2)
    for axis, name in zip(axes, ("loss", "validation score")):
        for place, (fold, history) in enumerate(histories.items()):
            known = [(line["step"], line[name]) for line in history if _is_known(line.get(name))]
            colour = plots.COLOURS[place % len(plots.COLOURS)]
            steps, values = zip(*known) if known else ((), ())
            axis.plot(steps, values, color=colour, linewidth=1.4, marker=".", label=f"fold {fold}")
        plots.label(axis, name, "step", "")
    axes[0].legend(frameon=False, fontsize=9)
    return plot


def _is_known(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
