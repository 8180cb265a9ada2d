"""What is known of the cases that a run learned from: facts and labels, read from the shards without their pixels."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from radkit import config
from radkit.data import convert, records, schema, shards, splits
from radkit.evaluation import boxes, subgroups
from radkit.metrics import box_hits

_SPLIT = "train"
_LABELS = ("label", "event", "boxes", "box_labels")


def of_run(folder: Path, data: config.Data, trainer: config.Trainer | None = None) -> list[dict[str, Any]]:
    """Returns the cases that a run learned from, as the table of cases names what is known of them.

    Args:
        folder: The data set's, the very one that the run learned from.
        data: The config's data section.
        trainer: Of a run of a fold; None: the records as they were split.

    Returns:
        One a record: patient_id, record_uid, the facts of `subgroups.FACTS` that records have, and its labels in the
        columns that the task's cases have: `label`, `label NAME` of several labels; of boxes the lists of a case in
        which nothing was found. Masks are not read.
    """
    trainer = trainer or config.Trainer()
    asked = {"patient_id", "record_uid", "spacing_mm", *(fact.name for fact in subgroups.FACTS), *_LABELS}
    wanted = tuple(one for one in convert.fields_of(data, shards.schema_of(folder)) if one.name in asked)
    patients = splits.chosen(folder, _SPLIT, trainer)
    found = (
        records.decode(record, wanted)
        for physical in splits.physical(_SPLIT, trainer)
        for path in shards.split_files(folder, physical)
        for record in shards.read_shard(path)
    )
    return [_row(one, wanted, data) for one in found if patients is None or one["patient_id"] in patients]


def _row(record: dict[str, Any], wanted: Sequence[schema.Field], data: config.Data) -> dict[str, Any]:
    plain = {field.name: _plain(record[field.name]) for field in wanted if field.name not in (*_LABELS, "spacing_mm")}
    return {**plain, **_label(record, data), **(_boxes(record, data) if "boxes" in record else {})}


def _plain(value: Any) -> Any:
    return value if isinstance(value, str) else float(np.asarray(value))


def _label(record: dict[str, Any], data: config.Data) -> dict[str, Any]:
    if "label" not in record:
        return {}
    if data.label_kind == "multi_label":
        return {f"label {name}": int(flag) for name, flag in zip(data.class_names, record["label"])}
    label = record["label"]
    return {"label": label if isinstance(label, int) else float(np.asarray(label))}


def _boxes(record: dict[str, Any], data: config.Data) -> dict[str, Any]:
    classes = np.asarray(record["box_labels"])
    return {
        "reference": np.asarray(record["boxes"], np.float64).tolist(),
        "labels": np.where(classes >= len(boxes.class_names(data)), box_hits.REGION, classes).tolist(),
        "found": [],
        "scores": [],
        "found_labels": [],
        "spacing_mm": np.asarray(record["spacing_mm"], np.float64).tolist(),
    }
