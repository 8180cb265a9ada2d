"""How figures change with perturbed images: a plot a figure, slopes, and the figures at each step."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from radkit.reports import html, plots, sections, text
from radkit.reports.clinical import figures_table, parts

_SLOPES = "Slope: change of the figure by one unit of the perturbation; an interval without 0 says that it changes."


def part(told: Mapping[str, Any] | None) -> parts.Part:
    """Returns plots, slopes and steps; nothing where no images were perturbed."""
    if not told or not told["perturbations"] or not told["perturbations"][0]["slopes"]:
        return parts.Part("")
    perturbations = told["perturbations"]
    drawings = [
        _drawing(perturbations, place)
        for place in range(len(perturbations[0]["slopes"]))
        if any(step["figures"][place]["value"] is not None for one in perturbations for step in one["steps"])
    ]
    body = [
        html.paragraph(f"{told['method']}: {told['n']} cases of {told['num_patients']} patients."),
        html.notes(_lost(perturbations), "Left the image"),
        *map(parts.shown, drawings),
        html.subsection("Slopes", _slopes(perturbations)),
        html.subsection("What was done to the images", _grid(perturbations)),
        html.subsection("Each step", _steps(perturbations)),
    ]
    return parts.Part("\n".join(text for text in body if text), drawings)


def _lost(perturbations: Sequence[Mapping[str, Any]]) -> list[str]:
    return [
        f"{one['name']}, {step['amount']:g} {one['unit']}: boxes of the reference that are no longer in the image "
        f"and are not counted as missed: {step['references_lost']}"
        for one in perturbations
        for step in one["steps"]
        if step["references_lost"]
    ]


def _slopes(perturbations: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        (
            figures_table.named(slope),
            one["name"],
            figures_table.undefined(slope["slope"]),
            sections.interval(slope["low"], slope["high"]),
            slope["per"],
            slope["n"],
        )
        for one in perturbations
        for slope in one["slopes"]
    ]
    order = [str(slope["name"]) for slope in perturbations[0]["slopes"]]
    rows.sort(key=lambda row: next(place for place, name in enumerate(order) if str(row[0]).startswith(name)))
    return html.table(("figure", "perturbation", "slope", "interval", "by", "cases"), rows, _SLOPES)


def _grid(perturbations: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        (
            one["name"],
            ", ".join(f"{step['amount']:g}" for step in one["steps"] if step["amount"]),
            one["unit"],
            one["what"],
        )
        for one in perturbations
    ]
    return html.table(("perturbation", "amounts", "unit", "what"), rows)


def _steps(perturbations: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        (
            one["name"],
            step["amount"],
            figures_table.named(figure),
            figures_table.undefined(figure["value"]),
            sections.interval(figure["low"], figure["high"]),
            figures_table.undefined(figure["change"]),
            sections.interval(figure["change_low"], figure["change_high"]),
            figure["n"],
        )
        for one in perturbations
        for step in one["steps"]
        for figure in step["figures"]
    ]
    header = ("perturbation", "amount", "figure", "value", "interval", "change", "interval of the change", "cases")
    return html.table(header, rows, "Changes are from the images as they are, in the same draws of patients")


def _drawing(perturbations: Sequence[Mapping[str, Any]], place: int) -> parts.Drawing:
    name = str(perturbations[0]["slopes"][place]["name"])
    plot, axes = plots.panels(len(perturbations), width=3.6, height=2.6, columns=2)
    for axis, one in zip(axes, perturbations):
        _panel(axis, one, place)
    _same_heights(axes)
    slopes = "; ".join(
        f"{one['name']} {text.number(figures_table.undefined(one['slopes'][place]['slope']))} by "
        f"{one['slopes'][place]['per']}"
        for one in perturbations
    )
    return parts.Drawing(
        f"robustness-{parts.stem(name)}",
        plot,
        f"{name} over the amounts of {len(perturbations)} perturbations, with intervals. Slopes: {slopes}.",
        f"{name} with perturbed images; 0: the images as they are. Bars: intervals over patients.",
    )


def _panel(axis: Any, one: Mapping[str, Any], place: int) -> None:
    figures = [step["figures"][place] for step in one["steps"]]
    amounts = np.array([float(step["amount"]) for step in one["steps"]])
    heights, low, high = (
        np.array([figures_table.undefined(figure[name]) for figure in figures]) for name in ("value", "low", "high")
    )
    axis.plot(amounts, heights, "o-", color=plots.COLOURS[0], markersize=5, linewidth=1.6)
    axis.vlines(amounts, low, high, color=plots.COLOURS[0], linewidth=1.2)
    slope = figures_table.undefined(one["slopes"][place]["slope"])
    line = heights.mean() + slope * (amounts - amounts.mean())
    axis.plot(amounts, line, "--", color=plots.COLOURS[1], linewidth=1.2)
    plots.label(axis, str(one["name"]), str(one["unit"]), str(one["slopes"][place]["unit"]))


def _same_heights(axes: Sequence[Any]) -> None:
    limits = [axis.get_ylim() for axis in axes]
    for axis in axes:
        axis.set_ylim(min(low for low, _ in limits), max(high for _, high in limits))
