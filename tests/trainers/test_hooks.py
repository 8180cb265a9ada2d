"""What happens after steps: counted, validated when due, the best kept, ended early, profiled."""

import dataclasses
import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from radkit import config, runs
from radkit.errors import UserError
from radkit.tasks import streams
from trainers import checkpoints, hooks, logs, strategy, validation

STEP = {"loss": 0.5, "gradient_norm": 2.0, "learning_rate": 1e-3, "is_finite": 1.0, "scale": 1.0}
BAD = {**STEP, "loss": math.nan, "is_finite": 0.0}


class Kept:
    """A keeper that remembers."""

    def __init__(self) -> None:
        self.saved: list[dict[str, Any]] = []

    def save(self, step: int, facts: dict[str, Any], wait: bool = False) -> None:
        self.saved.append({"step": step, "wait": wait, **json.loads(json.dumps(facts, allow_nan=False))})


def training(run: Path, scores: list[float], **settings: Any) -> hooks.Training:
    network = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    given = iter(scores)
    split = SimpleNamespace(run=lambda: (lambda score: validation.Found(score, score, []))(next(given)))
    said: dict[str, Any] = {
        "run": run,
        "trainer": config.Trainer(**{"steps": 12, "evaluate_every": 3, **settings}),
        "trained": SimpleNamespace(network=network, average=None, total=None),
        "keeper": Kept(),
        "devices": strategy.Devices(tf.distribute.get_strategy()),
        "batches": SimpleNamespace(figures=lambda: {"images_per_s": 1.0, "waiting_share": 0.0}, restart=lambda: None),
        "validation_split": split,
        "reached": hooks.Reached(),
        "board": logs.Board(None),
    }
    return hooks.Training(**said)


def steps(current: hooks.Training, first: int, last: int, told: dict[str, float] | None = None) -> int | None:
    """Takes steps until a hook ends it; returns the step that it ended at."""
    after = [hooks.count(current), hooks.validate(current)]
    for step in range(first, last + 1):
        if any([hook(step, told or STEP) for hook in after]):
            return step
    return None


class TestValidate:
    def test_the_best_weights_are_kept_and_the_state_is_saved(self, tmp_path: Path) -> None:
        current = training(tmp_path, [0.5, 0.7, 0.7, 0.6])
        assert steps(current, 1, 12) is None
        assert (current.reached.best, current.reached.best_step, current.reached.worse) == (0.7, 9, 2)
        assert [line["step"] for line in runs.history(tmp_path)] == [3, 6, 9, 12]
        assert [line["score"] for line in current.keeper.saved] == [0.5, 0.7, 0.7, 0.6]  # type: ignore[attr-defined]
        assert current.is_over
        assert current.ended == "steps"
        assert (tmp_path / runs.TABLE).read_text().count("\n") == 5

    def test_an_undefined_score_never_beats_a_defined_one(self, tmp_path: Path) -> None:
        current = training(tmp_path, [math.nan, 0.2, math.nan])
        steps(current, 1, 3)
        assert (current.reached.best, current.reached.best_step) == (None, 3)
        steps(current, 4, 9)
        assert (current.reached.best, current.reached.best_step) == (0.2, 6)
        assert runs.history(tmp_path)[0]["validation score"] is None

    def test_figures_of_training_are_of_the_steps_since_the_last_validation(self, tmp_path: Path) -> None:
        current = training(tmp_path, [0.5, 0.4])
        current.stream = streams.classification(config.Data("x", class_names=("a", "b", "c")))
        for right in (2.0, 1.0, 4.0):
            steps(
                current,
                current.reached.step + 1,
                current.reached.step + 1,
                {**STEP, "sums": {"known": np.float32(4), "right": np.float32(right)}},
            )
        steps(current, 4, 5, {**BAD, "sums": {"known": np.float32(4), "right": np.float32(4)}})
        assert current.reached.sums == {}
        steps(current, 6, 6, {**STEP, "sums": {"known": np.float32(4), "right": np.float32(1)}})
        told = [line["training accuracy"] for line in runs.history(tmp_path)]
        assert told == [7 / 12, 0.25]

    def test_training_ends_when_no_better_score_comes(self, tmp_path: Path) -> None:
        current = training(tmp_path, [0.5, 0.4, 0.5, 0.9], early_stopping=2)
        assert steps(current, 1, 12) == 9
        assert current.is_over
        assert current.ended == "early_stopping"

    @pytest.mark.parametrize(("logit", "told"), [(math.nan, "after step 3 .* has diverged"), (0.5, "no such figure")])
    def test_a_network_that_answers_nan_has_diverged(self, tmp_path: Path, logit: float, told: str) -> None:
        def refuse() -> None:
            raise UserError("no such figure")

        current = training(tmp_path, [])
        shown = [SimpleNamespace(answer={"class": np.int64(1), "probabilities": np.float32([logit])})]
        current.validation_split = SimpleNamespace(run=refuse, shown=lambda _: shown)  # type: ignore[assignment]
        with pytest.raises(UserError, match=told):
            steps(current, 1, 3)

    def test_weights_that_are_nan_are_no_best_ones_whatever_their_score(self, tmp_path: Path) -> None:
        current = training(tmp_path, [0.2, 0.0, 0.0])
        steps(current, 1, 3)
        bias = current.trained.network.weights[-1]
        bias.assign(bias + math.inf)
        with pytest.raises(UserError, match=r"after step 6 weights of the network are nan or infinity: .* diverged"):
            steps(current, 4, 6)
        assert current.reached.best_step == 3
        assert [one["step"] for one in current.keeper.saved] == [3]  # type: ignore[attr-defined]

    def test_steps_that_changed_nothing_are_counted_apart(self, tmp_path: Path) -> None:
        current = training(tmp_path, [0.5])
        steps(current, 1, 2)
        steps(current, 3, 3, BAD)
        (line,) = runs.history(tmp_path)
        assert (line["loss"], line["gradient_norm"], line["skipped_steps"]) == (0.5, 2.0, 1)

    def test_validations_wait_for_the_end_of_an_execution(self, tmp_path: Path) -> None:
        current = training(tmp_path, [0.1] * 9, steps_per_execution=4, evaluate_every=3, steps=14)
        steps(current, 1, 14)
        assert [line["step"] for line in runs.history(tmp_path)] == [4, 8, 12, 14]

    def test_a_run_gone_on_with_tells_the_same(self, tmp_path: Path) -> None:
        whole, first = training(tmp_path / "a", [0.5, 0.6]), training(tmp_path / "b", [0.5])
        for current in (whole, first):
            current.run.mkdir()
        steps(whole, 1, 6)
        steps(first, 1, 5)
        first.save(wait=True)
        second = training(tmp_path / "b", [0.6])
        second.reached = hooks.Reached.of(first.keeper.saved[-1])  # type: ignore[attr-defined]
        steps(second, 6, 6)
        alike = [
            {k: v for k, v in line.items() if k not in ("seconds", "memory_mib")} for line in runs.history(whole.run)
        ]
        other = [
            {k: v for k, v in line.items() if k not in ("seconds", "memory_mib")} for line in runs.history(first.run)
        ]
        assert alike == other
        parts = [{**dataclasses.asdict(one.reached), "seconds": 0} for one in (whole, second)]
        assert parts[0] == parts[1]
        assert parts[0]["lines"] == 2


