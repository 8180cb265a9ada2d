import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radkit.errors import UserError
from radkit.metrics.classification import multiclass_metrics
from radkit.metrics.decisions import expected_cost, net_benefit

CASES = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=30)
SCORED = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 10)), min_size=1, max_size=30)


def test_costs_worked_by_hand() -> None:
    # Two missed at 10, one false alarm at 1, of six.
    found = expected_cost(y_true=[1, 1, 1, 0, 0, 0], y_pred=[0, 0, 1, 1, 0, 0], cost=[[0, 1], [10, 0]])
    assert found == pytest.approx(21 / 6)


@settings(deadline=None, max_examples=40)
@given(CASES)
def test_the_mean_cost_is_the_confusion_tables(cases: list[tuple[int, int]]) -> None:
    y_true, y_pred = map(list, zip(*cases))
    cost = np.array([[0, 1, 5], [2, 0, 3], [9, 4, -1]])
    table = np.array(multiclass_metrics(y_true, y_pred, labels=[0, 1, 2])["confusion"])
    assert expected_cost(y_true, y_pred, cost) == pytest.approx((table * cost).sum() / len(cases))


def test_a_call_may_be_to_ask_somebody_else() -> None:
    assert expected_cost([0, 1], [2, 2], cost=[[0, 1, 0.25], [10, 0, 0.75]]) == 0.5


def test_no_cases_cost_nothing_that_is_known() -> None:
    assert math.isnan(expected_cost([], [], cost=[[0, 1], [1, 0]]))


def test_a_call_without_a_cost_is_refused() -> None:
    with pytest.raises(UserError, match="y_pred holds 2"):
        expected_cost([0, 1], [0, 2], cost=[[0, 1], [1, 0]])
    with pytest.raises(UserError, match="finite"):
        expected_cost([0, 1], [0, 1], cost=[[0, 1], [math.inf, 0]])
    with pytest.raises(UserError, match="lengths differ"):
        expected_cost([0, 1], [0], cost=[[0, 1], [1, 0]])


def test_net_benefit_worked_by_hand() -> None:
    # At 0.2: 3 true positives and 2 false, each worth a quarter of one, of 8.
    prob = [0.9, 0.3, 0.2, 0.1, 0.5, 0.25, 0.1, 0.0]
    assert net_benefit([1, 1, 1, 1, 0, 0, 0, 0], prob, threshold=0.2) == pytest.approx((3 - 2 / 4) / 8)


@settings(deadline=None, max_examples=40)
@given(SCORED, st.integers(0, 9))
def test_treating_everybody_is_the_curve_at_the_lowest_probability(cases: list[tuple[int, int]], tenth: int) -> None:
    truth, threshold = np.array([case[0] for case in cases]), tenth / 10
    everybody = truth.mean() - (1 - truth.mean()) * threshold / (1 - threshold)
    assert net_benefit(truth, np.ones(truth.size), threshold) == pytest.approx(everybody)
    assert net_benefit(truth, np.zeros(truth.size), 0.5) == 0


def test_without_positives_benefit_can_only_be_lost() -> None:
    assert net_benefit([0, 0], [0.9, 0.1], threshold=0.5) == -0.5


def test_net_benefit_without_cases_or_at_certainty_is_undefined() -> None:
    assert math.isnan(net_benefit([], [], threshold=0.5))
    assert math.isnan(net_benefit([1, 0], [1.0, 0.2], threshold=1))


def test_thresholds_and_scores_must_be_probabilities() -> None:
    with pytest.raises(UserError, match="threshold must be a probability"):
        net_benefit([1, 0], [0.5, 0.2], threshold=1.5)
    with pytest.raises(UserError, match="sigmoid"):
        net_benefit([1, 0], [3.5, 0.2], threshold=0.5)
