"""Stored values and their scale, by hand and against SimpleITK."""

import io
import logging

import imagecodecs
import numpy as np
import pydicom
import pytest
import SimpleITK
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import JPEG2000, ExplicitVRBigEndian, ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless

from radkit.dicom import pixels, scan, write
from tests import made_up


def image(values, dtype=np.uint16, bits=16, **more):
    """Returns an instance that stores these values in so many bits of 16."""
    frame = np.array(values, dtype)
    dataset = write.instance(frame.view(np.uint16), made_up.header("CR"), "1.2.3")
    dataset.PixelRepresentation = int(frame.dtype.kind == "i")
    dataset.BitsStored, dataset.HighBit = bits, bits - 1
    for keyword, value in more.items():
        setattr(dataset, keyword, value)
    return dataset


def by_simpleitk(dataset, path):
    made_up.save(dataset, path)
    return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))[0]


@pytest.mark.parametrize("syntax", made_up.SYNTAXES, ids=lambda s: s.name)
@pytest.mark.parametrize("dtype", [np.int16, np.uint16])
@pytest.mark.parametrize("shape", [(5, 7), (4, 6)])
def test_values_are_the_same_in_every_transfer_syntax(tmp_path, syntax, dtype, shape):
    values = made_up.stored_values(shape, dtype)
    made_up.save(image(values, dtype), tmp_path / "a.dcm", syntax)
    found = pixels.stored(scan.read_file(tmp_path / "a.dcm"))
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, values)


@pytest.mark.parametrize("bits", [8, 10, 12, 15, 16])
@pytest.mark.parametrize("dtype", [np.int16, np.uint16])
def test_bits_beyond_those_stored_are_not_taken_for_values(tmp_path, bits, dtype):
    mask = (1 << bits) - 1
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if dtype == np.int16 else (0, mask)
    values = np.linspace(low, high, 30).astype(np.int64).reshape(5, 6)
    rubbish = np.random.default_rng(0).integers(0, 1 << 16, (5, 6)) & ~mask & 0xFFFF  # as old overlays are
    dataset = image(((values & mask) | rubbish).astype(np.uint16), np.uint16, bits)
    dataset.PixelRepresentation = int(dtype == np.int16)
    made_up.save(dataset, tmp_path / "a.dcm")
    found = pixels.stored(scan.read_file(tmp_path / "a.dcm"))
    np.testing.assert_array_equal(found, values)
    np.testing.assert_array_equal(by_simpleitk(dataset, tmp_path / "b.dcm"), values)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
def test_eight_bits_are_read_also_of_odd_length(tmp_path, dtype):
    values = np.arange(-7 if dtype == np.int8 else 0, 28 if dtype == np.int8 else 35).astype(dtype).reshape(5, 7)
    dataset = image(np.zeros((5, 7)))
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
    dataset.PixelRepresentation = int(dtype == np.int8)
    dataset.PixelData = values.tobytes() + b"\0"
    made_up.save(dataset, tmp_path / "a.dcm")
    found = pixels.stored(scan.read_file(tmp_path / "a.dcm"))
    assert found.dtype == (np.int16 if dtype == np.int8 else np.uint16)
    np.testing.assert_array_equal(found, values)


@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("dtype", [np.int16, np.uint16])
def test_monochrome1_is_turned_round_within_its_bits(bits, dtype):
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if dtype == np.int16 else (0, (1 << bits) - 1)
    values = np.array([[low, low + 1, 0], [1, high - 1, high]])
    dataset = image(values, dtype, bits, PhotometricInterpretation="MONOCHROME1")
    found = pixels.stored(dataset).astype(np.int64)
    np.testing.assert_array_equal(found, low + high - values)  # black and white change places, nothing leaves


@pytest.mark.parametrize("implicit", [True, False])
def test_a_file_without_preamble_is_read(tmp_path, implicit):
    values = made_up.radiograph(tmp_path / "a.dcm")
    made_up.without_preamble(tmp_path / "a.dcm", implicit)
    np.testing.assert_array_equal(pixels.stored(scan.read_file(tmp_path / "a.dcm")), values)


