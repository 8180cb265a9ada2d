"""What a run saves while it trains, so that a stopped one goes on where it was, bit for bit.

`state/` in the run's folder holds one folder a checkpoint, named by its step (see `checkpoint_files`).
"""

import contextlib
import fcntl
import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent import futures
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import keras
import numpy as np
import tensorflow as tf

from radkit import config, outputs, runs
from radkit.errors import UserError
from trainers import checkpoint_files

STATE = "state"


@contextlib.contextmanager
def lock(run: Path) -> Iterator[None]:
    """Keeps a run's folder to this process while the block runs; a killed process leaves no lock behind.

    Raises:
        UserError: Another process trains there.
    """
    run = run.resolve()
    made = [folder for folder in run.parents if not folder.exists()]
    outputs.make_folder(run.parent)
    path = run.with_name(f".{run.name}.lock")
    with _locked(path, run):
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
            for folder in made:  # innermost first; one that holds the run stays
                with contextlib.suppress(OSError):
                    folder.rmdir()


def _locked(path: Path, run: Path) -> IO[bytes]:
    """Returns the open file of a lock that is this process's until it is closed."""
    while True:
        with contextlib.ExitStack() as stack:
            try:
                with outputs.place_named(path):
                    file = stack.enter_context(path.open("wb"))
            except IsADirectoryError as error:
                raise UserError(_in_the_way(path, "folder", "file")) from error
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise UserError(f"--output {run} is being trained by another process; wait or name another") from error
            # One that ended just now may have removed this file, and a third process locked a new one of its name.
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                    stack.pop_all()
                    return file


def require_places(output: Path, files: Iterable[str], folders: Iterable[str] = ()) -> None:
    """Refuses a folder in which folders stand where files are to be written, or files where folders are.

    Args:
        output: The folder; need not be there.
        files: Names of files that will be written in it.
        folders: Names of folders.

    Raises:
        UserError: It names what stands there.
    """
    for name in files:
        if (output / name).is_dir():
            raise UserError(_in_the_way(output / name, "folder", "file"))
    for name in folders:
        if (output / name).exists() and not (output / name).is_dir():
            raise UserError(_in_the_way(output / name, "file", "folder"))


def _in_the_way(path: Path, found: str, wanted: str) -> str:
    return f"{path} is a {found}, and a {wanted} of that name is to be written; move it, or name another --output"


@dataclass(frozen=True)
class Saved:
    """What decides whether a checkpoint stays."""

    step: int
    hours: float  # when it was saved, on any clock
    score: float | None  # of the weights in it, higher is better; None: not scored


def kept(saved: Iterable[Saved], trainer: config.Trainer) -> set[int]:
    """Returns the steps whose checkpoints stay.

    The newest `trainer.keep_last` (at least one); the best scored one (of equal ones the newest); and, where
    `trainer.keep_every_hours` is not 0, the first one, and each that was saved so many hours or more after the one
    before it that stays for that.
    """
    known = sorted(saved, key=lambda one: one.step)
    steps = {one.step for one in known[-max(1, trainer.keep_last) :]}
    scored = [(one.score, one.step) for one in known if one.score is not None]
    steps |= {max(scored)[1]} if scored else set()
    last = -np.inf
    for one in known if trainer.keep_every_hours else []:
        if one.hours - last >= trainer.keep_every_hours:
            steps.add(one.step)
            last = one.hours
    return steps


def has_whole(run: Path) -> bool:
    """Returns whether a run has a checkpoint to go on from."""
    for step in sorted(_steps(run / STATE), reverse=True):
        folder = run / STATE / str(step)
        with contextlib.suppress(checkpoint_files.Damaged, OSError):
            checkpoint_files.read(folder, checkpoint_files.manifest(folder))
            return True
    return False


