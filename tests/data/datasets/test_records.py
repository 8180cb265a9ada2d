"""Data sets that radkit wrote, opened by stock TFDS in a process that cannot import radkit."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow_datasets as tfds

from radkit import config
from radkit.data import contents, convert, datasets, records, schema, shards
from radkit.data.datasets.records import features
from radkit.errors import UserError
from tests.conftest import MadeUp

STRANGER = """
import json, sys
sys.modules["radkit"] = None
import tensorflow_datasets as tfds
builder = tfds.builder_from_directory(sys.argv[1])
found = {name: sum(1 for _ in builder.as_dataset(split=name)) for name in sys.argv[2:]}
one = next(iter(tfds.as_numpy(builder.as_dataset(split="train"))))
figures = tfds.benchmark(builder.as_dataset(split="train"), batch_size=1)
said = {
    "counts": found,
    "record": {name: value.decode() if isinstance(value, bytes) else [str(value.dtype), value.shape, value.tolist()]
               for name, value in one.items() if name not in ("image", "mask")},
    "image": [str(one["image"].dtype), one["image"].shape, int(one["image"].astype(int).sum())],
    "examples": int(figures.stats["num_examples"]["first+lasts"]),
}
print("FOUND", json.dumps(said, default=str))
"""

# TFDS asks protobuf for what it will drop.
pytestmark = pytest.mark.filterwarnings("ignore:label\\(\\) is deprecated:DeprecationWarning")

KINDS: dict[str, dict[str, Any]] = {
    "class": {"class_names": ("no", "yes"), "label_kind": "class"},
    "multi_label": {"class_names": ("a", "b", "c"), "label_kind": "multi_label"},
    "ordinal": {"class_names": ("low", "high"), "label_kind": "ordinal"},
    "regression": {"label_kind": "regression", "label_unit": "mm"},
    "survival": {"label_kind": "survival", "label_unit": "days"},
    "everything": {
        "class_names": ("a", "b"), "label_kind": "multi_label", "mask_labels": ("m",), "box_labels": ("x", "y"),
        "keep_readers": True, "has_report": True,
    },
}  # fmt: skip
LABELS = {
    "class": 1,
    "multi_label": [1, -1, 0],
    "ordinal": 0,
    "regression": 3.25,
    "survival": 12.5,
    "everything": [0, -1],
}


def values_of(fields: tuple[schema.Field, ...], label: Any) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for field in fields:
        shape = tuple(2 if size is None else size for size in field.shape)
        if field.kind == "text":
            values[field.name] = f"{field.name} é"
        elif field.kind == "texts":
            values[field.name] = ["one", "two"]
        elif field.kind == "classes":
            values[field.name] = [0, 1]
        elif field.kind in ("array", "numbers"):
            values[field.name] = np.arange(int(np.prod(shape)), dtype=field.dtype).reshape(shape)
        else:
            values[field.name] = 1
    return {**values, "label": label}


def written(folder: Path, kind: str) -> tuple[tuple[schema.Field, ...], dict[str, Any]]:
    fields = schema.fields("volume", **KINDS[kind])
    values = values_of(fields, LABELS[kind])
    count, size = shards.write_shard(
        folder / shards.shard_name("made", "train", 0, 1), [records.encode(values, fields)] * 5
    )
    shards.write_metadata(
        folder, dataset="made", version="1.0.0", record_fields=fields, shard_lengths={"train": [count]},
        num_bytes={"train": size}, description="made up",
    )  # fmt: skip
    return fields, values


@pytest.mark.parametrize("kind", ["everything"])
def test_a_process_without_radkit_reads_all_fields_slices_and_times(kind: str, tmp_path: Path) -> None:
    fields, values = written(tmp_path, kind)
    asked = [sys.executable, "-c", STRANGER, str(tmp_path), "train", "train[:80%]", "train[80%:]", "train[1:3]"]
    done = subprocess.run(asked, capture_output=True, text=True, timeout=300, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    said = json.loads(done.stdout.split("FOUND")[1])
    assert said["counts"] == {"train": 5, "train[:80%]": 4, "train[80%:]": 1, "train[1:3]": 2}
    assert said["examples"] >= 5  # TFDS counts the first twice
    assert said["image"] == ["int16", [2, 2, 2, 1], int(values["image"].sum())]
    assert said["record"].keys() | {"image", "mask"} == {field.name for field in fields}
    assert said["record"]["report"] == "report é"
    assert said["record"]["label"][2] == [0, -1]
    assert np.array(said["record"]["boxes"][2]).shape == (2, 6)


@pytest.mark.parametrize("kind", KINDS)
def test_labels_of_each_kind_are_read_by_tfds(kind: str, tmp_path: Path) -> None:
    written(tmp_path, kind)
    (one,) = tfds.as_numpy(datasets.builder(tmp_path).as_dataset(split="train[:1]"))
    np.testing.assert_array_equal(one["label"], LABELS[kind])
    if kind == "survival":
        assert one["event"] == 1


def test_features_name_their_classes_and_are_those_on_disk(tmp_path: Path) -> None:
    fields, _ = written(tmp_path, "class")
    found = features(fields)
    assert found["label"].names == ["no", "yes"]
    assert found.to_json() == datasets.builder(tmp_path).info.features.to_json()
    boxed = features(schema.fields("volume", box_labels=("x", "y")))
    assert boxed["box_labels"].feature.names == ["x", "y"]


def test_the_builder_finds_the_one_data_set_below_a_folder(volumes: MadeUp, tmp_path: Path) -> None:
    above = volumes.folder.parents[1]
    found = datasets.builder(above)
    assert found.info.splits["train"].num_examples == shards.num_records(volumes.folder, "train")
    first = next(iter(tfds.as_numpy(found.as_dataset(split="train"))))
    raw = next(shards.read_shard(shards.split_files(volumes.folder, "train")[0]))
    decoded = records.decode(raw, convert.fields_of(volumes.experiment.data))
    np.testing.assert_array_equal(first["image"], decoded["image"])
    with pytest.raises(UserError, match="must hold one data set"):
        datasets.builder(tmp_path)


def test_a_builder_splits_as_the_config_says() -> None:
    split = config.Split(test="geographic", test_sites=("B",))
    units = [contents.Unit(str(n), f"P{n}", (), site="AB"[n % 2]) for n in range(20)]

    class Made(datasets.records.Records, skip_registration=True):  # type: ignore[call-arg]
        def __init__(self) -> None: ...

        def data(self) -> config.Data:
            return config.Data("d", split=split)

        def units(self, folder: Path) -> list[contents.Unit]:
            return units

        def _generate_examples(self, units: Any) -> Any:
            return units

    made = Made.__new__(Made)
    with pytest.raises(UserError, match="asks for 'site', which is in no patients table"):
        made._split_generators(SimpleNamespace(manual_dir="."))
    split = config.Split(test="geographic", test_sites=("B",), site="Manufacturer")
    units = [dataclasses.replace(unit, facts=(("Manufacturer", unit.site),)) for unit in units]
    found = made._split_generators(SimpleNamespace(manual_dir="."))
    assert [unit.patient_id for unit in found["test"]] == [f"P{n}" for n in range(1, 20, 2)]
    assert {unit.site for name in ("train", "validation") for unit in found[name]} == {"A"}
