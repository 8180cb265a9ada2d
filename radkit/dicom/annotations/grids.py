"""Masks set on an image's grid: copied where voxels only change places, else the nearest voxel in millimetres."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from radkit import config
from radkit.dicom.annotations import form
from radkit.dicom.annotations.form import WISHES, AnnotationError, Region
from radkit.dicom.findings import Finding
from radkit.dicom.volumes import Volume

# Where each of a mask's voxels lies off an image's voxel by no more, in voxels, the two grids are one.
PLACE_TOLERANCE = 0.1


def onto(
    inside: np.ndarray, affine: np.ndarray, volume: Volume, wishes: config.Annotations = WISHES
) -> tuple[np.ndarray, tuple[Finding, ...]]:
    """Returns a mask on an image's grid, and what is to be said of it.

    Voxels that lie on the image's are copied, also where axes are turned or exchanged and where the mask is a part of
    the image's grid or reaches beyond it. A mask on any other grid is resampled: each voxel takes the nearest one's
    value.

    Args:
        inside: (slices, rows, columns), bool or uint8, 0 outside.
        affine: (4, 4), from the mask's (column, row, slice, 1) to LPS mm.
        volume: The image.
        wishes: `other_grid` and `partly_outside` are heeded.

    Returns:
        An array of the image's slices, rows and columns, of the mask's type.

    Raises:
        AnnotationError: No voxel lies in the image, or what `wishes` refuse.
    """
    whole = form.region("", 0, inside != 0)
    relation = relate(affine, inside.shape, volume)
    moved = _moved(inside[whole.place], whole.corner, relation)
    said = _told([moved], relation, wishes)
    out = np.zeros(volume.stored.shape[:3], inside.dtype)
    slices, rows, columns = (slice(low, low + n) for low, n in zip(moved.corner, moved.block.shape))
    out[slices, rows, columns] = moved.block
    return out, said


def regions_onto(
    regions: Sequence[Region],
    affine: np.ndarray,
    shape: Sequence[int],
    volume: Volume,
    wishes: config.Annotations = WISHES,
) -> tuple[tuple[Region, ...], tuple[Finding, ...]]:
    """Returns regions of another grid on an image's, as `onto` does; they are judged together.

    Args:
        regions: On their own grid; their corners may lie outside of it.
        affine: Of that grid.
        shape: Of that grid; an axis of one voxel has no step of its own.
        volume: The image.
        wishes: As in `onto`.

    Raises:
        AnnotationError: As `onto`; a single region that lies wholly outside, where others do not, becomes empty.
    """
    relation = relate(affine, shape, volume)
    moved = [_moved(one.inside, one.corner, relation) for one in regions]
    said = _told(moved, relation, wishes)
    return tuple(_cropped(one, new) for one, new in zip(regions, moved, strict=True)), said


@dataclass(frozen=True)
class Relation:
    """How a mask's grid lies to an image's.

    Attributes:
        source: (4, 4), from the image's (column, row, slice, 1) to the mask's.
        is_same: Whether the mask's voxels lie on the image's; `source` then holds whole numbers.
        shape: The image's slices, rows, columns.
        said: Both grids, in words.
    """

    source: np.ndarray
    is_same: bool
    shape: tuple[int, ...]
    said: str


def relate(affine: np.ndarray, shape: Sequence[int], volume: Volume) -> Relation:
    """Returns how a mask's grid lies to an image's.

    Args:
        affine: (4, 4), from the mask's (column, row, slice, 1) to LPS mm.
        shape: Slices, rows, columns of the mask.
        volume: The image.
    """
    theirs, ours = np.array(affine, np.float64), np.array(volume.affine, np.float64)
    size = np.array(shape[::-1])
    mine = volume.stored.shape[:3]
    said = f"the mask has {_grid(shape, theirs)}, the image {_grid(mine, ours)}"
    _lend(theirs, size, ours)
    _lend(ours, np.array(mine[::-1]), theirs)
    source = np.linalg.solve(theirs, ours)
    whole = np.rint(source)
    is_same = bool((np.abs(whole[:3, :3]).sum(axis=0) == 1).all() and (np.abs(whole[:3, :3]).sum(axis=1) == 1).all())
    if is_same:
        corners = np.array([(*place, 1) for place in np.ndindex(2, 2, 2)]).T
        corners[:3] *= (size - 1)[:, None]
        off = np.linalg.solve(whole, corners) - np.linalg.solve(source, corners)
        is_same = bool(np.abs(off).max() <= PLACE_TOLERANCE)
    return Relation(whole if is_same else source, is_same, mine, said)


def _lend(affine: np.ndarray, size: np.ndarray, other: np.ndarray) -> None:
    """Gives an axis of one voxel the step of the other grid's axis along it: a single slice's own says nothing."""
    units = other[:3, :3] / np.linalg.norm(other[:3, :3], axis=0)
    own = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    for axis in np.flatnonzero(size == 1):
        along = units.T @ own[:, axis]
        nearest = int(np.abs(along).argmax())
        lent = affine.copy()
        lent[:3, axis] = other[:3, nearest] * np.sign(along[nearest])
        if abs(np.linalg.det(lent[:3, :3])) > 1e-6 * np.prod(np.linalg.norm(lent[:3, :3], axis=0)):
            affine[:] = lent


@dataclass(frozen=True)
class _Moved:
    """A block of voxels on the image's grid; what of it was lost, and the volumes before and after, in mask voxels."""

    block: np.ndarray
    corner: tuple[int, int, int]
    before: int
    lost: int
    after: float


_EMPTY = np.zeros((0, 0, 0), bool)


