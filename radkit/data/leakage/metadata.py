"""Whether a label can be told from the header alone: scanner, site, exposure, size ... without looking at the image.

What the header predicts, a network may learn instead of the disease. The figure is the concordance: of two records
with different labels, how often the prediction puts them in the right order, 0.5 by chance. Of a label of two classes
it is the area under the ROC curve. Patients are predicted by what was learnt from others.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from radkit import config
from radkit.data import splits
from radkit.data.leakage.fingerprints import NUMBERS, WORDS, Row

ALL = "all together"
_FOLDS = 5
_TREES = 100
_MOST_RECORDS = 4000  # that are looked at, chosen by a hash of their uid
_LEAST_RECORDS, _LEAST_PATIENTS, _LEAST_OF_CLASS = 20, 10, 5
_MOST_VALUES = 12  # of a word, each told apart; rarer ones together
_RESAMPLES = 500
_SEED = 20_261_122


@dataclass(frozen=True)
class Target:
    """What is predicted.

    Attributes:
        name: The label, or one class of it.
        values: (records,) float; of two classes 0 and 1, else numbers in order.
        known: (records,) bool.
        seen: (records,) bool: whether the value is exact, and not only the least that it can be (survival).
    """

    name: str
    values: np.ndarray
    known: np.ndarray
    seen: np.ndarray


@dataclass(frozen=True)
class Predicted:
    """How well a target is told from a part of the header.

    Attributes:
        target: The label, or one class of it.
        by: A fact's name, or `all together`.
        concordance: 0.5 by chance, 1 always; of two classes the area under the ROC curve.
        low: Lower end of the interval of 95 %, over resampled patients.
        high: Upper end.
        records: How many were looked at.
    """

    target: str
    by: str
    concordance: float
    low: float
    high: float
    records: int


def predicted(rows: Sequence[Row], data: config.Data) -> list[Predicted]:
    """Returns figures for each target: by all facts together, then by each alone, best first.

    Args:
        rows: Of one data set's records, all splits.
        data: Its config's data section.

    Returns:
        Nothing where there is no label, too few records or patients, or nothing to tell records apart.
    """
    chosen = sorted(rows, key=lambda row: (splits.place(row["record_uid"]), row["record_uid"]))[:_MOST_RECORDS]
    facts = _facts(chosen) if chosen else {}
    found: list[Predicted] = []
    for target in targets(chosen, data):
        known = np.flatnonzero(target.known)
        patients = np.unique([chosen[n]["patient_id"] for n in known], return_inverse=True)[1]
        if not facts or not _enough(target, known, patients):
            continue
        columns = {name: table[known] for name, table in facts.items()}
        values, seen = target.values[known], target.seen[known]
        folds = _folds(values, patients)
        every = _figure(target.name, ALL, np.hstack(list(columns.values())), values, seen, patients, folds)
        alone = [_figure(target.name, by, table, values, seen, patients, folds) for by, table in columns.items()]
        found += [every, *sorted(alone, key=lambda figure: (-figure.concordance, figure.by))]
    return [figure for figure in found if not math.isnan(figure.concordance)]


def targets(rows: Sequence[Row], data: config.Data) -> list[Target]:
    """Returns what a label of this kind asks: one question, or one for each class."""
    if not data.label or not rows or "label" not in rows[0]:
        return []
    label = np.array([row["label"] for row in rows], np.float64)
    everywhere = np.ones(len(rows), bool)
    if data.label_kind == "multi_label":
        flags = enumerate(data.class_names)
        return [Target(name, label[:, n], label[:, n] >= 0, everywhere) for n, name in flags]
    if data.label_kind == "survival":
        seen = np.array([row["event"] == 1 for row in rows])
        return [Target(data.label, label, np.isfinite(label), seen)]
    if data.label_kind == "class" and len(data.class_names) > 2:
        names = enumerate(data.class_names)
        return [Target(name, (label == n).astype(np.float64), label >= 0, everywhere) for n, name in names]
    return [Target(data.label, label, np.isfinite(label), everywhere)]


def _enough(target: Target, known: np.ndarray, patients: np.ndarray) -> bool:
    if len(known) < _LEAST_RECORDS or patients.max(initial=-1) + 1 < _LEAST_PATIENTS:
        return False
    values = target.values[known]
    if _is_binary(values):
        # In patients: one of them with a hundred images is one case.
        return min(len(np.unique(patients[values == one])) for one in (0, 1)) >= _LEAST_OF_CLASS
    return len(np.unique(values)) > 1


def _is_binary(values: np.ndarray) -> bool:
    return set(np.unique(values)) == {0.0, 1.0}


def _facts(rows: Sequence[Row]) -> dict[str, np.ndarray]:
    """Returns what differs between records, as numbers: (records, columns) by fact."""
    found: dict[str, np.ndarray] = {}
    for name in WORDS:
        found[name] = _one_hot([row[name] for row in rows])
    for name in NUMBERS:
        found[name] = _number([row[name] for row in rows])
    found["study_date"] = _number([_day(row["study_date"]) for row in rows])
    for name in ("spacing_mm", "size"):
        rank = max((len(row[name]) for row in rows), default=0)
        found[name] = np.hstack([_number([row[name][n] for row in rows]) for n in range(rank)])
    return {name: table for name, table in found.items() if (table != table[:1]).any()}


def _one_hot(words: Sequence[str]) -> np.ndarray:
    values, counts = np.unique(np.array(words, object).astype(str), return_counts=True)
    common = values[np.argsort(-counts, kind="stable")[:_MOST_VALUES]]
    return np.array([[word == one for one in common] for word in words], np.float64).reshape(len(words), -1)


def _number(values: Sequence[float | None]) -> np.ndarray:
    """Returns two columns: the number, the median where it is unknown, and whether it is known."""
    numbers = np.array([math.nan if value is None else value for value in values], np.float64)
    known = np.isfinite(numbers)
    middle = float(np.median(numbers[known])) if known.any() else 0.0
    return np.stack([np.where(known, numbers, middle), known], 1)


def _day(date: str) -> float | None:
    """Returns a date's place in time, in years: scanners are bought, protocols change."""
    if len(date) != 8 or not date.isdigit():
        return None
    return int(date[:4]) + (int(date[4:6]) - 1) / 12 + (int(date[6:]) - 1) / 365


