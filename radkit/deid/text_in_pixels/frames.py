"""All frames of an instance looked at, what does not change between them only once.

Source: DICOM PS3.15 E.3.1: all frames are to be cleaned.
"""

import dataclasses
from collections.abc import Callable, Collection, Iterator
from typing import Any

import numpy as np

from radkit.deid.text_in_pixels import boxes, decoding, finding, rendering

# A text that a first look hid behind another is found in a second.
_LOOKS = 2
# Grey levels of 255 by which a picture may differ from the one looked at before: no text that an eye reads is fainter.
_SAME = 6
_TILE, _AROUND = 64, 48
# A text of one frame stands in another where that place looks like it.
_LIKE = 0.5

_ALL = slice(None)

Fill = Callable[[np.ndarray, boxes.Box], None]


class Search:
    """Finds and blacks out one instance's text.

    Args:
        pixels: Decoded.
        look: How they are shown.
        known: As `known.known_strings` gives them.
        fill: Blacks out a box in cells.
        threads: Of the networks.
    """

    def __init__(
        self, pixels: decoding.Pixels, look: rendering.Look, known: Collection[str], fill: Fill, threads: int
    ) -> None:
        self.pixels, self.look, self.known, self.fill, self.threads = pixels, look, known, fill, threads
        self.found: dict[boxes.Box, None] = {}

    def run(self) -> list[boxes.Box]:
        """Returns what was found; `pixels.cells` is blacked out there."""
        if len(self.pixels.cells) == 1:
            self._look_at(0, _ALL, _ALL)
            return list(self.found)
        self._look_through()
        seen: list[np.ndarray] = []
        for frame in range(len(self.pixels.cells)):
            shown = self._pictures(frame)
            for rows, columns in _changed(shown, seen):
                self._look_at(frame, rows, columns)
                # Held against what was looked at, not against the frame before: what fades in slowly is seen, too.
                seen = _renewed(seen, self._pictures(frame), rows, columns)
        return list(self.found)

    def _pictures(self, frame: int, rows: slice = _ALL, columns: slice = _ALL) -> list[np.ndarray]:
        shown = rendering.pictures(self.pixels.values(frame, (rows, columns)), self.look)
        rest = self.pixels.unused(frame)
        if rest.any():
            plain = dataclasses.replace(self.look, palette=None, window=None)
            shown += rendering.pictures(rest[rows, columns], plain)
        return shown

    def _look_at(self, frame: int, rows: slice, columns: slice) -> None:
        """Looks at a part of a frame until nothing more is found."""
        for _ in range(_LOOKS):
            if not self._look_once(frame, rows, columns):
                return

    def _look_once(self, frame: int, rows: slice, columns: slice) -> bool:
        shown = self._pictures(frame, rows, columns)
        top, left = rows.start or 0, columns.start or 0
        new = [
            boxes.Box(frame, x0 + left, y0 + top, x1 + left, y1 + top, why)
            for x0, y0, x1, y1, why in finding.texts(shown, self.known, self.threads)
        ]
        for box in new:
            for like in self._frames_like(box):
                self._black_out(dataclasses.replace(box, frame=like))
        return bool(new)

    def _frames_like(self, box: boxes.Box) -> Iterator[int]:
        """Yields the frames that show the same there."""
        if len(self.pixels.cells) == 1:
            yield 0
            return
        wanted = _pattern(self.pixels.values(box.frame, box.where))
        for frame in range(len(self.pixels.cells)):
            pattern = wanted if frame == box.frame else _pattern(self.pixels.values(frame, box.where))
            if frame == box.frame or float((wanted * pattern).sum()) >= _LIKE:
                yield frame

    def _look_through(self) -> None:
        """Looks at the brightest, darkest and mean value of each place: text that stays stands out of what moves."""
        if self.look.palette is not None or self.pixels.layout.bits == 1:
            return  # Indices and bits have no mean that shows anything.
        every = range(len(self.pixels.cells))
        highest, lowest, total = self.pixels.values(0), self.pixels.values(0), np.zeros(self.pixels.cells.shape[1:])
        for frame in every:
            values = self.pixels.values(frame)
            highest, lowest, total = np.maximum(highest, values), np.minimum(lowest, values), total + values
        mean = (total / len(every)).astype(highest.dtype)
        for projection in (highest, lowest, mean):
            shown = rendering.pictures(projection, self.look)
            for found in finding.texts(shown, self.known, self.threads):
                for frame in every:
                    self._black_out(boxes.Box(frame, *found))

    def _black_out(self, box: boxes.Box) -> None:
        if box not in self.found:
            self.found[box] = None
            self.fill(self.pixels.cells, box)


def _pattern(values: np.ndarray) -> np.ndarray:
    """Returns values around zero with a square sum of 1; zeros where nothing stands out."""
    away = values.astype(np.float64) - values.mean()
    length = float(np.sqrt((away**2).sum()))
    return away / length if length > 0 else away


def _changed(shown: list[np.ndarray], seen: list[np.ndarray]) -> list[tuple[slice, slice]]:
    """Returns the parts of a frame that are not shown as what was looked at, with what surrounds them."""
    if not shown:
        return []
    rows, columns = shown[0].shape[:2]
    if len(shown) != len(seen):
        return [(slice(0, rows), slice(0, columns))]
    away = np.zeros((rows, columns), bool)
    for picture, other in zip(shown, seen):
        away |= np.abs(picture.astype(np.int16) - other.astype(np.int16)).max(axis=2) > _SAME
    tiles: Any = np.pad(away, ((0, -rows % _TILE), (0, -columns % _TILE)))
    tiles = tiles.reshape(tiles.shape[0] // _TILE, _TILE, -1, _TILE).any(axis=(1, 3))
    if tiles.mean() > 0.5:
        return [(slice(0, rows), slice(0, columns))]
    return [_around(place, (rows, columns)) for place in _parts(tiles)]


def _renewed(seen: list[np.ndarray], shown: list[np.ndarray], rows: slice, columns: slice) -> list[np.ndarray]:
    """Returns what was looked at, with a part looked at anew."""
    if len(seen) != len(shown):
        return shown
    kept = [picture.copy() for picture in seen]
    for picture, new in zip(kept, shown):
        picture[rows, columns] = new[rows, columns]
    return kept


def _parts(tiles: Any) -> list[tuple[slice, slice]]:
    from scipy import ndimage

    labels, _ = ndimage.label(tiles, np.ones((3, 3)))
    return list(ndimage.find_objects(labels))


def _around(place: tuple[slice, slice], size: tuple[int, int]) -> tuple[slice, slice]:
    sides = [
        slice(max(part.start * _TILE - _AROUND, 0), min(part.stop * _TILE + _AROUND, most))
        for part, most in zip(place, size)
    ]
    return sides[0], sides[1]
