"""All of an instance's pixels, decoded, with what is needed to show them and to write them back.

Source: DICOM PS3.3 C.7.6.3 (Image Pixel), C.7.6.24 (Floating Point Image Pixel), PS3.5 section 8.2.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pydicom
from pydicom import uid

from radkit.deid.text_in_pixels import layout as layouts
from radkit.dicom import attributes, decoders, fragments, part10, pixels

PIXEL_DATA, FLOAT_DATA, DOUBLE_DATA = 0x7FE00010, 0x7FE00008, 0x7FE00009
_BITS = {FLOAT_DATA: 32, DOUBLE_DATA: 64}
DEFLATED_FRAMES = "1.2.840.10008.1.2.8.1"
# A closed list: whatever stands not on it is encapsulated, known to pydicom or not.
_NATIVE = (
    uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian,
    uid.DeflatedExplicitVRLittleEndian,
)  # fmt: skip
# Decoded without turning colours: what is written back must be what was stored.
_LOSSLESS = frozenset(
    (
        uid.RLELossless, uid.JPEG2000Lossless, uid.JPEGLSLossless, uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL,
        uid.JPEGLossless, uid.JPEGLosslessSV1, DEFLATED_FRAMES,
    )
)  # fmt: skip
_LOSSY = (
    uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit, uid.JPEGLSNearLossless, uid.JPEG2000, uid.HTJ2K,
)  # fmt: skip
_STARTS = (b"\xff\xd8\xff", b"\xff\x4f\xff\x51", b"\x00\x00\x00\x0cjP")  # of JPEG, JPEG-LS and JPEG 2000


@dataclass(frozen=True)
class Pixels:
    """Decoded pixels.

    Attributes:
        cells: (frames, rows, columns, samples), `layout.dtype`.
        layout: How they are written in a native transfer syntax; for encapsulated sources little endian, by pixel.
        tag: Of the element that holds them.
        syntax: Transfer syntax of the source.
        photometric: PhotometricInterpretation of `cells`.
        signed: PixelRepresentation is 1.
        stored: BitsStored.
        high: HighBit.
        excess: The value goes on after the last frame, with more than zeros.
    """

    cells: np.ndarray
    layout: layouts.Layout
    tag: int
    syntax: str
    photometric: str
    signed: bool
    stored: int
    high: int
    excess: bool = False

    @property
    def encapsulated(self) -> bool:
        """The source's frames were compressed each for itself."""
        return self.syntax not in _NATIVE

    @property
    def lossless(self) -> bool:
        """The source's transfer syntax allows nothing but lossless compression, or none."""
        return not self.encapsulated or self.syntax in _LOSSLESS

    def values(self, frame: int, where: tuple[slice, slice] = (slice(None), slice(None))) -> np.ndarray:
        """Returns stored values of a part of a frame, (rows, columns, samples), unused bits cut off, sign extended."""
        cells = self.cells[frame][where]
        if self.layout.floating or self.layout.bits == 1:
            return cells
        shift = self.high + 1 - self.stored
        values = (cells >> cells.dtype.type(shift)) if shift else cells
        values = values & cells.dtype.type(2**self.stored - 1)
        if not self.signed:
            return values
        wide = values.astype(np.int64)
        return np.where(wide >= 2 ** (self.stored - 1), wide - 2**self.stored, wide)

    def unused(self, frame: int) -> np.ndarray:
        """Returns a frame's bits outside those stored, (rows, columns, samples): old overlays may lie there."""
        if self.layout.floating or self.stored >= self.layout.bits:
            return np.zeros((1, 1, 1), np.uint8)
        cells, shift = self.cells[frame], self.high + 1 - self.stored
        kept = cells.dtype.type(((2**self.stored - 1) << shift) & (2**self.layout.bits - 1))
        rest = cells & ~kept
        if self.signed:  # Copies of the sign are no message.
            above = cells.dtype.type((2**self.layout.bits - 1) ^ (2 ** (self.high + 1) - 1))
            negative = (cells >> cells.dtype.type(self.high)) & cells.dtype.type(1)
            rest = np.where((negative == 1) & (rest == above), cells.dtype.type(0), rest)
        return rest


