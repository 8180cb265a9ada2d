"""Pages of several labels, degrees and numbers."""

import numpy as np
import pytest

from radkit.errors import UserError
from radkit.reports import evaluation_labels
from tests.reports import page_check

HISTORY = [{"step": n, "loss": 1.0 / n, "validation score": 0.5} for n in (1, 2)]
RESULT = {
    "figures": {"mean AUC": 0.8},
    "subgroups": {"sex F": {"n": 3}},
    "look": {"warning": "second look", "told": "look 2"},
}


def headings(page: str) -> list[str]:
    return [words for _, words in page_check.read(page).headings][1:]


def test_several_labels_are_counted_and_drawn_where_they_are_known() -> None:
    random = np.random.default_rng(0)
    truth = random.integers(-1, 2, (30, 2))
    page = evaluation_labels.Page("t", RESULT, [np.zeros((4, 4))], ["worst"], ["mind"], HISTORY)
    made = evaluation_labels.multi_label(page, truth, random.random((30, 2)), ("mass", "effusion"))
    assert headings(made) == [
        *(
            "Figures",
            "Labels",
            "Discrimination",
            "Calibration and scores",
            "Subgroups",
            "Worst cases",
            "Learning curves",
        )
    ]
    cells = page_check.read(made).cells
    start = cells.index("mass")
    assert cells[start + 1 : start + 4] == [str(int((truth[:, 0] == value).sum())) for value in (1, 0, -1)]
    assert "second look" in made


def test_degrees_are_counted_by_reference_and_call() -> None:
    page = evaluation_labels.Page("t", RESULT)
    made = evaluation_labels.ordinal(page, np.array([0, 1, 1]), np.array([0, 1, 0]), ("low", "high"))
    cells = page_check.read(made).cells
    start = cells.index("low")
    assert cells[start : start + 6] == ["low", "1", "0", "high", "1", "1"]


def test_numbers_have_their_agreement_in_their_unit() -> None:
    page = evaluation_labels.Page("t", RESULT, history=HISTORY)
    made = evaluation_labels.regression(page, np.array([1.0, 2.0, 4.0]), np.array([2.0, 2.0, 3.0]), "size", "mm")
    assert headings(made) == ["Figures", "Agreement", "Subgroups", "Learning curves"]
    assert "mm" in page_check.read(made).cells


def test_an_image_without_a_caption_is_refused() -> None:
    page = evaluation_labels.Page("t", RESULT, [np.zeros((4, 4))])
    with pytest.raises(UserError, match="1 images and 0 captions"):
        evaluation_labels.ordinal(page, np.array([0]), np.array([0]), ("low", "high"))
