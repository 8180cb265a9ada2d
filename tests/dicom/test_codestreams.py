"""Headers of compressed images, against those that encoders write."""

import struct

import imagecodecs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from radkit.dicom import codestreams
from tests import made_up

GREY = made_up.stored_values((12, 20), np.uint16)
COLOUR = np.random.default_rng(0).integers(0, 256, (12, 20, 3), np.uint8)
STREAMS = {
    "JPEG": imagecodecs.jpeg8_encode((GREY >> 8).astype(np.uint8)),
    "lossless": imagecodecs.jpeg8_encode(GREY, lossless=True, bitspersample=16),
    "JPEG-LS": imagecodecs.jpegls_encode(GREY),
    "JPEG 2000": imagecodecs.jpeg2k_encode(GREY, level=0, codecformat="j2k", reversible=True),
    "signed": imagecodecs.jpeg2k_encode(GREY.view(np.int16), level=0, codecformat="j2k", reversible=True),
    "JP2": imagecodecs.jpeg2k_encode(GREY, level=0, codecformat="jp2", reversible=True),
    "colour": imagecodecs.jpeg8_encode(COLOUR),
    "MCT": imagecodecs.jpeg2k_encode(COLOUR, level=0, codecformat="j2k", reversible=True, mct=True),
    "no MCT": imagecodecs.jpeg2k_encode(COLOUR, level=0, codecformat="j2k", reversible=True, mct=False),
}


def jpeg(*segments, components=(1, 2, 3), sampling=(0x11, 0x11, 0x11)):
    """Returns the header of a JPEG image: each segment a marker and its bytes."""
    specs = b"".join(bytes([c, s, 0]) for c, s in zip(components, sampling))
    frame = struct.pack(">BHHB", 8, 12, 20, len(components)) + specs
    written = b"\xff\xd8"
    for marker, body in (*segments, (0xC0, frame)):
        written += bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body
    return written + b"\xff\xd9"


@pytest.mark.parametrize(
    ("name", "samples", "precision", "signed", "kind"),
    [
        ("JPEG", 1, 8, False, 0xC0),
        ("lossless", 1, 16, False, 0xC3),
        ("JPEG-LS", 1, 16, False, 0xF7),
        ("JPEG 2000", 1, 16, False, 0x51),
        ("signed", 1, 16, True, 0x51),
        ("JP2", 1, 16, False, 0x51),
        ("colour", 3, 8, False, 0xC0),
        ("MCT", 3, 8, False, 0x51),
    ],
)
def test_a_stream_says_what_it_holds(name, samples, precision, signed, kind):
    stream = codestreams.read(STREAMS[name])
    assert (stream.rows, stream.columns, stream.samples) == (12, 20, samples)
    assert (stream.precision, stream.signed, stream.kind, stream.whole) == (precision, signed, kind, True)


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_cut_short_is_not_whole(name):
    data = STREAMS[name]
    for length in range(2, len(data) - 2, 7):
        stream = codestreams.read(data[:length])
        assert stream is None or not stream.whole


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        (STREAMS["colour"], "YBR"),
        (STREAMS["JPEG"], ""),
        (STREAMS["MCT"], "RGB"),
        (STREAMS["no MCT"], ""),
        (jpeg(), ""),
        (jpeg((0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0")), "YBR"),
        (jpeg((0xEE, b"Adobe\0\x64\0\0\0\0\0")), "RGB"),
        (jpeg((0xEE, b"Adobe\0\x64\0\0\0\0\1")), "YBR"),
        (jpeg((0xEE, b"Adobe\0\0\0\0\0")), ""),  # without its last bytes it says nothing
        (jpeg((0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0"), components=b"RGB"), "RGB"),
        (jpeg(sampling=(0x21, 0x11, 0x11)), "YBR"),
        (jpeg(sampling=(0x22, 0x11, 0x11)), "YBR"),
    ],
)
def test_a_stream_says_which_colours_it_holds(data, encoding):
    assert codestreams.read(data).encoding == encoding


@given(st.binary(max_size=200), st.sampled_from([b"", b"\xff\xd8\xff", b"\xff\x4f\xff\x51", b"\xff\xd8\xff\xc0"]))
def test_any_bytes_are_read_or_are_nothing(data, start):
    stream = codestreams.read(start + data)
    assert stream is None or stream.samples >= 0
