"""What the validation split says of a network while it learns, and the rule that chooses the best weights by it.

`trainer.select` names the rule: "score", which the task defines, or one of the figures that its summary tells. Of a
figure that counts errors or distances the lower value is the better one, and of a bias the one nearer to zero.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from radkit import config, tasks
from radkit.errors import UserError, did_you_mean
from radkit.tasks import task as task_module
from radkit.tasks.task import Answer, Shown, Task
from trainers import scoring, strategy

_LOWER = ("error", "brier", "distance", "hausdorff", "hd95", "assd", "masd", "ece", "mce", "loss")
_NEAR_ZERO = ("bias",)


@dataclass(frozen=True, eq=False)
class Found:
    """How a network did.

    Attributes:
        score: What the rule says, higher is better; nan: undefined.
        value: The chosen figure as it is told.
        cases: Each case's figures.
    """

    score: float
    value: float
    cases: list[dict[str, Any]]


@dataclass(frozen=True)
class Validation:
    """The validation split of a run, and how the network is asked about it.

    Attributes:
        cases: Which records.
        answer: From images to answers, by the network as it is when it is called.
        select: `trainer.select`.
        devices: Of several hosts each scores its share.
    """

    cases: scoring.Cases
    answer: Answer
    select: str
    devices: strategy.Devices

    def run(self) -> Found:
        """Scores the network as it is; every host must call it, and each gets all cases.

        Raises:
            UserError: The summary tells no figure of the name that `select` says.
        """
        found = scoring.cases(self.answer, self.cases, progress=False, devices=self.devices)
        value = chosen(self.select, found, self.cases.task, self.cases.data)
        return Found(preference(self.select, value), value, found)

    def shown(self, wanted: Sequence[int]) -> list[Shown]:
        """Returns some cases with what the network as it is answers to them."""
        return scoring.shown(self.answer, list(wanted), self.cases)


def of_run(folder: Path, experiment: config.Experiment, network: keras.Model, devices: strategy.Devices) -> Validation:
    """Returns the validation of a network that learns.

    Args:
        folder: The data set's version folder.
        experiment: The config.
        network: Its weights may change between calls.
        devices: Where it is scored.
    """
    data, task = experiment.data, tasks.find(experiment.task.name)
    answer = task_module.answering(network, task, data, experiment.inference)
    cases = scoring.Cases(folder, "validation", data, task, trainer=experiment.trainer)
    return Validation(cases, answer, experiment.trainer.select, devices)


def chosen(select: str, cases: Sequence[Mapping[str, Any]], task: Task, data: config.Data) -> float:
    """Returns the figure that a rule goes by.

    Raises:
        UserError: The task's summary tells no such figure.
    """
    if select == "score" and task.score:
        return float(task.score(cases, data))
    summary = task.summary(cases, data)
    if select == "score":
        return float(summary["score"])
    figures = summary["figures"]
    if select not in figures:
        raise UserError(
            f"trainer.select is {select!r}, and the validation tells {', '.join(map(repr, figures))}, or 'score'"
            f"{did_you_mean(select, figures)}"
        )
    figure = figures[select]
    return _number(figure["value"] if isinstance(figure, Mapping) else figure)


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def preference(select: str, value: float) -> float:
    """Returns a figure's value so that higher is better.

    >>> preference("score", 0.5), preference("mean absolute error", 3.0), preference("bias", -2.0)
    (0.5, -3.0, -2.0)
    """
    return {"higher": value, "lower": -value, "nearer to zero": -abs(value)}[better(select)]


def better(select: str) -> str:
    """Returns which values of a figure are better: `higher`, `lower` or `nearer to zero`."""
    words = select.lower().replace("_", " ").split()
    if any(word in words for word in _NEAR_ZERO):
        return "nearer to zero"
    return "lower" if any(word.strip(",") in _LOWER for word in words) else "higher"
