"""The file around a data set: found out how it is encoded, and written anew with a preamble and meta of our own.

Source: DICOM PS3.10 section 7; PS3.5 Annex A.
"""

import contextlib
import mmap
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from radkit.deid import reencode, wire
from radkit.deid.wire import NotCleanable, Part, Scanner, Syntax
from radkit.dicom.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME

IMPLICIT_LITTLE, EXPLICIT_LITTLE = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
DEFLATED, EXPLICIT_BIG = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"
_NATIVE = {0: EXPLICIT_LITTLE, 1: IMPLICIT_LITTLE, 2: EXPLICIT_BIG}
_STANDARD = "1.2.840.10008.1.2."  # all but those named above are compressed, and explicit
# Old archives leave the preamble out; then the first element is of group 0002 or 0008.
FIRST_BYTES = (b"\2\0", b"\x08\0", b"\0\x08")
# JPIP Referenced Deflate and its HTJ2K kin: deflated as well, and their pixels lie elsewhere.
_REFUSED = ("1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.205")

# Larger files are mapped and their pixels copied by the kernel, so that memory stays flat.
_MOST_READ_BYTES = 8 << 20
_MOST_INFLATED_BYTES = 4 << 30
# A kernel's copy of less costs more than it saves.
_LEAST_COPIED_BYTES = 1 << 20


