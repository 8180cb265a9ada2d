"""Models side by side on the same cases."""

import math
from typing import Any

import pytest

from radkit.errors import UserError
from radkit.evaluation import comparison, measures, paired
from radkit.evaluation.cases import Cases
from radkit.evaluation.endpoints import OperatingPoint
from radkit.metrics import METRICS
from tests.evaluation import made_up_groups

THEIRS = (OperatingPoint("sick", "youden", None, 0.4, "validation", 80),)


def compared(here: Cases, there: Cases, points: Any = THEIRS) -> dict[str, Any]:
    plan = made_up_groups.plan_of(beside={"other": there}, points_beside={"other": points})
    (found,) = comparison.tell(here, plan)
    return found


@pytest.fixture(scope="module")
def both() -> tuple[Cases, Cases]:
    rows = made_up_groups.rows()
    return Cases(rows), Cases(made_up_groups.other_rows(rows))


def test_a_difference_is_that_of_the_same_draws(both: tuple[Cases, Cases]) -> None:
    found = compared(*both)["figures"][0]
    values = [measures.drawn(made_up_groups.AUC, cases, made_up_groups.DRAWS) for cases in both]
    areas = [measures.value(made_up_groups.AUC, cases) for cases in both]
    assert (found["this"], found["other"]) == tuple(areas)
    assert (found["low"], found["high"]) == measures.interval(0.0, values[0] - values[1], 60, 0.95)
    assert (found["n"], found["num_patients"]) == (120, 60)


def test_tests_are_delongs_and_mcnemars(both: tuple[Cases, Cases]) -> None:
    delong, mcnemar = compared(*both)["tests"]
    assert delong["p"] == paired.areas(paired.answered(made_up_groups.SICK, *both))["p"]
    calls = [cases.numbers("probability sick") >= at for cases, at in zip(both, (0.5, 0.4))]
    right = [call == (both[0].numbers("label") == 1) for call in calls]
    b, c = int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())
    assert (mcnemar["only_this_right"], mcnemar["only_other_right"]) == (b, c)
    assert mcnemar["p"] == METRICS["mcnemar_test"](b=b, c=c)["exact_p"]


def test_a_model_beside_itself_differs_by_nothing(both: tuple[Cases, Cases]) -> None:
    found = compared(both[0], both[0], (made_up_groups.POINT,))
    assert [one["difference"] for one in found["figures"]] == [0, 0, 0]
    assert [one["p"] for one in (*found["figures"], *found["tests"])] == [1] * 5
    assert [one["name"] for one in found["figures"]] == ["AUC", "sensitivity", "specificity"]


def test_all_p_are_corrected_together(both: tuple[Cases, Cases]) -> None:
    plan = made_up_groups.plan_of(beside={"a": both[1], "b": both[0]}, points_beside={"a": THEIRS})
    told = comparison.tell(both[0], plan)
    listed = [one for entry in told for kind in ("figures", "tests") for one in entry[kind]]
    assert [entry["with"] for entry in told] == ["a", "b"]
    assert [one["p_adjusted"] for one in listed] == METRICS["adjust_pvalues"](p=[one["p"] for one in listed])["holm"]


def test_without_their_operating_point_there_are_no_calls_to_compare(both: tuple[Cases, Cases]) -> None:
    found = compared(*both, points=())
    assert [one["name"] for one in found["figures"]] == ["AUC"]
    assert [one["test"] for one in found["tests"]] == ["DeLong"]


def test_cases_are_matched_by_record_whatever_their_order(both: tuple[Cases, Cases]) -> None:
    here, there = both
    fewer = Cases([*there.rows[100:39:-1]])
    found = compared(Cases(here.rows[:90]), fewer)
    straight = compared(Cases(here.rows[40:90]), Cases(there.rows[40:90]))
    assert (found["n"], found["only_here"], found["only_there"]) == (50, 40, 11)
    assert found["figures"] == straight["figures"]


def test_cases_unknown_to_either_are_left_out_and_counted(both: tuple[Cases, Cases]) -> None:
    tables = [Cases([{**row, "label": ""} if k < 10 else row for k, row in enumerate(cases.rows)]) for cases in both]
    found = compared(*tables)
    assert found["figures"][0]["n"] == 110
    assert [test["left_out"] for test in found["tests"]] == [10, 10]


def test_tables_that_do_not_belong_together_are_refused(both: tuple[Cases, Cases]) -> None:
    here, there = both
    for rows, said in (
        ([{**row, "record_uid": f"9.{row['record_uid']}"} for row in there.rows], "none of its 120 records is among"),
        ([{**row, "label": 1.0} for row in there.rows], "80 of 120 shared cases have another reference for 'sick'"),
        ([{**row, "patient_id": "X"} for row in there.rows], "120 of 120 shared records belong to other patients"),
        ([*there.rows, there.rows[0]], "1 of 121 cases have the record_uid of another"),
    ):
        with pytest.raises(UserError, match=said):
            compared(here, Cases(rows))


def test_a_table_of_another_task_is_refused(both: tuple[Cases, Cases]) -> None:
    with pytest.raises(UserError, match="no column 'probability sick'"):
        compared(both[0], Cases([{k: v for k, v in row.items() if k != "probability sick"} for row in both[1].rows]))


def test_one_class_alone_has_no_test(both: tuple[Cases, Cases]) -> None:
    tables = [Cases([{**row, "label": 0.0} for row in cases.rows]) for cases in both]
    found = compared(*tables)
    assert math.isnan(found["tests"][0]["p"])
    assert math.isnan(found["figures"][0]["p_adjusted"])
    assert not math.isnan(found["tests"][1]["p"])


def test_nobody_beside_is_nothing() -> None:
    assert comparison.tell(made_up_groups.made(10), made_up_groups.plan_of()) == []
