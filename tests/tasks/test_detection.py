"""Detection's answer on the image's own grid, its figures, and a whole run on planted boxes."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from radkit import config, losses, runs, tasks
from radkit.dicom import write
from radkit.errors import UserError
from radkit.evaluation import cases as evaluated
from radkit.evaluation import measures
from radkit.losses import detection as of_boxes
from radkit.tasks import detection, learning, task
from tests import conftest
from tests.evaluation import recomputed

VOLUME = config.Data(
    "v", box_labels=("nodule", "node", "unsure"), ignored_boxes=("unsure",), image_size=(8, 12, 12), size_multiple=4,
    normalise="none",
)  # fmt: skip
RADIOGRAPH = config.Data("r", kind="radiograph", box_labels=("a", "b"), image_size=(20, 20), normalise="none")
SMALL = {"encoder": "resnet", "encoder_settings": {"filters": (8, 16, 16), "blocks": (1, 1, 1)}, "levels": (2, 3)}
TASK = detection.TASK


def seeing(image: Any, training: bool) -> dict[str, Any]:
    """A network that answers the box around what is bright, and a box in the corner behind."""
    assert not training
    bright, rank = image[..., 0] > 50.0, len(image.shape) - 2
    low, high = [], []
    for axis in range(rank):
        along = tf.cast(tf.reduce_any(bright, [1 + other for other in range(rank) if other != axis]), tf.float32)
        place = tf.range(tf.shape(along)[1], dtype=tf.float32)[None]
        low.append(tf.reduce_min(tf.where(along > 0, place, 1e6), 1))
        high.append(tf.reduce_max(tf.where(along > 0, place + 1.0, 0.0), 1))
    box = tf.stack(low + high, -1)
    end = tf.cast(tf.shape(image)[1:-1], tf.float32)
    corner = tf.tile(tf.concat([end - 0.75, end + 5.0], 0)[None], [tf.shape(image)[0], 1])
    scores = tf.tile([[[0.0, 0.9], [0.6, 0.0]]], [tf.shape(image)[0], 1, 1])
    return {"boxes": tf.stack([box, corner], 1), "scores": scores}


def answered(image: np.ndarray, data: config.Data, spacing: tuple[float, ...]) -> dict[str, Any]:
    asked = tf.constant(image[None, ..., None], tf.float32)
    found = task.answer(seeing, TASK, data, asked, tf.constant([spacing], tf.float32), config.Inference())
    return {name: value[0].numpy() for name, value in found.items()}


@pytest.mark.parametrize("sizes", [(7, 11, 13), (8, 12, 12), (21, 17, 30)])
def test_boxes_are_in_the_voxels_of_the_image_that_came_in(sizes: tuple[int, ...]) -> None:
    image = np.zeros(sizes, np.float32)
    image[2:5, 3:9, 6:10] = 100
    found = answered(image, VOLUME, (2.0, 1.0, 1.0))
    boxes = found["boxes"][found["labels"] == 1]
    np.testing.assert_allclose(boxes[0], [2, 3, 6, 5, 9, 10], atol=1e-4)
    assert found["class_names"].tolist() == [b"nodule", b"node"]
    assert found["labels"].dtype == np.int32
    assert (found["boxes"][:, 3:] <= sizes).all(), "boxes are cut at the image's border"
    count = int(found["count"])
    assert count == int((found["labels"] >= 0).sum())
    assert (found["labels"][:count] >= 0).all()
    # What lies wholly in the padding is not answered.
    in_padding = any(size % 4 or size < least for size, least in zip(sizes, VOLUME.image_size))
    assert (0 in found["labels"]) != in_padding


def test_boxes_of_a_scaled_radiograph_and_of_a_resampled_volume_come_back() -> None:
    image = np.zeros((40, 60), np.float32)
    image[12:24, 30:48] = 100
    box = answered(image, RADIOGRAPH, (math.nan, math.nan))["boxes"]
    assert min(np.abs(one - [12, 30, 24, 48]).max() for one in box) <= 3  # pixels of the network are of three
    image = np.zeros((6, 20, 20), np.float32)
    image[2:4, 4:12, 6:16] = 100
    data = dataclasses.replace(VOLUME, spacing_mm=(2.0, 1.0, 1.0), image_size=(4, 8, 8))
    box = answered(image, data, (4.0, 0.5, 0.5))["boxes"]
    assert min(np.abs(one - [2, 4, 6, 4, 12, 16]).max() for one in box) <= 1


def test_the_compiled_answer_goes_through_windows_of_any_image() -> None:
    asked = config.Inference(window=(8, 12, 12), overlap=0.5, flips=(False, False, True))
    data = dataclasses.replace(VOLUME, size_multiple=1)
    compiled = task.answering(seeing, TASK, data, asked)
    for sizes in ((9, 20, 17), (6, 11, 30)):
        image = np.zeros((1, *sizes, 1), np.float32)
        image[0, 1:4, 3:7, 8:12] = 100
        found = {name: value[0].numpy() for name, value in compiled(image, np.ones((1, 3), np.float32)).items()}
        np.testing.assert_allclose(found["boxes"][found["labels"] == 1], [[1, 3, 8, 4, 7, 12]], atol=1e-4)


def test_the_loss_is_the_models_unless_the_config_names_another() -> None:
    random = np.random.default_rng(0)
    low = random.uniform(0, 10, (2, 30, 2))
    anchors = tf.constant(np.concatenate([low, low + 4], -1), tf.float32)
    outputs = {
        "anchors": anchors, "boxes": anchors, "levels": tf.zeros((2, 30), tf.int32), "deltas": tf.zeros((2, 30, 4)),
        "logits": tf.constant(random.normal(size=(2, 30, 2)), tf.float32),
    }  # fmt: skip
    batch = {"boxes": anchors[:, :3], "box_labels": tf.constant([[0, 1, -1], [1, 2, -1]], tf.int64)}
    truth = {"boxes": batch["boxes"], "labels": tf.constant([[0, 1, -1], [1, -2, -1]])}
    data = dataclasses.replace(VOLUME, box_labels=("a", "b", "unsure"))

    def loss(model: str, name: str = "", **settings: object) -> Any:
        said = config.Experiment(data, config.Model(model), config.Task("detection", name, settings))
        return tasks.of(said).loss(batch, outputs)

    np.testing.assert_array_equal(loss("retinanet"), of_boxes.retinanet(truth, outputs))
    np.testing.assert_array_equal(loss("retinanet", gamma=1.0), of_boxes.retinanet(truth, outputs, gamma=1.0))
    np.testing.assert_array_equal(loss("retinanet", "multibox"), of_boxes.multibox(truth, outputs))
    np.testing.assert_array_equal(loss("multibox"), of_boxes.multibox(truth, outputs))


def test_every_detector_names_a_loss_that_takes_its_settings() -> None:
    from radkit import models

    for name in models.names("detection"):
        own, settings = learning.of_detector(name)
        assert losses.chosen("detection", own, settings).keywords == settings


@pytest.mark.parametrize(
    ("data", "model", "told"),
    [
        (dataclasses.replace(VOLUME, box_labels=("unsure",)), "retinanet", r"needs data\.box_labels"),
        (VOLUME, "unet", "'unet' finds no boxes, and the task is detection; there are: .*retinanet"),
    ],
)
def test_what_cannot_be_learned_is_refused(data: config.Data, model: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        tasks.of(config.Experiment(data, config.Model(model), config.Task("detection")))


def test_boxes_that_are_means_have_no_masks() -> None:
    asked = config.Inference(suppress="fusion")
    said = config.Experiment(VOLUME, config.Model("mask_rcnn"), config.Task("detection"), inference=asked)
    with pytest.raises(UserError, match=r"inference\.suppress='fusion' makes new boxes"):
        tasks.of(said)
    tasks.of(dataclasses.replace(said, model=config.Model("faster_rcnn")))


def case(
    reference: list[list[float]], labels: list[int], found: list[tuple[list[float], float, int]], name: str
) -> Any:
    record = {
        "boxes": np.array(reference, np.float32).reshape(-1, 4), "box_labels": np.array(labels, np.int64),
        "spacing_mm": np.array([0.5, 0.5], np.float32), "values": np.zeros((20, 20, 1), np.float32), "sex": "F",
    }  # fmt: skip
    answer = {
        "boxes": np.array([box for box, _, _ in found] + [[0] * 4], np.float32),
        "scores": np.array([score for _, score, _ in found] + [0], np.float32),
        "labels": np.array([label for _, _, label in found] + [-1], np.int32),
        "count": np.int32(len(found)),
    }
    told = {"name": name, "patient_id": name[0], **TASK.case(record, answer, VOLUME)}
    return told, task.Shown(0, record, answer)


def test_figures_table_and_page_of_cases_worked_by_hand() -> None:
    hit, other, unsure = [2.0, 2, 8, 8], [12.0, 12, 18, 18], [10.0, 0, 16, 6]
    made = [
        case([hit], [0], [(hit, 0.9, 0)], "A 1"),
        case([hit, unsure], [1, 2], [(hit, 0.8, 1), (unsure, 0.99, 0)], "B 2"),
        case([hit, other], [0, 1], [(hit, 0.7, 0)], "C 3"),
        case([], [], [(other, 0.3, 0)], "D 4"),
    ]
    cases = [one for one, _ in made]
    assert cases[1]["labels"] == [1, -2], "a region to ignore"
    json.dumps(cases)
    summary = TASK.summary(cases, VOLUME)
    assert (summary["num_cases"], summary["num_patients"], summary["num_reference"]) == (4, 4, 4)
    assert summary["score"] == pytest.approx(TASK.score(cases, VOLUME)) == pytest.approx((1 + 51 / 101) / 2)
    assert [row["name"] for row in summary["classes"]] == ["nodule", "node"]
    assert summary["sizes"][0]["size"].startswith("3 to below 6 mm")
    told = TASK.headline(json.loads(json.dumps(task.as_json(summary), allow_nan=False)))
    assert told.startswith("mAP50 0.752 (")
    assert told.endswith("sensitivity 0.750 at 1 false positive an image, n = 4")
    listed = TASK.listed(cases, summary, VOLUME)
    assert [(row["hits"], row["misses"], row["false_positives"]) for row in listed] == [
        (1, 0, 0), (1, 0, 0), (1, 1, 0), (0, 0, 1)
    ]  # fmt: skip
    assert not any(isinstance(value, list) for row in listed for value in row.values())
    picked = TASK.pick(listed, VOLUME)
    assert picked[:2] == [2, 3], "first what was missed, then what is not there"
    shown = [dataclasses.replace(made[index][1], index=index) for index in picked]
    page = TASK.page("t", summary, listed, shown, [], VOLUME)
    assert "C 3: 1 of 2 boxes found, 0 false positives" in page


def planted(base: Path) -> conftest.MadeUp:
    """Two radiographs a patient, one of noise, one with one or two bright squares; and a table of their boxes."""
    rows, random = ["SeriesInstanceUID,label,x_min,y_min,x_max,y_max"], np.random.default_rng(0)
    for patient in range(20):
        for number in range(2):
            stored = random.normal(500, 40, (1, 48, 40)).astype(np.uint16)
            header = conftest.header("CR", patient, number)
            uid, boxes = header["SeriesInstanceUID"], []
            for half in range(number * (1 + patient % 2)):  # one square in each half of the rows
                side, (top, left) = int(random.integers(7, 11)), random.integers(0, 14, 2)
                top += 24 * half
                stored[0, top : top + side, left : left + side] += 300
                boxes.append(f"{uid},square,{left},{top},{left + side},{top + side}")
            rows += boxes or [f"{uid},,,,,"]  # somebody looked, and there is nothing
            write.write_series(stored, None, header, base / "dicom" / f"{patient}-{number}")
    (base / "boxes.csv").write_text("\n".join(rows) + "\n")
    return conftest.MadeUp(base / "dicom", base, EXPERIMENT)


EXPERIMENT = config.Experiment(
    data=config.Data(
        "planted", kind="radiograph", box_labels=("square",), image_size=(48, 48), splits=(0.6, 0.2, 0.2),
        normalise="zscore",
    ),
    model=config.Model(
        "retinanet", {**SMALL, "extra_levels": 0, "filters": 16, "depth": 1, "octaves": 1, "ratios": (1.0,),
                      "anchors": "fit"},
    ),
    task=config.Task("detection", loss_settings={"box_loss": "giou"}),
    optimizer=config.Optimizer(learning_rate=1e-2, warmup_steps=5),
    augment=config.Augment(flip=(True, True), shift=0.05),
    trainer=config.Trainer(steps=150, batch_size=8, evaluate_every=50, precision="float32", strategy="one"),
    inference=config.Inference(flips=(False, True)),
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.usefixtures("keras_alone", "near_gate")
def test_boxes_from_a_table_to_a_served_detector(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    from serving import export as exporting
    from serving import models, predict, server
    from trainers import evaluate, train

    made = planted(tmp_path)
    folder = conftest.convert(made, tmp_path / "records", f"--annotations={tmp_path / 'boxes.csv'}")
    made = dataclasses.replace(made, folder=folder)
    said = [f"--input={folder}", f"--output={tmp_path / 'run'}"]
    assert train.main(["train", f"--config={made.config_file(tmp_path)}", *said]) == 0
    assert "anchors fitted to" in capsys.readouterr().out
    fitted = runs.experiment(tmp_path / "run").model.settings["anchors"]
    assert len(fitted) == 2
    assert train.main(["train", f"--config={made.config_file(tmp_path)}", *said]) == 0, "the same run again"

    flags = [f"--run={tmp_path / 'run'}", f"--input={folder}", f"--output={tmp_path / 'scored'}"]
    assert evaluate.main(["evaluate", *flags, "--robustness", "--robustness_cases=2", "--resamples=100"]) == 0
    ledger = recomputed.recompute(tmp_path / "scored")
    assert (ledger.wrong, ledger.unseen()) == ([], [])
    assert {"lesions", "robustness"} <= {path[0] for path in ledger.seen}
    summary = json.loads((tmp_path / "scored" / "summary.json").read_text())
    assert TASK.headline(summary) in capsys.readouterr().out
    assert summary["score"] >= 0.9
    assert summary["figures"]["sensitivity at 1 FP/image"]["value"] >= 0.9
    assert "misses" in (tmp_path / "scored" / "cases.csv").read_text().splitlines()[0]
    assert (tmp_path / "scored" / "report.html").stat().st_size > 10000

    out = tmp_path / "models" / "planted"
    assert exporting.main(["export", f"--run={tmp_path / 'run'}", f"--output={out}"]) == 0
    started, port = server.start({"planted": models.load(out)}, "127.0.0.1", 0, workers=2, max_message_bytes=4 << 20)
    flags = [f"--server=127.0.0.1:{port}", "--model=planted", f"--input={made.dicom}"]
    assert predict.main(["predict", *flags, f"--output={tmp_path / 'answers'}"]) == 0
    started.stop(None)
    answers = [json.loads(path.read_text()) for path in (tmp_path / "answers").rglob("answer.json")]
    assert len(answers) == 40
    assert all(one["report"] == "measurements.dcm" for one in answers)
    lengths = [np.array(box["high"]) - box["low"] for one in answers for box in one["boxes"] if box["score"] > 0.5]
    assert 6 < np.median(lengths) < 11


def test_what_a_clinical_evaluation_measures_is_of_its_cases() -> None:
    image = np.zeros((8, 12, 12), np.float32)
    image[2:5, 3:9, 6:10] = 100
    record = {
        "boxes": np.array([[2.0, 3, 6, 5, 9, 10], [0, 0, 0, 2, 2, 2]]),
        "box_labels": np.array([1, 2]),
        "spacing_mm": np.array([2.0, 1.0, 1.0]),
    }
    row = {"patient_id": "P", "record_uid": "1", **TASK.case(record, answered(image, VOLUME, (2.0, 1.0, 1.0)), VOLUME)}
    asked = TASK.asked(VOLUME)
    table = evaluated.Cases([row])
    values = {one.name: measures.value(one, table) for one in asked.measures}
    assert values["mAP50"] == pytest.approx(1.0)
    assert values["sensitivity at 1 FP/image"] == 1.0
    nodule, node = asked.endpoints
    np.testing.assert_equal([nodule.truth(table)[0], node.truth(table)[0]], [math.nan, 1.0])
    assert node.score(table)[0] == pytest.approx(0.9)
