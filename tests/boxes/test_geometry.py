"""Overlaps of boxes: counted voxel by voxel, by hand, and what must hold whatever the boxes are."""

from collections.abc import Callable
from typing import Any

import hypothesis
import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies as st

from radkit.boxes import geometry
from radkit.errors import UserError
from tests.boxes import made

RANKS = pytest.mark.parametrize("rank", [2, 3])
MEASURES = (geometry.iou, geometry.giou, geometry.diou, geometry.share_inside)


def inside(box: np.ndarray, size: int = 12, fine: int = 2) -> np.ndarray:
    """Returns which of an image's voxels, each cut in `fine` along each axis, a box holds."""
    rank = len(box) // 2
    middles = (np.arange(size * fine) + 0.5) / fine
    held = [(middles > box[axis]) & (middles < box[rank + axis]) for axis in range(rank)]
    return np.stack(np.meshgrid(*held, indexing="ij")).all(axis=0)


def halves(random: np.random.Generator, count: int, rank: int) -> np.ndarray:
    """Returns boxes whose edges are halves, so that counting is exact; the last one is padding."""
    edges = np.sort(random.integers(0, 24, (count, 2, rank)), axis=1) / 2
    edges[:, 1] += edges[:, 0] == edges[:, 1]
    edges[-1] = 0
    return edges.reshape(count, -1).astype(np.float32)


def counted(a: np.ndarray, b: np.ndarray) -> dict[str, float]:
    """Returns what two boxes measure, from their voxels."""
    rank = len(a) // 2
    in_a, in_b = inside(a, 13), inside(b, 13)
    both, either = (in_a & in_b).sum(), (in_a | in_b).sum()
    around = np.concatenate([np.minimum(a, b)[:rank], np.maximum(a, b)[rank:]])
    hull = inside(around, 13).sum()
    apart = np.square((a[:rank] + a[rank:] - b[:rank] - b[rank:]) / 2).sum()
    diagonal = np.square(around[rank:] - around[:rank]).sum()
    iou = both / either if either else 0.0
    return {
        "iou": iou,
        "giou": iou - ((hull - either) / hull if hull else 0.0),
        "diou": iou - (apart / diagonal if diagonal else 0.0),
        "share_inside": both / in_a.sum() if in_a.any() else 0.0,
    }


@RANKS
def test_overlaps_are_those_that_voxels_count(rank: int) -> None:
    random = np.random.default_rng(rank)
    a, b = halves(random, 9, rank), halves(random, 7, rank)
    wanted = [[counted(one, other) for other in b] for one in a]
    for measure in MEASURES:
        found = keras.ops.convert_to_numpy(measure(*geometry.crossed(tf.constant(a), tf.constant(b))))
        table = [[cell[measure.__name__] for cell in row] for row in wanted]
        assert np.allclose(found, table, atol=1e-6), measure.__name__
    assert np.allclose(geometry.volume(tf.constant(a)), [inside(box, 13).sum() / 2**rank for box in a])


def test_overlaps_by_hand() -> None:
    a, b = np.array([0.0, 0.0, 2.0, 2.0], np.float32), np.array([1.0, 1.0, 3.0, 3.0], np.float32)
    assert np.isclose(geometry.iou(a, b), 1 / 7)
    assert np.isclose(geometry.giou(a, b), 1 / 7 - 2 / 9)  # 3 x 3 around both, 7 of them one's
    assert np.isclose(geometry.diou(a, b), 1 / 7 - 2 / 18)
    assert np.isclose(geometry.giou(a, a + 4), -(36 - 8) / 36)
    assert np.isclose(geometry.diou(a, a + 4), -32 / 72)
    small = np.array([0.5, 0.5, 1.0, 1.0], np.float32)
    assert np.isclose(geometry.share_inside(small, a), 1.0)
    assert np.isclose(geometry.share_inside(a, small), 1 / 16)
    cube = np.array([0.0, 0.0, 0.0, 2.0, 2.0, 2.0], np.float32)
    assert np.isclose(geometry.iou(cube, cube + 1), 1 / 15)
    assert np.isclose(geometry.giou(cube, cube + 1), 1 / 15 - 12 / 27)
    assert np.isclose(geometry.iou(cube, cube + 2), 0.0)  # they touch


PAIRS = st.tuples(st.integers(0, 10_000), st.integers(2, 3))


