"""The report: every number of an evaluation with its method and its n, as plain values."""

import dataclasses
from collections import Counter
from collections.abc import Mapping
from typing import Any

from radkit.evaluation import (
    agreement,
    comparison,
    confusion,
    endpoints_told,
    failures,
    fairness_told,
    lesions,
    measures,
    methods,
    readers,
    robustness,
    sizes,
    subgroups,
    test_sets,
)
from radkit.evaluation.cases import Cases
from radkit.evaluation.plan import Plan

FORMAT = 1
# What comes later has its place.
LATER = ("survival", "restoration", "report_text")


def of(cases: Cases, plan: Plan, about: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what `report.json` says, nan where a figure is undefined.

    Args:
        cases: The table.
        plan: What is measured of it.
        about: What is known beside: data, run, test_set, look, notes; `left_out` (how many cases are not in the table,
            by reason) goes into `cases`.

    Returns:
        format, task, settings, cases (n, num_patients, left_out, reference_standards), operating_points, what `about`
        holds, figures (of all cases), and the sections: endpoints, confusion, agreement, lesions, sizes, subgroups,
        fairness, comparisons, readers, test_sets, failures, robustness; later (what radkit has no figures of yet),
        methods (a text). docs/evaluation.md says what is in each.
    """
    beside = {name: value for name, value in about.items() if name != "left_out"}
    told: dict[str, Any] = {
        "format": FORMAT,
        "task": plan.task,
        "settings": {**dataclasses.asdict(plan.draws), "cost_of_miss": plan.cost_of_miss},
        "cases": {
            "n": len(cases),
            "num_patients": cases.num_patients,
            "left_out": dict(about.get("left_out", {})),
            "reference_standards": _standards(cases),
        },
        "operating_points": [dataclasses.asdict(point) for point in plan.points],
        **beside,
        "figures": [measures.figure(measure, cases, plan.draws) for measure in plan.asked.measures],
        "endpoints": endpoints_told.tell(cases, plan),
        "confusion": confusion.tell(cases, plan),
        "agreement": agreement.tell(cases, plan),
        "lesions": lesions.tell(cases, plan),
        "sizes": sizes.tell(cases, plan),
        "subgroups": subgroups.tell(cases, plan),
        "fairness": fairness_told.tell(cases, plan),
        "comparisons": comparison.tell(cases, plan),
        "readers": readers.tell(cases, plan),
        "test_sets": test_sets.tell(cases, plan),
        "failures": failures.tell(cases, plan),
        "robustness": robustness.tell(cases, plan),
        "later": dict.fromkeys(LATER),
    }
    return {**told, "methods": methods.tell(told)}


def _standards(cases: Cases) -> dict[str, int]:
    if not cases.has("reference_standard"):
        return {}
    return dict(sorted(Counter(cases.words("reference_standard").tolist()).items()))
