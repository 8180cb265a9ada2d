"""Intraclass correlation: how much of the spread of ratings is the subjects' own."""

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from radkit.errors import UserError
from radkit.metrics import inputs

_FORMS = ("ICC1", "ICC2", "ICC3", "ICC1k", "ICC2k", "ICC3k")


def icc(ratings: ArrayLike, alpha: float = 0.05) -> dict[str, dict[str, float]]:
    """Returns the six intraclass correlations with their intervals.

    Args:
        ratings: One row a subject, one column a rater, (subjects, raters), any unit.
        alpha: 1 - coverage of the intervals.

    Returns:
        ICC1 (each subject has raters of its own), ICC2 (the same raters, drawn from many: absolute agreement), ICC3
        (these very raters: consistency), and ICC1k, ICC2k, ICC3k of the mean of all raters. Each: icc, lo, hi.
        nan with fewer than two subjects or raters, and when all ratings are the same.

    Raises:
        UserError: Not a table of finite numbers.

    From mean squares, so a coefficient may be negative: R's psych::ICC with lmer=FALSE, as pingouin. psych's own
    default (lmer) cuts variances at 0: it differs where raters or subjects vary less than chance would make them, and
    elsewhere by what its optimiser leaves (up to 1e-4 on made-up tables).

    Source: Shrout and Fleiss 1979, https://doi.org/10.1037/0033-2909.86.2.420; interval of ICC2: McGraw and Wong
        1996, https://doi.org/10.1037/1082-989X.1.1.30, table 7.
    """
    table = _table(ratings)
    alpha = inputs.share("alpha", alpha)
    subjects, raters = table.shape
    if min(subjects, raters) < 2 or table.max() == table.min():
        return {form: dict.fromkeys(("icc", "lo", "hi"), math.nan) for form in _FORMS}
    between, of_raters, error = _mean_squares(table)
    within = (of_raters + (subjects - 1) * error) / subjects
    free, crossed = subjects * (raters - 1), (subjects - 1) * (raters - 1)
    independent = _of_one_spread(between, within, raters, (subjects - 1, free), alpha)
    crossed_forms = _of_one_spread(between, error, raters, (subjects - 1, crossed), alpha)
    agreement = _agreement(between, of_raters, error, table.shape, alpha)
    forms = (independent[0], agreement[0], crossed_forms[0], independent[1], agreement[1], crossed_forms[1])
    return dict(zip(_FORMS, forms))


def _table(ratings: ArrayLike) -> np.ndarray:
    try:
        table = np.asarray(ratings, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise UserError(f"ratings must be numbers, each subject rated by every rater: {error}") from error
    if table.ndim != 2 or not np.isfinite(table).all():
        raise UserError(
            f"ratings must be finite, (subjects, raters), not of shape {table.shape} with "
            f"{int((~np.isfinite(table)).sum())} missing or infinite; leave subjects out that not all raters rated"
        )
    return table


def _mean_squares(table: np.ndarray) -> tuple[float, float, float]:
    """Returns the mean squares between subjects, between raters and of what neither explains."""
    subjects, raters = table.shape
    # Sums of numbers such as 0.1 leave a rest where there is none.
    rounding = table.size * (np.finfo(np.float64).eps * float(np.abs(table).max())) ** 2
    table = table - table.mean()
    of_subject, of_rater = table.mean(axis=1), table.mean(axis=0)
    rest = table - of_subject[:, None] - of_rater
    squares = (
        raters * float(of_subject @ of_subject) / (subjects - 1),
        subjects * float(of_rater @ of_rater) / (raters - 1),
        float(np.sum(rest**2)) / ((subjects - 1) * (raters - 1)),
    )
    between, of_raters, error = (square if square > rounding else 0.0 for square in squares)
    return between, of_raters, error


def _of_one_spread(
    between: float, spread: float, raters: int, freedom: tuple[int, int], alpha: float
) -> tuple[dict[str, float], dict[str, float]]:
    """Returns ICC1 and ICC1k, or ICC3 and ICC3k: subjects against one mean square; the ratio of both is F's."""
    low = float(stats.f.ppf(1 - alpha / 2, *freedom))
    high = 1 / float(stats.f.ppf(1 - alpha / 2, *freedom[::-1]))
    scales = (("icc", 1.0), ("lo", low), ("hi", high))
    return (
        {key: _ratio(between - scale * spread, between + (raters - 1) * scale * spread) for key, scale in scales},
        {key: _ratio(between - scale * spread, between) for key, scale in scales},
    )


def _agreement(
    between: float, of_raters: float, error: float, shape: tuple[int, ...], alpha: float
) -> tuple[dict[str, float], dict[str, float]]:
    """Returns ICC2 and ICC2k, the interval by Satterthwaite's degrees of freedom."""
    n, k = shape
    value = _ratio(between - error, between + (k - 1) * error + k * (of_raters - error) / n)
    a = k * value * of_raters
    b = (n * (1 + (k - 1) * value) - k * value) * error
    # Without any error the interval is where the limits lead: the degrees of freedom no longer matter.
    freedom = _ratio((k - 1) * (n - 1) * (a + b) ** 2, (n - 1) * a**2 + b**2) if a or b else 1.0
    low = float(stats.f.ppf(1 - alpha / 2, n - 1, freedom))
    high = float(stats.f.ppf(1 - alpha / 2, freedom, n - 1))
    spread = k * of_raters + (k * n - k - n) * error
    single = {
        "icc": value,
        "lo": _ratio(n * (between - low * error), low * spread + n * between),
        "hi": _ratio(n * (high * between - error), spread + n * high * between),
    }
    return single, {key: _of_mean(limit, k) for key, limit in single.items()}


def _of_mean(value: float, raters: int) -> float:
    """Returns the reliability of the mean of several raters (Spearman and Brown)."""
    return _ratio(raters * value, 1 + (raters - 1) * value)


def _ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator else math.nan
