"""Stored pixels and what maps them to modality values.

Source: DICOM PS3.3 C.7.6.3 (Image Pixel), C.7.6.24 (Floating Point Image Pixel), C.11.1 (Modality LUT); PS3.5 8.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from pydicom import uid
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset

from radkit.dicom import attributes, decoders, fragments, luts, part10, quick
from radkit.dicom.decoders import PixelError
from radkit.dicom.luts import rescale

__all__ = ["PixelError", "encoded", "findings", "padding", "rescale", "stored", "stored_frames"]

_PIXELS, _FLOATS, _DOUBLES = 0x7FE00010, 0x7FE00008, 0x7FE00009
_OFFSETS, _LENGTHS = 0x7FE00001, 0x7FE00002
_BIG_ENDIAN = (str(uid.ExplicitVRBigEndian), "1.2.840.113619.5.2")  # GE's own: implicit, pixels big endian
# A closed list: whatever stands not on it is encapsulated, known to pydicom or not.
_NATIVE = (
    str(uid.ImplicitVRLittleEndian), str(uid.ExplicitVRLittleEndian), str(uid.DeflatedExplicitVRLittleEndian),
    *_BIG_ENDIAN,
)  # fmt: skip
_ALLOCATED = (1, 8, 12, 16, 32)
_COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_RCT", "YBR_ICT")


@dataclass(frozen=True)
class _Image:
    """What the header says of the pixels, checked."""

    shape: decoders.Shape
    frames: int
    high: int
    syntax: str
    tag: int
    value: bytes
    vr: str
    offsets: tuple[bytes, bytes] | None

    @property
    def cells(self) -> int:
        return self.shape.rows * self.shape.columns * self.shape.samples

    @cached_property
    def fragments(self) -> list[list[fragments.Span]]:
        return fragments.spans(self.value, self.frames, self.offsets)


def stored(dataset: Dataset, frame: int = 0) -> np.ndarray:
    """Returns one frame's stored values; the other frames are not decoded.

    MONOCHROME1 is turned round (white is high everywhere after this), within the stored bits. A Modality LUT is
    applied; a palette and any colour space become red, green and blue, of 8 bits.

    Args:
        dataset: As `scan.read_file` gives it.
        frame: Which, from 0.

    Returns:
        (rows, columns), int16 or uint16; int32, uint32 or float32 where the bits need it; (rows, columns, 3) uint8
        for colour. It may be a view of the data set's bytes, not to be written to.

    Raises:
        PixelError: No pixels, of a kind that is not read, cut short, damaged, no such frame, or no decoder installed.
        NotDicom: An attribute that pixels need cannot be read.
    """
    with part10.silence():
        return _finished(dataset, _image(dataset), frame)


def stored_frames(dataset: Dataset, numbers: Iterable[int] | None = None) -> Iterator[np.ndarray]:
    """Yields frames' stored values as `stored` does, the header read once.

    Args:
        dataset: As `scan.read_file` gives it.
        numbers: Which frames, from 0, in this order; None for all.

    Raises:
        PixelError: As `stored`.
        NotDicom: As `stored`.
    """
    with part10.silence():
        image = _image(dataset)
    for number in range(image.frames) if numbers is None else numbers:
        with part10.silence():
            values = _finished(dataset, image, number)
        yield values


def _finished(dataset: Dataset, image: _Image, frame: int) -> np.ndarray:
    if not 0 <= frame < image.frames:
        raise PixelError(f"frame {frame} was asked for, the instance has {image.frames} (0 to {image.frames - 1})")
    if image.tag != _PIXELS:
        return _floating(image, frame)
    try:
        decoded = _decoded(image, frame)
    except part10.MALFORMED as error:
        if isinstance(error, PixelError):
            raise
        raise PixelError("PixelData does not fit Rows, Columns, SamplesPerPixel and BitsAllocated") from error
    if image.shape.samples == 3:
        return _eight_bits(decoded.samples, image.shape.stored)
    values = _fitted(decoded.samples[..., 0], image, decoded.precision, lossy=decoded.lossy)
    if image.shape.photometric == "PALETTE COLOR":
        return luts.coloured(values, dataset)
    return np.ascontiguousarray(_presented(dataset, image, values))


def _presented(dataset: Dataset, image: _Image, values: np.ndarray) -> np.ndarray:
    table, highest = luts.modality_table(dataset), 2**image.shape.stored - 1
    if table is not None:
        values, highest = table.look_up(values), 2**table.bits - 1
    if image.shape.photometric == "MONOCHROME1":
        values = values.dtype.type(-1 if values.dtype.kind == "i" else highest) - values
    return values


def _image(dataset: Dataset) -> _Image:
    tag = next((tag for tag in (_PIXELS, _FLOATS, _DOUBLES) if tag in dataset), None)
    if tag is None:
        raise PixelError("the instance has no PixelData")
    rows, columns = attributes.whole(dataset, "Rows", 0), attributes.whole(dataset, "Columns", 0)
    frames = max(attributes.whole(dataset, "NumberOfFrames", 1), 1)
    if rows < 1 or columns < 1:
        raise PixelError(f"{rows} Rows and {columns} Columns hold no pixels")
    samples, photometric = _colours(dataset)
    allocated, kept, high = _bits(dataset, tag)
    signed = attributes.whole(dataset, "PixelRepresentation", 0) == 1 and tag == _PIXELS
    planar = samples > 1 and attributes.whole(dataset, "PlanarConfiguration", 0) == 1
    shape = decoders.Shape(rows, columns, samples, allocated, kept, signed, planar, photometric)
    element = dataset.get_item(tag, keep_deferred=True)
    value = _value(dataset, element)
    if not isinstance(value, bytes | bytearray):
        raise PixelError("PixelData is empty")
    tables = [dataset[key].value if key in dataset else b"" for key in (_OFFSETS, _LENGTHS)]
    offsets = (tables[0], tables[1]) if all(isinstance(table, bytes) for table in tables) else None
    return _Image(shape, frames, high, _syntax(dataset), tag, bytes(value), str(element.VR or ""), offsets)


def encoded(dataset: Dataset) -> bytes:
    """Returns the bytes of PixelData as the file holds them; empty when there are none."""
    element = dataset.get_item(_PIXELS, keep_deferred=True) if _PIXELS in dataset else None
    return bytes(_value(dataset, element) or b"") if element is not None else b""


def _value(dataset: Dataset, element: Any) -> Any:
    if element.value is None and isinstance(element, RawDataElement) and element.length:
        try:
            return quick.pixels(dataset, element)
        except OSError as error:
            raise PixelError("PixelData cannot be read: the file was changed while it was being read") from error
    return element.value if isinstance(element.value, bytes | bytearray) else dataset[element.tag].value


def _syntax(dataset: Dataset) -> str:
    meta = getattr(dataset, "file_meta", None)
    return str((meta.get("TransferSyntaxUID") if meta is not None else None) or uid.ExplicitVRLittleEndian)


def _colours(dataset: Dataset) -> tuple[int, str]:
    samples = attributes.whole(dataset, "SamplesPerPixel", 1)
    photometric = attributes.text(dataset, "PhotometricInterpretation").upper()
    photometric = photometric or ("RGB" if samples == 3 else "MONOCHROME2")
    if (samples == 3) != (photometric in _COLOURS) or samples not in (1, 3):
        raise PixelError(
            f"{samples} samples a pixel as {photometric[:16]} are not read; grey, palettes, RGB and YBR_FULL are"
        )
    return samples, photometric


def _bits(dataset: Dataset, tag: int) -> tuple[int, int, int]:
    """Returns BitsAllocated, BitsStored and HighBit."""
    if tag != _PIXELS:
        wide = 32 if tag == _FLOATS else 64
        return wide, wide, wide - 1
    allocated = attributes.whole(dataset, "BitsAllocated", 16)
    kept = attributes.whole(dataset, "BitsStored", allocated)
    if allocated not in _ALLOCATED:
        raise PixelError(f"BitsAllocated {allocated} is not read; {', '.join(map(str, _ALLOCATED))} are")
    if not 1 <= kept <= allocated:
        raise PixelError(f"BitsStored {kept} does not fit BitsAllocated {allocated}")
    high = attributes.whole(dataset, "HighBit", kept - 1)
    return allocated, kept, high if kept <= high + 1 <= allocated else kept - 1  # a HighBit that cannot be says nothing


def _decoded(image: _Image, frame: int) -> decoders.Decoded:
    if image.syntax in _NATIVE:
        return decoders.Decoded(_native(image, frame))
    data = b"".join(image.value[start:stop] for start, stop in image.fragments[frame])
    return decoders.decode(data, image.syntax, image.shape)


def _native(image: _Image, frame: int) -> np.ndarray:
    shape, value = image.shape, image.value
    if value.startswith(b"\xfe\xff\x00\xe0") and len(value) < image.cells * image.frames * shape.allocated // 8:
        raise PixelError("PixelData is compressed, and its transfer syntax says that it is not")
    halved = shape.photometric == "YBR_FULL_422" and len(value) < image.cells * image.frames  # some only say so
    cells = image.cells // 3 * 2 if halved else image.cells
    needed = (cells * image.frames * shape.allocated + 7) // 8
    if len(value) < needed:
        raise PixelError(f"PixelData is cut short: {len(value)} bytes are there, {needed} were announced")
    flat = _flat(image, cells * frame, cells)
    if halved:
        return decoders.rgb(_upsampled(flat, shape), "YBR_FULL")
    return decoders.rgb(decoders.by_pixel(flat, shape, shape.planar), shape.photometric)


def _flat(image: _Image, first: int, count: int) -> np.ndarray:
    """Returns so many cells from one on, unsigned."""
    value, allocated, big = image.value, image.shape.allocated, image.syntax in _BIG_ENDIAN
    if allocated >= 16:
        cells = np.frombuffer(value, np.dtype(f"{'>' if big else '<'}u{allocated // 8}"), count, first * allocated // 8)
        return cells.astype(cells.dtype.newbyteorder("="), copy=False)
    # Cells of other widths need not begin at a byte; 48 bits hold whole numbers of all of them, and of words.
    begin, end = first * allocated // 48 * 6, -(-(first + count) * allocated // 48) * 6
    part = np.frombuffer(value[begin:end].ljust(end - begin, b"\0"), np.uint8)
    if big and image.vr == "OW":
        part = part.view(np.uint16).byteswap().view(np.uint8)
    skipped = first - begin * 8 // allocated
    return _unpacked(part, allocated)[skipped : skipped + count]


def _unpacked(part: np.ndarray, allocated: int) -> np.ndarray:
    if allocated == 8:
        return part
    if allocated == 1:
        return np.unpackbits(part, bitorder="little")
    low, middle, high = (part[offset::3].astype(np.uint16) for offset in range(3))
    return np.stack([low | (middle & 15) << 8, middle >> 4 | high << 4], axis=-1).reshape(-1)


def _upsampled(flat: np.ndarray, shape: decoders.Shape) -> np.ndarray:
    """Returns (rows, columns, 3) of quadruples Y Y Cb Cr: two pixels share their colour."""
    if shape.columns % 2 or shape.allocated != 8:
        raise PixelError("YBR_FULL_422 needs an even number of columns and 8 bits")
    quads = flat.reshape(shape.rows, shape.columns // 2, 4)
    pairs = quads[..., [0, 2, 3, 1, 2, 3]]
    return pairs.reshape(shape.rows, shape.columns, 3)


def _fitted(cells: np.ndarray, image: _Image, precision: int | None = None, *, lossy: bool = False) -> np.ndarray:
    """Returns values of the stored bits alone, their sign extended."""
    shape = image.shape
    wide = max(cells.dtype.itemsize, -(-shape.allocated // 8))
    if wide == 8 or (wide > 2 and shape.allocated <= 16):
        raise PixelError(f"decoded samples have {8 * wide} bits, BitsAllocated is {shape.allocated}")
    values = cells.astype(np.dtype(f"{cells.dtype.kind}{wide}"), copy=False)
    values = values.view(np.dtype(f"{'i' if shape.signed else 'u'}{wide}"))
    if lossy and precision is not None and precision > shape.stored:
        # What compression added beyond the stored bits would come back as the darkest values.
        values = np.clip(_only(values, 0, precision), *_range(shape))
    else:
        above_image = precision is None or precision > image.high
        values = _only(values, image.high + 1 - shape.stored if above_image else 0, min(shape.stored, precision or 64))
    return values.astype(np.int16 if shape.signed else np.uint16) if wide == 1 else values


def _only(values: np.ndarray, lowest: int, bits: int) -> np.ndarray:
    """Returns so many bits of each value from one on, the highest as the sign where the type has one."""
    above = 8 * values.dtype.itemsize - lowest - bits
    if values.dtype.kind == "u":
        values = values >> lowest if lowest else values
        highest = values.dtype.type((1 << bits) - 1)
        return values & highest if above and values.size and values.max() > highest else values
    values = values << above if above else values
    return values >> (above + lowest) if above + lowest else values


def _range(shape: decoders.Shape) -> tuple[int, int]:
    low = -(1 << shape.stored - 1) if shape.signed else 0
    return low, low + (1 << shape.stored) - 1


def _eight_bits(cells: np.ndarray, bits: int) -> np.ndarray:
    if bits == 8 and cells.dtype == np.uint8:
        return np.ascontiguousarray(cells)
    levels = cells.view(np.dtype(f"u{cells.dtype.itemsize}")) & cells.dtype.type(2**bits - 1)
    if bits < 8:
        return (levels.astype(np.uint16) * 255 // (2**bits - 1)).astype(np.uint8)
    return (levels >> (bits - 8)).astype(np.uint8)


def _floating(image: _Image, frame: int) -> np.ndarray:
    shape, size = image.shape, image.shape.allocated // 8
    needed = image.cells * image.frames * size
    if shape.samples != 1 or shape.photometric == "MONOCHROME1" or image.syntax not in _NATIVE:
        raise PixelError("floating point pixels are read as MONOCHROME2 and not compressed, these are otherwise")
    if len(image.value) < needed:
        raise PixelError(f"PixelData is cut short: {len(image.value)} bytes are there, {needed} were announced")
    order = ">" if image.syntax in _BIG_ENDIAN else "<"
    cells = np.frombuffer(image.value, np.dtype(f"{order}f{size}"), image.cells, frame * image.cells * size)
    with np.errstate(over="ignore"):
        values = cells.astype(np.float32).reshape(shape.rows, shape.columns)
    if np.isinf(values).sum() != np.isinf(cells).sum():
        raise PixelError("DoubleFloatPixelData holds values beyond what 32 bits can")
    return values


def findings(dataset: Dataset) -> tuple[str, ...]:
    """Returns what a reader of `stored` should know of how values were changed, in words."""
    with part10.silence():
        image = _image(dataset)
        said = []
        if image.shape.photometric == "MONOCHROME1":
            said.append("MONOCHROME1: values were turned round, white is high")
        if image.shape.photometric == "PALETTE COLOR":
            said.append("PALETTE COLOR: values became the palette's colours")
        if image.shape.samples == 3 and image.shape.stored != 8:
            said.append(f"colours of {image.shape.stored} bits were brought to 8")
        if image.tag == _DOUBLES:
            said.append("values of 64 bits were brought to 32")
        if "ModalityLUTSequence" in dataset:
            said.append("a Modality LUT was applied")
    return tuple(said)


def padding(dataset: Dataset) -> tuple[float, float] | None:
    """Returns lowest and highest value of pixels that hold no image, as `stored` gives them; None when not told.

    Raises:
        PixelError: As `stored`.
        NotDicom: As `stored`.

    Source: DICOM PS3.3 C.7.5.1.1.2, C.7.6.24.
    """
    with part10.silence():
        image = _image(dataset)
        kind = {_PIXELS: "", _FLOATS: "Float", _DOUBLES: "DoubleFloat"}[image.tag]
        value = attributes.value(dataset, f"{kind}PixelPaddingValue")
        limit = attributes.value(dataset, f"{kind}PixelPaddingRangeLimit")
        if value is None or image.shape.samples == 3 or image.shape.photometric == "PALETTE COLOR":
            return None
        if kind:
            ends = [float(np.float32(end)) for end in (value, value if limit is None else limit)]
            return min(ends), max(ends)
        return _padding(dataset, image, [value, value if limit is None else limit])


def _padding(dataset: Dataset, image: _Image, ends: list[Any]) -> tuple[float, float] | None:
    width = 16 if image.shape.allocated > 8 else 8
    try:
        # Written as unsigned for signed pixels, and the other way round; in implicit files the VR is not told.
        numbers = [int.from_bytes(end, "little") if isinstance(end, bytes) else int(end) for end in ends]
    except (TypeError, ValueError):
        return None
    if image.shape.allocated > 16:
        return float(min(numbers)), float(max(numbers))
    if not all(-(1 << width - 1) <= number < 1 << width for number in numbers):
        return None
    cells = np.array([number & (1 << width) - 1 for number in numbers], f"u{width // 8}")
    values = _presented(dataset, image, _fitted(cells, image))
    return float(values.min()), float(values.max())
