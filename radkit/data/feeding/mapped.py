"""Shards as mapped files: any part of an image is read by itself, and what was read stays in the system's file cache.

A record's sum is checked when it is first read, by reading all of it once; from then on parts are taken as they are.
Now and then pages are given back, so that the process does not grow by all the files that it ever read.
"""

import mmap
import threading
from collections import OrderedDict
from pathlib import Path

import numpy as np

from radkit.data import shards
from radkit.data.feeding import places
from radkit.errors import UserError

_MOST_OPEN = 256  # files at once; a process may commonly open 1024
_MOST_GIVEN = 2**29  # bytes of records, after which pages are given back; the system's cache still holds them


class Shards:
    """The mapped files of a data set, and which of their records were found sound."""

    def __init__(self) -> None:
        self._open: OrderedDict[Path, mmap.mmap] = OrderedDict()
        self._given = 0
        self._sound: set[tuple[Path, int]] = set()
        self._lock = threading.Lock()

    def array(self, record: places.Record, name: str) -> np.ndarray:
        """Returns a view of a record's array, as it stands in the file.

        Raises:
            UserError: The record is damaged.
        """
        place = record.arrays[name]
        dtype = np.dtype(place.dtype).newbyteorder("<")
        return np.ndarray(place.shape, dtype, buffer=self._bytes_of(record), offset=place.offset)

    def record(self, record: places.Record) -> bytes:
        """Returns a whole record's bytes.

        Raises:
            UserError: It is damaged.
        """
        return self._bytes_of(record)[record.start : record.start + record.size].tobytes()

    def _bytes_of(self, record: places.Record) -> np.ndarray:
        file = np.frombuffer(self._mapped(record), np.uint8)
        key = (record.path, record.start)
        if key not in self._sound:
            end = record.start + record.size
            if shards.masked_crc(file[record.start : end]) != file[end : end + 4].tobytes():
                raise UserError(f"{record.path.name} is damaged or cut short; convert the data set again")
            self._sound.add(key)
        return file

    def _mapped(self, record: places.Record) -> mmap.mmap:
        path = record.path
        with self._lock:
            if path in self._open:
                self._open.move_to_end(path)
            else:
                self._open[path] = _map(path)
                if len(self._open) > _MOST_OPEN:  # those that views are made of stay mapped until these are gone
                    self._open.popitem(last=False)
            self._given += record.size
            if self._given > _MOST_GIVEN:
                self._given = 0
                for held in self._open.values():  # who reads one now finds its pages in the system's cache
                    held.madvise(mmap.MADV_DONTNEED)
            return self._open[path]


def _map(path: Path) -> mmap.mmap:
    try:
        with path.open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:  # ValueError: it is empty
        raise UserError(f"{path.name} was there when training began and cannot be read now; check the disk") from error
