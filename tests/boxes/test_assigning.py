"""Assigners against plain loops, hand-made cases, and what must hold whatever the boxes are."""

from collections.abc import Callable
from typing import Any

import hypothesis
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies as st

from radkit.boxes import assigning
from radkit.errors import UserError
from tests.boxes import made


def of_max_iou(
    anchors: np.ndarray, boxes: np.ndarray, labels: np.ndarray, positive: float, negative: float, rescue: bool
) -> np.ndarray:
    """One anchor after the other, as the paper tells it."""
    table = made.overlaps(anchors, boxes)
    real = [k for k in range(len(boxes)) if labels[k] >= 0]
    found = np.full(len(anchors), -1)
    for place in range(len(anchors)):
        best = max(real, key=lambda k: (table[place, k], -k), default=None)
        overlap = table[place, best] if best is not None else -1.0
        found[place] = best if overlap >= positive else (-2 if overlap >= negative else -1)
    for place in range(len(anchors)) if rescue else ():
        wanted = [k for k in real if table[place, k] > 0 and table[place, k] > table[:, k].max() - 1e-7]
        if wanted:
            found[place] = max(wanted, key=lambda k: (table[place, k], -k))
    return found


@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize("rescue", [True, False])
def test_max_iou_is_the_loop(rank: int, rescue: bool) -> None:
    random = np.random.default_rng(rank)
    anchors = np.stack([made.boxes(random, 60, rank) for _ in range(3)])
    boxes = np.stack([made.boxes(random, 7, rank) for _ in range(3)])
    labels = np.array([[0, 1, 0, -1, 2, 0, 1], [-1] * 7, [0] * 7])
    found = assigning.max_iou(anchors, boxes, labels, positive=0.4, negative=0.3, rescue=rescue)
    wanted = [of_max_iou(*one, 0.4, 0.3, rescue) for one in zip(anchors, boxes, labels)]
    np.testing.assert_array_equal(found, wanted)
    assert found.dtype == tf.int32
    assert not rescue or (found.numpy() >= 0).any()


# Torchvision's Matcher(0.5, 0.4) says the same; with allow_low_quality_matches=True it also gives away all anchors that
# share an overlap of 0 with box 2.
ANCHORS = [[0, 0, 10, 10], [0, 0, 10, 5], [2, 0, 12, 10], [20, 20, 30, 30], [40, 40, 44, 44], [0, 0, 10, 4.5]]
BOXES = [[0, 0, 10, 10], [24, 24, 40, 40], [60, 60, 70, 70]]
MATCHED = [0, 0, 0, 1, -1, -2]


def test_a_case_by_hand() -> None:
    """IoUs with box 0: 1, 0.5, 0.67, 0, 0, 0.45; box 1 overlaps anchor 3 alone; box 2 none."""
    anchors, boxes = np.array([ANCHORS], np.float32), np.array([BOXES], np.float32)
    np.testing.assert_array_equal(assigning.max_iou(anchors, boxes, [[0, 0, 0]]), [MATCHED])
    np.testing.assert_array_equal(assigning.max_iou(anchors, boxes, [[0, 0, 0]], rescue=False), [[0, 0, 0, -1, -1, -2]])


def test_a_place_that_is_best_for_two_boxes_gets_the_one_it_overlaps_more() -> None:
    anchors = np.array([[[0, 0, 8, 8], [16, 16, 24, 24]]], np.float32)
    boxes = np.array([[[0, 0, 2, 2], [0, 0, 4, 4]]], np.float32)
    np.testing.assert_array_equal(assigning.max_iou(anchors, boxes, [[0, 0]]), [[1, -1]])


def test_places_within_regions_of_which_nobody_says_anything_are_ignored() -> None:
    anchors = np.array([[[0, 0, 4, 4], [4, 0, 8, 4], [6, 0, 10, 4], [0, 8, 4, 12], [0, 0, 0, 0]]], np.float32)
    boxes = np.array([[[0, 0, 4, 4], [0, 0, 7, 4]]], np.float32)
    found = assigning.max_iou(anchors, boxes, [[0, -2]])
    np.testing.assert_array_equal(found, [[0, -2, -1, -1, -2]])  # the last holds nothing


