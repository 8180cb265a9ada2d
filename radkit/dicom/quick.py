"""Whole files as data sets of raw elements, for the files that most archives are made of; others are pydicom's work.

pydicom's own reader asks much of each element; here one loop cuts a file's bytes into the raw elements that pydicom
decodes when they are asked for. Source: DICOM PS3.5 7.1, 7.5, A.1, A.2, A.4; PS3.10 7.1.
"""

import os
from io import FileIO
from pathlib import Path
from struct import Struct, error

from pydicom.charset import convert_encodings
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.tag import BaseTag
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

_MOST_BYTES = 1 << 28  # a larger file is read by pydicom, which does not hold it twice
_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_PIXELS, _CHARACTER_SET = 0x7FE00010, 0x00080005
_FRAMES = 0x00280008  # NumberOfFrames
_DEEPEST = 32
_WINDOW = 1 << 16  # most headers are shorter
_MOST_TAGS = 50_000

_SHORT = {vr.encode(): vr for vr in (
    "AE", "AS", "AT", "CS", "DA", "DS", "DT", "FD", "FL", "IS", "LO", "LT", "PN", "SH", "SL", "SS", "ST", "TM", "UI",
    "UL", "US",
)}  # fmt: skip
_LONG = {vr.encode(): vr for vr in (
    "OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV",
)}  # fmt: skip

_explicit, _implicit, _long = Struct("<HH2sH").unpack_from, Struct("<HHL").unpack_from, Struct("<L").unpack_from

_Raw = dict[BaseTag, RawDataElement]
_TAGS: dict[int, BaseTag] = {}


class _Odd(Exception):
    """The file is not plain."""


class _More(_Odd):
    """More of the file must be read."""


def read(path: Path, *, defer: bool = False) -> Dataset | None:
    """Returns a file's data set, its elements undecoded, as `pydicom.dcmread` gives it; None when pydicom must.

    Args:
        path: The file.
        defer: Whether uncompressed pixels of one frame stay in the file until they are asked for: `pixels` reads them.

    Raises:
        OSError: It cannot be opened.
    """
    with path.open("rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        if size > _MOST_BYTES:
            return None
        data = file.read(_WINDOW if defer else size)
        try:
            try:
                return _read(data, path, size)
            except (_More, error):
                return None if len(data) >= size else _read(data + _all(file), path, size)
        except (_Odd, error, ValueError, LookupError):
            return None


def _all(file: FileIO) -> bytes:
    parts = []
    while part := file.read():
        parts.append(part)
    return b"".join(parts)


def pixels(dataset: Dataset, element: RawDataElement) -> bytes:
    """Returns the bytes of an element that was left in the file; they are not kept.

    Raises:
        OSError: The file is not as it was.
    """
    with open(dataset.filename, "rb", buffering=0) as file:
        file.seek(element.value_tell)
        value = file.read(element.length)
    if len(value) != element.length:
        raise OSError("the file is shorter than it was")
    return value


def _read(data: bytes, path: Path, size: int) -> Dataset:
    if data[128:134] != b"DICM\x02\x00":
        raise _Odd
    meta_elements, place = _elements(data, 132, len(data), implicit=False, meta=True)
    meta = FileMetaDataset(meta_elements)
    syntax = meta.get("TransferSyntaxUID", "")
    if not syntax.startswith("1.2.840.10008.1.2") or syntax in (DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian):
        raise _Odd
    implicit = syntax == ImplicitVRLittleEndian
    elements, _ = _elements(data, place, size, implicit=implicit, meta=False)
    dataset = Dataset(elements)
    said = dataset[_CHARACTER_SET].value if _CHARACTER_SET in elements else None
    dataset.set_original_encoding(implicit, True, convert_encodings(said))
    dataset.file_meta = meta
    # Where pydicom finds what was left in the file.
    dataset.filename, dataset.buffer, dataset.fileobj_type, dataset.timestamp = str(path), None, open, None
    return dataset


def _elements(data: bytes, place: int, size: int, *, implicit: bool, meta: bool) -> tuple[_Raw, int]:
    """Returns the elements from a place to the end, or to the end of the file meta, and the place after them."""
    found: _Raw = {}
    end, last = len(data), -1
    make = tuple.__new__  # a named tuple's own is slower, and there is one for each element
    while place < size:
        group, element, vr, length = _explicit(data, place)
        if meta and group != 2:
            break
        tag = group << 16 | element
        if tag <= last or group == 0xFFFE or (group < 8 and not meta):
            raise _Odd
        last = tag
        name, value, length = _head(data, place, vr, length, implicit)
        stop = place = value + length
        said = length
        if length == _UNDEFINED:
            if tag != _PIXELS and name not in ("SQ", None):
                raise _Odd
            stop, place = _after_items(data, value, implicit, 0)
            # Items are read lazily, so the sequence is told as one of a length; pixels are cut into fragments later.
            said = _UNDEFINED if tag == _PIXELS else stop - value
        key = _TAGS.get(tag) or _new(tag)
        if place <= end:
            found[key] = make(RawDataElement, (key, name, said, data[value:stop], value, implicit, True, True, False))
        elif tag == _PIXELS and place == size and _FRAMES not in found:
            found[key] = RawDataElement(key, name, said, None, value, implicit, True)
        else:
            raise _More
    return found, place


def _head(data: bytes, place: int, vr: bytes, length: int, implicit: bool) -> tuple[str | None, int, int]:
    """Returns value representation, place of the value and its length, of an element at a place."""
    if implicit:
        return None, place + 8, _long(data, place + 4)[0]
    if vr in _SHORT:
        return _SHORT[vr], place + 8, length
    return _LONG[vr], place + 12, _long(data, place + 8)[0]


def _new(tag: int) -> BaseTag:
    key = BaseTag(tag)
    if len(_TAGS) < _MOST_TAGS:
        _TAGS[tag] = key
    return key


def _after_items(data: bytes, place: int, implicit: bool, depth: int) -> tuple[int, int]:
    """Returns where a sequence of undefined length ends, without and with its delimiter."""
    if depth > _DEEPEST:
        raise _Odd
    while True:
        group, element, length = _implicit(data, place)
        tag = group << 16 | element
        if tag == _SEQUENCE_END:
            return place, place + 8
        if tag != _ITEM:
            raise _Odd
        place = _after_item(data, place + 8, implicit, depth) if length == _UNDEFINED else place + 8 + length


def _after_item(data: bytes, place: int, implicit: bool, depth: int) -> int:
    while True:
        group, element, vr, length = _explicit(data, place)
        if group == 0xFFFE:
            if element != _ITEM_END & 0xFFFF:
                raise _Odd
            return place + 8
        if implicit:
            (length,), place = _long(data, place + 4), place + 8
        elif vr in _SHORT:
            place += 8
        else:
            if vr not in _LONG:
                raise _Odd  # an implicit item in an explicit file
            (length,), place = _long(data, place + 8), place + 12
        place = _after_items(data, place, implicit, depth + 1)[1] if length == _UNDEFINED else place + length
