"""Images of any size and window become alike; what has one value is told apart."""

import numpy as np
import pytest
from scipy import ndimage

from radkit.data.leakage import thumbnails
from tests.data.leakage import copies


def made(image, spacing=None):
    return thumbnails.of_image(image, np.ones(image.ndim) if spacing is None else np.array(spacing))


@pytest.mark.parametrize("image", [np.zeros((9, 9)), np.full((4, 5, 6), 7.0), np.full((3, 3), np.nan)])
def test_an_image_of_one_value_has_none(image):
    assert made(image) is None


def test_the_longest_side_decides_and_spacing_makes_voxels_cubes():
    image = copies.texture((40, 60), 1)
    assert made(image).shape == (107, 160)
    assert made(image, (3.0, 1.0)).shape == (160, 80)
    assert made(image, (np.nan, 1.0)).shape == (107, 160)
    assert made(copies.texture((10, 30, 20), 1), (3.0, 1.0, 1.0)).shape == (64, 64, 43)


def test_one_slice_is_a_plane():
    image = copies.texture((30, 30), 2)
    assert (made(image[None], (5.0, 1.0, 1.0)) == made(image)).all()


def test_what_is_not_finite_counts_as_the_lowest_value():
    image = copies.texture((40, 40), 3)
    low = np.where(image < 0.2, image.min(), image)
    assert (made(np.where(image < 0.2, np.nan, low)) == made(np.where(image < 0.2, low[image >= 0.2].min(), low))).all()


def test_large_and_small_images_of_one_thing_are_alike():
    image = ndimage.gaussian_filter(copies.texture((480, 480), 4), 6)
    large, small = (made(i).astype(float) for i in (image, ndimage.zoom(image, 0.4, order=1)))
    assert np.corrcoef(large.ravel(), small.ravel())[0, 1] > 0.99


def test_levels_of_a_window_and_a_gamma_are_near_those_of_the_image():
    image = copies.radiographs(1)[0]
    plain = thumbnails.levelled(made(image))
    for other in (image * 300 - 1024, image**1.6, np.clip(image * 1.2 - 0.1, 0, 1)):
        assert np.corrcoef(plain.ravel(), thumbnails.levelled(made(other)).ravel())[0, 1] > 0.9
    assert np.corrcoef(plain.ravel(), thumbnails.levelled(made(-image)).ravel())[0, 1] < -0.99


def test_the_edge_of_padding_is_no_contrast():
    padded = np.zeros((160, 160))
    padded[40:120, 40:120] = 0.5 + 0.5 * copies.texture((80, 80), 5)
    levelled = thumbnails.levelled(made(padded))
    assert not levelled[:44].any()
    assert np.abs(levelled[60:100, 60:100]).max() > 1


def test_records_are_taken_in_modality_units():
    image = copies.texture((6, 20, 20), 6)
    slopes = np.linspace(1, 2, 6).astype(np.float32)
    stored = np.round(image * 4000 / slopes[:, None, None]).astype(np.int16)
    record = {"image": stored[..., None], "rescale_slope": slopes, "rescale_intercept": np.zeros(6, np.float32)}
    found = thumbnails.of_record({**record, "spacing_mm": np.ones(3, np.float32)})
    np.testing.assert_allclose(found, made(image * 4000), atol=200)
