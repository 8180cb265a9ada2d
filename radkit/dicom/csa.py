"""Siemens' private headers of an MR image: named values of the CSA header, and the protocol's slices."""

import re
import struct

import numpy as np

# An element: name, VM, VR, SyngoDT, count of items, check. An item: four words with its length among them, its text.
_ELEMENT = struct.Struct("<64sI4sIII")
_ITEM = struct.Struct("<4I")
_MOST_ITEMS = 10000
_CHECKS = (77, 205)

_AXES = {"Sag": 0, "Cor": 1, "Tra": 2}
_PROTOCOL = re.compile(rb"### ASCCONV BEGIN[^\n]*###\s*\n(.*?)### ASCCONV END", re.DOTALL)
_POSITION = re.compile(r"^sSliceArray\.asSlice\[(\d+)\]\.sPosition\.d(Sag|Cor|Tra)\s*=\s*(\S+)", re.MULTILINE)
_THICKNESS = re.compile(r"^sSliceArray\.asSlice\[(\d+)\]\.dThickness", re.MULTILINE)


def values(raw: bytes, name: str) -> tuple[str, ...]:
    """Returns the values of a CSA header's element, as text; empty ones, and what is no CSA header, tell nothing.

    Args:
        raw: Value of (0029,xx10) or (0029,xx20): of the form marked "SV10", or the older one without a mark.
        name: The element's, such as "NumberOfImagesInMosaic".

    Source: Siemens does not publish it; https://nipy.org/nibabel/dicom/siemens_csa.html describes it.
    """
    marked = raw[:4] == b"SV10"
    begin = 16 if marked else 8
    if len(raw) < begin + _ELEMENT.size:
        return ()
    *_, first_items, check = _ELEMENT.unpack_from(raw, begin)
    if check not in _CHECKS:
        return ()
    at = raw.find(name.encode() + b"\0", begin)
    while 0 <= at <= len(raw) - _ELEMENT.size:
        *_, items, check = _ELEMENT.unpack_from(raw, at)
        if check in _CHECKS and items <= _MOST_ITEMS:
            # The older form writes each length too large by the first element's number of items.
            return _items(raw, at + _ELEMENT.size, items, None if marked else first_items)
        at = raw.find(name.encode() + b"\0", at + 1)  # the name stood in some text
    return ()


def _items(raw: bytes, at: int, count: int, surplus: int | None) -> tuple[str, ...]:
    found = []
    for _ in range(count):
        if at + _ITEM.size > len(raw):
            break  # cut short
        lengths = _ITEM.unpack_from(raw, at)
        at += _ITEM.size
        length = lengths[1] if surplus is None else max(0, lengths[0] - surplus)
        if at + length > len(raw):
            break
        found.append(raw[at : at + length].split(b"\0", 1)[0].decode("latin-1").strip())
        at += -(-length // 4) * 4
    return tuple(filter(None, found))


def centres(raw: bytes) -> np.ndarray | None:
    """Returns where the protocol lays the middle of each slice; None when it is absent or not understood.

    Args:
        raw: Value of (0029,xx20).

    Returns:
        LPS mm, (slices, 3) float64, in the protocol's order, which a reversed numbering of the images does not change.
        A volume that is excited as one slab has one.
    """
    protocol = _PROTOCOL.search(raw)
    if protocol is None:
        return None
    text = protocol[1].decode("latin-1")
    numbers = {int(number) for number in _THICKNESS.findall(text)}
    if not numbers or numbers != set(range(len(numbers))):
        return None
    places = np.zeros((len(numbers), 3))  # a coordinate of zero is left out
    for number, axis, value in _POSITION.findall(text):
        try:
            places[int(number), _AXES[axis]] = float(value)
        except (ValueError, IndexError):
            return None
    return places if np.isfinite(places).all() else None
