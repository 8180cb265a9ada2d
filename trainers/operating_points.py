"""Operating points of a run: chosen on its validation split and kept in its folder, where the export finds them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from radkit import config, outputs, runs, tasks
from radkit.data import shards
from radkit.errors import UserError, did_you_mean
from radkit.evaluation import boxes, operating
from radkit.evaluation.cases import Cases
from radkit.evaluation.endpoints import OperatingPoint
from radkit.tasks import task as task_module
from radkit.tasks.task import Answer, Task
from trainers import scoring, strategy

OF_CASES = (*operating.RULES,)
OF_BOXES = ("fp_per_image", "min_sensitivity")
_UNSAID = {"min_cost", "youden"}  # rules that need no number of their own
_HALF = 0.5  # the threshold of a probability where nothing could be chosen


@dataclass(frozen=True)
class Rule:
    """How an operating point is chosen; `value` is what the rule demands, None: nothing."""

    name: str
    value: float | None = None


@dataclass(frozen=True)
class Model:
    """A finished run that answers; its network is made at the first question.

    Attributes:
        experiment: Its config.
        run: Its folder.
    """

    experiment: config.Experiment
    run: Path

    @property
    def task(self) -> Task:
        """The task that it was trained for."""
        return tasks.find(self.experiment.task.name)

    @cached_property
    def answer(self) -> Answer:
        """From images to answers, in float32 whatever the training's precision was: as the export answers."""
        strategy.seed(self.experiment.trainer)
        strategy.set_precision("float32")
        network = runs.new_network(self.experiment, self.task)
        runs.load_weights(network, self.run)
        return task_module.answering(network, self.task, self.experiment.data, self.experiment.inference)


def parsed(said: str | None) -> Rule | None:
    """Returns the rule that a flag names; None: none is named.

    Raises:
        UserError: It is none, or lacks its number.

    >>> parsed("min_sensitivity=0.95")
    Rule(name='min_sensitivity', value=0.95)
    """
    if not said:
        return None
    name, equals, number = said.partition("=")
    known = dict.fromkeys((*OF_CASES, *OF_BOXES))
    if name not in known:
        raise UserError(f"--rule {said}: no rule is named {name!r}{did_you_mean(name, known)}; {', '.join(known)}")
    if (name in _UNSAID) == bool(equals):
        wants = "takes no number (--cost_of_miss is min_cost's)" if equals else f"needs a number, as --rule {name}=0.9"
        raise UserError(f"--rule {said}: {name} {wants}")
    try:
        value = float(number) if equals else None
    except ValueError as error:
        raise UserError(f"--rule {said}: {number!r} is no number, as in --rule {name}=0.9") from error
    if value is not None and not (0 <= value <= 1 if name.startswith("min_") else 0 < value < math.inf):
        raise UserError(f"--rule {said}: {name} must be {'in [0, 1]' if name.startswith('min_') else 'above 0'}")
    return Rule(name, value)


def of_run(model: Model, folder: Path, rule: Rule | None, cost_of_miss: float, *, own: bool) -> list[OperatingPoint]:
    """Returns a run's operating points, chosen where they have not been; `keep` writes them into its folder.

    Args:
        model: The run.
        folder: The data set's.
        rule: The one asked for; None: the stored ones, and where there are none Youden's (of detectors one false
            positive an image).
        cost_of_miss: Of rule `min_cost`.
        own: Whether the records are those that the run was trained on; of others nothing is chosen.

    Raises:
        UserError: The rule is not one of the task's, or is asked for on other records.
    """
    asked = model.task.asked(model.experiment.data) if model.task.asked else None
    of_boxes = model.experiment.task.name == "detection"
    if asked is None or not (asked.endpoints or of_boxes):
        if rule is not None:
            raise UserError(f"--rule {rule.name}: task {model.experiment.task.name!r} calls nothing yes or no")
        return []
    stored = runs.operating_points(model.run)
    wanted = _wanted(rule, cost_of_miss, of_boxes=of_boxes)
    if stored and (rule is None or all(_is(point, wanted) for point in stored)):
        return stored
    if not own:
        if rule is None:
            return []
        raise UserError(
            f"--rule {rule.name} is chosen on the validation split of the run's own records, and --input holds others; "
            "evaluate the run on its own records first: the operating point is kept in the run's folder"
        )
    return _chosen(model, folder, wanted, of_boxes=of_boxes)


def keep(model: Model, points: Sequence[OperatingPoint]) -> None:
    """Writes operating points into the run's folder where it holds others, or none: an evaluation that is refused has
    changed none."""
    path = model.run / runs.OPERATING_POINTS
    said = operating.to_json(points, runs.manifest(model.run)["weights_sha256"])
    if points and not (path.is_file() and outputs.read_json(path) == said):
        outputs.write_json(path, said)


def _wanted(rule: Rule | None, cost_of_miss: float, *, of_boxes: bool) -> Rule:
    if rule is None:
        return Rule("fp_per_image", 1.0) if of_boxes else Rule("youden")
    if rule.name not in (OF_BOXES if of_boxes else OF_CASES):
        raise UserError(f"--rule {rule.name}: this task's are {', '.join(OF_BOXES if of_boxes else OF_CASES)}")
    return Rule(rule.name, cost_of_miss) if rule.name == "min_cost" else rule


def _is(point: OperatingPoint, rule: Rule) -> bool:
    return (point.rule, point.value) == (rule.name, rule.value)


def _chosen(model: Model, folder: Path, rule: Rule, *, of_boxes: bool) -> list[OperatingPoint]:
    experiment, task = model.experiment, model.task
    split = shards.SPLITS[1]
    chosen = scoring.Cases(folder, split, experiment.data, task, trainer=experiment.trainer)
    cases = Cases(scoring.cases(model.answer, chosen, progress=True))
    if of_boxes:
        return [boxes.choose(cases, boxes.class_names(experiment.data), rule.name, rule.value or 0.0, split)]
    assert task.asked is not None
    endpoints = task.asked(experiment.data).endpoints
    return [operating.choose(one, cases, rule.name, rule.value, chosen_on=split) for one in endpoints]


def cost_of(points: Sequence[OperatingPoint], otherwise: float) -> float:
    """Returns what a missed positive costs by the rule that points were chosen by; `otherwise` where it names no cost.

    >>> cost_of([OperatingPoint("ill", "min_cost", 10.0, 0.2)], 1.0), cost_of([], 1.0)
    (10.0, 1.0)
    """
    return next((point.value for point in points if point.rule == "min_cost" and point.value is not None), otherwise)


def usable(points: Sequence[OperatingPoint]) -> list[OperatingPoint]:
    """Returns the points that have a threshold."""
    return [point for point in points if not math.isnan(point.threshold)]
