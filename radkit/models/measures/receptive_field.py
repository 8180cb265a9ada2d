"""How much of an image one voxel of the answer can depend on by the network's local operations.

Along each axis a long line of voxels is thought of. For each voxel of each feature map the first and the last voxel of
the line that it depends on are carried through the graph, so strides, dilations, paddings and skips are exact.
Normalisation and gates that look at the whole image are left out, as papers do.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from radkit.models.measures import graph

_LINE = 8192  # voxels; what depends on more depends on the whole image
Span = tuple[np.ndarray, np.ndarray]  # of each voxel of a feature map: first and last voxel of the line


def receptive_field(network: Any) -> tuple[int, ...]:
    """Returns the receptive field in voxels along each axis: of the answer, or, where it has no axes, of the last map.

    Args:
        network: A functional network; its spatial sizes may be free.
    """
    found = list(graph.calls(network))
    image = next(call for call in found if call.kind == "InputLayer" and len(call.shapes_made[0]) > 3)
    return tuple(_along(network, found, image.made[0], axis) for axis in range(len(image.shapes_made[0]) - 2))


def _along(network: Any, found: Sequence[graph.Call], image: str, axis: int) -> int:
    spans: dict[str, Span] = {image: (np.arange(_LINE), np.arange(_LINE))}
    places = {image: axis}  # which of its tensor's axes it is: sets are dealt into the batch and back
    dealt = []
    for call in found:
        known = [name for name in call.read if name in spans]
        if not known:
            continue
        place = places[known[0]] + _MOVED.get(call.kind, 0)
        read = [spans[name] for name in known]
        if place < 0:
            dealt.append(_width(_slid(read[0], getattr(call.layer, "count", 1), 1, 1, same=True)))
        elif all(len(shape) - 2 > place for shape in call.shapes_made):
            made = _through(call, read, place)
            if made is not None:
                spans.update(dict.fromkeys(call.made, made))
                places.update(dict.fromkeys(call.made, place))
    if dealt:
        return max(dealt)
    answers = [spans[name] for name in graph.outputs(network, found) if name in spans]
    return max(_width(span) for span in answers or spans.values())


def _width(span: Span) -> int:
    return int((span[1] - span[0]).max()) + 1 if len(span[0]) else 0


def _through(call: graph.Call, read: Sequence[Span], axis: int) -> Span | None:
    """Returns what a call's output depends on; None where that is the whole image."""
    own = _OWN.get(call.kind)
    if own is not None:
        return own(call, read, axis)
    layer = call.layer
    size = getattr(layer, "kernel_size", None) or getattr(layer, "pool_size", None)
    if size is not None:
        one, step, far = _at(size, axis), _at(getattr(layer, "strides", 1), axis), 1
        far = _at(getattr(layer, "dilation_rate", 1), axis)
        if call.kind.endswith("Transpose") or "Deconvolution" in call.kind:
            return _spread(read[0], one, step)
        return _slid(read[0], one, step, far, getattr(layer, "padding", "valid") == "same")
    if _is_whole(call):
        return None
    return _joined(read)


def _is_whole(call: graph.Call) -> bool:
    """Tells whether a call's output is of no place: pooled over the whole image, or of one cell."""
    return call.kind.startswith(("Global", "Adaptive")) or all(size == 1 for size in call.shapes_made[0][1:-1])


def _at(value: Any, axis: int) -> int:
    return int(value) if isinstance(value, int) else int(value[axis])


def _joined(read: Sequence[Span]) -> Span:
    """Returns what all of them depend on together; maps of other lengths are cut to the shortest, around the middle."""
    length = min(len(first) for first, _ in read)
    cut = [tuple(_middle(edge, length) for edge in span) for span in read]
    return np.min([first for first, _ in cut], axis=0), np.max([last for _, last in cut], axis=0)


def _middle(edge: np.ndarray, length: int) -> np.ndarray:
    start = (len(edge) - length) // 2
    return edge[start : start + length]


def _picked(span: Span, first: np.ndarray, last: np.ndarray) -> Span:
    """Returns what outputs depend on that read a map's voxels from `first` to `last`, as far as it reaches."""
    end = len(span[0]) - 1
    return span[0][np.clip(first, 0, end)], span[1][np.clip(last, 0, end)]