def of_bipartite(anchors: np.ndarray, boxes: np.ndarray, labels: np.ndarray) -> np.ndarray:
    table = made.overlaps(anchors, boxes)
    table[:, labels < 0] = -1
    found = np.full(len(anchors), -1)
    while table.max() > 0:
        place, box = np.unravel_index(table.argmax(), table.shape)
        found[place] = box
        table[place], table[:, box] = -1, -1
    return found


@pytest.mark.parametrize("rank", [2, 3])
def test_bipartite_is_greedy(rank: int) -> None:
    random = np.random.default_rng(rank)
    anchors = np.stack([made.boxes(random, 25, rank, 16) for _ in range(2)])
    boxes = np.stack([made.boxes(random, 12, rank, 16) for _ in range(2)])
    labels = np.array([[0] * 12, [1, -1] * 6])
    found = assigning.bipartite(anchors, boxes, labels)
    np.testing.assert_array_equal(found, [of_bipartite(*one) for one in zip(anchors, boxes, labels)])
    for row in found.numpy():
        taken = row[row >= 0]
        assert len(set(taken)) == len(taken) > 0


def of_atss(
    anchors: np.ndarray, levels: np.ndarray, boxes: np.ndarray, labels: np.ndarray, top: int, inside: bool, rescue: bool
) -> np.ndarray:
    rank = boxes.shape[-1] // 2
    middles = (anchors[:, :rank] + anchors[:, rank:]) / 2
    claims: dict[int, list[tuple[float, int]]] = {}
    for number, box in enumerate(boxes):
        if labels[number] < 0:
            continue
        apart = ((middles - (box[:rank] + box[rank:]) / 2) ** 2).sum(-1)
        candidates: list[int] = []
        for level in range(levels.max() + 1):
            own = np.flatnonzero(levels == level)
            candidates += list(own[np.argsort(apart[own], kind="stable")[:top]])
        fits = np.array([made.iou(anchors[k], box) for k in candidates])
        limit = fits.mean() + fits.std(ddof=1)
        taken = [(k, fit) for k, fit in zip(candidates, fits) if fit >= limit and fit > 0]
        if inside:
            taken = [
                (k, fit) for k, fit in taken if (box[:rank] < middles[k]).all() and (middles[k] < box[rank:]).all()
            ]
        if not taken and rescue:
            taken = [(k, fit) for k, fit in zip(candidates, fits) if fit == fits.max() > 0]
        for k, fit in taken:
            claims.setdefault(int(k), []).append((fit, -number))
    return np.array([-max(claims[k])[1] if k in claims else -1 for k in range(len(anchors))])


@pytest.mark.parametrize(("rank", "inside", "rescue"), [(2, True, True), (2, True, False), (3, False, True)])
def test_atss_is_the_algorithm(rank: int, inside: bool, rescue: bool) -> None:
    random = np.random.default_rng(4)
    anchors, levels = made.cells(32 if rank == 2 else 16, (4, 8, 16), rank)
    boxes = np.stack([made.boxes(random, 8, rank, 32 if rank == 2 else 16) for _ in range(2)])
    boxes[0, 0] = [*[8.25] * rank, *[9.5] * rank]  # no place's middle lies within
    labels = np.array([[0, 1, 2, 0, 1, 2, 0, 1], [0, -1, 2, -1, 1, 1, -1, 1]])
    found = assigning.atss(
        np.stack([anchors] * 2), boxes, labels, levels=np.stack([levels] * 2), top=5, inside=inside, rescue=rescue
    )
    wanted = [of_atss(anchors, levels, *one, 5, inside, rescue) for one in zip(boxes, labels)]
    np.testing.assert_array_equal(found, wanted)
    assert (0 in found[0].numpy()) == rescue


