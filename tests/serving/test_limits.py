"""Queues, deadlines, slow clients, TLS, bytes that are no requests, the audit log: the server's edges."""

import gc
import json
import random
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf

from radkit.errors import UserError
from serving import audit, batching, models, patience, queueing, refusals, settings, trials
from serving.configs_text import Wanted
from tests.serving import running
from tests.serving.running import factor, request

CODE = grpc.StatusCode
LONG = ((15_000.0, 0.0),)  # rounds of `slow`: about a second


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("m")
    running.save(folder / "1", 2.0)
    return folder


@pytest.fixture(scope="module")
def server(base: Path) -> Iterator[running.Running]:
    with running.running([Wanted("m", base)], settings.Settings(1, 2)) as started:
        yield started


def test_more_than_may_wait_are_refused_at_once(base: Path) -> None:
    with running.running([Wanted("m", base)], settings.Settings(1, 2)) as server:
        model = server.served._table["m"][1].model
        whole, goes_on = model.run, threading.Event()

        def held(*given: Any) -> Any:
            goes_on.wait(120)
            return whole(*given)

        object.__setattr__(model, "run", held)
        calls = [server.stub.Predict.future(request(((1.0, 0.0),)), timeout=120) for _ in range(6)]
        try:
            ends = time.monotonic() + 60
            while sum(call.done() for call in calls) < 3:
                assert time.monotonic() < ends
                time.sleep(0.01)
            assert [call.code() for call in calls if call.done()] == [CODE.RESOURCE_EXHAUSTED] * 3
            health = server.channel.unary_unary("/grpc.health.v1.Health/Check")
            assert health(b"", timeout=60) == b"\x08\x01"  # probes are answered meanwhile
            status, told = server.ask("/v1/models/m:predict", {"instances": [[1, 2]]})
            assert (status, "wait for this model" in told["error"]) == (429, True)
        finally:
            goes_on.set()
        assert sum(call.code() == CODE.OK for call in calls) == 3


def test_a_deadline_ends_the_waiting_and_the_work(server: running.Running) -> None:
    server.stub.Predict(request(LONG, signature_name="slow"), timeout=60)  # now it is known to be slow
    with pytest.raises(grpc.RpcError) as caught:
        server.stub.Predict(request(((1e9, 0.0),), signature_name="slow"), timeout=0.3)
    assert caught.value.code() == CODE.DEADLINE_EXCEEDED
    assert factor(server) == 2  # the one worker is free again: hours of work were given up


def test_the_first_call_of_a_signature_keeps_its_deadline_too(base: Path) -> None:
    model = models.load(base)
    runner = batching.Runner(model, settings.Settings(1))
    with pytest.raises(models.ModelFailed) as caught:
        runner.answer("slow", {"x": np.array([[1e9, 0]], np.float32)}, timeout_s=0.3)
    assert caught.value.code == CODE.DEADLINE_EXCEEDED.value[0]
    small, large = np.zeros((1, 2), np.float32), np.zeros((9, 2), np.float32)
    large[0, 0] = 1e9
    for _ in range(2):
        runner.answer("slow", {"x": small}, timeout_s=60)  # known to be quick, and nothing is of what is larger
    with pytest.raises(models.ModelFailed):
        runner.answer("slow", {"x": large}, timeout_s=0.3)
    model.close()


@pytest.mark.parametrize("how", [None, settings.Batching(2)])
def test_calls_that_were_given_up_are_not_run(base: Path, how: settings.Batching | None) -> None:
    with running.running([Wanted("m", base)], settings.Settings(1, 20, how)) as server:
        asked = request(((30_000.0, 0.0),), signature_name="slow")
        model = server.served._table["m"][1].model
        whole, runs = model.run, []

        def noted(name: str, *more: Any) -> Any:
            runs.append(name)
            return whole(name, *more)

        object.__setattr__(model, "run", noted)
        calls = [server.stub.Predict.future(asked, timeout=120) for _ in range(12)]
        time.sleep(0.2)
        for call in calls:
            call.cancel()
        assert factor(server) == 2
        assert runs.count("slow") <= 2


def test_the_gate_lets_calls_through_in_their_order() -> None:
    gate, order = queueing.Gate(1, 3), []
    gate.enter()

    def wait(number: int) -> None:
        gate.enter()
        order.append(number)
        gate.leave()

    threads = []
    for number in range(3):
        threads.append(threading.Thread(target=wait, args=(number,)))
        threads[-1].start()
        while gate.num_waiting <= number:
            time.sleep(0.001)
    with pytest.raises(refusals.Refusal, match="3 calls wait"):
        gate.enter()
    gate.leave()
    for thread in threads:
        thread.join(timeout=30)
    assert order == [0, 1, 2]
    gate.enter()
    with pytest.raises(refusals.Refusal, match="deadline"):
        gate.enter(0.01)
    assert gate.num_waiting == 0


