import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from radkit.errors import UserError
from radkit.metrics import surfaces
from radkit.metrics.segmentation import segmentation_metrics
from tests.metrics import made_up_masks

MASK = hnp.arrays(bool, st.sampled_from([(3, 4, 5), (1, 4, 4), (5, 6), (1, 3)]))
SPACING = (2.5, 0.8, 0.7)
OVERLAPS, DISTANCES = ("dice", "jaccard", "nsd_voxel", "nsd_surfel"), ("hd", "hd95", "assd", "masd", "hd95_surfel")


def looped_border(mask: np.ndarray) -> list[tuple[int, ...]]:
    padded = np.pad(mask, 1)
    steps = [sign * step for step in np.eye(mask.ndim, dtype=int) for sign in (-1, 1)]
    return [tuple(at) for at in np.argwhere(mask) if not all(padded[tuple(at + 1 + step)] for step in steps)]


def looped_distances(a: list[tuple[int, ...]], b: list[tuple[int, ...]]) -> list[float]:
    def apart(p: tuple[int, ...], q: tuple[int, ...]) -> float:
        return math.sqrt(sum(((i - j) * mm) ** 2 for i, j, mm in zip(p, q, SPACING)))

    return [min(apart(p, q) for q in b) for p in a]


@settings(deadline=None, max_examples=25)
@given(st.data())
def test_distances_are_those_of_loops_over_border_voxels(data: st.DataObject) -> None:
    ref = data.draw(MASK.filter(np.any))
    pred = data.draw(hnp.arrays(bool, ref.shape).filter(np.any))
    there = looped_distances(looped_border(ref), looped_border(pred))
    back = looped_distances(looped_border(pred), looped_border(ref))
    found = segmentation_metrics(ref=ref, pred=pred, spacing=SPACING[: ref.ndim], tau=0.9)
    expected = {
        "hd": max(there + back),
        "hd95": max(np.percentile(there, 95), np.percentile(back, 95)),
        "assd": np.mean(there + back),
        "masd": (np.mean(there) + np.mean(back)) / 2,
        "nsd_voxel": np.mean(np.array(there + back) <= 0.9),
    }
    assert {key: found[key] for key in expected} == pytest.approx(expected, abs=1e-12)


def test_figures_of_two_organs_are_those_of_other_software() -> None:
    # MetricsReloaded (main of 2025), medpy 0.5.2 and, for surfel, DeepMind's surface-distance 0.1.
    expected = {
        "dice": 0.6904500548847421,
        "jaccard": 0.5272422464375524,
        "hd": 8.488227141164401,
        "hd95": 2.803265487818941,
        "assd": 1.4692361902205169,
        "masd": 1.4683861010736745,
        "nsd_voxel": 0.5038461538461538,
        "nsd_surfel": 0.6933365793790444,
        "hd95_surfel": 2.596150997149434,
    }
    ref, pred = made_up_masks.organs()
    found = segmentation_metrics(ref=ref, pred=pred.astype(float), spacing=SPACING, tau=1.5)
    assert {key: found[key] for key in expected} == pytest.approx(expected, rel=1e-12)
    assert (found["volume_ref_ml"], found["volume_pred_ml"]) == pytest.approx((1.2698, 1.281))
    assert all(type(value) is float for value in found.values())


def test_figures_of_a_slice_are_those_of_other_software() -> None:
    expected = {
        "dice": 0.7804878048780488,
        "jaccard": 0.64,
        "hd": 4.2,
        "hd95": 3.376206394693738,
        "assd": 1.197694673365097,
        "masd": 1.1742760691184357,
        "nsd_voxel": 0.45555555555555555,
        "nsd_surfel": 0.5076637712041601,
        "hd95_surfel": 3.5,
    }
    ref, pred = (mask[5] for mask in made_up_masks.organs())
    found = segmentation_metrics(ref=ref.tolist(), pred=pred.tolist(), spacing=SPACING[1:], tau=1.0)
    assert {key: found[key] for key in expected} == pytest.approx(expected, rel=1e-12)
    assert math.isnan(found["volume_ref_ml"])


@settings(deadline=None, max_examples=30)
@given(st.data())
def test_background_order_and_axes_change_nothing(data: st.DataObject) -> None:
    ref = data.draw(MASK)
    pred = data.draw(hnp.arrays(bool, ref.shape))
    spacing = SPACING[: ref.ndim]
    found = segmentation_metrics(ref=ref, pred=pred, spacing=spacing, tau=0.9)
    larger = segmentation_metrics(ref=np.pad(ref, 2), pred=np.pad(pred, 2), spacing=spacing, tau=0.9)
    turned = segmentation_metrics(ref=ref.T, pred=pred.T, spacing=spacing[::-1], tau=0.9)
    swapped = segmentation_metrics(ref=pred, pred=ref, spacing=spacing, tau=0.9)
    for key in (*OVERLAPS, *DISTANCES):
        assert found[key] == pytest.approx(larger[key], abs=0)
        assert found[key] == pytest.approx(turned[key], abs=1e-12)
        assert found[key] == pytest.approx(swapped[key], abs=1e-12)


