"""Rectangles of pixels: where, in which frame, and why they are blacked out."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

WHYS = ("region", "template", "text", "name")


@dataclass(frozen=True, order=True)
class Box:
    """A rectangle to black out.

    Attributes:
        frame: From 0.
        left: First column.
        top: First row.
        right: Column after the last.
        bottom: Row after the last.
        why: `region` (outside an ultrasound device's image regions), `template` (a known device's text area), `text`
            (text was read there) or `name` (what was read stands in the header and identifies).
    """

    frame: int
    left: int
    top: int
    right: int
    bottom: int
    why: str

    @property
    def where(self) -> tuple[slice, slice]:
        """Rows and columns as an index."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    @property
    def area(self) -> int:
        """In pixels."""
        return max(self.right - self.left, 0) * max(self.bottom - self.top, 0)


def padded(corners: Sequence[float], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Returns left, top, right, bottom of a text, grown and cut to the image.

    A text's ends are found less surely than its height, above all where it runs over something bright: it grows by
    its height along the line, and by half of it across, as of letters of two sizes only the small may be found.

    Args:
        corners: left, top, right, bottom as found.
        size: Rows and columns of the image.
    """
    left, top, right, bottom = corners
    wide, high = right - left, bottom - top
    short = min(wide, high)
    along, across = 2 + round(short), 2 + round(0.5 * short)
    by_x, by_y = (across, along) if high > 1.5 * wide else (along, across)
    return (
        max(int(left) - by_x, 0), max(int(top) - by_y, 0),
        min(int(right) + by_x + 1, size[1]), min(int(bottom) + by_y + 1, size[0]),
    )  # fmt: skip


def merged(found: Iterable[tuple[int, int, int, int, str]]) -> list[tuple[int, int, int, int, str]]:
    """Returns rectangles with those made one that show the same: the smaller lies in the larger by half or more.

    >>> merged([(0, 0, 10, 4, "text"), (2, 0, 12, 4, "name"), (40, 0, 50, 4, "text")])
    [(0, 0, 12, 4, 'name'), (40, 0, 50, 4, 'text')]
    """
    kept: list[tuple[int, int, int, int, str]] = []
    for new in sorted(found):
        while (same := next((old for old in kept if _overlap(old, new) >= 0.5), None)) is not None:
            kept.remove(same)
            new = (
                min(same[0], new[0]), min(same[1], new[1]), max(same[2], new[2]), max(same[3], new[3]),
                "name" if "name" in (same[4], new[4]) else new[4],
            )  # fmt: skip
        kept.append(new)
    return sorted(kept)


def _overlap(one: tuple[int, int, int, int, str], other: tuple[int, int, int, int, str]) -> float:
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    least = min((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return max(wide, 0) * max(high, 0) / max(least, 1)


def outside(inner: Iterable[tuple[int, int, int, int]], size: tuple[int, int]) -> list[tuple[int, int, int, int]]:
    """Returns rectangles that cover an image but for the union of some; left, top, right, bottom each.

    >>> outside([(2, 1, 8, 4)], (5, 10))
    [(0, 0, 10, 1), (0, 1, 2, 4), (8, 1, 10, 4), (0, 4, 10, 5)]
    """
    rows, columns = size
    held = list(inner)
    edges = sorted({0, rows, *(box[1] for box in held), *(box[3] for box in held)})
    found = []
    for top, bottom in itertools.pairwise(edges):
        left = 0
        for box in sorted(box for box in held if box[1] <= top and bottom <= box[3]):
            if box[0] > left:
                found.append((left, top, box[0], bottom))
            left = max(left, box[2])
        if left < columns:
            found.append((left, top, columns, bottom))
    return found
