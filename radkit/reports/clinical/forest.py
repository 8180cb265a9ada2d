"""A plot of groups: each with its figure and interval on a line of its own, and what tables of groups share."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from radkit.reports import plots, sections, text
from radkit.reports.clinical import parts

Row = tuple[str, Mapping[str, Any]]  # what stands beside the line, and a figure with value, low and high
MOST_ROWS = 60
_WORDS = {
    "age_years": "age",
    "manufacturer_model": "scanner model",
    "field_strength_t": "field strength",
    "slice_thickness_mm": "slice thickness",
    "body_part": "body part",
    "view_position": "view",
}


def fact(name: str) -> str:
    """Returns what cases are grouped by, as people read it."""
    return _WORDS.get(name, name.replace("_", " "))


def number(value: float | None) -> str:
    """Returns a number as JSON has it, null being undefined."""
    return text.number(math.nan if value is None else value)


def amount(value: float) -> float:
    """Returns a sum of answers: a count where none was in between.

    >>> amount(3.0), amount(2.5)
    (3, 2.5)
    """
    return int(value) if value == int(value) else value


def figure(told: Mapping[str, Any] | None) -> str:
    """Returns a figure with its interval; a dash where there is none."""
    if told is None:
        return "-"
    between = sections.interval(told["low"], told["high"])
    return f"{number(told['value'])} ({between})" if between else number(told["value"])


def p(value: float | None) -> str:
    """Returns a p value as journals print it.

    >>> p(0.0004), p(0.0412), p(None)
    ('< 0.001', '0.041', 'undefined')
    """
    if value is None:
        return "undefined"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def by_name(figures: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Returns figures by their names, in order."""
    return {str(one["name"]): one for one in figures}


def named(one: Mapping[str, Any]) -> str:
    """Returns a figure's name with its unit."""
    return f"{one['name']} ({one['unit']})" if one.get("unit") else str(one["name"])


def plot(stem: str, name: str, rows: Sequence[Row], line: float | None = None, caption: str = "") -> parts.Drawing:
    """Returns groups from top to bottom, each with its figure and interval.

    Args:
        stem: Of the files.
        name: Of the figure, with its unit; the horizontal axis.
        rows: Each group; those whose figure is undefined keep their line, empty. At most `MOST_ROWS` are drawn.
        line: A value that all are held against; None: none.
        caption: Plain text below.
    """
    drawn = rows[:MOST_ROWS]
    plot_of, (axis,) = plots.panels(1, width=6.0, height=1.1 + 0.28 * max(len(drawn), 1))
    if line is not None:
        axis.axvline(line, color="#6b7785", linestyle=":", linewidth=1.2)
    for place, (_, one) in enumerate(drawn):
        if one["value"] is None:
            continue
        if one["low"] is not None:
            axis.plot([one["low"], one["high"]], [place, place], color=plots.COLOURS[0], linewidth=1.6)
        axis.plot([one["value"]], [place], "o", color=plots.COLOURS[0], markersize=5.5)
    axis.set_yticks(range(len(drawn)), [words for words, _ in drawn])
    axis.set_ylim(len(drawn) - 0.4, -0.6)
    axis.grid(False, axis="y")
    plots.label(axis, "", name, "")
    words = "; ".join(f"{group} {figure(one)}" for group, one in drawn)
    against = "" if line is None else f", dotted line at {number(line)}"
    more = f"; {len(rows) - len(drawn)} more stand in the table" if len(rows) > len(drawn) else ""
    return parts.Drawing(stem, plot_of, f"{name} by group{against}: {words}{more}", caption)
