"""Made-up records of a config's kind, so that its input pipeline can be looked at where no data are.

They have the sizes, labels, masks and boxes that the config speaks of, of nobody: noise.
"""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from radkit import config, outputs
from radkit.data import convert, schema, shards, splits

_LEAST = 4  # records
_MOST_BOXES = 32  # a record: enough to fit anchors to


def write(experiment: config.Experiment, folder: Path) -> config.Experiment:
    """Writes a training split, and returns the experiment that reads it: of no fold.

    Args:
        experiment: Any that converted records could be trained on with.
        folder: Is there, and empty; becomes a data set's version folder.
    """
    data = experiment.data
    fields = convert.fields_of(data)
    count = max(_LEAST, len(data.class_names))
    boxes = min(_MOST_BOXES, experiment.trainer.most_boxes)
    contents = [shards.records.encode(_values(fields, data, boxes, number), fields) for number in range(count)]
    path = folder / shards.shard_name(data.dataset, "train", 0, 1)
    num_records, num_bytes = shards.write_shard(path, contents)
    shards.write_metadata(
        folder,
        dataset=data.dataset,
        version=data.version,
        record_fields=fields,
        shard_lengths={"train": [num_records]},
        num_bytes={"train": num_bytes},
        description="made-up records",
    )
    outputs.write_json(folder / "data.json", config.data_to_json(data))
    outputs.write_json(folder / splits.PATIENTS_JSON, {"train": [str(number) for number in range(count)]})
    settings = {"schema": schema.VERSION}
    outputs.write_json(folder / outputs.PROVENANCE, {"verb": "check-tpu", "settings": settings})
    trainer = dataclasses.replace(experiment.trainer, fold=-1, test_fold=-1, repeat=0)
    return dataclasses.replace(experiment, trainer=trainer)


def _values(fields: tuple[schema.Field, ...], data: config.Data, boxes: int, number: int) -> dict[str, Any]:
    """Returns one record's values."""
    random = np.random.default_rng(number)
    rank = len(data.image_size)
    shape = _or(data.record_size, data.image_size)
    planes = shape[0] if data.kind == "volume" else 1
    known: dict[str, Any] = {
        "image": random.normal(100.0, 50.0, (*shape, 1)).astype(np.int16),
        "rescale_slope": np.ones(planes, np.float32),
        "rescale_intercept": np.zeros(planes, np.float32),
        "spacing_mm": np.array(_or(data.record_spacing_mm, data.spacing_mm or (1.0,) * rank), np.float32),
        "mask": _mask(shape, len(data.mask_labels)),
        "boxes": _boxes(random, shape, boxes),
        "box_labels": np.arange(boxes) % max(1, len(data.box_labels)),
        "lesion_ids": [""] * boxes,
        "event": number % 2,
        "label": _label(data, number),
        "sex": "FM"[number % 2],
        "record_uid": str(number),
        "patient_id": str(number),
    }
    return {field.name: known[field.name] if field.name in known else _plain(field) for field in fields}


def _or(asked: tuple[Any, ...], otherwise: tuple[Any, ...]) -> tuple[Any, ...]:
    """Returns what is asked for along each axis, and where that is 0, the other."""
    return tuple(one or other for one, other in zip(asked, otherwise)) if asked else otherwise


def _mask(shape: tuple[int, ...], labels: int) -> np.ndarray:
    """Returns a mask with a stretch of each label."""
    voxels = np.arange(np.prod(shape)) * (labels + 1) // int(np.prod(shape))
    return voxels.reshape(*shape, 1).astype(np.uint8)


def _boxes(random: np.random.Generator, shape: tuple[int, ...], count: int) -> np.ndarray:
    """Returns boxes of an eighth to a half of the image, (count, 2 * rank) float32."""
    sizes = np.array(shape) * random.uniform(0.125, 0.5, (count, len(shape)))
    low = random.uniform(0.0, 1.0, sizes.shape) * (np.array(shape) - sizes)
    return np.concatenate([low, low + sizes], axis=1).astype(np.float32)


def _label(data: config.Data, number: int) -> Any:
    classes = max(1, len(data.class_names))
    if data.label_kind == "multi_label":
        return (np.arange(classes) == number % classes).astype(np.int64)
    if data.label_kind in ("regression", "survival"):
        return np.float32(np.mean(data.label_range))
    return number % classes


def _plain(field: schema.Field) -> Any:
    """Returns a value of a field that the network is not shown."""
    if field.kind in ("array", "numbers"):
        return np.ones([size or 1 for size in field.shape], field.dtype)
    return {"text": "", "texts": [], "classes": [], "class": 0}[field.kind]
