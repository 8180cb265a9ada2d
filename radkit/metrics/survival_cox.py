"""Cox's proportional hazards regression on one covariate."""

import dataclasses
import math

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize

from radkit.errors import UserError
from radkit.metrics import inputs, survival

# Log hazard ratio over x's whole range, beyond which the hazards' own digits are lost.
_STEEPEST = 2.0**40


@dataclasses.dataclass(frozen=True)
class _Deaths:
    """The events, each with those at risk when it happened.

    Attributes:
        x: Covariate of every case, by falling time: those at risk are the first ones, (n,).
        own: Place of the case that had the event, (events,).
        last: Place of the last case at risk, (events,).
        tie: Number of the event's time: events of one number are tied, (events,).
        gone: Share of the tied events' weight that has left those at risk, (events,): with d tied 0, 1/d, ...,
            (d - 1)/d by Efron, always 0 by Breslow.
    """

    x: np.ndarray
    own: np.ndarray
    last: np.ndarray
    tie: np.ndarray
    gone: np.ndarray


def cox_fit(time: ArrayLike, event: ArrayLike, x: ArrayLike) -> dict[str, float]:
    """Returns Cox's regression on one covariate, ties by Efron's and by Breslow's approximation.

    Args:
        time: Length of each follow-up, (n,).
        event: 1 event, 0 censored, (n,).
        x: The covariate, (n,).

    Returns:
        efron_coef, efron_se, efron_loglik, breslow_coef, breslow_se, breslow_loglik: log hazard ratio per unit of x,
        its standard error (observed information) and the partial log likelihood at its maximum. The likelihood has no
        maximum when whoever has the event always has the highest (lowest) x of those at risk: coef is then inf (-inf),
        se inf and loglik the limit (R's coxph stops at some large number and warns). coef and se are nan, and loglik
        that of any coef (0 without events), when x never differs among those at risk.

    Raises:
        UserError: Differing lengths, negative times, values of the wrong kind, or an outlier in x beside which nothing
            else can be told apart.

    Example:
        >>> round(cox_fit(time=[1, 2, 3, 4], event=[1, 1, 1, 1], x=[1, 0, 1, 0])["efron_coef"], 4)
        0.9406

    Source: Cox 1972, https://doi.org/10.1111/j.2517-6161.1972.tb00899.x; Efron 1977,
        https://doi.org/10.1080/01621459.1977.10480613; Breslow 1974, https://doi.org/10.2307/2529620.
    """
    duration, seen = survival.follow_up(time, event)
    covariate = inputs.measurements("x", x)
    inputs.same_length(time=duration, x=covariate)
    span = float(np.ptp(covariate)) if covariate.size else 0.0
    # About the median, an outlier takes no digits from the others.
    centred = (covariate - np.median(covariate)) / span if span else np.zeros(covariate.size)
    efron = _deaths(duration, seen, centred)
    breslow = dataclasses.replace(efron, gone=np.zeros(efron.gone.size))
    found: dict[str, float] = {}
    for name, deaths in (("efron", efron), ("breslow", breslow)):
        coefficient, error, loglik = _fit(deaths)
        found |= {
            f"{name}_coef": coefficient / (span or 1.0),
            f"{name}_se": error / (span or 1.0),
            f"{name}_loglik": loglik,
        }
    return found


def _deaths(time: np.ndarray, event: np.ndarray, x: np.ndarray) -> _Deaths:
    order = np.argsort(-time, kind="stable")
    time, own = time[order], np.flatnonzero(event[order])
    last = np.searchsorted(-time, -time[own], side="right") - 1
    _, first, tie, tied = np.unique(last, return_index=True, return_inverse=True, return_counts=True)
    return _Deaths(x[order], own, last, tie, (np.arange(own.size) - first[tie]) / tied[tie])


def _fit(deaths: _Deaths) -> tuple[float, float, float]:
    """Returns coefficient, standard error and log likelihood."""
    own = deaths.x[deaths.own]
    rises = bool(np.all(own == np.maximum.accumulate(deaths.x)[deaths.last]))
    falls = bool(np.all(own == np.minimum.accumulate(deaths.x)[deaths.last]))
    if rises and falls:
        return math.nan, math.nan, _likelihood(deaths, 0.0)[0]
    if rises or falls:
        # In the limit only the order of x counts. With steps of 40 a step's lower side weighs e^-40.
        steps = np.unique(deaths.x, return_inverse=True)[1].astype(float)
        sign = 1.0 if rises else -1.0
        return sign * math.inf, math.inf, _likelihood(dataclasses.replace(deaths, x=steps), 40 * sign)[0]
    coefficient = _root(deaths)
    loglik, _, information = _likelihood(deaths, coefficient)
    return coefficient, 1 / math.sqrt(information) if information > 0 else math.inf, loglik


def _root(deaths: _Deaths) -> float:
    """Returns where the score is zero: it falls everywhere, and is known to change its sign."""

    def score(coefficient: float) -> float:
        return _likelihood(deaths, coefficient)[1]

    end = math.copysign(1.0, score(0.0))
    while score(end) * end > 0:
        end *= 2
        if abs(end) > _STEEPEST:
            raise UserError(
                "x's outliers hide the differences that count: over x's range the log hazard ratio is above 2^40; "
                "leave its outliers out, or take its logarithm"
            )
    return float(optimize.brentq(score, 0.0, end, xtol=1e-13, rtol=1e-14))


def _likelihood(deaths: _Deaths, coefficient: float) -> tuple[float, float, float]:
    """Returns the partial log likelihood, its derivative (score) and minus its second derivative (information)."""
    x, own, last, gone = deaths.x, deaths.x[deaths.own], deaths.last, deaths.gone
    if not own.size:
        return 0.0, 0.0, 0.0
    log_weight = coefficient * x
    total = np.logaddexp.accumulate(log_weight)[last]

    def mean_at_risk(values: np.ndarray) -> np.ndarray:
        # Sums of weights are kept as logarithms: with an outlier in x they would overflow.
        with np.errstate(divide="ignore"):
            return np.asarray(np.exp(np.logaddexp.accumulate(log_weight + np.log(values))[last] - total))

    mean = mean_at_risk(np.maximum(x, 0)) - mean_at_risk(np.maximum(-x, 0))
    square = mean_at_risk(x**2)
    share = np.exp(log_weight[deaths.own] - total)
    tied, tied_mean, tied_square = (np.bincount(deaths.tie, share * own**power)[deaths.tie] for power in range(3))
    rest = 1 - gone * tied
    mean, square = (mean - gone * tied_mean) / rest, (square - gone * tied_square) / rest
    loglik = np.sum(log_weight[deaths.own] - total - np.log(rest))
    return float(loglik), float(np.sum(own - mean)), float(np.sum(square - mean**2))
