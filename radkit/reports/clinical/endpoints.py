"""The page's section on questions of yes or no: figures of scores, curves, calls at the operating point."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from radkit.reports import html, text
from radkit.reports.clinical import endpoint_plots, parts

Told = Mapping[str, Any]
_OPEN = 3  # endpoints that are shown at once
_RULES = {
    "youden": "the largest sum of sensitivity and specificity",
    "min_sensitivity": "the highest specificity with a sensitivity of at least {}",
    "min_specificity": "the highest sensitivity with a specificity of at least {}",
    "min_cost": "the lowest mean cost, where a missed yes costs {} false alarms",
    "fixed": "a fixed threshold, which no figures chose",
}


def part(told: Sequence[Told]) -> parts.Part:
    """Returns the section.

    Args:
        told: What the report says of endpoints.
    """
    if not told:
        return parts.Part("")
    drawings: list[parts.Drawing] = []
    subsections = []
    for place, endpoint in enumerate(told, 1):
        drawn = endpoint_plots.of(endpoint, place)
        drawings += drawn
        # Ten labels have 40 plots: what is behind the first ones is a click away.
        subsections.append(_endpoint(endpoint, drawn, html.subsection if place <= _OPEN else html.folded))
    return parts.Part("\n".join([*subsections, _meanings(told)]), drawings)


def _endpoint(told: Told, drawn: Sequence[parts.Drawing], under: Callable[..., str]) -> str:
    return under(
        told["name"],
        html.paragraph(_counts(told)),
        html.notes(_warnings(told)),
        figures(told["figures"], f"Scores of {told['name']}"),
        html.side_by_side([parts.shown(drawing) for drawing in drawn]),
        _at_point(told),
    )


def _counts(told: Told) -> str:
    patients = f"{told['num_patients']} patient{'s' * (told['num_patients'] != 1)}"
    said = f"{cases(told['n'])} of {patients}: {told['positives']} yes, {told['negatives']} no"
    said += f", {told['soft']} in between, which count as the share of their readers who said yes" * (told["soft"] > 0)
    if told["unknown"]:
        said += f". Left out, because nobody knows their truth: {cases(told['unknown'])}"
    return f"{said}."


def cases(count: int) -> str:
    """Returns how many cases there are, in words."""
    return f"{count} case{'s' * (count != 1)}"


def _warnings(told: Told) -> list[str]:
    worst, n = told["set_to_worst"], told["n"]
    said = []
    if worst:
        said.append(
            f"The model gave no number for {worst} of {cases(n)}. What has none is counted as its surest mistake, not "
            "left out."
        )
    missing = [word for word, count in (("yes", "positives"), ("no", "negatives")) if told[count] + told["soft"] == 0]
    if n and missing:
        said.append(f"There is no case of {missing[0]}: what tells yes from no cannot be measured here.")
    return said


def figures(listed: Sequence[Told], caption: str) -> str:
    """Returns figures as a table: value, interval over patients, intervals by formulas where there are any."""
    if not listed:
        return ""
    level = f"{100 * listed[0]['level']:g} %"
    formula = any("closed" in one for one in listed)
    wilson = any("wilson" in one for one in listed)
    header = ["figure", "value", f"{level} interval, patients drawn"]
    header += [f"{level}, by formula"] * formula + [f"{level}, Wilson"] * wilson + ["cases"]
    rows = []
    for one in listed:
        row = [one["name"], _value(one), _between(one)]
        row += [_between(one.get("closed"))] * formula + [_between(one.get("wilson"))] * wilson
        rows.append([*row, _cases(one)])
    return html.table(header, rows, caption)


def _value(figure: Told) -> Any:
    unit = f" {figure['unit']}" if figure["unit"] else ""
    return "undefined" if figure["value"] is None else f"{text.number(float(figure['value']))}{unit}"


def _cases(figure: Told) -> Any:
    return (
        f"{text.number(figure['part'])}\u00a0of\u00a0{text.number(figure['whole'])}"
        if "part" in figure
        else figure["n"]
    )


def _between(interval: Told | None) -> str:
    if not interval or interval["low"] is None or interval["high"] is None:
        return ""
    return f"{text.number(float(interval['low']))} to {text.number(float(interval['high']))}"


def _at_point(told: Told) -> str:
    point, name = told["operating_point"], told["name"]
    if point is None:
        return html.paragraph("No operating point was chosen, so that nothing is called yes or no.")
    if point["threshold"] is None:
        words = f"No threshold meets the rule ({_rule(point)}), so that nothing is called yes or no."
        return html.paragraph(words)
    counts = point["confusion"]
    table = html.table(
        ("truth", "called yes", "called no", "together"),
        [
            ("yes", _count(counts["tp"]), _count(counts["fn"]), _count(counts["tp"] + counts["fn"])),
            ("no", _count(counts["fp"]), _count(counts["tn"]), _count(counts["fp"] + counts["tn"])),
        ],
        f"Calls of {name}",
    )
    return "\n".join([html.paragraph(_point(point)), table, figures(point["figures"], f"Calls of {name}, figures")])


def _point(point: Told) -> str:
    said = f"Called yes: scores of {point['threshold']:.6g} and more. Rule: {_rule(point)}"
    if point["chosen_on"]:
        said += f"; chosen on {cases(point['num_cases'])} of the split {point['chosen_on']}"
        if point["sensitivity"] is not None and point["specificity"] is not None:
            said += (
                f", where sensitivity is {text.number(float(point['sensitivity']))} and specificity "
                f"{text.number(float(point['specificity']))}"
            )
    return f"{said}."


def _rule(point: Told) -> str:
    known = _RULES.get(point["rule"], point["rule"].replace("_", " ") + " {}")
    return known.format("" if point["value"] is None else f"{point['value']:g}").strip()


def _count(value: float) -> Any:
    return int(value) if math.floor(value) == value else float(value)


def _meanings(told: Sequence[Told]) -> str:
    """Returns what each figure is, in a table."""
    said: dict[str, str] = {}
    for endpoint in told:
        point = endpoint["operating_point"] or {"figures": []}
        for figure in [*endpoint["figures"], *point["figures"]]:
            # From where on a case is called is told beside the calls.
            said.setdefault(figure["name"], figure["method"].partition("; called yes from")[0])
    interval = next((one["interval"] for endpoint in told for one in endpoint["figures"]), "")
    closed = {
        one["closed"]["method"]
        for endpoint in told
        for one in [*endpoint["figures"], *(endpoint["operating_point"] or {"figures": []})["figures"]]
        if "closed" in one
    }
    rows = [*said.items(), ("interval, patients drawn", interval), ("interval, by formula", "; ".join(sorted(closed)))]
    return html.subsection("What the figures are", html.table(("figure", "how"), [row for row in rows if row[1]]))
