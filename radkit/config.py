"""The settings of an experiment: frozen dataclasses, refused when misspelt or mistyped before anything loads.

A config is one Python file whose `get_config()` returns an `Experiment`; a run saves it as JSON beside its output,
and both are read back by `load`. `--set data.image_size=(48,64,48)` overrides one field.
"""

import ast
import dataclasses
import importlib.util
import json
import math
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from radkit import config_check
from radkit.config_sections import (
    Annotations as Annotations,
)
from radkit.config_sections import (
    Augment as Augment,
)
from radkit.config_sections import (
    Chances as Chances,
)
from radkit.config_sections import (
    Curate as Curate,
)
from radkit.config_sections import (
    Data as Data,
)
from radkit.config_sections import (
    Experiment as Experiment,
)
from radkit.config_sections import (
    Inference as Inference,
)
from radkit.config_sections import (
    Model as Model,
)
from radkit.config_sections import (
    Optimizer as Optimizer,
)
from radkit.config_sections import (
    Sampling as Sampling,
)
from radkit.config_sections import (
    Split as Split,
)
from radkit.config_sections import (
    Task as Task,
)
from radkit.config_sections import (
    Trainer as Trainer,
)
from radkit.config_sections import (
    Unlabelled as Unlabelled,
)
from radkit.errors import UserError, did_you_mean


def load(source: str, overrides: Sequence[str] = ()) -> Experiment:
    """Returns the experiment that a config names, with overrides applied.

    Args:
        source: A name in `configs/` (`hippocampus`), a `.py` file with `get_config()`, or a saved `.json` (a run's
            `config.json`, too).
        overrides: `section.field=value`, the value as Python writes it; bare words are strings.

    Raises:
        UserError: No such config, a misspelt or mistyped field.
    """
    values = to_json(_read(source))
    for override in overrides:
        path, equals, text = override.partition("=")
        if not equals:
            raise UserError(f"--set {override!r} has no '='; write --set section.field=value")
        _set(values, path.split("."), _literal(text))
    return from_json(values)


def _read(source: str) -> Experiment:
    path = Path(source)
    if path.suffix == ".json":
        if not path.is_file():
            raise UserError(f"--config {source} does not exist; name a config (--config NAME, FILE.py or FILE.json)")
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise UserError(f"--config {source} is not JSON: {error}") from error
        # A run keeps its experiment beside the digest of its records.
        return from_json(values["experiment"] if isinstance(values, dict) and "experiment" in values else values)
    if path.suffix != ".py":
        path = _named(source)
    if not path.is_file():
        raise UserError(f"--config {source} does not exist; name a config (--config NAME, FILE.py or FILE.json)")
    return _call(path)


def _named(name: str) -> Path:
    spec = importlib.util.find_spec("configs")
    folder = Path(spec.submodule_search_locations[0]) if spec and spec.submodule_search_locations else Path("configs")
    known = sorted(p.stem for p in folder.glob("*.py") if not p.stem.startswith("_"))
    if name not in known:
        raise UserError(f"no config is named {name!r}{did_you_mean(name, known)}; there are: {', '.join(known)}")
    return folder / f"{name}.py"


def _call(path: Path) -> Experiment:
    spec = importlib.util.spec_from_file_location(f"radkit_config_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise UserError(f"--config {path} cannot be read as Python")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        experiment = module.get_config()
    except UserError:
        raise
    except (Exception, SystemExit) as error:  # sys.exit: it would end the verb without a word
        raise UserError(
            f"--config {path}: {type(error).__name__}: {error}; it must define get_config() -> radkit.config.Experiment"
        ) from error
    if not isinstance(experiment, Experiment):
        raise UserError(f"--config {path}: get_config() must return a radkit.config.Experiment, not {experiment!r}")
    return from_json(dataclasses.asdict(experiment))


_WRITTEN = {bool: "; write True or False", float: "; write a finite number, as 1e-3", int: "; write a whole number"}


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return text


def _set(values: dict[str, Any], path: Sequence[str], value: Any) -> None:
    *outer, last = path
    for number, name in enumerate(outer):
        if name not in values:
            raise UserError(f"no setting {'.'.join(path[: number + 1])!r}{did_you_mean(name, values)}")
        if not isinstance(values[name], dict):
            raise UserError(f"setting {'.'.join(path[: number + 1])!r} is one value; it has no {path[number + 1]!r}")
        values = values[name]
    values[last] = value


def to_json(experiment: Experiment) -> dict[str, Any]:
    """Returns the experiment as plain JSON values; `from_json` gives it back equal, sequences as tuples."""
    plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(experiment)))
    return plain


