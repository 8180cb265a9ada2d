"""The page as a whole: every part of the report has its place, and a browser finds it fit to read."""

import importlib
from pathlib import Path

import pytest

from radkit.errors import UserError
from radkit.reports import html
from radkit.reports.clinical import figure_files, page, parts
from tests.evaluation import made_up_evaluations
from tests.reports import page_check
from tests.reports.clinical import browser, reports

HISTORY = [{"step": 10, "loss": 1.0, "score": 0.5}, {"step": 20, "loss": 0.5, "score": 0.7}]


@pytest.fixture(scope="module")
def report() -> dict:
    return reports.made(12)


@pytest.fixture(scope="module")
def whole(report: dict) -> str:
    own = html.page("Own", html.section("The task's part", html.paragraph("said by the task")))
    return page.page(report, html.figure(reports.PICTURE, "Case 7, missed"), HISTORY, own)[0]


@pytest.fixture(scope="module")
def alone(report: dict) -> tuple[str, list[parts.Drawing]]:
    return page.page(report)


@pytest.mark.parametrize("section", page.SECTIONS, ids=lambda section: section.module)
def test_every_section_has_a_module_that_says_nothing_of_nothing(section: page.Section) -> None:
    part = importlib.import_module(f"radkit.reports.clinical.{section.module}").part(None)
    assert isinstance(part, parts.Part)
    assert (part.body, list(part.drawings)) == ("", [])


def test_the_page_stands_alone_and_lists_its_contents(whole: str) -> None:
    reader = page_check.read(whole)
    headings = [words for level, words in reader.headings if level == "h2"]
    for heading in ("Figures", "Robustness", "Pictures of cases", "Methods, for a paper", "What was evaluated"):
        assert heading in headings
    assert set(reader.links) >= {"#figures-table", "#robustness", "#pictures", "#task", "#training", "#methods"}
    assert "said by the task" in whole
    assert [level for level, words in reader.headings if words == "The task's part"] == ["h3"]


def test_what_must_not_be_overlooked_stands_first(whole: str) -> None:
    first = whole[: whole.index("<nav")]
    for words in (
        "looked at before",
        "Left out: 3 cases without a reference.",
        "temporal",
        "12 cases of 6 patients",
        "reference standard: expert reader and histology",
    ):
        assert words in first


def test_the_split_or_fold_stands_in_the_title() -> None:
    told = {"task": "detection", "data": {"dataset": "lungs", "split": "validation", "cases": "validation, fold 2"}}
    assert "<h1>lungs: validation, fold 2 (detection)</h1>" in page.page(told)[0]


def test_settings_and_methods_are_told(whole: str, report: dict) -> None:
    assert report["run"]["weights_sha256"] in whole
    assert "cases: reference_standards" not in whole
    assert html.paragraph(report["methods"].split("\n\n")[1]) in whole


def test_a_report_of_little_is_a_page_of_little() -> None:
    document, drawings = page.page({"task": "detection", "cases": {"n": 1, "num_patients": 1}})
    page_check.read(document)
    assert "With one patient no interval" in document
    assert drawings == []


def test_the_same_report_gives_the_same_bytes(alone: tuple, report: dict) -> None:
    assert page.page(report)[0] == alone[0]


def test_the_task_s_page_must_be_one_of_ours(report: dict) -> None:
    with pytest.raises(UserError, match="no <main>"):
        page.page(report, own="<html></html>")


def test_every_drawing_goes_into_papers_under_its_own_name(alone: tuple) -> None:
    drawings = alone[1]
    stems = [drawing.stem for drawing in drawings]
    assert "robustness-mean-dice" in stems
    assert len(set(stems)) == len(stems)


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("dark", [False, True])
def test_a_browser_finds_the_page_fit_to_read(whole: str, width: int, dark: bool, tmp_path: Path) -> None:
    browser.check(browser.measured(whole, width, tmp_path, dark=dark), width, dark=dark)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["multi_label", "ordinal", "regression", "segmentation"])
def test_a_browser_finds_the_page_of_a_task_fit_to_read(kind: str, tmp_path: Path) -> None:
    document, drawings = page.page(made_up_evaluations.evaluated(kind, tmp_path, resamples=50))
    page_check.read(document)
    browser.check(browser.measured(document, 390, tmp_path), 390)
    assert len(list(figure_files.files(drawings))) == 2 * len(drawings) > 0


@pytest.mark.slow
def test_a_long_name_does_not_make_the_page_wider_than_the_screen(tmp_path: Path) -> None:
    named = html.page(f"{'a_long_name_of_a_data_set' * 2}: test split", f"<h2>{'Another_name' * 8}</h2>")
    assert browser.measured(named, 390, tmp_path)["scrollWidth"] <= 390


@pytest.mark.slow
def test_the_page_can_be_printed(whole: str, tmp_path: Path) -> None:
    assert browser.printed(whole, tmp_path).startswith(b"%PDF-")


@pytest.mark.slow
def test_the_check_finds_what_is_wrong(tmp_path: Path) -> None:
    wide = html.page("Wide", '<p style="width:900px;color:#ccc;background:#fff">pale and wide</p>')
    found = browser.measured(wide, 390, tmp_path)
    assert found["scrollWidth"] > 390
    assert found["wide"] == ["P"]
    pale = next(one for one in found["texts"] if one["text"] == "pale and wide")
    assert pale["ratio"] == pytest.approx(1.606, abs=0.01)
    with pytest.raises(AssertionError):
        browser.check(found, 390)
