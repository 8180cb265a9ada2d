"""Neighbouring grey tone difference (NGTDM): how far each voxel's level is from the mean of its 26 neighbours'."""

import numpy as np

from radkit.metrics.radiomics import regions

NAMES = ("Busyness", "Coarseness", "Complexity", "Contrast", "Strength")
COARSEST = 1e6


def features(region: regions.Region) -> dict[str, float]:
    """Returns the 5 features; a voxel without neighbours in the region counts, with difference 0.

    Source: Amadasun and King 1989, https://doi.org/10.1109/21.44046.
    """
    levels, rank, count = np.unique(region.levels, return_inverse=True, return_counts=True)
    n, total = len(levels), region.levels.size
    s = np.bincount(rank, _differences(region), minlength=n)  # Sum of differences of each level.
    p = count / total
    apart = np.subtract.outer(levels, levels)
    # In whole numbers, so that equal weights are told from nearly equal ones.
    unlike = np.abs(np.subtract.outer(levels * count, levels * count)).sum() / total
    rough, all_s = float(p @ s), float(s.sum())
    weighed = p * s
    return {
        "Busyness": rough / unlike if unlike else 0.0,
        "Coarseness": 1 / rough if rough else COARSEST,
        "Complexity": float(np.sum(np.abs(apart) * np.add.outer(weighed, weighed) / np.add.outer(p, p))) / total,
        "Contrast": float(p @ apart**2 @ p) * all_s / total / (n * (n - 1)) if n > 1 else 0.0,
        "Strength": float(np.sum(np.add.outer(p, p) * apart**2)) / all_s if all_s else 0.0,
    }


def _differences(region: regions.Region) -> np.ndarray:
    """Returns |level - mean level of the neighbours| of each voxel, 0 without neighbours, (n,)."""
    total, count = np.zeros(region.levels.size, np.intp), np.zeros(region.levels.size, np.intp)
    for direction in regions.DIRECTIONS:
        beside = regions.neighbours(region, direction)
        has = np.flatnonzero(beside >= 0)
        for one, other in ((has, beside[has]), (beside[has], has)):
            total[one] += region.levels[other]
            count[one] += 1
    difference: np.ndarray = np.where(count > 0, np.abs(region.levels - total / np.maximum(count, 1)), 0.0)
    return difference