@pytest.mark.parametrize(("bits", "high"), [(12, 15), (10, 13), (8, 15), (12, 12)])
@pytest.mark.parametrize("dtype", [np.int16, np.uint16])
def test_values_are_taken_from_below_the_high_bit(tmp_path, bits, high, dtype):
    low = -(1 << bits - 1) if dtype == np.int16 else 0
    values = np.linspace(low, low + (1 << bits) - 1, 30).astype(np.int64).reshape(5, 6)
    lowest = high + 1 - bits
    rubbish = np.random.default_rng(0).integers(0, 1 << 16, (5, 6)) & ~(((1 << bits) - 1) << lowest) & 0xFFFF
    cells = ((values & (1 << bits) - 1) << lowest | rubbish).astype(np.uint16)
    dataset = image(cells, np.uint16, bits, HighBit=high, PixelRepresentation=int(dtype == np.int16))
    np.testing.assert_array_equal(pixels.stored(dataset), values)


@pytest.mark.parametrize("high", [3, 16, 200])
def test_a_high_bit_that_cannot_be_says_nothing(high):
    values = made_up.stored_values((5, 6), np.uint16)
    np.testing.assert_array_equal(pixels.stored(image(values, np.uint16, 12, HighBit=high)), values)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ExplicitVRBigEndian, "1.2.840.113619.5.2"])
@pytest.mark.parametrize("dtype", [np.int32, np.uint32, np.int16, np.uint16])
def test_each_frame_is_read_by_itself(syntax, dtype):
    values = np.random.default_rng(0).integers(0, 1 << 31, (3, 5, 7)).astype(dtype)
    dataset = image(values[0].astype(np.uint16), NumberOfFrames=3, PixelRepresentation=int(values.dtype.kind == "i"))
    bits = 8 * values.dtype.itemsize
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = bits, bits, bits - 1
    dataset.file_meta.TransferSyntaxUID = syntax
    order = "<" if syntax == ExplicitVRLittleEndian else ">"
    dataset.PixelData = values.astype(values.dtype.newbyteorder(order)).tobytes()
    for frame in range(3):
        found = pixels.stored(dataset, frame)
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, values[frame])
    np.testing.assert_array_equal(list(pixels.stored_frames(dataset)), values)
    np.testing.assert_array_equal(list(pixels.stored_frames(dataset, [2, 0])), values[[2, 0]])


@pytest.mark.parametrize("frame", [-1, 3])
def test_a_frame_that_is_not_there_is_refused(frame):
    dataset = image([[1, 2], [3, 4]], NumberOfFrames=3, PixelData=bytes(24))
    with pytest.raises(pixels.PixelError, match=f"frame {frame} was asked for, the instance has 3"):
        pixels.stored(dataset, frame)


@pytest.mark.parametrize("size", [(8, 8), (5, 7), (3, 3)])
@pytest.mark.parametrize("big", [False, True])
def test_frames_of_one_bit_follow_each_other_without_padding(size, big):
    values = np.random.default_rng(0).integers(0, 2, (3, *size)).astype(np.uint8)
    dataset = image(np.zeros(size), NumberOfFrames=3, BitsAllocated=1, BitsStored=1, HighBit=0)
    data = np.packbits(values.ravel(), bitorder="little").tobytes()
    data += b"\0" * (len(data) % 2)
    if big:
        dataset.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
        data = np.frombuffer(data, ">u2").astype("<u2").tobytes()
    dataset.PixelData = data
    dataset["PixelData"].VR = "OW"
    np.testing.assert_array_equal(list(pixels.stored_frames(dataset)), values)


@given(st.integers(1, 5), st.integers(1, 5), st.integers(1, 4))
def test_frames_of_twelve_bits_follow_each_other_without_padding(rows, columns, frames):
    values = made_up.stored_values((frames, rows, columns), np.uint16)
    digits = "".join(f"{value:012b}"[::-1] for value in values.ravel())  # each value's lowest bit first
    data = np.packbits(np.array(list(digits), np.uint8), bitorder="little").tobytes()
    dataset = image(values[0], np.uint16, 12, NumberOfFrames=frames, BitsAllocated=12)
    dataset.PixelData = data + b"\0" * (len(data) % 2)
    np.testing.assert_array_equal(list(pixels.stored_frames(dataset)), values)


