"""What becomes of irregular and tilted slices on request: a linear function of the place in the patient stays so.

A series is filled with f(x, y, z) = a x + b y + c z + d at its voxels' places. Wherever a policy sets new voxels
between given ones, linear interpolation must find f of their places through the volume's affine again, up to rounding.
"""

import numpy as np
import pytest
import SimpleITK
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

from radkit.dicom import SeriesError, geometry, read_volumes
from tests import made_up
from tests.dicom import made_up_stacks as stacks

ANGLE = st.floats(-180, 180)
ANGLES = st.one_of(st.just((0.0, 0.0, 0.0)), st.tuples(ANGLE, ANGLE, ANGLE))
GRADIENT = st.tuples(*[st.floats(-20, 20)] * 3)
STRAIGHT = st.builds(
    made_up.affine,
    st.tuples(st.floats(0.5, 6), st.floats(0.3, 3), st.floats(0.3, 3)),
    origin=st.tuples(*[st.floats(-300, 300)] * 3),
    angles=ANGLES,
)
TILTED = st.builds(
    made_up.affine,
    st.tuples(st.floats(0.5, 6), st.floats(0.3, 3), st.floats(0.3, 3)),
    origin=st.tuples(*[st.floats(-300, 300)] * 3),
    tilt=st.one_of(st.floats(-35, -0.5), st.floats(0.5, 35)),
    angles=ANGLES,
)
# Not made smaller where they fail: each example is a series to write and to read.
some = settings(
    max_examples=20,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.generate],
)
SHAPE = (9, 5, 6)


def filled(place, gradient, heights=None, shape=SHAPE, offset=10.0, **more):
    """Returns data sets of slices at heights (in steps of `place`) that hold the ramp, and the most it is off by."""
    heights = np.arange(shape[0]) if heights is None else np.asarray(heights, float)
    values = np.concatenate([stacks.ramp(at(place, h), (1, *shape[1:]), gradient, offset) for h in heights])
    stored, scale, off = stacks.quantized(values)
    datasets = stacks.slices(place, stored, **{**scale, **more})
    for dataset, height in zip(datasets, heights, strict=True):
        stacks.move(dataset, at(place, height)[:3, 3])
    return datasets, off + 1e-6 * float(np.abs(gradient).sum())


def at(place, height):
    """Returns the affine with its first slice so many steps higher."""
    moved = place.copy()
    moved[:3, 3] += height * place[:3, 2]
    return moved


def holds(volume, gradient, off, offset=10.0, where=None):
    expected = stacks.ramp(volume.affine, volume.stored.shape, gradient, offset)
    where = np.ones(expected.shape, bool) if where is None else where
    assert where.any()
    np.testing.assert_allclose(volume.array[where], expected[where], atol=off)


def covered(volume, place):
    """Tells which voxels lie between the centres of voxels of a grid of `SHAPE`."""
    k, j, i = np.indices(volume.stored.shape)
    index = np.stack([i, j, k, np.ones_like(i)], axis=-1) @ (np.linalg.inv(place) @ volume.affine).T
    top = np.array(SHAPE[::-1]) - 1
    return ((index[..., :3] > -1e-6) & (index[..., :3] < top + 1e-6)).all(axis=-1)


def read(folder, datasets, seed=0, **policy):
    (volume,) = read_volumes(stacks.save(folder, datasets, seed), **policy)
    return volume


def chosen(seed, share=0.3):
    """Returns which of the slices are there: the first and the last are."""
    there = np.random.default_rng(seed).random(SHAPE[0]) > share
    there[[0, 1, -1]] = True
    return np.flatnonzero(there)


def irregular(heights):
    """Tells whether steps are off their median by more than what is taken for rounding."""
    steps = np.diff(heights)
    return np.abs(steps / np.median(steps) - 1).max() > 0.05


