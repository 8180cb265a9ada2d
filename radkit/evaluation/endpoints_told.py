"""What a report tells of questions of yes or no: scores, curves, calls at the operating point, decisions."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from radkit.evaluation import binary, calls, contrasts, curves, operating
from radkit.evaluation.cases import Cases
from radkit.evaluation.endpoints import Endpoint, OperatingPoint
from radkit.evaluation.measures import Measure
from radkit.evaluation.plan import Plan


def tell(cases: Cases, plan: Plan) -> list[dict[str, Any]]:
    """Returns what the report says of each endpoint, in the plan's order.

    Args:
        cases: The table.
        plan: What is asked, and the operating points.

    Returns:
        One each: name, probable, n (cases whose truth is known), num_patients (of these), positives, negatives, soft
        (truths in between), prevalence (mean truth), unknown (truths that nobody knows, left out of everything),
        set_to_worst (cases that the model gave no number), figures, curve, calibration and decision_curve (None where
        scores are no probabilities), operating_point (None where there is none), method.
    """
    return [_told(endpoint, cases, plan) for endpoint in plan.asked.endpoints]


def _told(endpoint: Endpoint, cases: Cases, plan: Plan) -> dict[str, Any]:
    found = binary.answers(endpoint, cases)
    point = operating.of_endpoint(endpoint, plan.points)
    truth = found.truth
    return {
        "name": endpoint.name,
        "probable": endpoint.probable,
        "n": truth.size,
        "num_patients": int(np.unique(cases.patients[found.known]).size),
        "positives": int((truth == 1).sum()),
        "negatives": int((truth == 0).sum()),
        "soft": int(((truth > 0) & (truth < 1)).sum()),
        "prevalence": float(truth.mean()) if truth.size else math.nan,
        "unknown": int((~found.known).sum()),
        "set_to_worst": int(found.unanswered.sum()),
        "method": _method(found),
        "figures": _figures(binary.measures(endpoint), cases, plan),
        "curve": curves.scores(found),
        "calibration": curves.calibration(found, plan.draws.level) if endpoint.probable else None,
        "decision_curve": curves.decisions(found, plan.cost_of_miss) if endpoint.probable else None,
        "operating_point": None if point is None else _at_point(endpoint, point, cases, plan),
    }


def _method(found: binary.Answers) -> str:
    said = ["cases of unknown truth are left out"]
    said += [] if found.is_hard else [binary.SOFT]
    said += [binary.WORST] if found.unanswered.any() else []
    return "; ".join(said)


def _at_point(endpoint: Endpoint, point: OperatingPoint, cases: Cases, plan: Plan) -> dict[str, Any]:
    """Returns an operating point and what it gives; without a threshold it gives nothing."""
    told: dict[str, Any] = {
        **dataclasses.asdict(point),
        "n": int(binary.known(endpoint, cases).sum()),
        "method": "a score at or above the threshold is a call of yes",
        "cost_of_miss": plan.cost_of_miss,
        "confusion": None,
        "figures": [],
    }
    if math.isnan(point.threshold):
        return {**told, "method": "no threshold: no score met the rule, so that nothing is called"}
    table = calls.counts(endpoint, point, cases, np.ones((1, len(cases))))[0]
    told["confusion"] = {name: _whole(count) for name, count in zip(calls.CELLS, table.tolist())}
    shares = calls.shares(endpoint, point, cases, plan.draws.level)
    for figure in _figures(calls.measures(endpoint, point, plan.cost_of_miss), cases, plan):
        told["figures"].append({**figure, **shares.get(figure["name"], {})})
    return told


def _figures(wanted: Sequence[Measure], cases: Cases, plan: Plan) -> list[dict[str, Any]]:
    everyone = np.ones(len(cases), bool)
    drawn = contrasts.drawn([(measure, cases, everyone) for measure in wanted], plan.draws)
    return [one.figure(plan.draws) for one in drawn]


def _whole(count: float) -> float:
    return int(count) if count.is_integer() else count
