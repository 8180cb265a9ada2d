"""Frames among fragments, against pydicom's own encapsulation."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import encaps

from radkit.dicom import fragments
from radkit.dicom.decoders import PixelError

START, END = b"\xff\xd8\xff", b"\xff\xd9"
# Compressed frames of an even number of bytes, each begun as JPEG begins.
frames_of_bytes = st.lists(st.binary(max_size=40).map(lambda b: START + b + b"\0" * (1 - len(b) % 2) + END), min_size=1)


def item(data):
    return b"\xfe\xff\x00\xe0" + struct.pack("<I", len(data)) + data


def found(value, count, extended=None):
    spans = fragments.spans(value, count, extended)
    return [b"".join(value[start:stop] for start, stop in parts) for parts in spans]


def padded(frame):
    return frame + b"\0" * (len(frame) % 2)


@given(frames_of_bytes, st.integers(1, 4), st.booleans())
def test_frames_are_found_in_any_number_of_fragments(frames, parts, with_table):
    parts = min(parts, min(map(len, frames)) // 2)
    value = encaps.encapsulate(frames, fragments_per_frame=parts, has_bot=with_table)
    assert [f.rstrip(b"\0") for f in found(value, len(frames))] == [f.rstrip(b"\0") for f in frames]


@given(frames_of_bytes)
def test_an_extended_offset_table_tells_each_frame_and_its_length(frames):
    value, offsets, lengths = encaps.encapsulate_extended(frames)
    # Frames that begin like nothing, one to a fragment more than told: only the table can tell.
    assert found(value + item(b"more"), len(frames), (offsets, lengths)) == frames


def test_a_table_tells_what_the_fragments_do_not():
    value = encaps.encapsulate([b"abcdef", b"ghijklmn"], fragments_per_frame=2)
    assert found(value, 2) == [b"abcdef" + b"", b"ghijklmn"]


@pytest.mark.parametrize("table", [(0, 7), (4, 20), (0, 0), (0, 20, 40), (20, 0)])
def test_a_wrong_offset_table_is_not_believed(table):
    one, other = START + b"123" + END, START + b"4567" + b"\0" + END
    value = item(struct.pack(f"<{len(table)}I", *table)) + item(padded(one)) + item(padded(other)) + item(b"tail")
    assert found(value, 2) == [padded(one), padded(other) + b"tail"]


@pytest.mark.parametrize(
    ("offsets", "lengths"), [((0, 3), (6, 8)), ((0, 14), (2, 8)), ((0, 14), (6, 30)), ((0,), (6,))]
)
def test_a_wrong_extended_table_is_not_believed(offsets, lengths):
    frames = [START + b"1" + END, START + b"333" + END]
    value = encaps.encapsulate(frames)
    assert found(value, 2, tuple(struct.pack(f"<{len(t)}Q", *t) for t in (offsets, lengths))) == [
        padded(f) for f in frames
    ]


@pytest.mark.parametrize(
    ("value", "count", "said"),
    [
        (b"", 1, "no sequence of fragments"),
        (b"\0" * 64, 1, "no sequence of fragments"),
        (item(b"") + b"\0" * 64, 1, "no item tag"),
        (item(b""), 1, "holds no fragment"),
        (item(b"") + item(b"12345678")[:-3], 1, "cut short: a fragment takes 8 bytes, 5 are there"),
        (item(b"") + item(b"aa") + item(b"bb") + item(b"cc"), 2, "3 fragments; how they make up 2 frames"),
        (item(b"") + item(b"aa"), 2, "1 fragments; how they make up 2 frames"),
        (item(b"") + item(START + b"a") + item(START + b"b"), 1, "2 fragments; how they make up 1 frames"),
    ],
)
def test_what_is_no_such_value_is_refused_with_its_numbers(value, count, said):
    with pytest.raises(PixelError) as caught:
        fragments.spans(value, count)
    assert said in str(caught.value)


@given(st.binary(max_size=200), st.integers(1, 5))
def test_any_bytes_are_read_or_refused(data, count):
    try:
        spans = fragments.spans(item(b"") + data, count)
    except PixelError:
        return
    assert len(spans) == count
    assert all(stop <= len(data) + 8 for parts in spans for _, stop in parts)
