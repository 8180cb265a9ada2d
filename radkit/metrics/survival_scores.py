"""How well predictions foretell the time to an event: concordance, Brier score, time-dependent area under the curve.

`risk` is any score that is higher where the event is expected sooner; risks count as tied only when they are equal.
Weights are one over the probability of being uncensored, estimated from the same cases, as scikit-survival's are when
it is given one data set as both training and test.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from radkit.errors import UserError
from radkit.metrics import inputs
from radkit.metrics import survival as curves


def concordance_index(time: ArrayLike, event: ArrayLike, risk: ArrayLike) -> dict[str, float]:
    """Returns Harrell's concordance: how often, of two cases, the one with the sooner event has the higher risk.

    Two cases are compared when it is known whose event came first: the sooner one had the event, and the other was
    followed for longer, or for as long without it.

    Args:
        time: Length of each follow-up, (n,).
        event: 1 event, 0 censored, (n,).
        risk: Higher is sooner, (n,).

    Returns:
        c (ties in risk count 0.5; nan when no two cases can be compared, as without events), and the counts of pairs
        behind it: concordant, discordant, tied.

    Raises:
        UserError: Differing lengths, negative times, or values of the wrong kind.

    Example:
        >>> concordance_index(time=[1, 2, 3], event=[1, 0, 1], risk=[0.9, 0.3, 0.9])["c"]
        0.75

    Source: Harrell et al. 1982, https://doi.org/10.1001/jama.1982.03320430047030; pairs as in R survival and
        scikit-survival.
    """
    duration, seen, score = _checked(time, event, risk)
    compared, lower, tied = _pairs(duration, seen, score)
    pairs, concordant, ties = int(compared.sum()), int(lower.sum()), int(tied.sum())
    return {
        "c": (concordant + 0.5 * ties) / pairs if pairs else math.nan,
        "concordant": concordant,
        "discordant": pairs - concordant - ties,
        "tied": ties,
    }


def uno_c(time: ArrayLike, event: ArrayLike, risk: ArrayLike, tau: float | None = None) -> dict[str, float]:
    """Returns Uno's concordance, which does not depend on when cases were censored.

    As Harrell's, but each pair weighs 1 / G(t)^2: t is the time of its event, G(t) the share not censored until then.

    Args:
        time: Length of each follow-up, (n,).
        event: 1 event, 0 censored, (n,).
        risk: Higher is sooner, (n,).
        tau: Only events before this time count; None: all. Choose one with many still followed: the weights grow with
            time.

    Returns:
        c; nan when no two cases can be compared, or when an event counts at whose time the last case was censored
        (its weight would be infinite; give a smaller tau).

    Raises:
        UserError: Differing lengths, negative times, or values of the wrong kind.

    Source: Uno et al. 2011, https://doi.org/10.1002/sim.4154; conventions of scikit-survival's concordance_index_ipcw
        (G includes who is censored at t itself; events before tau strictly).
    """
    duration, seen, score = _checked(time, event, risk)
    counted = duration[seen]
    if tau is not None:
        counted = counted[counted < inputs.scores("tau", [tau])[0]]
    compared, lower, tied = _pairs(duration, seen, score)
    # `_pairs` goes by rising time: the events before tau are the first.
    compared, lower, tied = (part[: counted.size] for part in (compared, lower, tied))
    remaining = curves.uncensored(duration, seen, np.sort(counted))
    if not compared.any() or not remaining.all():
        return {"c": math.nan}
    weight = remaining**-2.0
    return {"c": float(weight @ (lower + 0.5 * tied)) / float(weight @ compared)}


def integrated_brier(time: ArrayLike, event: ArrayLike, times: ArrayLike, survival: ArrayLike) -> dict[str, Any]:
    """Returns the squared error of predicted survival at given times, and its average over them.

    Args:
        time: Length of each follow-up, (n,).
        event: 1 event, 0 censored, (n,).
        times: Times t of interest, (m,), before the last follow-up ends.
        survival: Predicted probability that the event comes after t, (n, m), in [0, 1].

    Returns:
        brier: list, in the order of `times`. Who had the event until t weighs one over the share not censored until
        that event, who is followed for longer one over the share not censored until t, others nothing. nan for t at
        or after the end of the last follow-up.
        ibs: the area under the Brier scores (trapezoids) over the stretch of time; nan when one of them is nan, or
        there are not two different times.

    Raises:
        UserError: Differing lengths, negative times, probabilities outside [0, 1], or values of the wrong kind.

    Source: Graf et al. 1999, https://doi.org/10.1002/(SICI)1097-0258(19990915/30)18:17/18<2529::AID-SIM274>3.0.CO;2-5;
        conventions of scikit-survival's integrated_brier_score.
    """
    duration, seen = curves.follow_up(time, event)
    asked = inputs.measurements("times", times)
    predicted = _predicted(survival, duration.size, asked.size)
    brier = np.full(asked.size, math.nan)
    defined = np.flatnonzero(asked < duration.max(initial=-math.inf))
    if defined.size:
        brier[defined] = _brier(duration, seen, asked[defined], predicted[:, defined])
    order = np.argsort(asked, kind="stable")
    stretch = float(np.ptp(asked)) if asked.size else 0.0
    ibs = float(np.trapezoid(brier[order], asked[order])) / stretch if stretch else math.nan
    return {"brier": brier.tolist(), "ibs": ibs}


def time_dependent_auc(time: ArrayLike, event: ArrayLike, risk: ArrayLike, times: ArrayLike) -> dict[str, Any]:
    """Returns the area under the ROC curve at given times: who had the event until then, against who is still without.

    Args:
        time: Length of each follow-up, (n,).
        event: 1 event, 0 censored, (n,).
        risk: Higher is sooner, (n,).
        times: Times t of interest, (m,), from the first event to before the last follow-up.

    Returns:
        auc: list, in the order of `times`, ties in risk 0.5. A case with the event until t weighs one over the share
        not censored until its event. nan when nobody had the event until t, or nobody was followed for longer.
        mean: over the times, each weighted by the fall of the Kaplan-Meier curve since the one before; of one time its
        auc; nan when one of them is nan.

    Raises:
        UserError: Differing lengths, negative times, or values of the wrong kind.

    Source: Uno et al. 2007, https://doi.org/10.1198/016214507000000149; mean: Lambert and Chevret 2016,
        https://doi.org/10.1177/0962280213515571; conventions of scikit-survival's cumulative_dynamic_auc.
    """
    duration, seen, score = _checked(time, event, risk)
    asked = inputs.measurements("times", times)
    weight = _weights(duration, seen)
    areas = np.array([_auc_at(moment, duration, seen, score, weight) for moment in asked])
    return {"auc": areas.tolist(), "mean": _mean_over_falls(duration, seen, asked, areas)}


def _checked(time: ArrayLike, event: ArrayLike, risk: ArrayLike) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    duration, seen = curves.follow_up(time, event)
    score = inputs.scores("risk", risk)
    inputs.same_length(time=duration, risk=score)
    return duration, seen, score


def _pairs(time: np.ndarray, event: np.ndarray, risk: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns, for each event by rising time, how many cases it is compared with, and how many of them have a lower
    and an equal risk, each (events,)."""
    order = np.lexsort((~event, time))
    time, event = time[order], event[order]
    ranks = np.unique(risk[order], return_inverse=True)[1]
    own = np.flatnonzero(event)
    # Behind the events of its own time: whoever is censored then counts as later.
    start = np.searchsorted(time, time[own], side="left")
    start += np.searchsorted(time[own], time[own], side="right") - np.searchsorted(time[own], time[own], side="left")
    lower, not_higher = _count_from(ranks, start, ranks[own])
    return time.size - start, lower, not_higher - lower


