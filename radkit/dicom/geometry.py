"""Where slices lie: order, spacing and the affine from indices to patient millimetres (LPS).

Source: DICOM PS3.3 C.7.6.2.1.1 (Image Plane) and C.7.6.1.1 (order is by position, not by InstanceNumber).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

# What becomes of slices that make no regular grid: refused, set on one by interpolation, or left as they are.
Irregular = Literal["refuse", "resample", "keep"]
# What becomes of slices that a tilted gantry sheared.
Tilt = Literal["keep", "resample"]
TILT_KEPT = "the affine keeps it"
UNEVEN_KEPT = "the affine holds their mean step"

# A step may differ from the median step by this share (and at least this many mm) before it is called irregular.
STEP_TOLERANCE = 0.02
STEP_TOLERANCE_MM = 0.01
# Steps that differ by more are worth a word, though the grid is taken for regular.
JITTER_MM = 5e-5
# A slice may lie this far from its place on the line of slices, as a share of the step, or half a pixel, whichever is
# less (and at least this many mm).
LINE_TOLERANCE = 0.1
LINE_TOLERANCE_MM = 0.1
# ImageOrientationPatient may be off unit length and right angle by this: files with two decimals are in use.
UNIT_TOLERANCE = 0.01
# Below this angle the line of slice centres counts as perpendicular to the slices.
TILT_TOLERANCE_DEGREES = 0.1


@dataclass(frozen=True)
class Stack:
    """Ordered slices: `order` indexes the input, `affine` maps (column, row, slice, 1) to LPS mm.

    Attributes:
        order: Which slice of the input comes first, second, ...
        affine: (4, 4) float64.
        spacing_mm: Slice, row, column; slices measured along their normal.
        findings: What a reader should know, in words.
        places: Of each slice of the grid, where it lies between the ordered slices (2.5: midway between the third and
            the fourth); None where the ordered slices are the grid.
    """

    order: tuple[int, ...]
    affine: np.ndarray
    spacing_mm: tuple[float, float, float]
    findings: tuple[str, ...]
    places: np.ndarray | None = None


class GeometryError(ValueError):
    """Slices that do not make a regular grid; the message has the numbers."""


def axes(orientation: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the unit vectors, (3,) each, along a row, down a column and normal to the slice.

    Args:
        orientation: ImageOrientationPatient, (6,).

    Raises:
        GeometryError: It is not two perpendicular unit vectors.
    """
    vectors = np.asarray(orientation, np.float64).reshape(2, 3)
    lengths = np.linalg.norm(vectors, axis=1)
    if not np.abs(lengths - 1).max() <= UNIT_TOLERANCE or abs(vectors[0] @ vectors[1]) > UNIT_TOLERANCE:
        raise GeometryError("ImageOrientationPatient is not two perpendicular unit vectors")
    along_row, down_column = vectors / lengths[:, None]
    cross = np.cross(along_row, down_column)
    return along_row, down_column, cross / np.linalg.norm(cross)


def stack(
    positions: np.ndarray,
    orientation: np.ndarray,
    pixel_spacing: tuple[float, float],
    thickness: float,
    irregular: Irregular = "refuse",
) -> Stack:
    """Returns the order of slices along their normal and the grid that they make.

    Args:
        positions: ImagePositionPatient of each slice, (slices, 3), mm.
        orientation: ImageOrientationPatient, (6,), the same for all.
        pixel_spacing: Between rows and between columns, mm.
        thickness: Taken for the step when there is one slice only, mm.
        irregular: What becomes of slices that make no regular grid. `resample` sets slices between the first and the
            last, at the step that the others have or the median one; `keep` leaves them, and the affine holds their
            mean step.

    Raises:
        GeometryError: Positions repeat, steps are irregular, slices are missing or are not on one line.
    """
    along_row, down_column, axis = axes(orientation)
    along = positions @ axis
    order = np.argsort(along, kind="stable")
    findings: list[str] = []
    places: np.ndarray | None = None
    if len(order) == 1:
        step, findings = axis * thickness, ["single slice: the step between slices is its thickness"]
    else:
        faults = _faults(along[order], positions[order], min(pixel_spacing))
        if faults and irregular == "refuse":
            raise GeometryError("; ".join(fault.said for fault in faults))
        if faults and irregular == "resample":
            places = _places(along[order], faults)
        count = len(order) if places is None else len(places)
        step = (positions[order[-1]] - positions[order[0]]) / (count - 1)
        findings += [f"{fault.said}; {_WHAT_WAS_DONE[irregular]}" for fault in faults]
        findings += _tilt(step, axis) + ([] if faults else _jitter(np.diff(along[order])))
    affine = np.eye(4)
    affine[:3, 0] = along_row * pixel_spacing[1]
    affine[:3, 1] = down_column * pixel_spacing[0]
    affine[:3, 2] = step
    affine[:3, 3] = positions[order[0]]
    spacing = (float(step @ axis), float(pixel_spacing[0]), float(pixel_spacing[1]))
    return Stack(tuple(int(i) for i in order), affine, spacing, tuple(findings), places)


_WHAT_WAS_DONE = {
    "resample": "slices were interpolated on a regular grid",
    "keep": f"slices were left as they are, {UNEVEN_KEPT}",
}


