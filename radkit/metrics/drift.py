"""Whether what arrives now is still distributed as what was there before."""

import math
import warnings
from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from radkit.errors import UserError
from radkit.metrics import inputs

_LEAST_SHARE = 1e-4  # an empty bin would make the index infinite


def drift(reference: ArrayLike, current: ArrayLike, bins: int = 10) -> dict[str, float]:
    """Returns how far a number's distribution has moved.

    Args:
        reference: Earlier values, (n,), such as a model's scores at validation.
        current: Values now, (m,), the same unit.
        bins: Number of bins of the stability index.

    Returns:
        ks: Largest distance of the two empirical distribution functions.
        ks_p: Its two-sided p value, as `scipy.stats.ks_2samp` gives it (exact up to 10,000 values).
        psi: Population stability index, the sum over bins of (q - p) ln(q / p) for shares p of reference and q of
            current. Edges are the reference's quantiles (interpolated linearly; equal ones count once), bins are
            [lo, hi), the outer two open. A share below 0.0001 counts as 0.0001.
        wasserstein: Mean distance that values must move, in their unit.
        All are nan when either has no values.

    Raises:
        UserError: Values that are not finite, or no bins.

    Example:
        >>> drift([1, 2, 3, 4], [2, 3, 4, 5], bins=2)["wasserstein"]
        1.0

    Source: Siddiqi 2006 (psi), https://doi.org/10.1002/9781119201731, chapter 6; Hodges 1958 (ks),
    https://doi.org/10.1007/BF02589501; Villani 2009 (wasserstein), https://doi.org/10.1007/978-3-540-71050-9.
    """
    before, now = inputs.measurements("reference", reference), inputs.measurements("current", current)
    if bins < 1:
        raise UserError(f"bins must be at least 1, not {bins}")
    if not before.size or not now.size:
        return dict.fromkeys(("ks", "ks_p", "psi", "wasserstein"), math.nan)
    with warnings.catch_warnings():
        # Where rounding lifts the exact p above 1 (all but equal samples), scipy takes the asymptotic one and says so.
        warnings.filterwarnings("ignore", message="ks_2samp: Exact calculation unsuccessful")
        test = stats.ks_2samp(before, now)
    return {
        "ks": float(test.statistic),
        "ks_p": float(test.pvalue),
        "psi": _stability_index(before, now, int(bins)),
        "wasserstein": float(stats.wasserstein_distance(before, now)),
    }


def drift_categorical(reference: Mapping[str, float], current: Mapping[str, float]) -> dict[str, float]:
    """Returns the chi-squared test of whether categories are as frequent now as before.

    Both are taken as samples: the test is one of homogeneity, not of current against fixed shares.

    Args:
        reference: Earlier count of each category by name, such as {"GE": 310, "Siemens": 122}.
        current: Counts now; a category that one side lacks has count 0 there.

    Returns:
        chi2 and p, with Yates' correction where there are two categories (as `scipy.stats.chi2_contingency` and R's
        `chisq.test`); 0 and 1 with one category; nan when either side has no counts.

    Raises:
        UserError: A count that is negative or no finite number.

    Example:
        >>> drift_categorical({"GE": 50, "Siemens": 50}, {"GE": 50, "Siemens": 50})
        {'chi2': 0.0, 'p': 1.0}

    Source: Pearson 1900, https://doi.org/10.1080/14786440009463897.
    """
    names = sorted({*reference, *current}, key=str)
    sides = (("reference", reference), ("current", current))
    table = np.array([inputs.measurements(side, [counts.get(name, 0) for name in names]) for side, counts in sides])
    if (table < 0).any():
        raise UserError(f"counts must be >= 0, but the least is {table.min():g}; give how often each category was seen")
    if not table.any(axis=1).all():
        return {"chi2": math.nan, "p": math.nan}
    test = stats.chi2_contingency(table[:, table.any(axis=0)])
    return {"chi2": float(test.statistic), "p": float(test.pvalue)}


def _stability_index(before: np.ndarray, now: np.ndarray, bins: int) -> float:
    edges = np.unique(np.quantile(before, np.linspace(0, 1, bins + 1)[1:-1]))
    p, q = (np.maximum(_shares(values, edges), _LEAST_SHARE) for values in (before, now))
    return float(np.sum((q - p) * np.log(q / p)))


def _shares(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Returns the share of values below the first inner edge, between each two, and from the last on."""
    bins = np.searchsorted(edges, values, side="right")
    return np.bincount(bins, minlength=edges.size + 1) / values.size
