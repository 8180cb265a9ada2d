"""Percentile bootstrap of a figure, drawing whole patients: images of one patient are not independent."""

import functools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from radkit.errors import UserError, did_you_mean
from radkit.metrics import calibration, classification, inputs, roc

Statistic = Callable[[np.ndarray, np.ndarray], float]

_OF_CALLS = ("accuracy", "sensitivity", "specificity", "ppv", "npv", "f1", "balanced_accuracy", "mcc", "kappa")
_OF_PROBABILITIES = ("log_loss", "ece_positive", "mce_positive", "slope", "citl")

# Figures of all cases alike; others hold yes against no, but for sensitivity and specificity, which are of one of them.
_EACH = ("accuracy", "ppv", "npv", "brier", "log_loss", "ece_positive", "mce_positive", "citl")

_DIRECT: dict[str, Statistic] = {"roc_auc": roc.auc, "brier": calibration.brier}  # without the checks of each call


def bootstrap_ci(
    metric: str,
    y_true: ArrayLike | None,
    y_score: ArrayLike,
    cluster: Sequence[Any] | np.ndarray | None = None,
    alpha: float = 0.05,
    draws: Iterable[Sequence[Any]] | None = None,
    resamples: int = 2000,
    seed: int = 0,
) -> dict[str, float]:
    """Returns a percentile interval of a figure over resampled patients.

    Args:
        metric: "roc_auc", "average_precision"; a figure of hard calls ("sensitivity", "mcc" ..., `y_score` being
            0/1) or of probabilities ("brier" ...); "mean" of per-case values (`y_true` is not used and may be None,
            nan cases are left out); or a name in METRICS, with ".key" when it returns several figures.
        y_true: Reference, 0 or 1, (n,).
        y_score: Scores, calls or values, (n,).
        cluster: Patient of each row, (n,); None: each row is its own patient.
        alpha: 1 - coverage.
        draws: Lists of cluster ids to use instead of random ones.
        resamples: How many random draws.
        seed: Of the random draws; the same seed gives the same interval.

    Returns:
        low, high (linear quantiles), se (standard deviation over draws) and num_undefined: draws that left the figure
        undefined (one class only, say) and are left out. nan when fewer than two draws are defined, or when there is
        only one patient to draw at random. Quantiles of given draws are alpha / 2 and 1 - alpha / 2. Those of random
        draws lie further out, as Student's t of the number of patients does from a normal one: of 40 patients' means,
        intervals that claim 95 % would otherwise hold the truth in 93 %. The patients are those that decide:
        those with a yes (sensitivity) or a no (specificity); of figures that hold yes against no, as roc_auc, the fewer
        of the two, at least two.

    Raises:
        UserError: An unknown metric or cluster, differing lengths, values of the wrong kind.

    Source: Efron and Tibshirani 1993; clusters: Field and Welsh 2007, https://doi.org/10.1111/j.1467-9868.2007.00593.x;
        quantiles of random draws: Hesterberg 2015, https://doi.org/10.1080/00031305.2015.1089789, expanded percentile.

    Example:
        >>> bootstrap_ci("mean", None, [1.0, 3.0], draws=[[0, 0], [0, 1], [1, 1]])["se"]
        1.0
    """
    alpha = inputs.share("alpha", alpha)
    truth, score = _arrays(metric, y_true, y_score)
    statistic = _statistic(metric)
    rows = _rows(np.arange(score.size) if cluster is None else np.asarray(cluster), score.size)
    chosen = _random(len(rows), resamples, seed) if draws is None else _given(draws, rows)
    members = list(rows.values())
    values = np.array([statistic(truth[index], score[index]) for index in _indices(members, chosen)], dtype=float)
    defined = values[np.isfinite(values)]
    undefined = values.size - defined.size
    outside = alpha if draws is not None else expanded(alpha, _deciding(metric, truth, score, members))
    if defined.size < 2 or math.isnan(outside):
        return {"low": math.nan, "high": math.nan, "se": math.nan, "num_undefined": undefined}
    low, high = np.quantile(defined, [outside / 2, 1 - outside / 2])
    return {"low": float(low), "high": float(high), "se": float(defined.std(ddof=1)), "num_undefined": undefined}


def expanded(alpha: float, clusters: int) -> float:
    """Returns the share of random draws to leave outside, so that an interval misses the truth in about alpha.

    The normal quantile of what it returns is Student's t of the number of clusters, sqrt(n / (n - 1)) further out: a
    draw of n varies with n, not n - 1. nan with fewer than two clusters.

    Source: Hesterberg 2015, https://doi.org/10.1080/00031305.2015.1089789, expanded percentile interval.

    Example:
        >>> round(expanded(0.05, clusters=40), 4)
        0.0405
    """
    if clusters < 2:
        return math.nan
    quantile = float(stats.t.ppf(1 - alpha / 2, clusters - 1)) * math.sqrt(clusters / (clusters - 1))
    return 2 * float(stats.norm.sf(quantile))


