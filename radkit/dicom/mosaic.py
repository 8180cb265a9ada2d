"""Mosaics: the slices of a volume as tiles of one large image, as Siemens and United Imaging (UIH) write them."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag

from radkit.dicom import attributes, csa, part10, pixels
from radkit.dicom.frames import Frame, numbers
from radkit.dicom.geometry import GeometryError
from radkit.errors import UserError

# Elements of private blocks: creator, group, low byte.
_SIEMENS_COUNT = ("SIEMENS MR HEADER", 0x0019, 0x0A)
_SIEMENS_IMAGE = ("SIEMENS CSA HEADER", 0x0029, 0x10)
_SIEMENS_PROTOCOL = ("SIEMENS CSA HEADER", 0x0029, 0x20)
_SIEMENS_XA_FRAME = ("SIEMENS MR SDI 02", 0x0021, 0xFE)
_SIEMENS_XA_TYPE = ("SIEMENS MR SDI 02", 0x0021, 0x75)
_UIH_FRAMES = ("Image Private Header", 0x0065, 0x51)
_UIH_B_VALUE = ("Image Private Header", 0x0065, 0x09)
_UIH_DIRECTION = ("Image Private Header", 0x0065, 0x37)
_BLOCKS = range(0x10, 0x20)  # writers use the first ones

_MOST_TILES = 1024
# Interpolation makes an image up to twice as large as its acquisition, a mosaic of five slices or more thrice or more.
_LEAST_TILES_PER_ROW = 3
_UNMARKED = "taken for a mosaic by the private number of its slices, ImageType does not say so"
_PARALLEL = 1e-2  # sine of the angle between two directions that are taken for one


class MosaicError(GeometryError, UserError):
    """A mosaic whose tiles cannot be told or placed; the message says what is missing."""


def frames(path: Path, dataset: Dataset) -> list[Frame] | None:
    """Returns the slices of a mosaic in the order of their tiles; None when the image is none.

    Each frame's `tile` is the place of its first pixel in the stored image, `position_mm` is the slice's own:
    a Siemens mosaic's ImagePositionPatient is where the large image's corner would lie.

    Raises:
        MosaicError: It is a mosaic, or must be taken for one, and nothing tells the number, the size or the place of
            its tiles.

    Source: no standard; Siemens' CSA header (`radkit.dicom.csa`), UIH's MRVFrameSequence (0065,xx51).
    """
    if attributes.whole(dataset, "NumberOfFrames", 1) > 1 or str(attributes.value(dataset, "Modality") or "MR") != "MR":
        return None  # Siemens XA splits mosaics into frames and leaves the word in ImageType
    items = private(dataset, _UIH_FRAMES)
    if isinstance(items, Sequence) and len(items) and isinstance(items[0], Dataset):
        return _united(path, dataset, items)
    words, header = _words(dataset), _bytes(private(dataset, _SIEMENS_IMAGE))
    if "VFRAME" in words:
        raise MosaicError(
            "ImageType says VFRAME, a mosaic of UIH's, and its MRVFrameSequence is absent; give the files as they were "
            "before de-identification"
        )
    maker, named = str(attributes.value(dataset, "Manufacturer") or "").upper(), "MOSAIC" in words
    count, per_row = _count(dataset, header, named or maker.startswith("SIEMENS")), _tiles_per_row(dataset)
    if count > 1 and (named or per_row != 1):
        return _siemens(path, dataset, header, count, () if named else (_UNMARKED,))
    if count == 1:
        return None
    if not named:
        _check_unmarked(dataset, maker, per_row)
        return None
    if per_row == 1:
        return None  # split by an archive that left the word in ImageType
    if per_row == 0:
        raise MosaicError(
            "ImageType says MOSAIC and nothing says of how many slices (no CSA header, no (0019,xx0A), no fitting "
            "AcquisitionMatrix); give the files as they were before de-identification"
        )
    told = f"mosaic without its number of slices: {per_row} x {per_row} tiles by AcquisitionMatrix, the empty left out"
    return _siemens(path, dataset, header, _num_filled(dataset, per_row), (told,))


def private(dataset: Dataset, where: tuple[str, int, int]) -> Any:
    """Returns the value of a private element, None when it is absent.

    In a group that lost its creators it is the first block's. What cannot be decoded is as if it were absent.

    Args:
        dataset: The data set or item.
        where: The block's creator, its group, and the element's low byte.
    """
    creator, group, element = where
    blocks = [block for block in _BLOCKS if BaseTag(group << 16 | block) in dataset]
    try:
        own = [block for block in blocks if str(dataset[group, block].value).strip() == creator]
        for block in own if blocks else _BLOCKS[:1]:
            tag = BaseTag(group << 16 | block << 8 | element)
            if tag in dataset:
                return dataset[tag].value
    except (*part10.MALFORMED, OSError):  # as if it were absent
        return None
    return None


def _bytes(value: Any) -> bytes:
    return bytes(value) if isinstance(value, bytes | bytearray) else b""


def _words(dataset: Dataset) -> tuple[str, ...]:
    """Returns ImageType, and what an enhanced instance of Siemens' says in its place."""
    found = attributes.value(dataset, "ImageType")
    words = [found] if isinstance(found, str) else list(found or ())
    for item in attributes.value(dataset, "PerFrameFunctionalGroupsSequence") or ():
        for group in private(item, _SIEMENS_XA_FRAME) or ():
            words += list(private(group, _SIEMENS_XA_TYPE) or ())
    return tuple(map(str, words))


