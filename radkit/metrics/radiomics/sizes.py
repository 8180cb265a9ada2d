"""Textures of level by size: runs in a line (GLRLM), zones of one level (GLSZM), neighbours of one's level (GLDM).

The three differ in what is counted, a run of voxels, a connected zone or a voxel, and in what its size is: length,
number of voxels, number of equal neighbours and itself. What is made of the counts is the same.
"""

import numpy as np
from scipy import sparse

from radkit.metrics.radiomics import regions

# What `_figures` calls each feature, in each family's words.
_RUNS = {
    "GrayLevelNonUniformity": "level_non_uniformity",
    "GrayLevelNonUniformityNormalized": "level_non_uniformity_normalized",
    "GrayLevelVariance": "level_variance",
    "HighGrayLevelRunEmphasis": "high",
    "LongRunEmphasis": "large",
    "LongRunHighGrayLevelEmphasis": "large_high",
    "LongRunLowGrayLevelEmphasis": "large_low",
    "LowGrayLevelRunEmphasis": "low",
    "RunEntropy": "entropy",
    "RunLengthNonUniformity": "size_non_uniformity",
    "RunLengthNonUniformityNormalized": "size_non_uniformity_normalized",
    "RunPercentage": "percentage",
    "RunVariance": "size_variance",
    "ShortRunEmphasis": "small",
    "ShortRunHighGrayLevelEmphasis": "small_high",
    "ShortRunLowGrayLevelEmphasis": "small_low",
}
_ZONES = {
    "GrayLevelNonUniformity": "level_non_uniformity",
    "GrayLevelNonUniformityNormalized": "level_non_uniformity_normalized",
    "GrayLevelVariance": "level_variance",
    "HighGrayLevelZoneEmphasis": "high",
    "LargeAreaEmphasis": "large",
    "LargeAreaHighGrayLevelEmphasis": "large_high",
    "LargeAreaLowGrayLevelEmphasis": "large_low",
    "LowGrayLevelZoneEmphasis": "low",
    "SizeZoneNonUniformity": "size_non_uniformity",
    "SizeZoneNonUniformityNormalized": "size_non_uniformity_normalized",
    "SmallAreaEmphasis": "small",
    "SmallAreaHighGrayLevelEmphasis": "small_high",
    "SmallAreaLowGrayLevelEmphasis": "small_low",
    "ZoneEntropy": "entropy",
    "ZonePercentage": "percentage",
    "ZoneVariance": "size_variance",
}
_DEPENDENCES = {
    "DependenceEntropy": "entropy",
    "DependenceNonUniformity": "size_non_uniformity",
    "DependenceNonUniformityNormalized": "size_non_uniformity_normalized",
    "DependenceVariance": "size_variance",
    "GrayLevelNonUniformity": "level_non_uniformity",
    "GrayLevelVariance": "level_variance",
    "HighGrayLevelEmphasis": "high",
    "LargeDependenceEmphasis": "large",
    "LargeDependenceHighGrayLevelEmphasis": "large_high",
    "LargeDependenceLowGrayLevelEmphasis": "large_low",
    "LowGrayLevelEmphasis": "low",
    "SmallDependenceEmphasis": "small",
    "SmallDependenceHighGrayLevelEmphasis": "small_high",
    "SmallDependenceLowGrayLevelEmphasis": "small_low",
}
GLRLM, GLSZM, GLDM = tuple(_RUNS), tuple(_ZONES), tuple(_DEPENDENCES)


def run_lengths(region: regions.Region) -> dict[str, float]:
    """Returns the 16 GLRLM features, means over the directions in which a line holds two voxels; nan without any.

    Source: Galloway 1975, https://doi.org/10.1016/S0146-664X(75)80008-6.
    """
    found = []
    for direction in regions.DIRECTIONS:
        levels, lengths = _runs(region, direction)
        if levels.size:
            found.append(_named(_RUNS, levels, lengths))
    return regions.mean_over_directions(found, GLRLM)


