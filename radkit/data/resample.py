"""Volumes set on another grid at conversion: another spacing, axes that run as asked, a size; and masks with them.

A grid is worked out first, in millimetres by the affine; values are touched once, at the end, and not at all where
voxels only change places. Images are interpolated linearly, masks take the nearest voxel.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from radkit.dicom import geometry
from radkit.dicom.volumes import SeriesError, Volume

# Axes that are off the patient's by no more are permuted and turned round; what is more oblique is resampled.
AXES_TOLERANCE_DEGREES = 0.1
# A spacing that is off what was asked for by no more than this share is left as it is.
SPACING_TOLERANCE = 1e-4
_ON_VOXELS = 1e-3  # of a voxel: a grid that is off by no more, anywhere, lies on the voxels that are there
_SLICES_AT_ONCE = 16  # in float64 while they are interpolated

# Which way an index runs in LPS mm: axis and sign.
_LETTERS = {"L": (0, 1), "R": (0, -1), "P": (1, 1), "A": (1, -1), "S": (2, 1), "I": (2, -1)}


@dataclass(frozen=True)
class Grid:
    """Where voxels lie.

    Attributes:
        affine: (4, 4) float64, from (column, row, slice, 1) to LPS mm.
        shape: Slices, rows, columns.
        source: (4, 4) float64, from (column, row, slice, 1) to those of the grid that it was made from.
    """

    affine: np.ndarray
    shape: tuple[int, ...]
    source: np.ndarray

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Slice, row, column; slices measured along their normal, as in `Volume`."""
        steps = self.affine[:3, :3]
        normal = np.cross(steps[:, 0], steps[:, 1])
        across = abs(steps[:, 2] @ normal) / np.linalg.norm(normal)
        return float(across), float(np.linalg.norm(steps[:, 1])), float(np.linalg.norm(steps[:, 0]))


def grid_of(volume: Volume) -> Grid:
    """Returns the grid that a volume lies on."""
    return Grid(volume.affine, volume.stored.shape[:3], np.eye(4))


def orientation_of(letters: str) -> list[tuple[int, int]]:
    """Returns axis (of L, P, S) and sign of each of three letters.

    Args:
        letters: Where column, row and slice indices run to, as `LPS` (DICOM's own) or `RAS` (NIfTI's).

    Raises:
        ValueError: They are not one of L R, one of P A, one of S I.

    >>> orientation_of("RAS")
    [(0, -1), (1, -1), (2, 1)]
    """
    found = [_LETTERS.get(letter, (-1, 0)) for letter in letters]
    if sorted(axis for axis, _ in found) != [0, 1, 2]:
        raise ValueError(
            f"{letters!r} is no orientation: one of L R, one of P A and one of S I were expected, as 'LPS'"
        )
    return found


def upright(grid: Grid) -> Grid:
    """Returns the smallest grid without shear that holds all slices of a tilted gantry, each in its own plane."""
    steps, count = grid.affine[:3, :3], grid.shape[0]
    if count < 2 or not geometry.is_sheared(steps):
        return grid
    lengths = np.linalg.norm(steps, axis=0)
    column, row = steps[:, 0] / lengths[0], steps[:, 1] / lengths[1]
    normal = np.cross(column, row)
    # How far the last slice lies from above the first, in columns and rows.
    drift = np.array([steps[:, 2] @ column / lengths[0], steps[:, 2] @ row / lengths[1]]) * (count - 1)
    first, last = np.floor(np.minimum(drift, 0)).astype(int), np.ceil(np.maximum(drift, 0)).astype(int)
    affine = grid.affine.copy()
    affine[:3, 2] = normal * (steps[:, 2] @ normal)
    affine[:3, 3] += steps[:, :2] @ first
    more = last - first
    return _moved(grid, affine, (count, grid.shape[1] + int(more[1]), grid.shape[2] + int(more[0])))


