"""Classify, Regress and MultiInference through the stock stubs, and what else the servers speak."""

from collections.abc import Iterator

import grpc
import pytest
import tensorflow as tf
from google.protobuf import descriptor_pb2
from tensorflow_serving.apis import classification_pb2, inference_pb2, regression_pb2

from serving import messages
from serving.configs_text import Wanted
from tests.serving import running
from tests.serving.running import example

CODE = grpc.StatusCode
CLASSIFY, REGRESS = "tensorflow/serving/classify", "tensorflow/serving/regress"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[running.Running]:
    base = tmp_path_factory.mktemp("m")
    running.save(base / "3", 2.0)
    with running.running([Wanted("m", base)]) as started:
        yield started


def asking(kind: type, *x: tuple[float, ...], signature: str = "", name: str = "m"):
    made = kind()
    made.model_spec.name, made.model_spec.signature_name = name, signature
    made.input.example_list.examples.extend(example(*one) for one in x)
    return made


def refused(call, message) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        call(message, timeout=60)
    return caught.value.code(), caught.value.details()


def test_examples_are_classified(server: running.Running) -> None:
    reply = server.stub.Classify(asking(classification_pb2.ClassificationRequest, (1, 2), (3, 4)), timeout=60)
    found = [[(one.label, one.score) for one in row.classes] for row in reply.result.classifications]
    assert found == [[("low", 2.0), ("high", 4.0)], [("low", 6.0), ("high", 8.0)]]
    assert (reply.model_spec.version.value, reply.model_spec.signature_name) == (3, "classify")


def test_examples_are_regressed(server: running.Running) -> None:
    reply = server.stub.Regress(asking(regression_pb2.RegressionRequest, (1, 2), (3, 4)), timeout=60)
    assert [one.value for one in reply.result.regressions] == [6.0, 14.0]


@pytest.mark.parametrize("timeout_s", [None, 60])
def test_bytes_that_are_no_text_are_refused_as_what_is_no_example_is(
    server: running.Running, timeout_s: float | None
) -> None:
    asked = running.request(signature_name="classify")
    asked.inputs["inputs"].CopyFrom(tf.make_tensor_proto([b"\xff\xfe\x28"]))
    del asked.inputs["x"]
    with pytest.raises(grpc.RpcError) as caught:
        server.stub.Predict(asked, timeout=timeout_s)
    assert caught.value.code() == CODE.INVALID_ARGUMENT
    assert "Could not parse example" in caught.value.details()


def test_what_examples_share_is_part_of_each(server: running.Running) -> None:
    asked = asking(regression_pb2.RegressionRequest)
    asked.input.example_list_with_context.examples.add()
    asked.input.example_list_with_context.context.CopyFrom(example(1, 2))
    assert [one.value for one in server.stub.Regress(asked, timeout=60).result.regressions] == [6.0]
    asked.input.example_list_with_context.examples[0].CopyFrom(example(1, 2))
    code, words = refused(server.stub.Regress, asked)
    assert code == CODE.INVALID_ARGUMENT
    assert "one place only" in words


def test_what_examples_share_may_not_grow_without_end(server: running.Running) -> None:
    asked = asking(regression_pb2.RegressionRequest)
    given = asked.input.example_list_with_context
    given.context.features.feature["y"].bytes_list.value.append(bytes(1 << 20))
    for _ in range(300):
        given.examples.add()
    code, words = refused(server.stub.Regress, asked)
    assert code == CODE.INVALID_ARGUMENT
    assert "send fewer examples" in words


@pytest.mark.parametrize(
    ("x", "signature", "code", "words"),
    [
        ((), "", CODE.INVALID_ARGUMENT, "Input is empty"),
        (((1, 2),), "serving_default", CODE.INVALID_ARGUMENT, "cannot classify"),
        (((1, 2),), "regress", CODE.INVALID_ARGUMENT, "classes or scores"),
        (((1, 2),), "no", CODE.INVALID_ARGUMENT, "No signature was found"),
        (((1, 2, 3),), "", CODE.INVALID_ARGUMENT, "x"),
    ],
)
def test_what_cannot_be_classified_is_told(server, x, signature: str, code: grpc.StatusCode, words: str) -> None:
    asked = asking(classification_pb2.ClassificationRequest, *x, signature=signature)
    found, said = refused(server.stub.Classify, asked)
    assert found == code
    assert words in said


def test_a_model_without_such_a_signature_says_so(address: str) -> None:
    with grpc.insecure_channel(address, options=running.NO_PROXY) as channel:
        regress = channel.unary_unary("/tensorflow.serving.PredictionService/Regress")
        asked = asking(regression_pb2.RegressionRequest, (1, 2), name="segment")
        code, words = refused(regress, asked.SerializeToString())
    assert code == CODE.INVALID_ARGUMENT
    assert "no signature of this model can regress" in words


