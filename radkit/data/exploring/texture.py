"""How one grey picture looks, in few numbers: texture, edges, layout. Units and contrast do not matter.

Sources: Haralick, Shanmugam and Dinstein 1973 (co-occurrence); Ojala, Pietikäinen and Mäenpää 2002 (local binary
patterns, rotation invariant and uniform).
"""

import numpy as np

LEVELS = 16  # of grey, for co-occurrence
_STEPS = ((0, 1), (1, 1), (1, 0), (1, -1))  # four directions; their opposites are counted along
_AROUND = ((-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1))  # a pixel's neighbours, in a ring


def of_plane(plane: np.ndarray) -> dict[str, float]:
    """Returns some thirty figures of a picture, all of them finite.

    Args:
        plane: (rows, columns), float, finite, any unit. It is scaled to its 1st and 99th percentile first.
    """
    scaled = windowed(plane)
    small = [(0, max(0, 4 - size)) for size in scaled.shape]  # too small a picture has no neighbours
    scaled = np.pad(scaled, small, mode="edge")
    return {
        **_layout(scaled),
        **_edges(scaled),
        **{f"cooccurrence_{name}": value for name, value in _cooccurring(scaled, 1).items()},
        **{f"cooccurrence_{name}_far": value for name, value in _cooccurring(scaled, 4).items()},
        **{f"pattern_{number}": float(share) for number, share in enumerate(patterns(scaled))},
    }


def windowed(plane: np.ndarray, low: float | None = None, high: float | None = None) -> np.ndarray:
    """Returns a picture scaled to [0, 1], float64; a constant one is 0.

    Args:
        plane: (rows, columns), finite.
        low: Value that becomes 0; None: the 1st percentile.
        high: Value that becomes 1; None: the 99th.
    """
    values = np.asarray(plane, np.float64)
    low = float(np.percentile(values, 1)) if low is None else low
    high = float(np.percentile(values, 99)) if high is None else high
    if not _differ(low, high):  # nearly all the same: what differs is all there is to see
        low, high = values.min(), values.max()
    if not _differ(low, high):
        return np.zeros(values.shape)
    return np.asarray(np.clip((values - low) / (high - low), 0, 1))


def shrunk(plane: np.ndarray, most: int) -> np.ndarray:
    """Returns a picture of at most `most` pixels a side: each is the mean of the area that it covers, float64."""
    ratio = max(1.0, max(plane.shape) / most)
    small = np.asarray(plane, np.float64)
    for axis, size in enumerate(plane.shape):
        small = _means(small, max(1, round(size / ratio)), axis)
    return small


def _means(plane: np.ndarray, pixels: int, axis: int) -> np.ndarray:
    """The plane with so many pixels along an axis. Sums, no matrix products: those differ by processor."""
    size = plane.shape[axis]
    if pixels == size:
        return plane
    lines = np.moveaxis(plane, axis, 0)
    edges = np.arange(pixels + 1) * size / pixels
    whole = np.minimum(edges.astype(np.int64), size - 1)
    summed = np.concatenate([np.zeros((1, lines.shape[1])), np.cumsum(lines, axis=0)])
    until = summed[whole] + (edges - whole)[:, None] * lines[whole]
    return np.moveaxis(np.diff(until, axis=0) * pixels / size, 0, axis)


def _differ(low: float, high: float) -> bool:
    """Whether a range is more than what rounding leaves of a constant."""
    return bool(high - low > 1e-9 * max(abs(low), abs(high)))


