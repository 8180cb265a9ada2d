"""Average precision and recall of boxes by COCO's rules, in 2-D and 3-D.

All classes and images are matched together: in one round the best detection of each image and class, in the next the
second best ...; thresholds and size ranges are axes of arrays. Only pairs that overlap enough to match are kept.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from radkit.errors import UserError
from radkit.metrics import boxes as geometry
from radkit.metrics import inputs

THRESHOLDS = np.linspace(0.5, 0.95, 10)  # of IoU
RECALLS = np.linspace(0, 1, 101)
MOST = (1, 10, 100)  # detections of an image and class, best first
SIZES = ("all", "small", "medium", "large")
_SIDES = (32.0, 96.0)  # pixels: up to a square (cube) of this side a box is small, medium
_PAIRS = 1 << 20  # compared at once


@dataclass(frozen=True, eq=False)
class Boxes:
    """Boxes of all images.

    Attributes:
        image: Number of the image, (n,).
        label: Place of the label, (n,).
        box: Low, then high edges, (n, 2 * rank) float64.
        score: (n,) float64; of a reference 0.
        crowd: (n,) bool: whatever is found within is neither right nor wrong.
    """

    image: np.ndarray
    label: np.ndarray
    box: np.ndarray
    score: np.ndarray
    crowd: np.ndarray

    def taken(self, rows: np.ndarray) -> "Boxes":
        """Returns some of them, in the order asked."""
        return Boxes(self.image[rows], self.label[rows], self.box[rows], self.score[rows], self.crowd[rows])


@dataclass(frozen=True, eq=False)
class Matches:
    """Which found boxes hit, in groups (an image's of one label), best first within each, at most 100.

    Attributes:
        found: The boxes in this order, n of them.
        rows: Their places in what was given, (n,).
        rank: Place within the group, (n,).
        hit: (n, thresholds, sizes) bool.
        ignored: (n, thresholds, sizes) bool: neither right nor wrong.
        num_reference: (labels, sizes): references that count.
    """

    found: Boxes
    rows: np.ndarray
    rank: np.ndarray
    hit: np.ndarray
    ignored: np.ndarray
    num_reference: np.ndarray


def coco_map(
    gt: Sequence[Mapping[str, Any]],
    dt: Sequence[Mapping[str, Any]],
    n_images: int | None = None,
    labels: Sequence[Any] | None = None,
) -> dict[str, float]:
    """Returns average precision and recall of boxes by COCO's rules.

    A found box is matched, best score first (ties keep input order), to the free reference of its image and label of
    which it has the most; precision is read at 101 recalls. Boxes of 6 edges are treated alike; small, medium and large
    are then cubes of these sides. Labels without a reference are left out of means.

    Args:
        gt: References: image, label, box (low, then high edges), crowd (optional: a region in which nothing counts).
        dt: Found: image, label, box, score.
        n_images: How many images there are, for the check only: an image without references matters by what is found.
        labels: Which labels count, others are left out; None: those of the references.

    Returns:
        ap (mean over IoU 0.5, 0.55 ... 0.95), ap50, ap75, ap_small (up to 32 x 32), ap_medium (up to 96 x 96),
        ap_large, ar1, ar10, ar100 (recall with so many boxes an image and label), ar_small, ar_medium, ar_large; nan
        without such references.

    Raises:
        UserError: No boxes, missing keys, scores that are nan, or more images than n_images.

    Source: Lin et al. 2014, https://arxiv.org/abs/1405.0312; equal to pycocotools 2.0.

    Example:
        >>> coco_map([{"image": 0, "label": 1, "box": [0, 0, 4, 4]}],
        ...          [{"image": 0, "label": 1, "box": [0, 0, 4, 3], "score": 0.9}])["ap75"]
        1.0
    """
    known = sorted({str(one["label"]) for one in gt}) if labels is None else [str(label) for label in labels]
    reference, found = _encoded(gt, dt, n_images, known)
    matches = match(reference, found, len(known))
    precision, recall = average_precision(matches), average_recall(matches)
    return {
        "ap": mean(precision[..., 0]),
        "ap50": mean(precision[:, 0, 0]),
        "ap75": mean(precision[:, 5, 0]),
        **{f"ap_{name}": mean(precision[..., size]) for size, name in enumerate(SIZES) if size},
        **{f"ar{most}": mean(recall[..., 0, place]) for place, most in enumerate(MOST)},
        **{f"ar_{name}": mean(recall[..., size, -1]) for size, name in enumerate(SIZES) if size},
    }


def mean(values: np.ndarray) -> float:
    """Returns the mean of what is defined; nan when nothing is."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else math.nan


def match(reference: Boxes, found: Boxes, num_labels: int) -> Matches:
    """Returns which found boxes hit a reference of their image and label, at each threshold and for each size range."""
    images = 1 + max(int(boxes.image.max(initial=0)) for boxes in (reference, found))
    group, of_reference = found.label * images + found.image, reference.label * images + reference.image
    order = np.lexsort((-found.score, group))
    rank = _places(group[order])
    rows = order[rank < MOST[-1]]
    rank, group, found = rank[rank < MOST[-1]], group[rows], found.taken(rows)
    by_group = np.argsort(of_reference, kind="stable")
    reference, of_reference = reference.taken(by_group), of_reference[by_group]

    counted = _within(reference) & ~reference.crowd[:, None]
    hit, ignored = _matched(_candidates(reference, found, of_reference, group), counted, reference.crowd, group)
    ignored |= ~hit & ~_within(found)[:, None]
    totals = np.zeros((num_labels, len(SIZES)), np.int64)
    np.add.at(totals, reference.label, counted)
    return Matches(found, rows, rank, hit, ignored, totals)


def average_precision(matches: Matches) -> np.ndarray:
    """Returns the mean precision over 101 recalls, (labels, thresholds, sizes); nan without references."""
    found = np.full((len(matches.num_reference), *matches.hit.shape[1:]), math.nan)
    for label, total in enumerate(matches.num_reference):
        rows = _best_first(matches, label)
        hit, ignored = matches.hit[rows], matches.ignored[rows]
        right, wrong = np.cumsum(hit & ~ignored, axis=0), np.cumsum(~hit & ~ignored, axis=0)
        known = np.flatnonzero(total)
        found[label][:, known] = area(right[..., known], wrong[..., known], total[known])
    return found


def area(right: np.ndarray, wrong: np.ndarray, total: Any) -> np.ndarray:
    """Returns the mean over 101 recalls of the best precision at that recall or a higher one.

    Args:
        right: How many were right down to each score, (n, ...).
        wrong: How many were wrong, the same shape.
        total: How many could be, broadcast; above 0.
    """
    if not len(right):
        return np.zeros(right.shape[1:])
    gained = np.diff(np.searchsorted(RECALLS, right / total, side="right"), axis=0, prepend=0)
    return np.asarray((gained * _envelope(right, wrong)).sum(axis=0) / RECALLS.size)


def curve(matches: Matches, label: int, threshold: int = 0) -> np.ndarray:
    """Returns the precision at each of 101 recalls, boxes of all sizes, (101,); nan without references.

    Args:
        matches: Of `match`.
        label: Place of the label.
        threshold: Place of the IoU in `THRESHOLDS`.
    """
    total, rows = matches.num_reference[label, 0], _best_first(matches, label)
    if not total:
        return np.full(RECALLS.size, math.nan)
    hit, ignored = matches.hit[rows, threshold, 0], matches.ignored[rows, threshold, 0]
    right, wrong = np.cumsum(hit & ~ignored), np.cumsum(~hit & ~ignored)
    # One beyond the end: recalls that are never reached have precision 0.
    precision = np.append(_envelope(right, wrong), 0.0)
    return precision[np.searchsorted(right / total, RECALLS, side="left")]


def average_recall(matches: Matches) -> np.ndarray:
    """Returns the recall with 1, 10 and 100 boxes an image, (labels, thresholds, sizes, 3); nan without references."""
    right = matches.hit & ~matches.ignored
    found = np.zeros((*matches.num_reference.shape[:1], *right.shape[1:], len(MOST)))
    for place, most in enumerate(MOST):
        few = matches.rank < most
        np.add.at(found[..., place], matches.found.label[few], right[few])
    total = matches.num_reference[:, None, :, None]
    return np.divide(found, total, out=np.full(found.shape, math.nan), where=total > 0)


def _envelope(right: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    together = right + wrong
    precision = np.divide(right, together, out=np.zeros(right.shape), where=together > 0)
    return np.maximum.accumulate(precision[::-1], axis=0)[::-1]


def _best_first(matches: Matches, label: int) -> np.ndarray:
    rows = np.flatnonzero(matches.found.label == label)
    return rows[np.argsort(-matches.found.score[rows], kind="stable")]


def _places(group: np.ndarray) -> np.ndarray:
    """Returns the place of each within its group; equal ones stand together."""
    begins = np.flatnonzero(np.diff(group, prepend=-1))
    lengths = np.diff(np.append(begins, group.size))
    return np.arange(group.size) - np.repeat(begins, lengths)


def _within(boxes: Boxes) -> np.ndarray:
    """Returns which boxes are of each size, (n, sizes)."""
    size = geometry.volume(boxes.box)
    small, medium = (side ** (boxes.box.shape[1] // 2) for side in _SIDES)
    # A box on the border is of both sizes, as with COCO.
    return np.stack([size >= 0, size <= small, (size >= small) & (size <= medium), size >= medium], axis=1)


def _candidates(
    reference: Boxes, found: Boxes, of_reference: np.ndarray, group: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns pairs that may match: found, reference and IoU; of each found the best last, of equals the later."""
    first = np.searchsorted(of_reference, group, side="left")
    many = np.searchsorted(of_reference, group, side="right") - first
    ends = np.cumsum(many)
    pieces = []
    start = 0
    while start < len(group):
        before = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + _PAIRS, side="right")))
        row = np.repeat(np.arange(start, stop), many[start:stop])
        column = np.repeat(first[start:stop] - (ends[start:stop] - many[start:stop]), many[start:stop])
        column = column + np.arange(before, ends[stop - 1])
        overlap = geometry.iou(found.box[row], reference.box[column], reference.crowd[column])
        kept = overlap >= THRESHOLDS[0]
        pieces.append((row[kept], column[kept], overlap[kept]))
        start = stop
    if not pieces:
        return np.empty(0, int), np.empty(0, int), np.empty(0)
    row, column, overlap = (np.concatenate(part) for part in zip(*pieces))
    order = np.lexsort((column, overlap, row))
    return row[order], column[order], overlap[order]


def _matched(
    candidates: tuple[np.ndarray, np.ndarray, np.ndarray], counted: np.ndarray, crowd: np.ndarray, group: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns which found boxes hit, and hit what does not count, (found, thresholds, sizes) each."""
    row, column, overlap = candidates
    shape = (len(THRESHOLDS), len(SIZES))
    hit, ignored = (np.zeros((len(group), *shape), bool) for _ in range(2))
    if not row.size:
        return hit, ignored
    taken = np.zeros((len(crowd), *shape), bool)
    place = _places(row) + 1
    prefer = int(place.max()) + 1  # what counts is preferred to what does not, however little the overlap
    begins = np.flatnonzero(place == 1)
    turn = np.repeat(_places(group[row[begins]]), np.diff(np.append(begins, row.size)))
    by_turn = np.argsort(turn, kind="stable")
    for pairs in np.split(by_turn, np.flatnonzero(np.diff(turn[by_turn])) + 1):
        to = column[pairs]
        free = ~taken[to] & (overlap[pairs, None, None] >= THRESHOLDS[:, None])
        key = np.where(free, place[pairs, None, None] + prefer * counted[to][:, None], 0)
        starts = np.flatnonzero(place[pairs] == 1)
        best = np.maximum.reduceat(key, starts, axis=0)
        lengths = np.diff(np.append(starts, pairs.size))
        won = (key > 0) & (key == np.repeat(best, lengths, axis=0))
        taken[to] |= won & ~crowd[to, None, None]
        hit[row[pairs[starts]]] = best > 0
        ignored[row[pairs[starts]]] = (best > 0) & (best <= prefer)
    return hit, ignored


def _encoded(
    gt: Sequence[Mapping[str, Any]], dt: Sequence[Mapping[str, Any]], n_images: int | None, labels: Sequence[str]
) -> tuple[Boxes, Boxes]:
    try:
        names = {one["image"] for one in (*gt, *dt)}
        image = {name: place for place, name in enumerate(_sorted(names))}
        label = {name: place for place, name in enumerate(labels)}
        reference = _arrays("gt", [one for one in gt if str(one["label"]) in label], image, label, scored=False)
        found = _arrays("dt", [one for one in dt if str(one["label"]) in label], image, label, scored=True)
    except KeyError as error:
        raise UserError(f"each of gt needs image, label and box, each of dt also score; one lacks {error}") from error
    if n_images is not None and len(image) > n_images:
        raise UserError(f"n_images is {n_images}, but gt and dt name {len(image)} images")
    edges = max(reference.box.shape[1], found.box.shape[1]) or 4
    return joined([reference], edges), joined([found], edges)


def _sorted(names: set[Any]) -> list[Any]:
    try:
        return sorted(names)
    except TypeError:  # numbers and text do not compare
        return sorted(names, key=str)


def _arrays(
    name: str, listed: Sequence[Mapping[str, Any]], image: Mapping[Any, int], label: Mapping[str, int], *, scored: bool
) -> Boxes:
    return Boxes(
        image=np.array([image[one["image"]] for one in listed], np.int64),
        label=np.array([label[str(one["label"])] for one in listed], np.int64),
        box=geometry.checked(f"box of {name}", [one["box"] for one in listed]),
        score=inputs.scores(f"score of {name}", [one["score"] if scored else 0.0 for one in listed]),
        crowd=np.array([not scored and bool(one.get("crowd", False)) for one in listed], bool),
    )


def joined(parts: Sequence[Boxes], edges: int) -> Boxes:
    """Returns several lists of boxes as one.

    Args:
        parts: At least one.
        edges: Of a box; lists without any box may have another number of columns.

    Raises:
        UserError: Boxes with another number of edges.
    """
    for part in parts:
        if len(part.box) and part.box.shape[1] != edges:
            raise UserError(f"all boxes must have one number of edges, not {part.box.shape[1]} and {edges}")
    return Boxes(
        image=np.concatenate([part.image for part in parts]),
        label=np.concatenate([part.label for part in parts]),
        box=np.concatenate([part.box.reshape(len(part.box), edges) for part in parts]),
        score=np.concatenate([part.score for part in parts]),
        crowd=np.concatenate([part.crowd for part in parts]),
    )
