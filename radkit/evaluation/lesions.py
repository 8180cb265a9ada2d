"""Lesion by lesion: FROC, precision and recall, classes and operating point of a detector; connected parts of masks."""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from radkit.evaluation import boxes, masks, measures
from radkit.evaluation.cases import Cases
from radkit.evaluation.measures import Measure
from radkit.evaluation.plan import Plan
from radkit.metrics import coco, detection, weighted_numbers

MOST_POINTS = 500  # of a curve that are saved
PARTS_METHOD = (
    "lesions are the connected parts of a label's mask, by corners; reference and model are matched one to one, a hit "
    f"is an IoU of at least {masks.LEAST_IOU:g}; counts are added over cases; cases without a labelled voxel are left "
    "out"
)
_KINDS = ("hits", "false_positives", "misses")


def tell(cases: Cases, plan: Plan) -> dict[str, Any] | None:
    """Returns what is told of lesions; None of cases that have none.

    Args:
        cases: The table; of a detector with boxes.
        plan: The evaluation.

    Returns:
        Of boxes: kind `boxes`, n (images), num_patients, num_reference, num_found, rule, froc (score, fp_per_image,
        sensitivity: at most 500 points, ends kept; n, method), precision_recall (of each class with references: name,
        n, recall, precision, method), operating_point (its fields, told, counts: hits, false_positives, misses, and
        figures), classes (name, num_reference, num_found, figures).

        Of masks: kind `masks`, n, num_patients, method, labels: name, n, unknown, both_empty, missed, invented (cases),
        num_at_worst (cases whose distance is set to the diagonal), parts (reference, found, hit), figures.
    """
    if cases.has("found_labels"):
        return _of_boxes(cases, plan)
    labels = [name.removeprefix("parts_hit ") for name in cases.rows[0] if name.startswith("parts_hit ")]
    if not labels:
        return None
    return {
        "kind": "masks",
        "n": int(masks.known(cases).sum()),
        "num_patients": len(np.unique(cases.patients[masks.known(cases)])),
        "method": PARTS_METHOD,
        "labels": [_of_label(label, cases, plan) for label in labels],
    }


def of_counts(of: Callable[[Cases], np.ndarray], known: Callable[[Cases], np.ndarray], what: str) -> list[Measure]:
    """Returns sensitivity, precision, F1 and false positives of counts that are added over cases.

    Args:
        of: (cases) -> hits, false positives and misses, (n, 3) float64.
        known: (cases) -> which count, (n,) bool.
        what: Lesions are, as `boxes`.
    """
    words = (
        ("sensitivity", f"hits over all {what} of the reference", "higher"),
        ("precision", f"hits over hits and false positives, by {what}", "higher"),
        ("F1", f"2 hits over 2 hits, false positives and misses, by {what}", "higher"),
        ("false positives per case", f"{what} that hit nothing, mean over cases", "lower"),
    )
    return [
        Measure(name, told, functools.partial(_of_counts, name, of, known), known, better=better)
        for name, told, better in words
    ]


def _of_counts(
    name: str,
    of: Callable[[Cases], np.ndarray],
    known: Callable[[Cases], np.ndarray],
    cases: Cases,
    weights: np.ndarray,
) -> np.ndarray:
    kept = weights * known(cases)
    hits, false, misses = (kept @ of(cases)).T
    quotients = {
        "sensitivity": (hits, hits + misses),
        "precision": (hits, hits + false),
        "F1": (2 * hits, 2 * hits + false + misses),
        "false positives per case": (false, kept.sum(axis=1)),
    }
    return weighted_numbers.ratio(*quotients[name])


