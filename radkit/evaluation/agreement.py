"""How two measurements of the same things agree: the model's and the reference's volumes, sizes, numbers."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from radkit.evaluation import boxes, masks, measures
from radkit.evaluation.cases import Cases
from radkit.evaluation.measures import Measure
from radkit.evaluation.plan import Plan
from radkit.metrics import agreement, icc, weighted_numbers

MOST_POINTS = 2000  # of a plot that are saved
METHOD = (
    "differences are the model's measurement minus the reference's (Bland and Altman 1999); "
    "limits of agreement are bias minus and plus 1.96 standard deviations of the "
    "differences; intervals draw patients"
)
_SEVERAL = "not told: patients have several measurements, so those are not independent"
_SHARES = {
    "bias": ("mean difference", "nearer to zero"),
    "lower limit of agreement": ("bias - 1.96 standard deviations (n - 1) of the differences", ""),
    "upper limit of agreement": ("bias + 1.96 standard deviations (n - 1) of the differences", ""),
    "slope of differences": (
        "least-squares slope of the difference over the mean of both: other than 0, the bias grows with the size",
        "nearer to zero",
    ),
    "Lin's concordance": ("concordance correlation (Lin 1989), variances over n", "higher"),
    "ICC(2,1)": (
        "intraclass correlation, absolute agreement, single rater (Shrout and Fleiss 1979)",
        "higher",
    ),
}


@dataclass(frozen=True, eq=False)
class Pairs:
    """What was measured twice: m pairs.

    Attributes:
        reference: (m,) float64, finite.
        found: The model's, (m,), finite.
        case: Number of the case of each, (m,) int.
        num_unknown: How many measurements of the reference are unknown, and so no pair.
        num_undefined: How many the model's are no number, and so no pair.
    """

    reference: np.ndarray
    found: np.ndarray
    case: np.ndarray
    num_unknown: int = 0
    num_undefined: int = 0


Of = Callable[[Cases], Pairs]


def tell(cases: Cases, plan: Plan) -> list[dict[str, Any]]:
    """Returns the agreement of each thing that was measured; none where nothing was.

    Args:
        cases: The table.
        plan: The evaluation.

    Returns:
        Of each: name, unit, n (pairs), num_cases, num_patients, num_unknown, num_undefined, bland_altman (as
        `metrics.agreement.bland_altman`; `independent`: whether each patient has one pair, so that its interval by
        Student's t holds), icc (of ICC2: icc, lo, hi), ccc, figures (with intervals over patients), points (mean and
        difference of each pair; at most 2000 evenly chosen), method.
    """
    found = []
    for name, unit, of in _things(cases, plan):
        pairs = of(cases)
        if pairs.reference.size or pairs.num_unknown or pairs.num_undefined:
            found.append(_told(name, unit, pairs, cases, plan))
    return found


def _things(cases: Cases, plan: Plan) -> list[tuple[str, str, Of]]:
    things: list[tuple[str, str, Of]] = []
    if cases.has("value") and cases.has("label"):
        things.append(
            (plan.data.label or "value", plan.data.label_unit, functools.partial(of_columns, "label", "value"))
        )
    for column in cases.rows[0]:
        kind, _, label = column.partition(" ")
        if kind in ("ref_ml", "ref_cm2") and _is_told(column, label, cases):
            unit = "mL" if kind == "ref_ml" else "cm2"
            what = f"{'volume' if unit == 'mL' else 'area'} of {label or 'all labels'}"
            things.append((what, unit, functools.partial(of_columns, column, column.replace("ref_", "pred_", 1))))
    if cases.has("found_labels"):
        classes, threshold = len(boxes.class_names(plan.data)), boxes.point(cases, plan).threshold
        pairs = functools.partial(of_boxes, classes=classes, threshold=threshold)
        things.append(("longest side of boxes that were hit", "mm", pairs))
    return things


def _is_told(column: str, label: str, cases: Cases) -> bool:
    """Whether a size is told: of all labels together only where there are several, and never one that nobody knows."""
    labels = sum(other.startswith(f"{column} ") for other in cases.rows[0])
    return not np.isnan(cases.numbers(column)).all() and (bool(label) or labels != 1)


def of_columns(reference: str, found: str, cases: Cases) -> Pairs:
    """Returns two columns of the table as pairs, one a case."""
    truth, value = cases.numbers(reference), cases.numbers(found)
    known = np.isfinite(truth) & masks.known(cases)
    both = known & np.isfinite(value)
    return Pairs(truth[both], value[both], np.flatnonzero(both), int((~known).sum()), int((known & ~both).sum()))


def of_boxes(cases: Cases, classes: int, threshold: float) -> Pairs:
    """Returns the longest sides of references and of the best found boxes that hit them, mm.

    Args:
        cases: With boxes.
        classes: How many there are.
        threshold: From which score on a found box counts.

    Returns:
        Pairs of what was hit; num_unknown: hits in images of unknown voxel size.
    """
    of = boxes.held(cases, classes)
    truth, value, case = [], [], []
    for number, image in enumerate(of.images):
        hits, scores = image.hits(), np.asarray(image.scores, np.float64).reshape(-1)
        best: dict[int, int] = {}
        for row in np.argsort(-scores, kind="stable"):
            if hits[row] >= 0 and scores[row] >= threshold:
                best.setdefault(int(hits[row]), int(row))
        for place, row in sorted(best.items()):
            truth.append(_longest(np.asarray(image.reference)[place], image.spacing_mm))
            value.append(_longest(np.asarray(image.found)[row], image.spacing_mm))
            case.append(number)
    sizes, of_found, owner = np.array(truth, np.float64), np.array(value, np.float64), np.array(case, np.int64)
    known = np.isfinite(sizes)
    return Pairs(sizes[known], of_found[known], owner[known], int((~known).sum()))


def _longest(box: np.ndarray, spacing_mm: Any) -> float:
    axes = box.size // 2
    return float(((box[axes:] - box[:axes]) * np.asarray(spacing_mm, np.float64)).max())


def measures_of(pairs: Pairs, unit: str) -> list[Measure]:
    """Returns bias, limits of agreement, slope, concordance and ICC of pairs, as measures of their cases.

    Args:
        pairs: What was measured twice.
        unit: Its unit.
    """

    def counts(cases: Cases) -> np.ndarray:
        return np.bincount(pairs.case, minlength=len(cases)) > 0

    closed = {"bias": functools.partial(_student, pairs), "ICC(2,1)": functools.partial(_of_icc, pairs)}
    return [
        Measure(
            name,
            f"{words}; a case's pairs count together",
            functools.partial(_value, name, pairs),
            counts,
            unit if name in ("bias", "lower limit of agreement", "upper limit of agreement") else "",
            better,
            closed=closed.get(name),
        )
        for name, (words, better) in _SHARES.items()
    ]


def _value(name: str, pairs: Pairs, cases: Cases, weights: np.ndarray) -> np.ndarray:
    del cases
    of_pair = weights[:, pairs.case]
    if name in ("Lin's concordance", "ICC(2,1)"):
        of = weighted_numbers.moments(pairs.found, pairs.reference, of_pair)
        return weighted_numbers.concordance(of) if name.startswith("Lin") else weighted_numbers.icc2(of)
    difference, middle = pairs.found - pairs.reference, (pairs.found + pairs.reference) / 2
    of = weighted_numbers.moments(difference, middle, of_pair)
    if name == "slope of differences":
        return weighted_numbers.ratio(of.covariance, of.var_b)
    several = np.where(of.total > 1, of.total, np.nan)
    sd = np.sqrt(of.var_a * several / (several - 1))
    shift = {"bias": 0.0, "lower limit of agreement": -1.96, "upper limit of agreement": 1.96}[name]
    return of.mean_a + shift * sd if shift else of.mean_a


def _independent(pairs: Pairs, cases: Cases) -> bool:
    return len(np.unique(cases.patients[pairs.case])) == pairs.case.size


def _chosen(pairs: Pairs, which: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return pairs.reference[which[pairs.case]], pairs.found[which[pairs.case]]


def _student(pairs: Pairs, cases: Cases, which: np.ndarray, level: float) -> tuple[float, float, str]:
    if not _independent(pairs, cases):
        return np.nan, np.nan, _SEVERAL
    reference, found = _chosen(pairs, which)
    n = reference.size
    if n < 2:
        return np.nan, np.nan, "Student's t"
    difference = found - reference
    half = stats.t.ppf((1 + level) / 2, n - 1) * difference.std(ddof=1) / np.sqrt(n)
    return float(difference.mean() - half), float(difference.mean() + half), "Student's t"


def _of_icc(pairs: Pairs, cases: Cases, which: np.ndarray, level: float) -> tuple[float, float, str]:
    if not _independent(pairs, cases):
        return np.nan, np.nan, _SEVERAL
    ratings = np.stack(_chosen(pairs, which), axis=1)
    told = icc.icc(ratings, 1 - level)["ICC2"]
    return told["lo"], told["hi"], "McGraw and Wong 1996"


def _told(name: str, unit: str, pairs: Pairs, cases: Cases, plan: Plan) -> dict[str, Any]:
    order = np.argsort(pairs.reference + pairs.found, kind="stable")
    kept = order[np.unique(np.linspace(0, order.size - 1, min(MOST_POINTS, order.size)).round().astype(int))]
    pair = pairs.found, pairs.reference
    listed = [measures.figure(one, cases, plan.draws) for one in measures_of(pairs, unit)]
    return {
        "name": name,
        "unit": unit,
        "n": int(pairs.reference.size),
        "num_cases": len(np.unique(pairs.case)),
        "num_patients": len(np.unique(cases.patients[pairs.case])),
        "num_unknown": pairs.num_unknown,
        "num_undefined": pairs.num_undefined,
        "bland_altman": {**agreement.bland_altman(*pair), "independent": _independent(pairs, cases)},
        "icc": icc.icc(np.stack(pair, axis=1), 1 - plan.draws.level)["ICC2"],
        "ccc": agreement.lin_ccc(*pair),
        "figures": listed,
        "points": {
            "mean": ((pairs.found + pairs.reference) / 2)[kept].tolist(),
            "difference": (pairs.found - pairs.reference)[kept].tolist(),
        },
        "method": METHOD,
    }
