"""Two facts of pictures that decoders pass over: which way is up, and whether white is nothing.

Source: TIFF 6.0 sections 2 and 8 (PhotometricInterpretation, Orientation); Exif 2.32 section 4.5.4 (APP1).
"""

import struct
from pathlib import Path

_ORIENTATION, _PHOTOMETRIC = 0x0112, 0x0106
_START = 1 << 17  # Exif stands within the first 64 KiB of a JPEG


def of_picture(path: Path) -> tuple[int, bool]:
    """Returns Orientation (1: as stored) of a JPEG or TIFF, and whether a TIFF's 0 is white; (1, False) if untold."""
    with path.open("rb") as file:
        start = file.read(_START)
        begin = start.find(b"Exif\0\0") + 6 if start.startswith(b"\xff\xd8") else 0
        if start[begin : begin + 4] not in (b"II*\0", b"MM\0*") or begin == 5:
            return 1, False
        order = "<" if start[begin : begin + 2] == b"II" else ">"
        (offset,) = struct.unpack_from(f"{order}I", start, begin + 4)
        file.seek(begin + offset)
        directory = file.read(2 + 12 * 512)
    tags = _tags(directory, order)
    return tags.get(_ORIENTATION, 1), not begin and tags.get(_PHOTOMETRIC) == 0


def _tags(directory: bytes, order: str) -> dict[int, int]:
    """Returns the tags of a directory that are one 16-bit number each."""
    if len(directory) < 2:
        return {}
    (count,) = struct.unpack_from(f"{order}H", directory)
    entries = (directory[2 + 12 * n : 14 + 12 * n] for n in range(count))
    read = [struct.unpack(f"{order}HHIH2x", entry) for entry in entries if len(entry) == 12]
    return {tag: value for tag, kind, number, value in read if (kind, number) == (3, 1)}
