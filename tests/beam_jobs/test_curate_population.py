"""An image that is the opposite of the others is found by a small picture of each."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from beam_jobs import curate_population, curate_values
from radkit.dicom.volumes import META, Volume


def volume(stored, slope=1.0, intercept=0.0):
    count = len(stored)
    return Volume(
        stored=stored,
        slope=np.full(count, slope, np.float32),
        intercept=np.full(count, intercept, np.float32),
        affine=np.eye(4),
        spacing_mm=(1.0, 1.0, 1.0),
        meta=dict.fromkeys(META, ""),
        findings=(),
        paths=(),
        instance_uids=(),
    )


def image(seed, shape=(10, 40, 36)):
    """Returns a crop of tissue without air, much the same in all cases."""
    rng = np.random.default_rng(seed)
    anatomy = ndimage.gaussian_filter(np.random.default_rng(99).normal(size=shape), (2, 5, 5))
    own = ndimage.gaussian_filter(rng.normal(size=shape), (2, 5, 5))
    return np.rint(400 + 900 * (anatomy + 0.5 * own) / anatomy.std() / 10).astype(np.int16)


def rows(images, modality="MR"):
    told = [
        {"number": k, "modality": modality, "look": curate_values.look(volume(one))} for k, one in enumerate(images)
    ]
    return json.loads(json.dumps(told))


@pytest.mark.parametrize("shape", [(10, 40, 36), (1, 40, 36), (3, 40, 36)])
@pytest.mark.parametrize("count", [6, 25])
def test_the_one_image_that_is_turned_round_is_named(shape, count):
    images = [image(seed, shape) for seed in range(count)]
    assert curate_population.turned(rows(images)) == {}
    images[4] = images[4].max() - images[4]
    found = curate_population.turned(rows(images))
    assert {number: [one.name for one in said] for number, said in found.items()} == {4: ["inverted"]}


def test_of_five_and_of_images_with_little_in_common_none_is_named():
    few = [image(seed) for seed in range(5)]
    few[2] = few[2].max() - few[2]
    assert curate_population.turned(rows(few)) == {}
    noise = [np.random.default_rng(seed).integers(0, 99, (10, 40, 36)).astype(np.int16) for seed in range(30)]
    assert curate_population.turned(rows(noise)) == {}


def test_where_many_are_turned_they_are_another_kind_of_images():
    images = [image(seed) for seed in range(20)]
    images[:5] = [one.max() - one for one in images[:5]]
    assert curate_population.turned(rows(images)) == {}


def test_other_modalities_are_not_compared_with():
    images = [image(seed) for seed in range(12)]
    turned = [one.max() - one for one in images]
    mixed = rows(images) + [{**row, "number": row["number"] + 12} for row in rows(turned, "CT")]
    assert curate_population.turned(mixed) == {}


def test_the_picture_is_of_modality_values_whatever_their_scale():
    stored = image(3)
    plain = curate_values.look(volume(stored))
    assert len(plain) == 512
    (first, scaled, turned) = curate_values.looks(
        [plain, curate_values.look(volume(stored, 2.0, -1024.0)), curate_values.look(volume(stored, -1.0, 9.0))]
    )
    assert first @ scaled == pytest.approx(1, abs=1e-3)
    assert first @ turned == pytest.approx(-1, abs=1e-3)


@pytest.mark.parametrize(
    "stored", [np.zeros((4, 20, 20), np.int16), np.ones((4, 20, 7), np.int16), np.zeros((1, 20, 20, 3), np.uint8)]
)
def test_what_shows_nothing_has_no_picture(stored):
    assert curate_values.look(volume(stored)) == ""


def test_values_that_are_no_numbers_have_no_picture():
    broken = replace(volume(image(0).astype(np.float32)), slope=np.full(10, np.nan, np.float32))
    assert curate_values.look(broken) == ""
    assert curate_population.turned([{"number": 0, "modality": "MR", "look": ""}]) == {}
