"""Test sets of one model side by side: how each was made, and how its figures differ from this one's."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from scipy import stats

from radkit.errors import UserError
from radkit.evaluation import contrasts, subgroups
from radkit.evaluation.cases import Cases
from radkit.evaluation.plan import Plan

THIS = "this test set"
_TYPES = {
    "random": "split-sample",
    "temporal": "temporal",
    "geographic": "geographic",
    "explicit": "as listed",
    "fold": "fold of cross-validation",
}
METHOD = (
    "test sets taken as independent; standard error of each figure: half the width of its interval over the normal "
    "quantile; p: difference over the root of the sum of their squares, normal, two-sided"
)


def tell(cases: Cases, plan: Plan) -> dict[str, Any] | None:
    """Returns what the report says of other test sets of the same model; None where there are none.

    Args:
        cases: This test set's table.
        plan: What is measured, `test_set` (how this one was made) and `elsewhere` (reports on the others).

    Returns:
        sets: this one first: name, type (split-sample, temporal, geographic, as listed, fold of cross-validation, not
        told), external (whether its records are others than the run's; None: not told), told (the type in words), n,
        num_patients, figures (name, value, low, high, level, n, unit, better, method: leading measures, and sensitivity
        and specificity at the operating points). differences: name, with, difference (this minus the other), low, high,
        se, p, p_adjusted, correction, n (of both), method. method.

    Raises:
        UserError: A report of another task, or of this very set.
    """
    if not plan.elsewhere:
        return None
    everyone = contrasts.drawn(
        [(measure, cases, measure.known(cases)) for measure in subgroups.measured(plan)], plan.draws
    )
    figures = [one.figure(plan.draws) for one in everyone]
    sets = [
        {
            "name": THIS,
            **_made(plan.test_set),
            "n": len(cases),
            "num_patients": cases.num_patients,
            "figures": figures,
        }
    ]
    sets += [
        _set(name, report, plan.task, [figure["name"] for figure in figures]) for name, report in plan.elsewhere.items()
    ]
    differences = [
        _difference(figure, other, entry["name"])
        for entry in sets[1:]
        for figure in figures
        for other in entry["figures"]
        if other["name"] == figure["name"]
    ]
    p = contrasts.adjusted(one["p"] for one in differences)
    return {
        "sets": sets,
        "differences": [
            {**one, "p_adjusted": value, "correction": contrasts.HOLM} for one, value in zip(differences, p)
        ],
        "n": len(sets),
        "method": METHOD,
    }


def _made(said: Mapping[str, Any]) -> dict[str, Any]:
    kind = str(said.get("type", ""))
    own = said.get("of_the_runs_records", True if kind == "fold" else None)
    return {
        "type": _TYPES.get(kind, kind or "not told"),
        "external": None if own is None else not own,
        "told": str(said.get("told", "")),
    }


def _set(name: str, report: Mapping[str, Any], task: str, wanted: Sequence[str]) -> dict[str, Any]:
    if report.get("task") != task:
        raise UserError(f"{name}: a report of task {report.get('task')!r}; one of {task!r} was expected")
    if not isinstance(report.get("cases"), Mapping) or not isinstance(report.get("figures"), list):
        raise UserError(f"{name}: no report as radkit evaluate writes it (report.json); evaluate that test set again")
    found = {figure["name"]: figure for figure in [*_at_points(report), *report["figures"]]}
    return {
        "name": name,
        **_made(report.get("test_set") or {}),
        "n": report["cases"]["n"],
        "num_patients": report["cases"]["num_patients"],
        "figures": [found[figure] for figure in wanted if figure in found],
    }


def _at_points(report: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Returns sensitivity and specificity at a report's operating points, which its entry of all cases has."""
    whole = [entry for entry in report.get("subgroups") or () if not entry["fact"]]
    return [figure for entry in whole for figure in entry["figures"]]


def _difference(this: Mapping[str, Any], other: Mapping[str, Any], name: str) -> dict[str, Any]:
    errors = [_error(one) for one in (this, other)]
    value, theirs = this["value"], _number(other["value"])
    with_both = math.sqrt(sum(error**2 for error in errors))
    found = value - theirs
    quantile = float(stats.norm.ppf((1 + this["level"]) / 2))
    return {
        "name": this["name"],
        "with": name,
        "difference": found,
        "low": found - quantile * with_both,
        "high": found + quantile * with_both,
        "se": with_both,
        "p": _p(found, with_both),
        "n": this["n"] + other["n"],
        "unit": this["unit"],
        "method": METHOD,
    }


def _p(found: float, se: float) -> float:
    if math.isnan(found + se):
        return math.nan
    if se == 0:
        return 1.0 if found == 0 else math.nan
    return 2 * float(stats.norm.sf(abs(found) / se))


def _error(figure: Mapping[str, Any]) -> float:
    """Returns the standard error that an interval stands for."""
    width = _number(figure["high"]) - _number(figure["low"])
    return width / (2 * float(stats.norm.ppf((1 + figure["level"]) / 2)))


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
