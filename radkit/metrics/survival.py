"""Figures of what was observed until an event: the Kaplan-Meier curve and the log-rank test.

In all of radkit's survival metrics `time` is a follow-up's length in any unit, counted from its start, and `event` is 1
where the event was seen at its end, 0 where nothing had happened yet (censored). Who is censored at the time of
another's event was still at risk then. Times count as tied only when they are equal: round what was computed.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from radkit.errors import UserError
from radkit.metrics import inputs

# Products of fractions rarely meet one half exactly: 5/6 * 4/5 * 3/4 is 0.5000000000000001.
_HALF_TOLERANCE = 1.5e-8


@dataclasses.dataclass(frozen=True)
class LifeTable:
    """What happened at each distinct time; every array has shape (distinct times,).

    Attributes:
        times: Rising.
        at_risk: How many were followed for at least so long.
        events: How many had the event then.
        censored: How many were followed for just so long without it.
    """

    times: np.ndarray
    at_risk: np.ndarray
    events: np.ndarray
    censored: np.ndarray


def kaplan_meier(time: ArrayLike, event: ArrayLike, at: ArrayLike, alpha: float = 0.05) -> dict[str, Any]:
    """Returns the share without event at given times, and the median time to the event.

    Args:
        time: Length of each follow-up, (n,).
        event: 1 event, 0 censored, (n,).
        at: Times at which the curve is read, (m,). Past the last follow-up it holds its last value.
        alpha: 1 - coverage of the intervals.

    Returns:
        survival: list, P(T > t) at each time asked for; nan without cases.
        ci_low, ci_high: lists, each time's own interval, Greenwood's variance on the log scale, cut at 1 (the default
        of R's survfit); nan once nobody is left.
        at_risk: list, how many were followed for at least so long.
        median: The time at which the curve falls below one half; where it runs level at exactly one half, the middle
        of that stretch, or its beginning when the curve ends there (as R's survfit prints it); nan when one half is
        not reached.

    Raises:
        UserError: Differing lengths, negative times, or values of the wrong kind.

    Example:
        >>> kaplan_meier(time=[1, 2, 3, 4], event=[1, 0, 1, 1], at=[0, 1, 3.5])["survival"]
        [1.0, 0.75, 0.375]

    Source: Kaplan and Meier 1958, https://doi.org/10.1080/01621459.1958.10501452; conventions of R survival.
    """
    duration, seen = follow_up(time, event)
    asked, alpha = inputs.scores("at", at), inputs.share("alpha", alpha)
    if not duration.size:
        undefined: dict[str, Any] = {name: [math.nan] * asked.size for name in ("survival", "ci_low", "ci_high")}
        return undefined | {"at_risk": [0] * asked.size, "median": math.nan}
    table = life_table(duration, seen)
    curve = np.cumprod(1 - table.events / table.at_risk)
    low, high = _interval(table, curve, alpha)
    return {
        "survival": _read(table.times, curve, asked).tolist(),
        "ci_low": _read(table.times, low, asked).tolist(),
        "ci_high": _read(table.times, high, asked).tolist(),
        "at_risk": (duration.size - np.searchsorted(np.sort(duration), asked)).tolist(),
        "median": _median(table.times, curve),
    }


def logrank(time: ArrayLike, event: ArrayLike, group: Sequence[Any] | np.ndarray) -> dict[str, Any]:
    """Returns the log-rank test of whether two or more groups have the same hazard.

    Args:
        time: Length of each follow-up, (n,).
        event: 1 event, 0 censored, (n,).
        group: Each case's group, of any kind, (n,).

    Returns:
        chisq and p with df degrees of freedom; groups (as first met) with their observed and expected events, lists.
        A group that nobody was left of at the first event is not tested, as in R's survdiff. chisq and p are nan when
        fewer than two groups are left, and when all at risk had the event at once: nothing can be compared.

    Raises:
        UserError: Differing lengths, negative times, a case without group, or values of the wrong kind.

    Example:
        >>> round(logrank(time=[1, 2, 3, 4], event=[1, 1, 1, 0], group=["a", "a", "b", "b"])["chisq"], 3)
        2.882

    Source: Peto and Peto 1972, https://doi.org/10.2307/2344317, with the hypergeometric variance.
    """
    duration, seen = follow_up(time, event)
    names, member = _groups(group)
    inputs.same_length(time=duration, group=member)
    observed, expected, variance = _observed_and_expected(duration, seen, member, len(names))
    tested = np.flatnonzero(expected > 0)
    chisq = math.nan
    if tested.size > 1 and variance.any():
        # The differences sum to zero: the first group's follows from the others'.
        rest = tested[1:]
        difference = (observed - expected)[rest]
        chisq = float(difference @ np.linalg.solve(variance[np.ix_(rest, rest)], difference))
    df = max(0, tested.size - 1)
    return {
        "chisq": chisq,
        "p": float(stats.chi2.sf(chisq, df)),
        "df": df,
        "groups": names,
        "observed": observed.tolist(),
        "expected": expected.tolist(),
    }


def follow_up(time: ArrayLike, event: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Returns times as float64 and events as bool, both (n,).

    Raises:
        UserError: Differing lengths, times that are negative, nan or infinite, or events other than 0 and 1.
    """
    duration, seen = inputs.measurements("time", time), inputs.binary("event", event)
    inputs.same_length(time=duration, event=seen)
    if duration.size and duration.min() < 0:
        raise UserError(
            f"time must count from the start of follow-up, but {int((duration < 0).sum())} of {duration.size} values "
            f"are negative, the least {duration.min():g}; look for dates that are the wrong way round"
        )
    return duration, seen


def life_table(time: np.ndarray, event: np.ndarray) -> LifeTable:
    """Returns who was at risk, had the event and was censored at each distinct time."""
    times, place = np.unique(time, return_inverse=True)
    left = np.bincount(place, minlength=times.size)
    events = np.bincount(place[event], minlength=times.size)
    return LifeTable(times, time.size - np.cumsum(left) + left, events, left - events)


def event_free(time: np.ndarray, event: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Returns the Kaplan-Meier estimate of P(no event until t), t included, for each t in `at`."""
    table = life_table(time, event)
    return _read(table.times, np.cumprod(1 - table.events / table.at_risk), at)


def uncensored(time: np.ndarray, event: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Returns the Kaplan-Meier estimate of P(not censored until t), t included, for each t in `at`.

    Who has the event at a time of censoring leaves before it, as in scikit-survival.
    """
    table = life_table(time, event)
    candidates = table.at_risk - table.events
    hazard = np.divide(table.censored, candidates, out=np.zeros(candidates.size), where=candidates > 0)
    return _read(table.times, np.cumprod(1 - hazard), at)


def _read(times: np.ndarray, after: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Returns a step function's values: 1 before the first time, `after[k]` from times[k] on."""
    return np.concatenate([[1.0], after])[np.searchsorted(times, at, side="right")]


def _interval(table: LifeTable, curve: np.ndarray, alpha: float) -> tuple[np.ndarray, np.ndarray]:
    left = table.at_risk - table.events
    gained = np.divide(table.events, table.at_risk * left, out=np.full(left.size, math.nan), where=left > 0)
    half = stats.norm.ppf(1 - alpha / 2) * np.sqrt(np.cumsum(gained))
    return curve * np.exp(-half), np.minimum(1.0, curve * np.exp(half))


def _median(times: np.ndarray, curve: np.ndarray) -> float:
    reached = np.flatnonzero(curve < 0.5 + _HALF_TOLERANCE)
    if not reached.size:
        return math.nan
    below = np.flatnonzero(curve < 0.5 - _HALF_TOLERANCE)
    first, last = reached[0], below[0] if below.size else reached[0]
    return float(times[first] + times[last]) / 2


def _groups(group: Sequence[Any] | np.ndarray) -> tuple[list[Any], np.ndarray]:
    """Returns the groups as first met, and the place of each case's group among them."""
    values = np.asarray(group, dtype=object)
    if values.ndim != 1:
        raise UserError(f"group must be one-dimensional, one value a case, not of shape {values.shape}")
    listed = values.tolist()
    missing = sum(value is None or value != value for value in listed)
    if missing:
        raise UserError(
            f"group must name each case's group, but {missing} of {len(listed)} are missing; leave them out"
        )
    names = list(dict.fromkeys(listed))
    return names, inputs.positions(values, {name: place for place, name in enumerate(names)}, "group")


def _observed_and_expected(
    time: np.ndarray, event: np.ndarray, member: np.ndarray, groups: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns each group's events, those expected if all had one hazard, and the variance, (groups, groups)."""
    times = np.unique(time[event])
    # [g, k]: how many of group g are at risk at the k-th time of an event.
    at_risk = np.zeros((groups, times.size))
    for place in range(groups):
        own = np.sort(time[member == place])
        at_risk[place] = own.size - np.searchsorted(own, times)
    total = at_risk.sum(axis=0)
    events = np.bincount(np.searchsorted(times, time[event]), minlength=times.size)
    share = at_risk / total
    spread = events * (total - events) / np.maximum(total - 1, 1)
    variance = np.diag(share @ spread) - (share * spread) @ share.T
    return np.bincount(member[event], minlength=groups), share @ events, variance
