"""How well boxes were found: average precision, FROC, JAFROC, questions of whole images, the operating point.

Rows of such cases hold lists beside plain numbers: `reference`, `labels`, `found`, `scores`, `found_labels` and
`spacing_mm` (see `metrics.box_hits.Boxes`); `box_table` writes them as a table of their own.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from radkit import config
from radkit.errors import UserError, did_you_mean
from radkit.evaluation.cases import Cases
from radkit.evaluation.endpoints import Endpoint, OperatingPoint
from radkit.evaluation.measures import Measure
from radkit.evaluation.plan import Plan
from radkit.metrics import box_hits, coco, detection, detection_resampling, detection_summary, inputs, weighted_numbers

LISTS = ("reference", "labels", "found", "scores", "found_labels", "spacing_mm")
POINT = "boxes"  # the operating point's name
RULES = ("fp_per_image", "min_sensitivity")
HIT = f"a hit is a found box of the same class with an IoU of at least {box_hits.LEAST_IOU:g}, best score first"
_COCO = "COCO's rules (Lin et al. 2014), at most 100 boxes an image and class, mean over classes"


@dataclass(frozen=True, eq=False)
class Held:
    """All images' boxes, compared once.

    Attributes:
        images: Case by case.
        together: What was found and known; `patient` there is the number of the case.
        matches: By COCO's rules.
        references: How many count, (cases, classes).
        highest: The highest score of a found box that counts, (cases,); -inf: there is none.
    """

    images: Sequence[box_hits.Boxes]
    together: detection_summary.All
    matches: coco.Matches
    references: np.ndarray
    highest: np.ndarray


def class_names(data: config.Data) -> tuple[str, ...]:
    """Returns the names of classes 0, 1, ...: all of `data.box_labels` that are no regions to ignore.

    >>> class_names(config.Data("d", box_labels=("nodule", "unsure"), ignored_boxes=("unsure",)))
    ('nodule',)
    """
    return data.box_labels[: len(data.box_labels) - len(data.ignored_boxes)]


@functools.lru_cache(8)
def held(cases: Cases, classes: int) -> Held:
    """Returns all images' boxes, compared once.

    Args:
        cases: With boxes.
        classes: How many there are.

    Raises:
        UserError: Rows without boxes, a class that has no name, or what is no box.
    """
    if missing := [name for name in LISTS if not cases.has(name)]:
        raise UserError(f"boxes of cases need {', '.join(LISTS)}; {', '.join(missing)} is missing: read boxes.csv, too")
    images = [image_of(row) for row in cases.rows]
    owner = np.arange(len(images))
    together = detection_summary.together_of(images, owner, "iou", box_hits.LEAST_IOU)
    reference, found = detection_summary.coco_boxes(images, classes)
    references = np.zeros((len(images), classes))
    np.add.at(references, (together.patient, together.class_of), 1)
    highest = np.full(len(images), -math.inf)
    np.maximum.at(highest, together.marks.patient, together.marks.score)
    return Held(images, together, coco.match(reference, found, classes), references, highest)


def image_of(row: Mapping[str, Any]) -> box_hits.Boxes:
    """Returns a case's boxes.

    Raises:
        UserError: A score that is no number.
    """
    edges = 2 * len(row["spacing_mm"])
    of = {name: row[name] for name in LISTS}
    for name in ("reference", "found"):
        of[name] = np.asarray(of[name], np.float64).reshape(-1, edges)
    inputs.scores("scores of found boxes", of["scores"])
    return box_hits.Boxes(str(row["patient_id"]), **of)


def measures(names: Sequence[str]) -> list[Measure]:
    """Returns the figures of a detector.

    Args:
        names: Of class 0, 1, ...
    """
    classes = len(names)
    rates = [_at_rate(rate, classes) for rate in detection_summary.RATES]
    cpm = f"mean of the sensitivities at 1/8, 1/4 ... 8 false positives an image (FROC); {HIT}"
    jafroc = (
        "how often a lesion's mark is rated above the highest mark of an image without lesions; what is not marked is "
        f"below all (JAFROC, Chakraborty and Berbaum 2004); {HIT}"
    )
    return [
        Measure("mAP50", f"average precision at IoU 0.5, {_COCO}", _precision(classes, slice(0, 1)), leads=True),
        Measure("mAP", f"average precision, mean over IoU 0.5 ... 0.95, {_COCO}", _precision(classes, slice(None))),
        *rates,
        Measure("CPM", cpm, _sensitivity(classes, detection_summary.RATES)),
        Measure("JAFROC", jafroc, functools.partial(_jafroc, classes)),
    ]


def endpoints(names: Sequence[str]) -> list[Endpoint]:
    """Returns what is asked of whole images: whether they hold a class, as sure as its best box.

    Where only a region to ignore is drawn, the answer is unknown. An image in which nothing was found scores 0.

    Args:
        names: Of class 0, 1, ...
    """
    return [
        Endpoint(
            f"image with {name}",
            functools.partial(_holds, label),
            functools.partial(_surest, label),
            probable=False,
        )
        for label, name in enumerate(names)
    ]


def choose(cases: Cases, names: Sequence[str], rule: str, value: float, chosen_on: str) -> OperatingPoint:
    """Returns the score from which on a found box counts.

    Args:
        cases: On which it is chosen.
        names: Of class 0, 1, ...
        rule: `fp_per_image`: the lowest observed score with at most `value` false positives an image;
            `min_sensitivity`: the highest one with at least this share of lesions found.
        value: See `rule`.
        chosen_on: The cases' split.

    Returns:
        The point; threshold nan where no score meets the rule. Sensitivity is that for lesions, specificity the share
        of images without lesions in which nothing is marked.

    Raises:
        UserError: An unknown rule, or a value that cannot be met.
    """
    _check(rule, value)
    of = held(cases, len(names))
    curve = detection.curve(of.together.marks.lesion, of.together.marks.score)
    lesions = of.together.patient.size
    if rule == "fp_per_image":
        place = curve.place(value * len(cases))
    else:
        enough = np.flatnonzero(curve.hits >= value * lesions * (1 - 1e-12)) if lesions else np.zeros(0, int)
        place = int(enough[0]) if enough.size else -1
    threshold = float(curve.score[place]) if place >= 0 else math.nan
    share = curve.hits[place] / lesions if place >= 0 and lesions else math.nan
    empty = of.together.marks.lesions == 0
    quiet = float((of.highest[empty] < threshold).mean()) if empty.any() and place >= 0 else math.nan
    return OperatingPoint(POINT, rule, float(value), threshold, chosen_on, len(cases), float(share), quiet)


def point(cases: Cases, plan: Plan) -> OperatingPoint:
    """Returns the plan's operating point of boxes; where it has none the lowest score with 1 false positive an image.

    Such a point is chosen on the very cases that it is told of (`chosen_on` is empty), so its figures flatter.
    """
    given = next((one for one in plan.points if one.name == POINT), None)
    return given or choose(cases, class_names(plan.data), "fp_per_image", detection_summary.AT_RATE, "")


def in_words(chosen: OperatingPoint) -> str:
    """Returns how an operating point of boxes came about."""
    if not chosen.chosen_on or chosen.value is None:
        return (
            "no operating point of boxes was chosen beforehand: this one lets through 1 false positive an image of "
            "these very cases, so its figures flatter"
        )
    plural = "" if chosen.value == 1 else "s"
    rules = {
        "fp_per_image": f"the lowest score with at most {chosen.value:g} false positive{plural} an image",
        "min_sensitivity": f"the highest score with a sensitivity of at least {chosen.value:g}",
    }
    return f"{rules.get(chosen.rule, chosen.rule)}, chosen on the {chosen.chosen_on} split"


def found_at(of: Held, threshold: float) -> np.ndarray:
    """Returns which references are hit by a box of at least a score, (references,) bool; none at nan."""
    marks = of.together.marks
    hit = marks.lesion[(marks.lesion >= 0) & (marks.score >= threshold)]
    return np.bincount(hit, minlength=of.together.patient.size) > 0


def counts_at(of: Held, threshold: float, label: int | None = None) -> np.ndarray:
    """Returns hits (references), false positives and misses of each case, (cases, 3) float64.

    Args:
        of: All boxes.
        threshold: From which score on a found box counts; nan: none does.
        label: Of which class; None: of all.
    """
    hit, marks = found_at(of, threshold), of.together.marks
    owner, wrong = of.together.patient, (marks.lesion < 0) & (marks.score >= threshold)
    if label is not None:
        mine = of.together.class_of == label
        hit, owner, wrong = hit[mine], owner[mine], wrong & (of.together.label == label)
    rows = (owner[hit], marks.patient[wrong], owner[~hit])
    return np.stack([np.bincount(row, minlength=len(of.images)) for row in rows], axis=1).astype(np.float64)


def of_class(of: Held, label: int) -> Callable[[Cases, np.ndarray], np.ndarray]:
    """Returns a class's average precision at IoU 0.5, (cases, weights (draws, n)) -> (draws,)."""
    rows = of.matches.found.label == label
    found = of.matches.found.taken(rows)
    alone = coco.Matches(
        dataclasses.replace(found, label=np.zeros_like(found.label)),
        of.matches.rows[rows],
        of.matches.rank[rows],
        of.matches.hit[rows, :1],
        of.matches.ignored[rows, :1],
        of.matches.num_reference[[label]],
    )

    def precision(cases: Cases, weights: np.ndarray) -> np.ndarray:
        del cases
        drawn = weights.astype(np.float32)
        return detection_resampling.average_precision(alone, found.image, of.references[:, [label]], drawn)[:, 0]

    return precision


