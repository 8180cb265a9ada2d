"""Content trees, item by item: each concept has its action, references are mapped, and the tree stays a tree.

What the Basic Profile calls a dummy of ContentSequence is made item by item, too: the tree, its concepts and mapped
references stay, all values become dummies. Under CleanStructuredContent measurements and well-known codes stay, too.

Source: DICOM PS3.15 E.3.4 and Table E.3.4-1; PS3.3 C.17.3 (SR Document Content).
"""

import struct
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

from radkit.deid import concepts, rules, wire
from radkit.deid.rules import Node, Rule
from radkit.deid.settings import DESCRIPTORS, FULL_DATES, MODIFIED_DATES, STRUCTURED_CONTENT, Settings
from radkit.deid.values import decoded

if TYPE_CHECKING:
    from radkit.deid.rewrite import Rewriter

_VALUE_TYPE, _CONCEPT, _CONTENT, _TARGET = 0x0040A040, 0x0040A043, 0x0040A730, 0x0040DB73
_MEASURED = (0x0040A168, 0x0040A300)  # ConceptCodeSequence, MeasuredValueSequence
_CODE_VALUE, _SCHEME = 0x00080100, 0x00080102

# What holds a content item's value, and under which VR, by ValueType. Without one, as in an acquisition context of old
# or a waveform's annotation, all of them may.
_VALUES = {
    "TEXT": {0x0040A160: "UT", 0x00700006: "ST"},
    "PNAME": {0x0040A123: "PN"},
    "DATE": {0x0040A121: "DA"},
    "TIME": {0x0040A122: "TM"},
    "DATETIME": {0x0040A120: "DT"},
    "UIDREF": {0x0040A124: "UI"},
}
_DATES = frozenset(("DA", "DT", "TM"))
_ALL_VALUES = {tag: vr for values in _VALUES.values() for tag, vr in values.items()}

# An item's position before and after; None for one that goes.
_Positions = dict[tuple[int, ...], tuple[int, ...] | None]


def tree(rewriter: "Rewriter", entry: wire.Entry, node: Node, syntax: wire.Syntax) -> list[wire.Part] | None:
    """Returns a content tree's items rewritten.

    Args:
        rewriter: Of the instance.
        entry: The sequence: ContentSequence, AcquisitionContextSequence and their like.
        node: The place within it.
        syntax: How its items are encoded.
    """
    positions = _positions(rewriter, entry, syntax, node.settings) if entry.tag == _CONTENT else {}
    keeps_values = STRUCTURED_CONTENT in node.settings.options or entry.tag != _CONTENT
    return _Tree(rewriter, syntax, positions, keeps_values).items(entry, node, (1,))


def _positions(rewriter: "Rewriter", entry: wire.Entry, syntax: wire.Syntax, settings: Settings) -> _Positions:
    """Returns where each item will stand when those that go have gone.

    Items name one another by position (PS3.3 C.17.3.2.5); who names one that goes, goes as well.
    """
    gone: set[tuple[int, ...]] = set()
    targets: dict[tuple[int, ...], tuple[int, ...]] = {}
    places: list[tuple[int, ...]] = [(1,)]

    def walk(sequence: wire.Entry, above: tuple[int, ...], syntax: wire.Syntax) -> None:
        for number, item in enumerate(rewriter.scanner.items(sequence.value, sequence.value_end, syntax), start=1):
            elements = _elements(rewriter.scanner, item, syntax)
            place = (*above, number)
            places.append(place)
            if above in gone or _judge(rewriter, elements, syntax, settings)[0] == rules.REMOVE:
                gone.add(place)
            if _TARGET in elements:
                targets[place] = _named(rewriter.scanner, elements[_TARGET], syntax)
            if _CONTENT in elements:
                walk(elements[_CONTENT], place, _inner(rewriter, elements[_CONTENT], syntax))

    walk(entry, (1,), syntax)
    while more := {place for place, target in targets.items() if target in gone} - gone:
        gone |= more
    found: _Positions = {(1,): (1,)}
    kept: Counter[tuple[int, ...]] = Counter()
    for place in places[1:]:
        above = found[place[:-1]]
        kept[place[:-1]] += place not in gone
        found[place] = None if above is None or place in gone else (*above, kept[place[:-1]])
    return found


