import math

import numpy as np
import pytest

from radkit.errors import UserError
from radkit.metrics.centreline import centreline_dice
from tests.metrics import made_up_masks


def test_two_vessels_score_as_other_software_has_it() -> None:
    # MetricsReloaded (main of 2025) on scikit-image 0.26.0.
    ref, pred = made_up_masks.vessels()
    assert centreline_dice(ref=ref, pred=pred) == pytest.approx(0.9180327868852458, rel=1e-12)
    assert centreline_dice(ref=ref[4], pred=pred[4].astype(float)) == pytest.approx(0.9032258064516129, rel=1e-12)


def test_a_missed_branch_lowers_the_share_of_the_reference_only() -> None:
    ref, _ = made_up_masks.vessels()
    pred = ref.copy()
    pred[:, 7:] = False
    assert 0.9 < centreline_dice(ref=ref, pred=pred) < 1
    assert centreline_dice(ref=ref, pred=ref) == 1


def test_background_around_changes_nothing() -> None:
    ref, pred = made_up_masks.vessels()
    larger = [np.pad(mask, ((3, 1), (0, 4), (2, 2))) for mask in (ref, pred)]
    assert centreline_dice(ref=larger[0], pred=larger[1]) == centreline_dice(ref=ref, pred=pred)


def test_a_mask_in_one_plane_of_a_volume_is_thinned_as_part_of_the_volume() -> None:
    ref, pred = np.zeros((3, 9, 9), bool), np.zeros((3, 9, 9), bool)
    ref[0, 2:7, 1:8], pred[0, 3:8, 1:8] = True, True
    padded = [np.pad(mask, 1) for mask in (ref, pred)]
    assert centreline_dice(ref=ref, pred=pred) == centreline_dice(ref=padded[0], pred=padded[1])


def test_empty_masks_agree_and_vessels_elsewhere_do_not() -> None:
    empty, line, other = np.zeros((5, 9)), np.zeros((5, 9)), np.zeros((5, 9))
    line[1], other[3] = 1, 1
    assert centreline_dice(ref=empty, pred=empty) == 1
    assert centreline_dice(ref=line, pred=empty) == 0
    assert centreline_dice(ref=empty, pred=line) == 0
    assert centreline_dice(ref=line, pred=other) == 0


def test_a_clot_without_a_skeleton_has_no_score() -> None:
    clot = np.zeros((6, 6, 6))
    clot[2:4, 2:4, 2:4] = 1
    assert math.isnan(centreline_dice(ref=clot, pred=clot))


def test_probabilities_are_refused() -> None:
    with pytest.raises(UserError, match="pred must be a mask of whole numbers"):
        centreline_dice(ref=[[0, 1]], pred=[[0.2, 0.9]])
