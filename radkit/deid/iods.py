"""Whether an attribute must be there in an instance: its Type in the SOP class's IOD, at any path.

    >>> beams = root("1.2.840.10008.5.1.4.1.1.481.5").child(0x300A00B0)  # RT Plan: BeamSequence
    >>> beams.types[0x300A00B2]  # TreatmentMachineName
    '2'

Compound actions of Table E.1-1 (X/Z/D) go by these Types. Each kind of item is stored once, and an item that several
modules describe is put together when it is first asked for: macros repeat so much that all paths written out are a
hundred times the size.

Source: DICOM PS3.3 Annex A as highdicom's maps have it; `generate_tables.py` makes `iods.json` and says what 1C, 2C
and no Type count as. Repeating groups (60xx) are not there: no rule for them goes by a Type.
"""

import functools
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, eq=False)
class Node:
    """What an IOD says of one kind of item; the data set itself is one, too."""

    types: dict[int, str]  # by tag: "1", "2" or "3"; where modules differ, the strictest
    _items: dict[int, tuple[int, ...]] = field(repr=False)

    def child(self, tag: int) -> "Node | None":
        """Returns what the items of a sequence hold, or None where the IOD does not say.

        Content items nest without end: the child of a content item's ContentSequence is such an item again.
        """
        numbers = self._items.get(tag)
        return None if numbers is None else _node(numbers)


@functools.cache
def root(sop_class: str) -> Node | None:
    """Returns a SOP class's attributes, or None for a retired, private or newer class, which the table lacks."""
    iod = _read()["sop_classes"].get(sop_class)
    return None if iod is None else _node(tuple(_read()["iods"][iod]))


@functools.cache
def _read() -> dict[str, Any]:
    read: dict[str, Any] = json.loads(Path(__file__).with_name("iods.json").read_text(encoding="utf-8"))
    return read


@functools.cache
def _node(numbers: tuple[int, ...]) -> Node:
    """Returns the stored nodes of these numbers as one."""
    types: dict[int, str] = {}
    items: dict[int, set[int]] = {}
    for number in numbers:
        for entry in _read()["nodes"][number].split():
            tag, kind, below = int(entry[:8], 16), entry[9], entry[11:]
            types[tag] = min(types.get(tag, kind), kind)
            if below:
                items.setdefault(tag, set()).add(number if below == "@" else int(below))
    return Node(types, {tag: tuple(sorted(below)) for tag, below in items.items()})
