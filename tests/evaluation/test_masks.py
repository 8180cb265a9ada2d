"""A segmentation's figures: by hand, worst values counted, unknown images left out."""

import math

import numpy as np
import pytest
from scipy import ndimage

from radkit.evaluation import cases, masks, measures
from radkit.metrics import METRICS
from tests.evaluation import made_up_answers as made_up

ASKED = {one.name: one for one in masks.measures(("liver", "lesion"))}


def one_of(reference: list, found: list, spacing: tuple[float, ...] = (1.0, 2.0), known: np.ndarray | None = None):
    first, second = np.array(reference), np.array(found)
    return masks.detail(first, second, np.ones(first.shape, bool) if known is None else known, spacing, ["x"])


def test_a_case_worked_by_hand() -> None:
    told = one_of([[1, 1, 0, 0], [0, 0, 0, 1]], [[1, 0, 0, 0], [0, 0, 0, 1]])
    assert told["known_voxels"] == 8
    assert told["diagonal_mm"] == pytest.approx(math.hypot(2, 8))
    assert (told["ref_voxels x"], told["pred_voxels x"]) == (3, 2)
    assert (told["ref_cm2 x"], told["pred_cm2 x"]) == pytest.approx((0.06, 0.04))
    assert told["ref_cm2"] == told["ref_cm2 x"]
    # By voxels: the reference's second voxel lies 2 mm from the first; all others lie on the other surface.
    assert told["hd95_mm x"] == pytest.approx(np.percentile([0, 2, 0], 95))
    assert told["assd_mm x"] == pytest.approx(2 / 5)
    assert (told["parts x"], told["parts_found x"], told["parts_hit x"]) == (2, 2, 2)


def test_parts_touch_by_corners_and_are_hit_from_a_tenth_of_overlap_on() -> None:
    told = one_of([[1, 0, 0, 0], [0, 1, 0, 1]], [[1, 1, 0, 0], [1, 1, 0, 0]])
    assert (told["parts x"], told["parts_found x"], told["parts_hit x"]) == (2, 1, 1)
    assert ndimage.label(np.array([[1, 0], [0, 1]]), np.ones((3, 3)))[1] == 1
    wide = np.zeros((1, 40), int)
    wide[0, :20] = 1
    for length, hit in ((1, 0), (2, 1)):
        small = np.zeros((1, 40), int)
        small[0, :length] = 1
        assert one_of(wide.tolist(), small.tolist())["parts_hit x"] == hit


def test_volumes_are_in_millilitres_and_columns_name_their_unit() -> None:
    reference = np.ones((2, 3, 4), int)
    told = masks.detail(reference, reference, reference > 0, (5.0, 2.0, 1.0), ["x"])
    assert told["ref_ml x"] == told["pred_ml x"] == pytest.approx(0.24)
    assert "ref_ml" not in told
    assert told["hd95_mm x"] == 0.0


def test_without_a_voxel_size_overlap_stays_and_distances_are_unknown() -> None:
    told = one_of([[1, 0]], [[1, 1]], (math.nan, math.nan))
    assert math.isnan(told["hd95_mm x"])
    assert math.isnan(told["ref_cm2 x"])
    assert math.isnan(told["diagonal_mm"])
    assert told["parts_hit x"] == 1


def test_what_nobody_labelled_is_neither_right_nor_wrong() -> None:
    known = np.array([[True, True, False, False]])
    told = one_of([[1, 0, 0, 0]], [[1, 0, 1, 1]], known=known)
    assert (told["known_voxels"], told["pred_voxels x"], told["hd95_mm x"]) == (2, 1, 0.0)


def test_an_infinite_distance_counts_as_the_diagonal_and_is_counted() -> None:
    rows = [
        {
            "patient_id": p,
            "dice": 0.0,
            "dice x": d,
            **one_of([[r, 0, 0]], [[f, 0, 0]], (3.0, 4.0)),
        }
        for p, d, r, f in (("a", 1.0, 1, 1), ("b", 0.0, 1, 0), ("c", 0.0, 0, 1), ("d", 1.0, 0, 0))
    ]
    table = cases.Cases(rows)
    asked = {one.name: one for one in masks.measures(["x"])}
    diagonal = math.hypot(3, 12)
    assert [row["hd95_mm x"] for row in rows] == [0.0, math.inf, math.inf, 0.0]
    assert measures.value(asked["HD95, x"], table) == pytest.approx(diagonal / 2)
    assert measures.value(asked["ASSD, x"], table) == pytest.approx(diagonal / 2)
    assert measures.value(asked["NSD, x"], table) == 0.5
    assert masks.num_at_worst(table, "hd95_mm x") == 2
    assert measures.value(asked["missed or invented, x"], table) == 0.5
    assert measures.value(asked["Dice where present, x"], table) == 0.5
    assert measures.figure(asked["Dice where present, x"], table, made_up.DRAWS)["n"] == 2
    # As text, as a table on the disk has it.
    again = cases.Cases([{name: str(value) for name, value in row.items()} for row in rows])
    assert measures.value(asked["HD95, x"], again) == pytest.approx(diagonal / 2)


def test_images_that_nobody_labelled_are_left_out_and_those_of_unknown_size_of_distances() -> None:
    whole = made_up.of_masks(1)
    nobody = made_up.changed(whole, 2, known_voxels=0, dice=1.0)
    rest = cases.Cases([row for k, row in enumerate(whole.rows) if k != 2])
    for one in ASKED.values():
        assert measures.value(one, nobody) == pytest.approx(measures.value(one, rest), rel=1e-12)
    unsized = made_up.changed(whole, 2, **{"hd95_mm liver": math.nan})
    assert measures.figure(ASKED["HD95, liver"], unsized, made_up.DRAWS)["n"] == len(whole) - 1
    assert measures.figure(ASKED["mean Dice"], unsized, made_up.DRAWS)["n"] == len(whole)
    empty = cases.Cases([{**row, "known_voxels": 0} for row in whole.rows])
    assert all(math.isnan(measures.value(one, empty)) for one in ASKED.values())


@pytest.mark.parametrize("name", ASKED)
def test_weights_are_copies_and_the_order_does_not_matter(name: str) -> None:
    table, one = made_up.of_masks(3), ASKED[name]
    times = np.random.default_rng(0).integers(0, 3, (2, len(table)))
    for often, value in zip(times, one.of(table, times.astype(float))):
        assert value == pytest.approx(measures.value(one, made_up.copied(table, often)), rel=1e-12)
    turned = cases.Cases(table.rows[::-1])
    wanted, got = (measures.figure(one, of, made_up.DRAWS) for of in (table, turned))
    assert [got[key] for key in ("value", "low", "high")] == pytest.approx(
        [wanted[key] for key in ("value", "low", "high")], rel=1e-12
    )


def test_the_interval_of_mean_dice_is_bootstrap_cis() -> None:
    table = made_up.of_masks(2, per_patient=2)
    wanted = METRICS["bootstrap_ci"](
        "mean", None, table.numbers("dice"), cluster=table.words("patient_id"), resamples=99, seed=3
    )
    got = measures.figure(ASKED["mean Dice"], table, cases.Draws(99, 3))
    assert (got["low"], got["high"]) == pytest.approx((wanted["low"], wanted["high"]), rel=1e-12)


def test_one_label_is_told_once() -> None:
    names = [one.name for one in masks.measures(["x"])]
    assert "Dice, x" not in names
    assert names[0] == "mean Dice"
    assert len(set(names)) == len(names)
    assert [one.name for one in measures.leading(masks.measures(["x"]))] == ["mean Dice", "HD95, x"]
