"""What is measured of cases: a function of the table and of how often each case counts, so that all draws of patients,
all subgroups and all comparisons are the same function with other weights."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from radkit.evaluation.cases import Cases, Draws
from radkit.metrics import intervals

Of = Callable[[Cases, np.ndarray], np.ndarray]
Closed = Callable[[Cases, np.ndarray, float], tuple[float, float, str]]


@dataclass(frozen=True, eq=False)
class Measure:
    """One thing that is measured.

    Attributes:
        name: As people read it; unique in a report.
        method: How, in words, with its source where it is no everyday figure.
        of: (cases, weights (draws, n) float64 >= 0) -> its values, (draws,) float64; nan where undefined. A case of
            weight 2 counts as if it were there twice, one of weight 0 as if it were not there.
        counts: (cases) -> which cases it is about, (n,) bool: those whose answer is known; None: all.
        unit: As `mm`; empty: none.
        better: Whether `higher` or `lower` values are better, or those `nearer to zero`; empty: neither.
        leads: Whether subgroups, comparisons and the robustness grid tell it.
        kinds: (cases) -> each case's kind, (n,), where it holds kinds against each other, as yes against no: the rarer
            one's patients tell how wide its interval is; None: all of its cases are alike.
        closed: (cases, which of them (n,) bool, level) -> low, high and the method's name, for an interval by a formula
            where each patient has one case (DeLong, Clopper-Pearson); None: the bootstrap's alone.
    """

    name: str
    method: str
    of: Of
    counts: Callable[[Cases], np.ndarray] | None = None
    unit: str = ""
    better: str = "higher"
    leads: bool = False
    kinds: Callable[[Cases], np.ndarray] | None = None
    closed: Closed | None = None

    def known(self, cases: Cases) -> np.ndarray:
        """Returns which cases it is about, (n,) bool."""
        return np.ones(len(cases), bool) if self.counts is None else self.counts(cases)


def value(measure: Measure, cases: Cases, members: np.ndarray | None = None) -> float:
    """Returns a measure of some cases, each counted once.

    Args:
        measure: Which.
        cases: The table.
        members: Which cases, (n,) bool; None: all.
    """
    once = np.ones((1, len(cases))) if members is None else members[None].astype(np.float64)
    return float(measure.of(cases, once)[0])


def drawn(measure: Measure, cases: Cases, draws: Draws, members: np.ndarray | None = None) -> np.ndarray:
    """Returns a measure of each draw of patients, (resamples,)."""
    kept = 1.0 if members is None else members.astype(np.float64)
    parts = [measure.of(cases, weights * kept) for weights in draws.weights(cases)]
    return np.concatenate(parts) if parts else np.zeros(0)


def figure(measure: Measure, cases: Cases, draws: Draws, members: np.ndarray | None = None) -> dict[str, Any]:
    """Returns what a report tells of a measure.

    Args:
        measure: Which.
        cases: The table; intervals draw its patients.
        draws: How.
        members: Of which cases, (n,) bool; None: all.

    Returns:
        name, value, low, high (percentile interval over patients), level, unit, better, method, interval (its method in
        words), n (cases that it is about), num_patients (of these), num_deciding (patients that tell how far out the
        interval's percentiles lie: these, or of them those of the rarer answer), num_undefined (draws that left it
        undefined); and where there is a formula for the interval `closed`: low, high, method.
    """
    about = measure.known(cases) & (np.ones(len(cases), bool) if members is None else members)
    values = drawn(measure, cases, draws, about) if draws.resamples else np.zeros(0)
    return figure_of(measure, cases, draws, about, values)


def figure_of(measure: Measure, cases: Cases, draws: Draws, about: np.ndarray, values: np.ndarray) -> dict[str, Any]:
    """Returns `figure`'s mapping where the draws have been measured already.

    Args:
        measure: Which.
        cases: The table.
        draws: How `values` were drawn.
        about: The cases that it is about, (n,) bool.
        values: The measure of each draw of these, (resamples,); empty: no interval.
    """
    found = value(measure, cases, about)
    patients = len(np.unique(cases.patients[about]))
    decide = deciding(measure, cases, about)
    low, high = interval(found, values, decide, draws.level)
    told: dict[str, Any] = {
        "name": measure.name,
        "value": found,
        "low": low,
        "high": high,
        "level": draws.level,
        "unit": measure.unit,
        "better": measure.better,
        "method": measure.method,
        "interval": draws.told,
        "n": int(about.sum()),
        "num_patients": patients,
        "num_deciding": decide,
        "num_undefined": int((~np.isfinite(values)).sum()),
    }
    if measure.closed is not None:
        of_formula = measure.closed(cases, about, draws.level)
        told["closed"] = {"low": of_formula[0], "high": of_formula[1], "method": of_formula[2]}
    return told


def deciding(measure: Measure, cases: Cases, about: np.ndarray) -> int:
    """Returns how many patients tell how far out a measure's percentiles lie.

    Those that it is about; where it holds kinds of cases against each other those of the rarer kind, at least two: of
    10 ill and 30 healthy patients the ill ones decide what an AUC is worth.
    """
    owner = cases.patients[about]
    return len(np.unique(owner)) if measure.kinds is None else intervals.rarer(owner, measure.kinds(cases)[about])


def interval(found: float, values: np.ndarray, patients: int, level: float) -> tuple[float, float]:
    """Returns the percentile interval of drawn values, quantiles as `metrics.intervals.expanded` has them.

    nan when fewer than two draws are defined, the value itself is not, or with one patient.
    """
    defined = values[np.isfinite(values)]
    outside = intervals.expanded(1 - level, patients)
    if defined.size < 2 or math.isnan(found + outside):
        return math.nan, math.nan
    low, high = np.quantile(defined, [outside / 2, 1 - outside / 2])
    return float(low), float(high)


def leading(measures: Sequence[Measure]) -> list[Measure]:
    """Returns those that subgroups, comparisons and grids tell."""
    return [measure for measure in measures if measure.leads]
