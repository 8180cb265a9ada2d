"""Bodies of HTTP requests: of a length that is told or in chunks, plain or gzip, never more than may be read.

Source: RFC 9112, section 7.1 (chunks); RFC 1952 (gzip).
"""

import time
import zlib
from email.message import Message
from io import BufferedIOBase

# What is still read of a body that is not taken: who is told in the middle of sending does not hear it.
_MOST_UNREAD, _UNREAD_S = 256 << 20, 5.0
_LINE, _PIECE = 1 << 10, 1 << 16
_GZIP = 16 + zlib.MAX_WBITS


class NoBody(Exception):
    """A body that is not taken: HTTP's code, and words; `left` bytes of it are still to come."""

    def __init__(self, code: int, words: str, left: int = 0) -> None:
        super().__init__(words)
        self.code, self.left = code, left


def read(headers: Message, source: BufferedIOBase, most: int) -> bytes | None:
    """Returns a request's body; None where the client went in the middle of it.

    Raises:
        NoBody: It has no length, is too large, or is coded in a way that is not read here.
    """
    coding = headers.get("Content-Encoding", "identity").strip().lower()
    if coding not in ("identity", "gzip", "x-gzip"):
        raise NoBody(415, "Content-Encoding may be gzip or left out")
    body = _chunks(source, most) if _chunked(headers) else _told(headers.get("Content-Length", ""), source, most)
    return body if body is None or coding == "identity" else _unzipped(body, most)


def _chunked(headers: Message) -> bool:
    for name in ("Transfer-Encoding", "Content-Length"):
        if len(headers.get_all(name, [])) > 1:
            raise NoBody(400, f"a request has one {name} only")
    coding = headers.get("Transfer-Encoding", "").strip().lower()
    if coding not in ("", "chunked"):
        raise NoBody(501, "Transfer-Encoding may be chunked or left out")
    if coding and "Content-Length" in headers:  # two readers could disagree on where the next request begins
        raise NoBody(400, "a request has Content-Length or Transfer-Encoding, not both")
    return bool(coding)


def _told(told: str, source: BufferedIOBase, most: int) -> bytes | None:
    if not (told.isascii() and told.isdecimal()):
        raise NoBody(411, "Content-Length is needed")
    length = int(told[:20])
    if length > most:
        raise NoBody(413, f"a body of {length} bytes is too large; at most {most} are read", length)
    body = source.read(length)
    return body if len(body) == length else None


def _chunks(source: BufferedIOBase, most: int) -> bytes | None:
    parts, total = [], 0
    while True:
        line = source.readline(_LINE)
        if not line.endswith(b"\n"):
            return None
        told = line.split(b";")[0].strip()
        if not told or len(told) > 16 or told.strip(b"0123456789abcdefABCDEF"):
            raise NoBody(400, "a chunk's length is no hexadecimal number")
        size = int(told, 16)
        total += size
        if total > most:
            raise NoBody(413, f"a body of more than {most} bytes is too large", _MOST_UNREAD)
        if not size:
            break
        parts.append(source.read(size))
        if len(parts[-1]) < size or source.readline(3) not in (b"\r\n", b"\n"):
            return None
    while (line := source.readline(_LINE)) not in (b"\r\n", b"\n"):  # trailers say nothing here
        if not line:
            return None
    return b"".join(parts)


def _unzipped(body: bytes, most: int) -> bytes:
    reader = zlib.decompressobj(_GZIP)
    try:
        found = reader.decompress(body, most + 1)
    except zlib.error as error:
        raise NoBody(400, "the body is no gzip") from error
    if len(found) > most:
        raise NoBody(413, f"a body that unzips to more than {most} bytes is too large")
    if not reader.eof:
        raise NoBody(400, "the body is gzip that ends too early")
    return found


def discard(source: BufferedIOBase, length: int) -> None:
    """Reads on for a while what nobody wants."""
    ends, left = time.monotonic() + _UNREAD_S, min(length, _MOST_UNREAD)
    while left > 0 and time.monotonic() < ends:
        read_now = source.read1(min(left, _PIECE))
        if not read_now:
            return
        left -= len(read_now)