def _precision(classes: int, thresholds: slice) -> Callable[[Cases, np.ndarray], np.ndarray]:
    def of(cases: Cases, weights: np.ndarray) -> np.ndarray:
        everything = held(cases, classes)
        matches = everything.matches
        some = dataclasses.replace(matches, hit=matches.hit[:, thresholds], ignored=matches.ignored[:, thresholds])
        drawn = weights.astype(np.float32)
        found = detection_resampling.average_precision(some, matches.found.image, everything.references, drawn)
        return np.asarray(found.mean(axis=1))

    return of


def _at_rate(rate: float, classes: int) -> Measure:
    per = f"{rate:g}" if rate >= 1 else f"1/{1 / rate:g}"
    words = (
        f"share of lesions that are hit at the lowest score with at most {per} false positives an image (FROC, "
        f"Bunch et al. 1978); {HIT}"
    )
    of = _sensitivity(classes, np.array([rate]))
    return Measure(f"sensitivity at {per} FP/image", words, of, leads=rate == detection_summary.AT_RATE)


def _sensitivity(classes: int, rates: np.ndarray) -> Callable[[Cases, np.ndarray], np.ndarray]:
    def of(cases: Cases, weights: np.ndarray) -> np.ndarray:
        marks = held(cases, classes).together.marks
        found = detection_resampling.sensitivity(marks, rates, weights.astype(np.float32))
        return np.asarray(found.mean(axis=1), np.float64)

    return of


