"""Whether joining calls pays, told by the calls themselves: what an example costs joined, and what it costs alone.

Small convolutional networks on few processors often answer a batch more slowly than its images one by one. Where
nothing was measured beforehand (`serving.autotune`), the first batches are run in both ways in turns, and joining stays
only where it is cheaper; later it is tried again, since load and sizes change.
"""

import statistics
import threading

GAIN = 1.05
SAMPLES = 5  # batches measured of each way
HOLDS = 2000  # examples for which a verdict holds


class Trial:
    """The trial of one kind of call; used by many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._begin()

    def _begin(self) -> None:
        self._costs: dict[bool, list[float]] = {True: [], False: []}
        self._pays: bool | None = None
        self._left = HOLDS

    @property
    def is_off(self) -> bool:
        """Whether joining was found not to pay."""
        return self._pays is False

    def joins(self) -> bool:
        """Tells whether the next batch is to be run joined."""
        with self._lock:
            if self._pays is not None:
                return self._pays
            return len(self._costs[True]) <= len(self._costs[False])

    def ran(self, joined: bool, rows: int, seconds: float) -> None:
        """Notes what a batch took, infinite where it failed."""
        with self._lock:
            if self._pays is not None:
                self._passed(rows)
                return
            self._costs[joined].append(seconds / rows)
            if min(map(len, self._costs.values())) >= SAMPLES:
                together, alone = (statistics.median(self._costs[way]) for way in (True, False))
                self._pays = together * GAIN <= alone

    def passed(self, rows: int) -> None:
        """Counts examples that were not tried."""
        with self._lock:
            self._passed(rows)

    def _passed(self, rows: int) -> None:
        self._left -= rows
        if self._left <= 0:
            self._begin()
