"""The whole chain on a small subset, and what outside programs rely on in its results."""

import hashlib
import json
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.evaluation import recomputed

VOLUMES, RADIOGRAPHS, STEPS = 12, 48, 2

pytestmark = pytest.mark.xdist_group("chain")


def radkit(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "radkit", *map(str, arguments)], capture_output=True, text=True)


def python(code: str, *arguments: str | Path) -> str:
    """Runs code in a fresh process and returns what it prints."""
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def run_demo(output: Path) -> str:
    small = (f"--volumes={VOLUMES}", f"--radiographs={RADIOGRAPHS}", f"--steps={STEPS}", "--processes=2")
    done = radkit("demo", f"--output={output}", *small)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    output = tmp_path_factory.mktemp("chain") / "demo"
    return output, run_demo(output)


def version_folder(output: Path, task: str) -> Path:
    return output / "records" / task / "1.0.0"


def test_every_verb_runs_and_the_table_and_the_page_say_so(chain: tuple[Path, str]) -> None:
    output, printed = chain
    table = printed[printed.index("main figure") :]
    verbs = (
        "index", "anonymize", "curate", "convert", "statistics", "check-leakage", "train", "evaluate", "export",
        "serve", "predict",
    )  # fmt: skip
    assert all(re.search(rf"^{verb} ", table, re.MULTILINE) for verb in verbs)
    page = (output / "demo.html").read_text()
    assert page.count("<img") >= 10
    assert "confounded" in page or "go together with how the images were taken" in page
    assert 'href="quality/quality.html"' in page
    assert (output / "quality" / "quality.html").is_file()
    assert {"AP", "PA"} <= set(re.findall(r'<th scope="row"[^>]*>(AP|PA)</th>', page))


def test_no_invented_identity_is_left_after_anonymize(chain: tuple[Path, str]) -> None:
    output, _ = chain
    raw = next((output / "hospital").rglob("0001.dcm"))
    import pydicom

    header = pydicom.dcmread(raw, stop_before_pixels=True)
    values = [str(header.PatientName), header.PatientID, header.PatientAddress, header.InstitutionName]
    assert len(set(values)) == 4
    files = [
        p
        for folder in ("clean", "quality", "records", "runs", "models", "answers")
        for p in (output / folder).rglob("*")
    ]
    for path in files:
        contents = path.read_bytes() if path.is_file() else b""
        assert not [v for v in values if v.encode() in contents or v in path.name], path


def test_nothing_is_wrong_with_the_demo_s_images_and_every_volume_of_its_own_is_kept(chain: tuple[Path, str]) -> None:
    output, _ = chain
    told = json.loads((output / "quality" / "summary.json").read_text())
    # Beside the tasks' own: a head in MR, on which other labels are drawn, and a CT.
    assert (told["kept"], told["left_out_by_reason"]) == (VOLUMES + 1, {"modality_not_asked": RADIOGRAPHS + 1})
    assert told["with_faults"] == 0
    assert set(told["series_by_finding"]) <= {"images_without_labels", "unusual_series", "modality_not_asked"}


def test_no_patient_is_on_two_sides(chain: tuple[Path, str]) -> None:
    output, _ = chain
    for task in ("hippocampus", "chest"):
        patients = json.loads((version_folder(output, task) / "patients.json").read_text())
        everyone = [p for split in patients.values() for p in split]
        assert len(everyone) == len(set(everyone)) > 0


def test_tfds_reads_the_records_without_radkit(chain: tuple[Path, str]) -> None:
    output, _ = chain
    printed = python(
        """
        import sys
        sys.modules["radkit"] = None  # importing it would raise
        import tensorflow_datasets as tfds
        for folder in sys.argv[1:]:
            builder = tfds.builder_from_directory(folder)
            records = list(tfds.as_numpy(builder.as_dataset(split="train+validation+test")))
            shapes = {(r["image"].ndim, r.get("mask", r["image"]).shape == r["image"].shape) for r in records}
            print(len(records), builder.info.name, shapes, len(list(builder.as_dataset(split="train[:50%]"))) > 0)
        """,
        version_folder(output, "hippocampus"),
        version_folder(output, "chest"),
    )
    assert printed.splitlines() == [
        f"{VOLUMES} hippocampus {{(4, True)}} True",
        f"{RADIOGRAPHS} chest {{(3, True)}} True",
    ]


def test_the_saved_models_answer_where_keras_cannot_be_imported(chain: tuple[Path, str]) -> None:
    output, _ = chain
    printed = python(
        """
        import sys
        sys.modules["keras"] = None  # importing it would raise
        import tensorflow as tf
        for folder, size in ((sys.argv[1], (29, 41, 33)), (sys.argv[2], (301, 250))):
            served = tf.saved_model.load(folder).signatures["serving_default"]
            answer = served(image=tf.random.normal((2, *size, 1)), spacing_mm=tf.ones((2, len(size))))
            print(sorted((name, tuple(value.shape)) for name, value in answer.items()))
        """,
        output / "models" / "hippocampus" / "1",
        output / "models" / "chest" / "1",
    )
    assert printed.splitlines() == [
        "[('class_names', (2, 2)), ('mask', (2, 29, 41, 33))]",
        "[('calls', (2, 2)), ('class_names', (2, 2)), ('probabilities', (2, 2)), ('thresholds', (2, 2))]",
    ]


