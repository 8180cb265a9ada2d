"""What a compressed image says of itself: size, bits, sign, colour, and whether it is all there.

Source: ITU-T T.81 annex B (JPEG), T.87 annex C (JPEG-LS), T.800 annex A (JPEG 2000); JFIF 1.02; Adobe TN 5116.
"""

import struct
from dataclasses import dataclass

# Start of frame: DCT and lossless JPEG, and JPEG-LS; 0xC4, 0xC8 and 0xCC are no frames.
_FRAMES = frozenset((*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0), 0xF7))
LOSSLESS = (0xC3, 0xC7, 0xCB, 0xCF)
_LONE = frozenset((0x01, *range(0xD0, 0xD9)))  # markers without a length
_RGB_IDS = (b"RGB", b"rgb")


@dataclass(frozen=True)
class Stream:
    """A compressed image's own header.

    Attributes:
        rows: Of the image.
        columns: Of the image.
        samples: Components.
        precision: Bits of a sample.
        signed: Samples are signed; only JPEG 2000 can say so.
        encoding: "RGB" or "YBR" where the stream tells, empty where it does not.
        whole: It goes on to its end.
        kind: The marker of its frame: 0xC0 to 0xCF, 0xF7 for JPEG-LS, 0x51 for JPEG 2000.
    """

    rows: int
    columns: int
    samples: int
    precision: int
    signed: bool
    encoding: str
    whole: bool
    kind: int


def read(data: bytes) -> Stream | None:
    """Returns what a JPEG, JPEG-LS or JPEG 2000 image says; None when it is none, or its header is damaged."""
    try:
        if data[:2] == b"\xff\xd8":
            return _jpeg(data)
        start = data.find(b"\xff\x4f\xff\x51", 0, 4096)  # JP2 boxes may stand before it
        return _jpeg_2000(data, start) if start >= 0 else None
    except (struct.error, IndexError):
        return None


def _jpeg(data: bytes) -> Stream | None:
    at, jfif, adobe, frame, kind = 2, False, -1, b"", 0
    while not frame:
        if data[at] != 0xFF:
            return None
        if data[at + 1] == 0xFF or data[at + 1] in _LONE:
            at += 1 if data[at + 1] == 0xFF else 2
            continue
        (length,) = struct.unpack_from(">H", data, at + 2)
        kind, body = data[at + 1], data[at + 4 : at + 2 + length]
        jfif = jfif or (kind == 0xE0 and body.startswith(b"JFIF"))
        if kind == 0xEE and body.startswith(b"Adobe") and len(body) >= 12:
            adobe = body[11]
        frame = body if kind in _FRAMES else b""
        at += 2 + length
    precision, rows, columns, samples = struct.unpack_from(">BHHB", frame)
    encoding = _encoding(frame[6:], adobe, jfif) if samples == 3 and kind != 0xF7 else ""
    if kind in LOSSLESS and encoding == "YBR":  # some write JFIF's marker before anything; the header knows better
        encoding = ""
    # Within coded data 0xFF is followed by other bytes, so that the end marker stands nowhere but at the end.
    return Stream(rows, columns, samples, precision, False, encoding, b"\xff\xd9" in data[-4096:], kind)


def _encoding(components: bytes, adobe: int, jfif: bool) -> str:
    if components[0::3] in _RGB_IDS or adobe == 0:
        return "RGB"
    halved = components[1] > components[4]  # only colour differences are stored at half the resolution
    return "YBR" if adobe == 1 or jfif or halved else ""


def _jpeg_2000(data: bytes, start: int) -> Stream | None:
    at, transformed = start + 2, False
    width, height, left, top = struct.unpack_from(">4I", data, at + 6)
    (samples,) = struct.unpack_from(">H", data, at + 38)
    depths = {data[at + 40 + 3 * index] for index in range(samples)}
    depth = max(depths, key=lambda bits: bits & 0x7F)
    while data[at + 1] != 0x90:  # the main header ends at the first tile part
        if data[at] != 0xFF:
            return None
        (length,) = struct.unpack_from(">H", data, at + 2)
        transformed = transformed or (data[at + 1] == 0x52 and data[at + 8] == 1)
        at += 2 + length
    encoding = "RGB" if transformed and samples >= 3 else ""  # decoders undo the transform
    whole = _all_tiles(data, at)
    return Stream(height - top, width - left, samples, (depth & 0x7F) + 1, depth > 0x7F, encoding, whole, 0x51)


def _all_tiles(data: bytes, at: int) -> bool:
    while data[at : at + 2] == b"\xff\x90":
        (length,) = struct.unpack_from(">I", data, at + 6)
        if not length:  # of the last tile part, which then goes on to the end marker
            return b"\xff\xd9" in data[-4096:]
        at += length
    return at <= len(data)
