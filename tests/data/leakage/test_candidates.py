"""Who shares places is found, whatever stands around; who must not be compared is not."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from radkit.data.leakage import candidates

FEATURES = 40


def made(records, places, copies_of, seed=0):
    """Random places of records; record `copy` has those of `copies_of[copy]`, slightly changed, at twice the scale."""
    random = np.random.default_rng(seed)
    descriptors = random.normal(size=(records, places, FEATURES))
    scales = np.exp(random.uniform(0, 2, (records, places)))
    for copy, original in copies_of.items():
        descriptors[copy] = descriptors[original] + random.normal(0, 0.1, (places, FEATURES))
        scales[copy] = 2 * scales[original]
    descriptors /= np.linalg.norm(descriptors, axis=-1, keepdims=True)
    owners = np.repeat(np.arange(records), places)
    return descriptors.reshape(-1, FEATURES).astype(np.float16), scales.ravel(), owners


@given(st.integers(0, 1000))
@settings(max_examples=10)
def test_copies_are_found(seed):
    copies_of = {30 + n: n for n in range(10)}
    found = candidates.find(*made(40, 20, copies_of, seed), np.arange(40))
    assert {(original, copy) for copy, original in copies_of.items()} <= set(found)
    assert found == sorted(set(found))
    assert all(a < b for a, b in found)


def test_records_of_one_value_are_not_compared():
    given_ = made(40, 20, {39: 0, 38: 1})
    apart = np.arange(40)
    apart[39] = 0
    found = candidates.find(*given_, apart)
    assert (0, 39) not in found
    assert (1, 38) in found


def test_a_record_has_few_partners_though_many_look_alike():
    found = candidates.find(*made(40, 20, dict.fromkeys(range(20, 40), 0)), np.arange(40))
    first = [a for a, _ in found]
    assert len(found) <= 40 * candidates.EACH
    assert set(range(20, 40)) <= {n for pair in found for n in pair}
    assert first == sorted(first)


def test_the_nearest_are_those_of_a_full_comparison():
    descriptors, _, owners = made(60, 30, {50 + n: n for n in range(10)})
    points = candidates._projected(descriptors)
    ((places, neighbours),) = candidates._nearest(points, owners)
    distances = np.square(points[:, None] - points).sum(-1)
    distances[owners[:, None] == owners] = np.inf
    nearest = distances.argmin(1)
    is_copied = (owners < 10) | (owners >= 50)
    found = (neighbours == nearest[places][:, None]).any(1)
    assert found[is_copied].mean() > 0.95


def test_nothing_gives_nothing():
    assert candidates.find(np.zeros((0, 4)), np.zeros(0), np.zeros(0, int), np.zeros(0)) == []
    one = made(1, 5, {})
    assert candidates.find(*one, np.zeros(1)) == []


def test_the_same_input_gives_the_same_pairs():
    given_ = made(50, 20, {40 + n: n for n in range(10)})
    assert candidates.find(*given_, np.arange(50)) == candidates.find(*given_, np.arange(50))
