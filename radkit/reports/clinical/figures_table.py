"""Figures over all cases: each with its intervals, its n and how it was computed."""

from collections.abc import Mapping, Sequence
from typing import Any

from radkit.reports import html, sections
from radkit.reports.clinical import parts

_OF_ALL = "Intervals draw patients; where there is a formula, its interval stands beside."


def part(told: Sequence[Mapping[str, Any]] | None) -> parts.Part:
    """Returns the table of figures and, below, their methods."""
    if not told:
        return parts.Part("")
    return parts.Part("\n".join([table(told, _OF_ALL), html.subsection("How each figure is computed", _methods(told))]))


def table(figures: Sequence[Mapping[str, Any]], caption: str) -> str:
    """Returns figures with intervals as a table; columns that say nothing of any are left out.

    Args:
        figures: As `measures.figure` gives them; null: undefined.
        caption: Plain text.
    """
    level = f"{100 * float(figures[0]['level']):g} % interval"
    rows = [
        (
            named(one),
            undefined(one["value"]),
            sections.interval(one["low"], one["high"]),
            _by_formula(one),
            one["n"],
            one["num_patients"],
            one["num_undefined"] or None,
        )
        for one in figures
    ]
    header = ("figure", "value", level, "by formula", "cases", "patients", "draws undefined")
    kept = [place for place in range(len(header)) if place in (0, 1, 4) or any(_says(row[place]) for row in rows)]
    return html.table([header[place] for place in kept], [[row[place] for place in kept] for row in rows], caption)


def named(figure: Mapping[str, Any]) -> str:
    """Returns a figure's name with its unit."""
    return f"{figure['name']} ({figure['unit']})" if figure.get("unit") else str(figure["name"])


def undefined(value: float | None) -> float:
    """Returns a number as JSON has it: null is nan, which tables call undefined."""
    return float("nan") if value is None else float(value)


def _by_formula(figure: Mapping[str, Any]) -> str:
    closed = figure.get("closed") or {}
    between = sections.interval(closed.get("low"), closed.get("high"))
    return f"{between} ({closed['method']})" if between else ""


def _says(cell: Any) -> bool:
    return cell not in (None, "")


def _methods(figures: Sequence[Mapping[str, Any]]) -> str:
    return html.table(("figure", "method"), [(one["name"], one["method"]) for one in figures])
