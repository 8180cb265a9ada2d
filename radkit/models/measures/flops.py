"""How much a network computes for one image."""

import math
from collections.abc import Sequence
from typing import Any

from radkit.errors import UserError
from radkit.models.measures import graph

_FREE = (  # kinds that move or pick numbers and compute none
    "InputLayer", "Concatenate", "Reshape", "Flatten", "Dropout", "SpatialDropout2D", "SpatialDropout3D",
    "ZeroPadding2D", "ZeroPadding3D", "Cropping2D", "Cropping3D", "PadToMultiple", "CropLike",
    "CropLikeCoarse", "Permute", "RepeatVector", "GetItem", "Squeeze",
    "ExpandDims", "Transpose", "Identity", "Pad", "Split", "Stack",
)  # fmt: skip
_PRODUCTS = ("Matmul", "Einsum", "Dot")


def flops(network: Any) -> int:
    """Returns the floating-point operations of one image's answer; a multiplication with its addition counts as two.

    What multiplies by weights (convolutions, dense and recurrent layers) is counted exactly, and so is attention within
    windows; all else as one operation for each number that it gives. Papers that tell multiply-adds tell half of it.

    Args:
        network: A functional network whose spatial sizes are given.

    Raises:
        UserError: A size is free.
    """
    return sum(each for _, each in by_layer(network))


def by_layer(network: Any) -> list[tuple[str, int]]:
    """Returns each call's layer name and its operations, in order; see `flops`."""
    found: list[tuple[str, int]] = []
    images: dict[str, int] = {}  # how many a tensor's batch holds for each of the input's
    for call in graph.calls(network):
        number = max((images[name] for name in call.read), default=1)
        if call.kind == "ImagesToBatch":
            number *= call.shapes_read[0][1] or 1
        elif call.kind == "BatchToImages":
            number = 1
        images.update(dict.fromkeys(call.made, number))
        if call.kind != "InputLayer":
            found.append((call.layer.name, number * _of(call)))
    return found


def _numbers(shape: Sequence[int | None], what: str) -> int:
    if any(size is None for size in shape[1:]):
        raise UserError(f"{what} has free sizes, {tuple(shape[1:])}; build the network with input_shape in numbers")
    return math.prod(size or 1 for size in shape[1:])


def _of(call: graph.Call) -> int:
    layer = call.layer
    if call.kind in _FREE:
        return 0
    made = sum(_numbers(shape, layer.name) for shape in call.shapes_made)
    # A table of distances, as attention has it, is looked up.
    weights = [weight for weight in getattr(layer, "weights", ()) if weight.name != "table"]
    kernels = [tuple(weight.shape) for weight in weights if len(weight.shape) >= 2]
    if not kernels:
        return _matrix_product(call) if call.kind in _PRODUCTS else made
    bias = made if getattr(layer, "use_bias", False) else 0
    channels = call.shapes_read[0][-1] or 1
    read = _numbers(call.shapes_read[0], layer.name) // channels
    if "Depthwise" in call.kind:
        return 2 * made * math.prod(kernels[0][:-2]) + bias
    if call.kind.endswith("Transpose") or "Deconvolution" in call.kind:
        # Every voxel of the input is spread by the kernel, whatever the stride.
        return 2 * read * math.prod(kernels[0]) + bias
    if len(kernels) == 1 and len(kernels[0]) > 2:
        return 2 * (made // kernels[0][-1]) * math.prod(kernels[0]) + bias
    # Matrices, each of which every cell (or step in time) is multiplied by.
    matrices = sum(math.prod(kernel) for kernel in kernels)
    return 2 * read * matrices + bias + _attention(call)


def _attention(call: graph.Call) -> int:
    """Returns what each cell's comparison with its window, and the sum over it, takes."""
    if call.kind != "WindowAttention":
        return 0
    sizes, channels = call.shapes_read[0][1:-1], call.shapes_read[0][-1] or 1
    window = call.layer.window
    windows = (window,) * len(sizes) if isinstance(window, int) else tuple(window)
    cells = math.prod(min(size or 1, most) for size, most in zip(sizes, windows))
    return 4 * math.prod(size or 1 for size in sizes) * cells * channels


def _matrix_product(call: graph.Call) -> int:
    made = _numbers(call.shapes_made[0], call.layer.name)
    return 2 * made * (call.shapes_read[0][-1] or 1)
