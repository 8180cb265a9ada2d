"""Exclusive classes: which is called, how often rightly, and how well each one's probability tells it from the rest."""

import functools
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from radkit.errors import UserError
from radkit.evaluation import binary
from radkit.evaluation.cases import Cases
from radkit.evaluation.endpoints import Endpoint
from radkit.evaluation.measures import Measure
from radkit.metrics import weighted, weighted_calls, weighted_numbers

_EPSILON = float(np.finfo(np.float64).eps)
_WORST_BRIER = 2.0


@dataclass(frozen=True, eq=False)
class Called:
    """Classes of cases and calls, cases of unknown class left out.

    Attributes:
        known: Which cases they are, (cases,) bool.
        truth: Number of the class, (n,) int.
        calls: Number of the class that is called, (n,) int; where the model gave no number a wrong one.
        probability: (n, classes); where the model gave no number 0 of the true class and 1 of all others.
        unanswered: Where it gave none, (n,) bool.
    """

    known: np.ndarray
    truth: np.ndarray
    calls: np.ndarray
    probability: np.ndarray
    unanswered: np.ndarray


Caller = Callable[[Cases, Sequence[str]], Called]


def truth(cases: Cases, names: Sequence[str]) -> np.ndarray:
    """Returns the number of each case's class, (n,) float64; nan where it is unknown (empty or -1).

    Raises:
        UserError: A number that no class has.
    """
    label = cases.numbers("label")
    label = np.where(label == -1, np.nan, label)
    wrong = label[~np.isnan(label) & ~np.isin(label, np.arange(len(names)))]
    if wrong.size:
        raise UserError(
            f"column 'label' must hold the number of a class, 0 to {len(names) - 1}, or -1 for unknown, "
            f"but {wrong.size} cases hold others, such as {wrong[0]:g}"
        )
    return label


def endpoints(names: Sequence[str]) -> list[Endpoint]:
    """Returns what is asked of classes: of two whether it is the second, of more each against the rest."""
    shown = [1] if len(names) == 2 else range(len(names))
    return [Endpoint(names[k], _is(names, k), _probability(names[k])) for k in shown]


def _is(names: Sequence[str], number: int) -> Callable[[Cases], np.ndarray]:
    def of(cases: Cases) -> np.ndarray:
        label = truth(cases, names)
        return np.where(np.isnan(label), np.nan, label == number)

    return of


def _probability(name: str) -> Callable[[Cases], np.ndarray]:
    return lambda cases: cases.numbers(f"probability {name}")


def called(cases: Cases, names: Sequence[str]) -> Called:
    """Returns the calls of the class with the highest probability, of equals the first.

    A case without a number counts as the class after its own.
    """
    found = answered(cases, names)
    calls = found.probability.argmax(axis=1) if found.truth.size else found.truth
    return Called(
        found.known,
        found.truth,
        np.where(found.unanswered, (found.truth + 1) % len(names), calls),
        found.probability,
        found.unanswered,
    )


def answered(cases: Cases, names: Sequence[str]) -> Called:
    """Returns the cases of known class with their probabilities, called as what they are."""
    label = truth(cases, names)
    known = ~np.isnan(label)
    of_class = [Endpoint(name, _is(names, k), _probability(name)) for k, name in enumerate(names)]
    columns = [binary.answers(endpoint, cases) for endpoint in of_class]
    unanswered = np.any([column.unanswered for column in columns], axis=0)
    number = label[known].astype(np.int64)
    probability = np.stack([column.score for column in columns], axis=1)
    worst = (np.arange(len(names)) != number[:, None]).astype(np.float64)
    return Called(known, number, number, np.where(unanswered[:, None], worst, probability), unanswered)


def measures(names: Sequence[str]) -> list[Measure]:
    """Returns what is measured of three or more classes, and the area of each against the rest."""
    mean = "mean over classes of the area under the ROC curve of each against the rest; classes without cases left out"
    pairs = "mean over pairs of classes, on their cases, of the areas by either one's probability; Hand and Till 2001"
    brier = "mean over cases of the squared differences of all probabilities from 0 or 1, added; 0 to 2; Brier 1950"
    loss = "mean of -ln of the true class's probability, kept 2.2e-16 away from 0"
    about = functools.partial(known, names)
    found = [
        Measure("AUC", mean, functools.partial(_macro_auc, names), about, leads=True),
        Measure("AUC, Hand and Till", pairs, functools.partial(_hand_till, names), about),
        *of_calls(names, called, "the class with the highest probability is called"),
        Measure("Brier score", brier, functools.partial(_brier, names), about, better="lower"),
        Measure("log loss", loss, functools.partial(_log_loss, names), about, better="lower"),
    ]
    return found + [binary.auc(endpoint, f", {endpoint.name}") for endpoint in endpoints(names)]