def _of_label(label: str, cases: Cases, plan: Plan) -> dict[str, Any]:
    known = masks.known(cases)
    there, found = (known & (cases.numbers(f"{side}_voxels {label}") > 0) for side in ("ref", "pred"))
    parts = _parts(label, cases)[known].sum(axis=0)
    hits, false, misses = (int(count) for count in parts)
    asked = of_counts(functools.partial(_parts, label), masks.known, "parts")
    return {
        "name": label,
        "n": int(known.sum()),
        "unknown": int((~known).sum()),
        "both_empty": int((known & ~there & ~found).sum()),
        "missed": int((there & ~found).sum()),
        "invented": int((found & ~there).sum()),
        "num_at_worst": masks.num_at_worst(cases, f"hd95_mm {label}"),
        "parts": {"reference": hits + misses, "found": hits + false, "hit": hits},
        "figures": [measures.figure(one, cases, plan.draws) for one in asked],
    }


def _parts(label: str, cases: Cases) -> np.ndarray:
    reference, found, hit = (cases.numbers(f"{name} {label}") for name in ("parts", "parts_found", "parts_hit"))
    return np.stack([hit, found - hit, reference - hit], axis=1)


def _of_boxes(cases: Cases, plan: Plan) -> dict[str, Any]:
    names = boxes.class_names(plan.data)
    of = boxes.held(cases, len(names))
    point = boxes.point(cases, plan)
    counts = boxes.counts_at(of, point.threshold)
    hits, false, misses = (int(count) for count in counts.sum(axis=0))
    everyone = np.ones(len(cases), bool)
    asked = of_counts(lambda _: counts, lambda _: everyone, "boxes")
    return {
        "kind": "boxes",
        "n": len(cases),
        "num_patients": cases.num_patients,
        "num_reference": int(of.together.patient.size),
        "num_found": int(of.together.label.size),
        "rule": boxes.HIT,
        "froc": _froc(of, len(cases)),
        "precision_recall": [
            {
                "name": name,
                "n": int(of.matches.num_reference[label, 0]),
                "recall": coco.RECALLS.tolist(),
                "precision": coco.curve(of.matches, label).tolist(),
                "method": "IoU of at least 0.5, COCO's rules: at each recall the best precision at it or a higher one",
            }
            for label, name in enumerate(names)
            if of.matches.num_reference[label, 0]
        ],
        "operating_point": {
            **dataclasses.asdict(point),
            "told": boxes.in_words(point),
            "counts": dict(zip(_KINDS, (hits, false, misses))),
            "figures": [measures.figure(one, cases, plan.draws) for one in asked],
        },
        "classes": [_of_class(label, name, of, point.threshold, cases, plan) for label, name in enumerate(names)],
    }


def _froc(of: boxes.Held, images: int) -> dict[str, Any]:
    curve, lesions = detection.curve(of.together.marks.lesion, of.together.marks.score), of.together.patient.size
    points = curve.score.size if lesions else 0
    kept = np.unique(np.linspace(0, points - 1, min(MOST_POINTS, points)).round().astype(int))
    return {
        "n": int(lesions),
        "score": curve.score[kept].tolist(),
        "fp_per_image": (curve.false_positives[kept] / images).tolist(),
        "sensitivity": (curve.hits[kept] / max(lesions, 1)).tolist(),
        "method": f"at each observed score (Bunch et al. 1978); {boxes.HIT}",
    }


def _of_class(label: int, name: str, of: boxes.Held, threshold: float, cases: Cases, plan: Plan) -> dict[str, Any]:
    counts = boxes.counts_at(of, threshold, label)
    precision = boxes.of_class(of, label)
    everyone = np.ones(len(cases), bool)
    asked = [
        Measure("AP50", "average precision at IoU 0.5, COCO's rules", precision),
        *of_counts(lambda _: counts, lambda _: everyone, "boxes"),
    ]
    return {
        "name": name,
        "num_reference": int((of.together.class_of == label).sum()),
        "num_found": int((of.together.label == label).sum()),
        "figures": [measures.figure(one, cases, plan.draws) for one in asked],
        "threshold": threshold if math.isfinite(threshold) else None,
    }
