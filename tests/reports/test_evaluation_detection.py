import dataclasses
import json
import math
from typing import Any

import numpy as np
import pytest

from radkit.errors import UserError
from radkit.metrics import detection_summary
from radkit.reports import evaluation_detection, pictures_of_boxes
from tests.reports import made_up_boxes, page_check


@pytest.mark.parametrize("rank", [2, 3])
def test_a_detectors_page_shows_every_part(rank: int) -> None:
    arguments = made_up_boxes.detection(rank=rank)
    page = evaluation_detection.detection_page(**arguments)
    reader = page_check.read(page)
    assert [words for _, words in reader.headings][1:] == [
        *("Figures", "Curves", "By size and class"),
        *("Images with boxes", "Cases", "Learning curves"),
    ]
    assert len(reader.images) == 4
    assert {"mAP50", "sensitivity at 1/8 FP/image", "CPM", "nodule", "mass"} <= set(reader.cells)
    assert {row["size"] for row in arguments["summary"]["sizes"]} <= set(reader.cells)
    worst = max(case["misses"] for case in arguments["cases"])
    first = reader.cells[reader.cells.index("false positives") + 1]
    assert next(case for case in arguments["cases"] if case["name"] == first)["misses"] == worst
    assert "an IoU of at least 0.1" in page
    assert f"at least {arguments['summary']['threshold']:.4g}" in page


def test_the_same_input_gives_the_same_bytes() -> None:
    arguments = made_up_boxes.detection(6, rank=2) | {"history": []}
    arguments["drawn"] = arguments["drawn"][:1]
    assert evaluation_detection.detection_page(**arguments) == evaluation_detection.detection_page(**arguments)


def test_what_json_keeps_makes_the_same_page() -> None:
    arguments = made_up_boxes.detection(1) | {"drawn": [], "history": []}
    # As `summary.json` has it: what is undefined is null.
    kept = arguments | {"summary": json.loads(json.dumps(arguments["summary"]).replace("NaN", "null"))}
    page = evaluation_detection.detection_page(**kept)
    assert page_check.read(page).headings == page_check.read(evaluation_detection.detection_page(**arguments)).headings


@pytest.mark.parametrize("nothing", [math.nan, None])
def test_without_boxes_the_page_says_what_is_undefined(nothing: float | None) -> None:
    arguments = made_up_boxes.detection(1)  # the first image holds none
    summary = arguments["summary"]
    summary["froc"]["value"] = [nothing] * 7
    summary["threshold"] = nothing
    page = evaluation_detection.detection_page(**arguments | {"drawn": []})
    page_check.read(page)
    assert "Undefined: the reference holds no boxes" in page
    assert "nothing counts as found" in page


def test_pages_without_cases_are_refused() -> None:
    with pytest.raises(UserError, match="at least one case"):
        evaluation_detection.detection_page(**made_up_boxes.detection(1) | {"cases": []})


def test_subgroups_and_warnings_are_shown() -> None:
    arguments = made_up_boxes.detection(3) | {"drawn": [], "history": []}
    arguments["summary"] |= {
        "subgroups": {"sex F": {"n": 7, "mAP50": {"value": 0.7, "low": 0.6, "high": 0.8}}},
        "look": {"warning": "This test set was seen 3 times."},
    }
    page = evaluation_detection.detection_page(**arguments)
    assert "0.700 (0.600 to 0.800)" in page
    assert page.index("seen 3 times") < page.index("<h2>Figures")


def drawn(case: evaluation_detection.DetectionCase, threshold: float = 0.5) -> list[Any]:
    return list(pictures_of_boxes.boxes(case, threshold, ["nodule"]).axes)


def one(**more: Any) -> evaluation_detection.DetectionCase:
    case = evaluation_detection.DetectionCase(
        caption="one",
        image=np.zeros((20, 100, 120)),
        spacing_mm=(2.0, 1.0, 1.0),
        reference=[[4, 10, 20, 8, 16, 28], [12, 50, 50, 15, 54, 54]],
        labels=[0, 0],
        found=[[5, 10, 20, 9, 17, 29], [17, 80, 80, 19, 90, 95], [0, 0, 0, 0, 0, 0]],
        scores=[0.9, 0.6, 0.0],
        found_labels=[0, 0, -1],
    )
    return dataclasses.replace(case, **more)


