"""Features of many records laid out in a plane, those that lie far off, and what can be told from them alone.

PCA, t-SNE and LDA are scikit-learn's, seeded and on one thread: the same features give the same picture.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

_FEWEST = 5  # records, for anything to be laid out
_FEWEST_PATIENTS = 5  # of a group, for it to be told from others
_FOLDS = 5
_KEPT = 0.95  # of the variance: what is beyond is noise
_PERPLEXITY = 30
_RECORDS_A_COMPONENT = 10  # at least, for its spread to be known
_ALARM = 0.01  # chance that any record of a set without outliers is called one
_RESAMPLES = 500


@dataclass(frozen=True)
class Projection:
    """Records in a plane.

    Attributes:
        points: (records, 2).
        shares: Share of all variance along either axis; empty where that has no meaning.
        placed: (records,) bool; others have no place, as their group is not known.
    """

    points: np.ndarray
    shares: tuple[float, ...] = ()
    placed: np.ndarray | None = None


@dataclass(frozen=True)
class Outlier:
    """A record unlike the others.

    Attributes:
        number: Its place among the records.
        times: Its distance from the middle over the one that only 1 in 100 sets would have a record beyond.
        features: The features that stand out most: name, value, median of all.
    """

    number: int
    times: float
    features: tuple[tuple[str, float, float], ...]


@dataclass(frozen=True)
class Told:
    """How well groups are told from features alone, in patients that were not learned from.

    Attributes:
        accuracy: Balanced: the mean of the groups' own.
        low: Of its 95 % interval, over patients.
        high: Likewise.
        chance: What guessing gives.
        groups: Which were compared: those of at least five patients.
    """

    accuracy: float
    low: float
    high: float
    chance: float
    groups: tuple[str, ...]


def standard(table: np.ndarray) -> np.ndarray:
    """Returns features in robust deviations from their medians, far ones drawn in; constant ones are left out.

    Args:
        table: (records, features), finite.

    Returns:
        (records, features that vary): asinh of (value - median) / deviation, so that no one value rules the picture.
    """
    return np.asarray(np.arcsinh(_deviations(table)[:, _varies(table)]))


def _varies(table: np.ndarray) -> np.ndarray:
    return np.ptp(table, axis=0) > 1e-9 * np.maximum(np.abs(table).max(axis=0), 1e-300)


def _deviations(table: np.ndarray) -> np.ndarray:
    away = table - np.median(table, axis=0)
    robust = 1.4826 * np.median(np.abs(away), axis=0)
    plain = table.std(axis=0)
    # Where more than half are the same, the median of deviations is 0, or next to it.
    scale = np.where(robust > 1e-2 * plain, robust, plain)
    return np.divide(away, scale, out=np.zeros_like(away), where=scale > 0)


def principal(features: np.ndarray) -> Projection | None:
    """Returns the first two principal components; None for fewer than five records or two features.

    Args:
        features: (records, features), from `standard`.
    """
    if len(features) < _FEWEST or features.shape[1] < 2:
        return None
    from sklearn import decomposition

    with _one_thread():
        found = decomposition.PCA(n_components=2, svd_solver="full").fit(features)
        points = found.transform(features)
    return Projection(points, tuple(float(share) for share in found.explained_variance_ratio_))


def neighbours(features: np.ndarray, seed: int = 0) -> Projection | None:
    """Returns t-SNE: records that are like each other stand together; distances between heaps say nothing.

    Args:
        features: (records, features), from `standard`.
        seed: Of its draws.
    """
    if len(features) < 2 * _FEWEST or features.shape[1] < 2:
        return None
    from sklearn import manifold

    perplexity = min(_PERPLEXITY, (len(features) - 1) / 3)
    with _one_thread():
        model = manifold.TSNE(perplexity=perplexity, init="pca", learning_rate="auto", random_state=seed, n_jobs=1)
        return Projection(np.asarray(model.fit_transform(features), np.float64))


def discriminant(features: np.ndarray, groups: Sequence[str]) -> Projection | None:
    """Returns LDA: the plane in which the groups lie furthest apart; None for fewer than two, or without any spread.

    Of two groups one line tells them apart; the other axis is then the first principal component of what is left. The
    picture is of records that were learned from and flatters; `told` says what holds for others.

    Args:
        features: (records, features), from `standard`.
        groups: Each record's; "" where it is not known.
    """
    counts = Counter(group for group in groups if group)
    names = {name for name, count in counts.items() if count > 1}
    placed = np.array([group in names for group in groups], bool)
    if len(names) < 2 or placed.sum() < _FEWEST or features.shape[1] < 2:
        return None
    from sklearn import decomposition

    held, of = features[placed], np.array(groups)[placed]
    with _one_thread():
        try:
            model = _lda().fit(held, of)
        except np.linalg.LinAlgError:  # groups without any spread
            return None
        across = model.transform(held)[:, :2]
        if across.shape[1] == 1:
            # The direction that tells is taken out; what remains is spread along its first component.
            along = model.scalings_[:, :1] / np.linalg.norm(model.scalings_[:, :1])
            rest = held - (held @ along) @ along.T
            across = np.hstack([across, decomposition.PCA(1, svd_solver="full").fit_transform(rest)])
    points = np.full((len(features), 2), np.nan)
    points[placed] = across
    return Projection(points, placed=placed)


def told(features: np.ndarray, groups: Sequence[str], patients: Sequence[str], seed: int = 0) -> Told | None:
    """Returns how well groups are told from the features alone; None where too few patients are of two groups.

    Linear discriminants with shrinkage, cross-validated over five folds of patients.

    Args:
        features: (records, features), from `standard`.
        groups: Each record's; "" where it is not known.
        patients: Each record's: all of a patient are in one fold.
        seed: Of the folds and of the interval's draws.
    """
    sizes = Counter(group for group, _ in {(g, p) for g, p in zip(groups, patients) if g})
    names = tuple(sorted(name for name, count in sizes.items() if count >= _FEWEST_PATIENTS))
    if len(names) < 2 or features.shape[1] < 2:
        return None
    kept = np.array([group in names for group in groups])
    held, of, who = features[kept], np.array(groups)[kept], np.array(patients)[kept]
    right = _said(held, of, who, seed) == of
    draws = _balanced_draws(right, of, who, names, seed)
    low, high = np.nanpercentile(draws, (2.5, 97.5))
    accuracy = float(np.mean([right[of == name].mean() for name in names]))
    return Told(accuracy, float(low), float(high), 1 / len(names), names)


def _said(features: np.ndarray, groups: np.ndarray, patients: np.ndarray, seed: int) -> np.ndarray:
    """Each record's group as said by a model that knows none of its patient's records."""
    order = np.array(sorted(set(patients)))
    np.random.default_rng(seed).shuffle(order)
    # Each group's patients are dealt in turn, so that each fold has some of each; a patient of several counts once.
    fold: dict[str, int] = {}
    for name in sorted(set(groups)):
        of = set(patients[groups == name]) - fold.keys()
        fold.update({patient: number % _FOLDS for number, patient in enumerate(p for p in order if p in of)})
    folds = np.array([fold[patient] for patient in patients])
    said = np.full(len(groups), "", dtype=groups.dtype)
    with _one_thread():
        for number in sorted(set(folds)):
            inside = folds == number
            others = groups[~inside]
            if len(set(others)) > 1 and min(Counter(others).values()) > 1:
                said[inside] = _learned(features[~inside], others).predict(features[inside])
    return said


def _learned(features: np.ndarray, groups: np.ndarray) -> Any:
    from sklearn import neighbors

    try:
        return _lda().fit(features, groups)
    except np.linalg.LinAlgError:  # groups without any spread: the nearest record is as good
        return neighbors.KNeighborsClassifier(1).fit(features, groups)


def _balanced_draws(
    right: np.ndarray, groups: np.ndarray, patients: np.ndarray, names: Sequence[str], seed: int
) -> np.ndarray:
    """Balanced accuracies of (draws,) of as many patients, with replacement; nan where a group was not drawn."""
    persons, person = np.unique(patients, return_inverse=True)
    chances = np.full(len(persons), 1 / len(persons))
    draws = np.random.default_rng(seed).multinomial(len(persons), chances, size=_RESAMPLES)
    total = np.zeros(_RESAMPLES)
    for name in names:
        inside = groups == name
        hits = draws @ np.bincount(person[inside], right[inside], len(persons))
        of = draws @ np.bincount(person[inside], minlength=len(persons))
        total += np.divide(hits, of, out=np.full(_RESAMPLES, np.nan), where=of > 0)
    return total / len(names)


def outliers(features: np.ndarray, table: np.ndarray, names: Sequence[str], most: int = 12) -> list[Outlier]:
    """Returns records far from all others, the furthest first.

    The distance is Mahalanobis's over the components that hold 95 % of the variance, one for ten records at most; the
    limit is where, of normal features, one set in a hundred would have a record beyond.

    Args:
        features: (records, features), from `standard`.
        table: (records, all features), as they were measured.
        names: Of the table's features.
        most: How many are returned at most.
    """
    if len(features) < 4 * _FEWEST or features.shape[1] < 2:
        return []
    centred = features - np.median(features, axis=0)
    with _one_thread():
        _, spread, directions = np.linalg.svd(centred, full_matrices=False)
        enough = int(np.searchsorted(np.cumsum(spread**2) / np.sum(spread**2), _KEPT)) + 1
        kept = max(1, min(enough, len(features) // _RECORDS_A_COMPONENT))
        scores = centred @ directions[:kept].T
    # Robust: the outliers themselves must not widen what is usual.
    deviations = 1.4826 * np.median(np.abs(scores - np.median(scores, axis=0)), axis=0)
    squares = np.square(scores / np.maximum(deviations, 1e-9)).sum(axis=1)
    # The middle of all distances is put where it belongs: with few records, deviations are rough.
    squares *= stats.chi2.median(kept) / max(float(np.median(squares)), 1e-9)
    times = np.sqrt(squares / _limit(len(features), kept))
    far = [int(n) for n in np.argsort(-times, kind="stable") if times[n] > 1][:most]
    away, middle = _deviations(table), np.median(table, axis=0)
    return [
        Outlier(n, float(times[n]), tuple((names[f], float(table[n, f]), float(middle[f])) for f in _most(away[n])))
        for n in far
    ]


def _limit(records: int, components: int) -> float:
    """The squared distance (Hotelling's) that one set in a hundred would have a record beyond."""
    rest = records - components
    beyond = float(stats.f.isf(_ALARM / records, components, rest))
    return components * (records**2 - 1) / (records * rest) * beyond


def _most(away: np.ndarray, count: int = 3) -> list[int]:
    return [int(n) for n in np.argsort(-np.abs(away), kind="stable")[:count]]


def explained(table: np.ndarray, groups: Sequence[str]) -> np.ndarray:
    """Returns the share of each feature's variance that lies between the groups (eta squared), (features,).

    Args:
        table: (records, features).
        groups: Each record's; "" where it is not known. Fewer than two groups explain nothing: nan.
    """
    of = np.array(groups)
    held, of = table[of != ""], of[of != ""]
    if len(set(of)) < 2:
        return np.full(table.shape[1], np.nan)
    mean = held.mean(axis=0)
    between = sum((of == g).sum() * (held[of == g].mean(axis=0) - mean) ** 2 for g in sorted(set(of)))
    whole = ((held - mean) ** 2).sum(axis=0)
    return np.divide(between, whole, out=np.zeros(table.shape[1]), where=_varies(held))


def _lda() -> Any:
    from sklearn import discriminant_analysis

    # Shrinkage: there may be fewer records than features.
    return discriminant_analysis.LinearDiscriminantAnalysis(solver="eigen", shrinkage="auto")


def _one_thread() -> Any:
    """A context in which sums are added up in one order, whatever the number of processors."""
    import threadpoolctl

    return threadpoolctl.threadpool_limits(1)
