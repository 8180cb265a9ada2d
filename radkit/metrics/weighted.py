"""Figures of scores for many weightings of the same cases at once: draws of patients, subgroups.

A weighting is a row of weights, one a case: a case of weight 2 counts as if it were there twice. A truth between 0 and
1 is the share of readers who said yes: the case counts as so much of a yes and as the rest of a no at the same score.
With weights and truths of 0 and 1 every function here equals its namesake in `roc` and `roc_areas`.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

_BLOCK = 1 << 18  # numbers worked on at once: what fits into a processor's cache


@dataclass(frozen=True, eq=False)
class Steps:
    """What is called yes from each score on, scores falling.

    Attributes:
        threshold: Each score once, (steps,).
        yes: Weight of yes at or above it, (draws, steps).
        no: Weight of no, likewise.
    """

    threshold: np.ndarray
    yes: np.ndarray
    no: np.ndarray

    @property
    def total_yes(self) -> np.ndarray:
        """Weight of all yes, (draws,)."""
        return self.yes[:, -1] if self.threshold.size else np.zeros(len(self.yes))

    @property
    def total_no(self) -> np.ndarray:
        """Weight of all no, (draws,)."""
        return self.no[:, -1] if self.threshold.size else np.zeros(len(self.no))


def steps(truth: np.ndarray, score: np.ndarray, weights: np.ndarray) -> Steps:
    """Returns the weight of yes and no at or above each score.

    Args:
        truth: In [0, 1], (n,).
        score: Higher is more of a yes, (n,), without nan.
        weights: At least 0, (draws, n).
    """
    order = np.argsort(-score, kind="stable")
    falling = score[order]
    # A difference of two equal infinities would be nan.
    last = np.append(np.flatnonzero(falling[1:] != falling[:-1]), falling.size - 1) if falling.size else order
    sorted_weights, share = weights[:, order], truth[order]
    yes, no = np.cumsum(sorted_weights * share, axis=1), np.cumsum(sorted_weights * (1 - share), axis=1)
    return Steps(falling[last], yes[:, last], no[:, last])


def by_blocks(function: Callable[[np.ndarray], np.ndarray], weights: np.ndarray) -> np.ndarray:
    """Returns function(weights), (draws,), worked out over few draws at a time."""
    size = max(1, _BLOCK // max(1, weights.shape[1]))
    parts = [function(weights[start : start + size]) for start in range(0, len(weights), size)]
    return np.concatenate(parts) if parts else np.zeros(0)


def auc(truth: np.ndarray, score: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Returns the area under the ROC curve, ties 0.5, (draws,); nan without yes or without no.

    Args:
        truth: In [0, 1], (n,).
        score: (n,), without nan.
        weights: (draws, n).

    Example:
        >>> auc(np.array([0, 1, 1]), np.array([0.2, 0.1, 0.4]), np.array([[1, 1, 1], [1, 1, 3]])).tolist()
        [0.5, 0.75]
    """

    def of(some: np.ndarray) -> np.ndarray:
        found = steps(truth, score, some)
        above = np.diff(found.yes, axis=1, prepend=0)
        pairs = (np.diff(found.no, axis=1, prepend=0) * (found.yes - above / 2)).sum(axis=1)
        return ratio(pairs, found.total_yes * found.total_no)

    return by_blocks(of, weights)


def average_precision(truth: np.ndarray, score: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Returns the mean precision over the recalls gained, without interpolation, (draws,); nan without yes.

    Arguments as `auc`'s.
    """

    def of(some: np.ndarray) -> np.ndarray:
        found = steps(truth, score, some)
        called = found.yes + found.no
        precision = np.divide(found.yes, called, out=np.zeros(called.shape), where=called > 0)
        return ratio((np.diff(found.yes, axis=1, prepend=0) * precision).sum(axis=1), found.total_yes)

    return by_blocks(of, weights)


def partial_area(
    truth: np.ndarray, score: np.ndarray, weights: np.ndarray, focus: str, limits: Sequence[float]
) -> np.ndarray:
    """Returns the area under the part of the ROC curve that matters, (draws,), as `roc_areas.partial_auc`'s `raw`.

    Args:
        truth: In [0, 1], (n,).
        score: (n,), without nan.
        weights: (draws, n).
        focus: "specificity" or "sensitivity".
        limits: Lowest and highest value of that figure.
    """

    def of(some: np.ndarray) -> np.ndarray:
        found = steps(truth, score, some)
        zero = np.zeros((len(some), 1))
        sensitivity = np.hstack([zero, ratio(found.yes, found.total_yes[:, None])])
        false = np.hstack([zero, ratio(found.no, found.total_no[:, None])])
        area = (
            _area(false, sensitivity, 1 - limits[1], 1 - limits[0])
            if focus == "specificity"
            else _area(sensitivity, 1 - false, limits[0], limits[1])
        )
        return np.where((found.total_yes > 0) & (found.total_no > 0), area, math.nan)

    return by_blocks(of, weights)


def corrected_area(area: np.ndarray, limits: Sequence[float]) -> np.ndarray:
    """Returns a partial area as McClish standardises it: 0.5 chance, 1 perfect, nan below the diagonal.

    Source: McClish 1989, https://doi.org/10.1177/0272989X8900900307.
    """
    width = limits[1] - limits[0]
    chance = width * (1 - (limits[0] + limits[1]) / 2)
    # A curve on the diagonal itself must not fall below it by rounding.
    return np.where(area >= chance - 1e-12, (1 + (area - chance) / (width - chance)) / 2, math.nan)


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Returns part / whole, of their shape; nan where the whole is 0."""
    part, whole = np.broadcast_arrays(np.asarray(part, np.float64), whole)
    return np.divide(part, whole, out=np.full(part.shape, math.nan), where=whole != 0)


def _area(x: np.ndarray, y: np.ndarray, low: float, high: float) -> np.ndarray:
    """Returns the area under straight lines between points whose x never falls, from low to high, (draws,)."""
    x0, x1 = x[:, :-1], x[:, 1:]
    begin, end = np.clip(x0, low, high), np.clip(x1, low, high)
    width = x1 - x0
    slope = np.divide(y[:, 1:] - y[:, :-1], width, out=np.zeros(width.shape), where=width > 0)
    middle = y[:, :-1] + slope * ((begin + end) / 2 - x0)
    return ((end - begin) * middle).sum(axis=1)