def from_json(values: Mapping[str, Any]) -> Experiment:
    """Returns the experiment that the values describe.

    Raises:
        UserError: A field is unknown, missing or of another type; the message names it.
    """
    built: Experiment = _build(Experiment, values, "")
    config_check.check(built)
    return built


def data_to_json(data: Data) -> dict[str, Any]:
    """Returns the data section as plain JSON values; `data_from_json` gives it back equal."""
    plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(data)))
    return plain


def data_from_json(values: Mapping[str, Any]) -> Data:
    """Returns the data section that the values describe, as a data set's `data.json` keeps it.

    Raises:
        UserError: As `from_json`.
    """
    built: Data = _build(Data, values, "data")
    return built


def _build(cls: type, values: Any, where: str) -> Any:
    if not isinstance(values, Mapping):
        raise UserError(f"{where or 'the config'} must hold fields, not {values!r}")
    hints = typing.get_type_hints(cls)
    fields = {f.name: f for f in dataclasses.fields(cls)}
    for name in values:
        if name not in fields:
            raise UserError(
                f"no setting {_join(where, name)!r}{did_you_mean(name, fields)}; there are: {', '.join(fields)}"
            )
    for name, spec in fields.items():
        no_default = spec.default is dataclasses.MISSING and spec.default_factory is dataclasses.MISSING
        if name not in values and no_default:
            raise UserError(f"setting {_join(where, name)!r} is missing")
    return cls(**{name: _typed(hints[name], value, _join(where, name)) for name, value in values.items()})


def _join(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def _typed(hint: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(hint):
        return _build(typing.cast(type, hint), value, where)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        if value not in arguments:
            raise UserError(f"{where} must be one of {', '.join(map(repr, arguments))}, not {value!r}")
        return value
    if origin is tuple:
        return _typed_tuple(arguments, value, where)
    if origin is dict:
        return _plain_dict(value, where)
    if origin is types.UnionType:
        hint = next(a for a in arguments if a is not type(None)) if value is not None else type(None)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value) if abs(value) < 1e300 else math.inf
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise UserError(f"{where} must be {hint.__name__}, not {value!r}{_WRITTEN.get(hint, '')}")
    if isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"{where} must be a finite number, not {value!r}")
    return value


def _plain_dict(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise UserError(f"{where} must hold names and values, not {value!r}")
    return {name: _plain(item, _join(where, name)) for name, item in value.items()}


def _plain(value: Any, where: str) -> Any:
    """Returns what JSON can keep, sequences as tuples: what comes back from JSON is equal to what went in."""
    if isinstance(value, list | tuple):
        return tuple(_plain(item, f"{where}[{i}]") for i, item in enumerate(value))
    if isinstance(value, Mapping):
        return _plain_dict(value, where)
    if value is None or type(value) in (bool, int, str) or (type(value) is float and math.isfinite(value)):
        return value
    raise UserError(f"{where} must be a number, a text, true or false, or a sequence of such, not {value!r}")


def _typed_tuple(arguments: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise UserError(f"{where} must be a sequence, as (1, 2), not {value!r}")
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        return tuple(_typed(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if len(arguments) != len(value):
        raise UserError(f"{where} must have {len(arguments)} values, not {value!r}")
    return tuple(_typed(hint, item, f"{where}[{i}]") for i, (hint, item) in enumerate(zip(arguments, value)))
