import itertools
import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as oracle

from radkit.errors import UserError
from radkit.metrics import METRICS
from radkit.metrics.agreement import fleiss_kappa, lin_ccc, spearman

# Psychiatric diagnoses of 10 patients by 14 readers, of five categories (the textbook's example).
DIAGNOSES = [
    [0, 0, 0, 0, 14],
    [0, 2, 6, 4, 2],
    [0, 0, 3, 5, 6],
    [0, 3, 9, 2, 0],
    [2, 2, 8, 1, 1],
    [7, 7, 0, 0, 0],
    [3, 2, 6, 3, 0],
    [2, 5, 3, 2, 2],
    [6, 5, 2, 1, 0],
    [0, 2, 2, 3, 7],
]
PAIRS = st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=3, max_size=25)
RATINGS = st.lists(st.tuples(st.integers(1, 4), st.integers(1, 4)), min_size=2, max_size=30)


@settings(deadline=None, max_examples=60)
@given(RATINGS)
def test_kappa_agrees_with_scikit_learn(ratings: list[tuple[int, int]]) -> None:
    a, b = map(list, zip(*ratings))
    assume(len({*a, *b}) > 1)
    found = METRICS["cohen_kappa"](a=a, b=b)
    for name, weights in (("unweighted", None), ("linear", "linear"), ("quadratic", "quadratic")):
        assert found[name] == pytest.approx(oracle.cohen_kappa_score(a, b, weights=weights), abs=1e-12), name


def test_an_unused_category_counts_when_it_is_named() -> None:
    found = METRICS["cohen_kappa"](a=[1, 1, 4], b=[1, 2, 2], labels=[1, 2, 3, 4])
    assert found["linear"] == pytest.approx(
        oracle.cohen_kappa_score([1, 1, 4], [1, 2, 2], labels=[1, 2, 3, 4], weights="linear")
    )


def test_one_category_only_is_undefined() -> None:
    assert all(math.isnan(value) for value in METRICS["cohen_kappa"](a=["x", "x"], b=["x", "x"]).values())
    assert all(math.isnan(value) for value in METRICS["cohen_kappa"](a=[], b=[]).values())


def test_limits_of_agreement_worked_by_hand() -> None:
    # Differences 1, 2, 3: mean 2, standard deviation 1.
    found = METRICS["bland_altman"](a=[2, 4, 6], b=[1, 2, 3])
    expected = {
        "bias": 2.0,
        "sd": 1.0,
        "loa_low": 0.04,
        "loa_high": 3.96,
        "repeatability_coefficient": 1.96 * math.sqrt(2) * math.sqrt(14 / 6),
    }
    assert {key: found[key] for key in expected} == pytest.approx(expected)


def test_the_bias_interval_is_students() -> None:
    a, b = np.random.default_rng(1).normal(size=(2, 20))
    found = METRICS["bland_altman"](a=a, b=b)
    low, high = stats.ttest_rel(a, b).confidence_interval(0.95)
    assert (found["bias_ci_low"], found["bias_ci_high"]) == pytest.approx((low, high))


def test_one_case_has_a_bias_without_limits() -> None:
    found = METRICS["bland_altman"](a=[3.0], b=[1.0])
    assert found["bias"] == 2
    assert all(math.isnan(found[key]) for key in ("sd", "loa_low", "bias_ci_high"))
    assert all(math.isnan(value) for value in METRICS["bland_altman"](a=[], b=[]).values())


def test_kappa_of_many_readers_agrees_with_statsmodels() -> None:
    # statsmodels 0.15.0, inter_rater.fleiss_kappa.
    assert fleiss_kappa(table=DIAGNOSES) == pytest.approx(0.20993070442195522, abs=1e-12)


@settings(deadline=None, max_examples=60)
@given(st.integers(2, 5), st.lists(st.lists(st.integers(0, 2), min_size=5, max_size=5), min_size=1, max_size=12))
def test_kappa_of_many_readers_counts_pairs_that_agree(readers: int, calls: list[list[int]]) -> None:
    calls = [of_subject[:readers] for of_subject in calls]
    assume(len({call for of_subject in calls for call in of_subject}) > 1)
    table = np.array([np.bincount(of_subject, minlength=3) for of_subject in calls])
    agreeing = [x == y for of_subject in calls for x, y in itertools.combinations(of_subject, 2)]
    chance = float(((table.sum(axis=0) / table.sum()) ** 2).sum())
    assert fleiss_kappa(table) == pytest.approx((np.mean(agreeing) - chance) / (1 - chance))


def test_kappa_of_many_readers_is_undefined_without_a_second_category_or_reader() -> None:
    for table in ([[3, 0], [3, 0]], [[1, 0], [0, 1]], np.zeros((0, 2))):
        assert math.isnan(fleiss_kappa(table))


def test_every_subject_needs_as_many_readers() -> None:
    with pytest.raises(UserError, match="run from 2 to 3"):
        fleiss_kappa([[3, 0], [1, 1]])
    with pytest.raises(UserError, match="hold counts"):
        fleiss_kappa([[3, -1]])


@settings(deadline=None, max_examples=60)
@given(PAIRS)
def test_concordance_is_how_much_nearer_pairs_lie_than_any_two(pairs: list[tuple[int, int]]) -> None:
    a, b = (np.array(part, dtype=float) for part in zip(*pairs))
    assume(np.ptp(np.append(a, b)) > 0)
    of_any = float(np.mean(np.subtract.outer(a, b) ** 2))
    assert lin_ccc(a=a, b=b) == pytest.approx(1 - float(np.mean((a - b) ** 2)) / of_any)
    assert lin_ccc(a, b) == pytest.approx(lin_ccc(b, a))


def test_a_shift_lowers_concordance_but_not_rank_correlation() -> None:
    # Variance 2/3 each, covariance 2/3, means 1 apart.
    assert lin_ccc([1, 2, 3], [2, 3, 4]) == pytest.approx(4 / 7)
    assert spearman([1, 2, 3], [2, 3, 4]) == {"rho": 1.0, "p": 0.0}


def test_concordance_of_one_value_is_undefined_and_of_a_constant_with_others_0() -> None:
    assert all(math.isnan(lin_ccc(a, b)) for a, b in (([], []), ([1.0], [2.0]), ([2, 2], [2, 2])))
    assert lin_ccc([2, 2], [1, 3]) == 0


@settings(deadline=None, max_examples=60)
@given(PAIRS)
def test_rank_correlation_agrees_with_scipy(pairs: list[tuple[int, int]]) -> None:
    a, b = map(list, zip(*pairs))
    assume(len(set(a)) > 1 and len(set(b)) > 1)
    found, expected = spearman(a=a, b=b), stats.spearmanr(a, b)
    assert found["rho"] == pytest.approx(expected.statistic, abs=1e-12)
    assert found["p"] == pytest.approx(expected.pvalue, abs=1e-9)


def test_rank_correlation_with_one_value_or_two_cases_is_undefined() -> None:
    for a, b in (([], []), ([1.0], [2.0]), ([2, 2, 2], [1, 2, 3])):
        assert all(math.isnan(value) for value in spearman(a, b).values())
    two = spearman([1, 2], [5, 3])
    assert two["rho"] == -1
    assert math.isnan(two["p"])
