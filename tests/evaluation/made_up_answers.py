"""Tables of cases, invented: numbers, masks and boxes with their answers."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from radkit import config
from radkit.evaluation import boxes, cases, masks, numbers, plan
from tests.metrics import made_up_boxes

NUMBERS = config.Data("n", label="age", label_kind="regression", label_unit="months")
VOLUMES = config.Data("v", mask_labels=("liver", "lesion"), image_size=(8, 8, 8))
BOXES = config.Data("b", box_labels=("nodule", "mass", "unsure"), ignored_boxes=("unsure",))
DRAWS = cases.Draws(resamples=60)


def of_numbers(seed: int = 0, n: int = 40, per_patient: int = 1) -> cases.Cases:
    """Returns numbers with predictions."""
    generator = np.random.default_rng(seed)
    truth = generator.normal(100, 30, n).round(1)
    found = (truth + generator.normal(3, 8, n)).round(1)
    return cases.Cases(
        [
            {
                "name": f"test {k}",
                "patient_id": f"P{k // per_patient:03d}",
                "record_uid": f"1.{k}",
                "label": float(truth[k]),
                "value": float(found[k]),
                "site": "AB"[k % 2],
            }
            for k in range(n)
        ]
    )


def of_masks(seed: int = 0, n: int = 24, per_patient: int = 1) -> cases.Cases:
    """Returns masks of two labels; of the second some references and some answers are empty."""
    generator = np.random.default_rng(seed)
    rows = []
    for k in range(n):
        reference, found = np.zeros((2, 8, 9, 10), np.uint8)
        low = generator.integers(0, 3, 3)
        reference[tuple(slice(edge, edge + 4) for edge in low)] = 1
        found[tuple(slice(edge, edge + 4) for edge in low + generator.integers(0, 2, 3))] = 1
        if k % 3:
            reference[6:, : 2 + k % 4, 7:] = 2
        if k % 4:
            found[6:, :3, 7:] = 2
        known = np.ones(reference.shape, bool)
        spacing = (2.0, 1.0, 0.5)
        told = masks.detail(reference, found, known, spacing, VOLUMES.mask_labels)
        dice = [2 * int(((reference == v) & (found == v)).sum()) for v in (1, 2)]
        total = [int((reference == v).sum() + (found == v).sum()) for v in (1, 2)]
        shares = [one / of if of else 1.0 for one, of in zip(dice, total)]
        rows.append(
            {
                "name": f"test {k}",
                "patient_id": f"P{k // per_patient:03d}",
                "record_uid": f"1.{k}",
                "dice": sum(shares) / 2,
                "dice liver": shares[0],
                "dice lesion": shares[1],
                "ref_ml": int((reference > 0).sum()) / 1000,
                "pred_ml": int((found > 0).sum()) / 1000,
                **told,
            }
        )
    return cases.Cases(rows)


def of_boxes(seed: int = 0, images: int = 30, rank: int = 2, per_patient: int = 2) -> cases.Cases:
    """Returns boxes of two classes; a fifth of the images has no reference, some hold a region to ignore."""
    gt, dt = made_up_boxes.split(seed, images, 2, rank, largest=15)
    rows = []
    for k, image in enumerate(made_up_boxes.images_of(gt, dt, images, rank, per_patient)):
        labels = [-2 if k % 7 == 6 and place == 0 else int(label) for place, label in enumerate(image.labels)]
        rows.append(
            {
                "name": f"test {k}",
                "patient_id": image.patient,
                "record_uid": f"1.{k}",
                "reference": np.asarray(image.reference).tolist(),
                "labels": labels,
                "found": np.asarray(image.found).tolist(),
                "scores": list(image.scores),
                "found_labels": list(image.found_labels),
                "spacing_mm": [0.5] * rank,
            }
        )
    return cases.Cases(rows)


def plan_of(what: str, draws: cases.Draws = DRAWS, points: Sequence[Any] = ()) -> plan.Plan:
    """Returns the plan of `numbers`, `masks` or `boxes`."""
    if what == "numbers":
        return plan.Plan("regression", NUMBERS, plan.Asked(numbers.measures("months")), draws)
    if what == "masks":
        asked = plan.Asked(masks.measures(VOLUMES.mask_labels), sized_by="ref_ml", size_unit="mL")
        return plan.Plan("segmentation", VOLUMES, asked, draws)
    names = boxes.class_names(BOXES)
    return plan.Plan(
        "detection", BOXES, plan.Asked(boxes.measures(names), boxes.endpoints(names)), draws, points=points
    )


def copied(table: cases.Cases, times: Sequence[int]) -> cases.Cases:
    """Returns cases as often as told, copies side by side."""
    return cases.Cases([row for row, often in zip(table.rows, times) for _ in range(often)])


def changed(table: cases.Cases, place: int, **values: Any) -> cases.Cases:
    """Returns cases of which one says something else; `_` in a name stands for itself."""
    return cases.Cases([{**row, **values} if k == place else row for k, row in enumerate(table.rows)])


def as_json(told: Any) -> Any:
    """Returns what a report's file says: undefined and infinite is null."""
    if isinstance(told, dict):
        return {name: as_json(value) for name, value in told.items()}
    if isinstance(told, list | tuple):
        return [as_json(value) for value in told]
    return None if isinstance(told, float) and not math.isfinite(told) else told
