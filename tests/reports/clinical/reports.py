"""Reports of made-up cases, as `radkit.evaluation` tells them and as the file has them: null for what is undefined."""

import math
from typing import Any

import numpy as np

from radkit import config
from radkit.evaluation import measures, methods, perturbations, robustness
from radkit.evaluation.cases import Cases, Draws
from radkit.evaluation.plan import Asked, Plan

PICTURE = np.arange(64 * 64, dtype=np.uint8).reshape(64, 64)
DRAWS = Draws(resamples=200, seed=0)


def as_written(value: Any) -> Any:
    """Returns a report as JSON has it."""
    if isinstance(value, dict):
        return {str(name): as_written(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [as_written(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _mean(cases: Cases, weights: np.ndarray) -> np.ndarray:
    return weights @ cases.numbers("dice") / np.maximum(weights.sum(1), 1e-12)


def _best(cases: Cases, weights: np.ndarray) -> np.ndarray:
    return np.full(len(weights), np.nan)


MEASURES = (
    measures.Measure("mean Dice", "mean over cases", _mean, leads=True),
    measures.Measure("mean HD95", "mean over cases; the image's diagonal where one mask is empty", _mean, unit="mm"),
    measures.Measure("never defined", "undefined in all draws", _best, leads=True),
)


def rows(count: int = 30) -> list[dict[str, Any]]:
    random = np.random.default_rng(4)
    return [
        {
            "name": f"test {i + 1}",
            "patient_id": f"P{i // 2:03d}",
            "record_uid": f"1.2.{i}",
            "dice": float(random.uniform(0.6, 0.95)),
        }
        for i in range(count)
    ]


def perturbed(cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    random = np.random.default_rng(5)
    return [
        {
            **case,
            "dice": case["dice"] * (1 - 0.06 * (place + 1) * (1 + number % 3) / 2) + float(random.normal(0, 0.01)),
            "perturbation": one.name,
            "amount": amount,
            "references_lost": 1 if one.name == "rotation" and amount > 10 and number == 0 else 0,
        }
        for number, case in enumerate(cases)
        for one in perturbations.GRID
        for place, amount in enumerate(one.amounts)
    ]


def made(count: int = 30) -> dict[str, Any]:
    """Returns a report of the parts that belong to every task."""
    listed = rows(count)
    cases = Cases(listed)
    plan = Plan("segmentation", config.Data("made_up"), Asked(MEASURES), DRAWS, perturbed=perturbed(listed))
    report: dict[str, Any] = {
        "format": 1,
        "task": "segmentation",
        "data": {"dataset": "made_up", "split": "test"},
        "run": {"weights_sha256": "0123456789abcdef" * 4, "model": "unet"},
        "settings": {"level": 0.95, "resamples": DRAWS.resamples, "seed": DRAWS.seed, "cost_of_miss": 1.0},
        "test_set": {"type": "temporal", "told": "temporal: the newest 20 % of studies"},
        "look": {"number": 2, "told": "look 2 at it", "warning": "The test set was looked at before."},
        "cases": {
            "n": count,
            "num_patients": cases.num_patients,
            "left_out": {"without a reference": 3, "damaged": 0},
            "reference_standards": {"expert_reader": count - 1, "histology": 1},
        },
        "figures": [measures.figure(one, cases, DRAWS) for one in MEASURES],
        "robustness": robustness.tell(cases, plan),
        "later": {"survival": None, "restoration": None, "report_text": None},
    }
    return as_written({**report, "methods": methods.tell(report)})
