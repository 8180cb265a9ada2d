"""What a detector finds in an image of any size, window by window, and in mirrored images.

**Windows** lie as `radkit.inference.windows` spreads them. Boxes of each are moved to the image's place, and of those
of one thing, from several windows, one is left as `detections.settled` says. A thing at a window's border is seen in
part only: a box that comes within a voxel of a border inside of the image is left out where its middle lies beyond the
middle of what the window shares with its neighbour there, for that one sees more of it. Of a thing that is longer than
what neighbours share, parts may remain: let the overlap be as long as the largest thing.

**Flips**: boxes found in mirrored images are mirrored back, and settled with those of the image itself.

Each window and each mirrored image is settled by itself first; with `soft_nms` that leaves out nothing and lowers no
score, so that scores fall once, when all are joined.
"""

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from radkit import config
from radkit.boxes import geometry
from radkit.inference import detections, flips, windows, wrapped
from radkit.models import layers

TOUCHES = 1.0
"""Voxels: what is as near as this to a window's border touches it."""
SOFT = 4
"""With `soft_nms`, boxes of a window or a mirrored image that are joined, times `most_detections`."""

Finder = Callable[[Any], Any]  # from images to rows: see `_rows`


def network(whole: wrapped.Network, settings: config.Inference, padding_value: float = 0.0) -> wrapped.Network:
    """Returns a function as the network's, (image, training) -> the answer of `radkit.inference.detections`.

    Args:
        whole: From an image to the dict of `radkit.models.box_heads`.
        settings: Windows, flips, and what becomes of boxes.
        padding_value: What surrounds an image that is smaller than a window.
    """

    def answer(image: Any, training: bool = False) -> detections.Boxes:
        del training  # It is inference.
        return apply(
            whole,
            image,
            window=settings.window,
            overlap=settings.overlap,
            batch_size=settings.batch_size,
            flip=settings.flips,
            padding_value=padding_value,
            score_threshold=settings.score_threshold,
            suppress=settings.suppress,
            iou_threshold=settings.iou_threshold,
            most_detections=settings.most_detections,
            class_agnostic=settings.class_agnostic,
        )

    if keras.backend.backend() != "tensorflow":
        return answer
    import tensorflow as tf

    # Loops stand in it as the graph wants them; nothing is left for AutoGraph to rewrite.
    found: wrapped.Network = tf.autograph.experimental.do_not_convert(answer)
    return found


def apply(
    network: wrapped.Network,
    image: Any,
    *,
    window: Sequence[int] = (),
    overlap: float = 0.5,
    batch_size: int = 1,
    flip: Sequence[bool] = (),
    padding_value: float = 0.0,
    **settings: Any,
) -> detections.Boxes:
    """Returns what a detector found in images.

    Args:
        network: From (batch, *spatial, channels) to the dict of `radkit.models.box_heads`.
        image: (batch, *spatial, channels) of any size; what is smaller than the window is padded behind.
        window: Sides in voxels; empty: the whole image at once.
        overlap: Share of a window that its neighbour sees, too; from 0 to below 1.
        batch_size: Windows at once.
        flip: Per spatial axis whether the image is also mirrored along it; k of them are 2 to the k answers. Empty: no.
        padding_value: What surrounds an image that is smaller than the window.
        settings: Of `detections.found`.

    Returns:
        As `radkit.inference.detections` tells, in the image's voxels.

    Raises:
        UserError: A setting that makes no sense.
    """
    image = ops.convert_to_tensor(image)
    rank, sizes = len(image.shape) - 2, ops.shape(image)[1:-1]
    if flip:
        flips.check(flip, rank)
    if not (window or any(flip)):
        return detections.found(wrapped.answer(network, image), sizes, **settings)
    masks: list[int] = []  # their sizes, known once the network was asked
    find = _with_flips(network, [axis for axis, chosen in enumerate(flip, 1) if chosen], masks, settings)
    if window:
        windows.check(window, overlap, batch_size, rank)
        padded = layers.PadToMultiple(1, at_least=tuple(window), side="after", dtype="float32")(
            ops.cast(image, "float32") - padding_value
        )
        rows = _windowed(find, padded + padding_value, tuple(window), overlap, batch_size)
    else:
        rows = find(image)
    joined = _of_rows(rows, rank, masks)
    joined = detections.clipped(joined, list(sizes))
    if settings.get("suppress") == "fusion":
        joined["views"] = 2.0 ** sum(flip) * _windows_that_see(joined["boxes"], sizes, window, overlap)
    return detections.settled(joined, **settings)


