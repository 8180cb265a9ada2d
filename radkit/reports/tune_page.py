"""The page of a search: how the score rose, what each varied field did, the courses of all runs, a table of trials."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from radkit.reports import html, plots, text

_CURVES = 60  # more courses than these are no picture any more; the best ones are drawn


@dataclass(frozen=True)
class Trial:
    """A trial that ended.

    Attributes:
        number: From 0 on.
        state: In a word or two.
        score: Validation score; None: undefined, or it failed.
        values: The varied fields.
        course: Validation score by step.
        why: Of one that failed.
    """

    number: int
    state: str
    score: float | None
    values: Mapping[str, Any]
    course: Sequence[tuple[int, float]] = ()
    why: str = ""


def page(title: str, lead: str, trials: Sequence[Trial], notes: Sequence[str], logarithmic: frozenset[str]) -> str:
    """Returns the HTML page.

    Args:
        title: Plain text.
        lead: The result in a sentence.
        trials: By their number.
        notes: What a reader must know first.
        logarithmic: Varied fields that are drawn on a logarithmic scale.

    Raises:
        UserError: matplotlib is not installed.
    """
    scored = [one for one in trials if one.score is not None and math.isfinite(one.score)]
    return html.page(
        title,
        html.notes(notes),
        html.section("Score", *_figure(_rise, scored, "Validation score of each trial and the best so far")),
        html.section("What was varied", *_fields(scored, logarithmic)),
        html.section("Courses", *_figure(_courses, scored, "Validation score by step, one line a trial")),
        html.section("Trials", _table(trials), html.paragraph("Best first; scores are the validation split's.")),
        lead=lead,
    )


def _figure(draw: Any, scored: Sequence[Trial], alt: str) -> list[str]:
    return [html.figure(draw(scored), alt)] if scored else []


def _rise(scored: Sequence[Trial]) -> Any:
    plot, (axis,) = plots.panels(1, width=6.4)
    best = -math.inf
    steps = [(one.number, best := max(best, float(one.score or 0.0))) for one in scored if one.state == "finished"]
    for place, state in enumerate(sorted({one.state for one in scored}, reverse=True)):
        of_it = [one for one in scored if one.state == state]
        style = {"color": plots.COLOURS[place], "markersize": 5, "markeredgewidth": 0, "alpha": 0.8}
        axis.plot([one.number for one in of_it], [one.score for one in of_it], "o", label=state, **style)
    axis.step(*zip(*steps), where="post", color="#222", linewidth=1.3, label="best so far") if steps else None
    axis.legend(frameon=False, fontsize=9)
    plots.label(axis, "Score by trial", "trial", "validation score")
    return plot


def _fields(scored: Sequence[Trial], logarithmic: frozenset[str]) -> list[str]:
    names = list(scored[0].values) if scored else []
    if not names:
        return []
    plot, axes = plots.panels(len(names))
    for axis, name in zip(axes, names):
        _field(axis, name, scored, name in logarithmic)
    alt = f"Validation score against {', '.join(names)}, one dot a trial"
    return [html.figure(plot, alt, "One dot a trial; the other fields vary, too.")]


def _field(axis: Any, name: str, scored: Sequence[Trial], is_logarithmic: bool) -> None:
    values = [one.values[name] for one in scored]
    are_numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    if not are_numbers:
        known = sorted({str(value) for value in values})
        axis.set_xticks(range(len(known)), known)
        axis.set_xlim(-0.5, len(known) - 0.5)
        values = [known.index(str(value)) for value in values]
    elif is_logarithmic:
        axis.set_xscale("log")
    axis.plot(values, [one.score for one in scored], "o", color=plots.COLOURS[0], alpha=0.7, markersize=5)
    plots.label(axis, name, "", "validation score")


def _courses(scored: Sequence[Trial]) -> Any:
    plot, (axis,) = plots.panels(1, width=6.4)
    order = _best_first(scored)[:_CURVES]
    for one in reversed(order):
        is_best = one is order[0]
        style = {"color": plots.COLOURS[1], "linewidth": 2.0} if is_best else {"color": "#9aa5b1", "linewidth": 0.9}
        axis.plot([step for step, _ in one.course], [score for _, score in one.course], marker=".", **style)
    plots.label(axis, f"Trial {order[0].number} in colour", "step", "validation score")
    return plot


def _best_first(trials: Sequence[Trial]) -> list[Trial]:
    def place(one: Trial) -> tuple[bool, float, int]:
        return one.state != "finished", -math.inf if one.score is None else -one.score, one.number

    return sorted((one for one in trials if one.score is not None), key=place)


def _table(trials: Sequence[Trial]) -> str:
    order = [*_best_first(trials), *(one for one in trials if one.score is None)]
    names = list(order[0].values) if order else []
    has_reasons = any(one.why for one in order)
    rows = [
        (
            str(one.number),
            one.state,
            text.number(one.score),
            *[_told(one.values[name]) for name in names],
            *([one.why] if has_reasons else []),
        )
        for one in order
    ]
    return html.table(("trial", "state", "score", *names, *(["why"] if has_reasons else [])), rows) if rows else ""


def _told(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