def rectangles(axis: Any) -> list[tuple[float, ...]]:
    return [(patch.get_y(), patch.get_x(), patch.get_height(), patch.get_width()) for patch in axis.patches]


def test_volumes_are_shown_on_the_slices_through_their_boxes() -> None:
    axes = drawn(one())
    titles = [axis.get_title() for axis in axes]
    assert titles == [f"slice {k} of 20{more}" for k in (7, 14, 19) for more in ("", ", enlarged")]
    # Voxel 10 reaches from 10 to 11; its middle is drawn at 10.
    assert rectangles(axes[0]) == [(9.5, 19.5, 6, 8), (9.5, 19.5, 7, 9)]
    assert [text.get_text() for text in axes[0].texts] == ["0.90"]
    assert rectangles(axes[2]) == [(49.5, 49.5, 4, 4)]
    assert rectangles(axes[4]) == [(79.5, 79.5, 10, 15)]
    assert axes[1].get_xlim()[0] < 19.5 < 28.5 < axes[1].get_xlim()[1]


def test_found_boxes_below_the_threshold_are_not_drawn() -> None:
    assert [axis.get_title() for axis in drawn(one(), 0.7)][::2] == ["slice 7 of 20", "slice 14 of 20"]
    assert sum(len(axis.texts) for axis in drawn(one(), math.nan)) == 0


def test_large_boxes_are_not_enlarged_and_no_boxes_show_the_middle() -> None:
    large = one(reference=[[0, 0, 0, 20, 80, 80]], labels=[0], found=[], scores=[], found_labels=[])
    assert [axis.get_title() for axis in drawn(large)] == ["slice 11 of 20"]
    none = one(reference=[], labels=[], found=[], scores=[], found_labels=[])
    assert [axis.get_title() for axis in drawn(none)] == ["slice 11 of 20"]


def test_radiographs_have_boxes_of_four_edges() -> None:
    flat = one(
        image=np.zeros((1, 100, 120)),
        reference=[[10, 20, 60, 90], [0, 0, 50, 9]],
        labels=[0, -2],
        found=[],
        scores=[],
        found_labels=[],
    )
    (axis,) = drawn(flat)
    assert sorted(rectangles(axis)) == [(-0.5, -0.5, 50, 9), (9.5, 19.5, 50, 70)]
    with pytest.raises(UserError, match="need 6 edges"):
        drawn(one(reference=[[10, 20, 60, 90]], labels=[0]))
    with pytest.raises(UserError, match="slices, rows, columns"):
        drawn(one(image=np.zeros((5, 5))))


def test_the_page_takes_the_summary_of_the_metrics_as_it_is() -> None:
    images = [dataclasses.replace(image, patient="only") for image in _two()]
    summary = detection_summary.of(images, ["nodule"], resamples=5)
    cases = [{"name": "a", "misses": 1, "false_positives": 0}]
    page_check.read(evaluation_detection.detection_page("One", summary, cases, ["nodule"], [], []))


def _two() -> list[Any]:
    from radkit.metrics import box_hits

    listed = {"reference": [[0, 0, 5, 5]], "labels": [0], "found": [], "scores": [], "found_labels": []}
    return [box_hits.Boxes(name, **listed, spacing_mm=(1.0, 1.0)) for name in "ab"]


def test_words_stay_within_the_view() -> None:
    corners = one(
        reference=[],
        labels=[],
        found=[[5, 0, 0, 9, 9, 9], [5, 90, 111, 9, 100, 120]],
        scores=[0.9, 0.6],
        found_labels=[0, 0],
    )
    axis = drawn(corners)[0]
    placed = [(text.get_position(), text.get_va(), text.get_ha()) for text in axis.texts]
    assert placed == [((-0.5, 8.5), "top", "left"), ((119.5, 89.5), "bottom", "right")]
