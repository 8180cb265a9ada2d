"""Images made worse: by how much, where references go, and that nothing given is changed."""

import numpy as np
import pytest
from scipy import ndimage

from radkit import config
from radkit.errors import UserError
from radkit.evaluation import perturbations

PLAIN = config.Data("made_up")
CT = config.Data("made_up", normalise="window", window=(-100.0, 300.0))
NAMES = [one.name for one in perturbations.GRID]


def radiograph(rows: int = 40, columns: int = 60, **more: object) -> dict:
    values = np.random.default_rng(1).normal(100, 20, (rows, columns, 1)).astype(np.float32)
    return {"record_uid": "1.2.3", "spacing_mm": np.float32([0.5, 0.5]), "values": values, **more}


def volume(slices: int = 8, rows: int = 20, columns: int = 24, **more: object) -> dict:
    values = np.random.default_rng(2).normal(50, 90, (slices, rows, columns, 1)).astype(np.float32)
    return {"record_uid": "1.2.4", "spacing_mm": np.float32([3, 1, 1]), "values": values, **more}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("made", [radiograph, volume])
@pytest.mark.parametrize("data", [PLAIN, config.Data("made_up", normalise="window", window=(50.0, 150.0))])
def test_a_step_changes_the_image_alone_keeps_its_shape_and_is_the_same_again(name, made, data) -> None:
    record, before = made(), made()
    for amount in perturbations.find(name).amounts:
        changed = perturbations.perturbed(name, record, amount, data)
        assert changed["values"].shape == record["values"].shape
        assert changed["values"].dtype == np.float32
        assert np.isfinite(changed["values"]).all()
        assert not np.array_equal(changed["values"], record["values"])
        np.testing.assert_array_equal(changed["values"], perturbations.perturbed(name, made(), amount, data)["values"])
        assert changed["spacing_mm"] is record["spacing_mm"]
    np.testing.assert_array_equal(record["values"], before["values"])


@pytest.mark.parametrize("name", NAMES)
def test_an_amount_of_zero_leaves_the_record_and_more_moves_it_further(name) -> None:
    record = radiograph()
    record["values"] = ndimage.gaussian_filter(record["values"], (3, 3, 0))
    assert perturbations.perturbed(name, record, 0, PLAIN)["values"] is record["values"]
    away = [
        np.abs(perturbations.perturbed(name, record, amount, PLAIN)["values"] - record["values"]).mean()
        for amount in perturbations.find(name).amounts
    ]
    assert 0 < away[0] < away[1] < away[2]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("values", [np.zeros((5, 4, 1), np.float32), np.full((1, 1, 1), 7, np.float32)])
def test_a_constant_image_stays_as_it_is(name, values) -> None:
    changed = perturbations.perturbed(name, {**radiograph(), "values": values}, 1.0, PLAIN)
    np.testing.assert_allclose(changed["values"], values, atol=1e-6)


def test_noise_is_a_share_of_the_range_of_grey_values() -> None:
    record = radiograph(400, 500)
    low, high = np.percentile(record["values"], [1, 99])
    noise = perturbations.perturbed("noise", record, 5.0, PLAIN)["values"] - record["values"]
    assert noise.std() == pytest.approx(0.05 * (high - low), rel=0.01)
    assert abs(noise.mean()) < 0.02 * noise.std()
    of_window = perturbations.perturbed("noise", record, 5.0, CT)["values"] - record["values"]
    assert of_window.std() == pytest.approx(0.05 * 400, rel=0.01)
    other = perturbations.perturbed("noise", {**record, "record_uid": "9"}, 5.0, PLAIN)["values"] - record["values"]
    assert abs(np.corrcoef(noise.ravel(), other.ravel())[0, 1]) < 0.02


def test_blur_spreads_a_point_as_a_gaussian_of_its_slice_alone() -> None:
    values = np.zeros((3, 41, 101, 1), np.float32)
    values[1, 20, 50] = 1.0
    blurred = perturbations.perturbed("blur", {**volume(), "values": values}, 2.0, PLAIN)["values"][..., 0]
    assert not blurred[[0, 2]].any()
    sigma = 2.0
    expected = np.exp(-((np.arange(101) - 50) ** 2) / (2 * sigma**2)) / (sigma * np.sqrt(2 * np.pi))
    np.testing.assert_allclose(blurred[1].sum(0), expected, atol=2e-4)


