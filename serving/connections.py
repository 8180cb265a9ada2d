"""Connections of HTTP clients: how many there may be, which are idle, which are being answered.

A client that keeps its connection for later holds no place against one that asks now: where there is no room, the
connection that is idle longest is ended, as HTTP lets a server do at any time (RFC 9112, section 9.5).
"""

import contextlib
import socket
import threading
from collections.abc import Iterator

_ROOM_S = 0.5  # within which a connection that was ended gives its room


class Connections:
    """All of one server's; used by many threads.

    Args:
        most: So many at a time.
    """

    def __init__(self, most: int) -> None:
        self._room = threading.BoundedSemaphore(most)
        self._state = threading.Condition()
        self._idle: dict[socket.socket, None] = {}  # in the order in which they became so
        self._answering = 0

    def enter(self) -> bool:
        """Counts a connection in; False where there is no room for it."""
        return self._room.acquire(blocking=False) or (self._end_longest() and self._room.acquire(timeout=_ROOM_S))

    def leave(self) -> None:
        """Counts a connection out."""
        self._room.release()

    def _end_longest(self) -> bool:
        with self._state:
            longest = next(iter(self._idle), None)
            if longest is None:
                return False
            del self._idle[longest]
        cut(longest)
        return True

    @contextlib.contextmanager
    def idle(self, connection: socket.socket) -> Iterator[None]:
        """Notes that a connection waits for its client's next request until the block ends: it may be ended."""
        with self._state:
            self._idle[connection] = None
        try:
            yield
        finally:
            with self._state:
                self._idle.pop(connection, None)

    @contextlib.contextmanager
    def answering(self) -> Iterator[None]:
        """Notes that a request is answered until the block ends."""
        with self._state:
            self._answering += 1
        try:
            yield
        finally:
            with self._state:
                self._answering -= 1
                self._state.notify_all()

    def drain(self, timeout_s: float) -> None:
        """Waits for the requests that are being answered."""
        with self._state:
            self._state.wait_for(lambda: not self._answering, timeout_s)


def cut(connection: socket.socket) -> None:
    """Ends a connection whose thread may be reading or writing."""
    with contextlib.suppress(OSError):  # it went by itself
        connection.shutdown(socket.SHUT_RDWR)
