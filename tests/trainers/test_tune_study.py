"""What the search makes of what it is told."""

import math
from pathlib import Path

import pytest

from trainers import tune_study
from trainers.tune_space import Domain

SPACE = {"rate": Domain("log", (1e-5, 1.0)), "filters": Domain("choice", ((4, 8), (8, 16))), "n": Domain("int", (0, 9))}


def searched(folder: Path, search: str, seed: int, trials: int) -> list[tune_study.Row]:
    """Returns the trials of a search of which rates above 0.05, a quarter of the range, fail and 0.001 is best."""
    folder.mkdir()
    asked = tune_study.Asked(search, seed=seed)
    study = tune_study.opened(folder / "study.db", asked, 3)
    for trial, values in tune_study.trials(study, SPACE, asked, trials):
        assert all(SPACE[name].holds(value) for name, value in values.items())
        if values["rate"] > 0.05:
            tune_study.tell(study, trial, None, why="diverged")
        else:
            score = 1 - 0.1 * abs(math.log10(values["rate"]) + 3) + 0.1 * (values["filters"] == (8, 16))
            tune_study.tell(study, trial, score, step=3)
    return tune_study.rows(study, SPACE)


def test_trials_are_told_as_they_ended(tmp_path: Path) -> None:
    asked = tune_study.Asked()
    study = tune_study.opened(tmp_path / "study.db", asked, 3)
    given = []
    for trial, values in tune_study.trials(study, SPACE, asked, 4):
        given.append(values)
        if trial.number == 0:
            tune_study.tell(study, trial, 0.5, step=7)
        elif trial.number == 1:
            tune_study.tell(study, trial, None, why="refused")
        elif trial.number == 2:
            assert not tune_study.is_hopeless(study, trial, [0.2, None, 0.4, 0.3])
            tune_study.tell_cut(study, trial)
        else:
            tune_study.tell(study, trial, None, why="its validation score is undefined")
    rows = tune_study.rows(study, SPACE)
    assert [(row.state, row.score, row.step, row.why) for row in rows] == [
        ("finished", 0.5, 7, ""),
        ("failed", None, None, "refused"),
        ("cut short", 0.4, None, ""),
        ("failed", None, None, "its validation score is undefined"),
    ]
    assert [dict(row.values) for row in rows] == given
    assert rows[2].course == {1: 0.2, 3: 0.4, 4: 0.3}


def test_the_same_seed_tries_the_same_and_another_another(tmp_path: Path) -> None:
    one, same, other = (searched(tmp_path / name, "random", seed, 3) for name, seed in (("a", 0), ("b", 0), ("c", 1)))
    assert one == same
    assert [row.values for row in one] != [row.values for row in other]
    assert len({row.values["rate"] for row in one}) == 3


@pytest.mark.parametrize("search", tune_study.SEARCHES)
def test_a_process_killed_between_two_values_draws_the_second_as_it_would_have(search: str, tmp_path: Path) -> None:
    asked, found = tune_study.Asked(search, seed=3), []
    for name, is_killed in (("whole", False), ("killed", True)):
        study = tune_study.opened(tmp_path / name, asked, 3)
        for trial, _ in tune_study.trials(study, SPACE, asked, 12):
            tune_study.tell(study, trial, 0.1 * trial.number)
        if is_killed:
            first = dict(list(SPACE.items())[:1])
            next(tune_study.trials(study, first, asked, 13))
            study = tune_study.opened(tmp_path / name, asked, 3)
        found.append(next(tune_study.trials(study, SPACE, asked, 13))[1])
    assert found[0] == found[1]


def test_a_run_that_is_to_be_cut_short_is_so_after_a_kill(tmp_path: Path) -> None:
    asked = tune_study.Asked("random", "median")
    study = tune_study.opened(tmp_path / "study.db", asked, 3)
    for trial, _ in tune_study.trials(study, SPACE, asked, 5):
        assert not tune_study.is_hopeless(study, trial, [0.9, 0.9])
        tune_study.tell(study, trial, 0.9)
    trial, _ = next(tune_study.trials(study, SPACE, asked, 6))
    assert tune_study.is_hopeless(study, trial, [0.1])
    study = tune_study.opened(tmp_path / "study.db", asked, 3)
    trial, _ = next(tune_study.trials(study, SPACE, asked, 6))
    assert trial.number == 5
    assert tune_study.is_hopeless(study, trial, [0.1])


@pytest.mark.slow
def test_bayes_learns_of_scores_and_of_failures(tmp_path: Path) -> None:
    """Of searches of 30 trials: after the first ten, which are random, fewer fail and the scores are higher."""
    first, later = [], []
    for seed in range(3):
        rows = searched(tmp_path / str(seed), "bayes", seed, 30)
        first += rows[:10]
        later += rows[10:]

    def failed(rows: list[tune_study.Row]) -> float:
        return sum(row.state == "failed" for row in rows) / len(rows)

    def mean(rows: list[tune_study.Row]) -> float:
        scores = [row.score for row in rows if row.score is not None]
        return sum(scores) / len(scores)

    assert failed(later) < failed(first)
    assert mean(later) > mean(first)