def of_centre(
    cells: np.ndarray, levels: np.ndarray, boxes: np.ndarray, labels: np.ndarray, radius: float
) -> np.ndarray:
    """FCOS: the point lies in the box and near its middle, and the furthest edge suits the level."""
    rank = boxes.shape[-1] // 2
    found = np.full(len(cells), -1)
    for place, cell in enumerate(cells):
        point, stride = (cell[:rank] + cell[rank:]) / 2, cell[rank] - cell[0]
        fits = []
        for number, box in enumerate(boxes):
            middle = (box[:rank] + box[rank:]) / 2
            edges = np.concatenate([point - box[:rank], box[rank:] - point])
            low = -1 if levels[place] == 0 else 4 * stride
            high = np.inf if levels[place] == levels.max() else 8 * stride
            near = (np.abs(point - middle) < radius * stride).all() and edges.min() > 0
            if labels[number] >= 0 and near and low < edges.max() <= high:
                fits.append((np.prod(box[rank:] - box[:rank]), number))
        found[place] = min(fits)[1] if fits else -1
    return found


@pytest.mark.parametrize("rank", [2, 3])
def test_centre_sampling_is_that_of_fcos_for_boxes_wider_than_a_stride(rank: int) -> None:
    random = np.random.default_rng(5)
    size, strides = (64, (2, 4, 8)) if rank == 2 else (24, (2, 4))
    cells, levels = made.cells(size, strides, rank)
    boxes = np.stack([made.boxes(random, 6, rank, size) for _ in range(2)]) + np.float32(0.125)
    boxes[..., rank:] += 2.0
    labels = np.array([[0, 1, 2, 0, 1, 2], [0, -1, 2, -1, 1, 1]])
    found = assigning.centre(np.stack([cells] * 2), boxes, labels, levels=np.stack([levels] * 2)).numpy()
    wanted = np.array([of_centre(cells, levels, *one, 1.5) for one in zip(boxes, labels)])
    np.testing.assert_array_equal(found[wanted >= 0], wanted[wanted >= 0])
    # All boxes are wider than the finest stride; on coarser levels narrow ones get a place more than in the paper.
    np.testing.assert_array_equal(found[:, levels == 0], wanted[:, levels == 0])


def test_centre_sampling_reads_ranges_in_pixels_and_finds_boxes_between_places() -> None:
    cells, levels = made.cells(16, (4, 8))
    boxes = np.array([[[3.5, 3.5, 4.5, 4.5], [4.0, 4.0, 12.0, 12.0]]], np.float32)
    found = assigning.centre(cells[None], boxes, [[0, 1]], levels=levels[None], ranges=((0, 4.5), (4.5, 99))).numpy()[0]
    np.testing.assert_array_equal(np.flatnonzero(found == 0), [0, 1, 4, 5])  # around (4, 4), half a stride away
    assert set(np.flatnonzero(found == 1)) == {16, 17, 18, 19}  # 6 pixels to the furthest edge: the second level's


def of_sim_ota(
    cells: np.ndarray, boxes: np.ndarray, labels: np.ndarray, predicted: np.ndarray, scores: np.ndarray
) -> np.ndarray:
    rank = boxes.shape[-1] // 2
    points, strides = (cells[:, :rank] + cells[:, rank:]) / 2, (cells[:, rank] - cells[:, 0])[:, None]
    claims: dict[int, list[tuple[float, int]]] = {}
    for number, box in enumerate(boxes):
        if labels[number] < 0:
            continue
        in_box = ((points > box[:rank]) & (points < box[rank:])).all(-1)
        in_middle = (np.abs(points - (box[:rank] + box[rank:]) / 2) < 2.5 * strides).all(-1)
        among = np.flatnonzero(in_box | in_middle)
        fits = np.array([made.iou(predicted[k], box) for k in among])
        sure = np.sqrt(np.clip(scores[among].astype(float), 1e-12, 1 - 1e-6))
        truth = np.eye(scores.shape[-1])[labels[number]]
        costs = -(truth * np.log(sure) + (1 - truth) * np.log(1 - sure)).sum(-1) - 3 * np.log(fits + 1e-8)
        costs += 1e5 * ~(in_box & in_middle)[among]
        wanted = max(1, int(np.sort(fits)[::-1][:10].sum()))
        for k in np.argsort(costs, kind="stable")[:wanted]:
            claims.setdefault(int(among[k]), []).append((costs[k], number))
    return np.array([min(claims[k])[1] if k in claims else -1 for k in range(len(cells))])


