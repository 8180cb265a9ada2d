"""A run's page: what came out, what must not be overlooked, the settings that were chosen."""

import pytest

from radkit import config
from radkit.reports import html, run_page
from tests.reports import page_check

EXPERIMENT = config.Experiment(
    config.Data("chests", label="ill <b>", class_names=("no", "yes")),
    config.Model("resnet", {"filters": (4, 8)}),
    config.Task("classification"),
    trainer=config.Trainer(steps=40, sampling=config.Sampling(foreground=0.5)),
)
SAID = {
    "ended": "steps", "steps": 40, "skipped_steps": 0, "seconds": 75.0, "best_step": 20, "best_score": 0.875,
    "select": {"figure": "score", "better": "higher", "value": 0.875}, "averaged": False, "num_parameters": 12345,
    "precision": "float32", "devices": "one CPU", "num_replicas": 1, "num_hosts": 1, "seed": 0,
    "weights_sha256": "abc", "data": "def", "patients": {"train": ["a", "b"], "validation": ["c"]},
    "code": {"radkit": "1", "sha256": "x"}, "versions": {"keras": "3"},
}  # fmt: skip
HISTORY = [
    {"step": 20, "loss": 0.5, "validation score": 0.875, "images_per_s": 10.0, "learning_rate": 1e-3},
    {"step": 40, "loss": None, "validation score": None, "images_per_s": 11.0, "learning_rate": 0.0},
]


def made(said: dict | None = None, history: list | None = None, report: str = "") -> str:
    settings = config.to_json(EXPERIMENT)
    return run_page.page("chests", {**SAID, **(said or {})}, settings, HISTORY if history is None else history, report)


def test_a_run_is_told_with_its_curves_and_what_it_was_made_of() -> None:
    read = page_check.read(made(report=html.page("of the task", html.paragraph("What the task says"))))
    assert {
        "0.875 after step 20",
        "1 min 15 s",
        "2 train, 1 validation",
        "12,345",
        "one CPU (1 replicas, 1 hosts)",
    } <= {*read.cells}
    assert len(read.images) == 1
    assert "What the task says" in made(report=html.page("of the task", html.paragraph("What the task says")))


def test_settings_that_differ_from_the_defaults_are_listed() -> None:
    found = dict(run_page.changed(config.to_json(EXPERIMENT)))
    assert found["trainer.steps"] == "40"
    assert found["trainer.sampling.foreground"] == "0.5"
    assert found["model.settings"] == "{'filters': [4, 8]}"
    assert "optimizer.learning_rate" not in found
    assert "ill <b>" not in made()


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"skipped_steps": 3}, "3 of 40 steps had a loss or gradient that is not finite"),
        ({"best_score": None}, "No validation had a defined score"),
        ({"best_step": 40}, "more steps may do better"),
        ({}, "too good by as much as choosing gains"),
    ],
)
def test_what_must_not_be_overlooked(said: dict, expected: str) -> None:
    assert any(expected in note for note in run_page.notes({**SAID, **said}))


def test_another_rule_than_the_score_is_told_as_its_figure() -> None:
    said = {"best_score": -0.2, "select": {"figure": "Brier score", "better": "lower", "value": 0.2}}
    history = [{"step": 20, "validation score": -0.2, "validation Brier score": 0.2}]
    cells = page_check.read(made(said, history)).cells
    at = cells.index("best validation Brier score")
    assert cells[at : at + 4] == [
        "best validation Brier score",
        "0.200 after step 20",
        "chosen by",
        "Brier score, lower is better",
    ]


def test_a_run_without_a_validation_has_a_page() -> None:
    assert "No step was validated" in made(history=[])


def test_a_page_of_another_make_is_named_and_not_shown() -> None:
    page = made(report="<html><body>Of somebody</body></html>")
    assert "Of somebody" not in page
    assert "radkit evaluate writes it by itself" in page


def test_figures_of_training_have_curves() -> None:
    drawn = made(history=[{**line, "training AUC": 0.5} for line in HISTORY])
    assert "training auc" in drawn.partition("Curves over")[2]
    assert "training auc" not in made().partition("Curves over")[2]
