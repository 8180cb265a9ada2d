"""Each part of a report, recomputed: which columns it is of, and by which plain formula."""

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.evaluation import (
    recomputed_classes,
    recomputed_detection,
    recomputed_groups,
    recomputed_measurements,
    recomputed_readers,
)
from tests.evaluation import recomputed_statistics as plain
from tests.evaluation.recomputed import Job, Statistic, Table


@dataclass(frozen=True, eq=False)
class Question:
    """A question of yes or no: truth and score of each case, nan unknown; worst where there is no score."""

    name: str
    truth: np.ndarray
    score: np.ndarray
    probable: bool = True

    @property
    def known(self) -> np.ndarray:
        return ~np.isnan(self.truth)

    @property
    def unanswered(self) -> np.ndarray:
        return np.isnan(self.score)

    @property
    def worst(self) -> np.ndarray:
        low, high = (0.0, 1.0) if self.probable else (-math.inf, math.inf)
        score = np.clip(self.score, low, high)
        return np.where(self.unanswered, np.where(self.truth >= 0.5, low, high), score)


def questions(task: str, table: Table, names: list[str], everyone: list[str] | None = None) -> list[Question]:
    """Returns questions of a report's endpoints by their names, `everyone` being the names of all."""
    classes, everyone = recomputed_classes.class_names(table), everyone or names
    answers = [truth(task, table, everyone, name, classes) for name in names]
    if task == "detection":
        scores = [recomputed_detection.surest(table, everyone.index(name)) for name in names]
    elif task == "ordinal":
        places = [classes.index(name.removesuffix(" or higher")) for name in names]
        scores = [np.sum([table.numbers(f"probability {one}") for one in classes[k:]], axis=0) for k in places]
    else:
        scores = [table.numbers(f"probability {name}") for name in names]
    return [Question(*one, task != "detection") for one in zip(names, answers, scores)]


def truth(task: str, table: Table, names: list[str], name: str, classes: list[str]) -> np.ndarray:
    """Returns the truth of a question, nan unknown.

    Args:
        task: The report's.
        table: Cases, which the model may have answered or learned from.
        names: Of all questions.
        name: Of this one.
        classes: Of class 0, 1, ...
    """
    if task == "detection":
        return recomputed_detection.holds(table, names.index(name))
    if task == "multi_label":
        label = table.numbers(f"label {name}")
        return np.where(label == -1, np.nan, label)
    label, place = recomputed_classes.labels(table), classes.index(name.removesuffix(" or higher"))
    return np.where(np.isnan(label), np.nan, label >= place if task == "ordinal" else label == place)


def scored(question: Question, name: str) -> Statistic:
    """Returns a figure of scores by its name."""
    y, s = question.truth, question.worst
    by_name = {
        "AUC": plain.auc,
        "average precision": plain.average_precision,
        "partial AUC, specificity 0.9 to 1": plain.partial_auc,
        "partial AUC, specificity 0.9 to 1, corrected": lambda a, b: plain.mcclish(plain.partial_auc(a, b)),
        "Brier score": plain.brier,
        "log loss": plain.log_loss,
        "ECE": plain.ece,
        "calibration slope": plain.slope,
        "calibration in the large": plain.intercept,
    }
    return lambda rows: by_name[name](y[rows], s[rows])


def rather(question: Question, name: str) -> np.ndarray | None:
    """Returns which cases are rather a yes, where a figure by this name holds them against the others."""
    areas = ("AUC", "average precision", "partial AUC, specificity 0.9 to 1", "calibration slope")
    calls = ("balanced accuracy", "F1", "MCC", "LR+", "LR-", "kappa")
    return question.truth >= 0.5 if name.removesuffix(", corrected") in areas + calls else None


def delong(job: Job, question: Question, table: Table | None = None, about: np.ndarray | None = None) -> Any:
    table = table or job.table
    kept = question.known if about is None else about
    return plain.delong(question.truth[kept], question.worst[kept], table.patient[kept], job.settings["level"])


@dataclass(frozen=True, eq=False)
class Measured:
    """A figure over all cases: how, of which, and its interval by formula."""

    of: Statistic
    known: np.ndarray
    closed: Any = None  # (about) -> low, high
    yes: np.ndarray | None = None  # of figures that hold yes against no