@pytest.mark.parametrize("frame", [0, 1])
def test_eight_bits_in_words_of_big_endian_files_are_put_right(frame):
    values = np.arange(30, dtype=np.uint8).reshape(2, 3, 5)
    dataset = image(np.zeros((3, 5)), NumberOfFrames=2, BitsAllocated=8, BitsStored=8, HighBit=7)
    dataset.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    dataset.PixelData = np.frombuffer(values.tobytes(), "<u2").byteswap().tobytes()
    dataset["PixelData"].VR = "OW"
    np.testing.assert_array_equal(pixels.stored(dataset, frame), values[frame])
    dataset.PixelData = values.tobytes()
    dataset["PixelData"].VR = "OB"
    np.testing.assert_array_equal(pixels.stored(dataset, frame), values[frame])


@pytest.mark.parametrize(("keyword", "dtype"), [("FloatPixelData", np.float32), ("DoubleFloatPixelData", np.float64)])
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ExplicitVRBigEndian])
def test_floating_point_pixels_are_read(keyword, dtype, syntax):
    values = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(dtype)
    values[0, 0, 0] = np.nan
    dataset = image(np.zeros((3, 4)), NumberOfFrames=2, BitsAllocated=8 * values.dtype.itemsize)
    del dataset.PixelData, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation
    dataset.file_meta.TransferSyntaxUID = syntax
    setattr(dataset, keyword, values.astype(values.dtype.newbyteorder("<>"[syntax == ExplicitVRBigEndian])).tobytes())
    found = list(pixels.stored_frames(dataset))
    assert found[0].dtype == np.float32
    np.testing.assert_array_equal(found, values.astype(np.float32))
    setattr(dataset, keyword, values.tobytes()[:-1])
    with pytest.raises(pixels.PixelError, match="cut short"):
        pixels.stored(dataset)


def test_what_does_not_fit_32_bits_of_floating_point_is_refused():
    dataset = image(np.zeros((1, 2)))
    del dataset.PixelData
    dataset.DoubleFloatPixelData = np.array([1e300, 0]).tobytes()
    with pytest.raises(pixels.PixelError, match="beyond"):
        pixels.stored(dataset)


def coloured(values, photometric="RGB", planar=0, bits=8):
    dataset = image(np.zeros(values.shape[:2]), PhotometricInterpretation=photometric, PlanarConfiguration=planar)
    dataset.SamplesPerPixel = 3
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8 * values.dtype.itemsize, bits, bits - 1
    dataset.PixelData = (values.transpose(2, 0, 1) if planar else values).tobytes()
    return dataset


COLOUR = np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)


@pytest.mark.parametrize("planar", [0, 1])
def test_colours_are_read_by_pixel_and_by_plane(tmp_path, planar):
    dataset = coloured(COLOUR, planar=planar)
    np.testing.assert_array_equal(pixels.stored(dataset), COLOUR)
    np.testing.assert_array_equal(by_simpleitk_colours(dataset, tmp_path / "a.dcm"), COLOUR)


def by_simpleitk_colours(dataset, path):
    made_up.save(dataset, path)
    return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path))).reshape(*COLOUR.shape)


def test_luminance_and_colour_differences_become_colours_as_pydicom_turns_them():
    dataset = coloured(COLOUR, "YBR_FULL")
    wanted = pydicom.pixels.convert_color_space(COLOUR, "YBR_FULL", "RGB")
    np.testing.assert_array_equal(pixels.stored(dataset), wanted)
    dataset.PhotometricInterpretation = "YBR_FULL_422"  # which only the header says, the bytes are all there
    np.testing.assert_array_equal(pixels.stored(dataset), wanted)


def test_two_pixels_share_their_colour_in_422():
    dataset = coloured(COLOUR, "YBR_FULL_422")
    halves = COLOUR.copy()
    halves[:, 1::2, 1:] = halves[:, 0::2, 1:]
    quads = [halves[:, 0::2, 0], halves[:, 1::2, 0], halves[:, 0::2, 1], halves[:, 0::2, 2]]
    dataset.PixelData = np.stack(quads, axis=-1).tobytes()
    wanted = pydicom.pixels.convert_color_space(halves, "YBR_FULL", "RGB")
    np.testing.assert_array_equal(pixels.stored(dataset), wanted)


