"""First-order features: the distribution of a region's grey values, wherever in the region they lie."""

import numpy as np

from radkit.metrics.radiomics import regions

NAMES = (
    "10Percentile", "90Percentile", "Energy", "Entropy", "InterquartileRange", "Kurtosis", "Maximum", "Mean",
    "MeanAbsoluteDeviation", "Median", "Minimum", "Range", "RobustMeanAbsoluteDeviation", "RootMeanSquared", "Skewness",
    "TotalEnergy", "Uniformity", "Variance",
)  # fmt: skip


def features(region: regions.Region) -> dict[str, float]:
    """Returns the 18 features: of the values as they are, but entropy and uniformity, which are of the bins.

    Percentiles are interpolated; variance is the population's; kurtosis is 3 for a normal distribution; total energy
    is energy times the voxel's volume in mm3.
    """
    values = region.values
    p10, p25, median, p75, p90 = np.percentile(values, [10, 25, 50, 75, 90])
    share = np.bincount(region.levels) / values.size
    middle = values[(values >= p10) & (values <= p90)]
    energy = float(values @ values)
    return {
        "10Percentile": p10,
        "90Percentile": p90,
        "Energy": energy,
        "Entropy": regions.entropy(share),
        "InterquartileRange": p75 - p25,
        "Kurtosis": _standard_moment(values, 4),
        "Maximum": values.max(),
        "Mean": values.mean(),
        "MeanAbsoluteDeviation": _mean_deviation(values),
        "Median": median,
        "Minimum": values.min(),
        "Range": values.max() - values.min(),
        "RobustMeanAbsoluteDeviation": _mean_deviation(middle),
        "RootMeanSquared": np.sqrt(energy / values.size),
        "Skewness": _standard_moment(values, 3),
        "TotalEnergy": energy * region.spacing.prod(),
        "Uniformity": share @ share,
        "Variance": values.var(),
    }


def _mean_deviation(values: np.ndarray) -> float:
    # Two voxels of two values: neither lies between the interpolated percentiles.
    return float(np.abs(values - values.mean()).mean()) if values.size else np.nan


def _standard_moment(values: np.ndarray, power: int) -> float:
    # Asked of the values, not of the variance: rounding may leave equal values a variance above 0.
    if values.min() == values.max():
        return 0.0
    return float(np.mean((values - values.mean()) ** power) / values.var() ** (power / 2))
