"""Made-up records feed what converted ones do, whatever a config asks of them."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from radkit import config
from radkit.data import convert, pipeline, shards
from tests.conftest import MadeUp
from trainers import tpu_records


def fed(experiment: config.Experiment, folder: Path) -> dict:
    experiment = tpu_records.write(experiment, folder)
    fields = convert.fields_of(experiment.data)
    return dict(pipeline.training(folder, experiment, fields).element_spec)


@pytest.mark.parametrize("where", ["host", "device"])
@pytest.mark.parametrize("name", ["volumes", "radiographs"])
def test_the_batch_is_that_of_converted_records(
    name: str, where: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    made: MadeUp = request.getfixturevalue(name)
    augment = dataclasses.replace(
        made.experiment.augment, where=where, rotate=(10.0,) * (3 if name == "volumes" else 1)
    )
    experiment = dataclasses.replace(made.experiment, augment=augment)
    fields = convert.fields_of(experiment.data, shards.schema_of(made.folder))
    converted = pipeline.training(made.folder, experiment, fields).element_spec
    found = fed(experiment, tmp_path)
    assert found.keys() - {"slope", "intercept", "centre", "deviation"} <= converted.keys()
    for leaf in ("image", "mask", "label"):
        known, own = converted.get(leaf), found.get(leaf)
        assert (known is None) == (own is None)
        if known is not None and where == "host":
            assert known == own


@pytest.mark.parametrize(
    ("data", "leaf", "shape"),
    [
        ({"label": "x", "label_kind": "multi_label", "class_names": ("a", "b", "c")}, "label", (2, 3)),
        ({"label": "x", "label_kind": "ordinal", "class_names": ("a", "b", "c")}, "label", (2,)),
        ({"label": "x", "label_kind": "regression", "label_range": (0.0, 9.0)}, "label", (2,)),
        ({"label": "x", "label_kind": "survival", "label_unit": "days", "event": "seen"}, "event", (2,)),
        ({"mask_labels": ("a", "b"), "report": "text"}, "mask", (2, 8, 16, 16, 1)),
        ({"box_labels": ("a", "b")}, "boxes", (2, 64, 6)),
        ({"mask_labels": ("a",), "box_labels": ("a",)}, "box_labels", (2, 64)),
        ({"label": "x", "class_names": ("a", "b"), "table": ("age_years", "sex")}, "table", (2, None)),
        ({"mask_labels": ("a",), "record_size": (0, 20, 0), "spacing_mm": (2.0, 1.0, 1.0)}, "image", (2, 8, 16, 16, 1)),
    ],
)
def test_every_kind_of_label_has_records(data: dict, leaf: str, shape: tuple, tmp_path: Path) -> None:
    experiment = config.Experiment(
        config.Data("made_up", image_size=(8, 16, 16), **data),
        config.Model("unet"),
        config.Task("segmentation"),
        trainer=config.Trainer(batch_size=2, fold=1),
    )
    found = fed(experiment, tmp_path)[leaf].shape.as_list()
    assert len(found) == len(shape)
    assert all(wanted in (None, size) for size, wanted in zip(found, shape))


def test_each_class_and_each_value_of_the_mask_is_there(tmp_path: Path) -> None:
    data = config.Data("made_up", image_size=(4, 8, 8), label="x", class_names=tuple("abcdef"), mask_labels=("m", "n"))
    experiment = config.Experiment(data, config.Model("unet"), config.Task("classification"))
    fields = convert.fields_of(data)
    tpu_records.write(experiment, tmp_path)
    read = list(shards.read_shard(tmp_path / shards.shard_name("made_up", "train", 0, 1)))
    decoded = [shards.records.decode(record, fields) for record in read]
    assert {int(record["label"]) for record in decoded} == set(range(6))
    assert set(np.unique(decoded[0]["mask"])) == {0, 1, 2}
