"""Several classes of a report, recomputed: what is called, figures of calls and probabilities, the table of both."""

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.evaluation import recomputed_statistics as plain
from tests.evaluation.recomputed import Job, Statistic, Table

_HALF = 0.5 - 1e-7


def class_names(table: Table) -> list[str]:
    """Returns the names of classes 0, 1, ..."""
    return [name.removeprefix("probability ") for name in table.columns if name.startswith("probability ")]


def labels(table: Table) -> np.ndarray:
    """Returns the class of each case, nan unknown."""
    label = table.numbers("label")
    return np.where(label == -1, np.nan, label)


@dataclass(frozen=True, eq=False)
class Calls:
    """Classes called."""

    truth: np.ndarray
    calls: np.ndarray
    probability: np.ndarray
    classes: int

    @property
    def known(self) -> np.ndarray:
        return ~np.isnan(self.truth)


def called(task: str, table: Table) -> Calls:
    """Returns the classes that a model calls."""
    names, truth = class_names(table), labels(table)
    p = np.clip(np.stack([table.numbers(f"probability {name}") for name in names], 1), 0, 1)
    missing, last = np.isnan(p).any(1), len(names) - 1
    number = np.nan_to_num(truth).astype(int)
    p = np.where(missing[:, None], np.arange(len(names)) != number[:, None], p)
    if task == "ordinal":
        reached = np.cumsum(p, 1) >= _HALF
        calls = np.array([next((k for k in range(len(names)) if row[k]), last) for row in reached])
        calls = np.where(missing, np.where(number * 2 > last, 0, last), calls)
    else:
        calls = np.where(missing, (number + 1) % len(names), p.argmax(1))
    return Calls(truth, calls, p, len(names))


def of_classes(task: str, table: Table, name: str) -> Statistic | None:
    """Returns a figure of several classes by its name; None where it is none."""
    held = called(task, table)
    truth, p = np.nan_to_num(held.truth).astype(int), held.probability
    calls = {"accuracy", "balanced accuracy", "macro F1", "MCC", "kappa", "linear kappa", "quadratic kappa"}
    if name in calls:
        return lambda rows: plain.of_table(name, truth[rows], held.calls[rows], held.classes)

    def areas(rows: np.ndarray) -> float:
        return mean([plain.auc((truth[rows] == k) * 1.0, p[rows, k]) for k in range(held.classes)])

    def pairs(rows: np.ndarray) -> float:
        found = []
        for a, b in itertools.combinations(range(held.classes), 2):
            two = rows[np.isin(truth[rows], (a, b))]
            first = plain.auc((truth[two] == a) * 1.0, p[two, a])
            found.append((first + plain.auc((truth[two] == b) * 1.0, p[two, b])) / 2)
        return mean(found)

    def brier(rows: np.ndarray) -> float:
        squared = ((p[rows] - np.eye(held.classes)[truth[rows]]) ** 2).sum(1)
        return float(np.minimum(squared, 2).mean()) if rows.size else math.nan

    def loss(rows: np.ndarray) -> float:
        own = np.clip(p[rows, truth[rows]], plain.EPSILON, 1 - plain.EPSILON)
        return float(-np.log(own).mean()) if rows.size else math.nan

    def off(rows: np.ndarray) -> float:
        return mean(np.abs(truth[rows] - held.calls[rows]).tolist())

    def within(rows: np.ndarray) -> float:
        return mean((np.abs(truth[rows] - held.calls[rows]) <= 1).tolist())

    return {
        "AUC": areas,
        "AUC, Hand and Till": pairs,
        "Brier score": brier,
        "log loss": loss,
        "mean error in degrees": off,
        "at most one degree off": within,
    }.get(name)


def mean(values: list[float]) -> float:
    """Returns the mean of what is defined."""
    defined = [value for value in values if not math.isnan(value)]
    return float(np.mean(defined)) if defined else math.nan


def check(job: Job) -> None:
    """Recomputes the table of classes and calls."""
    said: Mapping[str, Any] | None = job.report["confusion"]
    if said is None:
        return
    held = called(job.report["task"], job.table)
    known, truth = held.known, np.nan_to_num(held.truth).astype(int)
    counts = np.zeros((held.classes, held.classes), int)
    for row in np.flatnonzero(known):
        counts[truth[row], held.calls[row]] += 1
    names = class_names(job.table)
    missing = np.isnan([job.table.numbers(f"probability {name}") for name in names]).any(0)
    told = {"labels": names, "counts": counts, "n": int(known.sum()), "num_patients": job.table.patients(known)}
    worst = {"unknown": int((~known).sum()), "set_to_worst": int((known & missing).sum())}
    job.ledger.check(("confusion",), {**told, **worst})
    for place, figure in enumerate(said["figures"]):
        what, _, name = figure["name"].partition(", ")
        k = names.index(name)
        side = truth if what == "sensitivity" else held.calls

        def of(rows: np.ndarray, k: int = k, side: np.ndarray = side) -> float:
            kept = rows[side[rows] == k]
            return plain.share(int((truth[kept] == held.calls[kept]).sum()), kept.size)

        about = known & (side == k)
        closed = plain.proportion(counts[k, k], about.sum(), job.settings["level"], "exact")
        job.figure(("confusion", "figures", place), of, about, closed)
