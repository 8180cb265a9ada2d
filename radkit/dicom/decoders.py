"""One compressed frame to samples, by the fastest decoder that is installed and reads it.

Every decoder but pydicom's own for RLE and SimpleITK's is an extra: `pip install 'radkit[codecs]'`.

Source: DICOM PS3.5 A.4 and section 8.2, PS3.6 annex A (transfer syntaxes).
"""

import contextlib
import os
import struct
import tempfile
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from pydicom import encaps, uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels import convert_color_space, get_decoder

from radkit.dicom import codestreams, part10
from radkit.errors import UserError


class PixelError(UserError):
    """Pixels that cannot be decoded or are of a kind radkit does not read; the message says which."""


@dataclass(frozen=True)
class Shape:
    """What the header says of one frame.

    Attributes:
        rows: Of the frame.
        columns: Of the frame.
        samples: SamplesPerPixel.
        allocated: BitsAllocated.
        stored: BitsStored.
        signed: PixelRepresentation is 1.
        planar: PlanarConfiguration is 1.
        photometric: PhotometricInterpretation.
    """

    rows: int
    columns: int
    samples: int
    allocated: int
    stored: int
    signed: bool
    planar: bool
    photometric: str


@dataclass(frozen=True)
class Decoded:
    """One decoded frame.

    Attributes:
        samples: (rows, columns, samples) of any integer type; colours are red, green and blue.
        precision: How many bits of a sample count, as the stream says; None where it says nothing, as RLE.
        lossy: The transfer syntax allows values that were not there before.
    """

    samples: np.ndarray
    precision: int | None = None
    lossy: bool = False


_Decoder = Callable[[bytes, str, Shape], np.ndarray]
_FAILURES = (*part10.MALFORMED, RuntimeError, OSError, MemoryError)
_OUTPUTS = threading.Lock()


def decode(data: bytes, syntax: str, shape: Shape) -> Decoded:
    """Returns one frame's samples.

    Args:
        data: The frame's compressed bytes.
        syntax: TransferSyntaxUID.
        shape: What the header says of it.

    Raises:
        PixelError: No installed decoder reads the transfer syntax, the frame is damaged or cut short, it is not of
            the header's size, or the transfer syntax is video or has no pixels in the file.
    """
    family = _FAMILIES.get(syntax)
    if family is None:
        raise PixelError(f"{_name(syntax)} is not read; {_why(syntax)}")
    stream = None if family in _BARE else codestreams.read(data)
    if stream is None and family not in _BARE:  # decoders of native code are not asked about anything
        raise PixelError(f"{_name(syntax)}: the frame is damaged, it does not begin as such an image does")
    if stream is not None:
        _check(stream, syntax, shape)
        shape = replace(shape, photometric=_encoded(stream, shape))
        syntax = _kind(stream, syntax)
        family = _FAMILIES[syntax]
    samples = _first(_CHAINS[family], data, syntax, shape)
    if samples.shape != (shape.rows, shape.columns, shape.samples):
        raise PixelError(f"{_name(syntax)}: the decoded frame does not fit Rows, Columns and SamplesPerPixel")
    if stream is None:
        return Decoded(samples)
    # JPEG writes down how many bits occur, JPEG 2000 and JPEG-LS how many there are: the highest is the sign's.
    counted = stream.precision if stream.kind in (0x51, 0xF7) else max(stream.precision, shape.stored)
    return Decoded(samples, counted, syntax in _LOSSY)


def _name(syntax: str) -> str:
    return _NAMES.get(syntax) or uid.UID(syntax).name


def _why(syntax: str) -> str:
    if syntax.startswith("1.2.840.10008.1.2.4.10") or syntax.startswith("1.2.840.10008.1.2.7."):
        return "it is video; cut it into single frames first"
    if syntax in _ELSEWHERE:
        return "its pixels are on a server, not in the file"
    return "it is not known; decompress the files with the vendor's or another tool first"


