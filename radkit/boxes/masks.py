"""Boxes of masks, and masks of boxes; numpy and SciPy.

A mask is uint8: 0 none, k + 1 class k, 255 what nobody labelled. Boxes have the label k; those of label -2 are regions
of which nobody says what is there (255 in a mask), those of -1 padding.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from radkit.errors import UserError

UNLABELLED = 255
IGNORED = -2


class Found(NamedTuple):
    """What a mask's boxes are.

    Attributes:
        boxes: (n, 2 * rank) float32, edges in voxels: low, then high.
        labels: (n,) int64, as the module has them. Classes come first, in their order; regions to ignore last.
        volumes: (n,) int64, voxels of the mask in each, which are fewer than the box has.
    """

    boxes: np.ndarray
    labels: np.ndarray
    volumes: np.ndarray


def parts(mask: np.ndarray, least: int = 1, connectivity: int = 0) -> Found:
    """Returns a box around each connected part of each class.

    Two lesions that touch are one part: where they are told apart, use `instances`.

    Args:
        mask: (*spatial) or (*spatial, 1) uint8, see above.
        least: Voxels that a part must have; smaller ones are left out. Regions to ignore are all kept.
        connectivity: Neighbours share a face (1), an edge too (2), or a corner too (3); 0: a corner too, of any rank.

    Raises:
        UserError: A mask of another dtype or rank, or connectivity that its rank does not have.

    Example:
        >>> mask = np.zeros((6, 6), np.uint8)
        >>> mask[1:3, 1:4], mask[5, 5] = 1, 2
        >>> found = parts(mask)
        >>> found.boxes.tolist(), found.labels.tolist()
        ([[1.0, 1.0, 3.0, 4.0], [5.0, 5.0, 6.0, 6.0]], [0, 1])
    """
    import scipy.ndimage

    mask = _spatial(mask)
    if mask.dtype != np.uint8:
        raise UserError(f"a mask of {mask.dtype}; uint8 was expected: 0 none, 1 the first class, 255 unlabelled")
    if not 0 <= connectivity <= mask.ndim:
        raise UserError(f"connectivity must be from 1 (faces) to {mask.ndim}, or 0 (corners too), not {connectivity}")
    near = scipy.ndimage.generate_binary_structure(mask.ndim, connectivity or mask.ndim)
    corner, cut = _cut(mask)
    rows = []
    for value in (np.flatnonzero(_counts(cut, 256)[1:]) + 1).tolist():
        inner, own = _cut(cut == value)
        numbered, _ = scipy.ndimage.label(own, near)
        label = IGNORED if value == UNLABELLED else value - 1
        rows += [(box, label, size) for box, _, size in _each(numbered, np.add(corner, inner).tolist())]
    return _found([row for row in rows if row[2] >= least or row[1] == IGNORED], mask.ndim)


def instances(numbered: np.ndarray, classes: np.ndarray | None = None, least: int = 1) -> Found:
    """Returns a box around each instance, which need not be connected.

    Args:
        numbered: (*spatial) or (*spatial, 1), any integers: which instance a voxel is of; 0 none.
        classes: A mask as `parts` takes it, of the same sizes: an instance is of the class of most of its voxels, the
            lower of two; 255 for most makes it a region to ignore. None: all are of class 0.
        least: Voxels that an instance must have. Regions to ignore are all kept.

    Raises:
        UserError: Masks that are no integers or not of one size, or an instance without any class.
    """
    numbered = _spatial(numbered)
    if numbered.dtype.kind not in "ui" or (numbered.size and numbered.min() < 0):
        raise UserError(f"instances of {numbered.dtype}; whole numbers were expected: 0 none, 1 and above an instance")
    corner, cut = _cut(numbered)
    of_classes = None
    if classes is not None:
        classes = _spatial(classes)
        if classes.shape != numbered.shape:
            raise UserError(
                f"classes of sizes {classes.shape} for instances of {numbered.shape}; give both on one grid"
            )
        window = tuple(slice(at, at + size) for at, size in zip(corner, cut.shape))
        of_classes = classes[window]
    names = np.unique(cut[cut != 0])
    dense = np.zeros(cut.shape, np.int32)  # 1, 2, ...: numbers may be large
    dense[cut != 0] = np.searchsorted(names, cut[cut != 0]) + 1
    rows = []
    for box, number, size in _each(dense, corner):
        label = 0
        if of_classes is not None:
            here = dense[_window(box, corner)] == number
            label = _class(of_classes[_window(box, corner)][here], int(names[number - 1]))
        if size >= least or label == IGNORED:
            rows.append((box, label, size))
    return _found(rows, numbered.ndim)


def drawn(
    boxes: np.ndarray, labels: np.ndarray, sizes: Sequence[int], shape: Literal["ellipsoid", "box"] = "ellipsoid"
) -> np.ndarray:
    """Returns a mask of boxes, (*sizes) uint8: smaller boxes lie over larger ones, and all over regions to ignore.

    A box that holds no voxel's middle gets the voxel that its own middle lies in. Of regions to ignore the whole box
    is 255. The same as `radkit.losses.box_masks.drawn`, outside of a graph.

    Args:
        boxes: (n, 2 * rank), edges in voxels; may reach over the borders.
        labels: (n,) integers, as the module has them.
        sizes: Of the mask.
        shape: An `ellipsoid` that touches the box's sides, or the whole `box`.

    Raises:
        UserError: Another shape, another number of labels, or a class that uint8 cannot hold.
    """
    boxes, labels = np.asarray(boxes, np.float32).reshape(-1, 2 * len(sizes)), np.asarray(labels)
    if shape not in ("ellipsoid", "box"):
        raise UserError(f"shape {shape!r} is none; there are: ellipsoid, box")
    if labels.shape != (len(boxes),) or (len(labels) and labels.max() >= UNLABELLED - 1):
        raise UserError(
            f"{len(boxes)} boxes with labels of shape {labels.shape}, the highest {labels.max(initial=-1)}: one each, "
            f"below {UNLABELLED - 1}, was expected"
        )
    rank = len(sizes)
    volumes = np.prod(np.maximum(boxes[:, rank:] - boxes[:, :rank], 0), axis=1)
    mask = np.zeros(sizes, np.uint8)
    for number in np.argsort(np.where(labels == IGNORED, -np.inf, -volumes), kind="stable"):
        label = int(labels[number])
        if label >= 0 or label == IGNORED:
            value = UNLABELLED if label == IGNORED else label + 1
            _draw(mask, boxes[number], value, shape == "box" or label == IGNORED)
    return mask


def filled(masks: np.ndarray, boxes: np.ndarray, sizes: Sequence[int], threshold: float = 0.5) -> np.ndarray:
    """Returns what masks within boxes draw on an image, (*sizes) uint8: k + 1 where box k's is at the threshold.

    Between the middles of a mask's cells values are interpolated linearly. Where several are, it is the first one's.

    Args:
        masks: (n, *size) float, each filling its box; 255 at most.
        boxes: (n, 2 * rank).
        sizes: Of the image.
        threshold: From where on a voxel belongs to it.
    """
    numbered = np.zeros(tuple(sizes), np.uint8)
    rank = len(numbered.shape)
    for number in range(len(masks) - 1, -1, -1):  # the first one lies above
        low, high = boxes[number, :rank], boxes[number, rank:]
        # Voxels whose middle lies within the box.
        first = np.clip(np.ceil(low - 0.5), 0, sizes).astype(int)
        last = np.clip(np.ceil(high - 0.5), first, sizes).astype(int)
        values = masks[number].astype(np.float64)
        for axis, size in enumerate(masks.shape[1:]):
            middles = np.arange(first[axis], last[axis]) + 0.5
            place = (middles - low[axis]) / max(high[axis] - low[axis], 1e-6) * size - 0.5
            shares = np.maximum(1 - np.abs(np.clip(place, 0, size - 1)[:, None] - np.arange(size)), 0)
            values = np.moveaxis(np.tensordot(shares, values, (1, axis)), 0, axis)
        part = numbered[tuple(slice(a, b) for a, b in zip(first, last))]
        part[values >= threshold] = number + 1
    return numbered


def _draw(mask: np.ndarray, box: np.ndarray, value: int, whole: bool) -> None:
    rank = mask.ndim
    middle = (box[:rank] + box[rank:]) / 2
    half = np.maximum(box[rank:] - box[:rank], np.float32(1e-6)) / 2
    own = np.floor(middle)
    low = np.maximum(np.minimum(np.floor(box[:rank]), own), 0).astype(int)
    high = np.maximum(np.ceil(box[rank:]), own + 1).astype(int)
    window = tuple(slice(*ends) for ends in zip(low.tolist(), high.tolist()))
    sizes = mask[window].shape
    if 0 in sizes or (high <= 0).any():
        return
    squares, within, of_middle = np.float32(0), np.True_, np.True_
    for axis in range(rank):
        along = [1] * rank
        along[axis] = -1
        voxels = (low[axis] + np.arange(sizes[axis])).astype(np.float32)
        apart = ((voxels + np.float32(0.5) - middle[axis]) / half[axis]).reshape(along)
        squares = squares + apart * apart
        within = within & (apart >= -1) & (apart < 1)
        of_middle = of_middle & (voxels == own[axis]).reshape(along)
    mask[window][(within & (whole | (squares <= 1))) | of_middle] = value


def _spatial(mask: np.ndarray) -> np.ndarray:
    """Returns (rows, columns) or (slices, rows, columns) of a mask that may have one channel."""
    found = np.asarray(mask)
    if found.ndim in (3, 4) and found.shape[-1] == 1:
        found = found[..., 0]
    if found.ndim not in (2, 3):
        raise UserError(
            f"a mask of shape {np.shape(mask)}: 2 or 3 spatial axes, and at most one channel, were expected"
        )
    return found


def _cut(mask: np.ndarray) -> tuple[list[int], np.ndarray]:
    """Returns the first voxel of the smallest window that holds all that is not 0, and the window."""
    corner, window = [], []
    for axis in range(mask.ndim):
        other = tuple(k for k in range(mask.ndim) if k != axis)
        there = np.flatnonzero(mask.any(axis=other))
        first, last = (int(there[0]), int(there[-1]) + 1) if len(there) else (0, 0)
        corner.append(first)
        window.append(slice(first, last))
    return corner, mask[tuple(window)]


def _each(numbered: np.ndarray, corner: Sequence[int]) -> list[tuple[list[int], int, int]]:
    """Returns the edges, the number and the voxels of each part of an array that numbers them from 1."""
    import scipy.ndimage

    if not numbered.size:
        return []
    windows = scipy.ndimage.find_objects(numbered)
    volumes = _counts(numbered, len(windows) + 1)
    rows = []
    for number, window in enumerate(windows, start=1):
        if window is not None:
            low = [at + part.start for at, part in zip(corner, window)]
            high = [at + part.stop for at, part in zip(corner, window)]
            rows.append(([*low, *high], number, int(volumes[number])))
    return rows


def _counts(values: np.ndarray, below: int) -> np.ndarray:
    """Returns how often each number below a limit is there; plane by plane, as NumPy counts in eight bytes a voxel."""
    found = np.zeros(below, np.int64)
    for plane in values:
        found += np.bincount(plane.ravel(), minlength=below)
    return found


def _window(box: Sequence[int], corner: Sequence[int]) -> tuple[slice, ...]:
    rank = len(corner)
    return tuple(slice(box[axis] - corner[axis], box[rank + axis] - corner[axis]) for axis in range(rank))


def _class(values: np.ndarray, name: int) -> int:
    counts = np.bincount(values)
    counts[:1] = 0
    if not counts.any():
        raise UserError(f"instance {name} has no voxel of a class; mend the mask of classes, or leave it out")
    value = int(np.argmax(counts))
    return IGNORED if value == UNLABELLED else value - 1


def _found(rows: Sequence[tuple[list[int], int, int]], rank: int) -> Found:
    rows = sorted(rows, key=lambda row: (row[1] == IGNORED, row[1]))
    return Found(
        np.array([row[0] for row in rows], np.float32).reshape(-1, 2 * rank),
        np.array([row[1] for row in rows], np.int64),
        np.array([row[2] for row in rows], np.int64),
    )
