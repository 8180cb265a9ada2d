"""Hosts that train together wait for one another here, before TensorFlow does.

TensorFlow's own wait cannot be interrupted: it holds Python's lock, takes SIGTERM for itself, lasts an hour and does
not say who is missing. So host 0 listens first at the address where TensorFlow will, the others tell it their number,
and once all have come it sends them on together. No other port is used.
"""

import contextlib
import hashlib
import selectors
import socket
import time
from dataclasses import dataclass, field

from radkit.errors import Unfinished, UserError
from trainers import cluster, preemption

_LOOK = 0.2  # seconds between two looks at signals and the clock
_AGAIN = 0.5  # seconds before host 0 is tried again
_REACH = 3.0  # seconds in which an address answers, or does not
_GO, _NO = "go", "no "
_LONGEST = 1000  # bytes of what one says to another


def meet(hosts: cluster.Cluster, minutes: float) -> None:
    """Returns once all hosts are there, at the same moment on each.

    Args:
        hosts: All of them, and which this is.
        minutes: How long it waits for the others; 0: without end.

    Raises:
        Unfinished: Not all came in time; it names those that are missing, as far as this host knows.
        UserError: Host 0 was started with other addresses, or another process came as this host.
        preemption.Stopped: A signal ended the wait.
    """
    until = time.monotonic() + 60.0 * minutes if minutes else float("inf")
    with preemption.noticed(told="") as notice:
        wait = _Wait(hosts, minutes, until, notice)
        if hosts.host == 0:
            _gather(wait)
        else:
            _ask(wait)


@dataclass
class _Wait:
    hosts: cluster.Cluster
    minutes: float
    until: float
    notice: preemption.Notice
    why: str = field(default="", init=False)  # what is known of why it takes so long

    def look(self, missing: list[int]) -> None:
        """Ends the wait where a signal or the clock asks for it."""
        here, named = self.named(self.hosts.host), ", ".join(map(self.named, missing))
        if self.notice.reason:
            raise preemption.Stopped(
                f"stopped while {here} waited for {named} ({self.notice.reason}); the same command goes on"
            )
        if time.monotonic() > self.until:
            raise Unfinished(
                f"{here} waited {self.minutes:g} minutes (--wait_minutes) for {named} in vain{self.why}; see that all "
                f"are started, and that they reach {self.hosts.hosts[0]} (told by {self.hosts.told_by})"
            )

    def named(self, host: int) -> str:
        return f"host {host} ({self.hosts.hosts[host]})"


def _hello(hosts: cluster.Cluster, host: int) -> str:
    digest = hashlib.sha256("\n".join(hosts.hosts).encode()).hexdigest()[:16]
    return f"radkit host {host} of {len(hosts.hosts)}, {digest}"


def _gather(wait: _Wait) -> None:
    """Is host 0: returns when each other host has come, and is still there."""
    hosts = wait.hosts
    expected = {_hello(hosts, host): host for host in range(1, len(hosts.hosts))}
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(_listening(hosts))
        chosen = stack.enter_context(selectors.DefaultSelector())
        stack.callback(lambda: [key.fileobj.close() for key in chosen.get_map().values()])  # type: ignore[union-attr]
        chosen.register(listening, selectors.EVENT_READ)
        there: dict[int, socket.socket] = {}
        while len(there) < len(expected):
            wait.look([host for host in expected.values() if host not in there])
            for key, _ in chosen.select(_LOOK):
                if key.fileobj is listening:
                    peer, _ = listening.accept()
                    peer.settimeout(_LOOK)
                    chosen.register(peer, selectors.EVENT_READ)
                else:
                    _heard(key.fileobj, chosen, expected, there)  # type: ignore[arg-type]
        for peer in there.values():
            _say(peer, _GO)


def _listening(hosts: cluster.Cluster) -> socket.socket:
    port = int(hosts.hosts[0].rpartition(":")[2])
    both = socket.has_dualstack_ipv6()
    try:  # on every interface, as TensorFlow does after: a host's name is not always an address of its own
        return socket.create_server(
            ("", port),
            family=socket.AF_INET6 if both else socket.AF_INET,
            dualstack_ipv6=both,
            backlog=len(hosts.hosts),
        )
    except (OSError, OverflowError) as error:
        raise Unfinished(
            f"host 0 cannot listen at {hosts.hosts[0]} (told by {hosts.told_by}): {error}; see that the port is free, "
            "or name another one"
        ) from error


def _heard(
    peer: socket.socket, chosen: selectors.BaseSelector, expected: dict[str, int], there: dict[int, socket.socket]
) -> None:
    """Takes in what one has said who came; whoever is no host of this run is sent away."""
    said = _said(peer)
    host = expected.get(said)
    if host is None or peer in there.values():
        if said.startswith("radkit host "):
            _say(peer, f"{_NO}host 0 was started with other --hosts; name the same hosts in the same order on all")
        _send_away(peer, chosen, there)
        return
    if host in there:
        # Of two the newer is believed: one whose machine died may seem to be there still.
        _say(there[host], f"{_NO}another process came as host {host}; give each host a number of its own")
        _send_away(there[host], chosen, there)
    there[host] = peer


def _send_away(peer: socket.socket, chosen: selectors.BaseSelector, there: dict[int, socket.socket]) -> None:
    chosen.unregister(peer)
    peer.close()
    for host in [host for host, one in there.items() if one is peer]:
        del there[host]


def _ask(wait: _Wait) -> None:
    """Is another host: returns when host 0 sends it on."""
    name, _, port = wait.hosts.hosts[0].rpartition(":")
    while True:
        wait.look([0])
        try:
            with socket.create_connection((name, int(port)), timeout=_REACH) as peer:
                wait.why = ", which waits for others itself"
                if _answered(wait, peer):
                    return
            wait.why = ", which ended its wait, or whose port is another program's"
        except (OSError, OverflowError) as error:
            wait.why = f", which cannot be reached: {error}"
        time.sleep(_AGAIN)


def _answered(wait: _Wait, peer: socket.socket) -> bool:
    """Returns whether host 0 sent this one on; False: it is no longer there, or another program is at its port."""
    _say(peer, _hello(wait.hosts, wait.hosts.host))
    peer.settimeout(_LOOK)
    while True:
        wait.look([0])
        with contextlib.suppress(TimeoutError):
            said = _said(peer, wait=True)
            if said.startswith(_NO):
                raise UserError(f"{wait.named(wait.hosts.host)} was sent away: {said.removeprefix(_NO)}")
            return said == _GO


def _say(peer: socket.socket, text: str) -> None:
    with contextlib.suppress(OSError):  # who is gone is noticed when it says no more
        peer.sendall(f"{text}\n".encode())


def _said(peer: socket.socket, *, wait: bool = False) -> str:
    """Returns a line; empty where the other is gone or says something else.

    Raises:
        TimeoutError: It has said nothing yet, and `wait` asks to tell that.
    """
    try:
        found = peer.recv(_LONGEST)
    except TimeoutError:
        if wait:
            raise
        return ""
    except OSError:
        return ""
    return found.decode(errors="replace").rstrip("\n") if found.endswith(b"\n") else ""
