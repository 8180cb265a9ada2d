"""How far apart groups of patients are: rates of calls and leading figures, each with the gap between groups."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from radkit.evaluation import contrasts, measures, rates, subgroups
from radkit.evaluation.cases import Cases, Draws
from radkit.evaluation.endpoints import Endpoint
from radkit.evaluation.measures import Measure
from radkit.evaluation.plan import Plan

_GAP = "largest minus smallest of the groups; interval: percentiles of the same over draws of patients"
_ODDS = "the larger of the gaps in sensitivity and in false positive rate; Hardt et al. 2016"


def tell(cases: Cases, plan: Plan) -> list[dict[str, Any]]:
    """Returns what the report says of fairness.

    Args:
        cases: The table.
        plan: What is measured, and the operating points.

    Returns:
        One for each fact that parts the cases into two groups or more of enough patients, and for each endpoint with an
        operating point; where there are leading measures also one with them (`endpoint` None): endpoint, threshold,
        fact, n, num_patients (of the groups that are compared), num_too_few and num_not_told (cases that are in none of
        these groups), num_undefined (groups in which a rate is undefined, which are left out of its gap), groups
        (value, n, num_patients, figures), gaps (name, value, low, high, largest, smallest, num_undefined, n, method),
        method.
    """
    at = rates.thresholds(plan.asked.endpoints, plan.points)
    asked: list[tuple[Endpoint | None, float, list[Measure]]] = [
        (
            endpoint,
            at[endpoint.name],
            [make(endpoint, at[endpoint.name]) for make in (rates.sensitivity, rates.false_positives, rates.called)],
        )
        for endpoint in plan.asked.endpoints
        if endpoint.name in at
    ]
    if leading := measures.leading(plan.asked.measures):
        asked.append((None, math.nan, leading))
    told = []
    for fact, named in _facts(cases).items():
        wanted = [(measure, cases, members) for _, _, found in asked for measure in found for _, members in named]
        drawn = iter(contrasts.drawn(wanted, plan.draws))
        for endpoint, threshold, found in asked:
            by_measure = [[next(drawn) for _ in named] for _ in found]
            told.append(_entry(fact, named, by_measure, endpoint, threshold, cases, plan.draws))
    return told


Named = tuple[str, np.ndarray]  # a group, and which cases are in it, (n,) bool


def _facts(cases: Cases) -> dict[str, list[Named]]:
    """Returns the groups that are compared, by fact."""
    found: dict[str, list[Named]] = {}
    for group in subgroups.of_cases(cases, None):
        if group.fact and group.value != subgroups.NOT_TOLD and subgroups.enough(cases, group.members):
            found.setdefault(group.fact, []).append((group.value, group.members))
    return {fact: named for fact, named in found.items() if len(named) > 1}


def _entry(
    fact: str,
    named: Sequence[Named],
    by_measure: Sequence[Sequence[contrasts.Drawn]],
    endpoint: Endpoint | None,
    threshold: float,
    cases: Cases,
    draws: Draws,
) -> dict[str, Any]:
    compared = np.any([members for _, members in named], axis=0)
    gaps = [_gap(of_groups, [value for value, _ in named], draws) for of_groups in by_measure]
    if endpoint is not None:
        gaps.append(_odds(by_measure[0], by_measure[1], draws))
    (fact_of,) = (one for one in subgroups.FACTS if one.name == fact)
    not_told = fact_of.groups(cases) == subgroups.NOT_TOLD
    return {
        "endpoint": endpoint.name if endpoint else None,
        "threshold": threshold,
        "fact": fact,
        "n": int(compared.sum()),
        "num_patients": len(np.unique(cases.patients[compared])),
        "num_too_few": int((~compared & ~not_told).sum()),
        "num_not_told": int((~compared & not_told).sum()),
        "num_undefined": sum(any(math.isnan(one.value) for one in of_group) for of_group in zip(*by_measure)),
        "groups": [
            {
                "value": value,
                "n": int(members.sum()),
                "num_patients": len(np.unique(cases.patients[members])),
                "figures": [of_groups[place].figure(draws) for of_groups in by_measure],
            }
            for place, (value, members) in enumerate(named)
        ],
        "gaps": gaps,
        "method": f"groups of {subgroups.FEWEST_PATIENTS} patients or more; a rate that is undefined in a group is "
        "left out of its gap",
    }


def _gap(of_groups: Sequence[contrasts.Drawn], names: Sequence[str], draws: Draws) -> dict[str, Any]:
    now = np.array([one.value for one in of_groups])
    value, values = float(_spread(now[:, None])[0]), _spread(np.array([one.values for one in of_groups]))
    defined = [place for place in range(now.size) if not math.isnan(now[place])]
    extremes = {
        "largest": names[max(defined, key=lambda place: now[place])] if len(defined) > 1 else "",
        "smallest": names[min(defined, key=lambda place: now[place])] if len(defined) > 1 else "",
    }
    return _with_interval(f"gap in {of_groups[0].measure.name}", value, values, of_groups, draws, _GAP) | extremes


def _odds(of_yes: Sequence[contrasts.Drawn], of_no: Sequence[contrasts.Drawn], draws: Draws) -> dict[str, Any]:
    both = [
        (_spread(np.array([[one.value] for one in groups])), _spread(np.array([one.values for one in groups])))
        for groups in (of_yes, of_no)
    ]
    value, values = (np.maximum(yes, no) for yes, no in zip(*both))  # nan where either is
    odds = _with_interval("equalised odds difference", float(value[0]), values, [*of_yes, *of_no], draws, _ODDS)
    return odds | {"largest": "", "smallest": ""}


def _with_interval(
    name: str, value: float, values: np.ndarray, of_groups: Sequence[contrasts.Drawn], draws: Draws, method: str
) -> dict[str, Any]:
    # Groups in which it is undefined are no part of the gap, and have no say in how sure it is.
    patients = min((one.patients for one in of_groups if not math.isnan(one.value)), default=0)
    low, high = measures.interval(value, values, patients, draws.level)
    return {
        "name": name,
        "value": value,
        "low": low,
        "high": high,
        "level": draws.level,
        "n": int(np.any([one.about for one in of_groups], axis=0).sum()),
        "num_undefined": int((~np.isfinite(values)).sum()),
        "unit": of_groups[0].measure.unit,
        "method": method,
        "interval": draws.told,
    }


def _spread(of_groups: np.ndarray) -> np.ndarray:
    """Returns the largest minus the smallest of (groups, draws), nan left out; nan where fewer than two are defined."""
    undefined = np.isnan(of_groups)
    with np.errstate(invalid="ignore"):  # of two infinite figures
        apart = np.where(undefined, -np.inf, of_groups).max(axis=0) - np.where(undefined, np.inf, of_groups).min(axis=0)
    return np.where((~undefined).sum(axis=0) > 1, apart, math.nan)
