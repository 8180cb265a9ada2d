"""A detector's figures: those of detection_summary and METRICS, copies of images, points chosen by hand, bad input."""

import functools
import math

import numpy as np
import pytest

from radkit.errors import UserError
from radkit.evaluation import boxes, cases, measures
from radkit.metrics import METRICS, detection_summary
from tests import work
from tests.evaluation import made_up_answers as made_up

NAMES = ("nodule", "mass")
ASKED = {one.name: one for one in boxes.measures(NAMES)}


def rows_of(*images: tuple[list, list, list]) -> cases.Cases:
    """Cases of one class in 2-D: references, found boxes, scores."""
    return cases.Cases(
        [
            {
                "patient_id": f"P{k}",
                "record_uid": f"1.{k}",
                "reference": reference,
                "labels": [0] * len(reference),
                "found": found,
                "scores": scores,
                "found_labels": [0] * len(found),
                "spacing_mm": [1.0, 1.0],
            }
            for k, (reference, found, scores) in enumerate(images)
        ]
    )


HIT, OTHER, FAR = [0, 0, 4, 4], [20, 20, 24, 24], [50, 50, 52, 52]
BY_HAND = rows_of(
    ([HIT, OTHER], [HIT, FAR], [0.9, 0.8]),
    ([HIT], [HIT], [0.5]),
    ([], [FAR], [0.6]),
    ([], [], []),
)


def by_peers(table: cases.Cases) -> dict[str, float]:
    summary = detection_summary.of([boxes.image_of(row) for row in table.rows], NAMES, resamples=0)
    return {name: figure["value"] for name, figure in summary["figures"].items()}


@pytest.mark.parametrize(("seed", "rank"), [(0, 2), (1, 3), (2, 2)])
def test_figures_are_those_of_the_detection_summary(seed: int, rank: int) -> None:
    table = made_up.of_boxes(seed, rank=rank)
    for name, value in by_peers(table).items():
        assert measures.value(ASKED[name], table) == pytest.approx(value, rel=1e-6), name


@pytest.mark.parametrize("name", ASKED)
def test_weights_are_copies_of_images(name: str) -> None:
    table, one = made_up.of_boxes(5, images=16), ASKED[name]
    times = np.random.default_rng(0).integers(0, 3, (3, len(table)))
    for often, value in zip(times, one.of(table, times.astype(float))):
        assert value == pytest.approx(measures.value(one, made_up.copied(table, often)), rel=1e-6)


def test_intervals_draw_the_patients_of_the_detection_summary() -> None:
    table = made_up.of_boxes(4)
    images = [boxes.image_of(row) for row in table.rows]
    summary = detection_summary.of(images, NAMES, resamples=80, seed=0)
    # Its patients are numbered in the order of their images, ours by name: the same where these agree.
    renamed = cases.Cases([{**row, "patient_id": f"P{k // 2:03d}"} for k, row in enumerate(table.rows)])
    for name in ("mAP50", "sensitivity at 1 FP/image", "CPM"):
        got, wanted = measures.figure(ASKED[name], renamed, cases.Draws(80, 0)), summary["figures"][name]
        assert (got["low"], got["high"]) == pytest.approx((wanted["low"], wanted["high"]), rel=1e-6), name


def test_jafroc_is_that_of_the_metrics() -> None:
    table = made_up.of_boxes(6, images=25)
    of = boxes.held(table, 2)
    normal = [of.highest[k] for k in range(len(table)) if of.together.marks.lesions[k] == 0]
    ratings = []
    for lesion in range(of.together.patient.size):
        mine = of.together.marks.score[of.together.marks.lesion == lesion]
        ratings.append(float(mine.max()) if mine.size else None)
    wanted = METRICS["jafroc"]([[one] if math.isfinite(one) else [] for one in normal], ratings)
    assert 0 < wanted < 1
    assert measures.value(ASKED["JAFROC"], table) == pytest.approx(wanted, rel=1e-12)


