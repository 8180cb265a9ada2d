"""A child that dies is started again; signals reach it; nothing is left running. Children are small scripts."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from trainers import preemption, supervisor

# Each start appends a line, then does what the list's next word says: a status, or a signal it dies of.
CHILD = """
import os, signal, sys
log, ends = sys.argv[1], sys.argv[2].split(",")
with open(log, "a") as file:
    file.write(" ".join(sys.argv[3:]) + "\\n")
end = ends[len(open(log).readlines()) - 1]
os.kill(os.getpid(), getattr(signal, end)) if end.startswith("SIG") else sys.exit(int(end))
"""


def supervised(tmp_path: Path, ends: str, restarts: int) -> tuple[int, int]:
    """Returns the exit status and the number of starts."""
    start = [sys.executable, "-c", CHILD, str(tmp_path / "log"), ends]
    argv = ["radkit train", "--config=a", "--restarts", str(restarts), "--output=b"]
    status = supervisor.supervise(argv, restarts, start=start, pause=lambda _: 0.0)
    lines = (tmp_path / "log").read_text().splitlines()
    assert set(lines) == {f"--config=a --restarts {restarts} --output=b --restarts=0"}  # of two the last one counts
    return status, len(lines)


@pytest.mark.parametrize(
    ("ends", "restarts", "status", "starts"),
    [
        ("0", 3, 0, 1),
        ("2", 3, 2, 1),  # refused: it would be refused again
        ("SIGKILL,SIGABRT,0", 3, 0, 3),
        ("75,1,0", 2, 0, 3),
        ("1,2", 3, 2, 2),
        ("SIGKILL,SIGKILL,SIGKILL", 2, 137, 3),
        ("75", 0, 75, 1),
    ],
)
def test_who_died_is_started_again(tmp_path: Path, ends: str, restarts: int, status: int, starts: int) -> None:
    assert supervised(tmp_path, ends, restarts) == (status, starts)


def test_why_and_how_often_is_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    supervised(tmp_path, "SIGKILL,75,75", 2)
    assert capfd.readouterr().err.splitlines() == [
        "radkit: training died of SIGKILL; restart 1 of 2 in 0 s",
        "radkit: training ended with status 75; restart 2 of 2 in 0 s",
        "radkit: training ended with status 75; no restart is left of 2",
    ]


def test_handlers_are_put_back(tmp_path: Path) -> None:
    before = [signal.getsignal(one) for one in preemption.SIGNALS]
    supervised(tmp_path, "0", 1)
    assert [signal.getsignal(one) for one in preemption.SIGNALS] == before


# A child that takes steps until it is asked to stop, and tells how often it was.
STEPS = """
import sys, time
from trainers import preemption
with preemption.noticed() as notice:
    open(sys.argv[1], "w").write("ready")
    while not notice.reason:
        time.sleep(0.01)
    time.sleep(0.3)  # a second signal would kill now
open(sys.argv[1], "w").write(notice.reason)
"""
WATCH = """
import sys
from trainers import supervisor
sys.exit(supervisor.supervise(["train"], 3, start=[sys.executable, "-c", sys.argv[1], sys.argv[2]]))
"""


def watched(path: Path) -> subprocess.Popen:
    """Starts a supervisor with a child that takes steps, and waits until it does."""
    watch = [sys.executable, "-c", WATCH, STEPS, str(path)]
    process = subprocess.Popen(watch, start_new_session=True, stderr=subprocess.DEVNULL)
    wait_for(path, "ready")
    return process


def wait_for(path: Path, text: str) -> None:
    end = time.monotonic() + 60
    while not path.is_file() or path.read_text() != text:
        assert time.monotonic() < end, f"{text} was not said"
        time.sleep(0.02)


@pytest.mark.parametrize("number", preemption.SIGNALS)
def test_a_signal_reaches_the_child_once_and_ends_both(tmp_path: Path, number: signal.Signals) -> None:
    process = watched(tmp_path / "said")
    os.killpg(process.pid, number)  # as a terminal does: to all of its foreground processes
    assert process.wait(60) == 0
    assert (tmp_path / "said").read_text() == number.name


def test_a_child_whose_supervisor_is_killed_stops_by_itself(tmp_path: Path) -> None:
    process = watched(tmp_path / "said")
    process.kill()
    process.wait(60)
    wait_for(tmp_path / "said", "the supervisor's death")


def test_what_a_child_starts_is_watched_by_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(preemption.SUPERVISOR, str(os.getpid()))  # lives, and is not this process's parent
    assert preemption.Notice().reason == ""


def test_a_child_whose_supervisor_died_while_it_was_loading_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait(60)
    monkeypatch.setenv(preemption.SUPERVISOR, str(dead.pid))
    assert preemption.Notice().reason == "the supervisor's death"


def test_a_signal_in_the_pause_ends_it(tmp_path: Path) -> None:
    code = (
        "import sys; from trainers import supervisor\n"
        "sys.exit(supervisor.supervise(['t'], 3, start=sys.argv[1:], pause=lambda _: 600.0))"
    )
    start = [sys.executable, "-c", CHILD, str(tmp_path / "log"), "75,0"]
    process = subprocess.Popen([sys.executable, "-c", code, *start], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    assert "in 600 s" in process.stderr.readline()
    process.terminate()
    assert process.wait(60) == 75
    process.stderr.close()
