"""A regression's figures: scikit-learn, copies of cases, bootstrap_ci, unknown truths, answers that are no number."""

import math

import numpy as np
import pytest
from sklearn import metrics as peers

from radkit.errors import UserError
from radkit.evaluation import cases, measures, numbers
from radkit.metrics import METRICS
from tests.evaluation import made_up_answers as made_up

PEERS = {
    "mean absolute error": peers.mean_absolute_error,
    "bias": lambda truth, found: float(np.mean(found - truth)),
    "root mean squared error": peers.root_mean_squared_error,
    "median absolute error": peers.median_absolute_error,
    "R2": peers.r2_score,
}
ASKED = numbers.measures("months")


@pytest.mark.parametrize("seed", range(3))
def test_figures_are_scikit_learns(seed: int) -> None:
    table = made_up.of_numbers(seed)
    truth, found = table.numbers("label"), table.numbers("value")
    assert [one.name for one in ASKED] == list(PEERS)
    for one in ASKED:
        assert measures.value(one, table) == pytest.approx(PEERS[one.name](truth, found), rel=1e-12)


@pytest.mark.parametrize("one", ASKED, ids=lambda one: one.name)
def test_weights_are_copies_and_a_subgroup_of_all_is_all(one: measures.Measure) -> None:
    table = made_up.of_numbers(1)
    times = np.random.default_rng(0).integers(0, 4, (3, len(table)))
    for often, value in zip(times, one.of(table, times.astype(float))):
        assert value == pytest.approx(measures.value(one, made_up.copied(table, often)), rel=1e-12)
    everyone = np.ones(len(table), bool)
    whole, of_all = (measures.figure(one, table, made_up.DRAWS, who) for who in (None, everyone))
    assert whole == of_all
    shuffled = cases.Cases([table.rows[k] for k in np.random.default_rng(2).permutation(len(table))])
    again = measures.figure(one, shuffled, made_up.DRAWS)
    assert [again[key] for key in ("value", "low", "high")] == pytest.approx(
        [whole[key] for key in ("value", "low", "high")], rel=1e-11
    )


@pytest.mark.parametrize(("name", "metric"), [("mean absolute error", "mean"), ("bias", "mean")])
def test_intervals_are_those_of_bootstrap_ci(name: str, metric: str) -> None:
    table = made_up.of_numbers(4, per_patient=3)
    difference = table.numbers("value") - table.numbers("label")
    values = np.abs(difference) if name != "bias" else difference
    wanted = METRICS["bootstrap_ci"](metric, None, values, cluster=table.words("patient_id"), resamples=150, seed=9)
    one = next(one for one in ASKED if one.name == name)
    got = measures.figure(one, table, cases.Draws(150, 9))
    assert (got["low"], got["high"]) == pytest.approx((wanted["low"], wanted["high"]), rel=1e-12)


def test_an_unknown_truth_is_left_out_and_an_answer_that_is_no_number_is_not() -> None:
    table = made_up.changed(made_up.of_numbers(0), 3, label=math.nan, value=1e9)
    rest = cases.Cases([row for k, row in enumerate(table.rows) if k != 3])
    for one in ASKED:
        told = measures.figure(one, table, made_up.DRAWS)
        assert told["n"] == 39
        assert told["value"] == pytest.approx(measures.value(one, rest), rel=1e-12)
        for wrong in (math.nan, math.inf, None):
            spoilt = made_up.changed(table, 5, value=wrong)
            assert math.isnan(measures.value(one, spoilt)), "a diverged answer must not be dropped"


def test_all_unknown_and_one_patient_have_no_interval() -> None:
    table = made_up.of_numbers(0, n=4, per_patient=4)
    unknown = cases.Cases([{**row, "label": ""} for row in table.rows])
    for one in ASKED:
        alone = measures.figure(one, table, made_up.DRAWS)
        assert math.isfinite(alone["value"])
        assert math.isnan(alone["low"])
        assert alone["num_patients"] == 1
        nobody = measures.figure(one, unknown, made_up.DRAWS)
        assert math.isnan(nobody["value"])
        assert nobody["n"] == 0


def test_what_is_no_table_of_numbers_is_refused() -> None:
    with pytest.raises(UserError, match="no column 'label'"):
        measures.value(ASKED[0], cases.Cases([{"patient_id": "a", "value": 1.0}]))
    with pytest.raises(UserError, match="must hold numbers, not 'old'"):
        measures.value(ASKED[0], cases.Cases([{"patient_id": "a", "label": "old", "value": 1.0}]))
