"""Boxes recomputed by plain loops: which box hit what, COCO's average precision, FROC, JAFROC.

A case's boxes are lists as JSON text in its row: `reference`, `labels`, `found`, `scores`, `found_labels`,
`spacing_mm`. `joined` makes such rows of `boxes.csv`.
"""

import bisect
import functools
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.evaluation import recomputed_statistics as plain
from tests.evaluation.recomputed import Statistic, Table

MISSED, NOT_COUNTED, REGION = -1, -2, -2
THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0, 1, 101)
RATES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
_MOST = 100  # boxes of an image and class
_LEAST_IOU = 0.1
_AXES = ("slice", "row", "column")

Box = Sequence[float]


@dataclass(frozen=True, eq=False)
class Image:
    """A case's boxes: low, then high edges.

    Attributes:
        hits: Of each found box the number of the reference that it hits; `MISSED`; `NOT_COUNTED`.
    """

    reference: list[Box]
    labels: list[int]
    found: list[Box]
    found_labels: list[int]
    scores: list[float]
    spacing: list[float]
    hits: list[int]

    def longest(self, box: Box) -> float:
        half = len(box) // 2
        sides = [(box[half + k] - box[k]) * self.spacing[k] for k in range(half)]
        return math.nan if any(math.isnan(side) for side in sides) else max(sides)


def joined(cases: Table, boxes: Sequence[Any]) -> Table:
    """Returns cases with their boxes."""
    of: dict[str, dict[str, list[Any]]] = {}
    for row in boxes:
        axes = [axis for axis in _AXES if f"{axis}_low" in row]
        held = of.setdefault(row["record_uid"], {name: [] for name in _LISTS})
        edges = [float(row[f"{axis}_{side}"]) for side in ("low", "high") for axis in axes]
        held["spacing_mm"] = [_number(row[f"{axis}_mm"]) for axis in axes]
        if row["what"] == "reference":
            held["reference"].append(edges)
            held["labels"].append(int(row["class"]))
        else:
            held["found"].append(edges)
            held["found_labels"].append(int(row["class"]))
            held["scores"].append(float(row["score"]))
    none: dict[str, list[Any]] = {name: [] for name in _LISTS}
    texts = {uid: {name: json.dumps(value) for name, value in lists.items()} for uid, lists in of.items()}
    empty = {name: json.dumps(value) for name, value in none.items()}
    return Table([{**row, **texts.get(row["record_uid"], empty)} for row in cases.rows])


_LISTS = ("reference", "labels", "found", "scores", "found_labels", "spacing_mm")


def _number(text: str) -> float | None:
    return None if text in ("", "nan") else float(text)


@functools.lru_cache(64)
def images(table: Table) -> list[Image]:
    """Returns the boxes of all cases."""
    made = []
    for row in table.rows:
        held: dict[str, Any] = {name: json.loads(row[name]) for name in _LISTS}
        spacing = [math.nan if size is None else size for size in held.pop("spacing_mm")]
        made.append(Image(**held, spacing=spacing, hits=_hits(**held)))
    return made


def _size(box: Box) -> float:
    half = len(box) // 2
    return math.prod(box[half + k] - box[k] for k in range(half))


def _shared(a: Box, b: Box) -> float:
    half = len(a) // 2
    return math.prod(max(0.0, min(a[half + k], b[half + k]) - max(a[k], b[k])) for k in range(half))


def iou(a: Box, b: Box, *, crowd: bool = False) -> float:
    """Returns the overlap of a found box with a reference; of a region its share inside."""
    both = _shared(a, b)
    whole = _size(a) if crowd else _size(a) + _size(b) - both
    return both / whole if whole > 0 else 0.0


def _hits(
    reference: list[Box], labels: list[int], found: list[Box], found_labels: list[int], scores: list[float]
) -> list[int]:
    hits, taken = [NOT_COUNTED if label == -1 else MISSED for label in found_labels], set()
    for row in sorted(range(len(found)), key=lambda row: -scores[row]):
        fitting = [
            (iou(found[row], box), -place)
            for place, box in enumerate(reference)
            if labels[place] == found_labels[row] >= 0 and iou(found[row], box) >= _LEAST_IOU
        ]
        free = [(overlap, place) for overlap, place in fitting if -place not in taken]
        if fitting:
            hits[row] = -max(free or fitting)[1]
            taken.add(hits[row])
    regions = [box for box, label in zip(reference, labels) if label == REGION]
    for row, box in enumerate(found):
        if hits[row] == MISSED and any(_size(box) > 0 and _shared(box, one) / _size(box) >= 0.5 for one in regions):
            hits[row] = NOT_COUNTED
    return hits


