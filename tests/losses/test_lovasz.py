"""The Lovasz extension by its definition: a sum over the level sets of the errors."""

import itertools

import numpy as np
import pytest

from radkit.losses import lovasz
from tests.losses import made


def by_level_sets(truth: np.ndarray, found: np.ndarray) -> float:
    """The integral over thresholds of the Jaccard loss of the voxels whose error is above it."""
    errors, total = np.abs(truth - found), 0.0
    levels = np.concatenate([[0.0], np.unique(errors)])
    for low, high in itertools.pairwise(levels):
        wrong = errors > low
        either = ((truth == 1) | wrong).sum()
        total += (high - low) * (wrong.sum() / either if either else 0.0)
    return total


@pytest.mark.parametrize("sizes", made.SHAPES)
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_lovasz_is_the_extension_of_the_jaccard_loss(sizes: tuple[int, ...], activation: str) -> None:
    mask, logits = made.case(sizes)
    t, p = made.flat(mask, logits, activation)
    expected = [
        np.mean([by_level_sets(truth[:, k], found[:, k]) for k in (1, 2) if truth[:, k].any()])
        for truth, found in zip(t, p)
    ]
    np.testing.assert_allclose(lovasz.lovasz(mask, logits, activation=activation), expected, rtol=1e-5)


def test_hard_answers_cost_one_minus_intersection_over_union() -> None:
    mask, _ = made.case((8, 7), classes=2)
    called, _ = made.case((8, 7), classes=2, seed=1)
    logits = 100.0 * np.eye(2, dtype=np.float32)[called[..., 0]]
    both = ((mask == 1) & (called == 1)).sum((1, 2, 3))
    either = ((mask == 1) | (called == 1)).sum((1, 2, 3))
    there = (mask == 1).any((1, 2, 3))
    np.testing.assert_allclose(
        lovasz.lovasz(mask, logits), np.where(there, 1 - both / np.maximum(either, 1), 0.0), atol=1e-6
    )
