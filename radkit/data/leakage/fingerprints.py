"""What of a shard's records is kept to compare them: rows of identifiers and facts, thumbnails, places.

Each shard's arrays stand in flat files, which are mapped and not read: any two records can be compared at the cost of
their own bytes.
"""

import hashlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from radkit import config, outputs
from radkit.data import convert, records, shards
from radkit.data.leakage import keypoints, thumbnails
from radkit.data.leakage.keypoints import Keypoints

IDENTIFIERS = ("patient_id", "study_uid", "series_uid", "record_uid")
WORDS = (
    "modality", "manufacturer", "manufacturer_model", "body_part", "view_position", "laterality", "kernel", "sex",
    "site",
)  # fmt: skip
NUMBERS = ("age_years", "tube_voltage_kv", "field_strength_t", "slice_thickness_mm")
_ARRAYS = {"thumbnails": "uint16", "places": "float32", "scales": "float32", "descriptors": "float16"}

Row = dict[str, Any]


def write_shard(folder: Path, number: int, side: str, shard: Path, data: config.Data) -> None:
    """Writes what is kept of a shard; the rows come last, so that a shard that has them is finished.

    Args:
        folder: Where to.
        number: The shard's, by which `Store` finds it.
        side: What the shard belongs to, as `train`.
        shard: A TFRecord file.
        data: The config's data section by which it was written.

    Raises:
        UserError: The shard is damaged.
    """
    rows: list[Row] = []
    parts: dict[str, list[np.ndarray]] = {name: [] for name in _ARRAYS}
    fields = convert.fields_of(data, shards.schema_of(shard.parent))
    for content in shards.read_shard(shard):
        record = records.decode(content, fields)
        thumbnail, places = _looks(record)
        for name, array in zip(_ARRAYS, (thumbnail, places.places, places.scales, places.descriptors)):
            parts[name].append(array.ravel().astype(_ARRAYS[name]))
        kept = {"shape": list(thumbnail.shape), "places": list(places.places.shape), "shard": number}
        rows.append({**_said(record), **kept, "features": places.descriptors.shape[1], "side": side})
    for name, arrays in parts.items():
        np.save(folder / f"{number}.{name}.npy", np.concatenate([np.zeros(0, _ARRAYS[name]), *arrays]))
    outputs.write_json(folder / f"{number}.json", rows)


def _looks(record: Mapping[str, Any]) -> tuple[np.ndarray, Keypoints]:
    thumbnail = thumbnails.of_record(record)
    if thumbnail is None:  # one value: nothing to compare
        rank = record["image"].ndim - 1
        nothing = np.zeros((0, rank), np.float32)
        return np.zeros((0,) * rank, np.uint16), Keypoints(nothing, nothing[:, 0], nothing)
    return thumbnail, keypoints.find(thumbnails.levelled(thumbnail))


def _said(record: Mapping[str, Any]) -> Row:
    """Returns what the record says of itself, as plain JSON values."""
    image = record["image"]
    digest = hashlib.sha256(f"{image.dtype} {image.shape}".encode() + np.ascontiguousarray(image).tobytes())
    said: Row = {name: str(record.get(name, "")) for name in (*IDENTIFIERS, *WORDS, "study_date")}
    said |= {name: _plain(record[name]) for name in NUMBERS}
    said |= {name: np.asarray(record[name]).tolist() for name in ("label", "event") if name in record}
    said["spacing_mm"] = [_plain(mm) for mm in record["spacing_mm"]]
    said["size"] = list(image.shape[:-1])
    said["pixels"] = digest.hexdigest()
    return said


def _plain(value: Any) -> float | None:
    number = float(value)
    return number if np.isfinite(number) else None


class Store:
    """What `write_shard` kept of several shards, by the records' numbers: shard by shard, in their order."""

    def __init__(self, folder: Path, rows: Sequence[Row]) -> None:
        self._folder, self._rows = folder, rows
        self._starts: list[tuple[int, int, int]] = []
        at, shard = (0, 0, 0), None
        for row in rows:
            at = at if row["shard"] == shard else (0, 0, 0)
            shard = row["shard"]
            self._starts.append(at)
            count = row["places"][0]
            at = (at[0] + int(np.prod(row["shape"])), at[1] + count, at[2] + count * row["features"])

    @staticmethod
    def read_rows(folder: Path, number: int) -> list[Row]:
        """Returns a shard's rows."""
        rows: list[Row] = outputs.read_json(folder / f"{number}.json")
        return rows

    def thumbnail(self, record: int) -> np.ndarray:
        """Returns a record's thumbnail; of no voxel where the image has one value."""
        shape = self._rows[record]["shape"]
        start = self._starts[record][0]
        return self._array(record, "thumbnails")[start : start + int(np.prod(shape))].reshape(shape)

    def keypoints(self, record: int) -> Keypoints:
        """Returns a record's places."""
        row = self._rows[record]
        (count, rank), (_, place, value) = row["places"], self._starts[record]
        return Keypoints(
            self._array(record, "places")[place * rank : (place + count) * rank].reshape(count, rank),
            self._array(record, "scales")[place : place + count],
            self._array(record, "descriptors")[value : value + count * row["features"]].reshape(count, -1),
        )

    def _array(self, record: int, name: str) -> np.ndarray:
        return _mapped(self._folder / f"{self._rows[record]['shard']}.{name}.npy")


@lru_cache(maxsize=256)
def _mapped(path: Path) -> np.ndarray:
    array: np.ndarray = np.load(path, mmap_mode="r") if path.stat().st_size > 128 else np.load(path)
    return array