def rarer(owner: np.ndarray, kinds: np.ndarray) -> int:
    """Returns how many patients the kind with the fewest has, at least two where there are as many in all.

    Args:
        owner: Patient of each row, (n,).
        kinds: Of each row, (n,), as yes and no.

    Example:
        >>> rarer(np.array([1, 1, 2, 3, 4]), np.array([True, True, False, False, True]))
        2
    """
    fewest = min((np.unique(owner[kinds == kind]).size for kind in np.unique(kinds)), default=0)
    return max(fewest, min(2, np.unique(owner).size))


def _deciding(metric: str, truth: np.ndarray, score: np.ndarray, members: list[np.ndarray]) -> int:
    owner = np.zeros(truth.size, np.intp)
    for number, rows in enumerate(members):
        owner[rows] = number
    figure = metric.rpartition(".")[2]  # by its own name or as a key of METRICS
    if figure in _EACH:
        return len(members)
    about = {"mean": ~np.isnan(score), "sensitivity": truth, "specificity": ~truth}
    return int(np.unique(owner[about[figure]]).size) if figure in about else rarer(owner, truth)


def _arrays(metric: str, y_true: ArrayLike | None, y_score: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    if metric == "mean":
        values = np.asarray(y_score, dtype=np.float64)
        if values.ndim != 1:
            raise UserError(f"y_score must be one value a case, not of shape {values.shape}")
        if np.isinf(values).any():
            # A mean over draws that happen to miss the infinite case would flatter.
            raise UserError(f"{int(np.isinf(values).sum())} values are infinite; set them to a worst value first")
        return np.zeros(values.size, dtype=bool), values
    if y_true is None:
        raise UserError(f"metric {metric!r} needs y_true")
    truth = inputs.binary("y_true", y_true)
    check = inputs.binary if metric in _OF_CALLS else inputs.scores
    if metric == "brier":
        check = inputs.probabilities
    score = check("y_score", y_score)
    inputs.same_length(y_true=truth, y_score=score)
    return truth, score


def _statistic(metric: str) -> Statistic:
    from radkit import metrics  # The table of all metrics holds this one too.

    if metric == "mean":
        return _mean
    if metric in _DIRECT:
        return _DIRECT[metric]
    if metric in _OF_CALLS:
        return functools.partial(_of_calls, metric)
    if metric in _OF_PROBABILITIES:
        return functools.partial(_of_table, metrics.METRICS["calibration"], metric)
    name, _, key = metric.partition(".")
    if name not in metrics.METRICS:
        known = ["mean", *_DIRECT, *_OF_CALLS, *_OF_PROBABILITIES, *metrics.METRICS]
        raise UserError(f"no metric is named {metric!r}{did_you_mean(metric, known)}; there are: {', '.join(known)}")
    return functools.partial(_of_table, metrics.METRICS[name], key)


def _mean(_: np.ndarray, values: np.ndarray) -> float:
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else math.nan


def _of_calls(key: str, truth: np.ndarray, calls: np.ndarray) -> float:
    return classification.from_counts(*classification.counts(truth, calls))[key]


def _of_table(function: Callable[..., Any], key: str, truth: np.ndarray, score: np.ndarray) -> float:
    result = function(truth, score)
    if isinstance(result, dict):
        if key not in result:
            raise UserError(f"a figure must be named, as 'metric.key' with a key of: {', '.join(map(str, result))}")
        result = result[key]
    return float(result)


def _rows(cluster: np.ndarray, n: int) -> dict[Any, np.ndarray]:
    """Returns the row numbers of each cluster, clusters sorted."""
    if cluster.shape != (n,):
        raise UserError(f"cluster must name the patient of each of {n} rows, not be of shape {cluster.shape}")
    if n == 0:
        return {}
    try:
        ids, place = np.unique(cluster, return_inverse=True)
    except TypeError as error:
        raise UserError(f"cluster must be all numbers or all words, none of them missing: {error}") from error
    order = np.argsort(place, kind="stable")
    groups = np.split(order, np.cumsum(np.bincount(place))[:-1])
    return dict(zip(ids.tolist(), groups))


def _random(clusters: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    generator = np.random.default_rng(seed)
    for _ in range(resamples):
        yield generator.integers(0, clusters, clusters) if clusters else np.array([], dtype=np.intp)


def _given(draws: Iterable[Sequence[Any]], rows: dict[Any, np.ndarray]) -> Iterator[np.ndarray]:
    position = {name: place for place, name in enumerate(rows)}
    for draw in draws:
        yield inputs.positions(draw, position, "draws")


def _indices(members: list[np.ndarray], draws: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    alone = np.concatenate(members) if members and all(len(rows) == 1 for rows in members) else None
    for draw in draws:
        if alone is not None:
            yield alone[draw]
        else:
            yield np.concatenate([members[k] for k in draw]) if len(draw) else np.array([], dtype=np.intp)