@pytest.mark.parametrize("shape", [(2, 3, 4), (3, 4)])
def test_empty_masks_agree_and_a_missed_lesion_is_infinitely_far(shape: tuple[int, ...]) -> None:
    empty, full = np.zeros(shape, int), np.ones(shape, int)
    spacing = SPACING[: len(shape)]
    alike = segmentation_metrics(ref=empty, pred=empty, spacing=spacing, tau=1)
    assert [alike[key] for key in (*OVERLAPS, *DISTANCES)] == [1] * 4 + [0] * 5
    for ref, pred in ((empty, full), (full, empty)):
        found = segmentation_metrics(ref=ref, pred=pred, spacing=spacing, tau=1)
        assert [found[key] for key in (*OVERLAPS, *DISTANCES)] == [0] * 4 + [math.inf] * 5


def test_a_hole_has_a_surface_too() -> None:
    full, hollow = np.ones((7, 7, 7), bool), np.ones((7, 7, 7), bool)
    hollow[3, 3, 3] = False
    assert len(surfaces.border_voxels(hollow)) == len(surfaces.border_voxels(full)) + 6
    assert segmentation_metrics(ref=full, pred=hollow, spacing=[1, 1, 1], tau=1)["hd"] == 2


def test_a_point_exactly_at_the_tolerance_is_within() -> None:
    ref, pred = np.zeros((9, 9), bool), np.zeros((9, 9), bool)
    ref[1, 1] = pred[4, 5] = True
    found = [segmentation_metrics(ref=ref, pred=pred, spacing=[0.6, 0.6], tau=tau) for tau in (2.999, 3.0)]
    assert [each["nsd_voxel"] for each in found] == [0, 1]
    assert found[0]["nsd_surfel"] < found[1]["nsd_surfel"] == 1


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_near_and_far_points_have_the_distances_of_a_transform(data: st.DataObject) -> None:
    drawn = st.lists(st.tuples(*[st.integers(0, 12)] * 3), min_size=1, max_size=40, unique=True)
    points, surface = np.array(data.draw(drawn)), np.array(data.draw(drawn))
    is_free = np.ones((13, 13, 13), bool)
    is_free[tuple(surface.T)] = False
    expected = ndimage.distance_transform_edt(is_free, sampling=SPACING)[tuple(points.T)]
    np.testing.assert_allclose(surfaces.nearest(points, surface, (13, 13, 13), SPACING), expected, rtol=1e-14, atol=0)


@pytest.mark.parametrize("spacing", [(10.0, 0.1, 0.1), (0.1, 4.0, 4.0), (1.0, 1.0), (0.05, 9.0)])
def test_thick_slices_hide_no_nearer_point(spacing: tuple[float, ...]) -> None:
    random = np.random.default_rng(0)
    points, surface = (random.integers(0, 30, (60, len(spacing))) for _ in range(2))
    apart = np.linalg.norm((points[:, None] - surface) * spacing, axis=-1).min(1)
    np.testing.assert_allclose(
        surfaces.nearest(points, surface, [30] * len(spacing), spacing), apart, rtol=1e-13, atol=0
    )


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"pred": [[0.3, 1.0]]}, r"pred must be a mask of whole numbers, not hold 0\.3"),
        ({"ref": [[math.nan, 1.0]]}, "ref must be a mask of whole numbers, not hold nan"),
        ({"pred": [[1, 0, 0]]}, "masks of one shape"),
        ({"spacing": [1.0]}, "spacing must be 2 sizes > 0 in mm"),
        ({"spacing": [1.0, 0.0]}, "spacing must be 2 sizes > 0 in mm"),
        ({"tau": -1}, "tau must be a distance >= 0 in mm, not -1"),
        ({"tau": math.nan}, "tau must be a distance >= 0 in mm"),
    ],
)
def test_what_is_no_mask_no_spacing_or_no_tolerance_is_refused(changed: dict[str, object], told: str) -> None:
    given = {"ref": [[0, 1]], "pred": [[1, 1]], "spacing": [1.0, 1.0], "tau": 1.0}
    with pytest.raises(UserError, match=told):
        segmentation_metrics(**{**given, **changed})  # type: ignore[arg-type]
