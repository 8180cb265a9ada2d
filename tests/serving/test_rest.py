"""TensorFlow Serving's REST API, asked over HTTP."""

import base64
import http.client
import json
import socket
import time
import tracemalloc
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow.core.example import example_pb2
from tensorflow_serving.apis import get_model_metadata_pb2

from serving import rest_json, signatures
from serving.configs_text import MONITORING_PATH, Wanted
from serving.refusals import Refusal
from tests.serving import running

SPEC = {"x": signatures.Spec("float32", (None, 2))}
BOTH = {"x": signatures.Spec("int16", (None, 2)), "text": signatures.Spec("string", (None,))}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[running.Running]:
    base = tmp_path_factory.mktemp("m")
    running.save(base / "3", 2.0)
    wanted = [Wanted("m", base, labels={"stable": 3})]
    with running.running(wanted, figures=True, door={"timeout_s": 3.0, "threads": 8}) as started:
        yield started


def test_rows_and_columns_are_answered_in_kind(server: running.Running) -> None:
    assert server.ask("/v1/models/m:predict", {"instances": [[1, 2], [3, 4]]}) == (
        200, {"predictions": [[2.0, 4.0], [6.0, 8.0]]},
    )  # fmt: skip
    named = {"instances": [{"x": [1, 2]}], "signature_name": "serving_default"}
    assert server.ask("/v1/models/m/versions/3:predict", named) == (200, {"predictions": [[2.0, 4.0]]})
    columns = (200, {"outputs": [[2.0, 4.0]]})
    assert server.ask("/v1/models/m/labels/stable:predict", {"inputs": [[1, 2]]}) == columns
    assert server.ask("/v1/models/m:predict", {"inputs": {"x": [[1, 2]]}}) == columns


def test_answers_equal_those_over_grpc(server: running.Running) -> None:
    x = np.random.default_rng(0).normal(size=(5, 2)).astype(np.float32)
    _, told = server.ask("/v1/models/m:predict", {"inputs": x.tolist()})
    import tensorflow as tf

    reply = server.stub.Predict(running.request(x), timeout=60)
    assert np.array_equal(np.array(told["outputs"], np.float32), tf.make_ndarray(reply.outputs["y"]))


def test_numbers_beyond_json_travel_as_tensorflow_serving_writes_them(server: running.Running) -> None:
    status, told = server.ask("/v1/models/m:predict", b'{"instances": [[NaN, -Infinity]]}')
    assert status == 200
    assert np.isnan(told["predictions"][0][0])
    assert told["predictions"][0][1] == -np.inf


def test_examples_are_classified_and_regressed(server: running.Running) -> None:
    examples = {"examples": [{"x": [1.0, 2.0]}, {"x": [3.0, 4.0]}]}
    assert server.ask("/v1/models/m:classify", examples) == (
        200, {"results": [[["low", 2.0], ["high", 4.0]], [["low", 6.0], ["high", 8.0]]]},
    )  # fmt: skip
    assert server.ask("/v1/models/m:regress", examples) == (200, {"results": [6.0, 14.0]})
    shared = {"context": {"x": [1.0, 2.0]}, "examples": [{"site": "b"}, {"n": 3}]}
    assert server.ask("/v1/models/m:regress", shared) == (200, {"results": [6.0, 6.0]})


