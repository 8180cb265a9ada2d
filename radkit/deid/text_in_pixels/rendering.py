"""Pixels as an eye sees them: 8-bit pictures in which text that anyone could read is readable.

Source: DICOM PS3.3 C.11.2.1.2 (windowing), C.7.6.3.1.2 (colour), C.7.9 (palette).
"""

from dataclasses import dataclass

import numpy as np
import pydicom
from pydicom.pixels import apply_color_lut, convert_color_space

from radkit.dicom import attributes, part10, scan

# Grey levels of 255 by which two pictures may differ anywhere and one of them is not looked at.
_SAME = 12


@dataclass(frozen=True)
class Look:
    """How an instance is shown.

    Attributes:
        photometric: Of the decoded cells.
        bits: BitsStored.
        window: Lowest and highest shown stored value of the header's first window; None without one.
        palette: (entries, 3) uint8 colours and the first mapped value; None for other images.
    """

    photometric: str
    bits: int
    window: tuple[float, float] | None = None
    palette: tuple[np.ndarray, int] | None = None


def look(dataset: pydicom.Dataset, photometric: str, bits: int) -> Look:
    """Returns how an instance's decoded pixels are to be shown."""
    palette = _palette(dataset) if photometric == "PALETTE COLOR" else None
    return Look(photometric, bits, _window(dataset), palette)


def pictures(values: np.ndarray, shown: Look) -> list[np.ndarray]:
    """Returns distinct pictures of a frame, (rows, columns, 3) uint8 each; the best for large text first.

    Args:
        values: (rows, columns, samples) as stored.
        shown: How.
    """
    if shown.palette is not None:
        table, first = shown.palette
        return _distinct([table[np.clip(values[..., 0].astype(np.int64) - first, 0, len(table) - 1)]])
    if values.shape[2] == 3:
        return _distinct(_colour(values, shown))
    grey = values[..., 0].astype(np.float64)
    grey = np.where(np.isfinite(grey), grey, np.nanmin(np.where(np.isfinite(grey), grey, np.nan), initial=0))
    ranges = [tuple(np.percentile(grey, (1, 99))), (grey.min(), grey.max())]
    ranges += [shown.window] if shown.window else []
    return _distinct([np.repeat(_scaled(grey, *limits)[..., None], 3, axis=2) for limits in ranges])


def reduced(picture: np.ndarray, most: int) -> np.ndarray:
    """Returns a picture of at most so many rows and columns, each pixel the mean of whole blocks."""
    step = -(-max(picture.shape[:2]) // most)
    rows, columns = (max(side // step, 1) * min(step, side) for side in picture.shape[:2])
    by_row, by_column = min(step, picture.shape[0]), min(step, picture.shape[1])
    blocks = picture[:rows, :columns].reshape(rows // by_row, by_row, columns // by_column, by_column, -1)
    return np.round(blocks.mean(axis=(1, 3))).astype(np.uint8)


def _colour(values: np.ndarray, shown: Look) -> list[np.ndarray]:
    eight = (values >> max(shown.bits - 8, 0)).astype(np.uint8)
    if shown.photometric.startswith("YBR_FULL"):
        eight = convert_color_space(eight, "YBR_FULL", "RGB")
    wide = eight.astype(np.float64)
    return [eight, _scaled(wide, *np.percentile(wide, (1, 99)))]


def _scaled(values: np.ndarray, low: float, high: float) -> np.ndarray:
    if not high > low:
        return np.where(values > low, 255, 0).astype(np.uint8)
    return np.round(np.clip((values - low) / (high - low), 0, 1) * 255).astype(np.uint8)


def _distinct(found: list[np.ndarray]) -> list[np.ndarray]:
    """Returns those that show something, and not the same as one before."""
    kept: list[np.ndarray] = []
    for picture in found:
        plain = not picture.size or int(picture.max()) == int(picture.min())
        if not plain and not any(_alike(picture, other) for other in kept):
            kept.append(picture)
    return kept


def _alike(one: np.ndarray, other: np.ndarray) -> bool:
    return int(np.abs(one.astype(np.int16) - other.astype(np.int16)).max()) <= _SAME


def _window(dataset: pydicom.Dataset) -> tuple[float, float] | None:
    try:
        center, width = (_first(dataset, keyword) for keyword in ("WindowCenter", "WindowWidth"))
        slope, intercept = _first(dataset, "RescaleSlope") or 1.0, _first(dataset, "RescaleIntercept") or 0.0
    except (scan.NotDicom, *part10.MALFORMED):
        return None  # The other two pictures show the image all the same.
    if center is None or width is None or not width > 0:
        return None
    ends = sorted((center + side * width / 2 - intercept) / slope for side in (-1, 1))
    return (ends[0], ends[1]) if np.isfinite(ends).all() else None


def _first(dataset: pydicom.Dataset, keyword: str) -> float | None:
    given = attributes.value(dataset, keyword)
    if isinstance(given, str | bytes) or given is None:
        return float(given) if given else None
    try:
        return float(given[0])
    except TypeError:
        return float(given)


def _palette(dataset: pydicom.Dataset) -> tuple[np.ndarray, int] | None:
    try:
        count, first, _ = dataset.RedPaletteColorLookupTableDescriptor
        count, first = int(count) or 65536, int(first)
        kind = np.uint8 if first >= 0 and first + count <= 256 else np.int64 if first < 0 else np.uint16
        colours = apply_color_lut((np.arange(count) + first).astype(kind), dataset)
    except part10.MALFORMED:
        return None  # Shown by index then: different indices still differ.
    if colours.dtype.itemsize > 1:
        colours = colours >> 8 if int(colours.max()) > 255 else colours
    return colours[..., :3].astype(np.uint8), first
