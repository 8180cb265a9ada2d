"""TensorFlow Serving's own files, protobuf text format: models.config, batching, monitoring and TLS parameters."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from google.protobuf import text_format

from radkit.errors import UserError
from serving import messages, settings

# Where TensorFlow Serving shows its figures unless a file says otherwise.
MONITORING_PATH = "/monitoring/prometheus/metrics"


@dataclass(frozen=True)
class Policy:
    """Which versions of a model are served.

    Attributes:
        latest: The highest so many; 0 where another rule holds.
        versions: Just these; empty where another rule holds. Neither: all.
    """

    latest: int = 1
    versions: tuple[int, ...] = ()

    def choose(self, found: Iterable[int]) -> list[int]:
        """Returns the versions to serve, of those that are there.

        >>> Policy().choose([1, 2, 10]), Policy(2).choose([1, 2, 10]), Policy(0, (2, 3)).choose([1, 2, 10])
        ([10], [2, 10], [2])
        >>> Policy(0).choose([1, 2, 10])
        [1, 2, 10]
        """
        there = sorted(found)
        if self.versions:
            return [version for version in there if version in self.versions]
        return there[-self.latest :] if self.latest else there


@dataclass(frozen=True)
class Wanted:
    """A model that is to be served: its name, the folder of its versions, which of them, and their labels."""

    name: str
    base: Path
    policy: Policy = Policy()
    labels: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Tls:
    """PEM texts of a server that encrypts; `client_ca` is None where clients need no certificate."""

    key: bytes
    certificate: bytes
    client_ca: bytes | None


def models_file(path: Path) -> list[Wanted]:
    """Returns the models of a `models.config`.

    Raises:
        UserError: It cannot be read, or says what is not to be had.
    """
    return wanted(parsed(path, messages.ModelServerConfig), f"{path}")


def wanted(config: Any, where: str) -> list[Wanted]:
    """Returns the models of a ModelServerConfig message.

    Raises:
        UserError: No list of models, a name twice, a path that is not absolute, another platform.
    """
    if config.WhichOneof("config") != "model_config_list":
        raise UserError(f"{where} has no model_config_list; other kinds of configuration are not served")
    found = [_wanted(one, where) for one in config.model_config_list.config]
    names = [one.name for one in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(f"{where} names model {twice[0]!r} twice; each name is one folder")
    return found


def once(found: list[Wanted]) -> list[Wanted]:
    """Returns models of flags and files together.

    Raises:
        UserError: A name is given twice.
    """
    names = [one.name for one in found]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"model {name} is given twice; each name is one folder")
    return found


def _wanted(config: Any, where: str) -> Wanted:
    name = checked_name(config.name, where)
    if not Path(config.base_path).is_absolute():
        raise UserError(f"{where}: model {name} needs an absolute base_path, not {config.base_path!r}")
    if config.model_platform not in ("", "tensorflow"):
        raise UserError(f"{where}: model {name} is of platform {config.model_platform!r}; only tensorflow is served")
    policy = config.model_version_policy
    chosen = policy.WhichOneof("policy_choice")
    rule = Policy()
    if chosen == "all":
        rule = Policy(0)
    elif chosen == "latest":
        rule = Policy(policy.latest.num_versions or 1)
    elif chosen == "specific":
        if not policy.specific.versions:
            raise UserError(f"{where}: model {name} has a specific policy without versions")
        rule = Policy(0, tuple(sorted(set(policy.specific.versions))))
    return Wanted(name, Path(config.base_path), rule, dict(config.version_labels))


def checked_name(name: str, where: str) -> str:
    """Returns a name that URLs can hold.

    Raises:
        UserError: It is none.
    """
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", name):
        raise UserError(f"{where}: {name[:99]!r} is no model's name; use letters, digits, '_', '.', '-'")
    return name


def batching_file(path: Path) -> tuple[settings.Batching, int | None, int | None]:
    """Returns how calls are joined, how many runs there may be at a time and how many may wait; None: not said.

    Raises:
        UserError: It cannot be read, or asks for what would change answers.
    """
    told = parsed(path, messages.BatchingParameters)
    if told.pad_variable_length_inputs:
        raise UserError(f"{path}: pad_variable_length_inputs is refused: images filled up get other answers")
    name, largest = _largest(told, path)
    sizes = tuple(told.allowed_batch_sizes)
    if told.batch_timeout_micros.value < 0:
        raise UserError(f"{path}: batch_timeout_micros must be at least 0")
    if sizes and (list(sizes) != sorted(set(sizes)) or sizes[0] < 1 or sizes[-1] != largest):
        raise UserError(f"{path}: allowed_batch_sizes must rise and end with {name}, {largest}")
    return (
        settings.Batching(largest, told.batch_timeout_micros.value / 1e6, sizes),
        _at_least_1(told, "num_batch_threads", path),
        _at_least_1(told, "max_enqueued_batches", path),
    )


def _largest(told: Any, path: Path) -> tuple[str, int]:
    """Returns what says how many examples one run has at most, and that number.

    A call that is larger by itself is one run all the same, where TensorFlow Serving would split it: the answer is the
    same.
    """
    most = _at_least_1(told, "max_batch_size", path) or settings.MAX_BATCH_SIZE
    run = _at_least_1(told, "max_execution_batch_size", path)
    if run is None or not told.enable_large_batch_splitting.value:
        return "max_batch_size", most
    if run > most:
        raise UserError(f"{path}: max_execution_batch_size must be at most max_batch_size, {most}, not {run}")
    return "max_execution_batch_size", run


def _at_least_1(told: Any, name: str, path: Path) -> int | None:
    if not told.HasField(name):
        return None
    value = int(getattr(told, name).value)
    if value < 1:
        raise UserError(f"{path}: {name} must be at least 1, not {value}")
    return value


def monitoring_file(path: Path) -> str | None:
    """Returns the path at which figures are shown, None where they are not.

    Raises:
        UserError: It cannot be read.
    """
    told = parsed(path, messages.MonitoringConfig).prometheus_config
    if not told.enable:
        return None
    if told.path and not told.path.startswith("/"):
        raise UserError(f"{path}: prometheus_config.path must begin with '/', not {told.path!r}")
    return told.path or MONITORING_PATH


def tls_file(path: Path) -> Tls:
    """Returns the keys of an `ssl_config_file`.

    Raises:
        UserError: It cannot be read, or holds no key or certificate.
    """
    told = parsed(path, messages.SSLConfig)
    if not (told.server_key and told.server_cert):
        raise UserError(f"{path} needs server_key and server_cert, both as PEM text")
    if told.client_verify and not told.custom_ca:
        raise UserError(
            f"{path}: client_verify needs custom_ca, the PEM text that clients' certificates are checked by"
        )
    authority = told.custom_ca.encode() if told.client_verify else None
    return Tls(told.server_key.encode(), told.server_cert.encode(), authority)


def parsed(path: Path, kind: Any) -> Any:
    """Returns a text file as a message.

    Raises:
        UserError: It is not there, or no such message; the message names the line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    try:
        return text_format.Parse(text, kind())
    except text_format.ParseError as error:
        # Of a key file nothing but the place is told.
        words = str(error) if kind is not messages.SSLConfig else f"line {error.GetLine()}"
        raise UserError(f"{path} is no {kind.DESCRIPTOR.name} in protobuf's text format: {words}") from error
