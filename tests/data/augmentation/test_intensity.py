"""Changes of intensity against numpy and scipy."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage, stats

from radkit import config
from radkit.data.augmentation import draws, intensity, resolution
from tests.data.augmentation.regions import changed, data_of, region

SIZE = (12, 18, 16)
WINDOW = dataclasses.replace(data_of(3), normalise="window", window=(-100.0, 300.0))


def image_of(seed=0, size=SIZE):
    return np.random.default_rng(seed).normal(size=size).astype(np.float32)


def one(settings, seed=1, image=None, data=None, spacing=()):
    image = image_of() if image is None else image
    return changed(region(image, spacing), seed, image.shape, settings, data or data_of(image.ndim))["image"][..., 0]


def drawn(seed, name, low=0.0, high=1.0, shape=()):
    return draws.uniform(draws.key(tf.constant([seed, 7]), name), shape, low, high).numpy()


ALL = {
    "gain": 0.3, "gamma": 0.5, "bias_field": 0.4, "blur_mm": 1.5, "low_resolution": 1.0, "noise": 0.2, "rician": 0.2,
    "cut_out": 0.6,
}  # fmt: skip


@pytest.mark.parametrize("name", ALL)
def test_each_change_happens_as_often_as_is_said_and_else_changes_nothing(name):
    image = image_of(size=(16, 15))
    chances = config.Chances(**{name.removesuffix("_mm"): 0.5})
    settings = config.Augment(**{name: ALL[name]}, chances=chances)
    example, data = region(image), data_of(2)
    change = tf.function(
        lambda seed: intensity.change(example["image"], seed, example["spacing_mm"], settings, data), autograph=False
    )
    # A hole of cut_out may be smaller than a voxel.
    same = [np.array_equal(change(tf.constant([seed, 7]))[..., 0], image) for seed in range(60)]
    assert 15 < sum(same) < 45


def test_gain_is_contrast_and_brightness():
    image, found = image_of(), one(config.Augment(gain=0.3))
    slope, offset = np.polyfit(image.ravel(), found.ravel(), 1)
    np.testing.assert_allclose(found, image * slope + offset, atol=1e-5)
    assert 0.7 <= slope <= 1.3
    assert abs(offset) <= 0.3


@pytest.mark.parametrize("data", [data_of(3), WINDOW])
def test_gamma_is_a_power_of_the_share_of_the_range(data):
    image = image_of() * 100
    plain = one(config.Augment(), image=image, data=data)
    low, high = (-1.0, 1.0) if data is WINDOW else (plain.min(), plain.max())
    exponents = []
    for seed in range(8):
        found = one(config.Augment(gamma=1.0), seed, image, data)
        exponents.append(np.exp(drawn(seed, "gamma", -np.log(2), np.log(2))))
        expected = ((plain - low) / (high - low)).astype(np.float64) ** exponents[-1] * (high - low) + low
        np.testing.assert_allclose(found, expected, atol=1e-3 * (high - low))
    assert 0.5 <= min(exponents) < 1 < max(exponents) <= 2


def test_a_coils_field_is_smooth_and_leaves_air_alone():
    image = np.ones(SIZE, np.float32)
    image[0, 0, 0] = 0  # air
    found = one(config.Augment(bias_field=0.4), image=image)
    assert found[0, 0, 0] == 0
    field = found[1:]
    assert 0.6 <= field.min() < field.max() <= 1.4
    assert np.ptp(field) > 0.05
    assert max(np.abs(np.diff(field, axis=axis)).max() for axis in range(3)) < 0.12


def test_noise_is_normal_and_of_the_strength_drawn():
    strengths = []
    for seed in range(6):
        noise = one(config.Augment(noise=0.5), seed) - image_of()
        strengths.append(drawn(seed, "noise strength", 0.0, 0.5))
        assert stats.kstest(noise.ravel() / strengths[-1], "norm").pvalue > 1e-3
    assert max(strengths) < 0.5 < 3 * max(strengths)


def test_rician_noise_is_scipys_about_the_lower_end():
    image = np.full((40, 40, 12), 0.5, np.float32)
    image[0] = -1.0
    strength = drawn(3, "rician strength", 0.0, 0.8)
    found = one(config.Augment(rician=0.8), 3, image)
    assert stats.kstest((found[1:].ravel() + 1) / strength, stats.rice(1.5 / strength).cdf).pvalue > 1e-3
    assert stats.kstest((found[0].ravel() + 1) / strength, stats.rayleigh.cdf).pvalue > 1e-3


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (3.0, 0.8, 1.2)])
def test_blur_is_scipys_gaussian_in_mm(spacing):
    image = image_of(size=(34, 40, 36))
    sigma = drawn(2, "blur", 0.0, 2.5)
    found = one(config.Augment(blur_mm=2.5), 2, image, spacing=spacing)
    margin = [int(5 * sigma / mm) + 1 for mm in spacing]
    inner = tuple(slice(m, -m) for m in margin)
    expected = ndimage.gaussian_filter(image.astype(np.float64), [sigma / mm for mm in spacing], truncate=9)
    assert expected[inner].size > 100
    np.testing.assert_allclose(found[inner], expected[inner], atol=1e-4)


@pytest.mark.parametrize("sigma", [0.0, 0.3, 2.0])
def test_blur_keeps_a_constant_to_its_edges(sigma):
    rows = resolution.gaussian(9, tf.constant(sigma)).numpy()
    np.testing.assert_allclose(rows.sum(axis=1), 1, atol=1e-6)
    if not sigma:
        np.testing.assert_array_equal(rows, np.eye(9))


def test_voxels_twice_as_large_are_means_of_pairs_linearly_between():
    line = image_of(size=(10,))
    means = line.reshape(5, 2).mean(axis=1)
    expected = np.interp((np.arange(10) + 0.5) / 2 - 0.5, np.arange(5), means)
    np.testing.assert_allclose(resolution.coarser(10, tf.constant(2.0)).numpy() @ line, expected, atol=1e-6)


@pytest.mark.parametrize("factor", [1.0, 1.3, 1.75, 2.0, 3.9])
@pytest.mark.parametrize("size", [1, 2, 9, 16])
def test_coarser_voxels_keep_a_constant(size, factor):
    matrix = resolution.coarser(size, tf.constant(factor)).numpy()
    np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-5)
    assert matrix.min() >= 0
    if factor == 1:
        np.testing.assert_allclose(matrix, np.eye(size), atol=1e-6)


def test_low_resolution_and_blur_together_are_one_after_the_other():
    image = image_of()
    found = one(config.Augment(low_resolution=1.0, blur_mm=2.0), 5, image)
    factor, sigma = drawn(5, "low_resolution", 1.0, 2.0), drawn(5, "blur", 0.0, 2.0)
    for axis, size in enumerate(image.shape):
        matrix = resolution.coarser(size, tf.constant(factor)).numpy() @ resolution.gaussian(size, tf.constant(sigma))
        image = np.moveaxis(np.tensordot(matrix, image, (1, axis)), 0, axis)
    np.testing.assert_allclose(found, image, atol=1e-4)


@pytest.mark.parametrize(("data", "blank"), [(data_of(3), 0.0), (WINDOW, -1.0)])
def test_cut_out_blanks_one_box(data, blank):
    plain = one(config.Augment(), image=np.full(SIZE, 200.0, np.float32), data=data)
    shares = []
    for seed in range(12):
        found = one(config.Augment(cut_out=0.7), seed, np.full(SIZE, 200.0, np.float32), data)
        hole = found != plain
        if hole.any():
            assert (found[hole] == blank).all()
            where = np.argwhere(hole)
            extent = np.ptp(where, axis=0) + 1
            assert extent.prod() == hole.sum()
            shares.append(extent / SIZE)
    assert 0.2 < np.max(shares) <= 0.7 + 1 / 12


def test_a_window_is_drawn_anew_from_what_lies_beyond_the_configs():
    image = np.linspace(-400, 600, 24 * 10).reshape(24, 10).astype(np.float32)
    data = config.Data("ct", kind="radiograph", normalise="window", window=(-100.0, 300.0))
    for seed in range(6):
        found = one(config.Augment(window=0.3), seed, image, data)
        shift, wider = drawn(seed, "window", -0.3, 0.3, (2,))
        low = 100 + 400 * shift - 200 * (1 + wider)
        expected = np.clip((image - low) / (400 * (1 + wider)), 0, 1) * 2 - 1
        np.testing.assert_allclose(found, expected, atol=1e-5)
