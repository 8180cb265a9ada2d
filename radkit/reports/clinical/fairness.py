"""How far apart groups of patients are: the gaps first, then the rates that they are made of."""

from collections.abc import Mapping, Sequence
from typing import Any

from radkit.reports import html
from radkit.reports.clinical import forest, parts

Told = Sequence[Mapping[str, Any]]


def part(told: Told | None) -> parts.Part:
    """Returns a table of gaps and a table of rates a fact; nothing where no groups are compared."""
    if not told:
        return parts.Part("")
    facts: dict[str, list[Mapping[str, Any]]] = {}
    for entry in told:
        facts.setdefault(entry["fact"], []).append(entry)
    bodies = [
        html.subsection(
            forest.fact(fact).capitalize(),
            _gaps(entries),
            *[_rates(entry) for entry in entries if entry["endpoint"] is not None],
            html.paragraph(_left_out(entries[0])),
        )
        for fact, entries in facts.items()
    ]
    words = (
        "A gap is the largest minus the smallest of the groups. It is never negative, so it lies above 0 even where "
        "groups are alike, the more so the more and the smaller they are: read it with its interval and with the "
        f"tests of the subgroups. {told[0]['method'][:1].upper()}{told[0]['method'][1:]}."
    )
    return parts.Part("\n".join([html.paragraph(words), *bodies]))


def _gaps(entries: Told) -> str:
    rows = [
        (
            f"{one['name'][:1].upper()}{one['name'][1:]}",
            entry["endpoint"] or "-",
            forest.figure(one),
            one["largest"] or "-",
            one["smallest"] or "-",
            one["n"],
        )
        for entry in entries
        for one in entry["gaps"]
    ]
    return html.table(("gap", "question", "difference", "largest in", "smallest in", "cases"), rows)


def _rates(entry: Mapping[str, Any]) -> str:
    names = [one["name"] for one in entry["groups"][0]["figures"]]
    rows = [
        (group["value"], group["n"], group["num_patients"], *[forest.figure(one) for one in group["figures"]])
        for group in entry["groups"]
    ]
    caption = f"{entry['endpoint']}, called yes from {forest.number(entry['threshold'])} on"
    return html.table(("group", "cases", "patients", *names), rows, caption)


def _left_out(entry: Mapping[str, Any]) -> str:
    words = []
    if entry["num_too_few"]:
        words.append(f"{entry['num_too_few']} cases are of groups too small to tell")
    if entry["num_not_told"]:
        words.append(f"of {entry['num_not_told']} the records do not tell")
    return f"Not compared: {', '.join(words)}." if words else ""
