"""Figures of probabilities for many weightings of the same cases at once; `weighted` says what a weighting is.

With weights and truths of 0 and 1 every function here equals what `calibration.calibration` returns under its name.
Everywhere truth is in [0, 1], (n,), prob a probability of yes, (n,), weights at least 0, (draws, n).
"""

import math

import numpy as np
from scipy import special

from radkit.metrics import weighted, weighted_numbers

_EPSILON = float(np.finfo(np.float64).eps)  # as in `calibration`
_MOST_STEPS = 200
_SMALL = 1e-12  # a step that moves nothing


def brier(truth: np.ndarray, prob: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Returns the mean squared difference between probability and truth, (draws,); nan without cases."""
    return weighted_numbers.mean((prob - truth) ** 2, weights)


def log_loss(truth: np.ndarray, prob: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Returns the mean cross-entropy, natural, probabilities kept 2.2e-16 away from 0 and 1, (draws,)."""
    inside = np.clip(prob, _EPSILON, 1 - _EPSILON)
    return weighted_numbers.mean(-(truth * np.log(inside) + (1 - truth) * np.log1p(-inside)), weights)


def places(prob: np.ndarray, bins: int = 10) -> np.ndarray:
    """Returns the number of each probability's bin of equal width (low, high], (n,); 0 belongs to the first."""
    return np.maximum(np.searchsorted(np.linspace(0, 1, bins + 1), prob, side="left") - 1, 0)


def expected_error(truth: np.ndarray, prob: np.ndarray, weights: np.ndarray, bins: int = 10) -> np.ndarray:
    """Returns the mean gap between probability and share of yes over bins of equal width (ECE), (draws,)."""
    gaps = np.zeros((prob.size, bins))
    gaps[np.arange(prob.size), places(prob, bins)] = truth - prob
    return weighted.ratio(np.abs(weights @ gaps).sum(axis=1), weights.sum(axis=1))


def slope(truth: np.ndarray, prob: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Returns b of P(yes) = sigmoid(a + b logit(prob)) by maximum likelihood, (draws,); nan where there is none.

    1 is ideal, below 1 the probabilities are too extreme.

    Source: Cox 1958, https://doi.org/10.1093/biomet/45.3-4.562; Van Calster et al. 2016,
        https://doi.org/10.1016/j.jclinepi.2015.12.005.
    """
    logit = _logit(prob)

    def of(some: np.ndarray) -> np.ndarray:
        yes = some * truth
        fits = _overlap(yes, some - yes, logit)
        found = np.full(len(some), math.nan)
        found[fits] = _slopes(yes[fits], some[fits], logit, near)
        return found

    once = np.ones((1, prob.size))
    # Draws are near the cases that they are drawn of: their slopes are sought from there on.
    near = _line(once * truth, once, logit) if _overlap(once * truth, once - truth, logit).all() else np.zeros(2)
    return weighted.by_blocks(of, weights)


def intercept(truth: np.ndarray, prob: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Returns a of P(yes) = sigmoid(a + logit(prob)), calibration in the large, (draws,); nan with one class only.

    0 is ideal, above 0 the probabilities are too low. Source as `slope`'s.
    """
    logit = _logit(prob)

    def of(some: np.ndarray) -> np.ndarray:
        yes = some * truth
        both = (yes.sum(axis=1) > 0) & ((some - yes).sum(axis=1) > 0)
        found = np.full(len(some), math.nan)
        found[both] = _intercepts(yes[both], some[both], logit)
        return found

    return weighted.by_blocks(of, weights)


def _logit(prob: np.ndarray) -> np.ndarray:
    found: np.ndarray = special.logit(np.clip(prob, _EPSILON, 1 - _EPSILON))
    return found


def _overlap(yes: np.ndarray, no: np.ndarray, logit: np.ndarray) -> np.ndarray:
    """Returns where a finite slope exists, (draws,) bool.

    On one covariate it does exactly when the classes overlap (Albert and Anderson 1984).
    """
    (low_yes, high_yes), (low_no, high_no) = _ends(yes, logit), _ends(no, logit)
    overlap: np.ndarray = (low_yes < high_no) & (low_no < high_yes)
    return overlap


def _ends(weight: np.ndarray, logit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the lowest and the highest logit that has a weight, (draws,) each."""
    there = weight > 0
    low = np.where(there, logit, math.inf).min(axis=1, initial=math.inf)
    return low, np.where(there, logit, -math.inf).max(axis=1, initial=-math.inf)


def _line(yes: np.ndarray, total: np.ndarray, logit: np.ndarray) -> np.ndarray:
    """Returns intercept and slope of one draw, (2,)."""
    (b,) = _slopes(yes, total, logit, np.zeros(2))
    a = _intercepts(yes, total, b * logit)[0]
    return np.array([a, b]) if math.isfinite(a + b) else np.zeros(2)


def _slopes(yes: np.ndarray, total: np.ndarray, logit: np.ndarray, near: np.ndarray) -> np.ndarray:
    """Returns the slopes by Newton's method, steps halved until the likelihood does not fall, (draws,).

    It begins at intercept and slope `near`, (2,).
    """
    size = total.sum(axis=1)
    middle = total @ logit / size
    centred = logit - middle[:, None]
    scale = np.sqrt((total * centred**2).sum(axis=1) / size)
    x = centred / scale[:, None]
    beta, going = np.stack([near[0] + near[1] * middle, near[1] * scale], axis=1), np.arange(len(x))
    for _ in range(_MOST_STEPS):
        step = _step(beta[going], x[going], yes[going], total[going])
        beta[going] -= step
        going = going[np.abs(step).max(axis=1) >= _SMALL]
        if not going.size:
            break
    return beta[:, 1] / scale


def _step(beta: np.ndarray, x: np.ndarray, yes: np.ndarray, total: np.ndarray) -> np.ndarray:
    """Returns Newton's step to subtract, (draws, 2)."""
    fitted = special.expit(beta[:, :1] + beta[:, 1:] * x)
    missing, spread = total * fitted - yes, total * fitted * (1 - fitted)
    gradient = np.stack([missing.sum(axis=1), (missing * x).sum(axis=1)], axis=1)
    across = (spread * x).sum(axis=1)
    curvature = np.array([[spread.sum(axis=1), across], [across, (spread * x**2).sum(axis=1)]]).transpose(2, 0, 1)
    # The pseudo-inverse: where all is fitted as 0 or 1 nothing is left to divide by.
    step = (np.linalg.pinv(curvature, hermitian=True) @ gradient[:, :, None])[:, :, 0]
    before, share = _loss(beta, x, yes, total), np.ones(len(beta))
    worse = np.arange(len(beta))
    while worse.size:
        now = _loss(beta[worse] - share[worse, None] * step[worse], x[worse], yes[worse], total[worse])
        # What only rounding makes worse is where the search ends.
        worse = worse[(now > before[worse] + _SMALL * (1 + np.abs(before[worse]))) & (share[worse] > 1e-10)]
        share[worse] /= 2
    return share[:, None] * step


def _loss(beta: np.ndarray, x: np.ndarray, yes: np.ndarray, total: np.ndarray) -> np.ndarray:
    linear = beta[:, :1] + beta[:, 1:] * x
    # log(1 + exp(linear)), which numpy's logaddexp computes at half the speed.
    softened = np.maximum(linear, 0) + np.log1p(np.exp(-np.abs(linear)))
    return (total * softened - yes * linear).sum(axis=1)


def _intercepts(yes: np.ndarray, total: np.ndarray, logit: np.ndarray) -> np.ndarray:
    """Returns the intercepts by Newton's method, halving the bracket where it leaves it, (draws,)."""
    mean = yes.sum(axis=1) / total.sum(axis=1)
    first, last = _ends(total, logit)
    low, high = special.logit(mean) - last - 1e-6, special.logit(mean) - first + 1e-6
    found, going = np.clip(np.zeros(len(mean)), low, high), np.arange(len(mean))
    for _ in range(_MOST_STEPS):
        fitted = special.expit(found[going, None] + logit)
        over = (total[going] * fitted).sum(axis=1) - yes[going].sum(axis=1)
        steep = (total[going] * fitted * (1 - fitted)).sum(axis=1)
        high[going] = np.where(over > 0, found[going], high[going])
        low[going] = np.where(over > 0, low[going], found[going])
        newton = found[going] - np.divide(over, steep, out=np.full(over.shape, math.inf), where=steep > 0)
        inside = (newton >= low[going]) & (newton <= high[going])
        new = np.where(inside, newton, (low[going] + high[going]) / 2)
        step, found[going] = np.abs(new - found[going]), new
        going = going[step >= _SMALL]
        if not going.size:
            break
    return found
