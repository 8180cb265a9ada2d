"""Signals that end a server, heard whatever its main thread is at: TensorFlow may keep that for minutes at a load."""

import signal
import socket
import threading
from collections.abc import Callable

_ENDING = (signal.SIGTERM, signal.SIGINT)


def heard(told: Callable[[], None]) -> None:
    """Tells of each SIGTERM and SIGINT from now on, in a thread of its own; the main thread must call this."""
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    for number in _ENDING:
        signal.signal(number, lambda number, _: None)  # Python's own handlers wait for the main thread
    signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)

    def listen() -> None:
        with reader, writer:
            while True:
                if reader.recv(1)[0] in _ENDING:
                    told()

    threading.Thread(target=listen, name="ending", daemon=True).start()