def _count(dataset: Dataset, header: bytes, siemens: bool) -> int:
    told = [private(dataset, _SIEMENS_COUNT)] if siemens else []
    found = set()
    for count in (*told, *csa.values(header, "NumberOfImagesInMosaic")):
        try:
            found.add(int(count))
        except (TypeError, ValueError):
            continue
    found = {count for count in found if 0 < count <= _MOST_TILES}
    if len(found) > 1:
        raise MosaicError(f"the private headers of the mosaic contradict each other: {sorted(found)} slices")
    return found.pop() if found else 0


def _tiles_per_row(dataset: Dataset) -> int:
    """Returns how many times the acquired matrix fits the image; 0 where it is not told or does not fit."""
    told = attributes.value(dataset, "AcquisitionMatrix")
    matrix = [int(n) for n in told if n] if isinstance(told, MultiValue | list) else []
    sizes = [attributes.whole(dataset, keyword, 0) for keyword in ("Rows", "Columns")]
    if len(matrix) != 2 or not all(sizes):
        return 0
    per_row, rest = divmod(max(sizes), max(matrix))
    if per_row <= 1 and max(sizes) < 1.5 * max(matrix):
        return 1
    return per_row if not rest and not any(size % per_row for size in sizes) else 0


def _check_unmarked(dataset: Dataset, maker: str, per_row: int) -> None:
    """Refuses what can only be a mosaic that lost every word of it."""
    scanning = attributes.value(dataset, "ScanningSequence") or ""
    if not maker.startswith(("SIEMENS", "UIH")) or "EP" not in ([scanning] if isinstance(scanning, str) else scanning):
        return
    if per_row >= _LEAST_TILES_PER_ROW:
        raise MosaicError(
            f"an echo-planar image {per_row} times as large as its AcquisitionMatrix is taken for a mosaic, and "
            "nothing says of how many slices; give the files as they were before de-identification"
        )


def _num_filled(dataset: Dataset, per_row: int) -> int:
    """Returns how many tiles there are when those at the end that are of one value do not count."""
    stored = pixels.stored(dataset)
    rows, columns = stored.shape[0] // per_row, stored.shape[1] // per_row
    for count in range(per_row * per_row, 0, -1):
        row, column = divmod(count - 1, per_row)
        if np.ptp(stored[row * rows : (row + 1) * rows, column * columns : (column + 1) * columns]):
            return count
    return per_row * per_row


