"""Where text stands in an image: proposals of a network, judged by what is read there.

Detection alone calls a tenth of a clean slice text; what is read in anatomy is nothing, one sign, or a sign of a
language that the network is unsure of. So a proposal counts when two letters or digits are read in it, or when it
reads like something known from the header. One letter alone stays: laterality markers do, and so does anatomy that
looks like an O.
"""

from collections.abc import Collection, Iterable

import numpy as np

from radkit.deid.text_in_pixels import boxes, ocr
from radkit.deid.text_in_pixels import known as known_words

# Least scores, set on the `dev` part of benchmarks/burned_in.py, where burned-in text scores 0.74 and more, and anatomy
# below 0.5 and, but for boxes as large as organs, below 0.3.
_LOW, _HIGH = 0.3, 0.6
_LINE_PX = 40
_SMALL, _MIDDLE, _LARGE = 320, 700, 2200

Found = tuple[int, int, int, int, str]


def scales(size: tuple[int, int], first: bool) -> tuple[float, ...]:
    """Returns by how much a picture is enlarged, in turn: 9-pixel text needs 2, a headline in a large one 0.5.

    Args:
        size: Rows and columns.
        first: The picture is a frame's first: it is looked at in all sizes, the others, which differ in contrast
            alone, in one.
    """
    longest = max(size)
    if longest <= _SMALL:
        every: tuple[float, ...] = (2.0, 3.0, 1.0)
    elif longest <= _MIDDLE:
        every = (2.0, 1.0)
    else:
        every = (1.0, 2.0) if longest <= _LARGE else (1.0, 0.5)
    return every if first else every[:1]


def texts(pictures: Iterable[np.ndarray], known: Collection[str], threads: int = 1) -> list[Found]:
    """Returns rectangles that hold text, padded: left, top, right, bottom, and why (`text` or `name`).

    Args:
        pictures: Of one frame, (rows, columns, 3) uint8, as `rendering.pictures` gives them.
        known: As `known.known_strings` gives them.
        threads: Of the networks.
    """
    found: set[Found] = set()
    for number, picture in enumerate(pictures):
        size = picture.shape[0], picture.shape[1]
        for scale in scales(size, number == 0):
            for reading in ocr.read(picture, scale, threads):
                why = _why(reading, known)
                if why:
                    found.add((*boxes.padded(reading.corners, size), why))
    return boxes.merged(found)


def _why(reading: ocr.Reading, known: Collection[str]) -> str:
    if known_words.names_any(reading.words, known):
        return "name"
    signs = [sign for sign in reading.words if sign.isalnum()]
    latin = sum(sign.isascii() for sign in signs)
    left, top, right, bottom = reading.corners
    a_line = min(right - left, bottom - top) <= _LINE_PX
    least = _LOW if latin >= 2 and a_line else _HIGH
    return "text" if len(signs) >= 2 and reading.score >= least else ""


def text_in_overlay(bitmap: np.ndarray, known: Collection[str] = (), threads: int = 1) -> bool:
    """Tells whether an overlay's bit plane shows text.

    Args:
        bitmap: (rows, columns), any type; what is not zero is drawn.
        known: As `known.known_strings` gives them.
        threads: Of the networks.

    Raises:
        UserError: RapidOCR is missing.
    """
    drawn = (np.asarray(bitmap) != 0).astype(np.uint8) * 255
    if not drawn.any() or drawn.all():
        return False
    return bool(texts([np.repeat(drawn[..., None], 3, axis=2)], known, threads))
