"""How many calls a model answers at a time, and how many may wait: more are refused at once."""

import threading
from collections import deque

from serving import refusals


class Gate:
    """Lets a number of calls through at a time, in the order they came.

    Args:
        workers: Calls at a time.
        most_waiting: Calls that may wait beside them, each with its inputs in memory.
    """

    def __init__(self, workers: int, most_waiting: int) -> None:
        self._lock = threading.Lock()
        self._free, self._most_waiting = workers, most_waiting
        self._waiting: deque[threading.Event] = deque()

    @property
    def num_waiting(self) -> int:
        """How many calls wait now."""
        return len(self._waiting)

    def enter(self, timeout_s: float | None = None) -> None:
        """Returns when it is this call's turn; `leave` must follow.

        Raises:
            Refusal: RESOURCE_EXHAUSTED where too many wait, DEADLINE_EXCEEDED where the turn did not come in time.
        """
        with self._lock:
            if self._free:
                self._free -= 1
                return
            if len(self._waiting) >= self._most_waiting:
                refusals.full(f"{self._most_waiting} calls wait for this model already; ask again later")
            turn = threading.Event()
            self._waiting.append(turn)
        if turn.wait(timeout_s):
            return
        with self._lock:
            if turn in self._waiting:  # otherwise the turn came just now
                self._waiting.remove(turn)
                refusals.late("the deadline passed while the call waited for its turn")

    def leave(self) -> None:
        """Gives the turn to who waits longest."""
        with self._lock:
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self._free += 1
