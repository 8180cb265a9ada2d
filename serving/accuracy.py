"""What fewer bits of the weights change: answers, and the task's own score on records, against float32's."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from radkit import config
from radkit.data import clinical, convert, pipeline, shards, splits
from radkit.errors import UserError
from radkit.tasks.task import Task
from serving import gate, signatures

SPLIT = "validation"
VALUES = "values"
Answers = Callable[..., Mapping[str, tf.Tensor]]


@dataclass(frozen=True)
class Change:
    """How far an export's answers are from those with float32 weights.

    Attributes:
        golden: The largest `difference` on made-up images.
        records: The largest on records; None: none were given.
        num_records: How many there were.
        lost: By how much the task's score on them is lower, of a regression as a share of `data.label_range`; 0 where
            it is higher or undefined; None: as records.
    """

    golden: float
    records: float | None = None
    num_records: int = 0
    lost: float | None = None

    @property
    def worst(self) -> float:
        """The largest of all."""
        return max(self.golden, self.records or 0.0, self.lost or 0.0)


def difference(found: Mapping[str, Any], expected: Mapping[str, Any], data: config.Data) -> float:
    """Returns how far an answer is from another, 0: not at all; inf where one is no number.

    Of probabilities and of boxes' scores the largest difference, of a mask the share of voxels with another label, of a
    regression's values the share of `data.label_range`.
    """
    if "mask" in expected:
        return float(np.mean(np.asarray(found["mask"]) != np.asarray(expected["mask"])))
    name = next((one for one in ("probabilities", VALUES, "scores") if one in expected), "")
    if not name:
        raise UserError(
            f"answers of {', '.join(sorted(expected))} cannot be held against each other; leave --weights out"
        )
    apart = np.abs(np.asarray(found[name], np.float64) - np.asarray(expected[name], np.float64)) / _unit(name, data)
    return float(np.where(np.isfinite(apart), apart, np.inf).max(initial=0.0))


def _unit(name: str, data: config.Data) -> float:
    """Returns what a difference of an output is a share of."""
    return abs(data.label_range[1] - data.label_range[0]) if name == VALUES else 1.0


def of_golden(found: Answers, expected: Answers, given: gate.Golden, data: config.Data) -> float:
    """Returns the largest `difference` on the made-up images of `serving_default`."""
    asked = [inputs for group, inputs in given.items() if group.endswith(f"/{signatures.DEFAULT}")]
    tensors = [{name: tf.constant(value) for name, value in inputs.items()} for inputs in asked]
    return max(difference(found(**one), expected(**one), data) for one in tensors)


def of_records(
    found: Answers, expected: Answers, folder: Path, experiment: config.Experiment, task: Task
) -> tuple[float, int, float]:
    """Returns the largest `difference` on validation records, how many there are, and what of the score is lost.

    Raises:
        UserError: There are no such records, or they are another config's.
    """
    data = experiment.data
    pipeline.check(folder, data)
    worst, unit = 0.0, 1.0
    both: tuple[list[dict[str, Any]], list[dict[str, Any]]] = ([], [])
    for record in _records(folder, experiment):
        given = [record["values"], record["spacing_mm"], *([clinical.table(record, data)] if data.table else [])]
        asked = [tf.constant(value[None]) for value in given]
        answers = [{name: value.numpy() for name, value in of(*asked).items()} for of in (found, expected)]
        worst = max(worst, difference(answers[0], answers[1], data))
        unit = _unit(VALUES, data) if VALUES in answers[1] else 1.0  # its score is an error in the label's unit
        for cases, answer in zip(both, answers):
            alone = {name: value[0] for name, value in answer.items()}
            of_case = {"patient_id": record["patient_id"], "name": record["record_uid"]}
            cases.append({**of_case, **task.case(record, alone, data)})
    scores = [_score(cases, task, data) for cases in both]
    lost = max(0.0, scores[1] - scores[0]) / unit if np.isfinite(scores).all() else 0.0
    return worst, len(both[0]), lost


def _records(folder: Path, experiment: config.Experiment) -> Iterator[dict[str, Any]]:
    fields = convert.fields_of(experiment.data, shards.schema_of(folder))
    where = splits.physical(SPLIT, experiment.trainer)
    patients = splits.chosen(folder, SPLIT, experiment.trainer)
    with pipeline.damage_named(folder, where):
        for record in pipeline.records(folder, where, fields, patients):
            values = {name: value.numpy() for name, value in record.items()}
            yield {name: value.decode() if isinstance(value, bytes) else value for name, value in values.items()}


def _score(cases: list[dict[str, Any]], task: Task, data: config.Data) -> float:
    return float(task.score(cases, data) if task.score else task.summary(cases, data)["score"])


def require(change: Change, way: str, tolerance: float) -> None:
    """Refuses weights that change answers by more than is tolerated.

    Raises:
        UserError: It says by how much, and where.
    """
    if change.worst <= tolerance:
        return
    told = [f"made-up images {change.golden:.3g}"]
    if change.records is not None:
        told += [f"{change.num_records} validation records {change.records:.3g}", f"their score {change.lost:.3g}"]
    raise UserError(
        f"--weights={way} changes answers by more than --tolerance={tolerance:g}: {', '.join(told)}; take float16 or "
        "float32, or tolerate more; nothing was written"
    )
