"""What a network says of a box, and the box: offsets from an anchor, and distances from a place."""

import math
from typing import Any

from keras import ops

from radkit.boxes import geometry

SCALES = (1.0, 1.0)
"""What offsets of the middle and of the sides' logarithms are divided by; SSD has (0.1, 0.2)."""
LARGEST = math.log(1000.0 / 16.0)
"""Of a side's logarithm over its anchor's: an untrained network's boxes stay finite."""
_LEAST = 1e-6  # of a side: what is divided by it, and its logarithm, are finite


def encode(boxes: Any, anchors: Any, scales: tuple[float, float] = SCALES) -> Any:
    """Returns what `decode` makes boxes of: the middle's offset in anchors' sides, the logarithm of the sides' ratio.

    Args:
        boxes: (..., 2 * rank), edges. Where a side is not above 0, as in padding, the result is finite and means
            nothing.
        anchors: Likewise.
        scales: See `SCALES`.

    Returns:
        (..., 2 * rank).

    Source: Ren et al. 2015, https://arxiv.org/abs/1506.01497, equation 2.
    """
    lengths = ops.maximum(geometry.sides(anchors), _LEAST)
    offsets = (geometry.centres(boxes) - geometry.centres(anchors)) / lengths / scales[0]
    sides = ops.log(ops.maximum(geometry.sides(boxes), _LEAST) / lengths) / scales[1]
    return ops.concatenate([offsets, sides], axis=-1)


def decode(deltas: Any, anchors: Any, scales: tuple[float, float] = SCALES) -> Any:
    """Returns boxes, (..., 2 * rank): the inverse of `encode`, but for sides of more than 62.5 anchors' (`LARGEST`).

    Args:
        deltas: (..., 2 * rank), the network's.
        anchors: Likewise, edges.
        scales: See `SCALES`.
    """
    offsets, sides = geometry.edges(deltas)  # the same halves
    lengths = geometry.sides(anchors)
    centre = geometry.centres(anchors) + offsets * scales[0] * lengths
    return geometry.around(centre, lengths * ops.exp(ops.minimum(sides * scales[1], LARGEST)))


def encode_distances(boxes: Any, anchors: Any) -> Any:
    """Returns how far a box's edges lie from the middle of its place, in the place's sides: low, then high edges.

    All are above 0 where the middle lies within the box.

    Args:
        boxes: (..., 2 * rank), edges.
        anchors: The places: cells of a feature map as boxes of one stride a side.

    Source: Tian et al. 2019 (FCOS), https://arxiv.org/abs/1904.01355, equation 1.
    """
    low, high = geometry.edges(boxes)
    middle, lengths = geometry.centres(anchors), geometry.sides(anchors)
    return ops.concatenate([(middle - low) / lengths, (high - middle) / lengths], axis=-1)


def decode_distances(distances: Any, anchors: Any) -> Any:
    """Returns boxes, (..., 2 * rank): the inverse of `encode_distances`."""
    to_low, to_high = geometry.edges(distances)
    middle, lengths = geometry.centres(anchors), geometry.sides(anchors)
    return ops.concatenate([middle - to_low * lengths, middle + to_high * lengths], axis=-1)