def decode(dataset: pydicom.Dataset) -> Pixels | None:
    """Returns all of an instance's pixels; None when it holds none.

    Raises:
        PixelError: They cannot be decoded, or are of a kind that cannot be looked at.
    """
    tag = next((tag for tag in (PIXEL_DATA, FLOAT_DATA, DOUBLE_DATA) if tag in dataset), None)
    if tag is None:
        _refuse_elsewhere(dataset)
        return None
    try:
        with part10.silence():
            return _encapsulated(dataset) if _is_encapsulated(dataset) else _native(dataset, tag)
    except pixels.PixelError:
        raise
    except (*part10.MALFORMED, OSError, MemoryError) as error:
        raise pixels.PixelError("PixelData is cut short or does not fit Rows, Columns and BitsAllocated") from error


def _refuse_elsewhere(dataset: pydicom.Dataset) -> None:
    # JPIP and its kin leave the pixels on a server: they can be neither looked at nor handed on.
    if "PixelDataProviderURL" in dataset:
        raise pixels.PixelError("the pixels are on a server (PixelDataProviderURL) and cannot be looked at")


def _syntax(dataset: pydicom.Dataset) -> str:
    given = getattr(dataset, "file_meta", pydicom.Dataset()).get("TransferSyntaxUID")
    if given:
        return str(given)
    implicit, little = dataset.original_encoding
    if little is False:
        return str(uid.ExplicitVRBigEndian)
    return str(uid.ImplicitVRLittleEndian if implicit in (True, None) else uid.ExplicitVRLittleEndian)


def _is_encapsulated(dataset: pydicom.Dataset) -> bool:
    return _syntax(dataset) not in _NATIVE


def _shape(dataset: pydicom.Dataset) -> tuple[int, int, int, int]:
    frames = attributes.whole(dataset, "NumberOfFrames", 1)
    rows, columns = attributes.whole(dataset, "Rows", 0), attributes.whole(dataset, "Columns", 0)
    samples = attributes.whole(dataset, "SamplesPerPixel", 1)
    if min(frames, rows, columns) < 1 or samples not in (1, 3):
        raise pixels.PixelError(
            f"{frames} frames of {rows} x {columns} pixels with {samples} samples cannot be looked at"
        )
    return frames, rows, columns, samples


def _stored_bits(dataset: pydicom.Dataset, bits: int) -> tuple[int, int]:
    stored = attributes.whole(dataset, "BitsStored", bits)
    high = attributes.whole(dataset, "HighBit", stored - 1)
    if not 1 <= stored <= bits or not stored - 1 <= high < bits:
        raise pixels.PixelError(f"BitsStored {stored} and HighBit {high} do not fit BitsAllocated {bits}")
    return stored, high


def _photometric(dataset: pydicom.Dataset, samples: int) -> str:
    given = str(attributes.value(dataset, "PhotometricInterpretation") or "").strip()
    return given or ("RGB" if samples == 3 else "MONOCHROME2")


def _native(dataset: pydicom.Dataset, tag: int) -> Pixels:
    shape, floating = _shape(dataset), tag != PIXEL_DATA
    bits = _BITS.get(tag) or attributes.whole(dataset, "BitsAllocated", 16)
    photometric, syntax = _photometric(dataset, shape[3]), _syntax(dataset)
    lay = layouts.Layout(
        shape, bits,
        planar=shape[3] > 1 and attributes.whole(dataset, "PlanarConfiguration", 0) == 1,
        subsampled=photometric == "YBR_FULL_422" and shape[3] == 3,
        big_endian=syntax == uid.ExplicitVRBigEndian,
        words=dataset[tag].VR == "OW",
        floating=floating,
    )  # fmt: skip
    data = dataset[tag].value
    data = data if isinstance(data, bytes) else b""
    stored, high = (bits, bits - 1) if floating else _stored_bits(dataset, bits)
    excess = bool(data[lay.length + lay.length % 2 :].strip(b"\0"))
    signed = attributes.whole(dataset, "PixelRepresentation", 0) == 1
    return Pixels(layouts.unpack(data, lay), lay, tag, syntax, photometric, signed, stored, high, excess)


