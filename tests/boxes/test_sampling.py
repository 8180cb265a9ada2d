"""Which places count: how many, which, and that order is what was asked for."""

import numpy as np
import pytest
import tensorflow as tf

from radkit.boxes import sampling
from radkit.errors import UserError

RANDOM = np.random.default_rng(0)
MATCHED = np.stack([
    RANDOM.permutation(np.repeat([0, -1, -2], [5, 60, 35])),
    np.repeat([-1, -2], [90, 10]),
    np.repeat([3, -1], [97, 3]),
]).astype(np.int32)  # fmt: skip
ORDER = RANDOM.permutation(300).reshape(3, 100).astype(np.float32)


def first(among: np.ndarray, order: np.ndarray, count: int) -> set[int]:
    numbers = np.flatnonzero(among)
    return set(numbers[np.argsort(-order[numbers])][:count])


def test_balanced_takes_the_first_of_both_kinds() -> None:
    found = sampling.balanced(MATCHED, ORDER, number=20, share=0.5).numpy()
    assert set(np.unique(found)) == {0.0, 1.0}
    for weights, matched, order, positive, background in zip(found, MATCHED, ORDER, (5, 0, 10), (15, 20, 3)):
        wanted = first(matched >= 0, order, positive) | first(matched == -1, order, background)
        assert set(np.flatnonzero(weights)) == wanted


def test_hard_negatives_are_those_that_cost_most() -> None:
    found = sampling.hard_negatives(MATCHED, ORDER, ratio=3, least=8).numpy()
    for weights, matched, order, background in zip(found, MATCHED, ORDER, (15, 8, 3)):
        wanted = set(np.flatnonzero(matched >= 0)) | first(matched == -1, order, background)
        assert set(np.flatnonzero(weights)) == wanted
    assert sampling.hard_negatives(MATCHED, ORDER, least=8, most=10).numpy()[0].sum() == 5 + 10


def test_compiled_and_with_free_sizes_the_same_places_count() -> None:
    def both(matched: tf.Tensor, order: tf.Tensor) -> list[tf.Tensor]:
        mixed = sampling.shuffled(order)
        return [sampling.balanced(matched, mixed), sampling.hard_negatives(matched, order), mixed]

    wanted = both(tf.constant(MATCHED), tf.constant(ORDER))
    free = [tf.TensorSpec((None, None), tf.int32), tf.TensorSpec((None, None))]
    for run in (tf.function(both, jit_compile=True), tf.function(both, input_signature=free)):
        for one, other in zip(run(tf.constant(MATCHED), tf.constant(ORDER)), wanted):
            np.testing.assert_array_equal(one, other)


def test_a_shuffled_order_is_as_good_as_drawn() -> None:
    same = sampling.shuffled(np.full((2, 20_000), -4.595, np.float32)).numpy()
    np.testing.assert_array_equal(same[0], same[1])
    assert len(np.unique(same[0])) > 19_900
    shares = np.histogram(same[0], bins=10, range=(0, 2**24))[0] / 20_000
    assert abs(shares - 0.1).max() < 0.01
    assert abs(np.corrcoef(same[0], np.arange(20_000))[0, 1]) < 0.03
    assert abs(np.corrcoef(same[0, 1:], same[0, :-1])[0, 1]) < 0.03
    logits = np.random.default_rng(1).normal(-4, 1, (1, 20_000)).astype(np.float32)
    found, moved = sampling.shuffled(logits).numpy()[0], sampling.shuffled(logits + 1e-3).numpy()[0]
    assert abs(np.corrcoef(found, logits[0])[0, 1]) < 0.03  # neither sure nor unsure places come first
    assert abs(np.corrcoef(found, moved)[0, 1]) < 0.03


def test_what_is_no_sample_is_refused() -> None:
    with pytest.raises(UserError, match=r"number=0, share=0.5"):
        sampling.balanced(MATCHED, ORDER, number=0)
    with pytest.raises(UserError, match=r"least=9, most=8"):
        sampling.hard_negatives(MATCHED, ORDER, least=9, most=8)
