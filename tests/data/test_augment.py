"""Augmented examples: the seed's and nothing else's, the same for image, mask, boxes, points and label."""

import dataclasses
import functools

import numpy as np
import pytest
import tensorflow as tf

from radkit import config
from radkit.data import augment, prepare
from radkit.errors import UserError
from tests.data.augmentation.regions import RADIOGRAPH, VOLUME, around, changed, region

SIDES = ("left", "right", "middle")
ALL = config.Augment(
    flip=(True, True, True), rotate=(20.0, 10.0, 10.0), scale=0.2, shear=0.1, shift=0.05, shift_mm=1.0, elastic_mm=2.0,
    elastic_spacing_mm=8.0, noise=0.1, rician=0.1, gain=0.2, gamma=0.3, bias_field=0.3, blur_mm=1.0, low_resolution=0.5,
    cut_out=0.3, swap_labels=(("left", "right"),),
)  # fmt: skip
FLAT = dataclasses.replace(ALL, flip=(True, True), rotate=(20.0,))
SIZES = {3: (8, 12, 10), 2: (16, 14)}


def everything(rank, seed=0, dtype=np.int16):
    """Returns a region with all that an example may hold, the settings and the data section that go with it."""
    settings, size = (ALL if rank == 3 else FLAT), SIZES[rank]
    data = dataclasses.replace(VOLUME if rank == 3 else RADIOGRAPH, normalise="zscore", mask_labels=SIDES)
    data = dataclasses.replace(data, box_labels=SIDES, label="side", class_names=SIDES)
    have = around(size, settings)
    random = np.random.default_rng(seed)
    low = random.uniform(0, np.array(have) - 4, (5, rank))
    more = {
        "mask": random.integers(0, 4, (*have, 1)).astype(np.uint8),
        "boxes": np.concatenate([low, low + 4], axis=1).astype(np.float32),
        "box_labels": np.array([0, 1, 2, 0, -1]), "points": low.astype(np.float32), "label": np.int64(1),
        "number": np.int64(77), "low": np.full(rank, -2, np.int32), "shape": np.array(have, np.int32) - 1,
        "centre": np.float32([40.0, 0.0]), "deviation": np.float32(300.0),
    }  # fmt: skip
    image = random.integers(-500, 500, have).astype(dtype)
    return region(image, (2.0, 1.0, 1.5)[-rank:], **more), size, settings, data


@functools.cache
def plain(rank, seed):
    """Returns what becomes of `everything`, uncompiled: half a second each time."""
    given = everything(rank)
    return changed(given[0], seed, *given[1:])


@pytest.mark.slow
@pytest.mark.parametrize("rank", [2, 3])
def test_the_same_seed_gives_the_same_bytes_and_another_another(rank):
    given = everything(rank)
    one, same, other = plain(rank, 3), changed(given[0], 3, *given[1:]), plain(rank, 4)
    assert set(one) == {"image", "mask", "boxes", "box_labels", "points", "label", "number"}
    for name, value in one.items():
        np.testing.assert_array_equal(value, same[name])
    assert not np.array_equal(one["image"], other["image"])
    assert one["image"].shape == one["mask"].shape == (*given[1], 1)
    assert (one["image"].dtype, one["mask"].dtype) == (np.float32, np.uint8)
    assert one["number"] == 77


