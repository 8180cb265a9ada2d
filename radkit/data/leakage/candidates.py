"""Which images may be copies of each other: those that share many places which look alike.

Every image's places are looked up among those of all others, in cells of a k-means so that not each is compared with
each; who is found often, at one ratio of scales, is a candidate. Nothing is decided here.
"""

from collections.abc import Iterator, Sequence

import numpy as np

EACH = 4  # candidates of a record
_FEATURES = 32  # of a descriptor, after the principal components
_NEIGHBOURS = 4  # of a place
_PROBES = 4  # cells in which a place is looked up
_MOST_CELLS = 4096
_A_CELL = 64  # places that the k-means sees for each cell
_ROUNDS = 8  # of the k-means
_RATIOS = 4  # bins of an octave of the ratio of scales
_LEAST_VOTES = 3
_BLOCK = 4096
_TRAINING = 200_000


def find(descriptors: np.ndarray, scales: np.ndarray, owners: np.ndarray, apart: np.ndarray) -> list[tuple[int, int]]:
    """Returns pairs of records, (lower, higher) number, sorted: each record's few most likely partners.

    Args:
        descriptors: Of all records' places, one after the other, (places, features) float.
        scales: Of the places, (places,).
        owners: The record's number of each place, (places,).
        apart: By record: records of one value are not compared with each other.
    """
    if not len(descriptors):
        return []
    projected = _projected(descriptors)
    votes: list[np.ndarray] = []
    for places, neighbours in _nearest(projected, apart[owners]):
        votes.append(_votes(places, neighbours, scales, owners))
    return _chosen(np.concatenate(votes), int(owners.max()) + 1)


def _projected(descriptors: np.ndarray) -> np.ndarray:
    sample = descriptors[_spread(len(descriptors), _TRAINING)].astype(np.float64)
    middle = sample.mean(0)
    _, axes = np.linalg.eigh((sample - middle).T @ (sample - middle))
    chosen = axes[:, ::-1][:, :_FEATURES].astype(np.float32)
    projected = np.empty((len(descriptors), chosen.shape[1]), np.float32)
    for start in range(0, len(descriptors), 1 << 18):
        part = slice(start, start + (1 << 18))
        projected[part] = (descriptors[part].astype(np.float32) - middle.astype(np.float32)) @ chosen
    return projected


def _spread(length: int, most: int) -> np.ndarray:
    """Returns at most so many indices, spread evenly."""
    return np.arange(length) if length <= most else np.linspace(0, length - 1, most).astype(int)


