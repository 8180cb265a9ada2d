"""The readers' table: what it may say, and what is refused."""

import math

import pytest

from radkit.errors import UserError
from radkit.evaluation import readers_table
from radkit.evaluation.cases import Cases
from radkit.evaluation.endpoints import Endpoint
from tests.evaluation import made_up_groups

CASES = Cases([{"patient_id": f"P{k}", "record_uid": f"1.{k}", "value": 1.0, "label": 1} for k in range(3)])
ONE = [made_up_groups.SICK]
TWO = [*ONE, Endpoint("old", made_up_groups.SICK.truth, made_up_groups.SICK.score)]


def parsed(*rows: dict[str, str], endpoints: list[Endpoint] = ONE) -> readers_table.Table:
    return readers_table.parsed([{"record_uid": "1.0", "reader": "A", **row} for row in rows], CASES, endpoints)


def test_calls_ratings_and_numbers_are_read() -> None:
    found = parsed({"call": "Yes", "rating": "4"}, {"record_uid": "1.2", "call": "0"}, {"reader": "B", "value": "2.5"})
    told = [(one.reader, one.kind, one.question) for one in found.readings]
    assert told == [("A", "call", "sick"), ("A", "rating", "sick"), ("B", "value", "value")]
    assert found.readings[0].answers.tolist()[::2] == [1, 0]
    assert found.readings[0].read.tolist() == [True, False, True]
    assert found.readings[2].answers[0] == 2.5


def test_rows_of_other_records_are_counted() -> None:
    found = parsed({"call": "1"}, {"record_uid": "9.9", "call": "1"})
    assert (len(found.readings), found.elsewhere) == (1, 1)


def test_marks_are_kept_by_their_highest_rating() -> None:
    found = parsed(
        {"rating": "2", "lesion": "a"},
        {"rating": "3", "lesion": "a"},
        {"rating": "5", "lesion": ""},
        {"record_uid": "1.1", "rating": "", "lesion": ""},
    )
    (marks,) = found.marks
    assert marks.read.tolist() == [True, True, False]
    assert marks.highest.tolist() == [5, -math.inf, -math.inf]
    assert marks.lesions == [(0, 3.0)]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"reader": ""}], "one has no reader"),
        ([{"record_uid": "7", "call": "1"}], "none of the 1 rows"),
        ([{}], "says nothing"),
        ([{"call": "maybe"}], "call 'maybe' of reader 'A' is neither yes"),
        ([{"rating": "high"}], "rating of reader 'A' must be a number, not 'high'"),
        ([{"rating": "nan"}], "must be finite"),
        ([{"call": "1"}, {"call": "0"}], "has two rows of one record for call of 'sick'"),
        ([{"call": "1", "question": "sik"}], "no such endpoint .did you mean 'sick'"),
        ([{"value": "1", "question": "volume"}], "value of question 'volume': no such column"),
        ([{"rating": "", "lesion": "a"}], "on lesion 'a' has no rating"),
    ],
)
def test_what_is_no_reading_is_refused(rows: list[dict[str, str]], said: str) -> None:
    with pytest.raises(UserError, match=said):
        parsed(*rows)


def test_of_several_questions_one_must_be_named() -> None:
    with pytest.raises(UserError, match="there are: sick, old"):
        parsed({"call": "1"}, endpoints=TWO)
    assert parsed({"call": "1", "question": "old"}, endpoints=TWO).readings[0].question == "old"
