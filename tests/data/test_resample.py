"""Volumes on other grids: where each value lies in the patient, with SimpleITK as the oracle."""

import itertools

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st

from radkit.data import resample
from radkit.dicom.volumes import SeriesError, Volume

UPRIGHT = np.array([[0.8, 0, 0, -40.0], [0, 1.5, 0, 12.0], [0, 0, 3.0, 100.0], [0, 0, 0, 1.0]])
LETTERS = [
    "".join(letters)
    for order in itertools.permutations(("LR", "PA", "SI"))
    for letters in itertools.product(*order)
]  # fmt: skip


def volume(stored: np.ndarray, affine: np.ndarray, slope: object = 1.0, intercept: object = 0.0) -> Volume:
    steps = affine[:3, :3]
    normal = np.cross(steps[:, 0], steps[:, 1])
    lengths = np.linalg.norm(steps, axis=0)
    across = float(abs(steps[:, 2] @ normal) / np.linalg.norm(normal))
    count = len(stored)
    return Volume(
        stored=stored,
        slope=np.broadcast_to(np.float32(slope), count).copy(),
        intercept=np.broadcast_to(np.float32(intercept), count).copy(),
        affine=affine,
        spacing_mm=(across, float(lengths[1]), float(lengths[0])),
        meta={},
        findings=(),
        paths=(),
        instance_uids=(),
    )


def turned_by(degrees: tuple[float, float, float]) -> np.ndarray:
    """Returns `UPRIGHT` rotated about the three axes."""
    affine = UPRIGHT.copy()
    for axis, angle in enumerate(np.radians(degrees)):
        rotation, (a, b) = np.eye(3), [i for i in range(3) if i != axis]
        rotation[[a, a, b, b], [a, b, a, b]] = np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)
        affine[:3] = rotation @ affine[:3]
    return affine


def noise(shape: tuple[int, ...], seed: int = 0, dtype: type = np.int16) -> np.ndarray:
    return np.random.default_rng(seed).integers(-900, 3000, shape).astype(dtype)


def places(grid: resample.Grid) -> np.ndarray:
    """Returns LPS mm of each voxel, (slices, rows, columns, 3)."""
    k, j, i = np.meshgrid(*map(np.arange, grid.shape), indexing="ij")
    return np.stack([i, j, k], -1) @ grid.affine[:3, :3].T + grid.affine[:3, 3]


def plane(at: np.ndarray) -> np.ndarray:
    """A value for each place that linear interpolation gives back exactly."""
    return at @ np.array([0.7, -1.3, 2.1]) + 5.0


def oracle(
    array: np.ndarray, affine: np.ndarray, grid: resample.Grid, fill: float, nearest: bool = False
) -> np.ndarray:
    """SimpleITK's own resampling, between images with geometry, in millimetres."""

    def geometry(image: sitk.Image, affine: np.ndarray) -> sitk.Image:
        lengths = np.linalg.norm(affine[:3, :3], axis=0)
        image.SetSpacing(lengths.tolist())
        image.SetOrigin(affine[:3, 3].tolist())
        image.SetDirection((affine[:3, :3] / lengths).ravel().tolist())
        return image

    source = geometry(sitk.GetImageFromArray(array.astype(np.float64)), affine)
    target = geometry(sitk.Image(list(grid.shape[::-1]), sitk.sitkFloat64), grid.affine)
    kind = sitk.sitkNearestNeighbor if nearest else sitk.sitkLinear
    return sitk.GetArrayFromImage(sitk.Resample(source, target, sitk.Transform(), kind, fill))


GRIDS = st.tuples(
    st.sampled_from([(0.0, 0.0, 0.0), (7.0, 0.0, 0.0), (3.0, -12.0, 40.0)]),
    st.sampled_from(["", "LPS", "RAS", "SAR"]),
    st.tuples(*[st.sampled_from([0.0, 0.6, 1.1, 2.5])] * 3),
    st.tuples(*[st.sampled_from([0, 3, 9, 16])] * 3),
)


def made(given_grid: tuple, shape: tuple[int, ...]) -> tuple[np.ndarray, resample.Grid]:
    degrees, letters, spacing, size = given_grid
    affine = turned_by(degrees)
    grid = resample.grid_of(volume(np.zeros(shape, np.int16), affine))
    grid = resample.turned(grid, letters) if letters else grid
    return affine, resample.sized(resample.spaced(grid, spacing), size)


