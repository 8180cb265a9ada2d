"""What calls are worth: the mean cost of a mistake, and net benefit."""

import math

import numpy as np
from numpy.typing import ArrayLike

from radkit.errors import UserError
from radkit.metrics import classification, inputs


def expected_cost(y_true: ArrayLike, y_pred: ArrayLike, cost: ArrayLike) -> float:
    """Returns the mean cost of a call; nan without cases.

    Args:
        y_true: Reference class of each case, 0, 1, 2 ..., (n,).
        y_pred: Call, (n,). There may be more calls than classes, such as "ask a second reader".
        cost: Cost of each call in each class, cost[true][pred], (classes, calls), any unit.

    Raises:
        UserError: A class or a call that the table has no cost of, costs that are not finite, differing lengths.

    Example:
        >>> expected_cost([1, 1, 0, 0], [1, 0, 0, 1], cost=[[0, 1], [10, 0]])
        2.75
    """
    table = inputs.numbers("cost", cost)
    if table.ndim != 2 or not np.isfinite(table).all():
        raise UserError(f"cost must be a table of finite numbers, cost[true][pred], not of shape {table.shape}")
    truth, calls = np.asarray(y_true), np.asarray(y_pred)
    inputs.same_length(y_true=truth, y_pred=calls)
    rows = inputs.positions(truth, {k: k for k in range(table.shape[0])}, "y_true")
    columns = inputs.positions(calls, {k: k for k in range(table.shape[1])}, "y_pred")
    return float(table[rows, columns].mean()) if rows.size else math.nan


def net_benefit(y_true: ArrayLike, y_prob: ArrayLike, threshold: float) -> float:
    """Returns the net benefit of treating whoever has at least a probability, in true positives per case.

    tp / n - fp / n * t / (1 - t): a harm of t / (1 - t) true positives is what the threshold t says of a false one.
    Treating nobody has 0. nan without cases, and at t = 1, where no benefit outweighs a harm.

    Args:
        y_true: Reference, 0 or 1, (n,).
        y_prob: Probability of 1, in [0, 1], (n,); positive is >= threshold.
        threshold: t, in [0, 1].

    Raises:
        UserError: A threshold or a probability outside [0, 1], differing lengths.

    Source: Vickers and Elkin 2006, https://doi.org/10.1177/0272989X06295361.

    Example:
        >>> net_benefit([1, 1, 0, 0], [0.9, 0.1, 0.6, 0.2], threshold=0.5)
        0.0
    """
    truth, prob = inputs.binary("y_true", y_true), inputs.probabilities("y_prob", y_prob)
    inputs.same_length(y_true=truth, y_prob=prob)
    if not 0 <= threshold <= 1:
        raise UserError(f"threshold must be a probability, in [0, 1], not {threshold!r}")
    if threshold == 1 or not truth.size:
        return math.nan
    tp, fp, _, _ = classification.counts(truth, prob >= threshold)
    return (tp - fp * threshold / (1 - threshold)) / truth.size
