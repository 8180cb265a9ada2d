"""Native pixel bytes to cells and back, bit for bit.

Cells are what the standard calls pixel cells: BitsAllocated wide, unused bits and all, so that whatever is not blacked
out leaves exactly as it came.

Source: DICOM PS3.5 section 8 and annex D, PS3.3 C.7.6.3.1.
"""

from dataclasses import dataclass

import numpy as np

from radkit.dicom import pixels

_CELLS = {1: np.uint8, 8: np.uint8, 16: np.uint16, 32: np.uint32, 64: np.uint64}
_FLOATS = {32: np.float32, 64: np.float64}


@dataclass(frozen=True)
class Layout:
    """How pixel cells lie in bytes.

    Attributes:
        shape: Frames, rows, columns, samples.
        bits: BitsAllocated.
        planar: PlanarConfiguration is 1.
        subsampled: YBR_FULL_422, native: two pixels share their colour.
        big_endian: Words are written with the high byte first.
        words: The VR is OW, so that big endian swaps bytes in pairs whatever the cell's width.
        floating: FloatPixelData or DoubleFloatPixelData.
    """

    shape: tuple[int, int, int, int]
    bits: int
    planar: bool = False
    subsampled: bool = False
    big_endian: bool = False
    words: bool = False
    floating: bool = False

    @property
    def dtype(self) -> np.dtype:
        """The type of a cell in memory."""
        kinds = _FLOATS if self.floating else _CELLS
        if self.bits not in kinds:
            raise pixels.PixelError(f"BitsAllocated {self.bits} cannot be looked at; {sorted(kinds)} can")
        return np.dtype(kinds[self.bits])

    @property
    def length(self) -> int:
        """Bytes that the cells take, without the padding to an even length."""
        stored = int(np.prod(self.shape, dtype=np.int64))
        if self.subsampled:
            stored = stored // 3 * 2
        return (stored * self.bits + 7) // 8


def unpack(data: bytes, layout: Layout) -> np.ndarray:
    """Returns cells, (frames, rows, columns, samples), of `layout.dtype`.

    Args:
        data: PixelData's value; what exceeds the image is left out.
        layout: How it lies.

    Raises:
        PixelError: The value is too short, or 4:2:2 with an odd number of columns.
    """
    if len(data) < layout.length:
        raise pixels.PixelError("PixelData is cut short or does not fit Rows, Columns and BitsAllocated")
    flat = _flat(data[: layout.length + layout.length % 2], layout)
    frames, rows, columns, samples = layout.shape
    if layout.subsampled:
        return _upsampled(flat, layout)
    if layout.planar:
        return np.ascontiguousarray(np.moveaxis(flat.reshape(frames, samples, rows, columns), 1, -1))
    return flat.reshape(layout.shape)


def pack(cells: np.ndarray, layout: Layout) -> bytes:
    """Returns the bytes that `unpack` read, padded with a zero to an even length."""
    if layout.subsampled:
        cells = _downsampled(cells)
    elif layout.planar:
        cells = np.moveaxis(cells, -1, 1)
    flat = np.ascontiguousarray(cells).reshape(-1)
    if layout.bits == 1:
        flat = np.packbits(flat, bitorder="little")
    if layout.big_endian and layout.bits > 8:
        flat = flat.astype(flat.dtype.newbyteorder(">"))
    data: bytes = flat.tobytes()
    data += b"\0" * (len(data) % 2)
    return _swapped(data) if layout.big_endian and layout.words and layout.bits <= 8 else data


def _flat(data: bytes, layout: Layout) -> np.ndarray:
    if layout.big_endian and layout.words and layout.bits <= 8:
        data = _swapped(data + b"\0" * (len(data) % 2))
    if layout.bits == 1:
        count = int(np.prod(layout.shape, dtype=np.int64))
        return np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")[:count]
    dtype = layout.dtype.newbyteorder(">" if layout.big_endian else "<")
    count = layout.length // layout.dtype.itemsize
    return np.frombuffer(data, dtype, count).astype(layout.dtype)


def _swapped(data: bytes) -> bytes:
    return np.frombuffer(data, np.uint16).byteswap().tobytes()


def _upsampled(flat: np.ndarray, layout: Layout) -> np.ndarray:
    """Returns (frames, rows, columns, 3) of Y Y Cb Cr quadruples."""
    frames, rows, columns, _ = layout.shape
    if columns % 2 or layout.bits != 8:
        raise pixels.PixelError("YBR_FULL_422 needs an even number of columns and 8 bits")
    quads = flat.reshape(frames, rows, columns // 2, 4)
    cells = np.empty(layout.shape, np.uint8)
    cells[:, :, 0::2, 0], cells[:, :, 1::2, 0] = quads[..., 0], quads[..., 1]
    for sample in (1, 2):
        cells[:, :, 0::2, sample] = cells[:, :, 1::2, sample] = quads[..., sample + 1]
    return cells


def _downsampled(cells: np.ndarray) -> np.ndarray:
    left, right = cells[:, :, 0::2], cells[:, :, 1::2]
    return np.stack([left[..., 0], right[..., 0], left[..., 1], left[..., 2]], axis=-1)