def _inner(rewriter: "Rewriter", entry: wire.Entry, syntax: wire.Syntax) -> wire.Syntax:
    return rewriter.scanner.inner(entry.vr, entry.value, syntax)


def _named(scanner: wire.Scanner, entry: wire.Entry, syntax: wire.Syntax) -> tuple[int, ...]:
    value = bytes(scanner.buffer[entry.value : entry.value_end])
    return struct.unpack(f"{'>' if syntax.big else '<'}{len(value) // 4}L", value[: len(value) // 4 * 4])


def _elements(scanner: wire.Scanner, item: wire.Item, syntax: wire.Syntax) -> dict[int, wire.Entry]:
    return {entry.tag: entry for entry in scanner.entries(item.value, item.value_end, syntax)}


def _text(rewriter: "Rewriter", entry: wire.Entry | None) -> str:
    if entry is None:
        return ""
    return decoded(bytes(rewriter.scanner.buffer[entry.value : entry.value_end]), rewriter.replacer.charset)


def _judge(
    rewriter: "Rewriter", elements: Mapping[int, wire.Entry], syntax: wire.Syntax, settings: Settings
) -> tuple[str, str]:
    """Returns (action, option) of a content item: X, D, K or C; "" for a concept that the table does not list."""
    value_type = _text(rewriter, elements.get(_VALUE_TYPE))
    name = elements.get(_CONCEPT)
    if name is None:
        return "", ""
    inner = rewriter.scanner.inner(name.vr, name.value, syntax)
    for item in rewriter.scanner.items(name.value, name.value_end, inner):
        code = _elements(rewriter.scanner, item, inner)
        scheme, value = _text(rewriter, code.get(_SCHEME)), _text(rewriter, code.get(_CODE_VALUE))
        listed = concepts.action(scheme, value, value_type)
        if listed is None or (value_type in ("CODE", "NUM") and not concepts.lists(scheme, value, value_type)):
            return "", ""  # a code or a number holds no free text, whatever else the concept may hold
        basic, options = listed
        for wanted in ("K", "C"):
            for option, action in options.items():
                if option in settings.options and action == wanted:
                    return wanted, option
        # A template may demand the item: a dummy keeps the tree valid either way.
        return ("D" if basic == "X/D" else basic), ""
    return "", ""


class _Tree:
    """Rewrites the items of one tree."""

    def __init__(self, rewriter: "Rewriter", syntax: wire.Syntax, positions: _Positions, keeps_values: bool) -> None:
        self._rewriter, self._syntax, self._positions, self._keeps_values = rewriter, syntax, positions, keeps_values
        self._scanner, self._log = rewriter.scanner, rewriter.log

    def items(self, entry: wire.Entry, node: Node, place: tuple[int, ...]) -> list[wire.Part] | None:
        """Returns the items below a place, or None when nothing of them changes."""
        parts: list[wire.Part] = []
        changed = False
        for number, item in enumerate(self._scanner.items(entry.value, entry.value_end, self._syntax), start=1):
            self._log.enter(entry.tag, number)
            new = self._item(item, node, (*place, number))
            self._log.leave()
            if new is None:
                parts.append((item.start, item.end))
                continue
            changed = True
            parts += new
        return parts if changed else None

    def _item(self, item: wire.Item, node: Node, place: tuple[int, ...]) -> list[wire.Part] | None:
        """Returns an item, whole; an empty list when it goes."""
        elements = _elements(self._scanner, item, self._syntax)
        action, option = _judge(self._rewriter, elements, self._syntax, node.settings)
        if action == "X" or not self._target_stays(elements):
            # Of the item that the log has entered, the one element every content item has.
            self._log.add(_VALUE_TYPE, Rule(rules.REMOVE, "", "X", option), self._bytes(item))
            return []
        forced = self._values(elements, action, option, node.settings)
        if action == "K":
            forced |= {tag: self._as_it_is(elements[tag]) for tag in _MEASURED if tag in elements}
        elif not self._keeps_values and action != "C":
            forced |= self._measured(elements, node)
        if _TARGET in elements:
            forced |= self._target(elements[_TARGET])
        if _CONTENT in elements:
            inner = _inner(self._rewriter, elements[_CONTENT], self._syntax)
            deeper = _Tree(self._rewriter, inner, self._positions, self._keeps_values)
            below = deeper.items(elements[_CONTENT], node.child(_CONTENT, rules.CONTENT), place)
            forced[_CONTENT] = self._joined(elements[_CONTENT], below)
        new = self._rewriter.item(item, node, self._syntax, forced or None)
        return None if new is None else wire.wrapped(item, new, self._syntax)

    def _values(
        self, elements: Mapping[int, wire.Entry], action: str, option: str, settings: Settings
    ) -> dict[int, bytes]:
        """Returns the item's value elements as they become."""
        kind = _text(self._rewriter, elements.get(_VALUE_TYPE))
        holds = _VALUES.get(kind, {}) if kind else _ALL_VALUES  # what is beside it goes by the rules for all elements
        forced = {}
        for tag, vr in holds.items():
            if tag in elements:
                forced[tag] = self._value(elements[tag], _rule(vr, action, option, settings))
        return forced

    def _value(self, entry: wire.Entry, rule: Rule) -> bytes:
        old = bytes(self._scanner.buffer[entry.value : entry.value_end])
        stays = self._as_it_is(entry)
        if rule.code == rules.KEEP:
            self._log.note(entry.tag, rule, old)
            return stays
        new = self._rewriter.replacer.value(rule, entry.tag, old)
        if new is None:
            rule = Rule(rules.DUMMY, rule.vr, "D")
            new = self._rewriter.replacer.value(rule, entry.tag, old) or b""
        if wire.padded(new, rule.vr) == old:
            return stays
        self._log.add(entry.tag, rule, old)
        return wire.element(entry.tag, rule.vr, new, self._syntax)

    def _measured(self, elements: Mapping[int, wire.Entry], node: Node) -> dict[int, bytes]:
        """Returns the item's number and code as dummies."""
        forced = {}
        for tag in _MEASURED:
            if tag in elements:
                rule = Rule(rules.ITEMS_DUMMIES, "SQ", "D")
                new = self._rewriter.sequence(elements[tag], rule, node, self._syntax)
                if new is not None:
                    forced[tag] = self._rewriter.joined(new)
        return forced

    def _as_it_is(self, entry: wire.Entry) -> bytes:
        return bytes(self._scanner.buffer[entry.start : entry.end])

    def _target_stays(self, elements: Mapping[int, wire.Entry]) -> bool:
        return (
            _TARGET not in elements
            or self._positions.get(_named(self._scanner, elements[_TARGET], self._syntax), ()) is not None
        )

    def _target(self, entry: wire.Entry) -> dict[int, bytes]:
        new = self._positions.get(_named(self._scanner, entry, self._syntax))
        if not new:
            return {}
        packed = b"".join(self._syntax.long.pack(number) for number in new)
        return {entry.tag: wire.element(entry.tag, "UL", packed, self._syntax)}

    def _joined(self, entry: wire.Entry, parts: list[wire.Part] | None) -> bytes:
        """Returns a nested ContentSequence as bytes; without items it may not stand (Type 1C)."""
        if parts is None:
            return self._as_it_is(entry)
        if not parts:
            return b""
        whole = self._rewriter.enclosed(entry, "SQ", parts, self._syntax)
        return self._rewriter.joined(whole)

    def _bytes(self, item: wire.Item) -> bytes:
        return bytes(self._scanner.buffer[item.value : item.value_end])


def _rule(vr: str, action: str, option: str, settings: Settings) -> Rule:
    """Returns what becomes of a value of an item that stays."""
    if action == "K":
        return Rule(rules.KEEP, vr, "K", option)
    if vr == "UI":
        return Rule(rules.UID, vr, "U")  # UID (0040,A124): U, and no option of its own
    if vr in _DATES:
        if FULL_DATES in settings.options and not action:
            return Rule(rules.KEEP, vr, "K", FULL_DATES)
        if MODIFIED_DATES in settings.options and action != "D":
            return Rule(rules.DATE, vr, "C", MODIFIED_DATES)
    elif vr != "PN" and (action == "C" or (not action and DESCRIPTORS in settings.options)):
        return Rule(rules.TEXT, vr, "C", option or DESCRIPTORS)
    return Rule(rules.DUMMY, vr, "D")
