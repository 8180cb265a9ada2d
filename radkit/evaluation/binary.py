"""How well scores tell yes from no, and what probabilities of yes are worth: measures of one endpoint."""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from radkit.errors import UserError
from radkit.evaluation.cases import Cases
from radkit.evaluation.endpoints import Endpoint
from radkit.evaluation.measures import Measure
from radkit.metrics import roc_clustered, weighted, weighted_calibration

HIGH_SPECIFICITY = (0.9, 1.0)
BINS = 10
_TOLERANCE = 1e-6  # softmax in float32 may exceed 1 by so much
_Of = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]

SOFT = "a truth between 0 and 1 counts as so much of a yes and as the rest of a no"
WORST = "cases that the model gave no number are set to the worst one: the surest no for a yes, the surest yes for a no"


@dataclass(frozen=True, eq=False)
class Answers:
    """What an endpoint's cases are and what the model says of them, those of unknown truth left out.

    Attributes:
        known: Which cases they are, (cases,) bool.
        truth: (n,) float64 in [0, 1].
        score: (n,) float64, without nan; of a probable endpoint in [0, 1].
        unanswered: For which of them the model gave no number, so that `score` is set to the worst, (n,) bool.
    """

    known: np.ndarray
    truth: np.ndarray
    score: np.ndarray
    unanswered: np.ndarray

    @property
    def is_hard(self) -> bool:
        """Whether every truth is yes or no."""
        return bool(np.isin(self.truth, (0, 1)).all())


def answers(endpoint: Endpoint, cases: Cases) -> Answers:
    """Returns the cases of an endpoint whose truth is known.

    Raises:
        UserError: A truth that is no share, or a probability that is none.
    """
    truth, score = (np.asarray(of(cases), np.float64) for of in (endpoint.truth, endpoint.score))
    known = ~np.isnan(truth)
    truth, score = truth[known], score[known]
    if truth.size and not (truth.min() >= 0 and truth.max() <= 1):
        raise UserError(
            f"the truth of {endpoint.name!r} must lie in [0, 1] (1 yes, 0 no, nan unknown), but runs from "
            f"{truth.min():g} to {truth.max():g}"
        )
    unanswered = np.isnan(score)
    least, most = (0.0, 1.0) if endpoint.probable else (-math.inf, math.inf)
    if endpoint.probable:
        score = _probabilities(endpoint.name, score)
    # To leave out what the model failed on would flatter it.
    return Answers(known, truth, np.where(unanswered, np.where(truth >= 0.5, least, most), score), unanswered)


def _probabilities(name: str, score: np.ndarray) -> np.ndarray:
    outside = score[(score < -_TOLERANCE) | (score > 1 + _TOLERANCE)]
    if outside.size:
        raise UserError(
            f"{outside.size} probabilities of {name!r} lie outside [0, 1], such as {outside[0]:g}; let the task answer "
            "with probabilities, or make the endpoint with probable=False"
        )
    return np.clip(score, 0.0, 1.0)


def known(endpoint: Endpoint, cases: Cases) -> np.ndarray:
    """Returns of which cases the truth is known, (n,) bool."""
    return ~np.isnan(np.asarray(endpoint.truth(cases), np.float64))


def is_yes(endpoint: Endpoint, cases: Cases) -> np.ndarray:
    """Returns which cases are rather a yes, (n,) bool."""
    return np.asarray(endpoint.truth(cases), np.float64) >= 0.5


def measures(endpoint: Endpoint, suffix: str = "") -> list[Measure]:
    """Returns all that is measured of an endpoint's scores; calibration only where they are probabilities.

    Args:
        endpoint: The question.
        suffix: Added to each name, as `, pneumothorax` where a report asks several.
    """
    found = [auc(endpoint, suffix), average_precision(endpoint, suffix)]
    found += [partial_auc(endpoint, suffix), partial_auc(endpoint, suffix, corrected=True)]
    return found + calibrations(endpoint, suffix) if endpoint.probable else found


def auc(endpoint: Endpoint, suffix: str = "", *, leads: bool = False) -> Measure:
    """Returns the area under the ROC curve."""
    return Measure(
        f"AUC{suffix}",
        "area under the ROC curve: share of pairs of a yes and a no that are in order, ties 0.5",
        functools.partial(_weighted, endpoint, weighted.auc),
        functools.partial(known, endpoint),
        leads=leads,
        kinds=functools.partial(is_yes, endpoint),
        closed=functools.partial(_delong, endpoint),
    )