def measure(job: Job, name: str, table: Table | None = None) -> Measured:
    """Returns a figure of a report by its name."""
    table, task = table or job.table, job.report["task"]
    if task in ("segmentation", "regression"):
        return Measured(*recomputed_measurements.measure(task, table, name))
    if task == "detection":
        found = recomputed_detection.measure(table, name, len(job.report["endpoints"]))
        return Measured(found, np.ones(len(table), bool))
    asked = questions(task, table, [one["name"] for one in job.report["endpoints"]])
    if name == "AUC of mean brightness alone":
        return _of_brightness(asked[0], table)
    if name == "mean AUC":
        known = np.any([one.known for one in asked], axis=0)

        def mean_area(rows: np.ndarray) -> float:
            return recomputed_classes.mean([plain.auc(*_known(one, rows)) for one in asked])

        return Measured(mean_area, known)
    found = None
    if task == "ordinal" or (task == "classification" and len(asked) > 1):
        found = recomputed_classes.of_classes(task, table, name)
    if found is not None:
        return Measured(found, ~np.isnan(recomputed_classes.labels(table)))
    question = asked[0]
    if name.startswith("AUC, "):
        question, name = next(one for one in asked if one.name == name.removeprefix("AUC, ")), "AUC"
    closed = (lambda about: delong(job, question, table, about)) if name == "AUC" else None
    return Measured(scored(question, name), question.known, closed, rather(question, name))


