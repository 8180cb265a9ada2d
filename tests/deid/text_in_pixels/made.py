"""Made-up images for these tests, and networks that read what a test says they read."""

import io
from collections.abc import Callable

import numpy as np
import pydicom
import pytest
from PIL import Image, ImageDraw, ImageFont
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from radkit.deid.text_in_pixels import ocr


def dataset(values: np.ndarray, photometric: str = "MONOCHROME2", stored: int | None = None, **more: object) -> Dataset:
    """Returns a dataset of Explicit VR Little Endian.

    Args:
        values: (rows, columns), (frames, rows, columns) or, colour, with a last axis of 3.
        photometric: PhotometricInterpretation.
        stored: BitsStored.
        **more: Keywords and values over these.
    """
    colour = values.shape[-1] == 3 and values.ndim > 2
    sides = values.shape[:-1] if colour else values.shape
    made, bits = Dataset(), 8 * values.dtype.itemsize
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.Rows, made.Columns = sides[-2:]
    if len(sides) == 3:
        made.NumberOfFrames = sides[0]
    made.SamplesPerPixel, made.PhotometricInterpretation = (3 if colour else 1), photometric
    if colour:
        made.PlanarConfiguration = 0
    made.BitsAllocated, made.BitsStored = bits, stored or bits
    made.HighBit, made.PixelRepresentation = made.BitsStored - 1, int(values.dtype.kind == "i")
    data = values.astype(values.dtype.newbyteorder("<")).tobytes()
    made.add_new("PixelData", "OW" if bits > 8 else "OB", data + b"\0" * (len(data) % 2))
    made.SOPClassUID, made.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", "1.2.826.0.1.3680043.10.511.7.1"
    for keyword, value in more.items():
        setattr(made, keyword, value)
    return made


def anatomy(size: tuple[int, int] = (200, 260), dtype: type = np.uint16, seed: int = 0, top: int = 900) -> np.ndarray:
    """Returns a bright ellipse with soft noise on a dark ground, (rows, columns)."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[: size[0], : size[1]]
    inside = ((y - size[0] / 2) / size[0] * 2.6) ** 2 + ((x - size[1] / 2) / size[1] * 2.6) ** 2 < 1
    values = 0.1 * top + 0.5 * top * inside + random.normal(0, 0.02 * top, size)
    return np.clip(values, 1, top).astype(dtype)


def write(values: np.ndarray, words: str, place: tuple[int, int], ink: float, size_px: int = 16) -> np.ndarray:
    """Returns values with words burned in at (column, row), and changes nothing else."""
    paper = Image.new("L", (values.shape[1], values.shape[0]))
    ImageDraw.Draw(paper).text(place, words, font=ImageFont.load_default(size_px), fill=255)
    stencil = np.asarray(paper) > 127
    return np.where(stencil[..., None] if values.ndim == 3 else stencil, np.asarray(ink, values.dtype), values)


def reads(monkeypatch: pytest.MonkeyPatch, *readings: ocr.Reading) -> Callable[[], int]:
    """Lets the networks read just this in every picture; returns how often they were asked."""
    asked = []

    def read(picture: np.ndarray, scale: float, threads: int = 1) -> list[ocr.Reading]:
        asked.append(picture.shape)
        return list(readings)

    monkeypatch.setattr(ocr, "read", read)
    monkeypatch.setattr(ocr, "check", lambda: None)
    return lambda: len(asked)


def written(source: Dataset, cleaned: object) -> Dataset:
    """Returns the pixels and their description that a caller of `clean` would write, as read again."""
    made = Dataset()
    for tag in [tag for tag in sorted(source.keys()) if tag.group in (0x0028, 0x7FE0)]:
        made[tag] = source[tag]
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = UID(cleaned.transfer_syntax)
    for tag, given in cleaned.attributes.items():
        if given is None:
            del made[tag]
        else:
            made.add_new(tag, *given)
    made.add_new(cleaned.tag, cleaned.vr, cleaned.value)
    made[cleaned.tag].is_undefined_length = cleaned.encapsulated
    file = io.BytesIO()
    syntax = cleaned.transfer_syntax
    made.set_original_encoding(syntax == "1.2.840.10008.1.2", syntax != "1.2.840.10008.1.2.2", "ISO_IR 6")
    pydicom.dcmwrite(file, made)
    file.seek(0)
    return pydicom.dcmread(file, force=True)
