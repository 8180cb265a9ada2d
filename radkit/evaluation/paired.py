"""Two who answered the same cases, model or reader: DeLong's test of their areas, McNemar's of their calls."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from radkit.evaluation import binary
from radkit.evaluation.cases import Cases
from radkit.evaluation.endpoints import Endpoint
from radkit.metrics import classification, roc

DELONG = (
    "DeLong et al. 1988, paired; of patients with several cases by Obuchowski 1997, which keeps these together; a case "
    "without a number is set to the worst"
)
MCNEMAR = (
    "McNemar 1947, exact, two-sided, calls of each at its own operating point, cases taken as independent; a case "
    "without a number is wrong"
)
_NORMAL = float(stats.norm.ppf(0.975))


@dataclass(frozen=True, eq=False)
class Answered:
    """What two said of the cases whose truth is yes or no.

    Attributes:
        kept: Which cases these are, (cases,) bool.
        truth: (n,) bool.
        score: The first one's, (n,) float64, without nan: the worst where there was none.
        other: The second one's.
        unanswered: For which the first had no number, (n,) bool.
        other_unanswered: Likewise the second.
        patients: Number of each case's patient, (n,) int64.
    """

    kept: np.ndarray
    truth: np.ndarray
    score: np.ndarray
    other: np.ndarray
    unanswered: np.ndarray
    other_unanswered: np.ndarray
    patients: np.ndarray


def answered(
    endpoint: Endpoint, cases: Cases, others: Cases, second: Endpoint | None = None, read: np.ndarray | None = None
) -> Answered:
    """Returns what two said of the cases whose truth is yes or no; unknown ones and those in between are left out.

    Args:
        endpoint: The question, as the first answers it.
        cases: The first one's table.
        others: The second one's: the same cases in the same order.
        second: The question as the second answers it; None: alike.
        read: Which cases count, (cases,) bool; None: all.
    """
    first, theirs = binary.answers(endpoint, cases), binary.answers(second or endpoint, others)
    hard = np.isin(first.truth, (0.0, 1.0)) & (True if read is None else read[first.known])
    kept = first.known.copy()
    kept[first.known] = hard
    return Answered(
        kept,
        first.truth[hard] == 1,
        first.score[hard],
        theirs.score[hard],
        first.unanswered[hard],
        theirs.unanswered[hard],
        cases.patients[kept],
    )


def areas(both: Answered) -> dict[str, float]:
    """Returns DeLong's test of the areas under the ROC curves of two, patients kept together.

    With one case a patient it is `roc.delong_test`.

    Returns:
        this, other (areas), difference with low and high (normal, 95 %), z and the two-sided p; nan without two
        patients with yes and two with no. Scores that place every case alike differ by nothing: z 0, p 1.

    Source: DeLong et al. 1988, https://doi.org/10.2307/2531595; Obuchowski 1997, https://doi.org/10.2307/2533958.
    """
    this, other = roc.auc(both.truth, both.score), roc.auc(both.truth, both.other)
    yes, no = (a - b for a, b in zip(roc.placements(both.truth, both.score), roc.placements(both.truth, both.other)))
    difference = float(yes.mean()) if yes.size and no.size else math.nan
    variance = _variance(both, yes - difference, no - difference)
    # Rounding leaves a spread of nothing where all differ by the same.
    flat = 0.0 if abs(difference) < 1e-12 else math.copysign(math.inf, difference)
    z = flat if variance <= 1e-24 else difference / math.sqrt(variance)
    half = _NORMAL * math.sqrt(max(0.0, variance)) if not math.isnan(variance) else math.nan
    return {
        "this": this,
        "other": other,
        "difference": difference,
        "low": difference - half,
        "high": difference + half,
        "z": z,
        "p": 2 * float(stats.norm.sf(abs(z))),
    }


def _variance(both: Answered, yes: np.ndarray, no: np.ndarray) -> float:
    """Returns the variance of a difference of areas from what each case adds to it, kept together by patient."""
    patient = np.unique(both.patients, return_inverse=True)[1]
    with_yes, with_no = np.unique(patient[both.truth]).size, np.unique(patient[~both.truth]).size
    if min(with_yes, with_no) < 2:
        return math.nan
    patients = int(patient.max()) + 1
    first = np.bincount(patient[both.truth], yes, patients)
    second = np.bincount(patient[~both.truth], no, patients)
    return float(
        with_yes / (with_yes - 1) * (first @ first) / yes.size**2
        + with_no / (with_no - 1) * (second @ second) / no.size**2
        + 2 * patients / (patients - 1) * (first @ second) / (yes.size * no.size)
    )


def mcnemar(both: Answered, threshold: float, other_threshold: float) -> dict[str, Any]:
    """Returns McNemar's test of whose calls are right.

    Args:
        both: What two said.
        threshold: From which score on the first calls yes.
        other_threshold: Likewise the second.

    Returns:
        only_this_right, only_other_right, p (exact; nan without cases), chi2_corrected.
    """
    right = ((both.score >= threshold) == both.truth) & ~both.unanswered
    theirs = ((both.other >= other_threshold) == both.truth) & ~both.other_unanswered
    b, c = int((right & ~theirs).sum()), int((theirs & ~right).sum())
    found = classification.mcnemar_test(b=b, c=c)
    return {
        "only_this_right": b,
        "only_other_right": c,
        "p": found["exact_p"] if both.truth.size else math.nan,
        "chi2_corrected": found["chi2_corrected"],
    }