def _known(question: Question, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    rows = rows[question.known[rows]]
    return question.truth[rows], question.worst[rows]


def _of_brightness(question: Question, table: Table) -> Measured:
    y, brightness = question.truth, table.numbers("brightness")
    best = max((1, -1), key=lambda sign: plain.auc(y[question.known], sign * brightness[question.known]))
    return Measured(lambda rows: plain.auc(y[rows], best * brightness[rows]), question.known, yes=y >= 0.5)


def check(job: Job) -> None:
    """Recomputes all parts that the tables allow."""
    report, table = job.report, job.table
    standards = {name: 0 for name in report["cases"]["reference_standards"]}
    for row in table.rows if standards else ():
        standards[row["reference_standard"]] += 1
    told = {
        "n": len(table),
        "num_patients": table.patients(np.ones(len(table), bool)),
        "reference_standards": standards,
    }
    job.ledger.check(("cases",), told)
    for place, figure in enumerate(report["figures"]):
        found = measure(job, figure["name"])
        closed = found.closed(found.known) if found.closed else None
        job.figure(("figures", place), found.of, found.known, closed, yes=found.yes)
    if report["endpoints"]:
        asked = questions(report["task"], table, [one["name"] for one in report["endpoints"]])
        for place, question in enumerate(asked):
            _endpoint(job, ("endpoints", place), question)
    recomputed_classes.check(job)
    recomputed_measurements.check(job)
    recomputed_groups.check(job)
    recomputed_readers.check(job)


def _endpoint(job: Job, path: tuple[Any, ...], question: Question) -> None:
    known = question.known
    y, s = question.truth[known], question.worst[known]
    told = {
        "n": int(known.sum()),
        "num_patients": job.table.patients(known),
        "positives": int((y == 1).sum()),
        "negatives": int((y == 0).sum()),
        "soft": int(((y > 0) & (y < 1)).sum()),
        "prevalence": y.mean() if y.size else math.nan,
        "unknown": int((~known).sum()),
        "set_to_worst": int((known & question.unanswered).sum()),
    }
    job.ledger.check(path, told)
    said = job.ledger.at(path)
    for place, figure in enumerate(said["figures"]):
        closed = delong(job, question) if figure["name"] == "AUC" else None
        yes = rather(question, figure["name"])
        job.figure((*path, "figures", place), scored(question, figure["name"]), known, closed, yes=yes)
    _curve(job, (*path, "curve"), y, s)
    if said["calibration"] is not None:
        _calibration(job, (*path, "calibration"), y, s)
    if said["decision_curve"] is not None:
        _decisions(job, (*path, "decision_curve"), y, s)
    if said["operating_point"] is not None:
        _point(job, (*path, "operating_point"), question)


def _curve(job: Job, path: tuple[Any, ...], y: np.ndarray, s: np.ndarray) -> None:
    said, both = job.ledger.at(path), plain.both(y)
    roc, pr = said["roc"], said["precision_recall"]
    at = [None if one is None else float(one) for one in roc["threshold"]]
    scores = set(s.tolist())
    called = [np.zeros(s.size, bool) if one is None else s >= one for one in at]
    job.ledger.check((*path, "n"), y.size)
    # Thresholds are scores that there are; which of them are listed is a matter of drawing.
    job.ledger.check((*path, "roc", "threshold"), [one if one in scores else math.nan for one in at])
    job.ledger.check((*path, "roc", "tpr"), [y[one].sum() / y.sum() for one in called] if both else [])
    job.ledger.check((*path, "roc", "fpr"), [(1 - y)[one].sum() / (1 - y).sum() for one in called] if both else [])
    at = [float(one) for one in pr["threshold"]]
    called = [s >= one for one in at]
    job.ledger.check((*path, "precision_recall", "threshold"), [one if one in scores else math.nan for one in at])
    job.ledger.check((*path, "precision_recall", "recall"), [y[one].sum() / y.sum() for one in called])
    job.ledger.check((*path, "precision_recall", "precision"), [y[one].mean() for one in called])


def _calibration(job: Job, path: tuple[Any, ...], y: np.ndarray, s: np.ndarray) -> None:
    bins = []
    for low, high in itertools.pairwise(np.linspace(0, 1, 11)):
        inside = plain.in_bin(s, low, high)
        if inside.any():
            yes, count = y[inside].sum(), int(inside.sum())
            hard = np.isin(y[inside], (0, 1)).all()
            between = plain.proportion(yes, count, job.settings["level"], "wilson") if hard else (math.nan, math.nan)
            told = {"low": low, "high": high, "mean": s[inside].mean(), "fraction": yes / count, "count": count}
            bins.append({**told, "wilson_low": between[0], "wilson_high": between[1]})
    job.ledger.check(path, {"bins": bins, "n": y.size})


def _decisions(job: Job, path: tuple[Any, ...], y: np.ndarray, s: np.ndarray) -> None:
    at, n = [k / 100 for k in range(1, 100)] if y.size else [], y.size
    model = [(y[s >= t].sum() - (1 - y)[s >= t].sum() * t / (1 - t)) / n for t in at]
    everybody = [(y.sum() - (1 - y).sum() * t / (1 - t)) / n for t in at]
    cost = job.settings["cost_of_miss"]
    told = {"threshold": at, "model": model, "all": everybody, "none": 0, "n": n, "at_cost": 1 / (1 + cost)}
    job.ledger.check(path, told)


_CELLS = {
    "sensitivity": ("tp", "tp fn"),
    "specificity": ("tn", "tn fp"),
    "PPV": ("tp", "tp fp"),
    "NPV": ("tn", "tn fn"),
    "accuracy": ("tp tn", "tp fp fn tn"),
}


def _point(job: Job, path: tuple[Any, ...], question: Question) -> None:
    said, known, level = job.ledger.at(path), question.known, job.settings["level"]
    given = next(one for one in job.report["operating_points"] if one["name"] == question.name)
    job.ledger.check(path, {**given, "n": int(known.sum()), "cost_of_miss": job.settings["cost_of_miss"]})
    if said["threshold"] is None:
        return
    at, y, s, none = said["threshold"], question.truth, question.worst, question.unanswered

    def table(rows: np.ndarray) -> tuple[float, float, float, float]:
        return plain.counts(y[rows], s[rows] >= at, none[rows])

    cells = dict(zip(("tp", "fp", "fn", "tn"), table(np.flatnonzero(known))))
    job.ledger.check((*path, "confusion"), cells)
    sides = {"sensitivity": known & (y > 0), "specificity": known & (y < 1)}
    for place, figure in enumerate(said["figures"]):
        here, name = (*path, "figures", place), figure["name"]
        closed, about = None, sides.get(name, known)
        hard = bool(np.isin(y[about], (0, 1)).all())
        if name in _CELLS:
            part, whole = (sum(cells[cell] for cell in several.split()) for several in _CELLS[name])
            counted = (round(part), round(whole)) if hard else (0, 0)
            closed = plain.proportion(*counted, level, "exact")
            low, high = plain.proportion(*counted, level, "wilson")
            job.ledger.check(here, {"part": part, "whole": whole, "wilson": {"low": low, "high": high}})
        elif name.startswith("LR"):
            a, b = ("tp", "fp") if name == "LR+" else ("fn", "tn")
            yes, no = cells["tp"] + cells["fn"], cells["fp"] + cells["tn"]
            closed = plain.likelihood_ratio(cells[a], yes, cells[b], no, level) if hard else (math.nan, math.nan)
        of = _of_calls(name, table, job.settings["cost_of_miss"])
        job.figure(here, of, about, closed, yes=rather(question, name))


def _of_calls(name: str, table: Any, cost: float) -> Statistic:
    def of(rows: np.ndarray) -> float:
        tp, fp, fn, tn = table(rows)
        if name == "expected cost":
            return plain.share(cost * fn + fp, tp + fp + fn + tn)
        return plain.of_counts(tp, fp, fn, tn)[name]

    return of
