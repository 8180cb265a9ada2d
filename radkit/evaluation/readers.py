"""What people said of the cases beside what the model says: calls, ratings, numbers, marks."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from radkit.errors import UserError
from radkit.evaluation import concordance, contrasts, measures, rates, readers_calls, readers_table
from radkit.evaluation.cases import Cases
from radkit.evaluation.plan import Plan
from radkit.evaluation.readers_table import Marks, Reading
from radkit.metrics import METRICS

MOST_CATEGORIES = 20  # whole numbers in so narrow a range are degrees, which have a kappa
_SECTIONS = ("calls", "ratings", "values", "marks")
_ICC = "ICC(2,1), absolute agreement of single readers; Shrout and Fleiss 1979, interval by McGraw and Wong 1996"


def tell(cases: Cases, plan: Plan) -> dict[str, Any] | None:
    """Returns what the report says of readers; None where nobody read.

    Args:
        cases: The table.
        plan: The readers' table (see `readers_table.parsed`), endpoints, operating points.

    Returns:
        readers (names), n (cases that anybody read), num_patients, num_elsewhere (rows of records that are not among
        the cases); calls (one an endpoint), ratings (one an endpoint), values (one a column), marks (one at most), each
        with readers who have `tests` (p, p_adjusted over all of them, correction); method.

    Raises:
        UserError: As `readers_table.parsed`.
    """
    if not plan.readers:
        return None
    table = readers_table.parsed(plan.readers, cases, plan.asked.endpoints)
    endpoints = {endpoint.name: endpoint for endpoint in plan.asked.endpoints}
    at = rates.thresholds(plan.asked.endpoints, plan.points)
    of_calls, of_ratings, of_values = (readers_table.by_question(table.readings, kind) for kind in readers_table.KINDS)
    said: list[Reading | Marks] = [*table.readings, *table.marks]
    read = np.any([one.read for one in said], axis=0)
    told: dict[str, Any] = {
        "readers": sorted({one.reader for one in said}),
        "n": int(read.sum()),
        "num_patients": len(np.unique(cases.patients[read])),
        "num_elsewhere": table.elsewhere,
        "calls": [
            readers_calls.calls(endpoints[name], found, at.get(name), cases, plan.draws)
            for name, found in of_calls.items()
        ],
        "ratings": [readers_calls.ratings(endpoints[name], found, cases) for name, found in of_ratings.items()],
        "values": [_values(name, found, cases, plan) for name, found in of_values.items()],
        "marks": _all_marks(table.marks, cases, plan),
        "method": "people and the model on the same cases; several readers are told one by one, not pooled",
    }
    p = iter(contrasts.adjusted(one["p"] for section in _SECTIONS for test in _tests(told[section]) for one in test))
    return {**told, **{section: [_with(entry, p) for entry in told[section]] for section in _SECTIONS}}


def _tests(section: Sequence[Mapping[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    for entry in section:
        for reader in entry["readers"]:
            yield reader["tests"]


def _with(entry: Mapping[str, Any], p: Iterator[float]) -> dict[str, Any]:
    readers = [
        {
            **reader,
            "tests": [{**test, "p_adjusted": next(p), "correction": contrasts.HOLM} for test in reader["tests"]],
        }
        for reader in entry["readers"]
    ]
    return {**entry, "readers": readers}


def _values(question: str, readings: Sequence[Reading], cases: Cases, plan: Plan) -> dict[str, Any]:
    """Returns how readers' numbers agree with one another and with the model's."""
    own = cases.numbers(question)
    own = np.where(np.isfinite(own), own, math.nan)
    together = [reading.answers for reading in readings]
    return {
        "question": question,
        "n": int(np.any([reading.read for reading in readings], axis=0).sum()),
        "num_undefined": int(np.isnan(own).sum()),
        "readers": [_valuer(reading, own, cases, plan) for reading in readings],
        "icc": _icc(together),
        "icc_with_model": _icc([*together, own]),
        "method": "numbers of people and of the model; a case without a finite number of the model's is left out",
    }


def _valuer(reading: Reading, own: np.ndarray, cases: Cases, plan: Plan) -> dict[str, Any]:
    kept = reading.read & ~np.isnan(own)
    apart = METRICS["bland_altman"](a=own[kept], b=reading.answers[kept])
    return {
        "reader": reading.reader,
        "n": int(kept.sum()),
        "left_out": int((reading.read & ~kept).sum()),
        "bland_altman": {**apart, "method": "the model minus the reader; Bland and Altman 1999, cases as independent"},
        "ccc": METRICS["lin_ccc"](a=own[kept], b=reading.answers[kept]),
        "kappas": [
            measures.figure(
                concordance.kappa(f"{kind} kappa with the model", reading.answers, own, kind), cases, plan.draws
            )
            for kind in (("unweighted", "quadratic") if _are_degrees(own[kept], reading.answers[kept]) else ())
        ],
        "tests": [],
    }


def _are_degrees(*values: np.ndarray) -> bool:
    together = np.concatenate(values)
    whole = bool(together.size) and bool((together == np.round(together)).all())
    return whole and float(np.ptp(together)) < MOST_CATEGORIES


def _icc(together: Sequence[np.ndarray]) -> dict[str, Any]:
    """Returns the intraclass correlation of cases that all have a number of."""
    table = np.stack(together, axis=1)
    complete = table[~np.isnan(table).any(axis=1)]
    found = METRICS["icc"](ratings=complete)["ICC2"] if len(complete) else dict.fromkeys(("icc", "lo", "hi"), math.nan)
    return {
        "value": found["icc"],
        "low": found["lo"],
        "high": found["hi"],
        "n": len(complete),
        "num_readers": table.shape[1],
        "method": _ICC,
    }


def _all_marks(marks: Sequence[Marks], cases: Cases, plan: Plan) -> list[dict[str, Any]]:
    """Returns one entry where there are marks: JAFROC of each reader, beside the model's on the same cases."""
    if not marks:
        return []
    lesions = _num_lesions(cases)
    own = [one for one in plan.asked.measures if one.name == "JAFROC"]
    return [
        {
            "n": int(np.any([one.read for one in marks], axis=0).sum()),
            "readers": [_marker(one, lesions, own, cases, plan) for one in marks],
            "method": "lesions and marks of people, the model's found boxes as its marks",
        }
    ]


