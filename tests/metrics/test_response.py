import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radkit.errors import UserError
from radkit.metrics.response import recist, volume_doubling_time

RANK = {"CR": 0, "PR": 1, "SD": 2, "PD": 3}


def responses(
    sizes: list[list[float | None]],
    nodal: list[int] | None = None,
    new: list[int] | None = None,
    nontarget: list[str | None] | None = None,
) -> list[Any]:
    visits = len(sizes)
    return recist(
        timepoints=sizes,
        nodal=nodal if nodal is not None else [0] * len(sizes[0]),
        new_lesion=new or [0] * visits,
        nontarget=nontarget or ["none"] * visits,
    )["response"]


@pytest.mark.parametrize(
    ("follow_up", "expected"),
    [(0, "CR"), (70, "PR"), (70.1, "SD"), (100, "SD"), (119.9, "SD"), (120, "PD"), (300, "PD")],
)
def test_limits_against_the_baseline(follow_up: float, expected: str) -> None:
    assert responses([[100], [follow_up]]) == ["baseline", expected]


def test_sums_that_are_no_binary_fractions_still_meet_the_limits() -> None:
    for tenths in range(101, 900, 10):
        baseline = tenths / 10
        assert responses([[baseline], [baseline * 7 / 10]])[1] == "PR"
        assert responses([[baseline + 20], [(tenths + 200) * 12 / 100]])[1] == "PD"


def test_progress_is_counted_from_the_smallest_sum_so_far() -> None:
    assert responses([[100], [50], [59], [60]]) == ["baseline", "PR", "PR", "PD"]
    # The RECIST group's own example: 165, 63 and 65 mm is a partial response that goes on.
    assert responses([[165], [63], [65]]) == ["baseline", "PR", "PR"]


def test_twenty_per_cent_are_no_progress_below_five_millimetres() -> None:
    assert responses([[30], [12], [16.9], [17]]) == ["baseline", "PR", "PR", "PD"]
    assert responses([[20], [24], [25]]) == ["baseline", "SD", "PD"]


def test_nodes_are_gone_below_ten_millimetres_and_stay_in_the_sum() -> None:
    found = recist([[40, 20], [0, 9.9], [0, 10]], nodal=[0, 1], new_lesion=[0] * 3, nontarget=["none"] * 3)
    assert found["response"] == ["baseline", "CR", "PD"]  # back after a complete response
    assert found["sums"] == [60, 9.9, 10]
    assert responses([[40, 20], [0, 10]], nodal=[0, 1]) == ["baseline", "PR"]
    # Normal nodes that grow are normal nodes.
    assert responses([[40, 15], [0, 3], [0, 9]], nodal=[0, 1]) == ["baseline", "CR", "CR"]


def test_what_comes_back_after_a_complete_response_is_progress_at_any_size() -> None:
    assert responses([[50], [0], [3]]) == ["baseline", "CR", "PD"]
    assert responses([[50], [0], [None], [3]]) == ["baseline", "CR", "NE", "PD"]
    # After a partial response the sum decides.
    assert responses([[30, 20], [20, 0], [20, 4]]) == ["baseline", "PR", "PR"]


def test_what_was_not_measured_leaves_the_visit_open_unless_the_others_have_progressed() -> None:
    found = recist([[20, 20, 10], [20, None, 5], [10, 10, 5], [40, None, 40]], [0, 0, 0], [0, 0, 0, 0], ["none"] * 4)
    assert found["response"] == ["baseline", "NE", "PR", "PD"]
    assert math.isnan(found["sums"][1])
    assert found["nadir"][1:] == [50, 50, 25]
    # The paper's example: 50 mm in three lesions, then 80 mm in two of them.
    assert responses([[20, 20, 10], [40, 40, None]])[1] == "PD"
    assert responses([[30, None], [5, 5]])[1] == "NE"
    assert responses([[30, None], [0, 0]])[1] == "CR"


@pytest.mark.parametrize(
    ("size", "nontarget", "new", "expected"),
    [
        (0, "CR", 0, "CR"),
        (0, "none", 0, "CR"),  # none of those that were there
        (0, "non-CR/non-PD", 0, "PR"),
        (0, "present", 0, "PR"),
        (0, "NE", 0, "PR"),
        (0, None, 0, "PR"),
        (20, "non-CR/non-PD", 0, "PR"),
        (20, "NE", 0, "PR"),
        (50, "CR", 0, "SD"),
        (50, "NE", 0, "SD"),
        (None, "non-CR/non-PD", 0, "NE"),
        (None, "CR", 0, "NE"),
        (80, "CR", 0, "PD"),
        (0, "PD", 0, "PD"),
        (None, "PD", 0, "PD"),
        (0, "CR", 1, "PD"),
        (20, "CR", 1, "PD"),
        (None, "NE", 1, "PD"),
    ],
)
def test_overall_response_by_table_1(size: float | None, nontarget: str | None, new: int, expected: str) -> None:
    assert responses([[50], [size]], new=[0, new], nontarget=["present", nontarget]) == ["baseline", expected]


