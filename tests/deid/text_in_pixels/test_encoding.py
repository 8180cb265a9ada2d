"""Pixels out and in again: outside the boxes bit for bit, in a legal transfer syntax."""

import contextlib
import io
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom import encaps, uid

from radkit.deid import text_in_pixels
from radkit.deid.text_in_pixels import decoding, ocr
from radkit.dicom import part10, pixels
from tests.deid.text_in_pixels import made

# Files of all kinds that pydicom's wheel carries.
FILES = sorted(Path(pydicom.__file__).parent.joinpath("data", "test_files").glob("*.dcm"))
SAME = {
    uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian, uid.DeflatedExplicitVRLittleEndian,
    uid.RLELossless, uid.JPEG2000Lossless, uid.JPEGLSLossless,
}  # fmt: skip


def read(path: Path) -> pydicom.Dataset:
    with part10.silence():
        return pydicom.dcmread(path, force=True)


def check(source: pydicom.Dataset, monkeypatch: pytest.MonkeyPatch) -> text_in_pixels.Cleaned | None:
    """Cleans a box in the middle and holds what comes back against the decoded source."""
    before = decoding.decode(source)
    _, rows, columns, _ = before.layout.shape
    corners = (columns * 0.4, rows * 0.4, columns * 0.5, rows * 0.5)
    made.reads(monkeypatch, ocr.Reading(corners, "DOE JOHN", 0.9))
    with part10.silence():
        cleaned = text_in_pixels.clean(source, ())
        if cleaned is None:
            return None
        again = decoding.decode(made.written(source, cleaned))
    outside = np.ones(before.cells.shape[:3], bool)
    for box in cleaned.boxes:
        left, right = box.left, box.right
        if before.layout.subsampled:
            left, right = left - left % 2, right + right % 2
        outside[box.frame, box.top : box.bottom, left:right] = False
    assert again.photometric == before.photometric
    assert np.array_equal(again.cells[outside], before.cells[outside])
    assert not np.array_equal(again.cells, before.cells)
    assert len(cleaned.value) % 2 == 0
    return cleaned


@pytest.mark.slow
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_pixels_outside_the_boxes_are_the_decoded_sources(path, monkeypatch):
    source = read(path)
    try:
        found = decoding.decode(source)
    except pixels.PixelError:
        pytest.skip("not decoded by what is installed: quarantined")
    if found is None:
        pytest.skip("no pixels")
    cleaned = check(source, monkeypatch)
    if cleaned is None:
        pytest.skip("one value all over: nothing to black out")
    syntax = uid.UID(found.syntax)
    assert cleaned.transfer_syntax in ({syntax} if syntax in SAME else set()) | {uid.ExplicitVRLittleEndian}
    assert cleaned.encapsulated == uid.UID(cleaned.transfer_syntax).is_encapsulated
    assert cleaned.frames == len(found.cells)


def grey(dtype=np.uint16, stored=12) -> pydicom.Dataset:
    return made.dataset(made.anatomy((60, 70), dtype, top=2**stored - 100), stored=stored)


def compressed(source: pydicom.Dataset, syntax: str, **more) -> pydicom.Dataset:
    source.compress(syntax, generate_instance_uid=False, **more)
    return source


@pytest.mark.parametrize("syntax", [uid.RLELossless, uid.JPEG2000Lossless, uid.JPEGLSLossless])
@pytest.mark.parametrize("dtype", [np.uint16, np.int16])
def test_lossless_syntaxes_come_back_as_they_were(syntax, dtype, monkeypatch):
    cleaned = check(compressed(grey(dtype), syntax), monkeypatch)
    assert (cleaned.transfer_syntax, cleaned.encapsulated, cleaned.attributes) == (syntax, True, {})
    assert cleaned.value[:4] == b"\xfe\xff\x00\xe0"  # begins with the Basic Offset Table's item
    assert not cleaned.value.endswith(b"\xfe\xff\xdd\xe0\0\0\0\0")  # the delimiter is the caller's


def test_rows_and_columns_that_are_odd_come_back_without_gdcm(monkeypatch):
    source = made.dataset(made.anatomy((33, 41), np.uint8, top=250), stored=8)
    cleaned = check(compressed(source, uid.RLELossless, encoding_plugin="pydicom"), monkeypatch)
    assert cleaned.transfer_syntax == uid.RLELossless