@some
@given(st.one_of(STRAIGHT, TILTED), GRADIENT, st.integers(0, 999))
def test_missing_slices_are_interpolated(tmp_path, place, gradient, seed):
    there = chosen(seed)
    datasets, off = filled(place, gradient, there, (len(there), *SHAPE[1:]))
    volume = read(tmp_path, datasets, seed, spacing="resample")
    holds(volume, gradient, off)
    np.testing.assert_allclose(volume.affine[:3, 3], place[:3, 3], atol=1e-6)
    last = volume.affine[:3, 3] + (len(volume.stored) - 1) * volume.affine[:3, 2]
    np.testing.assert_allclose(last, at(place, SHAPE[0] - 1)[:3, 3], atol=1e-6)
    if len(there) < SHAPE[0]:
        assert any("interpolated on a regular grid" in said for said in volume.findings)


@some
@given(STRAIGHT, GRADIENT, st.integers(0, 999))
def test_where_slices_are_missing_the_given_ones_keep_their_places(tmp_path, place, gradient, seed):
    there = chosen(seed, 0.5)
    datasets, _ = filled(place, gradient, there, (len(there), *SHAPE[1:]))
    volume = read(tmp_path, datasets, seed, spacing="resample")
    assert volume.stored.shape == SHAPE
    np.testing.assert_allclose(volume.affine, place, atol=1e-6)


@some
@given(st.one_of(STRAIGHT, TILTED), GRADIENT, st.integers(0, 999), st.integers(3, 9))
def test_irregular_steps_are_set_on_the_median_step(tmp_path, place, gradient, seed, count):
    heights = np.cumsum(np.random.default_rng(seed).uniform(0.3, 2, count))
    assume(irregular(heights))
    datasets, off = filled(place, gradient, heights, (count, *SHAPE[1:]))
    volume = read(tmp_path, datasets, seed, spacing="resample")
    holds(volume, gradient, off)
    assume(not any("missing" in said for said in volume.findings))  # then it is the smallest step
    normal = float(place[:3, 2] @ np.cross(*(place[:3, :2] / np.linalg.norm(place[:3, :2], axis=0)).T))
    steps = np.diff(heights) * normal
    assert volume.spacing_mm[0] == pytest.approx(np.ptp(heights) * normal / (len(volume.stored) - 1))
    assert abs(len(volume.stored) - 1 - steps.sum() / np.median(steps)) <= 0.5 + 1e-6
    assert volume.paths == volume.instance_uids == ()


@some
@given(STRAIGHT, GRADIENT, st.integers(0, 999), st.integers(3, 9))
def test_irregular_slices_are_kept_as_they_are(tmp_path, place, gradient, seed, count):
    heights = np.cumsum(np.random.default_rng(seed).uniform(0.3, 2, count))
    assume(irregular(heights))
    datasets, off = filled(place, gradient, heights, (count, *SHAPE[1:]))
    volume = read(tmp_path, datasets, seed, spacing="keep")
    for k, height in enumerate(heights):
        expected = stacks.ramp(at(place, height), (1, *SHAPE[1:]), gradient, 10.0)[0]
        np.testing.assert_allclose(volume.array[k], expected, atol=off)
    mean = place[:3, 2] * np.ptp(heights) / (count - 1)
    np.testing.assert_allclose(volume.affine[:3, 2], mean, atol=1e-6)
    assert any("slices were left as they are, the affine holds their mean step" in said for said in volume.findings)


@some
@given(TILTED, GRADIENT, st.integers(0, 999))
def test_tilted_slices_are_set_upright(tmp_path, place, gradient, seed):
    datasets, off = filled(place, gradient)
    volume = read(tmp_path, datasets, seed, tilt="resample")
    assert not geometry.is_sheared(volume.affine[:3, :3])
    holds(volume, gradient, 2 * off, where=covered(volume, place))
    outside = np.abs(volume.array - volume.array.min()) > off
    assert outside.sum() <= (np.array(SHAPE) + [0, 1, 1]).prod()
    assert any("onto a right-angled grid" in said for said in volume.findings)
    assert not any(geometry.TILT_KEPT in said for said in volume.findings)


