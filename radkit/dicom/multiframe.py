"""Frames of multi-frame instances that have no functional groups: NM, dose grids, cine of US and XA, captures."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from radkit.dicom import attributes, scan
from radkit.dicom.frames import Frame, numbers
from radkit.dicom.geometry import GeometryError

# What a nuclear image counts its frames by besides slices, each a vector with one number a frame (PS3.3 C.8.4.9).
_NM_TIMES = ("RRIntervalVector", "TimeSlotVector", "PhaseVector", "RotationVector", "AngularViewVector")
_NM_VECTORS = ("EnergyWindowVector", "DetectorVector", *_NM_TIMES)
_PIXEL_DATA = Tag("PixelData")
_CENTIMETRES = 3  # PhysicalUnitsXDirection
_SAME_MM = 1e-3


def count(dataset: Dataset) -> int:
    """Returns NumberOfFrames, at least 1.

    Raises:
        NotDicom: It is no whole number, or more than the pixels have bits.
    """
    found = max(1, attributes.whole(dataset, "NumberOfFrames", 1))
    stored = dataset.get_item(_PIXEL_DATA)
    room = len(stored.value) * 8 if stored is not None and isinstance(stored.value, bytes | bytearray) else found
    if found > max(1, room):
        raise scan.NotDicom(f"NumberOfFrames is {found}, PixelData has no room for as many")
    return found


def frames(path: Path, dataset: Dataset) -> list[Frame]:
    """Returns the frames of a multi-frame instance in stored order, placed where the instance places them.

    Nuclear reconstructions lie along the normal by SliceVector and SpacingBetweenSlices, grids of offsets by
    GridFrameOffsetVector; frames of anything else have no place of their own.

    Raises:
        GeometryError: A place, orientation or spacing that is not of finite numbers, or not one a frame.
        NotDicom: An attribute cannot be read.

    Source: DICOM PS3.3 C.8.4.8, C.8.4.9, C.8.8.3.2.
    """
    num_frames = count(dataset)
    layers = (dataset, *(attributes.value(dataset, "DetectorInformationSequence") or ())[:1])
    first = _nearest(layers, "ImagePositionPatient", 3)
    orientation = _nearest(layers, "ImageOrientationPatient", 6)
    steps = None if first is None or orientation is None else _steps(dataset, num_frames, first, orientation)
    facts = _facts(dataset, num_frames)
    size = (attributes.whole(dataset, "Rows", 0), attributes.whole(dataset, "Columns", 0))
    spacing = _spacing(dataset)

    def place(number: int) -> tuple[float, ...] | None:
        if steps is None:
            return first if num_frames == 1 else None
        return tuple((np.array(first) + steps[number]).tolist())

    return [
        Frame(path, dataset, number, layers, *size, place(number), orientation, spacing, facts=facts(number))
        for number in range(num_frames)
    ]


def _numbers(dataset: Dataset, keyword: str, count: int) -> tuple[float, ...] | None:
    return numbers(attributes.value(dataset, keyword), keyword, count)


def _nearest(layers: Sequence[Dataset], keyword: str, count: int) -> tuple[float, ...] | None:
    return next((found for layer in layers if (found := _numbers(layer, keyword, count)) is not None), None)


def _steps(dataset: Dataset, count: int, first: Sequence[float], orientation: Sequence[float]) -> np.ndarray | None:
    """Returns the way from ImagePositionPatient to each frame in LPS mm, (frames, 3); None when it is not told."""
    normal = np.cross(orientation[:3], orientation[3:])
    offsets = _numbers(dataset, "GridFrameOffsetVector", count)
    if offsets is not None:
        # They are ways along the normal where the first is 0, else the planes' z coordinates.
        absolute = offsets[0] != 0 and abs(offsets[0] - first[2]) < _SAME_MM
        return np.outer(np.array(offsets) - offsets[0], (0, 0, 1) if absolute else normal)
    slices = _numbers(dataset, "SliceVector", count)
    distance = _numbers(dataset, "SpacingBetweenSlices", 1)  # of nuclear images it has a sign
    if slices is None or distance is None or not distance[0]:
        return None
    return np.outer((np.array(slices) - 1) * distance[0], normal)


def _facts(dataset: Dataset, count: int) -> Callable[[int], dict[str, str]]:
    vectors = {keyword: _counted(dataset, keyword, count) for keyword in _NM_VECTORS}
    told = {keyword: vector for keyword, vector in vectors.items() if vector is not None and len(set(vector)) > 1}
    times = [told[keyword] for keyword in _NM_TIMES if keyword in told]
    instance = attributes.value(dataset, "InstanceNumber") or 0

    def of(number: int) -> dict[str, str]:
        facts = {"InstanceNumber": f"{instance}.{number + 1:06d}"}
        if times:
            facts["TemporalPositionIdentifier"] = ".".join(f"{vector[number]:04d}" for vector in times)
        if told:
            facts["DimensionIndexValues"] = "\\".join(str(vector[number]) for vector in told.values())
        return facts

    return of


def _counted(dataset: Dataset, keyword: str, count: int) -> tuple[int, ...] | None:
    try:
        found = _numbers(dataset, keyword, count)
    except (scan.NotDicom, GeometryError):  # of no use for telling frames apart; their places do not depend on it
        return None
    return None if found is None else tuple(map(int, found))


def _spacing(dataset: Dataset) -> tuple[float, ...] | None:
    """Returns PixelSpacing, or what the regions of an ultrasound image agree on."""
    found = _numbers(dataset, "PixelSpacing", 2)
    if found is not None:
        return found
    regions = set()
    for region in attributes.value(dataset, "SequenceOfUltrasoundRegions") or ():
        if any(attributes.whole(region, f"PhysicalUnits{axis}Direction", 0) != _CENTIMETRES for axis in "XY"):
            continue  # a curve over time or a spectrum
        across, down = (_numbers(region, f"PhysicalDelta{axis}", 1) for axis in "XY")
        if across and down and across[0] and down[0]:
            regions.add((abs(down[0]) * 10, abs(across[0]) * 10))
    return regions.pop() if len(regions) == 1 else None