def test_a_checkpoint_without_facts_is_a_beginning() -> None:
    assert hooks.Reached.of(None) == hooks.Reached()
    assert hooks.Reached.of({"step": 4, "what_an_older_radkit_said": 1}).step == 4


class TestProfiled:
    @pytest.mark.parametrize(
        ("asked", "first_step", "expected"),
        [
            ((2, 4), 0, [("start", 1), ("stop", 4)]),
            ((1, 1), 0, [("start", 0), ("stop", 1)]),
            ((5, 9), 0, [("start", 4), ("stop", 6)]),  # the run ends before
            ((2, 4), 3, []),  # gone on with after its beginning
            (None, 0, []),
        ],
    )
    def test_these_steps_are_recorded(
        self,
        asked: tuple[int, int] | None,
        first_step: int,
        expected: list[tuple[str, int]],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        at, found = first_step, []
        monkeypatch.setattr(tf.profiler.experimental, "start", lambda _: found.append(("start", at)))
        monkeypatch.setattr(tf.profiler.experimental, "stop", lambda: found.append(("stop", at)))
        with hooks.profiled(tmp_path, asked, first_step) as hook:
            for at in range(first_step + 1, 7):
                hook(at, STEP)
        assert found == expected

    @pytest.mark.parametrize(
        ("asked", "expected"),
        [
            ((6, 7), [("start", 4), ("stop", 8)]),
            ((5, 8), [("start", 4), ("stop", 8)]),
            ((2, 3), [("start", 0), ("stop", 4)]),
            ((9, 10), [("start", 8), ("stop", 10)]),  # a last part is taken step by step
        ],
    )
    def test_of_several_steps_at_once_whole_executions_are_recorded(
        self, asked: tuple[int, int], expected: list[tuple[str, int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        taken, found = 0, []
        monkeypatch.setattr(tf.profiler.experimental, "start", lambda _: found.append(("start", taken)))
        monkeypatch.setattr(tf.profiler.experimental, "stop", lambda: found.append(("stop", taken)))
        with hooks.profiled(tmp_path, asked, 0, per_execution=4) as hook:
            for told in ([1, 2, 3, 4], [5, 6, 7, 8], [9], [10]):
                taken = told[-1]
                for step in told:
                    hook(step, STEP)
        assert found == expected


def test_a_checkpoint_keeps_what_the_page_says(tmp_path: Path) -> None:
    current = training(tmp_path, [0.5])
    steps(current, 1, 3)
    (saved,) = current.keeper.saved  # type: ignore[attr-defined]
    assert (saved["best"], saved["best_step"], saved["step"]) == (0.5, 3, 3)
    assert checkpoints.STATE == "state"
