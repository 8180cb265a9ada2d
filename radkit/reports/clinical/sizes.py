"""Figures of the small and of the large: a table and a plot with intervals."""

from collections.abc import Mapping, Sequence
from typing import Any

from radkit.reports import html, plots, text
from radkit.reports.clinical import figures_table, lesions, parts

TOO_FEW = "too few to tell"


def part(told: Mapping[str, Any] | None) -> parts.Part:
    """Returns the figures of each group of sizes; nothing without sizes."""
    if not told or not told["groups"]:
        return parts.Part("")
    groups = told["groups"]
    names = list(dict.fromkeys(figure["name"] for group in groups for figure in group["figures"]))
    drawings = [_drawing(told, name, place) for place, name in enumerate(names[:1], 1)]
    caption = f"{told['n']} {told['of']}, by {_of(told)}"
    words = html.paragraph(f"{told['method'][:1].upper()}{told['method'][1:]}.")
    shown = [parts.shown(drawing) for drawing in drawings]
    return parts.Part("\n".join([*shown, table(groups, "size", told["of"], names, caption), words]), drawings)


def table(groups: Sequence[Mapping[str, Any]], by: str, of: str, names: Sequence[str], caption: str) -> str:
    """Returns groups as a table: how many, of how many patients, and their figures.

    Args:
        groups: Each with its name under `by`, n, num_patients, too_few and figures.
        by: See `groups`; heading of the first column.
        of: What is counted, as `cases`.
        names: Of the figures, in order.
        caption: Plain text.
    """
    rows = []
    for group in groups:
        figures = {figure["name"]: lesions.in_words(figure) for figure in group["figures"]}
        missing = TOO_FEW if group["too_few"] else "-"
        rows.append((group[by], group["n"], group["num_patients"], *[figures.get(name, missing) for name in names]))
    units = {figure["name"]: figures_table.named(figure) for group in groups for figure in group["figures"]}
    return html.table((by, of, "patients", *[units[name] for name in names]), rows, caption)


def _of(told: Mapping[str, Any]) -> str:
    return "longest side" if told["of"] == "lesions" else "the reference's size"


def _drawing(told: Mapping[str, Any], name: str, place: int) -> parts.Drawing:
    drawn = []
    for group in told["groups"]:
        figure = next((one for one in group["figures"] if one["name"] == name), None)
        if figure is not None and figure["value"] is not None:
            drawn.append((f"{group['size']} (n = {group['n']})", figure))
    plot, (axis,) = plots.panels(1, width=6.6, height=1.2 + 0.45 * max(len(drawn), 1))
    for row, (_, figure) in enumerate(drawn):
        if figure["low"] is not None:
            axis.hlines(row, figure["low"], figure["high"], color=plots.COLOURS[0], linewidth=2)
        axis.plot([figure["value"]], [row], "o", color=plots.COLOURS[0], markersize=6)
    axis.set_yticks(range(len(drawn)), [words for words, _ in drawn])
    axis.set_ylim(len(drawn) - 0.5, -0.5)
    axis.grid(False, axis="y")
    unit = next((f" ({figure['unit']})" for _, figure in drawn if figure["unit"]), "")
    plots.label(axis, f"{name} by size", f"{name}{unit}", "")
    values = ", ".join(f"{words} {text.number(float(figure['value']))}" for words, figure in drawn)
    alt = f"{name} by size: {values or 'undefined in all groups'}"
    return parts.Drawing(f"sizes_{place}", plot, alt, "Bars are intervals over patients.")
