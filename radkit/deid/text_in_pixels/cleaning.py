"""The option Clean Pixel Data: text burned into pixels found, blacked out, and the pixels written back.

Source: DICOM PS3.15 E.3.1.
"""

import dataclasses
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import pydicom

from radkit.deid.text_in_pixels import boxes, decoding, encoding, frames, ocr, regions, rendering
from radkit.dicom import pixels as stored_pixels
from radkit.dicom import scan

_PREVIEW = 480


@dataclass(frozen=True)
class Cleaned:
    """Cleaned pixels, and all that is written with them.

    Attributes:
        value: The pixel element's value. Native: in the byte order of `transfer_syntax`, of even length.
            Encapsulated: the Basic Offset Table's item and one item a frame; the caller writes the element's header
            of undefined length before it and the Sequence Delimitation Item after it.
        vr: The pixel element's VR.
        tag: The pixel element: PixelData, FloatPixelData or DoubleFloatPixelData.
        encapsulated: Which of the two `value` is.
        transfer_syntax: Of the file to write; deflated files stay deflated as a whole, `value` is not deflated.
        attributes: Top-level attributes to set, tag to (VR, pydicom value), or to None: to be removed.
        boxes: What was blacked out, in order; may be empty when only bytes after the last frame went.
        frames: How many there are; all were looked at.
        size: Rows and columns.
        preview: The first frame with boxes, blacked out, reduced to 480 pixels; (rows, columns, 3) uint8.
    """

    value: bytes
    vr: str
    tag: int
    encapsulated: bool
    transfer_syntax: str
    attributes: encoding.Attributes
    boxes: tuple[boxes.Box, ...]
    frames: int
    size: tuple[int, int]
    preview: np.ndarray


def clean(
    dataset: pydicom.Dataset,
    known: Collection[str],
    *,
    templates: Sequence[regions.Template] = (),
    threads: int = 1,
) -> Cleaned | None:
    """Returns an instance's pixels without burned-in text; None when nothing was found in any frame, or no pixels.

    Args:
        dataset: The original, with its file meta; not changed.
        known: As `known_strings` gives them.
        templates: As `load_templates` gives them.
        threads: Of the networks.

    Raises:
        PixelError: The pixels cannot be decoded or are of a kind that cannot be looked at; then nothing is known of
            them, and the instance must not be handed on as clean.
        UserError: RapidOCR is missing.
    """
    ocr.check()
    source = decoding.decode(dataset)
    if source is None:
        return None
    try:
        look = rendering.look(dataset, source.photometric, source.stored)
        fixed = regions.fixed(dataset, templates, len(source.cells))
    except scan.NotDicom as error:
        raise stored_pixels.PixelError("an attribute that says how pixels are shown cannot be read") from error
    work = dataclasses.replace(source, cells=source.cells.copy())
    fill = _filler(source, look)
    for box in fixed:
        fill(work.cells, box)
    texts = frames.Search(work, look, known, fill, threads).run()
    blacked = tuple(sorted(box for box in (*fixed, *texts) if _changes(source.cells, work.cells, box)))
    if not blacked and not source.excess:
        return None
    return _written(source, work, look, dataset, blacked)


def _written(
    source: decoding.Pixels,
    work: decoding.Pixels,
    look: rendering.Look,
    dataset: pydicom.Dataset,
    blacked: tuple[boxes.Box, ...],
) -> Cleaned:
    encoded = encoding.encode(source, work.cells, dataset)
    _, rows, columns, _ = source.layout.shape
    shown = rendering.pictures(work.values(blacked[0].frame if blacked else 0), look)
    preview = rendering.reduced(shown[0], _PREVIEW) if shown else np.zeros((1, 1, 3), np.uint8)
    return Cleaned(
        encoded.value, encoded.vr, source.tag, encoded.encapsulated, encoded.syntax, encoded.attributes, blacked,
        len(source.cells), (rows, columns), preview,
    )  # fmt: skip


def _changes(before: np.ndarray, after: np.ndarray, box: boxes.Box) -> bool:
    where = (box.frame, *box.where)
    return before[where].tobytes() != after[where].tobytes()


def _filler(source: decoding.Pixels, look: rendering.Look) -> frames.Fill:
    """Returns what blacks out a box with the frame's darkest cell, as it is shown."""
    cache: dict[int, np.ndarray] = {}

    def fill(cells: np.ndarray, box: boxes.Box) -> None:
        if box.frame not in cache:
            cache[box.frame] = _darkest(source, box.frame, look)
        rows, columns = box.where
        if source.layout.subsampled:  # Two neighbours share their colour.
            columns = slice(columns.start - columns.start % 2, columns.stop + columns.stop % 2)
        cells[box.frame, rows, columns] = cache[box.frame]

    return fill


def _darkest(source: decoding.Pixels, frame: int, look: rendering.Look) -> np.ndarray:
    """Returns a cell of each sample, (samples,)."""
    cells = source.cells[frame]
    dtype = cells.dtype
    if cells.shape[2] == 3:
        middle = 2 ** (source.stored - 1) if source.photometric.startswith("YBR") else 0
        return np.array([0, middle, middle], dtype)
    values = source.values(frame)[..., 0]
    if look.palette is not None:
        table, first = look.palette
        used = np.unique(values)
        shown = table[np.clip(used.astype(np.int64) - first, 0, len(table) - 1)].sum(axis=1)
        return _cell(source, frame, values == used[int(np.argmin(shown))])
    with np.errstate(invalid="ignore"):
        finite = values[np.isfinite(values)] if source.layout.floating else values.reshape(-1)
    if not finite.size:
        return np.zeros(1, dtype)
    extreme = finite.max() if source.photometric == "MONOCHROME1" else finite.min()
    return _cell(source, frame, values == extreme)


def _cell(source: decoding.Pixels, frame: int, where: np.ndarray) -> np.ndarray:
    """Returns the first cell of a frame's place, its unused bits cleared where they hold something."""
    row, column = np.unravel_index(int(np.argmax(where)), where.shape)
    cell = source.cells[frame, row, column]
    rest = source.unused(frame)
    if rest.shape[:2] == where.shape and rest.any():
        cell = cell & ~rest[row, column]
    return np.array(cell)
