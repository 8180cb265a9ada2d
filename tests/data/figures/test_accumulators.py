"""Against numpy and exact fractions: sums, extremes, percentiles of any numbers, however they are dealt."""

import json
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radkit.data.figures import accumulators
from radkit.data.figures.accumulators import Moments, Values

SHARES = (0.0, 0.5, 25.0, 50.0, 99.5, 100.0)
floats = st.floats(allow_nan=False, allow_infinity=False)
lists = st.lists(floats, min_size=1, max_size=60)


def dealt(numbers: list[float], seed: int) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    shuffled = random.permutation(np.array(numbers))
    return np.array_split(shuffled, random.integers(1, 6))


def through_json(values: Values) -> Values:
    return Values.from_json(json.loads(json.dumps(values.to_json())))


@given(lists, st.integers(0, 99))
def test_sums_are_exact_and_no_order_of_adding_changes_them(numbers: list[float], seed: int) -> None:
    parts = [accumulators.moments(part) for part in dealt(numbers, seed)]
    found = sum(parts, Moments())
    exact = [Fraction(number) for number in numbers]
    assert Fraction(found.total, 2**accumulators._UNIT) == sum(exact)
    assert Fraction(found.squares, 4**accumulators._UNIT) == sum(number**2 for number in exact)
    assert (found.count, found.least, found.most) == (len(numbers), min(numbers), max(numbers))
    assert Moments.from_json(json.loads(json.dumps(found.to_json()))) == found
    assert found == accumulators.moments(np.array(numbers))


@given(st.lists(st.tuples(floats, st.integers(1, 2**40)), min_size=1, max_size=20))
def test_a_number_that_occurs_often_is_added_as_often(pairs: list[tuple[float, int]]) -> None:
    numbers, counts = np.array([n for n, _ in pairs]), np.array([c for _, c in pairs], np.int64)
    found = accumulators.moments(numbers, counts)
    assert found.count == counts.sum()
    assert Fraction(found.total, 2**accumulators._UNIT) == sum(Fraction(n) * c for n, c in pairs)
    assert Fraction(found.squares, 4**accumulators._UNIT) == sum(Fraction(n) ** 2 * c for n, c in pairs)


def test_mean_and_deviation_do_not_lose_what_floats_lose() -> None:
    # Around 1e9, the spread of 1 is lost in the squares' last digits: worked by hand, mean 1e9, deviation sqrt(2 / 3).
    found = accumulators.moments(np.array([1e9 - 1, 1e9, 1e9 + 1]))
    assert found.mean == 1e9
    assert found.std == pytest.approx((2 / 3) ** 0.5, rel=1e-15)


@given(lists, st.integers(0, 99))
def test_percentiles_are_numpy_s_to_the_last_bit(numbers: list[float], seed: int) -> None:
    merged = accumulators.merge([through_json(Values.of(part)) for part in dealt(numbers, seed)])
    assert not accumulators.unresolved([merged], SHARES).size
    with np.errstate(over="ignore", invalid="ignore"):
        for share in SHARES:
            expected = np.percentile(np.array(numbers), share)
            if np.isfinite(expected):  # numpy's own overflows between the largest floats
                assert accumulators.percentile([merged], share) == expected


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accumulators, "MOST", 40)


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("scale", [1.0, 1e-3, 1e9])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("seed", range(3))
def test_more_numbers_than_are_held_are_resolved_by_further_looks(scale: float, kind: type, seed: int) -> None:
    random = np.random.default_rng(seed)
    # Many near each other, so that a second look finds too many within one beginning, too.
    numbers = np.concatenate([random.normal(0, scale, 3000), scale + random.normal(0, scale * 1e-6, 3000), [0.0] * 50])
    numbers = numbers.astype(kind).astype(np.float64)
    shards = [random.permutation(part) for part in np.array_split(random.permutation(numbers), 7)]
    looks = [accumulators.merge([through_json(Values.of(shard)) for shard in shards])]
    assert looks[0].shortened is not None
    for look in (1, 2):
        asked = accumulators.unresolved(looks, SHARES)
        if not asked.size:
            break
        for share in SHARES:
            rough, exact = accumulators.percentile(looks, share), np.percentile(numbers, share)
            assert abs(rough - exact) <= 2**-12 * abs(exact) + 1e-300
        looks.append(accumulators.merge([through_json(Values.within(s, None, asked, look)) for s in shards]))
    assert not accumulators.unresolved(looks, SHARES).size
    for share in SHARES:
        assert accumulators.percentile(looks, share) == np.percentile(numbers, share)
    assert looks[0].moments == accumulators.moments(numbers)


@pytest.mark.usefixtures("few")
@given(st.lists(st.integers(-60, 60), min_size=1, max_size=200), st.integers(0, 99))
@settings(max_examples=50)
def test_whether_numbers_are_shortened_depends_on_all_of_them_alone(numbers: list[int], seed: int) -> None:
    together = Values.of(np.array(numbers, np.float64))
    merged = accumulators.merge([Values.of(part) for part in dealt([float(n) for n in numbers], seed)])
    np.testing.assert_array_equal(merged.keys, together.keys)
    np.testing.assert_array_equal(merged.counts, together.counts)
    assert merged.shortened == together.shortened


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("scale", [1.0, 1e-200])
def test_the_quick_way_to_add_to_shortened_numbers_gives_the_same(scale: float) -> None:
    random = np.random.default_rng(0)
    first, more = random.normal(0, scale, 100), random.normal(1, 1, 500)
    quick, slow = (accumulators.merge([Values.of(first), way(more)]) for way in (Values.short, Values.of))
    np.testing.assert_array_equal(quick.keys, slow.keys)
    np.testing.assert_array_equal(quick.counts, slow.counts)
    assert quick.shortened == slow.shortened


def test_histograms_are_numpy_s() -> None:
    numbers = np.random.default_rng(0).normal(0, 100, 5000).round(1)
    expected, _ = np.histogram(numbers, bins=16, range=(-100.0, 150.0))
    assert accumulators.histogram(Values.of(numbers), -100.0, 150.0, 16) == expected.tolist()
    assert accumulators.histogram(Values.of(np.array([3.0, 3.0])), 3.0, 3.0, 4) == [2, 0, 0, 0]


def test_nothing_is_nothing() -> None:
    none = accumulators.merge([])
    assert (none.count, none.moments) == (0, Moments())
    assert not accumulators.unresolved([none], SHARES).size
    assert through_json(none).count == 0


def test_zero_below_zero_is_zero() -> None:
    assert Values.of(np.array([-0.0, 0.0])).counts.tolist() == [2]