def _moved(block: np.ndarray, corner: Sequence[int], relation: Relation) -> _Moved:
    before = int(np.count_nonzero(block))
    if not before:
        return _Moved(_EMPTY.astype(block.dtype), (0, 0, 0), 0, 0, 0.0)
    if relation.is_same:
        return _copied(block, corner, relation, before)
    return _drawn(block, corner, relation, before)


def _copied(block: np.ndarray, corner: Sequence[int], relation: Relation, before: int) -> _Moved:
    # From the mask's indices to the image's, both as (column, row, slice): whole numbers, one of them 1 or -1 a row.
    back = np.rint(np.linalg.inv(relation.source)).astype(int)
    axes = np.abs(back[:3, :3]).argmax(axis=1)
    signs = back[np.arange(3), axes]
    low = np.array(corner[::-1])
    ends = back[:3, :3] @ np.stack([low, low + np.array(block.shape[::-1]) - 1], axis=1) + back[:3, 3:]
    begin = ends.min(axis=1)[::-1]
    view = block.transpose([2 - int(axis) for axis in axes[::-1]])[tuple(slice(None, None, s) for s in signs[::-1])]
    cut = tuple(
        slice(max(0, -int(first)), max(0, min(n, size - int(first))))
        for first, n, size in zip(begin, view.shape, relation.shape)
    )
    kept = np.ascontiguousarray(view[cut])
    after = int(np.count_nonzero(kept))
    slices, rows, columns = (max(0, int(first)) for first in begin) if after else (0, 0, 0)
    return _Moved(kept if after else kept[:0, :0, :0], (slices, rows, columns), before, before - after, after)


def _drawn(block: np.ndarray, corner: Sequence[int], relation: Relation, before: int) -> _Moved:
    """Returns a block resampled, where the image meets it."""
    import SimpleITK as sitk

    back = np.linalg.inv(relation.source)
    low = np.array(corner[::-1])
    edges = np.array(list(np.ndindex(2, 2, 2))) * np.array(block.shape[::-1]) + low - 0.5
    reached = edges @ back[:3, :3].T + back[:3, 3]
    size = np.array(relation.shape[::-1])
    first = np.clip(np.floor(reached.min(axis=0)), 0, size).astype(int)
    stop = np.clip(np.ceil(reached.max(axis=0)) + 1, 0, size).astype(int)
    lost = _outside(block, low, back, size)
    if (stop <= first).any():
        return _Moved(block[:0, :0, :0], (0, 0, 0), before, lost, 0.0)
    source = relation.source
    offset = source[:3, :3] @ first + source[:3, 3] - low
    # Between indices, not millimetres: sheared stacks have no place in an image of SimpleITK's.
    image = sitk.GetImageFromArray(np.ascontiguousarray(block).astype(np.uint8))
    transform = sitk.AffineTransform(source[:3, :3].ravel().tolist(), offset.tolist())
    drawn = sitk.Resample(
        image, [int(n) for n in stop - first], transform, sitk.sitkNearestNeighbor,
        [0.0] * 3, [1.0] * 3, np.eye(3).ravel().tolist(), 0.0, sitk.sitkUInt8,
    )  # fmt: skip
    values = sitk.GetArrayFromImage(drawn).astype(block.dtype)
    columns, rows, slices = (int(n) for n in first)
    return _Moved(values, (slices, rows, columns), before, lost, _volume_in_source(values, relation))


def _volume_in_source(values: np.ndarray, relation: Relation) -> float:
    return float(np.count_nonzero(values)) * abs(float(np.linalg.det(relation.source[:3, :3])))


def _outside(block: np.ndarray, low: np.ndarray, back: np.ndarray, size: np.ndarray) -> int:
    """Counts the voxels of a block whose centres lie in no voxel of the image."""
    lost = 0
    for index, plane in enumerate(block):  # by slices, for all indices at once would be larger than the mask
        rows, columns = np.nonzero(plane)
        places = np.stack([columns, rows, np.full(len(rows), index)]) + low[:, None]
        there = back[:3, :3] @ places + back[:3, 3:]
        lost += int(((there < -0.5) | (there >= size[:, None] - 0.5)).any(axis=0).sum())
    return lost


def _told(moved: Sequence[_Moved], relation: Relation, wishes: config.Annotations) -> tuple[Finding, ...]:
    before, lost = sum(one.before for one in moved), sum(one.lost for one in moved)
    if not before:
        return ()
    if lost == before:
        raise AnnotationError(f"no voxel of the mask lies in the image: {relation.said}", "outside_image")
    findings = []
    if not relation.is_same:
        if wishes.other_grid == "refuse":
            raise AnnotationError(
                f"{relation.said}; data.annotations.other_grid='resample' takes the nearest voxels", "other_grid"
            )
        share = sum(one.after for one in moved) / before
        findings.append(Finding("other_grid", f"{relation.said}; resampled, {share:.1%} of its volume is there"))
    if lost:
        text = f"{lost} of {before} voxels of the mask lie outside the image: {relation.said}"
        if wishes.partly_outside == "refuse":
            raise AnnotationError(text, "partly_outside")
        findings.append(Finding("partly_outside", text))
    return tuple(findings)


def _cropped(one: Region, new: _Moved) -> Region:
    """Returns a region of a moved block, no larger than it needs to be."""
    found = form.region(one.label, one.number, new.block.astype(bool))
    if not found.inside.size:
        return found
    slices, rows, columns = (int(a) + int(b) for a, b in zip(found.corner, new.corner))
    return Region(one.label, one.number, (slices, rows, columns), found.inside)


def _grid(shape: Sequence[int], affine: np.ndarray) -> str:
    steps = np.linalg.norm(affine[:3, :3], axis=0)[::-1]
    return f"{' x '.join(map(str, shape))} voxels of {' x '.join(f'{step:.4g}' for step in steps)} mm"