def _rows(answer: detections.Boxes) -> Any:
    """Returns an answer as one array, (batch, most, 2 * rank + 2 + the mask's): edges, score, label, mask."""
    parts = [answer["boxes"], answer["scores"][..., None], ops.cast(answer["labels"], "float32")[..., None]]
    if "masks" in answer:
        masks = answer["masks"]
        voxels = 1
        for size in masks.shape[2:]:
            voxels *= int(size)
        parts.append(ops.reshape(masks, (*ops.shape(masks)[:2], voxels)))
    return ops.concatenate(parts, axis=-1)


def _of_rows(rows: Any, rank: int, masks: Sequence[int]) -> detections.Boxes:
    edges = 2 * rank
    found = {
        "boxes": rows[..., :edges],
        "scores": rows[..., edges],
        "labels": ops.cast(rows[..., edges + 1], "int32"),
    }
    if masks:
        found["masks"] = ops.reshape(rows[..., edges + 2 :], (*ops.shape(rows)[:2], *masks))
    return found


def _with_flips(network: wrapped.Network, axes: Sequence[int], masks: list[int], settings: dict[str, Any]) -> Finder:
    """Returns the function from images to the rows found in them and in their mirror images, (batch, k, ...)."""
    number = 2 ** len(axes)
    if settings.get("suppress") == "soft_nms":
        most = SOFT * settings.get("most_detections", 100)
        settings = {**settings, "suppress": "nms", "iou_threshold": 1.0, "most_detections": most}

    def find(image: Any) -> Any:
        rank = len(image.shape) - 2
        sizes = ops.cast(ops.stack(list(ops.shape(image)[1:-1])), "float32")

        def turned(which: Any) -> Any:
            chosen = [which // 2**bit % 2 for bit in range(len(axes))]
            found = detections.found(wrapped.answer(network, flips.mirrored(image, axes, chosen)), **settings)
            masks[:] = [int(size) for size in found["masks"].shape[2:]] if "masks" in found else []
            is_turned: list[Any] = [0] * rank
            for axis, one in zip(axes, chosen):
                is_turned[axis - 1] = one
            return _rows(_turned_back(found, sizes, is_turned))

        if number > 1 and keras.backend.backend() == "tensorflow":
            return _joined(_each(turned, number))  # the network stands once in the graph
        rows = [turned(which) for which in range(number)]
        return ops.concatenate(rows, axis=1) if number > 1 else rows[0]

    return find


def _turned_back(found: detections.Boxes, sizes: Any, is_turned: Sequence[Any]) -> detections.Boxes:
    """Returns an answer to an image mirrored along some axes, on the image itself."""
    share = ops.cast(ops.stack([ops.cast(one, "float32") for one in is_turned]), "float32")
    low, high = geometry.edges(found["boxes"])
    there = ops.cast(found["labels"] >= 0, "float32")[..., None]
    boxes = ops.concatenate([low + share * (sizes - low - high), high + share * (sizes - low - high)], axis=-1) * there
    answer = {**found, "boxes": boxes}
    if "masks" in found:
        axes = list(range(2, 2 + len(is_turned)))
        answer["masks"] = flips.mirrored(found["masks"], axes, is_turned)
    return answer


def _windowed(find: Finder, image: Any, window: tuple[int, ...], overlap: float, batch_size: int) -> Any:
    """Returns the rows of all windows of images, (batch, k, ...), where the images have them."""
    rank, batch = len(window), ops.shape(image)[0]
    sizes = ops.shape(image)[1:-1]
    counts = [windows.count(size, side, overlap) for size, side in zip(sizes, window)]
    total = counts[0]
    for count in counts[1:]:
        total = total * count
    turns = (total + batch_size - 1) // batch_size

    def start(number: Any, count: Any, axis: int) -> Any:
        return windows.spread(number, ops.maximum(count, 2), sizes[axis] - window[axis])

    def place(which: Any) -> tuple[list[Any], list[Any], list[Any]]:
        """Where a window starts, and its neighbours before and behind, along each axis; its own where there is none."""
        own: list[Any] = []
        before: list[Any] = []
        behind: list[Any] = []
        for axis in reversed(range(rank)):
            number, which = which % counts[axis], which // counts[axis]
            own.insert(0, start(number, counts[axis], axis))
            before.insert(0, start(ops.maximum(number - 1, 0), counts[axis], axis))
            behind.insert(0, start(ops.minimum(number + 1, counts[axis] - 1), counts[axis], axis))
        return own, before, behind

    def turn(number: Any) -> Any:
        numbers = [number * batch_size + one for one in range(batch_size)]
        places = [place(ops.minimum(one, total - 1)) for one in numbers]
        cuts = [ops.slice(image, (0, *own, 0), (batch, *window, image.shape[-1])) for own, _, _ in places]
        rows = find(ops.reshape(ops.concatenate(cuts), (-1, *window, image.shape[-1])))
        found = ops.reshape(rows, (batch_size, batch, -1, rows.shape[-1]))
        kept = [
            _moved(found[one], rank, window, places[one], ops.less(numbers[one], total)) for one in range(batch_size)
        ]
        return ops.concatenate(kept, axis=1)

    return _joined(_each(turn, turns))


def _windows_that_see(boxes: Any, sizes: Sequence[Any], window: Sequence[int], overlap: float) -> Any:
    """Returns how many windows see a whole box, (batch, n) float32, at least 1: as many could have found it."""
    (low, high), found = geometry.edges(boxes), ops.ones_like(boxes[..., 0])
    for axis, side in enumerate(window):
        room = ops.maximum(sizes[axis] - side, 0)
        count = windows.count(room + side, side, overlap)
        starts = windows.spread(ops.arange(count), ops.maximum(count, 2), room)
        begin, last = ops.cast(starts, "float32"), ops.cast(room, "float32")
        after = (low[..., axis, None] > begin + TOUCHES) | (begin <= 0.0)
        before = (high[..., axis, None] < begin + side - TOUCHES) | (begin >= last)
        seen = ops.sum(ops.cast(ops.logical_and(after, before), "float32"), axis=-1)
        found = found * ops.maximum(seen, 1.0)
    return found


def _moved(
    rows: Any, rank: int, window: Sequence[int], place: tuple[list[Any], list[Any], list[Any]], counts: Any
) -> Any:
    """Returns a window's rows at the image's place; label -1 where a neighbour sees more, or the window counts not."""
    own, before, behind = (ops.cast(ops.stack([ops.cast(x, "int32") for x in one]), "float32") for one in place)
    side = ops.cast(ops.convert_to_tensor(list(window)), "float32")
    boxes, score, label, rest = (
        rows[..., : 2 * rank],
        rows[..., 2 * rank],
        rows[..., 2 * rank + 1],
        rows[..., 2 * rank + 2 :],
    )
    low, high = geometry.edges(boxes)
    middle = (low + high) / 2
    # What the window shares with the one before it ends at `before - own + side`, and has its middle half way there.
    cut_low = (own > before) & (low <= TOUCHES) & (middle < (before - own + side) / 2)
    cut_high = (behind > own) & (high >= side - TOUCHES) & (middle > (behind - own + side) / 2)
    kept = ops.logical_and(ops.logical_not(ops.any(cut_low | cut_high, axis=-1)), counts)
    moved = boxes + ops.concatenate([own, own], axis=0)
    there = ops.where(ops.logical_and(kept, label >= 0), label, -1.0)
    return ops.concatenate([moved, score[..., None], there[..., None], rest], axis=-1)


def _joined(rows: Any) -> Any:
    """Returns (batch, n * k, ...) of (n, batch, k, ...)."""
    turned = ops.transpose(rows, (1, 0, 2, 3))
    return ops.reshape(turned, (ops.shape(turned)[0], -1, rows.shape[-1]))


def _each(function: Callable[[Any], Any], number: Any) -> Any:
    """Returns what a function gives for 0, 1, ..., stacked; one after the other, so that memory holds one."""
    if keras.backend.backend() != "tensorflow":
        return ops.map(function, ops.arange(number, dtype="int32"))
    import tensorflow as tf

    shape: list[Any] = []

    def keeping(which: Any) -> Any:
        found = function(which)
        shape[:] = found.shape
        return found

    free = tf.TensorSpec([None, None, None], tf.float32)
    as_it_is = tf.autograph.experimental.do_not_convert(keeping)
    found = tf.map_fn(as_it_is, tf.range(number), fn_output_signature=free, parallel_iterations=1)
    return tf.ensure_shape(found, [None, *shape])