def _jafroc(classes: int, cases: Cases, weights: np.ndarray) -> np.ndarray:
    of = held(cases, classes)
    marks = of.together.marks
    normal = np.flatnonzero(marks.lesions == 0)
    normal = normal[np.argsort(of.highest[normal], kind="stable")]
    rating = np.full(of.together.patient.size, -math.inf)
    hit = marks.lesion >= 0
    np.maximum.at(rating, marks.lesion[hit], marks.score[hit])
    before = np.concatenate([np.zeros((len(weights), 1)), np.cumsum(weights[:, normal], axis=1)], axis=1)
    places = [np.searchsorted(of.highest[normal], rating, side=side) for side in ("left", "right")]  # type: ignore[call-overload]
    # A lesion counts as often as its image.
    above = ((before[:, places[0]] + before[:, places[1]]) / 2 * weights[:, of.together.patient]).sum(axis=1)
    return weighted_numbers.ratio(above, before[:, -1] * weights[:, of.together.patient].sum(axis=1))


def _holds(label: int, cases: Cases) -> np.ndarray:
    truth = []
    for row in cases.rows:
        labels = np.asarray(row["labels"], np.int64)
        unknown = (labels == box_hits.REGION).any()
        truth.append(1.0 if (labels == label).any() else math.nan if unknown else 0.0)
    return np.array(truth)


def _surest(label: int, cases: Cases) -> np.ndarray:
    return np.array(
        [
            max((score for score, of in zip(row["scores"], row["found_labels"]) if of == label), default=0.0)
            for row in cases.rows
        ],
        np.float64,
    )


def _check(rule: str, value: float) -> None:
    if rule not in RULES:
        raise UserError(f"no rule of a detector is named {rule!r}{did_you_mean(rule, RULES)}; there are {RULES}")
    if rule == "min_sensitivity" and value != 1:
        inputs.share("min_sensitivity", value)
    if not 0 < value < math.inf:
        raise UserError(f"{rule} must be above 0, not {value!r}")