def highest(image: Image) -> float:
    """Returns the highest score of a box that counts."""
    return max((score for score, hit in zip(image.scores, image.hits) if hit != NOT_COUNTED), default=-math.inf)


def lesions(image: Image, label: int | None = None) -> list[int]:
    """Returns the numbers of the references that count."""
    return [place for place, one in enumerate(image.labels) if one >= 0 and label in (None, one)]


def best(image: Image) -> dict[int, float]:
    """Returns the highest score of the boxes that hit each reference."""
    found: dict[int, float] = {}
    for score, hit in zip(image.scores, image.hits):
        if hit >= 0:
            found[hit] = max(score, found.get(hit, -math.inf))
    return found


def counts_at(table: Table, threshold: float, label: int | None = None) -> np.ndarray:
    """Returns hits, false positives and misses of each case."""
    listed = []
    for image in images(table):
        there = lesions(image, label)
        rated = best(image)
        hit = sum(rated.get(place, -math.inf) >= threshold for place in there)
        false = sum(
            one == MISSED and score >= threshold and label in (None, of)
            for one, score, of in zip(image.hits, image.scores, image.found_labels)
        )
        listed.append((hit, false, len(there) - hit))
    return np.array(listed, float).reshape(-1, 3)


@functools.lru_cache(64)
def froc(table: Table) -> list[tuple[float, float, float]]:
    """Returns score, hits and false positives at each observed score, highest first."""
    listed = images(table)
    rated = [score for image in listed for score in best(image).values()]
    false = [score for image in listed for score, hit in zip(image.scores, image.hits) if hit == MISSED]
    seen = {score for image in listed for score, hit in zip(image.scores, image.hits) if hit != NOT_COUNTED}
    rated, false = sorted(-score for score in rated), sorted(-score for score in false)
    return [
        (score, bisect.bisect_right(rated, -score), bisect.bisect_right(false, -score))
        for score in sorted(seen, reverse=True)
    ]


def sensitivity(table: Table, rates: Sequence[float]) -> Statistic:
    """Returns the mean sensitivity at these rates of false positives an image."""
    listed = images(table)
    rated = [(score, number) for number, image in enumerate(listed) for score in best(image).values()]
    false = [
        (score, number)
        for number, image in enumerate(listed)
        for score, hit in zip(image.scores, image.hits)
        if hit == MISSED
    ]
    there = np.array([len(lesions(image)) for image in listed], float)
    at = np.array(sorted({score for score, _ in rated}, reverse=True))
    right, wrong = (
        np.array([[score >= t for t in at] for score, _ in some], float).reshape(len(some), at.size)
        for some in (rated, false)
    )
    of_right, of_wrong = (np.array([number for _, number in some], int) for some in (rated, false))

    def of(rows: np.ndarray) -> float:
        times = np.bincount(rows, minlength=len(listed))
        total = times @ there
        hits, mistakes = times[of_right] @ right, times[of_wrong] @ wrong
        found = []
        for rate in rates:
            reached = hits[mistakes <= rate * rows.size * (1 + 1e-12)]
            found.append(plain.share(max(reached, default=0.0), total))
        return float(np.mean(found))

    return of


def jafroc(table: Table) -> Statistic:
    """Returns how often a lesion is rated above the highest mark of a case without."""
    listed = images(table)
    ratings = [
        (number, best(image).get(place, -math.inf)) for number, image in enumerate(listed) for place in lesions(image)
    ]
    return rated_above(ratings, [highest(image) for image in listed], [not lesions(image) for image in listed])


def rated_above(ratings: Sequence[tuple[int, float]], marks: Sequence[float], normal: Sequence[bool]) -> Statistic:
    """Returns JAFROC of lesions (case, rating) and the highest mark of each case."""
    of_normal = [number for number, is_normal in enumerate(normal) if is_normal]
    wins = np.array(
        [[(rating > marks[k]) + 0.5 * (rating == marks[k]) for k in of_normal] for _, rating in ratings], float
    ).reshape(len(ratings), len(of_normal))
    owner = np.array([number for number, _ in ratings], int)

    def of(rows: np.ndarray) -> float:
        times = np.bincount(rows, minlength=len(marks))
        lesion, case = times[owner], times[of_normal]
        return plain.share(float(lesion @ wins @ case), float(lesion.sum() * case.sum()))

    return of


