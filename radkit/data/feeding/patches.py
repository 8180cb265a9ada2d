"""Which part of an image a step sees: anywhere, or around what is annotated."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from radkit.data.feeding import order

_MOST_PLACES = 2048  # voxels kept of each class of a record: 8 KiB
_ANYWHERE, _CLASS, _LESION, _VOXEL, _WITHIN = range(10, 15)  # what a number of an example is drawn for


@dataclass(frozen=True)
class Lesion:
    """What a patch is centred on: some of its voxels, or the edges of its boxes.

    Attributes:
        voxels: (n,) flat indices into the image.
        boxes: (n, 2 * rank) edges, low then high.
    """

    voxels: np.ndarray | None = None
    boxes: np.ndarray | None = None


Foreground = Mapping[int, Sequence[Lesion]]  # by class: a mask's value, or a box's label


def wants_foreground(number: int, share: float) -> bool:
    """Returns whether example `number` is one of the share: of any run of examples so many are, to within one.

    >>> [wants_foreground(n, 1 / 3) for n in range(6)]
    [False, False, True, False, False, True]
    """
    return int((number + 1) * share + 1e-9) > int(number * share + 1e-9)


def low(
    seed: int, number: int, shape: Sequence[int], size: Sequence[int], foreground: Foreground | None
) -> tuple[int, ...]:
    """Returns the first voxel of the patch: negative where it is larger than the image, which lies anywhere in it.

    Args:
        seed: The trainer's.
        number: The example's.
        shape: Of the image.
        size: Of the patch.
        foreground: One of it is in the middle, or as near to it as the image's edge lets; None or empty: anywhere.
    """
    middle = _middle(seed, number, shape, foreground) if foreground else None
    first = []
    for axis, (have, want) in enumerate(zip(shape, size)):
        least, most = min(0, have - want), max(0, have - want)
        if middle is None:
            first.append(least + int(order.drawn(seed, number, _ANYWHERE, axis) * (most - least + 1)))
        else:
            first.append(min(max(middle[axis] - want // 2, least), most))
    return tuple(first)


def _middle(seed: int, number: int, shape: Sequence[int], foreground: Foreground) -> tuple[int, ...]:
    """Returns a voxel: its class is drawn first, then its lesion, then the voxel within."""
    lesions = _pick(sorted(foreground.items()), seed, number, _CLASS)[1]
    lesion = _pick(lesions, seed, number, _LESION)
    if lesion.voxels is not None:
        flat = int(_pick(lesion.voxels, seed, number, _VOXEL))
        return tuple(int(n) for n in np.unravel_index(flat, tuple(shape)))
    assert lesion.boxes is not None  # one of the two is there
    rank, box = len(shape), _pick(lesion.boxes, seed, number, _VOXEL)
    shares = np.array([order.drawn(seed, number, _WITHIN, axis) for axis in range(rank)])
    inside = np.floor(box[:rank] + shares * (box[rank:] - box[:rank])).astype(int)
    return tuple(int(n) for n in np.clip(inside, 0, np.array(shape) - 1))


def _pick(choices: Any, seed: int, number: int, what: int) -> Any:
    return choices[int(order.drawn(seed, number, what) * len(choices))]


def of_mask(mask: np.ndarray, uid: str, *, by_lesion: bool) -> Foreground:
    """Returns the foreground of a mask; of each class some thousand voxels at most are kept, always the same ones.

    Args:
        mask: (*spatial, 1) uint8.
        uid: The record's: another record keeps others.
        by_lesion: Whether its connected parts (corners touch) are told apart, so that each is drawn alike.
    """
    found: dict[int, list[Lesion]] = {}
    for value, part in parts(mask) if by_lesion else classes(mask):
        found.setdefault(value, []).append(Lesion(voxels=part))
    return {
        value: [Lesion(voxels=_some(one.voxels, len(lesions), uid, value, n)) for n, one in enumerate(lesions)]
        for value, lesions in found.items()
    }


def _some(voxels: np.ndarray | None, of: int, uid: str, value: int, number: int) -> np.ndarray:
    assert voxels is not None  # `of_mask` makes them
    most = max(16, _MOST_PLACES // of)
    if len(voxels) <= most:
        return voxels
    key = int.from_bytes(hashlib.sha256(uid.encode()).digest()[:7], "big")
    at = (order.many(most, key, value, number) * len(voxels)).astype(np.int64)
    return voxels[np.unique(at)]


def classes(mask: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """Returns each value above 0 and the flat indices of its voxels."""
    flat = mask.reshape(-1)
    where = np.flatnonzero(flat)
    kind = np.int32 if flat.size < 2**31 else np.int64
    values = flat[where]
    return [(int(value), where[values == value].astype(kind)) for value in np.unique(values)]


def parts(mask: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """Returns each connected part (corners touch) of each value above 0: the value and its voxels' flat indices."""
    found = []
    image = mask[..., 0]
    corners = np.ones((3,) * image.ndim)
    for value, where in classes(mask):
        # Only what lies around the value is looked at: labelling a whole volume takes a second.
        at = np.unravel_index(where, image.shape)
        low_, high = [int(a.min()) for a in at], [int(a.max()) + 1 for a in at]
        window = tuple(slice(a, b) for a, b in zip(low_, high))
        labelled, _ = ndimage.label(image[window] == value, structure=corners)
        numbers = labelled[tuple(a - b for a, b in zip(at, low_))]
        order_of = np.argsort(numbers, kind="stable")
        cuts = np.flatnonzero(np.diff(numbers[order_of])) + 1
        found += [(value, piece) for piece in np.split(where[order_of], cuts)]
    return found


def of_boxes(boxes: np.ndarray, labels: np.ndarray, lesion_ids: Sequence[str], *, by_lesion: bool) -> Foreground:
    """Returns the foreground of boxes: each box alike, or, by lesion, each lesion: boxes of one id are one.

    Args:
        boxes: (n, 2 * rank) edges, low then high.
        labels: (n,) class of each.
        lesion_ids: Of each; empty where nobody says, which is a lesion of its own.
        by_lesion: See above.
    """
    grouped: dict[tuple[int, str], list[int]] = {}
    for number, (label, said) in enumerate(zip(labels, lesion_ids)):
        name = f"id {said}" if by_lesion and said else f"number {number}"
        grouped.setdefault((int(label), name), []).append(number)
    found: dict[int, list[Lesion]] = {}
    for (label, _), numbers in grouped.items():
        found.setdefault(label, []).append(Lesion(boxes=boxes[numbers]))
    return found
