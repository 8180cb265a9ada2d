"""Pictures of boxes: the reference's and the found ones on an image, or on the slices of a volume through them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from radkit.errors import UserError
from radkit.metrics import box_hits
from radkit.reports import plots

_REFERENCE, _FOUND = plots.COLOURS[5], plots.COLOURS[4]  # sky blue and orange, as of masks
_MOST_PLACES = 3  # slices of a volume
_MOST_FOUND = 20  # boxes on an image: more hide it
_SMALL = 1 / 6  # of the image's side: smaller boxes are shown enlarged, too
_AROUND = 5  # sides of the box that the enlarged part shows
_LEAST_PART = 32  # pixels that it shows at least


@dataclass(frozen=True, eq=False)
class DetectionCase:
    """One image with its boxes.

    Args:
        caption: Which case it is; pseudonymous.
        image: (slices, rows, columns), or (1, rows, columns) of a radiograph; float, any unit.
        spacing_mm: (slices, rows, columns).
        reference: (n, 4) for one slice or (n, 6) voxels, low then high edges; voxel k reaches from k to k + 1.
        labels: Class of each, (n,); -1 padding, -2 a region to ignore.
        found: (m, 4) or (m, 6).
        scores: (m,).
        found_labels: Class of each, (m,); -1 padding.
    """

    caption: str
    image: np.ndarray
    spacing_mm: Sequence[float]
    reference: ArrayLike
    labels: ArrayLike
    found: ArrayLike
    scores: ArrayLike
    found_labels: ArrayLike


@dataclass(frozen=True, eq=False)
class _Drawn:
    """Boxes to draw, (n, 6), and what is written at each: nothing for references."""

    reference: np.ndarray
    ignored: np.ndarray
    found: np.ndarray
    words: list[str]


def boxes(case: DetectionCase, threshold: float, labels: Sequence[str]) -> Any:
    """Returns a matplotlib figure of an image with its boxes; small ones are shown enlarged as well.

    Of a volume up to three slices are shown, through the middle of the largest references and, where there are fewer,
    of the found boxes of the highest scores; a slice shows all boxes that it cuts.

    Args:
        case: See `DetectionCase`.
        threshold: Found boxes of at least this score are drawn, at most 20; nan: none.
        labels: Names of class 0, 1, ...; written where there are several.

    Raises:
        UserError: An image of another rank, or boxes of another rank than the image.
    """
    drawn = _drawn(case, threshold, labels)
    shown = [(place, part) for place, box in _places(case, drawn) for part in _parts(case.image.shape, box)]
    rows, columns = (case.image.shape[axis] * case.spacing_mm[axis] for axis in (1, 2))
    width = 3.3 if len(shown) > 1 else 4.8
    height = width * float(np.clip(rows / columns, 0.4, 1.6)) + 0.3
    plot, axes = plots.panels(len(shown), width, height, columns=2 if len(shown) % 2 == 0 else 3)
    finite = case.image[np.isfinite(case.image)]
    low, high = np.percentile(finite, [1, 99]) if finite.size else (0.0, 1.0)
    for axis, (place, part) in zip(axes, shown):
        axis.imshow(
            case.image[place],
            cmap="gray",
            vmin=low,
            vmax=max(high, low + 1e-9),
            aspect=case.spacing_mm[1] / case.spacing_mm[2],
        )
        axis.set_axis_off()
        axis.set_title(_title(len(case.image), place, enlarged=part is not None), fontsize=9)
        top, left, bottom, right = part if part is not None else (0, 0, *case.image.shape[1:])
        axis.set_xlim(left - 0.5, right - 0.5)
        axis.set_ylim(bottom - 0.5, top - 0.5)
        _rectangles(axis, drawn, place)
    return plot


def _drawn(case: DetectionCase, threshold: float, labels: Sequence[str]) -> _Drawn:
    if case.image.ndim != 3 or len(case.spacing_mm) != 3:
        raise UserError(
            "an image to draw must be (slices, rows, columns) with three spacings, "
            f"not {case.image.shape} with {len(case.spacing_mm)}"
        )
    reference, of_reference = _in_volume(case, case.reference), np.asarray(case.labels, int).reshape(-1)
    found, scores = _in_volume(case, case.found), np.asarray(case.scores, float).reshape(-1)
    of_found = np.asarray(case.found_labels, int).reshape(-1)
    kept = np.flatnonzero((of_found >= 0) & (scores >= threshold))
    kept = kept[np.argsort(-scores[kept], kind="stable")][:_MOST_FOUND]
    names = [f" {labels[label]}" if len(labels) > 1 else "" for label in of_found[kept]]
    return _Drawn(
        reference=reference[of_reference >= 0],
        ignored=reference[of_reference == box_hits.REGION],
        found=found[kept],
        words=[f"{score:.2f}{name}" for score, name in zip(scores[kept], names)],
    )


def _in_volume(case: DetectionCase, listed: ArrayLike) -> np.ndarray:
    """Returns boxes with a slice, (n, 6)."""
    given = np.asarray(listed, float)
    edges = 4 if len(case.image) == 1 and given.ndim == 2 and given.shape[1] == 4 else 6
    if given.size == 0:
        return np.zeros((0, 6))
    if given.ndim != 2 or given.shape[1] != edges:
        raise UserError(f"boxes of an image of shape {case.image.shape} need {edges} edges, not shape {given.shape}")
    if edges == 6:
        return given
    zero = np.zeros((len(given), 1))
    return np.concatenate([zero, given[:, :2], zero + 1, given[:, 2:]], axis=1)


def _places(case: DetectionCase, drawn: _Drawn) -> list[tuple[int, np.ndarray | None]]:
    """Returns slices, each with the box that it is shown for."""
    sizes = (drawn.reference[:, 3:] - drawn.reference[:, :3]).prod(axis=1)
    wanted = [*drawn.reference[np.argsort(-sizes, kind="stable")], *drawn.found]
    chosen: dict[int, np.ndarray | None] = {}
    for box in wanted:
        place = int(np.clip(math.floor((box[0] + box[3]) / 2), 0, len(case.image) - 1))
        seen = any(box[0] < other + 1 and box[3] > other for other in chosen)
        if not seen and len(chosen) < _MOST_PLACES:
            chosen[place] = box
    return list(chosen.items()) or [(len(case.image) // 2, None)]


def _parts(shape: tuple[int, ...], box: np.ndarray | None) -> list[tuple[int, int, int, int] | None]:
    """Returns what of a slice is shown: the whole (None), and top, left, bottom, right around a small box."""
    if box is None:
        return [None]
    sides, middle = box[4:] - box[1:3], (box[1:3] + box[4:]) / 2
    extent = max(_LEAST_PART, round(_AROUND * float(sides.max())))
    if max(sides / shape[1:]) >= _SMALL or extent >= min(shape[1:]):
        return [None]
    top, left = (int(np.clip(round(c - extent / 2), 0, n - extent)) for c, n in zip(middle, shape[1:]))
    return [None, (top, left, top + extent, left + extent)]


def _rectangles(axis: Any, drawn: _Drawn, place: int) -> None:
    for box in drawn.ignored:
        _rectangle(axis, box, place, "#cfd6dd", "dotted", "")
    for box in drawn.reference:
        _rectangle(axis, box, place, _REFERENCE, "solid", "")
    for box, words in zip(drawn.found, drawn.words):
        _rectangle(axis, box, place, _FOUND, "dashed", words)


def _rectangle(axis: Any, box: np.ndarray, place: int, colour: str, style: str, words: str) -> None:
    if not box[0] < place + 1 or not box[3] > place:
        return
    # imshow has the middle of pixel 0 at 0, boxes have its edge there.
    (top, left), (bottom, right) = box[1:3] - 0.5, box[4:] - 0.5
    # A dark edge keeps the line visible on bright tissue.
    edge = [plots.matplotlib("patheffects").withStroke(linewidth=2.6, foreground="#0009")]
    axis.add_patch(
        plots.matplotlib("patches").Rectangle(
            (left, top),
            right - left,
            bottom - top,
            fill=False,
            edgecolor=colour,
            linestyle=style,
            linewidth=1.5,
            path_effects=edge,
        )
    )
    if words:
        _write(axis, (top, left, bottom, right), words, colour)


def _write(axis: Any, sides: tuple[float, float, float, float], words: str, colour: str) -> None:
    """Writes above a box, or where the view ends there below it, and so that the words stay within the view."""
    top, left, bottom, right = sides
    (first, last), (floor, roof) = axis.get_xlim(), axis.get_ylim()
    above, to_the_right = top - roof > 0.1 * (floor - roof), last - left > 0.3 * (last - first)
    axis.text(
        left if to_the_right else right,
        top if above else bottom,
        words,
        color=colour,
        fontsize=7.5,
        va="bottom" if above else "top",
        ha="left" if to_the_right else "right",
        clip_on=True,
        bbox={"facecolor": "#000b", "edgecolor": "none", "pad": 0.8},
    )


def _title(slices: int, place: int, *, enlarged: bool) -> str:
    words = f"slice {place + 1} of {slices}" if slices > 1 else ""
    return f"{words}{', ' if words else ''}enlarged" if enlarged else words or "whole image"