@hypothesis.given(PAIRS, st.sampled_from([0.25, 4.0]), st.integers(-8, 8))
@hypothesis.settings(max_examples=12)
def test_what_holds_of_all_boxes(pair: tuple[int, int], scale: float, shift: int) -> None:
    random, rank = np.random.default_rng(pair[0]), pair[1]
    a, b = halves(random, 6, rank), halves(random, 6, rank)[::-1].copy()
    iou, giou, diou = (np.array(measure(a, b)) for measure in MEASURES[:3])
    assert (iou >= 0).all()
    assert (iou <= 1).all()
    assert (giou <= iou + 1e-6).all()
    assert (diou <= iou + 1e-6).all()
    assert min(giou.min(), diou.min()) >= -1 - 1e-6
    order = random.permutation(rank)
    turned = [box[:, [*order, *(order + rank)]] * scale + shift for box in (a[1:-1], b[1:-1])]  # without padding
    for measure, known in zip(MEASURES, (iou, giou, diou)):
        assert np.allclose(measure(b, a), known, atol=1e-6)  # symmetric
        assert np.allclose(measure(*turned), known[1:-1], atol=1e-5)  # of no place, scale or order of axes
        assert np.allclose(measure(a[:-1], a[:-1]), 1, atol=1e-6)  # of a box and itself


@RANKS
@pytest.mark.parametrize("measure", MEASURES)
def test_padding_has_no_value_and_no_gradient_that_is_no_number(rank: int, measure: Callable[..., Any]) -> None:
    box = np.concatenate([np.full(rank, 1.0), np.full(rank, 3.0)])
    a = tf.Variable(np.stack([np.zeros(2 * rank), box, np.zeros(2 * rank), box[::-1]]).astype(np.float32))
    b = tf.constant(np.stack([np.zeros(2 * rank), np.zeros(2 * rank), box, box]).astype(np.float32))
    with tf.GradientTape() as tape:
        found = measure(a, b)
    assert np.isfinite(found).all()
    assert np.isfinite(tape.gradient(found, a)).all()
    assert (np.array(found) <= 0).all()


def test_compiled_values_are_the_same() -> None:
    random, rank = np.random.default_rng(3), 3
    a, b = halves(random, 5, rank)[None], halves(random, 8, rank)[None]

    def measured(a: Any, b: Any) -> list[Any]:
        found = [measure(*geometry.crossed(a, b)) for measure in MEASURES]
        return [*found, geometry.clip(a, (5, 7, 6)), geometry.volume(a)]

    fixed = tf.function(measured, jit_compile=True)(tf.constant(a), tf.constant(b))
    free = tf.function(measured, input_signature=[tf.TensorSpec((None, None, 2 * rank))] * 2)(a, b)
    for plain, one, other in zip(measured(tf.constant(a), tf.constant(b)), fixed, free, strict=True):
        assert np.allclose(plain, one, atol=1e-6)
        assert np.allclose(plain, other, atol=1e-6)


def test_clipping_cuts_at_the_borders_and_moves_nothing_else() -> None:
    boxes = np.array([[-2.0, 1.0, 3.0, 99.0], [1.0, 2.0, 3.0, 4.0], [20.0, -9.0, 30.0, -4.0]], np.float32)
    wanted = [[0, 1, 3, 7], [1, 2, 3, 4], [5, 0, 5, 0]]
    for sizes in ((5, 7), [5, 7], tf.constant([5, 7]), np.array([5.0, 7.0])):
        assert np.array(geometry.clip(boxes, sizes)).tolist() == wanted
    assert np.array(geometry.clip(np.array([[-1, -1, -1, 9, 9, 9]], np.float32), (2, 3, 4))).tolist() == [
        [0, 0, 0, 2, 3, 4]
    ]


def test_middles_sides_and_back() -> None:
    boxes = made.boxes(np.random.default_rng(0), 5, 3)
    assert np.array_equal(geometry.around(geometry.centres(boxes), geometry.sides(boxes)), boxes)
    low, high = geometry.edges(boxes)
    assert np.array_equal(np.concatenate([low, high], -1), boxes)


@pytest.mark.parametrize("shape", [(3, 5), (4, 2), ()])
def test_what_has_no_edges_of_a_box_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match="4 edges"):
        geometry.rank(np.zeros(shape))
