"""Figures of predicted numbers."""

import math

import numpy as np
from numpy.typing import ArrayLike

from radkit.metrics import inputs


def regression_metrics(y_true: ArrayLike, y_pred: ArrayLike) -> dict[str, float]:
    """Returns how far predictions are from the truth.

    Args:
        y_true: Reference, (n,), any unit.
        y_pred: Prediction, (n,), the same unit.

    Returns:
        bias (mean of prediction - reference), mae, rmse, median_ae, in the values' unit, and r2, 1 - residual over
        total sum of squares: 0 is what the references' mean would reach; nan where all references are the same. All
        nan without cases.

    Example:
        >>> regression_metrics([1.0, 3.0], [2.0, 3.0])["r2"]
        0.5
    """
    truth, found = inputs.measurements("y_true", y_true), inputs.measurements("y_pred", y_pred)
    inputs.same_length(y_true=truth, y_pred=found)
    if not truth.size:
        return dict.fromkeys(("bias", "mae", "rmse", "median_ae", "r2"), math.nan)
    error = found - truth
    total = float(np.sum((truth - truth.mean()) ** 2))
    return {
        "bias": float(error.mean()),
        "mae": float(np.abs(error).mean()),
        "rmse": math.sqrt(float(np.mean(error**2))),
        "median_ae": float(np.median(np.abs(error))),
        "r2": 1.0 - float(np.sum(error**2)) / total if total else math.nan,
    }
