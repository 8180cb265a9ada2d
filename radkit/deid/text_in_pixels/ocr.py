"""Text found and read by RapidOCR's networks, which its wheel carries: nothing is downloaded.

Source: Liao et al. 2020, https://arxiv.org/abs/1911.08947 (detection); Du et al. 2020,
https://arxiv.org/abs/2009.09941 (PP-OCR).
"""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from radkit.errors import UserError

# A tile's side and what neighbours share, after scaling: memory is bounded, and a text that a border cuts is found
# in both halves.
_TILE, _SHARED = 1536, 160
# Detection proposes generously; what is read there decides.
_PROPOSE = 0.3
_SIDEWAYS = 1.5


@dataclass(frozen=True)
class Reading:
    """What was read in a rectangle.

    Attributes:
        corners: left, top, right, bottom in the picture.
        words: As read; may be empty.
        score: 0 to 1.
    """

    corners: tuple[float, float, float, float]
    words: str
    score: float


def check() -> None:
    """Refuses, in a line, where the networks are not installed.

    Raises:
        UserError: RapidOCR is missing.
    """
    try:
        import rapidocr_onnxruntime  # noqa: F401
    except ImportError as error:
        raise UserError("looking for text in pixels needs RapidOCR; pip install 'radkit[deid]'") from error


@functools.cache
def _engine(threads: int) -> Any:
    check()
    from rapidocr_onnxruntime import RapidOCR

    # The side limit of 32 leaves scaling to us: its own 736 would enlarge some images and not others.
    return RapidOCR(intra_op_num_threads=threads, inter_op_num_threads=1, det_limit_side_len=32, det_limit_type="min")


def read(picture: np.ndarray, scale: float, threads: int = 1) -> list[Reading]:
    """Returns all that looks like text in a picture.

    Args:
        picture: (rows, columns, 3) uint8, RGB.
        scale: By how much it is enlarged first; small text needs 2.
        threads: Of the networks; 1 where other processes use the machine's other cores.

    Raises:
        UserError: RapidOCR is missing.
    """
    engine = _engine(threads)
    import cv2

    size = max(round(picture.shape[1] * scale), 1), max(round(picture.shape[0] * scale), 1)
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    # RapidOCR takes BGR, as OpenCV does.
    large = cv2.resize(picture[..., ::-1], size, interpolation=method) if scale != 1 else picture[..., ::-1]
    found = []
    for top, left, tile in _tiles(large):
        for corners, words, score in engine(tile, use_cls=False, text_score=0.0, box_thresh=_PROPOSE)[0] or []:
            points = np.array(corners, float)
            reading = _turned(engine, tile, points, words, float(score))
            low, high = (points.min(0) + (left, top)) / scale, (points.max(0) + (left, top)) / scale
            found.append(Reading((low[0], low[1], high[0], high[1]), *reading))
    return found


def _tiles(picture: np.ndarray) -> Iterator[tuple[int, int, np.ndarray]]:
    step = _TILE - _SHARED
    for top in range(0, max(picture.shape[0] - _SHARED, 1), step):
        for left in range(0, max(picture.shape[1] - _SHARED, 1), step):
            tile = np.ascontiguousarray(picture[top : top + _TILE, left : left + _TILE])
            if int(tile.max()) > int(tile.min()):
                yield top, left, tile


def _turned(engine: Any, tile: np.ndarray, points: np.ndarray, words: str, score: float) -> tuple[str, float]:
    """Returns the better reading of a tall box: RapidOCR turns it one way, the text may run the other."""
    low, high = np.floor(points.min(0)).astype(int), np.ceil(points.max(0)).astype(int) + 1
    wide, tall = high - low
    if tall < _SIDEWAYS * wide or min(wide, tall) < 2:
        return words, score
    crop = np.ascontiguousarray(np.rot90(tile[low[1] : high[1], low[0] : high[0]], -1))
    again = engine(crop, use_det=False, use_cls=False, use_rec=True)[0]
    return max([(words, score), *((said, float(sure)) for said, sure in again or [])], key=lambda one: one[1])
