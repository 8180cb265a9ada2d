"""Where the model fails: the worst cases by name, and the error by size, site and confidence."""

import functools
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from radkit.evaluation import boxes, masks, measures, numbers, sizes, subgroups
from radkit.evaluation.cases import Cases
from radkit.evaluation.measures import Measure
from radkit.evaluation.plan import Plan
from radkit.metrics import weighted_numbers

MOST = 8  # cases listed for each kind of failure
METHOD = (
    f"the {MOST} worst cases of each error, those without any error left out; of equal ones the earlier in the table; "
    f"intervals draw patients; groups of fewer than {subgroups.FEWEST_PATIENTS} patients are told by number only"
)
_BANDS = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


@dataclass(frozen=True, eq=False)
class Wrong:
    """One kind of error.

    Attributes:
        name: As people read it.
        error: Of each case, (n,) float64, 0 or more; nan: its truth is unknown; inf: the answer is no number.
        unit: Of it.
        told: Name -> values: what is told of a case beside it.
        of: Of which endpoint it is, (n,); None: there are none.
    """

    name: str
    error: np.ndarray
    unit: str
    told: dict[str, np.ndarray]
    of: Sequence[str] | None = None


def tell(cases: Cases, plan: Plan) -> dict[str, Any] | None:
    """Returns the worst cases and where errors gather; None where nothing is measured case by case.

    Args:
        cases: The table.
        plan: The evaluation.

    Returns:
        cases: list of name, record_uid, kind, why (the kind, and of which endpoint), error (infinite: the answer is no
        number), unit and numbers (by name), worst first, kind by kind; by: list of error (the kind), fact (`size`,
        `site`, `confidence`), unit, n, method and groups (value, n, num_patients, too_few, figures: mean error);
        method; n.
    """
    kinds = _kinds(cases, plan)
    if not kinds:
        return None
    return {
        "n": len(cases),
        "cases": [one for kind in kinds for one in _worst(kind, cases)],
        "by": [table for kind in kinds for table in _tables(kind, cases, plan)],
        "method": METHOD,
    }


def _kinds(cases: Cases, plan: Plan) -> list[Wrong]:
    if cases.has("found_labels"):
        return _of_boxes(cases, plan)
    if cases.has("dice"):
        return _of_masks(cases)
    if cases.has(numbers.FOUND) and cases.has(numbers.TRUTH):
        return _of_numbers(cases, plan)
    return _of_endpoints(cases, plan)


def _of_numbers(cases: Cases, plan: Plan) -> list[Wrong]:
    truth, found = cases.numbers(numbers.TRUTH), cases.numbers(numbers.FOUND)
    error = np.where(np.isfinite(found), np.abs(found - truth), math.inf)
    told = {"truth": truth, "prediction": found}
    return [Wrong("absolute error", np.where(np.isfinite(truth), error, math.nan), plan.data.label_unit, told)]


def _of_masks(cases: Cases) -> list[Wrong]:
    known, dice = masks.known(cases), cases.numbers("dice")
    told = {name: cases.numbers(name) for name in cases.rows[0] if name.startswith(("dice", "hd95_mm "))}
    kinds = [Wrong("overlap error (1 - mean Dice)", np.where(known, 1 - dice, math.nan), "", told)]
    for name in cases.rows[0]:
        if name.startswith("hd95_mm "):
            label = name.removeprefix("hd95_mm ")
            sizes_of = {f"{side}_voxels": cases.numbers(f"{side}_voxels {label}") for side in ("ref", "pred")}
            apart = cases.numbers(name)
            apart = np.where(np.isposinf(apart), cases.numbers(masks.DIAGONAL), apart)
            kinds.append(Wrong(f"HD95, {label}", np.where(known, apart, math.nan), "mm", sizes_of))
    return kinds


def _of_boxes(cases: Cases, plan: Plan) -> list[Wrong]:
    of = boxes.held(cases, len(boxes.class_names(plan.data)))
    counts = boxes.counts_at(of, boxes.point(cases, plan).threshold)
    told = dict(zip(("hits", "false positives", "misses"), counts.T))
    return [
        Wrong(f"{name} at the operating point", told[name], "boxes", told) for name in ("misses", "false positives")
    ]


