"""Shards to batches: a function of the config and its seed."""

import collections
import dataclasses
import itertools
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from radkit import config
from radkit.data import convert, pipeline, records, shards
from radkit.errors import UserError
from tests.conftest import MadeUp


@pytest.fixture(scope="module", params=["volumes", "radiographs"])
def made(request: pytest.FixtureRequest) -> MadeUp:
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def eight(made: MadeUp) -> list[dict[str, np.ndarray]]:
    """The first batches; each data set of batches is compiled anew, so tests share them."""
    return batches(made, 8)


def batches(made: MadeUp, count: int, first_step: int = 0) -> list[dict[str, np.ndarray]]:
    dataset = pipeline.training(
        made.folder, made.experiment, convert.fields_of(made.experiment.data), first_step=first_step
    )
    return [{k: v.numpy() for k, v in batch.items()} for batch in itertools.islice(dataset, count)]


def assert_equal(one: list[dict[str, np.ndarray]], other: list[dict[str, np.ndarray]]) -> None:
    assert len(one) == len(other)
    for a, b in zip(one, other):
        assert set(a) == set(b)
        for name in a:
            np.testing.assert_array_equal(a[name], b[name])


def test_parsing_is_decoding(made: MadeUp) -> None:
    record_fields = convert.fields_of(made.experiment.data)
    file = shards.split_files(made.folder, "train")[0]
    for record in shards.read_shard(file):
        decoded = records.decode(record, record_fields)
        parsed = pipeline.parse(tf.constant(record), record_fields)
        for field in record_fields:
            value = parsed[field.name].numpy()
            value = value.decode() if field.kind == "text" else value
            np.testing.assert_array_equal(value, decoded[field.name])
            assert np.shape(value) == np.shape(decoded[field.name])
            assert parsed[field.name].shape.rank == (len(field.shape) if field.kind in ("array", "numbers") else 0)


def test_values_are_in_modality_units(made: MadeUp) -> None:
    for record in pipeline.records(made.folder, "test", convert.fields_of(made.experiment.data)):
        np.testing.assert_array_equal(record["values"], record["image"].numpy().astype(np.float32))  # slope 1


def test_the_same_seed_gives_the_same_batches_from_any_step_on(made: MadeUp, eight: list) -> None:
    assert_equal(eight[3:], batches(made, 5, first_step=3))


def test_another_seed_gives_other_batches(made: MadeUp, eight: list) -> None:
    other = batches(made.with_trainer(seed=1), 2)
    assert not any(np.array_equal(a["image"], b["image"]) for a, b in zip(eight, other))


def test_shapes_are_static(made: MadeUp) -> None:
    data = made.experiment.data
    dataset = pipeline.training(made.folder, made.experiment, convert.fields_of(data))
    spec = dataset.element_spec
    assert spec["image"].shape.as_list() == [2, *data.image_size, 1]
    if data.mask_labels:
        assert spec["mask"].shape.as_list() == [2, *data.image_size, 1]
        assert spec["mask"].dtype == tf.uint8
    else:
        assert spec["label"].shape.as_list() == [2]


def test_every_record_comes_once_an_epoch(volumes: MadeUp) -> None:
    plain = dataclasses.replace(
        volumes,
        experiment=dataclasses.replace(
            volumes.experiment,
            augment=config.Augment(),
            data=dataclasses.replace(volumes.experiment.data, image_size=(16, 24, 24)),  # whole images
        ),
    ).with_trainer(batch_size=1)
    count = shards.num_records(volumes.folder, "train")
    seen = [round(float(b["image"].std()), 5) for b in batches(plain, 3 * count)]
    epochs = [collections.Counter(seen[i : i + count]) for i in range(0, 3 * count, count)]
    assert epochs[0] == epochs[1] == epochs[2]
    assert set(epochs[0].values()) == {1}
    assert seen[:count] != seen[count : 2 * count]  # in another order