def _layout(scaled: np.ndarray) -> dict[str, float]:
    """Where it is bright: radiographs lie, and are collimated, differently from place to place."""
    rows, columns = scaled.shape
    middle = np.zeros(scaled.shape, bool)
    middle[rows // 4 : rows - rows // 4, columns // 4 : columns - columns // 4] = True
    return {
        "middle_minus_border": float(scaled[middle].mean() - scaled[~middle].mean()),
        "right_minus_left": float(scaled[:, -(columns // 2) :].mean() - scaled[:, : columns // 2].mean()),
        "low_minus_high": float(scaled[-(rows // 2) :].mean() - scaled[: rows // 2].mean()),
        "mirror_difference": float(np.abs(scaled - scaled[:, ::-1]).mean()),
        "bright_share": float((scaled > otsu(scaled)).mean()),
    }


def otsu(scaled: np.ndarray) -> float:
    """Returns the threshold in [0, 1] that tells bright from dark best, by 64 bins.

    Source: Otsu 1979.
    """
    counts, edges = np.histogram(scaled, bins=64, range=(0, 1))
    centres = (edges[:-1] + edges[1:]) / 2
    below, total = np.cumsum(counts), counts.sum()
    sums = np.cumsum(counts * centres)
    above = total - below
    apart = np.zeros(len(counts))
    both = (below > 0) & (above > 0)
    means = sums[both] / below[both], (sums[-1] - sums[both]) / above[both]
    apart[both] = below[both] * above[both] * (means[0] - means[1]) ** 2
    return float(edges[int(np.argmax(apart)) + 1])


def _edges(scaled: np.ndarray) -> dict[str, float]:
    down, across = np.gradient(scaled)
    steep = np.hypot(down, across)
    bent = 4 * scaled[1:-1, 1:-1] - scaled[:-2, 1:-1] - scaled[2:, 1:-1] - scaled[1:-1, :-2] - scaled[1:-1, 2:]
    power = np.abs(np.fft.fft2(scaled - scaled.mean())) ** 2
    fine = np.maximum(*np.meshgrid(*(np.abs(np.fft.fftfreq(size)) for size in scaled.shape), indexing="ij")) > 0.25
    return {
        "gradient_mean": float(steep.mean()),
        "gradient_deviation": float(steep.std()),
        "gradient_high": float(np.percentile(steep, 90)),
        "sharpness": float(bent.std()),
        "fine_share": float(power[fine].sum() / max(power.sum(), 1e-12)),
    }


def _cooccurring(scaled: np.ndarray, distance: int) -> dict[str, float]:
    grey = np.minimum((scaled * LEVELS).astype(np.int64), LEVELS - 1)
    tables = [cooccurrence(grey, (distance * down, distance * across), LEVELS) for down, across in _STEPS]
    found = [haralick(table) for table in tables if table.sum()] or [haralick(np.eye(LEVELS))]
    return {name: float(np.mean([one[name] for one in found])) for name in found[0]}


def cooccurrence(grey: np.ndarray, step: tuple[int, int], levels: int) -> np.ndarray:
    """Returns how often which two levels stand a step apart, both ways: (levels, levels) float64, symmetric.

    Args:
        grey: (rows, columns) whole numbers from 0 to levels - 1.
        step: Rows and columns from one pixel to the other.
        levels: How many there are.
    """
    down, across = step
    rows, columns = grey.shape
    if abs(down) >= rows or abs(across) >= columns:
        return np.zeros((levels, levels))
    here = grey[max(0, -down) : rows - max(0, down), max(0, -across) : columns - max(0, across)]
    there = grey[max(0, down) : rows + min(0, down), max(0, across) : columns + min(0, across)]
    counts = np.bincount((here * levels + there).ravel(), minlength=levels**2).reshape(levels, levels)
    return np.asarray(counts + counts.T, np.float64)


def haralick(table: np.ndarray) -> dict[str, float]:
    """Returns contrast, homogeneity, energy, correlation and entropy (bits) of a co-occurrence table."""
    share = table / table.sum()
    one, other = np.indices(share.shape)
    mean = float((share * one).sum())  # of a symmetric table both ways the same
    variance = float((share * (one - mean) ** 2).sum())
    covariance = float((share * (one - mean) * (other - mean)).sum())
    held = share[share > 0]
    return {
        "contrast": float((share * (one - other) ** 2).sum()),
        "homogeneity": float((share / (1 + (one - other) ** 2)).sum()),
        "energy": float((share**2).sum()),
        "correlation": covariance / variance if variance > 1e-12 else 1.0,
        "entropy": float(-(held * np.log2(held)).sum()),
    }


def patterns(scaled: np.ndarray) -> np.ndarray:
    """Returns the shares of local binary patterns, (10,): 0 to 8 brighter neighbours in one run, and all others."""
    centre = scaled[1:-1, 1:-1]
    rows, columns = scaled.shape
    ring = np.stack([scaled[1 + y : rows - 1 + y, 1 + x : columns - 1 + x] >= centre for y, x in _AROUND])
    changes = (ring != np.roll(ring, 1, axis=0)).sum(axis=0)
    names = np.where(changes <= 2, ring.sum(axis=0), 9)
    return np.bincount(names.ravel(), minlength=10) / names.size
