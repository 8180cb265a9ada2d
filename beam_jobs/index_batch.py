"""What a worker of `index` does with a batch of files: one part of the instances' table, written last.

A run that was killed goes on with the batches that have no part. A module of its own, so that workers can import it.
"""

import hashlib
import json
import math
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from beam_jobs import runner
from radkit.dicom import scan

FILES_PER_BATCH = 256
PARTS, LISTING = "parts", "listing"
NAME = "the file's name is not UTF-8; rename it (convmv does)"

# Columns that are numbers; an attribute that is none, or several, is null there and counted. All others are text.
WHOLE = (
    "Rows", "Columns", "NumberOfFrames", "BitsAllocated", "BitsStored", "SamplesPerPixel", "SeriesNumber",
    "InstanceNumber", "AcquisitionNumber", "TemporalPositionIdentifier",
)  # fmt: skip
REAL = (
    "SliceThickness", "SpacingBetweenSlices", "KVP", "MagneticFieldStrength", "EchoTime", "RepetitionTime",
    "InversionTime", "FlipAngle", "DiffusionBValue",
)  # fmt: skip
SIZE = "size_bytes"
COLUMNS = ("path", SIZE, *scan.KEYWORDS, "TransferSyntaxUID")
_LARGEST = 2**53  # beyond it a float is no longer the whole number that was written

Batch = tuple[int, int, int]  # its number, and where in the listing it begins and how many bytes it has there


def schema(columns: Sequence[str] = COLUMNS) -> Any:
    """Returns the Arrow schema of columns of the instances' table."""
    import pyarrow  # Beam brings it; a second to load, so only where it is needed

    kinds = {**dict.fromkeys((*WHOLE, SIZE), pyarrow.int64()), **dict.fromkeys(REAL, pyarrow.float64())}
    return pyarrow.schema([(name, kinds.get(name, pyarrow.string())) for name in columns])


def write_listing(folder: Path, file: BinaryIO, passed_over: Callable[[str], None]) -> tuple[str, list[Batch], int]:
    """Writes a folder's files with their sizes; returns their digest, the batches, and how many there are.

    Args:
        folder: Where to look.
        file: Written to: size, path and a zero byte each.
        passed_over: See `scan.walk`.
    """
    batches: list[Batch] = []
    digest, count, begun = hashlib.sha256(), 0, 0
    for path, entry in scan.walk(folder, passed_over):
        try:
            name, size = os.fsencode(path), entry.stat().st_size
        except FileNotFoundError:  # an archive that is in use: gone since the folder was listed
            continue
        digest.update(name + f"\0{size}\n".encode())
        file.write(b"%d %s\0" % (size, name))
        count += 1
        if count % FILES_PER_BATCH == 0:
            batches.append((len(batches), begun, file.tell() - begun))
            begun = file.tell()
    if file.tell() > begun:
        batches.append((len(batches), begun, file.tell() - begun))
    return digest.hexdigest(), batches, count


def listed(batch: Batch, root: Path) -> Iterator[tuple[bytes, int]]:
    """Yields path, as the file system has it, and size of each of a batch's files, from the listing below `root`."""
    _, start, length = batch
    with (root / LISTING).open("rb") as file:
        file.seek(start)
        for entry in file.read(length).split(b"\0")[:-1]:
            size, _, name = entry.partition(b" ")
            yield name, int(size)


def scan_batch(batch: Batch, folder: str, root: str, ledger: str) -> None:
    """Reads a batch's headers and writes them as `parts/<number>.parquet`.

    Files that are no DICOM, with their reasons, and how often a number could not be read are in its metadata.

    Args:
        batch: Which of the listing's files.
        folder: What their paths are below.
        root: Where the listing is and the part goes.
        ledger: See `runner.finished`.
    """
    columns: dict[str, list[Any]] = {name: [] for name in COLUMNS}
    aside: list[tuple[str, str]] = []
    odd: Counter[str] = Counter()
    count = 0
    for name, size in listed(batch, Path(root)):
        count += 1
        try:
            path = name.decode()
        except UnicodeDecodeError:  # no table, and no worker elsewhere, could name it
            aside.append((name.decode("utf-8", "backslashreplace"), NAME))
            continue
        try:
            instance = scan.read_instance(Path(folder, path))
        except scan.NotDicom as error:
            aside.append((path, str(error)))
            continue
        for keyword, value in _row(path, size, instance.values, odd).items():
            columns[keyword].append(value)
    _write(Path(root, PARTS, f"{batch[0]:06d}.parquet"), columns, {"aside": aside, "odd": dict(odd)})
    runner.finished(ledger, batch[0], count)


def _row(path: str, size: int, values: dict[str, str], odd: Counter[str]) -> dict[str, Any]:
    row: dict[str, Any] = {name: values.get(name) for name in COLUMNS}
    row.update({"path": path, SIZE: size})
    for keywords, read in ((WHOLE, whole), (REAL, real)):
        for keyword in keywords:
            if row[keyword] is not None:
                row[keyword] = read(row[keyword])
                odd[keyword] += row[keyword] is None
    return row


def real(text: str) -> float | None:
    r"""Returns a finite number, None for what is none.

    >>> real("2.50"), real("1e3"), real("nan"), real("1\\2")
    (2.5, 1000.0, None, None)
    """
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def whole(text: str) -> int | None:
    """Returns a whole number, None for what is none.

    >>> whole("12"), whole("12.0"), whole("12.5"), whole("1e300")
    (12, 12, None, None)
    """
    value = real(text)
    return None if value is None or value != int(value) or abs(value) > _LARGEST else int(value)


def _write(path: Path, columns: dict[str, list[Any]], notes: dict[str, Any]) -> None:
    import pyarrow
    from pyarrow import parquet

    table = pyarrow.table([_array(columns[field.name], field.type) for field in schema()], schema())
    aside = path.with_name(f"{path.name}.incomplete.{os.getpid()}")
    parquet.write_table(table.replace_schema_metadata({"radkit": json.dumps(notes)}), aside)
    aside.replace(path)


def _array(values: list[Any], kind: Any) -> Any:
    import pyarrow

    try:
        return pyarrow.array(values, kind)
    except UnicodeEncodeError:  # half a character, as a wrong SpecificCharacterSet makes it
        return pyarrow.array([v if v is None else v.encode("utf-8", "replace").decode() for v in values], kind)


def notes(path: Path) -> dict[str, Any]:
    """Returns a part's metadata: `aside`, the (path, reason) of files that are no DICOM, and `odd`, keyword: count."""
    from pyarrow import parquet

    found: dict[str, Any] = json.loads(parquet.read_schema(path).metadata[b"radkit"])
    return found
