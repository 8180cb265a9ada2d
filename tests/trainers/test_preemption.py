"""The first signal is noted, the second kills; several hosts stop after the same step."""

import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass, field

import hypothesis
import pytest
from hypothesis import strategies as st

from trainers import preemption


@pytest.mark.parametrize("number", preemption.SIGNALS)
def test_the_first_signal_is_noted(number: signal.Signals, capfd: pytest.CaptureFixture[str]) -> None:
    before = [signal.getsignal(one) for one in preemption.SIGNALS]
    with preemption.noticed() as notice:
        assert notice.reason == ""
        os.kill(os.getpid(), number)
        assert notice.reason == number.name
        assert [signal.getsignal(one) for one in preemption.SIGNALS] == [signal.SIG_DFL] * 3
    assert [signal.getsignal(one) for one in preemption.SIGNALS] == before
    assert capfd.readouterr().err == (
        f"radkit: {number.name}: training stops after this step; another signal ends it at once\n"
    )


TWO_SIGNALS = """
import os, signal
from trainers import preemption
with preemption.noticed():
    os.kill(os.getpid(), signal.SIGUSR1)
    print("noted", flush=True)
    os.kill(os.getpid(), signal.SIGTERM)
    print("still there", flush=True)
"""


def test_the_second_signal_kills() -> None:
    done = subprocess.run([sys.executable, "-c", TWO_SIGNALS], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (-signal.SIGTERM, "noted\n")


def test_a_thread_is_told_nothing() -> None:
    reasons, before = [], signal.getsignal(signal.SIGTERM)

    def body() -> None:
        with preemption.noticed() as notice:
            reasons.append((notice.reason, signal.getsignal(signal.SIGTERM)))

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert reasons == [("", before)]


@dataclass
class Hosts:
    """Several hosts in threads that ask one another."""

    num_hosts: int
    texts: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self.texts = [""] * self.num_hosts
        self.barrier = threading.Barrier(self.num_hosts, timeout=30)
        self.asked = 0

    def of(self, host: int) -> "Host":
        return Host(self, host)


@dataclass
class Host:
    hosts: Hosts
    host: int

    @property
    def num_hosts(self) -> int:
        return self.hosts.num_hosts

    def gathered(self, text: str) -> list[str]:
        self.hosts.texts[self.host] = text
        self.hosts.asked += self.host == 0
        self.hosts.barrier.wait()
        found = list(self.hosts.texts)
        self.hosts.barrier.wait()
        return found


def stopped_at(step_seconds: list[float], signals: list[int], every: int, last: int) -> tuple[list[int], int]:
    """Returns after which step each host stops, and how often they asked one another."""
    hosts = Hosts(len(step_seconds))
    steps, notices = [last] * len(step_seconds), [preemption.Notice() for _ in step_seconds]

    def trains(host: int) -> None:
        time = 0.0
        hook = preemption.hook(notices[host], hosts.of(host), every=every, clock=lambda: time)
        for step in range(1, last + 1):
            time += step_seconds[host]
            if step == signals[host]:
                notices[host].give("SIGTERM")
            if hook(step, {}):
                steps[host] = step
                return

    threads = [threading.Thread(target=trains, args=(host,)) for host in range(len(step_seconds))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len({bool(notice.reason) for notice in notices}) == 1, "some host does not know why it stopped"
    return steps, hosts.asked


@hypothesis.settings(max_examples=30)
@hypothesis.given(
    st.lists(st.tuples(st.sampled_from([0.01, 0.1, 0.7, 5.0]), st.integers(1, 90)), min_size=1, max_size=3),
    st.sampled_from([1, 4]),
)
def test_all_hosts_stop_after_the_same_step(hosts: list[tuple[float, int]], every: int) -> None:
    steps, _ = stopped_at([seconds for seconds, _ in hosts], [at for _, at in hosts], every, last=400)
    first = min(at for _, at in hosts)
    assert len(set(steps)) == 1
    assert steps[0] % every == 0
    # The first host's two seconds and the steps to the next whole execution.
    most = every if len(hosts) == 1 else max(1, int(2 / hosts[0][0])) + every
    assert first <= steps[0] <= first + most


def test_hosts_ask_one_another_every_two_seconds() -> None:
    steps, asked = stopped_at([0.1, 0.1], [0, 0], 1, last=200)
    assert steps == [200, 200]
    assert 10 <= asked <= 13  # 20 seconds of steps
