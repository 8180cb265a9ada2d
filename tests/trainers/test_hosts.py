"""Two real processes on this machine are two hosts: what they learn and score together is what one does alone."""

import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from radkit import outputs, runs
from radkit.errors import Unfinished
from tests.conftest import MadeUp
from tests.trainers import one_host
from trainers import evaluate, finish, strategy, training

ROOT = Path(__file__).parents[2]


def addresses(number: int) -> str:
    """Returns addresses of this machine with ports that are free now."""
    sockets = [socket.socket() for _ in range(number)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    found = ",".join(f"127.0.0.1:{one.getsockname()[1]}" for one in sockets)
    for one in sockets:
        one.close()
    return found


@dataclasses.dataclass(frozen=True)
class OneOfTwo(strategy.Devices):
    """What a host of two is told by the other, without one."""

    others: tuple[str, ...] = ()

    def gathered(self, text: str) -> list[str]:
        return [*self.others, text]


def test_hosts_that_found_different_checkpoints_are_refused() -> None:
    for other, is_refused in (("6", False), ("9", True), ("0", True)):
        devices = OneOfTwo(tf.distribute.get_strategy(), host=1, num_hosts=2, others=(other,))
        if is_refused:
            with pytest.raises(Unfinished, match=f"of the steps {other}, 6 in the order of hosts; --output must be"):
                training.require_one_checkpoint(devices, 6)
        else:
            training.require_one_checkpoint(devices, 6)


def test_a_host_reads_the_best_weights_once_the_chief_has_written_them(tmp_path: Path) -> None:
    """The chief writes them while the others are done with the last step already."""
    network = keras.Sequential([keras.layers.Input((1,)), keras.layers.Dense(1)])
    weights = tmp_path / runs.BEST

    def same(value: float) -> float:
        network.save_weights(weights)
        return value

    devices = SimpleNamespace(same=same, is_chief=False)
    finish.finish(
        SimpleNamespace(devices=devices, trained=SimpleNamespace(network=network), run=tmp_path, best=object()), None
    )
    assert weights.is_file()


def started(words: Sequence[str], log: Path) -> "subprocess.Popen[bytes]":
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "1"}
    with log.open("wb") as file:
        return subprocess.Popen([sys.executable, *words], cwd=ROOT, env=environment, stdout=file, stderr=file)


def together(output: Path, hosts: str, records: str) -> list[dict[str, object]]:
    """Runs all hosts; returns what each wrote."""
    words = ["-W", "ignore", "-m", "tests.trainers.one_host", str(output), hosts]
    all_hosts = range(hosts.count(",") + 1)
    output.mkdir()
    running = [started([*words, str(host), records], output / f"{host}.log") for host in all_hosts]
    try:
        for host, one in enumerate(running):
            assert one.wait(600) == 0, (output / f"{host}.log").read_text()[-3000:]
    finally:
        for one in running:
            one.kill()
    return [json.loads((output / f"{host}.json").read_text()) for host in all_hosts]


@pytest.mark.slow
def test_two_hosts_learn_and_score_as_one(volumes: MadeUp, tmp_path: Path) -> None:
    (alone,) = together(tmp_path / "one", addresses(1), str(volumes.folder))
    both = together(tmp_path / "two", addresses(2), str(volumes.folder))
    assert [found["replicas"] for found in (alone, *both)] == [1, 2, 2]
    for host, found in enumerate(both):
        assert found["gathered"] == ["", "ééé"]
        assert found["same"] == 0.1
        assert found["told"].startswith(f"host {host} of 2 (told by --hosts), 2 ")
        assert [case["name"] for case in found["cases"]] == [case["name"] for case in alone["cases"]]
        for case, expected in zip(found["cases"], alone["cases"], strict=True):
            figures = {name for name, value in expected.items() if isinstance(value, float)}
            assert {name: case[name] for name in expected if name not in figures} == {
                name: value for name, value in expected.items() if name not in figures
            }
            for name in figures:
                assert case[name] == pytest.approx(expected[name], rel=1e-6, nan_ok=True), (expected["name"], name)
        for case in one_host.CASES:
            np.testing.assert_allclose(found[f"losses {case}"], alone[f"losses {case}"], rtol=1e-5)
            assert alone[f"losses {case}"][-1] != alone[f"losses {case}"][0]
    expected_weights = np.load(tmp_path / "one" / "0.npz")
    for host in range(2):
        weights = np.load(tmp_path / "two" / f"{host}.npz")
        assert set(weights) == set(expected_weights)
        for name, expected in expected_weights.items():
            bound = 1e-5 * np.abs(expected).max()
            np.testing.assert_allclose(weights[name], expected, rtol=1e-5, atol=bound, err_msg=name)


