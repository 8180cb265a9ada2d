"""Boxes made up for tests, and plain loops that tensors are held against."""

import numpy as np


def boxes(random: np.random.Generator, count: int, rank: int = 2, size: float = 32.0) -> np.ndarray:
    """Returns (count, 2 * rank) float32 boxes within an image; edges are quarters, so that sums are exact."""
    low = random.uniform(0, size * 0.7, (count, rank))
    high = low + random.uniform(2, size * 0.3, (count, rank))
    return np.round(np.concatenate([low, high], -1) * 4).astype(np.float32) / 4


def cells(size: int, strides: tuple[int, ...], rank: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Returns the places of an image's levels, (places, 2 * rank) float32, and their levels."""
    found, levels = [], []
    for level, stride in enumerate(strides):
        low = np.stack(np.meshgrid(*[np.arange(0, size, stride)] * rank, indexing="ij"), -1).reshape(-1, rank)
        found.append(np.concatenate([low, low + stride], -1))
        levels.append(np.full(len(low), level))
    return np.concatenate(found).astype(np.float32), np.concatenate(levels).astype(np.int32)


def iou(a: np.ndarray, b: np.ndarray) -> float:
    """Returns the overlap of two boxes."""
    rank = len(a) // 2
    inside = 1.0
    for axis in range(rank):
        inside *= max(0.0, min(float(a[rank + axis]), float(b[rank + axis])) - max(float(a[axis]), float(b[axis])))
    of_a, of_b = (float(np.prod(x[rank:].astype(float) - x[:rank])) for x in (a, b))
    union = of_a + of_b - inside
    return inside / union if union > 0 else 0.0


def overlaps(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Returns each with each, (len(a), len(b))."""
    return np.array([[iou(one, other) for other in b] for one in a]).reshape(len(a), len(b))
