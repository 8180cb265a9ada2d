"""Parts of images: the same from the file, from memory and made anew, and the same as of whole prepared images."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from radkit import config
from radkit.data import convert, pipeline, prepare
from radkit.data.feeding import examples, images, places
from radkit.errors import UserError
from tests.data.feeding import made

LOWS = [(-3, 2, 1), (1, 1, 1), (4, 9, -2), (20, 20, 20)]
REGION = (6, 8, 7)


def opened(folder: Path, data: config.Data, gib: float = 1.0) -> tuple[images.Images, list[places.Record]]:
    found = places.find(folder, ("train",), convert.fields_of(data), examples.WANTED)
    preparing = images.Preparing(lambda i, s: pipeline._resampled(i, s, data), pipeline._resized)
    return images.Images(found, range(len(found)), data, preparing, gib), found


def normalised(part: dict[str, np.ndarray], data: config.Data, is_stored: bool) -> np.ndarray:
    shape = (-1,) + (1,) * (part["image"].ndim - 1)
    values = part["image"].astype(np.float32) * part["slope"].reshape(shape) + part["intercept"].reshape(shape)
    if data.normalise == "window" and is_stored:
        return prepare.normalise(tf.constant(values)[None], data)[0].numpy()
    return (values - part["centre"][0] - part["centre"][1]) / part["deviation"]


def whole(record: dict, data: config.Data) -> tuple[np.ndarray, np.ndarray]:
    """The oracle: the whole image prepared, and the mask."""
    values = prepare.modality_values(tf.constant(record["image"]), record["rescale_slope"], record["rescale_intercept"])
    image, place = prepare.resample(prepare.normalise(values[None], data), record["spacing_mm"][None], data)
    return image[0].numpy(), prepare.resize(tf.constant(record["mask"])[None], place.scaled, nearest=True)[0].numpy()


def part_of(image: np.ndarray, low: tuple[int, ...]) -> np.ndarray:
    padded = np.pad(image, [(30, 30)] * 3 + [(0, 0)])
    return padded[tuple(slice(a + 30, a + 30 + n) for a, n in zip(low, REGION))]


def inside(shape: tuple[int, ...], low: tuple[int, ...]) -> np.ndarray:
    return part_of(np.ones((*shape, 1), bool), low)


@pytest.mark.parametrize("normalise", ["zscore", "window", "none"])
@pytest.mark.parametrize("image_dtype", ["int16", "float32"])
@pytest.mark.parametrize("spacing", [(), (1.0, 1.0, 1.0), (2.0, 1.25, 0.8)])
def test_parts_are_those_of_the_whole_prepared_image(
    normalise: str, image_dtype: str, spacing: tuple, tmp_path: Path
) -> None:
    data = config.Data(
        "x", mask_labels=("a",), normalise=normalise, image_dtype=image_dtype, spacing_mm=spacing, window=(0, 1500)
    )  # fmt: skip
    shapes = ((9, 12, 10), (5, 14, 11))
    # Of the second spacing one record is to be resampled and one is not.
    spacings = np.float32([[1, 1, 1], [1, 1, 1] if spacing == () else [1.5, 1, 2]])
    every = [made.values(data, n, shapes[n], spacing_mm=spacings[n]) for n in range(2)]
    found, records = opened(made.write(tmp_path, data, {"train": every}, 1), data)
    assert found.is_stored == (spacing == ())
    for which, record in enumerate(every):
        image, mask = whole(record, data)
        assert found.fed[which] == image.shape[:-1] == mask.shape[:-1]
        np.testing.assert_array_equal(found.mask(which), mask)
        for low in LOWS:
            part, there = found.part(which, low, REGION), inside(found.fed[which], low)
            np.testing.assert_array_equal(part["mask"], part_of(mask, low))
            expected = part_of(image, low)
            np.testing.assert_allclose(
                normalised(part, data, found.is_stored)[there], expected[there], rtol=2e-5, atol=2e-5
            )
            assert part["image"].dtype == (records[0].arrays["image"].dtype if found.is_stored else np.float32)


def test_the_budget_changes_nothing_but_what_is_kept(tmp_path: Path) -> None:
    data = config.Data("x", mask_labels=("a",), spacing_mm=(2.0, 2.0, 2.0))
    every = [made.values(data, n, (8, 10 + n, 12)) for n in range(4)]
    folder = made.write(tmp_path, data, {"train": every}, 1)
    one = 4 * 5 * 6 * 5 / 2**30
    all_, some, none = (opened(folder, data, gib)[0] for gib in (1.0, 2.3 * one, 0.0))
    for which in (3, 2, 1, 0, 2):
        parts = [found.part(which, (-1, 1, 0), REGION) for found in (all_, some, none)]
        for other in parts[1:]:
            for name, value in parts[0].items():
                np.testing.assert_array_equal(value, other[name])
    assert [sorted(found._prepared) for found in (all_, some, none)] == [[0, 1, 2, 3], [0, 1], []]


@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize("offset", [0.0, -1024.0, 1e6])
def test_mean_and_deviation_are_those_of_the_whole_image(rank: int, offset: float) -> None:
    random = np.random.default_rng(1)
    stored = random.integers(-2000, 3000, (7, 31, 29, 1)[-rank - 1 :]).astype(np.int16)
    slope = np.float32([0.5, 1, 2, 1.5, 1, 1, 3]) if rank == 3 else np.float32([0.1])
    intercept = np.full(len(slope), offset, np.float32)
    centre, deviation = images.mean_and_deviation(stored, slope, intercept)
    shape = (-1,) + (1,) * rank
    values = (stored.astype(np.float32) * slope.reshape(shape) + intercept.reshape(shape)).astype(np.float64)
    assert float(centre[0]) == np.float32(values.mean())
    assert float(centre[0]) + float(centre[1]) == pytest.approx(values.mean(), rel=1e-12)
    assert float(deviation) == pytest.approx(values.std(), rel=1e-6)


def test_a_constant_image_becomes_0() -> None:
    stored = np.full((3, 4, 5, 1), 7, np.int16)
    centre, deviation = images.mean_and_deviation(stored, np.full(3, 0.1, np.float32), np.full(3, 1e5, np.float32))
    # A processor that multiplies and adds at once rounds another way.
    values = np.float32(
        [np.float32(7) * np.float32(0.1) + np.float32(1e5), 7 * np.float64(np.float32(0.1)) + 1e5 + 0.01]
    )
    assert not ((values - centre[0] - centre[1]) / deviation).any()


def test_an_unknown_spacing_that_is_needed_is_refused_by_the_records_name(tmp_path: Path) -> None:
    data = config.Data("x", spacing_mm=(2.0, 2.0, 2.0))
    every = [made.values(data, n, (8, 9, 10), spacing_mm=np.float32([1, 1, [1, np.nan][n]])) for n in range(2)]
    with pytest.raises(UserError, match=r"record 1\.2\.1 has spacing_mm .*nan.*; leave the series out"):
        opened(made.write(tmp_path, data, {"train": every}), data)