def test_clients_that_send_slowly_hold_nobody_up(server: running.Running) -> None:
    host, port = server.address.split(":")
    slow = [socket.create_connection((host, int(port)), timeout=30) for _ in range(40)]
    for one in slow:
        one.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00" + b"\x00\x10\x00")
    assert factor(server) == 2
    for one in slow:
        one.close()
    assert factor(server) == 2


def test_calls_whose_request_never_gets_whole_are_given_up_when_they_are_many(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "LEAST_S", 0.2)
    ended = threading.Event()

    def nothing() -> Iterator[bytes]:
        ended.wait(60)
        yield from ()

    with running.running([Wanted("m", base)]) as started:
        begin = started.channel.stream_unary("/tensorflow.serving.PredictionService/Predict")
        calls = [begin.future(nothing(), timeout=60) for _ in range(81)]  # more than threads
        assert factor(started) == 2
        codes = [call.code() for call in calls if call.done()]
        assert set(codes) == {CODE.CANCELLED}
        assert len(codes) < len(calls), "no more are given up than need be"
        host, port = started.web.split(":")
        slow = [socket.create_connection((host, int(port)), timeout=30) for _ in range(16)]
        for one in slow:
            one.sendall(b"POST /v1/models/m:predict HTTP/1.1\r\nContent-Length: 99\r\n\r\n{")
        ends = time.monotonic() + 30
        while started.ask("/v1/models/m")[0] == 429:  # no room until some are let go
            assert time.monotonic() < ends
        for one in slow:
            one.close()
        ended.set()


def test_a_refused_call_leaves_nothing_in_memory(server: running.Running) -> None:
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        for asked in (request(((1.0, 2.0, 3.0),)), request(name="no"), request(signature_name="no")):
            with pytest.raises(grpc.RpcError):
                server.stub.Predict(asked, timeout=60)
        assert server.ask("/v1/models/m:predict", {"instances": [[1]]})[0] == 400
        time.sleep(0.1)
        gc.collect()
        assert [one for one in gc.garbage if isinstance(one, refusals.Refusal)] == []
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


def test_random_bytes_get_codes_and_cost_no_memory(server: running.Running) -> None:
    chance, good = random.Random(0), request().SerializeToString()
    methods = ("Predict", "Classify", "Regress", "MultiInference", "GetModelMetadata")
    calls = [server.channel.unary_unary(f"/tensorflow.serving.PredictionService/{name}") for name in methods]
    before = 0.0
    for number in range(400):
        data = bytearray(good if number % 2 else chance.randbytes(chance.randrange(80)))
        for _ in range(3 if number % 2 else 0):
            data[chance.randrange(len(data))] = chance.randrange(256)
        try:
            calls[number % 5 if number % 4 else 0](bytes(data), timeout=60)
        except grpc.RpcError as error:
            assert error.code() in (CODE.INVALID_ARGUMENT, CODE.NOT_FOUND, CODE.FAILED_PRECONDITION)  # noqa: PT017
        if number == 200:
            before = _resident_mib()
    assert _resident_mib() < before + 20
    assert factor(server) == 2


def test_claims_of_huge_shapes_take_no_memory(server: running.Running) -> None:
    before = _resident_mib()
    for size in (2**31, 2**62, 2**50):
        asked = request()
        asked.inputs["x"].tensor_content = b""
        asked.inputs["x"].float_val.append(1.0)
        asked.inputs["x"].tensor_shape.dim[0].size = size
        with pytest.raises(grpc.RpcError) as caught:
            server.stub.Predict(asked, timeout=60)
        assert caught.value.code() == CODE.INVALID_ARGUMENT
    assert _resident_mib() < before + 20


def _resident_mib() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20


def test_the_audit_log_holds_who_answered_and_no_identities(base: Path, tmp_path: Path) -> None:
    path, mine = tmp_path / "audit.jsonl", str(uuid.uuid4())
    log = audit.Log(path)
    with running.running([Wanted("m", base)], log=log) as server:
        for number, given in enumerate((mine, "Doe^John")):
            _, call = server.stub.Predict.with_call(request(), timeout=60, metadata=((audit.REQUEST_ID, given),))
            told = dict(call.trailing_metadata())[audit.REQUEST_ID]
            assert (told == mine) == (number == 0)
        with pytest.raises(grpc.RpcError):
            server.stub.Predict(request(name="Doe^John"), timeout=60)
        assert server.ask("/v1/models/m:predict", {"instances": [[1, 2]]})[0] == 200
        digest = server.served._table["m"][1].model.sha256
    log.close()
    text = path.read_text()
    assert "Doe" not in text
    assert path.stat().st_mode & 0o777 == 0o600
    first, _, missing, rest = map(json.loads, text.splitlines())
    assert first["request_id"] == mine
    assert (first["model"], first["version"], first["model_sha256"], first["status"]) == ("m", 1, digest, "OK")
    assert first["request_bytes"] == len(request().SerializeToString())
    assert (missing["model"], missing["status"], missing["answer_bytes"]) == (None, "NOT_FOUND", 0)
    assert (rest["entry"], rest["method"]) == ("REST", "Predict")
    with pytest.raises(UserError, match="cannot be written"):
        audit.Log(tmp_path / "no" / "log")