def _siemens(path: Path, dataset: Dataset, header: bytes, count: int, said: tuple[str, ...]) -> list[Frame]:
    per_row = math.ceil(math.sqrt(count))
    size = _tile_size(dataset, count, per_row, per_row)
    corner, orientation, spacing = _plane(dataset)
    across, down = np.array(orientation[:3]), np.array(orientation[3:])
    sizes = (attributes.whole(dataset, "Rows", 0), attributes.whole(dataset, "Columns", 0))
    # Siemens places the middle of the large image where the slices' middle is.
    first = corner + across * spacing[1] * (sizes[1] - size[1]) / 2 + down * spacing[0] * (sizes[0] - size[0]) / 2
    middle = first + across * spacing[1] * size[1] / 2 + down * spacing[0] * size[0] / 2
    told = _vector(csa.values(header, "SliceNormalVector"))
    told = _by_protocol(_centres(dataset, count), middle) if told is None else told
    normal, doubt = _normal(np.cross(across, down), told)
    distance, more = _distance(dataset, count)
    facts = _diffusion(csa.values(header, "B_value"), csa.values(header, "DiffusionGradientDirection"))
    findings = (*said, *doubt, *more)
    return [
        Frame(
            path, dataset, 0, (dataset,), *size, tuple((first + normal * distance * k).tolist()), orientation, spacing,
            tile=(k // per_row * size[0], k % per_row * size[1]), findings=findings, facts=facts,
        )
        for k in range(count)
    ]  # fmt: skip


def _tile_size(dataset: Dataset, count: int, down: int, across: int) -> tuple[int, int]:
    rows, columns = attributes.whole(dataset, "Rows", 0), attributes.whole(dataset, "Columns", 0)
    if not rows or not columns or rows % down or columns % across:
        raise MosaicError(
            f"a mosaic of {count} slices has {down} x {across} tiles, its {rows} rows and {columns} columns cannot be "
            "divided so"
        )
    return rows // down, columns // across


def _plane(dataset: Dataset) -> tuple[np.ndarray, tuple[float, ...], tuple[float, ...]]:
    place, orientation, spacing = (
        _numbers(dataset, keyword, count)
        for keyword, count in (("ImagePositionPatient", 3), ("ImageOrientationPatient", 6), ("PixelSpacing", 2))
    )
    if place is None or orientation is None or spacing is None:
        raise MosaicError(
            "a mosaic without ImagePositionPatient, ImageOrientationPatient or PixelSpacing has no place in the "
            "patient (Siemens XA writes such for display); export the series as enhanced or as single slices"
        )
    return np.array(place), orientation, spacing


def _numbers(dataset: Dataset, keyword: str, count: int) -> tuple[float, ...] | None:
    return numbers(attributes.value(dataset, keyword), keyword, count)


def _centres(dataset: Dataset, count: int) -> np.ndarray | None:
    """Returns the slices' middles by the protocol, (slices, 3); a volume that was excited as one slab has but one."""
    laid = csa.centres(_bytes(private(dataset, _SIEMENS_PROTOCOL)))
    return laid if laid is not None and len(laid) == count else None


def _by_protocol(centres: np.ndarray | None, first: np.ndarray) -> np.ndarray | None:
    """Returns the way from slice to slice as the protocol lays them, turned so that it begins at the first tile."""
    if centres is None or len(centres) < 2:
        return None
    way = centres[-1] - centres[0]
    length = np.linalg.norm(way)
    if not length:
        return None
    reverse = np.linalg.norm(centres[-1] - first) < np.linalg.norm(centres[0] - first)
    return (-way if reverse else way) / length


def _normal(cross: np.ndarray, told: np.ndarray | None) -> tuple[np.ndarray, tuple[str, ...]]:
    """Returns the way from tile to tile, of length 1, and what is doubtful about it.

    It is the cross product of rows and columns or its opposite: the order of slices can be reversed at the console.
    """
    cross = cross / np.linalg.norm(cross)
    if told is None:
        # Where nobody reversed it, Siemens counts from right to left, front to back, foot to head.
        largest = np.argmax(np.abs(cross))
        said = "mosaic without SliceNormalVector: the usual order of slices is assumed"
        return cross * np.sign(cross[largest]), (said,)
    if np.linalg.norm(np.cross(cross, told)) > _PARALLEL:
        raise MosaicError("SliceNormalVector of the mosaic's CSA header is not normal to ImageOrientationPatient")
    return cross * np.sign(cross @ told), ()


def _vector(values: Sequence[str] | None) -> np.ndarray | None:
    try:
        vector = np.array([float(v) for v in values or ()])
    except ValueError:
        return None
    return vector if vector.shape == (3,) and np.isfinite(vector).all() and np.linalg.norm(vector) > 0.5 else None


def _distance(dataset: Dataset, count: int) -> tuple[float, tuple[str, ...]]:
    """Returns the way from slice to slice in mm, and what is doubtful about it."""
    told = _numbers(dataset, "SpacingBetweenSlices", 1)
    if told and told[0]:
        return abs(told[0]), ()
    if count > 1 and (centres := _centres(dataset, count)) is not None:
        return float(np.linalg.norm(centres[-1] - centres[0])) / (count - 1), ()
    told = _numbers(dataset, "SliceThickness", 1)
    if told and told[0] > 0:
        return told[0], ("mosaic without SpacingBetweenSlices: SliceThickness is taken, gaps are unknown",)
    raise MosaicError("a mosaic without SpacingBetweenSlices and SliceThickness: the way between slices is unknown")


def _diffusion(value: Sequence[str] | None, direction: Sequence[str] | None) -> dict[str, str]:
    facts = {"DiffusionBValue": "\\".join(value or ()), "DiffusionGradientOrientation": "\\".join(direction or ())}
    return {keyword: text for keyword, text in facts.items() if text}


def _united(path: Path, dataset: Dataset, items: Sequence[Dataset]) -> list[Frame]:
    """UIH's tiles: each has its own place, and the grid need not be square."""
    across = math.ceil(math.sqrt(len(items)))
    size = _tile_size(dataset, len(items), math.ceil(len(items) / across), across)
    orientation = _numbers(dataset, "ImageOrientationPatient", 6)
    spacing = _numbers(dataset, "PixelSpacing", 2)
    value, direction = (private(dataset, where) for where in (_UIH_B_VALUE, _UIH_DIRECTION))
    facts = _diffusion(_texts(value), _texts(direction))
    return [
        Frame(
            path, dataset, 0, (item, dataset), *size, _numbers(item, "ImagePositionPatient", 3), orientation,
            spacing, tile=(k // across * size[0], k % across * size[1]), facts=facts,
        )
        for k, item in enumerate(items)
    ]  # fmt: skip


def _texts(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    return tuple(map(str, value)) if isinstance(value, Sequence) and not isinstance(value, str) else (str(value),)
