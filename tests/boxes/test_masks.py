"""Boxes of masks against a flood fill, and masks of boxes against those that losses draw."""

import itertools

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from scipy import ndimage

from radkit.boxes import masks
from radkit.errors import UserError
from tests.boxes import made


def filled(mask: np.ndarray, connectivity: int) -> list[tuple]:
    """Returns edges, value and voxels of each connected part, by walking from voxel to voxel."""
    steps = [s for s in itertools.product((-1, 0, 1), repeat=mask.ndim) if 0 < np.abs(s).sum() <= connectivity]
    left, found = {tuple(map(int, at)): int(mask[tuple(at)]) for at in np.argwhere(mask)}, []
    while left:
        start, value = next(iter(left.items()))
        part, ahead = [], [start]
        while ahead:
            at = ahead.pop()
            if left.get(at) == value:
                del left[at]
                part.append(at)
                ahead += [tuple(int(a + s) for a, s in zip(at, step)) for step in steps]
        low, high = np.min(part, axis=0), np.max(part, axis=0) + 1
        found.append((*map(int, low), *map(int, high), value, len(part)))
    return sorted(found)


def told(found: masks.Found) -> list[tuple]:
    values = np.where(found.labels == -2, 255, found.labels + 1)
    rows = zip(found.boxes.astype(int).tolist(), values.tolist(), found.volumes.tolist(), strict=True)
    return sorted((*box, value, volume) for box, value, volume in rows)


@hypothesis.given(st.integers(0, 10_000), st.sampled_from([(9, 7), (5, 6, 4)]), st.floats(0.05, 0.6), st.integers(1, 2))
@hypothesis.settings(max_examples=40)
def test_parts_are_those_of_a_flood_fill(seed: int, shape: tuple[int, ...], share: float, connectivity: int) -> None:
    random = np.random.default_rng(seed)
    mask = np.where(random.random(shape) < share, random.choice([1, 2, 7, 255], shape), 0).astype(np.uint8)
    assert told(masks.parts(mask, connectivity=connectivity)) == filled(mask, connectivity)
    assert told(masks.parts(mask[..., None])) == filled(mask, mask.ndim)


def test_parts_that_are_too_small_are_left_out_but_for_regions_to_ignore() -> None:
    mask = np.zeros((8, 8), np.uint8)
    mask[0, 0], mask[2:4, 2:4], mask[7, 7] = 2, 1, 255
    found = masks.parts(mask, least=2)
    assert found.boxes.tolist() == [[2, 2, 4, 4], [7, 7, 8, 8]]
    assert found.labels.tolist() == [0, -2]
    assert found.volumes.tolist() == [4, 1]
    assert found.boxes.dtype == np.float32
    assert masks.parts(mask).labels.tolist() == [0, 1, -2]


@pytest.mark.parametrize("shape", [(6, 6), (3, 4, 5), (6, 6, 1)])
def test_an_empty_mask_has_no_boxes(shape: tuple[int, ...]) -> None:
    rank = 2 if shape[-1] == 1 else len(shape)
    for found in (masks.parts(np.zeros(shape, np.uint8)), masks.instances(np.zeros(shape, np.int32))):
        assert found.boxes.shape == (0, 2 * rank)
        assert found.labels.shape == (0,) == found.volumes.shape


def test_a_mask_that_is_full_is_one_box() -> None:
    for found in (masks.parts(np.full((3, 4), 2, np.uint8)), masks.instances(np.full((3, 4), 9))):
        assert found.boxes.tolist() == [[0, 0, 3, 4]]
        assert found.volumes.tolist() == [12]


def test_instances_that_touch_or_lie_apart_are_told_by_their_number() -> None:
    numbered = np.zeros((4, 10), np.uint16)
    numbered[:, 0:3], numbered[:, 3:5], numbered[0, 6], numbered[3, 9] = 255, 1000, 7, 7
    classes = np.zeros((4, 10), np.uint8)
    classes[:, 0:3], classes[:, 3:5], classes[0, 6] = 3, 255, 1
    classes[0, 0:3] = 1  # fewer of its voxels than those of the other
    found = masks.instances(numbered, classes)
    assert found.boxes.tolist() == [[0, 6, 4, 10], [0, 0, 4, 3], [0, 3, 4, 5]]
    assert found.labels.tolist() == [0, 2, -2]
    assert found.volumes.tolist() == [2, 12, 8]
    alone = masks.instances(numbered[..., None], least=3)
    assert alone.labels.tolist() == [0, 0]
    assert alone.volumes.tolist() == [12, 8]