@pytest.mark.parametrize("rank", [2, 3])
def test_sim_ota_is_the_loop(rank: int) -> None:
    random = np.random.default_rng(6)
    size = 32 if rank == 2 else 16
    cells, _ = made.cells(size, (4, 8), rank)
    boxes = np.stack([made.boxes(random, 6, rank, size) for _ in range(2)])
    labels = np.array([[0, 1, 2, 0, 1, 2], [0, -1, 2, -2, 1, -1]])
    boxes[1, 3] = [0] * rank + [size / 2] * rank
    cells = np.stack([cells] * 2)
    predicted = (cells + random.normal(0, 2, cells.shape)).astype(np.float32)
    predicted[..., rank:] = np.maximum(predicted[..., rank:], predicted[..., :rank] + 1)
    scores = random.uniform(0, 1, (*cells.shape[:2], 3)).astype(np.float32)
    found = assigning.sim_ota(cells, boxes, labels, predicted=predicted, scores=scores).numpy()
    wanted = np.array([of_sim_ota(*one) for one in zip(cells, boxes, labels, predicted, scores)])
    np.testing.assert_array_equal(np.maximum(found, -1), wanted)
    assert (found[1] == -2).any()


CELLS, LEVELS = made.cells(16, (4, 8))
ALL: dict[str, Callable[..., Any]] = {
    "max_iou": assigning.max_iou,
    "bipartite": assigning.bipartite,
    "atss": lambda *given: assigning.atss(*given, levels=tf.constant(LEVELS[None])),
    "centre": lambda *given: assigning.centre(*given, levels=tf.constant(LEVELS[None])),
    "sim_ota": lambda *given: assigning.sim_ota(
        *given, predicted=tf.constant(CELLS[None]), scores=tf.fill((1, len(CELLS), 2), 0.1)
    ),
}


@pytest.mark.parametrize("name", list(ALL))
def test_odd_lists_of_boxes_are_no_trouble(name: str) -> None:
    none = ALL[name](CELLS[None], np.zeros((1, 0, 4), np.float32), np.zeros((1, 0), np.int32))
    assert (none.numpy() == -1).all()
    padding = ALL[name](CELLS[None], np.zeros((1, 3, 4), np.float32), np.full((1, 3), -1))
    assert (padding.numpy() == -1).all()
    everywhere = np.array([[[0, 0, 16, 16]]], np.float32)
    assert (ALL[name](CELLS[None], everywhere, [[-2]]).numpy() == -2).all()
    outside = ALL[name](CELLS[None], everywhere + 100, [[0]]).numpy()
    assert (outside == -1).all()
    many = made.boxes(np.random.default_rng(0), 100, size=16)[None]
    found = ALL[name](CELLS[None], many, np.zeros((1, 100), np.int32)).numpy()
    assert found.min() >= -2
    assert found.max() < 100
    assert (found >= 0).sum() >= 5


@pytest.mark.slow
def test_compiled_for_fixed_and_traced_for_free_sizes_they_find_the_same() -> None:
    def each(*given: tf.Tensor) -> list[tf.Tensor]:
        return [assign(*given) for assign in ALL.values()]

    boxes = made.boxes(np.random.default_rng(1), 5, size=16)[None]
    labels = np.array([[0, 1, -1, -2, 0]], np.int32)
    wanted = each(CELLS[None], boxes, labels)
    compiled = tf.function(each, jit_compile=True)(tf.constant(CELLS[None]), boxes, tf.constant(labels))
    free = [tf.TensorSpec((None, None, 4)), tf.TensorSpec((None, None, 4)), tf.TensorSpec((None, None), tf.int32)]
    traced = tf.function(each, input_signature=free)(CELLS[None], boxes, labels)
    for one, other, name in zip(zip(compiled, traced), wanted, ALL):
        for found in one:
            np.testing.assert_array_equal(found, other, err_msg=name)


