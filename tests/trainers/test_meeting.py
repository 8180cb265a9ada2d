"""Hosts wait for one another: all go on together, who is missing is named, and signals are heard meanwhile."""

import os
import signal
import socket
import threading
import time

import pytest

from radkit.errors import Unfinished, UserError
from trainers import cluster, meeting, preemption


def addresses(number: int) -> tuple[str, ...]:
    """Returns addresses of this machine with ports that are free now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    found = tuple(f"127.0.0.1:{one.getsockname()[1]}" for one in sockets)
    for one in sockets:
        one.close()
    return found


class Host(threading.Thread):
    """A host in a thread, and how its wait ended."""

    def __init__(self, hosts: tuple[str, ...], host: int, minutes: float = 0.5) -> None:
        super().__init__(daemon=True)
        self.cluster, self.minutes = cluster.Cluster(hosts, host, "--hosts"), minutes
        self.ended: object = None
        self.start()

    def run(self) -> None:
        try:
            meeting.meet(self.cluster, self.minutes)
            self.ended = "met"
        except Exception as error:  # noqa: BLE001 - looked at by the test
            self.ended = error

    def end(self) -> object:
        self.join(60)
        return self.ended


def connected(address: str) -> socket.socket:
    """Returns a connection to a host that may only be about to listen."""
    name, _, port = address.partition(":")
    until = time.monotonic() + 60
    while True:
        try:
            return socket.create_connection((name, int(port)), timeout=10)
        except OSError:
            assert time.monotonic() < until
            time.sleep(0.02)


def hello(hosts: tuple[str, ...], host: int) -> bytes:
    return meeting._hello(cluster.Cluster(hosts, host, "a test"), host).encode() + b"\n"


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
def test_hosts_go_on_once_all_are_there(order: tuple[int, ...]) -> None:
    hosts = addresses(3)
    first = [Host(hosts, host) for host in order[:2]]
    time.sleep(0.3)
    assert all(one.is_alive() for one in first)
    last = Host(hosts, order[2])
    assert [one.end() for one in (*first, last)] == ["met"] * 3


def test_the_port_is_free_again_for_tensorflow() -> None:
    hosts = addresses(2)
    both = [Host(hosts, host) for host in range(2)]
    assert [one.end() for one in both] == ["met"] * 2
    socket.create_server(("127.0.0.1", int(hosts[0].rpartition(":")[2]))).close()


def test_strangers_are_no_hosts_and_a_host_that_left_is_waited_for_again() -> None:
    hosts = addresses(2)
    chief = Host(hosts, 0)
    for said in (b"GET / HTTP/1.1\r\n\r\n", b"\xff\x00\n", b""):
        with connected(hosts[0]) as stranger:
            stranger.sendall(said)
    with connected(hosts[0]) as died:
        died.sendall(hello(hosts, 1)[:-3])  # not its whole word
    silent = connected(hosts[0])  # who says nothing keeps nobody waiting
    assert chief.is_alive()
    other = Host(hosts, 1)
    assert (chief.end(), other.end()) == ("met", "met")
    silent.close()


def test_a_host_that_left_while_others_were_missing_is_waited_for_again() -> None:
    hosts = addresses(3)
    chief = Host(hosts, 0)
    with connected(hosts[0]) as died:
        died.sendall(hello(hosts, 1))
    second = Host(hosts, 2)
    second.join(0.7)
    assert chief.is_alive()
    assert second.is_alive()
    again = Host(hosts, 1)
    assert [one.end() for one in (chief, second, again)] == ["met"] * 3


def test_hosts_of_other_addresses_are_sent_away() -> None:
    hosts = addresses(2)
    chief = Host(hosts, 0, minutes=0.07)
    told = Host((hosts[0], "127.0.0.1:1"), 1).end()
    assert type(told) is UserError
    assert "host 1 (127.0.0.1:1) was sent away: host 0 was started with other --hosts; name the same" in str(told)
    assert isinstance(chief.end(), Unfinished)


def test_of_two_processes_of_one_number_the_newer_stays() -> None:
    hosts = addresses(3)
    chief = Host(hosts, 0)
    with connected(hosts[0]) as older:  # not a Host, which may come after the newer one on a busy machine
        older.sendall(hello(hosts, 1))
        newer = Host(hosts, 1)
        told = older.recv(1000).decode()
    assert "another process came as host 1; give each host a number of its own" in told
    last = Host(hosts, 2)
    assert [one.end() for one in (chief, newer, last)] == ["met"] * 3


def test_the_missing_are_named_when_the_time_is_over() -> None:
    hosts = addresses(3)
    chief, second = Host(hosts, 0, minutes=0.04), Host(hosts, 2, minutes=0.07)
    for one, told in (
        (
            chief,
            rf"host 0 \({hosts[0]}\) waited 0.04 minutes \(--wait_minutes\) for host 1 \({hosts[1]}\) in vain; see ",
        ),
        (
            second,
            rf"host 2 \({hosts[2]}\) waited 0.07 minutes .* for host 0 \({hosts[0]}\) in vain, which .*: .*refused",
        ),
    ):
        with pytest.raises(Unfinished, match=told):
            raise one.end()  # type: ignore[misc]


def test_a_name_that_nobody_knows_is_told() -> None:
    alone = Host(("nowhere.invalid:2222", "127.0.0.1:2223"), 1, minutes=0.01)
    with pytest.raises(Unfinished, match=r"which cannot be reached: .*see that all are started"):
        raise alone.end()  # type: ignore[misc]


def test_a_port_that_is_taken_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        hosts = (f"127.0.0.1:{taken.getsockname()[1]}", "127.0.0.1:1")
        with pytest.raises(Unfinished, match=f"host 0 cannot listen at {hosts[0]} .*see that the port is free"):
            raise Host(hosts, 0).end()  # type: ignore[misc]


def sent(number: signal.Signals) -> None:
    """Sends this process a signal as soon as somebody else than before listens to it."""
    before = signal.getsignal(number)

    def send() -> None:
        while signal.getsignal(number) == before:
            time.sleep(0.02)
        time.sleep(0.2)  # it is in its wait
        os.kill(os.getpid(), number)

    threading.Thread(target=send, daemon=True).start()


@pytest.mark.parametrize("number", preemption.SIGNALS)
@pytest.mark.parametrize("host", [0, 1])
def test_a_signal_ends_the_wait(number: signal.Signals, host: int, capfd: pytest.CaptureFixture[str]) -> None:
    hosts, before = addresses(2), signal.getsignal(number)
    sent(number)
    with pytest.raises(
        preemption.Stopped, match=rf"^stopped while host {host} \(.*\) waited for host {1 - host} \(.*\) "
    ):
        meeting.meet(cluster.Cluster(hosts, host, "--hosts"), 5.0)
    assert capfd.readouterr().err == ""  # what is raised says it
    assert signal.getsignal(number) == before


def test_a_signal_ends_the_wait_for_a_chief_that_waits_itself() -> None:
    hosts = addresses(3)
    chief = Host(hosts, 0, minutes=0.07)
    sent(signal.SIGTERM)
    with pytest.raises(preemption.Stopped, match=r"SIGTERM\); the same command goes on"):
        meeting.meet(cluster.Cluster(hosts, 2, "--hosts"), 0.5)
    assert isinstance(chief.end(), Unfinished)