@given(GRIDS)
def test_a_point_of_the_patient_has_the_same_value_before_and_after(given_grid: tuple) -> None:
    shape = (6, 8, 7)
    affine, grid = made(given_grid, shape)
    before = resample.grid_of(volume(np.zeros(shape, np.float32), affine))
    stored = plane(places(before)).astype(np.float32)
    after = resample.onto(volume(stored, affine), grid)
    np.testing.assert_array_equal(after.affine, grid.affine)
    at = places(grid)
    index = np.linalg.solve(affine, np.append(at, np.ones((*at.shape[:3], 1)), -1)[..., None])[..., :3, 0]
    inside = ((index >= -1e-6) & (index <= np.array(shape[::-1]) - 1 + 1e-6)).all(axis=-1)
    np.testing.assert_allclose(after.array[inside], plane(at)[inside], atol=2e-3)
    outside = ((index < -0.51) | (index > np.array(shape[::-1]) - 0.49)).any(axis=-1)
    assert (after.array[outside] == stored.min()).all()


@pytest.mark.slow
@given(GRIDS)
def test_images_and_masks_are_what_simpleitk_makes_of_them(given_grid: tuple) -> None:
    shape = (6, 8, 7)
    affine, grid = made(given_grid, shape)
    stored = noise(shape)
    found = resample.onto(volume(stored, affine, 2.0, -1000.0), grid)
    at_edge = (
        np.abs(np.abs(index_in(affine, grid) - (np.array(shape[::-1]) - 1) / 2) - np.array(shape[::-1]) / 2) < 1e-6
    )
    sure = ~at_edge.any(axis=-1)
    expected = oracle(stored, affine, grid, float(stored.min()))
    assert np.abs(found.stored - expected)[sure].max(initial=0) <= 0.5 + 1e-6
    assert (found.slope == 2).all()
    assert (found.intercept == -1000).all()
    mask = (stored > 1000).astype(np.uint8) + (stored > 2000)
    halves = np.abs(index_in(affine, grid) % 1 - 0.5).min(axis=-1) < 1e-6  # which of two is as near is nobody's
    np.testing.assert_array_equal(
        resample.mask_onto(mask, grid)[sure & ~halves], oracle(mask, affine, grid, 0, True)[sure & ~halves]
    )


def index_in(affine: np.ndarray, grid: resample.Grid) -> np.ndarray:
    at = places(grid)
    return np.linalg.solve(affine, np.append(at, np.ones((*at.shape[:3], 1)), -1)[..., None])[..., :3, 0]


@pytest.mark.parametrize("letters", LETTERS)
def test_axes_run_where_the_letters_say_and_no_value_changes(letters: str) -> None:
    stored = noise((3, 4, 5))
    before = volume(stored, UPRIGHT)
    after = resample.onto(before, resample.turned(resample.grid_of(before), letters))
    image = sitk.GetImageFromArray(stored)
    image.SetSpacing([0.8, 1.5, 3.0])
    image.SetOrigin(UPRIGHT[:3, 3].tolist())
    expected = sitk.DICOMOrient(image, letters)
    np.testing.assert_array_equal(after.stored, sitk.GetArrayFromImage(expected))
    np.testing.assert_allclose(after.affine[:3, 3], expected.GetOrigin())
    lengths = np.linalg.norm(after.affine[:3, :3], axis=0)
    np.testing.assert_allclose(lengths, expected.GetSpacing())
    np.testing.assert_allclose((after.affine[:3, :3] / lengths).ravel(), expected.GetDirection())
    assert after.spacing_mm == pytest.approx(expected.GetSpacing()[::-1])


def test_axes_that_are_hardly_oblique_are_not_resampled() -> None:
    before = volume(noise((4, 5, 6)), turned_by((0.05, 0, 0)))
    after = resample.onto(before, resample.turned(resample.grid_of(before), "RAS"))
    np.testing.assert_array_equal(after.stored, before.stored[:, ::-1, ::-1])
    oblique = resample.turned(resample.grid_of(volume(before.stored, turned_by((5, 0, 0)))), "RAS")
    np.testing.assert_array_equal(oblique.affine[:3, :3], np.diag([-0.8, -1.5, 3.0]))


def test_an_oblique_volume_lies_whole_in_its_new_grid() -> None:
    affine = turned_by((20, -30, 10))
    before = resample.grid_of(volume(noise((6, 8, 7)), affine))
    after = resample.turned(before, "LPS")
    corners = places(before)[::5, ::7, ::6].reshape(-1, 3)
    index = (corners - after.affine[:3, 3]) / np.diag(after.affine)[:3]
    assert (index > -1e-6 - 0.5).all()
    assert (index < np.array(after.shape[::-1]) - 0.5 + 1e-6).all()