def test_blur_and_spacing_count_the_pixels_that_the_network_sees() -> None:
    small = config.Data("made_up", kind="radiograph", image_size=(20, 20))
    assert perturbations.pixel(radiograph(40, 60), small).tolist() == [3, 3]
    assert perturbations.pixel(radiograph(10, 10), small).tolist() == [1, 1]
    thick = config.Data("made_up", spacing_mm=(6.0, 0.5, 2.0))
    assert perturbations.pixel(volume(), thick).tolist() == [2, 1, 2]
    assert perturbations.pixel(volume(spacing_mm=np.float32([np.nan] * 3)), thick).tolist() == [1, 1, 1]
    record = radiograph(40, 60)
    blurred = perturbations.perturbed("blur", record, 0.5, small)["values"]
    np.testing.assert_array_equal(blurred, perturbations.perturbed("blur", record, 1.5, PLAIN)["values"])


def test_contrast_bends_what_lies_between_the_ends_and_nothing_else() -> None:
    values = np.float32([-500, -100, 0, 100, 300, 900])[None, :, None]
    darker = perturbations.perturbed("darker contrast", {**radiograph(), "values": values}, 1.0, CT)["values"].ravel()
    np.testing.assert_allclose(darker, [-500, -100, -100 + 400 * 0.25**2, 0, 300, 900], atol=1e-3)
    brighter = perturbations.perturbed("brighter contrast", {**radiograph(), "values": values}, 1.0, CT)["values"]
    np.testing.assert_allclose(brighter.ravel(), [-500, -100, 100, -100 + 400 * 0.5**0.5, 300, 900], atol=1e-3)


def test_a_narrower_window_cuts_both_ends() -> None:
    values = np.float32([-500, -100, 0, 290, 900])[None, :, None]
    cut = perturbations.perturbed("narrower window", {**radiograph(), "values": values}, 20.0, CT)["values"].ravel()
    np.testing.assert_allclose(cut, [-60, -60, 0, 260, 260])


def test_coarser_slices_are_means_put_back_between() -> None:
    values = np.arange(8, dtype=np.float32).reshape(8, 1, 1, 1) ** 2
    coarse = perturbations.perturbed("coarser spacing", {**volume(), "values": values}, 1.0, PLAIN)["values"].ravel()
    pairs = (values.ravel()[::2] + values.ravel()[1::2]) / 2
    np.testing.assert_allclose(coarse, np.interp((np.arange(8) + 0.5) / 2 - 0.5, np.arange(4), pairs), rtol=1e-6)


def test_coarser_parts_that_cut_voxels_hold_their_shares() -> None:
    values = np.float32([1, 4, 9, 16, 25])
    parts = perturbations._averaged(values, 0, 5 / 3)  # three parts of 5/3 voxels
    np.testing.assert_allclose(parts, np.array([1 + 4 * 2 / 3, 4 / 3 + 9 + 16 / 3, 16 * 2 / 3 + 25]) * 3 / 5)


def test_a_turn_moves_image_mask_and_box_together() -> None:
    mask = np.zeros((60, 80, 1), np.uint8)
    rows, columns = np.mgrid[:60, :80] + 0.5
    mask[((rows - 22) / 6) ** 2 + ((columns - 50) / 12) ** 2 < 1, 0] = 1
    boxes = np.float32([[16, 38, 28, 62]])
    record = {**radiograph(), "values": mask.astype(np.float32) * 100, "mask": mask, "boxes": boxes}
    record |= {"box_labels": np.array([1]), "lesion_ids": np.array([b"a"])}
    for amount in (10.0, 20.0, 35.0):
        turned = perturbations.perturbed("rotation", record, amount, PLAIN)
        assert set(np.unique(turned["mask"])) == {0, 1}
        assert turned["mask"].dtype == np.uint8
        assert np.sum(turned["mask"] != (turned["values"] > 50)) <= 10  # nearest and linear differ on the outline
        assert abs(int(turned["mask"].sum()) - int(mask.sum())) < 20
        there = np.argwhere(turned["mask"][..., 0])
        drawn = np.concatenate([there.min(0), there.max(0) + 1])
        np.testing.assert_allclose(turned["boxes"][0], drawn, atol=1.0)  # as tight as the voxels show
        assert turned["references_lost"] == 0


