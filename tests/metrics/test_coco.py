"""Against pycocotools 2.0's answers, kept as numbers, and against its loops written out."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radkit.errors import UserError
from radkit.metrics import METRICS, boxes, coco
from tests.metrics import made_up_boxes
from tests.metrics.made_up_boxes import Listed

NAMES = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large")
RECALLS = ("ar1", "ar10", "ar100", "ar_small", "ar_medium", "ar_large")
NAN = math.nan

# made_up_boxes.split(seed, images, labels, largest side, share of crowds): what pycocotools said
GOLDEN = {
    (0, 12, 1, 20, 0.0): [
        *(0.0500483253458, 0.113439635183, 0.0237687703197, 0.0500483253458, NAN, NAN),
        *(0.0433333333333, 0.223333333333, 0.223333333333, 0.223333333333, NAN, NAN),
    ],
    (1, 20, 3, 40, 0.2): [
        *(0.182355488633, 0.33990375228, 0.179050039651, 0.16984631825, 0.411386138614, NAN),
        *(0.232575757576, 0.462878787879, 0.462878787879, 0.48085016835, 0.416666666667, NAN),
    ],
    (2, 9, 2, 130, 0.1): [
        *(0.227589146205, 0.305720942973, 0.211645106818, 0.0805115511551, 0.317683610466, 0.975),
        *(0.248663101604, 0.573262032086, 0.573262032086, 0.2825, 0.661666666667, 1.0),
    ],
}


@pytest.mark.parametrize("given_case", GOLDEN)
def test_equal_to_pycocotools(given_case: tuple[int, int, int, int, float]) -> None:
    seed, images, labels, largest, crowds = given_case
    gt, dt = made_up_boxes.split(seed, images, labels, largest=largest, crowds=crowds)
    found = METRICS["coco_map"](gt=gt, dt=dt, n_images=images, labels=list(range(labels)))
    assert list(found) == [*NAMES, *RECALLS]
    assert list(found.values()) == pytest.approx(GOLDEN[given_case], abs=1e-9, nan_ok=True)


def assigned(gt: Listed, dt: Listed, threshold: float, low: float, high: float) -> list[tuple[float, int, int | None]]:
    """One image and label, found boxes one by one: score, place, and 1 right, 0 wrong, None neither."""
    sizes = [float(boxes.volume(np.array(one["box"]))) for one in gt]
    skipped = [one.get("crowd", False) or not low <= size <= high for one, size in zip(gt, sizes)]
    free = [True] * len(gt)
    told: list[tuple[float, int, int | None]] = []
    for place, one in enumerate(sorted(dt, key=lambda d: -d["score"])[:100]):
        best, best_iou = -1, -1.0
        # Those that count first; among the others only when none of them will do.
        for group in (False, True):
            for k in (k for k in range(len(gt)) if skipped[k] == group):
                crowd = np.array(gt[k].get("crowd", False))
                iou = float(boxes.iou(np.array(one["box"], float), np.array(gt[k]["box"], float), crowd))
                if iou >= max(threshold, best_iou) and (free[k] or crowd):
                    best, best_iou = k, iou
            if best >= 0:
                break
        if best >= 0:
            free[best] = False
            told.append((one["score"], place, None if skipped[best] else 1))
        else:
            outside = not low <= float(boxes.volume(np.array(one["box"]))) <= high
            told.append((one["score"], place, None if outside else 0))
    return told


def looped(gt: Listed, dt: Listed, labels: int, threshold: float, low: float, high: float, most: int) -> Any:
    """Average precision and recall, label by label, image by image."""
    precisions, recalls = [], []
    for label in range(labels):
        told, total = [], 0
        for image in sorted({one["image"] for one in (*gt, *dt)}):
            mine, found = ([one for one in part if (one["image"], one["label"]) == (image, label)] for part in (gt, dt))
            sizes = [float(boxes.volume(np.array(one["box"]))) for one in mine]
            total += sum(low <= size <= high and not one["crowd"] for one, size in zip(mine, sizes))
            told += [one for one in assigned(mine, found, threshold, low, high) if one[1] < most]
        if not total:
            continue
        right = wrong = 0
        points = []
        for _, _, what in sorted(told, key=lambda one: -one[0]):
            right, wrong = right + (what == 1), wrong + (what == 0)
            points.append((right / total, right / max(1, right + wrong)))
        best = [max([p for r, p in points if r >= level], default=0.0) for level in np.linspace(0, 1, 101)]
        precisions.append(np.mean(best))
        recalls.append(right / total)
    return (np.mean(precisions), np.mean(recalls)) if precisions else (NAN, NAN)


@settings(deadline=None, max_examples=12)
@given(seed=st.integers(0, 10_000), rank=st.sampled_from([2, 3]), crowds=st.sampled_from([0.0, 0.3]))
def test_equal_to_loops_in_two_and_three_dimensions(seed: int, rank: int, crowds: float) -> None:
    largest = 60 if seed % 2 else 8
    gt, dt = made_up_boxes.split(seed, images=4, labels=2, rank=rank, largest=largest, crowds=crowds)
    found = coco.coco_map(gt=gt, dt=dt, n_images=4, labels=[0, 1])
    small, medium = 32.0**rank, 96.0**rank
    assert found["ap50"] == pytest.approx(looped(gt, dt, 2, 0.5, 0, math.inf, 100)[0], nan_ok=True)
    assert found["ap75"] == pytest.approx(looped(gt, dt, 2, 0.75, 0, math.inf, 100)[0], nan_ok=True)
    everything = [looped(gt, dt, 2, t, 0, math.inf, 1)[1] for t in np.linspace(0.5, 0.95, 10)]
    assert found["ar1"] == pytest.approx(np.mean(everything), nan_ok=True)
    by_size = [looped(gt, dt, 2, t, small, medium, 100) for t in np.linspace(0.5, 0.95, 10)]
    assert found["ap_medium"] == pytest.approx(np.mean([ap for ap, _ in by_size]), nan_ok=True)
    assert found["ar_medium"] == pytest.approx(np.mean([ar for _, ar in by_size]), nan_ok=True)


def one(box: list[float], image: int = 0, **more: Any) -> dict[str, Any]:
    return {"image": image, "label": "nodule", "box": box, **more}


def test_perfect_boxes_score_one() -> None:
    gt = [one([0, 0, 9, 9]), one([20, 20, 90, 90], image=3)]
    found = coco.coco_map(gt=gt, dt=[{**g, "score": 0.5} for g in gt], n_images=4, labels=["nodule"])
    assert {found[name] for name in ("ap", "ap50", "ap_small", "ap_medium", "ar1", "ar100")} == {1.0}
    assert math.isnan(found["ap_large"])


def test_precision_worked_by_hand() -> None:
    # Right, wrong, right: precision 1 up to recall 1/2 (51 of 101 recalls), 2/3 from there on.
    gt = [one([0, 0, 10, 10]), one([50, 50, 60, 60])]
    dt = [one([0, 0, 10, 10], score=0.9), one([80, 0, 90, 9], score=0.8), one([50, 50, 60, 60], score=0.7)]
    assert coco.coco_map(gt=gt, dt=dt, n_images=1, labels=["nodule"])["ap50"] == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_what_lies_in_a_crowd_is_neither_right_nor_wrong() -> None:
    gt = [one([0, 0, 10, 10]), one([20, 0, 60, 40], crowd=1)]
    dt = [one([25, 5, 30, 9], score=0.9), one([30, 5, 39, 9], score=0.8), one([0, 0, 10, 10], score=0.5)]
    assert coco.coco_map(gt=gt, dt=dt, n_images=1, labels=["nodule"])["ap"] == 1


def test_an_image_without_references_can_only_cost() -> None:
    gt = [one([0, 0, 10, 10])]
    dt = [one([0, 0, 10, 10], score=0.5), one([0, 0, 10, 10], image=1, score=0.9)]
    assert coco.coco_map(gt=gt, dt=dt, n_images=2, labels=["nodule"])["ap50"] == pytest.approx(0.5)


def test_no_references_are_undefined_and_no_found_boxes_are_nothing() -> None:
    none = coco.coco_map(gt=[], dt=[one([0, 0, 1, 1], score=0.1)], n_images=1, labels=["nodule"])
    assert all(math.isnan(value) for value in none.values())
    assert all(math.isnan(value) for value in coco.coco_map(gt=[], dt=[], n_images=0, labels=[]).values())
    missed = coco.coco_map(gt=[one([0, 0, 1, 1])], dt=[], n_images=1, labels=["nodule"])
    assert (missed["ap"], missed["ar100"], missed["ap_small"]) == (0, 0, 0)


def test_other_labels_are_left_out() -> None:
    gt = [one([0, 0, 9, 9]), {"image": 0, "label": "mass", "box": [0, 0, 9, 9]}]
    dt = [one([0, 0, 9, 9], score=0.5), {"image": 0, "label": "mass", "box": [50, 50, 99, 99], "score": 1.0}]
    assert coco.coco_map(gt=gt, dt=dt, n_images=1, labels=["nodule"])["ap"] == 1
    assert coco.coco_map(gt=gt, dt=dt, n_images=1)["ap"] == 0.5


@pytest.mark.parametrize(
    ("gt", "dt", "said"),
    [
        ([{"image": 0, "box": [0, 0, 1, 1]}], [], "lacks 'label'"),
        ([one([0, 0, 1, 1])], [one([0, 0, 1, 1])], "lacks 'score'"),
        ([one([0, 0, 1, 1])], [one([0, 0, 1, 1], score=NAN)], "nan"),
        ([one([0, 0, 1, 1])], [one([0, 0, 0, 1, 1, 1], score=1.0)], "one number of edges"),
        ([one([0, 0, 1, 1])], [one([0, 0, 1, 1], image=7, score=1.0)], "n_images is 1"),
    ],
)
def test_what_does_not_fit_is_refused(gt: Listed, dt: Listed, said: str) -> None:
    with pytest.raises(UserError, match=said):
        coco.coco_map(gt=gt, dt=dt, n_images=1, labels=["nodule"])


def test_the_curve_is_what_the_area_is_of() -> None:
    gt, dt = made_up_boxes.split(3, images=10, labels=1, largest=30)
    found = coco.coco_map(gt=gt, dt=dt, n_images=10, labels=[0])
    parts = [
        coco.Boxes(
            np.array([o["image"] for o in part]),
            np.array([o["label"] for o in part]),
            np.array([o["box"] for o in part], float),
            np.array([o.get("score", 0.0) for o in part]),
            np.zeros(len(part), bool),
        )
        for part in (gt, dt)
    ]
    matches = coco.match(*parts, num_labels=1)
    assert coco.curve(matches, 0).mean() == pytest.approx(found["ap50"])
    assert coco.curve(matches, 0, threshold=5).mean() == pytest.approx(found["ap75"])


@pytest.mark.parametrize(("side", "names"), [(31, "small"), (32, "small medium"), (96, "medium large"), (97, "large")])
@pytest.mark.parametrize("rank", [2, 3])
def test_sizes_end_at_squares_and_cubes_and_share_their_ends(side: int, names: str, rank: int) -> None:
    gt = [one([0.0] * rank + [float(side)] * rank)]
    found = coco.coco_map(gt=gt, dt=[{**gt[0], "score": 1.0}], n_images=1, labels=["nodule"])
    assert [name for name in ("small", "medium", "large") if found[f"ap_{name}"] == 1] == names.split()
