"""Boxes as figures need them: checked, float64, compared pair by pair or each with each.

A box is its low, then its high edges: [x1, y1, x2, y2] or [z1, y1, x1, z2, y2, x2]. Any order of the axes will do as
long as it is the same throughout.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from radkit.errors import UserError


def box_iou(a: ArrayLike, b: ArrayLike, pairwise: bool = False) -> list[Any]:
    """Returns intersection over union of boxes.

    Args:
        a: (n, 4) or (n, 6): low, then high edges.
        b: (m, 4) or (m, 6), as many edges as `a`.
        pairwise: Whether a[k] is compared with b[k] only (then n = m); otherwise each with each.

    Returns:
        n numbers if pairwise, otherwise n lists of m; nan where both boxes are empty.

    Raises:
        UserError: What is no box, differing numbers of edges, or pairs of lists that differ in length.

    Example:
        >>> box_iou([[0, 0, 2, 2]], [[1, 0, 3, 2], [0, 0, 2, 2]])
        [[0.3333333333333333, 1.0]]
        >>> box_iou([[0, 0, 2, 2]], [[1, 0, 3, 2]], pairwise=True)
        [0.3333333333333333]
    """
    first, second = checked("a", a), checked("b", b)
    if not pairwise:
        found: list[Any] = iou(first[:, None], second[None]).tolist() if len(first) and len(second) else []
        return found if found else [[] for _ in first]
    if len(first) != len(second):
        raise UserError(
            f"pairwise compares a[k] with b[k], but a has {len(first)} boxes and b {len(second)}; "
            "leave pairwise out to compare each with each"
        )
    listed: list[Any] = iou(first, second).tolist() if len(first) else []
    return listed


def checked(name: str, values: ArrayLike) -> np.ndarray:
    """Returns boxes as float64, (n, 4) or (n, 6); (0, 0) for none of unknown rank.

    Args:
        name: The argument's name, for the message.
        values: Boxes, or one box.

    Raises:
        UserError: Other shapes, what is not finite, or a high edge below its low one.
    """
    try:
        boxes = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise UserError(f"{name} must be boxes of one number of edges each: {error}") from error
    if boxes.size == 0:
        return boxes.reshape(0, boxes.shape[1] if boxes.ndim == 2 and boxes.shape[1] in (4, 6) else 0)
    boxes = boxes[None] if boxes.ndim == 1 else boxes
    if boxes.ndim != 2 or boxes.shape[1] not in (4, 6):
        raise UserError(f"{name} must be boxes, (n, 4) or (n, 6), not of shape {boxes.shape}")
    axes = boxes.shape[1] // 2
    wrong = ~np.isfinite(boxes).all(axis=1) | (boxes[:, axes:] < boxes[:, :axes]).any(axis=1)
    if wrong.any():
        k = int(np.argmax(wrong))
        raise UserError(
            f"{name} must be boxes of finite edges, low then high, but {int(wrong.sum())} are not; "
            f"the first is number {k}: {boxes[k].tolist()}"
        )
    return boxes


def volume(boxes: np.ndarray) -> np.ndarray:
    """Returns the area or volume of boxes, (..., 2 * rank) -> (...,)."""
    axes = boxes.shape[-1] // 2
    sides: np.ndarray = boxes[..., axes:] - boxes[..., :axes]
    return sides.prod(axis=-1)


def shared(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Returns the area or volume that boxes share; shapes are broadcast.

    Raises:
        UserError: Boxes of differing numbers of axes.
    """
    if a.shape[-1] != b.shape[-1]:
        raise UserError(f"boxes of {a.shape[-1]} and of {b.shape[-1]} edges cannot be compared")
    axes = a.shape[-1] // 2
    sides = np.minimum(a[..., axes:], b[..., axes:]) - np.maximum(a[..., :axes], b[..., :axes])
    found: np.ndarray = np.maximum(sides, 0).prod(axis=-1)
    return found


def iou(a: np.ndarray, b: np.ndarray, crowd: np.ndarray | None = None) -> np.ndarray:
    """Returns intersection over union, shapes broadcast; nan where there is no union.

    Args:
        a: Found boxes.
        b: Reference boxes.
        crowd: Where b is a crowd, of which any part is right: there it is intersection over a's own size.
    """
    both = shared(a, b)
    size_a, size_b = volume(a), volume(b)
    whole = size_a + size_b - both
    if crowd is not None:
        whole = np.where(crowd, size_a, whole)
    return np.divide(both, whole, out=np.full(both.shape, math.nan), where=whole > 0)
