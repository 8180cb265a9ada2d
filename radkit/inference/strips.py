"""Windows blended strip by strip: TensorFlow's way, for sizes that only the running graph knows.

A tensor the size of the whole answer cannot be added to in place within a TensorFlow loop. So windows are walked in
order, and what no later window reaches is handed out: along the last axis within a strip as thick as a window, strips
within a slab, and slabs along the first axis. What is still open is one window, one strip and one slab.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from radkit.inference import windows, wrapped

PartAt = Callable[[Any, Any], tuple[Any, Any]]


@dataclass(frozen=True, eq=False)
class _Axis:
    """Windows along one axis."""

    window: int
    starts: Any  # (windows,) int32
    steps: Any  # (windows,) int32: from this start to the next one's; of the last the whole window
    shares: Any  # (windows, window) float32, as `windows.shares`


def blend(
    network: wrapped.Network,
    image: Any,
    window: Sequence[int],
    *,
    overlap: float,
    batch_size: int,
    blending: str,
    finish: Callable[[Any], Any],
) -> Any:
    """Returns the network's answers to windows of an image, blended.

    Args:
        network: From (windows, *window, channels) to (windows, *window, classes).
        image: (batch, *sizes, channels), no size below the window's.
        window: Sides in voxels.
        overlap: Share of a window that its neighbour sees, too.
        batch_size: Windows at once; never of two rows.
        blending: `gaussian` or `constant`.
        finish: What becomes of the answer, (..., classes), as its argmax; called on parts of it.

    Returns:
        (batch, *sizes, ...): finished answers.
    """
    sizes = tf.shape(image)
    axes = [_axis(sizes[number + 1], side, overlap, blending) for number, side in enumerate(window)]
    found = _Walk(network, image, tuple(window), axes, batch_size, finish).whole()
    # From (batch * first size, rows, ...).
    whole = tf.reshape(found, tf.concat([sizes[:-1], tf.shape(found)[2:]], 0))
    return tf.ensure_shape(whole, [*image.shape[:-1], *found.shape[2:]])


def _axis(size: Any, window: int, overlap: float, blending: str) -> _Axis:
    number = windows.count(size, window, overlap)
    # One window alone has no gaps; it starts at 0 whatever they are said to be.
    starts = windows.spread(tf.range(number), tf.maximum(number, 2), size - window)
    ends = tf.concat([starts[1:], tf.reshape(size, [1])], 0)
    weights = tf.tile(tf.constant(windows.importance(window, blending))[None], [number, 1])
    places = starts[:, None] + tf.range(window)
    total = tf.math.unsorted_segment_sum(weights, places, size)
    return _Axis(window, starts, ends - starts, weights / tf.gather(total, places))


@dataclass(frozen=True, eq=False)
class _Walk:
    """Through all windows, in order. Between axes, answers are flat: what comes before an axis is one, its rows."""

    network: wrapped.Network
    image: Any
    window: tuple[int, ...]
    axes: Sequence[_Axis]
    batch_size: int
    finish: Callable[[Any], Any]

    def whole(self) -> Any:
        """Returns (batch * first size, rows, ...)."""
        slabs = tf.size(self.axes[0].starts)

        def slab(number: Any, kept: Any) -> tuple[Any, Any]:
            return self._within(0, (number // slabs, number % slabs)), kept

        return _folded(slab, self.axes[0], tf.shape(self.image)[0] * slabs, self.finish)

    def _within(self, axis: int, chosen: tuple[Any, ...]) -> Any:
        """Returns what lies in one window along an axis, whole along the later ones, which come first."""
        if axis + 2 == len(self.axes):
            return self._row(chosen)
        later = self.axes[axis + 1]
        return _folded(lambda one, kept: (self._within(axis + 1, (*chosen, one)), kept), later, tf.size(later.starts))

    def _row(self, chosen: tuple[Any, ...]) -> Any:
        """Returns a row of windows along the last axis, (size, rows, classes)."""
        last = self.axes[-1]
        begin = [chosen[0], *(axis.starts[one] for axis, one in zip(self.axes, chosen[1:])), 0, 0]
        row = tf.slice(self.image, begin, [1, *self.window[:-1], -1, -1])
        shape: list[Any] = []

        def ask(first: Any) -> Any:
            found = self._answered(row, last.starts[first : first + self.batch_size])
            shape[:] = found.shape
            return found

        def part_at(number: Any, kept: Any) -> tuple[Any, Any]:
            inside = number % self.batch_size
            kept = tf.cond(inside > 0, lambda: kept, lambda: ask(number)) if self.batch_size > 1 else ask(number)
            kept = tf.ensure_shape(kept, [None, *shape[1:]])
            return kept[inside], kept

        kept = tf.zeros([0] + [1] * (len(self.window) + 1))
        return _folded(part_at, last, tf.size(last.starts), kept=kept)

    def _answered(self, row: Any, starts: Any) -> Any:
        """Returns the network's answers to windows of one row, (windows, *window, classes) float32."""
        rank = len(self.window)
        if self.batch_size == 1:
            cut = tf.slice(row, [0] * rank + [starts[0], 0], [1, *self.window, -1])
        else:
            cut = tf.gather(row[0], starts[:, None] + tf.range(self.window[-1]), axis=rank - 1)
            cut = tf.transpose(cut, [rank - 1, *range(rank - 1), rank, rank + 1])
        cut = tf.ensure_shape(cut, [None, *self.window, self.image.shape[-1]])
        return tf.cast(wrapped.answer(self.network, cut), tf.float32)


def _folded(
    part_at: PartAt, axis: _Axis, number: Any, finish: Callable[[Any], Any] = lambda part: part, kept: Any = 0
) -> Any:
    """Returns overlapping parts blended along their last axis in space, and that axis brought to the front.

    Args:
        part_at: (number, kept) -> a part, (..., window, classes), flat or not, and what is kept for the next.
        axis: Its windows; walked again and again where there are more parts.
        number: Of parts.
        finish: As in `blend`.
        kept: What the first part is given.

    Returns:
        (size, rows, ...).
    """
    window = axis.window
    shape: list[Any] = []

    def body(one: Any, open_: Any, done: Any, kept: Any) -> tuple[Any, ...]:
        part, kept = part_at(one, kept)
        one_of = one % tf.size(axis.starts)
        classes = tf.shape(part)[-1] if part.shape[-1] is None else part.shape[-1]
        # Rows of plain numbers: to multiply and add these is as fast as memory.
        total = open_ + tf.reshape(part, [-1, window * classes]) * tf.repeat(axis.shares[one_of], classes)
        wide = axis.steps[one_of] * classes
        finished = finish(tf.reshape(total[:, :wide], [tf.shape(total)[0], axis.steps[one_of], classes]))
        piece = tf.transpose(finished, [1, 0, *range(2, finished.shape.rank)])
        shape[:] = piece.shape.as_list()
        return one + 1, tf.pad(total[:, wide:], [[0, 0], [0, wide]]), done.write(one, piece), kept

    free = tf.TensorShape(None)
    _, _, done, _ = tf.while_loop(
        lambda one, *_: one < number,
        body,
        (0, tf.zeros([]), tf.TensorArray(_dtype(finish), size=number, infer_shape=False), kept),
        shape_invariants=(tf.TensorShape([]), free, free, free),
        parallel_iterations=1,  # several windows at once would take as much more memory
    )
    return tf.ensure_shape(done.concat(), [None, *shape[1:]])


def _dtype(finish: Callable[[Any], Any]) -> Any:
    return finish(tf.zeros([1, 1, 1])).dtype