@pytest.mark.parametrize("bits", [10, 16])
def test_colours_of_more_bits_are_brought_to_eight(bits):
    wide = COLOUR.astype(np.uint16) << (bits - 8) | 1
    dataset = coloured(wide, bits=bits)
    np.testing.assert_array_equal(pixels.stored(dataset), COLOUR)
    assert pixels.findings(dataset) == (f"colours of {bits} bits were brought to 8",)


def set_to(**more):
    def change(dataset):
        for keyword, value in more.items():
            setattr(dataset, keyword, value)

    return change


def no_pixels(dataset):
    del dataset.PixelData


COMPRESSED = pydicom.encaps.encapsulate([b"\xff\xd8"])

REFUSED = {
    "the instance has no PixelData": no_pixels,
    "PixelData is empty": set_to(PixelData=None),
    "cut short: 8 bytes are there, 24 were": set_to(SamplesPerPixel=3, PhotometricInterpretation="RGB"),
    "3 samples a pixel as MONOCHROME2 are not read": set_to(SamplesPerPixel=3),
    "1 samples a pixel as RGB are not read": set_to(PhotometricInterpretation="RGB"),
    "4 samples a pixel as ARGB are not read": set_to(SamplesPerPixel=4, PhotometricInterpretation="ARGB"),
    "the palette of a PALETTE COLOR image is missing": set_to(PhotometricInterpretation="PALETTE COLOR"),
    "cut short: 8 bytes are there, 16 were announced": set_to(NumberOfFrames=2),
    "BitsAllocated 24 is not read; 1, 8, 12, 16, 32 are": set_to(BitsAllocated=24),
    "ModalityLUTSequence: LUTDescriptor or LUTData is missing": set_to(ModalityLUTSequence=Sequence([Dataset()])),
    "cut short: 2 bytes are there, 8 were announced": set_to(PixelData=b"\0\0"),
    "0 Rows and 2 Columns hold no pixels": set_to(Rows=0),
    "BitsStored 0 does not fit BitsAllocated 16": set_to(BitsStored=0),
    "BitsStored 17 does not fit": set_to(BitsStored=17),
    "is compressed, and its transfer syntax says that it is not": set_to(Rows=40, Columns=40, PixelData=COMPRESSED),
}


@pytest.mark.parametrize("said", REFUSED)
def test_pixels_of_another_kind_are_refused_by_name(said):
    dataset = image([[1, 2], [3, 4]])
    REFUSED[said](dataset)
    with pytest.raises(pixels.PixelError) as caught:
        pixels.stored(dataset)
    assert said in str(caught.value)


def compressed(frames, syntax, **more):
    dataset = image(np.zeros((12, 20)), NumberOfFrames=len(frames), **more)
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.PixelData = pydicom.encaps.encapsulate(frames, has_bot=False)
    dataset["PixelData"].VR = "OB"
    return dataset


def test_a_damaged_frame_is_named_and_its_failure_is_not_logged(capfd):
    dataset = compressed([b"PLANTED no codestream"], JPEG2000Lossless)
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    logging.getLogger().addHandler(handler)
    try:
        with pytest.raises(pixels.PixelError, match=r"JPEG 2000 Image Compression .* the frame is damaged"):
            pixels.stored(dataset)
    finally:
        logging.getLogger().removeHandler(handler)
    assert not stream.getvalue()
    assert capfd.readouterr() == ("", "")


def test_one_frame_is_decoded_without_the_others():
    values = made_up.stored_values((3, 12, 20), np.uint16)
    frames = [imagecodecs.jpegls_encode(frame) for frame in values]
    frames[0] = frames[0][:40] + b"\0" * 40 + b"\xff\xd9"
    dataset = compressed(frames, JPEGLSLossless)
    np.testing.assert_array_equal(pixels.stored(dataset, 2), values[2])
    with pytest.raises(pixels.PixelError):
        pixels.stored(dataset, 0)


