"""Lesion by lesion: counts by hand, curves as METRICS has them, points chosen here or beforehand."""

import json
import math

import numpy as np
import pytest

from radkit.evaluation import boxes, cases, endpoints, lesions
from radkit.metrics import detection_summary
from tests.evaluation import made_up_answers as made_up


def value_of(figures: list[dict], name: str) -> float:
    return next(figure["value"] for figure in figures if figure["name"] == name)


def test_the_curve_and_the_point_chosen_here_are_those_of_the_metrics() -> None:
    table = made_up.of_boxes(3)
    told = lesions.tell(table, made_up.plan_of("boxes"))
    summary = detection_summary.of([boxes.image_of(row) for row in table.rows], ("nodule", "mass"), resamples=0)
    assert told is not None
    assert told["kind"] == "boxes"
    assert (told["num_reference"], told["num_found"]) == (summary["num_reference"], summary["num_found"])
    assert told["froc"]["sensitivity"] == summary["froc"]["sensitivity"]
    assert told["froc"]["fp_per_image"] == summary["froc"]["fp_per_image"]
    point = told["operating_point"]
    assert point["threshold"] == summary["threshold"]
    assert "its figures flatter" in point["told"]
    assert point["chosen_on"] == ""
    for mine, wanted in zip(told["classes"], summary["classes"]):
        assert (mine["name"], mine["num_reference"]) == (wanted["name"], wanted["num_reference"])
        assert value_of(mine["figures"], "AP50") == pytest.approx(wanted["ap50"], rel=1e-6)
        assert value_of(mine["figures"], "sensitivity") == pytest.approx(wanted["sensitivity"])
    for curve in told["precision_recall"]:
        assert curve["precision"] == summary["precision_recall"][curve["name"]]["precision"]


def test_a_point_chosen_beforehand_is_taken_and_its_counts_add_up() -> None:
    given = endpoints.OperatingPoint("boxes", "fp_per_image", 2.0, 0.5, "validation", 80, 0.7)
    table = made_up.of_boxes(3)
    told = lesions.tell(table, made_up.plan_of("boxes", points=[given]))
    assert told is not None
    point = told["operating_point"]
    assert point["told"] == "the lowest score with at most 2 false positives an image, chosen on the validation split"
    assert point["threshold"] == 0.5
    counts = np.array(list(point["counts"].values()))
    by_image = [counted(row) for row in table.rows]
    assert counts.tolist() == np.sum(by_image, axis=0).tolist()
    assert counts[0] + counts[2] == told["num_reference"]
    hits, false, misses = counts
    assert value_of(point["figures"], "sensitivity") == pytest.approx(hits / (hits + misses))
    assert value_of(point["figures"], "precision") == pytest.approx(hits / (hits + false))
    assert value_of(point["figures"], "F1") == pytest.approx(2 * hits / (2 * hits + false + misses))
    assert value_of(point["figures"], "false positives per case") == pytest.approx(false / len(table))


def counted(row: dict) -> list[int]:
    """Hits, false positives and misses of one image at 0.5, box by box."""
    image = boxes.image_of(row)
    hit, false = set(), 0
    for place, score in zip(image.hits(), row["scores"]):
        if score >= 0.5 and place >= 0:
            hit.add(int(place))
        false += int(score >= 0.5 and place == -1)
    return [len(hit), false, sum(label >= 0 for label in row["labels"]) - len(hit)]


def test_many_points_are_thinned_and_the_ends_stay() -> None:
    generator = np.random.default_rng(0)
    far = [[100.0 + 3 * k, 0, 102.0 + 3 * k, 2] for k in range(40)]
    rows = [
        {
            "patient_id": f"P{k}",
            "record_uid": f"1.{k}",
            "reference": [[0, 0, 4, 4]],
            "labels": [0],
            "found": [[0, 0, 4, 4], *far],
            "scores": generator.random(41).tolist(),
            "found_labels": [0] * 41,
            "spacing_mm": [1.0, 1.0],
        }
        for k in range(20)
    ]
    told = lesions.tell(cases.Cases(rows), made_up.plan_of("boxes"))
    assert told is not None
    curve = told["froc"]
    assert len(curve["score"]) == lesions.MOST_POINTS
    scores = [score for row in rows for score in row["scores"]]
    assert (curve["score"][0], curve["score"][-1]) == (max(scores), min(scores))
    assert (curve["sensitivity"][-1], curve["fp_per_image"][-1]) == (1.0, 40.0)


def test_images_without_references_have_no_curve_and_no_share() -> None:
    table = cases.Cases([{**row, "reference": [], "labels": []} for row in made_up.of_boxes(0).rows])
    told = lesions.tell(table, made_up.plan_of("boxes"))
    assert told is not None
    assert told["froc"]["score"] == []
    assert told["precision_recall"] == []
    assert math.isnan(value_of(told["operating_point"]["figures"], "sensitivity"))
    assert value_of(told["operating_point"]["figures"], "false positives per case") <= 1
    nothing = cases.Cases([{**row, "found": [], "scores": [], "found_labels": []} for row in table.rows])
    told = lesions.tell(nothing, made_up.plan_of("boxes"))
    assert told is not None
    assert math.isnan(told["operating_point"]["threshold"])
    json.dumps(made_up.as_json(told), allow_nan=False)


def test_parts_of_masks_add_up_over_cases() -> None:
    table = made_up.of_masks(0)
    told = lesions.tell(table, made_up.plan_of("masks"))
    assert told is not None
    assert told["kind"] == "masks"
    liver, lesion = told["labels"]
    assert liver["both_empty"] == liver["missed"] == liver["invented"] == liver["num_at_worst"] == 0
    there, found = (table.numbers(f"{side}_voxels lesion") > 0 for side in ("ref", "pred"))
    assert lesion["missed"] == (there & ~found).sum() > 0
    assert lesion["invented"] == (found & ~there).sum() > 0
    assert lesion["both_empty"] == (~found & ~there).sum() > 0
    assert lesion["num_at_worst"] == lesion["missed"] + lesion["invented"]
    parts = lesion["parts"]
    assert value_of(lesion["figures"], "F1") == pytest.approx(2 * parts["hit"] / (parts["reference"] + parts["found"]))
    assert value_of(lesion["figures"], "sensitivity") == pytest.approx(parts["hit"] / parts["reference"])


def test_unknown_cases_are_counted_and_add_nothing() -> None:
    table = made_up.of_masks(0)
    told = lesions.tell(made_up.changed(table, 1, known_voxels=0), made_up.plan_of("masks"))
    rest = lesions.tell(cases.Cases([row for k, row in enumerate(table.rows) if k != 1]), made_up.plan_of("masks"))
    assert told is not None
    assert rest is not None
    assert told["labels"][1]["unknown"] == 1
    assert told["n"] == rest["n"] == len(table) - 1
    assert told["labels"][1]["parts"] == rest["labels"][1]["parts"]
    assert value_of(told["labels"][1]["figures"], "false positives per case") == pytest.approx(
        value_of(rest["labels"][1]["figures"], "false positives per case")
    )


def test_numbers_have_no_lesions() -> None:
    assert lesions.tell(made_up.of_numbers(), made_up.plan_of("numbers")) is None
