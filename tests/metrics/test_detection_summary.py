import dataclasses
import math
from typing import Any

import numpy as np
import pytest

from radkit.errors import UserError
from radkit.metrics import METRICS, box_hits, detection_resampling, detection_summary, intervals
from tests.metrics import made_up_boxes


def apart(seed: int, images: int, labels: int = 2, rank: int = 2) -> tuple[Any, Any]:
    """References and found boxes of which no two have one score: ties would be broken by the order of images."""
    gt, dt = made_up_boxes.split(seed, images, labels, rank=rank, largest=30)
    scores = np.random.default_rng(seed).permutation(len(dt)) / max(1, len(dt))
    return gt, [{**one, "score": float(score)} for one, score in zip(dt, scores)]


def marks_of(images: list[box_hits.Boxes]) -> list[dict[str, Any]]:
    return [
        {"image": number, "score": score, "lesion": None if hit < 0 else int(hit)}
        for number, image in enumerate(images)
        for score, hit in zip(np.asarray(image.scores).tolist(), image.hits())
    ]


@pytest.mark.parametrize("rank", [2, 3])
def test_figures_are_those_of_the_metrics(rank: int) -> None:
    gt, dt = apart(4, images=12, rank=rank)
    images = made_up_boxes.images_of(gt, dt, 12, rank)
    told = detection_summary.of(images, ["nodule", "mass"], resamples=20)
    average = METRICS["coco_map"](gt=gt, dt=dt, n_images=12, labels=[0, 1])
    assert told["figures"]["mAP50"]["value"] == told["score"] == pytest.approx(average["ap50"])
    assert told["figures"]["mAP"]["value"] == pytest.approx(average["ap"])
    froc = METRICS["froc"](detections=marks_of(images), n_lesions=len(gt), n_images=12)
    assert told["froc"]["value"] == pytest.approx(froc["sensitivity"])
    assert told["figures"]["CPM"]["value"] == pytest.approx(froc["cpm"])
    assert told["figures"]["sensitivity at 1/8 FP/image"]["value"] == pytest.approx(froc["sensitivity"][0])
    assert (told["num_reference"], told["num_found"], told["num_patients"]) == (len(gt), len(dt), 6)
    for label, row in enumerate(told["classes"]):
        one = METRICS["coco_map"](gt=gt, dt=dt, n_images=12, labels=[label])
        assert (row["ap50"], row["ap"]) == pytest.approx((one["ap50"], one["ap"]))


def copied(gt: Any, dt: Any, counts: list[int]) -> tuple[Any, Any, int]:
    """Each patient's images as often as drawn, the copies of a box a hair below it."""
    drawn: tuple[list[Any], list[Any]] = ([], [])
    number = 0
    for patient, count in enumerate(counts):
        for copy in range(count):
            for image in (2 * patient, 2 * patient + 1):
                drawn[0].extend({**one, "image": number} for one in gt if one["image"] == image)
                drawn[1].extend(
                    {**one, "image": number, "score": one["score"] - copy * 1e-9} for one in dt if one["image"] == image
                )
                number += 1
    return *drawn, number


def test_a_draw_equals_the_images_copied_as_often() -> None:
    gt, dt = apart(7, images=10)
    images = made_up_boxes.images_of(gt, dt, 10)
    weights = detection_resampling.weights(5, 6, seed=3)
    together = detection_summary.of(images, ["nodule", "mass"], resamples=6, seed=3)
    average, sensitivity = [], []
    for counts in weights.astype(int).tolist():
        drawn_gt, drawn_dt, n_images = copied(gt, dt, counts)
        average.append(METRICS["coco_map"](gt=drawn_gt, dt=drawn_dt, n_images=n_images, labels=[0, 1])["ap50"])
        marks = marks_of(made_up_boxes.images_of(drawn_gt, drawn_dt, n_images))
        froc = METRICS["froc"](detections=marks, n_lesions=len(drawn_gt), n_images=n_images)
        sensitivity.append(froc["sensitivity"])
    outside = intervals.expanded(0.05, clusters=5)
    low, high = np.quantile(average, [outside / 2, 1 - outside / 2])
    figure = together["figures"]["mAP50"]
    assert (figure["low"], figure["high"]) == pytest.approx((low, high))
    assert figure["num_undefined"] == 0
    low, high = np.quantile(sensitivity, [outside / 2, 1 - outside / 2], axis=0)
    assert together["froc"]["low"] == pytest.approx(low.tolist())
    assert together["froc"]["high"] == pytest.approx(high.tolist())


