import math

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as oracle

from radkit.metrics import METRICS, intervals


def bootstrap(metric: str, y_true: object, y_score: object, **more: object) -> dict[str, float]:
    return METRICS["bootstrap_ci"](metric=metric, y_true=y_true, y_score=y_score, **more)


def test_given_draws_take_whole_patients() -> None:
    # Patients a = 1, 2; b = 6. The draws' means are 1.5, 3 and 6.
    found = bootstrap("mean", None, [1, 6, 2], cluster=["a", "b", "a"], draws=[["a", "a"], ["a", "b"], ["b", "b"]])
    low, high = np.quantile([1.5, 3, 6], [0.025, 0.975])
    assert (found["low"], found["high"]) == pytest.approx((low, high))
    assert found["se"] == pytest.approx(np.std([1.5, 3, 6], ddof=1))


@pytest.mark.parametrize(
    ("metric", "reference"),
    [
        ("roc_auc", oracle.roc_auc_score),
        ("average_precision", oracle.average_precision_score),
        ("brier", oracle.brier_score_loss),
        ("calibration.log_loss", oracle.log_loss),
    ],
)
def test_each_draw_gives_what_scikit_learn_gives_on_its_rows(metric: str, reference: object) -> None:
    generator = np.random.default_rng(0)
    truth, score = np.arange(40) % 2, generator.random(40)
    cluster = np.arange(40) // 4
    draws = generator.integers(0, 10, (30, 10))
    expected = [
        reference(truth[rows], score[rows])  # type: ignore[operator]
        for rows in (np.concatenate([np.flatnonzero(cluster == c) for c in draw]) for draw in draws)
    ]
    found = bootstrap(metric, truth, score, cluster=cluster, draws=draws.tolist(), alpha=0.1)
    assert (found["low"], found["high"]) == pytest.approx(tuple(np.quantile(expected, [0.05, 0.95])))
    assert found["se"] == pytest.approx(np.std(expected, ddof=1))


def test_figures_of_calls_take_calls() -> None:
    found = bootstrap("sensitivity", [1, 1, 0], [1, 0, 0], draws=[[0, 1, 2], [0, 0, 2], [1, 1, 2]])
    assert (found["low"], found["high"]) == pytest.approx((0.025, 0.975))


def test_random_draws_follow_the_seed() -> None:
    values = np.random.default_rng(3).normal(size=50)
    first, again = (bootstrap("mean", None, values, resamples=200, seed=7) for _ in range(2))
    assert first == again
    assert first != bootstrap("mean", None, values, resamples=200, seed=8)


def test_the_spread_of_a_mean_is_its_standard_error() -> None:
    values = np.random.default_rng(3).normal(size=200)
    found = bootstrap("mean", None, values, resamples=1000)
    assert found["se"] == pytest.approx(values.std() / math.sqrt(200), rel=0.1)


def test_rows_of_one_patient_widen_the_interval() -> None:
    values = np.repeat(np.random.default_rng(3).normal(size=20), 10)
    alone = bootstrap("mean", None, values, resamples=300)
    together = bootstrap("mean", None, values, cluster=np.repeat(np.arange(20), 10), resamples=300)
    assert together["se"] > 2 * alone["se"]


def test_random_draws_of_few_patients_are_cut_further_out() -> None:
    # Student's t with 9 degrees of freedom, sqrt(10 / 9) further: of a normal law 1.71 % lie beyond, not 5 %.
    values = np.random.default_rng(3).normal(size=10)
    generator = np.random.default_rng(0)
    means = [values[generator.integers(0, 10, 10)].mean() for _ in range(500)]
    outside = 2 * stats.norm.sf(stats.t.ppf(0.975, 9) * math.sqrt(10 / 9))
    assert outside == pytest.approx(0.0171, abs=1e-4)
    found = bootstrap("mean", None, values, resamples=500, seed=0)
    assert (found["low"], found["high"]) == pytest.approx(tuple(np.quantile(means, [outside / 2, 1 - outside / 2])))


def test_one_patient_drawn_at_random_tells_nothing_of_others() -> None:
    found = bootstrap("mean", None, [1.0, 2.0], cluster=["a", "a"], resamples=20)
    assert all(math.isnan(found[key]) for key in ("low", "high", "se"))


