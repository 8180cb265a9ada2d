"""The datasheet tells what the files beside the records say, asks the rest, and keeps what persons answered."""

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest

from radkit import config
from radkit.data import shards
from radkit.data.exploring import datasheet

DATA = config.Data(
    dataset="made",
    label="sick",
    class_names=("no", "yes"),
    mask_labels=("core",),
    splits=(0.5, 0.2, 0.3),
    split_seed="x",
)


def axis(low: float | None, middle: float | None, high: float | None) -> dict[str, float | None]:
    return {"min": low, "median": middle, "max": high}


def part(records: int) -> dict[str, Any]:
    return {
        "records": records,
        "patients": records - 1,
        "size": [axis(10, 12, 20), axis(64, 64, 64), axis(64, 64, 64)],
        "spacing_mm": [axis(1, 2.5, 5), axis(0.5, 0.5, 0.5), axis(None, None, None)],
        "label": {"kind": "class", "counts": {"no": records - 2, "yes": 2}},
        "mask": {"core": {"records": 3}},
        "modality": {"CT": records},
        "manufacturer": {"A|B": records},
        "sex": {"F": records - 1, "unknown": 1},
        "label_reference_standard": {"histology": records - 1, "unknown": 1},
        "label_reader": {"r1": records},
        "study_dates": {"first": "20200131", "last": "20231201", "unknown": 0},
        "numbers": {"age_years": {"known": 1, "unknown": records - 1}},
        "subgroups": {
            "site": {"North": {"records": records, "patients": records - 1}},
            "sex": {"unknown": {"records": 1}},
        },
    }


FOUND = {
    "train": part(1200), "validation": part(20), "test": part(30),
    "anomalies": [{"name": "skew", "severity": "warning", "where": "test", "text": "much"}],
}  # fmt: skip

FOLDS = {"folds": 5, "repeats": 2}
DEID = {"mode": "anonymize", "options": ["retain_uids"]}


def write(folder: Path, **files: Any) -> Path:
    for name, value in files.items():
        (folder / f"{name}.json").write_text(json.dumps(value), encoding="utf-8")
    return folder


def test_facts_are_those_of_the_files(tmp_path):
    write(
        tmp_path,
        splits={
            "test_set": {"type": "temporal", "from": "2023-01-01"},
            "shares": [0.5, 0.2, 0.3],
            "seed": "x",
            **FOLDS,
        },
        summary={"findings_by_name": {"made_up_name": 3}, "quarantined_by_reason": {"broken | file": 2}},
        provenance={"verb": "convert", "radkit": "9.9", "contents": "abc", "settings": {"schema": 4}},
        source={"verb": "anonymize", "radkit": "9.8", "settings": {"profile": "2026c", **DEID}},
    )
    text = datasheet.page(tmp_path, DATA, FOUND)
    for said in (
        "- records: 1,250",
        "- test set: temporal",
        "| train | 1,200 | 1,199 | 12 (10 to 20) x 64 x 64 | 2.5 (1 to 5) x 0.5 x unknown |",
        "| yes | 2 | 2 | 2 |",
        "| core | 3 | 3 | 3 |",
        "Test set: temporal, from 2023-01-01. No patient is in two splits.",
        "5 folds, 2 times",
        "| North | 1,200 (1,199) | 20 (19) | 30 (29) |",
        "Manufacturer (records): A|B (1,250).",
        "Labels rest on: histology (1,247 records); 3 records do not say.",
        "Studies are dated 2020-01-31 to 2023-12-01",
        "| made_up_name |  | 3 |",
        "| broken \\| file | 2 |",
        "| skew | warning | 1 |",
        "version 9.9, record schema 4",
        "`abc`",
        "profile 2026c, mode anonymize, options: retain_uids",
        "| data.split_seed | x |",
        "| sex | 3 of 1,250 |",
        "| age_years | 1,247 of 1,250 |",
    ):
        assert said in text, said


def test_every_table_is_whole(tmp_path):
    text = datasheet.page(tmp_path, DATA, FOUND)
    for table in re.findall(r"(?:^\|.*\|$\n?)+", text, re.MULTILINE):
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in table.strip().splitlines()}
        assert len(widths) == 1, table


@pytest.mark.parametrize("found", [{}, {split: {"records": 0, "patients": 0} for split in shards.SPLITS}])
def test_a_folder_with_nothing_else_has_a_datasheet(tmp_path, found):
    text = datasheet.page(tmp_path, DATA, found)
    assert "- records: 0" in text
    assert "Test set: random." in text


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"label_kind": "ordinal"}, "one of no, yes, in order of degree"),
        ({"label_kind": "multi_label"}, "yes, no or unknown for each of no, yes"),
        ({"label_kind": "regression", "class_names": (), "label_unit": "mm"}, "a number, in mm"),
        (
            {"label_kind": "survival", "class_names": (), "event": "died", "label_unit": "days"},
            "a time, in days to the event `died`",
        ),
        ({"label": "", "class_names": (), "mask_labels": ()}, "no labels, masks or boxes"),
        ({"label": "", "class_names": (), "mask_labels": (), "box_labels": ("node",)}, "Each record has boxes"),
        ({"report": "text"}, "text of its report"),
    ],
)  # fmt: skip
def test_labels_of_every_kind_are_told(tmp_path, data, said):
    label = {"counts": {n: {"yes": 1, "no": 2, "unknown": 3} for n in ("no", "yes")}, "known": 4, "median": 2.0}
    label |= {"min": 1.0, "max": 3.0, "events": 2, "time": {"known": 4, "median": 2.0, "min": 1.0, "max": 3.0}}
    if data.get("label_kind") == "ordinal":
        label["counts"] = {"no": 1, "yes": 2}
    found = {split: {**part(5), "label": label} for split in shards.SPLITS}
    assert said in datasheet.page(tmp_path, dataclasses.replace(DATA, **data), found)


