"""The SavedModel: answers as evaluation does, without Keras, and is refused when it does not."""

import json
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import prediction_log_pb2

from radkit import config, outputs, runs, tasks
from radkit.data import convert, pipeline, records, shards
from radkit.dicom import read_volumes, scan
from radkit.errors import UserError
from radkit.tasks import task as task_module
from serving import export
from tests.conftest import MadeUp

PAIRS = [("segmentation", "volumes"), ("classification", "radiographs")]


@pytest.fixture(scope="module")
def run_folders(run_folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The shared runs without operating points: tests of evaluate may have set them before, or may not."""
    base, others = tmp_path_factory.mktemp("runs"), shutil.ignore_patterns(runs.OPERATING_POINTS)
    return {task: shutil.copytree(run, base / task, ignore=others) for task, run in run_folders.items()}


@pytest.fixture(scope="module")
def models(run_folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The export of each task's run, by the task's name."""
    base = tmp_path_factory.mktemp("models")
    policy = keras.mixed_precision.global_policy()
    for task, run in run_folders.items():
        assert export.main(["export", f"--run={run}", f"--output={base / task}"]) == 0
    keras.mixed_precision.set_global_policy(policy)
    return {task: base / task / "1" for task in run_folders}


@cache
def loaded(model: Path) -> Any:
    return tf.saved_model.load(str(model))


def called(model: Path, signature: str, **inputs: Any) -> dict[str, np.ndarray]:
    found = loaded(model).signatures[signature](**{name: tf.constant(value) for name, value in inputs.items()})
    return {name: value.numpy() for name, value in found.items()}


def answers(model: Path, image: np.ndarray, spacing: np.ndarray) -> dict[str, np.ndarray]:
    return called(model, "serving_default", image=image, spacing_mm=spacing)


@pytest.fixture
def made(request: pytest.FixtureRequest) -> MadeUp:
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize(("task", "made"), PAIRS, indirect=["made"])
class TestEveryTask:
    def test_the_signature_is_the_contract(self, task: str, made: MadeUp, models: dict[str, Path]) -> None:
        rank = len(made.experiment.data.image_size)
        kept = loaded(models[task])
        of_task = {"classify"} if task == "classification" else set()
        assert set(kept.signatures) == {"serving_default", "stored", "examples", "records", *of_task}
        told = kept.signatures["records"](spacing_mm=tf.ones((2, rank)))["data"].numpy().tolist()
        assert [config.data_from_json(json.loads(text)) for text in told] == [made.experiment.data] * 2
        signature = kept.signatures["serving_default"]
        inputs = signature.structured_input_signature[1]
        assert set(inputs) == {"image", "spacing_mm"}
        assert inputs["image"].shape.as_list() == [None] * (rank + 1) + [1]
        assert inputs["spacing_mm"].shape.as_list() == [None, rank]
        assert {spec.dtype for spec in inputs.values()} == {tf.float32}
        answer = "mask" if task == "segmentation" else "probabilities"
        assert set(signature.structured_outputs) == {answer, "class_names"}
        assert signature.structured_outputs[answer].dtype == (tf.uint8 if answer == "mask" else tf.float32)

    def test_it_says_what_it_is_and_whom_it_learnt_from(
        self, task: str, made: MadeUp, models: dict[str, Path], run_folders: dict[str, Path]
    ) -> None:
        said = json.loads((models[task] / "assets" / "model.json").read_text(), parse_constant=pytest.fail)
        assert said["run"] == runs.manifest(run_folders[task])
        assert said["run"]["patients"]["train"]
        assert said["experiment"]["data"]["dataset"] == made.experiment.data.dataset
        assert {p.name for p in models[task].iterdir()} >= {"saved_model.pb", "variables", "assets", "provenance.json"}
        assert not (models[task] / "model.json").exists()

    def test_a_dicom_series_is_answered_as_its_record_is(
        self, task: str, made: MadeUp, models: dict[str, Path], run_folders: dict[str, Path]
    ) -> None:
        experiment = runs.experiment(run_folders[task])
        named = tasks.find(task)
        network = runs.new_network(experiment, named)
        runs.load_weights(network, run_folders[task])
        evaluated = task_module.answering(network, named, experiment.data)
        by_series = {s.uid: s for s in scan.series(scan.find(made.dicom))[0] if s.is_image}
        seen = 0
        for record in pipeline.records(made.folder, "test", convert.fields_of(experiment.data)):
            expected = evaluated(record["values"][None], record["spacing_mm"][None])
            (volume,) = read_volumes(by_series[record["series_uid"].numpy().decode()].paths)
            image, spacing = volume.array, np.array(volume.spacing_mm, np.float32)
            if made.experiment.data.kind == "radiograph":
                image, spacing = image[0], spacing[1:]
            found = answers(models[task], image[None, ..., None], spacing[None])
            assert set(found) == set(expected)
            for name, value in expected.items():
                if value.dtype == tf.float32:
                    np.testing.assert_allclose(found[name], value, rtol=1e-5, atol=1e-6)
                else:
                    np.testing.assert_array_equal(found[name], value)
            seen += 1
        assert seen

    @pytest.mark.parametrize("sizes", [(1, 1, 1), (5, 17, 3), (31, 2, 9)])
    def test_odd_sizes_come_back_as_they_went(
        self, task: str, made: MadeUp, models: dict[str, Path], sizes: tuple[int, ...]
    ) -> None:
        rank = len(made.experiment.data.image_size)
        image = np.random.default_rng(0).normal(100, 50, (1, *sizes[:rank], 1)).astype(np.float32)
        found = answers(models[task], image, np.full((1, rank), 1.7, np.float32))
        if task == "segmentation":
            assert found["mask"].shape == (1, *sizes[:rank])
        else:
            np.testing.assert_allclose(found["probabilities"].sum(), 1.0, rtol=1e-5)

    def test_an_image_of_a_batch_is_answered_as_alone(self, task: str, made: MadeUp, models: dict[str, Path]) -> None:
        rank = len(made.experiment.data.image_size)
        image = np.random.default_rng(0).normal(100, 50, (2, *(9, 14, 11)[:rank], 1)).astype(np.float32)
        spacing = np.full((2, rank), 1.5, np.float32)
        both = answers(models[task], image, spacing)
        for i in range(2):
            alone = answers(models[task], image[i : i + 1], spacing[:1])
            for name, value in alone.items():
                if value.dtype.kind == "f":
                    np.testing.assert_allclose(both[name][i], value[0], rtol=1e-4)
                else:
                    assert np.mean(both[name][i] == value[0]) > 0.999


@pytest.mark.parametrize(("task", "made"), PAIRS, indirect=["made"])
class TestRecords:
    def test_they_are_answered_as_the_images_they_hold(self, task: str, made: MadeUp, models: dict[str, Path]) -> None:
        fields = convert.fields_of(made.experiment.data)
        (path,) = shards.split_files(made.folder, "test")[:1]
        raw = (
            list(shards.read_shard(path))[:1] + list(shards.read_shard(shards.split_files(made.folder, "train")[0]))[:1]
        )
        several = called(models[task], "examples", examples=np.array(raw, object))
        for number, record in enumerate(raw):
            values = records.decode(record, fields)
            mapping = [np.array(values[f"rescale_{name}"], np.float32)[None] for name in ("slope", "intercept")]
            spacing = np.array(values["spacing_mm"], np.float32)[None]
            shape = (1, -1, 1, 1, 1) if values["image"].ndim == 4 else (1, 1, 1, 1)
            image = values["image"][None].astype(np.float32) * mapping[0].reshape(shape) + mapping[1].reshape(shape)
            expected = answers(models[task], image, spacing)
            stored = called(
                models[task],
                "stored",
                image=values["image"][None],
                rescale_slope=mapping[0],
                rescale_intercept=mapping[1],
                spacing_mm=spacing,
            )
            alone = called(models[task], "examples", examples=np.array([record], object))
            for name, value in expected.items():
                cut = tuple(slice(size) for size in value.shape[1:])
                for found in (stored[name][0], alone[name][0], several[name][number][cut]):
                    if value.dtype.kind == "f":
                        np.testing.assert_allclose(found, value[0], rtol=1e-5, atol=1e-6)
                    else:
                        np.testing.assert_array_equal(found, value[0])
            if task == "segmentation":
                assert several["mask_size"][number].tolist() == list(values["image"].shape[:-1])
                beyond = np.ones(several["mask"].shape[1:], bool)
                beyond[tuple(slice(size) for size in several["mask_size"][number])] = False
                assert not several["mask"][number][beyond].any()

    def test_what_is_no_record_is_refused_in_words(self, task: str, made: MadeUp, models: dict[str, Path]) -> None:
        for given, said in (([], "at least one serialized tf.Example"), ([b"x"], "."), ([b""], "image/")):
            with pytest.raises(tf.errors.InvalidArgumentError, match=said):
                called(models[task], "examples", examples=np.array(given, object).astype(object).reshape(-1))

    def test_a_record_that_lacks_what_is_needed_is_refused_in_words(
        self, task: str, made: MadeUp, models: dict[str, Path]
    ) -> None:
        whole = tf.train.Example.FromString(next(shards.read_shard(shards.split_files(made.folder, "test")[0])))
        for name in ("rescale_slope", "rescale_intercept", "spacing_mm"):
            lacking = tf.train.Example.FromString(whole.SerializeToString())
            del lacking.features.feature[name]
            with pytest.raises(tf.errors.InvalidArgumentError, match=f"{name} must have a row for each image"):
                called(models[task], "examples", examples=np.array([lacking.SerializeToString()], object))

    def test_the_card_tells_no_patient(
        self, task: str, made: MadeUp, models: dict[str, Path], run_folders: dict[str, Path]
    ) -> None:
        page = (models[task] / "assets" / "model_card.md").read_text()
        said = json.loads((models[task] / "assets" / "model_card.json").read_text())
        patients = runs.manifest(run_folders[task])["patients"]
        assert said["data"]["patients"] == [{split: len(listed) for split, listed in patients.items()}]
        for pseudonym in {one for listed in patients.values() for one in listed}:
            assert pseudonym not in page + json.dumps(said)
        data = made.experiment.data
        names = list(data.mask_labels or data.class_names)
        assert (models[task] / "assets" / "labels.txt").read_text().splitlines() == names
        assert "No evaluation was given" in page

    def test_warm_up_requests_are_stock_ones_that_it_answers(
        self, task: str, made: MadeUp, models: dict[str, Path]
    ) -> None:
        path = models[task] / "assets.extra" / "tf_serving_warmup_requests"
        logs = [prediction_log_pb2.PredictionLog.FromString(raw) for raw in shards.read_shard(path)]
        asked = [log.predict_log.request for log in logs]
        assert {request.model_spec.name for request in asked} == {task}
        assert {request.model_spec.signature_name for request in asked} == set(loaded(models[task]).signatures) - {
            "records"
        }
        smallest = min(asked, key=lambda request: request.ByteSize())
        given = {name: tf.make_ndarray(tensor) for name, tensor in smallest.inputs.items()}
        assert called(models[task], smallest.model_spec.signature_name, **given)


def test_classify_gives_classes_and_scores_and_bears_the_stock_method(
    models: dict[str, Path], radiographs: MadeUp
) -> None:
    record = next(shards.read_shard(shards.split_files(radiographs.folder, "test")[0]))
    found = called(models["classification"], "classify", inputs=np.array([record, record], object))
    whole = called(models["classification"], "examples", examples=np.array([record], object))
    assert found["classes"].tolist() == [[b"no", b"yes"]] * 2
    np.testing.assert_allclose(found["scores"], whole["probabilities"].repeat(2, 0), rtol=1e-5)
    saved = saved_model_pb2.SavedModel.FromString((models["classification"] / "saved_model.pb").read_bytes())
    assert saved.meta_graphs[0].signature_def["classify"].method_name == "tensorflow/serving/classify"


def test_a_spacing_that_is_none_is_an_error_and_no_answer(models: dict[str, Path]) -> None:
    image = np.zeros((1, 8, 8, 8, 1), np.float32)
    for spacing in ([np.nan, 1, 1], [0, 1, 1], [-1, 1, 1], [np.inf, 1, 1]):
        with pytest.raises(tf.errors.InvalidArgumentError, match="spacing_mm must be numbers"):
            answers(models["segmentation"], image, np.array([spacing], np.float32))


def test_what_a_session_is_fed_is_refused_in_words(models: dict[str, Path]) -> None:
    # As TensorFlow Serving feeds it: nothing looks at the signature's shapes on the way.
    graph = tf.Graph()
    with graph.as_default(), tf.compat.v1.Session() as session:
        meta = tf.compat.v1.saved_model.load(session, ["serve"], str(models["classification"]))
        signature = meta.signature_def["serving_default"]
        fed = [graph.get_tensor_by_name(signature.inputs[name].name).ref() for name in ("image", "spacing_mm")]
        fetch = graph.get_tensor_by_name(signature.outputs["probabilities"].name)
        good = {"image": np.zeros((1, 9, 8, 1), np.float32), "spacing_mm": np.full((1, 2), np.nan, np.float32)}
        bad = {
            "image must have 1 channel": {"image": np.zeros((1, 9, 8, 3), np.float32)},
            "image must have no size of 0": {"image": np.zeros((1, 0, 8, 1), np.float32)},
            "image must have 4 axes": {"image": np.zeros((9, 8, 1), np.float32)},
            "so many of its pixels are nan": {"image": np.full((1, 9, 8, 1), np.inf, np.float32)},
            "spacing_mm must be numbers > 0": {"spacing_mm": np.zeros((1, 2), np.float32)},
            "spacing_mm must have a row for each image": {"spacing_mm": np.ones((2, 2), np.float32)},
        }

        def ask(given: dict[str, np.ndarray]) -> Any:
            feeds = dict(zip(fed, (given["image"], given["spacing_mm"])))
            return session._do_run(None, [], [fetch], feeds, None, None)  # `run` would look at the shapes

        assert ask(good)[0].shape == (1, 2)
        for said, changed in bad.items():
            with pytest.raises(Exception, match=said):
                ask({**good, **changed})


class TestGate:
    def refused(self, run: Path, output: Path, capsys: pytest.CaptureFixture[str]) -> str:
        assert export.main(["export", f"--run={run}", f"--output={output}"]) == 2
        assert not output.exists() or not list(output.iterdir())
        return capsys.readouterr().err

    def spoil(self, monkeypatch: pytest.MonkeyPatch, change: Any) -> None:
        whole = task_module.answer

        def spoiled(*arguments: Any) -> dict[str, tf.Tensor]:
            found = whole(*arguments)
            return {**found, "probabilities": change(found["probabilities"])}

        monkeypatch.setattr(task_module, "answer", spoiled)

    def test_an_answer_that_is_drawn_is_refused(
        self,
        run_folders: dict[str, Path],
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        self.spoil(monkeypatch, lambda p: p + tf.random.uniform(tf.shape(p)))
        said = self.refused(run_folders["classification"], tmp_path / "models", capsys)
        assert "two different answers (probabilities) to the same image" in said

    def test_an_export_that_answers_otherwise_is_refused(
        self,
        run_folders: dict[str, Path],
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        # The saved copy of this counter begins at 0 again; the one in this process has gone on.
        calls = tf.Variable(0.0)
        self.spoil(monkeypatch, lambda p: p + calls)
        save = tf.saved_model.save

        def save_and_go_on(*arguments: Any, **more: Any) -> None:
            arguments[0].calls = calls
            save(*arguments, **more)
            calls.assign(0.5)

        monkeypatch.setattr(tf.saved_model, "save", save_and_go_on)
        said = self.refused(run_folders["classification"], tmp_path / "models", capsys)
        assert "the export's probabilities differs from the run's" in said


class TestVersions:
    def test_the_next_free_number_is_taken(
        self, run_folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "m" / "7").mkdir(parents=True)
        (tmp_path / "m" / "notes").mkdir()
        (tmp_path / "m" / "7" / "x").write_text("")
        said = ["export", f"--run={run_folders['classification']}", f"--output={tmp_path / 'm'}"]
        assert export.main(said) == 0
        assert (tmp_path / "m" / "8" / "saved_model.pb").is_file()
        before = (tmp_path / "m" / "8" / "saved_model.pb").stat().st_mtime_ns
        assert export.main([*said, "--version=8"]) == 0  # done already
        assert (tmp_path / "m" / "8" / "saved_model.pb").stat().st_mtime_ns == before
        assert outputs.read_provenance(tmp_path / "m" / "8")["verb"] == "export"
        capsys.readouterr()
        assert export.main([*said, "--version=7"]) == 2
        assert "radkit did not write it" in capsys.readouterr().err
        assert export.main([*said, "--version=0"]) == 2

    @pytest.mark.parametrize("there", ["\N{SUPERSCRIPT TWO}", "\N{ARABIC-INDIC DIGIT THREE}", "9" * 20])
    def test_what_no_server_counts_is_no_version(self, tmp_path: Path, there: str) -> None:
        (tmp_path / there).mkdir()
        assert export._target(tmp_path, None) == tmp_path / "1"

    def test_a_number_beyond_64_bits_is_refused(self, tmp_path: Path) -> None:
        most = 2**63 - 1
        assert export._target(tmp_path, most).name == str(most)
        with pytest.raises(UserError, match="--version must be at least 1 and at most"):
            export._target(tmp_path, most + 1)
        (tmp_path / str(most)).mkdir()
        with pytest.raises(UserError, match="the largest there can be"):
            export._target(tmp_path, None)

    @pytest.mark.parametrize("flag", ["--input=records", "--tolerance=0.5"])
    def test_a_flag_that_would_change_nothing_is_refused(
        self, run_folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], flag: str
    ) -> None:
        said = ["export", f"--run={run_folders['classification']}", f"--output={tmp_path / 'm'}", flag]
        assert export.main(said) == 2
        assert f"{flag.partition('=')[0]} would change nothing" in capsys.readouterr().err

    def test_an_unfinished_run_is_refused(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert export.main(["export", f"--run={tmp_path}", f"--output={tmp_path / 'm'}"]) == 2
        assert "is no finished run" in capsys.readouterr().err
        assert not (tmp_path / "m").exists()