def _nearest(points: np.ndarray, apart: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields (places, (places, neighbours) or -1) in blocks: the nearest of those that are compared."""
    centres = _centres(points)
    cells = np.concatenate([_closest(part, centres, 1)[:, 0] for part in _blocks(points)])
    members = np.split(np.argsort(cells, kind="stable"), np.cumsum(np.bincount(cells, minlength=len(centres)))[:-1])
    half = np.square(points).sum(1) / 2
    for start in range(0, len(points), 1 << 18):
        queries = np.arange(start, min(start + (1 << 18), len(points)))
        yield queries, _looked_up(queries, points, half, apart, centres, members)


def _looked_up(
    queries: np.ndarray,
    points: np.ndarray,
    half: np.ndarray,
    apart: np.ndarray,
    centres: np.ndarray,
    members: Sequence[np.ndarray],
) -> np.ndarray:
    probes = np.concatenate([_closest(part, centres, _PROBES) for part in _blocks(points[queries])])
    best = np.full((len(queries), probes.shape[1], _NEIGHBOURS), -np.inf, np.float32)
    found = np.full(best.shape, -1)
    for cell, inside in enumerate(members):
        rows, slots = np.nonzero(probes == cell)
        if not len(inside):
            continue
        for part in range(0, len(rows), _BLOCK):
            row, slot = rows[part : part + _BLOCK], slots[part : part + _BLOCK]
            asked = queries[row]
            likeness = points[asked] @ points[inside].T - half[inside]
            likeness[apart[asked][:, None] == apart[inside]] = -np.inf
            top, value = _top(likeness, _NEIGHBOURS)
            best[row, slot, : top.shape[1]] = value
            found[row, slot, : top.shape[1]] = inside[top]
    top, value = _top(best.reshape(len(queries), -1), _NEIGHBOURS)
    return np.where(np.isfinite(value), np.take_along_axis(found.reshape(len(queries), -1), top, 1), -1)


def _top(values: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    count = min(count, values.shape[1])
    top = np.argpartition(values, values.shape[1] - count, axis=1)[:, values.shape[1] - count :]
    return top, np.take_along_axis(values, top, 1)


def _blocks(points: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(points), _BLOCK):
        yield points[start : start + _BLOCK]


def _centres(points: np.ndarray) -> np.ndarray:
    count = int(min(_MOST_CELLS, max(1, np.sqrt(len(points)))))
    sample = points[_spread(len(points), count * _A_CELL)]
    centres = sample[_spread(len(sample), count)]
    for _ in range(_ROUNDS):
        cells = np.concatenate([_closest(part, centres, 1)[:, 0] for part in _blocks(sample)])
        order = np.argsort(cells, kind="stable")
        filled, starts = np.unique(cells[order], return_index=True)
        sums = np.add.reduceat(sample[order], starts, axis=0)
        centres = centres.copy()
        centres[filled] = sums / np.bincount(cells)[filled][:, None]
    return centres


def _closest(points: np.ndarray, centres: np.ndarray, count: int) -> np.ndarray:
    return _top(points @ centres.T - np.square(centres).sum(1) / 2, count)[0]


def _votes(places: np.ndarray, neighbours: np.ndarray, scales: np.ndarray, owners: np.ndarray) -> np.ndarray:
    """Returns (votes, 3) int32: lower record, higher record, and the ratio of their scales as a bin."""
    rows, columns = np.nonzero(neighbours >= 0)
    here, there = places[rows], neighbours[rows, columns]
    ratio = np.round(_RATIOS * np.log2(scales[there] / scales[here])).astype(np.int32)
    swapped = owners[here] > owners[there]
    low = np.minimum(owners[here], owners[there])
    high = np.maximum(owners[here], owners[there])
    return np.stack([low, high, np.where(swapped, -ratio, ratio)], 1).astype(np.int32)


def _chosen(votes: np.ndarray, count: int) -> list[tuple[int, int]]:
    if not len(votes):
        return []
    lowest = int(votes[:, 2].min()) - 1
    span = int(votes[:, 2].max()) - lowest + 2
    keys, counts = np.unique((votes[:, 0].astype(np.int64) * count + votes[:, 1]) * span + votes[:, 2] - lowest,
                             return_counts=True)  # fmt: skip
    # A ratio between two bins falls into both: a bin counts with the one above it.
    next_key = np.searchsorted(keys, keys + 1)
    follows = np.where(keys[np.minimum(next_key, len(keys) - 1)] == keys + 1, next_key, -1)
    together = counts + np.where(follows >= 0, counts[follows], 0)
    pairs, starts = np.unique(keys // span, return_index=True)
    strength = np.maximum.reduceat(together, starts)
    keep = strength >= _LEAST_VOTES
    return _strongest(pairs[keep] // count, pairs[keep] % count, strength[keep])


def _strongest(low: np.ndarray, high: np.ndarray, strength: np.ndarray) -> list[tuple[int, int]]:
    """Returns pairs that are among the strongest of either of their records."""
    mine, other, pair = np.r_[low, high], np.r_[high, low], np.tile(np.arange(len(low)), 2)
    order = np.lexsort((other, -np.tile(strength, 2), mine))
    _, starts, counts = np.unique(mine[order], return_index=True, return_counts=True)
    place = np.arange(len(order)) - np.repeat(starts, counts)
    return sorted({(int(low[n]), int(high[n])) for n in pair[order[place < EACH]]})
