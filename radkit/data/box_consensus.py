"""Boxes of several readers, made one: which boxes are of one lesion, and the mean of those that a majority drew."""

import math
from collections.abc import Sequence
from itertools import combinations

import numpy as np

from radkit.dicom.annotations.form import Box

_SAME_LESION_IOU = 0.3  # usual for lesions that are small against their outlines' uncertainty


def majority(readers: Sequence[Sequence[Box]]) -> tuple[tuple[Box, ...], float]:
    """Returns the mean box of each lesion that more than half of the readers boxed, and how much of all boxes that is.

    Boxes are of one lesion if they have one label and each overlaps each other by an IoU of 0.3 or more; the nearest
    pairs are joined first, and no lesion has two boxes of one reader.

    Args:
        readers: Each reader's boxes; none of one who found nothing.

    Returns:
        The boxes, in the order of the first reader who drew each (its lesion_id where all say the same); and the share
        of all boxes that are of such lesions, nan where there is no box.
    """
    boxes = [box for drawn in readers for box in drawn]
    if not boxes:
        return (), math.nan
    owners = [number for number, drawn in enumerate(readers) for _ in drawn]
    agreed = [group for group in _lesions(boxes, owners) if len(group) * 2 > len(readers)]
    return tuple(_mean([boxes[i] for i in group]) for group in agreed), sum(map(len, agreed)) / len(boxes)


def _lesions(boxes: Sequence[Box], owners: Sequence[int]) -> list[list[int]]:
    alike = _iou(boxes)
    group_of = {i: [i] for i in range(len(boxes))}
    pairs = []
    for i, j in combinations(range(len(boxes)), 2):
        if owners[i] == owners[j] or boxes[i].label != boxes[j].label:
            alike[i, j] = alike[j, i] = -1
        elif alike[i, j] >= _SAME_LESION_IOU:
            pairs.append((-alike[i, j], i, j))
    for _, i, j in sorted(pairs):
        first, second = group_of[i], group_of[j]
        if first is not second and (alike[np.ix_(first, second)] >= _SAME_LESION_IOU).all():
            first += second
            group_of.update(dict.fromkeys(second, first))
    return [sorted(group) for i, group in group_of.items() if i == min(group)]


def _iou(boxes: Sequence[Box]) -> np.ndarray:
    low, high = np.array([box.low for box in boxes]), np.array([box.high for box in boxes])
    sides = np.minimum(high[:, None], high) - np.maximum(low[:, None], low)
    shared = np.clip(sides, 0, None).prod(axis=2)
    volume = (high - low).prod(axis=1)
    union = volume[:, None] + volume - shared
    return np.asarray(shared / np.where(union > 0, union, 1))


def _mean(boxes: Sequence[Box]) -> Box:
    low = np.mean([box.low for box in boxes], axis=0).tolist()
    high = np.mean([box.high for box in boxes], axis=0).tolist()
    names = {box.lesion_id for box in boxes}
    return Box(tuple(low), tuple(high), boxes[0].label, names.pop() if len(names) == 1 else "")