def size_zones(region: regions.Region) -> dict[str, float]:
    """Returns the 16 GLSZM features; voxels of one level belong together across faces, edges and corners.

    Source: Thibault et al. 2014, https://doi.org/10.1109/TBME.2013.2284600.
    """
    n = region.levels.size
    first, second = zip(*(_equal_pairs(region, direction) for direction in regions.DIRECTIONS), strict=True)
    ends = np.concatenate(first), np.concatenate(second)
    links = sparse.coo_array((np.ones(len(ends[0]), bool), ends), shape=(n, n))
    _, zone = sparse.csgraph.connected_components(links, directed=False)
    _, one_of_each, voxels = np.unique(zone, return_index=True, return_counts=True)
    return _named(_ZONES, region.levels[one_of_each], voxels)


def dependences(region: regions.Region) -> dict[str, float]:
    """Returns the 14 GLDM features; a voxel's dependence is 1 + the number of its 26 neighbours of its own level.

    Source: Sun and Wee 1983, https://doi.org/10.1016/0734-189X(83)90032-4.
    """
    dependence = np.ones(region.levels.size, np.intp)
    for direction in regions.DIRECTIONS:
        for end in _equal_pairs(region, direction):
            dependence[end] += 1  # A voxel is an end of one pair a direction, so that none is lost.
    return _named(_DEPENDENCES, region.levels, dependence)


def _equal_pairs(region: regions.Region, direction: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the numbers of voxels one step apart that have the same level."""
    beside = regions.neighbours(region, direction)
    equal = np.flatnonzero((beside >= 0) & (region.levels[beside] == region.levels))
    return equal, beside[equal]


def _runs(region: regions.Region, direction: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Returns level and length of each run; none when no line of this direction holds two voxels of the region."""
    axis = direction.index(1)  # The first step that is not 0, which is forward.
    step = region.coordinates[:, axis]
    start = region.coordinates - step[:, None] * np.asarray(
        direction
    )  # Where the voxel's line crosses the first plane.
    reach = max(region.extent)
    line = np.ravel_multi_index(tuple((start + reach).T), (3 * reach,) * 3)
    order = np.lexsort((step, line))
    line, step, levels = line[order], step[order], region.levels[order]
    same_line = np.diff(line) == 0
    if not same_line.any():
        return levels[:0], levels[:0]
    begins = np.flatnonzero(np.append(True, ~same_line | (np.diff(step) != 1) | (np.diff(levels) != 0)))
    return levels[begins], np.diff(np.append(begins, len(levels)))


def _named(names: dict[str, str], levels: np.ndarray, sizes: np.ndarray) -> dict[str, float]:
    figures = _figures(levels, sizes)
    return {name: figures[figure] for name, figure in names.items()}


def _figures(levels: np.ndarray, sizes: np.ndarray) -> dict[str, float]:
    """Returns what is made of n things' levels and sizes, both (n,)."""
    n = len(levels)
    i, row = np.unique(levels, return_inverse=True)
    j, column = np.unique(sizes, return_inverse=True)
    p = np.bincount(row * len(j) + column, minlength=len(i) * len(j)).reshape(len(i), len(j)) / n
    of_level, of_size = p.sum(axis=1), p.sum(axis=0)
    i2, j2 = i.astype(float) ** 2, j.astype(float) ** 2
    return {
        "small": float(of_size @ (1 / j2)),
        "large": float(of_size @ j2),
        "low": float(of_level @ (1 / i2)),
        "high": float(of_level @ i2),
        "small_low": float((1 / i2) @ p @ (1 / j2)),
        "small_high": float(i2 @ p @ (1 / j2)),
        "large_low": float((1 / i2) @ p @ j2),
        "large_high": float(i2 @ p @ j2),
        "level_non_uniformity": n * float(of_level @ of_level),
        "level_non_uniformity_normalized": float(of_level @ of_level),
        "size_non_uniformity": n * float(of_size @ of_size),
        "size_non_uniformity_normalized": float(of_size @ of_size),
        "level_variance": float(of_level @ (i - of_level @ i) ** 2),
        "size_variance": float(of_size @ (j - of_size @ j) ** 2),
        "entropy": regions.entropy(p),
        "percentage": n / float(sizes.sum()),
    }
