"""Processes of this machine that share a job's work; one that dies is replaced and its part is done again.

What a worker was at when it died is known (`at`). A part is tried again; then once more while no other worker is
busy, in case there was not memory for two; what kills its worker even then is left out, if the work can do without.
"""

import contextlib
import multiprocessing
import os
import pickle
import queue
import signal
import sys
import threading
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field
from multiprocessing import connection
from typing import Any

from radkit.errors import Unfinished, UserError, disk_error

DEATHS_TOGETHER = 2  # of one thing, before it is tried alone
DEATHS_IN_ALL = 24  # of a job's workers, before it is given up

_parent: Any = None  # in a worker: the connection to its job


class WorkerDied(Unfinished):
    """Workers died again and again, so that the job cannot end."""


def at(what: str) -> None:
    """Says in a worker what it begins, so that it is known should it die of it; elsewhere without effect."""
    if _parent is not None:
        _parent.send(("at", what))


@dataclass
class _Task:
    function: Callable[..., None]
    arguments: tuple[Any, ...]
    done: "Future[None]" = field(default_factory=Future)
    deaths: "Counter[str]" = field(default_factory=Counter)
    killers: set[str] = field(default_factory=set)


@dataclass
class _Worker:
    process: Any
    said: Any  # the connection


class Pool:
    """Worker processes, each with a thread here that hands it tasks and waits for it.

    Attributes:
        gave_up: Why, once workers died too often.
    """

    def __init__(self, number: int) -> None:
        # Forked while this process is as good as idle, so that what is loaded is loaded in all of them.
        how = "fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn"
        self._context: Any = multiprocessing.get_context(how)
        self._tasks: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        self._forking = threading.Lock()
        self._turns = threading.Condition()
        self._busy = self._deaths = 0
        self._alone = self._closing = False
        self.gave_up: WorkerDied | None = None
        self._workers = [self._fork() for _ in range(number)]
        self._threads = [threading.Thread(target=self._serve, args=(i,), daemon=True) for i in range(number)]
        for thread in self._threads:
            thread.start()

    def submit(self, function: Callable[..., None], *arguments: Any) -> "Future[None]":
        """Hands a task over.

        Should its worker die of what it was `at`, again and alone, the function is called with `killers`, the set of
        such things; without such a word the future raises `WorkerDied`.
        """
        task = _Task(function, arguments)
        self._tasks.put(task)
        return task.done

    def close(self, *, kill: bool = False) -> None:
        """Ends the workers, after what was submitted or, when they are killed, at once; nobody writes after this."""
        self._closing = kill
        for _ in self._threads:
            self._tasks.put(None)
        if kill:
            with self._forking:
                for worker in self._workers:
                    worker.process.kill()
            with self._turns:
                self._turns.notify_all()
        for thread in self._threads:
            thread.join()
        for worker in self._workers:
            with contextlib.suppress(OSError):
                worker.said.send(None)  # no end of file would come: its siblings hold this pipe open, too
            worker.process.join()
            worker.said.close()

    def _fork(self) -> _Worker:
        # No other thread may fork in between: its child would hold this pipe open, and no end would be seen.
        with self._forking, warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", DeprecationWarning
            )  # of forks beside threads: the child starts none of ours
            here, there = self._context.Pipe()
            process = self._context.Process(target=_work, args=(there,), daemon=True)
            process.start()
            there.close()
            return _Worker(process, here)

    def _serve(self, seat: int) -> None:
        while (task := self._tasks.get()) is not None:
            while not task.done.done():
                self._try(task, seat)

    def _try(self, task: _Task, seat: int) -> None:
        """Tries a task once; leaves its future undone when it shall be tried again."""
        alone = max(task.deaths.values(), default=0) >= DEATHS_TOGETHER
        with self._turn(alone):
            if self._closing:
                task.done.set_exception(CancelledError())
                return
            reply, what = self._ask(self._workers[seat], task)
            if reply is None and not self._closing:
                self._workers[seat].process.join()
                self._workers[seat].said.close()
                self._workers[seat] = self._fork()
        if reply is None:
            self._died(task, what)
        elif isinstance(reply, BaseException):
            task.done.set_exception(reply)
        else:
            task.done.set_result(None)

    def _ask(self, worker: _Worker, task: _Task) -> tuple[Any, str]:
        """Returns True or the exception that the worker ended with, None when it died; and what it was at."""
        what = ""
        more = {"killers": frozenset(task.killers)} if task.killers else {}
        try:
            worker.said.send((task.function, task.arguments, more))
            while True:
                kind, value = worker.said.recv()
                if kind == "end":
                    return value, what
                what = value
        except (EOFError, OSError, pickle.UnpicklingError):
            return None, what
        except Exception as error:  # noqa: BLE001 - a task that cannot travel: whoever waits for it must know
            return error, what

    def _died(self, task: _Task, what: str) -> None:
        task.deaths[what] += 1
        self._deaths += 1
        if self._closing:
            task.done.set_exception(CancelledError())
        elif self._deaths >= DEATHS_IN_ALL or (not what and task.deaths[what] > DEATHS_TOGETHER):
            self.gave_up = WorkerDied(
                f"{self._deaths} worker processes were killed, as happens for want of memory; give fewer "
                "(--direct_num_workers=1); the same command goes on where it stopped"
            )
            task.done.set_exception(self.gave_up)
        elif task.deaths[what] > DEATHS_TOGETHER:
            task.killers.add(what)
            task.deaths.clear()

    @contextlib.contextmanager
    def _turn(self, alone: bool) -> Iterator[None]:
        """Waits until a task may run: while another wants to be alone none begins, and it waits for those that run."""
        with self._turns:
            self._turns.wait_for(lambda: self._closing or not self._alone)
            if alone:
                self._alone = True
                self._turns.wait_for(lambda: self._closing or not self._busy)
            self._busy += 1
        try:
            yield
        finally:
            with self._turns:
                self._busy -= 1
                self._alone = self._alone and not alone
                self._turns.notify_all()


def _work(said: Any) -> None:
    """Does what is asked until there is no more: a worker's whole life."""
    global _parent
    _begin()
    _parent = said
    with contextlib.suppress(EOFError):
        while (asked := said.recv()) is not None:
            said.send(("end", _outcome(*asked)))
    os._exit(0)  # nothing of the parent's is this process's to tidy


def _outcome(function: Callable[..., None], arguments: tuple[Any, ...], more: dict[str, Any]) -> Any:
    try:
        function(*arguments, **more)
    except Exception as error:  # noqa: BLE001 - raised again in the parent
        # By its words, as Beam wraps it: what a program tells in one line then needs no traceback.
        if not isinstance(error, UserError) and not disk_error(RuntimeError(str(error))):
            traceback.print_exc()
            sys.stderr.flush()
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:  # noqa: BLE001 - an exception with arguments of its own
            return RuntimeError(f"{type(error).__name__}: {error}")
        return error
    return True


def _begin() -> None:
    """Makes a worker leave Ctrl-C to its parent, and leave when that is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def watch() -> None:
        connection.wait([parent.sentinel])  # type: ignore[union-attr]
        os._exit(1)

    if parent is not None:
        threading.Thread(target=watch, daemon=True).start()
