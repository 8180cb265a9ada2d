"""DICOM's data elements as bytes: where each begins and ends, and new ones; no value is decoded.

Source: DICOM PS3.5 sections 6.2 and 7, Annex A.
"""

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from radkit.errors import UserError

UNDEFINED = 0xFFFFFFFF
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
PIXEL_DATA = 0x7FE00010
CUT = "the file is cut short"
_ZEROS, _BLOCK = 4096, 1 << 20

# New bytes, or a run of the source that is copied as it stands: from where to where.
Part = bytes | tuple[int, int]
# Deeper nesting than any IOD's or template's; beyond it a file is made to exhaust its reader.
MAX_DEPTH = 60

LONG_VRS = frozenset((b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"))
_SHORT_VRS = frozenset(
    (b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO", b"LT", b"PN", b"SH", b"SL", b"SS")
    + (b"ST", b"TM", b"UI", b"UL", b"US")
)


class NotCleanable(UserError):
    """The instance cannot be made safe; the message says why and holds nothing of it."""


Head = tuple[int, str | None, Any, int, int]
# Tags of one file's making must not fill the memory of a process that sees millions of files.
_MOST_HEADS = 50_000


@dataclass(frozen=True)
class Syntax:
    """How elements are encoded."""

    number: int
    implicit: bool
    big: bool
    tag: struct.Struct = field(repr=False)  # group and element
    short: struct.Struct = field(repr=False)
    long: struct.Struct = field(repr=False)
    # How the elements begin that were met before: tag, VR, what reads the length, where it and the value stand.
    heads: dict[bytes, "Head"] = field(default_factory=dict, repr=False, compare=False)

    def tag_at(self, buffer: bytes, position: int) -> int:
        """Returns the tag that stands at a position."""
        group, element = self.tag.unpack_from(buffer, position)
        return int(group << 16 | element)


def _syntax(number: int, implicit: bool, big: bool) -> Syntax:
    order = ">" if big else "<"
    return Syntax(
        number, implicit, big, struct.Struct(order + "HH"), struct.Struct(order + "H"), struct.Struct(order + "L")
    )


EXPLICIT, IMPLICIT, BIG = _syntax(0, False, False), _syntax(1, True, False), _syntax(2, False, True)


def is_known(vr: bytes) -> bool:
    """Tells whether the standard has an explicit VR."""
    return vr in LONG_VRS or vr in _SHORT_VRS


class Entry(NamedTuple):
    """Where one element stands."""

    tag: int
    vr: str | None  # None in implicit VR
    start: int
    value: int  # where the value begins
    value_end: int  # where it ends, before the delimiter of an undefined length
    end: int
    undefined: bool


new_entry = tuple.__new__  # an Entry of a tuple, at half the price of calling the class


class Item(NamedTuple):
    """Where one item of a sequence, or one fragment of pixels, stands."""

    start: int
    value: int
    value_end: int
    end: int
    undefined: bool


@dataclass
class Scanner:
    """Tells where elements and items stand in a buffer.

    Attributes:
        buffer: The bytes; an mmap does, too.
        ends: Where undefined lengths end, by where their values begin: each is walked through once only.
    """

    buffer: bytes
    ends: dict[int, tuple[int, int]] = field(default_factory=dict, repr=False)

    def header(self, position: int, syntax: Syntax) -> tuple[int, str | None, int, int]:
        """Returns (tag, VR or None, length, where the value begins) of the element at a position.

        Raises:
            NotCleanable: The buffer ends within the header.
        """
        try:
            head = syntax.heads.get(self.buffer[position : position + (4 if syntax.implicit else 6)])
            if head is None:
                return self._new_header(position, syntax)
            tag, vr, read, length_at, value_at = head
            return tag, vr, read(self.buffer, position + length_at)[0], position + value_at
        except struct.error as error:
            raise NotCleanable(CUT) from error

    def _new_header(self, position: int, syntax: Syntax) -> tuple[int, str | None, int, int]:
        buffer, tag = self.buffer, syntax.tag_at(self.buffer, position)
        vr = buffer[position + 4 : position + 6]
        if syntax.implicit:
            head: Head = (tag, None, syntax.long.unpack_from, 4, 8)
        elif vr in LONG_VRS:
            head = (tag, vr.decode(), syntax.long.unpack_from, 8, 12)
        elif vr in _SHORT_VRS:
            head = (tag, vr.decode(), syntax.short.unpack_from, 6, 8)
        else:
            return self._unknown(tag, vr, position, syntax)
        length = head[2](buffer, position + head[3])[0]
        if len(syntax.heads) > _MOST_HEADS:
            syntax.heads.clear()
        syntax.heads[buffer[position : position + (4 if syntax.implicit else 6)]] = head
        return tag, head[1], length, position + head[4]

    def _unknown(self, tag: int, vr: bytes, position: int, syntax: Syntax) -> tuple[int, str | None, int, int]:
        """Returns the header of an element under no VR of the standard: the reading after which something fits.

        VRs to come have long lengths (PS3.5 6.2), some programs' own have short ones, and some programs write implicit
        elements among explicit ones.
        """
        buffer = self.buffer
        said = vr.decode() if vr.isalpha() and vr.isupper() else "UN"
        long = (tag, said, syntax.long.unpack_from(buffer, position + 8)[0], position + 12)
        short = (tag, said, syntax.short.unpack_from(buffer, position + 6)[0], position + 8)
        implicit = (tag, None, syntax.long.unpack_from(buffer, position + 4)[0], position + 8)
        reserved = buffer[position + 6 : position + 8] == b"\0\0"
        if said == "UN":
            likely = [implicit, long, short]
        else:
            likely = [long, short, implicit] if reserved else [short, implicit, long]
        for surely in (True, False):
            for found in likely:
                if self._fits(tag, found[3] + found[2], syntax, surely):
                    return found
        return likely[0]

    def _fits(self, tag: int, after: int, syntax: Syntax, surely: bool) -> bool:
        """Tells whether an element may end here: at the end, or where a later one or a delimiter begins."""
        left = len(self.buffer) - after
        if left < 8:
            return left == 0
        following = syntax.tag_at(self.buffer, after)
        if following in (ITEM, ITEM_END, SEQUENCE_END):
            return True
        return following > tag and (not surely or is_known(self.buffer[after + 4 : after + 6]))

    def entries(self, start: int, end: int, syntax: Syntax, depth: int = 0) -> Iterator[Entry]:
        """Yields where each element of one data set stands, those within its sequences left out.

        Args:
            start: Where the data set begins.
            end: Where it ends, or where the file does.
            syntax: How it is encoded.
            depth: How many sequences it is within.

        Raises:
            NotCleanable: It ends within an element, or nests without end.
        """
        buffer, heads, width = self.buffer, syntax.heads, 4 if syntax.implicit else 6
        position = start
        while position < end:
            if buffer[position] == 0 and not any(buffer[position : min(end, position + _ZEROS)]):
                if self.is_zero(position, end):
                    return  # up to the end, as some archives append
                raise NotCleanable("a block of zeros stands among the elements")
            head = heads.get(buffer[position : position + width])
            if head is None or position + 12 > len(buffer):
                tag, vr, length, value = self.header(position, syntax)
            else:  # `header`, without the cost of a call
                tag, vr, value = head[0], head[1], position + head[4]
                length = head[2](buffer, position + head[3])[0]
            if tag in (ITEM_END, SEQUENCE_END):
                raise NotCleanable("a delimiter stands where none belongs")
            if length == UNDEFINED:
                value_end, after = self.undefined_end(value, end, self.inner(vr, value, syntax), depth)
            else:
                value_end = after = value + length
            if after > end:
                raise NotCleanable(CUT)
            yield new_entry(Entry, (tag, vr, position, value, value_end, after, length == UNDEFINED))
            position = after

    def is_zero(self, start: int, end: int) -> bool:
        """Tells whether all bytes of a range are zero."""
        blocks = (self.buffer[at : min(end, at + _BLOCK)] for at in range(start, end, _BLOCK))
        return not any(bytes(block).strip(b"\0") for block in blocks)

    def inner(self, vr: str | None, value: int, syntax: Syntax) -> Syntax:
        """Returns how the items of a sequence are encoded: under the VR UN as implicit little endian.

        Some programs write them as explicit all the same; then the first element's VR stands in the open.

        Source: DICOM PS3.5 6.2.2, note 2.
        """
        if vr != "UN":
            return syntax
        first = self.buffer[value + 12 : value + 14]
        return EXPLICIT if is_known(first) else IMPLICIT

    def undefined_end(self, value: int, end: int, syntax: Syntax, depth: int = 0) -> tuple[int, int]:
        """Returns where the items of an undefined length end, before and after their delimiter."""
        known = self.ends.get(value)
        if known is None:
            position = value
            for item in self.items(value, end, syntax, depth, is_open=True):
                position = item.end
            tag, length = self._delimiter(position, end, syntax)
            if tag != SEQUENCE_END or length:  # what a delimiter says it holds, readers pass over
                raise NotCleanable(CUT)
            known = self.ends[value] = position, position + 8
        return known

    def items(self, start: int, end: int, syntax: Syntax, depth: int = 0, *, is_open: bool = False) -> Iterator[Item]:
        """Yields where each item of a sequence stands.

        Args:
            start: Where the first begins.
            end: Where the sequence ends, before its delimiter.
            syntax: How they are encoded.
            depth: How many sequences they are within.
            is_open: The end is not known yet: it is where the delimiter stands.

        Raises:
            NotCleanable: Something else stands where an item must.
        """
        if depth > MAX_DEPTH:
            raise NotCleanable("sequences are nested without end")
        position = start
        while position < end:
            tag, length = self._delimiter(position, end, syntax)
            if tag == SEQUENCE_END and (is_open or position + 8 == end):
                return
            if tag != ITEM:
                raise NotCleanable("a sequence holds something that is no item")
            value = position + 8
            if length == UNDEFINED:
                value_end = self._item_end(value, end, syntax, depth)
                after = value_end + 8
            else:
                value_end = after = value + length
            if after > end:
                raise NotCleanable(CUT)
            yield Item(position, value, value_end, after, length == UNDEFINED)
            position = after

    def _item_end(self, value: int, end: int, syntax: Syntax, depth: int) -> int:
        known = self.ends.get(value)
        if known:
            return known[0]
        position = value
        while True:
            if position + 8 > end:
                raise NotCleanable(CUT)
            if syntax.tag_at(self.buffer, position) == ITEM_END:
                if self._delimiter(position, end, syntax)[1]:
                    raise NotCleanable("a delimiter stands where none belongs")
                self.ends[value] = position, position + 8
                return position
            _, vr, length, inner = self.header(position, syntax)
            if length == UNDEFINED:
                _, position = self.undefined_end(inner, end, self.inner(vr, inner, syntax), depth + 1)
            else:
                position = inner + length

    def _delimiter(self, position: int, end: int, syntax: Syntax) -> tuple[int, int]:
        if position + 8 > end:
            raise NotCleanable(CUT)
        return syntax.tag_at(self.buffer, position), syntax.long.unpack_from(self.buffer, position + 4)[0]


def element(tag: int, vr: str, value: bytes, syntax: Syntax) -> bytes:
    """Returns an element of a defined length, its value padded to an even one."""
    value = padded(value, vr)
    return header(tag, vr, len(value), syntax) + value


def padded(value: bytes, vr: str) -> bytes:
    """Returns a value of an even length (PS3.5 6.2)."""
    if len(value) % 2:
        value += b"\0" if vr in ("UI", "OB", "UN") else b" "
    return value


def header(tag: int, vr: str, length: int, syntax: Syntax) -> bytes:
    """Returns what stands before a value; one too long for its VR's length field becomes UN (PS3.5 6.2.2)."""
    head = syntax.tag.pack(tag >> 16, tag & 0xFFFF)
    if syntax.implicit:
        return head + syntax.long.pack(length)
    code = vr.encode()
    if code not in LONG_VRS and length > 0xFFFF:
        code = b"UN"
    if code in LONG_VRS:
        return head + code + b"\0\0" + syntax.long.pack(length)
    return head + code + syntax.short.pack(length)


def sequence(tag: int, contents: Iterable[bytes], syntax: Syntax) -> bytes:
    """Returns a sequence of items, each given as its encoded elements; all lengths are defined."""
    packed = b"".join(item_header(len(content), syntax) + content for content in contents)
    return header(tag, "SQ", len(packed), syntax) + packed


def item_header(length: int, syntax: Syntax) -> bytes:
    """Returns what stands before an item's elements."""
    return syntax.tag.pack(ITEM >> 16, ITEM & 0xFFFF) + syntax.long.pack(length)


def delimiter(tag: int, syntax: Syntax) -> bytes:
    """Returns `ITEM_END` or `SEQUENCE_END` as bytes."""
    return syntax.tag.pack(tag >> 16, tag & 0xFFFF) + syntax.long.pack(0)


def wrapped(item: Item, parts: Sequence[Part], syntax: Syntax) -> list[Part]:
    """Returns an item's header, its new elements and what ends it."""
    if item.undefined:
        return [item_header(UNDEFINED, syntax), *parts, delimiter(ITEM_END, syntax)]
    return [item_header(length_of(parts), syntax), *parts]


def length_of(parts: Sequence[Part]) -> int:
    """Returns how many bytes parts hold."""
    return sum(part[1] - part[0] if isinstance(part, tuple) else len(part) for part in parts)
