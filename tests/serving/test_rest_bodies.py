"""Bodies of HTTP requests, by what RFC 9112 and gzip's own reader say of them."""

import gzip
import io
from email.message import Message

import pytest

from serving import rest_bodies


def read(body: bytes, most: int = 64, **headers: str) -> tuple[bytes | None, bytes]:
    """Returns what is read of a body, and what stays of the next request."""
    told, source = Message(), io.BufferedReader(io.BytesIO(body + b"NEXT"))  # type: ignore[arg-type]
    for name, value in headers.items():
        told[name.replace("_", "-")] = value
    return rest_bodies.read(told, source, most), source.read()


def test_a_body_of_a_told_length_ends_there() -> None:
    assert read(b"{}", Content_Length="2") == (b"{}", b"NEXT")
    assert read(b"{}", Content_Length="9") == (None, b"")


def test_chunks_are_put_together_and_trailers_dropped() -> None:
    body = b"3\r\nabc\r\nA;name=value\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n"
    assert read(body, Transfer_Encoding="chunked") == (b"abc0123456789", b"NEXT")


def test_gzip_is_read_to_the_limit_of_what_it_holds() -> None:
    body = gzip.compress(b"x" * 64)
    assert read(body, Content_Length=str(len(body)), Content_Encoding="gzip")[0] == b"x" * 64
    bomb = gzip.compress(b"x" * 10_000)
    assert len(bomb) < 64
    with pytest.raises(rest_bodies.NoBody, match="unzips to more than 64"):
        read(bomb, Content_Length=str(len(bomb)), Content_Encoding="gzip")


@pytest.mark.parametrize(
    ("body", "headers", "code"),
    [
        (b"", {}, 411),
        (b"", {"Content_Length": "-1"}, 411),
        (b"", {"Content_Length": "65"}, 413),
        (b"", {"Content_Length": "9" * 5000}, 413),
        (b"", {"Transfer_Encoding": "gzip"}, 501),
        (b"", {"Transfer_Encoding": "chunked", "Content_Length": "3"}, 400),
        (b"-1\r\n", {"Transfer_Encoding": "chunked"}, 400),
        (b"0x3\r\n", {"Transfer_Encoding": "chunked"}, 400),
        (b"FFFFFFFFFFFFFFFF\r\n", {"Transfer_Encoding": "chunked"}, 413),
        (b"x", {"Content_Length": "1", "Content_Encoding": "gzip"}, 400),
        (b"x", {"Content_Length": "1", "Content_Encoding": "br"}, 415),
        (gzip.compress(b"x", mtime=0)[:-4], {"Content_Length": "17", "Content_Encoding": "gzip"}, 400),
    ],
)
def test_what_cannot_be_read_gets_a_code(body: bytes, headers: dict[str, str], code: int) -> None:
    with pytest.raises(rest_bodies.NoBody) as caught:
        read(body, **headers)
    assert caught.value.code == code


@pytest.mark.parametrize("body", [b"", b"3", b"3\r\nab", b"2\r\nabc\r\n0\r\n\r\n", b"1\r\na\r\n"])
def test_chunks_that_end_too_early_are_no_body(body: bytes) -> None:
    told = Message()
    told["Transfer-Encoding"] = "chunked"
    assert rest_bodies.read(told, io.BufferedReader(io.BytesIO(body)), 64) is None  # type: ignore[arg-type]
