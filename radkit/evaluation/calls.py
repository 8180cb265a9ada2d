"""What calls at an operating point give: the table of four counts and all that follows from it, as measures."""

import functools
import math
from typing import Any

import numpy as np
from scipy import stats

from radkit.evaluation import binary
from radkit.evaluation.cases import Cases
from radkit.evaluation.endpoints import Endpoint, OperatingPoint
from radkit.evaluation.measures import Measure
from radkit.metrics import classification, weighted, weighted_calls

CELLS = ("tp", "fp", "fn", "tn")
# Name, key in `weighted_calls`, method, better, and of a proportion the cells of its numerator and of its denominator.
_FIGURES: tuple[tuple[str, str, str, str, tuple[str, str] | None], ...] = (
    ("sensitivity", "sensitivity", "share of yes that is called yes", "higher", ("tp", "tp fn")),
    ("specificity", "specificity", "share of no that is called no", "higher", ("tn", "tn fp")),
    ("PPV", "ppv", "share of calls of yes that are yes; depends on how common yes is", "higher", ("tp", "tp fp")),
    ("NPV", "npv", "share of calls of no that are no; depends on how common yes is", "higher", ("tn", "tn fn")),
    ("accuracy", "accuracy", "share of right calls; depends on how common yes is", "higher", ("tp tn", "tp fp fn tn")),
    ("balanced accuracy", "balanced_accuracy", "mean of sensitivity and specificity", "higher", None),
    ("F1", "f1", "harmonic mean of sensitivity and PPV", "higher", None),
    ("MCC", "mcc", "Matthews' correlation of calls and truth", "higher", None),
    ("LR+", "lr_plus", "sensitivity / (1 - specificity); infinite without false alarms", "higher", None),
    ("LR-", "lr_minus", "(1 - sensitivity) / specificity", "lower", None),
    ("kappa", "kappa", "Cohen's kappa of calls and truth; Cohen 1960", "higher", None),
)


# Those that hold yes against no.
_OF_BOTH = ("balanced_accuracy", "f1", "mcc", "lr_plus", "lr_minus", "kappa")


def counts(endpoint: Endpoint, point: OperatingPoint, cases: Cases, weights: np.ndarray) -> np.ndarray:
    """Returns tp, fp, fn and tn at an operating point, (draws, 4); a case without a number is wrong either way."""
    if math.isnan(point.threshold):
        return np.full((len(weights), 4), math.nan)
    found = binary.answers(endpoint, cases)
    called, of_known = found.score >= point.threshold, weights[:, found.known]
    right = weighted_calls.counts(found.truth, called & ~found.unanswered, of_known)
    wrong = weighted_calls.counts(found.truth, called | found.unanswered, of_known)
    return np.stack([right[:, 0], wrong[:, 1], right[:, 2], wrong[:, 3]], axis=1)


def measures(endpoint: Endpoint, point: OperatingPoint, cost_of_miss: float = 1.0) -> list[Measure]:
    """Returns all that is measured of calls at an operating point.

    Args:
        endpoint: The question.
        point: From which score a case is called yes.
        cost_of_miss: What a missed yes costs, in false alarms.
    """
    all_known = functools.partial(binary.known, endpoint)
    only = {name: functools.partial(_that_are, endpoint, yes) for name, yes in (("sensitivity", 1), ("specificity", 0))}
    at = f"; called yes from {point.threshold:.6g} on"
    found = [
        Measure(
            name,
            f"{method}{at}",
            functools.partial(_figure, endpoint, point, key),
            only.get(name, all_known),
            better=better,
            kinds=functools.partial(binary.is_yes, endpoint) if key in _OF_BOTH else None,
            closed=_closed(endpoint, point, name, cells),
        )
        for name, key, method, better, cells in _FIGURES
    ]
    cost = f"mean cost of a call, in false alarms; a missed yes costs {cost_of_miss:g}{at}"
    expected = functools.partial(_cost, endpoint, point, cost_of_miss)
    return [*found, Measure("expected cost", cost, expected, all_known, better="lower")]


def shares(endpoint: Endpoint, point: OperatingPoint, cases: Cases, level: float) -> dict[str, dict[str, Any]]:
    """Returns what is counted of each figure that is a share: part, whole, and wilson: low, high, method."""
    everyone = np.ones(len(cases), bool)
    table, is_hard = _counted(endpoint, point, cases, everyone), _is_hard(endpoint, cases, everyone)
    found = {}
    for name, *_, cells in _FIGURES:
        if cells is not None:
            part, whole = _part(table, cells)
            low, high, method = proportion(part, whole, level, "wilson", is_hard=is_hard)
            told = {"low": low, "high": high, "method": method}
            found[name] = {"part": _plain(part), "whole": _plain(whole), "wilson": told}
    return found


