"""Overlays and graphic annotations: bitmaps without text stay when asked, drawn text goes.

Source: DICOM PS3.15 E.3.3 (Clean Graphics Option); PS3.3 C.9.2 (Overlay Plane), C.10.5 (Graphic Annotation).
"""

import struct
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from radkit.deid import rules, wire
from radkit.deid.rules import Rule
from radkit.deid.values import DUMMY

if TYPE_CHECKING:
    from radkit.deid.rewrite import Rewriter

_ROWS, _COLUMNS, _TYPE, _ORIGIN, _BITS, _POSITION, _FRAMES, _DATA = (
    0x0010, 0x0011, 0x0040, 0x0050, 0x0100, 0x0102, 0x0015, 0x3000,
)  # fmt: skip
_FIRST_FRAME = 0x0051
_KEPT = frozenset((_ROWS, _COLUMNS, _TYPE, _ORIGIN, _BITS, _POSITION, _FRAMES, _FIRST_FRAME, _DATA))
_NUMBERS = {_ORIGIN: 4, _BITS: 2, _POSITION: 2, _FIRST_FRAME: 2}  # and their sizes in bytes
_TEXT = frozenset((0x0022, 0x1500, 0x4000))  # OverlayDescription, OverlayLabel, OverlayComments
_REMOVED = Rule(rules.REMOVE, "", "X", "")

_GRAPHIC_LAYER = 0x00700002


def clean_overlays(
    entries: Mapping[int, wire.Entry],
    scanner: wire.Scanner,
    syntax: wire.Syntax,
    shows_text: Callable[[np.ndarray], bool],
) -> frozenset[int]:
    """Returns the groups (60xx) whose bitmap is what its group says, and shows no text.

    Args:
        entries: The instance's top level, by tag.
        scanner: Over its bytes.
        syntax: How it is encoded.
        shows_text: Told a bitmap, (rows, columns) bool.
    """
    clean = set()
    for group in {tag >> 16 for tag in entries if tag >> 24 == 0x60}:
        frames = _bitmaps(entries, scanner, syntax, group)
        if frames is not None and not any(shows_text(frame) for frame in frames):
            clean.add(group)
    return frozenset(clean)


def _bitmaps(
    entries: Mapping[int, wire.Entry], scanner: wire.Scanner, syntax: wire.Syntax, group: int
) -> np.ndarray | None:
    """Returns a group's bitmap, (frames, rows, columns) bool, or None when its size is not what it says."""

    def value(element: int) -> bytes:
        entry = entries.get(group << 16 | element)
        return bytes(scanner.buffer[entry.value : entry.value_end]) if entry else b""

    sizes = [syntax.short.unpack(value(element))[0] if len(value(element)) == 2 else 0 for element in (_ROWS, _COLUMNS)]
    said = value(_FRAMES).strip(b" \0") or b"1"
    if not said.isdigit() or len(said) > 5 or value(_TYPE).strip(b" \0") not in (b"", b"G", b"R"):
        return None
    if any(len(value(element)) not in (0, size) for element, size in _NUMBERS.items()):
        return None
    frames = int(said)
    count = frames * sizes[0] * sizes[1]
    packed = np.frombuffer(value(_DATA), np.uint8)
    # The last byte and the padding hold nothing else (PS3.5 8.1.2); else they may hold anything.
    if not count or (len(packed) != (count + 15) // 16 * 2 and len(packed) != (count + 7) // 8):
        return None
    if syntax.big and len(packed) % 2 == 0:  # words: PS3.5 7.3
        packed = packed.reshape(-1, 2)[:, ::-1].reshape(-1)
    bits = np.unpackbits(packed, bitorder="little")
    return None if bits[count:].any() else bits[:count].reshape(frames, *sizes).astype(bool)


def element(rewriter: "Rewriter", entry: wire.Entry, rule: Rule, syntax: wire.Syntax) -> list[wire.Part] | None:
    """Returns what an element of an overlay group becomes under CleanGraphics."""
    number = entry.tag & 0xFFFF
    if entry.tag >> 16 in rewriter.overlays and not rewriter.log.is_nested():
        if number in _KEPT:
            rewriter.log.note(entry.tag, rule, bytes(rewriter.scanner.buffer[entry.value : entry.value_end]))
            return None
        if number in _TEXT:
            return rewriter.value(entry, Rule(rules.TEXT, rule.vr, "C", rule.option), syntax)
    elif number == 0x4000:  # the comments are cleaned with or without a bitmap
        return rewriter.value(entry, Rule(rules.TEXT, "LT", "C", rule.option), syntax)
    rewriter.log.add(entry.tag, _REMOVED, bytes(rewriter.scanner.buffer[entry.value : entry.value_end]))
    return []


def dummy(rewriter: "Rewriter", entry: wire.Entry, syntax: wire.Syntax) -> bytes:
    """Returns a GraphicAnnotationSequence that says one word on the first layer that the old one drew on."""
    scanner = rewriter.scanner
    inner = scanner.inner(entry.vr, entry.value, syntax)
    layer = b""
    for item in scanner.items(entry.value, entry.value_end, inner):
        for found in scanner.entries(item.value, item.value_end, inner):
            if found.tag == _GRAPHIC_LAYER and not layer:
                layer = bytes(scanner.buffer[found.value : found.value_end])
    order = ">" if syntax.big else "<"

    def corner(x: float, y: float) -> bytes:
        return struct.pack(f"{order}2f", x, y)

    text = b"".join((
        wire.element(0x00700003, "CS", b"DISPLAY", syntax),  # BoundingBoxAnnotationUnits
        wire.element(0x00700006, "ST", DUMMY.encode(), syntax),  # UnformattedTextValue
        wire.element(0x00700010, "FL", corner(0, 0), syntax),
        wire.element(0x00700011, "FL", corner(1, 0.05), syntax),
        wire.element(0x00700012, "CS", b"LEFT", syntax),  # BoundingBoxTextHorizontalJustification
    ))  # fmt: skip
    content = wire.element(_GRAPHIC_LAYER, "CS", layer, syntax) + wire.sequence(0x00700008, [text], syntax)
    return wire.sequence(entry.tag, [content], syntax)