def turned(grid: Grid, letters: str) -> Grid:
    """Returns a grid whose column, row and slice indices run to the letters' sides of the patient.

    Axes within `AXES_TOLERANCE_DEGREES` of the patient's change places and direction only. Others are replaced: by a
    grid along the patient's axes that holds all voxel centres, with the spacings of the nearest axes.

    Args:
        grid: Any, its affine known.
        letters: See `orientation_of`.
    """
    wanted = np.zeros((3, 3))
    for index, (axis, sign) in enumerate(orientation_of(letters)):
        wanted[axis, index] = sign
    units = grid.affine[:3, :3] / np.linalg.norm(grid.affine[:3, :3], axis=0)
    along = wanted.T @ units  # cosine between each wanted and each present axis
    order = max(itertools.permutations(range(3)), key=lambda p: sum(abs(along[i, p[i]]) for i in range(3)))
    sizes, spacings = grid.shape[::-1], grid.spacing_mm[::-1]
    off = [np.linalg.norm(units[:, p] * np.sign(along[i, p]) - wanted[:, i]) for i, p in enumerate(order)]
    if max(off) <= np.radians(AXES_TOLERANCE_DEGREES):
        change = np.zeros((4, 4))
        change[3, 3] = 1
        for index, present in enumerate(order):
            change[present, index] = np.sign(along[index, present])
            change[present, 3] = sizes[present] - 1 if along[index, present] < 0 else 0
        return _changed(grid, change, [sizes[p] for p in order][::-1])
    corners = np.array(list(itertools.product(*((0, n - 1) for n in sizes))))
    reached = (corners @ grid.affine[:3, :3].T + grid.affine[:3, 3]) @ wanted
    low, high = reached.min(axis=0), reached.max(axis=0)
    steps = np.array([spacings[p] for p in order])
    counts = np.ceil((high - low) / steps - _ON_VOXELS).astype(int) + 1
    affine = np.eye(4)
    affine[:3, :3] = wanted * steps
    affine[:3, 3] = wanted @ ((low + high) / 2 - steps * (counts - 1) / 2)
    return _moved(grid, affine, [int(n) for n in counts[::-1]])


def spaced(grid: Grid, spacing_mm: Sequence[float]) -> Grid:
    """Returns a grid of another spacing around the same centre, as large as the old to within half a voxel.

    Args:
        grid: Any.
        spacing_mm: Slice, row, column; 0 leaves an axis as it is.

    Raises:
        SeriesError: The spacing of an axis to change is unknown.
    """
    change, shape = np.eye(4), list(grid.shape)
    for axis, (wanted, present) in enumerate(zip(spacing_mm, grid.spacing_mm)):
        if not wanted:
            continue
        if not present > 0:
            raise SeriesError("the images do not tell their spacing, and data.record_spacing_mm asks for resampling")
        factor, index = wanted / present, 2 - axis
        if abs(factor - 1) <= SPACING_TOLERANCE:
            continue
        shape[axis] = max(1, round(grid.shape[axis] / factor))
        change[index, index] = factor
        change[index, 3] = (grid.shape[axis] - 1) / 2 - factor * (shape[axis] - 1) / 2
    return _changed(grid, change, shape)


def sized(grid: Grid, shape: Sequence[int]) -> Grid:
    """Returns a grid cropped or padded around its centre; an odd voxel is lost or added at the end.

    Args:
        grid: Any.
        shape: Slices, rows, columns; 0 leaves an axis as it is.
    """
    wanted = [new or old for new, old in zip(shape, grid.shape)]
    change = np.eye(4)
    for axis, (new, old) in enumerate(zip(wanted, grid.shape)):
        change[2 - axis, 3] = (old - new) // 2 if new < old else -((new - old) // 2)
    return _changed(grid, change, wanted)


def _changed(grid: Grid, change: np.ndarray, shape: Sequence[int]) -> Grid:
    """Returns a grid by the map from its indices to the old one's."""
    # A radiograph's unknown steps are nan, and may not spread to the axes that have nothing to do with them.
    with np.errstate(invalid="ignore"):
        products = np.where(change[None] == 0, 0, grid.affine[:, :, None] * change[None])
    return Grid(products.sum(axis=1), tuple(shape), grid.source @ change)


def _moved(grid: Grid, affine: np.ndarray, shape: Sequence[int]) -> Grid:
    """Returns a grid by its affine."""
    return Grid(affine, tuple(shape), grid.source @ np.linalg.solve(grid.affine, affine))


