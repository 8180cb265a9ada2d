"""Implicit data sets made explicit: for files whose transfer syntax says explicit and whose elements are not.

Source: DICOM PS3.5 7.1; Annex A (all compressed transfer syntaxes are explicit).
"""

from radkit.deid import rules, wire


def explicit(scanner: wire.Scanner, start: int, end: int, depth: int = 0) -> bytes:
    """Returns an implicit little endian data set as an explicit one.

    Args:
        scanner: Over the bytes.
        start: Where the data set begins.
        end: Where it ends.
        depth: How many sequences it is within.

    Raises:
        NotCleanable: It ends within an element, or nests without end.
    """
    if depth > wire.MAX_DEPTH:
        raise wire.NotCleanable("sequences are nested without end")
    return b"".join(_element(scanner, e, depth) for e in scanner.entries(start, end, wire.IMPLICIT, depth))


def _element(scanner: wire.Scanner, entry: wire.Entry, depth: int) -> bytes:
    vr = rules.true_vr(entry.tag)
    value = bytes(scanner.buffer[entry.value : entry.value_end])
    if entry.tag == wire.PIXEL_DATA:
        vr = "OB" if entry.undefined else "OW"  # PS3.5 A.4 and A.2
    elif vr == "SQ":
        items = scanner.items(entry.value, entry.value_end, wire.IMPLICIT, depth)
        return wire.sequence(
            entry.tag, [explicit(scanner, item.value, item.value_end, depth + 1) for item in items], wire.EXPLICIT
        )
    if not entry.undefined:
        return wire.element(entry.tag, vr, value, wire.EXPLICIT)
    head = wire.header(entry.tag, vr if vr == "OB" else "UN", wire.UNDEFINED, wire.EXPLICIT)
    return head + value + wire.delimiter(wire.SEQUENCE_END, wire.EXPLICIT)
