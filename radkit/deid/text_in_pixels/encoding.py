"""Pixels written back: in the transfer syntax they came in where that loses nothing, natively where it cannot.

Source: DICOM PS3.5 section 8.2, annex A.4; PS3.3 C.7.6.1.1.5 (lossy image compression).
"""

from dataclasses import dataclass

import numpy as np
import pydicom
from pydicom import encaps, uid
from pydicom.pixels import get_encoder

from radkit.deid.text_in_pixels import decoding, layout
from radkit.dicom import attributes, decoders, part10

# Syntaxes that hold nothing but losslessly compressed frames and that pydicom's plugins encode.
_AGAIN = (uid.RLELossless, uid.JPEG2000Lossless, uid.JPEGLSLossless)
_METHODS = {
    "1.2.840.10008.1.2.4.50": "ISO_10918_1", "1.2.840.10008.1.2.4.51": "ISO_10918_1",
    "1.2.840.10008.1.2.4.81": "ISO_14495_1", "1.2.840.10008.1.2.4.91": "ISO_15444_1",
    "1.2.840.10008.1.2.4.203": "ISO_15444_15",
}  # fmt: skip
Attributes = dict[int, tuple[str, object] | None]
_OFFSETS = (0x7FE00001, 0x7FE00002, 0x7FE00003)


@dataclass(frozen=True)
class Encoded:
    """What is written.

    Attributes:
        value: Of the pixel element.
        vr: Of the pixel element.
        encapsulated: `value` is the Basic Offset Table's item and one item a frame.
        syntax: Transfer syntax.
        attributes: As `cleaning.Cleaned` says.
    """

    value: bytes
    vr: str
    encapsulated: bool
    syntax: str
    attributes: Attributes


def encode(pixels: decoding.Pixels, cells: np.ndarray, dataset: pydicom.Dataset) -> Encoded:
    """Returns changed cells as they are written.

    Args:
        pixels: What was decoded.
        cells: As `pixels.cells`, changed.
        dataset: The header that `pixels` were decoded with.
    """
    if not pixels.encapsulated:
        return _native(pixels, cells, pixels.syntax, dataset[pixels.tag].VR, {})
    if pixels.syntax in _AGAIN and pixels.layout.bits > 1:
        frames = _compressed(pixels, cells, dataset)
        if frames is not None:
            gone: Attributes = {tag: None for tag in _OFFSETS if tag in dataset}
            return Encoded(encaps.encapsulate(frames), "OB", True, pixels.syntax, gone)
    vr = "OW" if pixels.layout.bits > 8 else "OB"
    return _native(pixels, cells, str(uid.ExplicitVRLittleEndian), vr, _described(pixels, dataset))


def _native(pixels: decoding.Pixels, cells: np.ndarray, syntax: str, vr: str, said: Attributes) -> Encoded:
    return Encoded(layout.pack(cells, pixels.layout), vr, False, syntax, said)


def _compressed(pixels: decoding.Pixels, cells: np.ndarray, dataset: pydicom.Dataset) -> list[bytes] | None:
    """Returns each frame compressed in the source's syntax; None where no encoder gives the same values back."""
    said = _options(pixels, dataset)
    kind = np.dtype(f"i{cells.dtype.itemsize}") if pixels.signed else cells.dtype
    try:
        with part10.silence():
            encoder = get_encoder(uid.UID(pixels.syntax))
            frames = []
            for frame in cells.view(kind):
                flat = frame if frame.shape[2] > 1 else frame[..., 0]
                frames.append(encoder.encode(np.ascontiguousarray(flat), **said))
            return frames if _gives_back(frames, pixels, cells) else None
    except (RuntimeError, *part10.MALFORMED):
        return None


def _options(pixels: decoding.Pixels, dataset: pydicom.Dataset) -> dict[str, object]:
    _, rows, columns, samples = pixels.layout.shape
    photometric = str(dataset.PhotometricInterpretation) if samples > 1 else pixels.photometric
    # Cells go whole into RLE, which does not ask what their bits mean.
    stored = pixels.layout.bits if pixels.syntax == uid.RLELossless else pixels.stored
    return {
        "rows": rows, "columns": columns, "samples_per_pixel": samples, "number_of_frames": 1,
        "bits_allocated": pixels.layout.bits, "bits_stored": stored,
        "pixel_representation": int(pixels.signed), "photometric_interpretation": photometric,
        **({"planar_configuration": 0} if samples > 1 else {}),
        # GDCM, which pydicom would ask first, takes the process down where rows and columns are odd and cells 8 bits.
        **({"encoding_plugin": "pydicom"} if pixels.syntax == uid.RLELossless else {}),
    }  # fmt: skip


def _gives_back(frames: list[bytes], pixels: decoding.Pixels, cells: np.ndarray) -> bool:
    _, rows, columns, samples = pixels.layout.shape
    shape = decoders.Shape(
        rows, columns, samples, pixels.layout.bits, pixels.stored, pixels.signed, False, pixels.photometric
    )
    return all(
        np.array_equal(decoding.frame_cells(encoded, pixels.syntax, shape)[0], frame)
        for encoded, frame in zip(frames, cells)
    )


def _described(pixels: decoding.Pixels, dataset: pydicom.Dataset) -> Attributes:
    """Returns what a native image says of itself where the compressed one said otherwise."""
    bits = pixels.layout.bits
    said: Attributes = {0x00280004: ("CS", pixels.photometric)}
    if pixels.layout.shape[3] > 1:
        said[0x00280006] = ("US", 0)
    if attributes.whole(dataset, "BitsAllocated", bits) != bits:
        said[0x00280100] = ("US", bits)
    said |= {tag: None for tag in _OFFSETS if tag in dataset}
    # JPEG 2000's general syntaxes may hold a lossless image; then the header says so.
    may_be_lossless = pixels.syntax.endswith((".91", ".203")) and dataset.get("LossyImageCompression") == "00"
    if pixels.syntax in _METHODS and not may_be_lossless:
        said |= _lossy(pixels, dataset)
    return said


def _lossy(pixels: decoding.Pixels, dataset: pydicom.Dataset) -> Attributes:
    """Returns that the image was once compressed with loss, which stays true; what is said already stays."""
    said: Attributes = {0x00282110: ("CS", "01")}
    if "LossyImageCompressionRatio" not in dataset:
        ratio = pixels.layout.length / max(len(dataset.PixelData), 1)
        said[0x00282112] = ("DS", [f"{ratio:.2f}"])
    if "LossyImageCompressionMethod" not in dataset:
        said[0x00282114] = ("CS", [_METHODS[pixels.syntax]])
    return said