def _together(model: models.Model, how: settings.Batching, count: int) -> tuple[list[object], list[int]]:
    """Asks with several calls while the one worker is busy; returns what each got, and the rows of each run."""
    runs: list[int] = []
    runner = batching.Runner(model, settings.Settings(1, 64, how), lambda rows, seconds: runs.append(rows))
    found: list[object] = [None] * count
    runner._gate.enter()

    def ask(number: int) -> None:
        x = np.full((1 + number % 2, 2), number, np.float32)
        try:
            found[number] = runner.answer("", {"x": x}, timeout_s=60)["y"]
        except (refusals.Refusal, models.ModelFailed) as error:
            found[number] = error

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    ends = time.monotonic() + 60
    while sum(len(batch.calls) for batch in runner._open.values()) < min(count, how.max_batch_size // 2):
        assert time.monotonic() < ends
        time.sleep(0.001)
    runner._gate.leave()
    for thread in threads:
        thread.join(timeout=60)
    return found, runs


@pytest.mark.parametrize("allowed", [(), (4, 64)])
def test_calls_that_wait_are_joined_and_get_their_own_answers(base: Path, allowed: tuple[int, ...]) -> None:
    model = models.load(base)
    found, runs = _together(model, settings.Batching(64, allowed_sizes=allowed), 9)
    for number, y in enumerate(found):
        assert np.array_equal(y, np.full((1 + number % 2, 2), 2.0 * number, np.float32))
    assert len(runs) < 9
    if allowed:
        assert set(runs) <= {*allowed, 1, 2}
    model.close()


def test_a_call_that_fails_spoils_no_others(tmp_path: Path) -> None:
    module = tf.Module()

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, "x")])
    def checked(x: tf.Tensor) -> dict[str, tf.Tensor]:
        with tf.control_dependencies([tf.debugging.assert_none_equal(x, 3.0, message="no threes")]):
            return {"y": 2 * x}

    module.checked = checked
    tf.saved_model.save(module, str(tmp_path / "1"), signatures=checked)
    model = models.load(tmp_path)
    found, _ = _together(model, settings.Batching(64), 6)
    assert isinstance(found[3], models.ModelFailed)
    assert [float(y[0, 0]) for number, y in enumerate(found) if number != 3] == [0, 2, 4, 8, 10]
    model.close()


def test_who_joined_a_run_that_fails_unforeseen_is_answered(base: Path) -> None:
    model = models.load(base)
    whole = model.run

    def small(name: str, inputs: dict[str, np.ndarray], *more: object) -> dict[str, np.ndarray]:
        if len(inputs["x"]) > 2:
            raise MemoryError("no room for all of them")
        return whole(name, inputs, *more)

    object.__setattr__(model, "run", small)
    found, _ = _together(model, settings.Batching(64, measured=True), 4)
    assert [float(y[0, 0]) for y in found] == [0, 2, 4, 6]  # type: ignore[index]
    model.close()


def test_joining_goes_on_only_where_it_is_cheaper() -> None:
    for cost_s, pays in ((0.5, True), (0.99, False), (3.0, False), (float("inf"), False)):
        trial, ways = trials.Trial(), []
        for _ in range(2 * trials.SAMPLES):
            ways.append(trial.joins())
            trial.ran(ways[-1], 4, 4 * (cost_s if ways[-1] else 1.0))
        assert ways == [True, False] * trials.SAMPLES, "in turns"
        assert (trial.joins(), trial.is_off) == (pays, not pays)
        trial.passed(trials.HOLDS - 1)
        assert trial.is_off != pays
        trial.passed(1)
        assert (trial.joins(), trial.is_off) == (True, False), "it is tried again"


def test_a_model_that_gains_nothing_by_batches_is_asked_call_by_call(base: Path) -> None:
    model = models.load(base)
    runs: list[int] = []
    runner = batching.Runner(model, settings.Settings(1, 64, settings.Batching(64)), lambda rows, _: runs.append(rows))
    whole = model.run

    def dear(name: str, inputs: dict[str, np.ndarray], *more: object) -> dict[str, np.ndarray]:
        time.sleep(0.01 * len(inputs["x"]) ** 2)
        return whole(name, inputs, *more)

    object.__setattr__(model, "run", dear)
    asked = np.ones((1, 2), np.float32)

    def ask() -> None:
        for _ in range(25):
            assert runner.answer("", {"x": asked})["y"].tolist() == [[2.0, 2.0]]

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sum(runs) == 100
    assert max(runs) > 1
    assert runs[-40:] == [1] * 40
