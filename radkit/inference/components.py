"""Connected parts of masks, in the graph: labelled, the largest kept, enclosed holes filled.

Each voxel points at the lowest-numbered voxel of its part that it knows of; it learns its neighbours' and then what
those point at, so that the way halves each turn and even long, winding parts take few turns.

Source: Zhang, Azad and Hu 2020, FastSV, https://arxiv.org/abs/1910.05971.
"""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import keras
from keras import ops

from radkit.errors import UserError


def connected(mask: Any, connectivity: int = 1) -> Any:
    """Returns which part each voxel belongs to: the number of the part's first voxel in the batch; -1 outside.

    Args:
        mask: (batch, *spatial), bool.
        connectivity: Neighbours share a face (1; 4 or 6 of them), an edge too (2; 8 or 18), or a corner too (3; 26).

    Returns:
        As the mask, int32.

    Raises:
        UserError: Connectivity that the rank does not have.
    """
    rank = len(mask.shape) - 1
    if not 1 <= connectivity <= rank:
        raise UserError(f"connectivity must be from 1 (faces) to {rank}, not {connectivity}")
    shape = ops.shape(mask)
    nowhere = _product(shape)
    parent = ops.where(mask, ops.reshape(ops.arange(nowhere, dtype="int32"), shape), nowhere)

    def turn(parent: Any, _: Any) -> tuple[Any, Any]:
        found = _hooked(parent, mask, nowhere, connectivity)
        return found, ops.any(found != parent)

    some = ops.any(mask)
    found, _ = ops.while_loop(lambda _, changed: changed, turn, (parent, some))
    return ops.where(mask, found, -1)


def _product(shape: Sequence[Any]) -> Any:
    total: Any = 1
    for size in shape:
        total = total * size
    return total


def _hooked(parent: Any, mask: Any, nowhere: Any, connectivity: int) -> Any:
    """Returns parents after one turn: each root takes the lowest grandparent that a voxel of its part is beside."""
    shape = ops.shape(parent)
    flat = ops.append(ops.reshape(parent, [-1]), nowhere)  # outside points at itself
    grand = ops.take(flat, flat)
    near = _lowest_near(ops.reshape(grand[:-1], shape), nowhere, connectivity)
    near = ops.reshape(ops.where(mask, near, nowhere), [-1])
    # The lowest of all that point at a root; there is a segment maximum only, and of no members it is no number.
    hooked = -ops.maximum(ops.segment_max(-near, flat[:-1], num_segments=nowhere + 1), -nowhere)[:-1]
    near = ops.minimum(ops.minimum(near, hooked), grand[:-1])
    return ops.reshape(ops.minimum(near, flat[:-1]), shape)


def _lowest_near(values: Any, nowhere: Any, connectivity: int) -> Any:
    """Returns the lowest value among each voxel and its neighbours."""
    rank = len(values.shape) - 1
    lowest: Any = None
    for axes in combinations(range(1, rank + 1), connectivity):
        found = values
        for axis in axes:
            found = _lowest_along(found, axis, nowhere)
        lowest = found if lowest is None else ops.minimum(lowest, found)
    return lowest


def _lowest_along(values: Any, axis: int, nowhere: Any) -> Any:
    before, after = [slice(None)] * len(values.shape), [slice(None)] * len(values.shape)
    before[axis], after[axis] = slice(1, None), slice(None, -1)
    end = [slice(None)] * len(values.shape)
    end[axis] = slice(0, 1)
    outside = ops.zeros_like(values[tuple(end)]) + nowhere
    next_ = ops.concatenate([values[tuple(before)], outside], axis)
    previous = ops.concatenate([outside, values[tuple(after)]], axis)
    return ops.minimum(values, ops.minimum(next_, previous))


def largest(mask: Any, connectivity: int | None = None) -> Any:
    """Returns the mask with nothing but each image's largest part; of equal ones the first.

    Args:
        mask: (batch, *spatial), bool.
        connectivity: As in `connected`; None: corners count.
    """
    connectivity = len(mask.shape) - 1 if connectivity is None else connectivity
    return _in_box(mask, lambda box: _largest(box, connectivity))


def _largest(mask: Any, connectivity: int) -> Any:
    part = connected(mask, connectivity)
    voxels = _product(ops.shape(mask))
    counted = ops.reshape(ops.where(mask, part, voxels), [-1])
    sizes = ops.segment_sum(ops.ones_like(counted), counted, num_segments=voxels + 1)[:-1]
    sizes = ops.reshape(sizes, [ops.shape(mask)[0], -1])
    first = ops.arange(ops.shape(mask)[0], dtype="int32") * ops.shape(sizes)[1]
    chosen = ops.cast(ops.argmax(sizes, axis=1), "int32") + first
    return mask & (part == ops.reshape(chosen, [-1] + [1] * (len(mask.shape) - 1)))


