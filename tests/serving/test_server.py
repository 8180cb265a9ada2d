import copy
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import wrappers_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from radkit.errors import UserError
from serving import endpoints, health, messages, models, registry, rest, serve_flags, server, service
from tests.serving.conftest import MAX_MESSAGE_BYTES

X = np.array([[1.0, -2.0, 3.5]], np.float32)
CODE = grpc.StatusCode


@pytest.fixture(scope="module")
def channel(address: str) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as opened:
        yield opened


@pytest.fixture(scope="module")
def stub(channel: grpc.Channel) -> prediction_service_pb2_grpc.PredictionServiceStub:
    return prediction_service_pb2_grpc.PredictionServiceStub(channel)


def request(model: str = "numbers", **inputs: object) -> Any:
    made = predict_pb2.PredictRequest()
    made.model_spec.name = model
    for name, value in ({"x": X, "name": ["a"]} | inputs).items():
        if value is not None:
            made.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    return made


def refusal(call: Callable[..., object], message: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        call(message, timeout=120)
    words = caught.value.details()
    assert "Traceback" not in words
    assert "File " not in words
    return caught.value.code(), words


def test_answers_equal_a_direct_call(stub: Any, exports: Path) -> None:
    reply = stub.Predict(request(), timeout=120)
    direct = tf.saved_model.load(str(exports / "numbers" / "10")).signatures["serving_default"]
    expected = direct(x=tf.constant(X), name=tf.constant(["a"]))
    assert set(reply.outputs) == {"doubled", "name", "half"}
    for name, tensor in expected.items():
        found = tf.make_ndarray(reply.outputs[name])
        if name == "name":
            assert found.tolist() == [b"a!"]
        else:
            np.testing.assert_allclose(found.astype(np.float32), tensor.numpy().astype(np.float32), atol=1e-6)
    assert reply.outputs["doubled"].tensor_content
    spec = reply.model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == ("numbers", 10, "serving_default")


def test_lists_of_values_are_taken(stub: Any) -> None:
    asked = request()
    asked.inputs["x"].tensor_content = b""
    asked.inputs["x"].float_val.extend(X.ravel().tolist())
    found = stub.Predict(asked, timeout=120).outputs["doubled"]
    np.testing.assert_allclose(tf.make_ndarray(found), 2 * X + 1, atol=1e-6)


def test_the_filter_and_the_version_are_honoured(stub: Any) -> None:
    asked = request()
    asked.output_filter.append("name")
    asked.model_spec.version.CopyFrom(wrappers_pb2.Int64Value(value=10))
    asked.model_spec.signature_name = "serving_default"
    assert set(stub.Predict(asked, timeout=120).outputs) == {"name"}


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        (
            lambda r: setattr(r.model_spec, "name", "nubmers"),
            CODE.NOT_FOUND,
            "classify, grey, numbers, segment, turned",
        ),
        (lambda r: setattr(r.model_spec, "name", ""), CODE.INVALID_ARGUMENT, "Missing ModelSpec"),
        (lambda r: setattr(r.model_spec.version, "value", 2), CODE.NOT_FOUND, "version 10; 2"),
        (lambda r: setattr(r.model_spec, "version_label", "stable"), CODE.INVALID_ARGUMENT, "version label"),
        (lambda r: setattr(r.model_spec, "signature_name", "no"), CODE.FAILED_PRECONDITION, "serving_default"),
        (lambda r: r.output_filter.append("no"), CODE.INVALID_ARGUMENT, "doubled, half, name"),
        (lambda r: r.output_filter.extend(["name", "name"]), CODE.INVALID_ARGUMENT, "duplicate"),
        (lambda r: setattr(r.inputs["x"].tensor_shape.dim[1], "size", 4), CODE.INVALID_ARGUMENT, "takes 16"),
        (lambda r: setattr(r.inputs["x"].tensor_shape.dim[1], "size", 2**50), CODE.INVALID_ARGUMENT, "at most"),
        (lambda r: r.inputs["x"].Clear(), CODE.INVALID_ARGUMENT, "DataType 0"),
    ],
)
def test_wrong_requests_get_the_code_of_tensorflow_serving(
    stub: Any, change: Callable[[Any], object], code: grpc.StatusCode, words: str
) -> None:
    asked = request()
    change(asked)
    found, said = refusal(stub.Predict, asked)
    assert found == code
    assert words in said


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({"x": None}, "input x is missing; the signature takes name string"),
        ({"y": X}, "input y is unknown"),
        ({"x": X.astype(np.float64)}, r"input x is float64 \(1, 3\); float32 \(any, 3\) was expected"),
        ({"x": X[:, :2]}, r"float32 \(1, 2\)"),
        ({"x": X[0]}, r"float32 \(3\)"),
        ({"name": [1]}, "input name is int32"),
        ({"x": X * 1e7}, "63"),
    ],
)
def test_inputs_that_do_not_fit_are_told_by_name(stub: Any, inputs: dict[str, Any], words: str) -> None:
    code, said = refusal(stub.Predict, request(**inputs))
    assert code == CODE.INVALID_ARGUMENT
    assert re.search(words, said)


