"""Curves of an endpoint's scores as a report tells them: ROC, precision and recall, calibration, decisions."""

import math
from typing import Any

import numpy as np

from radkit.evaluation.binary import BINS, Answers
from radkit.metrics import classification, weighted, weighted_calibration

MOST_POINTS = 500
_THRESHOLDS = np.arange(1, 100) / 100


def scores(found: Answers) -> dict[str, Any]:
    """Returns the ROC curve and the curve of precision over recall.

    Returns:
        roc: threshold, fpr, tpr, from nothing called yes (its threshold nan) to all; precision_recall: threshold,
        recall, precision, thresholds falling. At most 500 points each, the ends among them; of the ROC curve only
        points at which its direction changes. Empty lists where yes or no (of precision: yes) are missing. n, method.
    """
    counted = weighted.steps(found.truth, found.score, np.ones((1, found.truth.size)))
    tp, fp, threshold = counted.yes[0], counted.no[0], counted.threshold
    yes, no = float(counted.total_yes[0]), float(counted.total_no[0])
    empty = np.zeros(0)
    tpr = np.append(0, tp) / yes if yes and no else empty
    fpr = np.append(0, fp) / no if yes and no else empty
    corners = _thinned(np.flatnonzero(_turns(np.append(0, fp), np.append(0, tp)))) if tpr.size else empty.astype(int)
    all_places = _thinned(np.arange(threshold.size)) if yes else empty.astype(int)
    return {
        "n": found.truth.size,
        "method": f"a call is a score at or above a threshold; at most {MOST_POINTS} points of each curve are listed",
        "roc": {
            "threshold": np.append(math.nan, threshold)[corners].tolist(),
            "fpr": fpr[corners].tolist(),
            "tpr": tpr[corners].tolist(),
        },
        "precision_recall": {
            "threshold": threshold[all_places].tolist(),
            "recall": (tp[all_places] / yes).tolist() if yes else [],
            "precision": (tp[all_places] / (tp + fp)[all_places]).tolist(),
        },
    }


def calibration(found: Answers, level: float) -> dict[str, Any]:
    """Returns the bins of a calibration plot that hold cases.

    Returns:
        bins: low, high (a bin is above low up to high; 0 is in the first), mean (probability), fraction (share of yes),
        count, wilson_low, wilson_high (nan where truths are in between). n, level, method.
    """
    place, edges = weighted_calibration.places(found.score, BINS), np.linspace(0, 1, BINS + 1)
    bins = []
    for number in np.unique(place).tolist():
        inside = place == number
        truth, count = found.truth[inside], int(inside.sum())
        yes = float(truth.sum())
        is_hard = bool(np.isin(truth, (0, 1)).all())
        share = classification.proportion_ci(int(yes), count, alpha=1 - level) if is_hard else {}
        bins.append(
            {
                "low": float(edges[number]),
                "high": float(edges[number + 1]),
                "mean": float(found.score[inside].mean()),
                "fraction": yes / count,
                "count": count,
                "wilson_low": share.get("wilson_low", math.nan),
                "wilson_high": share.get("wilson_high", math.nan),
            }
        )
    method = f"{BINS} bins of equal width; interval of the share of yes: Wilson 1927, each case taken for itself"
    return {"bins": bins, "n": found.truth.size, "level": level, "method": method}


def decisions(found: Answers, cost_of_miss: float) -> dict[str, Any]:
    """Returns the decision curve: net benefit of acting on the model, on everybody and on nobody.

    Args:
        found: The cases.
        cost_of_miss: What a missed yes costs, in false alarms.

    Returns:
        threshold (0.01 to 0.99), model, all (net benefit at each; empty without cases), none (0), at_cost: the
        threshold at which a missed yes is worth `cost_of_miss` false alarms. n, method.

    Source: Vickers and Elkin 2006, https://doi.org/10.1177/0272989X06295361.
    """
    n, yes = found.truth.size, float(found.truth.sum())
    odds = _THRESHOLDS / (1 - _THRESHOLDS)
    called = found.score[:, None] >= _THRESHOLDS
    tp, fp = found.truth @ called, (1 - found.truth) @ called
    return {
        "threshold": _THRESHOLDS.tolist() if n else [],
        "model": ((tp - fp * odds) / n).tolist() if n else [],
        "all": ((yes - (n - yes) * odds) / n).tolist() if n else [],
        "none": 0,
        "at_cost": 1 / (1 + cost_of_miss),
        "n": n,
        "method": "net benefit: tp / n - fp / n * t / (1 - t) at threshold t; Vickers and Elkin 2006",
    }


def _turns(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Returns which points of a path are needed to draw it, ends included, (n,) bool."""
    needed = np.ones(x.size, bool)
    across, up = np.diff(x), np.diff(y)
    needed[1:-1] = np.abs(across[:-1] * up[1:] - across[1:] * up[:-1]) > 1e-9
    return needed


def _thinned(places: np.ndarray) -> np.ndarray:
    """Returns at most `MOST_POINTS` of them, evenly chosen, first and last among them."""
    if places.size <= MOST_POINTS:
        return places
    return places[np.unique(np.round(np.linspace(0, places.size - 1, MOST_POINTS)).astype(int))]
