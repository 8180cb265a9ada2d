"""Which models and versions are served: loaded, taken up, drained and given back while calls go on.

A new version is loaded before an old one goes (TensorFlow Serving's availability preserving policy), so one that cannot
be loaded leaves the old one in service. A version that goes gets no new calls and is closed when its last one ended.
"""

import contextlib
import gc
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from radkit.errors import UserError
from serving import batching, configs_text, messages, models, refusals

_LOG = logging.getLogger(__name__)
# States of versions that went are told for so many of each model.
MAX_ENDED = 20
NOT_LOADED = 13  # INTERNAL, as the state of a version that could not be loaded


@dataclass(eq=False)
class Held:
    """One version: its state as GetModelStatus tells it, and, while it is served, what answers."""

    name: str
    version: int
    state: int = messages.START
    error: str = ""
    model: models.Model | None = None
    runner: batching.Runner | None = None
    files: tuple[Any, ...] = ()
    failures: int = 0
    failed_at: float = 0.0
    _users: int = 0
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def enter(self) -> bool:
        """Counts a call in; False when the version is going."""
        with self._changed:
            if self.state != messages.AVAILABLE:
                return False
            self._users += 1
            return True

    def leave(self) -> None:
        """Counts a call out."""
        with self._changed:
            self._users -= 1
            if not self._users:
                self._changed.notify_all()

    def drain(self) -> None:
        """Waits for the last call, and gives the memory back."""
        with self._changed:
            self._changed.wait_for(lambda: not self._users)
            model, self.model, self.runner = self.model, None, None
        if model is not None:
            model.close()
        del model
        gc.collect()  # the graph holds itself in circles
        self.state = messages.END


@dataclass(frozen=True)
class Loading:
    """How versions are loaded.

    Attributes:
        load: Loads a version: (name, base, version) to the model and its runner, warmed up.
        told: Is told of each version that became available.
        max_retries: How often one that failed is tried again, though its files did not change.
        retry_interval_s: Seconds between.
        labels_ahead: Whether labels may name versions that are not available.
    """

    load: Callable[[str, Path, int], tuple[models.Model, batching.Runner]]
    told: Callable[[str, int], None] = lambda name, version: None
    max_retries: int = 5
    retry_interval_s: float = 60.0
    labels_ahead: bool = False


