"""The raw-byte pass: looks each element's tag up, rewrites what a rule touches, copies all else as it stands.

Values that no rule touches are never decoded, so pixels, character sets and odd but harmless values leave as the bytes
that came. Every sequence is entered, whatever its encoding.

Source: DICOM PS3.5 section 7; PS3.15 E.1.1.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from radkit.deid import graphics, private, rules, structured, wire
from radkit.deid.audit import Log
from radkit.deid.rules import Known, Node, Rule
from radkit.deid.values import Replacer, decoded
from radkit.deid.wire import NotCleanable, Part, Scanner, Syntax, length_of, wrapped

_CODE_VALUES = (0x00080100, 0x00080119, 0x00080120)
_SCHEME, _SCHEME_VERSION, _MEANING = 0x00080102, 0x00080103, 0x00080104
_CHARSET, _CONCEPT_NAME = 0x00080005, 0x0040A043
_REFERENCED_INSTANCE, _REFERENCES = 0x00081155, (0x00081140, 0x00082112)
# ReferencedSeriesSequence and StudiesContainingOtherReferencedInstancesSequence: each reference once more.
REFERENCE_LISTS = (0x00081115, 0x00081200)
_MOST_COMPARED_BYTES = 512
# Names of one file's making must not fill the memory of a process that sees millions of files.
_MOST_LEARNED = 20_000


@dataclass
class Rewriter:
    """Rewrites one instance's data sets.

    Attributes:
        scanner: Over the instance's bytes.
        replacer: Makes new values.
        log: Told of each element that is touched, or kept because an option says so.
        overlays: Groups (60xx) whose bitmaps were looked at and hold no text.
        declared: What the instance itself says of its private elements.
    """

    scanner: Scanner
    replacer: Replacer
    log: Log
    overlays: frozenset[int] = frozenset()
    declared: private.Declarations = field(default_factory=dict)
    references_kept: int = 0  # to instances, outside the lists of all references
    references_removed: int = 0
    _within: tuple[int, int] = (0, 0)  # the data set that is gone through
    _identifiers: dict[tuple[int, int], str] = field(default_factory=dict)  # PatientID of each that was asked for

    def top(self, entries: Sequence[wire.Entry], node: Node, syntax: Syntax, forced: Mapping[int, bytes]) -> list[Part]:
        """Returns what the top level becomes.

        Args:
            entries: Its elements, sorted, each tag once.
            node: The IOD whose rules hold.
            syntax: How it is encoded.
            forced: Elements, encoded, that stand for those of the same tag or are new; empty ones remove.
        """
        parts: list[Part] = []
        creators: private.Creators = {}
        waiting = sorted(forced, reverse=True)
        start = end = entries[0].start  # of the run that is copied as it stands
        for entry in entries:
            new: list[Part] | None = None
            while waiting and waiting[-1] <= entry.tag:
                new = [*(new or ()), forced[waiting.pop()]]
            if entry.tag not in forced:
                own = self._top_element(entry, node, syntax, creators)
                if new is not None:
                    new += [(entry.start, entry.end)] if own is None else own
                else:
                    new = own
            if new is None and entry.start == end:
                end = entry.end
                continue
            if start < end:
                parts.append((start, end))
            parts += new or ()
            start, end = (entry.start if new is None else entry.end), entry.end
        if start < end:
            parts.append((start, end))
        return parts + [forced[tag] for tag in reversed(waiting)]

    def _top_element(
        self, entry: wire.Entry, node: Node, syntax: Syntax, creators: private.Creators
    ) -> list[Part] | None:
        key = self.scanner.buffer[entry.start : entry.start + (4 if syntax.implicit else 6)]
        known = node.learned[syntax.number].get(key) or self._learn(key, entry.start, node, syntax)
        if known.rule is None and not entry.undefined:
            return None
        self._within = (entry.start, entry.end)
        return self._element(entry, known, node, syntax, creators)

    def dataset(
        self,
        start: int,
        end: int,
        node: Node,
        syntax: Syntax,
        *,
        forced: Mapping[int, bytes] | None = None,
    ) -> list[Part] | None:
        """Returns what a data set becomes, or None when nothing of it changes.

        Args:
            start: Where it begins.
            end: Where it ends.
            node: The place in the IOD whose rules hold.
            syntax: How it is encoded.
            forced: Elements, encoded, that stand for those of the same tag; empty ones remove.
        """
        buffer, learned = self.scanner.buffer, node.learned[syntax.number]
        width = 4 if syntax.implicit else 6
        parts: list[Part] = []
        creators: private.Creators = {}
        changed = False
        kept = position = start
        around, self._within = self._within, (start, end)
        while position < end:
            key = buffer[position : position + width]
            known = learned.get(key) or self._learn(key, position, node, syntax)
            value = position + (known.value_at or 8)
            length = known.read(buffer, position + known.length_at)[0]
            # Most elements stay, and cost no more than this.
            if known.rule is None and forced is None and length != wire.UNDEFINED:
                position = value + length
                continue
            if known.value_at and length != wire.UNDEFINED:
                after = value + length
                entry = wire.new_entry(wire.Entry, (known.tag, known.vr, position, value, after, after, False))
            else:
                entry = self._entry(position, end, syntax)
            if forced is not None and entry.tag in forced:
                new: list[Part] | None = [forced[entry.tag]]
            else:
                new = self._element(entry, known, node, syntax, creators)
            if new is not None:
                changed = True
                if kept < position:
                    parts.append((kept, position))
                parts += new
                kept = entry.end
            position = entry.end
        self._within = around
        if position != end:
            raise NotCleanable(wire.CUT)
        if not changed:
            return None
        if kept < end:
            parts.append((kept, end))
        return parts

    def _learn(self, key: bytes, position: int, node: Node, syntax: Syntax) -> Known:
        tag, vr, _, value = self.scanner.header(position, syntax)
        rule = node.rule(tag, vr)
        head = syntax.heads.get(key)
        if head is None:  # under no VR of the standard: where its length stands depends on what follows
            return Known(rule, tag, vr, syntax.short.unpack_from, 6, 0)
        stays = rule.code == rules.KEEP and not rule.option and vr != "UN"
        learned = node.learned[syntax.number]
        if len(learned) > _MOST_LEARNED:
            learned.clear()
        found = learned[key] = Known(None if stays else rule, tag, vr, head[2], head[3], value - position)
        return found

    def _entry(self, position: int, end: int, syntax: Syntax) -> wire.Entry:
        tag, vr, length, value = self.scanner.header(position, syntax)
        if length != wire.UNDEFINED:
            return wire.Entry(tag, vr, position, value, value + length, value + length, False)
        value_end, after = self.scanner.undefined_end(value, end, self.scanner.inner(vr, value, syntax))
        return wire.Entry(tag, vr, position, value, value_end, after, True)

    def _element(
        self, entry: wire.Entry, known: Known, node: Node, syntax: Syntax, creators: private.Creators
    ) -> list[Part] | None:
        """Returns what an element becomes; None: it stays as it stands; an empty list: it goes."""
        if known.rule is None and not entry.undefined:
            return None
        new = self._by_rule(entry, known.rule or node.rule(entry.tag, entry.vr), node, syntax, creators)
        return self._spelt_out(entry, syntax) if new is None and not known.value_at else new

    def _by_rule(
        self, entry: wire.Entry, rule: Rule, node: Node, syntax: Syntax, creators: private.Creators
    ) -> list[Part] | None:
        code = rule.code
        if code == rules.REMOVE:
            self.log.add(entry.tag, rule, self._bytes(entry))
            self.references_removed += entry.tag in _REFERENCES
            return []
        if code == rules.PRIVATE:
            return private.element(self, entry, node, syntax, creators)
        if code == rules.OVERLAY:
            return graphics.element(self, entry, rule, syntax)
        if code in rules.SEQUENCES:
            return self.sequence(entry, rule, node, syntax)
        if code == rules.KEEP:
            return self._keep(entry, rule, node, syntax)
        if code == rules.PATIENT:
            return self.replaced(entry, rule, self._patient(entry, syntax), syntax)
        return self.value(entry, rule, syntax)

    def value(self, entry: wire.Entry, rule: Rule, syntax: Syntax) -> list[Part] | None:
        """Returns an element with the value that its rule gives it."""
        new = self.replacer.value(rule, entry.tag, self._bytes(entry))
        if new is not None:
            return self.replaced(entry, rule, new, syntax)
        second = rules.with_fallback(rule)
        if second.code == rules.REMOVE:
            self.log.add(entry.tag, second, self._bytes(entry))
            return []
        return self.replaced(entry, second, self.replacer.value(second, entry.tag, self._bytes(entry)) or b"", syntax)

    def replaced(self, entry: wire.Entry, rule: Rule, new: bytes, syntax: Syntax) -> list[Part] | None:
        """Returns an element of a new value, noted; None when it is the old one."""
        old = self._bytes(entry)
        if old == wire.padded(new, rule.vr) and not entry.undefined:
            return None
        self.log.add(entry.tag, rule, old)
        self.references_kept += entry.tag == _REFERENCED_INSTANCE and not self.log.is_within(REFERENCE_LISTS)
        return [wire.element(entry.tag, rule.vr, new, syntax)]

    def sequence(self, entry: wire.Entry, rule: Rule, node: Node, syntax: Syntax) -> list[Part] | None:
        """Returns a sequence with its items rewritten."""
        if entry.vr == "UN" and not self.holds_items(entry):
            rule = Rule(rules.REMOVE, "", "X")  # a value that cannot be read item by item
        if rule.code == rules.REMOVE or rule.code == rules.GRAPHIC:
            new: list[Part] | None = [] if rule.code == rules.REMOVE else [graphics.dummy(self, entry, syntax)]
            if new == [bytes(self.scanner.buffer[entry.start : entry.end])]:
                return None
            self.log.add(entry.tag, rule, self._bytes(entry))
            return new
        if rule.option or rule.action != rules.KEEP:
            self.log.note(entry.tag, rule, self._bytes(entry))
        inner = self.scanner.inner(entry.vr, entry.value, syntax)
        child = node.child(entry.tag, rule.code)
        if rule.code == rules.CONTENT:
            new = structured.tree(self, entry, child, inner)
        else:
            new = self.items(entry, child, inner)
        return None if new is None else self.enclosed(entry, "SQ", new, syntax)

    def items(self, entry: wire.Entry, node: Node, syntax: Syntax) -> list[Part] | None:
        """Returns a sequence's items rewritten, or None when nothing of them changes."""
        parts: list[Part] = []
        changed = False
        unchanged = node.unchanged[syntax.number]
        for number, item in enumerate(self.scanner.items(entry.value, entry.value_end, syntax), start=1):
            # Frames repeat one another: an item that stayed as it was once needs no second look.
            # What a code is left as depends on the sequence that it stands in, so that is part of what is remembered.
            content = (
                entry.tag,
                self.scanner.buffer[item.value : min(item.value_end, item.value + _MOST_COMPARED_BYTES)],
            )
            same = content in unchanged and not self.declared
            new = None
            if not same:
                before = len(self.log)
                self.log.enter(entry.tag, number)
                new = self.item(item, node, syntax)
                self.log.leave()
                short = item.value_end - item.value < _MOST_COMPARED_BYTES
                if new is None and len(self.log) == before and short and not self.declared:
                    remember(unchanged, content)
            changed |= new is not None
            if new is not None:
                parts += wrapped(item, new, syntax)
            elif parts and isinstance(parts[-1], tuple) and parts[-1][1] == item.start:
                parts[-1] = (parts[-1][0], item.end)
            else:
                parts.append((item.start, item.end))
        return parts if changed else None

    def item(
        self, item: wire.Item, node: Node, syntax: Syntax, forced: Mapping[int, bytes] | None = None
    ) -> list[Part] | None:
        """Returns one item's elements rewritten; its code, when it is one, is cleaned as a whole."""
        if node.mode == rules.CODES and (code := self._code(item, syntax)):
            forced = {**code, **(forced or {})}
        return self.dataset(item.value, item.value_end, node, syntax, forced=forced)

    def enclosed(self, entry: wire.Entry, vr: str, parts: Sequence[Part], syntax: Syntax) -> list[Part]:
        """Returns a sequence's header, its items and what ends it."""
        vr = "UN" if entry.vr == "UN" else vr
        if entry.undefined:
            inner = self.scanner.inner(entry.vr, entry.value, syntax)
            head = wire.header(entry.tag, vr, wire.UNDEFINED, syntax)
            return [head, *parts, wire.delimiter(wire.SEQUENCE_END, inner)]
        return [wire.header(entry.tag, vr, length_of(parts), syntax), *parts]

    def joined(self, parts: Sequence[Part]) -> bytes:
        """Returns parts as bytes."""
        return b"".join(p if isinstance(p, bytes) else bytes(self.scanner.buffer[p[0] : p[1]]) for p in parts)

    def _keep(self, entry: wire.Entry, rule: Rule, node: Node, syntax: Syntax) -> list[Part] | None:
        hides_items = entry.vr == "UN" and entry.value < entry.value_end and self.holds_items(entry)
        if hides_items or (entry.undefined and entry.tag != wire.PIXEL_DATA):
            return self.sequence(entry, Rule(rules.ITEMS, "SQ", rules.KEEP), node, syntax)
        if rule.option:
            self.log.note(entry.tag, rule, self._bytes(entry))
        return None

    def _spelt_out(self, entry: wire.Entry, syntax: Syntax) -> list[Part]:
        """Returns an element that stays, under a VR of the standard: readers differ in what they make of another."""
        run = (entry.value, entry.value_end)
        if entry.undefined:
            delimiter = wire.delimiter(wire.SEQUENCE_END, syntax)
            return [wire.header(entry.tag, "SQ", wire.UNDEFINED, syntax), run, delimiter]
        # Of an implicit element among explicit ones the VR is the dictionary's.
        known = "OW" if entry.tag == wire.PIXEL_DATA else rules.true_vr(entry.tag)
        vr = known if entry.vr is None else "UN"
        return [wire.header(entry.tag, vr, entry.value_end - entry.value, syntax), run]

    def _patient(self, entry: wire.Entry, syntax: Syntax) -> bytes:
        """Returns the pseudonym of whom a data set names: it may be another patient than the instance's."""
        if self._within not in self._identifiers:
            wanted = (_CHARSET, rules.PATIENT_ID)
            found = {e.tag: self._bytes(e) for e in self.scanner.entries(*self._within, syntax) if e.tag in wanted}
            # An item may have a character set of its own (PS3.3 C.12.1.1.2).
            charset = decoded(found.get(_CHARSET, b""), "") or self.replacer.charset
            self._identifiers[self._within] = decoded(found.get(rules.PATIENT_ID, b""), charset)
        return self.replacer.patient_of(self._identifiers[self._within], self._bytes(entry))

    def _code(self, item: wire.Item, syntax: Syntax) -> dict[int, bytes]:
        """Returns the elements that a code item's own are replaced by; nothing when it is no code."""
        found = {
            e.tag: e
            for e in self.scanner.entries(item.value, item.value_end, syntax)
            if e.tag in (*_CODE_VALUES, _SCHEME, _SCHEME_VERSION, _MEANING) and not e.undefined
        }
        if not found:
            return {}
        value = next((found[tag] for tag in _CODE_VALUES if tag in found), None)
        old = [self._bytes(e) if e else b"" for e in (value, found.get(_SCHEME), found.get(_MEANING))]
        new = self.replacer.code(old[0], old[1], old[2], names_concept=self.log.is_in(_CONCEPT_NAME))
        wanted = {value.tag if value else 0: new[0], _SCHEME: new[1], _MEANING: new[2]}
        if new[1] == old[1].strip(b" \0") and _SCHEME_VERSION in found:
            wanted[_SCHEME_VERSION] = self._bytes(found[_SCHEME_VERSION]).strip(b" \0")
        forced = {}
        for tag, entry in found.items():
            now = wanted.get(tag)
            if now != self._bytes(entry).strip(b" \0"):
                vr = rules.true_vr(tag)
                self.log.add(tag, Rule(rules.DUMMY, vr, rules.REMOVE if now is None else "C"), self._bytes(entry))
                forced[tag] = b"" if now is None else wire.element(tag, vr, now, syntax)
        return forced

    def holds_items(self, entry: wire.Entry) -> bool:
        """Tells whether a value is empty or begins as an item does, whatever its VR."""
        if entry.value == entry.value_end:
            return True
        return self.scanner.buffer[entry.value : entry.value + 4] in (b"\xfe\xff\x00\xe0", b"\xff\xfe\xe0\x00")

    def _bytes(self, entry: wire.Entry) -> bytes:
        return bytes(self.scanner.buffer[entry.value : entry.value_end])


def remember(unchanged: set[tuple[int, bytes]], content: tuple[int, bytes]) -> None:
    """Notes an item, by its sequence's tag and its bytes, that no rule touches."""
    if len(unchanged) > _MOST_LEARNED:
        unchanged.clear()
    unchanged.add(content)
