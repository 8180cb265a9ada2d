"""Where patches lie: within the image, around what is annotated, each class and lesion as often as asked."""

import collections

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from radkit.data.feeding import patches

SIZES = st.lists(st.tuples(st.integers(1, 12), st.integers(1, 12)), min_size=2, max_size=3)
SHAPE = (9, 20, 15)


def mask_of(*blocks: tuple[int, tuple[slice, ...]]) -> np.ndarray:
    mask = np.zeros((*SHAPE, 1), np.uint8)
    for value, block in blocks:
        mask[block] = value
    return mask


# One large part and three single voxels of value 1, one voxel of value 2.
LARGE = np.s_[1:6, 2:12, 3:9]
MASK = mask_of((1, LARGE), (1, np.s_[8, 18, 1]), (1, np.s_[8, 18, 5]), (1, np.s_[8, 15, 9]), (2, np.s_[0, 19, 14]))


@given(SIZES, st.integers(0, 10**6), st.integers(0, 10**12))
def test_a_patch_lies_in_the_image_or_the_image_in_it(sizes: list, seed: int, number: int) -> None:
    shape, size = zip(*sizes)
    for low, have, want in zip(patches.low(seed, number, shape, size, None), shape, size):
        assert (0 <= low <= have - want) if have >= want else (have - want <= low <= 0)


def test_any_place_is_as_likely() -> None:
    seen = collections.Counter(patches.low(1, n, (8, 3), (5, 5), None) for n in range(12 * 400))
    assert set(seen) == {(a, b) for a in range(4) for b in range(-2, 1)}
    assert sum((count - 400) ** 2 / 400 for count in seen.values()) < 31.3  # 11 degrees of freedom, p = 0.001


@given(st.floats(0, 1), st.integers(0, 10**6), st.integers(1, 300))
def test_the_share_of_foreground_is_kept_in_any_run_of_examples(share: float, first: int, count: int) -> None:
    wanted = sum(patches.wants_foreground(n, share) for n in range(first, first + count))
    assert abs(wanted - count * share) <= 1 + 1e-6


@pytest.mark.parametrize("by_lesion", [False, True])
@pytest.mark.parametrize("size", [(3, 5, 5), (4, 4, 4), (12, 24, 16), (1, 1, 1)])
def test_a_voxel_of_the_mask_is_in_the_patch(by_lesion: bool, size: tuple[int, ...]) -> None:
    foreground = patches.of_mask(MASK, "1.2", by_lesion=by_lesion)
    padded = np.pad(MASK[..., 0], 24)
    for number in range(300):
        low = patches.low(3, number, SHAPE, size, foreground)
        assert padded[tuple(slice(a + 24, a + 24 + n) for a, n in zip(low, size))].any()
        for first, have, want in zip(low, SHAPE, size):
            assert min(0, have - want) <= first <= max(0, have - want)


def centred(foreground: patches.Foreground, count: int = 3000) -> np.ndarray:
    lows = np.array([patches.low(3, number, SHAPE, (1, 1, 1), foreground) for number in range(count)])
    return MASK[tuple(lows.T)][:, 0], lows  # type: ignore[return-value]


def test_classes_come_alike_and_within_a_class_voxels_do() -> None:
    values, lows = centred(patches.of_mask(MASK, "1.2", by_lesion=False))
    assert np.mean(values == 2) == pytest.approx(0.5, abs=0.03)
    single = (lows[:, 0] == 8) & (values == 1)
    assert single.mean() == pytest.approx(0.5 * 3 / 303, abs=0.005)


def test_by_lesion_each_lesion_of_a_class_comes_alike() -> None:
    values, lows = centred(patches.of_mask(MASK, "1.2", by_lesion=True))
    assert np.mean(values == 2) == pytest.approx(0.5, abs=0.03)
    single = (lows[:, 0] == 8) & (values == 1)
    assert single.mean() == pytest.approx(0.5 * 3 / 4, abs=0.03)


@given(st.integers(0, 1000), st.floats(0.02, 0.6), st.integers(2, 3))
def test_parts_are_the_connected_ones(seed: int, share: float, rank: int) -> None:
    shape = (5, 9, 7)[:rank]
    random = np.random.default_rng(seed)
    mask = (random.random((*shape, 1)) < share).astype(np.uint8) * random.integers(1, 3, (*shape, 1)).astype(np.uint8)
    found = patches.parts(mask)
    expected = []
    for value in (1, 2):
        labelled, count = ndimage.label(mask[..., 0] == value, np.ones((3,) * rank))
        expected += [(value, frozenset(np.flatnonzero(labelled == n + 1).tolist())) for n in range(count)]
    assert {(value, frozenset(where.tolist())) for value, where in found} == set(expected)
    assert len(found) == len(expected)
    assert {v: set(w.tolist()) for v, w in patches.classes(mask)} == {
        v: set(np.flatnonzero(mask == v).tolist()) for v in np.unique(mask) if v
    }


def test_of_many_voxels_some_thousand_are_kept_the_same_each_time() -> None:
    mask = np.ones((40, 40, 40, 1), np.uint8)
    kept = patches.of_mask(mask, "1.2", by_lesion=False)[1][0].voxels
    assert 1900 < len(kept) <= 2048
    np.testing.assert_array_equal(kept, patches.of_mask(mask, "1.2", by_lesion=False)[1][0].voxels)
    other = patches.of_mask(mask, "1.3", by_lesion=False)[1][0].voxels
    assert set(kept.tolist()) != set(other.tolist())
    thirds = np.histogram(kept, 3, (0, mask.size))[0]
    assert thirds.min() > 580


def test_a_mask_without_foreground_asks_for_nothing() -> None:
    assert patches.of_mask(np.zeros((4, 4, 1), np.uint8), "1.2", by_lesion=True) == {}
    assert patches.low(0, 1, (9, 9), (3, 3), {}) == patches.low(0, 1, (9, 9), (3, 3), None)


def test_a_box_is_in_the_middle_and_lesions_of_one_id_are_one() -> None:
    boxes = np.array([[0, 0, 4, 4], [10, 10, 14, 14], [10, 20, 14, 24], [30, 30, 31, 31]], np.float32)
    labels, ids = np.array([0, 0, 0, 1]), ["a", "b", "b", ""]

    def shares(by_lesion: bool) -> np.ndarray:
        found = patches.of_boxes(boxes, labels, ids, by_lesion=by_lesion)
        at = np.array([patches.low(3, n, (40, 40), (1, 1), found) for n in range(4000)])
        inside = (at[:, None] >= boxes[:, :2]) & (at[:, None] < boxes[:, 2:])
        assert inside.all(-1).any(-1).all()
        return inside.all(-1).mean(axis=0)

    np.testing.assert_allclose(shares(False), [1 / 6, 1 / 6, 1 / 6, 1 / 2], atol=0.03)
    np.testing.assert_allclose(shares(True), [1 / 4, 1 / 8, 1 / 8, 1 / 2], atol=0.03)
