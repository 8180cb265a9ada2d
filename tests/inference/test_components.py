"""Connected parts, against scipy."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage

from radkit.errors import UserError
from radkit.inference import components


def made_up(rank: int, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    return random.random((2, *(13, 11, 9)[:rank])) < (0.3, 0.45, 0.25)[rank - 1]


def spiral(size: int = 41) -> np.ndarray:
    """A winding part, as long as a part can be."""
    mask = np.zeros((1, size, size), bool)
    row = column = 0
    down, right, lengths = 0, 1, [size - 1]
    for length in range(size - 1, 1, -2):
        lengths += [length, length]
    for length in lengths:
        for _ in range(length):
            mask[0, row, column] = True
            row, column = row + down, column + right
        down, right = right, -down
    return mask


@pytest.mark.parametrize(("rank", "connectivity"), [(2, 1), (2, 2), (3, 1), (3, 2), (3, 3)])
def test_parts_are_scipys(rank: int, connectivity: int) -> None:
    mask = made_up(rank, connectivity)
    structure = ndimage.generate_binary_structure(rank, connectivity)
    parts = np.array(components.connected(mask, connectivity))
    kept = np.array(components.largest(mask, connectivity))
    filled = np.array(components.filled(mask, connectivity))
    for number, alone in enumerate(mask):
        expected, _ = ndimage.label(alone, structure)
        _, renumbered = np.unique(parts[number], return_inverse=True)
        np.testing.assert_array_equal(renumbered.reshape(alone.shape), expected)
        np.testing.assert_array_equal(kept[number], expected == np.argmax(np.bincount(expected[alone])))
        np.testing.assert_array_equal(filled[number], ndimage.binary_fill_holes(alone, structure))


def test_a_winding_part_is_one() -> None:
    mask = spiral()
    assert ndimage.label(mask[0])[1] == 1
    assert len(np.unique(components.connected(mask)[mask])) == 1


@pytest.mark.parametrize("sizes", [(7, 5), (1, 1), (4, 5, 3)])
def test_nothing_and_everything(sizes: tuple[int, ...]) -> None:
    empty = np.zeros((2, *sizes), bool)
    assert not np.any(components.largest(empty))
    assert not np.any(components.filled(empty))
    assert np.all(components.largest(~empty))
    assert np.all(components.filled(~empty))


def test_labels_are_cleaned_each_alone() -> None:
    labels = np.array([[[1, 1, 1, 1, 0, 2], [1, 0, 2, 1, 0, 0], [1, 1, 1, 1, 0, 1]]], np.uint8)
    found = components.clean(labels, keep_largest=(1,), fill=(1, 2))
    assert found.dtype == tf.uint8
    # The hole becomes 1, what is 2 in it stays, and so does the 2 far off, whose label was not named.
    assert found.numpy().tolist() == [[[1, 1, 1, 1, 0, 2], [1, 1, 2, 1, 0, 0], [1, 1, 1, 1, 0, 0]]]
    layer = components.Clean(keep_largest=(2,))
    assert components.Clean.from_config(layer.get_config()).keep_largest == (2,)
    # Of equal parts the first.
    assert layer(labels).numpy().tolist() == [[[1, 1, 1, 1, 0, 2], [1, 0, 0, 1, 0, 0], [1, 1, 1, 1, 0, 1]]]


def test_connectivity_beyond_the_rank_is_refused() -> None:
    with pytest.raises(UserError, match=r"from 1 \(faces\) to 2, not 3"):
        components.connected(np.zeros((1, 4, 4), bool), 3)