@pytest.mark.parametrize("rank", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_compiled_with_static_shapes_it_is_the_same(rank):
    example, size, settings, data = everything(rank)
    compiled = tf.function(
        lambda e, s: augment.augment_example(e, s, size, settings, data), jit_compile=True, autograph=False
    )
    for seed in (3, 4):
        found = compiled(example, tf.constant([seed, 7]))
        expected = plain(rank, seed)
        np.testing.assert_array_equal(found["box_labels"], expected["box_labels"])
        np.testing.assert_array_equal(found["label"], expected["label"])
        np.testing.assert_allclose(found["image"], expected["image"], atol=2e-4)
        np.testing.assert_allclose(found["boxes"], expected["boxes"], atol=1e-3)
        np.testing.assert_allclose(found["points"], expected["points"], atol=1e-3)
        assert (found["mask"].numpy() != expected["mask"]).mean() < 0.01  # places on the border of two voxels
    # A bound instead of a size (`<=`) is what a TPU refuses.
    assert "<=" not in compiled.experimental_get_compiler_ir(example, tf.constant([0, 7]))(stage="hlo")


@pytest.mark.slow
def test_a_batch_is_its_examples():
    given = [everything(2, seed)[0] for seed in range(3)]
    _, size, settings, data = everything(2)
    off = ("low_resolution", "blur_mm", "rician", "bias_field", "gamma", "cut_out", "elastic_mm")
    settings = dataclasses.replace(settings, **dict.fromkeys(off, 0.0))
    batch = {name: tf.stack([example[name] for example in given]) for name in given[0]}
    seeds = tf.constant([[5, 7], [1, 7], [9, 7]])
    compiled = tf.function(lambda b, s: augment.augment_batch(b, s, size, settings, data), jit_compile=True)
    found = compiled(batch, seeds)
    for number, seed in enumerate((5, 1, 9)):
        expected = changed(given[number], seed, size, settings, data)
        for name, value in expected.items():
            np.testing.assert_allclose(found[name][number], value, atol=1e-3, err_msg=name)


def test_a_batch_may_hold_normalised_examples_beside_others():
    data = dataclasses.replace(RADIOGRAPH, normalise="window", window=(0.0, 100.0))
    images = np.random.default_rng(0).uniform(0, 1, (2, 6, 6)).astype(np.float32)
    batch = {name: tf.stack([value] * 2) for name, value in region(images[0]).items()} | {"image": images[..., None]}
    found = augment.augment_batch(
        batch, tf.zeros([2, 2], tf.int32), (6, 6), config.Augment(), data, normalised=tf.constant([True, False])
    )["image"][..., 0]
    np.testing.assert_array_equal(found[0], images[0])
    np.testing.assert_allclose(found[1], images[1] / 50 - 1, atol=1e-6)


@pytest.mark.parametrize("normalise", ["window", "none"])
@pytest.mark.parametrize("rank", [2, 3])
def test_where_nothing_happens_it_is_what_prepare_makes_bit_for_bit(rank, normalise):
    example, size, settings, data = everything(rank)
    data = dataclasses.replace(data, normalise=normalise)
    never = config.Chances(**{field.name: 0.0 for field in dataclasses.fields(config.Chances)})
    have = tuple(example["image"].shape[:-1])
    example = {**example, "low": tf.zeros(rank, tf.int32), "shape": tf.constant(have)}
    found = changed(example, 3, size, dataclasses.replace(settings, chances=never), data)
    middle = tuple(slice((a - b) // 2, (a + b) // 2) for a, b in zip(have, size))
    values = prepare.modality_values(example["image"], example["slope"], example["intercept"])
    np.testing.assert_array_equal(found["image"], prepare.normalise(values[None], data)[0][middle])
    np.testing.assert_array_equal(found["mask"], example["mask"][middle])
    np.testing.assert_allclose(found["points"] + [m.start for m in middle], example["points"], atol=1e-5)


def test_a_zscore_is_of_the_whole_record_with_each_slices_rescaling():
    image = np.random.default_rng(0).integers(0, 900, (6, 8, 8)).astype(np.int16)
    slope, intercept = np.linspace(1, 2, 6, dtype=np.float32), np.linspace(-9, 9, 6, dtype=np.float32)
    data = dataclasses.replace(VOLUME, normalise="zscore")
    values = prepare.modality_values(tf.constant(image[..., None]), slope, intercept).numpy()
    whole = prepare.normalise(tf.constant(values[None]), data)[0]
    figures = {"centre": np.float32([values.mean(), 0]), "deviation": values.std()}
    part = {"slope": slope[2:5], "intercept": intercept[2:5], **figures}
    found = changed(region(image[2:5], **part), 0, (3, 8, 8), config.Augment(), data)
    np.testing.assert_allclose(found["image"], whole[2:5], atol=1e-5)


@pytest.mark.parametrize("normalise", ["window", "zscore"])
@pytest.mark.parametrize("settings", [config.Augment(), config.Augment(scale=0.5, chances=config.Chances(affine=0.0))])
def test_what_is_beyond_the_record_is_padding(normalise, settings):
    data = dataclasses.replace(RADIOGRAPH, normalise=normalise)
    mask = np.ones((8, 8, 1), np.uint8)
    example = region(np.full((8, 8), 777, np.int16), low=np.array([-2, 1], np.int32), shape=np.array([20, 6], np.int32))
    found = changed({**example, "mask": tf.constant(mask)}, 0, (8, 8), settings, data)
    beyond = np.zeros((8, 8, 1), bool)
    beyond[:2] = beyond[:, 5:] = True
    np.testing.assert_array_equal(found["image"] == prepare.padding_value(data), beyond)
    np.testing.assert_array_equal(found["mask"] == 0, beyond)


def test_normalised_values_are_taken_as_they_are():
    image = np.random.default_rng(0).uniform(-1, 1, (6, 6)).astype(np.float32)
    data = dataclasses.replace(RADIOGRAPH, normalise="window")
    for normalised in (True, tf.constant(True)):
        found = augment.augment_example(
            region(image), tf.constant([0, 0]), (6, 6), config.Augment(), data, normalised=normalised
        )
        np.testing.assert_array_equal(found["image"][..., 0], image)
    jittered = augment.augment_example(
        region(image), tf.constant([0, 0]), (6, 6), config.Augment(window=0.2), data, normalised=True
    )["image"].numpy()
    assert -1 <= jittered.min() < jittered.max() <= 1
    assert not np.array_equal(jittered[..., 0], image)


@pytest.mark.parametrize("rank", [2, 3])
def test_a_flip_is_a_flip_of_everything(rank):
    have = SIZES[rank]
    random = np.random.default_rng(0)
    image = random.normal(size=have).astype(np.float32)
    box = np.concatenate([np.arange(1, rank + 1), np.arange(1, rank + 1) + 3]).astype(np.float32)
    point = np.arange(1, rank + 1, dtype=np.float32)
    mask = random.integers(0, 3, (*have, 1)).astype(np.uint8)
    example = region(image, mask=mask, boxes=box[None], box_labels=np.array([1]), points=point[None])
    seen = set()
    for seed in range(40):
        found = changed(example, seed, have, config.Augment(flip=(True,) * rank), VOLUME if rank == 3 else RADIOGRAPH)
        axes = tuple(a for a in range(rank) if found["points"][0, a] != point[a])
        seen.add(axes)
        np.testing.assert_array_equal(found["image"][..., 0], np.flip(image, axes))
        np.testing.assert_array_equal(found["mask"], np.flip(mask, axes))
        mirrored = np.array([a in axes for a in range(rank)])
        sizes = np.array(have)
        np.testing.assert_array_equal(found["points"][0], np.where(mirrored, sizes - 1 - point, point))
        low, high = (
            np.where(mirrored, sizes - box[rank:], box[:rank]),
            np.where(mirrored, sizes - box[:rank], box[rank:]),
        )
        np.testing.assert_array_equal(found["boxes"][0], np.concatenate([low, high]))
    assert len(seen) == 2**rank


def test_left_and_right_change_places_where_that_axis_is_mirrored_only():
    example, _, _, data = everything(2)
    settings = config.Augment(flip=(True, True), swap_labels=(("left", "right"),), swap_axis=1)
    have = tuple(example["image"].shape[:-1])
    example = {**example, "low": tf.zeros(2, tf.int32), "shape": tf.constant(have)}
    swapped = np.array([0, 2, 1, 3])
    seen = set()
    for seed in range(16):
        found = changed(example, seed, have, settings, data)
        rows, columns = (found["points"][0, a] != example["points"][0, a].numpy() for a in (0, 1))
        seen.add((bool(rows), bool(columns)))
        mask = np.flip(example["mask"].numpy(), [a for a, on in enumerate((rows, columns)) if on])
        np.testing.assert_array_equal(found["mask"], swapped[mask] if columns else mask)
        assert found["box_labels"].tolist() == ([1, 0, 2, 1, -1] if columns else [0, 1, 2, 0, -1])
        assert found["label"] == (0 if columns else 1)
    assert len(seen) == 4


def test_flags_change_places_and_numbers_do_not():
    settings = config.Augment(flip=(False, True), swap_labels=(("left", "right"),))
    example = region(np.arange(12, dtype=np.float32).reshape(3, 4))
    of_flags = dataclasses.replace(RADIOGRAPH, label="found", label_kind="multi_label", class_names=SIDES)
    of_numbers = dataclasses.replace(RADIOGRAPH, label="age", label_kind="regression")
    seen = set()
    for seed in range(8):
        found = changed({**example, "label": tf.constant([1, 0, -1], tf.int64)}, seed, (3, 4), settings, of_flags)
        flipped = bool(found["image"][0, 0, 0] == 3)
        assert found["label"].tolist() == ([0, 1, -1] if flipped else [1, 0, -1])
        assert changed({**example, "label": tf.constant(1.0)}, seed, (3, 4), settings, of_numbers)["label"] == 1.0
        seen.add(flipped)
    assert seen == {True, False}


def test_intensities_leave_the_mask_and_a_mask_leaves_the_image():
    settings = config.Augment(noise=0.5, gain=0.5, gamma=0.5, blur_mm=1.0, cut_out=0.5)
    example = region(np.random.default_rng(0).normal(size=(9, 12)).astype(np.float32))
    masked = {**example, "mask": tf.ones([9, 12, 1], tf.uint8)}
    found = changed(masked, 2, (9, 12), settings, RADIOGRAPH)
    assert found["mask"].all()
    np.testing.assert_array_equal(found["image"], changed(example, 2, (9, 12), settings, RADIOGRAPH)["image"])


def test_a_new_change_moves_no_other_changes_numbers():
    example = region(np.zeros((10, 10), np.float32))
    noise = changed(example, 1, (10, 10), config.Augment(noise=0.5), RADIOGRAPH)["image"]
    both = changed(example, 1, (10, 10), config.Augment(noise=0.5, flip=(True, True), gain=0.0), RADIOGRAPH)["image"]
    np.testing.assert_array_equal(noise, both)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("seed", range(4))
def test_image_and_mask_move_alike(axis, seed):
    # Across one plane, linear interpolation passes a half exactly where the nearest label changes.
    plane = np.zeros((10, 12, 14), np.uint8)
    np.moveaxis(plane, axis, 0)[plane.shape[axis] // 2 :] = 1
    settings = config.Augment(flip=(True, True, True), shift=0.2, scale=0.3, rotate=(30.0, 30.0, 30.0), elastic_mm=2.0)
    example = region(plane.astype(np.float32), mask=plane[..., None])
    found = changed(example, seed, (10, 12, 14), settings, VOLUME)
    assert 0 < found["mask"].mean() < 1
    unclear = np.abs(found["image"] - 0.5) < 0.2  # where the plane is oblique a half is not the nearest voxel's border
    assert ((found["image"] > 0.5) == (found["mask"] == 1))[~unclear].all()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (config.Augment(flip=(True, False, True)), r"augment\.flip must be empty or 2 booleans"),
        (config.Augment(rotate=(1.0, 1.0, 1.0)), r"augment\.rotate must be empty or 1 angles"),
    ],
)
def test_settings_of_another_number_of_axes_are_refused(settings, said):
    with pytest.raises(UserError, match=said):
        changed(region(np.zeros((5, 6), np.float32)), 0, (5, 6), settings, RADIOGRAPH)


@pytest.mark.parametrize("size", [(4, 6), (5, 8), (6, 6)])
def test_a_region_must_lie_around_its_patch(size):
    with pytest.raises(ValueError, match="does not lie around a patch"):
        changed(region(np.zeros((5, 6), np.float32)), 0, size, config.Augment(), RADIOGRAPH)
