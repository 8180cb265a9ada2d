import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from radkit.errors import UserError
from radkit.metrics.multiplicity import adjust_pvalues

VALUES = st.lists(st.sampled_from([0.0, 0.001, 0.01, 0.02, 0.04, 0.2, 0.5, 1.0]), min_size=1, max_size=12)


def holm_step_by_step(p: list[float]) -> list[float]:
    """The smallest level at which Holm's procedure, as the paper steps through it, rejects each hypothesis."""
    adjusted, reached = [0.0] * len(p), 0.0
    for step, place in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        reached = max(reached, min(1.0, (len(p) - step) * p[place]))
        adjusted[place] = reached
    return adjusted


@settings(deadline=None, max_examples=80)
@given(VALUES)
def test_corrections_agree_with_scipy_and_the_papers_steps(p: list[float]) -> None:
    found = adjust_pvalues(p=p)
    assert found["bh"] == pytest.approx(stats.false_discovery_control(p).tolist())
    assert found["holm"] == pytest.approx(holm_step_by_step(p))
    assert found["bonferroni"] == pytest.approx([min(1.0, len(p) * value) for value in p])


@settings(deadline=None, max_examples=40)
@given(VALUES, st.randoms(use_true_random=False))
def test_the_order_given_does_not_matter(p: list[float], random: object) -> None:
    order = list(range(len(p)))
    random.shuffle(order)  # type: ignore[attr-defined]
    found, turned = adjust_pvalues(p), adjust_pvalues([p[place] for place in order])
    for name in found:
        assert turned[name] == [found[name][place] for place in order]


def test_corrections_agree_with_r() -> None:
    # p.adjust of R 4.2.2.
    found = adjust_pvalues([0.01, 0.02, 0.03, 0.04, 0.05])
    assert found["holm"] == pytest.approx([0.05, 0.08, 0.09, 0.09, 0.09])
    assert found["bh"] == pytest.approx([0.05] * 5)
    assert found["bonferroni"] == pytest.approx([0.05, 0.1, 0.15, 0.2, 0.25])


def test_a_test_that_could_not_be_made_is_not_counted() -> None:
    found = adjust_pvalues([0.02, math.nan, 0.03])
    assert found["holm"] == pytest.approx([0.04, math.nan, 0.04], nan_ok=True)
    assert found["bonferroni"] == pytest.approx([0.04, math.nan, 0.06], nan_ok=True)


def test_no_tests_need_no_correction() -> None:
    assert adjust_pvalues([]) == {"holm": [], "bh": [], "bonferroni": []}


def test_what_is_no_p_value_is_refused() -> None:
    for wrong in ([1.2], [-0.1, 0.5], np.zeros((2, 2))):
        with pytest.raises(UserError, match=r"in \[0, 1\]"):
            adjust_pvalues(wrong)