def test_metadata_is_that_of_the_saved_model(stub: Any) -> None:
    asked = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    asked.model_spec.name = "numbers"
    reply = stub.GetModelMetadata(asked, timeout=120)
    found = get_model_metadata_pb2.SignatureDefMap()
    assert reply.metadata["signature_def"].Unpack(found)
    signature = found.signature_def["serving_default"]
    assert signature.method_name == "tensorflow/serving/predict"
    assert signature.inputs["x"].dtype == tf.float32.as_datatype_enum
    assert [dim.size for dim in signature.inputs["x"].tensor_shape.dim] == [-1, 3]
    assert reply.model_spec.version.value == 10
    for fields in ([], ["other"]):
        asked.metadata_field[:] = fields
        assert refusal(stub.GetModelMetadata, asked)[0] == CODE.INVALID_ARGUMENT


def test_status_health_and_the_other_methods(channel: grpc.Channel, stub: Any) -> None:
    status = model_service_pb2_grpc.ModelServiceStub(channel)
    asked = get_model_status_pb2.GetModelStatusRequest()
    asked.model_spec.name = "segment"
    found = status.GetModelStatus(asked, timeout=120).model_version_status
    assert [(v.version, v.state, v.status.error_code) for v in found] == [
        (1, get_model_status_pb2.ModelVersionStatus.AVAILABLE, 0)
    ]
    asked.model_spec.name = "none"
    assert refusal(status.GetModelStatus, asked)[0] == CODE.NOT_FOUND
    assert refusal(stub.Classify, classification_pb2.ClassificationRequest())[0] == CODE.INVALID_ARGUMENT
    health = channel.unary_unary(messages.HEALTH_CHECK)
    assert health(b"", timeout=120) == b"\x08\x01"  # status: SERVING
    assert refusal(health, b"\x0a\x02no")[0] == CODE.NOT_FOUND


def test_a_server_that_got_random_bytes_answers_on(channel: grpc.Channel, stub: Any) -> None:
    methods = (messages.PREDICT, messages.GET_MODEL_METADATA, messages.GET_MODEL_STATUS, messages.HEALTH_CHECK)
    chance = random.Random(0)
    good = request().SerializeToString()
    for number in range(200):
        data = bytearray(good if number % 2 else chance.randbytes(chance.randrange(60)))
        for _ in range(3 if number % 2 else 0):
            data[chance.randrange(len(data))] = chance.randrange(256)
        try:
            channel.unary_unary(methods[0] if number % 2 else methods[number % 4])(bytes(data), timeout=120)
        except grpc.RpcError as error:
            assert error.code() in (CODE.INVALID_ARGUMENT, CODE.NOT_FOUND, CODE.FAILED_PRECONDITION)  # noqa: PT017
            assert len(error.details()) < 3000  # noqa: PT017
    assert stub.Predict(request(), timeout=120).model_spec.version.value == 10


