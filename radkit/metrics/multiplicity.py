"""p values of several tests, corrected for their number."""

import numpy as np
from numpy.typing import ArrayLike

from radkit.errors import UserError
from radkit.metrics import inputs


def adjust_pvalues(p: ArrayLike) -> dict[str, list[float]]:
    """Returns p values corrected for their number, in the order given and at most 1.

    Args:
        p: p values, (tests,). nan (a test that could not be made) stays nan and is not counted, as in R's p.adjust.

    Returns:
        holm: holds the chance of any false finding, as bonferroni does, but is never larger.
        bh: Benjamini and Hochberg's; holds the share of false findings, for independent or positively related tests.
        bonferroni: p times the number of tests.

    Raises:
        UserError: Values outside [0, 1], or not one-dimensional.

    Source: Holm 1979, https://www.jstor.org/stable/4615733; Benjamini and Hochberg 1995,
        https://doi.org/10.1111/j.2517-6161.1995.tb02031.x.

    Example:
        >>> adjust_pvalues([0.25, 0.125])
        {'holm': [0.25, 0.25], 'bh': [0.25, 0.25], 'bonferroni': [0.5, 0.25]}
    """
    given = inputs.numbers("p", p)
    made = ~np.isnan(given)
    values = given[made]
    if given.ndim != 1 or ((values < 0) | (values > 1)).any():
        raise UserError(f"p must be one-dimensional and in [0, 1], not of shape {given.shape} with {given.tolist()}")
    order = np.argsort(values, kind="stable")
    rising, rank = values[order], np.arange(1, values.size + 1)
    sorted_results = {
        "holm": np.maximum.accumulate(rising * (values.size + 1 - rank)),
        "bh": np.minimum.accumulate((rising * values.size / rank)[::-1])[::-1],
        "bonferroni": rising * values.size,
    }
    results = {}
    for name, adjusted in sorted_results.items():
        placed = np.full(given.size, np.nan)
        placed[np.flatnonzero(made)[order]] = np.minimum(adjusted, 1.0)
        results[name] = placed.tolist()
    return results
