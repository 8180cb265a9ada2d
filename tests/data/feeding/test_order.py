"""The order of records: each once an epoch, or as often as its weight says; any example at once."""

import collections
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from radkit.data.feeding import order

SEEDS = st.integers(0, 2**31 - 1)


@given(SEEDS, st.integers(1, 50), st.integers(0, 10**12))
def test_each_record_comes_once_an_epoch(seed: int, count: int, epoch: int) -> None:
    one = order.Order([7 * n for n in range(count)], np.full(count, 3.0), seed)
    seen = [one.record(epoch * count + n) for n in range(count)]
    assert sorted(seen) == [7 * n for n in range(count)]


@given(SEEDS, st.lists(st.floats(0.01, 100), min_size=1, max_size=30), st.integers(0, 1000))
def test_each_record_comes_as_often_as_its_weight_says(seed: int, weights: list[float], epoch: int) -> None:
    count = len(weights)
    one = order.Order(range(count), np.array(weights), seed)
    seen = collections.Counter(one.record(epoch * count + n) for n in range(count))
    for record, weight in enumerate(weights):
        assert abs(seen[record] - count * weight / sum(weights)) < 1 + 1e-6


def test_over_epochs_the_shares_are_exact() -> None:
    weights = np.array([1.0] * 90 + [9.0] * 10)
    one = order.Order(range(100), weights, 5)
    seen = np.bincount([one.record(n) for n in range(100 * 400)], minlength=100) / 400
    np.testing.assert_allclose(seen, 100 * weights / weights.sum(), atol=0.11)
    assert seen[90:].sum() == pytest.approx(50, abs=0.01)


def test_a_record_of_weight_0_never_comes() -> None:
    one = order.Order(range(4), np.array([1.0, 0.0, 3.0, 0.0]), 1)
    assert {one.record(n) for n in range(4000)} == {0, 2}


def test_epochs_and_seeds_differ_and_no_example_needs_those_before_it() -> None:
    one, count = order.Order(range(40), np.ones(40), 3), 40
    forward = [one.record(n) for n in range(5 * count)]
    backward = [order.Order(range(40), np.ones(40), 3).record(n) for n in reversed(range(5 * count))]
    assert forward == backward[::-1]
    epochs = [tuple(forward[i : i + count]) for i in range(0, 5 * count, count)]
    assert len({*epochs, tuple(order.Order(range(40), np.ones(40), 4).record(n) for n in range(count))}) == 6


def test_orders_of_four_records_are_all_as_likely() -> None:
    one = order.Order(range(4), np.ones(4), 9)
    seen = collections.Counter(tuple(one.record(4 * epoch + n) for n in range(4)) for epoch in range(24 * 200))
    assert set(seen) == set(itertools.permutations(range(4)))
    chi_squared = sum((count - 200) ** 2 / 200 for count in seen.values())
    assert chi_squared < 49.7  # 23 degrees of freedom, p = 0.001


def test_draws_are_uniform_and_independent() -> None:
    drawn = np.array([[order.drawn(5, n, what) for what in range(3)] for n in range(20000)])
    counts = [np.histogram(column, 20, (0, 1))[0] for column in drawn.T]
    assert all(((count - 1000) ** 2 / 1000).sum() < 43.8 for count in counts)  # 19 degrees of freedom, p = 0.001
    assert np.abs(np.corrcoef(drawn.T) - np.eye(3)).max() < 0.03
    assert abs(np.corrcoef(drawn[1:, 0], drawn[:-1, 0])[0, 1]) < 0.03


@given(st.lists(st.integers(0, 2**64 - 1), max_size=3), st.integers(1, 20))
def test_many_are_the_single_ones(numbers: list[int], count: int) -> None:
    np.testing.assert_array_equal(order.many(count, *numbers), [order.drawn(*numbers, n) for n in range(count)])


def test_draws_stay_what_they_are() -> None:
    # Another value would give every run other batches: that is a change for the change log.
    assert order.drawn(1, 2, 3) == 0.4175580595044027
    assert [order.Order(range(6), np.ones(6), 7).record(n) for n in range(6)] == [1, 0, 4, 2, 3, 5]


@given(st.lists(st.integers(0, 5), min_size=1, max_size=30), st.integers(1, 8))
def test_hosts_share_all_records_and_no_record_twice(shards: list[int], num_hosts: int) -> None:
    shards = sorted(shards)
    held = [order.of_host(shards, host, num_hosts) for host in range(num_hosts)]
    assert sorted(itertools.chain(*held)) == list(range(len(shards)))
    if len(set(shards)) >= num_hosts:  # whole shards
        whose = [{shards[n] for n in numbers} for numbers in held]
        assert all(not a & b for a, b in itertools.combinations(whose, 2))
        assert all(held)
