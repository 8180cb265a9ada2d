"""Runs of the real verb that are killed at random places end as one that nobody killed, bit for bit."""

import contextlib
import dataclasses
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from radkit import config, runs
from tests.conftest import MadeUp
from tests.trainers.test_hosts import addresses
from tests.trainers.test_train import weights, without_times
from trainers import checkpoint_files, checkpoints, loop, train

ROOT = Path(__file__).parents[2]
STEPS, EVERY = 21, 3  # more than all those that are killed can take together
LONGER = 45  # steps of a run that is killed from outside: it must still be training then
WRITING = ("_write_values", "_write_whole", "_sync", "remove")  # what a save does to the disk, in checkpoint_files


def places(number: int) -> list[tuple[str, int]]:
    """Returns where to die: half before the n-th step, half in the n-th operation of checkpoints, of a process."""
    dice = random.Random(20261122)
    kills = [("step", place) for place in dice.sample(range(1, 6), number // 2)]
    kills += [("write", place) for place in dice.sample(range(1, 10), number // 2)]
    return dice.sample(kills, number)


@pytest.fixture(scope="module")
def dropping(radiographs: MadeUp) -> MadeUp:
    """A run with all that could be drawn or kept apart: dropout, batch norm, augmentation, an average, a schedule."""
    experiment = dataclasses.replace(
        radiographs.experiment,
        model=config.Model("resnet", {"filters": (4, 8), "norm": "batch", "dropout": 0.5}),
        optimizer=dataclasses.replace(radiographs.experiment.optimizer, average=0.9),
    )
    return dataclasses.replace(radiographs, experiment=experiment).with_trainer(steps=STEPS, evaluate_every=EVERY)


def words(made: MadeUp, run: Path) -> list[str]:
    return [f"--config={made.config_file(run.parent)}", f"--input={made.folder}", f"--output={run}", "--noprogress"]


def trains(said: Sequence[str], log: Path, kill: tuple[str, int] | None) -> None:
    """What a process does: the verb, until it is killed."""
    with log.open("ab", buffering=0) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    if kill is not None:
        (die_before_step if kill[0] == "step" else die_while_writing)(kill[1])
    sys.exit(train.main(["train", *said]))


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_before_step(number: int) -> None:
    whole, left = loop.train_step, number

    def train_step(*args: object, **settings: object) -> Callable:
        step = whole(*args, **settings)

        def mortal(*batch: object) -> object:
            nonlocal left
            left -= 1
            return step(*batch) if left else die()

        return mortal

    loop.train_step = train_step


def die_while_writing(number: int) -> None:
    left = number

    def before(operation: Callable) -> Callable:
        def mortal(*args: object) -> object:
            nonlocal left
            left -= 1
            if not left:
                if operation.__name__ in ("_write_values", "_write_whole"):
                    args[0].write_bytes(b"half of it")
                die()
            return operation(*args)

        return mortal

    for name in WRITING:
        setattr(checkpoint_files, name, before(getattr(checkpoint_files, name)))


def status(said: Sequence[str], log: Path, kill: tuple[str, int] | None = None) -> int:
    """Runs the verb in a process that has loaded everything already; returns its exit status."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.trainers.test_kills", "radkit.reports.run_page"])
    process = context.Process(target=trains, args=(said, log, kill))
    process.start()
    process.join(300)
    assert process.exitcode is not None, log.read_text()[-3000:]
    return process.exitcode


@pytest.fixture(scope="module")
def whole(dropping: MadeUp, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that nobody killed."""
    run = tmp_path_factory.mktemp("whole") / "run"
    assert status(words(dropping, run), run.with_name("log")) == 0, run.with_name("log").read_text()[-3000:]
    return run


def assert_same(run: Path, whole: Path) -> None:
    """Best weights, state, history and manifest are those of the other run."""
    assert without_times(run) == without_times(whole)
    found, expected = weights(run), weights(whole)
    assert found.keys() == expected.keys()
    for name, value in found.items():
        np.testing.assert_array_equal(value, expected[name], strict=True)
    steps = runs.manifest(whole)["steps"]
    states = [folder / checkpoints.STATE / str(steps) for folder in (run, whole)]
    assert len({(state / checkpoint_files.DATA).read_bytes() for state in states}) == 1
    said, wanted = runs.manifest(run), runs.manifest(whole)
    assert said["weights_sha256"] == wanted["weights_sha256"]
    assert (said["best_step"], said["best_score"]) == (wanted["best_step"], wanted["best_score"])


@pytest.mark.slow
@pytest.mark.parametrize("number", [4, pytest.param(10, marks=pytest.mark.long)])
def test_many_kills_change_nothing(number: int, dropping: MadeUp, whole: Path, tmp_path: Path) -> None:
    run, log = tmp_path / "run", tmp_path / "log"
    said = words(dropping, run)
    for kill in places(number):
        assert status(said, log, kill) == -signal.SIGKILL, (kill, log.read_text()[-3000:])
    assert status(said, log) == 0, log.read_text()[-3000:]
    assert_same(run, whole)
    assert "passed over" not in log.read_text(), "a kill left a checkpoint that is half there"


@pytest.mark.slow
def test_a_damaged_checkpoint_changes_nothing(dropping: MadeUp, whole: Path, tmp_path: Path) -> None:
    run, log = tmp_path / "run", tmp_path / "log"
    said = words(dropping, run)
    kill = ("step", 3 * EVERY + 2)  # the third save waited until the second was on disk
    assert status(said, log, kill) == -signal.SIGKILL
    newest = newest_state(run)
    assert newest > EVERY
    data = run / checkpoints.STATE / str(newest) / checkpoint_files.DATA
    data.write_bytes(data.read_bytes()[:-1])
    assert status(said, log) == 0, log.read_text()[-3000:]
    assert f"{data.parent} is passed over" in log.read_text()
    assert_same(run, whole)


def newest_state(run: Path) -> int:
    return max((int(path.name) for path in (run / checkpoints.STATE).glob("*") if path.name.isdecimal()), default=0)


@contextlib.contextmanager
def started(said: Sequence[str], log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A real `radkit train` with a supervisor; it ends with the block."""
    with log.open("ab") as file:
        command = [sys.executable, "-m", "radkit", "train", *said, "--restarts=5"]
        process = subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=file)
    try:
        yield process
    finally:
        process.kill()  # its child then stops by itself
        process.wait()


def kill_child(process: "subprocess.Popen[bytes]") -> None:
    """Kills the process that trains for a supervisor."""
    (child,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(child), signal.SIGKILL)


def wait_until(
    happened: Callable[[], object], running: Sequence["subprocess.Popen[bytes]"], log: Path, seconds: float = 240
) -> None:
    """Waits for something that processes do, as long as they live."""
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, log.read_text()[-3000:]
        assert all(one.poll() is None for one in running), log.read_text()[-3000:]
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.long
def test_a_supervisor_goes_on_and_stops_when_asked(dropping: MadeUp, tmp_path: Path) -> None:
    run, whole, log = tmp_path / "run", tmp_path / "whole", tmp_path / "log"
    made = dropping.with_trainer(steps=LONGER)
    said = words(made, run)
    with started(said, log) as process:
        wait_until(lambda: newest_state(run) >= EVERY, [process], log)
        kill_child(process)
        killed_at = newest_state(run)
        wait_until(lambda: newest_state(run) > killed_at, [process], log)
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 0
    told = log.read_text()
    assert "training died of SIGKILL; restart 1 of 5 in 1 s" in told
    assert f"stopped at step {newest_state(run)} (SIGTERM); the same command goes on" in told
    assert not (run / runs.MANIFEST).exists()
    assert status(said, log) == 0, log.read_text()[-3000:]
    assert status(words(made, whole), log) == 0, log.read_text()[-3000:]
    assert_same(run, whole)


def train_together(made: MadeUp, run: Path, kills: Sequence[int] = ()) -> None:
    """Trains a run on two hosts, each with its supervisor; kills these hosts' children, one after the other."""
    hosts, said = addresses(2), words(made, run)
    logs = [run.with_name(f"log{host}") for host in range(2)]
    with contextlib.ExitStack() as stack:
        both = [
            stack.enter_context(started([*said, f"--hosts={hosts}", f"--host={host}"], logs[host])) for host in range(2)
        ]
        at = 0
        for host in kills:
            wait_until(lambda at=at: newest_state(run) > at, both, logs[host])
            kill_child(both[host])
            at = newest_state(run)
        for process, log in zip(both, logs):
            assert process.wait(400) == 0, log.read_text()[-3000:]


@pytest.mark.slow
@pytest.mark.long
def test_a_kill_of_either_of_two_hosts_changes_nothing(dropping: MadeUp, tmp_path: Path) -> None:
    made = dropping.with_trainer(strategy="multi_worker", steps=LONGER)
    train_together(made, tmp_path / "whole")
    train_together(made, tmp_path / "run", kills=(1, 0))
    assert_same(tmp_path / "run", tmp_path / "whole")
    for host in range(2):
        assert "training died of SIGKILL; restart" in (tmp_path / f"log{host}").read_text()