@pytest.fixture(scope="module")
def server(chain: tuple[Path, str]) -> Iterator[str]:
    output, _ = chain
    models = [f"--model={task}={output / 'models' / task}" for task in ("hippocampus", "chest")]
    command = [sys.executable, "-m", "radkit", "serve", *models, "--port=0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in models]
        yield lines[-1].split()[-1]
        process.terminate()


@pytest.mark.filterwarnings("ignore")  # the stock stubs' own
def test_the_stock_client_gets_the_direct_calls_answer(chain: tuple[Path, str], server: str) -> None:
    import grpc
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

    output, _ = chain
    random = np.random.default_rng(0)
    for task, size in (("hippocampus", (35, 51, 35)), ("chest", (256, 256))):
        image = random.normal(100, 30, (1, *size, 1)).astype(np.float32)
        inputs = {"image": image, "spacing_mm": np.ones((1, len(size)), np.float32)}
        request = predict_pb2.PredictRequest()
        request.model_spec.name = task
        for name, value in inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
        with grpc.insecure_channel(server) as channel:
            reply = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(request, timeout=60)
        loaded = tf.saved_model.load(str(output / "models" / task / "1"))
        direct = loaded.signatures["serving_default"](**{k: tf.constant(v) for k, v in inputs.items()})
        assert set(reply.outputs) == set(direct)
        for name, value in direct.items():
            served = tf.make_ndarray(reply.outputs[name])
            if value.dtype == tf.string:
                assert (served == value.numpy()).all()
            else:
                np.testing.assert_allclose(served.astype(np.float64), value.numpy().astype(np.float64), atol=1e-5)


def test_predict_loads_no_tensorflow_and_writes_a_segmentation(
    chain: tuple[Path, str], server: str, tmp_path: Path
) -> None:
    output, _ = chain
    patients = json.loads((version_folder(output, "hippocampus") / "patients.json").read_text())
    case = output / "clean" / next(p for split in patients.values() for p in split)
    printed = python(
        """
        import sys
        from radkit import cli
        status = cli.main(["radkit", "predict", *sys.argv[1:]])
        print(status, sorted({"tensorflow", "keras"} & set(sys.modules)))
        """,
        f"--server={server}",
        "--model=hippocampus",
        f"--input={case}",
        f"--output={tmp_path / 'answers'}",
    )
    assert printed.splitlines()[-1] == "0 []"
    (answer,) = (json.loads(path.read_text()) for path in (tmp_path / "answers").rglob("answer.json"))
    assert set(answer["volume_ml"]) == {"Anterior hippocampus", "Posterior hippocampus"}


def test_one_series_gets_the_same_answer_both_ways(chain: tuple[Path, str], server: str) -> None:
    """DICOM -> client -> server equals record -> the function that evaluation calls: no skew."""
    output, _ = chain
    printed = python(
        """
        import sys, numpy as np
        from pathlib import Path
        from radkit import runs, tasks
        from radkit.data import convert
        from radkit.dicom import read_volumes, scan
        from radkit.tasks import task as task_module
        from trainers import scoring
        from serving import client
        output, server = Path(sys.argv[1]), sys.argv[2]
        found, _ = scan.series(scan.find(output / "clean"))
        images = {s.uid: s.paths for s in found}
        for name in ("hippocampus", "chest"):
            run = output / "runs" / name
            experiment = runs.experiment(run)
            task = tasks.find(experiment.task.name)
            network = runs.new_network(experiment, task)
            runs.load_weights(network, run)
            answering = task_module.answering(network, task, experiment.data)
            folder = output / "records" / name / "1.0.0"
            chosen = scoring.Cases(folder, "train", experiment.data, task)
            _, record, expected = next(scoring._answered(answering, chosen))
            volume = read_volumes(images[record["series_uid"]])[0]
            rank = len(experiment.data.image_size)
            image = volume.array[..., None] if rank == 3 else volume.array[0][..., None]
            spacing = np.asarray(volume.spacing_mm[-rank:], np.float32)
            served = client.Client(server).predict(name, {"image": image[None], "spacing_mm": spacing[None]})
            for key in set(expected) - {"class_names"}:
                a, b = np.asarray(expected[key], np.float64), np.asarray(served[key][0], np.float64)
                print(name, key, a.shape == b.shape, float(np.abs(a - b).max()) <= 1e-5)
        """,
        output,
        server,
    )
    assert printed.splitlines() == ["hippocampus mask True True", "chest probabilities True True"]


def digests(output: Path) -> dict[str, str]:
    """Of everything that must come out the same again: records, splits, figures."""
    kept = [*(output / "records").rglob("*"), *(output / "evaluation").rglob("*")]
    return {
        str(p.relative_to(output)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in kept
        if p.is_file() and p.suffix != ".html"
    }


@pytest.mark.slow
def test_a_second_demo_gives_the_same_splits_records_and_figures(chain: tuple[Path, str], tmp_path: Path) -> None:
    run_demo(tmp_path / "again")
    assert digests(tmp_path / "again") == digests(chain[0])


def test_a_folder_that_is_no_demo_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    done = radkit("demo", f"--output={tmp_path}")
    assert done.returncode == 2
    assert "exists and is no demo" in done.stderr
    assert (tmp_path / "mine.txt").read_text() == "keep"


def summary(output: Path, task: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((output / "evaluation" / task / "summary.json").read_text())
    return found


@pytest.mark.slow
def test_every_number_of_the_reports_is_computed_again_from_the_tables(chain: tuple[Path, str]) -> None:
    output, _ = chain
    for task in ("hippocampus", "chest"):
        ledger = recomputed.recompute(output / "evaluation" / task)
        assert (ledger.wrong, ledger.unseen()) == ([], []), task
        assert len(ledger.seen) > 200


def test_evaluation_gives_intervals_and_the_trivial_baseline(chain: tuple[Path, str]) -> None:
    output, _ = chain
    assert {"value", "low", "high"} <= set(summary(output, "hippocampus")["figures"]["mean Dice"])
    assert "AUC of mean brightness alone" in summary(output, "chest")["figures"]
