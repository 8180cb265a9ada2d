"""Detection's figures over resampled patients, all draws at once.

To draw a patient twice is to count twice what was found and missed in that patient's images, as hits do not depend on
other images. So a draw is a row of weights, one a patient, and cumulative counts are a product of two matrices; they
are needed only where something was right.
"""

import math
from dataclasses import dataclass

import numpy as np

from radkit.metrics import coco, intervals

_BLOCK = 1 << 22  # numbers at once


@dataclass(frozen=True, eq=False)
class Marks:
    """What was found in all images, of which patient, and how much there was to find.

    Attributes:
        patient: Number of the patient, (n,).
        score: (n,) float64.
        lesion: Number of the lesion that was hit, -1 for none, (n,).
        lesions: How many each patient has, (patients,).
        images: How many images each patient has, (patients,).
    """

    patient: np.ndarray
    score: np.ndarray
    lesion: np.ndarray
    lesions: np.ndarray
    images: np.ndarray


def weights(patients: int, resamples: int, seed: int) -> np.ndarray:
    """Returns how often each patient is drawn, (resamples, patients) float32: whole numbers up to 2^24 are exact."""
    generator = np.random.default_rng(seed)
    drawn = [np.bincount(generator.integers(0, patients, patients), minlength=patients) for _ in range(resamples)]
    return np.array(drawn, np.float32).reshape(resamples, patients)


def average_precision(
    matches: coco.Matches, patient: np.ndarray, references: np.ndarray, weight: np.ndarray
) -> np.ndarray:
    """Returns the mean over labels of `coco.average_precision`, boxes of all sizes, (draws, thresholds).

    It equals what images copied as often as drawn would give, the copies of a box standing together.

    Args:
        matches: Of all images.
        patient: Number of the patient of each found box in `matches`, (n,).
        references: How many count, (patients, labels).
        weight: (draws, patients): how often each patient is counted.

    Returns:
        nan for draws without any reference.
    """
    labels, thresholds = len(matches.num_reference), matches.hit.shape[1]
    found = np.full((len(weight), labels, thresholds), math.nan)
    for label in range(labels):
        total = weight @ references[:, label].astype(np.float32)
        rows = np.flatnonzero(matches.found.label == label)
        rows = rows[np.argsort(-matches.found.score[rows], kind="stable")]
        for threshold in range(thresholds):
            ignored, hit = matches.ignored[rows, threshold, 0], matches.hit[rows, threshold, 0]
            owner, right = patient[rows][~ignored], hit[~ignored]
            found[:, label, threshold] = _precision(owner, right, total, weight)
    known = ~np.isnan(found)
    defined = known.sum(axis=1)
    together = np.where(known, found, 0).sum(axis=1)
    return np.divide(together, defined, out=np.full(together.shape, math.nan), where=defined > 0)


def sensitivity(marks: Marks, rates: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Returns `detection.froc`'s sensitivities, (draws, rates); nan for draws without lesions.

    Args:
        marks: Of all images.
        rates: False positives per image, (rates,).
        weight: (draws, patients): how often each patient is counted.
    """
    hit = np.flatnonzero(marks.lesion >= 0)
    hit = hit[np.argsort(-marks.score[hit], kind="stable")]
    _, best = np.unique(marks.lesion[hit], return_index=True)
    hit, wrong = hit[np.sort(best)], np.flatnonzero(marks.lesion < 0)
    scores, step = np.unique(-marks.score[hit], return_inverse=True)
    # What is wrong counts from the first score on that a hit shares with it or that lies below.
    until = np.searchsorted(scores, -marks.score[wrong], side="left")
    lesions = weight @ marks.lesions.astype(np.float32)
    allowed = (weight @ marks.images.astype(np.float32)).astype(np.float64)[:, None] * rates * (1 + 1e-12)
    found = np.zeros((len(weight), len(rates)))
    for rows in _blocks(len(weight), scores.size):
        right = _cumulated(marks.patient[hit], step, scores.size, weight[rows])
        false = _cumulated(marks.patient[wrong], until, scores.size, weight[rows])
        for place in range(len(rates)):
            reached = (false <= allowed[rows, place, None]).sum(axis=1)
            before = np.concatenate([np.zeros((len(right), 1)), right], axis=1)
            found[rows, place] = np.take_along_axis(before, reached[:, None], axis=1)[:, 0]
    return np.divide(found, lesions[:, None], out=np.full(found.shape, math.nan), where=lesions[:, None] > 0)


def share(hit: np.ndarray, patient: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Returns the share of lesions that were hit, (draws,); nan for draws without any.

    Args:
        hit: (n,) bool, one a lesion.
        patient: Number of its patient, (n,).
        weight: (draws, patients).
    """
    several = [np.bincount(rows, minlength=weight.shape[1]).astype(np.float32) for rows in (patient[hit], patient)]
    right, total = (weight @ column for column in several)
    return np.divide(right, total, out=np.full(len(weight), math.nan), where=total > 0)


def interval(value: float, drawn: np.ndarray, patients: int) -> dict[str, float]:
    """Returns value, low and high (95 %, as `intervals.bootstrap_ci`) and num_undefined: draws that left it undefined.

    low and high are nan when fewer than two draws are defined, or the value itself is not, or with one patient.
    """
    defined = drawn[~np.isnan(drawn)]
    outside = intervals.expanded(0.05, patients)
    low = high = math.nan
    if defined.size > 1 and not math.isnan(value + outside):
        low, high = np.quantile(defined, [outside / 2, 1 - outside / 2])
    return {"value": float(value), "low": float(low), "high": float(high), "num_undefined": drawn.size - defined.size}


def _precision(owner: np.ndarray, right: np.ndarray, total: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Returns one label's average precision at one threshold, (draws,)."""
    steps = int(right.sum())
    before = np.cumsum(right)[~right]  # a false positive counts at the next hit and all after it
    found = np.zeros(len(weight))
    for rows in _blocks(len(weight), steps):
        hits = _cumulated(owner[right], np.arange(steps), steps, weight[rows])
        false = _cumulated(owner[~right], before, steps, weight[rows])
        some = np.maximum(total[rows], 1)
        found[rows] = coco.area(hits.T.astype(np.float64), false.T.astype(np.float64), some)
    return np.where(total > 0, found, math.nan)


def _cumulated(owner: np.ndarray, step: np.ndarray, steps: int, weight: np.ndarray) -> np.ndarray:
    """Returns how many there are up to each step, (draws, steps)."""
    table = np.zeros((weight.shape[1], steps), np.float32)
    inside = step < steps
    np.add.at(table, (owner[inside], step[inside]), 1)
    return weight @ np.cumsum(table, axis=1)


def _blocks(draws: int, steps: int) -> list[slice]:
    size = max(1, _BLOCK // max(1, steps))
    return [slice(start, start + size) for start in range(0, draws, size)]
