"""Figures of marks and of lesions: FROC, JAFROC, and components of masks matched one to one."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import ndimage, optimize, sparse

from radkit.errors import UserError
from radkit.metrics import inputs

RATES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
_CONNECTIVITY = {2: {1: 1, 2: 2, 4: 1, 8: 2}, 3: {1: 1, 2: 2, 3: 3, 6: 1, 18: 2, 26: 3}}


@dataclass(frozen=True, eq=False)
class Curve:
    """A FROC curve at each observed score, falling; three arrays (points,).

    Attributes:
        score: A mark counts if its score is at least this.
        hits: Lesions that were marked.
        false_positives: Marks on no lesion.
    """

    score: np.ndarray
    hits: np.ndarray
    false_positives: np.ndarray

    def place(self, most: float) -> int:
        """Returns the last point with at most so many false positives; -1: there is none."""
        # Rates such as 0.1 are not exact in binary: 0.1 of 30 images must allow three marks.
        return int(np.searchsorted(self.false_positives, most * (1 + 1e-12), side="right")) - 1


def froc(
    detections: Sequence[Mapping[str, Any]],
    n_lesions: int,
    n_images: int,
    fp_rates: Iterable[float] = RATES,
) -> dict[str, Any]:
    """Returns the sensitivity for lesions at given numbers of false positives per image.

    The threshold is each observed score in turn; marks of equal score come together. At a rate the sensitivity is that
    of the lowest threshold with at most so many false positives: the curve is steps and holds its last sensitivity.

    Args:
        detections: Marks: image, score, and lesion, the name of the lesion it hit in that image, None where it hit
            none. A second hit on a lesion is neither a true nor a false positive.
        n_lesions: Lesions in all images.
        n_images: All images, those without a lesion or a mark as well.
        fp_rates: False positives per image.

    Returns:
        sensitivity (list, one a rate) and cpm, their mean (the competition performance metric when the rates are 1/8,
        1/4 ... 8); nan without lesions or without images.

    Raises:
        UserError: Missing keys, scores that are nan, or more lesions or images than were said.

    Source: Bunch et al. 1978, https://doi.org/10.1117/12.955926; cpm: Niemeijer et al. 2011,
        https://doi.org/10.1109/TMI.2010.2072789.

    Example:
        >>> marks = [{"image": 0, "score": 0.9, "lesion": "a"}, {"image": 0, "score": 0.8, "lesion": None}]
        >>> froc(marks, n_lesions=2, n_images=2, fp_rates=[0.25, 0.5])
        {'sensitivity': [0.5, 0.5], 'cpm': 0.5}
    """
    lesion, score = _marks(detections, n_lesions, n_images)
    rates = inputs.measurements("fp_rates", list(fp_rates))
    found = curve(lesion, score)
    if n_lesions and n_images:
        places = [found.place(rate * n_images) for rate in rates]
        sensitivity = [int(found.hits[place]) / n_lesions if place >= 0 else 0.0 for place in places]
    else:
        sensitivity = [math.nan] * rates.size
    return {"sensitivity": sensitivity, "cpm": float(np.mean(sensitivity)) if sensitivity else math.nan}


def curve(lesion: np.ndarray, score: np.ndarray) -> Curve:
    """Returns hits and false positives at each observed score.

    Args:
        lesion: Number of the lesion that each mark hit; -1: none, (n,).
        score: (n,) float.
    """
    order = np.argsort(-score, kind="stable")
    lesion, score = lesion[order], score[order]
    _, best = np.unique(lesion, return_index=True)  # the first of each, so the one of the highest score
    first = np.zeros(lesion.size, bool)
    first[best] = True
    last = np.append(np.flatnonzero(score[1:] != score[:-1]), score.size - 1) if score.size else np.array([], int)
    return Curve(score[last], np.cumsum(first & (lesion >= 0))[last], np.cumsum(lesion < 0)[last])


def jafroc(
    normal_case_marks: Sequence[Sequence[float] | float | None], lesion_ratings: Sequence[float | None]
) -> float:
    """Returns the JAFROC figure: how often a lesion is rated above the highest mark of a case without lesions.

    Args:
        normal_case_marks: Ratings of the marks on each case without lesions; an empty list (or None) for a case without
            marks, a number alone for one mark.
        lesion_ratings: Rating of each lesion; None (or nan) where it was not marked.

    Returns:
        The share of all pairs of lesion and case, ties 0.5; what was not marked is below all ratings, and so ties with
        a case without marks. nan without lesions or without such cases.

    Raises:
        UserError: Ratings that are no numbers.

    Source: Chakraborty and Berbaum 2004, https://doi.org/10.1118/1.1769352.

    Example:
        >>> jafroc([[1, 3], []], [2, 4, None])
        0.5833333333333334
    """
    cases = [np.ravel([] if marks is None else marks) for marks in normal_case_marks]
    highest = np.sort([inputs.scores("normal_case_marks", marks).max(initial=-math.inf) for marks in cases])
    rated: list[Any] = [-math.inf if _nothing(one) else one for one in lesion_ratings]
    ratings = inputs.scores("lesion_ratings", rated)
    if not highest.size or not ratings.size:
        return math.nan
    below, reached = (np.searchsorted(highest, ratings, side=side) for side in ("left", "right"))
    return float((below + reached).sum() / (2 * highest.size * ratings.size))


def lesion_detection(
    ref: ArrayLike, pred: ArrayLike, connectivity: int | None = None, iou_threshold: float = 0.5
) -> dict[str, float]:
    """Returns how lesions, the connected parts of two masks, were found.

    Parts are matched one to one among pairs of at least `iou_threshold` so that the sum of their IoU is largest; above
    0.5 no part can have two partners.

    Args:
        ref: Reference, not 0 inside, (z, y, x) or (y, x).
        pred: Prediction, the same shape.
        connectivity: Which voxels touch: by sides (1; 4 or 6), also edges (2; 18, in 2-D 8 for corners), also corners
            (3; 26). None: all of them.
        iou_threshold: Above 0, at most 1.

    Returns:
        n_ref, n_pred, tp, fp, fn, f1, panoptic_quality (sum of the matched pairs' IoU / (tp + fp / 2 + fn / 2));
        f1 and panoptic quality of nothing and nothing are 1.

    Raises:
        UserError: Shapes that differ, shares instead of a mask, an unknown connectivity, or a threshold outside
            (0, 1].

    Source: Kirillov et al. 2019, https://arxiv.org/abs/1801.00868.

    Example:
        >>> lesion_detection([[1, 1, 0, 1]], [[1, 1, 0, 0]])["f1"]
        0.6666666666666666
    """
    reference, predicted = (mask != 0 for mask in inputs.masks(ref, pred))
    if not 0 < iou_threshold <= 1:
        raise UserError(f"iou_threshold must lie above 0 and be at most 1, not {iou_threshold!r}")
    structure = ndimage.generate_binary_structure(reference.ndim, _order(connectivity, reference.ndim))
    inside = ndimage.find_objects((reference | predicted).view(np.uint8))
    if inside:  # most of a volume holds no lesion
        reference, predicted = reference[inside[0]], predicted[inside[0]]
    parts_ref, n_ref = ndimage.label(reference, structure)
    parts_pred, n_pred = ndimage.label(predicted, structure)
    overlaps = _matched(_overlaps(parts_ref, parts_pred), iou_threshold)
    tp = len(overlaps)
    fp, fn = n_pred - tp, n_ref - tp
    total = tp + fp / 2 + fn / 2
    return {
        "n_ref": n_ref,
        "n_pred": n_pred,
        "tp": tp,
        "fp": fp,
        "fn": fn,
        "f1": tp / total if total else 1.0,
        "panoptic_quality": float(overlaps.sum()) / total if total else 1.0,
    }


def _order(connectivity: int | None, rank: int) -> int:
    known = _CONNECTIVITY[rank]
    if connectivity is not None and connectivity not in known:
        raise UserError(f"connectivity of a {rank}-D mask is one of {', '.join(map(str, known))}, not {connectivity!r}")
    return rank if connectivity is None else known[connectivity]


def _overlaps(parts_ref: np.ndarray, parts_pred: np.ndarray) -> Any:
    """Returns the IoU of each pair of parts that overlap, a sparse matrix (references, predictions)."""
    sizes_ref, sizes_pred = np.bincount(parts_ref.ravel()), np.bincount(parts_pred.ravel())
    both = (parts_ref > 0) & (parts_pred > 0)
    shape = (sizes_ref.size, sizes_pred.size)
    shared = sparse.coo_matrix((np.ones(np.count_nonzero(both)), (parts_ref[both], parts_pred[both])), shape=shape)
    shared = shared.tocsr().tocoo()  # which adds what is there twice
    whole = sizes_ref[shared.row] + sizes_pred[shared.col] - shared.data
    return sparse.coo_matrix((shared.data / whole, (shared.row, shared.col)), shape=shape)


def _matched(overlaps: Any, least: float) -> np.ndarray:
    """Returns the IoU of each matched pair."""
    kept = overlaps.data >= least
    row, column, value = overlaps.row[kept], overlaps.col[kept], overlaps.data[kept]
    # Parts that have one partner only need no search; the rest is solved by itself.
    alone = (np.bincount(row)[row] == 1) & (np.bincount(column)[column] == 1)
    rows, row_of = np.unique(row[~alone], return_inverse=True)
    columns, column_of = np.unique(column[~alone], return_inverse=True)
    table = np.zeros((rows.size, columns.size))
    table[row_of, column_of] = value[~alone]
    chosen = table[optimize.linear_sum_assignment(table, maximize=True)]
    return np.concatenate([value[alone], chosen[chosen > 0]])


def _marks(detections: Sequence[Mapping[str, Any]], n_lesions: int, n_images: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the number of the lesion that each mark hit (-1: none), and its score."""
    try:
        score = inputs.scores("score of detections", [mark["score"] for mark in detections])
        named = [None if _nothing(mark["lesion"]) else (mark["image"], mark["lesion"]) for mark in detections]
        images = len({mark["image"] for mark in detections})
    except KeyError as error:
        raise UserError(
            f"each detection needs image, score and lesion (None: it hit none); one lacks {error}"
        ) from error
    number: dict[Any, int] = {}
    lesion = np.array([-1 if name is None else number.setdefault(name, len(number)) for name in named], np.int64)
    if len(number) > n_lesions or images > n_images:
        raise UserError(
            f"detections name {len(number)} lesions and {images} images, "
            f"but n_lesions is {n_lesions} and n_images {n_images}"
        )
    return lesion, score


def _nothing(value: Any) -> bool:
    return value is None or (isinstance(value, float | np.floating) and math.isnan(value))