def onto(volume: Volume, grid: Grid) -> Volume:
    """Returns a grey volume on a grid made from its own.

    Where voxels only change places, stored values and each slice's rescale are kept. Else values are interpolated:
    stored ones, rounded, where all slices share one rescale; modality values where they do not, put into steps of the
    finest slope (float32 where int16 has too few steps). What no voxel covers has the volume's lowest modality value.

    Args:
        volume: Grey.
        grid: From `grid_of(volume)` by the functions here.
    """
    if np.array_equal(grid.source, np.eye(4)) and grid.shape == volume.stored.shape:
        return volume
    one_scale = bool((volume.slope == volume.slope[0]).all() and (volume.intercept == volume.intercept[0]).all())
    taken = _voxels(grid.source, volume.stored.shape)
    if taken is not None and (one_scale or taken[2][0] == 2):
        return _placed(volume, grid, taken)
    if one_scale:
        stored, scale = _drawn(volume.stored, grid, _lowest(volume)), (volume.slope[0], volume.intercept[0])
    else:
        values = volume.array
        drawn = _drawn(values, grid, float(values.min()))
        stored, scale = in_steps(drawn, float(np.abs(volume.slope).min())) or (drawn, (np.float32(1), np.float32(0)))
    said = f"resampled linearly: spacing {_mm(volume.spacing_mm)} to {_mm(grid.spacing_mm)} mm"
    return _made(volume, grid, stored, np.tile(np.array(scale, np.float32), (grid.shape[0], 1)), said)


def mask_onto(mask: np.ndarray, grid: Grid) -> np.ndarray:
    """Returns a mask on a grid made from its own: each voxel's is the nearest one's, 0 where there is none.

    Args:
        mask: (slices, rows, columns) uint8.
        grid: As in `onto`.
    """
    taken = _voxels(grid.source, mask.shape)
    return _drawn(mask, grid, 0, nearest=True) if taken is None else _copied(mask, grid, taken, np.zeros(len(mask)))


def mask_back(mask: np.ndarray, grid: Grid, shape: Sequence[int]) -> np.ndarray:
    """Returns a mask on the grid that `grid` was made from: each voxel's is the nearest one's, 0 where there is none.

    Args:
        mask: (slices, rows, columns) uint8, on `grid`.
        grid: Made from that of the image.
        shape: Slices, rows, columns of the image.
    """
    source = np.linalg.inv(grid.source)
    return mask_onto(mask, Grid(grid.affine @ source, tuple(shape), source))


def in_steps(values: np.ndarray, step: float) -> tuple[np.ndarray, tuple[np.float32, np.float32]] | None:
    """Returns modality values as int16 with slope and intercept, off by half a step at most; None if they do not fit.

    Args:
        values: Float32, any shape.
        step: The slope to use; a volume's finest keeps what it told apart.
    """
    slope, low, high = np.float32(step), float(values.min()), float(values.max())
    intercept = np.float32(low + (2.0**15 - 1) * float(slope))  # float32 itself is rounded: a step is left at the end
    least, most = ((value - float(intercept)) / float(slope) for value in (low, high))
    if least < -(2**15) or most > 2**15 - 1:
        return None
    stored = np.empty(values.shape, np.int16)
    for out, plane in zip(stored, values):  # a slice at a time: float64 of all would be four times the volume
        out[...] = np.rint((plane.astype(np.float64) - float(intercept)) / float(slope))
    return stored, (slope, intercept)


_Taken = list[tuple[int, int, int]]  # of columns, rows, slices: the axis that it is, its sign, where it begins


def _voxels(source: np.ndarray, shape: Sequence[int]) -> _Taken | None:
    """Returns which voxels a grid takes, when it lies on voxels; None when it must be interpolated."""
    whole = np.rint(source)
    if not (np.abs(whole[:3, :3]).sum(axis=0) == 1).all() or not (np.abs(whole[:3, :3]).sum(axis=1) == 1).all():
        return None
    off = np.abs(source - whole)
    if (off[:3, :3] * max(shape)).max() + off[:3, 3].max() > _ON_VOXELS:
        return None
    axes = [int(np.abs(whole[:3, index]).argmax()) for index in range(3)]
    return [(axis, int(whole[axis, index]), int(whole[axis, 3])) for index, axis in enumerate(axes)]


