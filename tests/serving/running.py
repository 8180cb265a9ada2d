"""Servers for tests, in this process, and the small models they serve."""

import contextlib
import dataclasses
import json
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import tensorflow as tf
from tensorflow.core.example import example_pb2
from tensorflow_serving.apis import model_service_pb2_grpc, predict_pb2, prediction_service_pb2_grpc

from serving import (
    answering,
    audit,
    batching,
    configs_text,
    counters,
    endpoints,
    health,
    models,
    registry,
    rest,
    service,
    settings,
    warming,
)

NO_PROXY = [("grpc.enable_http_proxy", 0)]


def save(folder: Path, factor: float) -> Path:
    """Writes a model: `y` is `x` times a number; tf.Example are classified and regressed; `slow` takes its time."""
    module = tf.Module()
    module.factor = tf.Variable(factor)

    def read(serialized: tf.Tensor) -> tf.Tensor:
        return tf.io.parse_example(serialized, {"x": tf.io.FixedLenFeature([2], tf.float32)})["x"] * module.factor

    text = tf.TensorSpec([None], tf.string, "inputs")
    real = tf.TensorSpec([None, 2], tf.float32, "x")

    @tf.function(input_signature=[real])
    def times(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": x * module.factor}

    @tf.function(input_signature=[text])
    def classify(inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        scores = read(inputs)
        return {"scores": scores, "classes": tf.tile([["low", "high"]], [tf.shape(scores)[0], 1])}

    @tf.function(input_signature=[text])
    def regress(inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"outputs": tf.reduce_sum(read(inputs), axis=1)}

    @tf.function(input_signature=[real])
    def slow(x: tf.Tensor) -> dict[str, tf.Tensor]:
        # As many rounds as the first number says, each some tenths of a millisecond.
        body = lambda i, v: (i + 1, tf.linalg.matmul(v, v) / 128.0)  # noqa: E731
        _, value = tf.while_loop(lambda i, v: i < tf.cast(x[0, 0], tf.int32), body, (0, tf.ones([128, 128])))
        return {"y": x + 0.0 * value[0, 0]}

    signatures = {"serving_default": times, "classify": classify, "regress": regress, "slow": slow}
    tf.saved_model.save(module, str(folder), signatures=signatures)
    return folder


def put(saved: Path, base: Path, version: int) -> None:
    """Puts a version beside others at once, as one should."""
    aside = base / f"aside{version}"
    shutil.copytree(saved, aside)
    aside.rename(base / str(version))


@dataclasses.dataclass(frozen=True)
class Running:
    """A server and what it is made of."""

    address: str
    web: str
    channel: grpc.Channel
    served: registry.Registry
    state: health.Health
    rest: rest.Server

    @property
    def stub(self) -> Any:
        return prediction_service_pb2_grpc.PredictionServiceStub(self.channel)

    @property
    def status(self) -> Any:
        return model_service_pb2_grpc.ModelServiceStub(self.channel)

    def ask(self, path: str, body: Any = None) -> tuple[int, Any]:
        """Returns the status and the JSON of an HTTP request."""
        data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        asked = urllib.request.Request(f"http://{self.web}{path}", data)
        try:
            with urllib.request.urlopen(asked, timeout=60) as reply:
                return reply.status, json.loads(reply.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read())


@contextlib.contextmanager
def running(
    wanted: Sequence[configs_text.Wanted],
    chosen: settings.Settings | None = None,
    *,
    figures: bool = False,
    log: audit.Log | None = None,
    tls: configs_text.Tls | None = None,
    door: dict[str, Any] | None = None,
    **loading: Any,
) -> Iterator[Running]:
    def load(name: str, base: Path, version: int) -> tuple[models.Model, batching.Runner]:
        model = models.load(base, version)
        runner = batching.Runner(model, chosen or settings.Settings(2))
        warming.play(answering.Asked(model, runner, name))
        return model, runner

    served = registry.Registry(registry.Loading(load, **loading))
    assert served.configure(wanted) == []
    counted = counters.Figures(served.available) if figures else None
    answers = service.Service(served, 4 << 20, counted, log)
    state = health.Health(lambda: all(served.available().values()))
    server, port = endpoints.start(answers, state, endpoints.Door("127.0.0.1", 0, 80, 4 << 20, tls))
    web_door = {"monitoring": configs_text.MONITORING_PATH, "max_body_bytes": 4 << 20, "tls": tls, **(door or {})}
    web = rest.Server(answers, rest.Door("127.0.0.1", 0, **web_door))
    address = f"127.0.0.1:{port}"
    with grpc.insecure_channel(address, options=NO_PROXY) as channel:
        try:
            yield Running(address, f"127.0.0.1:{web.server_address[1]}", channel, served, state, web)
        finally:
            web.shutdown()
            web.server_close()
            server.stop(None).wait()
            served.close()


def request(x: Any = ((1.0, 2.0),), name: str = "m", **spec: Any) -> Any:
    made = predict_pb2.PredictRequest()
    made.model_spec.name = name
    for key, value in spec.items():
        if key == "version":
            made.model_spec.version.value = value
        else:
            setattr(made.model_spec, key, value)
    made.inputs["x"].CopyFrom(tf.make_tensor_proto(x, tf.float32))
    return made


def factor(running: Running, **spec: Any) -> float:
    """Returns the number that tells the version that answered."""
    reply = running.stub.Predict(request(**spec), timeout=60)
    return float(tf.make_ndarray(reply.outputs["y"])[0, 0])


def example(*x: float) -> Any:
    made = example_pb2.Example()
    made.features.feature["x"].float_list.value.extend(x)
    return made