def test_states_and_metadata_are_told(server: running.Running) -> None:
    state = {"version": "3", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    for path in ("/v1/models/m", "/v1/models/m/versions/3", "/v1/models/m/labels/stable"):
        assert server.ask(path) == (200, {"model_version_status": [state]})
    status, told = server.ask("/v1/models/m/metadata")
    assert status == 200
    assert told["model_spec"] == {"name": "m", "signature_name": "", "version": "3"}
    ours = told["metadata"]["signature_def"]["signature_def"]["serving_default"]
    asked = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    asked.model_spec.name = "m"
    stock = get_model_metadata_pb2.SignatureDefMap()
    server.stub.GetModelMetadata(asked, timeout=60).metadata["signature_def"].Unpack(stock)
    info = stock.signature_def["serving_default"].inputs["x"]
    assert ours["inputs"]["x"] == {
        "dtype": "DT_FLOAT",
        "tensor_shape": {"dim": [{"size": "-1", "name": ""}, {"size": "2", "name": ""}], "unknown_rank": False},
        "name": info.name,
    }


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("/v1/models/no:predict", {"instances": [[1, 2]]}, 404, "no model 'no'"),
        ("/v1/models/m/versions/9:predict", {"instances": [[1, 2]]}, 404, "served as version 3"),
        (f"/v1/models/m/versions/{'9' * 30}:predict", {"instances": [[1, 2]]}, 400, "beyond"),
        (f"/v1/models/m/versions/{2**63}:predict", {"instances": [[1, 2]]}, 400, "beyond"),
        (f"/v1/models/m/versions/{2**63 - 1}:predict", {"instances": [[1, 2]]}, 404, "served as version 3"),
        ("/v1/models/m/labels/no:predict", {"instances": [[1, 2]]}, 400, "version label"),
        ("/v1/models/m:guess", {}, 400, "Malformed request"),
        ("/v1/models/m", {}, 400, "Malformed request"),
        ("/v1/models/m:predict", None, 400, "Malformed request"),
        ("/elsewhere", None, 404, "Malformed request"),
        ("/v1/models/m:predict", b"{", 400, "JSON Parse error"),
        ("/v1/models/m:predict", b"[" * 100_000, 400, "JSON Parse error"),
        ("/v1/models/m:predict", b"[]", 400, "object"),
        ("/v1/models/m:predict", {}, 400, "'inputs' or 'instances'"),
        ("/v1/models/m:predict", {"instances": [[1, 2]], "inputs": [[1, 2]]}, 400, "not both"),
        ("/v1/models/m:predict", {"instances": []}, 400, "not empty"),
        ("/v1/models/m:predict", {"instances": [[1, 2], [3]]}, 400, "ragged"),
        ("/v1/models/m:predict", {"instances": [["1", "2"]]}, 400, "no float32"),
        ("/v1/models/m:predict", {"instances": [[1, 2, 3]]}, 400, "float32"),
        ("/v1/models/m:predict", {"instances": [{"y": [1, 2]}]}, 400, "input y is unknown"),
        ("/v1/models/m:predict", {"instances": [{"x": [1, 2]}, {"y": 1}]}, 400, "same names"),
        ("/v1/models/m:predict", {"signature_name": "no", "instances": [[1, 2]]}, 400, "not found"),
        ("/v1/models/m:predict", {"signature_name": 1, "instances": [[1, 2]]}, 400, "text"),
        ("/v1/models/m:classify", {"examples": []}, 400, "not empty"),
        ("/v1/models/m:classify", {"examples": [{"x": [1, None]}]}, 400, "feature|takes texts"),
        ("/v1/models/m:classify", b'{"examples": [{"\\ud800": 1}]}', 400, "half a character"),
        ("/v1/models/m:regress", {"signature_name": "serving_default", "examples": [{"x": 1}]}, 400, "cannot regress"),
    ],
)
def test_what_cannot_be_answered_is_an_error_in_json(
    server: running.Running, path: str, body: Any, status: int, words: str
) -> None:
    found, told = server.ask(path, body)
    assert found == status
    assert list(told) == ["error"]
    assert any(word in told["error"] for word in words.split("|"))


def test_a_connection_is_kept_and_limits_hold(server: running.Running) -> None:
    made = http.client.HTTPConnection(server.web, timeout=30)
    body = json.dumps({"instances": [[1, 2]]})
    for _ in range(3):
        made.request("POST", "/v1/models/m:predict", body)
        reply = made.getresponse()
        assert (reply.status, json.loads(reply.read())) == (200, {"predictions": [[2.0, 4.0]]})
    kept = made.sock
    assert kept is not None
    made.putrequest("POST", "/v1/models/m:predict")
    made.putheader("Content-Length", str(1 << 40))
    made.endheaders()
    reply = made.getresponse()
    assert reply.status == 413
    assert "too large" in json.loads(reply.read())["error"]
    made.close()


@pytest.mark.parametrize(
    "sent",
    [
        b"nonsense\r\n\r\n",
        b"GET /%s HTTP/1.1\r\n\r\n" % (b"x" * 70_000),
        b"PUT / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x00",
    ],
)
def test_what_is_no_http_is_turned_away(server: running.Running, sent: bytes) -> None:
    host, port = server.web.split(":")
    with socket.create_connection((host, int(port)), timeout=30) as made:
        made.sendall(sent)
        made.shutdown(socket.SHUT_WR)
        assert made.recv(99)[:9] in (b"HTTP/1.1 ", b"")
    assert server.ask("/v1/models/m")[0] == 200


def test_a_body_that_nobody_asked_for_is_no_request(server: running.Running) -> None:
    made = http.client.HTTPConnection(server.web, timeout=30)
    for method in ("GET", "OPTIONS", "GET"):
        made.request(method, "/v1/models/m", b"GET /elsewhere HTTP/1.1\r\n\r\n")
        reply = made.getresponse()
        assert reply.status == (405 if method == "OPTIONS" else 200)
        reply.read()
    made.close()


def test_the_servers_address_may_stand_before_the_path(server: running.Running) -> None:
    made = http.client.HTTPConnection(server.web, timeout=30)
    for path, status in (("/v1/models/m?a=b", 200), (MONITORING_PATH, 200), ("/v1/models/other", 404), ("", 404)):
        made.request("GET", f"http://{server.web}{path}")
        reply = made.getresponse()
        assert reply.status == status
        reply.read()
    made.close()