def _num_lesions(cases: Cases) -> np.ndarray:
    """Returns how many lesions each case has, (n,) int: what it has boxes of, without regions to ignore."""
    if not cases.has("labels") or not isinstance(cases.rows[0]["labels"], Sequence):
        raise UserError(
            "the readers' table has a column 'lesion', and these cases have no boxes whose lesions could be marked; "
            "leave it out, or read boxes.csv, too"
        )
    return np.array([sum(int(label) >= 0 for label in row["labels"]) for row in cases.rows], np.int64)


def _marker(
    marks: Marks, num_lesions: np.ndarray, own: Sequence[measures.Measure], cases: Cases, plan: Plan
) -> dict[str, Any]:
    of_case, ratings = _lesions(marks, num_lesions)
    measure = concordance.rated_higher(marks.highest, of_case, ratings, num_lesions == 0)
    drawn = contrasts.drawn([(one, cases, marks.read) for one in (measure, *own)], plan.draws)
    return {
        "reader": marks.reader,
        "n": int(marks.read.sum()),
        "num_normal": int((marks.read & (num_lesions == 0)).sum()),
        "num_lesions": int(num_lesions[marks.read].sum()),
        "figures": [drawn[0].figure(plan.draws)],
        "model": [one.figure(plan.draws) for one in drawn[1:]],
        "tests": [
            {
                **contrasts.difference(one, drawn[0], plan.draws),
                "method": f"the model minus the reader; {contrasts.METHOD}",
            }
            for one in drawn[1:]
        ],
    }


def _lesions(marks: Marks, num_lesions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the case and the rating of each lesion of the cases, those not marked at -inf.

    Raises:
        UserError: More lesions are marked in a case than it has.
    """
    of_case: list[int] = []
    ratings: list[float] = []
    for number in np.flatnonzero(num_lesions | marks.read):
        marked = [rating for case, rating in marks.lesions if case == number]
        missing = int(num_lesions[number]) - len(marked)
        if missing < 0:
            raise readers_table.too_many(marks.reader, len(marked), int(num_lesions[number]))
        of_case += [int(number)] * int(num_lesions[number])
        ratings += [*marked, *[-math.inf] * missing]
    return np.array(of_case, np.int64), np.array(ratings, np.float64)
