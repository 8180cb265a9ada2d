"""Readers' calls and ratings beside the model's, on the very cases that each reader read."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from radkit.evaluation import concordance, contrasts, measures, paired, rates, readers_table
from radkit.evaluation.cases import Cases, Draws
from radkit.evaluation.endpoints import Endpoint
from radkit.evaluation.readers_table import Reading
from radkit.metrics import roc_clustered

_OF_READER = 0.5  # calls are 0 and 1
_DIFFERENCE = "the model minus the reader"


def calls(
    endpoint: Endpoint, readings: Sequence[Reading], threshold: float | None, cases: Cases, draws: Draws
) -> dict[str, Any]:
    """Returns what is told of readers' calls on an endpoint.

    Args:
        endpoint: The question.
        readings: One a reader.
        threshold: From which score the model calls yes; None: it has no operating point and makes no calls.
        cases: The table.
        draws: How patients are drawn.

    Returns:
        endpoint, threshold, readers (one each: reader, n (cases read), num_unknown (of these without a known answer),
        figures (the reader's sensitivity, specificity, kappa with the reference), model (the model's on the same cases)
        and kappa_with_model, tests (the model minus the reader: both figures by paired draws, and McNemar's test)),
        between (kappa of each pair: a, b, and the figure), fleiss and fleiss_with_model (None: fewer than two), n.
    """
    table = [reading.answers for reading in readings]
    own = None if threshold is None else _own_calls(endpoint, threshold, cases)
    pairs = [
        {"a": a.reader, "b": b.reader, **_agreement("kappa", a.answers, b.answers, cases, draws)}
        for a, b in itertools.combinations(readings, 2)
    ]
    return {
        "endpoint": endpoint.name,
        "threshold": math.nan if threshold is None else threshold,
        "n": int(np.any([reading.read for reading in readings], axis=0).sum()),
        "readers": [_caller(endpoint, reading, threshold, cases, draws) for reading in readings],
        "between": pairs,
        "fleiss": _fleiss(table, cases, draws),
        "fleiss_with_model": None if own is None else _fleiss([*table, own], cases, draws),
        "method": "calls of people and of the model, each on the cases that the reader read",
    }


def _own_calls(endpoint: Endpoint, threshold: float, cases: Cases) -> np.ndarray:
    """Returns the model's calls, (n,) float64; nan where the score is."""
    score = endpoint.score(cases)
    return np.where(np.isnan(score), math.nan, score >= threshold)


def _agreement(name: str, a: np.ndarray, b: np.ndarray, cases: Cases, draws: Draws) -> dict[str, Any]:
    return measures.figure(concordance.kappa(name, a, b), cases, draws)


def _fleiss(table: Sequence[np.ndarray], cases: Cases, draws: Draws) -> dict[str, Any] | None:
    if len(table) < 2:
        return None
    found = measures.figure(concordance.fleiss(np.stack(table, axis=1)), cases, draws)
    return {**found, "num_readers": len(table)}


def _caller(
    endpoint: Endpoint, reading: Reading, threshold: float | None, cases: Cases, draws: Draws
) -> dict[str, Any]:
    truth = endpoint.truth(cases)
    hard = np.where(np.isin(truth, (0.0, 1.0)), truth, math.nan)
    reader = rates.of_points([readers_table.as_endpoint(reading, endpoint)], {endpoint.name: _OF_READER})
    model = [] if threshold is None else rates.of_points([endpoint], {endpoint.name: threshold})
    drawn = contrasts.drawn([(one, cases, reading.read) for one in (*reader, *model)], draws)
    of_reader, of_model = drawn[: len(reader)], drawn[len(reader) :]
    tests = [contrasts.difference(this, that, draws) for this, that in zip(of_model, of_reader)]
    told: dict[str, Any] = {
        "reader": reading.reader,
        "n": int(reading.read.sum()),
        "num_unknown": int((reading.read & np.isnan(truth)).sum()),
        "figures": [
            *(one.figure(draws) for one in of_reader),
            _agreement("kappa with the reference", reading.answers, hard, cases, draws),
        ],
        "model": [one.figure(draws) for one in of_model],
        "kappa_with_model": None,
        "tests": [{**one, "method": f"{_DIFFERENCE}; {one['method']}"} for one in tests],
    }
    if threshold is not None:
        own = _own_calls(endpoint, threshold, cases)
        told["kappa_with_model"] = _agreement("kappa with the model", reading.answers, own, cases, draws)
        told["tests"] = [*told["tests"], _mcnemar(endpoint, threshold, reading, cases)]
    return told


def _mcnemar(endpoint: Endpoint, threshold: float, reading: Reading, cases: Cases) -> dict[str, Any]:
    person = readers_table.as_endpoint(reading, endpoint)
    both = paired.answered(endpoint, cases, cases, person, reading.read)
    return {
        "name": "McNemar",
        "n": both.truth.size,
        "left_out": int(reading.read.sum()) - both.truth.size,
        **paired.mcnemar(both, threshold, _OF_READER),
        "method": paired.MCNEMAR,
    }


def ratings(endpoint: Endpoint, readings: Sequence[Reading], cases: Cases) -> dict[str, Any]:
    """Returns what is told of readers' ratings on an endpoint: the area of each beside the model's.

    Args:
        endpoint: The question.
        readings: One a reader.
        cases: The table.

    Returns:
        endpoint, n, readers (one each: reader, n, positives, left_out (read, but without an answer of yes or no),
        auc, low, high (DeLong's interval, 95 %, patients kept together), model (its area on the same cases), tests
        (DeLong's)), method.
    """
    return {
        "endpoint": endpoint.name,
        "n": int(np.any([reading.read for reading in readings], axis=0).sum()),
        "readers": [_rater(endpoint, reading, cases) for reading in readings],
        "method": paired.DELONG,
    }


def _rater(endpoint: Endpoint, reading: Reading, cases: Cases) -> dict[str, Any]:
    both = paired.answered(endpoint, cases, cases, readers_table.as_endpoint(reading, endpoint), reading.read)
    alone = roc_clustered.roc_auc_clustered(both.truth, both.other, both.patients)
    found = paired.areas(both)
    test = {
        "name": "AUC",
        **{name: found[name] for name in ("difference", "low", "high", "z", "p")},
        "n": both.truth.size,
        "method": f"{_DIFFERENCE}; {paired.DELONG}",
    }
    return {
        "reader": reading.reader,
        "n": both.truth.size,
        "positives": int(both.truth.sum()),
        "left_out": int(reading.read.sum()) - both.truth.size,
        "auc": alone["auc"],
        "low": alone["ci_low"],
        "high": alone["ci_high"],
        "model": found["this"],
        "tests": [test],
    }
