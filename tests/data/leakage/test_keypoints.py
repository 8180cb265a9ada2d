"""Places are where they were, and look alike, however the image is turned, mirrored or inverted."""

import itertools

import numpy as np
import pytest

from radkit.data.leakage import keypoints, thumbnails
from tests.data.leakage import copies


def levelled(image):
    return thumbnails.levelled(thumbnails.of_image(image, np.ones(image.ndim)))


PLANE = levelled(copies.texture((120, 120), 1))
SPACE = levelled(copies.texture((40, 40, 40), 1))
SYMMETRIES = [(PLANE, change) for change in itertools.product((0, 1), (0, 1), ((0, 1), (1, 0)))] + [
    (SPACE, (flip, 0, axes)) for flip in (0, 1) for axes in ((0, 2, 1), (1, 2, 0))
]


def changed(image, change):
    flip, inverted, axes = change
    image = np.transpose(image, axes)
    image = image[::-1] if flip else image
    return -image if inverted else image


@pytest.mark.parametrize(("image", "change"), SYMMETRIES)
def test_places_follow_the_image_and_look_the_same(image, change):
    flip, _, axes = change
    # Octaves are thinned from the first voxel on: only the finest one is symmetrical to the voxel.
    before, after = keypoints.find(image), keypoints.find(changed(image, change))
    moved = before.places[:, list(axes)]
    if flip:
        moved[:, 0] = image.shape[axes[0]] - 1 - moved[:, 0]
    fine = before.scales < 2 * 1.5
    distances = np.linalg.norm(moved[fine][:, None] - after.places, axis=-1)
    nearest = distances.argmin(1)
    found = distances.min(1) < 0.05
    assert found.mean() > 0.9
    likeness = (before.descriptors[fine] * after.descriptors[nearest]).sum(1)[found]
    assert np.median(likeness) > 0.99
    np.testing.assert_allclose(before.scales[fine][found], after.scales[nearest][found], rtol=0.02)


@pytest.mark.parametrize("image", [PLANE, SPACE])
def test_there_are_many_and_their_descriptors_have_length_one(image):
    found = keypoints.find(image)
    assert 50 < len(found.places) <= keypoints.MOST
    assert (found.places >= 0).all()
    assert (found.places <= np.array(image.shape) - 1).all()
    np.testing.assert_allclose(np.linalg.norm(found.descriptors, axis=1), 1, atol=1e-5)


def test_a_blob_is_found_where_it_is_at_its_size():
    row, column = np.indices((96, 96))
    blob = np.exp(-((row - 50) ** 2 + (column - 40) ** 2) / (2 * 5.0**2))
    found = keypoints.find(blob.astype(np.float32))
    strongest = np.argmin(np.linalg.norm(found.places - (50, 40), axis=1))
    np.testing.assert_allclose(found.places[strongest], (50, 40), atol=0.3)
    # Of a Gaussian blob the difference of Gaussians is largest at its own scale, less a third of an octave's step.
    assert 3.5 < found.scales[strongest] < 5.6


def test_an_edge_is_no_place():
    ramp = np.tanh((np.arange(96) - 48) / 3) * np.ones((96, 1))
    assert not len(keypoints.find(ramp.astype(np.float32)).places)


@pytest.mark.parametrize("shape", [(20, 20), (9, 200), (8, 12, 64)])
def test_flat_and_thin_images_have_none_or_some_but_do_not_fail(shape):
    assert not len(keypoints.find(np.zeros(shape, np.float32)).places)
    found = keypoints.find(levelled(copies.texture(shape, 3)))
    assert found.places.shape[1] == len(shape)


def test_functions_of_one_order_are_closed_under_turning():
    for rank in (2, 3):
        directions = keypoints._directions(rank)
        np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1)
        orders = keypoints._harmonics(rank)
        assert [f.shape[1] for f in orders] == ([2] * 7 if rank == 2 else [1, 3, 5, 7])
