"""Averages of cells, against plain loops."""

import itertools
import math

import keras
import numpy as np
import pytest

from radkit.models import layers


def averaged(image: np.ndarray, cells: tuple[int, ...]) -> np.ndarray:
    """Returns (batch, *cells, channels), cell by cell."""
    found = np.zeros((len(image), *cells, image.shape[-1]))
    for cell in itertools.product(*map(range, cells)):
        place = [
            slice(i * length // n, math.ceil((i + 1) * length / n))
            for i, length, n in zip(cell, image.shape[1:-1], cells)
        ]
        found[(slice(None), *cell)] = image[(slice(None), *place)].mean(axis=tuple(range(1, image.ndim - 1)))
    return found


# Sizes of 1 first: products of such batches are where TensorFlow has written beyond its memory.
@pytest.mark.parametrize("sizes", [(1, 1), (1, 8), (5, 1), (9, 13), (1, 1, 1), (1, 4, 6), (3, 1, 7)])
@pytest.mark.parametrize("cells", [1, 2, 7])
@pytest.mark.parametrize("is_free", [False, True])
def test_cells_hold_the_means_of_their_voxels(sizes: tuple[int, ...], cells: int, is_free: bool) -> None:
    image = np.random.default_rng(0).normal(size=(6, *sizes, 3)).astype("float32")
    inputs = keras.Input((*((None,) * len(sizes) if is_free else sizes), 3))
    network = keras.Model(inputs, layers.AdaptiveAveragePooling(cells)(inputs))
    wanted = averaged(image, (cells,) * len(sizes))
    for _ in range(3):
        np.testing.assert_allclose(network(image), wanted, atol=1e-5)
    np.testing.assert_allclose(network.predict(image, verbose=0), wanted, atol=1e-5)
