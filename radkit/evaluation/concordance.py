"""Agreement of two who judge the same cases, as measures that draws of patients can be made of."""

import math

import numpy as np

from radkit.evaluation.cases import Cases
from radkit.evaluation.measures import Measure
from radkit.metrics import weighted

_POWERS = {"unweighted": 0, "linear": 1, "quadratic": 2}


def kappa(name: str, a: np.ndarray, b: np.ndarray, kind: str = "unweighted") -> Measure:
    """Returns Cohen's kappa of two readers.

    Args:
        name: The measure's.
        a: First reader's category of each case, whole numbers, (n,); nan: not read.
        b: Second reader's.
        kind: `unweighted`, `linear` or `quadratic` in the distance between categories; neighbours are 1 apart.
    """
    both = ~np.isnan(a) & ~np.isnan(b)
    lowest = int(min(a[both].min(), b[both].min())) if both.any() else 0
    first, second = (np.where(both, values, lowest).astype(int) - lowest for values in (a, b))
    size = int(max(first.max(), second.max())) + 1
    cell = np.zeros((len(a), size * size))
    cell[np.flatnonzero(both), (first * size + second)[both]] = 1
    apart = np.abs(np.subtract.outer(np.arange(size), np.arange(size))).astype(np.float64)
    distance = (apart > 0).astype(np.float64) if kind == "unweighted" else apart ** _POWERS[kind]

    def of(cases: Cases, weights: np.ndarray) -> np.ndarray:
        del cases
        table = (weights @ cell).reshape(-1, size, size)
        by_chance = np.einsum("di,dj,ij->d", table.sum(axis=2), table.sum(axis=1), distance)
        found = np.einsum("dij,ij->d", table, distance) * table.sum(axis=(1, 2))
        return np.asarray(1 - weighted.ratio(found, by_chance))

    method = f"Cohen's kappa, {kind}, of cases that both judged (https://doi.org/10.1177/001316446002000104)"
    return Measure(name, method, of, lambda _: both)


def rated_higher(highest: np.ndarray, lesions: np.ndarray, ratings: np.ndarray, normal: np.ndarray) -> Measure:
    """Returns the JAFROC figure of marks.

    Args:
        highest: Rating of the highest mark of each case, (n,); -inf: none.
        lesions: Number of the case of each lesion, (lesions,) int.
        ratings: Of each lesion; -inf: not marked.
        normal: Which cases have no lesion, (n,) bool.
    """
    of_normal_cases = highest[None, normal]
    wins = (of_normal_cases < ratings[:, None]) + (of_normal_cases == ratings[:, None]) / 2

    def of(cases: Cases, weights: np.ndarray) -> np.ndarray:
        del cases
        of_lesions, of_normal = weights[:, lesions], weights[:, normal]
        won = ((of_lesions @ wins) * of_normal).sum(axis=1)
        return weighted.ratio(won, of_lesions.sum(axis=1) * of_normal.sum(axis=1))

    method = (
        "JAFROC: how often a lesion is rated above the highest mark of a case without lesions, ties 0.5; what is not "
        "marked is below all (https://doi.org/10.1118/1.1769352)"
    )
    return Measure("JAFROC", method, of)


def fleiss(table: np.ndarray) -> Measure:
    """Returns Fleiss's kappa of several readers' calls.

    Args:
        table: Calls, 0 or 1, (n, readers); nan: not read. Cases that not all read are left out.
    """
    all_read = ~np.isnan(table).any(axis=1)
    readers = table.shape[1]
    yes = np.where(all_read, np.nan_to_num(table).sum(axis=1), 0.0)
    counts = np.stack([yes, readers - yes], axis=1)
    agreed = (
        (counts * (counts - 1)).sum(axis=1) / (readers * (readers - 1)) if readers > 1 else np.full(len(yes), math.nan)
    )

    def of(cases: Cases, weights: np.ndarray) -> np.ndarray:
        del cases
        kept = weights * all_read
        total = kept.sum(axis=1)
        share = weighted.ratio(kept @ counts, readers * total[:, None])
        by_chance = (share**2).sum(axis=1)
        # One category only: by_chance is 1 but for rounding, and nothing is left to agree on beyond chance.
        return weighted.ratio(
            weighted.ratio(kept @ agreed, total) - by_chance, np.where(by_chance < 1 - 1e-12, 1 - by_chance, 0.0)
        )

    return Measure(
        "Fleiss's kappa", "of cases that all read (https://doi.org/10.1037/h0031619)", of, lambda _: all_read
    )
