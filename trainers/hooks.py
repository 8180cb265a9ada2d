"""What happens after a step: plain functions of (steps taken, the step's figures); one that returns True ends training.

`Training` is what they share. What of it the next step depends on is in `Reached`, which each checkpoint holds, so that
a run that was stopped says in the end what one says that was not.
"""

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from radkit import config, runs
from radkit.errors import UserError
from radkit.tasks import streams
from radkit.tasks import task as task_module
from trainers import averages, checkpoints, logs, loop, strategy, validation
from trainers.budget import Budget

PICTURED = 3  # cases whose pictures TensorBoard gets


@dataclass
class Reached:
    """How far a run is.

    Attributes:
        step: Steps taken.
        best: Score of the best weights, higher is better; None: none were scored, or it was undefined.
        best_step: Steps after which they were reached.
        best_value: The chosen figure of them, as it is told.
        worse: Validations since then.
        losses: Sum of the losses since the last validation.
        norms: Sum of the gradients' norms since then.
        steps: Steps since then that were finite.
        sums: Sums of the task's stream since then, by name, as lists: what the network knows of what it learns from.
        skipped: Steps that were not finite and changed nothing.
        seconds: That the run has taken.
        lines: Validations that the history tells of.
    """

    step: int = 0
    best: float | None = None
    best_step: int = 0
    best_value: float | None = None
    worse: int = 0
    losses: float = 0.0
    norms: float = 0.0
    steps: int = 0
    sums: dict[str, Any] = field(default_factory=dict)
    skipped: int = 0
    seconds: float = 0.0
    lines: int = 0

    @classmethod
    def of(cls, facts: Mapping[str, Any] | None) -> "Reached":
        """Returns what a checkpoint's facts say; of None, that nothing was done yet."""
        names = {one.name for one in dataclasses.fields(cls)}
        return cls(**{name: value for name, value in (facts or {}).items() if name in names})


@dataclass(eq=False)
class Training:
    """A run while it trains.

    Attributes:
        run: Its folder.
        trainer: The config's section.
        trained: What a step changes.
        keeper: Of its checkpoints.
        devices: Where it runs; the chief's host writes.
        batches: What tells the speed.
        validation_split: What the network is scored by.
        reached: How far it is.
        board: TensorBoard's files.
        drawn_names: Names of classes in TensorBoard's pictures; None: there are no pictures.
        budget: Where `trainer.minutes` limits the time.
        rehearse: Writes the page, as at the end: called after the first validation where the time is limited.
        stream: Of the task: what its sums come to.
        best: What validation found of the best weights, if this process saw it.
        started: When this process began, by the clock.
        clock: In seconds.
    """

    run: Path
    trainer: config.Trainer
    trained: loop.Trained
    keeper: checkpoints.Keeper
    devices: strategy.Devices
    batches: loop.Watched
    validation_split: validation.Validation
    reached: Reached
    board: logs.Board
    drawn_names: tuple[str, ...] | None = None
    budget: Budget | None = None
    rehearse: Callable[["Training", validation.Found], None] | None = None
    stream: streams.Stream | None = None
    best: validation.Found | None = None
    clock: Callable[[], float] = time.monotonic
    started: float = field(default=math.nan)

    def __post_init__(self) -> None:
        self._before = self.reached.seconds
        if math.isnan(self.started):
            self.started = self.clock()

    @property
    def total(self) -> int:
        """Steps that it is to have."""
        return self.budget.total if self.budget else self.trainer.steps

    @property
    def seconds(self) -> float:
        """Seconds that the run has taken, earlier processes' too."""
        return self._before + self.clock() - self.started

    @property
    def is_over(self) -> bool:
        """Whether no step is left to take."""
        return self.reached.step >= self.total or self.has_stopped_early

    @property
    def has_stopped_early(self) -> bool:
        """Whether so many validations brought no better score that training ends."""
        return 0 < self.trainer.early_stopping <= self.reached.worse

    @property
    def ended(self) -> str:
        """Why it is over: `early_stopping`, `time` or `steps`."""
        return "early_stopping" if self.has_stopped_early else "time" if self.budget else "steps"

    def save(self, score: float | None = None, *, wait: bool = False) -> None:
        """Saves a checkpoint of where it is."""
        self.reached.seconds = round(self.seconds, 3)
        self.keeper.save(self.reached.step, {**dataclasses.asdict(self.reached), "score": score}, wait)

    def holds_all_steps(self, step: int) -> bool:
        """Returns whether the weights are those after this very step: several may be taken at once."""
        return step % self.trainer.steps_per_execution == 0 or step == self.total


