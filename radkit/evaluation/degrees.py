"""Degrees, classes in order: the middle one is called; each asks whether a case is of it or a higher one."""

import functools
from collections.abc import Callable, Sequence

import numpy as np

from radkit.evaluation import classes
from radkit.evaluation.cases import Cases
from radkit.evaluation.endpoints import Endpoint
from radkit.evaluation.measures import Measure
from radkit.metrics import weighted_numbers

RULE = "the first degree at which half of the probability is reached is called"
_HALF = 0.5 - 1e-7  # half of a probability that was rounded to float32 counts as half


def endpoints(names: Sequence[str]) -> list[Endpoint]:
    """Returns for every degree but the lowest whether a case is of it or of a higher one."""
    said = questions(names)
    return [Endpoint(said[k - 1], _reached(names, k), _likely(names, k)) for k in range(1, len(names))]


def questions(names: Sequence[str]) -> list[str]:
    """Returns the endpoints' names, of every degree but the lowest; the highest has its own.

    >>> questions(["none", "mild", "severe"])
    ['mild or higher', 'severe']
    """
    return [f"{name} or higher" for name in names[1:-1]] + [names[-1]]


def _reached(names: Sequence[str], degree: int) -> Callable[[Cases], np.ndarray]:
    def of(cases: Cases) -> np.ndarray:
        label = classes.truth(cases, names)
        return np.where(np.isnan(label), np.nan, label >= degree)

    return of


def _likely(names: Sequence[str], degree: int) -> Callable[[Cases], np.ndarray]:
    def of(cases: Cases) -> np.ndarray:
        return np.sum([cases.numbers(f"probability {name}") for name in names[degree:]], axis=0)

    return of


def called(cases: Cases, names: Sequence[str]) -> classes.Called:
    """Returns the calls of the middle degree; a case without a number counts as the degree farthest from its own."""
    found = classes.answered(cases, names)
    last = len(names) - 1
    reached = np.cumsum(found.probability, axis=1) >= _HALF
    middle = np.where(reached.any(axis=1), reached.argmax(axis=1), last)
    farthest = np.where(found.truth * 2 > last, 0, last)
    calls = np.where(found.unanswered, farthest, middle)
    return classes.Called(found.known, found.truth, calls, found.probability, found.unanswered)


def measures(names: Sequence[str]) -> list[Measure]:
    """Returns what is measured of degrees."""
    wanted = ("quadratic kappa", "linear kappa", "accuracy")
    about = functools.partial(classes.known, names)
    error = f"mean number of degrees between call and truth; {RULE}"
    within = f"share of cases called at most one degree off; {RULE}"
    return [
        *classes.of_calls(names, called, RULE, wanted, ("quadratic kappa", "accuracy")),
        Measure(
            "mean error in degrees", error, functools.partial(_mean_error, names), about, better="lower", leads=True
        ),
        Measure("at most one degree off", within, functools.partial(_within_one, names), about),
    ]


def _errors(names: Sequence[str], cases: Cases) -> tuple[np.ndarray, np.ndarray]:
    found = called(cases, names)
    return np.abs(found.calls - found.truth).astype(np.float64), found.known


def _mean_error(names: Sequence[str], cases: Cases, weights: np.ndarray) -> np.ndarray:
    errors, known = _errors(names, cases)
    return weighted_numbers.mean(errors, weights[:, known])


def _within_one(names: Sequence[str], cases: Cases, weights: np.ndarray) -> np.ndarray:
    errors, known = _errors(names, cases)
    return weighted_numbers.mean((errors <= 1).astype(np.float64), weights[:, known])