@dataclass(frozen=True, eq=False)
class Ranked:
    """A class's found boxes of all images by COCO's rules, best first.

    Attributes:
        image: Of which image each is, (n,).
        hit: (n, thresholds) bool.
        ignored: (n, thresholds) bool: in a region.
        references: How many each image has, (images,).
    """

    image: np.ndarray
    hit: np.ndarray
    ignored: np.ndarray
    references: np.ndarray


@functools.lru_cache(256)
def ranked(table: Table, label: int) -> Ranked:
    """Returns what is right by COCO's rules."""
    listed: list[tuple[float, int, list[bool], list[bool]]] = []
    for number, image in enumerate(images(table)):
        references = [(box, False) for box, one in zip(image.reference, image.labels) if one == label]
        references += [(box, True) for box, one in zip(image.reference, image.labels) if one == REGION]
        mine = [(score, box) for score, box, one in zip(image.scores, image.found, image.found_labels) if one == label]
        mine = sorted(mine, key=lambda one: -one[0])[:_MOST]
        told = [_matched([box for _, box in mine], references, at) for at in THRESHOLDS]
        for place, (score, _) in enumerate(mine):
            listed.append((score, number, [one[place][0] for one in told], [one[place][1] for one in told]))
    listed.sort(key=lambda one: -one[0])
    of_image = np.array([sum(one == label for one in image.labels) for image in images(table)], float)
    right, region = [one[2] for one in listed], [one[3] for one in listed]
    hit, ignored = (np.array(some, bool).reshape(len(listed), len(THRESHOLDS)) for some in (right, region))
    return Ranked(np.array([one[1] for one in listed], int), hit, ignored, of_image)


def _matched(found: list[Box], references: list[tuple[Box, bool]], least: float) -> list[tuple[bool, bool]]:
    """Returns of each found box whether it matched, and whether what it matched is a region."""
    taken: set[int] = set()
    told = []
    for box in found:
        chosen, overlap, of_region = -1, least, False
        for place, (reference, is_region) in enumerate(references):
            if place in taken or (chosen >= 0 and is_region and not of_region):
                continue
            here = iou(box, reference, crowd=is_region)
            if here >= overlap:
                chosen, overlap, of_region = place, here, is_region
        if chosen >= 0 and not of_region:
            taken.add(chosen)
        told.append((chosen >= 0, of_region))
    return told


def precision(of: Ranked, threshold: int, times: np.ndarray) -> np.ndarray:
    """Returns the best precision at each of 101 recalls or a higher one; nan without references."""
    total = float(times @ of.references)
    if not total:
        return np.full(RECALLS.size, math.nan)
    counted = ~of.ignored[:, threshold]
    weight, hit = times[of.image][counted], of.hit[counted, threshold]
    right, wrong = np.cumsum(weight * hit), np.cumsum(weight * ~hit)
    there = right + wrong > 0
    right, wrong = right[there], wrong[there]
    envelope = np.maximum.accumulate((right / (right + wrong))[::-1])[::-1] if right.size else right
    place = np.searchsorted(right / total, RECALLS, side="left")
    return np.array([envelope[k] if k < envelope.size else 0.0 for k in place])


def average_precision(table: Table, labels: Sequence[int], thresholds: Sequence[int]) -> Statistic:
    """Returns the mean average precision over classes with references, then over thresholds."""
    count = len(table)

    def of(rows: np.ndarray) -> float:
        times = np.bincount(rows, minlength=count).astype(float)
        of_classes = [ranked(table, label) for label in labels]
        known = [one for one in of_classes if times @ one.references > 0]
        found = [np.mean([precision(one, at, times).mean() for one in known]) for at in thresholds if known]
        return float(np.mean(found)) if found else math.nan

    return of


def measure(table: Table, name: str, classes: int) -> Statistic:
    """Returns a detector's figure by its name."""
    if name in ("mAP50", "mAP"):
        return average_precision(table, range(classes), range(1 if name == "mAP50" else len(THRESHOLDS)))
    if name == "CPM":
        return sensitivity(table, RATES)
    if name == "JAFROC":
        return jafroc(table)
    above, _, below = name.removeprefix("sensitivity at ").removesuffix(" FP/image").partition("/")
    return sensitivity(table, [float(above) / float(below or 1)])


def holds(table: Table, label: int) -> np.ndarray:
    """Returns whether images hold a class; nan where only a region is drawn."""
    return np.array(
        [1.0 if label in one.labels else math.nan if REGION in one.labels else 0.0 for one in images(table)]
    )


def surest(table: Table, label: int) -> np.ndarray:
    """Returns the highest score of a class in each image."""
    return np.array(
        [
            max((score for score, of in zip(one.scores, one.found_labels) if of == label), default=0.0)
            for one in images(table)
        ]
    )