def _slid(span: Span, size: int, step: int, far: int, same: bool) -> Span:
    width, length = (size - 1) * far + 1, len(span[0])
    if same:
        number = -(-length // step)
        before = max((number - 1) * step + width - length, 0) // 2
    else:
        number, before = (length - width) // step + 1, 0
    first = np.arange(number) * step - before
    return _picked(span, first, first + width - 1)


def _spread(span: Span, size: int, step: int) -> Span:
    """A transposed convolution, "same": input j reaches outputs from j * step - before on, `size` of them."""
    before = max(size - step, 0) // 2
    out = np.arange(len(span[0]) * step) + before
    return _picked(span, -(-(out - size + 1) // step), out // step)


def _padded(call: graph.Call, read: Sequence[Span], axis: int) -> Span:
    before, after = call.layer.padding[axis]
    length = len(read[0][0])
    place = np.arange(-before, length + after)
    return _picked(read[0], place, place)


def _cut(call: graph.Call, read: Sequence[Span], axis: int) -> Span:
    before, after = call.layer.cropping[axis]
    length = len(read[0][0])
    place = np.arange(before, length - after)
    return _picked(read[0], place, place)


def _cropped(call: graph.Call, read: Sequence[Span], axis: int) -> Span:
    """What was padded is cut: the first, as long as the second."""
    wanted = len(read[1][0]) if len(read) > 1 else len(read[0][0])
    return (_middle(read[0][0], wanted), _middle(read[0][1], wanted)) if wanted <= len(read[0][0]) else read[0]


def _unchanged(call: graph.Call, read: Sequence[Span], axis: int) -> Span:
    return read[0]


def _resized(call: graph.Call, read: Sequence[Span], axis: int) -> Span:
    factor = getattr(call.layer, "factor", None)
    length = len(read[0][0])
    wanted = length * _at(factor, axis) if factor is not None else len(read[-1][0])
    place = (np.arange(wanted) + 0.5) * length / wanted - 0.5
    if getattr(call.layer, "method", "linear") == "nearest":
        place = np.floor(place + 0.5)
    return _picked(read[0], np.floor(place).astype(int), np.ceil(place).astype(int))


def _repeated(call: graph.Call, read: Sequence[Span], axis: int) -> Span:
    factor, length = _at(call.layer.size, axis), len(read[0][0])
    place = np.arange(length * factor)
    if getattr(call.layer, "interpolation", "nearest") == "nearest":
        return _picked(read[0], place // factor, place // factor)
    middle = (place + 0.5) / factor - 0.5
    return _picked(read[0], np.floor(middle).astype(int), np.ceil(middle).astype(int))


def _windowed(call: graph.Call, read: Sequence[Span], axis: int) -> Span:
    window = _at(call.layer.window, axis)
    shift = window // 2 if getattr(call.layer, "shifted", False) else 0
    first = (np.arange(len(read[0][0])) + (window - shift)) // window * window - (window - shift)
    return _picked(read[0], first, first + window - 1)


def _merged(call: graph.Call, read: Sequence[Span], axis: int) -> Span:
    return _slid(read[0], 2, 2, 1, same=False)


def _filtered(call: graph.Call, read: Sequence[Span], axis: int) -> Span:
    return _slid(read[0], call.layer.size, 1, 1, same=True)


_MOVED = {"ImagesToBatch": -1, "Neighbours": -1, "BatchToImages": 1}  # of an axis's place
_OWN: dict[str, Callable[[graph.Call, Sequence[Span], int], Span]] = {
    "ZeroPadding2D": _padded,
    "ZeroPadding3D": _padded,
    "Cropping2D": _cut,
    "Cropping3D": _cut,
    "CropLike": _cropped,
    "CropLikeCoarse": _cropped,
    "PadToMultiple": _unchanged,
    "Resize": _resized,
    "UpSampling2D": _repeated,
    "UpSampling3D": _repeated,
    "DepthwiseConvolution": _filtered,
    "ImagesToBatch": _unchanged,
    "Neighbours": _unchanged,
    "BatchToImages": _unchanged,
    "WindowAttention": _windowed,
    "SpaceToChannels": _merged,
}
