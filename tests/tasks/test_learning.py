"""The loss that a config chooses, and whole runs of the tasks that learn labels."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from radkit import config, losses, runs, tasks
from radkit.errors import UserError
from radkit.losses import classification, segmentation
from radkit.tasks import learning
from tests import conftest

VOLUMES = config.Data(dataset="v", mask_labels=("shell", "core"), image_size=(8, 8, 8))
CLASSES = config.Data(dataset="c", kind="radiograph", label="ill", class_names=("no", "yes"), image_size=(8, 8))


def of(data: config.Data, name: str, loss: str = "", **settings: object) -> tasks.Task:
    experiment = config.Experiment(data=data, model=config.Model("unet"), task=config.Task(name, loss, settings))
    return tasks.of(experiment)


def test_the_config_chooses_the_loss_and_its_settings() -> None:
    random = np.random.default_rng(0)
    batch = {"mask": tf.constant(random.integers(0, 3, (2, 4, 4, 4, 1)), tf.uint8)}
    logits = tf.constant(random.normal(size=(2, 4, 4, 4, 3)), tf.float32)
    found = of(VOLUMES, "segmentation", "tversky", alpha=0.1).loss(batch, logits)
    np.testing.assert_array_equal(found, segmentation.tversky(batch["mask"], logits, alpha=0.1))
    found = of(VOLUMES, "segmentation", "", smooth=0.5).loss(batch, [logits, logits[:, ::2]])
    np.testing.assert_array_equal(
        of(VOLUMES, "segmentation").loss(batch, logits), tasks.find("segmentation").loss(batch, logits)
    )
    assert found.shape == (2,)


def test_mixed_labels_count_by_their_share() -> None:
    logits = tf.constant([[1.0, -1.0], [0.5, 2.0]])
    batch = {"label": tf.constant([0, 1]), "mixed_label": tf.constant([1, 0]), "mixed_share": tf.constant([0.25, 1.0])}
    own, other = (classification.focal(batch[name], logits) for name in ("label", "mixed_label"))
    found = of(CLASSES, "classification", "focal").loss(batch, logits)
    np.testing.assert_allclose(found, [0.25 * own[0] + 0.75 * other[0], own[1]], rtol=1e-6)


@pytest.mark.parametrize(
    ("data", "said", "told"),
    [
        (VOLUMES, ("segmentation", "dise"), "no loss 'dise'"),
        (CLASSES, ("classification", "dice"), "no loss 'dice'; there are: cross_entropy, focal, cost_sensitive"),
        (CLASSES, ("regression",), "learns data.label_kind 'regression', not 'class': set task.name='classification'"),
        (VOLUMES, ("multi_label",), r"needs data.label \(the table's column\), of data.label_kind 'multi_label'"),
    ],
)
def test_what_does_not_go_together_is_refused(data: config.Data, said: tuple[str, ...], told: str) -> None:
    with pytest.raises(UserError, match=told):
        of(data, *said)


def test_a_task_with_its_own_loss_takes_no_other() -> None:
    assert of(VOLUMES, "tests.tasks.test_learning:OWN").learn is None
    with pytest.raises(UserError, match="has its own loss only"):
        of(VOLUMES, "tests.tasks.test_learning:OWN", "dice")


OWN = dataclasses.replace(tasks.find("segmentation"), learn=None)


@pytest.mark.parametrize("kind", ["class", "ordinal"])
def test_survival_has_no_task_yet_and_degrees_may_be_learned_as_classes(kind: str) -> None:
    learning.require("classification", dataclasses.replace(CLASSES, label_kind=kind), "class", "ordinal")
    with pytest.raises(UserError, match="no task learns from them yet"):
        learning.require("classification", dataclasses.replace(CLASSES, label_kind="survival"), "class", "ordinal")


def test_every_task_that_learns_by_a_named_loss_has_some() -> None:
    assert {name for name in tasks.folder.names("radkit.tasks") if tasks.find(name).learn} == set(losses.LOSSES)


KINDS = {
    "multi_label": ({"class_names": ("bright", "big")}, {"bright": (0, 1), "big": (1, "")}),
    "ordinal": ({"class_names": ("low", "middle", "high")}, {"degree": ("low", "high")}),
    "regression": ({"label_unit": "mm", "label_range": (0.0, 10.0)}, {"size": (2.5, 7.5)}),
}


def converted(kind: str, radiographs: conftest.MadeUp, base: Path) -> conftest.MadeUp:
    """The session's radiographs with labels of another kind: the second image of each patient is the bright one."""
    settings, columns = KINDS[kind]
    assert radiographs.labels is not None
    rows = radiographs.labels.read_text().split()[1:]
    lines = [",".join(["SeriesInstanceUID", *columns])]
    for row in rows:
        uid, said = row.split(",")
        lines.append(",".join([uid, *[str(values[said == "yes"]) for values in columns.values()]]))
    (base / "labels.csv").write_text("\n".join(lines) + "\n")
    label = next(iter(columns)) if kind != "multi_label" else "findings"
    data = dataclasses.replace(
        radiographs.experiment.data, dataset=kind, label=label, label_kind=kind, **{"class_names": (), **settings}
    )
    experiment = dataclasses.replace(radiographs.experiment, data=data, task=config.Task(kind))
    if kind == "ordinal":
        experiment = dataclasses.replace(experiment, model=config.Model("resnet", {"filters": (4, 8), "head": "coral"}))
    made = conftest.MadeUp(radiographs.dicom, base, experiment, base / "labels.csv")
    return dataclasses.replace(made, folder=conftest.convert(made, base / "records"))


@pytest.mark.slow
@pytest.mark.usefixtures("keras_alone")
@pytest.mark.parametrize("kind", list(KINDS))
def test_a_task_learns_what_is_planted_from_table_to_report(
    kind: str, radiographs: conftest.MadeUp, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    from trainers import evaluate, train

    made = converted(kind, radiographs, tmp_path).with_trainer(steps=60, evaluate_every=30, batch_size=4)
    said = [f"--input={made.folder}", f"--output={tmp_path / 'run'}"]
    assert train.main(["train", f"--config={made.config_file(tmp_path)}", *said]) == 0
    assert runs.manifest(tmp_path / "run")["task"] == kind
    flags = [f"--run={tmp_path / 'run'}", f"--input={made.folder}", f"--output={tmp_path / 'scored'}"]
    assert evaluate.main(["evaluate", *flags]) == 0
    summary = json.loads((tmp_path / "scored" / "summary.json").read_text())
    assert tasks.find(kind).headline(summary) in capsys.readouterr().out
    least = {"multi_label": 0.95, "ordinal": 0.8, "regression": -1.5}
    assert summary["score"] >= least[kind]
    assert (tmp_path / "scored" / "report.html").stat().st_size > 10000
