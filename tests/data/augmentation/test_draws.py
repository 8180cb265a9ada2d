"""Numbers at random: evenly spread, normal, of each other's knowledge, and the same everywhere."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from radkit.data.augmentation import draws

SEEDS = [(0, 0), (0, 1), (1, 0), (-5, 2**31 - 1)]
MANY = 400_000


def key(seed, name="noise"):
    return draws.key(tf.constant(seed, tf.int32), name)


def hashed(word: np.ndarray, rounds: tuple[int, ...], *, last: bool) -> np.ndarray:
    # The hash once more, in numpy's integers.
    for number in rounds:
        word = word ^ (word >> np.uint32((17, 11, 15)[number]))
        word = word * np.uint32((0xED5AD4BB, 0xAC4C1B51, 0x31848BAB)[number])
    return word ^ (word >> np.uint32(14)) if last else word


def test_bits_are_the_hash_of_their_index_on_every_host():
    first, second = (part.numpy() for part in key((3, 4)))
    index = np.arange(60, dtype=np.uint32) * np.uint32(0x9E3779B9) + first
    expected = hashed(hashed(index, (0,), last=False) ^ second, (1, 2), last=True)
    np.testing.assert_array_equal(draws.bits(key((3, 4)), [60]), expected)
    # Of no use to anyone but to say that they have never changed: a run that goes on sees what it saw.
    assert draws.bits(key((1, 2)), [4]).numpy().tolist() == [1733052416, 1612224675, 1918548109, 2473983705]


def test_numbers_stand_at_their_place_whatever_the_shape():
    flat = draws.bits(key((1, 2)), [5 * 6 * 7])
    np.testing.assert_array_equal(draws.bits(key((1, 2)), [5, 6, 7]), tf.reshape(flat, [5, 6, 7]))


def test_compiled_and_plain_draw_the_same():
    compiled = tf.function(lambda: (draws.bits(key((1, 2)), [99]), draws.normal(key((1, 2)), [999])), jit_compile=True)
    bits, normal = compiled()
    np.testing.assert_array_equal(bits, draws.bits(key((1, 2)), [99]))
    np.testing.assert_allclose(normal, draws.normal(key((1, 2)), [999]), atol=1e-5)


@pytest.mark.parametrize("seed", SEEDS)
def test_uniform_numbers_are_even(seed):
    found = draws.uniform(key(seed), [MANY]).numpy()
    assert 0 < found.min() < 1e-4 < 1 - 1e-4 < found.max() < 1
    assert stats.kstest(found, "uniform").pvalue > 1e-3
    # Each bit on its own, too.
    ones = np.unpackbits(draws.bits(key(seed), [MANY]).numpy().view(np.uint8).reshape(-1, 4), axis=1).mean(axis=0)
    np.testing.assert_allclose(ones, 0.5, atol=5 / np.sqrt(4 * MANY))


@pytest.mark.parametrize("seed", SEEDS)
def test_normal_numbers_are_normal(seed):
    found = draws.normal(key(seed), [MANY]).numpy().astype(np.float64)
    assert stats.kstest(found, "norm").pvalue > 1e-3
    assert abs(stats.skew(found)) < 5 * np.sqrt(6 / MANY)
    assert abs(stats.kurtosis(found)) < 5 * np.sqrt(24 / MANY)
    for level in (2.0, 3.0, 4.0):  # as many as a normal distribution has, far out
        expected = MANY * 2 * stats.norm.sf(level)
        assert abs((np.abs(found) > level).sum() - expected) < 5 * np.sqrt(expected) + 1


@pytest.mark.parametrize("lag", [1, 2, 3, 7, 64, 96, 512, 96 * 96])
def test_neighbours_know_nothing_of_each_other(lag):
    found = draws.normal(key((4, 5)), [MANY]).numpy()
    for one, other in ((found[:-lag], found[lag:]), (np.abs(found[:-lag]), np.abs(found[lag:]))):
        assert abs(np.corrcoef(one, other)[0, 1]) < 5 / np.sqrt(MANY)


def test_seeds_and_names_know_nothing_of_each_other():
    keys = [key((0, number)) for number in range(6)] + [key((number, 0)) for number in range(1, 6)]
    keys += [key((0, 0), name) for name in ("gain", "shift", "scale")]
    found = np.stack([draws.normal(of, [MANY]).numpy() for of in keys])
    assert np.abs(np.corrcoef(found) - np.eye(len(keys))).max() < 5 / np.sqrt(MANY)


def test_the_first_numbers_of_a_row_of_seeds_are_even_and_independent():
    # Training counts its examples: a change's strength is the first number of one seed after the other.
    seeds = tf.stack([tf.zeros(20_000, tf.int32), tf.range(20_000)], axis=1)

    @tf.function(jit_compile=True)
    def first(seeds):
        return tf.map_fn(
            lambda seed: draws.uniform(draws.key(seed, "gain"), [2]), seeds, fn_output_signature=tf.float32
        )

    found = first(seeds).numpy()
    pairs = [(found[:, 0], found[:, 1]), (found[:-1, 0], found[1:, 0]), (found[:-2, 0], found[2:, 0])]
    for one, other in pairs:
        assert stats.kstest(one, "uniform").pvalue > 1e-3
        assert abs(np.corrcoef(one, other)[0, 1]) < 5 / np.sqrt(20_000)


@pytest.mark.parametrize("chance", [0.0, 0.2, 0.5, 1.0])
def test_things_happen_as_often_as_is_said(chance):
    seeds = tf.stack([tf.range(4_000), tf.ones(4_000, tf.int32)], axis=1)
    happened = tf.function(
        lambda: tf.map_fn(lambda s: draws.happens(s, "blur", chance), seeds, fn_output_signature=tf.bool),
        jit_compile=True,
    )()
    assert abs(happened.numpy().mean() - chance) <= 5 * np.sqrt(chance * (1 - chance) / 4_000)
