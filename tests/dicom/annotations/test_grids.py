"""Masks on an image's grid: copied to the bit where voxels only change places, else what brute force finds nearest."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radkit import config
from radkit.dicom.annotations import AnnotationError, form, grids
from radkit.dicom.volumes import META, Volume
from tests import made_up

SHAPE = (5, 6, 7)
OBLIQUE = made_up.affine(angles=(10, 20, 30), tilt=12)


def image(affine=OBLIQUE, shape=SHAPE):
    ones = np.ones(shape[0], np.float32)
    spacing = tuple(float(n) for n in np.linalg.norm(affine[:3, :3], axis=0)[::-1])
    return Volume(np.zeros(shape, np.int16), ones, 0 * ones, affine, spacing, dict.fromkeys(META, ""), (), (), ())


def brute(mask, affine, volume):
    """Returns for each voxel of the image the mask's nearest voxel's value, one by one."""
    out = np.zeros(volume.stored.shape, mask.dtype)
    source = np.linalg.inv(affine) @ volume.affine
    for k, j, i in np.ndindex(*out.shape):
        column, row, index = np.floor(source @ [i, j, k, 1] + 0.5).astype(int)[:3]
        if 0 <= index < mask.shape[0] and 0 <= row < mask.shape[1] and 0 <= column < mask.shape[2]:
            out[k, j, i] = mask[index, row, column]
    return out


def turned(mask, order, signs, begin=(0, 0, 0)):
    """Returns a mask with axes exchanged, turned and begun elsewhere, and its affine on the image of `OBLIQUE`."""
    change = np.zeros((4, 4))
    change[3, 3] = 1
    for new, (old, sign) in enumerate(zip(order, signs)):
        change[2 - old, 2 - new] = sign
        change[2 - old, 3] = begin[old] + (mask.shape[old] - 1 if sign < 0 else 0)
    return np.transpose(mask, order)[tuple(slice(None, None, s) for s in signs)], OBLIQUE @ change


@settings(max_examples=60, deadline=None)
@given(
    st.permutations(range(3)),
    st.lists(st.sampled_from((1, -1)), min_size=3, max_size=3),
    st.lists(st.integers(-2, 3), min_size=3, max_size=3),
    st.lists(st.integers(1, 9), min_size=3, max_size=3),
    st.integers(0, 99),
    st.sampled_from((bool, np.uint8)),
    st.floats(-2e-5, 2e-5),
)
def test_voxels_on_voxels_are_copied_to_the_bit(order, signs, begin, size, seed, kind, noise):
    drawn = np.random.default_rng(seed).integers(0, 2 if kind is bool else 256, size).astype(kind)
    expected = np.zeros(np.array(SHAPE) + 30, kind)
    low = np.array(begin) + 10
    expected[tuple(slice(a, a + n) for a, n in zip(low, size))] = drawn
    expected = expected[tuple(slice(10, 10 + n) for n in SHAPE)]
    mask, affine = turned(drawn, order, signs, begin)
    affine = affine.astype(np.float32) * (1 + noise)  # as NIfTI headers round it
    affine[3] = (0, 0, 0, 1)
    if drawn.any() and not expected.any():
        with pytest.raises(AnnotationError, match="no voxel of the mask"):
            grids.onto(mask, affine, image())
        return
    found, said = grids.onto(mask, affine, image())
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == kind
    lost = np.count_nonzero(drawn) - np.count_nonzero(expected)
    assert [f.name for f in said] == (["partly_outside"] if lost else [])
    if lost:
        assert said[0].text.startswith(f"{lost} of {np.count_nonzero(drawn)} voxels")


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.floats(0.3, 2.2), min_size=3, max_size=3),
    st.lists(st.floats(-1.3, 1.3), min_size=3, max_size=3),
    st.floats(-20, 20),
    st.integers(0, 99),
)
def test_another_grid_takes_the_nearest_voxels(scale, shift, angle, seed):
    mask = np.random.default_rng(seed).integers(0, 5, (6, 5, 8)).astype(np.uint8)
    change = np.diag([*scale, 1.0])
    change[:3, 3] = shift
    affine = made_up.affine(angles=(10, 20, 30 + angle)) @ change
    volume = image()
    expected = brute(mask, affine, volume)
    relation = grids.relate(affine, mask.shape, volume)
    assert not relation.is_same or np.allclose(scale, 1, atol=0.1)
    there = relation.source @ np.array([[i, j, k, 1] for k, j, i in np.ndindex(*SHAPE)]).T
    is_clear = (np.abs(there[:3] + 0.5 - np.rint(there[:3] + 0.5)) > 1e-6).all(axis=0).reshape(SHAPE)
    try:
        found, said = grids.onto(mask, affine, volume)
    except AnnotationError:
        assert not expected[is_clear].any()
        return
    np.testing.assert_array_equal(found[is_clear], expected[is_clear])
    assert relation.is_same or said[0].name == "other_grid"


def test_both_grids_are_named_and_refused_when_asked():
    mask = np.ones((3, 3, 3), bool)
    affine = OBLIQUE @ np.diag([2, 2, 2, 1])
    _, said = grids.onto(mask, affine, image())
    sheared = 2.5 / np.cos(np.radians(12))
    assert said[0].text.startswith(
        f"the mask has 3 x 3 x 3 voxels of {2 * sheared:.4g} x 1.4 x 1.6 mm, the image 5 x 6 x 7 voxels of "
        f"{sheared:.4g} x 0.7 x 0.8 mm; resampled"
    )
    with pytest.raises(AnnotationError, match="other_grid='resample'") as caught:
        grids.onto(mask, affine, image(), config.Annotations(other_grid="refuse"))
    assert caught.value.finding == "other_grid"
    with pytest.raises(AnnotationError) as caught:
        grids.onto(np.ones((9, 6, 7), bool), OBLIQUE, image(), config.Annotations(partly_outside="refuse"))
    assert caught.value.finding == "partly_outside"


@pytest.mark.parametrize("step", [0.1, 2.5, 5.0, -5.0])
def test_a_single_slice_has_no_step_of_its_own(step):
    affine = OBLIQUE.copy()
    affine[:3, 3] += 3 * affine[:3, 2]
    affine[:3, 2] *= step / 2.5
    mask = np.random.default_rng(0).integers(0, 2, (1, 6, 7)).astype(bool)
    found, said = grids.onto(mask, affine, image())
    np.testing.assert_array_equal(found[3], mask[0])
    assert found.sum() == mask.sum()
    assert not said


def test_an_image_of_one_slice_takes_that_slice_of_a_mask():
    mask = np.random.default_rng(0).integers(0, 2, SHAPE).astype(bool)
    affine = OBLIQUE.copy()
    affine[:3, 3] += 2 * affine[:3, 2]
    affine[:3, 2] *= 3
    found, _ = grids.onto(mask, OBLIQUE, image(affine, (1, 6, 7)))
    np.testing.assert_array_equal(found[0], mask[2])


def test_a_mask_without_a_voxel_says_nothing():
    found, said = grids.onto(np.zeros((3, 3, 3), np.uint8), np.eye(4), image())
    assert found.shape == SHAPE
    assert not found.any()
    assert not said


def test_regions_are_judged_together():
    inside, outside = np.zeros((20, 6, 7), bool), np.zeros((20, 6, 7), bool)
    inside[2, 3, 4] = outside[12, 3, 4] = True
    regions = [form.region("in", 1, inside), form.region("out", 2, outside)]
    (first, second), said = grids.regions_onto(regions, OBLIQUE, inside.shape, image())
    np.testing.assert_array_equal(first.on(SHAPE), inside[:5])
    assert second.inside.size == 0
    assert [f.name for f in said] == ["partly_outside"]
    with pytest.raises(AnnotationError, match="no voxel of the mask"):
        grids.regions_onto(regions[1:], OBLIQUE, inside.shape, image())
