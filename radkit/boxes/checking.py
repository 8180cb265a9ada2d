"""Refuses boxes that are none, by their number and what is wrong with them; numpy, so that conversion can ask too."""

from collections.abc import Sequence

import numpy as np

from radkit.errors import UserError


def check(boxes: np.ndarray, sizes: Sequence[int] = (), whose: str = "the image") -> None:
    """Refuses boxes that are none.

    Args:
        boxes: (n, 2 * rank) numpy; n may be 0.
        sizes: Of the image; empty: they may lie anywhere.
        whose: What the message calls the image.

    Raises:
        UserError: A box has a side that is not above 0, an edge that is no number, or lies wholly outside; the message
            says which box and what is wrong with it. Boxes and image of another number of axes.

    Example:
        >>> check(np.array([[4.0, 4.0, 4.0, 9.0]]), whose="chest 7")
        Traceback (most recent call last):
        ...
        radkit.errors.UserError: box 0 of chest 7 (4 4 to 4 9) has no extent along axis 0; low edges, then high ones, \
each high one above its low one, were expected
    """
    boxes = np.asarray(boxes)
    if boxes.ndim != 2 or boxes.shape[1] not in (4, 6):
        raise UserError(
            f"boxes of {whose} of shape {boxes.shape}: (boxes, 4) in 2-D or (boxes, 6) in 3-D were expected"
        )
    axes = boxes.shape[1] // 2
    if len(sizes) not in (0, axes):
        raise UserError(f"boxes of {axes} axes in {whose} of {len(sizes)}; the same number was expected")
    for number, box in enumerate(boxes.astype(np.float64)):
        if wrong := _wrong(box[:axes], box[axes:], sizes):
            low, high = (" ".join(f"{edge:g}" for edge in part) for part in (box[:axes], box[axes:]))
            raise UserError(f"box {number} of {whose} ({low} to {high}) {wrong}")


def _wrong(low: np.ndarray, high: np.ndarray, sizes: Sequence[int]) -> str:
    if not np.isfinite([low, high]).all():
        return "has an edge that is no number"
    flat = np.flatnonzero(high <= low)
    if len(flat):
        return (
            f"has no extent along axis {flat[0]}; low edges, then high ones, each high one above its low one, "
            "were expected"
        )
    if len(sizes) and ((high <= 0) | (low >= np.asarray(sizes))).any():
        return f"lies outside of the image, which is {' x '.join(map(str, sizes))}"
    return ""
