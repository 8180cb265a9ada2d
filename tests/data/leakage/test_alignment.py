"""A copy is laid on its original where it belongs; another patient's image is none."""

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from radkit.data.leakage import alignment, keypoints, pairs, thumbnails
from tests.data.leakage import copies


def looks(image):
    levelled = thumbnails.levelled(thumbnails.of_image(image, np.ones(image.ndim)))
    return levelled, keypoints.find(levelled)


def fitted(one, two):
    (image, here), (other, there) = looks(one), looks(two)
    return alignment.fit(image, other, here, there)


RADIOGRAPHS = copies.radiographs(8)


@pytest.mark.parametrize("seed", range(8))
def test_a_treated_radiograph_is_a_copy_and_another_patients_is_none(seed):
    fit = fitted(RADIOGRAPHS[seed], copies.copied(RADIOGRAPHS[seed], seed))
    assert fit.is_copy
    assert fit.score > 1.5 * alignment.LEAST_SCORE
    for other in (seed + 1, seed + 3):
        wrong = fitted(RADIOGRAPHS[seed], copies.copied(RADIOGRAPHS[other % 8], seed))
        assert wrong is None or wrong.score < alignment.LEAST_SCORE / 2


@pytest.mark.parametrize("degrees", [0, 7, 90, 133, 180])
def test_the_map_is_the_one_that_was_applied(degrees):
    image = RADIOGRAPHS[0]
    angle = np.radians(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = (np.array(image.shape) - 1) / 2
    # A voxel x of the turned image shows turn @ (x - middle) + middle of the first.
    turned = ndimage.affine_transform(image, turn, middle - turn @ middle, order=1)
    fit = fitted(image, turned)
    assert fit.is_copy
    np.testing.assert_allclose(fit.matrix[:, :2], turn.T, atol=0.01)
    small = 160 / 256
    centre = (middle + 0.5) * small - 0.5
    np.testing.assert_allclose(fit.matrix @ [*centre, 1], centre, atol=0.5)


def test_what_was_done_is_told_in_words():
    image = RADIOGRAPHS[1]
    assert pairs.in_words(fitted(image, image)) == "in place"
    assert pairs.in_words(fitted(image, image[:, ::-1])) == "mirrored"
    assert pairs.in_words(fitted(image, np.rot90(image))) == "turned by 90 degrees"
    assert pairs.in_words(fitted(image, 1 - image)) == "inverted"
    assert pairs.in_words(fitted(image, image[20:-20, 20:-20])).startswith("zoomed 1.1")


VOLUMES = [copies.texture((30, 34, 32), seed) for seed in range(3)]


@pytest.mark.parametrize("how", ["in place", "turned", "mirrored", "tilted", "cropped"])
def test_a_treated_volume_is_a_copy(how):
    volume = VOLUMES[0]
    turn = Rotation.from_rotvec([0.1, -0.15, 0.2]).as_matrix()
    middle = (np.array(volume.shape) - 1) / 2
    treated = {
        "in place": volume**1.3,
        "turned": np.rot90(volume, 1, (0, 2)),
        "mirrored": volume[:, ::-1],
        "tilted": ndimage.affine_transform(volume, turn, middle - turn @ middle, order=1),
        "cropped": ndimage.zoom(volume[2:, 1:-2, 2:-1], 1.3, order=1),
    }[how]
    assert fitted(volume, treated).is_copy
    wrong = fitted(VOLUMES[1], treated)
    assert wrong is None or not wrong.is_copy


def test_images_without_places_have_no_fit():
    flat = np.zeros((40, 40), np.float32)
    assert alignment.fit(flat, flat, keypoints.find(flat), keypoints.find(flat)) is None


def test_a_plane_and_a_volume_are_not_laid_on_each_other():
    (image, here), (other, there) = looks(RADIOGRAPHS[0]), looks(VOLUMES[0])
    assert alignment.fit(image, other, here, there) is None


def test_local_likeness_is_the_correlation_around_a_voxel():
    image = copies.texture((60, 60), 4)
    inside = np.ones(image.shape, bool)
    same = alignment.local_likeness(image, 3 * image + 2, inside)
    np.testing.assert_allclose(same[same != 0], 1, atol=1e-6)
    assert (alignment.local_likeness(image, -image, inside) <= 0).all()
    assert not alignment.local_likeness(image, np.zeros_like(image), inside).any()


def test_a_wide_range_and_a_narrow_window_of_it_are_one_image():
    row, column = np.indices((200, 200)) - 99.5
    radius = np.hypot(row, column * 1.2)
    head = np.where(radius < 80, 30 + 40 * (copies.texture((200, 200), 7) - 0.5), -1000)
    head = np.where((radius > 72) & (radius < 80), 1100, head) + np.random.default_rng(0).normal(0, 2, head.shape)
    window = np.clip((head - 0) / 80, 0, 1)
    other = np.where(radius < 72, 30 + 40 * (copies.texture((200, 200), 8) - 0.5), head)
    assert fitted(head, window[:, ::-1]).is_copy
    wrong = fitted(other, window[:, ::-1])
    assert wrong is None or not wrong.is_copy
