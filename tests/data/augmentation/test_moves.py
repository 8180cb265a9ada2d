"""Moves in space against scipy and SimpleITK, and against what is drawn on the image."""

import dataclasses
import math

import hypothesis
import numpy as np
import pytest
import SimpleITK as sitk
import tensorflow as tf
from hypothesis import strategies as st
from scipy import ndimage

from radkit import config
from radkit.data.augmentation import elastic, placing, reach, sampling, spatial
from tests.data.augmentation.regions import around, changed, data_of, region

SIZES = {2: ((17, 24), (25, 30)), 3: ((8, 17, 14), (12, 23, 20))}  # rank: patch, region
SPACINGS = {2: (0.8, 1.3), 3: (3.0, 0.7, 1.1)}


def drawn(rank, seed, settings, region_size=None, spacing=None):
    size, given = SIZES[rank]
    spacing = tf.constant(spacing or SPACINGS[rank])
    return spatial.draw(tf.constant([seed, 3]), size, region_size or given, spacing, settings, data_of(rank))


def settings_of(rank, **more):
    rotate = (20.0,) if rank == 2 else (20.0, 10.0, 15.0)
    return config.Augment(
        **{"flip": (True,) * rank, "rotate": rotate, "scale": 0.2, "shear": 0.1, "shift_mm": 2.0, **more}
    )


def made_up(rank, seed=0):
    random = np.random.default_rng(seed)
    size = SIZES[rank][1]
    return random.normal(size=size).astype(np.float32), random.integers(0, 5, size).astype(np.uint8)


def offset_of(move):
    # scipy reads place = matrix @ index + offset.
    half = (np.array(move.size) - 1) / 2
    return move.middle.numpy() - move.matrix.numpy().astype(np.float64) @ half


def places_of(move):
    grid = np.stack(np.meshgrid(*[np.arange(extent) for extent in move.size], indexing="ij"))
    found = np.tensordot(move.matrix.numpy().astype(np.float64), grid, 1)
    found += offset_of(move)[(...,) + (None,) * len(move.size)]
    return found if move.warp is None else found + elastic.field(move.warp).numpy()


@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize("seed", range(5))
def test_an_affine_change_is_scipys(rank, seed):
    move = drawn(rank, seed, settings_of(rank))
    image, mask = made_up(rank)
    found, labels = sampling.between(tf.constant(image[..., None]), tf.constant(mask[..., None]), move)
    given = {"matrix": move.matrix.numpy(), "offset": offset_of(move), "output_shape": move.size, "mode": "nearest"}
    expected = ndimage.affine_transform(image.astype(np.float64), order=1, **given)
    np.testing.assert_allclose(found[..., 0], expected, atol=1e-4)
    # Nearest, but for places that lie on the border of two voxels.
    unclear = (np.abs(places_of(move) % 1 - 0.5) < 1e-4).any(axis=0)
    same = labels[..., 0] == ndimage.affine_transform(mask, order=0, **given)
    assert (same | unclear).numpy().all()


@pytest.mark.parametrize("rank", [2, 3])
def test_an_affine_change_is_simpleitks(rank):
    spacing = np.array(SPACINGS[rank], np.float64)
    move = drawn(rank, 4, settings_of(rank, flip=(), shift_mm=0.0, scale=0.05))
    image = ndimage.gaussian_filter(made_up(rank)[0], 1.0)
    source = sitk.GetImageFromArray(image)
    source.SetSpacing(spacing[::-1].tolist())
    source.SetOrigin((-(np.array(move.region) - 1) / 2 * spacing)[::-1].tolist())
    in_mm = move.matrix.numpy() * spacing[:, None] / spacing[None]
    transform = sitk.AffineTransform(rank)
    transform.SetMatrix(in_mm[::-1, ::-1].astype(float).ravel().tolist())
    target = sitk.Image(move.size[::-1], sitk.sitkFloat32)
    target.SetSpacing(spacing[::-1].tolist())
    target.SetOrigin((-(np.array(move.size) - 1) / 2 * spacing)[::-1].tolist())
    expected = sitk.GetArrayFromImage(sitk.Resample(source, target, transform, sitk.sitkLinear, 99.0))
    inside = expected < 50  # SimpleITK has no value beyond the image
    assert inside.mean() > 0.9
    found = sampling.between(tf.constant(image[..., None]), None, move)[0].numpy()[..., 0]
    np.testing.assert_allclose(found[inside], expected[inside], atol=1e-4)


