import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radkit.metrics import classification, weighted_calls

COUNTS = st.integers(0, 5)


@settings(deadline=None, max_examples=150)
@given(COUNTS, COUNTS, COUNTS, COUNTS)
def test_every_figure_of_four_counts_is_that_of_whole_cases(tp: int, fp: int, fn: int, tn: int) -> None:
    found = weighted_calls.of_counts(np.array([[tp, fp, fn, tn]], float))
    expected = classification.from_counts(tp, fp, fn, tn)
    for name in found.keys() & expected.keys():
        assert found[name][0] == pytest.approx(expected[name], nan_ok=True), name
    assert set(expected) - {"tp", "fp", "fn", "tn"} <= set(found)


def test_likelihood_ratios_by_hand() -> None:
    found = weighted_calls.of_counts(np.array([[8, 1, 2, 9], [0, 0, 3, 4], [2, 3, 1, 0], [2, 0, 1, 3]], float))
    np.testing.assert_allclose(found["lr_plus"], [8, math.nan, 2 / 3, math.inf])
    np.testing.assert_allclose(found["lr_minus"], [2 / 9, 1, math.inf, 1 / 3])


def test_counts_part_a_truth_in_between() -> None:
    found = weighted_calls.counts(
        np.array([1, 0.25, 0]), np.array([True, True, False]), np.array([[1.0, 4, 2], [0, 1, 0]])
    )
    np.testing.assert_allclose(found, [[2, 3, 0, 2], [0.25, 0.75, 0, 0]])


@settings(deadline=None, max_examples=80)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=25))
def test_tables_of_several_classes_are_those_of_cases_copied(cases: list[tuple[int, int, int]]) -> None:
    truth, calls, times = (np.array(part) for part in zip(*cases))
    rows = np.repeat(np.arange(len(cases)), times)
    table = weighted_calls.tables(truth, calls, times[None].astype(float), 4)
    expected = classification.multiclass_metrics(truth[rows], calls[rows], labels=range(4))
    np.testing.assert_array_equal(table[0], expected["confusion"])
    found = weighted_calls.of_tables(table)
    for name in found.keys() & expected.keys():
        assert found[name][0] == pytest.approx(expected[name], nan_ok=True), name
    linear = classification.weighted_kappa(np.array(expected["confusion"]), power=1)
    assert found["kappa_linear"][0] == pytest.approx(linear, nan_ok=True)


def test_no_cases_leave_all_undefined() -> None:
    assert all(np.isnan(values).all() for values in weighted_calls.of_counts(np.zeros((1, 4))).values())
    assert all(np.isnan(values).all() for values in weighted_calls.of_tables(np.zeros((1, 3, 3))).values())
