"""Compressed frames: every decoder of every chain by itself, against what was encoded and against pydicom."""

import io
import sys
import warnings
import zlib

import imagecodecs
import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom import uid
from pydicom.data import get_testdata_file
from pydicom.pixels import get_decoder, get_encoder

from radkit.dicom import decoders
from tests import made_up

PREFIX = "1.2.840.10008.1.2"
COLOUR = np.asarray(
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (4, 5, 3), np.uint8)).resize((40, 32), Image.BICUBIC)
)


def shape(values, stored=None, signed=False, photometric=None, planar=False, allocated=None):
    """Returns the header's words for these values."""
    samples = values.shape[2] if values.ndim == 3 else 1
    allocated = allocated or 8 * values.dtype.itemsize
    photometric = photometric or ("RGB" if samples == 3 else "MONOCHROME2")
    rows, columns = values.shape[:2]
    return decoders.Shape(rows, columns, samples, allocated, stored or allocated, signed, planar, photometric)


def rle(values):
    told = shape(values)
    return get_encoder(uid.RLELossless).encode(
        values, rows=told.rows, columns=told.columns, samples_per_pixel=told.samples, bits_allocated=told.allocated,
        bits_stored=told.stored, pixel_representation=0, photometric_interpretation=told.photometric,
        number_of_frames=1, planar_configuration=0, encoding_plugin="pydicom",
    )  # fmt: skip


LOSSLESS = {
    f"{PREFIX}.5": rle,
    f"{PREFIX}.4.57": lambda v: imagecodecs.jpeg8_encode(v, lossless=True, predictor=4, bitspersample=16),
    f"{PREFIX}.4.70": lambda v: imagecodecs.jpeg8_encode(v, lossless=True, predictor=1, bitspersample=16),
    f"{PREFIX}.4.80": imagecodecs.jpegls_encode,
    f"{PREFIX}.4.81": imagecodecs.jpegls_encode,
    f"{PREFIX}.4.90": lambda v: imagecodecs.jpeg2k_encode(v, level=0, codecformat="j2k", reversible=True),
    f"{PREFIX}.4.91": lambda v: imagecodecs.jpeg2k_encode(v, level=0, codecformat="jp2", reversible=True),
    f"{PREFIX}.4.92": lambda v: imagecodecs.jpeg2k_encode(v, level=0, codecformat="j2k", reversible=True),
    f"{PREFIX}.4.110": lambda v: imagecodecs.jpegxl_encode(v, lossless=True),
    f"{PREFIX}.8.1": lambda v: zlib.compress(v.tobytes())[2:-4],  # without the head and the sum: deflated alone
    f"{PREFIX}.1.98": lambda v: v.tobytes(),
}
if hasattr(imagecodecs, "HTJ2K"):  # the last version for Python 3.10 decodes, and does not encode
    LOSSLESS |= {f"{PREFIX}.4.{end}": lambda v: imagecodecs.htj2k_encode(v, reversible=True) for end in (201, 202)}


def each_of(*syntaxes):
    """Parametrizes a test by transfer syntax and each decoder of its chain."""
    chains = [(s, decoders._CHAINS[decoders._FAMILIES[s]]) for s in syntaxes]
    return pytest.mark.parametrize(("syntax", "index"), [(s, i) for s, chain in chains for i in range(len(chain))])


@pytest.fixture
def alone(monkeypatch):
    """Returns a function that leaves one decoder of a transfer syntax's chain and takes the others away."""

    def leave(syntax, index):
        family = decoders._FAMILIES[syntax]
        chain = decoders._CHAINS[family]
        monkeypatch.setitem(decoders._CHAINS, family, chain[index : index + 1])

    return leave


@each_of(*LOSSLESS)
@pytest.mark.parametrize("size", [(12, 20), (13, 7)])
def test_each_decoder_of_a_lossless_syntax_gives_back_what_was_encoded(syntax, index, size, alone):
    alone(syntax, index)
    values = made_up.stored_values(size, np.uint16)
    found = decoders.decode(LOSSLESS[syntax](values), syntax, shape(values))
    np.testing.assert_array_equal(found.samples[..., 0], values)