def test_colour_of_jpeg_2000_comes_back_as_it_was(monkeypatch):
    values = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    cleaned = check(compressed(made.dataset(values, "RGB"), uid.JPEG2000Lossless), monkeypatch)
    assert cleaned.transfer_syntax == uid.JPEG2000Lossless


@pytest.mark.parametrize("syntax", [uid.JPEG2000, uid.JPEGLSNearLossless])
def test_lossy_images_become_native_and_still_say_so(syntax, monkeypatch):
    more = {"j2k_cr": [5]} if syntax == uid.JPEG2000 else {"jls_error": 3}
    cleaned = check(compressed(grey(), syntax, **more), monkeypatch)
    assert (cleaned.transfer_syntax, cleaned.encapsulated) == (uid.ExplicitVRLittleEndian, False)
    assert cleaned.attributes[0x00282110] == ("CS", "01")
    assert cleaned.attributes[0x00282114][1][0] in ("ISO_15444_1", "ISO_14495_1")
    assert float(cleaned.attributes[0x00282112][1][0]) > 1


def test_a_jpeg_in_luma_and_chroma_becomes_native_rgb(monkeypatch):
    values = np.stack([made.anatomy((64, 64), np.uint8, seed, 200) for seed in range(3)], -1)
    file = io.BytesIO()
    Image.fromarray(values).save(file, "JPEG", quality=90)
    source = made.dataset(values, "YBR_FULL_422", LossyImageCompression="01")
    source.file_meta.TransferSyntaxUID = uid.JPEGBaseline8Bit
    source.PixelData = encaps.encapsulate([file.getvalue()])
    source["PixelData"].is_undefined_length = True
    cleaned = check(source, monkeypatch)
    assert cleaned.attributes[0x00280004] == ("CS", "RGB")
    assert cleaned.attributes[0x00280006] == ("US", 0)


def test_offset_tables_of_the_source_go(monkeypatch):
    source = compressed(grey(), uid.RLELossless)
    source.add_new(0x7FE00001, "OV", bytes(8))
    [frame] = encaps.generate_frames(source.PixelData, number_of_frames=1)
    source.add_new(0x7FE00002, "OV", len(frame).to_bytes(8, "little"))
    assert check(source, monkeypatch).attributes == {0x7FE00001: None, 0x7FE00002: None}


def test_without_an_encoder_lossless_images_become_native(monkeypatch):
    from radkit.deid.text_in_pixels import encoding

    source = compressed(grey(), uid.JPEGLSLossless)
    monkeypatch.setattr(encoding, "get_encoder", lambda syntax: (_ for _ in ()).throw(NotImplementedError))
    cleaned = check(source, monkeypatch)
    assert cleaned.transfer_syntax == uid.ExplicitVRLittleEndian
    assert 0x00282110 not in cleaned.attributes


def test_floating_pixels_are_written_as_they_came(monkeypatch):
    source = grey()
    values = made.anatomy((60, 70)).astype(np.float32) / 900
    values[0, 0] = np.nan
    del source.PixelData
    source.BitsAllocated = 32
    source.add_new(0x7FE00008, "OF", values.astype("<f4").tobytes())
    made.reads(monkeypatch, ocr.Reading((20, 20, 40, 30), "DOE JOHN", 0.9))
    cleaned = text_in_pixels.clean(source, ())
    again = np.frombuffer(cleaned.value, "<f4").reshape(60, 70)
    box = cleaned.boxes[0]
    assert (cleaned.tag, cleaned.vr) == (0x7FE00008, "OF")
    assert (again[box.where] == np.nanmin(values)).all()
    assert np.array_equal(again[:10], values[:10], equal_nan=True)


@pytest.mark.parametrize(
    "syntax",
    [uid.MPEG2MPML, uid.MPEG4HP41, uid.HEVCMP51, "1.2.840.10008.1.2.4.94", "1.2.840.10008.1.2.4.110", "1.2.3.4"],
)
def test_what_no_decoder_reads_is_refused(syntax, monkeypatch):
    made.reads(monkeypatch)
    source = grey()
    source.file_meta.TransferSyntaxUID = uid.UID(syntax)
    source.PixelData = encaps.encapsulate([b"\0" * 64])
    with pytest.raises(pixels.PixelError, match="cannot be looked at; decompress the files first"):
        text_in_pixels.clean(source, ())


