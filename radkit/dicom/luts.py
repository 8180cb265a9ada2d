"""Tables and windows: stored values to modality values, those to what is shown, and palettes to colours.

Source: DICOM PS3.3 C.11.1 (Modality LUT), C.11.2 (VOI LUT), C.7.6.3.1.5 and C.7.9 (palettes).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from radkit.dicom import attributes, part10, scan
from radkit.dicom.decoders import PixelError

# Where enhanced instances keep the rescale and the windows of a frame.
_OF_FRAMES = ("PixelValueTransformationSequence", "FrameVOILUTSequence")

_Shown = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Table:
    """A look-up table.

    Attributes:
        entries: Its values, (entries,), uint16.
        first: The value that the first entry is for; what is below gets the first entry, what is above the last.
        bits: Of an entry.
    """

    entries: np.ndarray
    first: int
    bits: int

    def look_up(self, values: np.ndarray) -> np.ndarray:
        """Returns the entries for integer values, of the same shape, uint16."""
        return self.entries.take(self.places(values))

    def places(self, values: np.ndarray) -> np.ndarray:
        """Returns which entry each integer value has."""
        places = values.astype(np.int32 if values.dtype.itemsize <= 2 else np.int64) - self.first
        return np.clip(places, 0, len(self.entries) - 1, out=places)


def modality_table(dataset: Dataset) -> Table | None:
    """Returns the Modality LUT; None where RescaleSlope and RescaleIntercept, or nothing, map the values.

    Raises:
        PixelError: The table is not whole.
    """
    items = attributes.value(dataset, "ModalityLUTSequence")
    return _table(items[0], dataset, "ModalityLUTSequence") if items else None


def _table(item: Dataset, dataset: Dataset, named: str) -> Table:
    try:
        count, first, bits = (int(number) for number in item.LUTDescriptor)
        count = count or 65536
        entries = _entries(item["LUTData"], count, bits, big=_is_big_endian(dataset))
    except part10.MALFORMED as error:
        raise PixelError(f"{named}: LUTDescriptor or LUTData is missing or cannot be read") from error
    if len(entries) < count or not 8 <= bits <= 16:
        raise PixelError(f"{named}: LUTData has {len(entries)} entries of {bits} bits, LUTDescriptor says {count}")
    # Some tables hold more than they say; what is turned round or shown must not leave the range.
    return Table(entries[:count], _as_pixels(first, dataset), max(bits, int(entries[:count].max()).bit_length()))


def _is_big_endian(dataset: Dataset) -> bool:
    return str(getattr(dataset, "file_meta", Dataset()).get("TransferSyntaxUID", "")) == "1.2.840.10008.1.2.2"


def _entries(element: DataElement, count: int, bits: int, *, big: bool) -> np.ndarray:
    """Returns a table's entries, uint16; eight bits may lie one or two to a word."""
    value = element.value
    if isinstance(value, bytes):
        wide = len(value) >= 2 * count or bits > 8
        words = np.frombuffer(value, np.dtype(f"{'>' if big else '<'}u2"), len(value) // 2)
        if wide:
            return words.astype(np.uint16)
        return np.frombuffer(words.astype("<u2").tobytes() + value[2 * len(words) :], np.uint8).astype(np.uint16)
    numbers = np.atleast_1d(np.array(value, np.int64)) & 0xFFFF
    if len(numbers) < count <= 2 * len(numbers) and bits == 8:
        return numbers.astype("<u2").view(np.uint8).astype(np.uint16)
    return numbers.astype(np.uint16)


def coloured(values: np.ndarray, dataset: Dataset) -> np.ndarray:
    """Returns the palette's colours of stored values, (rows, columns, 3) uint8.

    Raises:
        PixelError: The palette is not whole.
    """
    channels = [_channel(dataset, colour) for colour in ("Red", "Green", "Blue")]
    # Entries of eight bits are found in tables that say sixteen; the other way round cannot be.
    shift = 8 if max(int(channel.entries.max()) for channel in channels) > 255 else 0
    if len({(len(channel.entries), channel.first) for channel in channels}) > 1:
        raise PixelError("the three palettes of a PALETTE COLOR image are of different sizes")
    table = np.stack([(channel.entries >> shift).astype(np.uint8) for channel in channels], axis=-1)
    return table.take(channels[0].places(values), axis=0)


def _channel(dataset: Dataset, colour: str) -> Table:
    plain, segmented = f"{colour}PaletteColorLookupTableData", f"Segmented{colour}PaletteColorLookupTableData"
    big = _is_big_endian(dataset)
    try:
        count, first, bits = (int(n) for n in dataset[f"{colour}PaletteColorLookupTableDescriptor"].value)
        count = count or 65536
        if plain in dataset:
            entries = _entries(dataset[plain], count, bits, big=big)
        else:
            value = dataset[segmented].value
            kind = np.dtype(np.uint8) if bits == 8 else np.dtype(f"{'>' if big else '<'}u2")
            segments = np.frombuffer(value, kind, len(value) // kind.itemsize).astype(np.int64)
            entries = np.array(_expanded(segments, kind.itemsize), np.uint16)
    except part10.MALFORMED as error:
        raise PixelError("the palette of a PALETTE COLOR image is missing or cannot be read") from error
    if len(entries) < count:
        raise PixelError(f"the palette of a PALETTE COLOR image has {len(entries)} entries, {count} were announced")
    return Table(entries[:count], _as_pixels(first, dataset), bits)


def _as_pixels(first: int, dataset: Dataset) -> int:
    """Returns the first mapped value, signed as pixels are; files write it as the other kind."""
    signed = attributes.whole(dataset, "PixelRepresentation", 0) == 1
    return first - 65536 if signed and first > 32767 else first + 65536 if not signed and first < 0 else first


def _expanded(segments: np.ndarray, width: int, start: int = 0, most: int | None = None, last: int = 0) -> list[int]:
    """Returns a segmented table's entries: runs given in full, straight lines, and runs that stood before."""
    entries: list[int] = []
    at, done = start, 0
    while at + 1 < len(segments) and done != most:
        kind, length = int(segments[at]), int(segments[at + 1])
        if kind == 0:
            entries += segments[at + 2 : at + 2 + length].tolist()
            at += 2 + length
        elif kind == 1:
            begin, end = entries[-1] if entries else last, int(segments[at + 2])
            entries += np.around(np.linspace(begin, end, length + 1)[1:]).astype(int).tolist()
            at += 3
        elif kind == 2 and most is None:
            parts = segments[at + 2 : at + 2 + 4 // width].tolist()
            offset = sum(part << 8 * width * index for index, part in enumerate(parts))
            entries += _expanded(segments, width, offset // width, length, entries[-1] if entries else 0)
            at += 2 + 4 // width
        else:
            raise ValueError(f"segment of type {kind}")
        done += 1
    return entries


def rescale(dataset: Dataset) -> tuple[float, float]:
    """Returns (RescaleSlope, RescaleIntercept), 1 and 0 when absent or a Modality LUT takes their place.

    For MONOCHROME1 they are of the turned values.

    Raises:
        PixelError: The slope is zero or either is not a number.
    """
    if "ModalityLUTSequence" in dataset:
        return 1.0, 0.0
    try:
        slope, intercept = _one(dataset, "RescaleSlope", 1.0), _one(dataset, "RescaleIntercept", 0.0)
    except scan.NotDicom as error:
        raise PixelError("RescaleSlope or RescaleIntercept is not a number") from error
    least, most = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)
    if not (least <= abs(slope) <= most and abs(intercept) <= most):
        raise PixelError(f"RescaleSlope {slope} and RescaleIntercept {intercept} map no values")
    return slope, intercept


def _one(dataset: Dataset, keyword: str, default: float) -> float:
    found = attributes.numbers(dataset, keyword)
    if found is None:
        return default
    if len(found) != 1:
        raise scan.NotDicom(f"{keyword} has {len(found)} values")
    return found[0]


def views(dataset: Dataset, frame: int = 0) -> tuple[str, ...]:
    """Returns the names of an image's VOI tables and windows, in the order that `window` counts them.

    A window whose width cannot be is none.
    """
    with part10.silence():
        return tuple(name for name, _ in _views(dataset, frame))


def window(values: np.ndarray, dataset: Dataset, view: int = 0, frame: int = 0) -> np.ndarray:
    """Returns modality values as they are to be shown: 0 is black, 1 is white.

    Args:
        values: Modality values of grey pixels, of any shape, MONOCHROME1 turned round: what `pixels.stored` gives
            times RescaleSlope plus RescaleIntercept.
        dataset: The instance's header.
        view: Which of `views`; an image without any is shown from its lowest to its highest finite value.
        frame: Whose view, of an enhanced instance.

    Returns:
        The same shape, float32, within [0, 1].

    Raises:
        PixelError: There is no such view, or its table is not whole.
    """
    with part10.silence():
        known = _views(dataset, frame)
        given = values.astype(np.float64)
        if not known and view == 0:
            return _full(given)
        if not 0 <= view < len(known):
            raise PixelError(f"view {view} was asked for, the image has {len(known)}")
        turned = _photometric(dataset) == "MONOCHROME1"
        given = _top(dataset, frame) - given if turned else given
        shown = np.clip(known[view][1](given), 0, 1)
        inverse = turned or str(attributes.value(dataset, "PresentationLUTShape") or "").strip().upper() == "INVERSE"
    return np.asarray(1 - shown if inverse else shown, np.float32)


def _full(values: np.ndarray) -> np.ndarray:
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    shown = np.nan_to_num(values, nan=low, posinf=high, neginf=low) - low
    return (shown / (high - low) if high > low else shown * 0).astype(np.float32)


def _photometric(dataset: Dataset) -> str:
    return str(attributes.value(dataset, "PhotometricInterpretation") or "").strip().upper()


def _top(dataset: Dataset, frame: int) -> float:
    """Returns lowest and highest modality value added up: what a value and its turned one add up to."""
    table = modality_table(dataset)
    if table is not None:
        return float(2**table.bits - 1)
    slope, intercept = rescale(_layer(dataset, frame, _OF_FRAMES[0], "RescaleSlope"))
    signed = attributes.whole(dataset, "PixelRepresentation", 0) == 1
    bits = attributes.whole(dataset, "BitsStored", attributes.whole(dataset, "BitsAllocated", 16))
    return slope * (-1 if signed else 2**bits - 1) + 2 * intercept


def _layer(dataset: Dataset, frame: int, sequence: str, keyword: str) -> Dataset:
    """Returns the item of the frame's functional groups that holds an attribute, else the data set."""
    own, shared = (
        attributes.value(dataset, f"{name}FunctionalGroupsSequence") or [] for name in ("PerFrame", "Shared")
    )
    for groups in (*own[frame : frame + 1], *shared[:1]):
        items = attributes.value(groups, sequence)
        if items and keyword in items[0]:
            layer: Dataset = items[0]
            return layer
    return dataset


def _views(dataset: Dataset, frame: int) -> list[tuple[str, _Shown]]:
    items = attributes.value(dataset, "VOILUTSequence") or []
    found = [(str(attributes.value(item, "LUTExplanation") or "VOI LUT"), _by_table(item, dataset)) for item in items]
    layer = _layer(dataset, frame, _OF_FRAMES[1], "WindowCenter")
    named = _several(layer, "WindowCenterWidthExplanation", str)
    function = str(attributes.value(layer, "VOILUTFunction") or "LINEAR").strip().upper()
    pairs = zip(_several(layer, "WindowCenter", float), _several(layer, "WindowWidth", float))
    for index, (center, width) in enumerate(pairs):
        if np.isfinite(center) and np.isfinite(width) and (width >= 1 if function == "LINEAR" else width > 0):
            found.append((named[index] if index < len(named) else "window", _by_window(center, width, function)))
    return found


def _several(layer: Dataset, keyword: str, kind: Callable[[Any], Any]) -> list[Any]:
    given = attributes.value(layer, keyword)
    many = given if isinstance(given, list | tuple) or hasattr(given, "append") else [given]
    try:
        return [kind(one) for one in many if one is not None]
    except (TypeError, ValueError):
        return []


def _by_window(center: float, width: float, function: str) -> _Shown:
    if function == "SIGMOID":
        return lambda values: 1 / (1 + np.exp(np.clip(-4 * (values - center) / width, -700, 700)))
    if function == "LINEAR_EXACT":
        return lambda values: (values - center) / width + 0.5
    if width == 1:
        return lambda values: (values > center - 0.5).astype(np.float64)
    return lambda values: (values - (center - 0.5)) / (width - 1) + 0.5


def _by_table(item: Dataset, dataset: Dataset) -> _Shown:
    table = _table(item, dataset, "VOILUTSequence")
    return lambda values: table.look_up(np.nan_to_num(np.round(values))) / (2.0**table.bits - 1)