@pytest.mark.parametrize("letters", ["", "LP", "LPP", "LPSS", "lps", "XYZ"])
def test_letters_that_are_no_orientation_are_refused(letters: str) -> None:
    with pytest.raises(ValueError, match="no orientation"):
        resample.orientation_of(letters)


def test_the_field_of_view_stays_where_it_is() -> None:
    before = resample.grid_of(volume(noise((10, 20, 30)), turned_by((0, 20, 0))))
    after = resample.spaced(before, (1.0, 0.5, 0.0))
    assert after.shape == (30, 60, 30)
    assert after.spacing_mm == pytest.approx((1.0, 0.5, 0.8))
    middles = [g.affine @ [*(np.array(g.shape[::-1]) - 1) / 2, 1.0] for g in (before, after)]
    np.testing.assert_allclose(*middles, atol=1e-9)


def test_a_spacing_that_is_there_changes_nothing() -> None:
    before = volume(noise((3, 4, 5)), UPRIGHT)
    assert resample.onto(before, resample.spaced(resample.grid_of(before), (3.0, 1.50001, 0.8))) is before


def test_an_unknown_spacing_cannot_be_changed() -> None:
    affine = np.diag([np.nan, np.nan, 1.0, 1.0])
    before = Volume(**{**vars(volume(noise((1, 4, 5)), affine)), "spacing_mm": (np.nan,) * 3})
    with pytest.raises(SeriesError, match="do not tell their spacing"):
        resample.spaced(resample.grid_of(before), (0.0, 1.0, 1.0))
    after = resample.onto(before, resample.sized(resample.grid_of(before), (0, 2, 7)))
    np.testing.assert_array_equal(after.stored[0, :, 1:6], before.stored[0, 1:3])
    assert np.isnan(after.spacing_mm).all()


@pytest.mark.parametrize(("old", "new", "first"), [(5, 2, 1), (5, 3, 1), (4, 1, 1), (2, 5, -1), (3, 5, -1), (3, 3, 0)])
def test_crops_and_pads_are_around_the_centre(old: int, new: int, first: int) -> None:
    before = volume(noise((old, old, old)), UPRIGHT)
    after = resample.onto(before, resample.sized(resample.grid_of(before), (new, 0, new)))
    np.testing.assert_allclose(after.affine[:3, 3], UPRIGHT[:3, 3] + first * np.array([0.8, 0, 3.0]))
    for k, i in itertools.product(range(new), range(new)):
        there = 0 <= k + first < old and 0 <= i + first < old
        expected = before.stored[k + first, :, i + first] if there else before.stored.min()
        np.testing.assert_array_equal(after.stored[k, :, i], expected)


@pytest.mark.parametrize("slope", [0.5, -0.5])
def test_padding_has_the_lowest_modality_value(slope: float) -> None:
    before = volume(noise((3, 4, 5)), UPRIGHT, slope, 10.0)
    for grid in (
        resample.sized(resample.grid_of(before), (5, 9, 0)),
        resample.sized(resample.spaced(resample.grid_of(before), (1.7, 1.1, 0.9)), (40, 9, 0)),
    ):
        after = resample.onto(before, grid)
        assert after.array[0, 0, 0] == before.array.min()
        assert after.array.min() == before.array.min()


def test_each_slice_keeps_its_rescale_where_slices_stay_slices() -> None:
    slopes, intercepts = [0.5, 1.0, 2.0], [0.0, 10.0, -20.0]
    before = volume(noise((3, 4, 5)), UPRIGHT, slopes, intercepts)
    after = resample.onto(before, resample.sized(resample.turned(resample.grid_of(before), "LPI"), (5, 0, 0)))
    np.testing.assert_array_equal(after.slope, [2.0, 2.0, 1.0, 0.5, 0.5])
    np.testing.assert_array_equal(after.array[1:4], before.array[::-1])
    # The padding's value is put in the steps of the slice beside it.
    assert np.abs(after.array[[0, -1]] - before.array.min()).max() <= 1.0


@pytest.mark.parametrize("letters", ["SPL", ""])
def test_slices_of_several_slopes_keep_half_a_step_of_the_finest(letters: str) -> None:
    before = volume(noise((3, 4, 5)), UPRIGHT, [0.5, 0.25, 2.0], [0.0, 3.7, -20.0])
    grid = resample.grid_of(before)
    grid = resample.turned(grid, letters) if letters else resample.spaced(grid, (1.1, 0.7, 0.9))
    after = resample.onto(before, grid)
    assert after.stored.dtype == np.int16
    assert (after.slope == 0.25).all()
    expected = oracle(before.array, UPRIGHT, grid, float(before.array.min()))
    assert np.abs(after.array - expected).max() <= 0.125 + 1e-3


