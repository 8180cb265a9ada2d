"""Figures of numbers for many draws at once: a draw says how often each case counts.

Everywhere `weights` are (draws, n) float64 >= 0: a case of weight 2 counts as if it were there twice, one of weight 0
as if it were not there. A draw that counts a case whose value is nan or infinite is nan; so is one that counts nothing.
"""

import math
from dataclasses import dataclass

import numpy as np

_EPS = 4 * float(np.finfo(np.float64).eps)


@dataclass(frozen=True, eq=False)
class Moments:
    """Two measurements' moments in each draw, (draws,) each; variances and covariance divide by the total weight.

    Attributes:
        total: Weight of all cases.
        mean_a: Of the first.
        mean_b: Of the second.
        var_a: Of the first; exactly 0 where all its values are the same.
        var_b: Of the second, likewise.
        covariance: Of both.
    """

    total: np.ndarray
    mean_a: np.ndarray
    mean_b: np.ndarray
    var_a: np.ndarray
    var_b: np.ndarray
    covariance: np.ndarray


def mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Returns the mean of each draw, (draws,).

    Args:
        values: (n,).
        weights: See the module.

    Example:
        >>> mean(np.array([1.0, 4.0]), np.array([[1.0, 1.0], [2.0, 1.0], [0.0, 0.0]])).tolist()
        [2.5, 2.0, nan]
    """
    return _defined(values, weights, ratio(weights @ _filled(values), weights.sum(axis=1)))


def median(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Returns the median of each draw, (draws,): of an even number of cases the mean of the middle two.

    Args:
        values: (n,).
        weights: See the module.
    """
    order = np.argsort(_filled(values), kind="stable")
    ranked, reached = _filled(values)[order], np.cumsum(weights[:, order], axis=1)
    total = reached[:, -1:] if values.size else np.zeros((len(weights), 1))
    if not values.size:
        return np.full(len(weights), math.nan)
    lower = np.minimum((reached < total / 2).sum(axis=1), values.size - 1)
    upper = np.minimum((reached <= total / 2).sum(axis=1), values.size - 1)
    found = np.where(total[:, 0] > 0, (ranked[lower] + ranked[upper]) / 2, math.nan)
    return _defined(values, weights, found)


def moments(a: np.ndarray, b: np.ndarray, weights: np.ndarray) -> Moments:
    """Returns means, variances and covariance of two measurements of the same cases; see `Moments`.

    Args:
        a: (n,).
        b: (n,).
        weights: See the module.
    """
    # About a middle of all cases, so that squares lose no digits.
    middles = [float(_filled(x).mean()) if x.size else 0.0 for x in (a, b)]
    first, second = (_filled(x) - middle for x, middle in zip((a, b), middles))
    total = weights.sum(axis=1)
    sums = weights @ np.stack([first, second, first**2, second**2, first * second], axis=1)
    of_a, of_b, squares_a, squares_b, products = (ratio(column, total) for column in sums.T)
    spoilt = _defined(a, weights, np.zeros(len(weights))) + _defined(b, weights, np.zeros(len(weights)))
    return Moments(
        total=total,
        mean_a=of_a + middles[0] + spoilt,
        mean_b=of_b + middles[1] + spoilt,
        var_a=_spread(squares_a, of_a) + spoilt,
        var_b=_spread(squares_b, of_b) + spoilt,
        covariance=products - of_a * of_b + spoilt,
    )


def r2(truth: np.ndarray, found: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Returns 1 - residual over total sum of squares, (draws,); nan where all references are the same.

    Args:
        truth: Reference, (n,).
        found: Prediction, (n,).
        weights: See the module.
    """
    total = moments(truth, found, weights).var_a
    return 1.0 - ratio(mean((found - truth) ** 2, weights), total)


def concordance(of: Moments) -> np.ndarray:
    """Returns Lin's concordance, (draws,), as `agreement.lin_ccc`.

    nan of fewer than two cases, and where all values of both are the same.

    Source: Lin 1989, https://doi.org/10.2307/2532051.
    """
    apart = (of.mean_a - of.mean_b) ** 2
    found = ratio(2 * of.covariance, of.var_a + of.var_b + np.where(of.var_a + of.var_b > 0, apart, 0.0))
    # Two constants that differ agree in nothing.
    constant = (of.var_a + of.var_b == 0) & (apart > 0)
    return np.where(of.total >= 2, np.where(constant, 0.0, found), math.nan)


def icc2(of: Moments) -> np.ndarray:
    """Returns the intraclass correlation of absolute agreement of two raters, (draws,), as `icc.icc`'s ICC2.

    nan of fewer than two cases, and where all values of both are the same.

    Source: Shrout and Fleiss 1979, https://doi.org/10.1037/0033-2909.86.2.420.
    """
    several = np.where(of.total >= 2, of.total, math.nan)
    # Variances of the mean of both, and of half their difference.
    of_mean = (of.var_a + of.var_b + 2 * of.covariance) / 4
    of_half = np.maximum(of.var_a + of.var_b - 2 * of.covariance, 0.0) / 4
    between = 2 * several * of_mean / (several - 1)
    error = 2 * several * of_half / (several - 1)
    raters = several * (of.mean_a - of.mean_b) ** 2 / 2
    return ratio(between - error, between + error + 2 * (raters - error) / several)


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Returns a quotient, nan where the denominator is 0 or nan; shapes are the same."""
    out = np.full(np.shape(numerator), math.nan)
    return np.divide(numerator, denominator, out=out, where=np.nan_to_num(denominator) != 0)


def _filled(values: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(values), values, 0.0)


def _defined(values: np.ndarray, weights: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Returns what was found, nan for draws that count a value that is no number."""
    wrong = ~np.isfinite(values)
    return np.where((weights[:, wrong] > 0).any(axis=1), math.nan, found) if wrong.any() else found


def _spread(squares: np.ndarray, centre: np.ndarray) -> np.ndarray:
    spread = squares - centre**2
    # What rounding leaves where there is no spread at all.
    return np.where(np.isnan(spread), math.nan, np.where(spread > _EPS * squares, spread, 0.0))