def _folds(values: np.ndarray, patients: np.ndarray) -> np.ndarray:
    """Returns each record's fold; a patient's records are in one, and each fold has its share of the classes."""
    from sklearn import model_selection

    count = min(_FOLDS, int(patients.max()) + 1)
    if _is_binary(values):
        cut = model_selection.StratifiedGroupKFold(count, shuffle=True, random_state=0)
    else:
        cut = model_selection.GroupKFold(count)
    fold = np.zeros(len(values), int)
    for number, (_, held_out) in enumerate(cut.split(values[:, None], values.astype(int), patients)):
        fold[held_out] = number
    return fold


def _figure(
    name: str,
    by: str,
    table: np.ndarray,
    values: np.ndarray,
    seen: np.ndarray,
    patients: np.ndarray,
    folds: np.ndarray,
) -> Predicted:
    told = _told(table, values, folds, several=by == ALL)
    figure, low, high = concordance(values, told, seen, patients, folds)
    return Predicted(name, by, round(figure, 4), round(low, 4), round(high, 4), len(values))


def _told(table: np.ndarray, values: np.ndarray, folds: np.ndarray, several: bool) -> np.ndarray:
    """Returns what is predicted of each record by trees that did not see its patient."""
    told = np.zeros(len(values))
    for fold in np.unique(folds):
        inside, outside = folds == fold, folds != fold
        model = _model(int(outside.sum()), _is_binary(values), several)
        model.fit(table[outside], values[outside])
        if not _is_binary(values):
            told[inside] = model.predict(table[inside])
        elif len(model.classes_) == 2:
            told[inside] = model.predict_proba(table[inside])[:, 1]
    return told


def _model(records: int, is_binary: bool, several: bool) -> Any:
    from sklearn import ensemble, tree

    least = max(3, records // 100)  # of a leaf
    if several:
        kind: Callable[..., Any] = ensemble.RandomForestClassifier if is_binary else ensemble.RandomForestRegressor
        return kind(_TREES, min_samples_leaf=least, max_features=0.5, random_state=0)
    kind = tree.DecisionTreeClassifier if is_binary else tree.DecisionTreeRegressor
    return kind(min_samples_leaf=max(3, records // 40), random_state=0)


def concordance(
    values: np.ndarray, told: np.ndarray, seen: np.ndarray, patients: np.ndarray, folds: np.ndarray
) -> tuple[float, float, float]:
    """Returns the concordance and its interval of 95 %, over patients drawn anew.

    Args:
        values: What is true, (records,).
        told: What is predicted, (records,).
        seen: Whether the value is exact, (records,); of others only that it is no less.
        patients: A number for each record's patient.
        folds: Records are compared within one fold: two folds' predictions are of two models.

    Returns:
        Figure, low, high; nan without two records to compare.

    Source: Harrell et al. 1982, https://doi.org/10.1001/jama.1982.03320430047030.
    """
    # [i, j]: i is known to have the lower value.
    lower = (values[:, None] < values) & seen[:, None] & (folds[:, None] == folds)
    right = np.where(lower, 0.5 + 0.5 * np.sign(told - told[:, None]), 0).astype(np.float32)
    comparable = lower.astype(np.float32)
    if not lower.any():
        return math.nan, math.nan, math.nan
    figure = float(right.sum(dtype=np.float64) / comparable.sum(dtype=np.float64))
    random = np.random.default_rng(_SEED)
    count = int(patients.max()) + 1
    drawn = random.multinomial(count, np.full(count, 1 / count), _RESAMPLES).astype(np.float32)[:, patients]
    above = np.einsum("bi,bi->b", drawn @ right, drawn)
    below = np.einsum("bi,bi->b", drawn @ comparable, drawn)
    figures = above[below > 0] / below[below > 0]
    low, high = np.quantile(figures, (0.025, 0.975))
    return figure, float(low), float(high)


def warnings(found: Sequence[Predicted], level: float) -> list[Predicted]:
    """Returns the figures of all facts together, and of single ones, that are surely above the level."""
    return [figure for figure in found if figure.low >= level]


def as_json(found: Sequence[Predicted]) -> list[Mapping[str, Any]]:
    """Returns the figures as plain values."""
    return [vars(figure) for figure in found]
