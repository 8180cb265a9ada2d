"""Figures of hard calls: the 2 x 2 table and what follows from it, several classes, proportions, McNemar's test."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from radkit.errors import UserError
from radkit.metrics import inputs


def confusion_metrics(y_true: ArrayLike, y_pred: ArrayLike) -> dict[str, float]:
    """Returns the 2 x 2 table and the figures that follow from it.

    Args:
        y_true: Reference, 0 or 1, (n,).
        y_pred: Calls, 0 or 1, (n,).

    Returns:
        tp, fp, fn, tn, accuracy, sensitivity, specificity, ppv, npv, f1, balanced_accuracy, mcc, lr_plus, kappa.
        What is not defined is nan: sensitivity without positives, mcc when a margin is empty. Without positive
        calls ppv is 0 (nan without positives too), and npv mirrors it. Neither positives nor positive calls:
        f1 is 1. lr_plus without false positives is inf.

    Raises:
        UserError: Other values than 0 and 1, or differing lengths.

    Example:
        >>> confusion_metrics([1, 1, 0, 0], [1, 0, 0, 0])["sensitivity"]
        0.5
    """
    truth, calls = inputs.binary("y_true", y_true), inputs.binary("y_pred", y_pred)
    inputs.same_length(y_true=truth, y_pred=calls)
    return from_counts(*counts(truth, calls))


def counts(truth: np.ndarray, calls: np.ndarray) -> tuple[int, int, int, int]:
    """Returns tp, fp, fn, tn of two bool arrays, (n,) each."""
    tp = int(np.count_nonzero(truth & calls))
    positives, called = int(np.count_nonzero(truth)), int(np.count_nonzero(calls))
    return tp, called - tp, positives - tp, truth.size - called - positives + tp


def from_counts(tp: int, fp: int, fn: int, tn: int) -> dict[str, float]:
    """Returns `confusion_metrics`'s figures of a 2 x 2 table that is already counted."""
    n = tp + fp + fn + tn
    sensitivity, specificity = _ratio(tp, tp + fn), _ratio(tn, tn + fp)
    return {
        "tp": tp,
        "fp": fp,
        "fn": fn,
        "tn": tn,
        "accuracy": _ratio(tp + tn, n),
        "sensitivity": sensitivity,
        "specificity": specificity,
        "ppv": _predictive_value(tp, fp, fn),
        "npv": _predictive_value(tn, fn, fp),
        "f1": _f1(tp, fp, fn) if n else math.nan,
        "balanced_accuracy": (sensitivity + specificity) / 2,
        "mcc": _ratio(tp * tn - fp * fn, math.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))),
        "lr_plus": _likelihood_ratio(sensitivity, 1 - specificity),
        "kappa": weighted_kappa(np.array([[tn, fp], [fn, tp]]), power=0),
    }


def multiclass_metrics(
    y_true: Sequence[Any] | np.ndarray, y_pred: Sequence[Any] | np.ndarray, labels: Sequence[Any] | None = None
) -> dict[str, Any]:
    """Returns figures of calls among several classes.

    Args:
        y_true: Reference class of each case, (n,).
        y_pred: Called class, (n,).
        labels: The classes in their order (`kappa_quadratic` uses it); None: those found, sorted.

    Returns:
        accuracy, balanced_accuracy, macro_f1, weighted_f1, mcc, kappa, kappa_quadratic and `confusion`, a list of
        rows (reference) of counts (calls). Means over classes leave out those for which a figure is not defined:
        recall of a class without cases, F1 of a class without cases and calls.

    Raises:
        UserError: A class that is not among `labels`, or differing lengths.

    Source: mcc of several classes: Gorodkin 2004, https://doi.org/10.1016/j.compbiolchem.2004.09.006.
    """
    inputs.same_length(y_true=y_true, y_pred=y_pred)
    known = _categories(y_true, y_pred) if labels is None else list(labels)
    table = confusion_table(y_true, y_pred, known)
    hits, support, called = np.diag(table).astype(float), table.sum(1).astype(float), table.sum(0).astype(float)
    f1 = _divide(2 * hits, support + called)
    return {
        "accuracy": _ratio(float(hits.sum()), int(table.sum())),
        "balanced_accuracy": _defined_mean(_divide(hits, support)),
        "macro_f1": _defined_mean(f1),
        "weighted_f1": _ratio(float(np.nansum(f1 * support)), float(support.sum())),
        "mcc": _multiclass_mcc(hits, support, called),
        "kappa": weighted_kappa(table, power=0),
        "kappa_quadratic": weighted_kappa(table, power=2),
        "confusion": table.tolist(),
    }


def confusion_table(
    a: Sequence[Any] | np.ndarray, b: Sequence[Any] | np.ndarray, labels: Sequence[Any] | None = None
) -> np.ndarray:
    """Returns counts, int, (categories of a, categories of b); `labels` as in `multiclass_metrics`."""
    known = _categories(a, b) if labels is None else list(labels)
    position = {label: place for place, label in enumerate(known)}
    if len(position) < len(known):
        raise UserError(f"labels must differ from one another, not {known}")
    table = np.zeros((len(known), len(known)), dtype=np.int64)
    np.add.at(
        table,
        (inputs.positions(a, position, "the first argument"), inputs.positions(b, position, "the second argument")),
        1,
    )
    return table


