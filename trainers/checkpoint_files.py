"""One checkpoint on disk: a folder that is whole or not there, with sums that tell when its bytes have changed.

data.bin         the values of all variables, one after the other, as they lie in memory (little-endian)
manifest.json    their names, shapes and types in that order, the facts beside them, SHA-256 sums of all files
best.weights.h5  the run's best weights at that time (a hard link where the file system has them), if there were any
"""

import contextlib
import hashlib
import json
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from radkit import outputs
from radkit.errors import UserError

DATA = "data.bin"
MANIFEST = "manifest.json"
INCOMPLETE = ".incomplete"  # at the end of a folder's name: being written or being removed
FORMAT = 1


class Damaged(Exception):
    """A checkpoint that is cut or changed; the message says what is wrong with it."""


def write(folder: Path, values: Mapping[str, np.ndarray], facts: Mapping[str, Any], beside: Mapping[str, Path]) -> None:
    """Writes a checkpoint: aside, waited for until the disk has it, then renamed; one of that name is replaced.

    Args:
        folder: What it becomes.
        values: Of each variable, by name.
        facts: JSON values to keep with them.
        beside: Files that move into it, by the name they get; they lie on the same disk.

    Raises:
        OSError: The disk is full or closed; nothing of the checkpoint is left.
    """
    outputs.require_space(folder.parent, sum(value.nbytes for value in values.values()) + 4096)
    aside = folder.with_name(folder.name + INCOMPLETE)
    shutil.rmtree(aside, ignore_errors=True)
    try:
        aside.mkdir()
        sums = {DATA: _write_values(aside / DATA, values)}
        for name, path in beside.items():
            sums[name] = digest(path.replace(aside / name))
        variables = [[name, list(value.shape), value.dtype.name] for name, value in values.items()]
        said = {"format": FORMAT, "saved": time.time(), "facts": facts, "variables": variables, "sums": sums}
        _write_whole(aside / MANIFEST, json.dumps({**said, "sha256": _sum_of(said)}).encode())
        _sync(aside)
        if folder.exists():  # damaged, or saved once more where training was stopped
            remove(folder)
        aside.rename(folder)
        _sync(folder.parent)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise


def _write_values(path: Path, values: Mapping[str, np.ndarray]) -> str:
    sums = hashlib.sha256()
    with path.open("wb") as file:
        for value in values.values():
            seen = np.ascontiguousarray(value).reshape(-1).view(np.uint8).data
            file.write(seen)
            sums.update(seen)
        file.flush()
        os.fsync(file.fileno())
    return sums.hexdigest()


def _write_whole(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    """Waits until the disk has a folder's list of names: after a power cut, a rename is only then there."""
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def digest(path: Path) -> str:
    """Returns a file's SHA-256."""
    with path.open("rb") as file:
        sums = hashlib.sha256()
        while block := file.read(1 << 20):
            sums.update(block)
    return sums.hexdigest()


def _sum_of(said: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(said, sort_keys=True, allow_nan=False).encode()).hexdigest()


def remove(folder: Path) -> None:
    """Removes a checkpoint: renamed first, so that a kill leaves none that is half there."""
    aside = folder.with_name(f"{folder.name}.old{INCOMPLETE}")
    shutil.rmtree(aside, ignore_errors=True)
    with contextlib.suppress(FileNotFoundError):
        folder.rename(aside)
    shutil.rmtree(aside, ignore_errors=True)


def manifest(folder: Path) -> dict[str, Any]:
    """Returns what a checkpoint's manifest says.

    Raises:
        Damaged: It is missing, cut or changed.
        UserError: Another version of radkit wrote it.
    """
    try:
        read = json.loads((folder / MANIFEST).read_bytes())
        expected = read.pop("sha256")
        if _sum_of(read) != expected:
            raise Damaged(f"{MANIFEST} was changed")
    except FileNotFoundError as error:
        raise Damaged(f"{MANIFEST} is missing") from error
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise Damaged(f"{MANIFEST} is cut or was changed") from error
    if read["format"] != FORMAT:
        raise UserError(
            f"{folder} is a checkpoint of format {read['format']}, this radkit reads {FORMAT}; go on with the radkit "
            "that began the run, or name another --output"
        )
    return dict(read)


def read(folder: Path, said: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Returns the values of a checkpoint's variables, by name, as they were.

    Args:
        folder: The checkpoint.
        said: Its `manifest`.

    Raises:
        Damaged: A file is missing, cut or changed.
    """
    for name, expected in said["sums"].items():
        if not (folder / name).is_file():
            raise Damaged(f"{name} is missing")
        if digest(folder / name) != expected:
            raise Damaged(f"{name} is cut or was changed")
    is_empty = (folder / DATA).stat().st_size == 0  # no memory is mapped of nothing
    content = np.empty(0, np.uint8) if is_empty else np.memmap(folder / DATA, mode="r")
    first, values = 0, {}
    for name, shape, dtype in said["variables"]:
        kind = np.dtype(tf.as_dtype(dtype).as_numpy_dtype)  # numpy alone does not know bfloat16
        size = kind.itemsize * int(np.prod(shape, dtype=np.int64))
        values[name] = np.array(content[first : first + size]).view(kind).reshape(shape)
        first += size
    return values