def _count_from(ranks: np.ndarray, start: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns how many of ranks[start:] are below, and how many are not above, each wanted rank.

    Every stretch from start (1 at least) to the end, padded to a power of two, is a row of blocks whose lengths are
    powers of two and which begin at multiples of their length. The blocks of one length are sorted and searched at
    once, so that n cases take n log^2 n steps, not n^2.
    """
    size = 1 << int(ranks.size).bit_length()
    above_all = int(ranks.max(initial=0)) + 1
    padded = np.full(size, above_all)
    padded[: ranks.size] = ranks
    below, not_above = np.zeros(start.size, np.int64), np.zeros(start.size, np.int64)
    start, length = start.astype(np.int64), 1
    while length < size:
        blocks = np.sort(padded.reshape(-1, length), axis=1)
        padded = blocks.ravel()
        # A block's number as the leading digit makes one sorted row of all blocks.
        sorted_row = (blocks + (above_all + 1) * np.arange(size // length)[:, None]).ravel()
        now = np.flatnonzero(start & length)
        block = start[now] // length
        key = block * (above_all + 1) + wanted[now]
        below[now] += np.searchsorted(sorted_row, key, side="left") - block * length
        not_above[now] += np.searchsorted(sorted_row, key, side="right") - block * length
        start[now] += length
        length *= 2
    return below, not_above


def _predicted(survival: ArrayLike, cases: int, times: int) -> np.ndarray:
    table = inputs.numbers("survival", survival)
    if table.shape != (cases, times):
        raise UserError(
            f"survival must be (cases, times), here ({cases}, {times}): one row a case, one column a time; it is "
            f"{table.shape}"
        )
    return inputs.probabilities("survival", table.ravel()).reshape(cases, times)


def _brier(time: np.ndarray, event: np.ndarray, at: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Returns the weighted mean squared error at each time, (m,); all times lie before the last follow-up's end."""
    weight = _weights(time, event)
    had_event = event[:, None] & (time[:, None] <= at)
    squared = np.where(had_event, weight[:, None] * predicted**2, 0.0)
    squared += (time[:, None] > at) * (1 - predicted) ** 2 / curves.uncensored(time, event, at)
    return np.asarray(squared.mean(axis=0))


def _weights(time: np.ndarray, event: np.ndarray) -> np.ndarray:
    """Returns one over the share not censored until each case's event; 0 for the censored, and where nobody is left."""
    remaining = curves.uncensored(time, event, time)
    return np.divide(event, remaining, out=np.zeros(time.size), where=remaining > 0)


def _auc_at(moment: float, time: np.ndarray, event: np.ndarray, risk: np.ndarray, weight: np.ndarray) -> float:
    case, controls = event & (time <= moment), np.sort(risk[time > moment])
    if not case.any() or not controls.size:
        return math.nan
    below = np.searchsorted(controls, risk[case], side="left") + np.searchsorted(controls, risk[case], side="right")
    return float(weight[case] @ below) / (2 * controls.size * float(weight[case].sum()))


def _mean_over_falls(time: np.ndarray, event: np.ndarray, at: np.ndarray, areas: np.ndarray) -> float:
    if at.size < 2 or not time.size:
        return float(areas[0]) if at.size else math.nan
    order = np.argsort(at, kind="stable")
    falls = -np.diff(curves.event_free(time, event, at[order]), prepend=1.0)
    return float(falls @ areas[order]) / float(falls.sum()) if falls.any() else math.nan
