"""What is told of a detector: average precision and FROC sensitivities with intervals over patients, by class and size.

Figures are those of `coco.coco_map` and `detection.froc`; for the intervals whole patients are drawn.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from radkit.errors import UserError
from radkit.metrics import box_hits, coco, detection, detection_resampling
from radkit.metrics import boxes as geometry

RATES = np.array(detection.RATES)  # false positives per image
AT_RATE = 1.0  # of these, where sizes and classes are told
SIZE_EDGES_MM = (0.0, 3.0, 6.0, 10.0, 20.0, 30.0, 50.0, 100.0, math.inf)
_MOST_POINTS = 200  # of a curve that is saved
_RULES = {"iou": "an IoU of at least {:g}", "centre": "a centre within the lesion's ellipsoid"}


@dataclass(frozen=True, eq=False)
class All:
    """All images' boxes: m found ones that count, n references.

    Attributes:
        marks: Found boxes and what they hit; of m.
        label: Class of each found box, (m,).
        patient: Number of each reference's patient, (n,).
        class_of: Class of each reference, (n,).
        size_mm: Longest side of each reference, (n,).
    """

    marks: detection_resampling.Marks
    label: np.ndarray
    patient: np.ndarray
    class_of: np.ndarray
    size_mm: np.ndarray


def of(
    images: Sequence[box_hits.Boxes],
    class_names: Sequence[str],
    *,
    rule: box_hits.Rule = "iou",
    least_iou: float = box_hits.LEAST_IOU,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Returns a detector's figures as plain values, nan where one is undefined.

    Args:
        images: All images that were looked at, those without boxes, too.
        class_names: Of class 0, 1, ...
        rule: What a hit is for FROC, sizes and classes: see `box_hits.matched`. Average precision has COCO's rules.
        least_iou: Of rule "iou".
        resamples: Draws of patients for the 95 % percentile intervals; 0: none, and the intervals are nan.
        seed: Of the draws.

    Returns:
        num_cases, num_patients, num_reference, num_found: counts, without padding and what is not counted.
        score: mAP50.
        figures: name -> value, low, high, num_undefined (draws): mAP50, mAP (IoU 0.5 to 0.95), `sensitivity at 1/8
            FP/image` ... `8`, CPM (the mean of these).
        froc: rule (in words), fp_per_image, sensitivity, score (the curve's points, at most 200), rates, value, low,
            high (at the rates).
        precision_recall: class -> recall, precision at IoU 0.5 (101 points).
        threshold: the lowest score with at most 1 false positive per image; nan when there is none.
        sizes: list of size (longest side, in words), n, sensitivity, low, high at this threshold.
        classes: list of name, num_reference, num_found, ap50, ap, sensitivity (at this threshold).

    Raises:
        UserError: No images, a label without a class name, or what `box_hits.matched` refuses.

    Source: COCO: https://arxiv.org/abs/1405.0312; clusters: Field and Welsh 2007,
        https://doi.org/10.1111/j.1467-9868.2007.00593.x.
    """
    if not images:
        raise UserError("a detector's figures need at least one image, with boxes or without; there is none")
    numbers = {name: place for place, name in enumerate(dict.fromkeys(image.patient for image in images))}
    owner = np.array([numbers[image.patient] for image in images])
    together = together_of(images, owner, rule, least_iou)
    reference, found = coco_boxes(images, len(class_names))
    matches = coco.match(reference, found, len(class_names))
    draws = detection_resampling.weights(len(numbers), resamples, seed)
    curve = detection.curve(together.marks.lesion, together.marks.score)
    place = curve.place(AT_RATE * len(images))
    threshold = float(curve.score[place]) if place >= 0 else math.nan
    precision = coco.average_precision(matches)[..., 0]
    figures = _precision_figures(precision, matches, owner, together, draws) | _froc_figures(together.marks, draws)
    return {
        "num_cases": len(images),
        "num_patients": len(numbers),
        "num_reference": together.patient.size,
        "num_found": together.label.size,
        "score": figures["mAP50"]["value"],
        "figures": figures,
        "froc": {
            "rule": _RULES[rule].format(least_iou),
            **_points(curve, together.patient.size, len(images)),
            "rates": RATES.tolist(),
            **{key: [figures[_name(rate)][key] for rate in RATES] for key in ("value", "low", "high")},
        },
        "precision_recall": {
            name: {"recall": coco.RECALLS.tolist(), "precision": coco.curve(matches, label).tolist()}
            for label, name in enumerate(class_names)
            if matches.num_reference[label, 0]
        },
        "threshold": threshold,
        "sizes": _sizes(together, threshold, draws),
        "classes": _classes(together, threshold, precision, class_names),
    }


