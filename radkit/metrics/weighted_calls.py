"""Figures of calls for many weightings of the same cases at once; `weighted` says what a weighting is.

With weights and truths of 0 and 1 every figure equals that of the same name in `classification`.
"""

import math

import numpy as np

from radkit.metrics.weighted import ratio


def counts(truth: np.ndarray, calls: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Returns tp, fp, fn and tn of each draw, (draws, 4).

    Args:
        truth: In [0, 1], (n,).
        calls: (n,) bool.
        weights: (draws, n).
    """
    yes, called = truth.astype(np.float64), calls.astype(np.float64)
    columns = [yes * called, (1 - yes) * called, yes * (1 - called), (1 - yes) * (1 - called)]
    return weights @ np.stack(columns, axis=1)


def of_counts(table: np.ndarray) -> dict[str, np.ndarray]:
    """Returns `classification.from_counts`'s figures and `lr_minus`, (draws,) each.

    Args:
        table: tp, fp, fn and tn of each draw, (draws, 4).

    Returns:
        Undefined is nan; lr_plus without false positives and lr_minus without true negatives are inf.
    """
    tp, fp, fn, tn = np.asarray(table, np.float64).T
    n = tp + fp + fn + tn
    sensitivity, specificity = ratio(tp, tp + fn), ratio(tn, tn + fp)
    margins = np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    square = np.stack([np.stack([tn, fp], axis=-1), np.stack([fn, tp], axis=-1)], axis=-2)
    return {
        "accuracy": ratio(tp + tn, n),
        "sensitivity": sensitivity,
        "specificity": specificity,
        "ppv": _predictive_value(tp, fp, fn),
        "npv": _predictive_value(tn, fn, fp),
        "f1": np.where((tp + fp + fn == 0) & (n > 0), 1.0, ratio(2 * tp, 2 * tp + fp + fn)),
        "balanced_accuracy": (sensitivity + specificity) / 2,
        "mcc": ratio(tp * tn - fp * fn, margins),
        "lr_plus": _likelihood_ratio(sensitivity, 1 - specificity),
        "lr_minus": _likelihood_ratio(1 - sensitivity, specificity),
        "kappa": kappa(square, power=0),
    }


def tables(truth: np.ndarray, calls: np.ndarray, weights: np.ndarray, classes: int) -> np.ndarray:
    """Returns how often each class is called each, (draws, classes of truth, classes called).

    Args:
        truth: Class of each case, 0, 1 ..., (n,) int.
        calls: Likewise.
        weights: (draws, n).
        classes: How many there are.
    """
    cells = np.zeros((truth.size, classes * classes))
    cells[np.arange(truth.size), truth * classes + calls] = 1
    return (weights @ cells).reshape(len(weights), classes, classes)


def of_tables(table: np.ndarray) -> dict[str, np.ndarray]:
    """Returns `classification.multiclass_metrics`'s figures and kappa with linear weights, (draws,) each.

    Args:
        table: (draws, classes of truth, classes called).

    Source: mcc of several classes: Gorodkin 2004, https://doi.org/10.1016/j.compbiolchem.2004.09.006.
    """
    n = table.sum(axis=(1, 2))
    hits = np.diagonal(table, axis1=1, axis2=2)
    support, called = table.sum(axis=2), table.sum(axis=1)
    f1 = ratio(2 * hits, support + called)
    covariance = hits.sum(axis=1) * n - (support * called).sum(axis=1)
    spread = np.sqrt((n**2 - (called**2).sum(axis=1)) * (n**2 - (support**2).sum(axis=1)))
    return {
        "accuracy": ratio(hits.sum(axis=1), n),
        "balanced_accuracy": defined_mean(ratio(hits, support)),
        "macro_f1": defined_mean(f1),
        "weighted_f1": ratio(np.where(support > 0, f1 * support, 0).sum(axis=1), n),
        "mcc": ratio(covariance, spread),
        "kappa": kappa(table, power=0),
        "kappa_linear": kappa(table, power=1),
        "kappa_quadratic": kappa(table, power=2),
    }


def kappa(table: np.ndarray, power: int) -> np.ndarray:
    """Returns Cohen's kappa of tables (draws, k, k), (draws,); nan where one category alone was used.

    Args:
        table: Counts, categories in order.
        power: A disagreement weighs by its distance to this power: 0 all alike, 1 linear, 2 quadratic.

    Source: Cohen 1968, https://doi.org/10.1037/h0026256.
    """
    place = np.arange(table.shape[-1])
    distance = np.abs(place[:, None] - place).astype(np.float64)
    cost = (distance > 0).astype(np.float64) if power == 0 else distance**power
    found = (cost * table).sum(axis=(1, 2))
    by_chance = np.einsum("di,ij,dj->d", table.sum(axis=2), cost, table.sum(axis=1))
    return 1 - ratio(found, ratio(by_chance, table.sum(axis=(1, 2))))


def defined_mean(values: np.ndarray) -> np.ndarray:
    """Returns the mean over the second axis of what is defined, (draws,); nan where nothing is."""
    known = ~np.isnan(values)
    return ratio(np.where(known, values, 0).sum(axis=1), known.sum(axis=1))


def _predictive_value(right: np.ndarray, wrong: np.ndarray, missed: np.ndarray) -> np.ndarray:
    return np.where((right + wrong == 0) & (missed > 0), 0.0, ratio(right, right + wrong))


def _likelihood_ratio(of_yes: np.ndarray, of_no: np.ndarray) -> np.ndarray:
    endless = (of_no == 0) & (of_yes > 0)
    return np.where(endless, math.inf, ratio(of_yes, of_no))