class Registry:
    """The models of one server; calls may come from many threads."""

    def __init__(self, loading: Loading) -> None:
        self._loading = loading
        self._wanted: dict[str, configs_text.Wanted] | None = None  # None: what was put in by `hold`
        # Replaced as a whole, never changed: calls read it without a lock.
        self._table: dict[str, dict[int, Held]] = {}
        self._labels: dict[str, dict[str, int]] = {}
        self._working = threading.RLock()

    @contextlib.contextmanager
    def use(self, spec: Any) -> Iterator[Held]:
        """Yields the version that a ModelSpec asks for; it stays until the block ends.

        Raises:
            Refusal: No such model, version or label.
        """
        held = self._find(spec)
        while not held.enter():  # it went in this moment: another may have come
            held = self._find(spec)
        try:
            yield held
        finally:
            held.leave()

    def _find(self, spec: Any) -> Held:
        held = self._versions(spec.name)
        served = {version: one for version, one in held.items() if one.state == messages.AVAILABLE}
        if not served:
            refusals.missing(f"no version of model {spec.name!r} is available")
        choice = spec.WhichOneof("version_choice")
        version = spec.version.value if choice == "version" else max(served)
        if choice == "version_label":
            version = self._labelled(spec)
        if version not in served:
            there = ", ".join(map(str, sorted(served)))
            refusals.missing(f"model {spec.name!r} is served as version {there}; {version} was asked for")
        return served[version]

    def _versions(self, name: str) -> dict[int, Held]:
        if not name:
            refusals.invalid("Missing ModelSpec: model_spec.name is empty")
        if name not in self._table:
            known = ", ".join(sorted(self._table))
            refusals.missing(f"no model {name[:99]!r} is served; there are: {known}")
        return self._table[name]

    def _labelled(self, spec: Any) -> int:
        labels = self._labels.get(spec.name, {})
        if spec.version_label not in labels:
            there = ", ".join(sorted(labels)) or "none"
            refusals.invalid(f"Unrecognized servable version label: {spec.version_label[:99]}; there are: {there}")
        return labels[spec.version_label]

    def states(self, spec: Any) -> list[Held]:
        """Returns the versions that a ModelSpec asks for, all of the model's where it names none, newest first.

        Raises:
            Refusal: No such model, version or label.
        """
        held = self._versions(spec.name)
        choice = spec.WhichOneof("version_choice")
        if choice is None:
            return [held[version] for version in sorted(held, reverse=True)]
        version = self._labelled(spec) if choice == "version_label" else spec.version.value
        if version not in held:
            refusals.missing(f"model {spec.name!r} has no version {version}; there are: {', '.join(map(str, held))}")
        return [held[version]]

    def available(self) -> dict[str, list[int]]:
        """Returns the versions that answer, by model."""
        return {
            name: [version for version, one in sorted(held.items()) if one.state == messages.AVAILABLE]
            for name, held in self._table.items()
        }

    def configure(self, wanted: Sequence[configs_text.Wanted]) -> list[str]:
        """Serves just these models from now on; returns what went wrong with each, empty if nothing.

        What cannot be loaded leaves what was served in service.
        """
        with self._working:
            self._wanted = {one.name: one for one in wanted}
            problems = self.refresh()
            for one in wanted:
                problems += self._label(one)
            return problems

    def hold(self, name: str, model: models.Model, runner: batching.Runner) -> None:
        """Serves a model that is loaded already, as it is."""
        with self._working:
            held = Held(name, model.version, messages.AVAILABLE, model=model, runner=runner)
            self._put(held)

    def refresh(self) -> list[str]:
        """Looks at the folders once: takes up what is new, lets go what is gone; returns what went wrong."""
        with self._working:
            problems: list[str] = []
            if self._wanted is None:
                return problems
            for one in self._wanted.values():
                try:
                    problems += self._refresh(one)
                except OSError as error:  # a folder that changes while it is read
                    problems.append(f"model {one.name}: {one.base} cannot be read: {error}")
            for name in [name for name in self._table if name not in self._wanted]:
                gone = self._table[name]
                self._table = {key: value for key, value in self._table.items() if key != name}
                self._labels.pop(name, None)
                for held in gone.values():
                    self._let_go(held)
            return problems

    def close(self) -> None:
        """Lets all go."""
        for held in [one for versions in self._table.values() for one in versions.values()]:
            self._let_go(held)
        self._table = {}

    def _refresh(self, wanted: configs_text.Wanted) -> list[str]:
        if not wanted.base.is_dir():  # a disk that is away for a moment takes no model out of service
            return [f"model {wanted.name}: {wanted.base} is not a folder; name the one that holds version folders"]
        found = models.versions(wanted.base)
        chosen = wanted.policy.choose(found)
        problems = []
        for version in chosen:
            problems += self._load(wanted, version, found[version])
        held = self._table.get(wanted.name, {})
        if any(version in held and held[version].state == messages.AVAILABLE for version in chosen) or not chosen:
            for version, one in held.items():
                if version not in chosen:
                    self._let_go(one)
        if not chosen:
            problems.append(f"model {wanted.name}: {wanted.base} holds no version that its policy asks for")
        return problems

    def _load(self, wanted: configs_text.Wanted, version: int, folder: Path) -> list[str]:
        before = self._table.get(wanted.name, {}).get(version)
        if before is not None and before.state == messages.AVAILABLE:
            return []
        files = _files(folder)
        failures = before.failures if before is not None and before.files == files else 0
        if failures and before is not None and not self._again(before):
            return [before.error]
        held = Held(wanted.name, version, messages.LOADING, files=files, failures=failures)
        self._put(held)
        try:
            held.model, held.runner = self._loading.load(wanted.name, wanted.base, version)
        except UserError as error:
            held.error = f"model {wanted.name} version {version} is not served: {error}"
            held.failures, held.failed_at, held.state = failures + 1, time.monotonic(), messages.END
            _LOG.warning("%s", held.error)
            return [held.error]
        held.state = messages.AVAILABLE
        self._loading.told(wanted.name, version)
        return []

    def _again(self, held: Held) -> bool:
        waited_s = time.monotonic() - held.failed_at
        return held.failures <= self._loading.max_retries and waited_s >= self._loading.retry_interval_s

    def _label(self, wanted: configs_text.Wanted) -> list[str]:
        served = self.available().get(wanted.name, [])
        before = self._labels.get(wanted.name, {})
        for label, version in wanted.labels.items():
            if version not in served and not self._loading.labels_ahead:
                return [
                    f"Request to assign label {label!r} to version {version} of model {wanted.name}, "
                    "which is not currently available for inference"
                ]
        if before != wanted.labels:
            self._labels = {**self._labels, wanted.name: dict(wanted.labels)}
        return []

    def _put(self, held: Held) -> None:
        versions = {**self._table.get(held.name, {}), held.version: held}
        ended = sorted(version for version, one in versions.items() if one.state == messages.END)
        for version in ended[: max(0, len(ended) - MAX_ENDED)]:
            del versions[version]
        self._table = {**self._table, held.name: versions}

    def _let_go(self, held: Held) -> None:
        with held._changed:
            if held.state != messages.AVAILABLE:
                return
            held.state = messages.UNLOADING
        threading.Thread(target=held.drain, name=f"drain {held.name} {held.version}", daemon=True).start()


def _files(folder: Path) -> tuple[Any, ...]:
    """Returns what tells whether a version that failed was written anew since."""
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    stats: Mapping[Path, Any] = {path: path.stat() for path in found}
    return tuple((str(path), stat.st_size, stat.st_mtime_ns) for path, stat in stats.items())
