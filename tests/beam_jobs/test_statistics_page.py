"""explore.html and datasheet.md of made-up records: what is counted, shown and warned of, for labels of every kind."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from beam_jobs import statistics_balance, statistics_looks, statistics_page, statistics_plots, statistics_sheets
from radkit import config, outputs
from radkit.data import convert, records, shards, splits
from radkit.data.exploring import image_features
from tests.conftest import MadeUp
from tests.data import made_up_rows
from tests.reports import page_check

FLAGS = ("mass", "nodule", "effusion")
KINDS = {
    "class": made_up_rows.RADIOGRAPHS,
    "ordinal": dataclasses.replace(made_up_rows.RADIOGRAPHS, label_kind="ordinal"),
    "multi_label": dataclasses.replace(made_up_rows.RADIOGRAPHS, label_kind="multi_label", class_names=FLAGS),
    "regression": dataclasses.replace(
        made_up_rows.RADIOGRAPHS, label_kind="regression", class_names=(), label_unit="mm"
    ),
    "survival": dataclasses.replace(
        made_up_rows.RADIOGRAPHS, label_kind="survival", class_names=(), label_unit="days", event="died"
    ),
    "none": config.Data(dataset="made", kind="radiograph"),
}


def figures(rows: list[dict[str, Any]], times: int = 1) -> dict[str, Any]:
    """What `statistics.json` would say of the rows, each counted so often; no subgroups."""
    found = {}
    for split in shards.SPLITS:
        inside = [row for row in rows if row["split"] == split]
        found[split] = {"records": times * len(inside), "patients": times * len({row["patient_id"] for row in inside})}
    return found


def shown(tmp_path: Path, data: config.Data, rows: list[dict[str, Any]], found: dict[str, Any]) -> page_check.Reader:
    statistics_page.write(folder=tmp_path, output=tmp_path, data=data, found=found, rows=rows)
    return page_check.read((tmp_path / "explore.html").read_text(encoding="utf-8"))


@pytest.mark.parametrize("kind", KINDS)
def test_labels_of_every_kind_have_a_page(tmp_path, kind):
    data = KINDS[kind]
    rows = made_up_rows.rows(60, data)
    read = shown(tmp_path, data, rows, figures(rows))
    headings = {text for _, text in read.headings}
    assert {"Balance", "Grey values", "Contact sheets", "By how they look", "PCA", "t-SNE", "LDA by site"} <= headings
    assert ("LDA by label" in headings) == (kind != "none")
    assert all(np.char.startswith([i["alt"] for i in read.images], "1.2."))
    assert (tmp_path / "datasheet.md").read_text(encoding="utf-8").startswith("# Datasheet: made 1.0.0")


def test_the_same_rows_give_the_same_bytes(tmp_path):
    rows = made_up_rows.rows(40)
    pages = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        statistics_page.write(tmp_path / name, tmp_path / name, made_up_rows.RADIOGRAPHS, figures(rows), rows)
        pages.append([(tmp_path / name / file).read_bytes() for file in ("explore.html", "datasheet.md")])
    assert pages[0] == pages[1]


@pytest.mark.parametrize("count", [0, 1, 3, 12])
def test_few_records_are_no_fault(tmp_path, count):
    rows = made_up_rows.rows(count)
    shown(tmp_path, made_up_rows.RADIOGRAPHS, rows, figures(rows))
    text = (tmp_path / "explore.html").read_text(encoding="utf-8")
    assert ("No record was sampled" in text) == (count == 0)
    assert ("little of what is drawn" in text) == (count > 0)


def test_records_that_are_not_shown_are_said(tmp_path):
    rows = made_up_rows.rows(30)
    shown(tmp_path, made_up_rows.RADIOGRAPHS, rows, figures(rows, times=100))
    text = (tmp_path / "explore.html").read_text(encoding="utf-8")
    assert "30 of the 3,000 records" in text
    assert "Of 30 records sampled." in text


def balance(rows: list[dict[str, Any]], found: dict[str, Any], heading: str) -> Any:
    sample = statistics_looks.sample(rows, made_up_rows.RADIOGRAPHS)
    return next(b for b in statistics_balance.balances(sample, found) if b.heading == heading)


def test_balance_is_counted_in_the_rows_where_nothing_else_counts_it():
    rows = made_up_rows.rows(40)
    found = balance(rows, figures(rows), "site")
    assert [name for name, _ in found.classes] == ["no", "yes"]
    for name, number, patients, counts in found.rows:
        inside = [row for row in rows if row["site"] == name]
        assert (number, patients) == (len(inside), len({row["patient_id"] for row in inside}))
        assert counts == [sum(row["label"] == label for row in inside) for label in ("no", "yes")]


def test_balance_is_of_all_records_where_statistics_count_it():
    rows = made_up_rows.rows(40)
    found = figures(rows)
    for split, records_, no in (("train", 700, 300), ("test", 100, 60)):
        counts = {"counts": {"no": no, "yes": records_ - no}}
        north = {"North": {"records": records_, "patients": records_ // 2, "label": counts}}
        found[split] = {"records": records_, "patients": 9, "label": counts, "subgroups": {"site": north}}
    assert balance(rows, found, "site").rows == [("North", 800, 400, [360, 440])]
    by_split = {row[0]: (row[1], list(row[3])) for row in balance(rows, {**found, "validation": {}}, "split").rows}
    assert by_split == {"train": (700, [300, 400]), "test": (100, [60, 40])}


@pytest.mark.parametrize("sampled", [90, 6])
def test_bars_of_many_classes_hold_all_records(sampled):
    names = tuple(f"class {n:02d}" for n in range(30))
    data = dataclasses.replace(made_up_rows.RADIOGRAPHS, class_names=names)
    rows = made_up_rows.rows(90)
    for n, row in enumerate(rows):
        row["label"] = names[n % 30]
    found = figures(rows)
    for split in shards.SPLITS:
        labels = [row["label"] for row in rows if row["split"] == split]
        found[split]["label"] = {"counts": {name: labels.count(name) for name in names}}
    balances = statistics_balance.balances(statistics_looks.sample(rows[:sampled], data), found)
    (by_split,) = [one for one in balances if one.heading == "split"]
    assert [name for name, _ in by_split.classes][-1] == "others"
    assert {row[0]: sum(row[3]) for row in by_split.rows} == {s: found[s]["records"] for s in shards.SPLITS}


def test_many_classes_have_few_pictures_each():
    names = tuple(f"finding {n:02d}" for n in range(60))
    data = dataclasses.replace(KINDS["multi_label"], class_names=names)
    rows = made_up_rows.rows(90)
    for row in rows:
        row["label"] = dict.fromkeys(names, 1)
    sheets = statistics_sheets.sheets(statistics_looks.sample(rows, data))
    assert len(sheets) == 3 * len(names)
    assert sum(len(tiles) for _, tiles in sheets) <= 240


def test_the_page_tells_the_test_set_in_full(tmp_path):
    rows = made_up_rows.rows(12)
    outputs.write_json(tmp_path / "splits.json", {"test_set": {"type": "geographic", "sites": ["North", "<b>"]}})
    shown(tmp_path, made_up_rows.RADIOGRAPHS, rows, figures(rows))
    assert "Test set: geographic, North and &lt;b&gt;." in (tmp_path / "explore.html").read_text(encoding="utf-8")


def test_what_goes_together_with_the_label_is_warned_of():
    rows = made_up_rows.rows(120)
    sample = statistics_looks.sample(rows, made_up_rows.RADIOGRAPHS)
    (said,) = [line for line in statistics_looks.warnings(sample) if "site" in line]
    assert f"V {sample.associations['site']:.2f}" in said
    assert sample.associations["site"] > 0.5
    assert "the images show it" in said  # the site goes with the label, and the label is bright
    assert sample.told["label"].low > 0.9
    even = [{**row, "site": made_up_rows.SITES[n // 2 % 2]} for n, row in enumerate(rows)]
    for row, label in zip(even, ["no", "yes"] * 60):
        row["label"] = label
    assert not statistics_looks.warnings(statistics_looks.sample(even, made_up_rows.RADIOGRAPHS))


def test_splits_that_look_different_are_warned_of():
    rows = made_up_rows.rows(100)
    for row in rows:
        if row["split"] == "test":
            row["features"] = {name: value + 1000 for name, value in row["features"].items()}
    (said,) = [
        line for line in statistics_looks.warnings(statistics_looks.sample(rows, KINDS["none"])) if "splits" in line
    ]
    assert "tell them apart" in said


def test_flags_are_shares_of_what_is_known(tmp_path):
    data = KINDS["multi_label"]
    rows = made_up_rows.rows(30, data)
    counts = {"mass": {"yes": 5, "no": 15, "unknown": 3}, "nodule": {"yes": 0, "no": 0, "unknown": 23}}
    found = {**figures(rows), "train": {"records": 23, "patients": 20, "label": {"counts": counts}}}
    (table,) = statistics_balance.flag_tables(found, data)
    assert list(table.header) == ["class", "train"]
    assert table.rows[:2] == [("mass", "25.0 % of 20, 3 unknown"), ("nodule", "none known, 23 unknown")]
    assert {"25.0 % of 20, 3 unknown"} <= set(shown(tmp_path, data, rows, found).cells)


def test_anomalies_are_on_the_page_errors_first(tmp_path):
    rows = made_up_rows.rows(20)
    anomaly = {"where": "test: site", "text": "0.4 <here>"}
    listed = [
        {"name": "skew", "severity": "warning", **anomaly},
        {"name": "not_finite", "severity": "error", **anomaly},
    ]
    shown(tmp_path, made_up_rows.RADIOGRAPHS, rows, {**figures(rows), "anomalies": listed * 10})
    text = (tmp_path / "explore.html").read_text(encoding="utf-8")
    assert text.index("not_finite, test: site: 0.4 &lt;here&gt;") < text.index("skew, test: site")
    assert "8 more are in anomalies.csv." in text


def test_each_record_weighs_the_same_in_the_spread_of_values():
    rows = made_up_rows.rows(40, KINDS["none"])
    for histogram in statistics_plots.values(statistics_looks.sample(rows, KINDS["none"])):
        for curve in histogram.curves:
            assert 0.95 < sum(curve.heights) <= 1.0001  # what lies beyond the axis is missing


def test_values_of_different_scales_are_standardised():
    rows = made_up_rows.rows(30, KINDS["none"])
    for row in rows[::2]:
        row["quantiles"] = [1000 * value for value in row["quantiles"]]
        row["features"] = {**row["features"], **{n: 1000 * row["features"][n] for n in ("mean", "deviation")}}
    plots = statistics_plots.values(statistics_looks.sample(rows, KINDS["none"]))
    assert plots[0].heading.startswith("Standardised")
    assert plots[-1].heading == "Range of grey values, log10"
    assert -5 < plots[0].low < plots[0].high < 5


@pytest.mark.parametrize(
    ("quantiles", "edges", "shares"),
    [
        ([0, 1, 2, 3, 4], [0, 2, 4], [0.5, 0.5]),
        ([0, 0, 0, 0, 4], [-1, 0, 2, 4], [0.0, 0.875, 0.125]),  # three quarters are 0, and lie in the bin from 0
        ([2, 2, 2], [0, 1, 2], [0, 1]),  # the last bin holds its end
        ([5, 6, 7], [0, 1, 2], [0, 0]),
        ([-5, -4, -3], [0, 1, 2], [0, 0]),
    ],
)
def test_shares_of_bins_by_hand(quantiles, edges, shares):
    found = statistics_plots._shares(np.array(quantiles, float), np.array(edges, float))
    np.testing.assert_allclose(found, shares, atol=1e-9)


def test_shares_of_bins_are_those_of_the_values():
    values = np.sort(np.random.default_rng(0).gamma(2, 100, 20000).round())
    quantiles = np.quantile(values, np.linspace(0, 1, 2001))
    edges = np.linspace(0, 600, 13)
    expected = np.histogram(values, edges)[0] / len(values)
    np.testing.assert_allclose(statistics_plots._shares(quantiles, edges), expected, atol=5e-3)


@pytest.mark.parametrize("values", [[1, 2, 3], [5, 900], [0.1, 0.7, 0.3], list(range(200))])
def test_every_value_lies_in_a_bin(values):
    edges = statistics_plots._edges(values, all(float(v).is_integer() for v in values))
    assert np.histogram(values, edges)[0].sum() == len(values)
    assert len(edges) <= 26


def test_sheets_are_of_every_class_and_split_and_name_what_they_leave_out():
    rows = made_up_rows.rows(200)
    sheets = statistics_sheets.sheets(statistics_looks.sample(rows, made_up_rows.RADIOGRAPHS))
    assert [re.sub(":.*", "", heading) for heading, _ in sheets] == [
        f"{label}, {split}" for label in ("no", "yes") for split in shards.SPLITS
    ]
    for heading, tiles in sheets:
        shown_, total = map(int, re.findall(r"\d+", heading))
        label, split = re.split(", |:", heading)[:2]
        inside = [row["record_uid"] for row in rows if (row["label"], row["split"]) == (label, split)]
        assert total == len(inside)
        assert [tile.name for tile in tiles] == inside[:shown_]


def test_a_record_of_several_classes_is_on_several_sheets():
    data = KINDS["multi_label"]
    rows = made_up_rows.rows(27, data)
    sheets = dict(statistics_sheets.sheets(statistics_looks.sample(rows, data)))
    for name in FLAGS:
        found = {tile.name for heading, tiles in sheets.items() if heading.startswith(f"{name}, ") for tile in tiles}
        assert found == {row["record_uid"] for row in rows if row["label"][name] == 1}


def rows_of(made: MadeUp) -> list[dict[str, Any]]:
    data = made.experiment.data
    found = [
        {**image_features.describe(records.decode(record, convert.fields_of(data)), data), "split": split}
        for split in shards.SPLITS
        for path in shards.split_files(made.folder, split)
        for record in shards.read_shard(path)
    ]
    return sorted(found, key=lambda row: splits.place(row["record_uid"]))


def test_records_of_volumes_have_a_page_with_their_masks(volumes, tmp_path):
    rows = rows_of(volumes)
    data = volumes.experiment.data
    statistics_page.write(folder=volumes.folder, output=tmp_path, data=data, found=figures(rows), rows=rows)
    read = page_check.read((tmp_path / "explore.html").read_text(encoding="utf-8"))
    headings = {text for _, text in read.headings}
    assert {"Slices", "Shell (mL)", "Core (mL)"} <= headings
    assert len(read.images) >= len(rows)
    sheet = (tmp_path / "datasheet.md").read_text(encoding="utf-8")
    assert "shell" in sheet
    assert "data.mask_labels" in sheet


def test_an_image_outside_the_rest_is_named(tmp_path):
    rows = made_up_rows.rows(80)
    rows[3]["features"] = {**rows[3]["features"], "mean": 1e5, "kurtosis": 900.0, "sharpness": 44.0}
    sample = statistics_looks.sample(rows, made_up_rows.RADIOGRAPHS)
    first = statistics_sheets.outliers(sample)[0]
    assert first.name == rows[3]["record_uid"]
    assert "times the limit" in first.words
    assert "mean" in first.words.lower()


def test_answers_in_the_datasheet_stay(tmp_path):
    rows = made_up_rows.rows(20)
    shown(tmp_path, made_up_rows.RADIOGRAPHS, rows, figures(rows))
    sheet = tmp_path / "datasheet.md"
    text = sheet.read_text(encoding="utf-8")
    mark = "<!-- answer: licence -->\n"
    start = text.index(mark) + len(mark)
    outputs.write_text(sheet, text[:start] + "CC0.\n\nSee | the page." + text[text.index("\n<!-- end -->", start) :])
    answered = sheet.read_text(encoding="utf-8")
    shown(tmp_path, made_up_rows.RADIOGRAPHS, rows, figures(rows))
    assert sheet.read_text(encoding="utf-8") == answered
