"""Kernels made to fit: what they answer stays, where the image is the same in the new channels or slices."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from radkit.models.weights import inflation


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@given(old=st.integers(1, 5), new=st.integers(1, 5))
def test_summed_channels_answer_a_grey_image_as_before(old: int, new: int) -> None:
    kernel = random(3, 3, old, 2)
    found = inflation.channels(kernel, new, "sum")
    assert found.shape == (3, 3, new, 2)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.sum(2), kernel.sum(2), rtol=1e-5, atol=1e-5)


def test_three_channels_become_their_mean() -> None:
    kernel = random(3, 3, 3, 2)
    np.testing.assert_allclose(inflation.channels(kernel, 1, "mean")[:, :, 0], kernel.mean(2), rtol=1e-6)


@pytest.mark.parametrize("how", ["average", "centre"])
@pytest.mark.parametrize("size", [1, 3, 5])
def test_a_volume_of_equal_slices_is_answered_as_its_slice(how: inflation.Depth, size: int) -> None:
    image, kernel = random(1, 6, 7, 2, seed=1), random(3, 3, 2, 4)
    flat = keras.ops.conv(image, kernel, padding="valid")
    volume = np.repeat(image[:, None], 7, axis=1)
    found = keras.ops.conv(volume, inflation.depth(kernel, size, how), padding="valid")
    for number in range(found.shape[1]):
        np.testing.assert_allclose(found[:, number], flat, rtol=1e-4, atol=1e-5)


def test_a_centred_kernel_answers_each_slice_as_an_image() -> None:
    volume, kernel = random(1, 5, 6, 7, 2, seed=2), random(3, 3, 2, 4)
    found = keras.ops.conv(volume, inflation.depth(kernel, 3, "centre"), padding="same")
    flat = keras.ops.conv(volume[0], kernel, padding="same")
    np.testing.assert_allclose(found[0], flat, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "wanted", "first", "told"),
    [
        ((4,), (4,), False, ""),
        ((4,), (5,), False, None),
        ((3, 3, 3, 8), (3, 3, 1, 8), True, "3 -> 1 channels by sum"),
        ((3, 3, 3, 8), (3, 3, 1, 8), False, None),
        ((3, 3, 4, 8), (5, 3, 3, 4, 8), False, "2-D -> 3-D by average"),
        ((3, 3, 4, 8), (3, 5, 5, 4, 8), False, None),
        ((3, 3, 3, 4, 8), (3, 3, 4, 8), False, None),
        ((3, 1), (1, 1), True, None),
    ],
)
def test_only_channels_of_the_image_and_depth_are_changed(
    shape: tuple[int, ...], wanted: tuple[int, ...], first: bool, told: str | None
) -> None:
    found, how = inflation.fit(random(*shape), wanted, first=first)
    assert (found is None) == (told is None)
    assert how == (told or "")
    assert found is None or found.shape == wanted