def weighted_kappa(table: np.ndarray, power: int) -> float:
    """Returns Cohen's kappa of a table of counts; nan when only one category was ever used.

    Args:
        table: Counts, (k, k), categories in order.
        power: A disagreement weighs by its distance to this power: 0 all alike, 1 linear, 2 quadratic.

    Source: Cohen 1968, https://doi.org/10.1037/h0026256.
    """
    n = table.sum()
    if n == 0:
        return math.nan
    distance = np.abs(np.subtract.outer(np.arange(len(table)), np.arange(len(table)))).astype(float)
    weights = (distance > 0).astype(float) if power == 0 else distance**power
    expected = np.outer(table.sum(1), table.sum(0)) / n
    return 1 - _ratio(float((weights * table).sum()), float((weights * expected).sum()))


def proportion_ci(k: int, n: int, alpha: float = 0.05) -> dict[str, float]:
    """Returns the exact (Clopper-Pearson) and the Wilson interval of a proportion k / n; nan when n is 0.

    Raises:
        UserError: Not 0 <= k <= n.

    Source: Clopper and Pearson 1934, https://doi.org/10.1093/biomet/26.4.404; Wilson 1927,
        https://doi.org/10.1080/01621459.1927.10502953.
    """
    if not 0 <= k <= n < math.inf:
        raise UserError(f"a proportion needs 0 <= k <= n, not k={k} and n={n}")
    alpha = inputs.share("alpha", alpha)
    if n == 0:
        return dict.fromkeys(("clopper_low", "clopper_high", "wilson_low", "wilson_high"), math.nan)
    z = float(stats.norm.ppf(1 - alpha / 2))
    centre = (k + z**2 / 2) / (n + z**2)
    half = z / (n + z**2) * math.sqrt(k * (n - k) / n + z**2 / 4)
    return {
        "clopper_low": float(stats.beta.ppf(alpha / 2, k, n - k + 1)) if k else 0.0,
        "clopper_high": float(stats.beta.ppf(1 - alpha / 2, k + 1, n - k)) if k < n else 1.0,
        "wilson_low": max(0.0, centre - half) if k else 0.0,
        "wilson_high": min(1.0, centre + half) if k < n else 1.0,
    }


def mcnemar_test(b: int, c: int) -> dict[str, float]:
    """Returns McNemar's test of two readers on the same cases.

    Args:
        b: Cases that only the first got right.
        c: Cases that only the second got right.

    Returns:
        exact_p (binomial, two-sided), chi2_corrected (1 degree of freedom; Edwards's correction is never larger
        than the difference it corrects; nan when b + c is 0) and its p_corrected.

    Source: McNemar 1947, https://doi.org/10.1007/BF02295996; Edwards 1948, https://doi.org/10.1007/BF02289261.
    """
    if not (0 <= b < math.inf and 0 <= c < math.inf):
        raise UserError(f"b and c are counts of cases, not {b} and {c}")
    chi2 = _ratio(max(abs(b - c) - 1, 0) ** 2, b + c)
    return {
        "exact_p": min(1.0, 2 * float(stats.binom.cdf(min(b, c), b + c, 0.5))),
        "chi2_corrected": chi2,
        "p_corrected": float(stats.chi2.sf(chi2, 1)),
    }


def _categories(a: Sequence[Any] | np.ndarray, b: Sequence[Any] | np.ndarray) -> list[Any]:
    found = {*np.asarray(a).tolist(), *np.asarray(b).tolist()}
    try:
        return sorted(found)
    except TypeError as error:
        raise UserError(f"categories must be all numbers or all words: {error}") from error


def _ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator else math.nan


def _divide(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    return np.divide(numerator, denominator, out=np.full(len(numerator), math.nan), where=denominator > 0)


def _defined_mean(values: np.ndarray) -> float:
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else math.nan


def _predictive_value(right: int, wrong: int, missed: int) -> float:
    if right + wrong == 0:
        return 0.0 if missed else math.nan
    return right / (right + wrong)


def _f1(tp: int, fp: int, fn: int) -> float:
    return 2 * tp / (2 * tp + fp + fn) if tp + fp + fn else 1.0


def _likelihood_ratio(sensitivity: float, false_positive_rate: float) -> float:
    if false_positive_rate == 0:
        return math.inf if sensitivity > 0 else math.nan
    return sensitivity / false_positive_rate


def _multiclass_mcc(hits: np.ndarray, support: np.ndarray, called: np.ndarray) -> float:
    n = support.sum()
    covariance = hits.sum() * n - support @ called
    return _ratio(float(covariance), math.sqrt((n**2 - called @ called) * (n**2 - support @ support)))
