import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from radkit.errors import UserError
from radkit.metrics.icc import icc

# Six subjects, four raters: Shrout and Fleiss 1979, table 2.
RATINGS = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
TABLES = st.lists(st.lists(st.integers(0, 9), min_size=3, max_size=3), min_size=3, max_size=10)


def test_the_six_forms_agree_with_psych() -> None:
    # psych 2.2.9, R 4.2.2: ICC(x, lmer = FALSE); icc, lower and upper bound.
    expected = {
        "ICC1": (0.1657417684054756, -0.1329323248747509, 0.7225600623281211),
        "ICC2": (0.2897637795275592, 0.0187865133747120, 0.7610843696489531),
        "ICC3": (0.7148407148407149, 0.3424647650339254, 0.9458582599553595),
        "ICC1k": (0.4427971336792689, -0.8844421552381190, 0.9124154203407756),
        "ICC2k": (0.6200505475989893, 0.0711368153025035, 0.9272320401677220),
        "ICC3k": (0.9093155423770695, 0.6756747138163047, 0.9858916781690623),
    }
    found = icc(ratings=RATINGS)
    assert list(found) == list(expected)
    for form, values in expected.items():
        assert tuple(found[form][key] for key in ("icc", "lo", "hi")) == pytest.approx(values, abs=1e-9), form


@settings(deadline=None, max_examples=60)
@given(TABLES)
def test_two_forms_agree_with_variances_of_one_way_and_two_way_tables(rows: list[list[int]]) -> None:
    table = np.array(rows, dtype=float)
    means = table.mean(axis=1)
    assume(np.ptp(means) > 0)
    within = float(table.var(axis=1, ddof=1).mean())
    between = 3 * float(means.var(ddof=1))
    found = icc(table)
    assert found["ICC1"]["icc"] == pytest.approx((between - within) / (between + 2 * within))
    # The reliability of the raters' sum is Cronbach's alpha.
    alpha = 3 / 2 * (1 - table.var(axis=0, ddof=1).sum() / table.sum(axis=1).var(ddof=1))
    assert found["ICC3k"]["icc"] == pytest.approx(alpha, abs=1e-9)


@settings(deadline=None, max_examples=40)
@given(TABLES, st.integers(-5, 5), st.integers(1, 4))
def test_units_and_a_common_shift_do_not_matter(rows: list[list[int]], shift: int, scale: int) -> None:
    table = np.array(rows, dtype=float)
    assume(np.ptp(table.mean(axis=1)) > 0)
    moved = icc(table * scale + shift)
    for form, values in icc(table).items():
        assert moved[form] == pytest.approx(values, abs=1e-6, rel=1e-6, nan_ok=True), form


def test_a_constant_offset_of_one_rater_is_no_inconsistency() -> None:
    found = icc([[1, 2], [2, 3], [3, 4]])
    assert found["ICC3"] == {"icc": 1.0, "lo": 1.0, "hi": 1.0}
    assert found["ICC2"]["icc"] == pytest.approx(2 / 3)
    assert found["ICC2"]["lo"] < 2 / 3 < found["ICC2"]["hi"] < 1


def test_equal_ratings_agree_perfectly_and_one_value_says_nothing() -> None:
    assert all(value == 1 for form in icc([[1, 1], [2, 2], [3, 3]]).values() for value in form.values())
    for table in ([[2, 2], [2, 2]], [[1, 2]], [[1], [2]], np.zeros((0, 2))):
        assert all(math.isnan(value) for form in icc(table).values() for value in form.values())


def test_subjects_that_do_not_differ_leave_the_mean_ratings_undefined() -> None:
    # Thirds add up to means that differ in the last bit.
    for found in (icc([[1, 2], [2, 1]]), icc([[1 / 3, 0.1, 0.7], [0.7, 1 / 3, 0.1]])):
        assert all(math.isnan(found["ICC1k"][key]) for key in ("icc", "lo", "hi"))


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    generator, held, sets = np.random.default_rng(0), 0, 300
    for _ in range(sets):
        # Subjects' variance 2, of the rest 1: ICC1 is 2 / 3.
        found = icc(generator.normal(0, math.sqrt(2), (20, 1)) + generator.normal(size=(20, 3)), alpha=0.1)["ICC1"]
        held += found["lo"] <= 2 / 3 <= found["hi"]
    assert stats.binomtest(held, sets, 0.9).pvalue > 0.01


def test_a_gap_in_the_table_is_refused() -> None:
    with pytest.raises(UserError, match="1 missing or infinite; leave subjects out"):
        icc([[1, 2], [math.nan, 3]])
    with pytest.raises(UserError, match="each subject rated by every rater"):
        icc([[1, 2], [3]])
    with pytest.raises(UserError, match="subjects, raters"):
        icc([1, 2, 3])
