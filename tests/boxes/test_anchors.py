"""Anchors: where they stand, in which order, and that layers hold what they promise."""

import itertools
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from radkit.boxes import anchors
from radkit.errors import UserError

SHAPES_2D = [[(4.0, 4.0), (2.0, 8.0)], [(16.0, 16.0)]]
STRIDES_2D = [(4, 2), (8, 8)]
SHAPES_3D = [[(2.0, 4.0, 6.0)], [(4.0, 8.0, 8.0), (8.0, 8.0, 8.0), (3.0, 9.0, 27.0)]]
STRIDES_3D = [(1, 4, 4), (2, 8, 8)]
CASES = [(SHAPES_2D, STRIDES_2D, [(3, 5), (2, 2)]), (SHAPES_3D, STRIDES_3D, [(4, 3, 2), (2, 2, 1)])]
EACH = pytest.mark.parametrize(("shapes", "strides", "sizes"), CASES)


def listed(shapes: Any, strides: Any, sizes: Any) -> tuple[np.ndarray, np.ndarray]:
    """Returns all anchors and their levels: of each level, place by place, shape by shape."""
    found, levels = [], []
    for level, (of_level, step, size) in enumerate(zip(shapes, strides, sizes)):
        for place in itertools.product(*map(range, size)):
            for sides in of_level:
                middle = [(k + 0.5) * one for k, one in zip(place, step)]
                low = [at - side / 2 for at, side in zip(middle, sides)]
                high = [at + side / 2 for at, side in zip(middle, sides)]
                found.append([*low, *high])
                levels.append(level)
    return np.array(found), np.array(levels)


def maps_of(sizes: Any, batch: int = 2, channels: int = 3) -> list[np.ndarray]:
    return [np.zeros((batch, *size, channels), np.float32) for size in sizes]


@EACH
def test_anchors_stand_where_a_loop_has_them(shapes, strides, sizes) -> None:
    wanted, levels = listed(shapes, strides, sizes)
    maps = maps_of(sizes)
    found = np.array(anchors.Anchors(shapes, strides)(maps))
    assert found.dtype == np.float32
    assert np.array_equal(found, np.stack([wanted, wanted]))
    numbers = np.array(anchors.Levels([len(level) for level in shapes])(maps))
    assert numbers.dtype == np.int32
    assert np.array_equal(numbers, np.stack([levels, levels]))


@EACH
def test_what_a_head_gives_is_of_the_same_places(shapes, strides, sizes) -> None:
    """A head that tells at each place the edges of its shapes tells the anchors, once its maps are lists."""
    rank, rows = len(strides[0]), []
    everything, levels = listed(shapes, strides, sizes)
    for level, size in enumerate(sizes):
        head = everything[levels == level].reshape(1, *size, len(shapes[level]) * 2 * rank)
        rows.append(keras.layers.Reshape((-1, 2 * rank))(head.astype(np.float32)))
    told = np.concatenate([np.array(row) for row in rows], axis=1)
    assert np.array_equal(told, np.array(anchors.Anchors(shapes, strides)(maps_of(sizes, 1))))


@EACH
def test_sizes_may_be_free_fixed_or_compiled(shapes, strides, sizes) -> None:
    layer, levels = anchors.Anchors(shapes, strides), anchors.Levels([len(level) for level in shapes])
    wanted, of_place = listed(shapes, strides, sizes)
    rank = len(strides[0])
    free = [keras.Input((*[None] * rank, 3)) for _ in sizes]
    fixed = [keras.Input((*size, 3)) for size in sizes]
    assert layer(free).shape == (None, None, 2 * rank)
    assert levels(free).shape == (None, None)
    assert layer(fixed).shape == (None, len(wanted), 2 * rank)
    assert levels(fixed).shape == (None, len(wanted))
    assert (layer(fixed).dtype, levels(fixed).dtype) == ("float32", "int32")
    compiled = tf.function(lambda *maps: (layer(maps), levels(maps)), jit_compile=True)
    specs = [tf.TensorSpec((None, *[None] * rank, 3))] * len(sizes)
    traced = tf.function(lambda *maps: (layer(maps), levels(maps)), input_signature=specs)
    for run in (compiled, traced):
        places, numbers = run(*map(tf.constant, maps_of(sizes)))
        assert np.array_equal(places, np.stack([wanted, wanted]))
        assert np.array_equal(numbers, np.stack([of_place, of_place]))


