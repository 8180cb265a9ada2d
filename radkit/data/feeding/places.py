"""Where each record of a data set lies within its shard, and what it says of itself, without reading its pixels.

Shards are plain TFRecord files of uncompressed `tf.train.Example`s, so the bytes of an image stand in the file as they
stand in memory: once their place is known, any part of an image is read by itself.
"""

import concurrent.futures
import math
import os
import struct
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from radkit import outputs
from radkit.data import records, schema, shards
from radkit.errors import UserError

_READ_BYTES = 4096  # at once, where small fields stand
_MOST_HEAD = 80  # bytes of a field's key and of the lengths around it, at most
_THREADS = 16  # they wait for the disk, and share one processor


@dataclass(frozen=True, slots=True)
class Array:
    """Where an array's bytes begin in its file, its numpy type and shape."""

    offset: int
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Record:
    """One record: the bytes `start` to `start + size` of a file, its arrays' places, its small fields' values."""

    path: Path
    shard: int  # its number among the shards that were asked for
    start: int
    size: int
    arrays: Mapping[str, Array]
    values: Mapping[str, Any]

    @property
    def uid(self) -> str:
        """The record's name, pseudonymous."""
        return str(self.values["record_uid"])


def find(
    folder: Path,
    splits: Sequence[str],
    record_fields: tuple[schema.Field, ...],
    wanted: Collection[str],
    patients: Collection[str] | None = None,
) -> list[Record]:
    """Returns the records of some splits, in the order they were written.

    Args:
        folder: The data set's version folder.
        splits: On the disk, as `train`.
        record_fields: Of its records.
        wanted: Names of the fields to know of; of arrays the place, of others the value. `patient_id` and
            `record_uid` always are.
        patients: Only theirs; None: all.

    Raises:
        UserError: A shard is missing, damaged or cut short, or no record is left.
    """
    names = {"patient_id", "record_uid", *wanted}
    looked_for = _wanted([field for field in record_fields if field.name in names])
    files = [path for split in splits for path in shards.split_files(folder, split)]
    expected = [count for split in splits for count in _lengths(folder, split)]
    with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
        found = list(pool.map(lambda at: _of_shard(files[at], at, expected[at], looked_for), range(len(files))))
    every = [record for of_shard in found for record in of_shard]
    kept = every if patients is None else [r for r in every if r.values["patient_id"] in patients]
    if not kept:
        said = " and ".join(repr(split) for split in splits)
        why = "holds no records" if not every else f"holds {len(every)} records, none of the patients asked for"
        raise UserError(f"split {said} of {folder} {why}; convert more patients or change data.splits")
    return kept


def _lengths(folder: Path, split: str) -> list[int]:
    info = outputs.read_json(folder / "dataset_info.json")
    return [int(n) for s in info["splits"] if s["name"] == split for n in s.get("shardLengths", [])]


class _Cut(Exception):
    """Bytes that ought to be there are not."""


class _Window:
    """A file's bytes, some thousand at a time: heads are read, pixels are passed over."""

    def __init__(self, file: int) -> None:
        self._file, self._start, self._held = file, 0, b""

    def at(self, place: int, count: int) -> bytes:
        """Returns `count` bytes from a place on, fewer at the file's end."""
        begin = place - self._start
        if begin < 0 or begin + count > len(self._held):
            self._held = os.pread(self._file, max(count, _READ_BYTES), place)
            self._start, begin = place, 0
        return self._held[begin : begin + count]


@dataclass(frozen=True)
class _Wanted:
    """What is looked for in each record, by its key as it is stored; arrays' shapes are small fields."""

    arrays: Mapping[bytes, schema.Field]
    small: Mapping[bytes, schema.Field]


def _wanted(fields: Sequence[schema.Field]) -> _Wanted:
    arrays = [field for field in fields if field.kind == "array"]
    free = [field.name for field in arrays if field.has_free_size]
    shapes = [schema.Field(f"{name}/shape", "classes", "int64", (None,), "", "") for name in free]
    small = [*(field for field in fields if field.kind != "array"), *shapes]
    return _Wanted({_key(field): field for field in arrays}, {field.name.encode(): field for field in small})


