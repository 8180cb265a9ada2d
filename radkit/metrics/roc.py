"""Figures of scores: ROC curve and its area with DeLong's variance, operating points, average precision."""

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from radkit.errors import UserError, did_you_mean
from radkit.metrics import inputs

_RULES = ("youden", "min_sensitivity", "min_specificity")


def roc_auc_delong(y_true: ArrayLike, y_score: ArrayLike, alpha: float = 0.05) -> dict[str, float]:
    """Returns the area under the ROC curve with DeLong's variance and a normal interval, cut to [0, 1].

    Args:
        y_true: Reference, 0 or 1, (n,).
        y_score: Higher is more positive, (n,).
        alpha: 1 - coverage of the interval.

    Returns:
        auc, var, ci_low, ci_high; nan without positives or without negatives, and the last three with only one
        of either.

    Source: DeLong et al. 1988, https://doi.org/10.2307/2531595, by the midranks of Sun and Xu 2014,
        https://doi.org/10.1109/LSP.2014.2337313.
    """
    truth, score = _checked(y_true, y_score)
    alpha = inputs.share("alpha", alpha)
    of_positives, of_negatives = placements(truth, score)
    area = _mean(of_positives)
    variance = _variance_of_mean(of_positives) + _variance_of_mean(of_negatives)
    half = float(stats.norm.ppf(1 - alpha / 2)) * math.sqrt(variance)
    low, high = (max(0.0, area - half), min(1.0, area + half)) if half == half else (math.nan, math.nan)
    return {"auc": area, "var": variance, "ci_low": low, "ci_high": high}


def delong_test(y_true: ArrayLike, score_a: ArrayLike, score_b: ArrayLike) -> dict[str, float]:
    """Returns DeLong's test of two scores on the same cases.

    Returns:
        auc_a, auc_b, z (positive when a is larger) and the two-sided p; nan with fewer than two cases of a class.
        Scores that place every case alike differ by nothing: z 0, p 1.

    Source: DeLong et al. 1988, https://doi.org/10.2307/2531595.
    """
    truth, a = _checked(y_true, score_a, "score_a")
    _, b = _checked(y_true, score_b, "score_b")
    positives_a, negatives_a = placements(truth, a)
    positives_b, negatives_b = placements(truth, b)
    # The variance of the difference itself: equal scores then give exactly 0, not what rounding leaves.
    variance = _variance_of_mean(positives_a - positives_b) + _variance_of_mean(negatives_a - negatives_b)
    difference = _mean(positives_a - positives_b)
    z = _standardised(difference, variance)
    return {
        "auc_a": _mean(positives_a),
        "auc_b": _mean(positives_b),
        "z": z,
        "p": 2 * float(stats.norm.sf(abs(z))),
    }


def auc(truth: np.ndarray, score: np.ndarray) -> float:
    """Returns the area under the ROC curve, ties 0.5; nan with one class only.

    Args:
        truth: bool, (n,).
        score: float, (n,), without nan.
    """
    positives = int(np.count_nonzero(truth))
    negatives = truth.size - positives
    if positives == 0 or negatives == 0:
        return math.nan
    ranks = stats.rankdata(score)[truth].sum()
    return float((ranks - positives * (positives + 1) / 2) / (positives * negatives))


