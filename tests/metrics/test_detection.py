import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from radkit.errors import UserError
from radkit.metrics import METRICS

MARKS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5), st.sampled_from([None, "a", "b", "c"])), max_size=25)


def marks(listed: list[tuple[int, float, str | None]]) -> list[dict[str, Any]]:
    return [{"image": image, "score": score, "lesion": lesion} for image, score, lesion in listed]


def at_thresholds(listed: list[tuple[int, float, str | None]], n_lesions: int, n_images: int, rate: float) -> float:
    """The best sensitivity of all thresholds that keep to the rate."""
    best = 0.0
    for threshold in {score for _, score, _ in listed}:
        kept = [one for one in listed if one[1] >= threshold]
        if sum(lesion is None for *_, lesion in kept) <= rate * n_images:
            best = max(best, len({(image, lesion) for image, _, lesion in kept if lesion}) / n_lesions)
    return best


@settings(deadline=None, max_examples=60)
@given(MARKS)
def test_froc_is_the_best_threshold_that_keeps_to_the_rate(listed: list[tuple[int, float, str | None]]) -> None:
    rates = [0.25, 0.5, 1, 4]
    found = METRICS["froc"](detections=marks(listed), n_lesions=12, n_images=4, fp_rates=rates)
    assert found["sensitivity"] == pytest.approx([at_thresholds(listed, 12, 4, rate) for rate in rates])
    assert found["cpm"] == pytest.approx(np.mean(found["sensitivity"]))


def test_froc_worked_by_hand() -> None:
    # Falling: hit, second hit on it, false, hit, false; 2 images, 4 lesions.
    listed: list[tuple[int, float, str | None]] = [
        *((0, 0.9, "a"), (0, 0.8, "a"), (1, 0.7, None), (1, 0.6, "a"), (0, 0.5, None)),
    ]
    found = METRICS["froc"](detections=marks(listed), n_lesions=4, n_images=2, fp_rates=[0.25, 0.5, 1, 8])
    assert found["sensitivity"] == [0.25, 0.5, 0.5, 0.5]


def test_false_positives_of_the_same_score_come_first_or_not_at_all() -> None:
    tied = marks([(0, 0.5, "a"), (0, 0.5, None)])
    assert METRICS["froc"](detections=tied, n_lesions=1, n_images=1, fp_rates=[0.5, 1])["sensitivity"] == [0, 1]


@pytest.mark.parametrize(("n_lesions", "n_images"), [(0, 3), (0, 0)])
def test_froc_without_lesions_is_undefined(n_lesions: int, n_images: int) -> None:
    found = METRICS["froc"](detections=[], n_lesions=n_lesions, n_images=n_images, fp_rates=[1, 2])
    assert [math.isnan(value) for value in (*found["sensitivity"], found["cpm"])] == [True] * 3


def test_froc_of_no_marks_is_nothing_found() -> None:
    assert METRICS["froc"](detections=[], n_lesions=2, n_images=1, fp_rates=[1]) == {"sensitivity": [0.0], "cpm": 0.0}


@pytest.mark.parametrize(
    ("detections", "said"),
    [
        ([{"image": 0, "score": 1.0}], "lacks 'lesion'"),
        (marks([(0, math.nan, None)]), "nan"),
        (marks([(0, 1.0, "a"), (0, 1.0, "b")]), "2 lesions"),
        (marks([(0, 1.0, None), (1, 1.0, None)]), "2 images"),
    ],
)
def test_marks_that_do_not_fit_are_refused(detections: list[dict[str, Any]], said: str) -> None:
    with pytest.raises(UserError, match=said):
        METRICS["froc"](detections=detections, n_lesions=1, n_images=1)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.lists(st.integers(0, 4), max_size=3), min_size=1, max_size=8),
    st.lists(st.one_of(st.none(), st.integers(0, 4)), min_size=1, max_size=8),
)
def test_jafroc_agrees_with_all_pairs(cases: list[list[float]], lesions: list[float | None]) -> None:
    pairs = []
    for case in cases:
        for lesion in lesions:
            x, y = max(case, default=-math.inf), -math.inf if lesion is None else lesion
            pairs.append(1.0 if y > x else 0.5 if y == x else 0.0)
    found = METRICS["jafroc"](normal_case_marks=cases, lesion_ratings=lesions)
    assert found == pytest.approx(np.mean(pairs))


def test_jafroc_without_cases_or_lesions_is_undefined() -> None:
    assert math.isnan(METRICS["jafroc"](normal_case_marks=[], lesion_ratings=[1]))
    assert math.isnan(METRICS["jafroc"](normal_case_marks=[[1]], lesion_ratings=[]))


