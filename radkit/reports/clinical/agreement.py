"""How the model's measurements agree with the reference's: a Bland-Altman plot and a table for each."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from radkit.reports import html, plots, text
from radkit.reports.clinical import figures_table, parts

_LINES = (
    ("bias", "bias", "-"),
    ("lower limit of agreement", "lower limit", "--"),
    ("upper limit of agreement", "upper limit", "--"),
)


def part(told: Sequence[Mapping[str, Any]] | None) -> parts.Part:
    """Returns a plot and a table for each thing that was measured twice."""
    bodies, drawings = [], []
    for place, one in enumerate(told or (), 1):
        drawn = [_drawing(one, place)] if one["points"]["mean"] else []
        drawings += drawn
        table = figures_table.table(one["figures"], f"{one['name']}: model against reference") if one["n"] else ""
        shown = [parts.shown(drawing) for drawing in drawn]
        bodies.append(html.subsection(str(one["name"]).capitalize(), *shown, table, html.paragraph(_counted(one))))
    method = told[0]["method"] if told else ""
    words = f"{method[:1].upper()}{method[1:]}." if method else ""
    return parts.Part("\n".join([*bodies, html.paragraph(words)]) if bodies else "", drawings)


def _counted(one: Mapping[str, Any]) -> str:
    words = f"{one['n']} pairs in {one['num_cases']} cases of {one['num_patients']} patients"
    if one["num_unknown"]:
        words += f"; {one['num_unknown']} left out, as the reference's is unknown"
    if one["num_undefined"]:
        words += f"; {one['num_undefined']} left out, as the model's is no number"
    if not one["bland_altman"]["independent"]:
        words += ". Patients have several pairs: limits of agreement treat these as independent, the intervals do not"
    return f"{words}."


def _drawing(one: Mapping[str, Any], place: int) -> parts.Drawing:
    of = f" ({one['unit']})" if one["unit"] else ""
    plot, (axis,) = plots.panels(1, width=6.6, height=4.0)
    axis.plot(one["points"]["mean"], one["points"]["difference"], "o", color=plots.COLOURS[0], alpha=0.6, markersize=5)
    axis.axhline(0, color="#6b7785", linewidth=0.8)
    by_name = {figure["name"]: figure for figure in one["figures"]}
    words: list[str] = []
    heights: list[float] = []
    for name, short, style in _LINES:
        figure = by_name[name]
        if figure["value"] is None:
            continue
        if figure["low"] is not None:
            axis.axhspan(figure["low"], figure["high"], color=plots.COLOURS[1], alpha=0.12, linewidth=0)
        axis.axhline(figure["value"], color=plots.COLOURS[1], linestyle=style, linewidth=1.3)
        told = f"{short} {text.number(float(figure['value']))}"
        words.append(told)
        if figure["value"] in heights:
            continue  # without any spread all three are one line
        heights.append(figure["value"])
        at = (1.01, figure["value"])
        axis.annotate(told, at, xycoords=("axes fraction", "data"), va="center", fontsize=9, annotation_clip=False)
    plots.label(axis, f"{one['name']}: model minus reference", f"mean of both{of}", f"difference{of}")
    alt = f"Bland-Altman plot of {one['name']}, {one['n']} pairs: {', '.join(words) or 'limits undefined'}{of}"
    stem = re.sub(r"[^a-z0-9]+", "_", str(one["name"]).lower()).strip("_")
    return parts.Drawing(f"bland_altman_{place}_{stem}", plot, alt, "Bands are intervals over patients.")