class Keeper:
    """Saves a run's variables in the background, and gives them back to a run that goes on.

    Only the chief writes; every host restores, from a folder that all of them see. A step must leave all replicas with
    the same values.

    Args:
        run: The run's folder.
        parts: All variables that the next step depends on, by what they belong to, in an order that a program started
            again gives, too.
        trainer: What is kept: `keep_last`, `keep_every_hours`.
        is_chief: Whether this host writes.
        after: Called when a checkpoint is on disk, in the thread that wrote it.

    Example:
        >>> import tempfile, tensorflow as tf
        >>> from pathlib import Path
        >>> from radkit import config
        >>> weights, run = tf.Variable([1.0, 2.0]), Path(tempfile.mkdtemp())
        >>> keeper = Keeper(run, {"network": [weights]}, config.Trainer())
        >>> keeper.restore()
        >>> keeper.save(10, {"score": 0.5})
        >>> _ = weights.assign([3.0, 4.0])  # what is being written was copied
        >>> keeper.close()
        >>> keeper.restore(), weights.numpy().tolist()
        ({'score': 0.5, 'step': 10}, [1.0, 2.0])
    """

    def __init__(
        self,
        run: Path,
        parts: Mapping[str, Sequence[tf.Variable]],
        trainer: config.Trainer,
        is_chief: bool = True,
        after: Callable[[], None] | None = None,
    ) -> None:
        self._run, self._folder, self._after = run, run / STATE, after
        self._variables = _named(parts)
        self._trainer, self._is_chief = trainer, is_chief
        self._thread = futures.ThreadPoolExecutor(1, "checkpoint")
        self._writing: futures.Future[None] | None = None
        self._damaged: set[int] = set()
        self._saved: int | None = None

    def restore(self) -> dict[str, Any] | None:
        """Gives all variables the values of the newest whole checkpoint, and the run its best weights of that time.

        One that is cut or changed is passed over, with a warning on stderr.

        Returns:
            The facts saved with it, `step` among them; None where there is no whole checkpoint: nothing was changed.

        Raises:
            UserError: Its variables are others than these, or another version of radkit wrote it.
        """
        self._wait()
        for step in sorted(_steps(self._folder), reverse=True):
            folder = self._folder / str(step)
            try:
                said = checkpoint_files.manifest(folder)
                values = checkpoint_files.read(folder, said)
            except (checkpoint_files.Damaged, OSError) as error:
                self._damaged.add(step)
                print(f"radkit: checkpoint {folder} is passed over: {error}", file=sys.stderr)
                continue
            self._require_same(folder, values)
            for name, variable in self._variables.items():
                variable.assign(values[name])
            if self._is_chief:
                self._put_back_best(folder)
            return dict(said["facts"])
        if self._damaged:
            print("radkit: no checkpoint is whole; training begins anew", file=sys.stderr)
        return None

    def _require_same(self, folder: Path, values: Mapping[str, np.ndarray]) -> None:
        def spelt(name: str, shape: Sequence[int | None], dtype: str) -> str:
            return f"{name} {tuple(shape)} {dtype}"

        found = [spelt(name, value.shape, value.dtype.name) for name, value in values.items()]
        wanted = [spelt(name, tuple(one.shape), one.dtype.name) for name, one in self._variables.items()]
        if found == wanted:
            return
        lacking, surplus = set(wanted) - set(found), set(found) - set(wanted)
        raise UserError(
            f"{folder} is a checkpoint of {len(found)} variables that are not the {len(wanted)} of this run: "
            f"{'; '.join(sorted(surplus)[:2]) or 'none'} instead of {'; '.join(sorted(lacking)[:2]) or 'none'}; "
            "go on with the radkit that began the run, or name another --output"
        )

    def _put_back_best(self, folder: Path) -> None:
        """Undoes what a stopped run wrote after this checkpoint: its steps, taken again, need not be the same."""
        best = self._run / runs.BEST
        if (folder / runs.BEST).is_file():
            _link(folder / runs.BEST, aside := _aside(self._run))
            aside.replace(best)
            aside.unlink(missing_ok=True)  # which stays where both names are already of one file
        else:
            best.unlink(missing_ok=True)

    def save(self, step: int, facts: Mapping[str, Any], wait: bool = False) -> None:
        """Copies all variables to memory at once, and lets a thread write them, and the run's best weights, to disk.

        A save before this one is waited for. A step that was just saved is not saved again.

        Args:
            step: Steps taken.
            facts: JSON values that `restore` gives back. `score`: of these very weights, higher is better; None or
                left out: they were not scored.
            wait: Whether to return only when it is on disk.

        Raises:
            OSError: This one, or the one before it, could not be written.
            ValueError: A fact is no JSON value; an infinite number is none.
        """
        self._wait()
        if not self._is_chief or step == self._saved:
            return
        facts = json.loads(json.dumps({**facts, "step": step}, allow_nan=False))
        values = {name: np.asarray(variable.read_value().numpy()) for name, variable in self._variables.items()}
        outputs.make_folder(self._folder)
        beside = {}
        if (self._run / runs.BEST).is_file():  # now: the next best weights may come while this is being written
            _link(self._run / runs.BEST, aside := _aside(self._folder))
            beside[runs.BEST] = aside
        self._writing, self._saved = self._thread.submit(self._write, step, values, facts, beside), step
        if wait:
            self._wait()

    def _write(
        self, step: int, values: Mapping[str, np.ndarray], facts: Mapping[str, Any], beside: Mapping[str, Path]
    ) -> None:
        checkpoint_files.write(self._folder / str(step), values, facts, beside)
        self._damaged.discard(step)
        self._remove_old(step)
        if self._after is not None:
            self._after()

    def _remove_old(self, newest: int) -> None:
        """Removes checkpoints that are no longer wanted, damaged ones, and what a killed process left."""
        saved, unread = [], set()
        for step in _steps(self._folder):
            if step > newest or step in self._damaged:
                continue
            try:
                said = checkpoint_files.manifest(self._folder / str(step))
                saved.append(Saved(step, said["saved"] / 3600, said["facts"].get("score")))
            except (checkpoint_files.Damaged, UserError):
                continue
            except OSError:  # the disk fails there, maybe not for ever
                unread.add(step)
        stay = kept(saved, self._trainer) | unread
        for step in _steps(self._folder) - stay:
            checkpoint_files.remove(self._folder / str(step))
        _aside(self._folder).unlink(missing_ok=True)
        for litter in self._folder.glob(f"[0-9]*{checkpoint_files.INCOMPLETE}"):
            shutil.rmtree(litter, ignore_errors=True)

    def _wait(self) -> None:
        writing, self._writing = self._writing, None
        if writing is not None:
            try:
                writing.result()
            except BaseException:
                self._saved = None
                raise

    def close(self) -> None:
        """Waits until the last save is on disk; it is the last.

        Raises:
            OSError: It could not be written.
        """
        self._thread.shutdown()
        self._wait()


