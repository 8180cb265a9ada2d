"""Attributes' values as Python values: straight from the bytes where that is certain, else as pydicom decodes them."""

import struct
from functools import cache
from typing import Any

import numpy as np
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag, Tag

from radkit.dicom import part10
from radkit.errors import UserError

# What an attribute raises when its value is first asked for; OSError is pydicom's word for a sequence cut short.
UNDECODABLE = (*part10.MALFORMED, OSError)
# Text of these is ASCII, or the same in every character set as long as its bytes are.
_TEXTS = frozenset(("AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "SH", "TM", "UI"))
_ODD = frozenset(b"\x1b\\")  # escapes to other character sets; several values, each with spaces of its own


class NotDicom(UserError):
    """The file cannot be read as DICOM; the message says why, without its name or contents."""


@cache
def _of(keyword: str) -> tuple[BaseTag, str] | None:
    tag = tag_for_keyword(keyword)
    return None if tag is None else (Tag(tag), dictionary_VR(tag))


def _raw(dataset: Dataset, keyword: str) -> tuple[bytes, str, bool] | None:
    """Returns bytes, representation and whether little endian, of an element that is there and not decoded yet."""
    known = _of(keyword)
    if known is None or known[0] not in dataset:
        return None
    element = dataset.get_item(known[0], keep_deferred=True)
    if type(element) is not RawDataElement or not isinstance(element.value, bytes):
        return None
    return element.value, element.VR or known[1], element.is_little_endian


def value(dataset: Dataset, keyword: str) -> Any:
    """Returns an attribute's value, None when it is absent or empty.

    Raises:
        NotDicom: It cannot be decoded, as a number that is none.
    """
    try:
        found = dataset.get(keyword)
    except UNDECODABLE as error:
        raise NotDicom(f"{keyword} cannot be read ({type(error).__name__})") from error
    return None if found is None or found == "" else found


def whole(dataset: Dataset, keyword: str, default: int) -> int:
    """Returns an attribute that is a whole number, `default` when it is absent or empty.

    Raises:
        NotDicom: It is not one whole number.
    """
    raw = _raw(dataset, keyword)
    if raw is not None and raw[1] == "US" and len(raw[0]) == 2:
        return int(struct.unpack("<H" if raw[2] else ">H", raw[0])[0])
    found = value(dataset, keyword)
    try:
        return default if found is None else int(found)
    except (TypeError, ValueError) as error:
        raise NotDicom(f"{keyword} is not one whole number") from error


def text(dataset: Dataset, keyword: str) -> str:
    """Returns an attribute as text, several values joined by backslashes; empty when absent or empty.

    Raises:
        NotDicom: It cannot be decoded.
    """
    raw = _raw(dataset, keyword)
    if raw is not None and raw[1] in _TEXTS and raw[0].isascii() and not _ODD.intersection(raw[0]):
        return raw[0].decode("ascii").rstrip("\0 ").strip()
    found = value(dataset, keyword)
    if found is None:
        return ""
    return "\\".join(map(str, found)) if isinstance(found, MultiValue | list) else str(found).strip()


def numbers(dataset: Dataset, keyword: str) -> tuple[float, ...] | None:
    """Returns an attribute's values as finite numbers; None when it is absent or empty.

    Raises:
        NotDicom: They are no finite numbers.
    """
    raw = _raw(dataset, keyword)
    if raw is not None and raw[1] in ("DS", "IS") and raw[0].isascii():
        given: Any = raw[0].decode("ascii").strip(" \0").split("\\")
        given = None if given == [""] else given
    else:
        given = value(dataset, keyword)
        if given is not None and not isinstance(given, MultiValue | list):
            given = [given]
    if given is None:
        return None
    try:
        found = tuple(map(float, given))
    except (TypeError, ValueError) as error:
        raise NotDicom(f"{keyword} is not of numbers") from error
    if not np.isfinite(found).all():
        raise NotDicom(f"{keyword} is not of finite numbers")
    return found
