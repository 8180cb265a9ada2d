"""Records and runs in a bucket (gs://, s3://, whatever `tf.io.gfile` opens): copied here, worked on, copied back.

Records are read by memory map, and a checkpoint is whole by a rename: a bucket has neither. So what lies there is
copied into a folder of this machine first (`--cache`), what is there already is not copied again, and a run is copied
back after each checkpoint and at its end. A folder's `manifest.json` goes up last and is taken away first: what was
cut on its way has none, and is passed over.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from dataclasses import dataclass, field
from pathlib import Path

import tensorflow as tf
from absl import flags

from radkit import outputs, program
from radkit.errors import UserError

_LAST = "manifest.json"
_PASSING = "incomplete"  # in the names of what is being written
_AT_ONCE = 8


def define(flag_values: flags.FlagValues) -> None:
    """Adds `--cache`."""
    flags.DEFINE_string(
        "cache", None, "Where copies of what lies in a bucket are kept; else ~/.cache/radkit.", flag_values=flag_values
    )


def is_remote(path: str) -> bool:
    """Returns whether a path is not of this machine's file system.

    >>> is_remote("gs://bucket/records"), is_remote("records/chest")
    (True, False)
    """
    return "://" in path


def input_folder(values: flags.FlagValues, name: str = "input") -> Path:
    """Returns the folder that a flag names, or the copy of it.

    Raises:
        UserError: It is missing or empty, or the bucket cannot be read.
    """
    said = values[name].value
    if not said or not is_remote(said):
        return program.input_folder(values) if name == "input" else Path(said)
    here = _cache(values, said)
    if not fetch(said, here):
        raise UserError(f"--{name} {said} does not exist or holds nothing; name a folder with files in it")
    return here


@dataclass
class Run:
    """A run's folder, which may lie in a bucket.

    Attributes:
        said: The flag's value.
        here: The folder of this machine.
    """

    said: str
    here: Path
    _known: dict[str, tuple[int, int]] = field(default_factory=dict)

    @classmethod
    def of(cls, values: flags.FlagValues, name: str = "output") -> "Run":
        """Returns the run that a flag names, as it stands in the bucket.

        Raises:
            UserError: The bucket cannot be read.
        """
        said = values[name].value
        if not is_remote(said):
            return cls(said, Path(said))
        run = cls(said, _cache(values, said))
        fetch(said, run.here)
        run._known = {place: _state(run.here / place) for place in _files(run.here)}
        return run

    @property
    def push(self) -> Callable[[], None] | None:
        """What copies it back; None where there is no bucket."""
        return self._push if is_remote(self.said) else None

    def _push(self) -> None:
        """Copies what is new or changed, then takes away what is gone.

        Raises:
            UserError: The bucket cannot be written.
        """
        with _told(self.said):
            there = {place: _state(self.here / place) for place in _files(self.here)}
            changed = [place for place, state in there.items() if self._known.get(place) != state]
            for ends in (False, True):
                _each((place for place in changed if _ends(place) == ends), self._up)
            gone = set(self._known) - set(there)
            for ends in (True, False):
                _each((place for place in gone if _ends(place) == ends), self._away)
            self._known = there

    def _up(self, place: str) -> None:
        remote = f"{self.said}/{place}"
        tf.io.gfile.makedirs(remote.rpartition("/")[0])
        try:
            tf.io.gfile.copy(str(self.here / place), remote, overwrite=True)
        except tf.errors.NotFoundError:
            if (self.here / place).exists():
                raise  # else the run has removed it meanwhile: the next time it is gone

    def _away(self, place: str) -> None:
        with contextlib.suppress(tf.errors.NotFoundError):
            tf.io.gfile.remove(f"{self.said}/{place}")


def fetch(remote: str, here: Path) -> int:
    """Makes a folder of this machine what one in a bucket is; returns how many files that is.

    Files whose length and time are those of the copy are not copied again.

    Args:
        remote: As gs://bucket/folder.
        here: Is made; what else is in it is removed.

    Raises:
        UserError: The bucket cannot be read, or this machine's disk is full.
    """
    with _told(remote):
        there = dict(_listed(remote))
    outputs.make_folder(here)
    beside = here.with_name(f".{here.name}.copied.json")  # name to length and time in the bucket
    copied = _read(beside)
    for place in set(_files(here)) - set(there):
        (here / place).unlink()
    wanted = [place for place, state in there.items() if copied.get(place) != state or not (here / place).is_file()]
    outputs.require_space(here, sum(there[place][0] for place in wanted))
    beside.unlink(missing_ok=True)  # a kill leaves files that nobody vouches for

    def down(place: str) -> None:
        path = here / place
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f"{path.name}.{_PASSING}")
        tf.io.gfile.copy(f"{remote}/{place}", str(aside), overwrite=True)
        aside.replace(path)

    with _told(remote):
        _each(wanted, down)
    outputs.write_json(beside, {place: list(state) for place, state in there.items()})
    return len(there)


def _cache(values: flags.FlagValues, remote: str) -> Path:
    """Returns the folder for a path's copy, one a path."""
    base = values["cache"].value or os.path.join(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "radkit")
    name = remote.rstrip("/").rpartition("/")[2]
    return Path(base).expanduser() / hashlib.sha256(remote.rstrip("/").encode()).hexdigest()[:16] / name


def _listed(remote: str) -> Iterator[tuple[str, tuple[int, int]]]:
    """Yields each file below a folder, with its length and time."""
    if not tf.io.gfile.exists(remote):  # which tells what is wrong; `walk` would not
        return
    for folder, _, names in tf.io.gfile.walk(remote):
        for name in names:
            path = tf.io.gfile.join(folder, name)
            state = tf.io.gfile.stat(path)
            yield path[len(remote.rstrip("/")) :].strip("/"), (state.length, state.mtime_nsec)


def _files(folder: Path) -> list[str]:
    """Returns the files below a folder that are whole."""
    found = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return [place for place in found if _PASSING not in place]


def _state(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except FileNotFoundError:  # removed by the run meanwhile
        return 0, 0
    return found.st_size, found.st_mtime_ns


def _ends(place: str) -> bool:
    return place.rpartition("/")[2] == _LAST


def _read(path: Path) -> dict[str, tuple[int, int]]:
    with contextlib.suppress(OSError, ValueError):
        return {place: (length, time) for place, (length, time) in json.loads(path.read_bytes()).items()}
    return {}


def _each(places: Iterable[str], work: Callable[[str], None]) -> None:
    with futures.ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(work, places))


@contextlib.contextmanager
def _told(remote: str) -> Iterator[None]:
    try:
        yield
    except tf.errors.OpError as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        advice = "see that the path and this machine's credentials are right"
        if isinstance(error, tf.errors.UnimplementedError):
            advice = "TensorFlow opens gs:// by itself, others with tensorflow-io; or mount the bucket as a folder"
        raise UserError(f"{remote} cannot be read or written: {reason}; {advice}") from error