def _kind(stream: codestreams.Stream, syntax: str) -> str:
    """Returns the transfer syntax that a stream is of: the header's where it can be, as archives relabel."""
    if stream.kind in (0x51, 0xF7):
        family, other = ("JPEG 2000", uid.JPEG2000) if stream.kind == 0x51 else ("JPEG-LS", uid.JPEGLSNearLossless)
        return syntax if _FAMILIES[syntax].startswith(family) else str(other)
    if stream.kind in codestreams.LOSSLESS:
        return syntax if syntax in _LOSSLESS else str(uid.JPEGLossless)
    return syntax if syntax == uid.JPEGBaseline8Bit else str(uid.JPEGExtended12Bit)


def _check(stream: codestreams.Stream, syntax: str, shape: Shape) -> None:
    found, wanted = (stream.rows, stream.columns, stream.samples), (shape.rows, shape.columns, shape.samples)
    if found != wanted:
        raise PixelError(
            f"{_name(syntax)}: the frame has (rows, columns, samples) {found}, the header says {wanted}: "
            "damaged or of another image"
        )
    if not stream.whole:
        raise PixelError(f"{_name(syntax)}: the frame is cut short, its end is not there")


def _encoded(stream: codestreams.Stream, shape: Shape) -> str:
    """Returns the colours that the stream holds: what it says itself, else what the header says."""
    if shape.samples != 3 or not stream.encoding:
        # A transform that the stream does not use was not applied: nothing is to be undone.
        return "RGB" if shape.photometric in ("YBR_RCT", "YBR_ICT") else shape.photometric
    return "RGB" if stream.encoding == "RGB" else "YBR_FULL"


def _first(chain: Sequence[_Decoder], data: bytes, syntax: str, shape: Shape) -> np.ndarray:
    """Returns what the first decoder gives that is installed and reads the frame."""
    missing = failed = False
    for decoder in chain:
        try:
            samples = decoder(data, _PART_1.get(syntax, syntax), shape)
            return samples if samples.ndim == 3 else samples[..., None]
        except PixelError:
            raise
        except ImportError:
            missing = True
        except _FAILURES:
            failed = True
    if failed and not missing:
        raise PixelError(f"{_name(syntax)}: the frame is damaged, {len(chain)} decoders cannot read it")
    damaged = ", or its data is damaged" if failed else ""
    raise PixelError(f"no installed decoder reads {_name(syntax)}{damaged}; pip install 'radkit[codecs]'")


def rgb(samples: np.ndarray, photometric: str) -> np.ndarray:
    """Returns (rows, columns, 3) as red, green and blue; other samples as they are.

    Raises:
        PixelError: Luminance and colour differences of a kind, or of a number of bits, that is not read.
    """
    if samples.ndim != 3 or samples.shape[2] != 3 or not photometric.startswith("YBR"):
        return samples
    if not photometric.startswith("YBR_FULL") or samples.dtype != np.uint8:
        raise PixelError(f"colours as {photometric} in {8 * samples.dtype.itemsize} bits are not read")
    converted: np.ndarray = convert_color_space(samples, "YBR_FULL", "RGB")
    return converted


def by_pixel(flat: np.ndarray, shape: Shape, planar: bool) -> np.ndarray:
    """Returns (rows, columns, samples) of samples that lie in a row, by plane or by pixel."""
    if not planar or shape.samples == 1:
        return flat.reshape(shape.rows, shape.columns, shape.samples)
    return flat.reshape(shape.samples, shape.rows, shape.columns).transpose(1, 2, 0)


def _jpeg_by_imagecodecs(data: bytes, syntax: str, shape: Shape) -> np.ndarray:
    from imagecodecs import jpeg8_decode

    if shape.samples != 3:
        return np.asarray(jpeg8_decode(data))
    if syntax in _LOSSLESS:
        samples = np.asarray(jpeg8_decode(data, colorspace="RGB", outcolorspace="RGB"))  # as encoded
        return rgb(samples, shape.photometric)
    space = "YCBCR" if shape.photometric.startswith("YBR") else "RGB"
    return np.asarray(jpeg8_decode(data, colorspace=space, outcolorspace="RGB"))


def _jpeg_ls_by_imagecodecs(data: bytes, _: str, shape: Shape) -> np.ndarray:
    from imagecodecs import jpegls_decode

    return rgb(np.asarray(jpegls_decode(data)), shape.photometric)