def _of_endpoints(cases: Cases, plan: Plan) -> list[Wrong]:
    """Returns the largest gap of each case over all endpoints whose scores are probabilities."""
    asked = [endpoint for endpoint in plan.asked.endpoints if endpoint.probable]
    if not asked:
        return []
    truth, score = (np.array([getattr(one, side)(cases) for one in asked]) for side in ("truth", "score"))
    gap = np.where(np.isfinite(score), np.abs(score - truth), math.inf)
    gap = np.where(np.isnan(truth), -1.0, gap)  # what is unknown is never the largest
    largest = (gap.argmax(axis=0), np.arange(len(cases)))
    told = {"truth": truth[largest], "probability": score[largest]}
    error = np.where(gap[largest] < 0, math.nan, gap[largest])
    return [Wrong("gap between probability and truth", error, "", told, [asked[k].name for k in largest[0]])]


def _worst(kind: Wrong, cases: Cases) -> list[dict[str, Any]]:
    order = np.argsort(-np.nan_to_num(kind.error, nan=-1.0, posinf=math.inf), kind="stable")
    listed = [int(place) for place in order[:MOST] if kind.error[place] > 0]
    return [
        {
            "name": str(cases.rows[place].get("name", cases.rows[place].get("record_uid", place + 1))),
            "record_uid": str(cases.rows[place].get("record_uid", "")),
            "kind": kind.name,
            "why": f"large {kind.name}" + (f" of {kind.of[place]}" if kind.of is not None else ""),
            "error": float(kind.error[place]),
            "unit": kind.unit,
            "numbers": {name: float(values[place]) for name, values in kind.told.items()},
        }
        for place in listed
    ]


def _tables(kind: Wrong, cases: Cases, plan: Plan) -> list[dict[str, Any]]:
    known = ~np.isnan(kind.error)
    mean = Measure(
        f"mean {kind.name}",
        "mean over cases whose truth is known; an answer that is no number leaves it undefined",
        functools.partial(_mean, kind.error, known),
        lambda _: known,
        kind.unit,
        "lower",
    )
    by = {
        "size": [(told["size"], members) for told, members in sizes.of_cases(cases, plan)],
        "site": _by_words(cases, "site"),
        "confidence": _by_confidence(kind, cases, plan),
    }
    of_known = {
        fact: [(value, members & known) for value, members in groups if (members & known).any()]
        for fact, groups in by.items()
    }
    return [
        {
            "error": kind.name,
            "fact": fact,
            "unit": kind.unit,
            "n": int(known.sum()),
            "method": mean.method,
            "groups": [_group(value, members, mean, cases, plan) for value, members in groups],
        }
        for fact, groups in of_known.items()
        if len(groups) > 1
    ]


def _group(value: str, members: np.ndarray, mean: Measure, cases: Cases, plan: Plan) -> dict[str, Any]:
    patients = len(np.unique(cases.patients[members]))
    too_few = patients < subgroups.FEWEST_PATIENTS
    figures = [] if too_few else [measures.figure(mean, cases, plan.draws, members)]
    return {"value": value, "n": int(members.sum()), "num_patients": patients, "too_few": too_few, "figures": figures}


def _mean(error: np.ndarray, known: np.ndarray, cases: Cases, weights: np.ndarray) -> np.ndarray:
    del cases
    return weighted_numbers.mean(error[known], weights[:, known])


def _by_words(cases: Cases, fact: str) -> list[tuple[str, np.ndarray]]:
    if not cases.has(fact):
        return []
    words = cases.words(fact)
    return [(str(value) or "not told", words == value) for value in sorted(set(words.tolist()))]


def _by_confidence(kind: Wrong, cases: Cases, plan: Plan) -> list[tuple[str, np.ndarray]]:
    """Returns cases by how sure the model was of its answer; none where it does not say how sure it is."""
    if "probability" in kind.told:
        score = kind.told["probability"]
        return _in_bands(np.maximum(score, 1 - score), _BANDS[1:])
    if cases.has("found_labels"):
        highest = boxes.held(cases, len(boxes.class_names(plan.data))).highest
        none = [("nothing found", np.isneginf(highest))] if np.isneginf(highest).any() else []
        return none + _in_bands(highest, _BANDS)
    return []


def _in_bands(sure: np.ndarray, edges: Sequence[float]) -> list[tuple[str, np.ndarray]]:
    found = []
    for low, high in itertools.pairwise(edges):
        last = high == edges[-1]
        members = (sure >= low) & ((sure <= high) if last else (sure < high))
        found.append((f"{low:g} to {'' if last else 'below '}{high:g}", members))
    return [(words, members) for words, members in found if members.any()]
