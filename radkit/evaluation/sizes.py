"""Figures of the small and of the large: cases by the size of what they hold, lesions by their longest side."""

import functools
import itertools
import math
from typing import Any

import numpy as np

from radkit.evaluation import boxes, masks, measures, subgroups
from radkit.evaluation.cases import Cases
from radkit.evaluation.measures import Measure
from radkit.evaluation.plan import Plan
from radkit.metrics import detection_summary, weighted_numbers

_NAMES = ("small", "medium", "large")
METHOD = (
    "small, medium and large are the thirds of these cases by the reference's size; cases that hold nothing, and cases "
    f"whose size is unknown, stand alone; groups of fewer than {subgroups.FEWEST_PATIENTS} patients are told by number "
    "only"
)
LESIONS_METHOD = (
    "lesions of the reference by their longest side; found is a hit by a box of at least the operating point's score; "
    f"{boxes.HIT}; groups of fewer than {subgroups.FEWEST_PATIENTS} patients are told with their number only"
)


def tell(cases: Cases, plan: Plan) -> dict[str, Any] | None:
    """Returns the leading measures of each group of sizes; None where nothing has a size.

    Args:
        cases: The table.
        plan: `asked.sized_by` names the column of sizes; of boxes it is their longest side.

    Returns:
        of (`cases` or `lesions`), by (the column), unit, method, n, and groups: list of size (in words), low, high
        (edges; None where there is none), n, num_patients, too_few, figures.
    """
    if cases.has("found_labels"):
        return _of_lesions(cases, plan)
    groups = of_cases(cases, plan)
    if not groups:
        return None
    leading = measures.leading(plan.asked.measures)
    return {
        "of": "cases",
        "by": plan.asked.sized_by,
        "unit": plan.asked.size_unit,
        "method": METHOD,
        "n": len(cases),
        "groups": [{**told, **_figures(members, leading, cases, plan)} for told, members in groups],
    }


def of_cases(cases: Cases, plan: Plan) -> list[tuple[dict[str, Any], np.ndarray]]:
    """Returns groups of cases by size: what is told of each, and who is in it, (n,) bool; none without sizes.

    Args:
        cases: The table.
        plan: Its `asked.sized_by` and `asked.size_unit`.
    """
    if not plan.asked.sized_by or not cases.has(plan.asked.sized_by):
        return []
    size, unit = np.where(masks.known(cases), cases.numbers(plan.asked.sized_by), np.nan), plan.asked.size_unit
    there = np.isfinite(size) & (size > 0)
    if not there.any():
        return []
    edges = np.quantile(size[there], [0, 1 / 3, 2 / 3, 1])
    found = []
    for place, (low, high) in enumerate(itertools.pairwise(edges)):
        above = size > low if place else size >= low
        words = f"{_NAMES[place]}: {'above ' if place else ''}{low:.3g} to {high:.3g} {unit}".rstrip()
        found.append(({"size": words, "low": float(low), "high": float(high)}, there & above & (size <= high)))
    found.append(({"size": "holds nothing", "low": 0.0, "high": 0.0}, size == 0))
    found.append(({"size": "unknown", "low": None, "high": None}, ~np.isfinite(size)))
    return [(told, members) for told, members in found if members.any()]


def _figures(members: np.ndarray, asked: list[Measure], cases: Cases, plan: Plan) -> dict[str, Any]:
    patients = len(np.unique(cases.patients[members]))
    too_few = patients < subgroups.FEWEST_PATIENTS
    listed = [] if too_few else [measures.figure(one, cases, plan.draws, members) for one in asked]
    return {"n": int(members.sum()), "num_patients": patients, "too_few": too_few, "figures": listed}


def _of_lesions(cases: Cases, plan: Plan) -> dict[str, Any] | None:
    names = boxes.class_names(plan.data)
    of = boxes.held(cases, len(names))
    if not of.together.patient.size:
        return None
    point = boxes.point(cases, plan)
    hit = boxes.found_at(of, point.threshold)
    size = of.together.size_mm
    edges = [(low, high) for low, high in itertools.pairwise(detection_summary.SIZE_EDGES_MM)]
    groups = [(_words(low, high), low, high, (size >= low) & (size < high)) for low, high in edges]
    groups.append(("unknown, as the spacing is", math.nan, math.nan, np.isnan(size)))
    return {
        "of": "lesions",
        "by": "longest side",
        "unit": "mm",
        "method": LESIONS_METHOD,
        "n": int(size.size),
        "threshold": point.threshold,
        "groups": [
            {"size": words, "low": _edge(low), "high": _edge(high), **_of_group(inside, hit, of, cases, plan)}
            for words, low, high, inside in groups
            if inside.any()
        ],
    }


def _of_group(inside: np.ndarray, hit: np.ndarray, of: boxes.Held, cases: Cases, plan: Plan) -> dict[str, Any]:
    owner = of.together.patient[inside]
    members = np.bincount(owner, minlength=len(cases)) > 0
    share = Measure(
        "sensitivity",
        "share of these lesions that are found at the operating point",
        functools.partial(_share, hit[inside], owner),
        lambda _: members,
        leads=True,
    )
    told = _figures(members, [share], cases, plan)
    return {**told, "n": int(inside.sum()), "num_found": int(hit[inside].sum())}


def _share(hit: np.ndarray, owner: np.ndarray, cases: Cases, weights: np.ndarray) -> np.ndarray:
    del cases
    return weighted_numbers.mean(hit.astype(np.float64), weights[:, owner])


def _words(low: float, high: float) -> str:
    return f"{low:g} mm and more" if math.isinf(high) else f"{low:g} to below {high:g} mm"


def _edge(edge: float) -> float | None:
    return edge if math.isfinite(edge) else None
