"""Which figure chooses the best weights, and which of its values are better."""

import math

import pytest

from radkit import config, tasks
from radkit.errors import UserError
from trainers import validation

CASES = [
    {"label": label, "value": value, "error": abs(label - value), "patient_id": f"P{place}", "view_position": "",
     "sex": "", "manufacturer": ""}
    for place, (label, value) in enumerate([(10.0, 12.0), (20.0, 21.0), (30.0, 33.0), (40.0, 46.0)])
]  # fmt: skip
DATA = config.Data("ages", kind="radiograph", label="age", label_kind="regression", label_range=(0.0, 100.0))


@pytest.mark.parametrize(
    ("select", "value", "score"),
    [
        ("score", -3.0, -3.0),
        ("mean absolute error", 3.0, -3.0),
        ("bias", 3.0, -3.0),
        ("root mean squared error", math.sqrt(12.5), -math.sqrt(12.5)),
    ],
)
def test_a_figure_is_chosen_so_that_higher_is_better(select: str, value: float, score: float) -> None:
    found = validation.chosen(select, CASES, tasks.find("regression"), DATA)
    assert found == pytest.approx(value)
    assert validation.preference(select, found) == pytest.approx(score)


@pytest.mark.parametrize(
    ("select", "better"),
    [
        ("mean Dice", "higher"),
        ("AUC", "higher"),
        ("R2", "higher"),
        ("mAP50", "higher"),
        ("mean error in degrees", "lower"),
        ("hd95", "lower"),
        ("bias", "nearer to zero"),
    ],
)
def test_which_values_are_better_is_told_by_the_name(select: str, better: str) -> None:
    assert validation.better(select) == better


def test_a_figure_that_is_not_told_is_refused_with_those_that_are() -> None:
    with pytest.raises(UserError, match=r"'mean absolute eror'.*'bias'.*did you mean 'mean absolute error'"):
        validation.chosen("mean absolute eror", CASES, tasks.find("regression"), DATA)