@pytest.mark.slow
@pytest.mark.long
def test_two_hosts_make_one_run(volumes: MadeUp, tmp_path: Path, keras_alone: None) -> None:
    hosts, run = addresses(2), tmp_path / "run"
    experiment = volumes.with_trainer(strategy="auto").config_file(tmp_path)
    words = ["-W", "ignore", "-m", "radkit", "train", f"--config={experiment}"]
    words += [f"--input={volumes.folder}", f"--output={run}", f"--hosts={hosts}", "--noprogress"]
    logs = [tmp_path / f"{host}.log" for host in range(2)]
    running = [started([*words, f"--host={host}"], logs[host]) for host in range(2)]
    try:
        for one, log in zip(running, logs):
            assert one.wait(400) == 0, log.read_text()[-3000:]
    finally:
        for one in running:
            one.kill()
    assert [line["step"] for line in runs.history(run)] == [3, 6]  # the chief alone wrote
    manifest = runs.manifest(run)
    assert len(set(manifest["patients"]["train"])) == 6  # of both hosts
    said = [f"--run={run}", f"--input={volumes.folder}", f"--output={tmp_path / 'out'}", "--split=validation"]
    assert evaluate.main(["evaluate", *said]) == 0  # on one host
    summary = outputs.read_json(tmp_path / "out" / "summary.json")
    assert summary["score"] == pytest.approx(manifest["best_score"], rel=1e-6)


WAITS = """
import sys, time
from radkit import config
from trainers import cluster, strategy
hosts, host = tuple(sys.argv[1].split(",")), int(sys.argv[2])
devices = strategy.choose(config.Trainer(batch_size=2), cluster.Asked(hosts=hosts, host=host))
while True:
    devices.gathered("alive")
    print("alive", flush=True)
    time.sleep(0.05)
"""


@pytest.mark.slow
@pytest.mark.parametrize("dies", [0, 1])
def test_a_host_whose_peer_is_killed_ends_within_a_minute(dies: int, tmp_path: Path) -> None:
    hosts = addresses(2)
    logs = [tmp_path / f"{host}.log" for host in range(2)]
    running = [started(["-W", "ignore", "-c", WAITS, hosts, str(host)], logs[host]) for host in range(2)]
    try:
        until = time.monotonic() + 200
        while not all("alive" in log.read_text() for log in logs):
            assert time.monotonic() < until, "\n".join(log.read_text()[-2000:] for log in logs)
            assert all(one.poll() is None for one in running), "\n".join(log.read_text()[-2000:] for log in logs)
            time.sleep(0.2)
        running[dies].send_signal(signal.SIGKILL)
        assert running[1 - dies].wait(60) not in (0, 2)
    finally:
        for one in running:
            one.kill()
    assert "UnavailableError" in logs[1 - dies].read_text()


@pytest.mark.slow
@pytest.mark.parametrize(("host", "number"), [(0, signal.SIGTERM), (1, signal.SIGINT)])
def test_a_host_that_waits_for_an_absent_one_ends_when_asked(
    host: int, number: signal.Signals, volumes: MadeUp, tmp_path: Path
) -> None:
    hosts, log = addresses(2), tmp_path / "log"
    experiment = volumes.with_trainer(strategy="auto").config_file(tmp_path)
    words = ["-W", "ignore", "-m", "radkit", "train", f"--config={experiment}", f"--input={volumes.folder}"]
    words += [f"--output={tmp_path / 'run'}", f"--hosts={hosts}", f"--host={host}"]
    running = started(words, log)
    try:
        until = time.monotonic() + 200
        while "waits for" not in log.read_text():
            assert time.monotonic() < until, log.read_text()[-2000:]
            time.sleep(0.2)
        time.sleep(1)  # the line is written just before the wait
        running.send_signal(number)
        assert running.wait(20) == 0  # stopped as asked
    finally:
        running.kill()
    told = [line for line in log.read_text().splitlines() if "stopped" in line or "Traceback" in line]
    assert len(told) == 1
    assert told[0].startswith(f"train: stopped while host {host} (127.0.0.1:")
    assert f"({number.name}); the same command goes on -> " in told[0]
    assert not (tmp_path / "run").exists()