@some
@given(TILTED, GRADIENT, st.integers(0, 999))
def test_tilted_slices_are_kept_in_their_shear(tmp_path, place, gradient, seed):
    datasets, off = filled(place, gradient)
    volume = read(tmp_path, datasets, seed)
    assert volume.stored.dtype == np.uint16
    holds(volume, gradient, off)
    np.testing.assert_allclose(volume.affine, place, atol=1e-6)


@some
@given(TILTED, GRADIENT, st.integers(0, 999), st.integers(3, 9))
def test_tilted_and_irregular_slices_are_set_on_one_upright_grid(tmp_path, place, gradient, seed, count):
    heights = np.concatenate([[0], np.cumsum(np.random.default_rng(seed).uniform(0.3, 2, count - 1))])
    heights *= (SHAPE[0] - 1) / heights[-1]
    assume(irregular(heights))
    datasets, off = filled(place, gradient, heights, (count, *SHAPE[1:]))
    volume = read(tmp_path, datasets, seed, spacing="resample", tilt="resample")
    assert not geometry.is_sheared(volume.affine[:3, :3])
    holds(volume, gradient, 2 * off, where=covered(volume, place))


@some
@given(STRAIGHT, st.sampled_from(["refuse", "resample", "keep"]), st.sampled_from(["keep", "resample"]))
def test_where_nothing_is_wrong_a_policy_changes_nothing(tmp_path, place, spacing, tilt):
    values = made_up.stored_values(SHAPE)
    volume = read(tmp_path, stacks.slices(place, values), spacing=spacing, tilt=tilt)
    np.testing.assert_array_equal(volume.stored, values)
    assert volume.stored.dtype == np.int16
    np.testing.assert_allclose(volume.affine, place, atol=1e-6)
    assert not volume.findings


@some
@given(STRAIGHT, st.integers(1, 7), st.floats(1, 20), GRADIENT)
def test_a_slice_moved_sideways_is_not_mended_along_the_slices(tmp_path, place, index, mm, gradient):
    datasets, _ = filled(place, gradient)
    stacks.move(datasets[index], at(place, index)[:3, 3] + mm * place[:3, 0] / np.linalg.norm(place[:3, 0]))
    with pytest.raises(SeriesError, match=r"not on one line.*cannot be mended|sideways"):
        read(tmp_path, datasets, spacing="resample")


@some
@given(STRAIGHT, st.integers(3, 7), st.floats(1, 20), GRADIENT)
def test_nor_is_it_where_a_slice_is_missing_too(tmp_path, place, index, mm, gradient):
    datasets, _ = filled(place, gradient)
    stacks.move(datasets[index], at(place, index)[:3, 3] + mm * place[:3, 0] / np.linalg.norm(place[:3, 0]))
    del datasets[1]
    with pytest.raises(SeriesError):
        read(tmp_path, datasets, spacing="resample")


def test_both_faults_of_a_series_are_named_where_it_is_kept(tmp_path):
    datasets, _ = filled(made_up.affine(), (1, 2, 3))
    stacks.move(datasets[5], at(made_up.affine(), 5)[:3, 3] + [9, 0, 0])
    del datasets[1]
    found = " ".join(read(tmp_path, datasets, spacing="keep").findings)
    assert "missing" in found
    assert "not on one line" in found


def test_a_tilted_stack_of_cosines_of_two_decimals_is_set_upright_in_its_place(tmp_path):
    place = np.eye(4)
    place[:3, 0], place[:3, 1] = [0.81, 0.47, -0.35], [-0.57, 0.79, -0.23]
    normal = np.cross(place[:3, 0], place[:3, 1])
    place[:3, :2] /= np.linalg.norm(place[:3, :2], axis=0)
    assert 0.003 < abs(place[:3, 0] @ place[:3, 1]) < geometry.UNIT_TOLERANCE
    place[:3, 2] = 5 * normal / np.linalg.norm(normal) + 2 * place[:3, 1]
    gradient = (10.0, 0.0, 0.0)
    shape = (40, 12, 12)
    datasets, off = filled(place, gradient, shape=shape)
    volume = read(tmp_path, datasets, tilt="resample")
    k, j, i = np.indices(volume.stored.shape)
    index = np.stack([i, j, k, np.ones_like(i)], axis=-1) @ (np.linalg.inv(place) @ volume.affine).T
    where = ((index[..., :2] > 0.1) & (index[..., :2] < 10.9)).all(axis=-1)
    holds(volume, gradient, 2 * off + 0.1, where=where)  # 0.01 mm