def test_patients_are_drawn_as_for_all_figures() -> None:
    values, draws = np.arange(5.0), detection_resampling.weights(5, 200, seed=1)
    other = METRICS["bootstrap_ci"](metric="mean", y_true=None, y_score=values, resamples=200, seed=1)
    mine = detection_resampling.interval(2.0, draws @ values / 5, patients=5)
    assert (mine["low"], mine["high"]) == pytest.approx((other["low"], other["high"]))


def test_two_hundred_images_have_intervals() -> None:
    gt, dt = apart(1, images=200)
    told = detection_summary.of(made_up_boxes.images_of(gt, dt, 200, per_patient=1), ["nodule", "mass"])
    figure = told["figures"]["mAP50"]
    assert figure["low"] < figure["value"] < figure["high"]


def boxes(**more: Any) -> box_hits.Boxes:
    """A lesion of 5 mm found, one of 12 mm missed, a false positive of low score."""
    image = box_hits.Boxes(
        patient="a",
        reference=[[0, 0, 10, 8], [20, 20, 44, 40]],
        labels=[0, 0],
        found=[[0, 0, 10, 8], [60, 60, 70, 70], [0, 0, 0, 0]],
        scores=[0.9, 0.3, 0.0],
        found_labels=[0, 0, -1],
        spacing_mm=(0.5, 0.5),
    )
    return dataclasses.replace(image, **more)


def test_sizes_are_in_millimetres() -> None:
    told = detection_summary.of([boxes(), boxes(patient="b")], ["nodule"], resamples=10)
    assert [(row["size"], row["n"], row["sensitivity"]) for row in told["sizes"]] == [
        ("3 to below 6 mm", 2, 1.0),
        ("10 to below 20 mm", 2, 0.0),
    ]
    assert told["threshold"] == 0.3
    assert told["froc"]["fp_per_image"] == [0, 1]
    assert told["froc"]["sensitivity"] == [0.5, 0.5]
    assert told["classes"] == [
        {"name": "nodule", "num_reference": 4, "num_found": 4, "ap50": pytest.approx(51 / 101)}
        | {"ap": pytest.approx(51 / 101), "sensitivity": 0.5}
    ]


def test_what_lies_in_a_region_to_ignore_costs_nothing() -> None:
    image = boxes(reference=[[0, 0, 10, 8], [50, 50, 80, 80]], labels=[0, -2])
    told = detection_summary.of([image], ["nodule", "mass"], resamples=0)
    assert (told["num_reference"], told["num_found"], told["score"]) == (1, 1, 1.0)
    assert told["froc"]["value"] == [1.0] * 7
    assert math.isnan(told["figures"]["mAP50"]["low"])
    assert "mass" not in told["precision_recall"]


def test_images_without_boxes_are_counted_and_leave_figures_undefined() -> None:
    empty = boxes(reference=[], labels=[], found=[], scores=[], found_labels=[])
    told = detection_summary.of([empty, dataclasses.replace(empty, patient="b")], ["nodule"], resamples=5)
    assert told["num_cases"] == 2
    assert all(math.isnan(figure["value"]) for figure in told["figures"].values())
    assert (told["sizes"], told["froc"]["sensitivity"], told["precision_recall"]) == ([], [], {})
    nothing_found = boxes(found=[], scores=[], found_labels=[])
    told = detection_summary.of([nothing_found, empty], ["nodule"], resamples=5)
    assert (told["score"], told["figures"]["CPM"]["value"]) == (0, 0)
    assert math.isnan(told["threshold"])


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(UserError, match="at least one image"):
        detection_summary.of([], ["nodule"])
    with pytest.raises(UserError, match="has class 0, but there are 0"):
        detection_summary.of([boxes()], [])
    with pytest.raises(UserError, match="spacing_mm"):
        detection_summary.of([boxes(spacing_mm=(1.0,))], ["nodule"])