@pytest.mark.parametrize(
    "fault",
    [
        {"Rows": 6000}, {"SamplesPerPixel": 4}, {"BitsStored": 17}, {"BitsAllocated": 24}, {"NumberOfFrames": 0},
        {"NumberOfFrames": 3},
    ],
    ids=str,
)  # fmt: skip
def test_pixels_that_do_not_fit_their_description_are_refused(fault, monkeypatch):
    made.reads(monkeypatch)
    source = grey()
    for keyword, value in fault.items():
        setattr(source, keyword, value)
    with pytest.raises(pixels.PixelError):
        text_in_pixels.clean(source, ())


def test_more_frames_than_said_are_refused(monkeypatch):
    made.reads(monkeypatch)
    source = compressed(made.dataset(np.stack([made.anatomy((40, 40))] * 2)), uid.RLELossless)
    source.NumberOfFrames = 1
    with pytest.raises(pixels.PixelError, match="frames"):
        text_in_pixels.clean(source, ())


@pytest.mark.parametrize("table", [True, False])
def test_an_image_behind_another_in_one_frame_is_refused(table, monkeypatch):
    made.reads(monkeypatch)
    source = compressed(grey(), uid.JPEG2000Lossless)
    (frame,) = encaps.generate_frames(source.PixelData, number_of_frames=1)
    items = b"".join(b"\xfe\xff\x00\xe0" + len(frame).to_bytes(4, "little") + frame for _ in range(2))
    offsets = b"\xfe\xff\x00\xe0" + ((4).to_bytes(4, "little") + b"\0" * 4 if table else b"\0" * 4)
    source.PixelData = offsets + items
    with pytest.raises(pixels.PixelError, match="frames"):
        text_in_pixels.clean(source, ())


def test_an_offset_table_that_leaves_a_frame_out_is_not_believed(monkeypatch):
    made.reads(monkeypatch)
    source = compressed(made.dataset(np.stack([made.anatomy((40, 40))] * 2)), uid.RLELossless)
    first, _ = encaps.generate_frames(source.PixelData, number_of_frames=2)
    source.PixelData = encaps.encapsulate(
        list(encaps.generate_frames(source.PixelData, number_of_frames=2)), has_bot=False
    )
    source.NumberOfFrames = 1
    source.ExtendedOffsetTable = (0).to_bytes(8, "little")
    source.ExtendedOffsetTableLengths = len(first).to_bytes(8, "little")
    with pytest.raises(pixels.PixelError, match="frames"):
        text_in_pixels.clean(source, ())


@pytest.mark.parametrize("syntax", [uid.JPEG2000Lossless, uid.JPEGLSLossless, uid.RLELossless])
@pytest.mark.parametrize("seed", range(8))
def test_a_damaged_frame_is_refused_or_decoded_and_never_ends_the_process(syntax, seed, monkeypatch):
    made.reads(monkeypatch)
    monkeypatch.setitem(sys.modules, "gdcm", None)  # whose decoders abort: whoever loads it fails
    source = compressed(grey(), syntax)
    (frame,) = encaps.generate_frames(source.PixelData, number_of_frames=1)
    damaged = bytearray(frame)
    random = np.random.default_rng(seed)
    for place in random.integers(len(frame) // 10, len(frame), 40):
        damaged[place] = random.integers(0, 256)
    source.PixelData = encaps.encapsulate([bytes(damaged)])
    with contextlib.suppress(pixels.PixelError):
        text_in_pixels.clean(source, ())


def test_colours_of_a_lossless_image_are_not_turned(monkeypatch):
    values = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    for syntax in (uid.RLELossless, uid.JPEGLSLossless):
        found = decoding.decode(compressed(made.dataset(values, "YBR_FULL"), syntax))
        assert found.photometric == "YBR_FULL"
        assert np.array_equal(found.cells[0], values)


def test_bits_beside_the_stored_ones_come_out_of_a_compressed_image():
    source = grey()
    overlaid = np.frombuffer(source.PixelData, np.uint16) | np.uint16(0x4000)
    source.PixelData = overlaid.tobytes()
    source.BitsStored, source.HighBit = 16, 15
    compressed(source, uid.RLELossless)
    source.BitsStored, source.HighBit = 12, 11
    found = decoding.decode(source)
    assert (found.unused(0) == 0x4000).all()
    assert np.array_equal(found.values(0).ravel(), overlaid & 0xFFF)


def test_pixels_on_a_server_are_refused(monkeypatch):
    made.reads(monkeypatch)
    source = grey()
    del source.PixelData
    source.PixelDataProviderURL = "https://example.org/1"
    with pytest.raises(pixels.PixelError, match="on a server"):
        text_in_pixels.clean(source, ())