def _key(field: schema.Field) -> bytes:
    return (f"{field.name}/value" if field.has_free_size else field.name).encode()


def _of_shard(path: Path, number: int, expected: int, wanted: _Wanted) -> list[Record]:
    found = []
    with path.open("rb") as file:
        window, total = _Window(file.fileno()), os.fstat(file.fileno()).st_size
        try:
            for start, size in _records(window, total):
                found.append(Record(path, number, start, size, *_told(window, start, size, wanted)))
        except (_Cut, KeyError, IndexError, ValueError, UserError) as error:
            raise UserError(f"{path.name} is damaged or cut short; convert the data set again") from error
    if len(found) != expected:
        raise UserError(
            f"{path.name} holds {len(found)} records, dataset_info.json says {expected}; convert the data set again"
        )
    return found


def _records(window: _Window, total: int) -> Iterator[tuple[int, int]]:
    """Yields where each record's bytes begin, and how many they are."""
    place = 0
    while place < total:
        head = window.at(place, 12)
        if len(head) < 12 or shards.masked_crc(head[:8]) != head[8:]:
            raise _Cut
        (size,) = struct.unpack("<Q", head[:8])
        if place + size + 16 > total:
            raise _Cut
        yield place + 12, size
        place += size + 16


def _entries(window: _Window, start: int, size: int) -> Iterator[tuple[bytes, int, int, int]]:
    """Yields each field's key, where its entry begins and ends, and where its value begins.

    A record is Example > Features > entries of (key, value), each with its length in front.
    """
    end = start + size
    length, used = _length(window.at(start, _MOST_HEAD), 0x0A)
    place = start + used
    if place + length != end:
        raise _Cut
    while place < end:
        head = window.at(place, _MOST_HEAD)
        length, inner = _length(head, 0x0A)
        named, at_key = _length(head, 0x0A, inner)
        entry_end = place + inner + length
        if entry_end > end:
            raise _Cut
        yield head[at_key : at_key + named], place, entry_end, place + at_key + named
        place = entry_end


def _length(head: bytes, tag: int, at: int = 0) -> tuple[int, int]:
    """Returns the length that stands after a tag, and where what it is the length of begins."""
    if head[at] != tag:
        raise _Cut
    value = shift = 0
    while True:
        at += 1
        value |= (head[at] & 0x7F) << shift
        if head[at] < 0x80:
            return value, at + 1
        shift += 7


def _told(window: _Window, start: int, size: int, wanted: _Wanted) -> tuple[dict[str, Array], dict[str, Any]]:
    small, payloads = [], {}
    for key, begin, end, at in _entries(window, start, size):
        if key in wanted.small:
            small.append(window.at(begin, end - begin))
        elif key in wanted.arrays:
            payloads[key] = _payload(window, at, end)
    # A record of the small fields alone is put together and decoded as any other.
    content = b"".join(small)
    values = records.decode(b"\x0a" + _varint(len(content)) + content, tuple(wanted.small.values()))
    arrays = {}
    for key, field in wanted.arrays.items():
        told = values.pop(f"{field.name}/shape") if field.has_free_size else field.shape
        shape, (offset, num_bytes) = tuple(int(n or 0) for n in told), payloads[key]
        if num_bytes != math.prod(shape) * np.dtype(field.dtype).itemsize:
            raise _Cut
        arrays[field.name] = Array(offset, field.dtype, shape)
    return arrays, values


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _payload(window: _Window, at: int, end: int) -> tuple[int, int]:
    """Returns where the bytes of a value stand, and how many they are: Feature > BytesList > bytes."""
    for tag in (0x12, 0x0A, 0x0A):
        length, used = _length(window.at(at, _MOST_HEAD), tag)
        at += used
        if at + length != end:
            raise _Cut
    return at, end - at
