"""Self-attention within windows of a grid that are shifted from one block to the next, and merging of its cells."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from radkit.models.layers.convolutions import Sizes, spread


@keras.saving.register_keras_serializable("radkit")
class WindowAttention(keras.layers.Layer):
    """Each cell of a grid looks at the cells of its window, and knows how far they are from it.

    Sizes that windows do not divide are padded behind with zeros, as the reference does; an axis no longer than the
    window is one window, unshifted. Weights: `qkv` (channels, 3 * channels), `proj` (channels, channels) and `table`,
    one bias a head for each distance within a window; softmax in float32.

    Input shape: `(batch, *spatial, channels)`, sizes fixed or free; the output's is the same.

    Args:
        heads: Number of heads; it divides the channels.
        window: Cells a side of a window, one number or one an axis.
        shifted: Whether windows start half a window earlier; what the grid's ends then put together does not attend to
            each other.

    Source: Liu et al. 2021, https://arxiv.org/abs/2103.14030.
    """

    def __init__(self, heads: int, window: Sizes = 7, shifted: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.heads, self.window, self.shifted = heads, window, shifted

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Makes the weights."""
        channels, rank = int(input_shape[-1] or 0), len(input_shape) - 2
        if channels % self.heads:
            raise ValueError(f"{channels} channels do not divide into {self.heads} heads")
        start = keras.initializers.TruncatedNormal(stddev=0.02)
        self.qkv = self.add_weight(shape=(channels, 3 * channels), initializer=start, name="qkv")
        self.qkv_bias = self.add_weight(shape=(3 * channels,), initializer="zeros", name="qkv_bias")
        self.proj = self.add_weight(shape=(channels, channels), initializer=start, name="proj")
        self.proj_bias = self.add_weight(shape=(channels,), initializer="zeros", name="proj_bias")
        distances = 1
        for cells in spread(self.window, rank):
            distances *= 2 * cells - 1
        self.table = self.add_weight(shape=(distances, self.heads), initializer=start, name="table", autocast=False)

    def call(self, inputs: Any) -> Any:
        """Returns what each cell gathered."""
        rank = len(inputs.shape) - 2
        sizes = ops.shape(inputs)[1:-1]
        windows = [_smaller(size, cells) for size, cells in zip(sizes, spread(self.window, rank))]
        counts = [(size + cells - 1) // cells for size, cells in zip(sizes, windows)]
        # 0 where the axis is one window.
        shifts = [_where_several(n, cells // 2) if self.shifted else 0 for n, cells in zip(counts, windows)]
        padded = [n * cells for n, cells in zip(counts, windows)]
        x = ops.pad(inputs, [[0, 0], *([0, p - s] for p, s in zip(padded, sizes)), [0, 0]])
        x = _rolled(x, [-shift for shift in shifts])
        x = _partitioned(x, counts, windows)
        mask = self._mask(padded, counts, windows, shifts) if any(_may_be_set(shift) for shift in shifts) else None
        x = self._attended(x, windows, mask)
        x = _joined(x, counts, windows)
        x = _rolled(x, shifts)
        kept = (slice(None), *(slice(0, size) for size in sizes))
        return x[kept]

    def _attended(self, x: Any, windows: Sequence[Any], mask: Any) -> Any:
        """Returns (batch, windows, cells, channels) of the same."""
        channels = x.shape[-1]
        _, groups, cells, _ = ops.shape(x)
        # No `matmul`: of batches (n, 1) and one matrix TensorFlow writes beyond its memory, and Keras 3.12 asks it.
        qkv = ops.tensordot(x, self.qkv, axes=1) + ops.cast(self.qkv_bias, x.dtype)
        qkv = ops.reshape(qkv, (-1, groups, cells, 3, self.heads, channels // self.heads))
        query, key, value = ops.unstack(ops.transpose(qkv, (3, 0, 1, 4, 2, 5)), 3)
        query = query * (channels // self.heads) ** -0.5
        scores = ops.cast(ops.matmul(query, ops.swapaxes(key, -1, -2)), "float32") + self._bias(windows)
        if mask is not None:
            scores = scores + mask[None, :, None]
        shares = ops.cast(ops.softmax(scores, axis=-1), x.dtype)
        x = ops.reshape(ops.swapaxes(ops.matmul(shares, value), 2, 3), (-1, groups, cells, channels))
        return ops.tensordot(x, self.proj, axes=1) + ops.cast(self.proj_bias, x.dtype)

    def _bias(self, windows: Sequence[Any]) -> Any:
        """Returns (heads, cells, cells): what the table says of each pair's distance."""
        row: Any = 0
        for axis, full in enumerate(spread(self.window, len(windows))):
            place = _places(windows, axis)
            row = row * (2 * full - 1) + place[:, None] - place[None] + full - 1
        return ops.transpose(ops.take(self.table, row, axis=0), (2, 0, 1))

    def _mask(self, padded: Sequence[Any], counts: Sequence[Any], windows: Sequence[Any], shifts: Sequence[Any]) -> Any:
        """Returns (windows, cells, cells): 0 within a region that was whole before the shift, else -100."""
        region: Any = ops.zeros((1,) * (len(padded) + 2), "int32")
        for axis, (size, cells, shift) in enumerate(zip(padded, windows, shifts)):
            place = ops.arange(size)
            part = ops.cast(place >= size - cells, "int32") + ops.cast(place >= size - shift, "int32")
            part = ops.where(ops.convert_to_tensor(shift) > 0, part, 0)
            region = region * 3 + ops.reshape(part, [1, *(-1 if a == axis else 1 for a in range(len(padded))), 1])
        region = _partitioned(region, counts, windows)[0, ..., 0]
        return ops.where(region[:, :, None] == region[:, None], 0.0, -100.0)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Returns the output's shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Returns what rebuilds the layer."""
        return {**super().get_config(), "heads": self.heads, "window": self.window, "shifted": self.shifted}


def _smaller(size: Any, cells: int) -> Any:
    return min(size, cells) if isinstance(size, int) else ops.minimum(size, cells)


def _where_several(count: Any, shift: Any) -> Any:
    if isinstance(count, int):
        return shift if count > 1 else 0
    return ops.where(count > 1, shift, 0)


def _may_be_set(shift: Any) -> bool:
    return not isinstance(shift, int) or shift != 0


def _rolled(x: Any, shifts: Sequence[Any]) -> Any:
    """Returns the tensor with each axis turned by so many cells, towards its end."""
    for axis, shift in enumerate(shifts, 1):
        if _may_be_set(shift):
            size = ops.shape(x)[axis]
            x = ops.take(x, ops.mod(ops.arange(size) - shift, size), axis=axis)
    return x


def _partitioned(x: Any, counts: Sequence[Any], windows: Sequence[Any]) -> Any:
    """Returns (batch, windows, cells, channels) of (batch, *spatial, channels)."""
    rank, channels = len(counts), x.shape[-1]
    split = [part for pair in zip(counts, windows) for part in pair]
    x = ops.reshape(x, (-1, *split, channels))
    outer, inner = range(1, 2 * rank, 2), range(2, 2 * rank + 1, 2)
    x = ops.transpose(x, (0, *outer, *inner, 2 * rank + 1))
    return ops.reshape(x, (-1, _product(counts), _product(windows), channels))


def _joined(x: Any, counts: Sequence[Any], windows: Sequence[Any]) -> Any:
    """Returns what was partitioned, in one piece."""
    rank, channels = len(counts), x.shape[-1]
    x = ops.reshape(x, (-1, *counts, *windows, channels))
    pairs = [place for axis in range(rank) for place in (1 + axis, 1 + rank + axis)]
    x = ops.transpose(x, (0, *pairs, 2 * rank + 1))
    return ops.reshape(x, (-1, *(n * cells for n, cells in zip(counts, windows)), channels))


def _places(windows: Sequence[Any], axis: int) -> Any:
    """Returns where along an axis each cell of a window lies."""
    behind = _product(windows[axis + 1 :])
    return ops.mod(ops.arange(_product(windows)) // behind, windows[axis])


def _product(sizes: Sequence[Any]) -> Any:
    product: Any = 1
    for size in sizes:
        product = product * size
    return product


@keras.saving.register_keras_serializable("radkit")
class SpaceToChannels(keras.layers.Layer):
    """Puts neighbouring cells, two an axis, into one cell's channels; the last axis is the fastest.

    Input shape: `(batch, *spatial, channels)`, even sizes; output shape: `(batch, *spatial / 2, channels * 2 ** rank)`.
    """

    def call(self, inputs: Any) -> Any:
        """Returns the merged cells."""
        sizes = [size // 2 for size in ops.shape(inputs)[1:-1]]
        rank, channels = len(sizes), inputs.shape[-1]
        x = ops.reshape(inputs, (-1, *(part for size in sizes for part in (size, 2)), channels))
        x = ops.transpose(x, (0, *range(1, 2 * rank, 2), *range(2, 2 * rank + 1, 2), 2 * rank + 1))
        return ops.reshape(x, (-1, *sizes, channels * 2**rank))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Returns the output's shape."""
        sizes = [None if size is None else size // 2 for size in input_shape[1:-1]]
        return (input_shape[0], *sizes, int(input_shape[-1] or 0) * 2 ** len(sizes))