def test_without_references_all_is_undefined_and_without_marks_nothing_is_found() -> None:
    none = rows_of(([], [FAR], [0.5]), ([], [], []))
    for name, one in ASKED.items():
        assert math.isnan(measures.value(one, none)), name
    blind = rows_of(([HIT], [], []), ([], [], []))
    asked = {one.name: one for one in boxes.measures(["nodule"])}
    assert measures.value(asked["mAP50"], blind) == measures.value(asked["sensitivity at 1 FP/image"], blind) == 0.0
    assert measures.value(asked["JAFROC"], blind) == 0.5  # nothing is marked anywhere: all ties
    alone = measures.figure(asked["mAP50"], rows_of(([HIT], [HIT], [0.5])), made_up.DRAWS)
    assert alone["value"] == pytest.approx(1.0)
    assert math.isnan(alone["low"])


def test_questions_of_whole_images() -> None:
    table = cases.Cases(
        [
            {**BY_HAND.rows[0], "labels": [1, -2]},
            {**BY_HAND.rows[1], "labels": [-2]},
            *BY_HAND.rows[2:],
        ]
    )
    nodule, mass = boxes.endpoints(NAMES)
    assert (nodule.name, nodule.probable) == ("image with nodule", False)
    np.testing.assert_equal(nodule.truth(table), [math.nan, math.nan, 0, 0])
    np.testing.assert_equal(mass.truth(table), [1, math.nan, 0, 0])
    assert nodule.score(table).tolist() == [0.9, 0.5, 0.6, 0.0]
    assert mass.score(table).tolist() == [0.0] * 4


@pytest.mark.parametrize(
    ("rule", "value", "threshold", "sensitivity", "specificity"),
    [
        ("fp_per_image", 0.25, 0.8, 1 / 3, 1.0),
        ("fp_per_image", 0.5, 0.5, 2 / 3, 0.5),
        ("min_sensitivity", 0.3, 0.9, 1 / 3, 1.0),
        ("min_sensitivity", 2 / 3, 0.5, 2 / 3, 0.5),
        ("min_sensitivity", 1.0, math.nan, math.nan, math.nan),
    ],
)
def test_operating_points_worked_by_hand(
    rule: str, value: float, threshold: float, sensitivity: float, specificity: float
) -> None:
    point = boxes.choose(BY_HAND, ["nodule"], rule, value, "validation")
    told = (point.threshold, point.sensitivity, point.specificity)
    assert told == pytest.approx((threshold, sensitivity, specificity), nan_ok=True)
    assert (point.name, point.rule, point.value, point.chosen_on, point.num_cases) == (
        "boxes",
        rule,
        value,
        "validation",
        4,
    )


def test_counts_at_a_threshold_by_image_and_class() -> None:
    of = boxes.held(BY_HAND, 2)
    assert boxes.counts_at(of, 0.6).tolist() == [[1, 1, 1], [0, 0, 1], [0, 1, 0], [0, 0, 0]]
    assert boxes.counts_at(of, math.nan).tolist() == [[0, 0, 2], [0, 0, 1], [0, 0, 0], [0, 0, 0]]
    assert boxes.counts_at(of, 0.6, label=1).sum() == 0


def test_rules_that_cannot_be_met_and_rows_that_are_no_boxes_are_refused() -> None:
    for rule, value, told in (
        ("youden", 1.0, "no rule of a detector is named 'youden'"),
        ("fp_per_image", 0.0, "must be above 0"),
        ("fp_per_image", math.inf, "must be above 0"),
        ("min_sensitivity", 1.2, "must lie between 0 and 1"),
    ):
        with pytest.raises(UserError, match=told):
            boxes.choose(BY_HAND, ["nodule"], rule, value, "")
    without = cases.Cases([{name: row[name] for name in ("patient_id", "record_uid")} for row in BY_HAND.rows])
    with pytest.raises(UserError, match=r"read boxes.csv, too"):
        boxes.held(without, 1)
    with pytest.raises(UserError, match="scores of found boxes must hold numbers"):
        boxes.held(rows_of(([], [FAR], [math.nan])), 1)
    with pytest.raises(UserError, match="has class 1, but there are 1 class names"):
        boxes.held(made_up.of_boxes(0), 1)


@pytest.mark.slow
def test_a_draw_costs_far_less_than_its_300_images() -> None:
    table = made_up.of_boxes(0, images=300)
    boxes.held(table, 2)

    def figure(draws: int) -> object:
        return measures.figure(ASKED["mAP50"], table, cases.Draws(draws))

    few, many = (work.calls(functools.partial(figure, draws)) for draws in (200, 2000))
    assert many - few < 1800 * 30  # ten images' worth