def test_the_limit_holds_for_all_inputs_together(stub: Any) -> None:
    asked = request()
    for number in range(3):
        tensor = asked.inputs[f"more{number}"]
        tensor.CopyFrom(tf.make_tensor_proto(1.0, shape=[MAX_MESSAGE_BYTES // 4 - 100]))
    code, words = refusal(stub.Predict, asked)
    assert code == CODE.INVALID_ARGUMENT
    assert "at most" in words


def test_a_message_over_the_limit_is_refused(stub: Any) -> None:
    big = np.zeros((MAX_MESSAGE_BYTES // 12 + 1, 3), np.float32)
    assert refusal(stub.Predict, request(x=big))[0] == CODE.RESOURCE_EXHAUSTED


def test_the_highest_number_is_the_version_and_others_can_be_had(exports: Path, tmp_path: Path) -> None:
    assert models.find_version(exports / "numbers")[0] == 10
    assert models.find_version(exports / "numbers", 2)[0] == 2
    (tmp_path / "7").mkdir()
    (tmp_path / "9.incomplete.1").mkdir()
    for folder, version, words in (
        (exports / "numbers", 3, "no version 3; there are: 2, 10"),
        (exports / "numbers" / "10", None, "name its parent"),
        (exports / "nothing", None, "is not a folder"),
        (exports, None, "no version folder"),
        (tmp_path, None, "half copied"),
    ):
        with pytest.raises(UserError, match=words):
            models.find_version(folder, version)


def test_weights_cut_short_are_told_in_a_line(exports: Path, tmp_path: Path) -> None:
    shutil.copytree(exports / "segment", tmp_path / "model")
    (data,) = (tmp_path / "model").glob("1/variables/variables.data*")
    data.write_bytes(data.read_bytes()[:1])
    with pytest.raises(UserError, match="cannot be loaded"):
        models.load(tmp_path / "model")


@pytest.mark.parametrize("data", [b"", b"\xff\xffno", messages.SavedModel(meta_graphs=[{}]).SerializeToString()])
def test_a_damaged_saved_model_is_told_in_a_line(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / models.GRAPH).write_bytes(data)
    with pytest.raises(UserError, match=models.GRAPH):
        models.load(tmp_path)


def test_a_port_in_use_is_refused(loaded: dict[str, models.Model]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"{port} cannot be had"):
            server.start(loaded, "127.0.0.1", port, workers=1, max_message_bytes=1 << 20)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ([], "--model must be given"),
        (["--model=numbers"], "not NAME=FOLDER"),
        (["--model=a b=/x"], "not NAME=FOLDER"),
        (["--model=a=/nowhere/at/all"], "is not a folder"),
        (["--model=a=/x", "--model=a=/y"], "given twice"),
        (["--model=a=/x", "--port=-1"], "port"),
        (["--model=a=/x", "--port=65536"], "port"),
    ],
)
def test_wrong_use_is_one_line_and_status_2(flags: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert server.main(["radkit serve", *flags]) == 2
    printed = capsys.readouterr().err
    assert words in printed
    assert printed.count("\n") == 1


def test_watchers_are_told_when_the_last_version_goes_and_when_one_comes(
    exports: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Context:
        def add_callback(self, _: Callable[[], None]) -> bool:
            return True

    monkeypatch.setattr(server.gc, "freeze", lambda: None)
    values = copy.deepcopy(server.FLAGS)
    values(["radkit serve", f"--model=m={tmp_path}"])
    parts, told = server._parts(values, lambda name, version: None), []
    shutil.copytree(exports / "classify" / "1", tmp_path / "1")
    assert parts.served.configure(serve_flags.wanted(values)) == []
    parts.state.watch(b"", Context(), told.append)
    (tmp_path / "1").rename(tmp_path / "away")
    parts.served.refresh()
    (tmp_path / "away").rename(tmp_path / "1")
    parts.served.refresh()
    assert told == [b"\x08\x01", b"\x08\x02", b"\x08\x01"]
    parts.served.close()


def test_addresses_of_ipv6_are_listened_on(loaded: dict[str, models.Model]) -> None:
    try:
        with socket.socket(socket.AF_INET6) as tried:
            tried.bind(("::1", 0))
    except OSError:
        pytest.skip("no IPv6 here")
    for host in ("::1", "[::1]"):
        started, port = server.start(loaded, host, 0, workers=1, max_message_bytes=1 << 20)
        with grpc.insecure_channel(f"[::1]:{port}", options=[("grpc.enable_http_proxy", 0)]) as opened:
            assert opened.unary_unary(messages.HEALTH_CHECK)(b"", timeout=60) == b"\x08\x01"
        started.stop(None).wait()
        answers = service.Service(registry.Registry(registry.Loading(lambda *where: pytest.fail("nothing is loaded"))))
        web = rest.Server(answers, rest.Door(host, 0))
        assert web.server_address[0] == "::1"
        web.shutdown()
        web.server_close()


def test_a_socket_in_use_is_refused(loaded: dict[str, models.Model], tmp_path: Path) -> None:
    path = tmp_path / "socket"
    answers = service.Service(registry.Registry(registry.Loading(lambda *where: pytest.fail("nothing is loaded"))))
    door = endpoints.Door("127.0.0.1", 0, 4, 1 << 20, socket=str(path))
    started, _ = endpoints.start(answers, health.Health(lambda: True), door)
    with pytest.raises(UserError, match="is in use"):
        endpoints.start(answers, health.Health(lambda: True), door)
    with grpc.insecure_channel(f"unix:{path}") as opened:
        assert opened.unary_unary(messages.HEALTH_CHECK)(b"", timeout=60) == b"\x08\x01"
    started.stop(None).wait()
    with socket.socket(socket.AF_UNIX) as left:  # as of a server that was killed
        left.bind(str(path))
    started, _ = endpoints.start(answers, health.Health(lambda: True), door)
    started.stop(None).wait()


def test_the_verb_serves_until_it_is_told_to_end(exports: Path) -> None:
    command = [sys.executable, "-m", "radkit", "serve", f"--model=m={exports / 'numbers'}", "--port=0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            found = re.fullmatch(r"serving m version 10 on (127\.0\.0\.1:\d+)\n", line)
            assert found, line
            with grpc.insecure_channel(found[1], options=[("grpc.enable_http_proxy", 0)]) as opened:
                stub = prediction_service_pb2_grpc.PredictionServiceStub(opened)
                assert stub.Predict(request("m"), timeout=120).model_spec.version.value == 10
            os.kill(process.pid, signal.SIGTERM)
            assert process.wait(timeout=120) == 0
        finally:
            process.kill()
