"""Grey level co-occurrence (GLCM): how often two levels lie side by side, in each of 13 directions."""

import numpy as np

from radkit.metrics.radiomics import regions

NAMES = (
    "Autocorrelation", "ClusterProminence", "ClusterShade", "ClusterTendency", "Contrast", "Correlation",
    "DifferenceAverage", "DifferenceEntropy", "DifferenceVariance", "Id", "Idm", "Idmn", "Idn", "Imc1", "Imc2",
    "InverseVariance", "JointAverage", "JointEnergy", "JointEntropy", "MCC", "MaximumProbability", "SumAverage",
    "SumEntropy", "SumSquares",
)  # fmt: skip


def features(region: regions.Region) -> dict[str, float]:
    """Returns the 24 features, each the mean over the directions in which the region has neighbours; nan without any.

    Source: Haralick et al. 1973, https://doi.org/10.1109/TSMC.1973.4309314.
    """
    levels, rank = np.unique(region.levels, return_inverse=True)
    n = len(levels)
    found = []
    for direction in regions.DIRECTIONS:
        beside = regions.neighbours(region, direction)
        pairs = beside >= 0
        if pairs.any():
            counts = np.bincount(rank[pairs] * n + rank[beside[pairs]], minlength=n * n).reshape(n, n)
            found.append(_of_probabilities((counts + counts.T) / (2 * counts.sum()), levels))
    return regions.mean_over_directions(found, NAMES)


def _of_probabilities(p: np.ndarray, levels: np.ndarray) -> dict[str, float]:
    """Returns the features of one direction: p of each pair of levels, (n, n), symmetrical, and the n levels."""
    marginal = p.sum(axis=1)
    mean = float(marginal @ levels)
    sums = np.bincount(np.add.outer(levels, levels).ravel(), p.ravel())
    differences = np.bincount(np.abs(np.subtract.outer(levels, levels)).ravel(), p.ravel())
    return {
        "Autocorrelation": float(levels @ p @ levels),
        "JointAverage": mean,
        "JointEnergy": float(np.sum(p**2)),
        "MaximumProbability": float(p.max()),
        **_of_sums(sums, mean),
        **_of_differences(differences, int(levels.max())),
        **_of_dependence(p, marginal, levels - mean),
    }


def _of_sums(sums: np.ndarray, mean: float) -> dict[str, float]:
    """Returns what depends on the two levels' sum k alone; sums is p of each k from 0."""
    k = np.arange(len(sums))
    from_mean = k - 2 * mean
    return {
        "ClusterProminence": float(sums @ from_mean**4),
        "ClusterShade": float(sums @ from_mean**3),
        "ClusterTendency": float(sums @ from_mean**2),
        "SumAverage": float(sums @ k),
        "SumEntropy": regions.entropy(sums),
    }


def _of_differences(differences: np.ndarray, top: int) -> dict[str, float]:
    """Returns what depends on the two levels' difference k alone; differences is p of each k from 0."""
    k = np.arange(len(differences))
    mean = float(differences @ k)
    return {
        "Contrast": float(differences @ k**2),
        "DifferenceAverage": mean,
        "DifferenceEntropy": regions.entropy(differences),
        "DifferenceVariance": float(differences @ (k - mean) ** 2),
        "Id": float(np.sum(differences / (1 + k))),
        "Idm": float(np.sum(differences / (1 + k**2))),
        "Idmn": float(np.sum(differences / (1 + k**2 / top**2))),
        "Idn": float(np.sum(differences / (1 + k / top))),
        "InverseVariance": float(np.sum(differences[1:] / k[1:] ** 2)),
    }


def _of_dependence(p: np.ndarray, marginal: np.ndarray, from_mean: np.ndarray) -> dict[str, float]:
    """Returns what tells how far one level foretells the other.

    Imc2 is 0 where rounding leaves its root's argument below 0, where pyradiomics leaves the direction out.
    """
    independent = np.outer(marginal, marginal)
    variance = float(marginal @ from_mean**2)
    joint, single = regions.entropy(p), regions.entropy(marginal)
    crossed = float(-np.sum(p * np.log2(independent + np.spacing(1))))
    gained = max(regions.entropy(independent) - joint, 0.0)
    return {
        "Correlation": float(from_mean @ p @ from_mean) / variance if variance else 1.0,
        "Imc1": (joint - crossed) / single if single else 0.0,
        "Imc2": float(np.sqrt(1 - np.exp(-2 * gained))),
        "JointEntropy": joint,
        "MCC": _maximal_correlation(p, marginal),
        "SumSquares": variance,
    }


def _maximal_correlation(p: np.ndarray, marginal: np.ndarray) -> float:
    """Returns the second singular value of p / sqrt(marginal x marginal); 1 in a region of one level."""
    if len(p) < 2:
        return 1.0
    root = np.sqrt(np.where(marginal > 0, marginal, 1))
    # p is symmetrical: its singular values are its eigenvalues without their sign.
    return float(np.sort(np.abs(np.linalg.eigvalsh(p / np.outer(root, root))))[-2])
