"""Rows of box tables, and the boxes that they are on an image."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np

from radkit import config
from radkit.dicom.annotations import form
from radkit.dicom.annotations.form import AnnotationError, Box
from radkit.dicom.findings import Finding
from radkit.dicom.volumes import Volume

# A copy of an image may differ from its shape by this share and still be that image made smaller.
ASPECT_TOLERANCE = 0.01


@dataclass(frozen=True)
class Row:
    """One box of a table, before its image is known; `dataclasses.asdict` makes it JSON, `Row(**said)` a row again.

    Attributes:
        low: In pixels' edges: row, column, or slice, row, column. In mm: x, y, z, LPS.
        high: As `low`, the other corner.
        unit: What the numbers are.
        label: What the box holds.
        lesion_id: Which lesion; see `form.Box`.
        instance_uid: SOPInstanceUID of the slice; empty where `low` says the slice, or the image has but one.
        is_ball: It is a ball, given by a centre and a diameter; `low` and `high` are of the cube around it.
        size: Rows and columns of the image that the table speaks of; (0, 0) where it does not say.
        reader: Who drew it; empty where nobody says.
        date: When, YYYY-MM-DD; empty where nobody says.
        reference_standard: One of `form.REFERENCE_STANDARDS`; empty where nobody says.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]
    unit: Literal["pixels", "mm"] = "pixels"
    label: str = ""
    lesion_id: str = ""
    instance_uid: str = ""
    is_ball: bool = False
    size: tuple[int, int] = (0, 0)
    reader: str = ""
    date: str = ""
    reference_standard: str = ""

    def __post_init__(self) -> None:
        for name in ("low", "high", "size"):
            object.__setattr__(self, name, tuple(getattr(self, name)))  # JSON makes lists of them
        lengths = (2, 3) if self.unit == "pixels" else (3,)
        if self.unit not in ("pixels", "mm") or len(self.low) not in lengths or len(self.low) != len(self.high):
            raise AnnotationError(
                f"a box has corners of {len(self.low)} and {len(self.high)} numbers in {self.unit!r}; "
                "2 or 3 of each in 'pixels', or 3 of each in 'mm', were expected"
            )
        if not all(map(math.isfinite, (*self.low, *self.high))):
            raise AnnotationError("a box has corners that are no finite numbers")

    @property
    def is_degenerate(self) -> bool:
        """It has no extent along an axis, or less than none."""
        return any(high <= low for low, high in zip(self.low, self.high))


def place(
    rows: Iterable[Row], volume: Volume, wishes: config.Annotations = form.WISHES
) -> tuple[tuple[Box, ...], tuple[Finding, ...]]:
    """Returns rows as boxes on an image, and what a person should know of them.

    Pixels stand as they are; of millimetres, the box along the image's axes is taken that holds the row's.

    Args:
        rows: Of this image.
        volume: The image.
        wishes: What becomes of boxes partly outside, on slices that are not the image's, on copies of another size.

    Raises:
        AnnotationError: A box without extent, wholly outside, on no slice, in mm of an image without a place, or one
            that `wishes` refuse.
    """
    boxes, elsewhere, cut, scaled = [], 0, 0, 0
    for row in rows:
        if row.is_degenerate:
            raise AnnotationError("a box has no extent, or a negative one; have it drawn again", "degenerate_box")
        if (found := _bounds(row, volume)) is None:
            elsewhere += 1
            continue
        box, was_cut = fit(Box(*found, label=row.label, lesion_id=row.lesion_id), volume, wishes)
        boxes.append(box)
        cut += was_cut
        scaled += _is_scaled(row, volume)
    if scaled:
        _other_size(scaled, wishes)
    return tuple(boxes), _findings(len(boxes), elsewhere, cut, scaled, wishes)


def fit(box: Box, volume: Volume, wishes: config.Annotations) -> tuple[Box, bool]:
    """Returns a box cut to its image, and whether anything was cut off.

    Raises:
        AnnotationError: It lies wholly outside, or partly where `wishes` refuse that.
    """
    size = np.array(volume.stored.shape[:3], float)
    low, high = np.maximum(box.low, 0.0), np.minimum(box.high, size)
    if (low >= high).any():
        raise AnnotationError("a box lies wholly outside the image", "outside_image")
    # A place in mm that is the image's edge comes out a rounding error beside it.
    over = max((low - np.array(box.low)).max(), (np.array(box.high) - high).max())
    if over > 1e-3 and wishes.partly_outside == "refuse":
        raise AnnotationError(
            f"a box reaches {over:.3g} voxels beyond the image; data.annotations.partly_outside='report' cuts it off",
            "partly_outside",
        )
    return Box(_three(low), _three(high), box.label, box.lesion_id), bool(over > 1e-3)