def test_jafroc_takes_what_arrays_make_of_nothing() -> None:
    listed = METRICS["jafroc"](normal_case_marks=[[], [1.0], [2.0]], lesion_ratings=[None, 1.0])
    assert METRICS["jafroc"](normal_case_marks=[None, 1.0, 2.0], lesion_ratings=np.array([np.nan, 1.0])) == listed
    with pytest.raises(UserError, match="nan"):
        METRICS["jafroc"](normal_case_marks=[[np.nan]], lesion_ratings=[1.0])


def lesions(seed: int, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Two masks of blobs, of which many meet."""
    generator = np.random.default_rng(seed)
    rough = ndimage.gaussian_filter(generator.normal(size=shape), 1.0)
    other = rough + 0.5 * ndimage.gaussian_filter(generator.normal(size=shape), 1.0)
    return rough > 0.35, other > 0.35


@pytest.mark.parametrize("shape", [(40, 50), (12, 16, 18)])
@pytest.mark.parametrize(("connectivity", "order"), [(1, 1), (2, 2), (None, -1)])
def test_lesions_are_matched_one_to_one(shape: tuple[int, ...], connectivity: int | None, order: int) -> None:
    reference, predicted = lesions(5, shape)
    structure = ndimage.generate_binary_structure(len(shape), len(shape) if order < 0 else order)
    parts = [ndimage.label(mask, structure)[0] for mask in (reference, predicted)]
    matched = []
    for k in range(1, parts[0].max() + 1):
        for j in range(1, parts[1].max() + 1):
            iou = ((parts[0] == k) & (parts[1] == j)).sum() / ((parts[0] == k) | (parts[1] == j)).sum()
            matched += [iou] if iou > 0.5 else []
    found = METRICS["lesion_detection"](ref=reference, pred=predicted, connectivity=connectivity, iou_threshold=0.5001)
    assert found["tp"] == len(matched)
    assert (found["n_ref"], found["n_pred"]) == (parts[0].max(), parts[1].max())
    assert (found["fp"], found["fn"]) == (found["n_pred"] - found["tp"], found["n_ref"] - found["tp"])
    assert found["f1"] == pytest.approx(2 * len(matched) / (found["n_ref"] + found["n_pred"]))
    assert found["panoptic_quality"] == pytest.approx(2 * sum(matched) / (found["n_ref"] + found["n_pred"]))


def test_low_thresholds_match_so_that_the_sum_is_largest() -> None:
    # The first reference overlaps both predictions, the second only the larger overlap of the first.
    reference, predicted = np.zeros((3, 12), int), np.zeros((3, 12), int)
    reference[0, 0:6], reference[2, 3:7] = 1, 1
    predicted[0, 0:3], predicted[:, 4:6] = 1, 1
    found = METRICS["lesion_detection"](ref=reference, pred=predicted, connectivity=1, iou_threshold=0.1)
    assert (found["tp"], found["fp"], found["fn"]) == (2, 0, 0)


@pytest.mark.parametrize(("name", "same"), [(4, 1), (8, 2), (2, 2)])
def test_neighbours_may_be_counted_or_ordered(name: int, same: int) -> None:
    reference, predicted = lesions(2, (30, 30))
    arguments = {"ref": reference, "pred": predicted, "iou_threshold": 0.3}
    first, second = (METRICS["lesion_detection"](**arguments, connectivity=which) for which in (name, same))
    assert first == second


def test_empty_masks_of_lesions() -> None:
    empty, full = np.zeros((4, 4)), np.eye(4)
    nothing = METRICS["lesion_detection"](ref=empty, pred=empty, connectivity=1, iou_threshold=0.5)
    assert (nothing["f1"], nothing["panoptic_quality"], nothing["n_ref"]) == (1, 1, 0)
    missed = METRICS["lesion_detection"](ref=full, pred=empty, connectivity=2, iou_threshold=0.5)
    assert (missed["f1"], missed["panoptic_quality"], missed["fn"]) == (0, 0, 1)


def test_wrong_settings_of_lesions_are_refused() -> None:
    with pytest.raises(UserError, match="connectivity of a 2-D mask"):
        METRICS["lesion_detection"](ref=[[1]], pred=[[1]], connectivity=26)
    with pytest.raises(UserError, match="iou_threshold"):
        METRICS["lesion_detection"](ref=[[1]], pred=[[1]], iou_threshold=0)
