"""A lean reader of headers: picks wanted elements from a file's bytes, and leaves all that is odd to pydicom.

It builds no data set: it walks from element to element, reads some kilobytes of the file, and stops at the pixels. What
it gives is what pydicom would give; wherever that is not certain it says so (`Odd`, or `Header.odd`), and the caller
reads those with pydicom.

Source: DICOM PS3.5 7.1 (data elements), 7.5 (sequences), A.1 to A.4 (transfer syntaxes); PS3.10 7.1 (file meta).
"""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from struct import Struct

from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

_WINDOW = 16 * 1024  # most headers are smaller
_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_PIXELS = frozenset((0x7FE00008, 0x7FE00009, 0x7FE00010))
_DEEPEST = 32
_MOST_BYTES = 1 << 20  # no wanted value is longer

_LONG = frozenset((b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"))
_SHORT = frozenset((
    b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO", b"LT", b"PN", b"SH", b"SL", b"SS",
    b"ST", b"TM", b"UI", b"UL", b"US",
))  # fmt: skip
_PLAIN, _TEXT = frozenset(("AS", "CS", "DA", "DT", "TM")), frozenset(("LO", "SH"))
_BINARY = {"US": "H", "FD": "d", "FL": "f"}

# Where one byte is one letter and ASCII is itself; others, and those that switch by escapes, are pydicom's work.
_CHARACTER_SETS = {
    b"": "latin-1", b"ISO_IR 6": "latin-1", b"ISO_IR 100": "latin-1", b"ISO_IR 192": "utf-8",
}  # fmt: skip
_CHARACTER_SET = 0x00080005
_UID = re.compile(r"[0-9.]+")
_WHOLE = re.compile(r"[+-]?[0-9]{1,9}")
_DECIMALS = re.compile(r" *[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,2})? *")

# Where an enhanced instance keeps what a classic one has at the top: macro of a functional group -> keywords.
# Source: DICOM PS3.3 C.7.6.16.2 and C.8.13.5, C.8.15.3 (MR and CT macros).
MACROS = {
    "PlanePositionSequence": {"ImagePositionPatient": "ImagePositionPatient"},
    "PlaneOrientationSequence": {"ImageOrientationPatient": "ImageOrientationPatient"},
    "PixelMeasuresSequence": {k: k for k in ("PixelSpacing", "SliceThickness", "SpacingBetweenSlices")},
    "FrameAnatomySequence": {"FrameLaterality": "ImageLaterality"},
    "MREchoSequence": {"EffectiveEchoTime": "EchoTime"},
    "MRTimingAndRelatedParametersSequence": {"RepetitionTime": "RepetitionTime", "FlipAngle": "FlipAngle"},
    "MRModifierSequence": {"InversionTimes": "InversionTime"},
    "MRDiffusionSequence": {"DiffusionBValue": "DiffusionBValue"},
    "CTXRayDetailsSequence": {"KVP": "KVP"},
    "CTReconstructionSequence": {"ConvolutionKernel": "ConvolutionKernel"},
}

_SHARED, _PER_FRAME = 0x52009229, 0x52009230


class Odd(Exception):
    """The file is not one that this reader is sure of; pydicom must judge it."""


@dataclass
class Header:
    """What was picked from a file.

    Attributes:
        syntax: TransferSyntaxUID.
        storage: MediaStorageSOPClassUID of the file meta.
        num_bytes: Size of the file.
        texts: Keyword: the value as text, several joined by backslashes; empty values are left out.
        implicit: Whether `odd` and `groups` are encoded without value representations.
        little: Whether they are little endian.
        odd: Encoded elements that pydicom must make text of, with the file's SpecificCharacterSet; mostly empty.
        odd_keywords: Which they are.
        groups: Encoded first items of the shared and the per-frame functional groups, by sequence keyword.
    """

    syntax: str
    storage: str
    num_bytes: int
    implicit: bool
    little: bool
    texts: dict[str, str] = field(default_factory=dict)
    odd: bytes = b""
    odd_keywords: list[str] = field(default_factory=list)
    groups: dict[str, bytes] = field(default_factory=dict)


class Wanted:
    """Which elements to pick; made once for many files."""

    def __init__(self, keywords: tuple[str, ...], refused: tuple[str, ...] = ()) -> None:
        """Looks the keywords up.

        Args:
            keywords: Of elements to pick, none of them a sequence.
            refused: Of elements at whose sight a file is `Odd`.
        """
        known = {tag: keyword for keyword in keywords if (tag := tag_for_keyword(keyword)) is not None}
        self.by_tag = {tag: (keyword, dictionary_VR(tag)) for tag, keyword in known.items()}
        self.refused = frozenset(filter(None, map(tag_for_keyword, refused)))


class _File:
    """Bytes of a file, a window at a time."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.size = os.fstat(descriptor).st_size
        self.data, self.start = b"", 0

    def at(self, place: int, count: int) -> int:
        """Returns where in `data` a place of the file is, with `count` bytes after it (zeros after the end)."""
        found = place - self.start
        if found >= 0 and found + count <= len(self.data):
            return found
        read = os.pread(self._descriptor, max(count, _WINDOW), place)
        short = max(0, count - len(read))
        if short and place + len(read) < self.size:
            raise Odd  # a network's file system may give less than is there
        self.data, self.start = read + bytes(short), place
        return 0

    def take(self, place: int, count: int) -> bytes:
        """Returns bytes that are all there.

        Raises:
            Odd: They are not.
        """
        if place + count > self.size or count > _MOST_BYTES * 64:
            raise Odd
        found = self.at(place, count)
        return self.data[found : found + count]


class _Syntax:
    """How elements are encoded."""

    def __init__(self, implicit: bool, little: bool) -> None:
        order = "<" if little else ">"
        self.implicit, self.little = implicit, little
        self.explicit_head = Struct(f"{order}HH2sH").unpack_from
        self.implicit_head = Struct(f"{order}HHL").unpack_from
        self.length = Struct(f"{order}L").unpack_from

    def head(self, file: _File, place: int, implicit: bool) -> tuple[int, bytes, int, int]:
        """Returns (tag, value representation or nothing, length, place of the value) of the element at a place."""
        found = place - file.start  # as `at` says, without the call: this is done for each element
        if found < 0 or found + 12 > len(file.data):
            found = file.at(place, 12)
        if implicit:
            group, element, length = self.implicit_head(file.data, found)
            return group << 16 | element, b"", length, place + 8
        group, element, vr, length = self.explicit_head(file.data, found)
        if vr in _SHORT:
            return group << 16 | element, vr, length, place + 8
        if vr in _LONG:
            return group << 16 | element, vr, self.length(file.data, found + 8)[0], place + 12
        raise Odd

    def item(self, file: _File, place: int) -> tuple[int, int]:
        """Returns (tag, length) of an item or a delimiter."""
        group, element, length = self.implicit_head(file.data, file.at(place, 8))
        return group << 16 | element, length


_SYNTAXES = {(i, e): _Syntax(i, e) for i, e in ((True, True), (False, True), (False, False))}


def read(path: Path | str, wanted: Wanted) -> Header:
    """Returns what is wanted of a file's header.

    Raises:
        Odd: pydicom must judge the file: it is no Part 10 file, deflated, cut short, of a private transfer syntax,
            encoded in another way than it says, or holds an element that `wanted` refuses.
        OSError: It cannot be opened.
    """
    # An open that hangs on a pipe would stop the scan of a million files.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0))
    try:
        return _read(_File(descriptor), wanted)
    finally:
        os.close(descriptor)


def _read(file: _File, wanted: Wanted) -> Header:
    place, meta = _file_meta(file)
    said = meta.get(0x00020010, "")
    if not said.startswith("1.2.840.10008.1.2") or said == DeflatedExplicitVRLittleEndian:
        raise Odd
    implicit, little = said == ImplicitVRLittleEndian, said != ExplicitVRBigEndian
    header = Header(said, meta.get(0x00020002, ""), file.size, implicit, little)
    values = _walk(file, place, _SYNTAXES[implicit, little], wanted, header)
    _texts(values, wanted, header)
    return header


def _file_meta(file: _File) -> tuple[int, dict[int, str]]:
    """Returns where the data set begins, and the UIDs of the file meta."""
    place, found, syntax = 132, {}, _SYNTAXES[False, True]
    if file.take(0, 134)[128:] != b"DICM\x02\x00":
        raise Odd
    while place + 8 <= file.size and file.take(place, 2) == b"\x02\x00":
        tag, vr, length, place = syntax.head(file, place, False)
        if vr == b"UI":
            value = file.take(place, length).decode("latin-1").rstrip("\0 ")
            if value and not _UID.fullmatch(value):
                raise Odd
            found[tag] = value
        elif length == _UNDEFINED:
            raise Odd
        place += length
    return place, found


def _walk(file: _File, place: int, syntax: _Syntax, wanted: Wanted, header: Header) -> dict[int, tuple[bytes, int]]:
    """Returns the wanted elements, (encoded, length of the head) by tag, up to the pixels or the file's end."""
    found: dict[int, tuple[bytes, int]] = {}
    implicit, picked, refused, last = syntax.implicit, wanted.by_tag, wanted.refused, -1
    _check_first(file, place, syntax)
    while place < file.size:
        tag, _, length, value = syntax.head(file, place, implicit)
        if tag in _PIXELS:
            return found
        if tag in refused or tag <= last:  # what stands twice or out of order is no plain file
            raise Odd
        last = tag
        if tag in _GROUPS:
            header.groups[_GROUPS[tag]] = _first_item(file, value, length, syntax)
        if tag in picked or tag == _CHARACTER_SET:
            if length > _MOST_BYTES:  # of undefined length, too
                raise Odd
            found[tag] = file.take(place, value - place + length), value - place
        place = value + length if length != _UNDEFINED else _after_items(file, value, syntax, implicit, 0)
    if place != file.size:
        raise Odd
    return found


_GROUPS = {_SHARED: "SharedFunctionalGroupsSequence", _PER_FRAME: "PerFrameFunctionalGroupsSequence"}


def _check_first(file: _File, place: int, syntax: _Syntax) -> None:
    """Refuses a data set that is not encoded as its file says, or begins with commands, or before group 8."""
    if place + 8 > file.size:
        raise Odd
    start = file.take(place, 8)
    group = int.from_bytes(start[:2], "little" if syntax.little else "big")
    if syntax.implicit == _is_explicit(start) or not 0x0008 <= group < 0x7FE0:
        raise Odd


def _is_explicit(start: bytes) -> bool:
    return all(0x40 < letter < 0x5B for letter in start[4:6])


def _after_items(file: _File, place: int, syntax: _Syntax, implicit: bool, depth: int) -> int:
    """Returns the place after a sequence of undefined length; also of encapsulated bytes, which are items, too."""
    if depth > _DEEPEST:
        raise Odd
    while True:
        tag, length = syntax.item(file, place)
        place += 8
        if tag == _SEQUENCE_END and place <= file.size:
            return place
        if tag != _ITEM or place > file.size:
            raise Odd
        place = _after_item(file, place, syntax, implicit, depth) if length == _UNDEFINED else place + length


def _after_item(file: _File, place: int, syntax: _Syntax, implicit: bool, depth: int) -> int:
    """Returns the place after an item of undefined length; within explicit files an item may be implicit."""
    inner = implicit or not _is_explicit(file.take(place, 8))
    while True:
        start = file.at(place, 8)
        if syntax.implicit_head(file.data, start)[:2] == (0xFFFE, 0xE00D):
            return place + 8
        if place + 8 > file.size:
            raise Odd
        _, _, length, place = syntax.head(file, place, inner)
        if length == _UNDEFINED:
            place = _after_items(file, place, syntax, inner, depth + 1)
        else:
            place += length


def _first_item(file: _File, place: int, length: int, syntax: _Syntax) -> bytes:
    """Returns the encoded elements of a sequence's first item; nothing when there is none."""
    if length < 8:
        return b""
    tag, size = syntax.item(file, place)
    if tag == _SEQUENCE_END:
        return b""
    if tag != _ITEM:
        raise Odd
    place += 8
    if size != _UNDEFINED:
        return file.take(place, size)
    return file.take(place, _after_item(file, place, syntax, syntax.implicit, 0) - place - 8)


def _texts(values: dict[int, tuple[bytes, int]], wanted: Wanted, header: Header) -> None:
    """Fills `header` with the elements as text; with those that are not plain as they are."""
    encoded, start = values.get(_CHARACTER_SET, (b"", 0))
    letters = _CHARACTER_SETS.get(encoded[start:].rstrip(b"\0 "))
    odd = []
    for tag, (element, head) in values.items():
        if tag not in wanted.by_tag or len(element) == head:
            continue
        keyword, vr = wanted.by_tag[tag]
        same = header.implicit or element[4:6] == vr.encode()
        text = _text(element[head:], vr, letters, header.little) if same else None
        if text is None:
            odd.append(element)
            header.odd_keywords.append(keyword)
        elif text:
            header.texts[keyword] = text
    header.odd = b"".join([encoded, *odd]) if odd else b""


def _text(value: bytes, vr: str, letters: str | None, little: bool) -> str | None:
    """Returns an element's text as pydicom would give it; None where that is not certain."""
    if vr in _BINARY:
        read = Struct(("<" if little else ">") + _BINARY[vr])
        return str(read.unpack(value)[0]) if len(value) == read.size else None
    if vr in _TEXT:
        return _words(value, letters)
    text = value.decode("latin-1").rstrip("\0 ")
    if vr in _PLAIN:
        return text if "\\" in text else text.strip()
    return _number(text, vr) if text else text


def _words(value: bytes, letters: str | None) -> str | None:
    if letters is None or b"\x1b" in value:
        return None
    try:
        text = value.decode(letters)
    except UnicodeDecodeError:
        return None
    if "\\" not in text:
        return text.rstrip("\0 ").strip()
    return "\\".join(part.rstrip("\0 ") for part in text.split("\\"))


def _number(text: str, vr: str) -> str | None:
    """Returns UIDs and written numbers; None when they are not as they should be."""
    if vr == "UI":
        return text if _UID.fullmatch(text) else None
    if vr == "IS":
        return text.strip() if _WHOLE.fullmatch(text.strip()) else None
    if vr != "DS":
        return None
    parts = text.split("\\")
    return "\\".join(part.strip() for part in parts) if all(map(_DECIMALS.fullmatch, parts)) else None
