import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle

from radkit.errors import UserError
from radkit.metrics.fairness import fairness

CASES = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1), st.sampled_from("abc")), min_size=6, max_size=40)


def test_two_groups_worked_by_hand() -> None:
    # a: 2 of 3 found, 1 of 2 false, 3 of 5 called. b: 1 of 3 found, none false, 1 of 5 called.
    y_true = [1, 1, 1, 0, 0] * 2
    y_pred = [1, 1, 0, 1, 0] + [1, 0, 0, 0, 0]
    found = fairness(y_true=y_true, y_pred=y_pred, group=["a"] * 5 + ["b"] * 5)
    assert found["tpr"] == pytest.approx({"a": 2 / 3, "b": 1 / 3})
    assert found["fpr"] == {"a": 0.5, "b": 0}
    assert found["n"] == {"a": 5, "b": 5}
    assert found["demographic_parity_difference"] == pytest.approx(0.4)
    assert found["tpr_difference"] == pytest.approx(1 / 3)
    assert found["equalized_odds_difference"] == 0.5
    assert found["num_undefined"] == 0


@settings(deadline=None, max_examples=60)
@given(CASES)
def test_gaps_agree_with_rates_counted_by_scikit_learn(cases: list[tuple[int, int, str]]) -> None:
    truth, calls, group = (np.array(part) for part in zip(*cases))
    names = np.unique(group)
    assume(names.size > 1 and all(np.unique(truth[group == name]).size == 2 for name in names))
    rows = [group == name for name in names]
    tpr = [oracle.recall_score(truth[row], calls[row]) for row in rows]
    fpr = [1 - oracle.recall_score(truth[row], calls[row], pos_label=0) for row in rows]
    called = [calls[row].mean() for row in rows]
    found = fairness(truth, calls, group)
    assert found["demographic_parity_difference"] == pytest.approx(np.ptp(called))
    assert found["equalized_odds_difference"] == pytest.approx(max(np.ptp(tpr), np.ptp(fpr)))
    assert list(found["tpr"].values()) == pytest.approx(tpr)


def test_fairlearns_own_figures() -> None:
    # fairlearn 0.15.0: demographic_parity_difference, equalized_odds_difference.
    generator = np.random.default_rng(7)
    truth, calls = generator.integers(0, 2, (2, 60))
    found = fairness(truth, calls, generator.choice(["f", "m", "x"], 60))
    assert found["demographic_parity_difference"] == pytest.approx(0.02941176470588236, abs=1e-12)
    assert found["equalized_odds_difference"] == pytest.approx(0.4714285714285715, abs=1e-12)


def test_a_group_without_positives_is_left_out_not_taken_as_0() -> None:
    found = fairness([1, 0, 1, 0, 0, 0], [1, 0, 1, 1, 0, 0], ["a", "a", "b", "b", "c", "c"])
    assert math.isnan(found["tpr"]["c"])
    assert (found["tpr_difference"], found["num_undefined"]) == (0, 1)
    assert found["equalized_odds_difference"] == 1


def test_a_gap_of_which_one_side_is_unknown_is_undefined() -> None:
    found = fairness([1, 0, 0, 0], [1, 0, 1, 0], ["a", "a", "b", "b"])
    assert math.isnan(found["equalized_odds_difference"])
    assert found["fpr_difference"] == 0.5


def test_one_group_or_none_has_no_gap() -> None:
    for found in (fairness([1, 0], [1, 0], [7, 7]), fairness([], [], [])):
        assert math.isnan(found["demographic_parity_difference"])
        assert math.isnan(found["equalized_odds_difference"])
    assert fairness([1, 0], [1, 0], np.array([7, 7]))["tpr"] == {7: 1.0}


def test_missing_groups_are_refused() -> None:
    for missing in (["a", None], [1.0, math.nan]):
        with pytest.raises(UserError, match="1 are missing; give those a name"):
            fairness([1, 0], [1, 0], missing)
    with pytest.raises(UserError, match="lengths differ"):
        fairness([1, 0], [1, 0], ["a"])
