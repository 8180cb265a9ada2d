import dataclasses
from typing import Any

import numpy as np
import pytest

from radkit.errors import UserError
from radkit.reports import evaluation, html
from tests.reports import made_up, page_check


def headings(page: str) -> list[str]:
    return [words for _, words in page_check.read(page).headings]


def test_a_classifiers_page_shows_every_part() -> None:
    page = evaluation.classification_page(**made_up.classification())
    reader = page_check.read(page)
    assert headings(page)[1:] == [
        *("Figures", "Discrimination", "Calibration and scores", "Calls"),
        *("Subgroups", "Worst cases", "Learning curves"),
    ]
    assert page.index("site A has 90 %") < page.index("<h2>Figures")
    assert {"ROC AUC", "0.868 to 0.969", "undefined", "sex F", "0.880"} <= set(reader.cells)
    assert len(reader.images) == 6


def test_the_same_input_gives_the_same_bytes() -> None:
    first, again = (evaluation.classification_page(**made_up.classification(n=30)) for _ in range(2))
    assert first == again
    first, again = (evaluation.segmentation_page(**made_up.segmentation(2)) for _ in range(2))
    assert first == again


def test_the_calls_are_counted_at_the_operating_point() -> None:
    arguments = made_up.classification() | {
        "y_true": np.array([0, 0, 1, 1]),
        "y_score": np.array([0.39, 0.4, 0.3, 0.9]),
        "images": [],
        "captions": [],
        "history": [],
    }
    reader = page_check.read(evaluation.classification_page(**arguments))
    start = reader.cells.index("normal")
    assert reader.cells[start : start + 6] == ["normal", "1", "1", "pneumonia", "1", "1"]


@pytest.mark.parametrize("point", [None, {}, {"threshold": float("nan")}])
def test_without_an_operating_point_the_threshold_is_a_half(point: object) -> None:
    arguments = made_up.classification(n=20) | {"result": {"operating_point": point, "subgroups": None}}
    assert "at least 0.5" in evaluation.classification_page(**arguments)


def test_several_classes_are_called_by_their_largest_score() -> None:
    page = evaluation.classification_page(**made_up.classification(classes=3))
    assert "the class of the largest score" in page
    assert "called other" in page


def test_one_class_only_is_said_in_words() -> None:
    arguments = made_up.classification(n=20) | {"y_true": np.zeros(20, int), "notes": []}
    page = evaluation.classification_page(**arguments)
    page_check.read(page)
    assert "all cases are alike in it: pneumonia" in page
    assert "Read this first" not in page


@pytest.mark.parametrize(
    "result",
    [{"auc": 0.9, "n": 3, "note": "text", "curve": [1, 2]}, {"figures": {"auc": {"value": 0.9}, "n": {"value": 3}}}],
)
def test_figures_may_be_plain_or_nested(result: dict[str, Any]) -> None:
    arguments = made_up.classification(n=20) | {"result": result, "images": [], "captions": [], "history": []}
    reader = page_check.read(evaluation.classification_page(**arguments))
    assert reader.cells[:6] == ["figure", "value", "AUC", "0.900", "n", "3"]


def test_an_image_without_a_caption_is_refused() -> None:
    with pytest.raises(UserError, match="3 images and 0 captions"):
        evaluation.classification_page(**made_up.classification() | {"captions": []})


def test_a_segmentations_page_shows_every_part() -> None:
    page = evaluation.segmentation_page(**made_up.segmentation())
    reader = page_check.read(page)
    assert headings(page)[1:] == [
        *("Figures", "Overlap of each case", "Volumes"),
        *("Cases in pictures", "Cases", "Learning curves"),
    ]
    assert {"dice anterior", "dice posterior", "0.840 to 0.900", "cases set to worst"} <= set(reader.cells)
    start = reader.cells.index("dice anterior")
    assert "case-05" in reader.cells[start : start + 8], "the worst case comes first"
    assert "<figcaption>case-05" in page


def test_without_volumes_and_pictures_the_page_still_stands() -> None:
    bare = [{"name": "one", "dice": 1.0, "dice a": 1.0}]
    page = evaluation.segmentation_page("Bare", {}, bare, ["a"], [], [], [])
    page_check.read(page)
    assert "Volumes" not in page
    assert "Cases in pictures" not in page


def test_only_the_worst_of_many_cases_are_listed() -> None:
    cases = [made_up.figures(0) | {"name": f"case-{number:03d}"} for number in range(53)]
    page = evaluation.segmentation_page("Many", {}, cases, made_up.LABELS, [], [], [])
    assert "3 better cases are not listed" in page


def test_masks_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UserError, match="at least one case"):
        evaluation.segmentation_page("None", {}, [], [], [], [], [])
    case = dataclasses.replace(made_up.case(0), reference=np.zeros((2, 2, 2)))
    with pytest.raises(UserError, match="one shape"):
        evaluation.segmentation_page("Wrong", {}, [made_up.figures(0)], made_up.LABELS, [case], [], [])


def test_a_subgroups_figure_shows_its_interval() -> None:
    groups = {"view PA": {"n": 52, "AUC": {"value": 0.847, "low": 0.736, "high": 0.938}}}
    arguments = made_up.classification(n=20) | {"result": {"figures": {}, "subgroups": groups}}
    assert "0.847 (0.736 to 0.938)" in page_check.read(evaluation.classification_page(**arguments)).cells


def test_how_the_test_set_was_made_and_how_often_it_was_seen_stands_at_the_top() -> None:
    said = {
        "test_set": {"type": "temporal", "told": "temporal, from 2024-01-01"},
        "look": {"number": 2, "told": "look 2 at this test set", "warning": "it is no longer unseen"},
    }
    classified, segmented = made_up.classification(), made_up.segmentation(2)
    pages = (
        evaluation.classification_page(**{**classified, "result": {**classified["result"], **said}}),
        evaluation.segmentation_page(**{**segmented, "result": {**segmented["result"], **said}}),
    )
    for page in pages:
        assert "; test set: temporal, from 2024-01-01; look 2 at this test set</p>" in page
        assert "cases; test set: temporal, from 2024-01-01; look 2 at this test set<" in html.body_of(
            page
        )  # the demo's
        assert page.index("<li>it is no longer unseen</li>") < page.index("Figures")
    assert "; test set" not in evaluation.classification_page(**classified)
