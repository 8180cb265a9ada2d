"""Private elements under RetainSafePrivate: those that the standard or the instance itself calls safe stay.

Source: DICOM PS3.15 E.3.10; PS3.5 7.8 (private blocks); PS3.3 C.12.1.1.7 (what an instance declares).
"""

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from radkit.deid import rules, safe_private, wire
from radkit.deid.rules import Node, Rule
from radkit.deid.settings import MODIFIED_DATES, SAFE_PRIVATE, UIDS
from radkit.deid.values import decoded

if TYPE_CHECKING:
    from radkit.deid.rewrite import Rewriter

# Of one data set: who reserved a block, by group and block number.
Creators = dict[tuple[int, int], str]

CHARACTERISTICS = 0x00080300  # PrivateDataElementCharacteristicsSequence
_GROUP, _CREATOR, _STATUS, _SAFE = 0x00080301, 0x00080302, 0x00080303, 0x00080304
_ACTIONS, _IDENTIFYING, _ACTION = 0x00080305, 0x00080306, 0x00080307

_DATES = frozenset(("DA", "DT", "TM"))
_REMOVED = Rule(rules.REMOVE, "", "X")


@dataclass(frozen=True)
class Declaration:
    """What an instance says of one creator's block."""

    safe: frozenset[int]  # low bytes
    actions: dict[int, str]  # D, Z, X or U by low byte, of those that identify

    @property
    def keeps_any(self) -> bool:
        """Whether anything of the block may stay."""
        return bool(self.safe) or any(action != "X" for action in self.actions.values())


Declarations = dict[tuple[int, str], Declaration]


def declarations(scanner: wire.Scanner, entry: wire.Entry, syntax: wire.Syntax) -> Declarations:
    """Returns what an instance's PrivateDataElementCharacteristicsSequence says, by group and creator."""
    found: Declarations = {}
    inner = scanner.inner(entry.vr, entry.value, syntax)
    for item in scanner.items(entry.value, entry.value_end, inner):
        elements = {e.tag: e for e in scanner.entries(item.value, item.value_end, inner)}
        values = {t: bytes(scanner.buffer[e.value : e.value_end]) for t, e in elements.items()}
        groups = _numbers(values.get(_GROUP, b""), inner)
        if not groups or _CREATOR not in values:
            continue
        status = values.get(_STATUS, b"").strip(b" \0")
        safe = _numbers(values.get(_SAFE, b""), inner) if status != b"UNSAFE" else []
        actions = _declared_actions(scanner, elements.get(_ACTIONS), inner)
        block = groups[0], decoded(values[_CREATOR], "")
        lows = frozenset(range(256)) if status == b"SAFE" else frozenset(n & 0xFF for n in safe)
        if before := found.get(block):  # of two that speak of one block the stricter holds
            lows &= before.safe
            actions = {**actions, **dict.fromkeys(before.actions, "X")}
        found[block] = Declaration(lows, actions)
    return found


def _declared_actions(scanner: wire.Scanner, entry: wire.Entry | None, syntax: wire.Syntax) -> dict[int, str]:
    actions: dict[int, str] = {}
    if entry is None:
        return actions
    for item in scanner.items(entry.value, entry.value_end, syntax):
        values = {
            e.tag: bytes(scanner.buffer[e.value : e.value_end])
            for e in scanner.entries(item.value, item.value_end, syntax)
        }
        action = values.get(_ACTION, b"").decode("latin-1").strip(" \0")
        for low in _numbers(values.get(_IDENTIFYING, b""), syntax):
            actions[low & 0xFF] = action if action in ("D", "Z", "U") else "X"
    return actions


def _numbers(value: bytes, syntax: wire.Syntax) -> list[int]:
    order = ">" if syntax.big else "<"
    return list(struct.unpack(f"{order}{len(value) // 2}H", value[: len(value) // 2 * 2]))


def element(
    rewriter: "Rewriter", entry: wire.Entry, node: Node, syntax: wire.Syntax, creators: Creators
) -> list[wire.Part] | None:
    """Returns what a private element becomes: None when it stays, an empty list when it goes.

    Args:
        rewriter: Of the instance.
        entry: Where the element stands.
        node: The place whose rules hold for what a private sequence holds.
        syntax: How the element is encoded.
        creators: Who reserved which block of this data set so far; told of further ones.
    """
    group, number = entry.tag >> 16, entry.tag & 0xFFFF
    value = bytes(rewriter.scanner.buffer[entry.value : entry.value_end])
    if 0x10 <= number <= 0xFF:
        creator = creators[group, number] = decoded(value, rewriter.replacer.charset)
        declared = rewriter.declared.get((group, creator))
        if safe_private.knows(creator, group) or (declared and declared.keeps_any):
            return None
    elif number >= 0x1000:
        creator = creators.get((group, number >> 8), "")
        code, vr = _judged(rewriter, entry, creator)
        if code != rules.REMOVE:
            return _kept(rewriter, entry, Rule(code, vr, "C", SAFE_PRIVATE), node, syntax)
    rewriter.log.add(entry.tag, _REMOVED, value)
    return []


def _judged(rewriter: "Rewriter", entry: wire.Entry, creator: str) -> tuple[str, str]:
    """Returns what becomes of an element of a creator's block, and its VR."""
    group, low = entry.tag >> 16, entry.tag & 0xFF
    said = entry.vr if entry.vr not in (None, "UN") else None
    listed = safe_private.vr(creator, group, low)
    declared = rewriter.declared.get((group, creator))
    if listed is not None:
        return rules.KEEP, said or listed
    if declared and low in declared.actions:
        # A dummy of a sequence, or one UID for it, is no sequence any more.
        return rules.REMOVE if said == "SQ" or entry.undefined else declared.actions[low], said or "UN"
    if declared and low in declared.safe:
        return rules.KEEP, said or "UN"
    return rules.REMOVE, ""


def _kept(
    rewriter: "Rewriter", entry: wire.Entry, rule: Rule, node: Node, syntax: wire.Syntax
) -> list[wire.Part] | None:
    """Returns a safe element; UIDs and moved dates in it go the way of all others, sequences are entered."""
    options = node.settings.options
    if rule.code == rules.KEEP:
        if rule.vr == "SQ" and not entry.undefined and not rewriter.holds_items(entry):
            rewriter.log.add(entry.tag, _REMOVED, bytes(rewriter.scanner.buffer[entry.value : entry.value_end]))
            return []  # what is no sequence is not what is listed
        if rule.vr == "SQ" or entry.undefined or rewriter.holds_items(entry):
            return rewriter.sequence(entry, Rule(rules.ITEMS_KEPT, "SQ", rules.KEEP), node, syntax)
        if rule.vr == "UI" and UIDS not in options:
            rule = Rule(rules.UID, "UI", "U")  # "Analyzed Series UID" is to name the series as it is named now
        elif rule.vr in _DATES and MODIFIED_DATES in options:
            rule = Rule(rules.DATE, rule.vr, "C", MODIFIED_DATES)
        else:
            kept = Rule(rules.KEEP, rule.vr, "K", SAFE_PRIVATE)
            rewriter.log.note(entry.tag, kept, bytes(rewriter.scanner.buffer[entry.value : entry.value_end]))
            return None
    return rewriter.value(entry, rule, syntax)