@each_of(*[s for s in LOSSLESS if s not in (f"{PREFIX}.4.57", f"{PREFIX}.4.70")])
def test_each_decoder_gives_colours_back(syntax, index, alone):
    alone(syntax, index)
    found = decoders.decode(LOSSLESS[syntax](COLOUR), syntax, shape(COLOUR))
    np.testing.assert_array_equal(found.samples, COLOUR)


@pytest.mark.parametrize("index", range(2))
@pytest.mark.parametrize("kind", ["L", "RGB"])
@pytest.mark.parametrize("quality", [60, 95])
def test_each_decoder_reads_baseline_jpeg_as_pillow_does(index, kind, quality, alone):
    alone(f"{PREFIX}.4.50", index)
    picture, stream = Image.fromarray(COLOUR).convert(kind), io.BytesIO()
    picture.save(stream, "JPEG", quality=quality)
    wanted = np.asarray(Image.open(stream))
    told = shape(wanted, photometric="YBR_FULL_422" if kind == "RGB" else None)
    found = decoders.decode(stream.getvalue(), f"{PREFIX}.4.50", told).samples
    # Decoders other than Pillow's round otherwise, and may spread halved colours otherwise.
    near = 0 if index == 0 else 3
    assert np.abs(found.reshape(wanted.shape).astype(int) - wanted).max() <= near


@pytest.mark.parametrize("said", ["RGB", "YBR_FULL", "YBR_FULL_422"])
@pytest.mark.parametrize("held", ["RGB", "YCBCR"])
@pytest.mark.parametrize("index", range(2))
def test_colours_of_a_jpeg_that_tells_them_are_right_whatever_the_header_says(said, held, index, alone):
    alone(f"{PREFIX}.4.50", index)
    data = imagecodecs.jpeg8_encode(COLOUR, level=100, colorspace="RGB", outcolorspace=held, subsampling="444")
    found = decoders.decode(data, f"{PREFIX}.4.50", shape(COLOUR, photometric=said)).samples
    assert np.abs(found.astype(int) - COLOUR).max() <= 4


@each_of(f"{PREFIX}.5", f"{PREFIX}.4.80", f"{PREFIX}.4.90")
def test_luminance_and_colour_differences_become_colours(syntax, index, alone):
    alone(syntax, index)
    encode = LOSSLESS[syntax]
    if syntax.endswith("90"):  # without its own transform, which the header then would have to name

        def encode(v):
            return imagecodecs.jpeg2k_encode(v, level=0, codecformat="j2k", reversible=True, mct=False)

    stored = pydicom.pixels.convert_color_space(COLOUR, "RGB", "YBR_FULL")
    found = decoders.decode(encode(stored), syntax, shape(stored, photometric="YBR_FULL")).samples
    assert np.abs(found.astype(int) - COLOUR).max() <= 2


@pytest.mark.parametrize("index", range(3))
@pytest.mark.parametrize("said", ["YBR_RCT", "RGB", "YBR_FULL"])
def test_a_transform_within_jpeg_2000_is_undone_once(said, index, alone):
    alone(f"{PREFIX}.4.90", index)
    for within in (True, False) if said != "YBR_FULL" else (True,):  # a header may name one that was not applied
        data = imagecodecs.jpeg2k_encode(COLOUR, level=0, codecformat="j2k", reversible=True, mct=within)
        found = decoders.decode(data, f"{PREFIX}.4.90", shape(COLOUR, photometric=said)).samples
        np.testing.assert_array_equal(found, COLOUR)