def test_values_with_too_many_steps_for_int16_stay_float32() -> None:
    before = volume(noise((3, 4, 5)), UPRIGHT, [1e-3, 1.0, 50.0])
    grid = resample.spaced(resample.grid_of(before), (1.0, 0, 0))
    after = resample.onto(before, grid)
    assert after.stored.dtype == np.float32
    np.testing.assert_allclose(after.array, oracle(before.array, UPRIGHT, grid, float(before.array.min())), rtol=1e-5)


@given(st.floats(-1e4, 1e4), st.floats(1e-2, 1e4), st.integers(100, 65000))
def test_steps_are_off_by_half_a_step(low: float, span: float, steps: int) -> None:
    values = np.random.default_rng(steps).uniform(low, low + span, (2, 3, 50)).astype(np.float32)
    step = float(np.ptp(values)) / steps
    fitted = resample.in_steps(values, step)
    if fitted is None:  # float32 cannot say the intercept finely enough
        assert max(abs(low), span) * 2**-24 > step / 4
        return
    stored, (slope, intercept) = fitted
    assert np.abs(stored * float(slope) + float(intercept) - values).max() <= 0.501 * step
    assert resample.in_steps(values, float(np.ptp(values)) / 70000) is None


def test_a_tilted_gantrys_slices_are_set_upright() -> None:
    affine = UPRIGHT.copy()
    affine[:3, 2] = [0.0, 1.2, 3.0]
    before = volume(noise((6, 8, 7)), affine)
    grid = resample.upright(resample.grid_of(before))
    np.testing.assert_allclose(grid.affine[:3, :3], UPRIGHT[:3, :3])
    assert grid.shape == (6, 12, 7)
    after = resample.onto(before, grid)
    assert np.abs(after.stored - oracle(before.stored, affine, grid, float(before.stored.min()))).max() <= 0.5 + 1e-6
    assert resample.upright(grid) is grid
    backwards = affine.copy()
    backwards[:3, 2] = [-2.0, -1.2, 3.0]
    corner = resample.upright(resample.grid_of(volume(before.stored, backwards)))
    low, high = places(corner).reshape(-1, 3).min(0), places(corner).reshape(-1, 3).max(0)
    at = places(resample.grid_of(volume(before.stored, backwards))).reshape(-1, 3)
    assert (at >= low - 1e-6).all()
    assert (at <= high + 1e-6).all()


@pytest.mark.parametrize("letters", LETTERS)
def test_a_mask_comes_back_as_it_went(letters: str) -> None:
    mask = noise((3, 4, 5), dtype=np.uint8) % 4
    grid = resample.turned(resample.grid_of(volume(mask, UPRIGHT)), letters)
    np.testing.assert_array_equal(resample.mask_back(resample.mask_onto(mask, grid), grid, mask.shape), mask)


def test_a_mask_comes_back_to_the_same_place_in_the_patient() -> None:
    given_volume = volume(noise((7, 20, 24)), turned_by((20.0, -11.0, 7.0)))
    grid = resample.sized(
        resample.spaced(resample.turned(resample.grid_of(given_volume), "RAS"), (2.1, 1.1, 1.3)), (9, 21, 17)
    )
    mask = noise(grid.shape, dtype=np.uint8) % 3
    back = resample.mask_back(mask, grid, given_volume.stored.shape)
    own = resample.grid_of(given_volume)
    image = sitk.GetImageFromArray(mask)
    image.SetSpacing(np.linalg.norm(grid.affine[:3, :3], axis=0).tolist())
    image.SetDirection((grid.affine[:3, :3] / np.linalg.norm(grid.affine[:3, :3], axis=0)).ravel().tolist())
    image.SetOrigin(grid.affine[:3, 3].tolist())
    indices = np.array([image.TransformPhysicalPointToContinuousIndex(p.tolist()) for p in places(own).reshape(-1, 3)])
    away = np.abs(indices - np.floor(indices) - 0.5).min(axis=1) > 1e-6  # from where two voxels are as near
    nearest = np.floor(indices + 0.5).astype(int)
    inside = ((nearest >= 0) & (nearest < mask.shape[::-1])).all(axis=1)
    clipped = np.clip(nearest, 0, np.array(mask.shape[::-1]) - 1)
    expected = np.where(inside, mask[clipped[:, 2], clipped[:, 1], clipped[:, 0]], 0)
    np.testing.assert_array_equal(back.reshape(-1)[away], expected[away])
    assert 0.3 < inside.mean() < 1
