"""Which lesion each found box hit: what FROC curves and tables of cases are made of."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from radkit.errors import UserError
from radkit.metrics import boxes as geometry

MISSED = -1  # a false positive
NOT_COUNTED = -2  # padding, or within a region that is to be ignored
LEAST_IOU = 0.1
_MOSTLY = 0.5  # share of a found box that lies in a region to ignore
PADDING, REGION = -1, -2  # labels that are no class

Rule = Literal["iou", "centre"]


@dataclass(frozen=True, eq=False)
class Boxes:
    """One image's boxes, in pixels or voxels, low then high edges; lists or arrays.

    Attributes:
        patient: Whose image it is.
        reference: (n, 2 * rank).
        labels: Class of each, (n,); -1 padding, -2 a region to ignore.
        found: (m, 2 * rank).
        scores: (m,).
        found_labels: Class of each, (m,); -1 padding.
        spacing_mm: Size of a voxel, (rank,); nan where nobody says.
    """

    patient: str
    reference: ArrayLike
    labels: ArrayLike
    found: ArrayLike
    scores: ArrayLike
    found_labels: ArrayLike
    spacing_mm: Sequence[float]

    def hits(self, rule: Rule = "iou", least_iou: float = LEAST_IOU) -> np.ndarray:
        """Returns what each found box hit: see `matched`."""
        return matched(self.found, self.scores, self.reference, self.found_labels, self.labels, rule, least_iou)


def counts(image: Boxes, threshold: float, rule: Rule = "iou", least_iou: float = LEAST_IOU) -> dict[str, int]:
    """Returns what a table of cases tells of one image at a threshold.

    Args:
        image: Its boxes.
        threshold: A found box counts if its score is at least this.
        rule: See `matched`.
        least_iou: Likewise.

    Returns:
        num_reference, num_found (both without padding and what is not counted), hits (references), misses,
        false_positives.
    """
    hits = image.hits(rule, least_iou)[np.asarray(image.scores, np.float64).reshape(-1) >= threshold]
    known = int(np.count_nonzero(np.asarray(image.labels, np.int64) >= 0))
    found = np.unique(hits[hits >= 0]).size
    return {
        "num_reference": known,
        "num_found": int(np.count_nonzero(hits != NOT_COUNTED)),
        "hits": found,
        "misses": known - found,
        "false_positives": int(np.count_nonzero(hits == MISSED)),
    }


def matched(
    found: ArrayLike,
    scores: ArrayLike,
    reference: ArrayLike,
    found_labels: ArrayLike | None = None,
    reference_labels: ArrayLike | None = None,
    rule: Rule = "iou",
    least_iou: float = LEAST_IOU,
) -> np.ndarray:
    """Returns which reference box each found box hit.

    Best score first (ties keep input order), each found box is given the free reference of its label that it fits best,
    so that a reference is hit first by the box of the highest score. A box that fits only what is hit already is given
    that: a second hit, which FROC counts neither as right nor as wrong.

    Args:
        found: (m, 2 * rank): low, then high edges.
        scores: (m,).
        reference: (n, 2 * rank).
        found_labels: (m,): class; -1 padding. None: all of one class.
        reference_labels: (n,): class; -1 padding, -2 a region to ignore, whatever the class. None: all of one class.
        rule: "iou": the IoU is at least `least_iou` (0.1, as nnDetection has it for lesions: at a few voxels a shift by
            one voxel costs half of the IoU); the best fit is the largest IoU. "centre": the found box's centre lies in
            the ellipsoid that the reference box encloses, as LUNA16 has it for nodules; the best fit is the nearest to
            the reference's centre, measured in its half sides.
        least_iou: Of "iou"; above 0, at most 1.

    Returns:
        (m,) int64: the place in `reference`; -1: none, a false positive; -2: not counted, as it is padding, or hits
        nothing and lies by half or more in a region to ignore.

    Raises:
        UserError: What is no box, lengths that differ, an unknown rule.

    Source: Baumgartner et al. 2021, https://arxiv.org/abs/2106.00817; Setio et al. 2017,
        https://arxiv.org/abs/1612.08012.

    Example:
        >>> matched([[0, 0, 4, 4], [0, 0, 5, 5], [9, 9, 12, 12]], [0.5, 0.9, 0.3], [[0, 0, 4, 4]]).tolist()
        [0, 0, -1]
    """
    boxes, known = geometry.checked("found", found), geometry.checked("reference", reference)
    score = np.asarray(scores, dtype=np.float64).reshape(-1)
    label, of_known = _labels(found_labels, len(boxes)), _labels(reference_labels, len(known))
    if len(score) != len(boxes) or len(label) != len(boxes) or len(of_known) != len(known):
        raise UserError(
            f"{len(boxes)} found boxes have {len(score)} scores and {len(label)} labels, "
            f"{len(known)} reference boxes {len(of_known)} labels: one each was expected"
        )
    hits = np.where(label == PADDING, NOT_COUNTED, MISSED)
    if not len(boxes) or not len(known):
        return hits
    fit = _fit(boxes, known, rule, least_iou)
    fit[label[:, None] != of_known[None]] = 0
    fit[label < 0] = 0
    free = np.ones(len(known), bool)
    for row in np.argsort(-score, kind="stable"):
        if not fit[row].any():
            continue
        # Of what is free the best; of what is hit already only where nothing else fits.
        place = int(np.argmax(fit[row] * free)) if (fit[row] * free).any() else int(np.argmax(fit[row]))
        hits[row], free[place] = place, False
    inside = _share_inside(boxes, known[of_known == REGION]) >= _MOSTLY
    hits[(hits == MISSED) & inside] = NOT_COUNTED
    return hits


def _labels(labels: ArrayLike | None, count: int) -> np.ndarray:
    return np.zeros(count, np.int64) if labels is None else np.asarray(labels, dtype=np.int64).reshape(-1)


def _fit(boxes: np.ndarray, known: np.ndarray, rule: str, least_iou: float) -> np.ndarray:
    """Returns how well each box fits each reference, (found, references); 0: not at all."""
    if rule == "iou":
        if not 0 < least_iou <= 1:
            raise UserError(f"least_iou must lie above 0 and be at most 1, not {least_iou!r}")
        overlap = np.nan_to_num(geometry.iou(boxes[:, None], known[None]))
        return np.where(overlap >= least_iou, overlap, 0.0)
    if rule == "centre":
        axes = known.shape[1] // 2
        if boxes.shape[1] != known.shape[1]:
            raise UserError(f"boxes of {boxes.shape[1]} and of {known.shape[1]} edges cannot be compared")
        apart = (boxes[:, None, :axes] + boxes[:, None, axes:] - known[None, :, :axes] - known[None, :, axes:]) / 2
        half = (known[:, axes:] - known[:, :axes]) / 2
        distance = np.sqrt((np.divide(apart, half, out=np.full(apart.shape, np.inf), where=half > 0) ** 2).sum(axis=-1))
        return np.where(distance <= 1, 2 - distance, 0.0)
    raise UserError(f"rule must be 'iou' or 'centre', not {rule!r}")


def _share_inside(boxes: np.ndarray, regions: np.ndarray) -> np.ndarray:
    """Returns which share of each box lies in the region that covers most of it, (n,)."""
    if not len(regions):
        return np.zeros(len(boxes))
    size = geometry.volume(boxes)
    covered = geometry.shared(boxes[:, None], regions[None]).max(axis=1)
    return np.divide(covered, size, out=np.zeros(len(boxes)), where=size > 0)
