"""Test sets of one model side by side."""

from collections.abc import Mapping
from typing import Any

from radkit.reports import html
from radkit.reports.clinical import forest, parts

_EXTERNAL = {True: "external", False: "internal", None: "not told"}


def part(told: Mapping[str, Any] | None) -> parts.Part:
    """Returns how each set was made, its figures, and how they differ; nothing without other sets."""
    if not told:
        return parts.Part("")
    drawings = _drawings(told)
    body = [
        _made(told),
        *[parts.shown(drawing) for drawing in drawings],
        _figures(told),
        _differences(told),
        html.paragraph(
            f"Differences: {told['method']}. Sets that share patients are not independent. A figure may differ because "
            "the patients do: see the share of yes and the subgroups of each set."
        ),
    ]
    return parts.Part("\n".join(piece for piece in body if piece), drawings)


def _made(told: Mapping[str, Any]) -> str:
    rows = [
        (one["name"], one["type"], _EXTERNAL[one["external"]], one["told"] or "-", one["n"], one["num_patients"])
        for one in told["sets"]
    ]
    return html.table(("test set", "type", "records", "how it was made", "cases", "patients"), rows)


def _names(told: Mapping[str, Any]) -> dict[str, str]:
    """Returns figures in their order, each with its unit."""
    return {str(one["name"]): forest.named(one) for entry in told["sets"] for one in entry["figures"]}


def _figures(told: Mapping[str, Any]) -> str:
    by_set = [forest.by_name(entry["figures"]) for entry in told["sets"]]
    rows = [(words, *[forest.figure(figures.get(name)) for figures in by_set]) for name, words in _names(told).items()]
    return html.table(("figure", *[str(entry["name"]) for entry in told["sets"]]), rows) if rows else ""


def _differences(told: Mapping[str, Any]) -> str:
    rows = [
        (
            forest.named(one),
            one["with"],
            forest.figure({**one, "value": one["difference"]}),
            forest.p(one["p"]),
            forest.p(one["p_adjusted"]),
        )
        for one in told["differences"]
    ]
    header = ("figure", "against", "this set minus other", "p", "p corrected")
    return html.table(header, rows, f"{len(rows)} tests; p corrected for all of them") if rows else ""


def _drawings(told: Mapping[str, Any]) -> list[parts.Drawing]:
    drawings = []
    for place, (name, words) in enumerate(_names(told).items(), 1):
        found = [(entry, forest.by_name(entry["figures"]).get(name)) for entry in told["sets"]]
        rows = [(f"{entry['name']}: {entry['type']} (n = {one['n']})", one) for entry, one in found if one]
        drawings.append(forest.plot(f"test_sets_{place}", words, rows, caption="Bars are intervals over patients."))
    return drawings[:3]
