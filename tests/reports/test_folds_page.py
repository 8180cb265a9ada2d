"""The page of a cross-validation."""

import math

from radkit.reports import folds_page
from tests.reports import page_check

ROWS = [
    {"fold": 0, "num_cases": 7, "score": 0.5, "best_step": 3, "figures": {"AUC": 0.5}},
    {"fold": 1, "num_cases": 8, "score": math.nan, "best_step": 6, "figures": {}},
]
SPREAD = {name: {"mean": 0.5, "sd": math.nan, "least": 0.5, "most": 0.5, "undefined": 1} for name in ("score", "AUC")}
HISTORIES = {
    0: [{"step": 3, "loss": 0.6, "validation score": 0.5}],
    1: [{"step": 3, "loss": None, "validation score": None}],
}


def test_an_undefined_fold_stands_in_the_tables_and_not_in_the_curves() -> None:
    page = folds_page.page("Two folds", "AUC 0.5", ROWS, SPREAD, HISTORIES, ["Kind figures."])
    found = page_check.read(page)
    assert [words for level, words in found.headings if level == "h2"] == ["Folds", "Over folds", "Learning curves"]
    assert "undefined" in found.cells
    assert len(found.images) == 1
    assert "Kind figures." in page
