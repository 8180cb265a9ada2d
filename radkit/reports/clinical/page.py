"""The page of a clinical evaluation: what `report.json` says, part by part, with pictures of cases."""

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from radkit.reports import html, plots
from radkit.reports.clinical import parts


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        module: Of this folder; its `part` makes it.
        key: What of the report it is given.
        heading: Above it.
    """

    module: str
    key: str
    heading: str

    @property
    def anchor(self) -> str:
        """What links in the page lead to."""
        return self.module.replace("_", "-")


SECTIONS = (
    Section("figures_table", "figures", "Figures"),
    Section("endpoints", "endpoints", "Questions of yes or no"),
    Section("confusion", "confusion", "Confusion between classes"),
    Section("agreement", "agreement", "Agreement of measurements"),
    Section("lesions", "lesions", "Lesions"),
    Section("sizes", "sizes", "Small and large"),
    Section("subgroups", "subgroups", "Subgroups"),
    Section("fairness", "fairness", "Fairness between groups"),
    Section("comparison", "comparisons", "Compared with other models"),
    Section("readers", "readers", "Compared with readers"),
    Section("test_sets", "test_sets", "Test sets side by side"),
    Section("failures", "failures", "Failures"),
    Section("robustness", "robustness", "Robustness"),
)
_PICTURES, _OWN, _HISTORY, _METHODS, _ABOUT = "pictures", "task", "training", "methods", "about"


def page(
    report: Mapping[str, Any],
    pictures: str = "",
    history: Sequence[Mapping[str, Any]] = (),
    own: str = "",
) -> tuple[str, list[parts.Drawing]]:
    """Returns the HTML page, and its plots as they go into papers.

    Args:
        report: As `report.json` has it: what is undefined is null.
        pictures: HTML of cases, worst first, as a task's `drawn` gives it; empty: none.
        history: The run's, one mapping a validation; empty: not shown.
        own: The task's own page; empty: there is none.

    Raises:
        UserError: matplotlib is not installed, or `own` is no page of ours.
    """
    made = [(section, _part(section.module, report.get(section.key))) for section in SECTIONS]
    told = [(section.anchor, section.heading, part.body) for section, part in made]
    told += [
        (_PICTURES, "Pictures of cases", pictures),
        (_OWN, "The task's own view", html.body_of(own) if own else ""),
        (_HISTORY, "How it was trained", _trained(history)),
        (_METHODS, "Methods, for a paper", _part("methods", report.get("methods")).body),
        (_ABOUT, "What was evaluated", _about(report)),
    ]
    shown = [(anchor, heading, body) for anchor, heading, body in told if body]
    document = html.page(
        title(report),
        html.notes(_notes(report)),
        html.contents([(anchor, heading) for anchor, heading, _ in shown]),
        *[html.section(heading, body, anchor=anchor) for anchor, heading, body in shown],
        lead=_lead(report),
    )
    return document, [drawing for _, part in made for drawing in part.drawings]


def _part(module: str, told: Any) -> parts.Part:
    found: parts.Part = importlib.import_module(f"radkit.reports.clinical.{module}").part(told)
    return found


def title(report: Mapping[str, Any]) -> str:
    """Returns what the page is called."""
    dataset, which = ((report.get("data") or {}).get(name) for name in ("dataset", "cases"))
    task = str(report["task"]).replace("_", " ")
    return f"{dataset}: {which or 'evaluation'} ({task})" if dataset else f"Evaluation of {task}"


def _lead(report: Mapping[str, Any]) -> str:
    cases, test_set, look = (report.get(key) or {} for key in ("cases", "test_set", "look"))
    said = [f"{_counted(cases.get('n', 0), 'case')} of {_counted(cases.get('num_patients', 0), 'patient')}"]
    standards = [str(name).replace("_", " ") for name in cases.get("reference_standards") or {}]
    said += [f"reference standard: {' and '.join(standards)}"] if standards else []
    said += [f"test set: {test_set['told']}"] if test_set.get("told") else []
    said += [str(look["told"])] if look.get("told") else []
    return "; ".join(said)


def _notes(report: Mapping[str, Any]) -> list[str]:
    look, cases = report.get("look") or {}, report.get("cases") or {}
    left_out = {name: count for name, count in (cases.get("left_out") or {}).items() if count}
    told = [str(look["warning"])] if look.get("warning") else []
    told += [f"Left out: {_counted(count, 'case')} {name}." for name, count in left_out.items()]
    if (cases.get("num_patients") or 0) < 2:
        told.append("With one patient no interval can be told.")
    return [*told, *map(str, report.get("notes") or [])]


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"


def _trained(history: Sequence[Mapping[str, Any]]) -> str:
    if not any("loss" in entry for entry in history):
        return ""
    last = history[-1]
    alt = f"Loss and scores over {last.get('step', len(history))} steps of training, in {len(history)} validations."
    return html.figure(plots.learning_curves(history), alt)


def _about(report: Mapping[str, Any]) -> str:
    rows = [
        (key.replace("_", " "), name.replace("_", " "), value)
        for key in ("data", "run", "settings", "test_set", "look", "cases")
        for name, value in _flat(report.get(key) or {})
    ]
    return html.table(("part", "what", "value"), rows) if rows else ""


def _flat(held: Mapping[str, Any], before: str = "") -> list[tuple[str, str]]:
    """Returns what a mapping holds, mappings within it by their names together; empty ones are left out."""
    found: list[tuple[str, str]] = []
    for name, value in held.items():
        said = f"{before}{name}"
        if isinstance(value, Mapping):
            found += _flat(value, f"{said}: ")
        elif isinstance(value, list | tuple):
            found += [(said, ", ".join(str(one) for one in value))] if value else []
        elif value not in (None, ""):
            found.append((said, str(value)))
    return found