def test_of_no_places_at_all_none_answers() -> None:
    one = np.array([[[0, 0, 16, 16]]], np.float32)  # as where a detector of given regions is given none
    found = assigning.max_iou(np.zeros((1, 0, 4), np.float32), one, np.zeros((1, 1), np.int32))
    assert tuple(found.shape) == (1, 0)


@pytest.mark.parametrize("name", list(ALL))
def test_traced_for_free_sizes_an_image_without_boxes_is_background(name: str) -> None:
    free = [tf.TensorSpec((None, None, 4)), tf.TensorSpec((None, None, 4)), tf.TensorSpec((None, None), tf.int32)]
    traced = tf.function(ALL[name], input_signature=free)
    found = traced(CELLS[None], np.zeros((1, 0, 4), np.float32), np.zeros((1, 0), np.int32))
    np.testing.assert_array_equal(found, -np.ones((1, len(CELLS))))


@hypothesis.settings(max_examples=5, deadline=None)
@hypothesis.given(st.integers(0, 10_000), st.integers(1, 9), st.sampled_from(list(ALL)))
def test_padding_changes_nothing_and_each_box_that_is_matched_is_there(seed: int, count: int, name: str) -> None:
    random = np.random.default_rng(seed)
    boxes, labels = made.boxes(random, count, size=16)[None], random.integers(-2, 2, (1, count))
    found = ALL[name](CELLS[None], boxes, labels).numpy()
    assert all(labels[0, k] >= 0 for k in found[found >= 0])
    padded = np.pad(boxes, ((0, 0), (0, 2), (0, 0)))
    np.testing.assert_array_equal(
        ALL[name](CELLS[None], padded, np.pad(labels, ((0, 0), (0, 2)), constant_values=-1)), found
    )


def test_what_belongs_to_a_box_is_gathered() -> None:
    values = np.arange(12, dtype=np.float32).reshape(2, 3, 2)
    found = assigning.gather(values, tf.constant([[2, -1], [0, 1]]))
    np.testing.assert_array_equal(found, [[[4, 5], [0, 1]], [[6, 7], [8, 9]]])
    np.testing.assert_array_equal(assigning.gather(tf.constant([[7, 8]]), tf.constant([[[1, 0, 1]]])), [[[8, 7, 8]]])


def test_what_does_not_go_together_is_refused() -> None:
    with pytest.raises(UserError, match=r"negative=0.6, positive=0.5: 0 <= negative"):
        assigning.max_iou(CELLS[None], CELLS[None], LEVELS[None], negative=0.6)
    with pytest.raises(UserError, match=r"anchors \(1, 20, 4\) and boxes \(1, 1, 6\)"):
        assigning.bipartite(CELLS[None], np.zeros((1, 1, 6), np.float32), [[0]])
    with pytest.raises(UserError, match=r"positive=1.5: 0 <= negative <= positive <= 1"):
        assigning.max_iou(CELLS[None], CELLS[None], LEVELS[None], positive=1.5)
    with pytest.raises(UserError, match=r"labels of shape \(1, 2\) for boxes of shape \(1, 1, 4\)"):
        assigning.bipartite(CELLS[None], np.zeros((1, 1, 4), np.float32), [[0, 1]])
    given = (CELLS[None], CELLS[None], LEVELS[None])
    with pytest.raises(UserError, match="atss with top=0"):
        assigning.atss(*given, levels=LEVELS[None], top=0)
    with pytest.raises(UserError, match="centre with radius=nan"):
        assigning.centre(*given, levels=LEVELS[None], radius=float("nan"))
    with pytest.raises(UserError, match="sim_ota with candidates=0"):
        assigning.sim_ota(*given, predicted=CELLS[None], scores=np.ones((1, len(CELLS), 1)), candidates=0)