def _placed(volume: Volume, grid: Grid, taken: _Taken) -> Volume:
    axis, sign, first = taken[2]
    # Slices beyond the stack take the rescale of its last, so that padding is said in its steps.
    of_slices = np.zeros(grid.shape[0], int)
    if axis == 2:
        of_slices = np.clip(first + sign * np.arange(grid.shape[0]), 0, len(volume.stored) - 1)
    scales = np.stack([volume.slope, volume.intercept], axis=1)[of_slices]
    lowest = min(
        float(edge.astype(np.float64) * slope + intercept)
        for plane, slope, intercept in zip(volume.stored, volume.slope.tolist(), volume.intercept.tolist())
        for edge in (plane.min(), plane.max())
    )
    fill = (lowest - scales[:, 1].astype(np.float64)) / scales[:, 0]
    if volume.stored.dtype.kind in "iu":
        info = np.iinfo(volume.stored.dtype)
        fill = np.clip(np.rint(fill), info.min, info.max)
    stored = _copied(volume.stored, grid, taken, fill)
    return _made(volume, grid, stored, scales, "axes turned, cropped or padded; no value was interpolated")


def _copied(array: np.ndarray, grid: Grid, taken: _Taken, fill: np.ndarray) -> np.ndarray:
    """Returns an array's voxels in their new places; each new slice's padding is its own."""
    out = np.empty(grid.shape, array.dtype)
    out[...] = np.resize(fill, grid.shape[0]).astype(array.dtype)[:, None, None]
    view = array.transpose([2 - taken[index][0] for index in (2, 1, 0)])
    into, outof = [], []
    for size, old, (_, sign, first) in zip(grid.shape, view.shape, taken[::-1]):
        places = first + sign * np.arange(size)
        there = np.flatnonzero((places >= 0) & (places < old))
        into.append(slice(there[0], there[-1] + 1) if len(there) else slice(0, 0))
        chosen = places[there] if len(there) else np.zeros(0, int)
        stop = int(chosen[-1]) + sign if len(there) else 0
        outof.append(slice(int(chosen[0]), stop if stop >= 0 else None, sign) if len(there) else slice(0, 0))
    out[tuple(into)] = view[tuple(outof)]
    return out


def _drawn(array: np.ndarray, grid: Grid, fill: float, *, nearest: bool = False) -> np.ndarray:
    """Returns an array interpolated on a grid, rounded where it holds whole numbers."""
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(np.ascontiguousarray(array))
    kind = sitk.sitkNearestNeighbor if nearest else sitk.sitkLinear
    out = np.empty(grid.shape, array.dtype)
    # Between indices, not millimetres: the images have no geometry of their own, so that nothing is rounded twice.
    for start in range(0, grid.shape[0], _SLICES_AT_ONCE):
        slab = out[start : start + _SLICES_AT_ONCE]
        origin = grid.source[:3, 3] + start * grid.source[:3, 2]
        transform = sitk.AffineTransform(grid.source[:3, :3].ravel().tolist(), origin.tolist())
        size = [int(n) for n in slab.shape[::-1]]
        drawn = sitk.Resample(
            image, size, transform, kind, [0.0] * 3, [1.0] * 3, np.eye(3).ravel().tolist(), fill, sitk.sitkFloat64
        )
        values = sitk.GetArrayViewFromImage(drawn)
        slab[...] = np.rint(values) if array.dtype.kind in "iu" else values
    return out


def _lowest(volume: Volume) -> float:
    """Returns the stored value of the lowest modality value, where all slices share one rescale."""
    return float(volume.stored.min() if volume.slope[0] > 0 else volume.stored.max())


def _made(volume: Volume, grid: Grid, stored: np.ndarray, scales: np.ndarray, said: str) -> Volume:
    findings = volume.findings
    if any(geometry.TILT_KEPT in found for found in findings) and not geometry.is_sheared(grid.affine[:3, :3]):
        findings = tuple(found.replace(geometry.TILT_KEPT, "it was taken out") for found in findings)
    slices, rows, columns = (new if np.isfinite(old) else old for new, old in zip(grid.spacing_mm, volume.spacing_mm))
    return replace(
        volume,
        stored=stored,
        slope=np.ascontiguousarray(scales[:, 0], np.float32),
        intercept=np.ascontiguousarray(scales[:, 1], np.float32),
        affine=grid.affine,
        spacing_mm=(slices, rows, columns),
        findings=(*findings, said),
        paths=(),
        instance_uids=(),
    )


def _mm(spacing_mm: Sequence[float]) -> str:
    return " x ".join(f"{s:.4g}" for s in spacing_mm)
