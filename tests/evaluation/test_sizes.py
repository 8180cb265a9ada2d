"""Figures by size: thirds of cases, bands of lesions, small groups, what has no size."""

import math

import numpy as np
import pytest

from radkit.evaluation import boxes, cases, measures, sizes
from radkit.metrics import detection_summary
from tests.evaluation import made_up_answers as made_up


def test_every_case_is_in_one_group_and_figures_are_those_of_its_members() -> None:
    table, plan = made_up.of_masks(0, n=30), made_up.plan_of("masks")
    table = made_up.changed(made_up.changed(table, 0, ref_ml=0.0), 1, ref_ml=math.nan)
    groups = sizes.of_cases(table, plan)
    assert np.sum([members for _, members in groups], axis=0).tolist() == [1] * 30
    assert [told["size"].split(":")[0] for told, _ in groups] == [
        "small",
        "medium",
        "large",
        "holds nothing",
        "unknown",
    ]
    told = sizes.tell(table, plan)
    assert told is not None
    assert (told["of"], told["unit"], told["n"]) == ("cases", "mL", 30)
    for entry, (_, members) in zip(told["groups"], groups):
        assert entry["n"] == members.sum()
        part = cases.Cases([row for row, inside in zip(table.rows, members) if inside])
        for figure in entry["figures"]:
            one = next(one for one in plan.asked.measures if one.name == figure["name"])
            assert figure["value"] == pytest.approx(measures.value(one, part), rel=1e-12)


def test_groups_of_few_patients_are_told_with_their_number_only() -> None:
    table = made_up.of_masks(0, n=30, per_patient=10)
    told = sizes.tell(table, made_up.plan_of("masks"))
    assert told is not None
    assert all(group["too_few"] and group["figures"] == [] and group["n"] for group in told["groups"])


def test_cases_of_one_size_are_one_group() -> None:
    table = cases.Cases([{**row, "ref_ml": 2.0} for row in made_up.of_masks(0).rows])
    told = sizes.tell(table, made_up.plan_of("masks"))
    assert told is not None
    assert [(group["size"], group["n"]) for group in told["groups"]] == [("small: 2 to 2 mL", 24)]


def test_an_image_that_nobody_labelled_is_of_unknown_size() -> None:
    table = made_up.changed(made_up.of_masks(0), 3, known_voxels=0, ref_ml=0.0)
    told = sizes.tell(table, made_up.plan_of("masks"))
    assert told is not None
    assert told["groups"][-1]["size"] == "unknown"
    assert told["groups"][-1]["n"] == 1


def test_lesions_are_told_by_their_longest_side_as_the_detection_summary_does() -> None:
    table, plan = made_up.of_boxes(2, images=60), made_up.plan_of("boxes")
    told = sizes.tell(table, plan)
    summary = detection_summary.of([boxes.image_of(row) for row in table.rows], ("nodule", "mass"), resamples=0)
    assert told is not None
    assert told["of"] == "lesions"
    assert told["threshold"] == summary["threshold"]
    got = [(group["size"], group["n"]) for group in told["groups"]]
    assert got == [(row["size"], row["n"]) for row in summary["sizes"]]
    for group, row in zip(told["groups"], summary["sizes"]):
        if not group["too_few"]:
            assert group["figures"][0]["value"] == pytest.approx(row["sensitivity"])
            assert group["num_found"] == round(row["sensitivity"] * row["n"])
    assert sum(not group["too_few"] for group in told["groups"]) >= 2


def test_lesions_of_unknown_size_stand_alone() -> None:
    table = cases.Cases([{**row, "spacing_mm": [math.nan] * 2} for row in made_up.of_boxes(1).rows])
    told = sizes.tell(table, made_up.plan_of("boxes"))
    assert told is not None
    assert [group["size"] for group in told["groups"]] == ["unknown, as the spacing is"]
    assert (told["groups"][0]["low"], told["groups"][0]["high"]) == (None, None)


def test_what_has_no_size_has_no_section() -> None:
    assert sizes.tell(made_up.of_numbers(), made_up.plan_of("numbers")) is None
    nothing = cases.Cases([{**row, "ref_ml": 0.0} for row in made_up.of_masks(0).rows])
    assert sizes.tell(nothing, made_up.plan_of("masks")) is None
    empty = cases.Cases([{**row, "reference": [], "labels": []} for row in made_up.of_boxes(0).rows])
    assert sizes.tell(empty, made_up.plan_of("boxes")) is None
