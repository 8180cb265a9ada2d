"""A machine that is about to be taken away says so by a signal: training then ends after the step that it is in.

Clouds and Kubernetes send SIGTERM some 30 seconds before the end, Slurm what `--signal=USR1@60` asks for, a person
SIGINT (Ctrl-C). The first of them is noted; the second kills the process at once, as if nothing had listened.
"""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a supervisor needs the names of signals, not TensorFlow
    from trainers import strategy

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
SUPERVISOR = "RADKIT_SUPERVISOR"  # the process that watches over this one, in the environment
_PAUSE = 2.0  # seconds of steps between two times that several hosts ask one another


class Stopped(Exception):
    """A run that was asked to stop; what it learned is saved, and the message says so."""


class Notice:
    """Whether this host was asked to stop; `reason` says by what, or is empty."""

    def __init__(self) -> None:
        self._reason = ""
        named = os.environ.get(SUPERVISOR, "")
        supervisor = int(named) if named.isdecimal() else 0
        # What this process starts inherits the environment: it is watched by nobody, as long as the named one lives.
        # One that died while this process was loading is no longer its parent.
        is_watched = supervisor and (supervisor == os.getppid() or not _lives(supervisor))
        self._watched_by = supervisor if is_watched else 0

    @property
    def reason(self) -> str:
        """What asked to stop: a signal's name, or the supervisor's death; empty: nothing did."""
        if not self._reason and self._watched_by and os.getppid() != self._watched_by:
            # A process that nobody watches would go on unseen, and keep the run's folder from the same command.
            self._reason = "the supervisor's death"
        return self._reason

    def give(self, reason: str) -> None:
        """Asks this host to stop; the first reason stays."""
        self._reason = self._reason or reason


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        return True
    return True


@contextlib.contextmanager
def noticed(told: str = "training stops after this step") -> Iterator[Notice]:
    """Notes the first of `SIGNALS` while the block runs, and lets the second do what it does to any program.

    In another thread than the main one nothing is noted: Python tells only that one of signals.

    Args:
        told: What is said on stderr when a signal comes; empty: nothing.
    """
    notice = Notice()
    if threading.current_thread() is not threading.main_thread():
        yield notice
        return

    def note(number: int, _: FrameType | None) -> None:
        for one in SIGNALS:
            signal.signal(one, signal.SIG_DFL)
        notice.give(signal.Signals(number).name)
        if told:
            # Not print: a signal may come while another print holds the stream.
            line = f"radkit: {notice.reason}: {told}; another signal ends it at once\n"
            os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, line.encode())

    before = {one: signal.signal(one, note) for one in SIGNALS}
    try:
        yield notice
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def hook(
    notice: Notice, devices: "strategy.Devices", *, every: int = 1, clock: Callable[[], float] = time.monotonic
) -> Callable[[int, Mapping[str, float]], bool]:
    """Returns the loop's hook that ends training where any host was asked to stop, on all hosts after the same step.

    Hosts ask one another every two seconds or so: the first host says in how many steps they ask again, from how long
    its steps took.

    Args:
        notice: This host's.
        devices: All hosts.
        every: `trainer.steps_per_execution`: only after so many steps do the variables stand at the step that is told.
        clock: In seconds.
    """
    asked_at, since, next_at = 0, clock(), 0

    def stops(step: int, _: Mapping[str, float]) -> bool:
        nonlocal asked_at, since, next_at
        if step % every:
            return False
        if devices.num_hosts == 1:
            return bool(notice.reason)
        if step < next_at:
            return False
        pace = max(1, int(_PAUSE * max(1, step - asked_at) / max(clock() - since, 1e-6))) if next_at else 1
        said = devices.gathered(f"{min(pace, 1000)} {notice.reason}")
        reasons = [one.partition(" ")[2] for one in said]
        asked_at, since, next_at = step, clock(), step + int(said[0].partition(" ")[0])
        if any(reasons) and not notice.reason:
            notice.give(f"host {next(i for i, one in enumerate(reasons) if one)}")
        return any(reasons)

    return stops


def told(step: int, reason: str) -> str:
    """Returns what to say of a run that was stopped, once its state is saved.

    >>> told(1200, "SIGTERM")
    'stopped at step 1200 (SIGTERM); the same command goes on'
    """
    return f"stopped at step {step} ({reason}); the same command goes on"
