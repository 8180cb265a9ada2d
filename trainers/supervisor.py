"""Runs training as a child process and starts it again when it dies: `radkit train --restarts N`.

A child that is killed (the kernel's for memory, say) or that loses a device or a peer goes on from its last
checkpoint. One that is done (status 0) or refused (2) would end the same way again and is left. On several hosts each
host has its supervisor: where one child dies, its peers end with an error soon after, and all are started again.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from types import FrameType

from radkit import program
from trainers import preemption

_LONGEST_PAUSE = 60.0  # seconds


def pause(restarted: int) -> float:
    """Returns the seconds before the next start, by how many starts again there were.

    >>> [pause(restarted) for restarted in (0, 1, 2, 9)]
    [1.0, 2.0, 4.0, 60.0]
    """
    return min(2.0**restarted, _LONGEST_PAUSE)


def supervise(
    argv: Sequence[str], restarts: int, *, start: Sequence[str] = (), pause: Callable[[int], float] = pause
) -> int:
    """Runs `radkit train` as a child until it is done; returns the exit status.

    SIGTERM, SIGUSR1 and SIGINT are passed on, and a child that dies of them is not started again. The child has a
    session of its own, so that Ctrl-C in a terminal reaches it once. It ends after a step when this process dies.

    Args:
        argv: The program's name (`radkit train`), then its flags; the child's are these and `--restarts=0`.
        restarts: How often a child that died is started again at most.
        start: The child's command up to the flags; empty: this Python's `radkit train`.
        pause: Seconds before a restart, by how many there were before.
    """
    # The last --restarts counts, wherever the others stand: in a --flagfile, too.
    command = [*(start or (sys.executable, "-m", "radkit", "train")), *argv[1:], "--restarts=0"]
    with _passing_on() as passed:
        for restarted in range(restarts + 1):
            status = passed.run(command)
            if status in (program.DONE, program.REFUSED) or passed.is_asked.is_set():
                break
            if restarted == restarts:
                print(f"radkit: training {_spelt(status)}; no restart is left of {restarts}", file=sys.stderr)
                break
            seconds = pause(restarted)
            print(
                f"radkit: training {_spelt(status)}; restart {restarted + 1} of {restarts} in {seconds:g} s",
                file=sys.stderr,
                flush=True,
            )
            if passed.is_asked.wait(seconds):
                break
    return status if status >= 0 else 128 - status


def _spelt(status: int) -> str:
    if status < 0:
        with contextlib.suppress(ValueError):
            return f"died of {signal.Signals(-status).name}"
        return f"died of signal {-status}"
    return f"ended with status {status}"


class _Passing:
    """The child that runs now, and whether a signal asked to stop."""

    def __init__(self) -> None:
        self.is_asked = threading.Event()
        self._child: subprocess.Popen[bytes] | None = None
        self._last = 0

    def on_signal(self, number: int, _: FrameType | None) -> None:
        self._last = number
        self.is_asked.set()
        if self._child is not None:
            self._child.send_signal(number)

    def run(self, command: Sequence[str]) -> int:
        """Runs a child to its end; returns its status, below 0 the signal that it died of."""
        environment = {**os.environ, preemption.SUPERVISOR: str(os.getpid())}
        self._child = subprocess.Popen(command, env=environment, start_new_session=True)
        if self.is_asked.is_set():  # while the child was being started
            self._child.send_signal(self._last)
        status = self._child.wait()
        self._child = None
        return status


@contextlib.contextmanager
def _passing_on() -> Iterator[_Passing]:
    passing = _Passing()
    before = {one: signal.signal(one, passing.on_signal) for one in preemption.SIGNALS}
    try:
        yield passing
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