def test_a_turn_counts_millimetres_not_voxels() -> None:
    mask = np.zeros((2, 41, 81, 1), np.uint8)
    mask[:, 20, 40:] = 1  # a line to the right; columns are half as wide as rows are high
    record = {**volume(), "values": mask.astype(np.float32), "mask": mask, "spacing_mm": np.float32([5, 2, 1])}
    turned = perturbations.perturbed("rotation", record, 45.0, PLAIN)["mask"][0, ..., 0]
    rows, columns = np.nonzero(turned)
    away = rows * 2.0 - 40, columns * 1.0 - 40
    far = np.hypot(*away) > 8
    np.testing.assert_allclose(np.abs(away[0][far]), np.abs(away[1][far]), atol=2.9)


def test_a_record_turns_to_the_same_side_each_time_and_records_to_both() -> None:
    values = np.zeros((21, 21, 1), np.float32)
    values[10, 15:] = 1
    sides = set()
    for number in range(12):
        record = {**radiograph(), "values": values, "record_uid": f"1.{number}"}
        ups = [
            perturbations.perturbed("rotation", record, amount, PLAIN)["values"][:10].sum() > 0.5
            for amount in (20.0, 30.0)
        ]
        assert ups[0] == ups[1]
        sides.add(bool(ups[0]))
    assert sides == {False, True}


def test_a_box_whose_middle_leaves_the_image_is_counted_not_hidden() -> None:
    boxes = np.float32([[0, 96, 4, 100], [48, 48, 52, 52]])
    record = {**radiograph(100, 100), "boxes": boxes, "box_labels": np.array([0, 1])}
    turned = perturbations.perturbed("rotation", record, 20.0, PLAIN)
    assert turned["references_lost"] == 1
    assert turned["box_labels"].tolist() == [1]
    assert turned["boxes"].shape == (1, 4)
    none = perturbations.perturbed("rotation", {**record, "boxes": np.zeros((0, 4), np.float32)}, 20.0, PLAIN)
    assert none["boxes"].shape == (0, 4)


def test_boxes_of_volumes_keep_their_slices() -> None:
    record = {**volume(), "boxes": np.float32([[1, 8, 9, 4, 12, 15]]), "spacing_mm": np.float32([np.nan] * 3)}
    turned = perturbations.perturbed("rotation", record, 90.0, PLAIN)["boxes"][0]
    assert turned[[0, 3]].tolist() == [1, 4]
    assert turned[4] - turned[1] == pytest.approx(6, abs=1e-4)
    assert turned[5] - turned[2] == pytest.approx(4, abs=1e-4)


def test_several_readers_masks_turn_too() -> None:
    mask = np.zeros((8, 20, 24, 1), np.uint8)
    mask[2:5, 4:9, 5:18] = 1
    turned = perturbations.perturbed("rotation", volume(mask=mask, reader_masks=np.stack([mask, mask])), 10.0, PLAIN)
    np.testing.assert_array_equal(turned["reader_masks"][1], turned["mask"])


@pytest.mark.parametrize("amount", [-1.0, float("nan"), float("inf")])
def test_an_impossible_amount_is_refused(amount) -> None:
    with pytest.raises(UserError, match=r"amount of 'noise' must be a number >= 0"):
        perturbations.perturbed("noise", radiograph(), amount, PLAIN)


def test_an_unknown_perturbation_is_refused_with_its_neighbour() -> None:
    with pytest.raises(UserError, match=r"no perturbation is named 'noize'.*noise"):
        perturbations.perturbed("noize", radiograph(), 1.0, PLAIN)
