"""Tables of cases with yes and no, classes, degrees and labels, invented."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from radkit import config
from radkit.evaluation.cases import Cases, Draws
from radkit.evaluation.endpoints import Endpoint, OperatingPoint
from radkit.evaluation.plan import Asked, Plan

CLASSES = ("none", "nodule", "mass")
DRAWS = Draws(resamples=200)
Column = Callable[[Cases], np.ndarray]


def column(name: str) -> Column:
    """Returns what reads a column."""
    return lambda cases: cases.numbers(name)


ILL = Endpoint("ill", column("truth"), column("score"))
RANKED = Endpoint("ill", column("truth"), column("score"), probable=False)


def table(truth: Sequence[float], score: Sequence[float], patients: Sequence[Any] | None = None) -> Cases:
    """Returns cases of an endpoint; without patients each is its own."""
    owners = [f"P{k:04d}" for k in range(len(truth))] if patients is None else [str(owner) for owner in patients]
    rows = [{"patient_id": o, "truth": float(t), "score": float(s)} for o, t, s in zip(owners, truth, score)]
    return Cases(rows)


def of_ill(seed: int = 0, n: int = 60, per_patient: int = 1, digits: int = 2) -> Cases:
    """Returns invented cases whose scores are probabilities with ties."""
    generator = np.random.default_rng(seed)
    truth = (generator.random(n) < 0.4).astype(float)
    score = 1 / (1 + np.exp(-generator.normal(1.5 * truth - 0.7, 1, n)))
    return table(truth, score.round(digits), [f"P{k // per_patient:04d}" for k in range(n)])


def of_classes(seed: int = 0, n: int = 60, names: Sequence[str] = CLASSES) -> Cases:
    """Returns invented cases of exclusive classes, two a patient."""
    generator = np.random.default_rng(seed)
    rows = []
    for k in range(n):
        label = int(generator.integers(len(names)))
        weight = np.exp(generator.normal(0, 1, len(names)) + 1.2 * (np.arange(len(names)) == label))
        probability = (weight / weight.sum()).round(3)
        named = {f"probability {name}": float(value) for name, value in zip(names, probability)}
        rows.append({"patient_id": f"P{k // 2:04d}", "label": label, **named})
    return Cases(rows)


def with_case(cases: Cases, **changed: Any) -> Cases:
    """Returns the cases with the first one changed."""
    return Cases([{**cases.rows[0], **changed}, *cases.rows[1:]])


def doubled(cases: Cases) -> Cases:
    """Returns each case twice, of the same patient."""
    return Cases([row for row in cases.rows for _ in range(2)])


def plan(
    endpoints: Sequence[Endpoint] = (ILL,),
    points: Sequence[OperatingPoint] = (),
    task: str = "classification",
    names: tuple[str, ...] = (),
    cost: float = 1.0,
) -> Plan:
    """Returns a plan with few draws."""
    data = config.Data("made_up", class_names=names)
    return Plan(task, data, Asked((), endpoints), DRAWS, points, cost)


def undefined(value: Any) -> bool:
    """Tells whether a figure is nan."""
    return isinstance(value, float) and math.isnan(value)
