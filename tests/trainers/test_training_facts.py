"""What is known of the cases that a run learned from."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from radkit import config
from radkit.data import convert, records, shards, splits
from radkit.evaluation import boxes, classes, labels, subgroups
from radkit.evaluation.cases import Cases
from tests import conftest
from tests.conftest import MadeUp
from tests.data.feeding import made
from trainers import training_facts


def test_each_record_of_the_train_split_is_told_with_its_label(radiographs: MadeUp) -> None:
    data = radiographs.experiment.data
    found = training_facts.of_run(radiographs.folder, data)
    fields = convert.fields_of(data)
    there = [
        records.decode(record, fields)
        for path in shards.split_files(radiographs.folder, "train")
        for record in shards.read_shard(path)
    ]
    assert len(found) == shards.num_records(radiographs.folder, "train") > 0
    for row, record in zip(found, there):
        for name in ("patient_id", "record_uid", "sex", "view_position", "manufacturer", "label"):
            assert row[name] == record[name]
        assert "image" not in row
    cases = Cases(found)
    (yes,) = classes.endpoints(data.class_names)
    assert yes.truth(cases).sum() == sum(record["label"] for record in there)
    assert next(group.value for group in subgroups.of_cases(cases, cases)) == subgroups.ALL


def written(folder: Path, data: config.Data, **values: Any) -> Path:
    there = [made.values(data, number, (16, 16), **values) for number in range(3)]
    return made.write(folder, data, {"train": there, "validation": there[:1], "test": there[:1]})


def test_several_labels_are_columns_of_their_own(tmp_path: Path) -> None:
    data = config.Data(
        "m", kind="radiograph", label="l", label_kind="multi_label", class_names=("old", "new"), image_size=(16, 16)
    )
    found = training_facts.of_run(written(tmp_path, data, label=[1, -1]), data)
    assert [(row["label old"], row["label new"]) for row in found] == [(1, -1)] * 3
    old, new = labels.endpoints(data.class_names)
    assert old.truth(Cases(found)).tolist() == [1, 1, 1]
    assert np.isnan(new.truth(Cases(found))).all()


def test_boxes_are_those_of_a_case_in_which_nothing_was_found(tmp_path: Path) -> None:
    data = config.Data(
        "b", kind="radiograph", box_labels=("a", "b", "unsure"), ignored_boxes=("unsure",), image_size=(16, 16)
    )
    edges = np.array([[0, 0, 4, 4], [2, 2, 9, 9]], np.float32)
    folder = written(tmp_path, data, boxes=edges, box_labels=[1, 2], lesion_ids=["", ""])
    found = training_facts.of_run(folder, data)
    assert found[0]["labels"] == [1, -2]
    first, second = boxes.endpoints(boxes.class_names(data))
    assert second.truth(Cases(found)).tolist() == [1, 1, 1]
    # A region to ignore might hold one: nobody says.
    assert np.isnan(first.truth(Cases(found))).all()


def test_a_number_is_a_number(tmp_path: Path) -> None:
    data = config.Data("r", kind="radiograph", label="age", label_kind="regression", image_size=(16, 16))
    found = training_facts.of_run(written(tmp_path, data, label=np.float32(7.5)), data)
    assert [row["label"] for row in found] == [7.5] * 3


def test_masks_are_not_read(volumes: MadeUp) -> None:
    found = training_facts.of_run(volumes.folder, volumes.experiment.data)
    assert found
    assert not {"mask", "label", "image"} & set(found[0])


def test_a_fold_learns_from_the_others_patients(radiographs: MadeUp, tmp_path: Path) -> None:
    data = dataclasses.replace(radiographs.experiment.data, split=config.Split(folds=2))
    of_folds = dataclasses.replace(radiographs, experiment=dataclasses.replace(radiographs.experiment, data=data))
    folder = conftest.convert(of_folds, tmp_path / "records")
    said = training_facts.of_run(folder, data, config.Trainer(fold=1))
    assert sorted({row["patient_id"] for row in said}) == splits.patients(folder, "train", config.Trainer(fold=1))
