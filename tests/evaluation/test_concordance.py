"""Agreement as measures: kappas and JAFROC of all draws at once."""

import math

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from radkit.evaluation import concordance, measures
from radkit.evaluation.cases import Cases
from radkit.metrics import METRICS


def table(n: int) -> Cases:
    return Cases([{"patient_id": f"P{k:03d}"} for k in range(n)])


def degrees(seed: int, n: int = 60) -> np.ndarray:
    found = np.random.default_rng(seed).integers(0, 4, n).astype(float)
    found[:3] = math.nan
    return found


@pytest.mark.parametrize(("kind", "weights"), [("unweighted", None), ("linear", "linear"), ("quadratic", "quadratic")])
def test_kappas_are_scikit_learns(kind: str, weights: str | None) -> None:
    a, b = degrees(0), np.where(np.arange(60) % 2, degrees(0), degrees(1))
    measure = concordance.kappa("kappa", a, b, kind)
    known = cohen_kappa_score(a[3:], b[3:], weights=weights)
    assert measures.value(measure, table(60)) == pytest.approx(known)
    assert measure.known(table(60)).tolist() == [False] * 3 + [True] * 57


def test_weight_two_is_the_case_twice() -> None:
    a, b = degrees(2), degrees(3)
    times = np.arange(60) % 3
    once = concordance.kappa("kappa", a, b).of(table(60), times[None].astype(float))[0]
    copied = concordance.kappa("kappa", np.repeat(a, times), np.repeat(b, times))
    assert once == pytest.approx(measures.value(copied, table(int(times.sum()))))
    calls = (np.stack([a, b, degrees(4)], axis=1) > 1).astype(float)
    fleiss = concordance.fleiss(calls).of(table(60), times[None].astype(float))[0]
    repeated = concordance.fleiss(np.repeat(calls, times, axis=0))
    assert fleiss == pytest.approx(measures.value(repeated, table(int(times.sum()))))


def test_one_category_only_leaves_nothing_to_agree_on() -> None:
    same = np.ones(6)
    assert math.isnan(measures.value(concordance.kappa("kappa", same, same), table(6)))
    assert math.isnan(measures.value(concordance.fleiss(np.ones((6, 3))), table(6)))
    unread = np.full(6, math.nan)
    assert math.isnan(measures.value(concordance.kappa("kappa", same, unread), table(6)))


def test_fleiss_is_that_of_the_table_of_counts() -> None:
    calls = np.random.default_rng(5).integers(0, 2, (40, 3)).astype(float)
    calls[0, 1] = math.nan
    yes = calls[1:].sum(axis=1)
    known = METRICS["fleiss_kappa"](table=np.stack([3 - yes, yes], axis=1))
    assert measures.value(concordance.fleiss(calls), table(40)) == pytest.approx(known)


def test_jafroc_is_that_of_the_metrics_and_weights_are_copies() -> None:
    highest = np.array([0.3, -math.inf, 0.8, 0.5, 0.9, -math.inf])
    normal = np.array([True, True, True, False, False, False])
    lesions, ratings = np.array([3, 3, 4, 5]), np.array([0.5, -math.inf, 0.8, -math.inf])
    measure = concordance.rated_higher(highest, lesions, ratings, normal)
    known = METRICS["jafroc"](normal_case_marks=[[0.3], [], [0.8]], lesion_ratings=[0.5, None, 0.8, None])
    assert measures.value(measure, table(6)) == pytest.approx(known)
    twice = METRICS["jafroc"](normal_case_marks=[[0.3], [0.3], [0.8]], lesion_ratings=[0.5, None, 0.5, None, 0.8])
    assert measure.of(table(6), np.array([[2.0, 0, 1, 2, 1, 0]]))[0] == pytest.approx(twice)
    assert math.isnan(measure.of(table(6), np.array([[0.0, 0, 0, 1, 1, 1]]))[0])
