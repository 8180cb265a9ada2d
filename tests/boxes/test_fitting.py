"""Anchors fitted to boxes: planted groups are found, and what is promised of their reach is what a grid of them has."""

import itertools

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from radkit.boxes import anchors, fitting
from radkit.errors import UserError
from tests.boxes import made

STRIDES = [(4, 4), (8, 8), (16, 16)]
SIDES = st.lists(st.tuples(*[st.floats(1.0, 200.0)] * 2), min_size=1, max_size=30)


def around(middles: list[tuple[float, ...]], count: int = 40) -> np.ndarray:
    """Returns sides that scatter by a few hundredths around each of some."""
    random = np.random.default_rng(0)
    return np.concatenate([np.array(one) * random.uniform(0.96, 1.04, (count, len(one))) for one in middles])


def test_planted_groups_are_found_on_their_levels() -> None:
    planted = [[(10.0, 14.0), (20.0, 10.0)], [(40.0, 30.0), (28.0, 50.0)], [(60.0, 60.0), (90.0, 60.0)]]
    found = fitting.fit(around([one for level in planted for one in level]), STRIDES, per_level=2)
    assert np.allclose(found, planted, rtol=0.02)


def test_planted_groups_of_anisotropic_volumes_are_found() -> None:
    planted = [[(2.0, 8.0, 8.0), (4.0, 14.0, 10.0)], [(8.0, 30.0, 30.0), (9.0, 50.0, 40.0)]]
    found = fitting.fit(around([one for level in planted for one in level]), [(1, 4, 4), (2, 8, 8)], per_level=2)
    assert np.allclose(found, planted, rtol=0.02)


def test_a_level_without_boxes_gets_those_of_the_others_at_its_scale() -> None:
    found = fitting.fit(around([(16.0, 16.0), (8.0, 24.0)]), STRIDES, per_level=2)
    assert np.allclose(found[0], [(8, 24), (16, 16)], rtol=0.03)
    assert np.allclose(found[2], np.array(found[0]) * 4, rtol=0.03)


def test_one_box_gives_itself_and_its_octaves() -> None:
    (found,) = fitting.fit(np.array([[16.0, 8.0]]), [(4, 4)], per_level=3)
    assert np.allclose(found, np.array([[16, 8]]) * [[2**-0.5], [1], [2**0.5]], rtol=1e-3)


@hypothesis.settings(max_examples=25)
@hypothesis.given(SIDES, st.integers(1, 4), st.randoms(use_true_random=False))
def test_each_level_has_its_anchors_whatever_the_boxes_and_their_order(sides, per_level, random) -> None:
    counts = [per_level, per_level + 1, 1]
    found = fitting.fit(np.array(sides), STRIDES, counts)
    assert [len(level) for level in found] == counts
    assert all(0 < side < 1e4 and len(shape) == 2 for level in found for shape in level for side in shape)
    volumes = [[round(np.prod(shape), 1) for shape in level] for level in found]
    assert all(level == sorted(level) for level in volumes)
    random.shuffle(sides)
    assert fitting.fit(np.array(sides), STRIDES, counts) == found


def test_as_many_anchors_as_different_boxes_are_the_boxes() -> None:
    boxes = [(9.0, 9.0), (12.0, 9.0), (12.0, 20.0)]
    (found,) = fitting.fit(np.repeat(boxes, [5, 1, 3], axis=0), [(4, 4)], per_level=3)
    assert found == boxes


def test_the_level_is_that_of_four_strides_and_the_finer_of_two() -> None:
    sides = np.array([[1.0, 1.0], [16.0, 16.0], [22.0, 22.0], [16.0 * 2**0.5] * 2, [23.0, 23.0], [500.0, 2.0]])
    assert fitting.level_of(sides, STRIDES).tolist() == [0, 0, 0, 0, 1, 1]
    assert fitting.level_of(sides[:1] * 16, STRIDES, of_stride=1.0).tolist() == [2]


def test_sides_leave_out_padding_and_images_without_boxes() -> None:
    some = np.array([[0, 0, 2, 3], [0, 0, 0, 0], [4, 4, 5, 9]], np.float32)
    assert fitting.sides([some, np.zeros((0, 4)), some[:1]]).tolist() == [[2, 3], [1, 5], [2, 3]]
    for nothing in ([], [np.zeros((0, 4))], [np.zeros((3, 4))]):
        with pytest.raises(UserError, match="no image has a box"):
            fitting.sides(nothing)