def counts_by_threshold(y_true: ArrayLike, y_score: ArrayLike) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns thresholds (each observed score once, falling) and the true and false positives at each.

    Positive is a score >= the threshold. All three have shape (distinct scores,).

    Example:
        >>> [part.tolist() for part in counts_by_threshold([0, 1, 1], [0.2, 0.2, 0.9])]
        [[0.9, 0.2], [1, 2], [0, 1]]
    """
    truth, score = _checked(y_true, y_score)
    order = np.argsort(-score, kind="stable")
    truth, score = truth[order], score[order]
    # np.diff would make nan of two equal infinities.
    last = np.append(np.flatnonzero(score[1:] != score[:-1]), score.size - 1) if score.size else np.array([], int)
    tp = np.cumsum(truth)[last]
    return score[last], tp, last + 1 - tp


def operating_point(y_true: ArrayLike, y_score: ArrayLike, rule: str, value: float | None = None) -> dict[str, float]:
    """Returns the threshold that a rule chooses among the observed scores, and what it gives.

    Args:
        y_true: Reference, 0 or 1, (n,).
        y_score: Higher is more positive, (n,); positive is >= threshold.
        rule: "youden": largest sensitivity + specificity - 1, of equals the highest threshold;
            "min_sensitivity": largest specificity with at least `value` sensitivity; "min_specificity": the reverse.
            Of thresholds alike in the figure sought, the one better in the other is taken.
        value: What is required, in [0, 1]; not used by "youden".

    Returns:
        sensitivity, specificity, threshold, youden; nan with one class only, or when no score meets the rule.
    """
    check_rule(rule, value)
    thresholds, tp, fp = counts_by_threshold(y_true, y_score)
    positives, negatives = (int(tp[-1]), int(fp[-1])) if tp.size else (0, 0)
    chosen = None
    if positives and negatives:
        sensitivity, specificity = tp / positives, (negatives - fp) / negatives
        chosen = choose_place(rule, value or 0.0, sensitivity, specificity)
    if chosen is None:
        return dict.fromkeys(("sensitivity", "specificity", "threshold", "youden"), math.nan)
    return {
        "sensitivity": float(sensitivity[chosen]),
        "specificity": float(specificity[chosen]),
        "threshold": float(thresholds[chosen]),
        "youden": float(sensitivity[chosen] + specificity[chosen] - 1),
    }


def average_precision(y_true: ArrayLike, y_score: ArrayLike) -> float:
    """Returns the mean precision over the recalls gained, without interpolation; nan without positives."""
    _, tp, fp = counts_by_threshold(y_true, y_score)
    if tp.size == 0 or tp[-1] == 0:
        return math.nan
    gained = np.diff(tp, prepend=0) / tp[-1]
    return float(gained @ (tp / (tp + fp)))


def multilabel_auc(y_true: ArrayLike, y_score: ArrayLike) -> dict[str, Any]:
    """Returns the AUC of each label and their mean.

    Args:
        y_true: 0 or 1, (n, labels).
        y_score: (n, labels), higher is more positive.

    Returns:
        per_label: list; nan for a label without positives or without negatives. macro: the mean of the others
        (nan when there are none). num_undefined: how many were left out.
    """
    truth, score = inputs.numbers("y_true", y_true), inputs.numbers("y_score", y_score)
    if truth.shape != score.shape or truth.ndim != 2:
        raise UserError(f"y_true and y_score must both be (cases, labels), not {truth.shape} and {score.shape}")
    per_label = [auc(*_checked(truth[:, k], score[:, k])) for k in range(truth.shape[1])]
    defined = [area for area in per_label if not math.isnan(area)]
    macro = sum(defined) / len(defined) if defined else math.nan
    return {"per_label": per_label, "macro": macro, "num_undefined": len(per_label) - len(defined)}


def _checked(y_true: ArrayLike, y_score: ArrayLike, name: str = "y_score") -> tuple[np.ndarray, np.ndarray]:
    truth, score = inputs.binary("y_true", y_true), inputs.scores(name, y_score)
    inputs.same_length(**{"y_true": truth, name: score})
    return truth, score


def placements(truth: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns each positive's share of negatives below it, and each negative's share of positives above it."""
    positive, negative = score[truth], score[~truth]
    if positive.size == 0 or negative.size == 0:
        return np.full(positive.size, math.nan), np.full(negative.size, math.nan)
    together = np.empty(score.size)
    together[truth], together[~truth] = np.split(stats.rankdata(np.concatenate([positive, negative])), [positive.size])
    of_positives = (together[truth] - stats.rankdata(positive)) / negative.size
    of_negatives = 1 - (together[~truth] - stats.rankdata(negative)) / positive.size
    return of_positives, of_negatives


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else math.nan


def _variance_of_mean(values: np.ndarray) -> float:
    return float(values.var(ddof=1)) / values.size if values.size > 1 else math.nan


def _standardised(difference: float, variance: float) -> float:
    if variance == 0:
        return math.copysign(math.inf, difference) if difference else 0.0
    return difference / math.sqrt(variance)


def check_rule(rule: str, value: float | None) -> None:
    """Refuses a rule that `operating_point` does not know, and a value that is none of it."""
    if rule not in _RULES:
        raise UserError(f"no rule is named {rule!r}{did_you_mean(rule, _RULES)}; there are: {', '.join(_RULES)}")
    if rule != "youden" and (value is None or not 0 <= value <= 1):
        raise UserError(f"rule {rule!r} needs a value in [0, 1], not {value!r}")


def choose_place(rule: str, value: float, sensitivity: np.ndarray, specificity: np.ndarray) -> int | None:
    """Returns which of the thresholds, falling, a rule of `operating_point` takes, by what each gives; None: none."""
    if rule == "youden":
        # Rounding must not decide between equals: 0.8 + 0.7 and 0.9 + 0.6 differ in the last bit.
        return int(np.argmax(np.round(sensitivity + specificity, 12)))
    sought, required = (specificity, sensitivity) if rule == "min_sensitivity" else (sensitivity, specificity)
    allowed = np.flatnonzero(required >= value - 1e-12)
    if allowed.size == 0:
        return None
    return int(allowed[np.lexsort((required[allowed], sought[allowed]))[-1]])
