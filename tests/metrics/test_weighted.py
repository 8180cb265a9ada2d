import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle

from radkit.metrics import roc, roc_areas, weighted

# Truth, score (with ties) and how often a case counts.
CASES = st.lists(st.tuples(st.booleans(), st.integers(0, 6), st.integers(0, 3)), min_size=1, max_size=25)


def copied(cases: list[tuple[bool, int, int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Cases, and how often each is there in a table that lists it so often."""
    truth, score, times = (np.array(part) for part in zip(*cases))
    rows = np.repeat(np.arange(len(cases)), times)
    return truth, score.astype(float), times[None].astype(float), rows


def parted(truth: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every case as a yes and a no, with their weights: what scikit-learn makes of a truth in between."""
    return np.repeat([1, 0], truth.size), np.tile(score, 2), np.concatenate([truth, 1 - truth])


@settings(deadline=None, max_examples=100)
@given(CASES)
def test_a_case_of_weight_2_counts_as_if_it_were_there_twice(cases: list[tuple[bool, int, int]]) -> None:
    truth, score, weights, rows = copied(cases)
    same, its = truth[rows], score[rows]
    assert weighted.auc(truth, score, weights)[0] == pytest.approx(roc.auc(same, its), nan_ok=True)
    found = weighted.average_precision(truth, score, weights)[0]
    assert found == pytest.approx(roc.average_precision(same, its), nan_ok=True)
    for focus in ("specificity", "sensitivity"):
        area = weighted.partial_area(truth, score, weights, focus, (0.3, 0.9))
        expected = roc_areas.partial_auc(same, its, focus, (0.3, 0.9))
        assert area[0] == pytest.approx(expected["raw"], nan_ok=True)
        corrected = weighted.corrected_area(area, (0.3, 0.9))[0]
        assert corrected == pytest.approx(expected["mcclish"], nan_ok=True)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 6), st.floats(0.1, 3)), min_size=2, max_size=25))
def test_truths_in_between_agree_with_scikit_learn(cases: list[tuple[int, int, float]]) -> None:
    truth, score, weight = (np.array(part, float) for part in zip(*cases))
    truth = truth / 4
    assume(0 < truth.sum() < truth.size)
    twice, its, share = parted(truth, score)
    of = share * np.tile(weight, 2)
    found = weighted.auc(truth, score, weight[None])[0]
    assert found == pytest.approx(oracle.roc_auc_score(twice, its, sample_weight=of))
    found = weighted.average_precision(truth, score, weight[None])[0]
    assert found == pytest.approx(oracle.average_precision_score(twice, its, sample_weight=of))


def test_neither_the_order_of_cases_nor_the_block_of_a_draw_matters() -> None:
    generator = np.random.default_rng(0)
    truth, score = generator.random(500) < 0.4, generator.integers(0, 50, 500).astype(float)
    weights = generator.integers(0, 3, (1200, 500)).astype(float)  # 500 x 1200 numbers are more than one block
    order = generator.permutation(500)
    for figure in (weighted.auc, weighted.average_precision):
        found = figure(truth, score, weights)
        np.testing.assert_allclose(found, figure(truth[order], score[order], weights[:, order]), rtol=1e-12)
        assert found[700] == figure(truth, score, weights[700:701])[0]


def test_infinite_scores_have_a_rank() -> None:
    found = weighted.auc(np.array([0, 1, 1]), np.array([-math.inf, math.inf, math.inf]), np.ones((1, 3)))
    assert found[0] == 1


@pytest.mark.parametrize("truth", [[0, 0], [1, 1], []])
def test_one_class_has_no_area(truth: list[int]) -> None:
    score, weights = np.linspace(0, 1, len(truth)), np.ones((2, len(truth)))
    assert np.isnan(weighted.auc(np.array(truth), score, weights)).all()
    assert np.isnan(weighted.partial_area(np.array(truth), score, weights, "specificity", (0.9, 1))).all()
    precision = weighted.average_precision(np.array(truth), score, weights)
    assert precision.tolist() == [1, 1] if any(truth) else np.isnan(precision).all()


def test_no_draws_give_no_values() -> None:
    assert weighted.auc(np.array([0, 1]), np.array([0.1, 0.2]), np.ones((0, 2))).shape == (0,)


def test_a_draw_that_misses_a_class_is_undefined_and_the_others_are_not() -> None:
    found = weighted.auc(np.array([0, 1]), np.array([0.1, 0.2]), np.array([[1.0, 1], [0, 2], [2, 1]]))
    np.testing.assert_array_equal(found, [1, math.nan, 1])