@pytest.mark.parametrize("rank", [2, 3])
def test_reach_is_that_of_a_grid_of_anchors(rank: int) -> None:
    """Boxes at many places of an image that anchors cover, each held against all that are near."""
    strides, shapes = [(4,) * rank, (8,) * rank], [[(5.0,) * rank, (4.0,) * (rank - 1) + (9.0,)], [(12.0,) * rank]]
    for side in ((5.0,) * rank, (11.0,) * rank, (3.0,) * (rank - 1) + (14.0,)):
        best = []
        for middle in 16 + 8 * fitting._spread(rank):
            box = np.concatenate([middle - np.array(side) / 2, middle + np.array(side) / 2])
            best.append(made.overlaps(box[None], grid(strides, shapes, 40, box)).max())
        assert np.allclose(fitting.overlaps(np.array([side]), shapes, strides)[0], best)


@pytest.mark.parametrize("rank", [2, 3])
def test_places_are_spread_evenly(rank: int) -> None:
    places, along = fitting._spread(rank), {2: 8, 3: 4}[rank]
    cells = (places * along).astype(int) @ along ** np.arange(rank)
    assert np.bincount(cells).tolist() == [1] * 64


def grid(strides, shapes, size: int, near: np.ndarray) -> np.ndarray:
    """Returns the anchors whose middles are within one stride of a box's middle; no other can be the best."""
    rank, found = len(strides[0]), []
    middle = (near[:rank] + near[rank:]) / 2
    for step, level in zip(strides, shapes):
        along = [np.arange(size // one) * one + one / 2 for one in step]
        close = [places[np.abs(places - at) <= one] for places, at, one in zip(along, middle, step)]
        for place, shape in itertools.product(itertools.product(*close), level):
            found.append(np.concatenate([np.array(place) - np.array(shape) / 2, np.array(place) + np.array(shape) / 2]))
    return np.array(found)


def test_recall_by_hand() -> None:
    cube, point = [[(8.0, 8.0)]], np.array([[1.0, 1.0]])
    assert fitting.recall(np.array([[8.0, 8.0]]), cube, [(1, 1)]) == 1.0
    assert fitting.recall(point, cube, [(1, 1)]) == 0.0
    assert fitting.recall(point, cube, [(1, 1)], threshold=1 / 64) == 1.0
    # Off by up to half of 8 along one axis: IoU (8 - d) / (8 + d) is 0.5 at d = 8 / 3, two thirds of the way.
    assert abs(fitting.recall(np.array([[8.0, 8.0]]), cube, [(1, 8)]) - 2 / 3) < 0.1


def test_fitted_anchors_reach_more_than_those_of_the_paper() -> None:
    random = np.random.default_rng(2)
    flat = np.exp(random.normal(np.log([9.0, 40.0]), 0.25, (500, 2)))
    strides = [(4, 4), (8, 8), (16, 16)]
    usual = anchors.shapes([16.0, 32.0, 64.0], (0.5, 1.0, 2.0))
    fitted = fitting.fit(flat, strides, per_level=3)
    assert fitting.recall(flat, usual, strides) < 0.5
    assert fitting.recall(flat, fitted, strides) > 0.9


@pytest.mark.parametrize(
    ("sides", "strides", "per_level", "said"),
    [
        (np.zeros((0, 2)), STRIDES, 3, "at least one box"),
        (np.ones((4, 3)), STRIDES, 3, "strides of shape"),
        (np.array([[1.0, 0.0]]), STRIDES, 3, "above 0"),
        (np.array([[1.0, np.nan]]), STRIDES, 3, "above 0"),
        (np.ones((4, 2)), STRIDES, [3, 3], "per_level=.3, 3. for 3 levels"),
        (np.ones((4, 2)), STRIDES, 0, "per_level=0"),
    ],
)
def test_what_nothing_can_be_fitted_to_is_refused(sides, strides, per_level, said) -> None:
    with pytest.raises(UserError, match=said):
        fitting.fit(sides, strides, per_level)