@pytest.mark.parametrize("rank", [2, 3])
def test_an_elastic_change_is_scipys(rank):
    move = drawn(rank, 2, settings_of(rank, elastic_mm=4.0, elastic_spacing_mm=12.0))
    image, mask = made_up(rank)
    found, labels = sampling.between(tf.constant(image[..., None]), tf.constant(mask[..., None]), move)
    places = places_of(move)
    expected = ndimage.map_coordinates(image.astype(np.float64), places, order=1, mode="nearest")
    np.testing.assert_allclose(found[..., 0], expected, atol=1e-4)
    ends = np.array(move.region)[(...,) + (None,) * rank] - 1
    unclear = (np.abs(places % 1 - 0.5) < 1e-4).any(axis=0)
    nearest = mask[tuple(np.floor(np.clip(places, 0, ends) + 0.5).astype(int))]
    assert ((labels[..., 0] == nearest) | unclear).numpy().all()


def test_the_identity_gives_the_regions_middle_bit_for_bit():
    for rank in (2, 3):
        chances = config.Chances(affine=0.0, elastic=0.0, flip=0.0)
        move = drawn(
            rank, 0, settings_of(rank, elastic_mm=3.0, chances=chances), (27, 30) if rank == 2 else (12, 23, 20)
        )
        image = np.random.default_rng(0).normal(size=move.region).astype(np.float32)
        middle = tuple(slice((a - b) // 2, (a + b) // 2) for a, b in zip(move.region, move.size))
        np.testing.assert_array_equal(
            sampling.between(tf.constant(image[..., None]), None, move)[0][..., 0], image[middle]
        )


@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize("seed", range(6))
def test_in_mm_it_is_a_rotation_and_one_zoom(rank, seed):
    move = drawn(rank, seed, settings_of(rank, shear=0.0))
    spacing = np.array(SPACINGS[rank])
    in_mm = move.matrix.numpy() * spacing[:, None] / spacing[None]
    zoom = abs(np.linalg.det(in_mm)) ** (1 / rank)
    assert 0.8 <= zoom <= 1.2
    np.testing.assert_allclose(in_mm @ in_mm.T, zoom**2 * np.eye(rank), atol=1e-5)
    signs = np.where(move.mirrored, -1, 1)
    assert np.linalg.det(in_mm) * signs.prod() > 0
    # Turned by no more than was said, all angles together.
    angle = math.acos(min(1.0, (np.trace(in_mm * signs / zoom) - (rank == 3)) / 2))
    assert angle <= math.radians(20 if rank == 2 else math.hypot(20, 10, 15) * 1.1)


def test_an_angle_turns_about_the_axis_that_is_named():
    for axis in range(3):
        angles = tuple(40.0 if a == axis else 0.0 for a in range(3))
        matrix = drawn(3, 5, config.Augment(rotate=angles), spacing=(1.0, 1.0, 1.0)).matrix.numpy()
        np.testing.assert_allclose(matrix[axis], np.eye(3)[axis], atol=1e-7)
        np.testing.assert_allclose(matrix[:, axis], np.eye(3)[axis], atol=1e-7)
        assert abs(matrix).sum() > 3.1


@st.composite
def asked(draw):
    rank = draw(st.sampled_from([2, 3]))
    share = st.floats(0, 0.3)
    angles = tuple(draw(st.floats(0, 45)) for _ in range(1 if rank == 2 else 3))
    moved = {"scale": draw(share), "shear": draw(st.floats(0, 0.2)), "shift": draw(st.floats(0, 0.1))}
    moved |= {"shift_mm": draw(st.floats(0, 3)), "elastic_mm": draw(st.sampled_from([0.0, 2.0, 5.0]))}
    settings = config.Augment(flip=(True,) * rank, rotate=angles, elastic_spacing_mm=15.0, **moved)
    spacing = tuple(draw(st.floats(0.5, 4)) for _ in range(rank))
    return rank, settings, spacing, draw(st.integers(0, 10**6))


@pytest.mark.slow
@hypothesis.given(asked())
@hypothesis.settings(max_examples=40)
def test_what_is_read_lies_in_the_region(given):
    rank, settings, spacing, seed = given
    size = SIZES[rank][0]
    region_size = around(size, settings, spacing)
    assert all(have >= want and (have - want) % 2 == 0 for have, want in zip(region_size, size))
    places = places_of(drawn(rank, seed, settings, region_size, spacing))
    for place, have, want in zip(places, region_size, size):
        if have < 2 * want - 1:  # where a region is as large as it may be, edges are held
            assert place.min() >= -1e-3
            assert place.max() <= have - 1 + 1e-3


def test_the_region_is_the_patch_where_nothing_of_space_is_asked():
    settings = config.Augment(flip=(True, True, True), noise=1.0, blur_mm=2.0)
    assert around((8, 9, 10), settings) == (8, 9, 10)
    assert around((8, 9, 10), config.Augment(scale=0.9, rotate=(90.0,) * 3)) == (16, 17, 20)


def test_the_region_is_that_of_the_widest_record():
    settings = config.Augment(shift_mm=3.0)
    spacings = np.array([[2.0, 1.0], [np.nan, 0.5], [2.0, 1.0]])
    assert reach.region_size((40, 40), spacings, settings) == (46, 52)


def boxed(rank, seed):
    """Returns a mask with one box in it, and the box."""
    random = np.random.default_rng(seed)
    size = np.array(SIZES[rank][1])
    extent = random.integers(3, np.maximum(4, size // 2 + 1))
    low = random.integers(0, size - extent + 1)
    mask = np.zeros(size, np.uint8)
    mask[tuple(slice(a, a + b) for a, b in zip(low, extent))] = 1
    return mask, np.concatenate([low, low + extent]).astype(np.float32)


@pytest.mark.slow
@hypothesis.given(asked())
@hypothesis.settings(max_examples=30)
def test_a_box_that_is_moved_holds_what_was_drawn_in_it(given):
    rank, settings, spacing, seed = given
    mask, box = boxed(rank, seed)
    move = drawn(rank, seed, settings, spacing=spacing)
    _, seen = sampling.between(tf.zeros([*mask.shape, 1]), tf.constant(mask[..., None]), move)
    edges, labels = placing.boxes(tf.constant(box[None]), tf.constant([4], tf.int64), move)
    where = np.argwhere(seen[..., 0])
    edges = edges[0].numpy()
    places = places_of(move)  # an edge of the region is held: what lies beyond shows what lies at it
    ends = np.array(move.region)[(...,) + (None,) * rank] - 0.5
    held = ((places < -0.5) | (places > ends)).any(axis=0)
    if labels[0] == -1:
        assert not edges.any()
        return
    where = where[~held[tuple(where.T)]]
    if len(where):
        slack = 0.51 if move.warp is None else 1.0
        assert (where.min(axis=0) + 0.5 >= edges[:rank] - slack + 0.5).all()
        assert (where.max(axis=0) + 0.5 <= edges[rank:] + slack - 0.5).all()


@pytest.mark.parametrize("rank", [2, 3])
def test_a_box_that_is_not_turned_is_as_tight_as_before(rank):
    settings = config.Augment(flip=(True,) * rank, scale=0.2, shift_mm=2.0)
    for seed in range(12):
        mask, box = boxed(rank, seed)
        move = drawn(rank, seed, settings)
        _, seen = sampling.between(tf.zeros([*mask.shape, 1]), tf.constant(mask[..., None]), move)
        edges, labels = placing.boxes(tf.constant(box[None]), tf.constant([2], tf.int64), move)
        where = np.argwhere(seen[..., 0])
        if labels[0] == 2:
            found = np.concatenate([where.min(axis=0), where.max(axis=0) + 1])
            assert np.abs(found - edges[0].numpy()).max() <= 1.0


def test_a_box_mostly_outside_is_none():
    settings = config.Augment()
    boxes = tf.constant([[4.0, 4, 10, 10], [-3, 0, 1, 8], [-2, 0, 2, 8], [0, 0, 0, 0], [12, 12, 14, 14]])
    example = region(np.zeros((12, 12), np.float32), boxes=boxes, box_labels=tf.constant([3, 3, 3, -1, 3], tf.int64))
    found = changed(example, 0, (8, 8), settings, data_of(2))
    assert found["box_labels"].tolist() == [3, -1, -1, -1, -1]
    np.testing.assert_array_equal(found["boxes"][0], [2, 2, 8, 8])
    assert not found["boxes"][1:].any()
    half = changed(
        {**example, "boxes": boxes + 2.5, "box_labels": tf.ones(5, tf.int64)}, 0, (8, 8), settings, data_of(2)
    )
    assert half["box_labels"].tolist() == [1, 1, 1, -1, -1]
    np.testing.assert_array_equal(half["boxes"][1:3], [[0, 0.5, 1.5, 8], [0, 0.5, 2.5, 8]])


@pytest.mark.slow
@hypothesis.given(asked())
@hypothesis.settings(max_examples=25)
def test_points_land_where_their_voxels_are_read(given):
    # What a place of the patch reads must, as a point, come back to that place.
    rank, settings, spacing, seed = given
    settings = dataclasses.replace(settings, elastic_mm=min(settings.elastic_mm, 0.39 * 15))
    move = drawn(rank, seed, settings, spacing=spacing)
    places = places_of(move).reshape(rank, -1).T
    random = np.random.default_rng(seed)
    chosen = random.choice(len(places), 12, replace=False)
    expected = np.stack(np.unravel_index(chosen, move.size), -1)
    found = placing.points(tf.constant(places[chosen], tf.float32), move)
    np.testing.assert_allclose(found, expected, atol=1e-3)


@pytest.mark.slow
def test_a_drawn_dot_is_found_at_its_point():
    settings = settings_of(3, elastic_mm=3.0, elastic_spacing_mm=12.0, rotate=(10.0, 10.0, 10.0))
    for seed in range(6):
        image = np.zeros((24, 30, 30), np.float32)
        dot = np.array([12, 16, 14])
        image[tuple(dot)] = 1000.0
        image = ndimage.gaussian_filter(image, 2.0)
        example = region(image, (1.5, 1.0, 1.2), points=dot[None].astype(np.float32))
        found = changed(example, seed, (20, 24, 24), settings, data_of(3))
        weights = found["image"][..., 0] ** 3
        grid = np.stack(np.meshgrid(*[np.arange(n) for n in weights.shape], indexing="ij"))
        centre = (grid * weights).sum(axis=(1, 2, 3)) / weights.sum()
        np.testing.assert_allclose(found["points"][0], centre, atol=0.6)


def test_a_point_nobody_knows_stays_unknown():
    move = drawn(2, 1, settings_of(2, elastic_mm=3.0))
    found = placing.points(tf.constant([[np.nan, np.nan], [4.0, 5.0]]), move).numpy()
    assert np.isnan(found[0]).all()
    assert np.isfinite(found[1]).all()
