"""Labels of every kind and reports, from table to record; stock TFDS reads them and tells what they are."""

import csv
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from beam_jobs import convert as job
from radkit import config, outputs
from radkit.data import convert, records, schema, shards
from radkit.errors import UserError
from tests import conftest

NUM_PATIENTS = 6
BASE = config.Data("l", kind="radiograph", modalities=("CR",), image_size=(8, 8), label="x", splits=(0.4, 0.3, 0.3))
SEVERAL = {"label_kind": "multi_label", "class_names": ("Mass", "Effusion"), "report": "text"}

Cells = dict[str, Any]
# Kind -> the config's settings, a patient's row of the table, and what the record must hold.
KINDS: dict[str, tuple[dict[str, Any], Callable[[int], Cells], Callable[[int], Cells]]] = {
    "ordinal": (
        {"label_kind": "ordinal", "class_names": ("none", "mild", "severe")},
        lambda n: {"x": ("none", "mild", "severe")[n % 3]},
        lambda n: {"label": n % 3},
    ),
    "columns": (
        SEVERAL,
        lambda n: {"Mass": (1, 0, -1, "")[n % 4], "Effusion": n % 2, "text": f"Befund {n}: größer,\n\"n\""},
        lambda n: {"label": [(1, 0, -1, -1)[n % 4], n % 2], "report": f"Befund {n}: größer,\n\"n\""},
    ),
    "list": (
        SEVERAL,
        lambda n: {"x": ("No Finding", "Mass", "effusion", "Effusion|Mass")[n % 4], "text": ""},
        lambda n: {"label": [[0, 0], [1, 0], [0, 1], [1, 1]][n % 4], "report": ""},
    ),
    "regression": (
        {"label_kind": "regression", "label_unit": "mm"},
        lambda n: {"x": n * 1.1 - 2},
        lambda n: {"label": np.float32(n * 1.1 - 2)},
    ),
    "survival": (
        {"label_kind": "survival", "event": "died", "label_unit": "days"},
        lambda n: {"x": 30.5 * n, "died": n % 2},
        lambda n: {"label": np.float32(30.5 * n), "event": n % 2},
    ),
    "report": ({"label": "", "report": "text"}, lambda n: {"text": f"no {n}"}, lambda n: {"report": f"no {n}"}),
}  # fmt: skip


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("labelled")
    for patient in range(NUM_PATIENTS):
        conftest.write_radiograph(folder, patient, 0, 0)
    return folder


def converted(images: Path, folder: Path, data: config.Data, rows: list[Cells]) -> Path:
    experiment = config.Experiment(data, config.Model("resnet"), config.Task("classification"))
    (folder / "e.json").write_text(json.dumps(config.to_json(experiment)))
    with (folder / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    said = [f"--input={images}", f"--output={folder / 'out'}", f"--config={folder / 'e.json'}"]
    assert job.main(["convert", *said, f"--labels={folder / 'labels.csv'}"]) == 0
    return folder / "out" / "l" / "1.0.0"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", KINDS)
def test_labels_come_into_the_records_and_stock_tfds_reads_them(kind: str, images: Path, tmp_path: Path) -> None:
    import tensorflow_datasets as tfds

    settings, row, expected = KINDS[kind]
    data = dataclasses.replace(BASE, **settings)
    rows = [{"PatientID": f"P{n:03d}", **row(n)} for n in range(NUM_PATIENTS)]
    folder = converted(images, tmp_path, data, rows)
    record_fields = convert.fields_of(data, shards.schema_of(folder))
    builder = tfds.builder_from_directory(str(folder))
    seen = set()
    for split in shards.SPLITS:
        written = [
            records.decode(r, record_fields) for f in shards.split_files(folder, split) for r in shards.read_shard(f)
        ]
        for read, record in zip(builder.as_dataset(split=split).as_numpy_iterator(), written, strict=True):
            assert read["patient_id"].decode() == record["patient_id"]
            number = int(record["patient_id"][1:])
            for name, value in expected(number).items():
                np.testing.assert_array_equal(record[name], value)
                found = read[name].decode() if isinstance(read[name], bytes) else read[name]
                np.testing.assert_array_equal(found, value)
            seen.add(number)
    assert seen == set(range(NUM_PATIENTS))
    features = builder.info.features
    assert {f.name: f.description for f in record_fields} == {name: features[name].doc.desc for name in features}
    assert (folder / shards.FIELDS).read_text() == schema.described(record_fields, "l")
    if kind == "survival":
        assert features["event"].names == ["censored", "event"]
    if kind == "columns":
        assert features["label"].shape == (2,)
        assert "of each class: Mass, Effusion" in features["label"].doc.desc


def test_ties_are_unknown_and_go_to_adjudication(images: Path, tmp_path: Path) -> None:
    wishes = config.Annotations(several="majority")
    data = dataclasses.replace(BASE, **SEVERAL, annotations=wishes)
    rows = [
        {"PatientID": f"P{n:03d}", "reader": reader, "Mass": int(reader == "a" or n > 0), "Effusion": 1, "text": "t"}
        for n in range(NUM_PATIENTS)
        for reader in "ab"
    ]
    folder = converted(images, tmp_path, data, rows)
    counts = outputs.read_json(folder / "summary.json")
    assert sum(counts["records"].values()) == NUM_PATIENTS
    assert counts["findings_by_name"] == {"contradicting_rows": 1, "several_readers": NUM_PATIENTS}
    with (folder / "adjudication.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["reason"] == "classes differ (a: Mass yes; b: Mass no)"


@pytest.mark.parametrize(("version", "readable"), [(2, False), (3, True), (4, True), (5, False), (None, False)])
def test_a_data_set_says_which_schema_it_is_of(version: int | None, readable: bool, tmp_path: Path) -> None:
    outputs.write_json(tmp_path / outputs.PROVENANCE, {"verb": "convert", "settings": {"schema": version}})
    if readable:
        assert shards.schema_of(tmp_path) == version
        return
    with pytest.raises(UserError, match=f"are of schema {version or 'unknown'}, this radkit reads schema 3 and 4"):
        shards.schema_of(tmp_path)


def test_records_of_schema_3_are_read(tmp_path: Path) -> None:
    data = dataclasses.replace(BASE, class_names=("no", "yes"))
    old = convert.fields_of(data, 3)
    values: dict[str, Any] = {field.name: "" for field in old if field.kind == "text"}
    for field in old:
        if field.kind in ("array", "numbers"):
            values[field.name] = np.zeros([n or 2 for n in field.shape], field.dtype)
    values["label"] = 1
    values["image"] = np.arange(4, dtype=np.int16).reshape(2, 2, 1)
    shards.write_shard(tmp_path / "s", [records.encode(values, old)])
    (raw,) = shards.read_shard(tmp_path / "s")
    read = records.decode(raw, old)
    assert read["label"] == 1
    assert read["image"].ravel().tolist() == [0, 1, 2, 3]
    assert "site" not in read
    with pytest.raises(UserError, match="not a record of this schema"):
        records.decode(raw, convert.fields_of(data))
