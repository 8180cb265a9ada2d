"""A made-up detector's evaluation for the report's tests: bright lesions, most of them found, and what is none."""

from typing import Any

import numpy as np

from radkit.metrics import box_hits, detection_summary
from radkit.reports import evaluation_detection
from tests.reports import made_up

LABELS = ("nodule", "mass")
SPACING_MM = (2.0, 0.8, 0.8)
SHAPE = (24, 160, 200)


def boxes(number: int, rank: int) -> dict[str, Any]:
    """Returns an image's boxes as `Boxes` and `DetectionCase` both take them; every third image holds none."""
    generator = np.random.default_rng(number)
    shape = np.array(SHAPE[-rank:])
    reference, labels, found, scores, found_labels = ([] for _ in range(5))
    for _ in range(number % 3):
        label = int(generator.integers(2))
        sides = np.array([3, 8, 9][-rank:]) * (1 + 3 * label)
        low = generator.integers(0, shape - np.minimum(sides, shape - 1))
        sides = np.minimum(sides, shape - low)
        reference.append([*low, *(low + sides)])
        labels.append(label)
        if generator.random() < 0.85:
            moved = low + generator.normal(0, 0.08, rank) * sides
            found.append([*moved, *(moved + sides)])
            scores.append(float(generator.uniform(0.4, 1)))
            found_labels.append(label)
    for _ in range(generator.integers(0, 4)):
        low = generator.uniform(0, shape - 12 if rank == 2 else shape - [4, 12, 12])
        found.append([*low, *(low + 4)])
        scores.append(float(generator.uniform(0, 0.7)))
        found_labels.append(int(generator.integers(2)))
    return {
        "reference": np.array(reference).reshape(-1, 2 * rank),
        "labels": labels,
        "found": np.array(found).reshape(-1, 2 * rank),
        "scores": scores,
        "found_labels": found_labels,
    }


def case(number: int, rank: int) -> evaluation_detection.DetectionCase:
    """Returns an image to draw."""
    listed = boxes(number, rank)
    image = np.random.default_rng(number).normal(size=(1, *SHAPE[1:]) if rank == 2 else SHAPE)
    for box in listed["reference"].astype(int):
        image[(..., *[slice(low, high) for low, high in zip(box[:rank], box[rank:])])] += 3
    return evaluation_detection.DetectionCase(f"case-{number:02d}", image, SPACING_MM, **listed)


def detection(n: int = 15, rank: int = 3) -> dict[str, Any]:
    """Returns the arguments of `detection_page`."""
    images = [
        box_hits.Boxes(f"patient {number // 2}", **boxes(number, rank), spacing_mm=SPACING_MM[-rank:])
        for number in range(n)
    ]
    summary = detection_summary.of(images, LABELS, resamples=50)
    cases = [
        {"name": f"case-{k:02d}", "patient_id": "p", **box_hits.counts(one, summary["threshold"])}
        for k, one in enumerate(images)
    ]
    return {
        "title": "Lung nodules on CT",
        "summary": summary,
        "cases": cases,
        "labels": LABELS,
        "drawn": [case(k, rank) for k in (5, 0)],
        "history": made_up.HISTORY,
    }