@pytest.mark.slow
def test_intervals_of_40_patients_hold_the_truth_as_often_as_they_say() -> None:
    """One to five images a patient that share two thirds of their spread with nobody; true mean 0, true area known."""
    generator, held, sets = np.random.default_rng(1), {"mean": 0, "roc_auc": 0}, 250
    area = stats.norm.cdf(1.2 / math.sqrt(2 * 1.5))
    for number in range(sets):
        cluster = np.repeat(np.arange(40), generator.integers(1, 6, 40))
        truth = cluster % 2
        noise = generator.normal(0, math.sqrt(0.5), 40)[cluster] + generator.normal(size=cluster.size)
        for metric, y_true, score, expected in (
            ("mean", None, noise, 0.0),
            ("roc_auc", truth, noise + 1.2 * truth, area),
        ):
            found = bootstrap(metric, y_true, score, cluster=cluster, resamples=400, seed=number)
            held[metric] += found["low"] <= expected <= found["high"]
    assert all(0.93 <= count / sets <= 0.97 for count in held.values()), held


def test_undefined_draws_are_left_out_and_counted() -> None:
    found = bootstrap("roc_auc", [1, 0, 1], [0.9, 0.5, 0.1], draws=[[0, 0, 2], [0, 1, 2], [0, 1, 1]])
    assert found["num_undefined"] == 1
    assert (found["low"], found["high"]) == pytest.approx((0.5125, 0.9875))


def test_undefined_cases_are_left_out_of_the_mean() -> None:
    found = bootstrap("mean", None, [1.0, math.nan, 3.0], draws=[[0, 1, 1], [2, 2, 1], [1, 1, 1]])
    assert (found["low"], found["num_undefined"]) == (pytest.approx(1.05), 1)


def test_nothing_to_draw_from_is_undefined() -> None:
    assert math.isnan(bootstrap("mean", None, [], resamples=3)["low"])
    assert math.isnan(bootstrap("roc_auc", [1, 1], [0.2, 0.4], resamples=5)["se"])


# Patients a and b are ill, with two images of which one shows it in b; c to h are not.
OWNERS = np.array(list("aabbcdefgh"))
TRUTH = np.array([1, 1, 1, 0, 0, 0, 0, 0, 0, 0])


@pytest.mark.parametrize(
    ("metric", "deciding"),
    [
        ("roc_auc", 2),
        ("average_precision", 2),
        ("mcc", 2),
        ("confusion_metrics.f1", 2),
        ("sensitivity", 2),
        ("specificity", 7),
        ("confusion_metrics.specificity", 7),
        ("accuracy", 8),
        ("confusion_metrics.accuracy", 8),
        ("brier", 8),
    ],
)
def test_patients_that_decide_tell_how_far_out_random_draws_are_cut(metric: str, deciding: int) -> None:
    score = np.array([1, 0, 1, 1, 0, 1, 0, 0, 1, 0])
    generator = np.random.default_rng(0)
    draws = [np.array(list("abcdefgh"))[generator.integers(0, 8, 8)].tolist() for _ in range(300)]
    found = bootstrap(metric, TRUTH, score, cluster=OWNERS, alpha=0.5, resamples=300)
    same = bootstrap(metric, TRUTH, score, cluster=OWNERS, draws=draws, alpha=intervals.expanded(0.5, deciding))
    assert (found["low"], found["high"]) == (same["low"], same["high"])


def test_one_ill_patient_among_many_has_an_interval_from_the_least_to_the_most() -> None:
    score = np.random.default_rng(0).random(30)
    found = bootstrap("roc_auc", np.arange(30) == 4, score, resamples=200)
    assert 0 <= found["low"] < found["high"] <= 1
    assert bootstrap("roc_auc", np.zeros(30), score, resamples=200)["num_undefined"] == 200


@pytest.mark.slow
@pytest.mark.parametrize(("ill", "area", "alike"), [(20, 0.9, 0.8), (10, 0.9, 0.8)])
def test_of_forty_patients_95_percent_intervals_of_an_area_hold_the_truth_in_93_to_97(
    ill: int, area: float, alike: float
) -> None:
    random, runs, images = np.random.default_rng(1), 400, 3
    truth, owner = np.repeat(np.arange(40) < ill, images), np.repeat(np.arange(40), images)
    held = 0
    for seed in range(runs):
        noise = math.sqrt(alike) * random.normal(size=(40, 1)) + math.sqrt(1 - alike) * random.normal(size=(40, images))
        score = noise.ravel() + truth * math.sqrt(2) * stats.norm.ppf(area)
        found = bootstrap("roc_auc", truth, score, cluster=owner, resamples=500, seed=seed)
        held += found["low"] <= area <= found["high"]
    spread = math.sqrt(0.05 * 0.95 / runs)
    assert 0.93 - spread <= held / runs <= 0.97 + spread
