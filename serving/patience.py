"""Clients that send or take slowly: when they are too many, those that were longest about it are let go.

A request that comes in bit by bit holds a thread until it is whole. Nobody is hurried while there is room: a volume may
take minutes over a thin line.
"""

import contextlib
import itertools
import threading
import time
from collections.abc import Callable, Iterator

LEAST_S = 20.0  # whoever came later than so many seconds ago is left in peace
_LOOK_S = 0.1


class Patience:
    """Who is sending or taking now.

    Args:
        most: So many may be about it for as long as they like.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._under_way: dict[object, tuple[float, Callable[[], object]]] = {}  # in the order they came
        self._hurried = False

    @contextlib.contextmanager
    def with_client(self, let_go: Callable[[], object]) -> Iterator[None]:
        """Counts a client in until the block ends.

        Args:
            let_go: Ends its connection or call, from another thread; may be called twice.
        """
        key = object()
        with self._lock:
            self._under_way[key] = (time.monotonic(), let_go)
            begins = len(self._under_way) > self._most and not self._hurried
            self._hurried = self._hurried or begins
        if begins:
            threading.Thread(target=self._hurry, name="patience", daemon=True).start()
        try:
            yield
        finally:
            with self._lock:
                del self._under_way[key]

    def _hurry(self) -> None:
        """Lets clients go until there is room again."""
        while True:
            with self._lock:
                over = len(self._under_way) - self._most
                if over <= 0:
                    self._hurried = False
                    return
                longest = list(itertools.islice(self._under_way.values(), over))
            for since, let_go in longest:
                if time.monotonic() - since >= LEAST_S:
                    let_go()
            time.sleep(_LOOK_S)