def auc_of_column(endpoint: Endpoint, column: str, name: str) -> Measure:
    """Returns the area that a column of the table alone reaches, in the direction that suits all its cases better.

    Args:
        endpoint: The question.
        column: Numbers; a case without one counts as the worst.
        name: The measure's.
    """

    def of(cases: Cases, weights: np.ndarray) -> np.ndarray:
        both = [Endpoint(endpoint.name, endpoint.truth, _signed(column, sign), probable=False) for sign in (1, -1)]
        once = np.ones((1, len(cases)))
        areas = [_weighted(one, weighted.auc, cases, once)[0] for one in both]
        return _weighted(both[int(areas[1] > areas[0])], weighted.auc, cases, weights)

    method = "area under the ROC curve of it alone, in the direction that is the better one over all cases"
    kinds = functools.partial(is_yes, endpoint)
    return Measure(name, method, of, functools.partial(known, endpoint), better="", kinds=kinds)


def _signed(column: str, sign: int) -> Callable[[Cases], np.ndarray]:
    return lambda cases: sign * cases.numbers(column)


def average_precision(endpoint: Endpoint, suffix: str = "") -> Measure:
    """Returns the average precision."""
    return Measure(
        f"average precision{suffix}",
        "mean precision over the recalls gained, without interpolation; the share of yes is what chance reaches",
        functools.partial(_weighted, endpoint, weighted.average_precision),
        functools.partial(known, endpoint),
        kinds=functools.partial(is_yes, endpoint),
    )


def partial_auc(endpoint: Endpoint, suffix: str = "", *, corrected: bool = False) -> Measure:
    """Returns the area under the ROC curve at specificities of 0.9 and more, as it is or as McClish corrects it."""
    low, high = HIGH_SPECIFICITY
    name = f"partial AUC, specificity {low:g} to {high:g}{', corrected' if corrected else ''}{suffix}"
    method = f"area under the ROC curve at specificities from {low:g} to {high:g}"
    if corrected:
        method += ", 0.5 for chance and 1 for a perfect curve, undefined below chance; McClish 1989"
    else:
        method += f", at most {high - low:.3g}"
    return Measure(
        name,
        method,
        functools.partial(_weighted, endpoint, functools.partial(_partial, corrected)),
        functools.partial(known, endpoint),
        kinds=functools.partial(is_yes, endpoint),
    )


def calibrations(endpoint: Endpoint, suffix: str = "") -> list[Measure]:
    """Returns what is measured of probabilities: Brier score, log loss, ECE, slope, calibration in the large."""
    binned = functools.partial(weighted_calibration.expected_error, bins=BINS)
    listed: list[tuple[str, str, str, _Of]] = [
        ("Brier score", "lower", "mean squared difference between probability and truth", weighted_calibration.brier),
        (
            "log loss",
            "lower",
            "mean natural cross-entropy, probabilities kept 2.2e-16 away from 0 and 1",
            weighted_calibration.log_loss,
        ),
        (
            "ECE",
            "lower",
            f"mean gap between probability and share of yes over {BINS} bins of equal width; Naeini et al. 2015",
            binned,
        ),
        (
            "calibration slope",
            "",
            "logistic regression of the truth on the log odds, maximum likelihood; 1 is ideal, below 1 too extreme, "
            "undefined where the classes do not overlap; Van Calster et al. 2016",
            weighted_calibration.slope,
        ),
        (
            "calibration in the large",
            "nearer to zero",
            "intercept of the same with the slope held at 1; above 0 they are too low; Van Calster et al. 2016",
            weighted_calibration.intercept,
        ),
    ]
    return [
        Measure(
            f"{name}{suffix}",
            method,
            functools.partial(_weighted, endpoint, of),
            functools.partial(known, endpoint),
            better=better,
            kinds=functools.partial(is_yes, endpoint) if of is weighted_calibration.slope else None,
        )
        for name, better, method, of in listed
    ]


def _weighted(endpoint: Endpoint, of: _Of, cases: Cases, weights: np.ndarray) -> np.ndarray:
    found = answers(endpoint, cases)
    return of(found.truth, found.score, weights[:, found.known])


def _partial(corrected: bool, truth: np.ndarray, score: np.ndarray, weights: np.ndarray) -> np.ndarray:
    area = weighted.partial_area(truth, score, weights, "specificity", HIGH_SPECIFICITY)
    return weighted.corrected_area(area, HIGH_SPECIFICITY) if corrected else area


def _delong(endpoint: Endpoint, cases: Cases, members: np.ndarray, level: float) -> tuple[float, float, str]:
    found = answers(endpoint, cases)
    inside = members[found.known]
    truth, score, owner = found.truth[inside], found.score[inside], cases.patients[found.known][inside]
    if not np.isin(truth, (0, 1)).all():
        return math.nan, math.nan, "DeLong et al. 1988 knows only yes and no, and some truths are in between"
    area = roc_clustered.roc_auc_clustered(truth, score, owner, alpha=1 - level)
    alone = np.unique(owner).size == owner.size
    method = (
        "DeLong et al. 1988" if alone else "DeLong, patients kept together, by log odds; Obuchowski 1997, Student's t"
    )
    return area["ci_low"], area["ci_high"], method