def _three(numbers: np.ndarray) -> tuple[float, float, float]:
    first, second, third = (float(n) for n in numbers)
    return first, second, third


def _bounds(row: Row, volume: Volume) -> tuple[tuple[float, float, float], tuple[float, float, float]] | None:
    if row.unit == "mm":
        return _of_mm(row, volume)
    low, high = _scaled(row, volume)
    if len(low) == 2:
        index = _slice(row, volume)
        if index is None:
            return None
        low, high = (float(index), *low), (float(index + 1), *high)
    return _three(np.array(low)), _three(np.array(high))


def _slice(row: Row, volume: Volume) -> int | None:
    """Returns the slice that a row in two dimensions is of; None where it names another image."""
    if row.instance_uid:
        return volume.instance_uids.index(row.instance_uid) if row.instance_uid in volume.instance_uids else None
    if len(volume.stored) == 1:
        return 0
    raise AnnotationError(
        f"a box does not say its slice, and the image has {len(volume.stored)}; the slice's index (z_min, z_max) or "
        "SOPInstanceUID was expected"
    )


def _of_mm(row: Row, volume: Volume) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    if not np.isfinite(volume.spacing_mm).all():
        raise AnnotationError("a box is in mm, and the image has no place in the patient; one in pixels was expected")
    if row.is_ball:
        middle = form.from_mm((np.array(row.low) + row.high) / 2, volume)
        # Row i of the inverse is axis i's gradient: its length is how many voxels a mm reaches at most.
        reach = np.linalg.norm(np.linalg.inv(volume.affine[:3, :3])[::-1], axis=1) * (row.high[0] - row.low[0]) / 2
        return _three(middle - reach), _three(middle + reach)
    corners = form.from_mm(np.array(list(product(*zip(row.low, row.high)))), volume)
    return _three(corners.min(axis=0)), _three(corners.max(axis=0))


def _is_scaled(row: Row, volume: Volume) -> bool:
    return row.unit == "pixels" and row.size != (0, 0) and row.size != volume.stored.shape[1:3]


def _scaled(row: Row, volume: Volume) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Returns a row's corners in the image's pixels, where it was drawn on a smaller or larger copy."""
    if not _is_scaled(row, volume):
        return row.low, row.high
    factors = np.array(volume.stored.shape[1:3]) / row.size
    if not abs(factors[0] / factors[1] - 1) <= ASPECT_TOLERANCE:
        raise AnnotationError(
            f"the boxes are of an image of {row.size[0]} x {row.size[1]} pixels, the image has "
            f"{volume.stored.shape[1]} x {volume.stored.shape[2]}, which is no copy of it in another size",
            "other_grid",
        )
    every = np.array([*np.ones(len(row.low) - 2), *factors])
    return tuple((np.array(row.low) * every).tolist()), tuple((np.array(row.high) * every).tolist())


def _other_size(count: int, wishes: config.Annotations) -> None:
    if wishes.other_grid == "refuse":
        raise AnnotationError(
            f"{count} boxes were drawn on a copy of the image in another size; data.annotations.other_grid='resample' "
            "scales them",
            "other_grid",
        )


def _findings(here: int, elsewhere: int, cut: int, scaled: int, wishes: config.Annotations) -> tuple[Finding, ...]:
    found = []
    if elsewhere and here:  # another view, or another volume, of the same series
        found.append(
            Finding("other_images_too", f"{elsewhere} of {here + elsewhere} boxes are of other images; left out")
        )
    elif elsewhere:
        said = f"all {elsewhere} boxes name slices that are not the image's"
        if wishes.other_instances == "refuse":
            raise AnnotationError(f"{said}; find the series that they were drawn on", "other_instances")
        found.append(Finding("other_instances", f"{said}; they were left out"))
    if cut:
        found.append(Finding("partly_outside", f"{cut} boxes reach beyond the image and were cut off there"))
    if scaled:
        found.append(Finding("other_grid", f"{scaled} boxes of a copy in another size were scaled to the image"))
    return tuple(found)


def union(boxes: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Returns lowest and highest corner of several; an axis without extent is given the voxel that holds it."""
    low = np.min([b[0] for b in boxes], axis=0)
    high = np.max([b[1] for b in boxes], axis=0)
    flat = high <= low
    return np.where(flat, np.floor(low), low), np.where(flat, np.floor(low) + 1, high)
