"""The page of a search, of trials of all kinds."""

from radkit.reports import tune_page
from radkit.reports.tune_page import Trial
from tests.reports import page_check

TRIALS = [
    Trial(0, "finished", 0.5, {"rate": 0.01, "name": "sgd", "xla": True}, [(2, 0.4), (4, 0.5)]),
    Trial(1, "cut short", 0.3, {"rate": 0.1, "name": "adamw", "xla": False}, [(2, 0.3)]),
    Trial(2, "failed", None, {"rate": 1.0, "name": "<b>", "xla": True}, why="5 < 6"),
    Trial(3, "finished", 0.7, {"rate": 0.001, "name": "adamw", "xla": True}, [(2, 0.6), (4, 0.7)]),
]


def test_trials_are_listed_best_first_and_failures_last_with_their_reason() -> None:
    page = tune_page.page("A search", "0.7", TRIALS, ["Kind figures."], frozenset({"rate"}))
    found = page_check.read(page)
    assert len(found.images) == 3
    assert all(one["alt"] for one in found.images)
    at = [found.cells.index(words) for words in ("trial", "3", "0", "1", "2", "5 < 6")]
    assert at == sorted(at)
    assert "<b>" not in page
    assert "Kind figures." in page


def test_a_search_of_failures_only_has_a_table_and_no_pictures() -> None:
    found = page_check.read(tune_page.page("A search", "", TRIALS[2:3], [], frozenset()))
    assert not found.images
    assert "5 < 6" in found.cells