def test_halves_of_maps_change_nothing(tmp_path: Path) -> None:
    """Under mixed precision edges stay float32, so that pixels beyond 256 are told apart; and what is saved is kept."""
    shapes, strides, sizes = [[(3.0, 5.0)]], [(1, 1)], [(2, 400)]
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        given = keras.Input((None, None, 1), dtype="bfloat16")
        placed, level = anchors.Anchors(shapes, strides)([given]), anchors.Levels([1])([given])
    finally:
        keras.config.set_dtype_policy("float32")
    network = keras.Model(given, {"anchors": placed, "levels": level})
    network.save(tmp_path / "network.keras")
    again = keras.models.load_model(tmp_path / "network.keras")
    for model in (network, again):
        found = model(tf.zeros((1, 2, 400, 1), tf.bfloat16))
        assert found["anchors"].dtype == tf.float32
        assert found["levels"].dtype == tf.int32
        assert np.array_equal(found["anchors"][0], listed(shapes, strides, sizes)[0])


def test_sides_by_ratio_and_octave() -> None:
    (found,) = anchors.shapes([32.0], ratios=(0.5, 1.0, 2.0), octaves=3)
    assert len(found) == 9
    assert np.allclose(np.prod(found, axis=1), np.repeat([32.0**2 * 2 ** (2 * n / 3) for n in range(3)], 3))
    assert np.allclose([rows / columns for rows, columns in found], [0.5, 1.0, 2.0] * 3)
    (cubes,) = anchors.shapes([8.0], ratios=(0.5, 1.0), rank=3)
    assert np.allclose(cubes, [(8.0, 8 * 0.5**0.5, 8 / 0.5**0.5), (8.0, 8.0, 8.0)])
    assert [len(level) for level in anchors.shapes([4.0, 8.0], octaves=2)] == [6, 6]


def test_millimetres_are_voxels_by_the_spacing() -> None:
    found = anchors.in_voxels(anchors.shapes([6.0], (1.0,), rank=3), (3.0, 0.5, 0.75))
    assert found == [[(2.0, 12.0, 8.0)]]
    with pytest.raises(UserError, match=r"anchors of \[3\] axes"):
        anchors.in_voxels([[(6.0, 6.0, 6.0)]], (1.0, 1.0))
    with pytest.raises(UserError, match="above 0"):
        anchors.in_voxels([[(6.0, 6.0)]], (1.0, float("nan")))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"sizes": ()}, "above 0 expected"),
        ({"sizes": (0.0,)}, "above 0 expected"),
        ({"sizes": (float("nan"),)}, "above 0 expected"),
        ({"sizes": (4.0,), "ratios": (float("nan"),)}, "above 0 expected"),
        ({"sizes": (8.0,), "ratios": ()}, "above 0 expected"),
        ({"sizes": (8.0,), "ratios": (-1.0,)}, "above 0 expected"),
        ({"sizes": (8.0,), "octaves": 0}, "octaves 0"),
        ({"sizes": (8.0,), "rank": 1}, "anchors of 1 axes"),
    ],
)
def test_sides_that_are_none_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        anchors.shapes(**settings)


@pytest.mark.parametrize(
    ("shapes", "strides"),
    [([[(4.0, 4.0)]], STRIDES_2D), ([[(4.0,) * 3], [(8.0,) * 3]], STRIDES_2D), ([[(4.0, 4.0)], []], STRIDES_2D)],
)
def test_levels_that_do_not_fit_are_refused(shapes: Any, strides: Any) -> None:
    with pytest.raises(UserError, match="one list of shapes, none empty"):
        anchors.Anchors(shapes, strides)


@pytest.mark.parametrize(
    ("sides", "stride"), [((0.0, 4.0), (4, 4)), ((4.0, float("nan")), (4, 4)), ((4.0, 4.0), (0, 4))]
)
def test_anchors_of_no_extent_or_stride_are_refused(sides: Any, stride: Any) -> None:
    with pytest.raises(UserError, match="numbers above 0 were expected"):
        anchors.Anchors([[sides]], [stride])


def test_another_number_of_maps_than_of_levels_is_refused() -> None:
    layer = anchors.Anchors([[(4.0, 4.0)]], [(2, 2)])
    with pytest.raises(UserError, match="2 maps for anchors of 1 levels"):
        layer([np.zeros((1, 3, 3, 1), np.float32)] * 2)