@pytest.mark.parametrize("encoded_signed", [False, True])
@pytest.mark.parametrize("said_signed", [False, True])
@pytest.mark.parametrize(("bits", "stored"), [(12, 12), (13, 13), (16, 16), (12, 16)])
def test_the_header_says_whether_jpeg_2000_is_signed(encoded_signed, said_signed, bits, stored):
    low = -(1 << bits - 1) if said_signed else 0
    values = np.linspace(low, low + (1 << bits) - 1, 240).astype(np.int64).reshape(12, 20)
    cells = values & (1 << bits) - 1
    if encoded_signed:
        cells = np.where(cells >> (bits - 1), cells - (1 << bits), cells)
    frame = imagecodecs.jpeg2k_encode(
        cells.astype(np.int16 if encoded_signed else np.uint16),
        level=0, codecformat="j2k", reversible=True, bitspersample=bits,
    )  # fmt: skip
    dataset = compressed([frame], JPEG2000Lossless, BitsStored=stored, HighBit=stored - 1)
    dataset.PixelRepresentation = int(said_signed)
    found = pixels.stored(dataset)
    assert found.dtype == (np.int16 if said_signed else np.uint16)
    np.testing.assert_array_equal(found, values)


def test_the_highest_bit_that_jpeg_uses_is_no_sign():
    values = made_up.stored_values((12, 20), np.uint16)
    dataset = compressed(
        [imagecodecs.jpeg8_encode(values, lossless=True, bitspersample=12)], pydicom.uid.JPEGLosslessSV1
    )
    dataset.PixelRepresentation = 1
    np.testing.assert_array_equal(pixels.stored(dataset), values)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_what_lossy_compression_adds_beyond_the_stored_bits_is_cut_off(signed, photometric):
    low = -2048 if signed else 0
    values = np.random.default_rng(0).choice([low, low + 4095], (12, 20)).astype(np.int16 if signed else np.uint16)
    frame = imagecodecs.jpeg2k_encode(values, level=50, codecformat="j2k", bitspersample=16)
    decoded = imagecodecs.jpeg2k_decode(frame).astype(int)
    assert decoded.min() < low or decoded.max() > low + 4095
    dataset = compressed([frame], JPEG2000, BitsStored=12, HighBit=11, PhotometricInterpretation=photometric)
    dataset.PixelRepresentation = int(signed)
    wanted = np.clip(decoded, low, low + 4095)
    wanted = wanted if photometric == "MONOCHROME2" else 2 * low + 4095 - wanted
    np.testing.assert_array_equal(pixels.stored(dataset), wanted)


@pytest.mark.parametrize(
    ("value", "limit", "signed", "bits", "found"),
    [
        (0, None, False, 12, (0, 0)),
        (-2000, None, True, 16, (-2000, -2000)),
        (63536, None, True, 16, (-2000, -2000)),  # written as unsigned
        (-2000, None, False, 16, (63536, 63536)),
        (4095, 4000, False, 12, (4000, 4095)),
        (70000, None, False, 16, None),
        (b"\x30\xf8", None, True, 16, (-2000, -2000)),
    ],
)
def test_padding_is_told_in_stored_values(value, limit, signed, bits, found):
    dataset = image([[1, 2], [3, 4]], bits=bits, PixelRepresentation=int(signed))
    kind = "OB" if isinstance(value, bytes) else "SL"
    dataset.add_new(0x00280120, kind, value)
    if limit is not None:
        dataset.add_new(0x00280121, "US", limit)
    assert pixels.padding(dataset) == found


def test_padding_is_turned_round_with_the_values():
    dataset = image([[0, 1], [2, 4095]], bits=12, PhotometricInterpretation="MONOCHROME1", PixelPaddingValue=0)
    low, high = pixels.padding(dataset)
    found = pixels.stored(dataset)
    np.testing.assert_array_equal((found >= low) & (found <= high), [[True, False], [False, False]])
    del dataset.PixelPaddingValue
    assert pixels.padding(dataset) is None


def test_what_was_changed_is_told():
    assert pixels.findings(image([[1]])) == ()
    assert pixels.findings(image([[1]], PhotometricInterpretation="MONOCHROME1")) == (
        "MONOCHROME1: values were turned round, white is high",
    )
