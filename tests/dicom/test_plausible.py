"""Masks that were turned, moved, or belong to another case are named; masks as drawn are not."""

import json

import numpy as np
import pytest

from radkit.dicom import plausible
from radkit.dicom.annotations import form
from radkit.dicom.volumes import META, Volume

SHAPE = (12, 48, 56)


def volume(values, modality="MR"):
    count = len(values)
    return Volume(
        stored=values.astype(np.int16),
        slope=np.ones(count, np.float32),
        intercept=np.zeros(count, np.float32),
        affine=np.eye(4),
        spacing_mm=(3.0, 1.0, 1.0),
        meta={**dict.fromkeys(META, ""), "Modality": modality},
        findings=(),
        paths=(),
        instance_uids=(),
    )


def case(seed, large=True):
    """Returns a body with one bright organ off its middle, and the organ's mask."""
    rng = np.random.default_rng(seed)
    z, y, x = np.meshgrid(*(np.arange(side) for side in SHAPE), indexing="ij")
    middle = np.array([4.5, 18.0, 20.0]) + rng.normal(0, 0.7, 3)
    size = np.array([4.0, 12.0, 11.0] if large else [2.0, 4.0, 5.0]) * rng.uniform(0.92, 1.08, 3)
    organ = ((z - middle[0]) / size[0]) ** 2 + ((y - middle[1]) / size[1]) ** 2 + ((x - middle[2]) / size[2]) ** 2 < 1
    body = ((y - 24) / 22) ** 2 + ((x - 28) / 26) ** 2 < 1
    values = 100 + 400 * body + 300 * organ + rng.normal(0, 15, SHAPE)
    return volume(values), organ


def drawn(inside, label="organ"):
    return form.Annotation(regions=(form.region(label, 1, inside),))


def names(image, inside):
    return [finding.name for finding in plausible.of_mask(image, drawn(inside))]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("large", [True, False])
def test_masks_as_drawn_raise_nothing(seed, large):
    assert names(*case(seed, large)) == []


@pytest.mark.parametrize("axes", [(1,), (2,), (1, 2), (0, 1)])
def test_a_large_mask_that_was_turned_is_named_with_its_axes(axes):
    image, inside = case(1)
    (finding,) = plausible.of_mask(image, drawn(np.flip(inside, axes)))
    assert finding.name == "implausible_place"
    words = {0: "slices", 1: "rows", 2: "columns"}
    assert all(words[axis] in finding.text for axis in axes)


def test_a_mask_in_the_air_is_named():
    hu = np.full(SHAPE, -1000)
    hu[:, 12:36, 14:42] = 40
    inside = np.zeros(SHAPE, bool)
    inside[3:7, 20:30, 20:30] = True
    assert names(volume(hu, "CT"), inside) == []
    assert names(volume(hu, "CT"), np.roll(inside, (16, 20), (1, 2))) == ["implausible_place"]


def test_a_lung_is_no_air_around_the_body():
    hu = np.full(SHAPE, -1000)
    hu[:, 6:42, 6:50] = 40
    hu[:, 14:34, 12:24] = -850
    assert names(volume(hu, "CT"), hu == -850) == []


def test_masks_that_cannot_be_judged_raise_nothing():
    image, inside = case(0)
    for other in (np.zeros(SHAPE, bool), np.ones(SHAPE, bool), inside & (np.arange(56) < 12)):
        assert names(image, other) == []
    assert plausible.of_mask(image, form.Annotation()) == []
    assert plausible.features(image, form.Annotation()) == {}


def cases(count=40):
    return {f"1.2.{seed}": case(seed) for seed in range(count)}


def figures(held):
    return {uid: plausible.features(image, drawn(inside)) for uid, (image, inside) in held.items()}


def test_cases_that_are_alike_have_no_outlier_and_are_plain_values():
    told = figures(cases())
    assert plausible.outliers(told) == []
    assert plausible.outliers(json.loads(json.dumps(told))) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        lambda inside: inside[::-1],
        lambda inside: inside[:, ::-1],
        lambda inside: inside[:, :, ::-1],
        lambda inside: np.roll(inside, 6, 1),
        lambda inside: np.roll(inside, -5, 2),
        lambda inside: inside & (np.arange(SHAPE[2]) < 18),
    ],
)
def test_the_one_mask_that_is_unlike_the_others_is_named(change):
    held = cases()
    image, inside = held["1.2.7"]
    held["1.2.7"] = image, change(inside)
    assert [(uid, finding.name) for uid, finding in plausible.outliers(figures(held))] == [("1.2.7", "unlike_others")]


def test_of_few_cases_none_is_the_odd_one():
    held = cases(12)
    image, inside = held["1.2.7"]
    held["1.2.7"] = image, inside[:, ::-1]
    assert plausible.outliers(figures(held)) == []


@pytest.mark.slow
def test_labels_are_compared_with_their_like():
    told = figures(cases(30))
    mixed = {uid: {"other": case["organ"]} if index % 2 else case for index, (uid, case) in enumerate(told.items())}
    assert plausible.outliers(mixed) == []


def test_place_and_volume_are_those_worked_by_hand():
    inside = np.zeros(SHAPE, bool)
    inside[2:6, 10:20, 14:28] = True
    told = plausible.features(volume(np.where(inside, 200, 100)), drawn(inside))["organ"]
    assert told["volume"] == pytest.approx(np.log(4 * 10 * 14 * 3))
    assert told["slice_place"] == pytest.approx(4 / 12)
    assert told["row_place"] == pytest.approx(15 / 48)
    assert told["column_place"] == pytest.approx(21 / 56)
    assert told["spread"] == 0
    assert told["contrast"] > 0


def test_large_images_are_thinned_out_and_a_mask_of_one_slice_is_judged_all_the_same():
    values = np.random.default_rng(0).normal(100, 5, (130, 40, 44))
    inside = np.zeros(values.shape, bool)
    inside[1, 10:20, 12:24] = True  # on a slice that thinning leaves out
    assert names(volume(values), inside) == []
    assert plausible.features(volume(values), drawn(inside))["organ"]["edge"] == 0


@pytest.mark.slow
def test_a_case_that_two_ways_tell_of_is_named_once():
    held = cases()
    image, inside = held["1.2.7"]
    held["1.2.7"] = image, inside[:, ::-1]
    assert len(plausible.outliers(figures(held))) == 1
