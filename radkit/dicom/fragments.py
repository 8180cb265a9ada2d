"""Frames of an encapsulated Pixel Data value: where each begins and ends, nothing decoded.

Source: DICOM PS3.5 A.4 (fragments, Basic Offset Table), PS3.3 C.7.6.3.1.8 (Extended Offset Table).
"""

import struct
from collections.abc import Sequence
from itertools import pairwise

from radkit.dicom.decoders import PixelError

_ITEM, _END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"
# How a compressed image begins: JPEG and JPEG-LS, JPEG 2000, a JP2 file, JPEG XL's codestream and its container.
_STARTS = (
    b"\xff\xd8", b"\xff\x4f\xff\x51", b"\x00\x00\x00\x0cjP", b"\xff\x0a", b"\x00\x00\x00\x0cJXL ",
)  # fmt: skip

Span = tuple[int, int]


def spans(value: bytes, frames: int, extended: tuple[bytes, bytes] | None = None) -> list[list[Span]]:
    """Returns each frame's fragments: where their bytes begin and end.

    Offset tables are believed when they point at fragments; else the fragments themselves tell where a frame begins.

    Args:
        value: PixelData's, from the first item's tag on.
        frames: NumberOfFrames.
        extended: ExtendedOffsetTable and ExtendedOffsetTableLengths.

    Raises:
        PixelError: The value is cut short, is no sequence of items, or does not hold so many frames.
    """
    table, *found = _items(value)
    if not found:
        raise PixelError("PixelData holds no fragment of a compressed image")
    known = _extended(found, frames, extended) or _spans(value, found, frames, _basic(value, table, found))
    if known is None:
        raise PixelError(
            f"PixelData holds {len(found)} fragments; how they make up {frames} frames (NumberOfFrames) is not told"
        )
    return known


def _items(value: bytes) -> list[Span]:
    """Returns where each item's bytes begin and end; the first is the Basic Offset Table."""
    spans: list[Span] = []
    at = 0
    while at + 8 <= len(value):
        tag, length = value[at : at + 4], int.from_bytes(value[at + 4 : at + 8], "little")
        if tag == _END:
            break
        if tag != _ITEM and not spans:
            break
        if tag != _ITEM:
            raise PixelError("PixelData is damaged: no item tag where the next fragment should begin")
        if at + 8 + length > len(value):
            raise PixelError(
                f"PixelData is cut short: a fragment takes {length} bytes, {len(value) - at - 8} are there"
            )
        spans.append((at + 8, at + 8 + length))
        at += 8 + length
    if not spans:
        raise PixelError("PixelData is no sequence of fragments; the transfer syntax says that it is compressed")
    return spans


def _extended(found: Sequence[Span], frames: int, tables: tuple[bytes, bytes] | None) -> list[list[Span]] | None:
    if tables is None or min(map(len, tables)) < 8 * frames:
        return None
    offsets, lengths = (struct.unpack(f"<{frames}Q", table[: 8 * frames]) for table in tables)
    first = found[0][0] - 8
    whole = {start - 8 - first: (start, stop) for start, stop in found}
    spans = []
    for offset, length in zip(offsets, lengths):
        start, stop = whole.get(offset, (0, -1))
        if not stop - 1 <= start + length <= stop:  # the length is the frame's, a fragment's may have a byte of padding
            return None
        spans.append([(start, start + length)])
    return spans


def _basic(value: bytes, table: Span, found: Sequence[Span]) -> list[int] | None:
    """Returns at which fragment each frame begins, by the Basic Offset Table; None when it is empty or wrong."""
    count = (table[1] - table[0]) // 4
    offsets = struct.unpack(f"<{count}I", value[table[0] : table[0] + 4 * count])
    places = {start - 8 - table[1]: index for index, (start, _) in enumerate(found)}
    begins = [places.get(offset, -1) for offset in offsets]
    if not begins or begins[0] != 0 or any(a >= b for a, b in pairwise(begins)):
        return None
    return begins


def _spans(value: bytes, found: Sequence[Span], frames: int, begins: list[int] | None) -> list[list[Span]] | None:
    """Returns each frame's fragments; None when nothing tells."""
    if begins is None or len(begins) != frames:
        begins = _by_count(value, found, frames)
    if begins is None:
        return None
    return [list(found[a:b]) for a, b in zip(begins, [*begins[1:], len(found)])]


def _by_count(value: bytes, found: Sequence[Span], frames: int) -> list[int] | None:
    if len(found) == frames:
        return list(range(frames))
    starts = [i for i, (start, _) in enumerate(found) if value.startswith(_STARTS, start)]
    if len(starts) == frames and starts[0] == 0:
        return starts
    return [0] if frames == 1 and len(starts) <= 1 else None
