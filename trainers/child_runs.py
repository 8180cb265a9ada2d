"""A run in a process of its own, as `tune` and `--folds` train many of them one after the other.

A process of its own begins with all of a device's memory and with nothing that the run before set for its whole
process (precision, determinism, a mirrored strategy), and one that is killed for want of memory ends that run only.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from radkit import config, outputs, program, runs
from trainers import checkpoints, preemption

_TO_SAVE_S = 120.0  # that a run gets to save its state when it is asked to end


@dataclass(frozen=True)
class Ended:
    """How a run ended.

    Attributes:
        how: `finished`; `cut` by who watched it; `stopped` by a signal, to be gone on with; or `failed`.
        why: Of one that failed: its own words; else empty.
        is_lost: Of one that failed: whether it died or lost a device, so that the same command may go on.
        is_asked: Whether a signal came: the run may have ended of itself by then, and no other is to begin.
    """

    how: Literal["finished", "cut", "stopped", "failed"]
    why: str = ""
    is_lost: bool = False
    is_asked: bool = False


def _never() -> bool:
    return False


def train(
    experiment: config.Experiment,
    folder: Path,
    run: Path,
    *,
    flags: Sequence[str] = (),
    log: Path | None = None,
    watch: Callable[[], bool] = _never,
    every_s: float = 1.0,
) -> Ended:
    """Trains a run, or goes on with it, and waits until it ended; a finished one is left alone.

    The config is written beside the run's folder, as `NAME.json`. Signals that would end this process end the run
    first, which saves its state.

    Args:
        experiment: The run's.
        folder: The data set's.
        run: The run's folder.
        flags: More flags of `radkit train`.
        log: File that what the run prints is added to; None: it goes where ours goes.
        watch: Called again and again; the run is asked to end when it says True.
        every_s: Seconds between two calls.

    Raises:
        UserError: Another process trains there, as one that outlived an earlier command.
    """
    if (run / runs.MANIFEST).is_file():
        return Ended("finished")
    with checkpoints.lock(run):
        pass
    outputs.make_folder(run.parent)
    said = run.with_name(f"{run.name}.json")
    outputs.write_json(said, config.to_json(experiment))
    command = [sys.executable, "-m", "radkit", "train", f"--config={said}", f"--input={folder}", f"--output={run}"]
    with contextlib.ExitStack() as stack:
        to = stack.enter_context(log.open("ab")) if log else None
        # A session of its own: the terminal's Ctrl-C would reach it beside ours, as a second signal that kills.
        environment = {**os.environ, preemption.SUPERVISOR: str(os.getpid())}  # it stops by itself when we are killed
        child = subprocess.Popen([*command, *flags], stdout=to, stderr=to, start_new_session=True, env=environment)
        asked = stack.enter_context(_passed_on(child))
        is_cut = _waited(child, watch, every_s)
    return _ended(run, child.returncode, log, is_cut=is_cut, is_asked=bool(asked))


@contextlib.contextmanager
def _passed_on(child: "subprocess.Popen[bytes]") -> Iterator[list[int]]:
    """Passes signals on to the child while the block runs, and yields those that came; the child ends with it."""
    came: list[int] = []

    def pass_on(number: int, _: object) -> None:
        came.append(number)
        child.send_signal(number)

    is_main = threading.current_thread() is threading.main_thread()  # no other may set handlers
    before = {number: signal.signal(number, pass_on) for number in preemption.SIGNALS} if is_main else {}
    try:
        yield came
    finally:
        _end(child)
        for number, handler in before.items():
            signal.signal(number, handler)


def _waited(child: "subprocess.Popen[bytes]", watch: Callable[[], bool], every_s: float) -> bool:
    """Returns when the child has ended: whether it was `watch` that ended it."""
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(every_s)
            return False
        if watch():
            _end(child)
            return True


def _end(child: "subprocess.Popen[bytes]") -> None:
    """Asks a child to end, and kills it when it does not."""
    if child.poll() is not None:
        return
    child.terminate()
    try:
        child.wait(_TO_SAVE_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _ended(run: Path, status: int, log: Path | None, *, is_cut: bool, is_asked: bool) -> Ended:
    if (run / runs.MANIFEST).is_file():
        return Ended("finished", is_asked=is_asked)
    if is_cut:
        return Ended("cut", is_asked=is_asked)
    if is_asked or status == 0:  # 0 and not finished: it was told itself to stop, and saved its state
        return Ended("stopped", is_asked=is_asked)
    why = (_words(log) if status > 0 else "") or _of_status(status)
    return Ended("failed", why, is_lost=status != program.REFUSED)


def _of_status(status: int) -> str:
    return f"killed by signal {-status} (9: often for want of memory)" if status < 0 else f"ended with status {status}"


def _words(log: Path | None) -> str:
    """Returns the last line in which a run told why it was refused."""
    if log is None:
        return ""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    told = [line.removeprefix("radkit: ") for line in lines if line.startswith("radkit: ")]
    return told[-1] if told else ""
