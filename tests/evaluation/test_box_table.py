"""boxes.csv: what is written, and back to the same cases."""

import csv
import io

import pytest

from radkit.errors import UserError
from radkit.evaluation import box_table, boxes, cases, measures
from tests.evaluation import made_up_answers as made_up


def through_a_file(rows: list[dict], rank: int) -> list[dict]:
    file = io.StringIO()
    writer = csv.DictWriter(file, box_table.columns(rank))
    writer.writeheader()
    writer.writerows(rows)
    return list(csv.DictReader(io.StringIO(file.getvalue())))


def plain(table: cases.Cases) -> cases.Cases:
    return cases.Cases([{k: v for k, v in row.items() if not isinstance(v, list)} for row in table.rows])


@pytest.mark.parametrize("rank", [2, 3])
def test_cases_come_back_bit_by_bit(rank: int) -> None:
    table = made_up.of_boxes(2, rank=rank)
    moved = [{**row, "found": [[edge + 1 / 3 for edge in box] for box in row["found"]]} for row in table.rows]
    table = cases.Cases(moved)
    back = box_table.joined(plain(table), through_a_file(box_table.rows(table, rank), rank), rank)
    for row, again in zip(table.rows, back.rows):
        assert all(again[name] == row[name] for name in boxes.LISTS if name != "spacing_mm")
        assert again["spacing_mm"] == row["spacing_mm"] or not (row["found"] or row["reference"])
    for one in boxes.measures(["nodule", "mass"]):
        assert measures.value(one, back) == measures.value(one, table)


def test_a_row_worked_by_hand() -> None:
    table = cases.Cases(
        [
            {
                "patient_id": "P1",
                "record_uid": "1.1",
                "reference": [[0, 0, 4, 4], [30, 30, 40, 40]],
                "labels": [0, -2],
                "found": [[0, 0, 4, 3], [31, 31, 35, 35]],
                "scores": [0.75, 0.5],
                "found_labels": [0, 0],
                "spacing_mm": [2.0, 0.5],
            }
        ]
    )
    assert box_table.columns(2)[7:] == [
        "row_low", "column_low", "row_high", "column_high", "row_mm", "column_mm",
    ]  # fmt: skip
    rows = [list(row.values()) for row in box_table.rows(table, 2)]
    assert rows == [
        ["1.1", "P1", "reference", 0, 0, None, None, 0, 0, 4, 4, 2.0, 0.5],
        ["1.1", "P1", "reference", 1, -2, None, None, 30, 30, 40, 40, 2.0, 0.5],
        ["1.1", "P1", "found", 0, 0, 0.75, 0, 0, 0, 4, 3, 2.0, 0.5],
        ["1.1", "P1", "found", 1, 0, 0.5, -2, 31, 31, 35, 35, 2.0, 0.5],
    ]


def test_images_without_any_box_stay_images() -> None:
    table = plain(made_up.of_boxes(0, images=3))
    back = box_table.joined(table, [], 2)
    assert [row["found"] for row in back.rows] == [[], [], []]
    assert len(boxes.held(back, 2).images) == 3


def test_tables_of_other_cases_and_rows_that_are_no_boxes_are_refused() -> None:
    table = made_up.of_boxes(0, images=8)
    rows = box_table.rows(table, 2)
    for wrong, told in (
        ({"record_uid": "9.9"}, "of a record that no case is of"),
        ({"what": "guess"}, "is reference or found, nothing else"),
        ({"class": "nodule"}, "is no box of 2 axes"),
        ({"row_low": ""}, "is no box of 2 axes"),
    ):
        with pytest.raises(UserError, match=told):
            box_table.joined(plain(table), [{**rows[0], **wrong}], 2)
    with pytest.raises(UserError, match="is no box of 3 axes"):
        box_table.joined(plain(table), rows, 3)
    with pytest.raises(UserError, match="none of 3 axes"):
        box_table.rows(table, 3)
    twice = cases.Cases([*plain(table).rows, plain(table).rows[0]])
    with pytest.raises(UserError, match="two cases have the same record_uid"):
        box_table.joined(twice, rows, 2)