@pytest.mark.parametrize("shape", ["ellipsoid", "box"])
@pytest.mark.parametrize("rank", [2, 3])
def test_drawn_masks_are_those_that_losses_draw(rank: int, shape) -> None:
    from radkit.losses import box_masks

    random, sizes = np.random.default_rng(rank), (18, 20, 17)[:rank]
    boxes = np.stack([made.boxes(random, 9, rank, size=20.0) for _ in range(4)])
    boxes[:, 0, rank:] = boxes[:, 0, :rank] + 0.25  # holds no voxel's middle, perhaps
    boxes[:, 1] -= 10.0  # reaches over the border, or lies beyond it
    boxes[:, 2] += 9.5
    boxes[:, 3] = 0.0
    labels = np.array([0, 1, 2, -1, -2, 0, 1, 250, -2], np.int32)
    wanted = np.array(box_masks.drawn(boxes, np.tile(labels, (4, 1)), sizes, shape))
    for own, mask in zip(boxes, wanted):
        found = masks.drawn(own, labels, sizes, shape)
        assert found.dtype == np.uint8
        assert np.array_equal(found, mask[..., 0])


@hypothesis.given(st.integers(0, 10_000), st.sampled_from([2, 3]), st.sampled_from(["ellipsoid", "box"]))
@hypothesis.settings(max_examples=40)
def test_boxes_of_what_boxes_draw_are_the_boxes(seed: int, rank: int, shape) -> None:
    random = np.random.default_rng(seed)
    boxes, labels = [], []
    for corner in itertools.product((0, 10), repeat=rank):  # apart from each other
        low = np.array(corner) + random.integers(0, 4, rank)
        boxes.append(np.concatenate([low, low + random.integers(3, 6, rank)]))
        labels.append(int(random.integers(0, 3)))
    found = masks.parts(masks.drawn(np.array(boxes), np.array(labels), (20,) * rank, shape))
    wanted = sorted((label, *box.tolist()) for box, label in zip(boxes, labels))
    assert sorted((int(label), *box.astype(int).tolist()) for box, label in zip(found.boxes, found.labels)) == wanted


def test_an_ellipsoid_is_as_large_as_one() -> None:
    mask = masks.drawn(np.array([[4.0, 6, 8, 44, 36, 28]]), np.array([0]), (48, 48, 48))
    assert abs(mask.sum() / (np.pi / 6 * 40 * 30 * 20) - 1) < 0.01


@pytest.mark.parametrize(
    ("made_wrong", "said"),
    [
        (lambda: masks.parts(np.zeros((4, 4), np.int32)), "a mask of int32; uint8"),
        (lambda: masks.parts(np.zeros((4, 4, 4, 3), np.uint8)), "2 or 3 spatial axes"),
        (lambda: masks.parts(np.zeros((4, 4), np.uint8), connectivity=3), "from 1 .faces. to 2"),
        (lambda: masks.instances(np.zeros((4, 4))), "instances of float64"),
        (lambda: masks.instances(np.full((4, 4), -1)), "whole numbers"),
        (lambda: masks.instances(np.ones((4, 4), int), np.zeros((4, 5), np.uint8)), "give both on one grid"),
        (lambda: masks.instances(np.full((4, 4), 8), np.zeros((4, 4), np.uint8)), "instance 8 has no voxel of a class"),
        (lambda: masks.drawn(np.zeros((1, 4)), np.array([0]), (4, 4), "star"), "shape 'star' is none"),
        (lambda: masks.drawn(np.zeros((2, 4)), np.array([0]), (4, 4)), "one each"),
        (lambda: masks.drawn(np.zeros((1, 4)), np.array([254]), (4, 4)), "below 254"),
    ],
)
def test_what_is_no_mask_is_refused(made_wrong, said: str) -> None:
    with pytest.raises(UserError, match=said):
        made_wrong()


@pytest.mark.parametrize("rank", [2, 3])
def test_masks_within_boxes_are_those_of_an_interpolation_and_the_first_lies_above(rank: int) -> None:
    random, sizes = np.random.default_rng(rank), (14, 11, 12)[:rank]
    given = random.uniform(size=(5, *(4, 5, 3)[:rank])).astype(np.float32)
    low = random.uniform(-3, 8, (5, rank))
    boxes = np.concatenate([low, low + random.uniform(0.5, 9, (5, rank))], axis=1)
    expected = np.zeros(sizes, np.uint8)
    for at in np.ndindex(*sizes):
        middle = np.array(at) + 0.5
        for number, (mask, box) in enumerate(zip(given, boxes), 1):
            start, end = box[:rank], box[rank:]
            place = ((middle - start) / (end - start) * mask.shape - 0.5)[:, None]
            value = ndimage.map_coordinates(mask.astype(np.float64), place, order=1, mode="nearest")[0]
            if (start <= middle).all() and (middle < end).all() and value >= 0.5:
                expected[at] = number
                break
    assert np.array_equal(masks.filled(given, boxes, sizes), expected)
    assert len(np.unique(expected)) > 3
