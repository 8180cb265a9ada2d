"""What becomes of yes and no at an operating point, as measures: of groups, of models, beside readers."""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from radkit.evaluation import boxes
from radkit.evaluation.cases import Cases
from radkit.evaluation.endpoints import Endpoint, OperatingPoint
from radkit.evaluation.measures import Closed, Measure
from radkit.metrics import classification, weighted

Share = Callable[[np.ndarray], np.ndarray]  # (n,) -> (n,)


def thresholds(endpoints: Sequence[Endpoint], points: Sequence[OperatingPoint]) -> dict[str, float]:
    """Returns the score from which each endpoint is called yes, by its name; those without are left out.

    A detector has one point for all its boxes: an image is called yes where a box is shown.

    Args:
        endpoints: Those asked for.
        points: The operating points; a threshold of nan is none.
    """
    at = {point.name: point.threshold for point in points if not math.isnan(point.threshold)}
    found = {endpoint.name: at.get(endpoint.name, at.get(boxes.POINT)) for endpoint in endpoints}
    return {name: threshold for name, threshold in found.items() if threshold is not None}


def of_points(endpoints: Sequence[Endpoint], at: Mapping[str, float]) -> list[Measure]:
    """Returns sensitivity and specificity of each endpoint that has a threshold.

    Args:
        endpoints: Those asked for.
        at: From which score each is called yes.
    """
    one = len(endpoints) == 1
    return [
        make(endpoint, at[endpoint.name], "" if one else f", {endpoint.name}")
        for endpoint in endpoints
        if endpoint.name in at
        for make in (sensitivity, specificity)
    ]


def sensitivity(endpoint: Endpoint, threshold: float, suffix: str = "") -> Measure:
    """Returns the share of yes that is called yes; an answer that is in between counts by its share of yes.

    A case whose score is nan is called nothing, and so is wrong in both sensitivity and specificity.

    Args:
        endpoint: The question.
        threshold: A score at or above it is a call of yes.
        suffix: Of the measure's name.
    """
    return _rate(f"sensitivity{suffix}", "share of yes that is called yes", endpoint, threshold, whole=_yes, part=_yes)


def specificity(endpoint: Endpoint, threshold: float, suffix: str = "") -> Measure:
    """Returns the share of no that is called no; see `sensitivity`."""
    return _rate(
        f"specificity{suffix}", "share of no that is called no", endpoint, threshold, whole=_no, part=_no, of_nan=1.0
    )


def false_positives(endpoint: Endpoint, threshold: float) -> Measure:
    """Returns the false positive rate, 1 - specificity."""
    return _rate(
        "false positive rate",
        "share of no that is called yes",
        endpoint,
        threshold,
        whole=_no,
        part=_yes,
        of_nan=1.0,
        better="lower",
    )


def called(endpoint: Endpoint, threshold: float) -> Measure:
    """Returns the share of cases that is called yes, of those whose answer is known."""
    return _rate(
        "share called positive",
        "share of all cases that is called yes",
        endpoint,
        threshold,
        whole=np.ones_like,
        part=_yes,
        better="",
    )


def _yes(truth: np.ndarray) -> np.ndarray:
    return truth


def _no(share: np.ndarray) -> np.ndarray:
    return 1 - share


def _rate(
    name: str,
    words: str,
    endpoint: Endpoint,
    threshold: float,
    *,
    whole: Share,
    part: Share,
    of_nan: float = 0.0,
    better: str = "higher",
) -> Measure:
    """Returns a measure: of cases that count by `whole` of their truth, the mean `part` of their calls.

    Args:
        name: The measure's.
        words: What it is.
        endpoint: The question.
        threshold: A score at or above it is a call of yes.
        whole: Truth, (n,) without nan -> how much a case counts.
        part: Calls, (n,) 0 or 1 -> how much of that is the case's.
        of_nan: The call of a case whose score is nan.
        better: As `Measure.better`.
    """

    def counted(cases: Cases) -> tuple[np.ndarray, np.ndarray]:
        truth, score = endpoint.truth(cases), endpoint.score(cases)
        amount = np.where(np.isnan(truth), 0.0, whole(truth))
        return amount, amount * part(np.where(np.isnan(score), of_nan, score >= threshold))

    def of(cases: Cases, weights: np.ndarray) -> np.ndarray:
        amount, right = counted(cases)
        return weighted.ratio(weights @ right, weights @ amount)

    def about(cases: Cases) -> np.ndarray:
        return counted(cases)[0] > 0

    method = f"{words}; {endpoint.name} is called yes at scores of at least {threshold:.6g}"
    return Measure(name, method, of, about, better=better, closed=_closed(counted))


def _closed(counted: Callable[[Cases], tuple[np.ndarray, np.ndarray]]) -> Closed:
    def closed(cases: Cases, about: np.ndarray, level: float) -> tuple[float, float, str]:
        amount, right = (values[about] for values in counted(cases))
        if not np.isin(amount, (0.0, 1.0)).all():
            return math.nan, math.nan, "Clopper-Pearson needs answers of yes and no, and some are in between"
        found = classification.proportion_ci(round(float(right.sum())), round(float(amount.sum())), 1 - level)
        return found["clopper_low"], found["clopper_high"], "Clopper and Pearson 1934, each case taken for itself"

    return closed