def _precision_figures(
    precision: np.ndarray, matches: coco.Matches, owner: np.ndarray, together: All, draws: np.ndarray
) -> dict[str, dict[str, float]]:
    references = np.zeros((draws.shape[1], len(precision)))
    np.add.at(references, (together.patient, together.class_of), 1)
    drawn = detection_resampling.average_precision(matches, owner[matches.found.image], references, draws)
    return {
        "mAP50": detection_resampling.interval(coco.mean(precision[:, 0]), drawn[:, 0], draws.shape[1]),
        "mAP": detection_resampling.interval(coco.mean(precision), drawn.mean(axis=1), draws.shape[1]),
    }


def _froc_figures(marks: detection_resampling.Marks, draws: np.ndarray) -> dict[str, dict[str, float]]:
    as_it_is = np.ones((1, draws.shape[1]), np.float32)
    values = detection_resampling.sensitivity(marks, RATES, as_it_is)[0]
    drawn = detection_resampling.sensitivity(marks, RATES, draws)
    at_rates = {
        _name(rate): detection_resampling.interval(values[place], drawn[:, place], draws.shape[1])
        for place, rate in enumerate(RATES)
    }
    return at_rates | {"CPM": detection_resampling.interval(values.mean(), drawn.mean(axis=1), draws.shape[1])}


def _name(rate: float) -> str:
    return f"sensitivity at {rate:g} FP/image" if rate >= 1 else f"sensitivity at 1/{1 / rate:g} FP/image"


def _points(curve: detection.Curve, n_lesions: int, n_images: int) -> dict[str, list[float]]:
    """Returns the curve's points, thinned, the last one kept; none without lesions."""
    if not n_lesions or not curve.score.size:
        return {"fp_per_image": [], "sensitivity": [], "score": []}
    kept = np.unique(np.linspace(0, curve.score.size - 1, min(_MOST_POINTS, curve.score.size)).round().astype(int))
    return {
        "fp_per_image": (curve.false_positives[kept] / n_images).tolist(),
        "sensitivity": (curve.hits[kept] / n_lesions).tolist(),
        "score": curve.score[kept].tolist(),
    }


def _sizes(together: All, threshold: float, draws: np.ndarray) -> list[dict[str, Any]]:
    found = _found(together, threshold)
    of_size = {}
    for low, high in itertools.pairwise(SIZE_EDGES_MM):
        words = f"{low:g} mm and more" if math.isinf(high) else f"{low:g} to below {high:g} mm"
        of_size[words] = (together.size_mm >= low) & (together.size_mm < high)
    of_size["unknown, as the spacing is"] = np.isnan(together.size_mm)
    told = []
    for words, inside in of_size.items():
        if inside.any():
            drawn = detection_resampling.share(found[inside], together.patient[inside], draws)
            figure = detection_resampling.interval(float(found[inside].mean()), drawn, draws.shape[1])
            told.append(
                {"size": words, "n": int(inside.sum()), "sensitivity": figure["value"]}
                | {key: figure[key] for key in ("low", "high")}
            )
    return told


def _classes(
    together: All, threshold: float, precision: np.ndarray, class_names: Sequence[str]
) -> list[dict[str, Any]]:
    found = _found(together, threshold)
    told = []
    for label, name in enumerate(class_names):
        mine = together.class_of == label
        told.append(
            {
                "name": name,
                "num_reference": int(mine.sum()),
                "num_found": int((together.label == label).sum()),
                "ap50": float(precision[label, 0]),
                "ap": coco.mean(precision[label]),
                "sensitivity": float(found[mine].mean()) if mine.any() else math.nan,
            }
        )
    return told


def _found(together: All, threshold: float) -> np.ndarray:
    """Returns which references are hit at a threshold, (n,); none at nan."""
    hit = together.marks.lesion[(together.marks.lesion >= 0) & (together.marks.score >= threshold)]
    return np.bincount(hit, minlength=together.patient.size) > 0


