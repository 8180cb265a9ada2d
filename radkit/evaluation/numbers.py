"""How far predicted numbers lie from the truth."""

import numpy as np

from radkit.evaluation.cases import Cases
from radkit.evaluation.measures import Measure
from radkit.metrics import weighted_numbers

TRUTH, FOUND = "label", "value"
_SOURCE = "a case whose truth is unknown is left out; a prediction that is no number leaves the figure undefined"


def measures(unit: str = "") -> list[Measure]:
    """Returns the figures of a regression.

    Args:
        unit: Of the numbers, as `mm`; empty: none.
    """
    return [
        Measure(
            "mean absolute error", f"mean of |prediction - truth|; {_SOURCE}", _absolute, known, unit, "lower", True
        ),
        Measure("bias", f"mean of prediction - truth; {_SOURCE}", _bias, known, unit, "nearer to zero", True),
        Measure(
            "root mean squared error", f"root of the mean squared error; {_SOURCE}", _squared, known, unit, "lower"
        ),
        Measure("median absolute error", f"median of |prediction - truth|; {_SOURCE}", _median, known, unit, "lower"),
        Measure(
            "R2",
            "1 - residual over total sum of squares: 0 is what the mean of the truth would reach, below 0 is worse",
            _r2,
            known,
        ),
    ]


def known(cases: Cases) -> np.ndarray:
    """Returns of which cases the truth is known, (n,) bool."""
    return np.isfinite(cases.numbers(TRUTH))


def _kept(cases: Cases, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    kept = known(cases)
    return cases.numbers(TRUTH)[kept], cases.numbers(FOUND)[kept], weights[:, kept]


def _absolute(cases: Cases, weights: np.ndarray) -> np.ndarray:
    truth, found, of = _kept(cases, weights)
    return weighted_numbers.mean(np.abs(found - truth), of)


def _bias(cases: Cases, weights: np.ndarray) -> np.ndarray:
    truth, found, of = _kept(cases, weights)
    return weighted_numbers.mean(found - truth, of)


def _squared(cases: Cases, weights: np.ndarray) -> np.ndarray:
    truth, found, of = _kept(cases, weights)
    return np.sqrt(weighted_numbers.mean((found - truth) ** 2, of))


def _median(cases: Cases, weights: np.ndarray) -> np.ndarray:
    truth, found, of = _kept(cases, weights)
    return weighted_numbers.median(np.abs(found - truth), of)


def _r2(cases: Cases, weights: np.ndarray) -> np.ndarray:
    return weighted_numbers.r2(*_kept(cases, weights))