def _encapsulated(dataset: pydicom.Dataset) -> Pixels:
    shape, syntax = _shape(dataset), _syntax(dataset)
    if syntax not in _LOSSLESS and syntax not in _LOSSY:
        raise pixels.PixelError(f"{uid.UID(syntax).name} cannot be looked at; decompress the files first")
    said = _said(dataset, shape)
    _, high = _stored_bits(dataset, said.allocated)
    value, photometric = pixels.encoded(dataset), said.photometric
    # By the fragments, not by an Extended Offset Table, which need not name them all.
    found = fragments.spans(value, shape[0])
    _refuse_hidden(value, found, syntax)
    lay, cells = layouts.Layout(shape, said.allocated), np.empty(0)
    for number, spans in enumerate(found):
        frame, photometric = frame_cells(b"".join(value[start:stop] for start, stop in spans), syntax, said)
        if not number:
            lay = replace(lay, bits=said.allocated if said.allocated == 1 else 8 * frame.dtype.itemsize)
            cells = np.empty(shape, lay.dtype)
        if frame.dtype != cells.dtype:
            raise pixels.PixelError("the frames in PixelData are of different numbers of bits")
        cells[number] = frame
    return Pixels(cells, lay, PIXEL_DATA, syntax, photometric, said.signed, said.stored, high)


def _refuse_hidden(value: bytes, found: Sequence[Sequence[fragments.Span]], syntax: str) -> None:
    """Refuses an image behind another within one frame: it would leave without having been looked at."""
    whole = syntax in (uid.RLELossless, DEFLATED_FRAMES)  # such frames are one fragment each
    behind = [start for spans in found for start, _ in spans[1:]]
    if (behind and whole) or any(value.startswith(_STARTS, start) for start in behind):
        raise pixels.PixelError("the number of frames in PixelData is not NumberOfFrames")


def _said(dataset: pydicom.Dataset, shape: tuple[int, int, int, int]) -> decoders.Shape:
    allocated = attributes.whole(dataset, "BitsAllocated", 16)
    return decoders.Shape(
        *shape[1:],
        allocated,
        stored=_stored_bits(dataset, allocated)[0],
        signed=attributes.whole(dataset, "PixelRepresentation", 0) == 1,
        planar=shape[3] > 1 and attributes.whole(dataset, "PlanarConfiguration", 0) == 1,
        photometric=_photometric(dataset, shape[3]),
    )


def frame_cells(data: bytes, syntax: str, shape: decoders.Shape) -> tuple[np.ndarray, str]:
    """Returns one compressed frame's cells, (rows, columns, samples) unsigned, and their PhotometricInterpretation.

    Args:
        data: Of the frame.
        syntax: TransferSyntaxUID.
        shape: What the header says.

    Raises:
        PixelError: See `decoders.decode`.
    """
    colours, raw = shape.samples == 3, syntax in _LOSSLESS
    # Whatever the colours are, asked for as red, green and blue they come as they were stored.
    decoded = decoders.decode(data, syntax, replace(shape, photometric="RGB") if colours and raw else shape)
    if colours and raw and decoded.lossy:  # its transfer syntax is wrong
        decoded, raw = decoders.decode(data, syntax, shape), False
    turned = colours and (not raw or shape.photometric in ("YBR_RCT", "YBR_ICT"))
    return _widened(decoded, shape), "RGB" if turned else shape.photometric


def _widened(decoded: decoders.Decoded, shape: decoders.Shape) -> np.ndarray:
    """Returns a frame's samples in cells of BitsAllocated, wider where they need it, copies of the sign and all."""
    samples, precision = decoded.samples, decoded.precision
    width = max(samples.dtype.itemsize, -(-shape.allocated // 8))
    cells = samples.astype(f"{samples.dtype.kind}{width}")
    if shape.signed and samples.dtype.kind == "u" and precision is not None and precision <= shape.stored:
        above = 8 * width - precision
        cells = cells.view(f"i{width}") << above >> above
    widened: np.ndarray = cells.view(f"u{width}")
    return widened