def together_of(images: Sequence[box_hits.Boxes], owner: np.ndarray, rule: box_hits.Rule, least_iou: float) -> All:
    """Returns all images' boxes as one.

    Args:
        images: At least one.
        owner: Number of each image's patient, (images,).
        rule: See `box_hits.matched`.
        least_iou: Likewise.
    """
    found: list[list[np.ndarray]] = []
    known: list[list[np.ndarray]] = []
    before = 0
    for image, patient in zip(images, owner):
        labels = _whole(image.labels)
        number = np.cumsum(labels >= 0) - 1 + before  # of those that count
        hits = image.hits(rule, least_iou)
        counted = hits != box_hits.NOT_COUNTED
        lesion = np.full(hits.size, -1)
        lesion[hits >= 0] = number[hits[hits >= 0]]
        scores = np.asarray(image.scores, np.float64).reshape(-1)
        found.append(
            [np.full(counted.sum(), patient), scores[counted], lesion[counted], _whole(image.found_labels)[counted]]
        )
        sizes = _longest_mm(image)[labels >= 0]
        known.append([np.full(sizes.size, patient), labels[labels >= 0], sizes])
        before += sizes.size
    patient_of, score, lesion, label = (np.concatenate(part) for part in zip(*found))
    of_reference, class_of, size_mm = (np.concatenate(part) for part in zip(*known))
    patients = int(owner.max()) + 1
    lesions, per_patient = np.bincount(of_reference, minlength=patients), np.bincount(owner, minlength=patients)
    marks = detection_resampling.Marks(patient_of, score, lesion, lesions, per_patient)
    return All(marks, label, of_reference, class_of, size_mm)


def _longest_mm(image: box_hits.Boxes) -> np.ndarray:
    boxes = geometry.checked("reference", image.reference)
    axes = boxes.shape[1] // 2
    spacing = np.asarray(image.spacing_mm, np.float64)
    if not len(boxes):
        return np.zeros(0)
    if spacing.shape != (axes,) or (spacing <= 0).any():
        raise UserError(
            f"spacing_mm must be {axes} sizes above 0 (nan: unknown), one an axis of the boxes, not {spacing.tolist()}"
        )
    longest: np.ndarray = ((boxes[:, axes:] - boxes[:, :axes]) * spacing).max(axis=1)
    return longest


def coco_boxes(images: Sequence[box_hits.Boxes], classes: int) -> tuple[coco.Boxes, coco.Boxes]:
    """Returns references and found boxes as COCO's rules need them: a region to ignore is a crowd of every class."""
    reference, found = [], []
    for number, image in enumerate(images):
        boxes, labels = geometry.checked("reference", image.reference), _whole(image.labels)
        regions = np.repeat(boxes[labels == box_hits.REGION], classes, axis=0)
        of_regions = np.tile(np.arange(classes), int((labels == box_hits.REGION).sum()))
        kept = labels >= 0
        reference.append(_as_coco(number, np.concatenate([boxes[kept], regions]), [*labels[kept], *of_regions]))
        reference[-1].crowd[int(kept.sum()) :] = True
        boxes, labels = geometry.checked("found", image.found), _whole(image.found_labels)
        scores = np.asarray(image.scores, np.float64).reshape(-1)
        found.append(_as_coco(number, boxes[labels >= 0], labels[labels >= 0], scores[labels >= 0]))
    edges = max((part.box.shape[1] for part in (*reference, *found)), default=0) or 4
    for part in (*reference, *found):
        if part.label.size and part.label.max() >= classes:
            raise UserError(f"a box has class {part.label.max()}, but there are {classes} class names")
    return coco.joined(reference, edges), coco.joined(found, edges)


def _as_coco(image: int, boxes: np.ndarray, labels: Any, scores: np.ndarray | None = None) -> coco.Boxes:
    label = np.asarray(labels, np.int64).reshape(-1)
    score = np.zeros(label.size) if scores is None else scores
    return coco.Boxes(np.full(label.size, image), label, boxes, score, np.zeros(label.size, bool))


def _whole(labels: Any) -> np.ndarray:
    return np.asarray(labels, np.int64).reshape(-1)
