import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radkit.errors import UserError
from radkit.metrics.drift import drift, drift_categorical

VALUES = st.lists(st.integers(-20, 20).map(float), min_size=1, max_size=40)


@settings(deadline=None, max_examples=60)
@given(VALUES, VALUES, st.integers(1, 12))
def test_plain_loops_agree(reference: list[float], current: list[float], bins: int) -> None:
    found = drift(reference=reference, current=current, bins=bins)
    places = sorted({*reference, *current})
    below = [
        abs(sum(v <= x for v in reference) / len(reference) - sum(v <= x for v in current) / len(current))
        for x in places
    ]
    assert found["ks"] == pytest.approx(max(below))
    # Between two neighbouring values both distribution functions stand still.
    gaps = [after - before for before, after in itertools.pairwise(places)]
    assert found["wasserstein"] == pytest.approx(sum(b * gap for b, gap in zip(below, gaps, strict=False)))
    edges = sorted({-math.inf, *(np.quantile(reference, share) for share in np.linspace(0, 1, bins + 1)[1:-1])})
    index = 0.0
    for low, high in zip(edges, [*edges[1:], math.inf], strict=True):
        p, q = (max(sum(low <= v < high for v in side) / len(side), 1e-4) for side in (reference, current))
        index += (q - p) * math.log(q / p)
    assert found["psi"] == pytest.approx(index)


@settings(deadline=None, max_examples=30)
@given(VALUES)
def test_the_same_values_have_not_drifted(values: list[float]) -> None:
    assert drift(values, values[::-1], bins=10) == pytest.approx({"ks": 0, "ks_p": 1, "psi": 0, "wasserstein": 0})


def test_a_shift_is_its_own_distance() -> None:
    values = np.arange(200.0)
    found = drift(values, values + 30, bins=10)
    assert found["wasserstein"] == pytest.approx(30)
    assert found["ks"] == pytest.approx(0.15)
    # Quarters 50/50/50/50 against 20/50/50/80, worked by hand.
    assert drift(values, values + 30, bins=4)["psi"] == pytest.approx(
        0.15 * (math.log(0.4 / 0.25) - math.log(0.1 / 0.25))
    )


def test_values_outside_the_reference_fall_into_the_outer_bins_and_empty_bins_stay_finite() -> None:
    found = drift([1, 2, 3, 4], [9, 9, 9, 9], bins=2)["psi"]
    assert found == pytest.approx(0.5 * math.log(1 / 0.5) + (1e-4 - 0.5) * math.log(1e-4 / 0.5))


def test_p_values_of_small_samples_are_exact() -> None:
    # Two of the 20 ways to split six values leave all of one side below the other.
    assert drift([1, 2, 3], [4, 5, 6])["ks_p"] == pytest.approx(0.1)


def test_no_values_leave_drift_undefined() -> None:
    assert all(map(math.isnan, drift([], [1.0, 2.0]).values()))
    assert all(map(math.isnan, drift([1.0, 2.0], []).values()))


def test_what_cannot_be_binned_is_refused() -> None:
    with pytest.raises(UserError, match="bins must be at least 1, not 0"):
        drift([1.0], [2.0], bins=0)
    with pytest.raises(UserError, match="current must hold numbers"):
        drift([1.0], [math.nan])
    with pytest.raises(UserError, match="reference must be finite"):
        drift([math.inf], [1.0])


def test_chi_squared_worked_by_hand() -> None:
    found = drift_categorical({"CT": 30, "MR": 20, "CR": 50}, {"MR": 30, "CT": 30, "CR": 40})
    assert found["chi2"] == pytest.approx(0 + 2 * 25 / 25 + 2 * 25 / 45)
    assert found["p"] == pytest.approx(math.exp(-found["chi2"] / 2))  # two degrees of freedom


def test_two_categories_are_corrected_as_yates_did() -> None:
    found = drift_categorical({"F": 30, "M": 20}, {"F": 20, "M": 30})
    assert found["chi2"] == pytest.approx(4 * (5 - 0.5) ** 2 / 25)
    assert found["p"] == pytest.approx(math.erfc(math.sqrt(found["chi2"] / 2)))


def test_a_category_of_one_side_only_counts_and_one_seen_nowhere_does_not() -> None:
    plain = drift_categorical({"GE": 50, "Siemens": 30, "Canon": 0}, {"GE": 40, "Siemens": 30, "Canon": 12})
    assert drift_categorical({"Siemens": 30, "GE": 50, "Philips": 0}, {"GE": 40, "Siemens": 30, "Canon": 12}) == plain
    assert plain["p"] < 0.05


def test_one_category_cannot_drift_and_no_counts_say_nothing() -> None:
    assert drift_categorical({"CT": 5}, {"CT": 90}) == {"chi2": 0.0, "p": 1.0}
    for reference, current in (({}, {"CT": 3}), ({"CT": 3}, {"CT": 0}), ({}, {})):
        assert all(map(math.isnan, drift_categorical(reference, current).values()))


def test_what_is_no_count_is_refused() -> None:
    with pytest.raises(UserError, match="the least is -1"):
        drift_categorical({"CT": -1}, {"CT": 3})
    with pytest.raises(UserError, match="current must hold numbers"):
        drift_categorical({"CT": 1}, {"CT": math.nan})
