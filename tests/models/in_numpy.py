"""Layers as plain loops over numpy arrays, float64, in two and three dimensions: what the tests' references are of."""

from collections.abc import Sequence

import numpy as np


def convolve(
    x: np.ndarray,
    kernel: np.ndarray,
    bias: np.ndarray | float = 0,
    strides: Sequence[int] | int = 1,
    same: bool = False,
) -> np.ndarray:
    """Zeros on both sides alike, or where `same` more of them behind, as Keras has it; (*sizes, in, out) kernel."""
    rank = x.ndim - 2
    strides = [strides] * rank if isinstance(strides, int) else strides
    around = [(0, 0)]
    for size, wide, step in zip(x.shape[1:-1], kernel.shape, strides):
        total = max((-(-size // step) - 1) * step + wide - size, 0) if same else 2 * ((wide - 1) // 2)
        around.append((total // 2, total - total // 2))
    x = np.pad(x, [*around, (0, 0)])
    windows = np.lib.stride_tricks.sliding_window_view(x, kernel.shape[:rank], tuple(range(1, rank + 1)))
    windows = windows[(slice(None), *(slice(None, None, step) for step in strides))]
    taps = tuple(range(rank + 2, 2 * rank + 2))
    return np.tensordot(windows, kernel, ((rank + 1, *taps), (rank, *range(rank)))) + bias


def deconvolve(
    x: np.ndarray, kernel: np.ndarray, bias: np.ndarray | float = 0, strides: Sequence[int] | int = 2
) -> np.ndarray:
    """Every voxel adds its kernel around its place; (*sizes, out, in) kernel."""
    rank = x.ndim - 2
    strides = [strides] * rank if isinstance(strides, int) else strides
    sizes, wide = x.shape[1:-1], kernel.shape[:rank]
    out = np.zeros((len(x), *(n * s + k for n, s, k in zip(sizes, strides, wide)), kernel.shape[-2]))
    for tap in np.ndindex(*wide):
        places = [slice(t, t + n * s, s) for t, n, s in zip(tap, sizes, strides)]
        out[(slice(None), *places)] += x @ kernel[tap].T
    kept = [slice((k - 1) // 2, (k - 1) // 2 + n * s) for n, s, k in zip(sizes, strides, wide)]
    return out[(slice(None), *kept)] + bias


def instance_norm(x: np.ndarray, gamma: np.ndarray, beta: np.ndarray) -> np.ndarray:
    """Each image's each channel."""
    space = tuple(range(1, x.ndim - 1))
    return (x - x.mean(space, keepdims=True)) / np.sqrt(x.var(space, keepdims=True) + 1e-5) * gamma + beta


def group_norm(x: np.ndarray, gamma: np.ndarray, beta: np.ndarray, groups: int) -> np.ndarray:
    """Each image's each group of neighbouring channels."""
    parts = x.reshape(*x.shape[:-1], groups, -1)
    axes = (*range(1, x.ndim - 1), x.ndim)
    parts = (parts - parts.mean(axes, keepdims=True)) / np.sqrt(parts.var(axes, keepdims=True) + 1e-5)
    return parts.reshape(x.shape) * gamma + beta


def leaky_relu(x: np.ndarray, slope: float = 0.01) -> np.ndarray:
    """Negative numbers times a slope."""
    return np.where(x < 0, slope * x, x)


def max_pool(x: np.ndarray) -> np.ndarray:
    """The greatest of each two voxels, axis by axis."""
    for axis in range(1, x.ndim - 1):
        x = x.reshape(*x.shape[:axis], -1, 2, *x.shape[axis + 1 :]).max(axis + 1)
    return x


def twice(x: np.ndarray, axes: Sequence[int]) -> np.ndarray:
    """Twice as fine along the axes, linear, the ends held."""
    for axis in axes:
        size = x.shape[axis]
        place = (np.arange(2 * size) + 0.5) / 2 - 0.5
        below = np.clip(np.floor(place).astype(int), 0, size - 1)
        share = np.clip(place, 0, size - 1) - below
        low, high = np.take(x, below, axis), np.take(x, np.minimum(below + 1, size - 1), axis)
        x = low + (high - low) * share.reshape([-1 if a == axis else 1 for a in range(x.ndim)])
    return x
