"""Networks of more than the image: what feeds them, and what is said where nothing does."""

import dataclasses
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from radkit import config, runs, tasks
from radkit.data import clinical, convert, pipeline, prepare
from radkit.tasks import task as task_module
from tests.conftest import MadeUp
from trainers import scoring, train

FUSION: dict[str, Any] = {
    "backbone": "resnet", "backbone_settings": {"filters": (4,), "blocks": (1,)}, "table_units": (2,), "units": (4,),
}  # fmt: skip


def of_two_images(input_shape: tuple[int | None, ...], num_classes: int) -> keras.Model:
    """A network that no config can feed."""
    images = [keras.Input(input_shape, name=name) for name in ("prior", "now")]
    pooled = [keras.layers.GlobalAveragePooling2D()(image) for image in images]
    return keras.Model(images, keras.layers.Dense(num_classes)(keras.layers.Concatenate()(pooled)))


def fused(made: MadeUp, *table: str, **settings: Any) -> MadeUp:
    experiment = made.experiment
    data = dataclasses.replace(experiment.data, table=table)
    model = config.Model("fusion", {**FUSION, **settings})
    return dataclasses.replace(made, experiment=dataclasses.replace(experiment, data=data, model=model))


@pytest.mark.parametrize(
    ("model", "table", "words"),
    [
        (config.Model("fusion", {**FUSION, "table": 2}), (), "data.table names 0; name the columns in data.table"),
        (config.Model("fusion", {**FUSION, "table": 3}), ("sex",), "asks for a table of 3 columns"),
        (config.Model("resnet", {"filters": (4,)}), ("sex",), "model 'resnet' takes no table"),
        (config.Model(f"{__name__}:of_two_images"), (), "has the inputs now, prior; what records feed is image"),
    ],
)
def test_a_network_that_nothing_feeds_is_refused_in_a_line(
    model: config.Model,
    table: tuple[str, ...],
    words: str,
    radiographs: MadeUp,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    keras_alone: None,
) -> None:
    data = dataclasses.replace(radiographs.experiment.data, table=table)
    made = dataclasses.replace(
        radiographs, experiment=dataclasses.replace(radiographs.experiment, data=data, model=model)
    )
    said = [f"--config={made.config_file(tmp_path)}", f"--input={made.folder}", f"--output={tmp_path / 'run'}"]
    assert train.main(["train", *said]) == 2
    told = capsys.readouterr().err.strip()
    assert words in told
    assert "\n" not in told
    assert not (tmp_path / "run" / "config.json").exists()


def test_training_feeds_what_the_evaluation_asks_by(radiographs: MadeUp) -> None:
    made = fused(radiographs, "sex", "age_years")
    data = made.experiment.data
    fields = convert.fields_of(data)
    found = pipeline.opened(made.folder, made.experiment, fields)
    fed = np.stack([found.example(number)["table"] for number in range(12)])  # an epoch
    assert set(fed[:, 0].tolist()) == {-1.0, 1.0}
    assert np.isnan(fed[:, 1]).all()  # the made-up headers tell no age
    known = {(-1.0, "F"), (1.0, "M")}
    chosen = scoring.Cases(made.folder, "test", data, tasks.find("classification"))
    for _, record in chosen.records():
        plain = {name: value.numpy() for name, value in record.items()} | {"sex": record["sex"].numpy().decode()}
        image, _, table = scoring.asked(plain, data)
        assert len(image) == len(table) == 1
        assert (float(table[0, 0]), plain["sex"]) in known


def test_a_network_with_a_table_has_its_columns_and_answers_by_them(radiographs: MadeUp) -> None:
    made = fused(radiographs, "sex", "age_years")
    task = tasks.of(made.experiment)
    network = runs.new_network(made.experiment, task)
    assert {one.name: one.shape[1:] for one in network.inputs} == {"image": (None, None, 1), "table": (2,)}
    data, image = made.experiment.data, tf.fill([1, 30, 30, 1], 500.0)
    table = tf.constant([[1.0, 61.0]])
    found = task_module.answer(network, task, data, image, tf.ones([1, 2]), table=table)["probabilities"]
    prepared, _ = prepare.prepare(image, tf.ones([1, 2]), data)
    direct = tf.nn.softmax(network({"image": prepared, "table": clinical.scaled(table, data)}, training=False))
    np.testing.assert_allclose(found, direct, rtol=1e-6)
    other = task_module.answer(network, task, data, image, tf.ones([1, 2]), table=-table)["probabilities"]
    assert not np.allclose(found, other)