@pytest.mark.parametrize(
    ("nontarget", "new", "expected"),
    [
        ("CR", 0, "CR"),
        ("present", 0, "non-CR/non-PD"),
        ("non-CR/non-PD", 0, "non-CR/non-PD"),
        ("NE", 0, "NE"),
        ("PD", 0, "PD"),
        ("CR", 1, "PD"),
    ],
)
def test_overall_response_by_table_2_without_targets(nontarget: str, new: int, expected: str) -> None:
    found = recist([[], []], nodal=[], new_lesion=[0, new], nontarget=["present", nontarget])
    assert found["response"] == ["baseline", expected]
    assert all(map(math.isnan, found["sums"]))


@settings(deadline=None, max_examples=60)
@given(st.lists(st.lists(st.integers(0, 60), min_size=2, max_size=2), min_size=2, max_size=5))
def test_a_plain_loop_over_whole_millimetres_agrees(sizes: list[list[int]]) -> None:
    expected, smallest, complete = ["baseline"], sum(sizes[0]), False
    for first, second in sizes[1:]:
        total = first + second
        if first == 0 and second < 10:
            expected.append("CR")
            complete = True
        elif (total - smallest >= 5 and 5 * (total - smallest) >= smallest) or complete:
            expected.append("PD")
        elif 10 * total <= 7 * sum(sizes[0]):
            expected.append("PR")
        else:
            expected.append("SD")
        smallest = min(smallest, total)
    assert responses([[float(a), float(b)] for a, b in sizes], nodal=[0, 1]) == expected


@settings(deadline=None, max_examples=60)
@given(st.lists(st.floats(0, 200), min_size=2, max_size=5), st.floats(0, 50))
def test_a_larger_last_visit_is_never_a_better_response(sums: list[float], more: float) -> None:
    first = responses([[size] for size in sums])[-1]
    second = responses([[size] for size in [*sums[:-1], sums[-1] + more]])[-1]
    assert RANK[second] >= RANK[first]


def test_the_order_of_targets_does_not_matter() -> None:
    sizes, nodal = np.array([[30, 20, 18], [12, 0, 9], [12, 6, 14]]), np.array([0, 0, 1])
    answers = [
        recist(sizes[:, list(order)], nodal[list(order)], [0] * 3, ["none"] * 3)
        for order in itertools.permutations(range(3))
    ]
    assert all(str(answer) == str(answers[0]) for answer in answers)


def test_no_visits_have_no_responses() -> None:
    assert recist([], [0], [], []) == {"sums": [], "response": [], "target": [], "nadir": []}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"timepoints": [[10, 20], [10]]}, "as many at each visit"),
        ({"timepoints": [[10], [10]]}, r"\(visits, 2\) by nodal, not \(2, 1\)"),
        ({"timepoints": [[10, 20], [-1, 20]]}, "runs from -1 to 20"),
        ({"new_lesion": [1, 0]}, "it is the baseline"),
        ({"new_lesion": [0]}, "lengths differ"),
        ({"nontarget": ["none", "stable"]}, "'stable'; expected one of none, present"),
    ],
)
def test_what_is_no_course_is_refused(arguments: dict[str, Any], message: str) -> None:
    course = {"timepoints": [[10, 20], [10, 20]], "nodal": [0, 1], "new_lesion": [0, 0], "nontarget": ["none", "none"]}
    with pytest.raises(UserError, match=message):
        recist(**{**course, **arguments})


def test_doubling_times_worked_by_hand() -> None:
    assert volume_doubling_time(v1=100, v2=400, days=90)["days"] == pytest.approx(45)
    assert volume_doubling_time(v1=400, v2=100, days=90)["days"] == pytest.approx(-45)
    assert volume_doubling_time(v1=500, v2=650, days=120)["days"] == pytest.approx(120 * math.log(2) / math.log(1.3))
    assert volume_doubling_time(v1=100, v2=100, days=90)["days"] == math.inf


@pytest.mark.parametrize(("v1", "v2", "days"), [(0, 10, 30), (10, 0, 30), (10, 20, 0), (0, 0, 0)])
def test_a_doubling_time_without_volumes_or_time_is_undefined(v1: float, v2: float, days: float) -> None:
    assert math.isnan(volume_doubling_time(v1, v2, days)["days"])


@pytest.mark.parametrize(("v1", "v2", "days"), [(-1, 10, 30), (10, 20, -30), (10, math.nan, 30), (10, math.inf, 30)])
def test_numbers_that_are_no_growth_are_refused(v1: float, v2: float, days: float) -> None:
    with pytest.raises(UserError, match="v1, v2"):
        volume_doubling_time(v1, v2, days)


@settings(deadline=None, max_examples=40)
@given(st.floats(1e-3, 1e6), st.floats(1e-3, 1e6), st.floats(1, 1e4))
def test_growing_for_one_doubling_time_doubles(v1: float, v2: float, days: float) -> None:
    found = volume_doubling_time(v1, v2, days)["days"]
    if abs(math.log(v2 / v1)) > 1e-6:
        assert v1 * 2 ** (days / found) == pytest.approx(v2)
