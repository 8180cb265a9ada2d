"""The page's section on calls among several classes."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from radkit.reports import html, plots
from radkit.reports.clinical import endpoints, parts


def part(told: Mapping[str, Any] | None) -> parts.Part:
    """Returns the section; nothing without three classes.

    Args:
        told: What the report says of calls among classes.
    """
    if not told:
        return parts.Part("")
    drawing = parts.Drawing("confusion", _plot(told), _alt(told), "Rows add up: darker is a larger share of the class.")
    left_out = (
        f" Left out, because nobody knows their class: {endpoints.cases(told['unknown'])}." if told["unknown"] else ""
    )
    words = f"{endpoints.cases(told['n'])}; patients: {told['num_patients']}; {told['rule']}.{left_out}"
    worst = told["set_to_worst"]
    warnings = (
        [f"The model gave no number for {endpoints.cases(worst)}; what has none is counted as called wrongly."]
        if worst
        else []
    )
    body = [
        html.paragraph(words),
        html.notes(warnings),
        parts.shown(drawing),
        _table(told),
        endpoints.figures(told["figures"], "Each class"),
    ]
    return parts.Part("\n".join(filter(None, body)), [drawing])


def _table(told: Mapping[str, Any]) -> str:
    rows = [(name, *row, sum(row)) for name, row in zip(told["labels"], told["counts"])]
    header = ("truth", *(f"called {name}" for name in told["labels"]), "together")
    return html.table(header, rows, "Cases by class and call")


def _alt(told: Mapping[str, Any]) -> str:
    said = []
    for name, row in zip(told["labels"], told["counts"]):
        called = ", ".join(f"{count} {other}" for count, other in zip(row, told["labels"]) if count)
        said.append(f"of {sum(row)} {name} are called {called}" if called else f"there is no {name}")
    return f"Table of classes and calls: {'; '.join(said)}"


def _plot(told: Mapping[str, Any]) -> Any:
    counts = np.array(told["counts"], float)
    names, size = told["labels"], len(told["labels"])
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    plot, (axis,) = plots.panels(1, width=max(4.4, 0.75 * size + 2), height=max(3.8, 0.6 * size + 1.8))
    axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row in range(size):
        for column in range(size):
            dark = shares[row, column] > 0.5
            words = str(int(counts[row, column]))
            axis.text(column, row, words, ha="center", va="center", color="#fff" if dark else "#1c2733", fontsize=10)
    turned = {"rotation": 45, "ha": "right"} if size > 4 or max(map(len, names)) > 8 else {}
    axis.set_xticks(range(size), names, **turned)
    axis.set_yticks(range(size), names)
    axis.grid(False)
    plots.label(axis, "Classes and calls", "called", "truth")
    return plot
