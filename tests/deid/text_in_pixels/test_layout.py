"""Cells and bytes: what is unpacked is packed again, bit for bit."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from radkit.deid.text_in_pixels import layout
from radkit.dicom import pixels


@st.composite
def layouts(draw):
    samples = draw(st.sampled_from((1, 3)))
    sides = draw(st.integers(1, 3)), draw(st.integers(1, 5)), draw(st.integers(1, 6))
    bits = draw(st.sampled_from((1, 8, 16, 32)))
    big = draw(st.booleans())
    return layout.Layout(
        (*sides, samples), bits, planar=samples == 3 and draw(st.booleans()), big_endian=big,
        words=big and draw(st.booleans()),
    )  # fmt: skip


@hypothesis.given(layouts(), st.randoms(use_true_random=False))
def test_bytes_survive_unpacking_and_packing(lay, random):
    data = random.randbytes(lay.length + lay.length % 2)
    cells = layout.unpack(data, lay)
    assert cells.shape == lay.shape
    again = layout.pack(cells, lay)
    assert len(again) % 2 == 0
    assert np.array_equal(layout.unpack(again, lay), cells)
    if lay.bits > 1 and not lay.length % 2:
        assert again == data


def test_big_endian_words_are_read_high_byte_first():
    lay = layout.Layout((1, 1, 2, 1), 16, big_endian=True, words=True)
    assert layout.unpack(b"\x01\x02\x03\x04", lay).ravel().tolist() == [0x0102, 0x0304]


def test_bytes_in_big_endian_words_are_swapped():
    lay = layout.Layout((1, 1, 4, 1), 8, big_endian=True, words=True)
    assert layout.unpack(b"\x02\x01\x04\x03", lay).ravel().tolist() == [1, 2, 3, 4]


def test_two_pixels_of_422_share_their_colour():
    lay = layout.Layout((1, 1, 2, 3), 8, subsampled=True)
    cells = layout.unpack(bytes([10, 20, 30, 40]), lay)
    assert cells[0, 0].tolist() == [[10, 30, 40], [20, 30, 40]]
    assert layout.pack(cells, lay) == bytes([10, 20, 30, 40])


def test_frames_of_single_bits_need_not_end_at_a_byte():
    lay = layout.Layout((2, 1, 3, 1), 1)
    assert layout.unpack(bytes([0b00101101, 0]), lay).reshape(2, 3).tolist() == [[1, 0, 1], [1, 0, 1]]


def test_a_short_value_is_refused():
    with pytest.raises(pixels.PixelError, match="cut short"):
        layout.unpack(b"\0" * 3, layout.Layout((1, 2, 2, 1), 8))


def test_bits_that_are_no_bytes_are_refused():
    with pytest.raises(pixels.PixelError, match="BitsAllocated 12 cannot be looked at"):
        layout.unpack(b"\0" * 100, layout.Layout((1, 2, 2, 1), 12))
