"""What is cut off a box is cut off its mask, too."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from radkit.inference import mask_grids


def middles(box: np.ndarray, size: tuple[int, ...]) -> list[np.ndarray]:
    """Returns where the middles of a grid's cells lie in the image, along each axis."""
    rank = len(size)
    return [low + (np.arange(n) + 0.5) / n * (high - low) for low, high, n in zip(box[:rank], box[rank:], size)]


@given(st.integers(2, 3), st.integers(0, 2**31))
def test_a_ramp_in_the_image_stays_that_ramp(rank: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    size = tuple(random.integers(2, 7, rank))
    low, sides = random.uniform(-5, 5, rank), random.uniform(2, 20, rank)
    box = np.array([*low, *(low + sides)])
    # Within the middles of the outer cells: beyond them nothing is known but the last value.
    start = low + sides * random.uniform(0.5, 0.6, rank) / size
    inner = np.array([*start, *(low + sides * (1 - random.uniform(0.5, 0.6, rank) / size))])
    slopes = random.normal(size=rank)

    def ramp(of: np.ndarray) -> np.ndarray:
        return sum(s * axis for s, axis in zip(slopes, np.meshgrid(*middles(of, size), indexing="ij")))

    given_boxes = [np.float32(one)[None, None] for one in (box, inner)]
    found = np.asarray(mask_grids.within(np.float32(ramp(box))[None, None], *given_boxes))
    np.testing.assert_allclose(found[0, 0], ramp(inner), atol=2e-4)


@pytest.mark.parametrize("rank", [2, 3])
def test_a_box_that_is_not_cut_keeps_its_mask_and_none_is_no_fault(rank: int) -> None:
    masks = np.random.default_rng(rank).uniform(size=(2, 3, *(5, 4, 6)[:rank])).astype(np.float32)
    boxes = np.float32([[[1, 2, 3, 9, 8, 7]] * 3] * 2)[..., [*range(rank), *range(3, 3 + rank)]]
    boxes[:, 2] = 0.0  # padding
    np.testing.assert_allclose(mask_grids.within(masks, boxes, boxes)[:, :2], masks[:, :2], atol=1e-5)
    assert np.isfinite(mask_grids.within(masks, boxes, boxes)).all()


def test_half_of_a_box_has_that_half_of_its_mask() -> None:
    mask = np.float32([[0, 0, 1, 1]] * 4)[None, None]  # the right half of the box
    found = mask_grids.within(mask, np.float32([[[0, -8, 8, 8]]]), np.float32([[[0, 0, 8, 8]]]))
    np.testing.assert_allclose(found[0, 0], [[0.75, 1, 1, 1]] * 4)
