"""Agreement of two readers or two measurements of the same cases."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from radkit.errors import UserError
from radkit.metrics import classification, inputs


def cohen_kappa(
    a: Sequence[Any] | np.ndarray, b: Sequence[Any] | np.ndarray, labels: Sequence[Any] | None = None
) -> dict[str, float]:
    """Returns Cohen's kappa of two readers, unweighted and weighted by the distance between categories.

    Args:
        a: First reader's category of each case, (n,).
        b: Second reader's, (n,).
        labels: The categories in order, needed when one between two others was never used; None: those found, sorted.

    Returns:
        unweighted, linear, quadratic; nan when only one category was used. Neighbouring categories are 1 apart.

    Source: Cohen 1960, https://doi.org/10.1177/001316446002000104; 1968, https://doi.org/10.1037/h0026256.
    """
    inputs.same_length(a=a, b=b)
    table = classification.confusion_table(a, b, labels)
    names = ("unweighted", "linear", "quadratic")
    return {name: classification.weighted_kappa(table, power) for power, name in enumerate(names)}


def fleiss_kappa(table: ArrayLike) -> float:
    """Returns Fleiss's kappa of any number of readers; nan when only one category was used, or with one reader.

    Args:
        table: How many readers chose each category for each subject, (subjects, categories); the same number of
            readers for all subjects, not necessarily the same persons.

    Raises:
        UserError: Not a table of counts, or differing numbers of readers.

    Source: Fleiss 1971, https://doi.org/10.1037/h0031619.

    Example:
        >>> fleiss_kappa([[3, 0], [0, 3], [3, 0]])
        1.0
    """
    counts = inputs.numbers("table", table)
    if counts.ndim != 2 or not (np.isfinite(counts) & (counts >= 0)).all():
        raise UserError(f"table must hold counts, (subjects, categories), not be of shape {counts.shape}")
    readers = np.unique(counts.sum(axis=1))
    if readers.size > 1:
        raise UserError(
            f"each subject needs the same number of readers, but they run from {readers[0]:g} to "
            f"{readers[-1]:g}; leave subjects out that not all readers read"
        )
    if not readers.size or readers[0] < 2:
        return math.nan
    share = counts.sum(axis=0) / counts.sum()
    by_chance = float(share @ share)
    pairs = np.sum(counts * (counts - 1), axis=1) / (readers[0] * (readers[0] - 1))
    return (float(pairs.mean()) - by_chance) / (1 - by_chance) if by_chance < 1 else math.nan


def lin_ccc(a: ArrayLike, b: ArrayLike) -> float:
    """Returns Lin's concordance correlation, 2 cov / (var a + var b + (mean a - mean b)^2).

    Variances and covariance divide by n, as Lin does and R's epiR and DescTools. nan with fewer than two cases, and
    when all values of both are the same.

    Args:
        a: First measurement, (n,), any unit.
        b: Second, (n,), the same unit.

    Raises:
        UserError: Differing lengths, or values that are not finite.

    Source: Lin 1989, https://doi.org/10.2307/2532051.
    """
    first, second = inputs.measurements("a", a), inputs.measurements("b", b)
    inputs.same_length(a=first, b=second)
    if first.size < 2 or np.ptp(np.append(first, second)) == 0:
        return math.nan
    shift = first.mean() - second.mean()
    covariance = np.mean((first - first.mean()) * (second - second.mean()))
    return float(2 * covariance / (first.var() + second.var() + shift**2))


def spearman(a: ArrayLike, b: ArrayLike) -> dict[str, float]:
    """Returns Spearman's rank correlation of two measurements of the same cases, ties sharing their mean rank.

    Args:
        a: First, (n,), any unit.
        b: Second, (n,), any unit.

    Returns:
        rho, and p, two-sided, of Student's t with n - 2 degrees of freedom, as scipy (R's cor.test takes exact
        tables for few cases). Both nan when either holds one value only; p nan with fewer than three cases.

    Raises:
        UserError: Differing lengths, or nan.

    Source: Spearman 1904, https://doi.org/10.2307/1412159.
    """
    first, second = inputs.scores("a", a), inputs.scores("b", b)
    inputs.same_length(a=first, b=second)
    x, y = (stats.rankdata(values) - (values.size + 1) / 2 for values in (first, second))
    spread = float(x @ x) * float(y @ y)
    if not spread:
        return {"rho": math.nan, "p": math.nan}
    rho = float(x @ y) / math.sqrt(spread)
    if first.size < 3:
        return {"rho": rho, "p": math.nan}
    t = abs(rho) * math.sqrt((first.size - 2) / (1 - rho**2)) if abs(rho) < 1 else math.inf
    return {"rho": rho, "p": 2 * float(stats.t.sf(t, first.size - 2))}


def bland_altman(a: ArrayLike, b: ArrayLike) -> dict[str, float]:
    """Returns bias and limits of agreement of two measurements of the same cases.

    Args:
        a: First measurement, (n,), any unit.
        b: Second, (n,), the same unit.

    Returns:
        bias (mean of a - b), sd (of the differences, n - 1), loa_low and loa_high (bias -+ 1.96 sd), bias_ci_low and
        bias_ci_high (95 %, Student's t) and repeatability_coefficient: 1.96 sqrt(2) times the within-subject standard
        deviation, sqrt(sum of squared differences / 2n). What needs two cases is nan with fewer.

    Raises:
        UserError: Differing lengths, or values that are not finite.

    Source: Bland and Altman 1999, https://doi.org/10.1177/096228029900800204.
    """
    first, second = inputs.measurements("a", a), inputs.measurements("b", b)
    inputs.same_length(a=first, b=second)
    difference, n = first - second, first.size
    bias = float(difference.mean()) if n else math.nan
    sd = float(difference.std(ddof=1)) if n > 1 else math.nan
    half = float(stats.t.ppf(0.975, n - 1)) * sd / math.sqrt(n) if n > 1 else math.nan
    return {
        "bias": bias,
        "sd": sd,
        "loa_low": bias - 1.96 * sd,
        "loa_high": bias + 1.96 * sd,
        "bias_ci_low": bias - half,
        "bias_ci_high": bias + half,
        "repeatability_coefficient": 1.96 * math.sqrt(float(np.mean(difference**2))) if n else math.nan,
    }