def _named(parts: Mapping[str, Sequence[tf.Variable]]) -> dict[str, tf.Variable]:
    """Returns the variables by part, place and name.

    Numbers at the ends of names are left out: Keras counts the layers that a process made, in all its networks.
    """
    return {
        f"{part}/{place}/{re.sub('_[0-9]+(?=_|/|$)', '', variable.name.split(':')[0])}": variable
        for part, variables in parts.items()
        for place, variable in enumerate(variables)
    }


def _steps(folder: Path) -> set[int]:
    return {int(path.name) for path in folder.glob("*") if re.fullmatch("[0-9]+", path.name) and path.is_dir()}


def _aside(folder: Path) -> Path:
    return folder / f"{runs.BEST}{checkpoint_files.INCOMPLETE}"


def _link(path: Path, link: Path) -> None:
    """Gives a file a second name, or copies it where the file system cannot."""
    link.unlink(missing_ok=True)
    try:
        os.link(path, link)
    except OSError:
        shutil.copyfile(path, link)


def save_weights(network: keras.Model, path: Path) -> None:
    """Writes weights through a temporary file and a rename."""
    # HDF5 takes the process down when the disk is full; beside the weights it writes some pages a layer.
    outputs.require_space(path.parent, 4 * network.count_params() + 16384 * (len(network.layers) + 16))
    aside = path.with_name(f"incomplete.{os.getpid()}.weights.h5")
    try:
        network.save_weights(aside)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def add_history(run: Path, line: Mapping[str, Any]) -> None:
    """Appends one line to the run's history, and waits for the disk: the checkpoint after it relies on it."""
    with (run / runs.HISTORY).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
        file.flush()
        os.fsync(file.fileno())


def cut_history(run: Path, step: int, lines: int = 0) -> None:
    """Leaves out the lines after a step: a resumed run writes them again. Says so where earlier ones are lost.

    Args:
        run: The run's folder.
        step: Of the checkpoint that the run goes on from.
        lines: How many there were when it was saved.

    Raises:
        UserError: It holds what is no line of it.
    """
    try:
        kept = [line for line in runs.history(run) if line["step"] <= step]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{run / runs.HISTORY} is damaged ({type(error).__name__}: {error}); remove it, and the same command goes "
            "on without what it told of earlier steps"
        ) from error
    if len(kept) < lines:
        told = f"tells of {len(kept)} of the {lines} validations up to step {step}: it was cut or changed"
        print(f"radkit: {run / runs.HISTORY} {told}; the run goes on without the others' lines", file=sys.stderr)
    outputs.write_text(run / runs.HISTORY, "".join(json.dumps(line) + "\n" for line in kept), durable=True)