def multi(*tasks: tuple[str, str, str]):
    made = inference_pb2.MultiInferenceRequest()
    for name, signature, method in tasks:
        task = made.tasks.add(method_name=method)
        task.model_spec.name, task.model_spec.signature_name = name, signature
    made.input.example_list.examples.append(example(1, 2))
    return made


def test_several_tasks_answer_the_same_examples(server: running.Running) -> None:
    asked = multi(("m", "classify", CLASSIFY), ("m", "regress", REGRESS))
    first, second = server.stub.MultiInference(asked, timeout=60).results
    assert [one.score for one in first.classification_result.classifications[0].classes] == [2.0, 4.0]
    assert [one.value for one in second.regression_result.regressions] == [6.0]
    assert second.model_spec.signature_name == "regress"


@pytest.mark.parametrize(
    ("tasks", "code"),
    [
        ((), CODE.INVALID_ARGUMENT),
        ((("m", "classify", CLASSIFY), ("other", "regress", REGRESS)), CODE.INVALID_ARGUMENT),
        ((("m", "classify", CLASSIFY), ("m", "classify", CLASSIFY)), CODE.INVALID_ARGUMENT),
        ((("m", "classify", "tensorflow/serving/predict"),), CODE.UNIMPLEMENTED),
        ((("other", "classify", CLASSIFY),), CODE.NOT_FOUND),
    ],
)
def test_tasks_that_no_model_can_answer_are_refused(server, tasks, code: grpc.StatusCode) -> None:
    assert refused(server.stub.MultiInference, multi(*tasks))[0] == code


@pytest.mark.parametrize(
    ("first", "second"), [({}, {"version_label": "a"}), ({"version_label": "a"}, {"version_label": "b"})]
)
def test_tasks_of_other_versions_are_refused(server, first: dict[str, str], second: dict[str, str]) -> None:
    server.served._labels = {"m": {"a": 3, "b": 3}}
    asked = multi(("m", "classify", CLASSIFY), ("m", "regress", REGRESS))
    for task, spec in zip(asked.tasks, (first, second)):
        for key, value in spec.items():
            setattr(task.model_spec, key, value)
    code, words = refused(server.stub.MultiInference, asked)
    assert code == CODE.INVALID_ARGUMENT
    assert "the same version" in words
    asked.tasks[0].model_spec.version_label = asked.tasks[1].model_spec.version_label
    assert len(server.stub.MultiInference(asked, timeout=60).results) == 2


@pytest.mark.parametrize("package", ["grpc.reflection.v1", "grpc.reflection.v1alpha"])
def test_reflection_tells_services_and_files(server: running.Running, package: str) -> None:
    asked, answered = (messages.of(f"{package}.ServerReflection{name}") for name in ("Request", "Response"))
    call = server.channel.stream_stream(
        f"/{package}.ServerReflection/ServerReflectionInfo",
        request_serializer=asked.SerializeToString,
        response_deserializer=answered.FromString,
    )
    symbols = ["tensorflow.serving.PredictionService", "tensorflow.serving.ModelConfig.VersionLabelsEntry", "no.such"]
    requests = [asked(list_services=""), *(asked(file_containing_symbol=name) for name in symbols)]
    services, file, entry, missing = call(iter(requests), timeout=60)
    names = [one.name for one in services.list_services_response.service]
    assert "tensorflow.serving.ModelService" in names
    assert "grpc.health.v1.Health" in names
    found = descriptor_pb2.FileDescriptorProto.FromString(file.file_descriptor_response.file_descriptor_proto[0])
    methods = {one.name: [method.name for method in one.method] for one in found.service}
    assert sorted(methods["PredictionService"]) == [
        "Classify",
        "GetModelMetadata",
        "MultiInference",
        "Predict",
        "Regress",
    ]
    assert entry.file_descriptor_response.file_descriptor_proto
    assert missing.error_response.error_code == CODE.NOT_FOUND.value[0]


def test_health_is_told_at_each_change(server: running.Running) -> None:
    watch = server.channel.unary_stream("/grpc.health.v1.Health/Watch")
    call = watch(b"", timeout=60)
    assert next(call) == b"\x08\x01"
    unknown = watch(b"\x0a\x02no", timeout=60)
    assert next(unknown) == b"\x08\x03"  # SERVICE_UNKNOWN, and the stream stays open
    server.state.changed(ending=True)
    assert [*call] == [b"\x08\x02"]  # and that is its end: nobody who watches holds the server up
    assert [*unknown] == []
    assert [*watch(b"", timeout=60)] == [b"\x08\x02"]
    check = server.channel.unary_unary(messages.HEALTH_CHECK)
    assert check(b"", timeout=60) == b"\x08\x02"
