"""Figures of subgroups, beside how many cases of each the model learned from, and how each differs from the rest."""

from collections.abc import Mapping, Sequence
from typing import Any

from radkit.reports import html
from radkit.reports.clinical import forest, parts

_MOST_PLOTS = 3
_NOT_TOLD = "not told"

Told = Sequence[Mapping[str, Any]]


def part(told: Told | None) -> parts.Part:
    """Returns plots, a table a fact, and the table of differences; nothing without groups."""
    if not told:
        return parts.Part("")
    whole = next((entry for entry in told if not entry["fact"]), None)
    facts = {entry["fact"]: [one for one in told if one["fact"] == entry["fact"]] for entry in told if entry["fact"]}
    parted = {fact: groups for fact, groups in facts.items() if len(groups) > 1}
    drawings = _drawings(whole, parted)
    tables = [
        html.subsection(forest.fact(fact).capitalize(), _table(whole, groups), html.paragraph(_unmet(groups)))
        for fact, groups in parted.items()
    ]
    body = [
        html.paragraph(_alike(facts)),
        *[parts.shown(drawing) for drawing in drawings],
        *tables,
        html.subsection("Each group against all other cases", _differences(told), html.paragraph(_methods(told))),
    ]
    return parts.Part("\n".join(piece for piece in body if piece), drawings)


def _alike(facts: Mapping[str, Told]) -> str:
    """Returns what all cases have in common, and what none tells, in words."""
    alone = {fact: groups[0]["value"] for fact, groups in facts.items() if len(groups) == 1}
    same = [f"{forest.fact(fact)} {value}" for fact, value in alone.items() if value != _NOT_TOLD]
    silent = [forest.fact(fact) for fact, value in alone.items() if value == _NOT_TOLD]
    words = f"All cases have in common: {', '.join(same)}. " if same else ""
    return (words + (f"Not told of any case: {', '.join(silent)}." if silent else "")).strip()


def _drawings(whole: Mapping[str, Any] | None, parted: Mapping[str, Told]) -> list[parts.Drawing]:
    if whole is None or not parted:
        return []
    drawings = []
    for place, of_all in enumerate(whole["figures"][:_MOST_PLOTS], 1):
        rows = [(f"all cases (n = {of_all['n']})", of_all)]
        for fact, groups in parted.items():
            for group in groups:
                one = forest.by_name(group["figures"]).get(of_all["name"])
                if one is not None:
                    rows.append((f"{forest.fact(fact)}: {group['value']} (n = {one['n']})", one))
        caption = "Bars are intervals over patients; the dotted line is the figure of all cases."
        drawings.append(forest.plot(f"subgroups_{place}", forest.named(of_all), rows, of_all["value"], caption))
    return drawings


def _table(whole: Mapping[str, Any] | None, groups: Told) -> str:
    listed = [*([whole] if whole else []), *groups]
    names = list(dict.fromkeys(one["name"] for entry in listed for one in entry["figures"]))
    questions = list(listed[0]["positives"])
    trained = any(entry["n_train"] is not None for entry in listed)
    # One question is told as such; several would need a column each, and stand in report.json.
    only = questions[0] if len(questions) == 1 else None
    header = ["group", "cases", "patients", *([f"{only} yes"] if only else [])]
    header += [*(["trained on"] if trained else []), *([f"{only} yes, trained on"] if trained and only else []), *names]
    rows = []
    for entry in listed:
        figures = forest.by_name(entry["figures"])
        row = [entry["value"], entry["n"], entry["num_patients"]]
        row += [forest.amount(entry["positives"][only])] if only else []
        row += [entry["n_train"]] if trained else []
        row += [forest.amount(entry["positives_train"][only])] if trained and only else []
        missing = "too few to tell" if not entry["enough"] else "-"
        rows.append((*row, *[forest.figure(figures[name]) if name in figures else missing for name in names]))
    return html.table(header, rows)


def _unmet(groups: Told) -> str:
    """Returns which groups the model was tested on without having seen any, and the reverse."""
    told = [entry for entry in groups if entry["value"] != _NOT_TOLD]
    new = [str(entry["value"]) for entry in told if entry["n"] and entry["n_train"] == 0]
    untested = [str(entry["value"]) for entry in told if not entry["n"] and entry["n_train"]]
    words = f"Not among the cases trained on: {', '.join(new)}. " if new else ""
    return (words + (f"Trained on but not tested: {', '.join(untested)}." if untested else "")).strip()


def _differences(told: Told) -> str:
    rows = [
        (
            f"{forest.fact(entry['fact'])}: {entry['value']}",
            forest.named(one),
            forest.figure({**one, "value": one["difference"]}),
            forest.p(one["p"]),
            forest.p(one["p_adjusted"]),
        )
        for entry in told
        for one in entry["differences"]
    ]
    header = ("group", "figure", "group minus all others", "p", "p corrected")
    return html.table(header, rows, f"{len(rows)} tests; p corrected for all of them") if rows else ""


def _methods(told: Told) -> str:
    fewest = told[0]["fewest_patients"]
    tests = [one for entry in told for one in entry["differences"]]
    words = f"Groups of fewer than {fewest} patients are counted, not measured. "
    if tests:
        first = tests[0]
        words += (
            f"Differences: {first['method']}. Correction: {first['correction']}. Of a fact with two groups the first "
        )
        words += "is told against the second. "
    return words + "No proof that groups are alike: a wide interval is compatible with a large difference."
