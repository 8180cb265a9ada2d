"""Labels in a curation: what is wrong with them is told with counts, also where `convert` would refuse the table."""

import functools
from collections.abc import Callable
from pathlib import Path

import pytest

from beam_jobs import curate_series
from radkit import config, outputs
from tests.beam_jobs import curated
from tests.beam_jobs.curated import names, series, table, uid
from tests.reports import page_check


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., tuple[int, Path]]:
    """Returns a call of the job on `tmp_path / dicom`: its status and the output."""
    monkeypatch.setattr(curate_series.checks, "of_volume", curated.of_volume)
    return functools.partial(curated.run, tmp_path)


def labels(folder: Path, *rows: str, header: str = "SeriesInstanceUID,organ,reader") -> str:
    (folder / "labels.csv").write_text("\n".join([header, *rows]) + "\n")
    return f"--labels={folder / 'labels.csv'}"


CLASSES = {"label": "organ", "class_names": ("no", "yes")}


def test_where_each_image_has_its_label_nothing_is_found(call, tmp_path) -> None:
    for patient in (1, 2):
        series(tmp_path / "dicom", patient)
    status, folder = call(labels(tmp_path, f"{uid(1)},no,A", f"{uid(2)},yes,A"), **CLASSES)
    assert status == 0
    assert outputs.read_json(folder / "summary.json")["of_folder"] == {}


def test_what_is_wrong_with_labels_is_told_with_counts_though_convert_would_refuse(call, tmp_path, capsys) -> None:
    for patient in range(1, 7):
        series(tmp_path / "dicom", patient)
    series(tmp_path / "dicom", 7, modality="MR")  # is not asked for, so that it lacks no label
    told = labels(
        tmp_path,
        f"{uid(1)},no,A", f"{uid(1)},no,A",
        f"{uid(2)},no,A", f"{uid(2)},yes,A",
        f"{uid(3)},yess,A",
        f"{uid(4)},no,A", f"{uid(4)},yes,B",
        f"{uid(5)},no,A",
        f"{uid(8)},no,A", f"{uid(9)},no,A",
    )  # fmt: skip
    status, folder = call(told, **CLASSES, modalities=("CT",))
    printed = capsys.readouterr().out
    assert status == 1
    summary = outputs.read_json(folder / "summary.json")
    assert summary["of_folder"] == {
        "unknown_class": 1, "duplicate_rows": 1, "contradicting_rows": 2, "several_readers": 1,
        "labels_without_images": 2,
    }  # fmt: skip
    assert set(names(folder, "images_without_labels")) == {uid(3), uid(6)}
    assert set(names(folder, "contradicting_rows")) == {"", uid(4)}  # as many votes for either class
    assert [row["SeriesInstanceUID"] for row in table(folder / "curation.csv") if row["decision"] != "keep"] == [
        uid(4), uid(7),
    ]  # fmt: skip
    page = (folder / "quality.html").read_text()
    assert "radkit convert would refuse the whole folder: --labels labels.csv, line 6" in page
    for name, count in summary["of_folder"].items():
        assert f"#folder-{name}" in page_check.read(page).links
        assert f"{count} {name}" in printed
    assert "labels.csv: 2 of 6 SeriesInstanceUID values are no image" in page


@pytest.mark.parametrize("policy", ["without_image", "missing"])
def test_policies_that_refuse_a_whole_folder_are_said_first(call, tmp_path, policy) -> None:
    for patient in (1, 2):
        series(tmp_path / "dicom", patient)
    wishes = config.Annotations(**{policy: "refuse"})
    _, folder = call(labels(tmp_path, f"{uid(1)},no,A", f"{uid(9)},no,A"), **CLASSES, annotations=wishes)
    page = (folder / "quality.html").read_text()
    assert f"data.annotations.{policy}=" in page[: page.index("<h2>What to mend")]


def test_labels_that_no_column_asks_for_and_tables_that_are_none_are_refused(call, tmp_path, capsys) -> None:
    series(tmp_path / "dicom", 1)
    assert call(labels(tmp_path, "1.2,no,A"))[0] == 2
    assert "no data.label" in capsys.readouterr().err
    assert call(labels(tmp_path, "1.2,no,A", header="Series,organ,reader"), **CLASSES)[0] == 2
    assert "labels.csv has the columns" in capsys.readouterr().err


def test_images_of_which_another_identifier_is_wrong_are_told(call, tmp_path) -> None:
    for patient in (1, 2):
        series(tmp_path / "dicom", patient)
    told = labels(tmp_path, f"{uid(1)},P001,no", f"{uid(2)},P007,no", header="SeriesInstanceUID,PatientID,organ")
    status, folder = call(told, **CLASSES)
    assert status == 1
    assert set(names(folder, "contradicting_rows")) == {uid(2)}


def test_times_that_readers_do_not_agree_on_are_told_and_the_rest_is_looked_at(call, tmp_path) -> None:
    for patient in (1, 2, 3):
        series(tmp_path / "dicom", patient)
    rows = (f"{uid(1)},30,1,A", f"{uid(1)},31,1,B", f"{uid(2)},12,0,A")
    told = labels(tmp_path, *rows, header="SeriesInstanceUID,days,died,reader")
    wishes = config.Annotations(several="majority")
    _, folder = call(told, label="days", label_kind="survival", event="died", annotations=wishes)
    page = (folder / "quality.html").read_text()
    assert "would refuse the whole folder: --labels labels.csv, line 3: the readers of this SeriesInstanceUID" in page
    assert set(names(folder, "images_without_labels")) == {uid(3)}


def test_reports_are_looked_at_as_labels_are(call, tmp_path) -> None:
    for patient in (1, 2):
        series(tmp_path / "dicom", patient)
    told = labels(tmp_path, f"{uid(1)},clear", f"{uid(2)},", header="SeriesInstanceUID,text")
    _, folder = call(told, report="text")
    assert set(names(folder, "images_without_labels")) == {uid(2)}
    assert "no report in the labels table" in (folder / "findings.csv").read_text()
