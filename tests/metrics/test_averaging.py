import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radkit.errors import UserError
from radkit.metrics.averaging import fedavg


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 50), st.floats(-5, 5), st.floats(-5, 5)), min_size=1, max_size=6))
def test_every_sample_counts_once(sites: list[tuple[int, float, float]]) -> None:
    found = fedavg(weights=[[a, b] for _, a, b in sites], n=[n for n, _, _ in sites])
    samples = [(a, b) for n, a, b in sites for _ in range(n)]
    if samples:
        assert found == pytest.approx(np.mean(samples, axis=0))
    else:
        assert all(map(math.isnan, found))


def test_weights_keep_their_form_and_dtype() -> None:
    sites = [{"dense": [np.full((2, 3), 4.0, np.float32), np.array([1, 2])], "scale": 2.0} for _ in range(2)]
    sites[1]["dense"][0] = sites[1]["dense"][0] * 2
    found = fedavg(sites, n=[1, 3])
    assert found["dense"][0].dtype == np.float32
    assert found["dense"][0].tolist() == np.full((2, 3), 7.0).tolist()
    assert found["dense"][1].dtype == np.float64
    assert found["dense"][1].tolist() == [1.0, 2.0]
    assert found["scale"] == 2.0


def test_many_small_sites_lose_nothing_to_rounding() -> None:
    sites = np.full((5000, 1), 0.1, np.float32)
    assert fedavg(sites, n=np.ones(5000)).tolist() == [np.float32(0.1)]


def test_a_site_without_samples_may_hold_anything() -> None:
    assert fedavg([[1.0, 2.0], [math.nan, math.inf]], n=[5, 0]) == [1.0, 2.0]
    assert all(map(math.isnan, fedavg([[1.0, 2.0]], n=[0])))


@pytest.mark.parametrize(
    ("weights", "n", "message"),
    [
        ([], [], "at least one site"),
        ([[1.0], [2.0]], [1, -1], "samples >= 0"),
        ([[1.0]], [1, 2], "lengths differ"),
        ([[1.0], [1.0, 2.0]], [1, 2], "site 1 has 2, the first 1"),
        ([[np.zeros(2)], [np.zeros(3)]], [1, 2], r"weights\[0\] must be built alike"),
        ([{"a": 1.0}, {"b": 1.0}], [1, 2], "built alike"),
    ],
)
def test_what_cannot_be_averaged_is_refused(weights: list[object], n: list[int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        fedavg(weights, n)
