"""What `radkit tune` varies: fields of the config, each with the values that it may take, written as `KIND:VALUES`.

optimizer.learning_rate=log:1e-4,1e-2        any number between, alike on a logarithmic scale
augment.noise=uniform:0,0.2                  any number between
optimizer.warmup_steps=int:0,200             any whole number between
trainer.batch_size=logint:2,32               any whole number between, alike on a logarithmic scale
model.settings.filters=choice:(8,16),(16,32) one of these, each as Python writes it; bare words are texts
"""

import ast
import math
import runpy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from radkit import config
from radkit.errors import UserError, did_you_mean

KINDS = ("log", "uniform", "int", "logint", "choice")
# Fields whose values are not to be chosen by their score: the figures would not be of the same patients, or of luck.
_FIXED = {
    "data.dataset": "it is what the records are",
    "data.splits": "other patients would be validated on",
    "data.split": "other patients would be validated on",
    "data.split_seed": "other patients would be validated on",
    "task.name": "figures of two tasks are not compared",
    "trainer.seed": "the best of several seeds is luck; to measure their spread, train with --set trainer.seed",
    "trainer.select": "two figures are not compared",
    "trainer.repeat": "other patients would be validated on",
    "trainer.fold": "other patients would be validated on; see radkit train --folds",
    "trainer.test_fold": "other patients would be tested on",
}


@dataclass(frozen=True)
class Domain:
    """The values that a field may take.

    Attributes:
        kind: One of `KINDS`.
        values: Lowest and highest, both of them among the values; of a choice all of them.
    """

    kind: str
    values: tuple[Any, ...]

    def holds(self, value: Any) -> bool:
        """Tells whether a value is one of them."""
        if self.kind == "choice":
            return value in self.values
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        is_whole = self.kind in ("log", "uniform") or isinstance(value, int)
        return is_number and is_whole and bool(self.values[0] <= value <= self.values[1])


Space = Mapping[str, Domain]


def read(file: str | None, varied: Sequence[str]) -> dict[str, Domain]:
    """Returns the search space, by field.

    Args:
        file: A Python file with `SPACE`, a dictionary of fields and `KIND:VALUES`; None: none.
        varied: `FIELD=KIND:VALUES` each.

    Raises:
        UserError: There is nothing to vary, or a line is not written so, or names a field that must not vary.
    """
    said = _of_file(Path(file)) if file else {}
    for line in varied:
        name, equals, text = line.partition("=")
        if not equals:
            raise UserError(f"--vary {line!r} has no '='; write --vary section.field=kind:values")
        if name.strip() in said:
            raise UserError(f"--vary {name.strip()} is said twice; say all of its values once")
        said[name.strip()] = text.strip()
    if not said:
        raise UserError("nothing is to vary; name fields with --vary, as optimizer.learning_rate=log:1e-4,1e-2")
    return {name: _domain(name, text) for name, text in said.items()}


def _of_file(path: Path) -> dict[str, str]:
    if not path.is_file():
        raise UserError(
            f"--space {path} does not exist; name a Python file with SPACE = {{'section.field': 'kind:values'}}"
        )
    try:
        found = runpy.run_path(str(path)).get("SPACE")
    except (Exception, SystemExit) as error:
        raise UserError(f"--space {path} cannot be read: {type(error).__name__}: {error}") from error
    if not isinstance(found, dict) or not all(isinstance(text, str) for item in found.items() for text in item):
        raise UserError(f"--space {path} must hold SPACE = {{'section.field': 'kind:values'}}, not {found!r}")
    return dict(found)


def _domain(name: str, text: str) -> Domain:
    for fixed, why in _FIXED.items():
        if name == fixed or name.startswith(f"{fixed}."):
            raise UserError(f"--vary {name}: {why}; leave it as the config has it")
    kind, colon, values = text.partition(":")
    if not colon or kind not in KINDS:
        raise UserError(
            f"--vary {name}={text}: {kind!r} is no kind of values{did_you_mean(kind, KINDS)}; write one of "
            f"{', '.join(KINDS)}, a colon and the values, as log:1e-4,1e-2"
        )
    found = _choices(values) if kind == "choice" else _bounds(name, kind, values)
    if len(found) < 2 or any(value in found[:place] for place, value in enumerate(found)):
        raise UserError(f"--vary {name}={text} needs two or more values that differ, found {found!r}")
    return Domain(kind, found)


def _choices(text: str) -> tuple[Any, ...]:
    try:
        found = ast.literal_eval(f"({text},)")
    except (ValueError, SyntaxError):
        return tuple(word.strip() for word in text.split(","))
    return tuple(_as_tuples(value) for value in found)


def _as_tuples(value: Any) -> Any:
    return tuple(map(_as_tuples, value)) if isinstance(value, list | tuple) else value


def _bounds(name: str, kind: str, text: str) -> tuple[Any, ...]:
    whole, logarithmic = kind.endswith("int"), kind.startswith("log")
    wanted = f"two {'whole ' if whole else ''}numbers{' above 0' if logarithmic else ''}, the lower one first"
    try:
        low, high = ((int if whole else float)(word) for word in text.split(","))
    except ValueError as error:
        raise UserError(f"--vary {name}={kind}:{text} must have {wanted}, as {kind}:1,100") from error
    if not (math.isfinite(low) and math.isfinite(high)) or low >= high or (logarithmic and low <= 0):
        raise UserError(f"--vary {name}={kind}:{text} must have {wanted}, as {kind}:1,100")
    return low, high


def check(experiment: config.Experiment, space: Space) -> None:
    """Refuses fields that the config does not have, and values that it cannot take.

    Ends of ranges and choices are tried one field at a time; combinations are seen when they are trained.

    Raises:
        UserError: It names the field.
    """
    for name, domain in space.items():
        for value in domain.values:
            try:
                applied(experiment, {name: value})
            except UserError as error:
                raise UserError(f"--vary {name}, value {value!r}: {error}") from error


def applied(experiment: config.Experiment, values: Mapping[str, Any]) -> config.Experiment:
    """Returns the experiment with fields set, by their paths.

    Raises:
        UserError: It cannot take them.
    """
    settings = config.to_json(experiment)
    for name, value in values.items():
        *outer, last = name.split(".")
        section = settings
        for word in outer:
            if not isinstance(section.get(word), dict):
                raise UserError(f"no setting {name!r}{did_you_mean(word, section)}")
            section = section[word]
        section[last] = value
    return config.from_json(settings)


def current(experiment: config.Experiment, space: Space) -> dict[str, Any] | None:
    """Returns the fields as the config has them; None where one of them is not among the values to be tried."""
    found = {name: _value(experiment, name) for name in space}
    return found if all(space[name].holds(value) for name, value in found.items()) else None


def _value(experiment: config.Experiment, name: str) -> Any:
    value: Any = experiment
    for word in name.split("."):
        value = value.get(word) if isinstance(value, dict) else getattr(value, word)
    return value