@dataclass(frozen=True)
class _Fault:
    """What keeps slices from being a regular grid: in words, and the step of a grid that mends it; 0: none does."""

    said: str
    step: float = 0.0


def _faults(along: np.ndarray, ordered: np.ndarray, pixel: float) -> list[_Fault]:
    steps = np.diff(along)
    repeated = int((steps < STEP_TOLERANCE_MM).sum())
    if repeated:
        return [_Fault(f"{repeated} slice positions occur more than once")]
    found = [_uneven(steps), _off_line(along, ordered, pixel)]
    return [fault for fault in found if fault is not None]


def _uneven(steps: np.ndarray) -> _Fault | None:
    median = float(np.median(steps))
    off = steps[np.abs(steps - median) > _allowed(median)]
    if not len(off):
        return None
    # Where slices are missing every gap is a whole number of the smallest step.
    step = float(steps.min())
    counts = np.round(steps / step)
    if np.all(np.abs(steps - counts * step) <= counts * _allowed(step)):
        gaps = steps[counts > 1]
        missing = int(counts.sum() - len(counts))
        said = f"{missing} slices are missing: gaps of {_list(gaps)} mm where the step is {step:.3f} mm"
        return _Fault(said, step)
    return _Fault(f"slice steps are irregular: {_list(off)} mm where the median is {median:.3f} mm", median)


def _off_line(along: np.ndarray, ordered: np.ndarray, pixel: float) -> _Fault | None:
    """Finds slices that are shifted sideways, or drift along the line while each step is within bounds."""
    ends = ordered[-1] - ordered[0]
    sideways = ordered - ordered[0] - ((along - along[0]) / (along[-1] - along[0]))[:, None] * ends
    step = np.linalg.norm(ends) / (len(ordered) - 1)
    most = max(LINE_TOLERANCE_MM, min(LINE_TOLERANCE * step, pixel / 2))
    off = np.linalg.norm(sideways, axis=1)
    if off.max() > most:
        return _Fault(f"slices are not on one line: one lies {off.max():.3f} mm from its place on a regular grid")
    # Steps that are as even as they need be can still add up.
    drift = np.abs(along - np.linspace(along[0], along[-1], len(along)))
    if _uneven(np.diff(along)) is None and drift.max() > max(LINE_TOLERANCE_MM, LINE_TOLERANCE * step):
        said = f"slices are not on one line: one lies {drift.max():.3f} mm from its place on a regular grid"
        return _Fault(said, float(np.median(np.diff(along))))
    return None


def _jitter(steps: np.ndarray) -> list[str]:
    """Finds steps that differ by what positions were rounded to: other readers take the first for all."""
    if np.ptp(steps) <= JITTER_MM:
        return []
    return [f"slice steps vary from {steps.min():.4f} to {steps.max():.4f} mm; the affine holds their mean"]


def _places(along: np.ndarray, faults: Sequence[_Fault]) -> np.ndarray:
    """Returns where the slices of a regular grid lie between the given ones."""
    step = faults[0].step
    if not step or len(faults) > 1:
        said = "; ".join(fault.said for fault in faults)
        raise GeometryError(f"{said}; that cannot be mended by resampling along the slices")
    count = round((along[-1] - along[0]) / step) + 1
    return np.interp(np.linspace(along[0], along[-1], count), along, np.arange(len(along)))


def _allowed(step: float) -> float:
    return max(STEP_TOLERANCE_MM, STEP_TOLERANCE * step)


def _list(values: np.ndarray) -> str:
    shown = ", ".join(f"{v:.3f}" for v in values[:3])
    return shown + (f" ... ({len(values)} in all)" if len(values) > 3 else "")


def _tilt(step: np.ndarray, axis: np.ndarray) -> list[str]:
    degrees = _degrees(step, axis)
    if degrees <= TILT_TOLERANCE_DEGREES:
        return []
    return [f"tilt: slices are sheared by {degrees:.2f} degrees; {TILT_KEPT}"]


def _degrees(step: np.ndarray, axis: np.ndarray) -> float:
    return float(np.degrees(np.arccos(np.clip(step @ axis / np.linalg.norm(step), -1, 1))))


def is_sheared(steps: np.ndarray) -> bool:
    """Tells whether the third column of (3, 3) `steps` is not normal to the first two."""
    normal = np.cross(steps[:, 0], steps[:, 1])
    return _degrees(steps[:, 2], normal / np.linalg.norm(normal)) > TILT_TOLERANCE_DEGREES


def places_along(positions: Sequence[Sequence[float]], orientation: Sequence[float]) -> np.ndarray:
    """Returns a number for each slice, (slices,) int: equal where slices lie at one place, rising along the normal.

    Args:
        positions: ImagePositionPatient of each slice, mm.
        orientation: ImageOrientationPatient, the same for all.
    """
    along = np.asarray(positions, np.float64) @ axes(np.asarray(orientation))[2]
    order = np.argsort(along, kind="stable")
    places = np.empty(len(along), int)
    places[order] = np.concatenate(([0], np.cumsum(np.diff(along[order]) >= STEP_TOLERANCE_MM)))
    return places
