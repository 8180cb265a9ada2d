"""Cascades: where the second network looks, and that it is one model."""

from pathlib import Path

import keras
import numpy as np
import pytest

from radkit import models
from radkit.errors import UserError
from radkit.inference import cascades


def bright(channels: int = 1) -> keras.Model:
    """A segmenter that finds what is brighter than one half."""
    inputs = keras.Input((None, None, channels))
    logits = keras.layers.Conv2D(2, 1, use_bias=True)(inputs)
    network = keras.Model(inputs, logits)
    kernel = np.zeros((1, 1, channels, 2), np.float32)
    kernel[0, 0, 0] = -40, 40
    network.set_weights([kernel, np.array([20, -20], np.float32)])
    return network


def marking(size: tuple[int, int], channels: int = 1) -> keras.Model:
    """A second segmenter, whose answer tells that it was asked."""
    inputs = keras.Input((*size, channels))
    return keras.Model(inputs, keras.layers.Lambda(lambda x: x[..., :2] * 0 + 7.0, output_shape=(*size, 2))(inputs))


def spots(*places: tuple[int, int], sizes: tuple[int, int] = (41, 37)) -> np.ndarray:
    image = np.zeros((len(places), *sizes, 1), np.float32)
    for number, (row, column) in enumerate(places):
        image[number, row - 2 : row + 3, column - 2 : column + 3] = 1
    return image


def test_the_second_network_looks_around_what_the_first_one_found() -> None:
    image = spots((20, 18), (3, 30))
    model = cascades.coarse_to_fine(bright(), marking((12, 8), 3), (12, 8), hand_on=True)
    found = np.array(model(image))
    assert found.shape == (2, 41, 37, 2)
    asked = np.all(found == 7, -1)
    expected = np.zeros_like(asked)
    expected[0, 14:26, 14:22] = True
    expected[1, 0:12, 26:34] = True  # held within the image
    np.testing.assert_array_equal(asked, expected)
    np.testing.assert_allclose(found[~asked], np.array(bright()(image))[~asked])


def test_where_nothing_is_found_it_looks_at_the_middle_and_at_all_of_a_small_image() -> None:
    model = cascades.coarse_to_fine(bright(), marking((12, 8), 3), (12, 8), hand_on=True)
    asked = np.all(np.array(model(np.zeros((1, 40, 40, 1), np.float32))) == 7, -1)
    assert asked[0, 14:26, 16:24].all()
    assert asked.sum() == 96
    assert np.all(np.array(model(np.zeros((1, 5, 3, 1), np.float32))) == 7)


def test_a_coarse_look_comes_near() -> None:
    model = cascades.coarse_to_fine(bright(), marking((16, 16), 3), (16, 16), factor=4, hand_on=True)
    rows, columns = np.nonzero(np.all(np.array(model(spots((20, 18)))) == 7, -1)[0])
    assert abs((rows.min() + rows.max()) / 2 - 20) <= 2.5
    assert abs((columns.min() + columns.max()) / 2 - 18) <= 2.5


def test_segment_then_classify_sees_the_part_alone_and_is_saved(tmp_path: Path) -> None:
    classifier = models.build("resnet", input_shape=(12, 12, 3), num_classes=2, filters=(4, 8))
    model = cascades.segment_then_classify(bright(), classifier, (12, 12), hand_on=True)
    near, far = spots((20, 18)), spots((20, 18), sizes=(45, 50))
    assert model(near).shape == (1, 2)
    np.testing.assert_allclose(model(near), model(far), atol=1e-5)
    model.save(tmp_path / "whole.keras")
    np.testing.assert_allclose(keras.saving.load_model(tmp_path / "whole.keras")(near), model(near), atol=1e-6)


def test_networks_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UserError, match="must take 3 channels"):
        cascades.coarse_to_fine(bright(), bright(), (8, 8), hand_on=True)
    with pytest.raises(UserError, match="size must be 2 sizes"):
        cascades.coarse_to_fine(bright(), bright(), (8,))
    with pytest.raises(UserError, match="factor must be"):
        cascades.coarse_to_fine(bright(), bright(), (8, 8), factor=0)
    with pytest.raises(UserError, match="factor must be"):
        cascades.coarse_to_fine(bright(), bright(), (8, 8), factor=1.5)
    with pytest.raises(UserError, match=r"takes images of \(6, 6\) voxels, and would be given \(8, 8\)"):
        cascades.coarse_to_fine(bright(), marking((6, 6)), (8, 8))
    inputs = keras.Input((8, 8, 1))
    classifier = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.GlobalAveragePooling2D()(inputs)))
    with pytest.raises(UserError, match="first network must answer each voxel"):
        cascades.segment_then_classify(classifier, classifier, (8, 8))
    with pytest.raises(UserError, match="second network must answer each voxel"):
        cascades.coarse_to_fine(bright(), classifier, (8, 8))
    with pytest.raises(UserError, match=r"classifier must answer \(batch, classes\)"):
        cascades.segment_then_classify(bright(), bright(), (8, 8))


def test_of_answers_at_several_resolutions_the_finest_is_taken() -> None:
    fine = bright()
    several = keras.Model(fine.inputs, [fine.outputs[0], keras.layers.AveragePooling2D(2)(fine.outputs[0])])
    image = spots((12, 9))
    found = cascades.coarse_to_fine(several, several, (8, 8), factor=2)(image)
    np.testing.assert_array_equal(found, cascades.coarse_to_fine(fine, fine, (8, 8), factor=2)(image))
    assert cascades.coarse_to_fine(several, bright(3), (8, 8), hand_on=True).output_shape == (None, None, None, 2)
