"""All of an instance's pixels, decoded, with what is needed to show them and to write them back.

Source: DICOM PS3.3 C.7.6.3 (Image Pixel), C.7.6.24 (Floating Point Image Pixel), PS3.5 section 8.2.
"""

import zlib
from dataclasses import dataclass

import numpy as np
import pydicom
from pydicom import encaps, uid
from pydicom.pixels import get_decoder

from radkit.deid.text_in_pixels import layout as layouts
from radkit.dicom import part10, pixels, scan

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
        uid.JPEGLossless, uid.JPEGLosslessSV1,
    )
)  # fmt: skip


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
        return not self.encapsulated or self.syntax in (*_LOSSLESS, DEFLATED_FRAMES)

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
    except (RuntimeError, NotImplementedError) as error:
        raise pixels.PixelError(
            f"no installed decoder reads {uid.UID(_syntax(dataset)).name}, or its data is damaged; "
            "pip install 'radkit[codecs]'"
        ) from error
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
    frames = scan.whole(dataset, "NumberOfFrames", 1)
    rows, columns = scan.whole(dataset, "Rows", 0), scan.whole(dataset, "Columns", 0)
    samples = scan.whole(dataset, "SamplesPerPixel", 1)
    if min(frames, rows, columns) < 1 or samples not in (1, 3):
        raise pixels.PixelError(
            f"{frames} frames of {rows} x {columns} pixels with {samples} samples cannot be looked at"
        )
    return frames, rows, columns, samples


def _stored_bits(dataset: pydicom.Dataset, bits: int) -> tuple[int, int]:
    stored = scan.whole(dataset, "BitsStored", bits)
    high = scan.whole(dataset, "HighBit", stored - 1)
    if not 1 <= stored <= bits or not stored - 1 <= high < bits:
        raise pixels.PixelError(f"BitsStored {stored} and HighBit {high} do not fit BitsAllocated {bits}")
    return stored, high


def _photometric(dataset: pydicom.Dataset, samples: int) -> str:
    given = str(scan.value(dataset, "PhotometricInterpretation") or "").strip()
    return given or ("RGB" if samples == 3 else "MONOCHROME2")


def _native(dataset: pydicom.Dataset, tag: int) -> Pixels:
    shape, floating = _shape(dataset), tag != PIXEL_DATA
    bits = _BITS.get(tag) or scan.whole(dataset, "BitsAllocated", 16)
    photometric, syntax = _photometric(dataset, shape[3]), _syntax(dataset)
    lay = layouts.Layout(
        shape, bits,
        planar=shape[3] > 1 and scan.whole(dataset, "PlanarConfiguration", 0) == 1,
        subsampled=photometric == "YBR_FULL_422" and shape[3] == 3,
        big_endian=syntax == uid.ExplicitVRBigEndian,
        words=dataset[tag].VR == "OW",
        floating=floating,
    )  # fmt: skip
    data = dataset[tag].value
    data = data if isinstance(data, bytes) else b""
    stored, high = (bits, bits - 1) if floating else _stored_bits(dataset, bits)
    excess = bool(data[lay.length + lay.length % 2 :].strip(b"\0"))
    signed = scan.whole(dataset, "PixelRepresentation", 0) == 1
    return Pixels(layouts.unpack(data, lay), lay, tag, syntax, photometric, signed, stored, high, excess)


def _encapsulated(dataset: pydicom.Dataset) -> Pixels:
    shape, syntax = _shape(dataset), _syntax(dataset)
    signed = scan.whole(dataset, "PixelRepresentation", 0) == 1
    bits = scan.whole(dataset, "BitsAllocated", 16)
    stored, high = _stored_bits(dataset, bits)
    if syntax == DEFLATED_FRAMES:
        lay = layouts.Layout(shape, bits)
        photometric = _photometric(dataset, shape[3])
        return Pixels(_inflated(dataset, lay), lay, PIXEL_DATA, syntax, photometric, signed, stored, high)
    decoder = get_decoder(uid.UID(syntax))
    raw = syntax in _LOSSLESS
    cells, said = decoder.as_array(dataset, raw=raw, **({} if raw else {"as_rgb": True}))
    if cells.size != np.prod(shape, dtype=np.int64):
        raise pixels.PixelError("the number of frames in PixelData is not NumberOfFrames")
    bits = bits if bits == 1 else 8 * cells.dtype.itemsize
    lay = layouts.Layout(shape, bits)
    cells = np.ascontiguousarray(cells).view(lay.dtype).reshape(shape)
    photometric = str(said["photometric_interpretation"])
    return Pixels(cells, lay, PIXEL_DATA, syntax, photometric, signed, stored, high)


def _inflated(dataset: pydicom.Dataset, lay: layouts.Layout) -> np.ndarray:
    """Returns the cells of Deflated Image Frame Compression, each frame a zlib stream without header (PS3.5 A.4.13)."""
    one = layouts.Layout((1, *lay.shape[1:]), lay.bits)
    frames = encaps.generate_frames(dataset.PixelData, number_of_frames=lay.shape[0])
    return np.concatenate([layouts.unpack(zlib.decompress(frame, wbits=-15), one) for frame in frames])
