"""What `evaluate` says of the set that it looks at: which fold it is, of what type, and how often it was seen."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from radkit.data import splits
from radkit.data.splitting import test_lock
from radkit.errors import UserError
from trainers import scoring

TEST = "test"


@dataclass(frozen=True)
class About:
    """A look.

    Attributes:
        record: The evaluation's provenance.
        own: Whether the records are those that the run was trained on.
        unrecorded: Whether to go on where the look cannot be counted.
    """

    record: Mapping[str, Any]
    own: bool
    unrecorded: bool


def told(chosen: scoring.Cases, about: About) -> dict[str, Any]:
    """Counts a look at a test set, warns of a second one, and returns what the summary and the page say of it.

    Nothing of another split: train and validation may be looked at as often as one likes.

    Raises:
        UserError: The look could not be counted, and that is not permitted.
    """
    if chosen.split != TEST:
        return {}
    look = _look(chosen, about)
    if look.warning:
        print(f"evaluate: {look.warning}", file=sys.stderr)
    return {
        "test_set": _test_set(chosen, about.own),
        "look": {"number": look.number, "networks": look.weights, "told": look.told, "warning": look.warning},
    }


def _look(chosen: scoring.Cases, about: About) -> test_lock.Look:
    row = {**about.record["settings"], "test_set": _name(chosen), "data": about.record["inputs"]}
    try:
        return test_lock.look(chosen.folder, row)
    except OSError as error:
        if not about.unrecorded:
            raise UserError(test_lock.not_recorded(chosen.folder, error.strerror or str(error))) from error
        return test_lock.Look(0, 0)


def _test_set(chosen: scoring.Cases, own: bool) -> dict[str, Any]:
    """Returns how the test set was made; a fold of nested cross-validation is none of the data set's test set."""
    trainer = chosen.trainer
    if trainer.test_fold >= 0:
        words = f"{_name(chosen)}, of those outside the test split"
        return {"type": "fold", "fold": trainer.test_fold, "repeat": trainer.repeat, "told": words}
    said = splits.read(chosen.folder)
    words = splits.told(said) + ("" if own else ", of other records than the run's")
    return {**said["test_set"], "of_the_runs_records": own, "told": words}


def _name(chosen: scoring.Cases) -> str:
    """Returns what tells the test sets of one data set apart: the split, or a fold of nested cross-validation."""
    trainer = chosen.trainer
    return TEST if trainer.test_fold < 0 else f"fold {trainer.test_fold} of repeat {trainer.repeat}"


def of_fold(chosen: scoring.Cases) -> str:
    """Returns which set it is, for the title: a split, or a fold of one.

    A run of fold 2 is validated on fold 2; the test split stays what it is.
    """
    trainer = chosen.trainer
    fold = {"validation": trainer.fold, TEST: trainer.test_fold}.get(chosen.split, -1)
    if fold < 0:
        return f"{chosen.split} split"
    return f"{chosen.split}, fold {fold} of repeat {trainer.repeat}"


def in_a_line(summary: Mapping[str, Any]) -> str:
    """Returns the type of the test set and the number of the look, for the summary line; nothing of other splits.

    >>> in_a_line({"test_set": {"told": "random"}, "look": {"number": 2}})
    ' (random, look 2)'
    """
    if "look" not in summary:
        return ""
    number = summary["look"]["number"]
    return f" ({summary['test_set']['told']}, {f'look {number}' if number else 'look not counted'})"
