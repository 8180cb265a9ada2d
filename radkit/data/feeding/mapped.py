"""Shards as mapped files: any part of an image is read by itself, and what was read stays in the system's file cache.

A record's sum is checked when it is first read, by reading all of it once; from then on parts are taken as they are.
"""

import threading
from collections import OrderedDict
from pathlib import Path

import numpy as np

from radkit.data import shards
from radkit.data.feeding import places
from radkit.errors import UserError

_MOST_OPEN = 256  # files at once; a process may commonly open 1024


class Shards:
    """The mapped files of a data set, and which of their records were found sound."""

    def __init__(self) -> None:
        self._open: OrderedDict[Path, np.ndarray] = OrderedDict()
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
        file = self._mapped(record.path)
        key = (record.path, record.start)
        if key not in self._sound:
            end = record.start + record.size
            if shards.masked_crc(file[record.start : end]) != file[end : end + 4].tobytes():
                raise UserError(f"{record.path.name} is damaged or cut short; convert the data set again")
            self._sound.add(key)
        return file

    def _mapped(self, path: Path) -> np.ndarray:
        with self._lock:
            if path in self._open:
                self._open.move_to_end(path)
            else:
                self._open[path] = np.memmap(path, np.uint8, mode="r")
                if len(self._open) > _MOST_OPEN:  # those that views are made of stay mapped until these are gone
                    self._open.popitem(last=False)
            return self._open[path]
