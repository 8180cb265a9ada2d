"""What a stranger may ask for: taken where it means something, else refused in one line that says what was wrong."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import keras
import numpy as np
import pytest

from radkit import folder, models
from radkit.errors import UserError

TINY: dict[str, Any] = {"filters": (4, 8)}


def refused(name: Any, message: str, shape: Any = (16, 16, 1), classes: Any = 2, **settings: Any) -> None:
    with pytest.raises(UserError, match=message) as told:
        models.build(name, input_shape=shape, num_classes=classes, **settings)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("name", [None, 3, b"unet", ["unet"]])
def test_a_name_that_is_no_string_is_refused(name: Any) -> None:
    refused(name, "a model's name is a string, as 'unet', not ")


@pytest.mark.parametrize("name", folder.names("radkit.models"))
def test_every_network_needs_a_class(name: str) -> None:
    shape = {0: (5,), 2: (16, 16, 1), 3: (16, 16, 16, 1)}[models.ranks(name)[0]]
    refused(name, f"num_classes of '{name}' must be a whole number of at least 1, not 0", shape, classes=0)


@pytest.mark.parametrize("classes", [-1, None, "2", 2.0, True])
def test_wrong_numbers_of_classes_are_refused(classes: Any) -> None:
    refused("unet", f"num_classes of 'unet' must be a whole number of at least 1, not {classes!r}", classes=classes)


@pytest.mark.parametrize("shape", [None, 32, "16,16,1", (8, 16, 16, 16, 1), (None, 8, 16, 16, 1), (16, 16)])
def test_what_is_no_shape_is_refused(shape: Any) -> None:
    refused("unet", "input_shape of 'unet' must be 2 or 3 spatial sizes and channels, not", shape)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((16, 16, None), "its last number must be 1 or more; it cannot be free, not None"),
        ((16, 16, 0), "its last number must be 1 or more; it cannot be free, not 0"),
        ((16, 16, "1"), "its last number .* not '1'"),
        ((0, 16, 1), "its size 0 must be 1 or more, or None where it is free, not 0"),
        ((16, -1, 1), "its size 1 .* not -1"),
        (("16", 16, 1), "its size 0 .* not '16'"),
        ((16.0, 16, 1), "its size 0 .* not 16.0"),
        ((True, 16, 1), "its size 0 .* not True"),
    ],
)
def test_sizes_that_are_none_are_refused(shape: tuple[Any, ...], message: str) -> None:
    refused("unet", message, shape)
    refused("resnet", message, shape)


def test_a_table_has_a_known_number_of_columns() -> None:
    refused("mlp", "input_shape of 'mlp' must be a number of columns.*last number.*not None", (None,))
    refused("mlp", "must be a number of columns, not", (16, 16, 1))


def test_numbers_of_other_libraries_are_numbers() -> None:
    for name, shape in (("unet", np.array([16, 16, 1])), ("resnet", [np.int64(16), None, np.int32(1)])):
        found = models.build(name, input_shape=shape, num_classes=np.int64(2), filters=(4,))
        assert found.input_shape == (None, *[size and int(size) for size in shape])
        assert found.output_shape[-1] == 2


def test_yes_and_no_are_not_true_and_false() -> None:
    refused("unet", "deep_supervision must be True or False, not 'no'", deep_supervision="no", **TINY)


def test_what_keras_says_of_a_layer_is_its_reason_and_not_the_layers_name() -> None:
    def mine(input_shape: tuple[int, ...], num_classes: int) -> keras.Model:
        inputs = keras.Input(input_shape)
        return keras.Model(inputs, keras.layers.Reshape((num_classes, 7))(inputs))

    with outside(mine) as name:
        refused(name, "total size of the tensor must be unchanged")


class outside:
    """Code of somebody else's, for the time of a test."""

    def __init__(self, mine: Callable[..., keras.Model], **attributes: Any) -> None:
        self.module = ModuleType("strange_network")
        self.module.mine = mine
        vars(self.module).update(attributes)

    def __enter__(self) -> str:
        sys.modules["strange_network"] = self.module
        return "strange_network:mine"

    def __exit__(self, *_: object) -> None:
        del sys.modules["strange_network"]


def test_outside_code_tells_its_ranks() -> None:
    def mine(input_shape: tuple[int, ...], num_classes: int) -> keras.Model:
        inputs = keras.Input(input_shape)
        return keras.Model(inputs, keras.layers.Dense(num_classes)(inputs))

    with outside(mine, RANKS=(0,)) as name:
        assert models.ranks(name) == (0,)
        assert models.build(name, input_shape=(5,), num_classes=2).output_shape == (None, 2)
        refused(name, "must be a number of columns", (5, 5, 1))


def test_an_unknown_name_has_no_ranks() -> None:
    with pytest.raises(UserError, match="models has no 'unett'"):
        models.ranks("unett")


@pytest.mark.parametrize("weights", [3, b"imagenet", ("imagenet",)])
def test_weights_that_are_no_place_are_refused(weights: Any) -> None:
    refused("unet", "'imagenet', a file or 'run:DIR' was expected", weights=weights, **TINY)


def test_weights_that_are_a_folder_are_told_apart(tmp_path: Path) -> None:
    refused("unet", "are a folder; .* run:", weights=tmp_path, **TINY)
    refused("unet", "no.weights.h5 do not exist", weights=tmp_path / "no.weights.h5", **TINY)


def test_weights_may_be_a_path_and_one_pattern_freezes(tmp_path: Path) -> None:
    first = models.build("unet", input_shape=(16, 16, 1), num_classes=2, **TINY)
    first.save_weights(tmp_path / "a.weights.h5")
    weights = tmp_path / "a.weights.h5"
    found = models.build("unet", input_shape=(16, 16, 1), num_classes=2, weights=weights, freeze="encoder_0_*", **TINY)
    for one, other in zip(first.get_weights(), found.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert len(found.trainable_weights) < len(first.trainable_weights)
    refused("unet", "freeze must be patterns of layers' names", freeze=3, **TINY)
    refused("unet", "freeze must be patterns of layers' names", freeze=(3,), **TINY)
