"""What an exported graph refuses: traced alone, from inputs of any shape."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from radkit import config
from serving import guards

DATA = config.Data("d", kind="radiograph", image_size=(8, 8), table=("age_years", "sex"))
GOOD = {
    "image": np.zeros((2, 3, 5, 1), np.float32),
    "spacing_mm": np.array([[0.1, 0.1], [np.nan, np.nan]], np.float32),
    "table": np.array([[50, 1], [np.nan, np.nan]], np.float32),
}


@pytest.fixture(scope="module")
def checked() -> Any:
    specs = [tf.TensorSpec(None, tf.float32, name=name) for name in GOOD]
    return tf.function(
        lambda *given: guards.checked(dict(zip(GOOD, given)), DATA), input_signature=specs, autograph=False
    )


def test_what_is_good_comes_through_as_it_was(checked: Any) -> None:
    for name, value in checked(*GOOD.values()).items():
        np.testing.assert_array_equal(value, GOOD[name])


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("image", np.zeros((2, 3, 5, 3)), "image must have 1 channel"),
        ("image", np.zeros((2, 3, 0, 1)), "image must have no size of 0"),
        ("image", np.zeros((0, 3, 5, 1)), "image must have no size of 0"),
        ("image", np.zeros((3, 5, 1)), "image must have 4 axes"),
        ("image", np.full((2, 3, 5, 1), np.nan), "finite numbers; so many of its pixels"),
        ("image", np.full((2, 3, 5, 1), -np.inf), "finite numbers; so many of its pixels"),
        ("image", np.full((2, 3, 5, 1), 3e38), r"pixels are nan or beyond 1e\+12"),
        ("spacing_mm", np.zeros((2, 2)), "spacing_mm must be numbers > 0 mm"),
        ("spacing_mm", np.full((2, 2), -0.5), "spacing_mm must be numbers > 0 mm"),
        ("spacing_mm", np.full((2, 2), np.inf), "spacing_mm must be numbers > 0 mm"),
        ("spacing_mm", np.ones((1, 2)), "spacing_mm must have a row for each image"),
        ("spacing_mm", np.ones((2, 3)), "spacing_mm must have a row for each image and 2 columns"),
        ("spacing_mm", np.ones(2), "spacing_mm must have 2 axes"),
        ("table", np.ones((2, 3)), "table must have a row for each image and 2 columns"),
        ("table", np.full((2, 2), np.inf), "table must be numbers, or nan"),
    ],
)
def test_what_is_not_is_refused_in_words(checked: Any, name: str, value: np.ndarray, said: str) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match=said):
        checked(*{**GOOD, name: value.astype(np.float32)}.values())


def test_slopes_of_zero_and_mappings_of_no_number_are_refused() -> None:
    good = np.ones((1, 3), np.float32)
    np.testing.assert_array_equal(mapped(good, good)[0], good)
    for slope, intercept in ((0.0, 1.0), (np.nan, 1.0), (1.0, np.inf)):
        with pytest.raises(tf.errors.InvalidArgumentError, match="rescale_slope must be numbers other than 0"):
            mapped(good * slope, good * intercept)


VOLUME = config.Data("v", image_size=(4, 4, 4))


def mapped(slope: Any, intercept: Any, sizes: tuple[int, ...] = (1, 3, 4, 4), data: config.Data = VOLUME) -> Any:
    """Returns slope and intercept as the graph of an export lets them pass, of images of these sizes."""
    specs = [tf.TensorSpec(None, tf.float32), tf.TensorSpec(None, tf.float32), tf.TensorSpec(None, tf.int16)]
    asked = tf.function(lambda *given: guards.stored(*given, data), input_signature=specs, autograph=False)
    return asked(*(tf.constant(one, tf.float32) for one in (slope, intercept)), tf.zeros((*sizes, 1), tf.int16))


@pytest.mark.parametrize(
    ("sizes", "slopes", "data"),
    [
        ((1, 1, 4, 4), (1, 5), VOLUME),  # would make five slices of one
        ((1, 3, 4, 4), (1, 2), VOLUME),
        ((1, 3, 4, 4), (1, 0), VOLUME),
        ((2, 3, 4, 4), (1, 3), VOLUME),  # would map both images by the first one's
        ((1, 3, 4, 4), (2, 3), VOLUME),
        ((1, 9, 4), (1, 9), DATA),  # would map each row of a radiograph by its own
    ],
)
def test_mappings_of_other_images_are_refused(sizes: tuple[int, ...], slopes: tuple[int, int], data: Any) -> None:
    fitting = np.ones((sizes[0], 1))
    mapped(fitting, fitting, sizes, data)
    for given, name in (((np.ones(slopes), fitting), "slope"), ((fitting, np.ones(slopes)), "intercept")):
        with pytest.raises(tf.errors.InvalidArgumentError, match=f"rescale_{name} must have a row for each image"):
            mapped(*given, sizes, data)


def test_a_window_takes_what_files_hold_where_no_image_is() -> None:
    data = config.Data("d", kind="radiograph", image_size=(8, 8), normalise="window")
    given = {"image": tf.fill((1, 2, 2, 1), -3.4e38), "spacing_mm": tf.ones((1, 2))}
    asked = tf.function(lambda **inputs: guards.checked(inputs, data), autograph=False)
    assert asked(**given)["image"].shape == (1, 2, 2, 1)