def _jpeg_2000_by_imagecodecs(data: bytes, _: str, shape: Shape) -> np.ndarray:
    from imagecodecs import jpeg2k_decode

    return rgb(np.asarray(jpeg2k_decode(data)), shape.photometric)


def _jpeg_xl_by_imagecodecs(data: bytes, _: str, shape: Shape) -> np.ndarray:
    from imagecodecs import jpegxl_decode

    return np.asarray(jpegxl_decode(data))


def _rle_by_imagecodecs(data: bytes, _: str, shape: Shape) -> np.ndarray:
    from imagecodecs import packbits_decode

    bytes_each = max(shape.allocated // 8, 1)
    count = shape.rows * shape.columns if shape.allocated > 1 else -(-shape.rows * shape.columns // 8)
    segments, *offsets = struct.unpack_from("<16I", data)
    bounds = [*offsets[:segments], len(data)]
    if segments != shape.samples * bytes_each or min(bounds) < 64 or any(a > b for a, b in pairwise(bounds)):
        raise ValueError("the RLE header does not fit the frame")
    planes = np.empty((shape.samples, count, bytes_each), np.uint8)
    for index, (start, stop) in enumerate(pairwise(bounds)):
        sample, place = divmod(index, bytes_each)  # the highest byte of each sample comes first
        plane = np.frombuffer(packbits_decode(data[start:stop]), np.uint8, count)
        planes[sample, :, bytes_each - 1 - place] = plane
    if shape.allocated == 1:
        return _bits(planes.tobytes(), shape)
    return rgb(by_pixel(planes.view(f"<u{bytes_each}").reshape(-1), shape, planar=True), shape.photometric)


def _rle_by_pydicom(data: bytes, syntax: str, shape: Shape) -> np.ndarray:
    if shape.allocated > 1:
        return _stored_by("pydicom")(data, syntax, shape)
    packed = replace(shape, rows=1, columns=-(-shape.rows * shape.columns // 8), allocated=8, stored=8)
    return _bits(_stored_by("pydicom")(data, syntax, packed).tobytes(), shape)


def _bits(data: bytes, shape: Shape) -> np.ndarray:
    """Returns (rows, columns, samples) of pixels that take one bit."""
    count = shape.rows * shape.columns * shape.samples
    bits = np.unpackbits(np.frombuffer(data, np.uint8, -(-count // 8)), bitorder="little", count=count)
    return by_pixel(bits, shape, planar=False)


def _stored_by(plugin: str) -> _Decoder:
    """Returns pydicom's decoder that works by this library."""

    def decoded(data: bytes, syntax: str, shape: Shape) -> np.ndarray:
        try:
            decoder = get_decoder(uid.UID(syntax))
        except NotImplementedError as error:
            raise ImportError(syntax) from error
        if plugin not in decoder.available_plugins:
            raise ImportError(plugin)
        with held_back():
            samples, said = decoder.as_array(_single(data, syntax, shape), decoding_plugin=plugin, raw=True)
        return rgb(np.asarray(samples), str(said["photometric_interpretation"]))

    return decoded


def _by_simpleitk(data: bytes, syntax: str, shape: Shape) -> np.ndarray:
    import SimpleITK

    with tempfile.TemporaryDirectory() as folder, held_back():
        path = Path(folder, "a.dcm")
        _single(data, syntax, shape).save_as(path, enforce_file_format=True)
        return np.asarray(SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path), imageIO="GDCMImageIO")))[0]


def _single(data: bytes, syntax: str, shape: Shape) -> Dataset:
    """Returns a data set of this frame and nothing else."""
    single = Dataset()
    single.file_meta = FileMetaDataset()
    single.file_meta.TransferSyntaxUID = uid.UID(syntax)
    single.SOPClassUID = single.file_meta.MediaStorageSOPClassUID = uid.SecondaryCaptureImageStorage
    single.SOPInstanceUID = single.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    single.Rows, single.Columns, single.SamplesPerPixel = shape.rows, shape.columns, shape.samples
    single.BitsAllocated, single.BitsStored, single.HighBit = shape.allocated, shape.stored, shape.stored - 1
    single.PixelRepresentation = int(shape.signed)
    # Grey of any kind: some turn MONOCHROME1 round, or look for a palette.
    single.PhotometricInterpretation = shape.photometric if shape.samples > 1 else "MONOCHROME2"
    if shape.samples > 1:
        single.PlanarConfiguration = int(shape.planar)
    single.PixelData = encaps.encapsulate([data])
    single["PixelData"].VR = "OB"
    single["PixelData"].is_undefined_length = True
    return single


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """Keeps what libraries print to the process' own outputs from them."""
    with _OUTPUTS, open(os.devnull, "wb") as nowhere:
        kept = {}
        try:
            for number in (1, 2):
                with contextlib.suppress(OSError):  # a daemon may have closed them
                    kept[number] = os.dup(number)
            for number in kept:
                os.dup2(nowhere.fileno(), number)
            yield
        finally:
            for number, copy in kept.items():
                os.dup2(copy, number)
                os.close(copy)


def _inflated(data: bytes, _: str, shape: Shape) -> np.ndarray:
    return _uncompressed(zlib.decompressobj(wbits=-15).decompress(data), _, shape)


def _uncompressed(data: bytes, _: str, shape: Shape) -> np.ndarray:
    if shape.allocated == 1:
        return _bits(data, shape)
    cells = np.frombuffer(data, f"<u{shape.allocated // 8}", shape.rows * shape.columns * shape.samples)
    return rgb(by_pixel(cells, shape, shape.planar), shape.photometric)


# The fastest first, as measured on real slices. GDCM decodes within SimpleITK: its own Python module ends the process
# on damaged frames.
_CHAINS: dict[str, tuple[_Decoder, ...]] = {
    "RLE": (_rle_by_imagecodecs, _rle_by_pydicom),
    "JPEG": (_jpeg_by_imagecodecs, _by_simpleitk),
    "JPEG-LS": (_jpeg_ls_by_imagecodecs, _stored_by("pyjpegls"), _by_simpleitk),
    "JPEG 2000": (_jpeg_2000_by_imagecodecs, _stored_by("pylibjpeg"), _by_simpleitk),
    "JPEG 2000 HT": (_jpeg_2000_by_imagecodecs, _stored_by("pylibjpeg")),
    "JPEG XL": (_jpeg_xl_by_imagecodecs,),
    "deflated": (_inflated,),
    "uncompressed": (_uncompressed,),
}
_PREFIX = "1.2.840.10008.1.2"
_FAMILIES = {
    f"{_PREFIX}.5": "RLE",
    **{f"{_PREFIX}.4.{number}": "JPEG" for number in (*range(50, 67), 70)},  # some of them retired
    **{f"{_PREFIX}.4.{number}": "JPEG-LS" for number in (80, 81)},
    **{f"{_PREFIX}.4.{number}": "JPEG 2000" for number in range(90, 94)},
    **{f"{_PREFIX}.4.{number}": "JPEG 2000 HT" for number in (201, 202, 203)},
    **{f"{_PREFIX}.4.{number}": "JPEG XL" for number in (110, 111, 112)},
    f"{_PREFIX}.8.1": "deflated",
    f"{_PREFIX}.1.98": "uncompressed",
}
_BARE = ("RLE", "JPEG XL", "deflated", "uncompressed")
_LOSSLESS = (str(uid.JPEGLossless), str(uid.JPEGLosslessSV1))
_LOSSY = tuple(f"{_PREFIX}.4.{number}" for number in (50, 51, 81, 91, 93, 203))
# Streams of Part 2 that keep to Part 1 are read as such.
_PART_1 = {f"{_PREFIX}.4.92": f"{_PREFIX}.4.90", f"{_PREFIX}.4.93": f"{_PREFIX}.4.91"}
_ELSEWHERE = tuple(f"{_PREFIX}.4.{number}" for number in (94, 95, 204, 205))
# pydicom does not know them all.
_NAMES = {
    f"{_PREFIX}.4.110": "JPEG XL Lossless",
    f"{_PREFIX}.4.111": "JPEG XL JPEG Recompression",
    f"{_PREFIX}.4.112": "JPEG XL",
    f"{_PREFIX}.8.1": "Deflated Image Frame Compression",
    f"{_PREFIX}.1.98": "Encapsulated Uncompressed Explicit VR Little Endian",
}
