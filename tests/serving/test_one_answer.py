"""One DICOM series has one answer: through the records, from the SavedModel, over gRPC and over REST."""

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2

from radkit import runs, tasks
from radkit.data import convert, pipeline
from radkit.dicom import read_volumes, scan
from radkit.tasks import task as task_module
from serving import export, sources, traced
from serving.configs_text import Wanted
from tests.conftest import MadeUp
from tests.serving import running

Arrays = dict[str, np.ndarray]


def source_of(made: MadeUp) -> sources.Source:
    """Returns a network as it begins: what it answers is nonsense, and must be the same nonsense everywhere."""
    keras.utils.set_random_seed(3)
    task = tasks.of(made.experiment)
    network = runs.new_network(made.experiment, task)
    return sources.Source((), (), made.experiment, task, (network,), None, "")


def recorded(source: sources.Source, folder: Path) -> tuple[str, Arrays]:
    """Returns a series, and the answer to its record as an evaluation gives it."""
    data = source.experiment.data
    record = next(iter(pipeline.records(folder, "test", convert.fields_of(data))))
    asked = task_module.answering(source.networks[0], source.task, data, source.experiment.inference)
    found = asked(record["values"][None], record["spacing_mm"][None])
    return record["series_uid"].numpy().decode(), {name: value.numpy() for name, value in found.items()}


def acquired(made: MadeUp, series: str) -> Arrays:
    """Returns what a client sends of a series' DICOM."""
    paths = next(one.paths for one in scan.series(scan.find(made.dicom))[0] if one.uid == series and one.is_image)
    (volume,) = read_volumes(paths)
    image, spacing = volume.array.astype(np.float32), np.array(volume.spacing_mm, np.float32)
    if made.experiment.data.kind == "radiograph":
        image, spacing = image[0], spacing[1:]
    return {"image": image[None, ..., None], "spacing_mm": spacing[None]}


def over_grpc(server: running.Running, inputs: Arrays) -> Arrays:
    asked = predict_pb2.PredictRequest()
    asked.model_spec.name = "m"
    for name, value in inputs.items():
        asked.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    found = server.stub.Predict(asked, timeout=60).outputs
    return {name: tf.make_ndarray(tensor) for name, tensor in found.items()}


def over_rest(server: running.Running, inputs: Arrays) -> Arrays:
    told = {name: value.tolist() for name, value in inputs.items()}  # a spacing that nobody knows is NaN there, too
    status, by_column = server.ask("/v1/models/m:predict", {"inputs": told})
    assert status == 200
    rows = [{name: value[0] for name, value in told.items()}]
    _, by_row = server.ask("/v1/models/m:predict", {"instances": rows})
    assert str(by_row["predictions"][0]) == str({name: value[0] for name, value in by_column["outputs"].items()})
    return {name: np.array(value) for name, value in by_column["outputs"].items()}


@pytest.mark.parametrize("kind", [pytest.param("volumes", marks=pytest.mark.slow), "radiographs"])
def test_a_series_gets_one_answer_on_every_way(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    made: MadeUp = request.getfixturevalue(kind)
    source = source_of(made)
    series, expected = recorded(source, made.folder)
    functions = {"serving_default": traced.functions(source, None)["serving_default"]}
    export._save(source, None, functions, tmp_path / "1")
    inputs = acquired(made, series)
    loaded = tf.saved_model.load(str(tmp_path / "1")).signatures["serving_default"]
    found = loaded(**{name: tf.constant(value) for name, value in inputs.items()})
    ways: dict[str, Arrays] = {"saved": {name: value.numpy() for name, value in found.items()}}
    with running.running([Wanted("m", tmp_path)]) as server:
        asked: list[Callable[[running.Running, Arrays], Arrays]] = [over_grpc, over_rest]
        ways |= {way.__name__: way(server, inputs) for way in asked}
    for way, answer in ways.items():
        assert set(answer) == set(expected), way
        for name, value in expected.items():
            if value.dtype.kind == "f":
                np.testing.assert_allclose(answer[name], value, rtol=1e-5, atol=1e-5, err_msg=way)
            else:
                assert np.array_equal(answer[name].astype(value.dtype), value) or _texts(answer[name], value), way
    assert len(np.unique(expected.get("mask", expected.get("probabilities")))) > 1


def _texts(found: np.ndarray, expected: np.ndarray) -> bool:
    return expected.dtype == object and found.tolist() == [[one.decode() for one in row] for row in expected.tolist()]
