"""How much two groups, or two models, differ: both are measured on the same draws of patients."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from radkit.evaluation import measures
from radkit.evaluation.cases import Cases, Draws
from radkit.metrics import multiplicity

METHOD = (
    "same draws of patients for both; interval: percentiles of the drawn differences; p: difference over the standard "
    "deviation of the drawn ones, expanded as intervals are, Student's t of the smaller side's patients, two-sided"
)
HOLM = "Holm 1979, over all tests of this section"
_ROUNDING = 1e-12

Wanted = tuple[measures.Measure, Cases, np.ndarray]  # of which cases of which table, (n,) bool


@dataclass(frozen=True, eq=False)
class Drawn:
    """A measure of some cases and of the same cases in each draw of patients.

    Attributes:
        measure: Which.
        cases: The table.
        about: The cases that it is about, (n,) bool.
        value: Each of them counted once.
        values: Of each draw, (resamples,).
        patients: How many patients these cases have.
    """

    measure: measures.Measure
    cases: Cases
    about: np.ndarray
    value: float
    values: np.ndarray
    patients: int

    def figure(self, draws: Draws) -> dict[str, Any]:
        """Returns what a report tells of it: `measures.figure` of these cases."""
        return measures.figure_of(self.measure, self.cases, draws, self.about, self.values)


def drawn(wanted: Sequence[Wanted], draws: Draws) -> list[Drawn]:
    """Returns measures of groups, all on the same draws of patients.

    Args:
        wanted: Which measure of which cases. All tables have the same patients in the same order.
        draws: How patients are drawn.
    """
    about = [measure.known(cases) & members for measure, cases, members in wanted]
    # What is asked for twice, as men are all but the women, is measured once.
    keys = [(id(one[0]), id(one[1]), kept.tobytes()) for one, kept in zip(wanted, about)]
    parts: dict[Any, list[np.ndarray]] = {key: [] for key in keys}
    first = dict(zip(reversed(keys), reversed(range(len(keys)))))
    for weights in draws.weights(wanted[0][1]) if wanted and draws.resamples else ():
        for key, place in first.items():
            measure, cases, _ = wanted[place]
            parts[key].append(measure.of(cases, weights * about[place]))
    return [
        Drawn(
            measure,
            cases,
            kept,
            measures.value(measure, cases, kept),
            np.concatenate(parts[key]) if parts[key] else np.zeros(0),
            len(np.unique(cases.patients[kept])),
        )
        for (measure, cases, _), kept, key in zip(wanted, about, keys)
    ]


def difference(this: Drawn, other: Drawn, draws: Draws) -> dict[str, Any]:
    """Returns how much larger a measure is here than there.

    Args:
        this: One group or model.
        other: The other, on the same draws.
        draws: How patients were drawn.

    Returns:
        name, difference, low, high, se (standard deviation of the drawn differences), p (two-sided), n (cases of both;
        of two models the same ones, counted once), num_patients (of the one that has fewer), num_undefined (draws that
        leave the difference undefined), unit, method. nan with fewer than two patients on a side. Without any spread p
        is 1 where there is no difference, and nan where there is one.

    Source: of p as of the interval Hesterberg 2015, https://doi.org/10.1080/00031305.2015.1089789: a draw of n patients
        varies with n, not n - 1, and Student's t of the fewer patients is further out than a normal quantile. By a
        normal p groups of ten patients without any difference would seem to differ in up to 13 of 100.
    """
    with np.errstate(invalid="ignore"):  # infinity minus infinity is undefined, and counted so
        apart, found = this.values - other.values, float(np.subtract(this.value, other.value))
    defined = apart[np.isfinite(apart)]
    patients = min(this.patients, other.patients)
    low, high = measures.interval(found, apart, patients, draws.level) if math.isfinite(found) else (math.nan, math.nan)
    se = float(defined.std(ddof=1)) if not math.isnan(low) else math.nan
    return {
        "name": this.measure.name,
        "difference": found,
        "low": low,
        "high": high,
        "se": se,
        "p": _two_sided(found, se, max(abs(this.value), abs(other.value)), patients),
        "n": int(this.about.sum()) if this.cases is not other.cases else int((this.about | other.about).sum()),
        "num_patients": patients,
        "num_undefined": int(apart.size - defined.size),
        "unit": this.measure.unit,
        "method": METHOD,
    }


def _two_sided(found: float, se: float, scale: float, patients: int) -> float:
    if math.isnan(se):
        return math.nan
    # Means of equal values differ in their last bits: such a spread is none.
    if se <= _ROUNDING * scale:
        return 1.0 if abs(found) <= _ROUNDING * scale else math.nan
    expanded = se * math.sqrt(patients / (patients - 1))
    return 2 * float(stats.t.sf(abs(found) / expanded, patients - 1))


def adjusted(p: Iterable[float]) -> list[float]:
    """Returns p values corrected for their number by Holm's method, nan left out."""
    return multiplicity.adjust_pvalues(list(p))["holm"]