def proportion(part: float, whole: float, level: float, kind: str, *, is_hard: bool) -> tuple[float, float, str]:
    """Returns low, high and method of a proportion's interval.

    Args:
        part: Weight of the cases counted.
        whole: Of all.
        level: Coverage.
        kind: "clopper" or "wilson".
        is_hard: Whether every truth is yes or no; if not there is no interval.
    """
    source = {"clopper": "Clopper and Pearson 1934", "wilson": "Wilson 1927"}[kind]
    if not is_hard:
        return math.nan, math.nan, f"{source}, which counts whole cases: some truths are in between"
    found = classification.proportion_ci(round(part), round(whole), alpha=1 - level)
    return found[f"{kind}_low"], found[f"{kind}_high"], f"{source}, each case taken for itself"


def _plain(count: float) -> float:
    return int(count) if count.is_integer() else count


def _part(table: dict[str, float], cells: tuple[str, str]) -> tuple[float, float]:
    part, whole = (math.fsum(table[cell] for cell in several.split()) for several in cells)
    return part, whole


def _is_hard(endpoint: Endpoint, cases: Cases, members: np.ndarray) -> bool:
    found = binary.answers(endpoint, cases)
    return bool(np.isin(found.truth[members[found.known]], (0, 1)).all())


def _that_are(endpoint: Endpoint, yes: int, cases: Cases) -> np.ndarray:
    """Returns which cases are, at least in part, yes (1) or no (0), (n,) bool."""
    truth = np.asarray(endpoint.truth(cases), np.float64)
    return (truth != 1 - yes) & ~np.isnan(truth)


def _figure(endpoint: Endpoint, point: OperatingPoint, key: str, cases: Cases, weights: np.ndarray) -> np.ndarray:
    return weighted_calls.of_counts(counts(endpoint, point, cases, weights))[key]


def _cost(endpoint: Endpoint, point: OperatingPoint, cost: float, cases: Cases, weights: np.ndarray) -> np.ndarray:
    table = counts(endpoint, point, cases, weights)
    return weighted.ratio(cost * table[:, 2] + table[:, 1], table.sum(axis=1))


def _closed(endpoint: Endpoint, point: OperatingPoint, name: str, cells: tuple[str, str] | None) -> Any:
    if cells is not None:
        return functools.partial(_clopper, endpoint, point, cells)
    return functools.partial(_simel, endpoint, point, name) if name.startswith("LR") else None


def _counted(endpoint: Endpoint, point: OperatingPoint, cases: Cases, members: np.ndarray) -> dict[str, float]:
    table = counts(endpoint, point, cases, members[None].astype(np.float64))[0]
    return dict(zip(CELLS, table.tolist()))


def _clopper(
    endpoint: Endpoint, point: OperatingPoint, cells: tuple[str, str], cases: Cases, members: np.ndarray, level: float
) -> tuple[float, float, str]:
    part, whole = _part(_counted(endpoint, point, cases, members), cells)
    return proportion(part, whole, level, "clopper", is_hard=_is_hard(endpoint, cases, members))


def _simel(
    endpoint: Endpoint, point: OperatingPoint, name: str, cases: Cases, members: np.ndarray, level: float
) -> tuple[float, float, str]:
    """Returns the interval of a likelihood ratio; nan where a count that it divides by is 0."""
    table = _counted(endpoint, point, cases, members)
    a, b = ("tp", "fp") if name == "LR+" else ("fn", "tn")
    yes, no = table["tp"] + table["fn"], table["fp"] + table["tn"]
    method = "Simel et al. 1991, on the log scale, each case taken for itself"
    if not _is_hard(endpoint, cases, members):
        return math.nan, math.nan, f"{method}; it counts whole cases, and some truths are in between"
    if not (table[a] > 0 and table[b] > 0):
        return math.nan, math.nan, f"{method}; undefined where a count is 0"
    z = float(stats.norm.ppf((1 + level) / 2))
    half = z * math.sqrt(1 / table[a] - 1 / yes + 1 / table[b] - 1 / no)
    middle = math.log(table[a] / yes / (table[b] / no))
    return math.exp(middle - half), math.exp(middle + half), method