def test_two_of_two_echoes_are_each_mended(tmp_path):
    place, gradient = made_up.affine(angles=(10, 20, 30)), (1.0, -2.0, 3.0)
    images = []
    for echo, there in enumerate([[0, 1, 2, 4, 5], [0, 1, 3, 4, 5]]):
        datasets, off = filled(place, gradient, there, (5, *SHAPE[1:]), modality="MR", EchoTime=str(echo + 1))
        images += [stacks.renamed(d, f"1.2.{echo + 1}.{k + 1}") for k, d in enumerate(datasets)]
    volumes = read_volumes(stacks.save(tmp_path, images), spacing="resample")
    assert [volume.meta["EchoTime"] for volume in volumes] == ["1", "2"]
    for volume in volumes:
        assert volume.stored.shape == (6, *SHAPE[1:])
        holds(volume, gradient, off)


@pytest.mark.parametrize("policy", ["resample", "keep"])
def test_a_slice_given_twice_is_a_volume_of_its_own(tmp_path, policy):
    values = made_up.stored_values((5, 4, 4))
    datasets = stacks.slices(made_up.affine(), values)
    more = stacks.slices(made_up.affine(), values)[2]
    datasets.append(stacks.renamed(more, "1.2.3"))
    paths = stacks.save(tmp_path, datasets)
    volumes = read_volumes(paths, spacing=policy)
    assert [len(volume.stored) for volume in volumes] == [5, 1]
    np.testing.assert_array_equal(volumes[0].array, values - 1024.0)
    np.testing.assert_array_equal(volumes[1].array[0], values[2] - 1024.0)
    np.testing.assert_allclose(volumes[1].affine[:3, 3], made_up.affine()[:3, 3] + 2 * made_up.affine()[:3, 2])
    stacks.each_once(volumes, {d.SOPInstanceUID: p for d, p in zip(datasets, paths, strict=True)})


@pytest.mark.parametrize("policy", [{"spacing": "resample"}, {"spacing": "keep"}, {"tilt": "resample"}])
@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("tilt", [0, 20])
def test_one_and_two_slices(tmp_path, policy, count, tilt):
    place, gradient = made_up.affine(tilt=tilt), (1.0, 2.0, -3.0)
    datasets, off = filled(place, gradient, shape=(count, *SHAPE[1:]))
    volume = read(tmp_path, datasets, **policy)
    assert len(volume.stored) == count
    _, rows, columns = volume.stored.shape
    holds(
        volume, gradient, 2 * off, where=np.indices(volume.stored.shape)[1] < 1 if rows == SHAPE[1] else _inner(volume)
    )
    assert columns == SHAPE[2]


def _inner(volume):
    # The second slice is moved down by a part of a pixel.
    place = made_up.affine(tilt=20)
    k, j, i = np.indices(volume.stored.shape)
    index = np.stack([i, j, k, np.ones_like(i)], axis=-1) @ (np.linalg.inv(place) @ volume.affine).T
    return (index[..., 1] > -1e-6) & (index[..., 1] < SHAPE[1] - 1 + 1e-6)


@pytest.mark.parametrize("dtype", [np.int16, np.uint16])
@pytest.mark.parametrize("scale", [("1", "0"), ("1", "-1024"), ("-2", "7"), ("0.001", "0")])
def test_extremes_of_stored_values_are_not_wrapped(tmp_path, dtype, scale):
    bounds = np.iinfo(dtype)
    values = np.where(np.indices((5, 4, 4)).sum(axis=0) % 2, bounds.max, bounds.min).astype(dtype)
    datasets = stacks.slices(made_up.affine(tilt=10), values, RescaleSlope=scale[0], RescaleIntercept=scale[1])
    del datasets[2]
    volume = read(tmp_path, datasets, spacing="resample", tilt="resample")
    ends = np.sort([bounds.min * float(scale[0]), bounds.max * float(scale[0])]) + float(scale[1])
    assert volume.array.dtype == np.float32
    assert ends[0] - 1e-2 <= volume.array.min() <= volume.array.max() <= ends[1] + 1e-2
    kept = read(tmp_path, datasets, spacing="keep")
    assert {kept.stored.min(), kept.stored.max()} == {bounds.min, bounds.max}


