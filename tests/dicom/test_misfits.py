"""The mask that was flipped, moved or taken from another case is found among those that fit; sound ones are not."""

import json

import numpy as np
import pytest
from scipy import ndimage

from radkit.dicom import misfits

SHAPE = (12, 40, 44)


def case(seed, shape=SHAPE):
    """Returns an image with a bright organ like a comma, at a place of its own, and its mask."""
    rng = np.random.default_rng(seed)
    z, y, x = np.meshgrid(*(np.arange(side) - side / 2 for side in shape), indexing="ij")
    z = z / shape[0] * 12 if shape[0] > 1 else 0 * z
    y, x = y - rng.normal(0, 1.5), x - rng.normal(0, 1.5)
    body = (y / 8) ** 2 + (x / 6) ** 2 + (z / 5) ** 2 < rng.uniform(0.9, 1.1)
    tail = ((y - 8) / 5) ** 2 + ((x - 4) / 3) ** 2 + ((z - 2) / 3) ** 2 < 1
    inside = body | tail
    image = 100 + 60 * ndimage.gaussian_filter(inside.astype(float), (0.3, 1, 1))
    image += 5 * ndimage.gaussian_filter(rng.normal(size=shape), (0.5, 1, 1)) * 4 + 20 * (y > 12)
    return image, inside


def tries(count=30, shape=SHAPE):
    return {f"1.2.{seed}": misfits.tries(*case(seed, shape)) for seed in range(count)}


@pytest.fixture(scope="module")
def sound():
    return tries()


def test_masks_that_fit_are_not_named_and_figures_are_plain_values(sound):
    assert misfits.found(sound) == []
    assert misfits.found(json.loads(json.dumps(sound))) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda inside: inside[::-1],
        lambda inside: inside[:, ::-1],
        lambda inside: inside[:, :, ::-1],
        lambda inside: np.roll(inside, 4, 1),
        lambda inside: np.roll(inside, -4, 2),
        lambda inside: np.roll(inside, 9, 2),
    ],
)
def test_the_mask_that_was_flipped_or_moved_is_named(sound, change):
    image, inside = case(7)
    (found,) = misfits.found({**sound, "1.2.7": misfits.tries(image, change(inside))})
    assert found[0] == "1.2.7"
    assert found[1].name == "unlike_others"


@pytest.mark.parametrize("change", [lambda inside: inside[:, ::-1], lambda inside: np.roll(inside, 5, 1)])
def test_single_images_are_judged_too(change):
    held = tries(30, (1, 40, 44))
    assert misfits.found(held) == []
    image, inside = case(7, (1, 40, 44))
    found = misfits.found({**held, "1.2.7": misfits.tries(image, change(inside))})
    assert [uid for uid, _ in found] == ["1.2.7"]


def test_what_would_fit_better_is_told(sound):
    image, inside = case(3)
    ((_, finding),) = misfits.found({**sound, "1.2.3": misfits.tries(image, inside[:, ::-1])})
    assert finding.text.endswith("with its rows turned")


def test_of_few_cases_none_is_the_odd_one():
    few = tries(misfits.CASES - 1)
    image, inside = case(7)
    assert misfits.found({**few, "1.2.7": misfits.tries(image, inside[:, ::-1])}) == []


@pytest.mark.parametrize("inside", [np.zeros(SHAPE, bool), np.ones(SHAPE, bool)])
def test_masks_of_nothing_and_of_all_are_not_judged(inside):
    assert misfits.tries(case(0)[0], inside) == {}


def test_blank_images_and_masks_at_the_border_give_finite_figures():
    inside = np.zeros(SHAPE, bool)
    inside[:, :3] = True
    told = misfits.tries(np.full(SHAPE, 7), inside)
    assert all(np.isfinite(value) for figures in told.values() for value in figures.values())


def test_the_border_is_as_deep_as_brute_force_says():
    inside = case(1)[1]
    plane = inside[6]
    there, other = np.argwhere(plane), np.argwhere(np.pad(~plane, 1, constant_values=True)) - 1
    depth = misfits._depth(inside)[6]
    for place in there[::7]:
        assert depth[tuple(place)] == pytest.approx(np.sqrt(((other - place) ** 2).sum(axis=1)).min())
    for place in np.argwhere(~plane)[::31]:
        assert depth[tuple(place)] == pytest.approx(-np.sqrt(((there - place) ** 2).sum(axis=1)).min())