@each_of(f"{PREFIX}.5", f"{PREFIX}.4.70", f"{PREFIX}.4.80", f"{PREFIX}.4.90")
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "PALETTE COLOR"])
def test_decoders_leave_grey_and_palettes_as_they_are(syntax, index, photometric, alone):
    alone(syntax, index)
    values = made_up.stored_values((12, 20), np.uint16)
    found = decoders.decode(LOSSLESS[syntax](values), syntax, shape(values, photometric=photometric))
    np.testing.assert_array_equal(found.samples[..., 0], values)


@pytest.mark.parametrize("index", range(2))
@pytest.mark.parametrize("size", [(8, 8), (5, 7)])
def test_pixels_of_one_bit_are_packed_within_rle(index, size, alone):
    alone(f"{PREFIX}.5", index)
    values = (made_up.stored_values(size, np.uint16) & 1).astype(np.uint8)
    packed = np.packbits(values.ravel(), bitorder="little")
    found = decoders.decode(rle(packed[None]), f"{PREFIX}.5", shape(values, allocated=1)).samples
    np.testing.assert_array_equal(found[..., 0], values)


@pytest.mark.parametrize(
    "name",
    [
        "693_J2KI.dcm", "JPEG2000.dcm", "J2K_pixelrep_mismatch.dcm", "MR_small_jp2klossless.dcm",
        "JPEGLSNearLossless_08.dcm", "JPEGLSNearLossless_16.dcm", "MR_small_jpeg_ls_lossless.dcm",
        "MR_small_RLE.dcm", "GDCMJ2K_TextGBR.dcm",
        "SC_rgb_gdcm_KY.dcm", "SC_rgb_jls_lossy_line.dcm", "SC_rgb_jls_lossy_sample.dcm", "SC_rgb_jpeg_gdcm.dcm",
        "SC_jpeg_no_color_transform.dcm", "SC_jpeg_no_color_transform_2.dcm", "SC_rgb_jpeg.dcm",
        "SC_rgb_jpeg_app14_dcmd.dcm", "SC_rgb_dcmtk_+eb+cr.dcm", "SC_rgb_dcmtk_+eb+cy+n1.dcm",
        "SC_rgb_dcmtk_+eb+cy+s2.dcm", "SC_rgb_jpeg_lossy_gdcm.dcm", "SC_rgb_small_odd_jpeg.dcm", "SC_rgb_rle.dcm",
        "SC_rgb_rle_16bit.dcm", "SC_rgb_rle_32bit.dcm", "rtdose_rle_1frame.dcm",
    ],
)  # fmt: skip
def test_files_of_many_makers_decode_as_pydicom_decodes_them(name):
    path = get_testdata_file(name, download=False)
    if path is None:
        pytest.skip("not in pydicom's wheel")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(path)
        wanted, _ = get_decoder(dataset.file_meta.TransferSyntaxUID).as_array(dataset)
    told = decoders.Shape(
        dataset.Rows, dataset.Columns, dataset.SamplesPerPixel, dataset.BitsAllocated, dataset.BitsStored,
        dataset.PixelRepresentation == 1, False, dataset.PhotometricInterpretation,
    )  # fmt: skip
    data = next(pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=1))
    found = decoders.decode(data, dataset.file_meta.TransferSyntaxUID, told)
    bits = min(told.stored, found.precision or told.stored)
    mask = (1 << bits) - 1
    samples = found.samples.reshape(wanted.shape)
    np.testing.assert_array_equal(samples.astype(np.int64) & mask, wanted.astype(np.int64) & mask)


@pytest.mark.parametrize(("bits", "header"), [(12, 16), (13, 13), (16, 16)])
def test_as_many_bits_count_as_the_stream_says(bits, header):
    values = (made_up.stored_values((9, 9), np.uint16) & (1 << bits) - 1).astype(np.uint16)
    data = imagecodecs.jpeg2k_encode(values, level=0, codecformat="j2k", reversible=True, bitspersample=bits)
    assert decoders.decode(data, f"{PREFIX}.4.90", shape(values, header)).precision == bits


