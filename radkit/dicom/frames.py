"""Planes of pixels: one a file, many of an enhanced instance or a mosaic, each with its own place and attributes."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from radkit.dicom import attributes
from radkit.dicom.geometry import GeometryError


@dataclass(frozen=True)
class Frame:
    """One plane of pixels.

    Attributes:
        path: The file it stands in.
        dataset: The file's data set, pixels undecoded.
        number: Which frame of the file's, from 0.
        layers: Where its attributes are looked for, the nearest first: items of functional groups, then the data set.
        rows: Of the plane.
        columns: Of the plane.
        tile: Row and column in the stored image where the plane begins; a mosaic's planes lie side by side.
        position_mm: LPS place of the first pixel's centre; None when it is not told.
        orientation: ImageOrientationPatient; None when it is not told.
        spacing_mm: Between rows and between columns; None when it is not told.
        findings: What a reader should know of it, in words.
        facts: Attributes that stand in no layer under their own names, by keyword; they come before the layers.
    """

    path: Path
    dataset: Dataset
    number: int
    layers: tuple[Dataset, ...]
    rows: int
    columns: int
    position_mm: tuple[float, ...] | None
    orientation: tuple[float, ...] | None
    spacing_mm: tuple[float, ...] | None
    tile: tuple[int, int] | None = None
    findings: tuple[str, ...] = ()
    facts: dict[str, str] = field(default_factory=dict)

    def value(self, keyword: str) -> Any:
        """Returns an attribute's value from the nearest layer that has one; None where none has."""
        for layer in self.layers:
            found = attributes.value(layer, keyword)
            if found is not None:
                return found
        return None

    def fact(self, keyword: str) -> str:
        """Returns an attribute as text; empty when absent or not readable."""
        if keyword in self.facts:
            return self.facts[keyword]
        try:
            return next((found for layer in self.layers if (found := attributes.text(layer, keyword))), "")
        except attributes.NotDicom:  # says nothing of the grid, and is not worth losing the series for
            return ""


def classic(path: Path, dataset: Dataset) -> Frame:
    """Returns the one plane of an instance of one frame, whose attributes stand at its top.

    Raises:
        GeometryError: A place, orientation or spacing that is not of finite numbers.
        NotDicom: An attribute that cannot be read.
    """
    place, orientation, spacing = (
        _finite(attributes.numbers(dataset, keyword), keyword, count)
        for keyword, count in (("ImagePositionPatient", 3), ("ImageOrientationPatient", 6), ("PixelSpacing", 2))
    )
    rows, columns = attributes.whole(dataset, "Rows", 0), attributes.whole(dataset, "Columns", 0)
    return Frame(path, dataset, 0, (dataset,), rows, columns, place, orientation, spacing)


def _finite(given: tuple[float, ...] | None, keyword: str, count: int) -> tuple[float, ...] | None:
    if given is not None and len(given) != count:
        raise GeometryError(f"{keyword} has {len(given)} values where {count} finite numbers were expected")
    return given


def numbers(found: Any, keyword: str, count: int) -> tuple[float, ...] | None:
    """Returns an attribute's value as finite numbers; None for None.

    Args:
        found: A number, a text, or several.
        keyword: For the message.
        count: How many there must be.

    Raises:
        GeometryError: They are not numbers, not finite or not as many.
    """
    if found is None:
        return None
    try:
        given = tuple(
            float(v) for v in (found if isinstance(found, Iterable) and not isinstance(found, str) else [found])
        )
    except (TypeError, ValueError) as error:
        raise GeometryError(f"{keyword} is not of numbers; {count} were expected") from error
    if len(given) != count or not np.isfinite(given).all():
        raise GeometryError(f"{keyword} has {len(given)} values where {count} finite numbers were expected")
    return given
