"""Shards and their metadata on disk, in TensorFlow Datasets' layout, without TensorFlow.

`<dataset>-<split>.tfrecord-00000-of-000NN`, `features.json`, `dataset_info.json`.
Source: TFRecord's format (length, masked CRC-32C of it, data, masked CRC-32C of it; all little endian).
"""

import os
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import google_crc32c

from radkit import outputs
from radkit.data import records, schema
from radkit.errors import UserError

SPLITS = ("train", "validation", "test")
FIELDS = "fields.md"  # what each field of the records is


def shard_name(dataset: str, split: str, index: int, count: int) -> str:
    """Returns a shard's file name.

    >>> shard_name("chest", "train", 0, 2)
    'chest-train.tfrecord-00000-of-00002'
    """
    return f"{dataset}-{split}.tfrecord-{index:05d}-of-{count:05d}"


def masked_crc(*parts: records.Part) -> bytes:
    """Returns the sum that stands after a record's length and after its bytes, 4 bytes."""
    crc = 0
    for part in parts:
        crc = google_crc32c.extend(crc, part)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def write_shard(path: Path, contents: Iterable[bytes | Sequence[records.Part]]) -> tuple[int, int]:
    """Writes a TFRecord file, complete or not at all; returns (records, bytes of their contents).

    Args:
        path: The file.
        contents: Each record's bytes, or its parts as `records.parts` gives them: pixels go to the disk from where
            they stand.
    """
    aside = path.with_name(f"{path.name}.incomplete.{os.getpid()}")
    count = size = 0
    try:
        with aside.open("wb") as file:
            for record in contents:
                parts = [record] if isinstance(record, bytes) else record
                num_bytes = sum(map(len, parts))
                length = struct.pack("<Q", num_bytes)
                file.write(length + masked_crc(length))
                for part in parts:
                    file.write(part)  # type: ignore[arg-type]  # arrays are buffers
                file.write(masked_crc(*parts))
                count, size = count + 1, size + num_bytes
                del record, parts  # their pixels go before the next are read
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    return count, size


def read_shard(path: Path) -> Iterator[bytes]:
    """Yields a TFRecord file's records, checking their sums.

    Raises:
        UserError: The file is cut short or damaged.
    """
    with path.open("rb") as file:
        while head := file.read(12):
            if len(head) < 12 or masked_crc(head[:8]) != head[8:]:
                raise UserError(f"{path.name} is damaged or cut short; convert the data set again")
            (length,) = struct.unpack("<Q", head[:8])
            record, crc = file.read(length), file.read(4)
            if len(record) < length or masked_crc(record) != crc:
                raise UserError(f"{path.name} is damaged or cut short; convert the data set again")
            yield record


def write_metadata(
    folder: Path,
    *,
    dataset: str,
    version: str,
    record_fields: tuple[schema.Field, ...],
    shard_lengths: Mapping[str, list[int]],
    num_bytes: Mapping[str, int],
    description: str,
) -> None:
    """Writes what TensorFlow Datasets reads a folder by, and what people do; `dataset_info.json` comes last."""
    outputs.write_json(folder / "features.json", schema.features_json(record_fields))
    outputs.write_text(folder / FIELDS, schema.described(record_fields, dataset))
    for field in record_fields:
        if field.class_names:
            outputs.write_text(folder / f"{field.name}.labels.txt", "".join(f"{n}\n" for n in field.class_names))
    splits = [
        {
            "name": split,
            "shardLengths": [str(n) for n in lengths],
            "numBytes": str(num_bytes[split]),
            "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
        }
        for split, lengths in shard_lengths.items()
        if any(lengths)  # of a split without records, TensorFlow Datasets refuses to read all that are there
    ]
    info = {
        "name": dataset,
        "version": version,
        "fileFormat": "tfrecord",
        "description": description,
        "splits": splits,
    }
    outputs.write_json(folder / "dataset_info.json", info)


def find_dataset(folder: Path) -> Path:
    """Returns the version folder of a data set: `folder` itself, or the one data set below it.

    Raises:
        UserError: There is none, or several.
    """
    if (folder / "dataset_info.json").is_file():
        return folder
    found = sorted(p.parent for p in folder.glob("*/*/dataset_info.json")) or sorted(
        p.parent for p in folder.glob("*/dataset_info.json")
    )
    if len(found) != 1:
        there = ", ".join(str(p.relative_to(folder)) for p in found) or "none"
        raise UserError(f"{folder} must hold one data set (dataset_info.json); found: {there}")
    return found[0]


def split_files(folder: Path, split: str) -> list[Path]:
    """Returns a split's shards in order; none of a split without records.

    Raises:
        UserError: No such split, or shards are missing.
    """
    info: dict[str, Any] = outputs.read_json(folder / "dataset_info.json")
    lengths = {s["name"]: s.get("shardLengths", []) for s in info["splits"]}
    if split not in {*lengths, *SPLITS}:
        raise UserError(f"the data set has no split {split!r}; there are: {', '.join(sorted(lengths))}")
    count = len(lengths.get(split, ()))
    files = [folder / shard_name(info["name"], split, i, count) for i in range(count)]
    missing = [f.name for f in files if not f.is_file()]
    if missing:
        raise UserError(f"{len(missing)} shards are missing, as {missing[0]}; convert the data set again")
    return files


def schema_of(folder: Path) -> int:
    """Returns the version of the schema by which a data set's records were written; `convert.fields_of` takes it.

    Raises:
        UserError: This radkit does not read records of that version, or nothing tells it.
    """
    found = (outputs.read_provenance(folder) or {}).get("settings", {}).get("schema")
    schema.check(found, f"the records in {folder}")
    return int(found)


def digest(folder: Path) -> str:
    """Returns a SHA-256 of what a data set says of itself: another conversion gives another."""
    files = [folder / name for name in ("dataset_info.json", "features.json", outputs.PROVENANCE)]
    return outputs.digest_of_files([f for f in files if f.is_file()], folder)


def num_records(folder: Path, split: str) -> int:
    """Returns how many records a split holds."""
    info = outputs.read_json(folder / "dataset_info.json")
    return sum(int(n) for s in info["splits"] if s["name"] == split for n in s.get("shardLengths", []))
