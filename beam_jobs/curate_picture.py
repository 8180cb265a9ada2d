"""A small picture of a volume for the page: its middle slice, or the one with most of the mask, and its outline."""

import base64

import numpy as np

from radkit.dicom.volumes import Volume
from radkit.reports import overview

SIDE = 128  # pixels at most
_CT_WINDOW = (-160.0, 240.0)  # HU: soft tissue, in which most of a body shows something
_FLAT = 0.05  # a window that shows less than this deviation, of black to white, shows nothing
_OUTLINE = (86, 180, 233)  # sky blue of Okabe and Ito's palette
_SHADOW = 0.35  # of what lies beside an outline, so that the line is seen on bright tissue


def encoded(volume: Volume, mask: np.ndarray | None = None) -> tuple[str, float]:
    """Returns a PNG as base64, and the picture's height over its width in the patient.

    Args:
        volume: Of which a slice is shown.
        mask: (slices, rows, columns); what is not 0 is outlined, on the slice that has most of it.
    """
    place = len(volume.stored) // 2
    if mask is not None and mask.any():
        place = int(np.argmax(np.count_nonzero(mask, axis=(1, 2))))
    plane = volume.stored[place]
    if plane.ndim == 3:
        picture = reduced(plane.astype(np.float32), np.mean).round().astype(np.uint8)
    else:
        values = np.nan_to_num(plane.astype(np.float32) * volume.slope[place] + volume.intercept[place])
        picture = _grey(reduced(values, np.mean), volume.meta.get("Modality", ""))
    if mask is not None and mask[place].any():
        picture = _outlined(picture, reduced(mask[place] != 0, np.max))
    return base64.b64encode(overview.png(picture)).decode(), _aspect(volume, picture.shape)


def reduced(plane: np.ndarray, how: object) -> np.ndarray:
    """Returns a slice with blocks of pixels made one, no side longer than `SIDE`.

    Args:
        plane: (rows, columns) or (rows, columns, 3).
        how: `np.mean`, `np.max`: called with an array and its axes.
    """
    rows, columns = plane.shape[:2]
    step = max(1, -(-max(rows, columns) // SIDE))
    down, across = min(step, rows), min(step, columns)
    whole = plane[: rows // down * down, : columns // across * across]
    blocks = whole.reshape(rows // down, down, columns // across, across, *plane.shape[2:])
    made: np.ndarray = how(blocks, axis=(1, 3))  # type: ignore[operator]
    return made


def _grey(values: np.ndarray, modality: str) -> np.ndarray:
    low, high = _CT_WINDOW
    shown = np.clip((values - low) / (high - low), 0, 1)
    if modality != "CT" or shown.std() < _FLAT:
        low, high = (float(v) for v in np.percentile(values, [1, 99.5]))
        if high <= low:
            low, high = float(values.min()), float(values.max())
        shown = np.clip((values - low) / (high - low), 0, 1) if high > low else np.full(values.shape, 0.5)
    grey: np.ndarray = (shown * 255).round().astype(np.uint8)
    return grey


def _outlined(picture: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Returns a picture in colour with the border of what is inside drawn on it."""
    colour = picture if picture.ndim == 3 else np.repeat(picture[:, :, None], 3, axis=2)
    border = inside & ~_eroded(inside)
    beside = ~_eroded(~inside) & ~inside
    drawn = colour.copy()
    drawn[beside] = (drawn[beside] * _SHADOW).astype(np.uint8)
    drawn[border] = _OUTLINE
    return drawn


def _eroded(inside: np.ndarray) -> np.ndarray:
    """Returns the pixels whose four neighbours are inside, too; beyond the picture nothing is."""
    around = np.pad(inside, 1)
    made: np.ndarray = around[:-2, 1:-1] & around[2:, 1:-1] & around[1:-1, :-2] & around[1:-1, 2:] & inside
    return made


def _aspect(volume: Volume, shape: tuple[int, ...]) -> float:
    rows, columns = volume.stored.shape[1:3]
    height, width = rows * volume.spacing_mm[1], columns * volume.spacing_mm[2]
    if not (np.isfinite(height) and np.isfinite(width)) or min(height, width) <= 0:
        height, width = shape[0], shape[1]
    return round(float(np.clip(height / width, 0.1, 10)), 4)