def count(training: Training) -> loop.Hook:
    """Returns the hook that counts steps and sums up what they said; the first one, as the others rely on it."""

    def hook(step: int, told: Mapping[str, Any]) -> None:
        reached = training.reached
        reached.step = step
        if told["is_finite"]:
            reached.losses, reached.norms = reached.losses + told["loss"], reached.norms + told["gradient_norm"]
            reached.steps += 1
            for name, value in told.get("sums", {}).items():  # float32 counts to 16 million only
                before = np.asarray(reached.sums.get(name, 0.0), np.float64)
                reached.sums[name] = (before + value).tolist()
        else:
            reached.skipped += 1
        if training.budget is not None:
            training.budget.stepped(step)
            follow(training)

    return hook


def follow(training: Training) -> None:
    """Lets the schedule end where the budget's time does."""
    total = training.trained.total
    if training.budget is not None and total is not None:
        total.assign(training.budget.total)


def show(training: Training, bar: Any) -> loop.Hook:
    """Returns the hook that moves the bar (tqdm's, which tells the time that is left)."""

    def hook(step: int, told: Mapping[str, Any]) -> None:
        speed = training.batches.figures()
        bar.total = training.total
        bar.set_postfix(
            {
                "loss": f"{told['loss']:.3f}",
                "images/s": f"{speed['images_per_s']:.4g}",
                "waiting": f"{speed['waiting_share']:.0%}",
                "memory": f"{logs.memory_mib() / 1024:.1f} GiB",
                **({"skipped": training.reached.skipped} if training.reached.skipped else {}),
            },
            refresh=False,
        )
        bar.update(step - bar.n)

    return hook


def tell_board(training: Training) -> loop.Hook:
    """Returns the hook that writes each step's figures for TensorBoard."""

    def hook(step: int, told: Mapping[str, Any]) -> None:
        numbers = {f"training/{name}": value for name, value in told.items() if name != "sums"}
        training.board.numbers(step, numbers)

    return hook


def validate(training: Training) -> loop.Hook:
    """Returns the hook that validates, keeps the best weights and saves the state; it ends training early if asked."""

    def hook(step: int, told: Mapping[str, Any]) -> bool:
        if not _is_due(training, step):
            return False
        speed = training.batches.figures()
        if training.budget is not None and not training.budget.is_rehearsed:
            training.validation_split.shown([0])  # compiles: no later validation takes that long
        began = training.clock()
        with averaged(training.trained.average):
            found = _scored(training)
            is_best = _weigh(training, found)
            if is_best and training.devices.is_chief:
                checkpoints.save_weights(training.trained.network, training.run / runs.BEST)
            _draw(training)
        _tell(training, found, {**speed, "learning_rate": told["learning_rate"]})
        training.save(None if math.isnan(found.score) else found.score)
        if training.budget is not None:
            training.budget.validated(step, training.clock() - began)
            _rehearse(training, training.budget, found)
            follow(training)
        training.batches.restart()
        return training.has_stopped_early

    return hook


def _scored(training: Training) -> validation.Found:
    """Returns how the network does; one whose answers are no numbers is told as such, not as a figure's complaint."""
    split, step = training.validation_split, training.reached.step
    # Most tasks score what is no number as a wrong answer: such weights would be the best ones of a run.
    if not all(np.isfinite(variable.numpy()).all() for variable in training.trained.network.weights):
        raise UserError(_diverged(f"after step {step} weights of the network are nan or infinity"))
    try:
        return split.run()
    except UserError as error:
        answers = [np.asarray(value) for one in split.shown([0]) for value in one.answer.values()]
        if all(np.isfinite(answer).all() for answer in answers if answer.dtype.kind == "f"):
            raise
        found = f"after step {step} the network answers nan or infinity on the validation split"
        raise UserError(_diverged(found)) from error


def _diverged(found: str) -> str:
    return f"{found}: training has diverged; lower optimizer.learning_rate, or set optimizer.clip_norm"


