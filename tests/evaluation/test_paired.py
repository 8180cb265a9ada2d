"""DeLong's and McNemar's tests of two who answered the same cases."""

import itertools
import math

import numpy as np
import pytest

from radkit.evaluation import paired
from radkit.evaluation.cases import Cases
from radkit.metrics import METRICS
from tests.evaluation import made_up_groups

SICK = made_up_groups.SICK


def two(count: int = 60, per_patient: int = 1, noise: float = 0.25) -> tuple[Cases, Cases]:
    rows = made_up_groups.rows(count, per_patient=per_patient)
    return Cases(rows), Cases(made_up_groups.other_rows(rows, noise=noise))


def test_with_one_case_a_patient_it_is_delongs_test() -> None:
    here, there = two()
    found = paired.areas(paired.answered(SICK, here, there))
    scores = (cases.numbers("probability sick") for cases in (here, there))
    known = METRICS["delong_test"](here.numbers("label"), *scores)
    assert [found[key] for key in ("this", "other", "z", "p")] == pytest.approx(
        [known[key] for key in ("auc_a", "auc_b", "z", "p")]
    )


def test_an_interval_of_the_difference_holds_nothing_where_p_is_above_one_in_twenty() -> None:
    for noise in (0.05, 0.2, 0.5):
        found = paired.areas(paired.answered(SICK, *two(noise=noise)))
        assert (found["low"] <= 0 <= found["high"]) == (found["p"] > 0.05)
        assert found["difference"] == pytest.approx((found["low"] + found["high"]) / 2)


def test_cases_of_a_patient_counted_twice_teach_nothing_new() -> None:
    here, there = two()
    doubled = [Cases([row for row in cases.rows for _ in range(2)]) for cases in (here, there)]
    one, two_each = (paired.areas(paired.answered(SICK, *pair)) for pair in ((here, there), doubled))
    assert two_each["p"] == pytest.approx(one["p"])


def test_with_several_cases_a_patient_the_spread_is_that_of_a_jackknife() -> None:
    here, there = two(count=240, per_patient=4)
    both = paired.answered(SICK, here, there)
    found = paired.areas(both)
    left = []
    for patient in range(here.num_patients):
        kept = here.patients != patient
        truth = here.numbers("label")[kept]
        areas = (
            METRICS["roc_auc_delong"](truth, cases.numbers("probability sick")[kept])["auc"] for cases in (here, there)
        )
        left.append(next(areas) - next(areas))
    patients = len(left)
    jackknife = math.sqrt((patients - 1) / patients * ((np.array(left) - np.mean(left)) ** 2).sum())
    assert found["difference"] / found["z"] == pytest.approx(jackknife, rel=0.05)


def test_equal_scores_differ_by_nothing_and_opposite_ones_without_spread_by_all() -> None:
    here, _ = two()
    same = paired.areas(paired.answered(SICK, here, here))
    assert (same["difference"], same["z"], same["p"]) == (0, 0, 1)
    perfect = Cases([{**row, "probability sick": row["label"]} for row in here.rows])
    reverse = Cases([{**row, "probability sick": 1 - row["label"]} for row in here.rows])
    found = paired.areas(paired.answered(SICK, perfect, reverse))
    assert (found["difference"], found["z"], found["p"]) == (1, math.inf, 0)


def test_mcnemar_counts_who_alone_is_right() -> None:
    truth = [1, 1, 1, 0, 0, "", 0.5]
    scores = [[0.9, 0.2, 0.9, 0.1, "", 0.9, 0.9], [0.9, 0.9, 0.1, 0.9, 0.1, 0.1, 0.1]]
    here, there = (
        Cases([{"patient_id": str(k), "label": a, "probability sick": b} for k, (a, b) in enumerate(zip(truth, of))])
        for of in scores
    )
    both = paired.answered(SICK, here, there)
    assert both.kept.tolist() == [True] * 5 + [False] * 2
    found = paired.mcnemar(both, 0.5, 0.5)
    # Without a number the fifth is wrong, though nothing was called yes.
    assert (found["only_this_right"], found["only_other_right"]) == (2, 2)
    assert found["p"] == 1


def test_a_case_without_a_number_is_set_to_the_worst() -> None:
    here, there = two(20)
    rows = [
        {**row, "probability sick": math.nan if k < 6 else row["probability sick"]} for k, row in enumerate(here.rows)
    ]
    worst = [
        {**row, "probability sick": 1 - row["label"] if k < 6 else row["probability sick"]}
        for k, row in enumerate(here.rows)
    ]
    one, two_of = (paired.areas(paired.answered(SICK, Cases(listed), there)) for listed in (rows, worst))
    assert one == two_of


@pytest.mark.parametrize("truth", [0, 1, ""])
def test_one_class_alone_has_no_area_and_no_test(truth: object) -> None:
    here, there = (Cases([{**row, "label": truth} for row in cases.rows]) for cases in two(10))
    both = paired.answered(SICK, here, there)
    found = paired.areas(both)
    assert all(math.isnan(found[key]) for key in found)
    assert math.isnan(paired.mcnemar(both, 0.5, 0.5)["p"]) == (truth == "")


def test_areas_are_those_of_all_pairs_one_by_one() -> None:
    here, there = two(30)
    both = paired.answered(SICK, here, there)
    wins = [
        (score > less) + (score == less) / 2
        for (score, yes), (less, no) in itertools.product(zip(both.other, both.truth), repeat=2)
        if yes and not no
    ]
    assert paired.areas(both)["other"] == pytest.approx(np.mean(wins))