def filled(mask: Any, connectivity: int = 1) -> Any:
    """Returns the mask with its holes: what is not connected to the outside of the image.

    Args:
        mask: (batch, *spatial), bool.
        connectivity: Of what is not in the mask, as in `connected`.
    """
    return _in_box(mask, lambda box: _filled(box, connectivity))


def _filled(mask: Any, connectivity: int) -> Any:
    rank = len(mask.shape) - 1
    outside = ~ops.pad(mask, [[0, 0]] + [[1, 1]] * rank)  # a ring that joins all that touches the border
    part = connected(outside, connectivity)
    corner = part[(slice(None),) + (slice(0, 1),) * rank]
    inner = (slice(None),) + (slice(1, -1),) * rank
    return (~outside | (part != corner))[inner]


def _in_box(mask: Any, change: Any) -> Any:
    """Returns the mask changed within the box around all that is in it; that leaves most of an image alone."""
    if keras.backend.backend() != "tensorflow":
        return change(mask)
    import tensorflow as tf

    mask = tf.convert_to_tensor(mask)
    where = tf.where(mask)
    sizes = tf.shape(mask, out_type=tf.int64)
    some = tf.shape(where)[0] > 0
    first = tf.where(some, tf.reduce_min(where, 0), tf.zeros_like(sizes))
    end = tf.where(some, tf.reduce_max(where, 0) + 1, tf.ones_like(sizes))
    # All images of the batch: their order is what tells their parts apart.
    first = tf.concat([[0], first[1:]], 0)
    end = tf.concat([sizes[:1], end[1:]], 0)
    box = tf.ensure_shape(tf.slice(mask, first, end - first), [mask.shape[0], *[None] * (mask.shape.rank - 1)])
    found = tf.pad(change(box), tf.stack([first, sizes - end], 1))
    return tf.ensure_shape(found, mask.shape)


def clean(labels: Any, *, keep_largest: Sequence[int] = (), fill: Sequence[int] = ()) -> Any:
    """Returns a map of labels, cleaned.

    Args:
        labels: (batch, *spatial), integers; 0 is background.
        keep_largest: Labels whose smaller parts become background; parts that touch at a corner are one.
        fill: Labels whose holes become theirs: background that the label encloses. Other labels in a hole stay.

    Returns:
        As the labels.

    Example:
        >>> import numpy as np
        >>> [int(n) for n in clean(np.array([[[1, 0, 1, 1, 1], [0, 0, 1, 0, 1], [0, 0, 1, 1, 1]]]),
        ...                        keep_largest=(1,), fill=(1,))[0, 1]]
        [0, 0, 1, 1, 1]
    """
    labels = ops.convert_to_tensor(labels)
    none = ops.zeros_like(labels)
    for label in keep_largest:
        own = labels == label
        labels = ops.where(own & ~largest(own), none, labels)
    for label in fill:
        labels = ops.where(filled(labels == label) & (labels == 0), none + label, labels)
    return labels


@keras.saving.register_keras_serializable("radkit")
class Clean(keras.layers.Layer):
    """Cleans maps of labels; see `clean`.

    Input shape and output shape: `(batch, *spatial)`, integers.

    Args:
        keep_largest: Labels of which the largest part is kept.
        fill: Labels whose holes are filled.
    """

    def __init__(self, keep_largest: Sequence[int] = (), fill: Sequence[int] = (), **kwargs: Any) -> None:
        super().__init__(**{"autocast": False, "trainable": False, **kwargs})
        self.keep_largest, self.fill = tuple(keep_largest), tuple(fill)
        self.supports_jit = keras.backend.backend() != "tensorflow"

    def call(self, inputs: Any) -> Any:
        """Returns the labels cleaned."""
        return clean(inputs, keep_largest=self.keep_largest, fill=self.fill)

    def compute_output_spec(self, inputs: Any) -> keras.KerasTensor:
        """Returns the output's shape and type: the input's."""
        return keras.KerasTensor(inputs.shape, dtype=inputs.dtype)

    def get_config(self) -> dict[str, Any]:
        """Returns what rebuilds the layer."""
        return {**super().get_config(), "keep_largest": self.keep_largest, "fill": self.fill}