def colour(dataset):
    dataset.SamplesPerPixel, dataset.PlanarConfiguration, dataset.PhotometricInterpretation = 3, 0, "RGB"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 8, 8, 7, 0
    pixels = np.random.default_rng(int(dataset.InstanceNumber)).integers(0, 256, (dataset.Rows, dataset.Columns, 3))
    dataset.PixelData = pixels.astype(np.uint8).tobytes()
    del dataset.RescaleSlope, dataset.RescaleIntercept
    return pixels


@pytest.mark.parametrize("tilt", [0, 20])
def test_colour_slices_are_kept_and_not_interpolated(tmp_path, tilt):
    datasets = stacks.slices(made_up.affine(tilt=tilt), made_up.stored_values((5, 4, 6)))
    pixels = [colour(dataset) for dataset in datasets]
    volume = read(tmp_path, datasets)
    np.testing.assert_array_equal(volume.stored, pixels)
    assert volume.array.shape == (5, 4, 6, 3)
    if tilt:
        with pytest.raises(SeriesError, match="colour slices of a tilted stack cannot be resampled"):
            read(tmp_path, datasets, tilt="resample")
    else:
        np.testing.assert_array_equal(read(tmp_path, datasets, spacing="resample", tilt="resample").stored, pixels)
    del datasets[2]
    kept = read(tmp_path, datasets, spacing="keep")
    np.testing.assert_array_equal(kept.stored, [*pixels[:2], *pixels[3:]])
    with pytest.raises(SeriesError, match="colour slices that make no regular grid cannot be resampled"):
        read(tmp_path, datasets, spacing="resample")


@pytest.mark.parametrize("tilt", [-30, 12])
def test_set_upright_is_as_simpleitk_resamples_each_slice_in_the_patient(tmp_path, tilt):
    """SimpleITK knows no shear: each slice is an image of its own, one voxel deep."""
    place = made_up.affine((3.0, 0.8, 0.6), tilt=tilt, angles=(20, -10, 35))
    values = made_up.stored_values((6, 9, 8))
    datasets = stacks.slices(place, values)
    volume = read(tmp_path, datasets, tilt="resample")
    columns, rows = volume.stored.shape[2], volume.stored.shape[1]
    lengths = np.linalg.norm(volume.affine[:3, :3], axis=0)
    direction = (volume.affine[:3, :3] / lengths).ravel()
    for k in range(6):
        given = SimpleITK.GetImageFromArray(values[k : k + 1].astype(np.float64) - 1024)
        wanted = SimpleITK.Image(columns, rows, 1, SimpleITK.sitkFloat64)
        for image, origin in ((given, at(place, k)[:3, 3]), (wanted, (volume.affine @ [0, 0, k, 1])[:3])):
            image.SetOrigin([float(v) for v in origin])
            image.SetSpacing(lengths.tolist())
            image.SetDirection(direction.tolist())
        moved = SimpleITK.GetArrayFromImage(
            SimpleITK.Resample(given, wanted, SimpleITK.Transform(), SimpleITK.sitkLinear, float("nan"))
        )[0]
        j, i = np.indices((rows, columns))
        there = np.stack([i, j, np.full_like(i, k), np.ones_like(i)], -1) @ (np.linalg.inv(place) @ volume.affine).T
        within = ((there[..., :2] >= 0) & (there[..., :2] <= [7, 8])).all(axis=-1)
        assert within.sum() > 30
        np.testing.assert_allclose(volume.array[k][within], moved[within], atol=0.01)