def _is_due(training: Training, step: int) -> bool:
    if not training.holds_all_steps(step):
        return False
    if training.budget is not None:
        return training.budget.is_due(step)
    every, several = training.trainer.evaluate_every, training.trainer.steps_per_execution
    return step // every > max(0, step - several) // every or step == training.total


def averaged(average: averages.Average | None) -> contextlib.AbstractContextManager[None]:
    """Returns the block in which the network holds the average of its weights, where there is one."""
    return contextlib.nullcontext() if average is None else average.swapped()


def _weigh(training: Training, found: validation.Found) -> bool:
    """Returns whether these are the best weights so far, and notes it."""
    reached, known = training.reached, not math.isnan(found.score)
    # Of equal ones the newest, as while no score is defined (one class only, say): they learned longer.
    is_best = reached.best is None or (known and found.score >= reached.best)
    is_better = known and (reached.best is None or found.score > reached.best)
    reached.worse = 0 if is_better or (not known and reached.best is None) else reached.worse + 1
    if is_best:
        training.best, reached.best_step = found, reached.step
        reached.best, reached.best_value = (found.score, found.value) if known else (None, None)
    return is_best


def _tell(training: Training, found: validation.Found, more: Mapping[str, float]) -> None:
    reached, select = training.reached, training.trainer.select
    steps = max(reached.steps, 1)
    line = {
        "step": reached.step,
        "loss": reached.losses / steps if reached.steps else None,
        "validation score": task_module.as_json(found.score),
        **({} if select == "score" else {f"validation {select}": task_module.as_json(found.value)}),
        "gradient_norm": reached.norms / steps if reached.steps else None,
        **_figures(training),
        **more,
        "skipped_steps": reached.skipped,
        "memory_mib": round(logs.memory_mib(), 1),
        "seconds": round(training.seconds, 1),
    }
    reached.losses, reached.norms, reached.steps, reached.sums = 0.0, 0.0, 0, {}
    reached.lines += 1
    if training.devices.is_chief:
        checkpoints.add_history(training.run, line)
        logs.write_table(training.run)
    training.board.numbers(reached.step, {f"validation/{name}": value for name, value in line.items()})


def _figures(training: Training) -> dict[str, Any]:
    """Returns what the stream's sums since the last validation come to."""
    if training.stream is None or not training.reached.sums:
        return {}
    sums = {name: np.asarray(value) for name, value in training.reached.sums.items()}
    return {f"training {name}": task_module.as_json(value) for name, value in training.stream.figures(sums).items()}


def _draw(training: Training) -> None:
    if training.drawn_names is None:
        return
    cases = training.validation_split.shown(range(PICTURED))
    training.board.pictures(training.reached.step, logs.drawn(cases, training.drawn_names))


def _rehearse(training: Training, budget: Budget, found: validation.Found) -> None:
    if budget.is_rehearsed or training.rehearse is None:
        return
    began = training.clock()
    with averaged(training.trained.average):
        training.rehearse(training, found)
    budget.paged(training.clock() - began)


@contextlib.contextmanager
def profiled(
    folder: Path | None, steps: tuple[int, int] | None, first_step: int, per_execution: int = 1
) -> Iterator[loop.Hook]:
    """Gives the hook that records TensorFlow's profile of some steps, from the first to the last one of them.

    Args:
        folder: What TensorBoard is pointed at; None: nothing is recorded.
        steps: First and last, counted from 1; None: nothing is recorded.
        first_step: Steps taken before.
        per_execution: Hooks hear of so many steps when all of them are taken: whole executions are recorded.
    """
    runs_now = False
    after, until = (steps[0] - 1, steps[1]) if steps else (0, 0)
    after, until = after // per_execution * per_execution, -(-until // per_execution) * per_execution

    def start() -> None:
        nonlocal runs_now
        tf.profiler.experimental.start(str(folder))
        runs_now = True

    def stop() -> None:
        nonlocal runs_now
        if runs_now:
            tf.profiler.experimental.stop()
        runs_now = False

    def hook(step: int, _: Mapping[str, Any]) -> None:
        if folder is None or steps is None:
            return
        if step >= until:
            stop()
        elif step == after:
            start()

    if folder is not None and steps is not None and after == first_step:
        start()
    try:
        yield hook
    finally:
        stop()
