"""Parts that the pages of all evaluations share: what an evaluation saved, as figures, subgroups and warnings.

`result` is what an evaluation saves, as `radkit.reports.evaluation` tells.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from radkit.reports import html, pictures, plots, text

_MOST_ROWS = 50
_SPELT = ("ROC", "AUC", "PPV", "NPV", "MCC", "ECE", "MCE", "HD", "HD95", "NSD", "ASSD", "MASD", "CI", "F1", "mL")
_ABBREVIATIONS = {word.lower(): word for word in _SPELT}


def of_test_set(result: Mapping[str, Any]) -> str:
    """Returns how the test set was made and how often it was seen."""
    said = result.get("test_set", {}).get("told"), result.get("look", {}).get("told")
    return "".join(f"; {words}" for words in (said[0] and f"test set: {said[0]}", said[1]) if words)


def warned(result: Mapping[str, Any], notes: Sequence[str]) -> str:
    """Returns the warnings, that of the test set first."""
    return html.notes([*filter(None, [result.get("look", {}).get("warning")]), *notes])


def headline(result: Mapping[str, Any], caption: str) -> str:
    """Returns the table of figures with their intervals; nothing without figures."""
    rows = []
    for name, figure in figures(result).items():
        between = interval(figure.get("low"), figure.get("high"))
        rows.append((words(name), figure["value"], between, figure.get("undefined"), figure.get("set_to_worst")))
    header = ("figure", "value", "95 % interval", "cases undefined", "cases set to worst")
    # Columns that say nothing of any figure are left out.
    kept = [column for column in range(5) if column < 2 or any(row[column] not in (None, "") for row in rows)]
    shown = [tuple(row[column] for column in kept) for row in rows]
    return html.section("Figures", html.table([header[column] for column in kept], shown, caption) if rows else "")


def interval(low: float | None, high: float | None) -> str:
    """Returns an interval in words; nothing where it is not known."""
    return "" if low is None or high is None else f"{text.number(float(low))} to {text.number(float(high))}"


def figures(result: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Returns each figure as a mapping with `value`, whether it was saved so or as a number."""
    found: dict[str, Mapping[str, Any]] = {}
    for name, figure in result.get("figures", result).items():
        if isinstance(figure, Mapping) and "value" in figure:
            found[str(name)] = figure
        elif isinstance(figure, int | float | np.number):
            found[str(name)] = {"value": figure}
    return found


def subgroups(result: Mapping[str, Any]) -> str:
    """Returns the figures of each subgroup in a table; nothing without subgroups."""
    groups = {str(name): figures({"figures": saved}) for name, saved in (result.get("subgroups") or {}).items()}
    columns = list(dict.fromkeys(column for saved in groups.values() for column in saved))
    if not columns:
        return ""
    rows = [
        (name, *[_with_interval(saved.get(column, {"value": None})) for column in columns])
        for name, saved in groups.items()
    ]
    table = html.table(("subgroup", *map(words, columns)), rows)
    return html.section(
        "Subgroups", table, html.paragraph("Small subgroups scatter: read them with their numbers of cases.")
    )


def _with_interval(figure: Mapping[str, Any]) -> Any:
    between = interval(figure.get("low"), figure.get("high"))
    return f"{text.number(figure['value'])} ({between})" if between else figure["value"]


def picture(image: np.ndarray, caption: str) -> str:
    """Returns a grey picture, (rows, columns), with its caption."""
    return html.figure(pictures.grey(np.asarray(image)), f"Image: {caption}", caption)


def case_table(cases: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns a table of the worst cases, every number of them, and in words how many are left out.

    Args:
        cases: Worst first, at least one; each has `name`.
    """
    columns = [name for name, value in cases[0].items() if isinstance(value, int | float)]
    rows = [(case["name"], *[case.get(name) for name in columns]) for case in cases[:_MOST_ROWS]]
    left_out = len(cases) - len(rows)
    return [
        html.table(("case", *map(words, columns)), rows, "Worst first"),
        html.paragraph(f"{left_out} better cases are not listed." if left_out else ""),
    ]


def learning(history: Sequence[Mapping[str, Any]]) -> str:
    """Returns the learning curves; nothing without a history."""
    if not history:
        return ""
    alt = f"Learning curves over {len(history)} reports, the last at step {history[-1].get('step', '?')}"
    return html.section("Learning curves", html.figure(plots.learning_curves(history), alt))


def words(name: str) -> str:
    """Returns a figure's name as it is read.

    >>> words("roc_auc")
    'ROC AUC'
    """
    return " ".join(_ABBREVIATIONS.get(word, word) for word in name.split("_"))
