"""Small data sets of records, written without a conversion."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from radkit import config, outputs
from radkit.data import convert, records, schema, shards

_BLANK = {"text": "", "numbers": np.nan, "class": 0, "texts": [], "classes": []}


def values(data: config.Data, number: int, shape: Sequence[int], **more: Any) -> dict[str, Any]:
    """Returns one record's values: noise, and in the middle half a bright block with mask value 1."""
    random = np.random.default_rng(number)
    slopes = shape[0] if len(shape) == 3 else 1
    middle = tuple(slice(n // 4, n - n // 4) for n in shape)
    image, mask = random.integers(-100, 100, shape).astype(np.int16), np.zeros(shape, np.uint8)
    image[middle] += 1000
    mask[middle] = 1
    made = {field.name: _BLANK.get(field.kind) for field in convert.fields_of(data)}
    made |= {
        "image": image[..., None].astype(data.image_dtype), "origin_mm": np.zeros(3), "direction": np.eye(3),
        "rescale_slope": np.full(slopes, 2, np.float32), "rescale_intercept": np.full(slopes, -7, np.float32),
        "spacing_mm": np.ones(len(shape), np.float32), "patient_id": f"P{number // 2}", "record_uid": f"1.2.{number}",
    }  # fmt: skip
    if data.mask_labels:
        made["mask"] = mask[..., None]
    if data.box_labels:
        rank = len(shape)
        made |= {"boxes": np.zeros((0, 2 * rank), np.float32), "box_labels": [], "lesion_ids": []}
    return made | more


def write(
    folder: Path, data: config.Data, splits: Mapping[str, Sequence[Mapping[str, Any]]], num_shards: int = 2
) -> Path:
    """Writes records as `radkit convert` does; returns the folder."""
    fields = convert.fields_of(data)
    lengths: dict[str, list[int]] = {}
    sizes: dict[str, int] = {}
    for split in shards.SPLITS:
        there = splits.get(split, ())
        lengths[split], sizes[split] = [], 0
        for index in range(num_shards):
            path = folder / shards.shard_name(data.dataset, split, index, num_shards)
            count, size = shards.write_shard(path, [records.encode(one, fields) for one in there[index::num_shards]])
            lengths[split].append(count)
            sizes[split] += size
    outputs.write_json(folder / "data.json", config.data_to_json(data))
    whose = {split: sorted({one["patient_id"] for one in splits.get(split, ())}) for split in shards.SPLITS}
    outputs.write_json(folder / "patients.json", whose)
    record = outputs.provenance("convert", {"schema": schema.VERSION}, "made up")
    outputs.write_json(folder / outputs.PROVENANCE, record)
    shards.write_metadata(
        folder, dataset=data.dataset, version=data.version, record_fields=fields, description="made up",
        shard_lengths=lengths, num_bytes=sizes,
    )  # fmt: skip
    return folder
