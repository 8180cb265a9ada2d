"""Labels of other kinds, from a labels table to the report: convert, train, evaluate, export, serve, predict."""

import csv
import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from tensorflow.python.util import _pywrap_determinism

from radkit import config, runs, tasks
from radkit.data import convert, label_kinds, pipeline
from radkit.dicom.annotations import sr
from radkit.tasks import task as task_module
from serving import export, models, predict, server
from tests import conftest
from trainers import evaluate, train

pytestmark = pytest.mark.slow

# By name: the task, the data section, the model's settings, and the cells of a patient's image in the labels table.
# Of `rare` nobody knows anything; of `left` in every fifth image.
LABELS: dict[str, tuple[str, dict[str, Any], dict[str, Any], Any]] = {
    "multi_label": (
        "multi_label",
        {"label": "signs", "label_kind": "multi_label", "class_names": ("bright", "left", "rare")},
        {"filters": (4, 8)},
        lambda patient, number: {"bright": number, "left": "" if patient % 5 == 0 else patient % 2, "rare": ""},
    ),
    "ordinal": (
        "ordinal",
        {"label": "grade", "label_kind": "ordinal", "class_names": ("none", "mild", "severe")},
        {"filters": (4, 8), "head": "coral"},
        lambda patient, number: {"grade": ("none", "mild", "severe")[(patient + number) % 3]},
    ),
    "regression": (
        "regression",
        {
            "label": "bone age", "label_kind": "regression", "class_names": (), "label_unit": "years",
            "label_range": (0.0, 20.0),
        },
        {"filters": (4, 8)},
        lambda patient, number: {"bone age": 2.5 + patient + 0.25 * number},
    ),
    "fusion": (
        "classification",
        {"table": ("age_years", "sex")},  # the made-up headers tell no age
        {"backbone": "resnet", "backbone_settings": {"filters": (4, 8), "blocks": (1, 1)}, "table_units": (4,)},
        lambda patient, number: {"bright": ("no", "yes")[number]},
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Done:
    """What became of one task."""

    experiment: config.Experiment
    folder: Path
    run: Path
    evaluation: Path
    predicted: Path


@pytest.fixture(scope="module", params=sorted(LABELS))
def done(
    request: pytest.FixtureRequest, radiographs: conftest.MadeUp, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Done]:
    base = tmp_path_factory.mktemp(request.param)
    experiment = _experiment(request.param, radiographs.experiment)
    labels = _table(base / "labels.csv", LABELS[request.param][-1])
    made = dataclasses.replace(radiographs, experiment=experiment, labels=labels)
    policy = keras.mixed_precision.global_policy()
    folder = conftest.convert(made, base / "records")
    run, evaluation, predicted = base / "run", base / "evaluation", base / "predicted"
    said = [f"--config={made.config_file(base)}", f"--input={folder}", f"--output={run}"]
    assert train.main(["train", *said]) == 0
    assert evaluate.main(["evaluate", f"--run={run}", f"--input={folder}", f"--output={evaluation}"]) == 0
    assert export.main(["export", f"--run={run}", f"--output={base / 'model'}"]) == 0
    loaded = {request.param: models.load(base / "model")}
    started, port = server.start(loaded, "127.0.0.1", 0, workers=2, max_message_bytes=4 << 20)
    asked = [f"--server=127.0.0.1:{port}", f"--model={request.param}", f"--input={made.dicom}"]
    assert predict.main(["predict", *asked, f"--output={predicted}"]) == 0
    yield Done(experiment, folder, run, evaluation, predicted)
    started.stop(None).wait()
    keras.mixed_precision.set_global_policy(policy)
    _pywrap_determinism.enable(False)


def _experiment(name: str, like: config.Experiment) -> config.Experiment:
    task, data, settings, _ = LABELS[name]
    return dataclasses.replace(
        like,
        data=dataclasses.replace(like.data, dataset=name, **data),
        model=config.Model("fusion" if name == "fusion" else "resnet", settings),
        task=config.Task(task),
        augment=config.Augment(),
        trainer=dataclasses.replace(like.trainer, steps=2, evaluate_every=2),
    )


def _table(path: Path, cells: Any) -> Path:
    rows = [
        {"SeriesInstanceUID": conftest.header("CR", patient, number)["SeriesInstanceUID"], **cells(patient, number)}
        for patient in range(conftest.NUM_PATIENTS)
        for number in range(2)
    ]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_the_report_of_a_dicom_series_is_the_answer_to_its_record(done: Done) -> None:
    task = tasks.of(done.experiment)
    network = runs.new_network(done.experiment, task)
    runs.load_weights(network, done.run)
    answer_images = task_module.answering(network, task, done.experiment.data)
    seen = 0
    for record in pipeline.records(done.folder, "test", convert.fields_of(done.experiment.data)):
        expected = answer_images(*_asked(record, done.experiment.data))
        folder = done.predicted / record["series_uid"].numpy().decode()
        told = json.loads((folder / "answer.json").read_text(), parse_constant=pytest.fail)
        found = told["values"] if "values" in expected else told["probabilities"]
        figures = expected["values"] if "values" in expected else expected["probabilities"]
        names = [name.decode() for name in expected["class_names"].numpy()[0]]
        assert told["class_names"] == names
        np.testing.assert_allclose([found[name] for name in names], figures.numpy()[0], rtol=1e-6, atol=1e-6)
        _check_words(told, done.experiment)
        _check_report(told, done.experiment, folder)
        seen += 1
    assert seen
    if done.experiment.data.table:
        _check_table(answer_images)


def _asked(record: dict[str, Any], data: config.Data) -> list[Any]:
    given = [record["values"][None], record["spacing_mm"][None]]
    if data.table:
        sex = {"F": -1, "M": 1}[record["sex"].numpy().decode()]
        given.append(np.array([[np.nan, sex]], np.float32))
    return given


def _check_table(answer_images: task_module.Answer) -> None:
    """What stands in the table changes the answer to one image, and so does what is not known."""
    image, spacing = np.full((1, 30, 30, 1), 500, np.float32), np.ones((1, 2), np.float32)
    asked = [[61, -1], [61, 1], [20, 1], [np.nan, 1]]
    found = [answer_images(image, spacing, np.array([row], np.float32))["probabilities"].numpy()[0, 0] for row in asked]
    assert len({float(one) for one in found}) == len(asked)


def _check_words(told: dict[str, Any], experiment: config.Experiment) -> None:
    """The answer says of each kind what a reader needs beside the figures."""
    if experiment.task.name == "regression":
        assert (list(told["values"]), told["unit"]) == (["bone age"], "years")
        assert "probabilities" not in told
    elif experiment.task.name == "multi_label":
        assert set(told["probabilities"]) == {"bright", "left", "rare"}
        assert not {"at_least", "degree", "unit"} & set(told)
    elif experiment.task.name == "ordinal":
        shares = told["probabilities"]
        assert sum(shares.values()) == pytest.approx(1, abs=1e-6)
        assert told["at_least"] == pytest.approx(
            {"mild": shares["mild"] + shares["severe"], "severe": shares["severe"]}
        )
        in_order = [shares[name] for name in told["class_names"]]
        assert told["degree"] == told["class_names"][label_kinds.middle_degree(in_order)]


def _check_report(told: dict[str, Any], experiment: config.Experiment, folder: Path) -> None:
    assert told["report"] == "measurements.dcm"
    measured = sr.measurements(folder / told["report"])
    numbers = {(one.name, one.finding): (one.value, one.unit) for one in measured if not one.text}
    if experiment.task.name == "regression":
        assert numbers == {("bone age", "bone age"): (pytest.approx(told["values"]["bone age"], rel=1e-9), "a")}
        return
    shares = told["probabilities"]
    expected = {("Probability", n): (pytest.approx(p, rel=1e-9, abs=1e-15), "1") for n, p in shares.items()}
    thresholds, called = told.get("thresholds", {}), told.get("called", {})  # where the evaluation chose some
    expected |= {("threshold of the operating point", n): (v, "1") for n, v in thresholds.items() if v is not None}
    assert numbers == expected
    judged = [(one.name, one.text) for one in measured if one.text and one.name != "call at the operating point"]
    assert judged == ([("grade", told["degree"])] if experiment.task.name == "ordinal" else [])
    calls = {one.finding: one.text for one in measured if one.name == "call at the operating point"}
    assert calls == {n: "positive" if call else "negative" for n, call in called.items() if call is not None}


def test_an_evaluation_tells_its_figures_and_counts_what_nobody_knows(done: Done) -> None:
    summary = json.loads((done.evaluation / "summary.json").read_text(), parse_constant=pytest.fail)
    rows = list(csv.DictReader((done.evaluation / "cases.csv").read_text().splitlines()))
    assert len(rows) == summary["num_cases"] > 0
    page = (done.evaluation / "report.html").read_text()
    if done.experiment.task.name == "multi_label":
        assert {row["label rare"] for row in rows} == {"-1"}
        assert summary["figures"]["AUC, rare"] == {"value": None, "low": None, "high": None, "undefined": len(rows)}
        assert "rare" in page
    elif done.experiment.task.name == "ordinal":
        assert summary["figures"]["mean error in degrees"]["value"] == pytest.approx(
            np.mean([int(row["error"]) for row in rows])
        )
        assert "called severe" in page
    elif done.experiment.task.name == "regression":
        assert summary["unit"] == "years"
        assert "years" in page