@pytest.mark.parametrize("lengths", [(b"0", b"34"), (b"34", b"0"), (b"34", b"35")])
def test_a_request_of_two_lengths_is_refused(server: running.Running, lengths: tuple[bytes, bytes]) -> None:
    host, port = server.web.split(":")
    head = b"GET /v1/models/m HTTP/1.1\r\nContent-Length: %s\r\nContent-Length: %s\r\n\r\n" % lengths
    with socket.create_connection((host, int(port)), timeout=30) as made:
        made.sendall(head + b"GET /v1/models/other HTTP/1.1\r\n\r\n")
        made.shutdown(socket.SHUT_WR)
        with made.makefile("rb") as reply:
            told = reply.read()
    assert told.startswith(b"HTTP/1.1 400 ")
    assert told.count(b"HTTP/1.1") == 1, "what follows is no second request"


def test_names_and_labels_may_be_written_in_percents(server: running.Running) -> None:
    server.served._labels = {"m": {**server.served._labels["m"], "a b/c": 3}}
    body = {"instances": [[1, 2]]}
    answer = (200, {"predictions": [[2.0, 4.0]]})
    assert server.ask("/v1/models/%6D:predict", body) == answer
    assert server.ask("/v1/models/m/labels/a%20b%2Fc:predict", body) == answer
    assert server.ask(f"/v1/models/m/versions/{3:030}:predict", body) == answer


def test_truth_values_of_examples_are_numbers(server: running.Running) -> None:
    asked = {"examples": [{"x": [1.0, 2.0], "flag": True, "flags": [False, True]}]}
    assert server.ask("/v1/models/m:regress", asked) == (200, {"results": [6.0]})
    made = example_pb2.Example()
    rest_json.example({"flags": [False, True]}, made)
    assert list(made.features.feature["flags"].int64_list.value) == [0, 1]


def test_who_asks_first_is_told_to_go_on(server: running.Running) -> None:
    host, port = server.web.split(":")
    body = b'{"instances": [[1, 2]]}'
    head = b"POST /v1/models/m:predict HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n"
    with socket.create_connection((host, int(port)), timeout=2) as made:
        made.sendall(head % len(body))
        assert made.recv(99) == b"HTTP/1.1 100 Continue\r\n\r\n"
        made.sendall(body)
        assert made.recv(99).startswith(b"HTTP/1.1 200 OK")


def test_slow_clients_hold_nobody_up(server: running.Running) -> None:
    host, port = server.web.split(":")
    slow = [socket.create_connection((host, int(port)), timeout=30) for _ in range(6)]
    for one in slow:
        one.sendall(b"POST /v1/models/m:predict HTTP/1.1\r\nContent-Length: 999\r\n\r\n{")
    assert server.ask("/v1/models/m:predict", {"instances": [[1, 2]]})[0] == 200
    assert all(one.recv(99) == b"" for one in slow)  # closed after timeout_s
    for one in slow:
        one.close()
    assert server.ask("/v1/models/m:predict", {"instances": [[1, 2]]})[0] == 200


def test_idle_connections_leave_room_for_who_asks(server: running.Running) -> None:
    host, port = server.web.split(":")
    body = b'{"instances": [[1, 2]]}'
    asking = b"POST /v1/models/m:predict HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    idle = [socket.create_connection((host, int(port)), timeout=30) for _ in range(20)]
    idle[-1].sendall(asking)
    assert idle[-1].recv(999).startswith(b"HTTP/1.1 200")
    for _ in range(8):  # one after the other takes the place of who is idle longest
        assert server.ask("/v1/models/m:predict", {"instances": [[1, 2]]})[0] == 200
    for one in idle:
        one.close()


def test_an_idle_connection_is_ended_after_a_while(server: running.Running) -> None:
    host, port = server.web.split(":")
    with socket.create_connection((host, int(port)), timeout=30) as idle:
        assert idle.recv(99) == b""


def test_what_is_being_answered_is_answered_before_the_end(tmp_path: Path) -> None:
    running.save(tmp_path / "1", 2.0)
    body = {"signature_name": "slow", "instances": [[15000, 2]]}
    with running.running([Wanted("m", tmp_path)]) as server, futures.ThreadPoolExecutor(1) as threads:
        asked = threads.submit(server.ask, "/v1/models/m:predict", body)
        time.sleep(0.2)
        server.rest.drain(30)
        assert server.rest.connections._answering == 0  # it waited for the answer
        assert asked.result(30) == (200, {"predictions": [[15000.0, 2.0]]})


