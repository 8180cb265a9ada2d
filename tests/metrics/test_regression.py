"""Figures of predicted numbers."""

import math

import numpy as np
import pytest

from radkit.errors import UserError
from radkit.metrics import METRICS, regression


def test_figures_worked_by_hand() -> None:
    found = METRICS["regression_metrics"](y_true=[1, 2, 3, 6], y_pred=[2, 2, 1, 6])
    assert found == {
        "bias": -0.25, "mae": 0.75, "rmse": pytest.approx(math.sqrt(5 / 4)), "median_ae": 0.5,
        "r2": pytest.approx(1 - 5 / 14),
    }  # fmt: skip


def test_they_are_scikit_learns() -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    random = np.random.default_rng(0)
    truth, found = random.normal(size=20), random.normal(size=20)
    ours = regression.regression_metrics(truth, found)
    assert ours["r2"] == pytest.approx(sklearn.r2_score(truth, found))
    assert ours["mae"] == pytest.approx(sklearn.mean_absolute_error(truth, found))


def test_what_is_undefined_is_nan() -> None:
    assert math.isnan(regression.regression_metrics([2.0, 2.0], [1.0, 3.0])["r2"])
    assert all(math.isnan(value) for value in regression.regression_metrics([], []).values())
    with pytest.raises(UserError, match="lengths differ"):
        regression.regression_metrics([1.0], [1.0, 2.0])
    with pytest.raises(UserError, match="nan"):
        regression.regression_metrics([math.nan], [1.0])
