"""Anchors: the boxes that a network's answers are offsets from, at every place of its feature maps."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from radkit.errors import UserError

Shape = tuple[float, ...]


def shapes(
    sizes: Sequence[float], ratios: Sequence[float] = (0.5, 1.0, 2.0), octaves: int = 1, rank: int = 2
) -> list[list[Shape]]:
    """Returns the sides of a level's anchors, in pixels or mm as the sizes are: a list a level, for `Anchors`.

    Args:
        sizes: Edge of a cube (a square) for each level, finest first, as (32, 64, 128, 256, 512).
        ratios: Of the rows' side to the columns'; what an anchor holds stays the same. Slices keep the cube's edge.
        octaves: Sizes between one level and the next: a size times 1, 2^(1/n), 2^(2/n), ...
        rank: 2 or 3.

    Example:
        >>> shapes((8,), ratios=(1.0, 4.0))
        [[(8.0, 8.0), (16.0, 4.0)]]
    """
    if not sizes or not ratios or not all(0 < one < math.inf for one in (*sizes, *ratios)) or octaves < 1:
        raise UserError(f"anchors of sizes {tuple(sizes)}, ratios {tuple(ratios)}, octaves {octaves}: above 0 expected")
    if rank not in (2, 3):
        raise UserError(f"anchors of {rank} axes; 2 or 3 were expected")
    found = []
    for size in sizes:
        edges = [size * 2 ** (step / octaves) for step in range(octaves)]
        found.append([(edge,) * (rank - 2) + (edge * r**0.5, edge / r**0.5) for edge in edges for r in ratios])
    return found


def in_voxels(of_levels: Sequence[Sequence[Shape]], spacing_mm: Sequence[float]) -> list[list[Shape]]:
    """Returns anchors' sides in voxels, of those in mm: a list a level, for `Anchors`.

    Args:
        of_levels: A list a level, of sides in mm.
        spacing_mm: One number an axis, in the array's order.

    Raises:
        UserError: Another number of axes, or a spacing that is not above 0.

    >>> in_voxels([[(6.0, 4.0, 4.0)]], (2.0, 1.0, 1.0))
    [[(3.0, 4.0, 4.0)]]
    """
    ranks = {len(shape) for level in of_levels for shape in level}
    if ranks - {len(spacing_mm)} or not all(mm > 0 for mm in spacing_mm):
        raise UserError(
            f"spacing {tuple(spacing_mm)} mm for anchors of {sorted(ranks)} axes: one above 0 an axis expected"
        )
    return [[tuple(side / mm for side, mm in zip(shape, spacing_mm)) for shape in level] for level in of_levels]


@keras.saving.register_keras_serializable("radkit")
class Anchors(keras.layers.Layer):
    """The anchors of feature maps: at each place, in the array's order, each of the level's shapes.

    Call arguments:
        maps: One a level, finest first, each (batch, *spatial, channels).

    Output: `(batch, places, 2 * rank)` float32, edges in the image's pixels, all levels one after the other; place k of
    a map is centred at (k + 0.5) strides. What a head gives as (batch, *spatial, shapes * n) is of the same places once
    it is reshaped to (batch, places, n). They may reach over the image's borders.

    Args:
        shapes: One list a level, each of sides: `shapes` makes them.
        strides: One a level, each one number an axis.
    """

    def __init__(self, shapes: Sequence[Sequence[Shape]], strides: Sequence[Sequence[int]], **kwargs: Any) -> None:
        # Of the maps only the sizes are read: no copies of them in float32.
        super().__init__(**{"dtype": "float32", "autocast": False, **kwargs})
        self.shapes = [[tuple(float(side) for side in shape) for shape in level] for level in shapes]
        self.strides = [tuple(int(step) for step in level) for level in strides]
        ranks = {len(one) for one in itertools.chain(*self.shapes, self.strides)}
        if len(self.shapes) != len(self.strides) or len(ranks) != 1 or not all(self.shapes):
            raise UserError(
                f"anchors for {len(self.shapes)} levels of {len(self.strides)} strides, with {sorted(ranks)} axes: "
                "one list of shapes, none empty, and one stride a level, all of one rank, were expected"
            )
        if not all(0 < one < math.inf for shape in itertools.chain(*self.shapes, self.strides) for one in shape):
            raise UserError(f"anchors of sides {self.shapes} at strides {self.strides}: numbers above 0 were expected")

    def call(self, maps: Sequence[Any]) -> Any:
        """Returns all anchors."""
        if len(maps) != len(self.strides):
            raise UserError(f"{len(maps)} maps for anchors of {len(self.strides)} levels; one a level was expected")
        found = [self._level(x, shapes, strides) for x, shapes, strides in zip(maps, self.shapes, self.strides)]
        edges = ops.concatenate(found, axis=0)[None]
        return ops.tile(edges, (ops.shape(maps[0])[0], 1, 1))

    def _level(self, x: Any, shapes: list[Shape], strides: tuple[int, ...]) -> Any:
        sizes, num_axes = ops.shape(x)[1:-1], len(strides)
        along = [(ops.arange(size, dtype="float32") + 0.5) * step for size, step in zip(sizes, strides)]
        middles = ops.reshape(ops.stack(ops.meshgrid(*along, indexing="ij"), axis=-1), (-1, 1, num_axes))
        half = ops.convert_to_tensor(np.array(shapes, np.float32) / 2)[None]
        return ops.reshape(ops.concatenate([middles - half, middles + half], axis=-1), (-1, 2 * num_axes))

    def compute_output_shape(self, input_shape: Sequence[Sequence[int | None]]) -> tuple[int | None, ...]:
        """Returns the output's shape."""
        places = _places([shape[1:-1] for shape in input_shape], [len(level) for level in self.shapes])
        return (input_shape[0][0], places, 2 * len(self.strides[0]))

    def get_config(self) -> dict[str, Any]:
        """Returns what rebuilds the layer."""
        return {**super().get_config(), "shapes": self.shapes, "strides": self.strides}


@keras.saving.register_keras_serializable("radkit")
class Levels(keras.layers.Layer):
    """Which level each place is of, 0 for the finest: `(batch, places)` int32, in the order of `Anchors`.

    Args:
        counts: Anchors at a place, one number a level.
    """

    def __init__(self, counts: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.counts = [int(count) for count in counts]

    def call(self, maps: Sequence[Any]) -> Any:
        """Returns the levels of all places."""
        found = []
        for level, (x, count) in enumerate(zip(maps, self.counts)):
            first = ops.zeros_like(x[..., 0], dtype="int32") + level
            flat = ops.reshape(first, (ops.shape(x)[0], -1))
            found.append(ops.repeat(flat, count, axis=1))
        return ops.concatenate(found, axis=1)

    def compute_output_spec(self, maps: Sequence[Any]) -> Any:
        """Returns the output's shape and dtype."""
        places = _places([x.shape[1:-1] for x in maps], self.counts)
        return keras.KerasTensor((maps[0].shape[0], places), dtype="int32")

    def get_config(self) -> dict[str, Any]:
        """Returns what rebuilds the layer."""
        return {**super().get_config(), "counts": self.counts}


def _places(spatial: Sequence[Sequence[int | None]], counts: Sequence[int]) -> int | None:
    """Returns how many anchors maps of such sizes have, with so many a place each; None where a size is free."""
    found = 0
    for sizes, count in zip(spatial, counts):
        known = [size for size in sizes if size is not None]
        if len(known) < len(sizes):
            return None
        found += math.prod(known) * count
    return found
