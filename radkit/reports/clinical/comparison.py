"""This model beside others on the same cases."""

from collections.abc import Mapping, Sequence
from typing import Any

from radkit.reports import html
from radkit.reports.clinical import forest, parts


def part(told: Sequence[Mapping[str, Any]] | None) -> parts.Part:
    """Returns for each other model its figures beside this one's, their differences and tests."""
    if not told:
        return parts.Part("")
    drawings = [drawing for place, entry in enumerate(told, 1) for drawing in _drawings(entry, place)]
    shown = {drawing.stem: parts.shown(drawing) for drawing in drawings}
    bodies = [
        html.subsection(
            f"Against {entry['with']}",
            html.paragraph(_counted(entry)),
            *[picture for stem, picture in shown.items() if stem.startswith(f"comparison_{place}_")],
            _figures(entry),
            _tests(entry),
        )
        for place, entry in enumerate(told, 1)
    ]
    return parts.Part("\n".join([*bodies, html.paragraph(_methods(told))]), drawings)


def _counted(entry: Mapping[str, Any]) -> str:
    words = f"{entry['n']} cases of {entry['num_patients']} patients that both models answered"
    for key, where in (("only_here", "this evaluation"), ("only_there", str(entry["with"]))):
        if entry[key]:
            words += f"; {entry[key]} more in {where} alone are left out"
    if entry["several_a_patient"]:
        words += (
            ". Patients have several cases: McNemar's test takes these for independent, the others and the intervals "
            "do not"
        )
    return f"{words}."


def _figures(entry: Mapping[str, Any]) -> str:
    rows = [
        (
            forest.named(one),
            one["n"],
            forest.number(one["this"]),
            forest.number(one["other"]),
            forest.figure({**one, "value": one["difference"]}),
            forest.p(one["p"]),
            forest.p(one["p_adjusted"]),
        )
        for one in entry["figures"]
    ]
    header = ("figure", "cases", "this model", str(entry["with"]), "this minus other", "p", "p corrected")
    return html.table(header, rows) if rows else ""


def _tests(entry: Mapping[str, Any]) -> str:
    rows = [
        (
            f"{one['test']}, {one['endpoint']}",
            one["n"],
            one["left_out"],
            _seen(one),
            forest.p(one["p"]),
            forest.p(one["p_adjusted"]),
        )
        for one in entry["tests"]
    ]
    return html.table(("test", "cases", "left out", "seen", "p", "p corrected"), rows) if rows else ""


def _seen(one: Mapping[str, Any]) -> str:
    if one["test"] == "DeLong":
        apart = forest.figure({**one, "value": one["difference"]})
        return f"AUC {forest.number(one['this'])} and {forest.number(one['other'])}, difference {apart}"
    return f"only this right {one['only_this_right']}, only other right {one['only_other_right']}"


def _drawings(entry: Mapping[str, Any], place: int) -> list[parts.Drawing]:
    """Returns the differences of figures without a unit, which share an axis."""
    rows = [(str(one["name"]), {**one, "value": one["difference"]}) for one in entry["figures"] if not one.get("unit")]
    if not rows:
        return []
    name = f"difference, this model minus {entry['with']}"
    caption = "Bars are intervals over patients, drawn alike for both models; the dotted line is no difference."
    return [forest.plot(f"comparison_{place}_differences", name, rows, 0.0, caption)]


def _methods(told: Sequence[Mapping[str, Any]]) -> str:
    tests = [one for entry in told for kind in ("figures", "tests") for one in entry[kind]]
    sources = sorted({str(one["method"]) for entry in told for one in entry["tests"]})
    named = f"Tests: {'; '.join(sources)}. " if sources else ""
    paired = next((str(one["method"]).split("; ", 1)[-1] for entry in told for one in entry["figures"]), "")
    words = f"Figures: {paired}. " if paired else ""
    return f"{words}{named}" + (f"p corrected: {tests[0]['correction']}." if tests else "")
