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
        changed: Is called whenever versions may have come or gone.
        max_retries: How often one that failed is tried again, though its files did not change.
        retry_interval_s: Seconds between.
        labels_ahead: Whether labels may name versions that are not available.
    """

    load: Callable[[str, Path, int], tuple[models.Model, batching.Runner]]
    told: Callable[[str, int], None] = lambda name, version: None
    changed: Callable[[], None] = lambda: None
    max_retries: int = 5
    retry_interval_s: float = 60.0
    labels_ahead: bool = False


@dataclass
class _Look:
    """What a model's folder held at one look.

    Attributes:
        wanted: The model.
        chosen: Versions that are there and are to be served; None where the folder could not be read.
        is_empty: It could, and there are none.
        fresh: Versions loaded for it, not in service yet.
        problems: What went wrong.
    """

    wanted: configs_text.Wanted
    chosen: list[int] | None = None
    is_empty: bool = False
    fresh: list[Held] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


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
        if not held:
            refusals.missing(f"no version of model {spec.name!r} is there yet")
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

    def configure(self, wanted: Sequence[configs_text.Wanted], waits: bool = False) -> list[str]:
        """Serves just these models from now on; returns what stands against it, and then nothing has changed.

        Versions are loaded beside those that are served, which go only when all is there. What goes wrong with a
        model that is served from the same folder by the same policy already is no reason to refuse the others.

        Args:
            wanted: The models.
            waits: Take models, too, that have no version yet.
        """
        with self._working:
            before = self._table
            looks = [self._look(one) for one in wanted]
            problems = [words for look in looks for words in self._against(look, waits)]
            if problems:
                for held in [held for look in looks for held in look.fresh]:
                    held.drain()
                self._table = before
                return problems
            self._wanted = {one.name: one for one in wanted}
            for look in looks:
                self._take_up(look)
            self._labels = {one.name: dict(one.labels) for one in wanted if one.labels}
            self._let_go_models()
            self._loading.changed()
            return []

    def hold(self, name: str, model: models.Model, runner: batching.Runner) -> None:
        """Serves a model that is loaded already, as it is."""
        with self._working:
            held = Held(name, model.version, messages.AVAILABLE, model=model, runner=runner)
            self._put(held)

    def refresh(self) -> list[str]:
        """Looks at the folders once: takes up what is new, lets go what is gone; returns what went wrong."""
        with self._working:
            problems: list[str] = []
            for one in (self._wanted or {}).values():
                look = self._look(one)
                self._take_up(look)
                self._loading.changed()
                problems += look.problems
            return problems

    def _let_go_models(self) -> None:
        assert self._wanted is not None
        for name in [name for name in self._table if name not in self._wanted]:
            gone = self._table[name]
            self._table = {key: value for key, value in self._table.items() if key != name}
            for held in gone.values():
                self._let_go(held)

    def close(self) -> None:
        """Lets all go."""
        for held in [one for versions in self._table.values() for one in versions.values()]:
            self._let_go(held)
        self._table = {}

    def _look(self, wanted: configs_text.Wanted) -> _Look:
        """Loads the versions that are to be served and are not yet; nothing is taken up or let go."""
        look = _Look(wanted)
        try:
            if not wanted.base.is_dir():  # a disk that is away for a moment takes no model out of service
                words = "is not a folder; name the one that holds version folders"
                look.problems.append(f"model {wanted.name}: {wanted.base} {words}")
                return look
            found = models.versions(wanted.base)
            look.chosen = wanted.policy.choose(found)
            look.is_empty = not look.chosen
            if look.is_empty:
                look.problems.append(f"model {wanted.name}: {wanted.base} holds no version that its policy asks for")
            for version in look.chosen or ():
                self._load(look, version, found[version])
        except OSError as error:  # a folder that changes while it is read
            look.problems.append(f"model {wanted.name}: {wanted.base} cannot be read: {error}")
        return look

    def _load(self, look: _Look, version: int, folder: Path) -> None:
        name = look.wanted.name
        before = self._table.get(name, {}).get(version)
        serves = before is not None and before.state == messages.AVAILABLE
        if before is not None and serves and before.model is not None and before.model.folder == folder:
            return
        files = _files(folder)
        failures = before.failures if before is not None and before.files == files else 0
        if failures and before is not None and not self._again(before):
            look.problems.append(before.error)
            return
        held = Held(name, version, messages.LOADING, files=files, failures=failures)
        if not serves:
            self._put(held)
        try:
            held.model, held.runner = self._loading.load(name, look.wanted.base, version)
        except Exception as error:  # noqa: BLE001 - whatever it is, the others go on
            words = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
            held.error = f"model {name} version {version} is not served: {words}"
            held.failures, held.failed_at, held.state = failures + 1, time.monotonic(), messages.END
            _LOG.warning("%s", held.error)
            look.problems.append(held.error)
        else:
            look.fresh.append(held)

    def _take_up(self, look: _Look) -> None:
        """Serves what a look has loaded, and lets go what is wanted no more."""
        name = look.wanted.name
        if name not in self._table:
            self._table = {**self._table, name: {}}
        for held in look.fresh:
            before = self._table[name].get(held.version)
            held.state = messages.AVAILABLE
            self._put(held)
            if before is not None and before is not held:
                self._let_go(before)
            self._loading.told(name, held.version)
        if look.chosen is None:
            return
        held_now = self._table[name]
        there = [version for version in look.chosen if version in held_now]
        if look.is_empty or any(held_now[version].state == messages.AVAILABLE for version in there):
            for version, one in held_now.items():
                if version not in look.chosen:
                    self._let_go(one)

    def _against(self, look: _Look, waits: bool) -> list[str]:
        """Returns why a model cannot be served as it is wanted."""
        if not (self._is_served(look.wanted) or (waits and look.is_empty)):
            return look.problems + self._unlabelled(look)
        if look.is_empty:
            _LOG.warning("%s yet; it is taken up when there is one", look.problems[0])
        return self._unlabelled(look)

    def _is_served(self, wanted: configs_text.Wanted) -> bool:
        """Tells whether a model was to be served just so before, and is."""
        before = (self._wanted or {}).get(wanted.name)
        same = before is not None and (before.base, before.policy) == (wanted.base, wanted.policy)
        return same and bool(self.available().get(wanted.name))

    def _again(self, held: Held) -> bool:
        waited_s = time.monotonic() - held.failed_at
        return held.failures <= self._loading.max_retries and waited_s >= self._loading.retry_interval_s

    def _unlabelled(self, look: _Look) -> list[str]:
        """Returns what stands against a model's labels: versions that will not be available."""
        if self._loading.labels_ahead:
            return []
        name, chosen = look.wanted.name, set(look.chosen or ())
        there = {held.version for held in look.fresh} | (chosen & set(self.available().get(name, [])))
        return [
            f"Request to assign label {label!r} to version {version} of model {name}, "
            "which is not currently available for inference"
            for label, version in sorted(look.wanted.labels.items())
            if version not in there
        ][:1]

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
