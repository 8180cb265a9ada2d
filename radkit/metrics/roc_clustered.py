"""The ROC curve's area where patients have several cases each: DeLong's variance with patients kept together."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from radkit.errors import UserError
from radkit.metrics import inputs, roc


def roc_auc_clustered(
    y_true: ArrayLike, y_score: ArrayLike, cluster: Sequence[Any] | np.ndarray, alpha: float = 0.05
) -> dict[str, float]:
    """Returns the area under the ROC curve and a normal interval, cut to [0, 1], that keeps patients together.

    With one case a patient it is `roc.roc_auc_delong`.

    Args:
        y_true: Reference, 0 or 1, (n,).
        y_score: Higher is more positive, (n,).
        cluster: Patient of each case, (n,); one patient may have positives and negatives.
        alpha: 1 - coverage of the interval.

    Returns:
        auc, var, ci_low, ci_high; nan without positives or without negatives, and the last three where either come
        from one patient alone, or where no variance is left.

    Raises:
        UserError: Differing lengths, or values of the wrong kind.

    Source: Obuchowski 1997, https://doi.org/10.2307/2533958.

    Example:
        >>> round(roc_auc_clustered([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8], cluster=["a", "b", "c", "d"])["var"], 4)
        0.125
    """
    truth, score = inputs.binary("y_true", y_true), inputs.scores("y_score", y_score)
    inputs.same_length(y_true=truth, y_score=score)
    owner = np.asarray(cluster)
    if owner.shape != truth.shape:
        raise UserError(f"cluster must name the patient of each of {truth.size} cases, not be of shape {owner.shape}")
    alpha = inputs.share("alpha", alpha)
    area = roc.auc(truth, score)
    variance = _variance(truth, score, owner, area)
    half = float(stats.norm.ppf(1 - alpha / 2)) * math.sqrt(variance) if variance >= 0 else math.nan
    low, high = (max(0.0, area - half), min(1.0, area + half)) if half == half else (math.nan, math.nan)
    return {"auc": area, "var": variance, "ci_low": low, "ci_high": high}


def _variance(truth: np.ndarray, score: np.ndarray, owner: np.ndarray, area: float) -> float:
    of_positives, of_negatives = roc.placements(truth, score)
    patient = np.unique(owner, return_inverse=True)[1]
    patients = int(patient.max()) + 1 if patient.size else 0
    with_positives, with_negatives = np.unique(patient[truth]).size, np.unique(patient[~truth]).size
    if min(with_positives, with_negatives) < 2:
        return math.nan
    # What each patient's positives, and negatives, add beyond what the area says they should.
    first = np.bincount(patient[truth], of_positives - area, patients)
    second = np.bincount(patient[~truth], of_negatives - area, patients)
    positives, negatives = of_positives.size, of_negatives.size
    return float(
        with_positives / (with_positives - 1) * (first @ first) / positives**2
        + with_negatives / (with_negatives - 1) * (second @ second) / negatives**2
        + 2 * patients / (patients - 1) * (first @ second) / (positives * negatives)
    )