@pytest.mark.parametrize("encode", ["4.57", "4.80", "4.90"])
@pytest.mark.parametrize("said", ["4.50", "4.51", "4.70", "4.80", "4.91"])
def test_a_stream_under_another_syntax_is_read_as_what_it_is(encode, said):
    values = made_up.stored_values((9, 9), np.uint16)
    found = decoders.decode(LOSSLESS[f"{PREFIX}.{encode}"](values), f"{PREFIX}.{said}", shape(values))
    np.testing.assert_array_equal(found.samples[..., 0], values)


@pytest.mark.parametrize(
    ("syntax", "said"),
    [
        (f"{PREFIX}.4.100", "MPEG2 Main Profile / Main Level is not read; it is video"),
        (f"{PREFIX}.4.102", "it is video"),
        (f"{PREFIX}.4.108", "it is video"),
        (f"{PREFIX}.7.1", "it is video"),
        (f"{PREFIX}.4.94", "JPIP Referenced is not read; its pixels are on a server"),
        ("1.2.3.4", "1.2.3.4 is not read; it is not known"),
    ],
)
def test_what_no_decoder_is_for_is_refused_by_name(syntax, said):
    with pytest.raises(decoders.PixelError) as caught:
        decoders.decode(b"", syntax, shape(COLOUR))
    assert said in str(caught.value)


def test_a_missing_decoder_is_named_with_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    data = imagecodecs.jpegxl_encode(COLOUR, lossless=True)
    with pytest.raises(decoders.PixelError, match=r"no installed decoder reads JPEG XL Lossless; pip install 'radkit"):
        decoders.decode(data, f"{PREFIX}.4.110", shape(COLOUR))


@pytest.mark.parametrize("syntax", [f"{PREFIX}.{end}" for end in ("5", "4.70", "4.80", "4.90")])
def test_without_the_fastest_decoder_another_reads(syntax, monkeypatch):
    values = made_up.stored_values((12, 20), np.uint16)
    data = LOSSLESS[syntax](values)
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    np.testing.assert_array_equal(decoders.decode(data, syntax, shape(values)).samples[..., 0], values)


@pytest.mark.parametrize("syntax", [s for s in LOSSLESS if not s.endswith("1.98")])
def test_a_frame_cut_short_is_refused_and_nothing_is_printed(syntax, capfd):
    values = made_up.stored_values((40, 40), np.uint16)
    data = LOSSLESS[syntax](values)
    for length in (0, 1, 30, len(data) // 2, len(data) * 9 // 10):
        with pytest.raises(decoders.PixelError) as caught:
            decoders.decode(data[:length], syntax, shape(values))
        assert "pip install" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


@each_of(f"{PREFIX}.5", f"{PREFIX}.4.50", f"{PREFIX}.4.80", f"{PREFIX}.4.90")
def test_rubbish_is_refused_by_each_decoder_and_nothing_is_printed(syntax, index, alone, capfd):
    alone(syntax, index)
    random = np.random.default_rng(0)
    for start in (b"", b"\xff\xd8\xff", b"\xff\x4f\xff\x51", b"\x02\0\0\0\x40\0\0\0"):
        with pytest.raises(decoders.PixelError):
            decoders.decode(start + random.bytes(500), syntax, shape(made_up.stored_values((12, 20), np.uint16)))
    assert capfd.readouterr() == ("", "")


def test_a_frame_of_another_size_is_refused_with_both_sizes():
    values = made_up.stored_values((12, 20), np.uint16)
    told = shape(made_up.stored_values((20, 12), np.uint16))
    with pytest.raises(decoders.PixelError, match=r"\(12, 20, 1\), the header says \(20, 12, 1\)"):
        decoders.decode(LOSSLESS[f"{PREFIX}.4.80"](values), f"{PREFIX}.4.80", told)
    with pytest.raises(decoders.PixelError, match="does not fit Rows"):
        decoders.decode(LOSSLESS[f"{PREFIX}.4.110"](values), f"{PREFIX}.4.110", told)
