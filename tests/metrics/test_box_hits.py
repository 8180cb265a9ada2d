import numpy as np
import pytest

from radkit.errors import UserError
from radkit.metrics import box_hits

LESIONS = [[0, 0, 10, 10], [8, 0, 18, 10], [40, 40, 50, 50]]


def test_the_best_score_takes_the_lesion_and_the_next_one_is_a_second_hit() -> None:
    hits = box_hits.matched([[40, 40, 50, 50], [41, 40, 51, 50], [0, 70, 5, 75]], [0.2, 0.9, 0.5], LESIONS)
    assert hits.tolist() == [2, 2, -1]


def test_a_box_whose_lesion_is_taken_takes_the_next_it_fits() -> None:
    hits = box_hits.matched([[1, 0, 11, 10], [2, 0, 12, 10]], [0.9, 0.8], LESIONS)
    assert hits.tolist() == [0, 1]


def test_labels_must_agree() -> None:
    hits = box_hits.matched([[0, 0, 10, 10]] * 2, [0.9, 0.8], LESIONS, [1, 0], [0, 0, 1])
    assert hits.tolist() == [-1, 0]


def test_padding_and_regions_to_ignore_do_not_count() -> None:
    reference = [[0, 0, 10, 10], [20, 0, 40, 20], [0, 0, 0, 0]]
    found = [[25, 5, 30, 10], [35, 0, 50, 10], [0, 0, 10, 10], [0, 0, 0, 0]]
    hits = box_hits.matched(found, [0.9, 0.8, 0.7, 0.0], reference, [0, 0, 0, -1], [0, -2, -1])
    assert hits.tolist() == [-2, -1, 0, -2]


def test_a_hit_within_a_region_to_ignore_stays_a_hit() -> None:
    hits = box_hits.matched([[2, 2, 8, 8]], [0.9], [[0, 0, 20, 20], [2, 2, 8, 9]], [0], [-2, 0])
    assert hits.tolist() == [1]


@pytest.mark.parametrize("rank", [2, 3])
def test_overlap_counts_from_a_tenth(rank: int) -> None:
    reference = [[0] * rank + [10] * rank]
    low, high = [0] * (rank - 1) + [8], [10] * (rank - 1) + [18]  # a fifth of either: IoU 1/9
    assert box_hits.matched([low + high], [1.0], reference).tolist() == [0]
    low, high = [0] * (rank - 1) + [9], [10] * (rank - 1) + [19]
    assert box_hits.matched([low + high], [1.0], reference).tolist() == [-1]


def test_the_centre_must_lie_in_the_lesions_ellipsoid() -> None:
    reference = [[0, 0, 0, 4, 10, 20]]
    at = np.array([[2, 5, 10], [2, 5, 19.9], [2, 5, 20.1], [3.9, 9.9, 19.9], [0.1, 5, 10]])
    found = np.concatenate([at - 0.5, at + 0.5], axis=1)
    hits = box_hits.matched(found, np.ones(5), reference, rule="centre")
    assert hits.tolist() == [0, 0, -1, -1, 0]


def test_nothing_found_or_nothing_there() -> None:
    assert box_hits.matched([], [], LESIONS).tolist() == []
    assert box_hits.matched(LESIONS, [1, 1, 1], []).tolist() == [-1, -1, -1]


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(UserError, match="3 found boxes have 2 scores"):
        box_hits.matched(LESIONS, [1, 2], LESIONS)
    with pytest.raises(UserError, match="'iou' or 'centre'"):
        box_hits.matched(LESIONS, [1, 2, 3], LESIONS, rule="overlap")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="least_iou"):
        box_hits.matched(LESIONS, [1, 2, 3], LESIONS, least_iou=0)


def test_counts_of_one_image() -> None:
    image = box_hits.Boxes(
        patient="p",
        reference=[*LESIONS, [90, 90, 99, 99], [0, 0, 0, 0]],
        labels=[0, 0, 0, -2, -1],
        found=[[0, 0, 10, 10], [0, 0, 11, 10], [70, 0, 75, 9], [91, 91, 98, 98], [40, 40, 50, 50], [0, 0, 0, 0]],
        scores=[0.9, 0.8, 0.7, 0.7, 0.2, 0.0],
        found_labels=[0, 0, 0, 0, 0, -1],
        spacing_mm=(1.0, 1.0),
    )
    at_half = box_hits.counts(image, threshold=0.5)
    assert at_half == {"num_reference": 3, "num_found": 3, "hits": 2, "misses": 1, "false_positives": 1}
    assert box_hits.counts(image, threshold=0.1)["misses"] == 0