def test_a_survival_tells_its_events(tmp_path):
    label = {"unit": "days", "events": 2, "censored": 5, "time": {"known": 7, "median": 2.5, "min": 1.0, "max": 30.0}}
    data = dataclasses.replace(DATA, label_kind="survival", class_names=(), event="died")
    text = datasheet.page(tmp_path, data, {"train": {**part(7), "label": label}})
    assert "| train | 7 | 2 | 2.5 | 1 | 30 |" in text


def test_answers_stay_and_open_questions_do_not_count(tmp_path):
    first = datasheet.page(tmp_path, DATA, FOUND)
    assert datasheet.answered(first) == {}
    marked = first.replace(
        "<!-- answer: purpose -->\n_Nobody has answered yet._", "<!-- answer: purpose -->\nTriage of\n\n| a | b |"
    )
    assert datasheet.answered(marked) == {"purpose": "Triage of\n\n| a | b |"}
    again = datasheet.page(tmp_path, DATA, {**FOUND, "train": part(7)}, marked)
    assert datasheet.answered(again) == {"purpose": "Triage of\n\n| a | b |"}
    assert datasheet.page(tmp_path, DATA, FOUND, marked) == marked


def test_an_answer_to_a_question_of_another_version_is_not_lost(tmp_path):
    text = datasheet.page(tmp_path, DATA, FOUND, "<!-- answer: gone -->\nStill here.\n<!-- end -->")
    assert "## Other answers" in text
    assert datasheet.answered(text) == {"gone": "Still here."}


def test_headers_and_tables_become_no_markup(tmp_path):
    found = {
        "train": {**part(9), "manufacturer": {"<!-- answer: licence -->": 9}, "manufacturer_model": {"<b>x\ny": 9}}
    }
    text = datasheet.page(tmp_path, DATA, found)
    assert "<b>" not in text
    assert text.count("<!-- answer: licence -->") == 1


def test_readers_who_disagree_are_counted(tmp_path):
    (tmp_path / "adjudication.csv").write_text("record_uid,reader\n1.2,a\n1.2,b\n1.3,a\n", encoding="utf-8")
    assert "Readers disagree on 2 images" in datasheet.page(tmp_path, DATA, FOUND)


def test_names_become_neither_links_nor_pictures(tmp_path):
    names = ("![x](http://evil/x.png)", "[y](javascript:1)", "<img src=x>", "a\\[b](c)", "two\n# lines")
    sites = {name: {"records": 1, "patients": 1} for name in names}
    data = dataclasses.replace(DATA, class_names=names)
    text = datasheet.page(tmp_path, data, {**FOUND, "train": {**part(9), "subgroups": {"site": sites}}})
    assert not re.search(r"(?<!\\)(?:\\\\)*\[", text)  # each bracket is escaped
    assert "<img" not in text
    assert not re.search(r"^# lines", text, re.MULTILINE)


def test_patients_in_two_splits_are_not_denied(tmp_path):
    assert "No patient is in two splits." in datasheet.page(tmp_path, DATA, FOUND)
    text = datasheet.page(tmp_path, DATA, {**FOUND, "shared_patients": {"count": 2, "patients": ["P1", "P2"]}})
    assert "Patients in two splits: 2." in text
    assert "No patient is in two splits" not in text


def test_bands_of_age_go_up(tmp_path):
    bands = ("unknown", "80 and over", "18 to 39", "under 18")
    found = {
        **FOUND,
        "test": {**part(9), "subgroups": {"age_band": {band: {"records": 1, "patients": 1} for band in bands}}},
    }
    text = datasheet.page(tmp_path, DATA, found)
    places = [text.index(f"\n| {band} |") for band in ("under 18", "18 to 39", "80 and over", "unknown")]
    assert places == sorted(places)


def test_an_answer_whose_end_was_deleted_is_kept(tmp_path):
    first = datasheet.page(tmp_path, DATA, FOUND).replace(datasheet._OPEN, "Mine.", 1)
    cut = first.replace("<!-- end -->", "", 1)
    again = datasheet.page(tmp_path, DATA, FOUND, cut)
    assert "Mine." in again
    assert "Mine." in datasheet.page(tmp_path, DATA, FOUND, again)