def known(names: Sequence[str], cases: Cases) -> np.ndarray:
    """Returns of which cases the class is known, (n,) bool."""
    return ~np.isnan(truth(cases, names))


_OF_CALLS = {
    "accuracy": ("accuracy", "share of cases called as what they are"),
    "balanced accuracy": ("balanced_accuracy", "mean over classes of the share called as what they are"),
    "macro F1": ("macro_f1", "mean over classes of F1; classes without cases and calls left out"),
    "MCC": ("mcc", "correlation of calls and truth; Gorodkin 2004"),
    "kappa": ("kappa", "agreement of calls and truth beyond chance; Cohen 1960"),
    "linear kappa": ("kappa_linear", "the same, mistakes weighing by their distance; Cohen 1968"),
    "quadratic kappa": ("kappa_quadratic", "the same, mistakes weighing by their squared distance; Cohen 1968"),
}
UNORDERED = ("accuracy", "balanced accuracy", "macro F1", "MCC", "kappa")


def of_calls(
    names: Sequence[str],
    caller: Caller,
    rule: str,
    wanted: Sequence[str] = UNORDERED,
    leads: Sequence[str] = ("accuracy",),
) -> list[Measure]:
    """Returns what is measured of calls.

    Args:
        names: The classes.
        caller: What calls one.
        rule: How, in words.
        wanted: Which figures: `UNORDERED`, `linear kappa`, `quadratic kappa`.
        leads: Those of them that lead.
    """
    return [
        Measure(
            name,
            f"{_OF_CALLS[name][1]}; {rule}",
            functools.partial(_of_table, names, caller, _OF_CALLS[name][0]),
            functools.partial(known, names),
            leads=name in leads,
        )
        for name in wanted
    ]


def table(names: Sequence[str], caller: Caller, cases: Cases, weights: np.ndarray) -> np.ndarray:
    """Returns how often each class is called each, (draws, classes of truth, classes called)."""
    found = caller(cases, names)
    return weighted_calls.tables(found.truth, found.calls, weights[:, found.known], len(names))


def _of_table(names: Sequence[str], caller: Caller, key: str, cases: Cases, weights: np.ndarray) -> np.ndarray:
    return weighted_calls.of_tables(table(names, caller, cases, weights))[key]


def _macro_auc(names: Sequence[str], cases: Cases, weights: np.ndarray) -> np.ndarray:
    found = answered(cases, names)
    of_known = weights[:, found.known]
    areas = [weighted.auc(found.truth == k, found.probability[:, k], of_known) for k in range(len(names))]
    return weighted_calls.defined_mean(np.stack(areas, axis=1))


def _hand_till(names: Sequence[str], cases: Cases, weights: np.ndarray) -> np.ndarray:
    found = answered(cases, names)
    of_known = weights[:, found.known]
    areas = []
    for a, b in itertools.combinations(range(len(names)), 2):
        pair = (found.truth == a) | (found.truth == b)
        is_a, of_pair = found.truth[pair] == a, of_known[:, pair]
        first = weighted.auc(is_a, found.probability[pair, a], of_pair)
        areas.append((first + weighted.auc(~is_a, found.probability[pair, b], of_pair)) / 2)
    return weighted_calls.defined_mean(np.stack(areas, axis=1))


def _brier(names: Sequence[str], cases: Cases, weights: np.ndarray) -> np.ndarray:
    found = answered(cases, names)
    squared = ((found.probability - np.eye(len(names))[found.truth]) ** 2).sum(axis=1)
    return weighted_numbers.mean(np.minimum(squared, _WORST_BRIER), weights[:, found.known])


def _log_loss(names: Sequence[str], cases: Cases, weights: np.ndarray) -> np.ndarray:
    found = answered(cases, names)
    of_truth = found.probability[np.arange(found.truth.size), found.truth]
    return weighted_numbers.mean(-np.log(np.clip(of_truth, _EPSILON, 1 - _EPSILON)), weights[:, found.known])
