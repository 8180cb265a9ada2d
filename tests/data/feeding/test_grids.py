"""The network's grid is the one that preparing gives; parts are cut as padding and slicing would cut them."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from radkit import config
from radkit.data import prepare
from radkit.data.feeding import grids

SIZE = st.integers(1, 3000)
MM = st.floats(0.0625, 20, width=32)


@settings(max_examples=60)
@given(st.tuples(SIZE, SIZE), st.tuples(st.integers(1, 600), st.integers(1, 600)))
def test_a_radiograph_is_fitted_as_preparing_fits_it(shape: tuple[int, int], wanted: tuple[int, int]) -> None:
    data = config.Data("x", kind="radiograph", image_size=wanted)
    ratio = tf.reduce_min(tf.cast(tf.constant(wanted), tf.float32) / tf.cast(tf.constant(shape), tf.float32))
    scaled = tf.round(tf.cast(tf.constant(shape), tf.float32) * ratio)
    expected = np.minimum(wanted, np.maximum(1, scaled.numpy().astype(int)))
    assert grids.fed_shape(shape, np.array([np.nan, np.nan]), data) == tuple(expected)


@pytest.mark.parametrize("shape", [(40, 33), (24, 24), (24, 11), (200, 3), (7, 9)])
def test_radiographs_through_preparing(shape: tuple[int, int]) -> None:
    data = config.Data("x", kind="radiograph", image_size=(24, 24))
    image, place = prepare.resample(tf.zeros([1, *shape, 1]), tf.ones([1, 2]), data)
    assert grids.fed_shape(shape, np.ones(2), data) == tuple(place.scaled.numpy()) == tuple(image.shape[1:3])


@settings(max_examples=40)
@given(
    st.tuples(*[st.integers(1, 9)] * 3),
    st.tuples(MM, MM, MM),
    st.tuples(*[st.floats(0.25, 20, width=32)] * 3),
)
def test_volumes_through_preparing(shape: tuple, spacing: tuple, wanted: tuple) -> None:
    data = config.Data("x", spacing_mm=tuple(float(w) for w in wanted))
    sizes_mm = tf.cast(tf.constant(shape), tf.float32) * tf.constant(spacing, tf.float32)
    expected = tf.maximum(1, tf.cast(tf.round(sizes_mm / tf.constant(data.spacing_mm)), tf.int32))
    assert grids.fed_shape(shape, np.array(spacing, np.float32), data) == tuple(expected.numpy())
    if np.prod(expected) < 1e5:
        _, told = prepare.resample(tf.zeros([1, *shape, 1]), tf.constant([spacing], tf.float32), data)
        assert tuple(told.scaled.numpy()) == tuple(expected.numpy())


def test_the_spacing_follows_the_size() -> None:
    np.testing.assert_allclose(grids.fed_spacing((10, 20), (5, 40), np.array([1.0, 1.0])), [2.0, 0.5])
    assert np.isnan(grids.fed_spacing((10, 20), (5, 40), np.array([np.nan, np.nan]))).all()


@given(st.integers(2, 3), st.data())
def test_a_part_is_what_padding_and_slicing_gives(rank: int, draw: st.DataObject) -> None:
    shape = draw.draw(st.tuples(*[st.integers(1, 6)] * rank))
    low = draw.draw(st.tuples(*[st.integers(-9, 9)] * rank))
    region = draw.draw(st.tuples(*[st.integers(1, 8)] * rank))
    image = np.arange(1, np.prod(shape) + 1, dtype=np.int16).reshape(*shape, 1)
    padded = np.pad(image, [(20, 20)] * rank + [(0, 0)])
    expected = padded[tuple(slice(a + 20, a + 20 + n) for a, n in zip(low, region))]
    found = grids.cut(image, low, region)
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == image.dtype
    assert found.flags.c_contiguous
    found[:] = 0
    assert image.all()  # a copy


def test_patch_and_region_have_one_middle() -> None:
    assert grids.region_low((4, -3), (10, 10), (16, 10)) == (1, -3)