def test_image_and_mask_are_cut_at_one_place(volumes: MadeUp) -> None:
    sharp = dataclasses.replace(volumes, experiment=dataclasses.replace(volumes.experiment, augment=config.Augment()))
    for batch in batches(sharp, 5):
        # The made-up blobs are far brighter than what surrounds them.
        inside, outside = batch["image"][batch["mask"] > 0], batch["image"][batch["mask"] == 0]
        assert inside.mean() > outside.mean() + 1


def test_a_split_without_records_is_named(tmp_path: Path) -> None:
    shards.write_shard(tmp_path / shards.shard_name("x", "test", 0, 1), [])
    split = {"name": "test", "shardLengths": ["0"]}
    (tmp_path / "dataset_info.json").write_text(json.dumps({"name": "x", "splits": [split]}))
    with pytest.raises(UserError, match="holds no records; convert more patients"):
        pipeline.records(tmp_path, "test", ())


class TestCheck:
    def test_what_was_converted_with_it_passes(self, made: MadeUp) -> None:
        pipeline.check(made.folder, made.experiment.data)
        pipeline.check(made.folder, dataclasses.replace(made.experiment.data, normalise="none", size_multiple=16))

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"dataset": "other"}, "data.dataset='blobs', the config says 'other'"),
            ({"mask_labels": ("core", "shell")}, "data.mask_labels="),
            ({"kind": "radiograph"}, "data.kind='volume'"),
            ({"label": "x"}, "data.label=''"),
            ({"image_dtype": "float32"}, "data.image_dtype='int16'"),
            ({"record_orientation": "RAS"}, "data.record_orientation=''"),
            ({"record_size": (0, 64, 64)}, "data.record_size="),
        ],
    )
    def test_other_fields_are_refused(self, volumes: MadeUp, change: dict, message: str) -> None:
        with pytest.raises(UserError, match=message):
            pipeline.check(volumes.folder, dataclasses.replace(volumes.experiment.data, **change))

    def test_records_older_than_a_setting_have_its_default(self, volumes: MadeUp, tmp_path: Path) -> None:
        written = json.loads((volumes.folder / "data.json").read_text())
        del written["record_orientation"]
        (tmp_path / "data.json").write_text(json.dumps(written))
        shutil.copy(volumes.folder / "provenance.json", tmp_path)
        pipeline.check(tmp_path, volumes.experiment.data)

    def test_records_of_another_schema_are_refused_by_name(self, volumes: MadeUp, tmp_path: Path) -> None:
        shutil.copy(volumes.folder / "data.json", tmp_path)
        said = json.loads((volumes.folder / "provenance.json").read_text())
        said["settings"]["schema"] = 2
        (tmp_path / "provenance.json").write_text(json.dumps(said))
        with pytest.raises(UserError, match="are of schema 2, this radkit reads schema 3 and 4; convert again"):
            pipeline.check(tmp_path, volumes.experiment.data)

    def test_records_of_the_schema_before_are_read(self, volumes: MadeUp, tmp_path: Path) -> None:
        shutil.copy(volumes.folder / "data.json", tmp_path)
        said = json.loads((volumes.folder / "provenance.json").read_text())
        said["settings"]["schema"] = 3
        (tmp_path / "provenance.json").write_text(json.dumps(said))
        pipeline.check(tmp_path, volumes.experiment.data)

    def test_a_folder_that_radkit_did_not_write_is_refused(self, volumes: MadeUp, tmp_path: Path) -> None:
        with pytest.raises(UserError, match=r"has no data\.json"):
            pipeline.check(tmp_path, volumes.experiment.data)
        shutil.copy(volumes.folder / "dataset_info.json", tmp_path)
        shutil.copy(volumes.folder / "provenance.json", tmp_path)
        (tmp_path / "data.json").write_text("{")
        with pytest.raises(UserError, match=r"data\.json is damaged"):
            pipeline.check(tmp_path, volumes.experiment.data)