@dataclass
class Source:
    """A file's data set, undecoded.

    Attributes:
        scanner: Over the bytes.
        start: Where the data set begins.
        syntax: How its elements are encoded.
        transfer_syntax: TransferSyntaxUID; what is found where the file says none or another.
        file: The file itself; None for bytes in memory.
        mapped: Whether the bytes are the file's own pages.
        trailing: Whether anything stands behind deflated data.
    """

    scanner: Scanner
    start: int
    syntax: Syntax
    transfer_syntax: str
    file: BinaryIO | None
    mapped: bool
    trailing: bool = False


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Source]:
    """Yields a file's data set.

    Raises:
        NotCleanable: It is no DICOM, cut short, or of a transfer syntax whose values cannot be told.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        denied = isinstance(error, PermissionError)
        raise NotCleanable("the file may not be opened" if denied else "the file cannot be opened") from error
    with file:
        size = os.fstat(file.fileno()).st_size
        if size <= _MOST_READ_BYTES:
            yield source_of(file.read(), file)
        else:
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as pages:
                yield source_of(pages, file)  # type: ignore[arg-type]


def source_of(buffer: bytes, file: BinaryIO | None = None) -> Source:
    """Returns a file's bytes as a source.

    Raises:
        NotCleanable: As `opened`.
    """
    if len(buffer) == 0:
        raise NotCleanable("the file is empty")
    start, said = _meta(buffer)
    if said in _REFUSED or (said and not all(part.isdigit() for part in said.split("."))):
        raise NotCleanable("a transfer syntax that cannot be read")
    if said == DEFLATED:
        inflated, trailing = _inflated(buffer[start:])
        return Source(Scanner(inflated), 0, wire.EXPLICIT, DEFLATED, file, False, trailing)
    syntax = _syntax(buffer, start)
    if (
        syntax is wire.IMPLICIT and said.startswith(_STANDARD) and said not in _NATIVE.values()
    ):  # no reader would find its way
        repaired = reencode.explicit(Scanner(buffer), start, len(buffer))
        return Source(Scanner(repaired), 0, wire.EXPLICIT, said, file, False)
    if said in ("", *_NATIVE.values()):
        said = _NATIVE[syntax.number]
    return Source(Scanner(buffer), start, syntax, said, file, not isinstance(buffer, bytes))


def _meta(buffer: bytes) -> tuple[int, str]:
    """Returns where the data set begins and what its TransferSyntaxUID is said to be."""
    if buffer[128:132] == b"DICM":
        position = 132
    elif buffer[:2] in FIRST_BYTES:
        position = 0
    else:
        raise NotCleanable("the file is not DICOM")
    said, scanner = "", Scanner(buffer)
    while buffer[position : position + 2] == b"\2\0":
        tag, _, length, value = scanner.header(position, wire.EXPLICIT)
        if tag == 0x00020010:
            said = buffer[value : value + length].decode("latin-1").strip(" \0")
        position = value + length
    return position, said


def _inflated(deflated: bytes) -> tuple[bytes, bool]:
    """Returns the inflated data set, and whether anything stands behind it."""
    inflater = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
    try:
        inflated = inflater.decompress(deflated, _MOST_INFLATED_BYTES)
    except zlib.error as error:
        raise NotCleanable("deflated data are damaged") from error
    if not inflater.eof:
        raise NotCleanable(wire.CUT)
    return inflated, any(inflater.unused_data)


def _syntax(buffer: bytes, start: int) -> Syntax:
    """Returns how the first element is in fact encoded: what a file says of itself is not always so."""
    first = buffer[start : start + 6]
    if len(first) < 6:
        raise NotCleanable("the file holds nothing")
    explicit = wire.is_known(first[4:6])
    if first[0] == 0 and first[1] != 0:  # groups below 0100 begin with a zero byte only when big endian
        if not explicit:
            raise NotCleanable("a transfer syntax that cannot be read")
        return wire.BIG
    return wire.EXPLICIT if explicit else wire.IMPLICIT


def meta(sop_class: str, instance: str, transfer_syntax: str) -> bytes:
    """Returns a preamble of zeros and the file meta information."""
    elements = b"".join((
        wire.element(0x00020001, "OB", b"\0\1", wire.EXPLICIT),
        wire.element(0x00020002, "UI", sop_class.encode(), wire.EXPLICIT),
        wire.element(0x00020003, "UI", instance.encode(), wire.EXPLICIT),
        wire.element(0x00020010, "UI", transfer_syntax.encode(), wire.EXPLICIT),
        wire.element(0x00020012, "UI", IMPLEMENTATION_CLASS_UID.encode(), wire.EXPLICIT),
        wire.element(0x00020013, "SH", IMPLEMENTATION_VERSION_NAME.encode(), wire.EXPLICIT),
    ))  # fmt: skip
    length = wire.element(0x00020000, "UL", struct.pack("<L", len(elements)), wire.EXPLICIT)
    return bytes(128) + b"DICM" + length + elements


def write(path: str, head: bytes, parts: Sequence[Part], source: Source, transfer_syntax: str) -> None:
    """Writes a file, whole or not at all.

    Args:
        path: A name beside the file's own, which it gets when it is complete.
        head: What `meta` returned.
        parts: New bytes and runs of the source.
        source: Where the runs are copied from.
        transfer_syntax: Of the new file.
    """
    try:
        with open(path, "wb", buffering=0) as file:
            if transfer_syntax == DEFLATED:
                _write_all(file, [head, deflated(joined(parts, source))])
            else:
                _write_parts(file, head, parts, source)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(path)
        raise


def joined(parts: Sequence[Part], source: Source) -> bytes:
    """Returns parts as one, for data sets that stay in memory."""
    return b"".join(_bytes(part, source) for part in parts)


def deflated(content: bytes) -> bytes:
    """Returns a data set as the deflated transfer syntax holds it."""
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    deflated = deflater.compress(content) + deflater.flush()
    return deflated + b"\0" * (len(deflated) % 2)


def _write_parts(file: BinaryIO, head: bytes, parts: Sequence[Part], source: Source) -> None:
    pending: list[bytes | memoryview] = [head]
    view = None if source.mapped else memoryview(source.scanner.buffer)
    for part in parts:
        if isinstance(part, bytes):
            pending.append(part)
        elif view is not None:
            pending.append(view[part[0] : part[1]])
        elif part[1] - part[0] < _LEAST_COPIED_BYTES:
            pending.append(source.scanner.buffer[part[0] : part[1]])
        else:
            _write_all(file, pending)
            pending = []
            _copy(source, part[0], part[1], file)
    _write_all(file, pending)


def _write_all(file: BinaryIO, pending: Sequence[bytes | memoryview]) -> None:
    """Writes everything: small pieces joined, so that one call does for most files."""
    small: list[bytes | memoryview] = []
    for piece in pending:
        if len(piece) < _LEAST_COPIED_BYTES // 16:
            small.append(piece)
            continue
        _write(file, b"".join(small))
        small = []
        _write(file, piece)
    _write(file, b"".join(small))


def _write(file: BinaryIO, piece: bytes | memoryview) -> None:
    while len(piece):
        piece = piece[file.write(piece) :]


def _copy(source: Source, start: int, end: int, target: BinaryIO) -> None:
    assert source.file is not None  # mapped pages are a file's
    while start < end:
        copied = os.sendfile(target.fileno(), source.file.fileno(), start, min(end - start, 1 << 28))
        if not copied:
            raise NotCleanable(wire.CUT)
        start += copied


def _bytes(part: Part, source: Source) -> bytes:
    return part if isinstance(part, bytes) else bytes(source.scanner.buffer[part[0] : part[1]])