def test_figures_are_shown_where_prometheus_looks(server: running.Running) -> None:
    server.ask("/v1/models/m:predict", {"instances": [[1, 2]]})
    server.ask("/v1/models/patient_name:predict", {"instances": [[1, 2]]})
    with pytest.raises(grpc.RpcError):
        server.stub.Predict(running.request(name="patient_name"), timeout=60)
    made = http.client.HTTPConnection(server.web, timeout=30)
    made.request("GET", MONITORING_PATH)
    reply = made.getresponse()
    page = reply.read().decode()
    made.close()
    assert reply.headers["Content-Type"].startswith("text/plain")
    assert '\n:tensorflow:serving:request_count{model_name="m",status="OK"} ' in page
    assert ':tensorflow:serving:request_latency_count{model_name="m",API="Predict",entrypoint="REST"} ' in page
    assert 'request_count{model_name="",status="NOT_FOUND"} ' in page
    assert "patient_name" not in page


def test_bytes_travel_as_base64() -> None:
    raw = bytes(range(256))
    told = {"b64": base64.b64encode(raw).decode()}
    found, by_row = rest_json.arrays({"instances": [{"text": told, "x": [1, 2]}, {"text": "ä", "x": [3, -4]}]}, BOTH)
    assert by_row
    assert found["text"].tolist() == [raw, "ä".encode()]
    assert (found["x"].dtype, found["x"].tolist()) == (np.int16, [[1, 2], [3, -4]])
    outputs = {"a_bytes": np.array([b"ab"], object), "b": np.array([b"ab"], object), "c": np.array([raw], object)}
    assert rest_json.answer(outputs, True) == {"predictions": [{"a_bytes": {"b64": "YWI="}, "b": "ab", "c": told}]}
    with pytest.raises(Refusal, match="no base64"):
        rest_json.arrays({"inputs": {"text": [{"b64": "%"}], "x": [[1, 2]]}}, BOTH)


@pytest.mark.parametrize("leaf", [1, "a"])
def test_lists_in_lists_without_end_are_refused(leaf: Any) -> None:
    value = leaf
    for _ in range(70):
        value = [value]
    with pytest.raises(Refusal, match="at most 32 axes"):
        rest_json.arrays({"inputs": {"x": value, "text": value}}, BOTH)


def test_a_long_text_among_numbers_takes_no_more_memory_than_it_is_long() -> None:
    tracemalloc.start()
    with pytest.raises(Refusal, match="no int16"):
        rest_json.arrays({"inputs": {"x": [["a" * 1_000_000] + ["b"] * 200], "text": ["a"]}}, BOTH)
    assert tracemalloc.get_traced_memory()[1] < 50_000_000  # numpy's own reading took 800 MB
    tracemalloc.stop()


def test_numbers_are_read_as_the_dtype_has_them() -> None:
    for dtype, values in (
        ("float32", [2**70, 1, -0.5, float("nan")]),
        ("float64", [1e300, 2**64]),
        ("uint64", [2**64 - 1, 0]),
        ("int8", [-128, 127]),
        ("bool", [True, False]),
    ):
        (found,) = rest_json.arrays({"inputs": {"x": [values]}}, {"x": signatures.Spec(dtype, None)})[0].values()
        np.testing.assert_array_equal(found, np.array([values], dtype))
        assert found.dtype == dtype
    for value in ([[]], [[], []], []):
        (found,) = rest_json.arrays({"inputs": {"x": value}}, SPEC)[0].values()
        assert found.shape == np.zeros_like(value).shape
    for value in ([[1, [2]]], [[1], 2], [[10**400]]):
        with pytest.raises(Refusal):
            rest_json.arrays({"inputs": {"x": value}}, SPEC)


@pytest.mark.parametrize("value", [40_000, -40_000, 1.5, 2**70, True, None, "1", {"b64": "AA=="}])
def test_numbers_that_the_dtype_cannot_hold_are_refused(value: Any) -> None:
    with pytest.raises(Refusal):
        rest_json.arrays({"inputs": {"x": [[1, value]] if value is not True else [[True, True]], "text": ["a"]}}, BOTH)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.sampled_from(["instances", "inputs", "signature_name"]), JSON))
def test_no_json_makes_the_parser_fail_otherwise_than_by_refusing(body: dict[str, Any]) -> None:
    for specs in (SPEC, BOTH):
        try:
            arrays, _ = rest_json.arrays(body, specs)
        except Refusal:
            continue
        assert all(isinstance(array, np.ndarray) for array in arrays.values())


def test_rows_need_as_many_outputs_as_instances() -> None:
    outputs = {"a": np.zeros((2, 1)), "b": np.zeros((3, 1))}
    with pytest.raises(Refusal, match="by column"):
        rest_json.answer(outputs, True)
    assert set(rest_json.answer(outputs, False)["outputs"]) == {"a", "b"}
